"""Identity, second part: its rules looked at, and its indexes built, without holding up anybody."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Look at what was there before, and build the indexes beside what runs."""
    op.execute("ALTER TABLE api_keys VALIDATE CONSTRAINT fk_api_keys_replaces")
    for name in ("ck_agents_identity", "ck_agents_identity_issuer_length", "ck_agents_identity_subject_length"):
        op.execute(f"ALTER TABLE agents VALIDATE CONSTRAINT {name}")
    with op.get_context().autocommit_block():
        # One that was cut off half-way is there and guards nothing: it is built again.
        for name, table, columns, unique in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.create_index(name, table, columns, unique=unique, postgresql_concurrently=True)


INDEXES = (
    ("ix_api_keys_created_at_id", "api_keys", ["created_at", "id"], False),
    ("uq_api_keys_replaces", "api_keys", ["replaces"], True),
    ("uq_agents_identity_issuer_identity_subject", "agents", ["identity_issuer", "identity_subject"], True),
)


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("uq_agents_identity_issuer_identity_subject", table_name="agents")
    op.drop_index("uq_api_keys_replaces", table_name="api_keys")
    op.drop_index("ix_api_keys_created_at_id", table_name="api_keys")
