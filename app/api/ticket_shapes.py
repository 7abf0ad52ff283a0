"""How tickets, their clocks, acts and messages look as JSON."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field

from app.api.eligibility import DetailsShape, FindingShape
from app.api.shapes import ActorShape, JsonObject, OneOf, SegmentShape, Told, from_stored
from app.db.tickets import Item
from app.domain import eligibility, passing, visibility
from app.domain import ticket as tickets
from app.domain.calendar import NO_TIME, Base, Segment
from app.domain.clocks import SECOND, ClockState, Cycle, EndReason
from app.domain.eligibility import Mode
from app.domain.events import Actor, Event, EventKind, rfc3339
from app.domain.policy import Category, Channel, Clock, Kind, Priority, Terms
from app.domain.ticket import ActName, Case, Complexity, PrioritySource, Resolution, Status, Ticket


class ClockShape(Told):
    """One run of a promise at the answer's `as_of`; for a countdown show `due_at` minus `as_of`."""

    clock: Clock
    cycle: int
    kind: Kind
    clause: str
    state: ClockState
    target_seconds: Annotated[int, Field(description="That of a date that staff gave is rounded up.")]
    base: Base
    started_at: datetime
    due_at: datetime | None
    remaining_seconds: Annotated[int, Field(description="In the clock's own base, rounded up, never below 0.")]
    counting_now: bool
    next_change_at: datetime | None
    met_at: datetime | None
    broken_at: datetime | None
    detected_at: datetime | None
    ended_at: datetime | None
    end_reason: EndReason | None


class TracedClockShape(ClockShape):
    """A run of a promise with the explanation of its due date; `fingerprint` names the calendar's exact content."""

    trace: list[SegmentShape]
    fingerprint: str


class ClocksShape(Told):
    """Every run of every promise on a ticket."""

    as_of: datetime
    timezone: str
    tzdata: str
    clocks: list[TracedClockShape]


class TicketHandlingShape(Told):
    """When somebody looks at a ticket that nobody has acknowledged."""

    mode: Mode
    starts_at: datetime
    message: str


class TicketShape(Told):
    """A ticket at an instant; `handling` is null once it is acknowledged."""

    id: UUID
    ref: str
    client_id: UUID
    contact_id: UUID
    status: Status
    priority: Priority
    requested_priority: Priority
    priority_source: PrioritySource
    complexity: Complexity
    level: int
    emergency: bool
    channel: Channel
    category: Category
    subject: str
    description: str
    details: DetailsShape
    outage_statement: str | None
    asset_id: str | None
    service: str | None
    follow_up_of: UUID | None
    eligibility_check_id: UUID | None
    answered: bool
    late_logged: bool
    received_at: datetime
    created_at: datetime
    updated_at: datetime
    acknowledged_at: datetime | None
    policy_version: int
    as_of: datetime
    warnings: list[FindingShape]
    handling: TicketHandlingShape | None
    tags: Annotated[list[str], Field(description="The house's labels; a client sees none.")]
    assignee_id: Annotated[UUID | None, Field(description="Who works on it; a client isn't told.")]
    late_reclassification: bool
    expected_resolution_at: datetime | None
    escalation_requested_at: datetime | None
    waiting_since: datetime | None
    resolution: Resolution | None
    resolved_at: datetime | None
    reopens_until: Annotated[datetime | None, Field(description="Until just before this instant it may be reopened.")]
    closed_at: datetime | None
    disputed: bool
    clocks: list[ClockShape]
    next_change_at: Annotated[
        datetime | None, Field(description="When anything of this changes next if nobody acts: ask again then.")
    ]
    allowed_acts: list[ActName]
    version: int


class TicketItemShape(Told):
    """A ticket as a page shows it."""

    id: UUID
    ref: str
    client_id: UUID
    contact_id: UUID
    status: Annotated[str, OneOf(Status)]
    priority: Annotated[str, OneOf(Priority)]
    requested_priority: Annotated[str, OneOf(Priority)]
    priority_source: Annotated[str, OneOf(PrioritySource)]
    complexity: Annotated[str, OneOf(Complexity)]
    level: int
    assignee_id: UUID | None
    emergency: bool
    channel: Annotated[str, OneOf(Channel)]
    category: Annotated[str, OneOf(Category)]
    subject: str
    received_at: datetime
    created_at: datetime
    updated_at: datetime
    policy_version: int
    next_clock: Annotated[str, OneOf(Clock)] | None
    next_due_at: datetime | None
    broken: bool
    clocks: Annotated[list[ClockShape] | None, Field(description="With `include=clocks`; null without.")]
    allowed_acts: Annotated[list[ActName] | None, Field(description="With `include=acts`; null without.")]
    version: int


class ForbiddenActShape(Told):
    """An act that isn't open to the caller now, and why."""

    act: ActName
    code: str
    reason: str


