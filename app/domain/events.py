"""What happened to a ticket: the one truth from which its state, its clocks and its story are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


class EventKind(StrEnum):
    """The names under which the timeline, the feed and every reader know what happened."""

    TICKET_OPENED = "ticket.opened"
    TICKET_ACKNOWLEDGED = "ticket.acknowledged"
    TICKET_PRIORITIZED = "ticket.prioritized"
    TICKET_PRIORITY_REQUESTED = "ticket.priority_requested"
    TICKET_CLASSIFIED = "ticket.classified"
    TICKET_EXPECTED_RESOLUTION_SET = "ticket.expected_resolution_set"
    TICKET_ESCALATED = "ticket.escalated"
    TICKET_DEESCALATED = "ticket.deescalated"
    TICKET_ASSIGNED = "ticket.assigned"
    TICKET_DETAILS_REQUESTED = "ticket.details_requested"
    TICKET_REMINDED = "ticket.reminded"
    TICKET_RESUMED = "ticket.resumed"
    TICKET_RESOLVED = "ticket.resolved"
    TICKET_OUT_OF_SCOPE = "ticket.out_of_scope"
    TICKET_DISPUTED = "ticket.disputed"
    TICKET_REOPENED = "ticket.reopened"
    TICKET_CLOSED = "ticket.closed"
    TICKET_WITHDRAWN = "ticket.withdrawn"
    TICKET_AMENDED = "ticket.amended"
    TICKET_EMERGENCY = "ticket.emergency"
    TICKET_EMERGENCY_ENDED = "ticket.emergency_ended"
    ESCALATION_REQUESTED = "escalation.requested"
    ESCALATION_GRANTED = "escalation.granted"
    ESCALATION_DECLINED = "escalation.declined"
    RULE_SATISFIED = "rule.satisfied"
    FEEDBACK_GIVEN = "feedback.given"
    MESSAGE_SENT = "message.sent"
    MESSAGE_RECEIVED = "message.received"
    MESSAGE_NOTED = "message.noted"
    CLOCK_STARTED = "clock.started"
    CLOCK_MET = "clock.met"
    CLOCK_ENDED = "clock.ended"
    CLOCK_WARNED = "clock.warned"
    CLOCK_BROKEN = "clock.broken"
    CLOCK_PAUSED = "clock.paused"
    CLOCK_RESUMED = "clock.resumed"
    CLOCK_MOVED = "clock.moved"
    CLOCK_SUPERSEDED = "clock.superseded"
    CLOCK_CANCELLED = "clock.cancelled"


class Role(StrEnum):
    """In which capacity somebody acts."""

    CONTACT = "contact"
    CLIENT_ADMIN = "client_admin"
    AGENT = "agent"
    LEAD = "lead"
    ADMIN = "admin"
    AUDITOR = "auditor"
    AUTOMATION = "automation"
    SERVICE = "service"


CLIENTS: Final = frozenset({Role.CONTACT, Role.CLIENT_ADMIN})
STAFF: Final = frozenset({Role.AGENT, Role.LEAD, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person (`id` is their agent or contact id), an automation, or the service itself.

    `level` is the support level of a person of staff today; what happened doesn't keep it.
    """

    role: Role
    id: UUID | None = None
    client_id: UUID | None = None
    level: int | None = field(default=None, compare=False)


SERVICE: Final = Actor(Role.SERVICE)


@dataclass(frozen=True)
class Event:
    """One thing that happened; `data` is what the fold and the readers need of it, as JSON.

    `number` counts the ticket's events from 1 and orders equal instants; `version` is the
    ticket's version that the event belongs to. Internal events are never shown to a client.
    """

    kind: EventKind
    at: datetime
    actor: Actor
    data: Mapping[str, Any] = field(default_factory=dict)
    internal: bool = False
    audience: tuple[str, ...] = ()
    number: int = 0
    version: int = 0


def rfc3339(at: datetime) -> str:
    """Write an instant in UTC with Z, and a fraction of six digits only when it isn't zero."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_instant(value: str) -> datetime:
    """Read an instant that `rfc3339` wrote."""
    return datetime.fromisoformat(value).astimezone(UTC)
