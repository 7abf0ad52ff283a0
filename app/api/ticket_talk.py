"""What is said on a ticket over HTTP: acknowledgement, replies, internal notes."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import tickets
from app.api.deps import AnyCaller, Held, Now, Writer
from app.api.front_door import Route
from app.api.idempotency import OnceOnly
from app.api.paging import Cursor, Limit, Page
from app.api.shapes import Given, Prose, Told, UnwrittenProse, answer
from app.api.ticket_shapes import MessageShape, TicketShape, Visibility, message_shape, ticket_shape
from app.api.tickets import Call, IfMatch
from app.db import ids
from app.domain.acts import talk
from app.domain.acts.case import Case
from app.domain.events import Actor, Event, EventKind
from app.domain.policy import Terms
from app.domain.ticket import Ticket

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=Route)


MESSAGES: Final = [EventKind.MESSAGE_SENT, EventKind.MESSAGE_RECEIVED, EventKind.MESSAGE_NOTED]

Show: TypeAlias = Callable[[Ticket, Terms, tuple[Event, ...]], tuple[int, Told]]


class Acknowledgement(Given):
    """A first public word, if there is one to say already."""

    text: UnwrittenProse = None


class MessageRequest(Given):
    """Something to say; `internal` is for staff and never shown to a client."""

    text: Prose
    visibility: Visibility = Visibility.PUBLIC


@router.post("/{ticket_id}/acknowledge", operation_id="acknowledge", response_model=TicketShape)
async def acknowledge(
    ticket_id: str,
    held: Held,
    caller: Writer,
    now: Now,
    once: OnceOnly,
    body: Acknowledgement | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Take note of a ticket as a person of staff: the acknowledgement promise is met, or stays broken."""
    text = body.text if body else None
    call = Call(lambda case: talk.acknowledge(case, message_id=ids.new_id(), text=text), _ticket(caller.actor, now))
    return await tickets.act(held, caller, now, ticket_id, once, if_match, call)


def _ticket(viewer: Actor, now: datetime) -> Show:
    def show(changed: Ticket, terms: Terms, _happened: tuple[Event, ...]) -> tuple[int, Told]:
        return 200, ticket_shape(changed, terms, viewer, max(now, changed.last_event_at))

    return show


@router.post("/{ticket_id}/messages", operation_id="send_message", status_code=201, response_model=MessageShape)
async def send_message(
    ticket_id: str,
    body: MessageRequest,
    held: Held,
    caller: Writer,
    now: Now,
    once: OnceOnly,
    if_match: IfMatch = None,
) -> Response:
    """Reply, or keep an internal note.

    The first public word of a person of staff is the acknowledgement; a note answers nobody.
    """
    message_id = ids.new_id()
    said = talk.note if body.visibility is Visibility.INTERNAL else talk.reply

    def decide(case: Case) -> list[Event]:
        return said(case, message_id=message_id, text=body.text)

    call = Call(decide, _message(message_id))
    return await tickets.act(held, caller, now, ticket_id, once, if_match, call)


def _message(message_id: UUID) -> Show:
    def show(_changed: Ticket, _terms: Terms, happened: tuple[Event, ...]) -> tuple[int, Told]:
        return 201, message_shape(next(e for e in happened if e.data.get("message_id") == str(message_id)))

    return show


@router.get("/{ticket_id}/messages", operation_id="list_messages", response_model=Page[MessageShape])
async def list_messages(
    request: Request, ticket_id: str, held: Held, caller: AnyCaller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List what was said, the oldest first; a contact sees what is public."""
    found, _ = await tickets.seen(held, caller, ticket_id)
    page, next_cursor, headers = await tickets.events_page(request, held, caller, found, MESSAGES, limit, cursor)
    items = [message_shape(event) for event in page]
    return answer(Page[MessageShape](items=items, next_cursor=next_cursor), headers=headers)
