"""The whole policy, second part: what was there before is looked at, and indexes are built beside the traffic."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CONSTRAINTS = (
    "ck_tickets_unacknowledged",
    "ck_tickets_acknowledged_at",
    "ck_tickets_resolution_at",
    "ck_tickets_resolved_at",
    "ck_tickets_resolved",
    "ck_tickets_closed_at",
    "ck_tickets_assignee",
    "ck_tickets_assignee_level",
    "ck_tickets_resolution",
    "fk_tickets_assignee_id",
)
RUN = ["client_id", "ticket_id", "clock"]


def upgrade() -> None:
    """Validate the constraints of 0002, and change the indexes without holding up anybody."""
    for name in CONSTRAINTS:
        op.execute(f"ALTER TABLE tickets VALIDATE CONSTRAINT {name}")
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_tickets_assignee_id",
            "tickets",
            ["assignee_id"],
            postgresql_where=sa.text("assignee_id IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_index(
            "uq_clock_cycles_run",
            "clock_cycles",
            RUN,
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL AND clock <> 'expected_resolution'"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index(
            "uq_clock_cycles_running", table_name="clock_cycles", postgresql_concurrently=True, if_exists=True
        )


def downgrade() -> None:
    """Build the index of before, and drop those of now."""
    op.create_index(
        "uq_clock_cycles_running",
        "clock_cycles",
        RUN,
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_index("uq_clock_cycles_run", table_name="clock_cycles")
    op.drop_index("ix_tickets_assignee_id", table_name="tickets")
