"""The audit, second part: the order in which events are sealed, built without holding up anybody."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside what runs; one that was cut off half-way is built again."""
    with op.get_context().autocommit_block():
        # It may take its time, and waits for who reads a snapshot without holding up anybody.
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_events_transaction_position")
        op.create_index(
            "ix_events_transaction_position", "events", ["transaction", "position"], postgresql_concurrently=True
        )
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_events_transaction_position", table_name="events")
