"""The whole policy: who works on a ticket, its waits and endings, paused clocks, and the rules of version 1."""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EMPTY = sa.text("'[]'::jsonb")
ADDED = (
    sa.Column("tags", postgresql.JSONB(), server_default=EMPTY, nullable=False),
    sa.Column("assignee_id", sa.Uuid(), nullable=True),
    sa.Column("assignee_level", sa.SmallInteger(), nullable=True),
    sa.Column("classified_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("late_reclassification", sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column("escalation_requested_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("waits", postgresql.JSONB(), server_default=EMPTY, nullable=False),
    sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("resolution", sa.Text(), nullable=True),
    sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("disputed", sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column("feedback", postgresql.JSONB(), nullable=True),
    sa.Column("rules_applied", postgresql.JSONB(), server_default=EMPTY, nullable=False),
)
CHECKS = {
    "unacknowledged": "status <> 'new' OR acknowledged_at IS NULL",
    "acknowledged_at": "acknowledged_at IS NOT NULL OR status IN ('new', 'closed')",
    "resolution_at": "(resolved_at IS NULL) = (resolution IS NULL)",
    "resolved_at": "resolved_at IS NULL OR status IN ('resolved', 'closed')",
    "resolved": "status <> 'resolved' OR resolved_at IS NOT NULL",
    "closed_at": "(status = 'closed') = (closed_at IS NOT NULL)",
    "assignee": "(assignee_id IS NULL) = (assignee_level IS NULL)",
    "assignee_level": "assignee_level >= level",
    "resolution": "resolution IN ('fixed', 'answered', 'workaround', 'out_of_scope', 'no_client_response')",
}

# What version 1 says beyond what it needed before: filled in where it was published without it.
UPDATE_TARGET = {
    "clause": "response.complex",
    "kind": "commitment",
    "seconds": 32_400,
    "base": "business_hours",
    "warn_at": [75],
    "warn_base": "business_hours",
}
LIMITS = {"reopen_days": 7, "feedback_days": 7, "override_days": 7}
WAITING = {"base": "business_days", "reminder_seconds": 259_200, "resolution_seconds": 864_000}
RULES = [
    {"id": "complex-to-2", "clause": "escalation.level-2", "trigger": "classified", "raise_to": 2},
    {
        "id": "ack-breached",
        "clause": "escalation.level-2",
        "trigger": "clock_broken",
        "clock": "acknowledgement",
        "raise_to": 2,
        "tell": ["lead"],
    },
    {
        "id": "resolution-overdue",
        "clause": "escalation.level-2",
        "trigger": "clock_broken",
        "clock": "resolution",
        "raise_to": 2,
    },
    {
        "id": "resolution-overdue-1d",
        "clause": "escalation.level-3",
        "trigger": "clock_broken",
        "clock": "resolution",
        "after_seconds": 86_400,
        "base": "business_days",
        "raise_to": 3,
    },
    {
        "id": "update-missed",
        "clause": "escalation.level-3",
        "trigger": "clock_broken",
        "clock": "update",
        "raise_to": 3,
    },
]
COMPLETED = f"""
UPDATE policy_versions SET document = document
    || jsonb_build_object(
        'targets', (document -> 'targets') || jsonb_build_object('update', '{json.dumps(UPDATE_TARGET)}'::jsonb),
        'limits', (document -> 'limits') || '{json.dumps(LIMITS)}'::jsonb,
        'waiting', '{json.dumps(WAITING)}'::jsonb,
        'escalation_rules', '{json.dumps(RULES)}'::jsonb
    )
WHERE NOT document ? 'waiting'
"""  # noqa: S608  # constants of this file
REDUCED = """
UPDATE policy_versions SET document = document - 'waiting' - 'escalation_rules'
    || jsonb_build_object(
        'targets', (document -> 'targets') - 'update',
        'limits', (document -> 'limits') - 'reopen_days' - 'feedback_days' - 'override_days'
    )
"""


def upgrade() -> None:
    """Add columns with their values, and checks for what is written from now on; 0003 looks at what was before."""
    for column in ADDED:
        op.add_column("tickets", column)
    op.execute("ALTER TABLE tickets DROP CONSTRAINT ck_tickets_acknowledged")
    for name, condition in CHECKS.items():
        op.execute(f"ALTER TABLE tickets ADD CONSTRAINT ck_tickets_{name} CHECK ({condition}) NOT VALID")
    op.execute(
        "ALTER TABLE tickets ADD CONSTRAINT fk_tickets_assignee_id"
        " FOREIGN KEY (assignee_id) REFERENCES agents (id) NOT VALID"
    )
    op.add_column("clock_cycles", sa.Column("pauses", postgresql.JSONB(), server_default=EMPTY, nullable=False))
    op.alter_column("clock_cycles", "due_at", nullable=True)
    op.execute(COMPLETED)


def downgrade() -> None:
    """Take it all back; tickets that only the whole policy knows stand in the way, and the checks say so."""
    op.execute(REDUCED)
    op.alter_column("clock_cycles", "due_at", nullable=False)
    op.drop_column("clock_cycles", "pauses")
    op.execute("ALTER TABLE tickets DROP CONSTRAINT fk_tickets_assignee_id")
    for name in reversed(CHECKS):
        op.execute(f"ALTER TABLE tickets DROP CONSTRAINT ck_tickets_{name}")
    op.execute(
        "ALTER TABLE tickets ADD CONSTRAINT ck_tickets_acknowledged"
        " CHECK ((status = 'new') = (acknowledged_at IS NULL)) NOT VALID"
    )
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_acknowledged")
    for column in reversed(ADDED):
        op.drop_column("tickets", column.name)
