"""What a ticket is: its values, the table of acts, and the fold by which events alone change it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any, Final
from uuid import UUID

from app.domain import clocks
from app.domain.clocks import Cycle, EndReason
from app.domain.errors import ActForbiddenError, ActNotAllowedError
from app.domain.events import CLIENTS, STAFF, Actor, Event, EventKind, Role, read_instant
from app.domain.policy import Category, Channel, Clock, Priority


class Status(StrEnum):
    """How far a ticket is; `new` means that nobody has acknowledged it."""

    NEW = "new"
    OPEN = "open"
    WAITING_ON_CLIENT = "waiting_on_client"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Complexity(StrEnum):
    """Which resolution promise fits (clauses response.standard and response.complex)."""

    STANDARD = "standard"
    COMPLEX = "complex"


class PrioritySource(StrEnum):
    """Who the priority comes from."""

    CLIENT = "client"
    STAFF = "staff"


class ActName(StrEnum):
    """What can be done to a ticket that exists."""

    ACKNOWLEDGE = "acknowledge"
    REPLY = "reply"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Details:
    """What the client owes to be helped well (clause responsibilities.descriptions)."""

    since: str | None = None
    where: str | None = None
    impact: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request, as its events tell it up to the last of them."""

    id: UUID
    client_id: UUID
    contact_id: UUID
    ref: str
    channel: Channel
    category: Category
    subject: str
    description: str
    details: Details
    outage_statement: str | None
    asset_id: str | None
    service: str | None
    follow_up_of: UUID | None
    eligibility_check_id: UUID | None
    requested_priority: Priority
    priority: Priority
    priority_source: PrioritySource
    complexity: Complexity
    level: int
    status: Status
    emergency: bool
    answered: bool
    late_logged: bool
    policy_version: int
    warnings: tuple[Any, ...]
    received_at: datetime
    created_at: datetime
    last_event_at: datetime
    acknowledged_at: datetime | None = None
    cycles: tuple[Cycle, ...] = ()
    last_number: int = 0
    version: int = 0

    @property
    def calendar_revision(self) -> int:
        """Return the calendar revision by which the latest cycle was counted."""
        return self.cycles[-1].calendar_revision

    def running(self, clock: Clock) -> Cycle | None:
        """Return the cycle of a clock that nothing has ended yet."""
        return next((cycle for cycle in self.cycles if cycle.clock is clock and cycle.running), None)


# ------------------------------------------------------------------------------ the table of acts


@dataclass(frozen=True, slots=True)
class Act:
    """A row of the table: which act, by whom, from which status, to which (None: the same)."""

    name: ActName
    who: frozenset[Role]
    sources: frozenset[Status]
    target: Status | None


EVERY: Final = frozenset(Status)
ACTIVE: Final = frozenset({Status.NEW, Status.OPEN})

ACTS: Final = (
    Act(ActName.ACKNOWLEDGE, STAFF, ACTIVE, Status.OPEN),
    Act(ActName.REPLY, STAFF, ACTIVE, Status.OPEN),
    Act(ActName.REPLY, CLIENTS, ACTIVE, None),
    Act(ActName.NOTE, STAFF | {Role.AUTOMATION}, EVERY, None),
)


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Why an act is not open to an actor now."""

    act: ActName
    code: str
    reason: str


def permit(name: ActName, ticket: Ticket, actor: Actor) -> Act:
    """Return the row by which this actor may do this act now.

    Raises:
        ActForbiddenError: nobody in this role may do it, in any status.
        ActNotAllowedError: somebody in this role may, but not as the ticket stands.
    """
    refusal = _refusal(name, ticket, actor)
    if refusal is None:
        return next(row for row in ACTS if row.name is name and actor.role in row.who)
    error = ActForbiddenError if refusal.code == ActForbiddenError.code else ActNotAllowedError
    raise error(refusal.reason, allowed_acts=allowed(ticket, actor))


def allowed(ticket: Ticket, actor: Actor) -> tuple[ActName, ...]:
    """Return the acts that are open to this actor now, in the order of the table."""
    return tuple(name for name in ActName if _refusal(name, ticket, actor) is None)


def forbidden(ticket: Ticket, actor: Actor) -> tuple[Forbidden, ...]:
    """Return the acts that are not open to this actor now, each with its reason."""
    return tuple(refusal for name in ActName if (refusal := _refusal(name, ticket, actor)))


def _refusal(name: ActName, ticket: Ticket, actor: Actor) -> Forbidden | None:
    rows = [row for row in ACTS if row.name is name and actor.role in row.who]
    if not rows or _foreign(ticket, actor):
        return Forbidden(name, ActForbiddenError.code, f"the role {actor.role} may never {name}; ask somebody who may")
    if not any(ticket.status in row.sources for row in rows):
        return Forbidden(name, ActNotAllowedError.code, f"{name} needs another status than {ticket.status}")
    if name is ActName.ACKNOWLEDGE and not ticket.running(Clock.ACKNOWLEDGEMENT):
        return Forbidden(name, ActNotAllowedError.code, "the ticket is acknowledged already; reply instead")
    return None


def _foreign(ticket: Ticket, actor: Actor) -> bool:
    """Tell whether the ticket isn't the contact's own; a client_admin acts for the whole client."""
    if actor.role not in CLIENTS:
        return False
    return actor.client_id != ticket.client_id or (actor.role is Role.CONTACT and actor.id != ticket.contact_id)


# --------------------------------------------------------------------------------------- the fold


def numbered(ticket: Ticket | None, events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events of one act as they follow what the ticket has: same version, rising numbers."""
    number, version = (ticket.last_number, ticket.version) if ticket else (0, 0)
    return tuple(
        replace(event, number=number + place, version=version + 1) for place, event in enumerate(events, start=1)
    )


