"""Support levels over HTTP: escalation by staff, at the client's wish, and what the rules would do."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from app.api import acting as acts
from app.api.acting import ActingOn
from app.api.deps import House
from app.api.front_door import route_of
from app.api.shapes import Given, Number, Prose, Told, UnwrittenProse, answer
from app.api.ticket_shapes import TicketShape
from app.db import ids
from app.domain import passing
from app.domain.acts import levels

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=route_of("tickets"))


class Escalation(Given):
    """One level up, or from 1 to 3 at once where that is allowed."""

    reason: Prose
    to_level: Annotated[Number | None, Field(ge=2, le=3)] = None


class Deescalation(Given):
    """One level down."""

    reason: Prose


class EscalationRequest(Given):
    """Why the client would like somebody more senior."""

    text: UnwrittenProse = None


class Verdict(StrEnum):
    """What a lead says to a request for escalation."""

    GRANTED = "granted"
    DECLINED = "declined"


class EscalationDecision(Given):
    """What the lead decided, with the answer that the client reads."""

    decision: Verdict
    text: Prose


class RuleShape(Told):
    """A rule of the policy as it would be applied to the ticket now."""

    rule: str
    clause: str
    raise_to: int | None
    fires: bool
    at: datetime | None
    why: str


class RulesShape(Told):
    """What the escalation rules would do now; nothing is changed by asking."""

    as_of: datetime
    rules: list[RuleShape]


@router.post("/{ticket_id}/escalate", operation_id="escalate", response_model=TicketShape)
async def escalate(body: Escalation, acting: ActingOn) -> Response:
    """Hand the ticket one level up, as staff of at least its level or as a lead.

    From level 1 to 3 at once only where it is critical or a promise on it has broken. An assignee
    below the new level is taken off; level 3 always tells management.
    """
    return await acting.do(lambda case: levels.escalate(case, reason=body.reason, to_level=body.to_level))


@router.post("/{ticket_id}/deescalate", operation_id="deescalate", response_model=TicketShape)
async def deescalate(body: Deescalation, acting: ActingOn) -> Response:
    """Hand the ticket one level down; from level 3 only a lead does."""
    return await acting.do(lambda case: levels.deescalate(case, reason=body.reason))


@router.post("/{ticket_id}/request-escalation", operation_id="request_escalation", response_model=TicketShape)
async def request_escalation(acting: ActingOn, body: EscalationRequest | None = None) -> Response:
    """Ask, as the client, that somebody more senior takes over; a lead decides."""
    return await acting.do(lambda case: levels.request_escalation(case, text=body.text if body else None))


@router.post("/{ticket_id}/decide-escalation", operation_id="decide_escalation", response_model=TicketShape)
async def decide_escalation(body: EscalationDecision, acting: ActingOn) -> Response:
    """Grant or decline, as a lead, what the client asked for, with a public answer."""
    grant, message_id = body.decision is Verdict.GRANTED, ids.new_id()
    return await acting.do(
        lambda case: levels.decide_escalation(case, grant=grant, message_id=message_id, text=body.text)
    )


@router.get("/{ticket_id}/escalation-rules", operation_id="preview_escalation_rules", response_model=RulesShape)
async def preview_escalation_rules(ticket_id: str, caller: House) -> Response:
    """Ask which escalation rules would fire now, and why the others would not: a dry run."""
    found, terms = await acts.seen(caller, ticket_id)
    said = [
        RuleShape(
            rule=outlook.rule.id,
            clause=outlook.rule.clause,
            raise_to=outlook.rule.raise_to,
            fires=outlook.fires,
            at=outlook.at,
            why=outlook.why,
        )
        for outlook in passing.outlooks(found, terms, caller.now)
    ]
    return answer(RulesShape(as_of=caller.now, rules=said))
