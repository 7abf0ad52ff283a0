"""Tickets over HTTP: open one, read it, its clocks, its events and what may be done with it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.api import eligibility, errors, paging
from app.api.deps import AnyCaller, Caller, Held, Now, Runtime, Writer
from app.api.eligibility import RequestShape
from app.api.errors import Problem
from app.api.front_door import Route
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Cursor, Limit, Page
from app.api.shapes import Flag, Instant, Line, Prose, Told, answer, etag, matches
from app.api.ticket_shapes import (
    ActsShape,
    ClocksShape,
    EventShape,
    TicketItemShape,
    TicketShape,
    acts_shape,
    clocks_shape,
    event_shape,
    item_shape,
    ticket_shape,
    year_of,
)
from app.db import checks, events, ids, tickets
from app.db.register import After
from app.db.statements import ConstraintError
from app.db.tickets import Filters, Scope
from app.domain import passing, ticket, visibility
from app.domain.acts import intake
from app.domain.acts.case import Case
from app.domain.acts.intake import Opening
from app.domain.eligibility import Decision, Outcome
from app.domain.errors import ActError, FieldError
from app.domain.events import STAFF, Event
from app.domain.policy import Channel, Priority, Terms
from app.domain.ticket import Complexity, Status, Ticket

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=Route)

TRIES: Final = 3
REF: Final = re.compile(r"KE-\d{4}-\d{6,12}", re.ASCII)
USED_CHECK: Final = "uq_tickets_eligibility_check_id"


class TicketRequest(RequestShape):
    """A new ticket; what is missing is warned of, only an empty subject or description is refused."""

    subject: Line
    description: Prose
    follow_up_of: Annotated[
        str | None, Field(max_length=64, description="An earlier ticket of the same client, by its id or ref.")
    ] = None
    eligibility_check_id: Annotated[
        UUID | None, Field(description="A stored check of the same client, category and channel; one ticket uses it.")
    ] = None
    received_at: Annotated[Instant | None, Field(description="Staff only: when the request came, up to now.")] = None
    answered: Annotated[
        Flag | None, Field(description="Staff only: a call that a person answered; the default by phone.")
    ] = None


class TicketPage(Page[TicketItemShape]):
    """One page of tickets; `broken` and `next_due_at` hold at `as_of`, `emergency` as the worker noted it last."""

    as_of: Instant


@router.post("", operation_id="create_ticket", status_code=201, response_model=TicketShape)
async def create_ticket(body: TicketRequest, held: Held, caller: Writer, now: Now, once: OnceOnly) -> Response:
    """Open a ticket.

    The policy in force at `received_at` decides. A refused request answers 403 `not_eligible`
    with the whole decision, and what was written is kept: see the decision's `id`. An accepted
    one answers 201 with its clocks running and `warnings` to show. Contacts open tickets by the
    portal only, whatever a check of the policy says of another channel.
    """
    client_id, contact_id = eligibility.whose(body, caller)
    if contact_id is None:
        raise errors.invalid([FieldError("/contact_id", "missing", "say for which contact")])
    if not intake.may_open(body.channel, caller.actor):
        detail = f"The role {caller.role} may not open tickets by {body.channel}; use the portal."
        raise Problem("act_forbidden", detail, allowed_acts=[])
    terms, received_at = await _terms(held, body, caller, now)
    earlier = await _linked(held, body, Scope(client_id, caller.scope.contact_id))
    decision = await eligibility.judge(held, body, body.description, client_id, contact_id, received_at)
    if decision.outcome is Outcome.DENIED:
        return await _refuse(held, body, decision, caller, (client_id, contact_id), now, once)
    number = await tickets.next_ref(held.pool)
    opening = Opening(
        id=ids.new_id(),
        client_id=client_id,
        contact_id=contact_id,
        ref=f"KE-{year_of(now)}-{number:06}",
        subject=body.subject,
        request=eligibility.asked(body, body.description),
        answered=body.answered if body.answered is not None else body.channel is Channel.PHONE,
        received_at=received_at,
        follow_up_of=earlier,
        eligibility_check_id=body.eligibility_check_id,
    )
    happened = ticket.numbered(None, intake.open_ticket(opening, decision, terms, actor=caller.actor, now=now))
    opened = ticket.fold(None, happened)
    shape = ticket_shape(opened, terms, caller.actor, now)
    headers = {"Location": f"/v1/tickets/{opened.id}", "ETag": etag(opened.version)}
    kept = once.answer(201, headers | {"Content-Type": "application/json"}, shape.model_dump_json().encode())
    story = tickets.story(opened, happened, passing.next_at(opened, terms))
    try:
        await once.write(lambda: tickets.add(held.pool, opened, story, kept))
    except ConstraintError as error:
        if error.name == USED_CHECK:
            raise Problem(
                "check_used", "Another ticket uses this eligibility check; ask for a new one, or leave it out."
            ) from None
        raise
    return answer(shape, status=201, headers=headers)


async def _terms(held: Runtime, body: TicketRequest, caller: Caller, now: datetime) -> tuple[Terms, datetime]:
    """Return the instant everything is judged at, and the terms in force then."""
    if body.answered is not None and caller.role not in STAFF:
        raise errors.invalid([FieldError("/answered", "not_yours", "only staff may say so; leave it out")])
    if body.answered and body.channel is not Channel.PHONE:
        raise errors.invalid([FieldError("/answered", "not_a_call", "only a call can be answered; leave it out")])
    if body.received_at is None:
        return await held.book.in_force(now), now
    limits = (await held.book.in_force(now)).policy.limits
    received_at = intake.received(body.received_at, actor=caller.actor, limits=limits, now=now)
    return await held.book.in_force(received_at), received_at


async def _linked(held: Runtime, body: TicketRequest, scope: Scope) -> UUID | None:
    """Return the ticket followed up on; it and the check used have to be in scope, and the check to fit."""
    found = []
    earlier = await _find(held, body.follow_up_of, scope) if body.follow_up_of else None
    if body.follow_up_of and earlier is None:
        found.append(FieldError("/follow_up_of", "unknown_ticket", "name a ticket of the same client"))
    if body.eligibility_check_id:
        check = await checks.get(held.pool, body.eligibility_check_id, scope.client_id, scope.contact_id)
        same = check and (check.request["category"], check.request["channel"]) == (body.category, body.channel)
        if not same:
            message = "name a stored check of the same client, category and channel"
            found.append(FieldError("/eligibility_check_id", "unknown_check", message))
    if found:
        raise errors.invalid(found)
    return earlier.id if earlier else None


async def _refuse(
    held: Runtime,
    body: TicketRequest,
    decision: Decision,
    caller: Caller,
    whose: tuple[UUID, UUID],
    now: datetime,
    once: Once,
) -> Response:
    """Keep a refused ticket with all that was written, and answer with the decision."""
    client_id, contact_id = whose
    check = eligibility.stored(decision, caller, client_id, contact_id, body.model_dump(mode="json"), now, attempt=True)
    shape = eligibility.decision_shape(decision, check.id, client_id, now)
    detail = "The support policy refuses this request; decision says why, and what to do instead."
    problem = Problem("not_eligible", detail, decision=shape.model_dump(mode="json"))
    response = errors.render(once.request, problem)
    headers = {"Content-Type": errors.MEDIA_TYPE}
    await once.write(lambda: checks.add(held.pool, check, once.answer(403, headers, bytes(response.body))))
    return response


def _one_or_more(choices: type[StrEnum]) -> Any:  # noqa: ANN401  # what the framework takes
    return Query(description=f"One or more of {', '.join(choices)}, comma-separated.")


@router.get("", operation_id="list_tickets", response_model=TicketPage)
async def list_tickets(
    request: Request,
    held: Held,
    caller: AnyCaller,
    now: Now,
    status: Annotated[str | None, _one_or_more(Status)] = None,
    priority: Annotated[str | None, _one_or_more(Priority)] = None,
    complexity: Annotated[str | None, _one_or_more(Complexity)] = None,
    channel: Annotated[str | None, _one_or_more(Channel)] = None,
    level: Annotated[int | None, Query(ge=1, le=3)] = None,
    client_id: UUID | None = None,
    emergency: bool | None = None,
    broken: Annotated[bool | None, Query(description="Whether any promise on the ticket is broken by now.")] = None,
    due_before: Annotated[Instant | None, Query(description="A running promise is due before this instant.")] = None,
    updated_since: Annotated[Instant | None, Query(description="Something happened at or after this instant.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List the tickets that the caller may know of, the newest first."""
    filters = Filters(
        status=_values("status", status, Status),
        priority=_values("priority", priority, Priority),
        complexity=_values("complexity", complexity, Complexity),
        channel=_values("channel", channel, Channel),
        level=level,
        client_id=client_id,
        emergency=emergency,
        broken=broken,
        due_before=due_before,
        updated_since=updated_since,
    )
    place = paging.read(request, held.cursor_secret, cursor)
    after = After(datetime.fromisoformat(place[0]), UUID(place[1])) if place else None
    found = await tickets.page(held.pool, filters, caller.scope, after, limit + 1, now)
    last = found[limit - 1] if len(found) > limit else None
    where = (last.created_at.isoformat(), last.id) if last else None
    next_cursor, headers = paging.next_page(request, held.cursor_secret, where)
    items = [item_shape(item) for item in found[:limit]]
    return answer(TicketPage(as_of=now, items=items, next_cursor=next_cursor), headers=headers)


