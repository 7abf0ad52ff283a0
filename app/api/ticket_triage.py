"""How a ticket is judged over HTTP: priority, complexity, assignee, what is known of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.acting import ActingOn
from app.api.eligibility import DetailsShape
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.shapes import Given, Line, Prose, Unwritten
from app.api.ticket_shapes import TicketShape
from app.db import staff
from app.domain.acts import triage
from app.domain.errors import FieldError
from app.domain.events import STAFF
from app.domain.policy import Priority
from app.domain.ticket import Complexity, Details

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=route_of("tickets"))


class Prioritization(Given):
    """How bad it is; `critical` needs a statement of the outage, here or before."""

    priority: Priority
    reason: Prose
    outage_statement: Unwritten = None


class Classification(Given):
    """Whether it is a standard or a complex issue."""

    complexity: Complexity
    reason: Prose


class Assignment(Given):
    """Who works on it; null takes it off."""

    assignee_id: UUID | None


class Amendment(Given):
    """What to complete; a field left out, or null, stays as it is. Clients give details and the outage only."""

    subject: Line | None = None
    tags: Annotated[list[Line] | None, Field(max_length=50)] = None
    details: DetailsShape | None = None
    outage_statement: Unwritten = None


@router.post("/{ticket_id}/prioritize", operation_id="prioritize", response_model=TicketShape)
async def prioritize(body: Prioritization, acting: ActingOn) -> Response:
    """Set the priority as staff, or ask for another one as the client while staff haven't set it.

    The resolution promise of the new priority applies to the whole run of the ticket, past included;
    no clock is broken before the change that broke it.
    """
    return await acting.do(
        lambda case: triage.prioritize(
            case, priority=body.priority, reason=body.reason, outage_statement=body.outage_statement
        )
    )


@router.post("/{ticket_id}/classify", operation_id="classify", response_model=TicketShape)
async def classify(body: Classification, acting: ActingOn) -> Response:
    """Say whether the issue is standard or complex: a complex one is owed regular updates instead of a day."""
    return await acting.do(lambda case: triage.classify(case, complexity=body.complexity, reason=body.reason))


@router.post("/{ticket_id}/assign", operation_id="assign", response_model=TicketShape)
async def assign(body: Assignment, acting: ActingOn) -> Response:
    """Give the ticket to a person of staff of at least its level, or take it off."""
    level = None
    # Whoever isn't of staff learns of nobody here: the act itself refuses them.
    if body.assignee_id and acting.caller.role in STAFF:
        agent = await staff.register.get(acting.caller.pool, body.assignee_id, None)
        if agent is None:
            raise errors.invalid([FieldError("/assignee_id", "unknown_agent", "name a person of staff")])
        level = agent.level
    return await acting.do(lambda case: triage.assign(case, assignee_id=body.assignee_id, level=level))


@router.patch("/{ticket_id}", operation_id="amend_ticket", response_model=TicketShape)
async def amend_ticket(body: Amendment, acting: ActingOn) -> Response:
    """Complete what is known of a ticket; `If-Match` is required, so that nobody's words are overwritten.

    A contact may complete `details` and `outage_statement`, staff the rest as well.
    """
    if acting.if_match is None:
        raise Problem("precondition_required", "Send the ticket's ETag as If-Match, so that no change is lost.")
    details = Details(**body.details.model_dump()) if body.details else None
    tags = None if body.tags is None else tuple(body.tags)
    return await acting.do(
        lambda case: triage.amend(
            case, subject=body.subject, tags=tags, details=details, outage_statement=body.outage_statement
        )
    )
