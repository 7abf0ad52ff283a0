"""What a front end asks before anything else: who am I, what is open to me now, what do the words mean."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.acting import AsOf
from app.api.deps import AnyCaller, Caller
from app.api.eligibility import FindingShape, clause_shape, finding_shape
from app.api.front_door import route_of
from app.api.shapes import ClauseShape, Told, answer
from app.db import clients, policies
from app.domain import eligibility
from app.domain.access import Permission
from app.domain.calendar import Base, SegmentKind
from app.domain.clocks import ClockState, EndReason
from app.domain.eligibility import AlternativeKind, FindingCode, Mode, Outcome, PlanState
from app.domain.errors import FieldError
from app.domain.events import CLIENTS, EventKind, Role
from app.domain.policy import Category, Channel, Clock, Kind, Priority, Severity, Tier
from app.domain.ticket import ActName, Complexity, Exclusion, PrioritySource, Resolution, Status

router = APIRouter(prefix="/v1", tags=["system"], route_class=route_of(None))

REFERENCE: Final[dict[str, type[StrEnum]]] = {
    "status": Status,
    "priority": Priority,
    "priority_source": PrioritySource,
    "complexity": Complexity,
    "channel": Channel,
    "category": Category,
    "act": ActName,
    "resolution": Resolution,
    "exclusion": Exclusion,
    "clock": Clock,
    "clock_kind": Kind,
    "clock_state": ClockState,
    "end_reason": EndReason,
    "base": Base,
    "segment": SegmentKind,
    "outcome": Outcome,
    "finding": FindingCode,
    "severity": Severity,
    "alternative": AlternativeKind,
    "handling": Mode,
    "plan_state": PlanState,
    "tier": Tier,
    "role": Role,
    "event": EventKind,
}
EMERGENCY: Final = "Outside business hours help is limited to critical issues: open a critical ticket in the portal."


class PolicyReviewShape(Told):
    """Whether your client has yet to review the policy in force; not having done so refuses nothing."""

    due: bool
    policy_version: int
    acknowledged_at: datetime | None
    clause: ClauseShape


class Me(Told):
    """Who the credentials speak for."""

    role: Role
    name: str
    agent_id: UUID | None
    level: int | None
    client_id: UUID | None
    contact_id: UUID | None
    scopes: list[Permission] | None
    policy_review: PolicyReviewShape | None


class ChannelShape(Told):
    """Whether a channel is open, what stands against it, and the clause that says who may use it for what."""

    channel: Channel
    available: bool
    findings: list[FindingShape]
    clause: ClauseShape


class EmergencyShape(Told):
    """For which priorities there is help after hours, and what to do then."""

    for_: Annotated[list[Priority], Field(alias="for")]
    message: str
    clause: ClauseShape


class AvailabilityShape(Told):
    """Whether the desk is open, when that changes, and by which ways a client gets help now."""

    as_of: datetime
    timezone: str
    open_now: bool
    next_opens_at: Annotated[datetime | None, Field(description="While the desk is open, the opening after this one.")]
    next_closes_at: datetime | None
    clause: ClauseShape
    channels: list[ChannelShape]
    emergency: EmergencyShape


class Word(Told):
    """A value as the API writes it, and as people read it."""

    value: str
    label: str


class ReferenceShape(Told):
    """Every closed list of values of this API."""

    lists: dict[str, list[Word]]


@router.get("/me", operation_id="get_me", response_model=Me)
async def get_me(caller: AnyCaller) -> Response:
    """Read who you are: your role and name, and the person and client your credentials speak for.

    `scopes` is null where nothing but the role limits them.

    A contact is told too whether their client has yet to review the policy in force.
    """
    client, actor = caller.role in CLIENTS, caller.actor
    shape = Me(
        role=caller.role,
        name=caller.name,
        agent_id=None if client else actor.id,
        level=actor.level,
        client_id=actor.client_id,
        contact_id=actor.id if client else None,
        scopes=None if caller.permissions is None else sorted(caller.permissions),
        policy_review=await _review(caller, actor.client_id) if actor.client_id else None,
    )
    return answer(shape)


async def _review(caller: Caller, client_id: UUID) -> PolicyReviewShape:
    version = (await caller.held.book.in_force(caller.now)).policy
    found = await policies.acknowledgement(caller.pool, client_id, version.number)
    return PolicyReviewShape(
        due=found is None,
        policy_version=version.number,
        acknowledged_at=found.acknowledged_at if found else None,
        clause=clause_shape(version.clauses["changes.review"]),
    )


@router.get("/availability", operation_id="get_availability", response_model=AvailabilityShape)
async def get_availability(
    caller: AnyCaller,
    as_of: AsOf = None,
    client_id: Annotated[UUID | None, Query(description="For the house: for which client.")] = None,
) -> Response:
    """Ask whether the desk is open, which channels you can use and why not the others.

    Each is judged for an urgent matter of a covered sort. Whoever asks for the house
    names a client; without one only the hours are told.
    """
    if caller.scope.client_id and client_id not in {None, caller.scope.client_id}:
        raise errors.invalid([FieldError("/query/client_id", "unknown_client", "leave it out: it comes from your key")])
    at = as_of or caller.now
    terms = await caller.held.book.in_force(at)
    channels: list[tuple[Channel, tuple[eligibility.Finding, ...]]] = []
    whose = caller.scope.client_id or client_id
    if whose:
        coverage = await clients.coverage(caller.pool, whose, None, drawing=None)
        if coverage is None:
            raise errors.invalid([FieldError("/query/client_id", "unknown_client", "name a client that is known here")])
        channels = eligibility.channels(coverage.agreements, terms, at)
    clauses = {name: clause_shape(clause) for name, clause in terms.policy.clauses.items()}
    shape = AvailabilityShape(
        as_of=at,
        timezone=terms.calendar.timezone,
        open_now=terms.calendar.is_open(at),
        next_opens_at=terms.calendar.next_opening(at),
        next_closes_at=terms.calendar.next_close(at),
        clause=clauses["availability.business-hours"],
        channels=[
            ChannelShape(
                channel=channel,
                available=not found,
                findings=[finding_shape(each) for each in found],
                clause=clauses[terms.policy.channels[channel].clause],
            )
            for channel, found in channels
        ],
        emergency=EmergencyShape(
            for_=list(terms.policy.emergency),
            message=EMERGENCY,
            clause=clauses[terms.policy.emergency_clause],
        ),
    )
    return answer(shape)


@router.get("/reference", operation_id="get_reference", response_model=ReferenceShape)
async def get_reference(_caller: AnyCaller) -> Response:
    """Read every closed list of values with a label for people, to build forms and filters from."""
    lists = {name: [Word(value=each, label=_label(each)) for each in choices] for name, choices in REFERENCE.items()}
    return answer(ReferenceShape(lists=lists), headers={"Cache-Control": "private, max-age=3600"})


def _label(value: str) -> str:
    """Write a value as words: `waiting_on_client` as `Waiting on client`."""
    return value.translate({ord("_"): " ", ord("-"): " ", ord("."): " "}).capitalize()