def fold(ticket: Ticket | None, events: Iterable[Event]) -> Ticket:
    """Apply events in their order; the first event of a ticket has to open it."""
    folded = reduce(apply, events, ticket)
    if folded is None:
        raise ValueError("a ticket begins with the event that opened it")
    return folded


def apply(ticket: Ticket | None, event: Event) -> Ticket:
    """Return the ticket with one more event: the only way in which a ticket changes."""
    if ticket is None:
        if event.kind is not EventKind.TICKET_OPENED:
            raise ValueError(f"a ticket begins with being opened, not with {event.kind}")
        changed = _opened(event)
    else:
        effect = _EFFECTS.get(event.kind)
        changed = effect(ticket, event) if effect else ticket
    return replace(changed, last_event_at=event.at, last_number=event.number, version=event.version)


def _opened(event: Event) -> Ticket:
    data = event.data
    received_at = read_instant(data["received_at"])
    return Ticket(
        id=UUID(data["id"]),
        client_id=UUID(data["client_id"]),
        contact_id=UUID(data["contact_id"]),
        ref=data["ref"],
        channel=Channel(data["channel"]),
        category=Category(data["category"]),
        subject=data["subject"],
        description=data["description"],
        details=Details(**data["details"]),
        outage_statement=data["outage_statement"],
        asset_id=data["asset_id"],
        service=data["service"],
        follow_up_of=_id(data["follow_up_of"]),
        eligibility_check_id=_id(data["eligibility_check_id"]),
        requested_priority=Priority(data["requested_priority"]),
        priority=Priority(data["requested_priority"]),
        priority_source=PrioritySource.CLIENT,
        complexity=Complexity.STANDARD,
        level=1,
        status=Status.OPEN if data["answered"] else Status.NEW,
        emergency=False,
        answered=data["answered"],
        late_logged=data["late_logged"],
        policy_version=data["policy_version"],
        warnings=tuple(data["warnings"]),
        received_at=received_at,
        created_at=event.at,
        last_event_at=event.at,
        acknowledged_at=received_at if data["answered"] else None,
    )


def _acknowledged(ticket: Ticket, event: Event) -> Ticket:
    """A person of staff answered: the acknowledgement ends, a new ticket is open."""
    cycles = tuple(
        cycle.stopped(event.at, EndReason.DONE) if cycle.clock is Clock.ACKNOWLEDGEMENT else cycle
        for cycle in ticket.cycles
    )
    status = Status.OPEN if ticket.status is Status.NEW else ticket.status
    return replace(ticket, cycles=cycles, status=status, acknowledged_at=ticket.acknowledged_at or event.at)


def _emergency(ticket: Ticket, _event: Event) -> Ticket:
    return replace(ticket, emergency=True)


def _started(ticket: Ticket, event: Event) -> Ticket:
    cycle = clocks.from_json(event.data)
    if cycle.clock is Clock.ACKNOWLEDGEMENT and ticket.answered and cycle.number == 1:
        cycle = cycle.stopped(ticket.received_at, EndReason.DONE)
    return replace(ticket, cycles=(*ticket.cycles, cycle))


def _warned(ticket: Ticket, event: Event) -> Ticket:
    return _with_cycle(ticket, event, warned=event.data["percent"])


def _broken(ticket: Ticket, event: Event) -> Ticket:
    return _with_cycle(ticket, event, detected_at=event.at)


def _with_cycle(ticket: Ticket, event: Event, **changes: object) -> Ticket:
    """Return the ticket with the cycle that the event names changed."""
    named = (event.data["clock"], event.data["cycle"])
    cycles = tuple(
        replace(cycle, **changes) if (cycle.clock, cycle.number) == named else cycle  # type: ignore[arg-type]  # each caller names one field
        for cycle in ticket.cycles
    )
    return replace(ticket, cycles=cycles)


def _id(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


_EFFECTS: Final = {
    EventKind.TICKET_ACKNOWLEDGED: _acknowledged,
    EventKind.MESSAGE_SENT: _acknowledged,
    EventKind.TICKET_EMERGENCY: _emergency,
    EventKind.CLOCK_STARTED: _started,
    EventKind.CLOCK_WARNED: _warned,
    EventKind.CLOCK_BROKEN: _broken,
}
