"""The policy in motion, second part: of the versions that weren't taken back, one takes effect at an instant."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Look at what was there before, and change the rule without holding up anybody."""
    op.execute("ALTER TABLE policy_versions VALIDATE CONSTRAINT ck_policy_versions_taken_back_at")
    with op.get_context().autocommit_block():
        # One that was cut off half-way is there and guards nothing: it is built again.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_policy_versions_live_effective_from")
        op.create_index(
            "uq_policy_versions_live_effective_from",
            "policy_versions",
            ["effective_from"],
            unique=True,
            postgresql_where=sa.text("taken_back_at IS NULL"),
            postgresql_concurrently=True,
        )
    op.drop_constraint("uq_policy_versions_effective_from", "policy_versions", type_="unique")


def downgrade() -> None:
    """Go back to one version an instant, taken back or not."""
    op.create_unique_constraint("uq_policy_versions_effective_from", "policy_versions", ["effective_from"])
    op.drop_index("uq_policy_versions_live_effective_from", table_name="policy_versions")
