"""Identity: keys with scopes that replace each other, and staff known by an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: what runs now knows nothing of these columns."""
    op.add_column("api_keys", sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("api_keys", sa.Column("replaces", sa.Text(), nullable=True))
    op.add_column("agents", sa.Column("identity_issuer", sa.Text(), nullable=True))
    op.add_column("agents", sa.Column("identity_subject", sa.Text(), nullable=True))
    op.execute(
        "ALTER TABLE api_keys ADD CONSTRAINT fk_api_keys_replaces FOREIGN KEY (replaces) REFERENCES api_keys (id)"
        " NOT VALID"
    )
    for name, rule in CHECKS.items():
        op.execute(f"ALTER TABLE agents ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")


CHECKS = {
    "ck_agents_identity": "(identity_issuer IS NULL) = (identity_subject IS NULL)",
    "ck_agents_identity_issuer_length": "char_length(identity_issuer) BETWEEN 1 AND 200",
    "ck_agents_identity_subject_length": "char_length(identity_subject) BETWEEN 1 AND 200",
}


def downgrade() -> None:
    """Drop what was made."""
    op.drop_column("agents", "identity_subject")
    op.drop_column("agents", "identity_issuer")
    op.drop_column("api_keys", "replaces")
    op.drop_column("api_keys", "scopes")
