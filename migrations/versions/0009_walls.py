"""The second wall between clients: row-level security, and a role that sees one client at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CONTACT_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kawan_contact') THEN
        CREATE ROLE kawan_contact NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

# Whoever migrates may work as that role as well, so that one address is enough to begin with.
MEMBERSHIP = """
DO $$ BEGIN
    GRANT kawan_contact TO CURRENT_USER;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""

# Each protected table with the column that says whose a row is. An empty setting is no client: a session
# that has had one keeps the name of the setting without its value.
WHOSE = {
    "clients": "id",
    "contacts": "client_id",
    "agreements": "client_id",
    "subscriptions": "client_id",
    "policy_acknowledgements": "client_id",
    "eligibility_checks": "client_id",
    "eligibility_overrides": "client_id",
    "tickets": "client_id",
    "clock_cycles": "client_id",
    "events": "client_id",
    "idempotency_keys": "client_id",
    # Who asks is found out by the house: contacts have no right to it, and no policy.
    "api_keys": None,
}
OWN = "{} = nullif(current_setting('app.client_id', true), '')::uuid"

READ = (
    "clients, contacts, agreements, subscriptions, policy_acknowledgements, eligibility_checks, eligibility_overrides,"
    " tickets, clock_cycles, events, idempotency_keys, policy_versions, calendar_revisions"
)
ADDED = "policy_acknowledgements, eligibility_checks, tickets, clock_cycles, events, idempotency_keys"
CHANGED = "contacts, tickets, clock_cycles"


def upgrade() -> None:
    """Expand only: what runs now works as the house's role, which goes on seeing everything."""
    op.add_column("idempotency_keys", sa.Column("client_id", sa.Uuid(), nullable=True))
    # Kept for a day, so few; a contact's principal ends in their id.
    op.execute(
        "UPDATE idempotency_keys SET client_id = contacts.client_id FROM contacts"
        " WHERE principal IN ('contact:' || contacts.id, 'client_admin:' || contacts.id)"
    )
    op.execute(CONTACT_ROLE)
    op.execute(MEMBERSHIP)
    op.execute(f"GRANT SELECT ON {READ} TO kawan_contact")
    op.execute(f"GRANT INSERT ON {ADDED} TO kawan_contact")
    op.execute(f"GRANT UPDATE ON {CHANGED} TO kawan_contact")
    op.execute("GRANT USAGE ON SEQUENCE ticket_refs TO kawan_contact")
    for table, column in WHOSE.items():
        op.execute(f"CREATE POLICY house ON {table} TO kawan_runtime USING (true) WITH CHECK (true)")
        if column:
            own = OWN.format(column)
            op.execute(f"CREATE POLICY own ON {table} TO kawan_contact USING ({own}) WITH CHECK ({own})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Take the wall down; the role stays, as other databases of the server may use it."""
    for table, column in WHOSE.items():
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
        op.execute(f"DROP POLICY house ON {table}")
        if column:
            op.execute(f"DROP POLICY own ON {table}")
    op.execute("REVOKE ALL ON SEQUENCE ticket_refs FROM kawan_contact")
    op.execute(f"REVOKE ALL ON {READ} FROM kawan_contact")
    op.drop_column("idempotency_keys", "client_id")
