"""The schema: what is kept of clients, policies, tickets and their events, and which states are impossible."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.domain.calendar import Base
from app.domain.clocks import EndReason
from app.domain.eligibility import Outcome
from app.domain.events import EventKind, Role
from app.domain.policy import Category, Channel, Clock, Kind, Priority, Tier
from app.domain.ticket import Complexity, PrioritySource, Resolution, Status

TRANSACTION: Final = text("transaction_number(pg_current_xact_id())")
"""The number of the transaction that writes a row."""
EMPTY: Final = text("'[]'::jsonb")
"""The value of a list that code of before doesn't write yet."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class TextEnum(TypeDecorator[StrEnum]):
    """An enum kept as its text; `read` turns a text back into the enum by one look-up."""

    impl = Text
    cache_ok = True

    def __init__(self, choices: type[StrEnum]) -> None:
        super().__init__()
        self.choices = choices
        self.read = {str(member): member for member in choices}.__getitem__


class Shaped(TypeDecorator[Any]):
    """A JSONB value that is read as something better than JSON by `read`."""

    impl = JSONB
    cache_ok = False

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.read = read


def _choice(name: str, choices: type[StrEnum], *, nullable: bool = False) -> Column[Any]:
    return Column(name, TextEnum(choices), nullable=nullable)


def _one_of(name: str, choices: type[StrEnum]) -> CheckConstraint:
    """Allow only the values of an enum in a column."""
    values = ", ".join(f"'{member}'" for member in choices)
    return CheckConstraint(f"{name} IN ({values})", name=name)


def _instant(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, most: int, *, nullable: bool = False) -> tuple[Column[Any], CheckConstraint]:
    """Keep a text of 1 to `most` characters."""
    return (
        Column(name, Text, nullable=nullable),
        CheckConstraint(f"char_length({name}) BETWEEN 1 AND {most}", name=f"{name}_length"),
    )


# ------------------------------------------------------------------------------ clients and staff