class ActsShape(Told):
    """What the caller may do with the ticket now: the buttons of the portal."""

    as_of: datetime
    allowed: list[ActName]
    forbidden: list[ForbiddenActShape]


class EventShape(Told):
    """One thing that happened; `number` orders a ticket's events from 1."""

    number: int
    kind: EventKind
    at: datetime
    actor: ActorShape
    data: JsonObject
    internal: bool
    audience: list[str]


class Visibility(StrEnum):
    """Who may read a message: everybody on the ticket, or the house alone."""

    PUBLIC = "public"
    INTERNAL = "internal"


class MessageShape(Told):
    """Something said on a ticket; internal ones are the house's own."""

    id: UUID
    visibility: Visibility
    author: ActorShape
    text: str
    at: datetime


def ticket_shape(found: Ticket, terms: Terms, viewer: Actor, as_of: datetime) -> TicketShape:
    """Write a ticket with its clocks and what the viewer may do."""
    runs = clock_shapes(found, terms, as_of)
    house = visibility.knows_the_house(viewer)
    expected = found.running(Clock.EXPECTED_RESOLUTION)
    changes = [clock.next_change_at for clock in runs if clock.next_change_at]
    changes += _desk_turns(found, terms, as_of)
    changes += [instant for instant in passing.service_at(found, terms) if instant > as_of]
    return TicketShape(
        id=found.id,
        ref=found.ref,
        client_id=found.client_id,
        contact_id=found.contact_id,
        status=found.status,
        priority=found.priority,
        requested_priority=found.requested_priority,
        priority_source=found.priority_source,
        complexity=found.complexity,
        level=found.level,
        emergency=found.emergency,
        channel=found.channel,
        category=found.category,
        subject=found.subject,
        description=found.description,
        details=DetailsShape(since=found.details.since, where=found.details.where, impact=found.details.impact),
        outage_statement=found.outage_statement,
        asset_id=found.asset_id,
        service=found.service,
        follow_up_of=found.follow_up_of,
        eligibility_check_id=found.eligibility_check_id,
        answered=found.answered,
        late_logged=found.late_logged,
        received_at=found.received_at,
        created_at=found.created_at,
        updated_at=found.last_event_at,
        acknowledged_at=found.acknowledged_at,
        policy_version=found.policy_version,
        as_of=as_of,
        warnings=[from_stored(FindingShape, warning) for warning in found.warnings],
        handling=_handling(found, terms, as_of),
        tags=list(found.tags) if house else [],
        assignee_id=found.assignee_id if house else None,
        late_reclassification=found.late_reclassification,
        expected_resolution_at=expected.due_at if expected else None,
        escalation_requested_at=found.escalation_requested_at,
        waiting_since=found.waiting_since,
        resolution=found.resolution,
        resolved_at=found.resolved_at,
        reopens_until=Case(found, terms, viewer, as_of).reopens_until if found.status is Status.RESOLVED else None,
        closed_at=found.closed_at,
        disputed=found.disputed,
        clocks=runs,
        next_change_at=min(changes, default=None),
        allowed_acts=allowed_acts(found, terms, viewer, as_of),
        version=found.version,
    )


def _desk_turns(found: Ticket, terms: Terms, as_of: datetime) -> list[datetime]:
    """Return when the desk opens or closes next, where that changes how a ticket is handled."""
    if not found.running(Clock.ACKNOWLEDGEMENT):
        return []
    opens, closes = terms.calendar.next_open(as_of), terms.calendar.next_close(as_of)
    return [turn for turn in [closes if opens == as_of else opens] if turn]


_WHEN: Final = {
    Mode.NOW: "The desk is open.",
    Mode.EMERGENCY: "The desk is closed: help is limited to critical issues, and the people on call are told.",
    Mode.NEXT_OPENING: "The desk is closed: your ticket is looked at when it opens again.",
}


def _handling(found: Ticket, terms: Terms, as_of: datetime) -> TicketHandlingShape | None:
    if not found.running(Clock.ACKNOWLEDGEMENT):
        return None
    when = eligibility.handling(terms, as_of, emergency=found.emergency)
    return TicketHandlingShape(mode=when.mode, starts_at=when.starts_at, message=_WHEN[when.mode])


def item_shape(
    found: Item, viewer: Actor, clocks: list[ClockShape] | None = None, acts: list[ActName] | None = None
) -> TicketItemShape:
    """Write a ticket of a page, with what was asked for besides."""
    return TicketItemShape(
        id=found.id,
        ref=found.ref,
        client_id=found.client_id,
        contact_id=found.contact_id,
        status=found.status,
        priority=found.priority,
        requested_priority=found.requested_priority,
        priority_source=found.priority_source,
        complexity=found.complexity,
        level=found.level,
        assignee_id=found.assignee_id if visibility.knows_the_house(viewer) else None,
        emergency=found.emergency,
        channel=found.channel,
        category=found.category,
        subject=found.subject,
        received_at=found.received_at,
        created_at=found.created_at,
        updated_at=found.last_event_at,
        policy_version=found.policy_version,
        next_clock=found.next_clock,
        next_due_at=found.next_due_at,
        broken=found.broken,
        clocks=clocks,
        allowed_acts=acts,
        version=found.version,
    )


