"""The first schema: directory, policy, tickets with their clocks and events, and the rights of the runtime role."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The role that the application works as: whoever logs in is a member of it, and it owns nothing.
RUNTIME_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kawan_runtime') THEN
        CREATE ROLE kawan_runtime NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

# Whoever migrates may work as that role as well, so that one address is enough to begin with.
MEMBERSHIP = """
DO $$ BEGIN
    GRANT kawan_runtime TO CURRENT_USER;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""

# Two plans of one agreement may not overlap. The agreement's row is locked first, so that two
# writers at once see each other; an exclusion constraint would need an extension.
OVERLAP = """
CREATE FUNCTION refuse_overlapping_subscriptions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM agreements WHERE client_id = NEW.client_id AND id = NEW.agreement_id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM subscriptions AS other
        WHERE other.client_id = NEW.client_id AND other.agreement_id = NEW.agreement_id AND other.id <> NEW.id
            AND subscription_span(other.starts_on, other.ends_on, other.cancelled_at)
                && subscription_span(NEW.starts_on, NEW.ends_on, NEW.cancelled_at)
    ) THEN
        RAISE EXCEPTION 'subscriptions of one agreement may not overlap'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'subscriptions_overlap';
    END IF;
    RETURN NEW;
END $$
"""

# The dates a plan may be active on, the end left out: a cancelled one makes room from that day on.
SPAN = """
CREATE FUNCTION subscription_span(starts_on date, ends_on date, cancelled_at timestamptz) RETURNS daterange
LANGUAGE sql IMMUTABLE RETURN daterange(starts_on, greatest(starts_on, least(
    coalesce(ends_on + 1, 'infinity'), coalesce((cancelled_at AT TIME ZONE 'UTC')::date, 'infinity')
)))
"""

KEPT_FOR_EVER = ("policy_versions", "calendars", "calendar_revisions", "eligibility_checks", "events", "secrets")
CHANGED = ("clients", "contacts", "agreements", "subscriptions", "agents", "api_keys", "tickets", "clock_cycles")
DROPPED = ("idempotency_keys", "test_clock", "sweeps")


