"""The index of a contact's page: what they have of their client's tickets, in the order in which it is listed."""

from alembic import op
from sqlalchemy import text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = "ix_tickets_client_id_contact_id_created_at"


def upgrade() -> None:
    """Build the index beside what runs; one that was cut off half-way is built again."""
    with op.get_context().autocommit_block():
        # It may take its time, and waits for who reads a snapshot without holding up anybody.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
        columns = ["client_id", "contact_id", text("created_at DESC"), text("id DESC")]
        op.create_index(NAME, "tickets", columns, postgresql_concurrently=True)
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    """Drop the index."""
    op.drop_index(NAME, table_name="tickets")
