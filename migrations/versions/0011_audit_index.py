"""The audit, second part: the order in which events are sealed, built without holding up anybody."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside what runs; one that was cut off half-way is built again."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_events_transaction_position")
        op.create_index(
            "ix_events_transaction_position", "events", ["transaction", "position"], postgresql_concurrently=True
        )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_events_transaction_position", table_name="events")