def upgrade() -> None:
    """Expand first: the code that runs now has to go on running on the new schema."""
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("on_call", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('agent', 'lead', 'admin')", name=op.f("ck_agents_role")),
        sa.CheckConstraint("char_length(email) BETWEEN 1 AND 320", name=op.f("ck_agents_email_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_agents_name_length")),
        sa.CheckConstraint("level BETWEEN 1 AND 3", name=op.f("ck_agents_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("email", name=op.f("uq_agents_email")),
    )
    op.create_table(
        "calendars",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("weekly_hours", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_calendars_name_length")),
        sa.CheckConstraint("char_length(timezone) BETWEEN 1 AND 64", name=op.f("ck_calendars_timezone_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("name", name=op.f("uq_calendars_name")),
    )
    op.create_table(
        "clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("char_length(external_id) BETWEEN 1 AND 200", name=op.f("ck_clients_external_id_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_clients_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
        sa.UniqueConstraint("external_id", name=op.f("uq_clients_external_id")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key_length")),
        sa.PrimaryKeyConstraint("principal", "operation", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 64", name=op.f("ck_secrets_name_length")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "sweeps",
        sa.Column("singleton", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_sweeps_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "test_clock",
        sa.Column("singleton", sa.Boolean(), nullable=False),
        sa.Column("now", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_test_clock_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_test_clock")),
    )
    op.create_table(
        "agreements",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("assets", postgresql.JSONB(), nullable=True),
        sa.Column("services", postgresql.JSONB(), nullable=True),
        sa.Column("support_line", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("assets IS NULL OR jsonb_typeof(assets) = 'array'", name=op.f("ck_agreements_assets")),
        sa.CheckConstraint("services IS NULL OR jsonb_typeof(services) = 'array'", name=op.f("ck_agreements_services")),
        sa.CheckConstraint("char_length(external_id) BETWEEN 1 AND 200", name=op.f("ck_agreements_external_id_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_agreements_name_length")),
        sa.CheckConstraint(
            "char_length(support_line) BETWEEN 1 AND 50", name=op.f("ck_agreements_support_line_length")
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_agreements_client_id")),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_agreements")),
        sa.UniqueConstraint("external_id", name=op.f("uq_agreements_external_id")),
    )
    op.create_table(
        "calendar_revisions",
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exceptions", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("jsonb_typeof(exceptions) = 'array'", name=op.f("ck_calendar_revisions_exceptions")),
        sa.CheckConstraint("revision > 0", name=op.f("ck_calendar_revisions_revision")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_calendar_revisions_calendar_id")),
        sa.PrimaryKeyConstraint("calendar_id", "revision", name=op.f("pk_calendar_revisions")),
    )
    op.create_table(
        "contacts",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('contact', 'client_admin')", name=op.f("ck_contacts_role")),
        sa.CheckConstraint("char_length(email) BETWEEN 1 AND 320", name=op.f("ck_contacts_email_length")),
        sa.CheckConstraint("char_length(external_id) BETWEEN 1 AND 200", name=op.f("ck_contacts_external_id_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_contacts_name_length")),
        sa.CheckConstraint("char_length(phone) BETWEEN 1 AND 50", name=op.f("ck_contacts_phone_length")),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_contacts_client_id")),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("external_id", name=op.f("uq_contacts_external_id")),
        sa.UniqueConstraint("id", name=op.f("uq_contacts_id")),
    )
    op.create_table(
        "policy_versions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_policy_versions_number")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_policy_versions_calendar_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policy_versions")),
        sa.UniqueConstraint("effective_from", name=op.f("uq_policy_versions_effective_from")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(role IN ('contact', 'client_admin')) = (contact_id IS NOT NULL) AND (contact_id IS NULL) = (client_id IS NULL) AND (role IN ('agent', 'lead', 'admin')) = (agent_id IS NOT NULL)",
            name=op.f("ck_api_keys_person"),
        ),
        sa.CheckConstraint(
            "role IN ('contact', 'client_admin', 'agent', 'lead', 'admin', 'auditor', 'automation')",
            name=op.f("ck_api_keys_role"),
        ),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_api_keys_name_length")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_api_keys_digest")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_api_keys_agent_id")),
        sa.ForeignKeyConstraint(
            ["client_id", "contact_id"],
            ["contacts.client_id", "contacts.id"],
            name=op.f("fk_api_keys_client_id_contact_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "eligibility_checks",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_role", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("decision", postgresql.JSONB(), nullable=False),
        sa.Column("ticket_attempt", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "NOT ticket_attempt OR outcome = 'denied'", name=op.f("ck_eligibility_checks_ticket_attempt")
        ),
        sa.CheckConstraint(
            "outcome IN ('allowed', 'allowed_with_warnings', 'denied')", name=op.f("ck_eligibility_checks_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["client_id", "contact_id"],
            ["contacts.client_id", "contacts.id"],
            name=op.f("fk_eligibility_checks_client_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_eligibility_checks_client_id")),
        sa.ForeignKeyConstraint(
            ["policy_version"], ["policy_versions.number"], name=op.f("fk_eligibility_checks_policy_version")
        ),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_eligibility_checks")),
        sa.UniqueConstraint("id", name=op.f("uq_eligibility_checks_id")),
    )
    op.create_index(
        op.f("ix_eligibility_checks_created_at_id"), "eligibility_checks", ["created_at", "id"], unique=False
    )
    op.create_table(
        "subscriptions",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agreement_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("suspensions", postgresql.JSONB(), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("jsonb_typeof(suspensions) = 'array'", name=op.f("ck_subscriptions_suspensions")),
        sa.CheckConstraint("tier IN ('standard', 'premium')", name=op.f("ck_subscriptions_tier")),
        sa.CheckConstraint(
            "char_length(external_id) BETWEEN 1 AND 200", name=op.f("ck_subscriptions_external_id_length")
        ),
        sa.CheckConstraint("ends_on IS NULL OR ends_on >= starts_on", name=op.f("ck_subscriptions_dates")),
        sa.ForeignKeyConstraint(
            ["client_id", "agreement_id"],
            ["agreements.client_id", "agreements.id"],
            name=op.f("fk_subscriptions_client_id_agreement_id"),
        ),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("external_id", name=op.f("uq_subscriptions_external_id")),
    )
    op.create_index(
        op.f("ix_subscriptions_client_id_agreement_id"), "subscriptions", ["client_id", "agreement_id"], unique=False
    )
    op.create_table(
        "tickets",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.Column("outage_statement", sa.Text(), nullable=True),
        sa.Column("asset_id", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("follow_up_of", sa.Uuid(), nullable=True),
        sa.Column("eligibility_check_id", sa.Uuid(), nullable=True),
        sa.Column("requested_priority", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("priority_source", sa.Text(), nullable=False),
        sa.Column("complexity", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("late_logged", sa.Boolean(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("warnings", postgresql.JSONB(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'new') = (acknowledged_at IS NULL)", name=op.f("ck_tickets_acknowledged")),
        sa.CheckConstraint(
            "category IN ('incident', 'question', 'service_request', 'customizations', 'upgrades', 'layout_changes', 'feature_additions', 'third_party_modifications')",
            name=op.f("ck_tickets_category"),
        ),
        sa.CheckConstraint("channel IN ('portal', 'email', 'phone')", name=op.f("ck_tickets_channel")),
        sa.CheckConstraint("complexity IN ('standard', 'complex')", name=op.f("ck_tickets_complexity")),
        sa.CheckConstraint("priority IN ('critical', 'high', 'normal', 'low')", name=op.f("ck_tickets_priority")),
        sa.CheckConstraint("priority_source IN ('client', 'staff')", name=op.f("ck_tickets_priority_source")),
        sa.CheckConstraint(
            "requested_priority IN ('critical', 'high', 'normal', 'low')", name=op.f("ck_tickets_requested_priority")
        ),
        sa.CheckConstraint(
            "status IN ('new', 'open', 'waiting_on_client', 'resolved', 'closed')", name=op.f("ck_tickets_status")
        ),
        sa.CheckConstraint("NOT late_logged OR answered", name=op.f("ck_tickets_late_logged")),
        sa.CheckConstraint("char_length(asset_id) BETWEEN 1 AND 200", name=op.f("ck_tickets_asset_id_length")),
        sa.CheckConstraint("char_length(description) BETWEEN 1 AND 20000", name=op.f("ck_tickets_description_length")),
        sa.CheckConstraint(
            "char_length(outage_statement) BETWEEN 1 AND 2000", name=op.f("ck_tickets_outage_statement_length")
        ),
        sa.CheckConstraint("char_length(service) BETWEEN 1 AND 200", name=op.f("ck_tickets_service_length")),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 200", name=op.f("ck_tickets_subject_length")),
        sa.CheckConstraint("level BETWEEN 1 AND 3", name=op.f("ck_tickets_level")),
        sa.CheckConstraint("received_at <= created_at AND created_at <= last_event_at", name=op.f("ck_tickets_order")),
        sa.CheckConstraint("version > 0 AND last_number >= version", name=op.f("ck_tickets_version")),
        sa.ForeignKeyConstraint(
            ["client_id", "contact_id"],
            ["contacts.client_id", "contacts.id"],
            name=op.f("fk_tickets_client_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["client_id", "eligibility_check_id"],
            ["eligibility_checks.client_id", "eligibility_checks.id"],
            name=op.f("fk_tickets_client_id_eligibility_check_id"),
        ),
        sa.ForeignKeyConstraint(
            ["client_id", "follow_up_of"],
            ["tickets.client_id", "tickets.id"],
            name=op.f("fk_tickets_client_id_follow_up_of"),
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_tickets_client_id")),
        sa.ForeignKeyConstraint(["policy_version"], ["policy_versions.number"], name=op.f("fk_tickets_policy_version")),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("id", name=op.f("uq_tickets_id")),
        sa.UniqueConstraint("ref", name=op.f("uq_tickets_ref")),
    )
    op.create_index(
        "ix_tickets_client_id_created_at",
        "tickets",
        ["client_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_tickets_created_at_id",
        "tickets",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_tickets_follow_up_of",
        "tickets",
        ["follow_up_of"],
        unique=False,
        postgresql_where=sa.text("follow_up_of IS NOT NULL"),
    )
    op.create_index(
        "ix_tickets_next_at", "tickets", ["next_at"], unique=False, postgresql_where=sa.text("next_at IS NOT NULL")
    )
    op.create_index(
        "uq_tickets_eligibility_check_id",
        "tickets",
        ["eligibility_check_id"],
        unique=True,
        postgresql_where=sa.text("eligibility_check_id IS NOT NULL"),
    )
    op.create_table(
        "clock_cycles",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("cycle", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("clause", sa.Text(), nullable=False),
        sa.Column("target_seconds", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("warn_at", postgresql.JSONB(), nullable=False),
        sa.Column("warn_base", sa.Text(), nullable=False),
        sa.Column("calendar_revision", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("warned", sa.SmallInteger(), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "base IN ('business_hours', 'business_days', 'calendar')", name=op.f("ck_clock_cycles_base")
        ),
        sa.CheckConstraint(
            "clock IN ('acknowledgement', 'resolution', 'update', 'expected_resolution')",
            name=op.f("ck_clock_cycles_clock"),
        ),
        sa.CheckConstraint(
            "end_reason IN ('done', 'superseded', 'withdrawn', 'out_of_scope', 'no_client_response')",
            name=op.f("ck_clock_cycles_end_reason"),
        ),
        sa.CheckConstraint("kind IN ('commitment', 'estimate')", name=op.f("ck_clock_cycles_kind")),
        sa.CheckConstraint(
            "warn_base IN ('business_hours', 'business_days', 'calendar')", name=op.f("ck_clock_cycles_warn_base")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("ck_clock_cycles_ended")),
        sa.CheckConstraint("cycle > 0", name=op.f("ck_clock_cycles_cycle")),
        sa.CheckConstraint(
            "detected_at IS NULL OR (detected_at > due_at AND (ended_at IS NULL OR ended_at > due_at))",
            name=op.f("ck_clock_cycles_broken"),
        ),
        sa.CheckConstraint("due_at > started_at", name=op.f("ck_clock_cycles_due")),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name=op.f("ck_clock_cycles_ended_at")),
        sa.CheckConstraint("target_seconds > 0", name=op.f("ck_clock_cycles_target")),
        sa.CheckConstraint("warned BETWEEN 0 AND 99", name=op.f("ck_clock_cycles_warned")),
        sa.ForeignKeyConstraint(
            ["client_id", "ticket_id"],
            ["tickets.client_id", "tickets.id"],
            name=op.f("fk_clock_cycles_client_id_ticket_id"),
        ),
        sa.PrimaryKeyConstraint("client_id", "ticket_id", "clock", "cycle", name=op.f("pk_clock_cycles")),
    )
    op.create_index(
        "ix_clock_cycles_due_at", "clock_cycles", ["due_at"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "uq_clock_cycles_running",
        "clock_cycles",
        ["client_id", "ticket_id", "clock"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_role", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_client_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("internal", sa.Boolean(), nullable=False),
        sa.Column("audience", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("number > 0 AND version > 0", name=op.f("ck_events_number")),
        sa.ForeignKeyConstraint(
            ["client_id", "ticket_id"], ["tickets.client_id", "tickets.id"], name=op.f("fk_events_client_id_ticket_id")
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("ticket_id", "number", name=op.f("uq_events_ticket_id_number")),
    )
    op.execute(sa.schema.CreateSequence(sa.Sequence("ticket_refs")))
    op.execute(SPAN)
    op.execute(OVERLAP)
    op.execute(
        "CREATE TRIGGER refuse_overlapping BEFORE INSERT OR UPDATE ON subscriptions"
        " FOR EACH ROW EXECUTE FUNCTION refuse_overlapping_subscriptions()"
    )
    op.execute(RUNTIME_ROLE)
    op.execute(MEMBERSHIP)
    op.execute("GRANT USAGE ON SEQUENCE ticket_refs TO kawan_runtime")
    op.execute("GRANT SELECT ON alembic_version TO kawan_runtime")
    op.execute(f"GRANT SELECT, INSERT ON {', '.join((*KEPT_FOR_EVER, *CHANGED, *DROPPED))} TO kawan_runtime")
    op.execute(f"GRANT UPDATE ON {', '.join((*CHANGED, *DROPPED))} TO kawan_runtime")
    op.execute(f"GRANT DELETE ON {', '.join(DROPPED)} TO kawan_runtime")


def downgrade() -> None:
    """Take it back; the role stays, as other databases of the server may use it."""
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM kawan_runtime")
    op.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM kawan_runtime")
    op.execute("DROP TRIGGER refuse_overlapping ON subscriptions")
    op.execute("DROP FUNCTION refuse_overlapping_subscriptions")
    op.execute("DROP FUNCTION subscription_span")
    op.execute(sa.schema.DropSequence(sa.Sequence("ticket_refs")))
    op.drop_table("events")
    op.drop_index("uq_clock_cycles_running", table_name="clock_cycles", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("ix_clock_cycles_due_at", table_name="clock_cycles", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("clock_cycles")
    op.drop_index(
        "uq_tickets_eligibility_check_id",
        table_name="tickets",
        postgresql_where=sa.text("eligibility_check_id IS NOT NULL"),
    )
    op.drop_index("ix_tickets_next_at", table_name="tickets", postgresql_where=sa.text("next_at IS NOT NULL"))
    op.drop_index("ix_tickets_follow_up_of", table_name="tickets", postgresql_where=sa.text("follow_up_of IS NOT NULL"))
    op.drop_index("ix_tickets_created_at_id", table_name="tickets")
    op.drop_index("ix_tickets_client_id_created_at", table_name="tickets")
    op.drop_table("tickets")
    op.drop_index(op.f("ix_subscriptions_client_id_agreement_id"), table_name="subscriptions")
    op.drop_table("subscriptions")
    op.drop_index(op.f("ix_eligibility_checks_created_at_id"), table_name="eligibility_checks")
    op.drop_table("eligibility_checks")
    op.drop_table("api_keys")
    op.drop_table("policy_versions")
    op.drop_table("contacts")
    op.drop_table("calendar_revisions")
    op.drop_table("agreements")
    op.drop_table("test_clock")
    op.drop_table("sweeps")
    op.drop_table("secrets")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("clients")
    op.drop_table("calendars")
    op.drop_table("agents")
