"""The fold: how each event changes a ticket, and the only way in which one changes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import attrgetter
from typing import Final, TypeAlias
from uuid import UUID

from app.domain import clocks
from app.domain.clocks import Cycle, EndReason
from app.domain.events import Event, EventKind, read_instant
from app.domain.frozen import replace
from app.domain.policy import Category, Channel, Priority
from app.domain.ticket import (
    Complexity,
    Details,
    Feedback,
    PrioritySource,
    Resolution,
    Status,
    Ticket,
)


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
    """Return the ticket with one more event."""
    if ticket is None:
        if event.kind is not EventKind.TICKET_OPENED:
            raise ValueError(f"a ticket begins with being opened, not with {event.kind}")
        changed = _opened(event)
    else:
        on_ticket, on_cycle = _ON_TICKET.get(event.kind), _ON_CYCLE.get(event.kind)
        changed = on_ticket(ticket, event) if on_ticket else ticket
        changed = _with_cycle(changed, event, on_cycle) if on_cycle else changed
    return replace(changed, last_event_at=event.at, last_number=event.number, version=event.version)


# ---------------------------------------------------------------------------------- the ticket


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


def _heard(ticket: Ticket, event: Event) -> Ticket:
    """A person of staff has taken note: a new ticket is open."""
    status = Status.OPEN if ticket.status is Status.NEW else ticket.status
    return replace(ticket, status=status, acknowledged_at=ticket.acknowledged_at or event.at)


def _prioritized(ticket: Ticket, event: Event) -> Ticket:
    return replace(
        ticket,
        priority=Priority(event.data["priority"]),
        priority_source=PrioritySource.STAFF,
        outage_statement=event.data["outage_statement"],
    )


def _priority_requested(ticket: Ticket, event: Event) -> Ticket:
    wished = Priority(event.data["priority"])
    return replace(ticket, priority=wished, requested_priority=wished, outage_statement=event.data["outage_statement"])


def _classified(ticket: Ticket, event: Event) -> Ticket:
    late = ticket.late_reclassification or event.data["late_reclassification"]
    return replace(
        ticket, complexity=Complexity(event.data["complexity"]), classified_at=event.at, late_reclassification=late
    )


def _levelled(ticket: Ticket, event: Event) -> Ticket:
    return _ruled(replace(ticket, level=event.data["level"]), event)


def _ruled(ticket: Ticket, event: Event) -> Ticket:
    """Remember that a rule has had its say on what triggered it."""
    if "rule" not in event.data:
        return ticket
    return replace(ticket, rules_applied=(*ticket.rules_applied, f"{event.data['rule']}:{event.data['trigger']}"))


def _requested(ticket: Ticket, event: Event) -> Ticket:
    return replace(ticket, escalation_requested_at=event.at)


def _decided(ticket: Ticket, event: Event) -> Ticket:
    return replace(_heard(ticket, event), escalation_requested_at=None)


def _assigned(ticket: Ticket, event: Event) -> Ticket:
    return replace(ticket, assignee_id=_id(event.data["assignee_id"]), assignee_level=event.data["level"])


def _waiting(ticket: Ticket, event: Event) -> Ticket:
    waits = (*ticket.waits, (event.at, None))
    return replace(_heard(ticket, event), status=Status.WAITING_ON_CLIENT, waits=waits, reminded_at=None)


def _waited(ticket: Ticket, event: Event) -> Ticket:
    """End the wait, if there is one."""
    if ticket.status is not Status.WAITING_ON_CLIENT:
        return ticket
    waits = (*ticket.waits[:-1], (ticket.waits[-1][0], event.at))
    return replace(ticket, status=Status.OPEN, waits=waits, reminded_at=None)


def _reminded(ticket: Ticket, event: Event) -> Ticket:
    return replace(ticket, reminded_at=event.at)


def _resolved(ticket: Ticket, event: Event) -> Ticket:
    return replace(
        _waited(_heard(ticket, event), event),
        status=Status.RESOLVED,
        resolution=Resolution(event.data["resolution"]),
        resolved_at=event.at,
        escalation_requested_at=None,
    )


def _reopened(ticket: Ticket, _event: Event) -> Ticket:
    return replace(ticket, status=Status.OPEN, resolution=None, resolved_at=None)


def _disputed(ticket: Ticket, event: Event) -> Ticket:
    return replace(_reopened(ticket, event), disputed=True)


def _closed(ticket: Ticket, event: Event) -> Ticket:
    ended = _waited(ticket, event)
    return replace(ended, status=Status.CLOSED, closed_at=event.at, escalation_requested_at=None)


def _amended(ticket: Ticket, event: Event) -> Ticket:
    changes = dict(event.data["changes"])
    if "details" in changes:
        changes["details"] = Details(**changes["details"])
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    return replace(ticket, **changes)


def _rated(ticket: Ticket, event: Event) -> Ticket:
    data = event.data
    found = Feedback(data["rating"], data["comment"], read_instant(data["given_at"]), read_instant(data["resolved_at"]))
    return replace(ticket, feedback=found)


def _emergency(ticket: Ticket, _event: Event) -> Ticket:
    return replace(ticket, emergency=True)


def _no_emergency(ticket: Ticket, _event: Event) -> Ticket:
    return replace(ticket, emergency=False)


def _started(ticket: Ticket, event: Event) -> Ticket:
    cycles = sorted((*ticket.cycles, clocks.from_json(event.data)), key=attrgetter("started_at", "clock", "number"))
    return replace(ticket, cycles=tuple(cycles))


_ON_TICKET: Final[Mapping[EventKind, Callable[[Ticket, Event], Ticket]]] = {
    EventKind.TICKET_ACKNOWLEDGED: _heard,
    EventKind.MESSAGE_SENT: _heard,
    EventKind.TICKET_PRIORITIZED: _prioritized,
    EventKind.TICKET_PRIORITY_REQUESTED: _priority_requested,
    EventKind.TICKET_CLASSIFIED: _classified,
    EventKind.TICKET_EXPECTED_RESOLUTION_SET: _heard,
    EventKind.TICKET_ESCALATED: _levelled,
    EventKind.TICKET_DEESCALATED: _levelled,
    EventKind.RULE_SATISFIED: _ruled,
    EventKind.ESCALATION_REQUESTED: _requested,
    EventKind.ESCALATION_GRANTED: _decided,
    EventKind.ESCALATION_DECLINED: _decided,
    EventKind.TICKET_ASSIGNED: _assigned,
    EventKind.TICKET_DETAILS_REQUESTED: _waiting,
    EventKind.TICKET_REMINDED: _reminded,
    EventKind.TICKET_RESUMED: _waited,
    EventKind.TICKET_RESOLVED: _resolved,
    EventKind.TICKET_OUT_OF_SCOPE: _resolved,
    EventKind.TICKET_DISPUTED: _disputed,
    EventKind.TICKET_REOPENED: _reopened,
    EventKind.TICKET_CLOSED: _closed,
    EventKind.TICKET_WITHDRAWN: _closed,
    EventKind.TICKET_AMENDED: _amended,
    EventKind.FEEDBACK_GIVEN: _rated,
    EventKind.TICKET_EMERGENCY: _emergency,
    EventKind.TICKET_EMERGENCY_ENDED: _no_emergency,
    EventKind.CLOCK_STARTED: _started,
}

# ----------------------------------------------------------------------------------- its cycles

Effect: TypeAlias = Callable[[Cycle, Event], Cycle]


def _with_cycle(ticket: Ticket, event: Event, effect: Effect) -> Ticket:
    """Return the ticket with the cycle that the event names changed."""
    named = (event.data["clock"], event.data["cycle"])
    cycles = tuple(effect(cycle, event) if (cycle.clock, cycle.number) == named else cycle for cycle in ticket.cycles)
    return replace(ticket, cycles=cycles)


def _met(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, ended_at=read_instant(event.data["met_at"]), end_reason=EndReason.DONE)


def _ended(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, ended_at=event.at, end_reason=EndReason.DONE)


def _superseded(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, ended_at=event.at, end_reason=EndReason.SUPERSEDED)


def _cancelled(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, ended_at=event.at, end_reason=EndReason(event.data["reason"]))


def _warned(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, warned=event.data["percent"])


def _broken(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, detected_at=event.at)


def _paused(cycle: Cycle, event: Event) -> Cycle:
    return replace(cycle, pauses=(*cycle.pauses, (event.at, None)), due_at=None)


def _going(cycle: Cycle, event: Event) -> Cycle:
    pauses = (*cycle.pauses[:-1], (cycle.pauses[-1][0], event.at))
    revision = event.data["calendar_revision"]
    return replace(cycle, pauses=pauses, calendar_revision=revision, due_at=_instant(event.data["due_at"]))


def _moved(cycle: Cycle, event: Event) -> Cycle:
    """Take the promise as it is made anew; what was said of the one before stays said."""
    return replace(clocks.from_json(event.data), warned=cycle.warned, detected_at=cycle.detected_at)


_ON_CYCLE: Final[Mapping[EventKind, Effect]] = {
    EventKind.CLOCK_MET: _met,
    EventKind.CLOCK_ENDED: _ended,
    EventKind.CLOCK_SUPERSEDED: _superseded,
    EventKind.CLOCK_CANCELLED: _cancelled,
    EventKind.CLOCK_WARNED: _warned,
    EventKind.CLOCK_BROKEN: _broken,
    EventKind.CLOCK_PAUSED: _paused,
    EventKind.CLOCK_RESUMED: _going,
    EventKind.CLOCK_MOVED: _moved,
}


def _id(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def _instant(value: str | None) -> datetime | None:
    return None if value is None else read_instant(value)