clients = Table(
    "clients",
    metadata,
    Column("id", Uuid, primary_key=True),
    *_text("external_id", 200),
    *_text("name", 200),
    _instant("created_at"),
    _instant("updated_at"),
    Column("version", Integer, nullable=False),
    UniqueConstraint("external_id"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("id", Uuid, nullable=False),
    *_text("external_id", 200),
    *_text("name", 200),
    *_text("email", 320),
    *_text("phone", 50, nullable=True),
    _choice("role", Role),
    _instant("confirmed_at", nullable=True),
    _instant("bounced_at", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "id"),
    UniqueConstraint("id"),
    UniqueConstraint("external_id"),
    CheckConstraint("role IN ('contact', 'client_admin')", name="role"),
)

agreements = Table(
    "agreements",
    metadata,
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("id", Uuid, nullable=False),
    *_text("external_id", 200),
    *_text("name", 200),
    Column("assets", JSONB, nullable=True),
    Column("services", JSONB, nullable=True),
    *_text("support_line", 50, nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "id"),
    UniqueConstraint("external_id"),
    CheckConstraint("assets IS NULL OR jsonb_typeof(assets) = 'array'", name="assets"),
    CheckConstraint("services IS NULL OR jsonb_typeof(services) = 'array'", name="services"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("client_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("agreement_id", Uuid, nullable=False),
    *_text("external_id", 200),
    _choice("tier", Tier),
    Column("starts_on", Date, nullable=False),
    Column("ends_on", Date, nullable=True),
    # [{"starts_at", "ends_at" or null}]: kept as facts, so that any past instant can be judged.
    Column("suspensions", JSONB, nullable=False),
    _instant("cancelled_at", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "id"),
    UniqueConstraint("external_id"),
    ForeignKeyConstraint(["client_id", "agreement_id"], ["agreements.client_id", "agreements.id"]),
    Index(None, "client_id", "agreement_id"),
    _one_of("tier", Tier),
    CheckConstraint("ends_on IS NULL OR ends_on >= starts_on", name="dates"),
    CheckConstraint("jsonb_typeof(suspensions) = 'array'", name="suspensions"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True),
    *_text("name", 200),
    *_text("email", 320),
    _choice("role", Role),
    Column("level", SmallInteger, nullable=False),
    Column("on_call", Boolean, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    Column("version", Integer, nullable=False),
    # Who an identity provider says they are: its address, and what it calls them.
    *_text("identity_issuer", 200, nullable=True),
    *_text("identity_subject", 200, nullable=True),
    UniqueConstraint("email"),
    Index("uq_agents_identity_issuer_identity_subject", "identity_issuer", "identity_subject", unique=True),
    CheckConstraint("(identity_issuer IS NULL) = (identity_subject IS NULL)", name="identity"),
    CheckConstraint("role IN ('agent', 'lead', 'admin')", name="role"),
    CheckConstraint("level BETWEEN 1 AND 3", name="level"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    *_text("name", 200),
    _choice("role", Role),
    Column("agent_id", Uuid, ForeignKey("agents.id"), nullable=True),
    Column("client_id", Uuid, nullable=True),
    Column("contact_id", Uuid, nullable=True),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
    # None where it may do all that its role may.
    Column("scopes", ARRAY(Text), nullable=True),
    Column("replaces", Text, ForeignKey("api_keys.id"), nullable=True),
    ForeignKeyConstraint(["client_id", "contact_id"], ["contacts.client_id", "contacts.id"]),
    Index(None, "created_at", "id"),
    # A key is followed by one other.
    Index("uq_api_keys_replaces", "replaces", unique=True),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint(
        "role IN ('contact', 'client_admin', 'agent', 'lead', 'admin', 'auditor', 'automation')", name="role"
    ),
    # A key speaks for exactly the person that its role needs.
    CheckConstraint(
        "(role IN ('contact', 'client_admin')) = (contact_id IS NOT NULL)"
        " AND (contact_id IS NULL) = (client_id IS NULL)"
        " AND (role IN ('agent', 'lead', 'admin')) = (agent_id IS NOT NULL)",
        name="person",
    ),
)

# ------------------------------------------------------------------------- policy and calendars

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    _instant("effective_from"),
    Column("calendar_id", Uuid, ForeignKey("calendars.id"), nullable=False),
    Column("document", JSONB, nullable=False),
    _instant("published_at"),
    # A version is taken back only before it takes effect; nothing else of it ever changes.
    _instant("taken_back_at", nullable=True),
    Index(
        "uq_policy_versions_live_effective_from",
        "effective_from",
        unique=True,
        postgresql_where=text("taken_back_at IS NULL"),
    ),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("taken_back_at < effective_from", name="taken_back_at"),
)

policy_acknowledgements = Table(
    "policy_acknowledgements",
    metadata,
    Column("client_id", Uuid, nullable=False),
    Column("policy_version", Integer, ForeignKey("policy_versions.number"), nullable=False),
    Column("contact_id", Uuid, nullable=False),
    _instant("acknowledged_at"),
    PrimaryKeyConstraint("client_id", "policy_version"),
    ForeignKeyConstraint(["client_id", "contact_id"], ["contacts.client_id", "contacts.id"]),
    Index(None, "acknowledged_at", "client_id"),
)

# Counted up by triggers whenever a policy version or a calendar changes: who has read the terms
# at one number need not read them again until there is another.
terms_changes = Table(
    "terms_changes",
    metadata,
    Column("singleton", Boolean, primary_key=True),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("singleton", name="singleton"),
)

calendars = Table(
    "calendars",
    metadata,
    Column("id", Uuid, primary_key=True),
    *_text("name", 200),
    *_text("timezone", 64),
    Column("weekly_hours", JSONB, nullable=False),
    _instant("created_at"),
    UniqueConstraint("name"),
)

calendar_revisions = Table(
    "calendar_revisions",
    metadata,
    Column("calendar_id", Uuid, ForeignKey("calendars.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    _instant("changed_at"),
    # [{"date", "name", "hours"}]: the whole list, so that a revision is read in one piece.
    Column("exceptions", JSONB, nullable=False),
    PrimaryKeyConstraint("calendar_id", "revision"),
    CheckConstraint("revision > 0", name="revision"),
    CheckConstraint("jsonb_typeof(exceptions) = 'array'", name="exceptions"),
)

# ------------------------------------------------------------------------------- tickets

eligibility_checks = Table(
    "eligibility_checks",
    metadata,
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("contact_id", Uuid, nullable=True),
    _choice("outcome", Outcome),
    Column("policy_version", Integer, ForeignKey("policy_versions.number"), nullable=False),
    _instant("as_of"),
    _instant("created_at"),
    _choice("created_by_role", Role),
    Column("created_by_id", Uuid, nullable=True),
    # What was asked, all of it: a refused ticket loses no word its client wrote.
    Column("request", JSONB, nullable=False),
    Column("decision", JSONB, nullable=False),
    Column("ticket_attempt", Boolean, nullable=False),
    PrimaryKeyConstraint("client_id", "id"),
    UniqueConstraint("id"),
    ForeignKeyConstraint(["client_id", "contact_id"], ["contacts.client_id", "contacts.id"]),
    Index(None, "created_at", "id"),
    _one_of("outcome", Outcome),
    CheckConstraint("NOT ticket_attempt OR outcome = 'denied'", name="ticket_attempt"),
)

eligibility_overrides = Table(
    "eligibility_overrides",
    metadata,
    Column("client_id", Uuid, nullable=False),
    Column("check_id", Uuid, nullable=False),
    *_text("reason", 2_000),
    Column("overridden_by", Uuid, ForeignKey("agents.id"), nullable=False),
    _instant("overridden_at"),
    PrimaryKeyConstraint("client_id", "check_id"),
    ForeignKeyConstraint(["client_id", "check_id"], ["eligibility_checks.client_id", "eligibility_checks.id"]),
)

ticket_refs: Final = Sequence("ticket_refs", metadata=metadata)

tickets = Table(
    "tickets",
    metadata,
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("ref", Text, nullable=False),
    Column("contact_id", Uuid, nullable=False),
    _choice("channel", Channel),
    _choice("category", Category),
    *_text("subject", 200),
    *_text("description", 20_000),
    Column("details", JSONB, nullable=False),
    *_text("outage_statement", 2_000, nullable=True),
    *_text("asset_id", 200, nullable=True),
    *_text("service", 200, nullable=True),
    Column("follow_up_of", Uuid, nullable=True),
    Column("eligibility_check_id", Uuid, nullable=True),
    _choice("requested_priority", Priority),
    _choice("priority", Priority),
    _choice("priority_source", PrioritySource),
    _choice("complexity", Complexity),
    Column("level", SmallInteger, nullable=False),
    _choice("status", Status),
    Column("emergency", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("late_logged", Boolean, nullable=False),
    Column("policy_version", Integer, ForeignKey("policy_versions.number"), nullable=False),
    Column("warnings", JSONB, nullable=False),
    _instant("received_at"),
    _instant("created_at"),
    _instant("last_event_at"),
    _instant("acknowledged_at", nullable=True),
    Column("tags", JSONB, server_default=EMPTY, nullable=False),
    Column("assignee_id", Uuid, ForeignKey("agents.id"), nullable=True),
    Column("assignee_level", SmallInteger, nullable=True),
    _instant("classified_at", nullable=True),
    Column("late_reclassification", Boolean, server_default=false(), nullable=False),
    _instant("escalation_requested_at", nullable=True),
    # [[from, to or null]]: the stretches in which the ticket waited for its client.
    Column("waits", JSONB, server_default=EMPTY, nullable=False),
    _instant("reminded_at", nullable=True),
    _choice("resolution", Resolution, nullable=True),
    _instant("resolved_at", nullable=True),
    _instant("closed_at", nullable=True),
    Column("disputed", Boolean, server_default=false(), nullable=False),
    Column("feedback", JSONB, nullable=True),
    Column("rules_applied", JSONB, server_default=EMPTY, nullable=False),
    Column("last_number", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    # The next instant at which time alone brings anything: what the worker looks for.
    _instant("next_at", nullable=True),
    PrimaryKeyConstraint("client_id", "id"),
    UniqueConstraint("id"),
    UniqueConstraint("ref"),
    ForeignKeyConstraint(["client_id", "contact_id"], ["contacts.client_id", "contacts.id"]),
    ForeignKeyConstraint(["client_id", "follow_up_of"], ["tickets.client_id", "tickets.id"]),
    ForeignKeyConstraint(
        ["client_id", "eligibility_check_id"], ["eligibility_checks.client_id", "eligibility_checks.id"]
    ),
    Index("ix_tickets_created_at_id", text("created_at DESC"), text("id DESC")),
    Index("ix_tickets_client_id_created_at", "client_id", text("created_at DESC"), text("id DESC")),
    # A contact's own page: without it all of their client's tickets were read for it.
    Index(
        "ix_tickets_client_id_contact_id_created_at",
        "client_id",
        "contact_id",
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index("ix_tickets_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    Index("ix_tickets_assignee_id", "assignee_id", postgresql_where=text("assignee_id IS NOT NULL")),
    Index("ix_tickets_follow_up_of", "follow_up_of", postgresql_where=text("follow_up_of IS NOT NULL")),
    # One ticket uses an eligibility check.
    Index(
        "uq_tickets_eligibility_check_id",
        "eligibility_check_id",
        unique=True,
        postgresql_where=text("eligibility_check_id IS NOT NULL"),
    ),
    _one_of("channel", Channel),
    _one_of("category", Category),
    _one_of("requested_priority", Priority),
    _one_of("priority", Priority),
    _one_of("priority_source", PrioritySource),
    _one_of("complexity", Complexity),
    _one_of("status", Status),
    CheckConstraint("level BETWEEN 1 AND 3", name="level"),
    CheckConstraint("version > 0 AND last_number >= version", name="version"),
    CheckConstraint("status <> 'new' OR acknowledged_at IS NULL", name="unacknowledged"),
    # Who withdraws a new ticket closes it before anybody has seen it.
    CheckConstraint("acknowledged_at IS NOT NULL OR status IN ('new', 'closed')", name="acknowledged_at"),
    CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name="resolution_at"),
    CheckConstraint("resolved_at IS NULL OR status IN ('resolved', 'closed')", name="resolved_at"),
    CheckConstraint("status <> 'resolved' OR resolved_at IS NOT NULL", name="resolved"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    CheckConstraint("(assignee_id IS NULL) = (assignee_level IS NULL)", name="assignee"),
    # Nobody works on a ticket that is above their level.
    CheckConstraint("assignee_level >= level", name="assignee_level"),
    _one_of("resolution", Resolution),
    CheckConstraint("received_at <= created_at AND created_at <= last_event_at", name="order"),
    CheckConstraint("NOT late_logged OR answered", name="late_logged"),
)

clock_cycles = Table(
    "clock_cycles",
    metadata,
    Column("client_id", Uuid, nullable=False),
    Column("ticket_id", Uuid, nullable=False),
    _choice("clock", Clock),
    Column("cycle", Integer, nullable=False),
    _choice("kind", Kind),
    Column("clause", Text, nullable=False),
    Column("target_seconds", BigInteger, nullable=False),
    _choice("base", Base),
    Column("warn_at", JSONB, nullable=False),
    _choice("warn_base", Base),
    Column("calendar_revision", Integer, nullable=False),
    _instant("started_at"),
    # Null while the cycle is paused.
    _instant("due_at", nullable=True),
    # [[from, to or null]]: the stretches that don't count.
    Column("pauses", JSONB, server_default=EMPTY, nullable=False),
    Column("warned", SmallInteger, nullable=False),
    _instant("detected_at", nullable=True),
    _instant("ended_at", nullable=True),
    _choice("end_reason", EndReason, nullable=True),
    PrimaryKeyConstraint("client_id", "ticket_id", "clock", "cycle"),
    ForeignKeyConstraint(["client_id", "ticket_id"], ["tickets.client_id", "tickets.id"]),
    # One run of a clock at a time; of the dates that staff gave, an overdue one stays beside the next.
    Index(
        "uq_clock_cycles_run",
        "client_id",
        "ticket_id",
        "clock",
        unique=True,
        postgresql_where=text("ended_at IS NULL AND clock <> 'expected_resolution'"),
    ),
    Index("ix_clock_cycles_due_at", "due_at", postgresql_where=text("ended_at IS NULL")),
    _one_of("clock", Clock),
    _one_of("kind", Kind),
    _one_of("base", Base),
    _one_of("warn_base", Base),
    _one_of("end_reason", EndReason),
    CheckConstraint("cycle > 0", name="cycle"),
    CheckConstraint("target_seconds > 0", name="target"),
    CheckConstraint("due_at > started_at", name="due"),
    CheckConstraint("warned BETWEEN 0 AND 99", name="warned"),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name="ended_at"),
    # Nothing is both met and broken: what was seen broken did not end in time.
    CheckConstraint(
        "detected_at IS NULL OR (detected_at > due_at AND (ended_at IS NULL OR ended_at > due_at))", name="broken"
    ),
)

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("client_id", Uuid, nullable=False),
    Column("ticket_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    _choice("kind", EventKind),
    _instant("at"),
    _choice("actor_role", Role),
    Column("actor_id", Uuid, nullable=True),
    Column("actor_client_id", Uuid, nullable=True),
    Column("data", JSONB, nullable=False),
    Column("internal", Boolean, nullable=False),
    Column("audience", JSONB, nullable=False),
    # By which transaction it was written, in the order in which it is sealed; null before there were seals.
    Column("transaction", BigInteger, server_default=TRANSACTION, nullable=True),
    ForeignKeyConstraint(["client_id", "ticket_id"], ["tickets.client_id", "tickets.id"]),
    UniqueConstraint("ticket_id", "number"),
    Index("ix_events_transaction_position", "transaction", "position"),
    CheckConstraint("number > 0 AND version > 0", name="number"),
)

# --------------------------------------------------------------------------------- the audit

# Written by a trigger of each audited table, by whoever writes there.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("transaction", BigInteger, server_default=TRANSACTION, nullable=False),
    _instant("at"),
    Column("subject", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("client_id", Uuid, nullable=True),
    # Null where the statement said nothing of who it is by: then the login is all that is known.
    Column("actor_role", TextEnum(Role), nullable=True),
    Column("actor_id", Uuid, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("login", Text, nullable=False),
    Column("before", JSONB, nullable=True),
    Column("after", JSONB, nullable=True),
    CheckConstraint("before IS NOT NULL OR after IS NOT NULL", name="change"),
    Index("ix_audit_entries_transaction_position", "transaction", "position"),
    *(
        Index(f"ix_audit_entries_{name}_position", name, "position")
        for name in ("subject", "subject_id", "client_id", "actor_id", "at")
    ),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    # All that was written by transactions from `since` on and before `until`.
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    _instant("sealed_at"),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
    CheckConstraint("number > 0 AND until > since AND events + entries > 0", name="range"),
)

# ------------------------------------------------------------------------------- the service

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Text, nullable=False),
    Column("operation", Text, nullable=False),
    *_text("key", 255),
    Column("digest", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _instant("created_at"),
    # Whose person was answered; null for the house.
    Column("client_id", Uuid, nullable=True),
    PrimaryKeyConstraint("principal", "operation", "key"),
    Index(None, "created_at"),
)

secrets = Table(
    "secrets",
    metadata,
    *_text("name", 64),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("name"),
)

test_clock = Table(
    "test_clock",
    metadata,
    Column("singleton", Boolean, primary_key=True),
    _instant("now"),
    CheckConstraint("singleton", name="singleton"),
)

self_checks = Table(
    "self_checks",
    metadata,
    Column("singleton", Boolean, primary_key=True),
    _instant("finished_at"),
    Column("tickets", Integer, nullable=False),
    Column("drift", Integer, nullable=False),
    CheckConstraint("singleton", name="singleton"),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("singleton", Boolean, primary_key=True),
    # Wall-clock time of the machine, not business time: is the worker alive?
    _instant("finished_at"),
    CheckConstraint("singleton", name="singleton"),
)
