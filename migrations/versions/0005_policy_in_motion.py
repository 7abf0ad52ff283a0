"""The policy in motion: versions taken back and acknowledged, refusals overridden, and a count of its changes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNT = """
CREATE FUNCTION count_terms_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE terms_changes SET number = number + 1;
    RETURN NULL;
END $$
"""


REFUSE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM policy_versions WHERE taken_back_at IS NOT NULL) THEN
        RAISE EXCEPTION 'a policy version was taken back: the schema before this one would put it in force again';
    END IF;
END $$
"""


def upgrade() -> None:
    """Make the tables, and count every change of policy and calendars from now on."""
    op.create_table(
        "policy_acknowledgements",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "policy_version", name=op.f("pk_policy_acknowledgements")),
        sa.ForeignKeyConstraint(
            ["client_id", "contact_id"],
            ["contacts.client_id", "contacts.id"],
            name=op.f("fk_policy_acknowledgements_client_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["policy_version"],
            ["policy_versions.number"],
            name=op.f("fk_policy_acknowledgements_policy_version"),
        ),
    )
    op.create_index(
        op.f("ix_policy_acknowledgements_acknowledged_at_client_id"),
        "policy_acknowledgements",
        ["acknowledged_at", "client_id"],
    )
    op.create_table(
        "eligibility_overrides",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("overridden_by", sa.Uuid(), nullable=False),
        sa.Column("overridden_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "check_id", name=op.f("pk_eligibility_overrides")),
        sa.ForeignKeyConstraint(
            ["client_id", "check_id"],
            ["eligibility_checks.client_id", "eligibility_checks.id"],
            name=op.f("fk_eligibility_overrides_client_id_check_id"),
        ),
        sa.ForeignKeyConstraint(["overridden_by"], ["agents.id"], name=op.f("fk_eligibility_overrides_overridden_by")),
        sa.CheckConstraint(
            "char_length(reason) BETWEEN 1 AND 2000", name=op.f("ck_eligibility_overrides_reason_length")
        ),
    )
    op.create_table(
        "terms_changes",
        sa.Column("singleton", sa.Boolean(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_terms_changes_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_terms_changes")),
    )
    op.execute("INSERT INTO terms_changes (singleton, number) VALUES (true, 1)")
    op.execute(COUNT)
    for table in ("policy_versions", "calendar_revisions"):
        op.execute(
            f"CREATE TRIGGER count_change AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION count_terms_change()"
        )
    op.add_column("policy_versions", sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "ALTER TABLE policy_versions ADD CONSTRAINT ck_policy_versions_taken_back_at"
        " CHECK (taken_back_at < effective_from) NOT VALID"
    )
    op.execute("GRANT SELECT, INSERT ON policy_acknowledgements, eligibility_overrides TO kawan_runtime")
    op.execute("GRANT SELECT, UPDATE ON terms_changes TO kawan_runtime")
    op.execute("GRANT UPDATE (taken_back_at) ON policy_versions TO kawan_runtime")


def downgrade() -> None:
    """Drop what was made; not while a version is taken back, which would be in force again."""
    op.execute(REFUSE)
    op.execute("REVOKE UPDATE (taken_back_at) ON policy_versions FROM kawan_runtime")
    op.drop_column("policy_versions", "taken_back_at")
    for table in ("policy_versions", "calendar_revisions"):
        op.execute(f"DROP TRIGGER count_change ON {table}")
    op.execute("DROP FUNCTION count_terms_change")
    op.drop_table("terms_changes")
    op.drop_table("eligibility_overrides")
    op.drop_table("policy_acknowledgements")