def allowed_acts(found: Ticket, terms: Terms, viewer: Actor, as_of: datetime) -> list[ActName]:
    """Return what a viewer may do, by what time has brought, noted or not: an act begins with that too."""
    return list(tickets.allowed(passing.case_of(found, terms, actor=viewer, now=as_of)))


def clock_shapes(found: Ticket, terms: Terms, as_of: datetime) -> list[ClockShape]:
    """Write all cycles of a ticket as they are at an instant."""
    return [clock_shape(cycle, terms, as_of) for cycle in found.cycles]


def clock_shape(cycle: Cycle, terms: Terms, as_of: datetime) -> ClockShape:
    """Write a cycle as it is at an instant, by the calendar that it was counted by."""
    return ClockShape(**_clock(cycle, terms, as_of))


def _clock(cycle: Cycle, terms: Terms, as_of: datetime) -> dict[str, Any]:
    calendar = terms.calendar_of(cycle.calendar_revision)
    remaining = cycle.remaining(as_of, calendar)
    return {
        "clock": cycle.clock,
        "cycle": cycle.number,
        "kind": cycle.kind,
        "clause": cycle.clause,
        "state": cycle.state(as_of),
        "target_seconds": -(-cycle.target // SECOND),
        "base": cycle.base,
        "started_at": cycle.started_at,
        "due_at": cycle.due_at,
        "remaining_seconds": -(-remaining // SECOND),
        "counting_now": cycle.counting(as_of, calendar),
        "next_change_at": cycle.next_change_at(as_of, calendar),
        "met_at": cycle.met_at,
        "broken_at": cycle.broken_at(as_of),
        "detected_at": cycle.detected_at,
        "ended_at": cycle.ended_at,
        "end_reason": cycle.end_reason,
    }


def clocks_shape(found: Ticket, terms: Terms, as_of: datetime) -> ClocksShape:
    """Write all cycles of a ticket, each with its trace."""
    return ClocksShape(
        as_of=as_of,
        timezone=terms.calendar.timezone,
        tzdata=terms.calendar.tzdata,
        clocks=[_traced(cycle, terms, as_of) for cycle in found.cycles],
    )


def _traced(cycle: Cycle, terms: Terms, as_of: datetime) -> TracedClockShape:
    calendar = terms.calendar_of(cycle.calendar_revision)
    return TracedClockShape(
        **_clock(cycle, terms, as_of),
        trace=trace_shape(cycle.trace(calendar, as_of)),
        fingerprint=calendar.fingerprint,
    )


def trace_shape(trace: Sequence[Segment]) -> list[SegmentShape]:
    """Write the segments of a trace."""
    return [
        SegmentShape(
            from_=segment.start,
            to=segment.end,
            kind=segment.kind,
            reason=segment.reason,
            counted_seconds=_seconds(segment.counted),
            total_seconds=_seconds(segment.total),
        )
        for segment in trace
    ]


def _seconds(amount: timedelta) -> float:
    return 0 if amount == NO_TIME else amount / SECOND


def acts_shape(case: Case) -> ActsShape:
    """Write what somebody may do, and why not the rest."""
    return ActsShape(
        as_of=case.at,
        allowed=list(tickets.allowed(case)),
        forbidden=[
            ForbiddenActShape(act=refusal.act, code=refusal.code, reason=refusal.reason)
            for refusal in tickets.forbidden(case)
        ],
    )


def event_shape(event: Event, viewer: Actor) -> EventShape:
    """Write an event as a viewer may see it."""
    return EventShape(
        number=event.number,
        kind=event.kind,
        at=event.at,
        actor=_actor(event.actor, viewer),
        data=dict(visibility.shown(event, viewer)),
        internal=event.internal,
        audience=list(visibility.told(event, viewer)),
    )


def message_shape(event: Event, viewer: Actor) -> MessageShape:
    """Write the message that an event carries."""
    return MessageShape(
        id=UUID(event.data["message_id"]),
        visibility=Visibility.INTERNAL if event.internal else Visibility.PUBLIC,
        author=_actor(event.actor, viewer),
        text=event.data["text"],
        at=event.at,
    )


def _actor(actor: Actor, viewer: Actor) -> ActorShape:
    return ActorShape(role=actor.role, id=visibility.named(actor, viewer))


def year_of(at: datetime) -> str:
    """Return the year that a ref carries."""
    return rfc3339(at)[:4]
