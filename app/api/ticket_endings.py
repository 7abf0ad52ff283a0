"""How a ticket ends and begins again over HTTP: resolved, out of scope, disputed, reopened, closed, rated."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from app.api import acting as acts
from app.api import eligibility, errors
from app.api.acting import Acting, ActingOn
from app.api.deps import AnyCaller
from app.api.front_door import route_of
from app.api.shapes import Given, Number, Prose, Told, UnwrittenProse, answer, etag
from app.api.ticket_shapes import TicketShape
from app.db import clients, ids
from app.domain.acts import endings
from app.domain.eligibility import Decision, Facts, Outcome, Request, check_reopening
from app.domain.errors import FieldError
from app.domain.ticket import ActName, Case, Exclusion, Resolution, Ticket, permit

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=route_of("tickets"))


class ResolutionRequest(Given):
    """How it was resolved, with the solution that the client reads."""

    resolution: Annotated[Resolution, Field(json_schema_extra={"enum": ["fixed", "answered", "workaround"]})]
    text: Prose


class ScopeVerdict(Given):
    """Why it is outside of support, explained, with a way out; somebody else's changes need evidence."""

    exclusion: Exclusion
    text: Prose
    alternative: Prose
    evidence: UnwrittenProse = None


class Dispute(Given):
    """Why the client sees it otherwise."""

    text: Prose


class Reason(Given):
    """Why."""

    reason: Prose


class FeedbackRequest(Given):
    """What the client thought of it: 1 to 5, and a comment if they like."""

    rating: Annotated[Number, Field(ge=1, le=5)]
    comment: UnwrittenProse = None


class FeedbackShape(Told):
    """What the client thought of a resolution."""

    ticket_id: UUID
    rating: int
    comment: str | None
    given_at: datetime
    resolved_at: datetime


@router.post("/{ticket_id}/resolve", operation_id="resolve", response_model=TicketShape)
async def resolve(body: ResolutionRequest, acting: ActingOn) -> Response:
    """Resolve the ticket with a public solution: every promise on it ends, in time or too late."""
    if body.resolution not in {Resolution.FIXED, Resolution.ANSWERED, Resolution.WORKAROUND}:
        message = "choose fixed, answered or workaround; the others come by acts of their own"
        raise errors.invalid([FieldError("/resolution", "unknown_value", message)])
    message_id = ids.new_id()
    return await acting.do(
        lambda case: endings.resolve(case, resolution=body.resolution, message_id=message_id, text=body.text)
    )


@router.post("/{ticket_id}/mark-out-of-scope", operation_id="mark_out_of_scope", response_model=TicketShape)
async def mark_out_of_scope(body: ScopeVerdict, acting: ActingOn) -> Response:
    """Find the ticket outside of support by one of the exclusions; the client may dispute that once."""
    message_id = ids.new_id()
    return await acting.do(lambda case: endings.mark_out_of_scope(case, message_id=message_id, **body.model_dump()))


@router.post("/{ticket_id}/dispute", operation_id="dispute", response_model=TicketShape)
async def dispute(body: Dispute, acting: ActingOn) -> Response:
    """Contradict, as the client, a verdict of out of scope; a lead gives the next one."""
    message_id = ids.new_id()
    return await acting.do(lambda case: endings.dispute(case, message_id=message_id, text=body.text))


@router.post("/{ticket_id}/reopen", operation_id="reopen", response_model=TicketShape)
async def reopen(body: Reason, acting: ActingOn) -> Response:
    """Take a resolved ticket up again within its window.

    The plan and the agreement are judged anew: 403 `not_eligible` with the decision where they no
    longer cover it. Reopened by staff, it is acknowledged by that.
    """
    case = await acting.case()
    permit(ActName.REOPEN, case)
    decision = await judge_reopening(acting, case)
    if decision.outcome is Outcome.DENIED:
        return await _refuse(acting, case, decision, body.reason)
    return await acting.do(lambda case: endings.reopen(case, reason=body.reason))


@router.post("/{ticket_id}/close", operation_id="close", response_model=TicketShape)
async def close(body: Reason, acting: ActingOn) -> Response:
    """Close a resolved ticket for good, before its window is over."""
    return await acting.do(lambda case: endings.close(case, reason=body.reason))


@router.post("/{ticket_id}/withdraw", operation_id="withdraw", response_model=TicketShape)
async def withdraw(body: Reason, acting: ActingOn) -> Response:
    """Take the ticket back as its client, or for them as a lead."""
    return await acting.do(lambda case: endings.withdraw(case, reason=body.reason))


@router.put("/{ticket_id}/feedback", operation_id="put_feedback", response_model=FeedbackShape)
async def put_feedback(body: FeedbackRequest, acting: ActingOn) -> Response:
    """Say, as the client, what you thought of the resolution; for some days you may change it."""
    return await acting.do(
        lambda case: endings.rate(case, rating=body.rating, comment=body.comment),
        lambda changed, _terms, _happened: (200, feedback_shape(changed)),
    )


@router.get("/{ticket_id}/feedback", operation_id="get_feedback", response_model=FeedbackShape)
async def get_feedback(ticket_id: str, caller: AnyCaller) -> Response:
    """Read what the client thought of the resolution; 404 where they haven't said."""
    found, _ = await acts.seen(caller, ticket_id)
    return answer(feedback_shape(found), headers={"ETag": etag(found.version)})


def feedback_shape(found: Ticket) -> FeedbackShape:
    """Write a ticket's feedback.

    Raises:
        Problem: 404 where there is none.
    """
    given = found.feedback
    if given is None:
        raise errors.not_found()
    return FeedbackShape(
        ticket_id=found.id,
        rating=given.rating,
        comment=given.comment,
        given_at=given.given_at,
        resolved_at=given.resolved_at,
    )


async def judge_reopening(acting: Acting, case: Case) -> Decision:
    """Judge plan and coverage anew, by the policy in force now."""
    found = case.ticket
    terms = await acting.caller.held.book.in_force(case.at)
    coverage = await clients.coverage(acting.caller.pool, found.client_id, found.contact_id, drawing=None)
    request = Request(found.channel, found.category, found.priority, found.asset_id, found.service)
    facts = Facts(request, coverage.agreements, coverage.contact) if coverage else Facts(request)
    return check_reopening(facts, terms, case.at)


async def _refuse(acting: Acting, case: Case, decision: Decision, reason: str) -> Response:
    """Keep a refused reopening with what was written, and answer with the decision."""
    found = case.ticket
    request = {"category": found.category, "channel": found.channel}
    written = request | {"reopen": str(found.id), "ref": found.ref, "reason": reason}
    whose = (found.client_id, found.contact_id)
    return await eligibility.refuse(acting.caller, acting.once, decision, whose, written)
