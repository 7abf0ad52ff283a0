"""What is said on a ticket over HTTP: acknowledgement, replies, internal notes."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from app.api import acting as acts
from app.api import tickets
from app.api.acting import Acting, ActingOn, Show
from app.api.deps import AnyCaller
from app.api.front_door import route_of
from app.api.paging import Page, Pages
from app.api.shapes import Flag, Given, Instant, Prose, Told, UnwrittenProse, answer
from app.api.ticket_endings import judge_reopening
from app.api.ticket_shapes import MessageShape, TicketShape, Visibility, message_shape
from app.db import ids
from app.db.events import Selection
from app.domain.acts import endings, talk
from app.domain.eligibility import Outcome
from app.domain.events import CLIENTS, Actor, Event, EventKind
from app.domain.policy import Terms
from app.domain.ticket import Case, Resolution, Status, Ticket

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=route_of("tickets"))


MESSAGES: Final = [
    EventKind.MESSAGE_SENT,
    EventKind.MESSAGE_RECEIVED,
    EventKind.MESSAGE_NOTED,
    EventKind.TICKET_DETAILS_REQUESTED,
    EventKind.TICKET_EXPECTED_RESOLUTION_SET,
    EventKind.TICKET_RESOLVED,
    EventKind.TICKET_OUT_OF_SCOPE,
    EventKind.TICKET_DISPUTED,
    EventKind.ESCALATION_GRANTED,
    EventKind.ESCALATION_DECLINED,
]
"""The events that carry a word: messages, and what was said with an act. A solution is the last of them."""


class Acknowledgement(Given):
    """A first public word, if there is one to say already."""

    text: UnwrittenProse = None


class MessageRequest(Given):
    """Something to say; `internal` is for staff and never shown to a client."""

    text: Prose
    visibility: Visibility = Visibility.PUBLIC
    reopen: Annotated[Flag, Field(description="false leaves a resolved ticket resolved.")] = True


class Question(Given):
    """What the client is asked."""

    text: Prose


class Expectation(Given):
    """By when the issue is expected to be resolved, and what the client is told of it."""

    expected_at: Instant
    text: Prose


@router.post("/{ticket_id}/acknowledge", operation_id="acknowledge", response_model=TicketShape)
async def acknowledge(acting: ActingOn, body: Acknowledgement | None = None) -> Response:
    """Take note of a ticket as a person of staff: the acknowledgement promise is met, or stays broken."""
    text, message_id = body.text if body else None, ids.new_id()
    return await acting.do(lambda case: talk.acknowledge(case, message_id=message_id, text=text))


@router.post("/{ticket_id}/messages", operation_id="send_message", status_code=201, response_model=MessageShape)
async def send_message(body: MessageRequest, acting: ActingOn) -> Response:
    """Reply, or keep an internal note.

    The first public word of a person of staff is the acknowledgement; a note answers nobody. A
    client's word ends a wait, and takes a resolved ticket up again while its window is open, unless
    `reopen` is false, the ticket was found out of scope, or their plan no longer covers it: then the
    message is kept and the ticket stays as it is.
    """
    message_id = ids.new_id()
    say: dict[str, Any] = {"message_id": message_id, "text": body.text}
    if body.visibility is Visibility.INTERNAL:
        return await acting.do(lambda case: talk.note(case, **say), _message(message_id, acting.caller.actor))

    async def reply(case: Case) -> list[Event]:
        reopens = body.reopen and await _reopens(acting, case)
        return endings.reply_and_reopen(case, **say) if reopens else talk.reply(case, **say)

    return await acting.do(reply, _message(message_id, acting.caller.actor))


async def _reopens(acting: Acting, case: Case) -> bool:
    """Tell whether a client's word on a resolved ticket takes it up again."""
    ticket = case.ticket
    client = acting.caller.role in CLIENTS
    if not client or ticket.status is not Status.RESOLVED or ticket.resolution is Resolution.OUT_OF_SCOPE:
        return False
    return (await judge_reopening(acting, case)).outcome is not Outcome.DENIED


@router.post("/{ticket_id}/request-details", operation_id="request_details", response_model=TicketShape)
async def request_details(body: Question, acting: ActingOn) -> Response:
    """Ask the client and wait: resolution and update stand still until they answer or staff resume."""
    message_id = ids.new_id()
    return await acting.do(lambda case: talk.request_details(case, message_id=message_id, text=body.text))


@router.post("/{ticket_id}/resume", operation_id="resume", response_model=TicketShape)
async def resume(acting: ActingOn) -> Response:
    """Go on without waiting any longer for the client."""
    return await acting.do(talk.resume)


@router.post("/{ticket_id}/expect-resolution", operation_id="expect_resolution", response_model=TicketShape)
async def expect_resolution(body: Expectation, acting: ActingOn) -> Response:
    """Tell the client by when a complex issue is expected to be resolved; a new date supersedes the one before."""
    message_id = ids.new_id()
    return await acting.do(
        lambda case: talk.expect_resolution(case, expected_at=body.expected_at, message_id=message_id, text=body.text)
    )


def _message(message_id: UUID, viewer: Actor) -> Show:
    def show(_changed: Ticket, _terms: Terms, happened: tuple[Event, ...]) -> tuple[int, Told]:
        said = next(event for event in happened if event.data.get("message_id") == str(message_id))
        return 201, message_shape(said, viewer)

    return show


@router.get("/{ticket_id}/messages", operation_id="list_messages", response_model=Page[MessageShape])
async def list_messages(ticket_id: str, caller: AnyCaller, pages: Pages) -> Response:
    """List what was said, the oldest first; a contact sees what is public."""
    found, _ = await acts.seen(caller, ticket_id)
    page = await tickets.events_page(caller, found, pages, Selection(MESSAGES))
    items = [message_shape(event, caller.actor) for event in page.rows]
    return answer(Page[MessageShape](items=items, next_cursor=page.next_cursor), headers=page.headers)