def _values(name: str, text: str | None, choices: Any) -> list[str] | None:  # noqa: ANN401  # an enum class
    """Read a comma-separated filter."""
    if text is None:
        return None
    values = text.split(",")
    if not set(values) <= set(choices):
        raise errors.invalid([FieldError(f"/query/{name}", "unknown_value", f"choose from {', '.join(choices)}")])
    return values


@router.get("/{ticket_id}", operation_id="get_ticket", response_model=TicketShape)
async def get_ticket(ticket_id: str, held: Held, caller: AnyCaller, now: Now) -> Response:
    """Read a ticket by its id or ref, with its clocks as they are now and what you may do."""
    found, terms = await seen(held, caller, ticket_id)
    shape = ticket_shape(_by_now(found, terms, caller, now), terms, caller.actor, now)
    return answer(shape, headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/clocks", operation_id="get_ticket_clocks", response_model=ClocksShape)
async def get_ticket_clocks(ticket_id: str, held: Held, caller: AnyCaller, now: Now) -> Response:
    """Read every promise on a ticket with the trace that explains its due date to the microsecond."""
    found, terms = await seen(held, caller, ticket_id)
    return answer(clocks_shape(found, terms, now), headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/acts", operation_id="get_ticket_acts", response_model=ActsShape)
async def get_ticket_acts(ticket_id: str, held: Held, caller: AnyCaller, now: Now) -> Response:
    """Ask which acts are open to you now, and why the others are not."""
    found, _ = await seen(held, caller, ticket_id)
    return answer(acts_shape(found, caller.actor, now), headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/events", operation_id="list_ticket_events", response_model=Page[EventShape])
async def list_ticket_events(
    request: Request, ticket_id: str, held: Held, caller: AnyCaller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List what happened to a ticket, the oldest first; a contact sees what is public."""
    found, _ = await seen(held, caller, ticket_id)
    page, next_cursor, headers = await events_page(request, held, caller, found, None, limit, cursor)
    items = [event_shape(event) for event in page]
    return answer(Page[EventShape](items=items, next_cursor=next_cursor), headers=headers)


async def events_page(
    request: Request,
    held: Runtime,
    caller: Caller,
    found: Ticket,
    kinds: Sequence[str] | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[Event], str | None, dict[str, str]]:
    """Read one page of a ticket's events, as far as the caller may see them."""
    place = paging.read(request, held.cursor_secret, cursor)
    after = place[0] if place else 0
    internal = visibility.internal_filter(caller.actor)
    page = await events.of_ticket(held.pool, found.id, after, kinds, internal, limit + 1)
    last = page[limit - 1].number if len(page) > limit else None
    next_cursor, headers = paging.next_page(request, held.cursor_secret, None if last is None else [last])
    return page[:limit], next_cursor, headers


async def seen(held: Runtime, caller: Caller, ticket_id: str) -> tuple[Ticket, Terms]:
    """Find a ticket by id or ref among those that the caller may know of, with the terms it was opened under.

    Raises:
        Problem: 404, the same for what isn't there and for what is somebody else's.
    """
    found = await _find(held, ticket_id, caller.scope)
    if found is None:
        raise errors.not_found()
    return found, await held.book.of(found.policy_version, found.calendar_revision)


async def _find(held: Runtime, ticket_id: str, scope: Scope) -> Ticket | None:
    ref = ticket_id.upper()
    if REF.fullmatch(ref):
        return await tickets.get(held.pool, None, ref, scope)
    try:
        return await tickets.get(held.pool, UUID(ticket_id), None, scope)
    except ValueError:
        return None


def _by_now(found: Ticket, terms: Terms, caller: Caller, now: datetime) -> Ticket:
    """Return a ticket with the emergency it is by now, even where nobody has noted it yet."""
    return replace(found, emergency=Case.of(found, terms, actor=caller.actor, now=now).ticket.emergency)


async def act(
    held: Runtime, caller: Caller, now: datetime, ticket_id: str, once: Once, if_match: str | None, call: "Call"
) -> Response:
    """Fetch, decide, store: do an act, and read again where somebody else was faster.

    Raises:
        Problem: 409 after three lost races, 412 where If-Match names another version.
        ActError: the act isn't open to the caller.
    """
    for _ in range(TRIES):
        found, terms = await seen(held, caller, ticket_id)
        try:
            happened = _decided(found, terms, caller, now, if_match, call)
        except (Problem, ActError):
            # What forbids it now may be what a twin of this request has just done.
            await once.replay()
            raise
        changed = ticket.fold(found, happened)
        status, shape = call.show(changed, terms, happened)
        headers = {"ETag": etag(changed.version)}
        kept = once.answer(status, headers | {"Content-Type": "application/json"}, shape.model_dump_json().encode())
        story = tickets.story(changed, happened, passing.next_at(changed, terms))
        if await once.write(lambda: tickets.save(held.pool, changed, story, kept)):  # noqa: B023  # called at once
            return answer(shape, status=status, headers=headers)
        await once.replay()
    raise Problem("concurrent_update", "Others are changing this ticket right now; read it and try again.")


def _decided(
    found: Ticket, terms: Terms, caller: Caller, now: datetime, if_match: str | None, call: "Call"
) -> tuple[Event, ...]:
    if not matches(if_match, found.version):
        raise Problem(
            "precondition_failed",
            "The ticket has moved on since the version you named; read it again, then decide again.",
        )
    case = Case.of(found, terms, actor=caller.actor, now=now)
    return ticket.numbered(found, call.decide(case))


class Call:
    """An act as a route asks for it: what to decide, and what to answer."""

    def __init__(
        self,
        decide: Callable[[Case], list[Event]],
        show: Callable[[Ticket, Terms, tuple[Event, ...]], tuple[int, Told]],
    ) -> None:
        """Take the act and the shape of its answer."""
        self.decide, self.show = decide, show


IfMatch = Annotated[
    str | None, Header(max_length=64, description="The ETag you decided by; 412 where the ticket has moved on.")
]
