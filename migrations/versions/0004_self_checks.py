"""What the last self-check found: how many tickets, and how many of them weren't the fold of their events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for one result."""
    op.create_table(
        "self_checks",
        sa.Column("singleton", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tickets", sa.Integer(), nullable=False),
        sa.Column("drift", sa.Integer(), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_self_checks_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_self_checks")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON self_checks TO kawan_runtime")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("self_checks")
