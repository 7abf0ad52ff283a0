"""The audit: every administrative change with before and after, and checkpoints that seal it and the events."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# What is audited: the noun under which it is told, the column that tells one from another, what is left out.
AUDITED = {
    "clients": ("client", "id", ""),
    "contacts": ("contact", "id", ""),
    "agreements": ("agreement", "id", ""),
    "subscriptions": ("subscription", "id", ""),
    "agents": ("agent", "id", ""),
    "api_keys": ("key", "id", "digest"),
    "policy_versions": ("policy_version", "number", ""),
    "policy_acknowledgements": ("policy_acknowledgement", "policy_version", ""),
    "calendars": ("calendar", "id", ""),
    "calendar_revisions": ("calendar_revision", "calendar_id", ""),
    "eligibility_overrides": ("eligibility_override", "check_id", ""),
}

# Transactions in their order. A database that was restored elsewhere goes on counting behind what it brought.
NUMBER = """
CREATE FUNCTION transaction_number(xid8) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN $1::text::bigint + 0
"""

# With the rights of whoever writes. Who that is, when and by which request the statement says; who says nothing
# is known by the login alone.
NOTE = """
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    said jsonb := coalesce(nullif(current_setting('app.by', true), ''), '{}');
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - TG_ARGV[2] END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - TG_ARGV[2] END;
    whole jsonb := coalesce(after, before);
BEGIN
    INSERT INTO audit_entries
        (at, subject, subject_id, client_id, actor_role, actor_id, request_id, login, before, after)
    VALUES (
        coalesce((said ->> 'at')::timestamptz, clock_timestamp()), TG_ARGV[0], whole ->> TG_ARGV[1],
        CASE TG_ARGV[0] WHEN 'client' THEN whole ->> 'id' ELSE whole ->> 'client_id' END::uuid,
        said ->> 'role', (said ->> 'id')::uuid, said ->> 'request_id', session_user, before, after
    );
    RETURN NULL;
END $$
"""
OWN = "client_id = nullif(current_setting('app.client_id', true), '')::uuid"


def upgrade() -> None:
    """Expand only: what runs now goes on writing, and its changes are noted by its login."""
    op.execute(NUMBER)
    op.create_table(
        "audit_entries",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "transaction", sa.BigInteger(), server_default=sa.text("transaction_number(pg_current_xact_id())"),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("actor_role", sa.Text(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("before", sa.dialects.postgresql.JSONB(), nullable=True),
        sa.Column("after", sa.dialects.postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_audit_entries"),
        sa.CheckConstraint("before IS NOT NULL OR after IS NOT NULL", name="ck_audit_entries_change"),
    )  # fmt: skip
    op.create_index("ix_audit_entries_transaction_position", "audit_entries", ["transaction", "position"])
    for column in ("subject", "subject_id", "client_id", "actor_id", "at"):
        op.create_index(f"ix_audit_entries_{column}_position", "audit_entries", [column, "position"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_checkpoints"),
        sa.CheckConstraint("number > 0 AND until > since AND events + entries > 0", name="ck_audit_checkpoints_range"),
    )
    op.execute(NOTE)
    for table, (subject, key, left_out) in AUDITED.items():
        op.execute(
            f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION note_change('{subject}', '{key}', '{left_out}')"
        )
    op.execute("CREATE POLICY house ON audit_entries TO kawan_runtime USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY own ON audit_entries TO kawan_contact USING ({OWN}) WITH CHECK ({OWN})")
    op.execute("ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT ON audit_entries, audit_checkpoints TO kawan_runtime")
    op.execute("GRANT INSERT ON audit_entries TO kawan_contact")
    # Last, as the busiest is locked for it; without a default first, so that nothing is written anew.
    op.add_column("events", sa.Column("transaction", sa.BigInteger(), nullable=True))
    op.alter_column("events", "transaction", server_default=sa.text("transaction_number(pg_current_xact_id())"))


def downgrade() -> None:
    """Forget the audit."""
    for table in AUDITED:
        op.execute(f"DROP TRIGGER note_change ON {table}")
    op.execute("DROP FUNCTION note_change()")
    op.drop_column("events", "transaction")
    op.drop_table("audit_checkpoints")
    op.drop_table("audit_entries")
    op.execute("DROP FUNCTION transaction_number(xid8)")
