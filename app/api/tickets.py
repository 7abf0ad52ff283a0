"""Tickets over HTTP: open one, read it, its clocks, its events and what may be done with it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from app.api import acting, eligibility, errors
from app.api.acting import AsOf
from app.api.deps import AnyCaller, Caller, Writer
from app.api.eligibility import RequestShape
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Page, Pages, Paging, Turned
from app.api.shapes import Flag, Instant, Line, Prose, answer, etag
from app.api.ticket_shapes import (
    ActsShape,
    ClocksShape,
    EventShape,
    TicketItemShape,
    TicketShape,
    acts_shape,
    allowed_acts,
    clock_shapes,
    clocks_shape,
    event_shape,
    item_shape,
    ticket_shape,
    year_of,
)
from app.db import checks, events, ids, tickets
from app.db.checks import Found
from app.db.events import Selection
from app.db.statements import ConstraintError
from app.db.tickets import Filters, Item, Scope
from app.domain import fold, passing, visibility
from app.domain.acts import intake
from app.domain.acts.intake import Opening
from app.domain.eligibility import Outcome
from app.domain.errors import FieldError
from app.domain.events import STAFF, Event
from app.domain.policy import Channel, Priority, Terms
from app.domain.ticket import Complexity, Status, Ticket

router = APIRouter(prefix="/v1/tickets", tags=["tickets"], route_class=route_of("tickets"))

MOST_WHOLE: Final = 50
"""How many tickets a page has at most where it tells more of each."""

USED_CHECK: Final = "uq_tickets_eligibility_check_id"


class TicketRequest(RequestShape):
    """A new ticket; what is missing is warned of, only an empty subject or description is refused."""

    subject: Line
    description: Prose
    follow_up_of: Annotated[
        str | None, Field(max_length=64, description="An earlier ticket of the same client, by its id or ref.")
    ] = None
    eligibility_check_id: Annotated[
        UUID | None,
        Field(
            description="A stored check of the same client, category and channel; one ticket uses it."
            " One that a lead has overridden lets the ticket in."
        ),
    ] = None
    received_at: Annotated[Instant | None, Field(description="Staff only: when the request came, up to now.")] = None
    answered: Annotated[
        Flag | None, Field(description="Staff only: a call that a person answered; the default by phone.")
    ] = None


class Include(StrEnum):
    """What a page tells of each ticket besides, as reading it by itself does: its clocks, what the caller may do."""

    CLOCKS = "clocks"
    ACTS = "acts"


class TicketPage(Page[TicketItemShape]):
    """One page of tickets; `broken` and `next_due_at` hold at `as_of`, `emergency` as the worker noted it last."""

    as_of: datetime


@router.post("", operation_id="create_ticket", status_code=201, response_model=TicketShape)
async def create_ticket(body: TicketRequest, caller: Writer, once: OnceOnly) -> Response:
    """Open a ticket.

    The policy in force at `received_at` decides. A refused request answers 403 `not_eligible`
    with the whole decision, and what was written is kept: see the decision's `id`. An accepted
    one answers 201 with its clocks running and `warnings` to show. With the `eligibility_check_id`
    of a refusal that a lead has overridden, the ticket is taken all the same. Contacts open tickets by the
    portal only, whatever a check of the policy says of another channel.
    """
    client_id, contact_id = eligibility.whose(body, caller)
    if contact_id is None:
        raise errors.invalid([FieldError("/contact_id", "missing", "say for which contact")])
    if not intake.may_open(body.channel, caller.actor):
        detail = f"The role {caller.role} may not open tickets by {body.channel}; use the portal."
        raise Problem("act_forbidden", detail, allowed_acts=[])
    for _ in range(acting.TRIES):
        response = await _open(body, caller, once, (client_id, contact_id))
        if response is not None:
            return response
        await caller.held.book.read()
    raise Problem("concurrent_update", "The calendar is being changed right now; send the request again.")


async def _open(body: TicketRequest, caller: Caller, once: Once, whose: tuple[UUID, UUID]) -> Response | None:
    """Fetch, decide, store; None where the calendar has changed in between."""
    client_id, contact_id = whose
    terms, received_at = await _terms(body, caller)
    earlier, check = await _linked(caller, body, Scope(client_id, caller.scope.contact_id))
    decision, number = await eligibility.judge(
        caller, body, body.description, client_id, contact_id, received_at, drawing=True
    )
    if decision.outcome is Outcome.DENIED and not (check and check.overridden_at):
        written = body.model_dump(mode="json")
        return await eligibility.refuse(caller, once, decision, whose, written)
    opening = Opening(
        id=ids.new_id(),
        client_id=client_id,
        contact_id=contact_id,
        ref=f"KE-{year_of(caller.now)}-{number:06}",
        subject=body.subject,
        request=eligibility.asked(body, body.description),
        answered=body.answered if body.answered is not None else body.channel is Channel.PHONE,
        received_at=received_at,
        follow_up_of=earlier,
        eligibility_check_id=body.eligibility_check_id,
    )
    happened = fold.numbered(None, intake.open_ticket(opening, decision, terms, actor=caller.actor, now=caller.now))
    opened = fold.fold(None, happened)
    shape = ticket_shape(opened, terms, caller.actor, caller.now)
    headers = {"Location": f"/v1/tickets/{opened.id}", "ETag": etag(opened.version)}
    response = answer(shape, status=201, headers=headers)
    kept = once.keep(response)
    story = tickets.story(None, opened, happened, passing.next_at(opened, terms), terms.revision)
    try:
        stored = await once.write(lambda: tickets.add(caller.pool, opened, story, kept))
    except ConstraintError as error:
        if error.name == USED_CHECK:
            raise Problem(
                "check_used", "Another ticket uses this eligibility check; ask for a new one, or leave it out."
            ) from None
        raise
    return response if stored else None


async def _terms(body: TicketRequest, caller: Caller) -> tuple[Terms, datetime]:
    """Return the instant everything is judged at, and the terms in force then."""
    if body.answered is not None and caller.role not in STAFF:
        raise errors.invalid([FieldError("/answered", "not_yours", "only staff may say so; leave it out")])
    if body.answered and body.channel is not Channel.PHONE:
        raise errors.invalid([FieldError("/answered", "not_a_call", "only a call can be answered; leave it out")])
    if body.received_at is None:
        return await caller.held.book.in_force(caller.now), caller.now
    limits = (await caller.held.book.in_force(caller.now)).policy.limits
    received_at = intake.received(body.received_at, actor=caller.actor, limits=limits, now=caller.now)
    return await caller.held.book.in_force(received_at), received_at


async def _linked(caller: Caller, body: TicketRequest, scope: Scope) -> tuple[UUID | None, Found | None]:
    """Return the ticket followed up on and the check used; both have to be in scope, and the check to fit."""
    found, check = list[FieldError](), None
    earlier = await acting.find(caller, body.follow_up_of, scope) if body.follow_up_of else None
    if body.follow_up_of and earlier is None:
        found.append(FieldError("/follow_up_of", "unknown_ticket", "name a ticket of the same client"))
    if body.eligibility_check_id:
        own = checks.Scope(scope.client_id, scope.contact_id)
        check = await checks.get(caller.pool, body.eligibility_check_id, own)
        same = check and (check.request["category"], check.request["channel"]) == (body.category, body.channel)
        if not same:
            message = "name a stored check of the same client, category and channel"
            found.append(FieldError("/eligibility_check_id", "unknown_check", message))
    if found:
        raise errors.invalid(found)
    return earlier.id if earlier else None, check


def _one_or_more(choices: type[StrEnum]) -> Any:  # noqa: ANN401  # what the framework takes
    return Query(description=f"One or more of {', '.join(choices)}, comma-separated.")


@router.get("", operation_id="list_tickets", response_model=TicketPage)
async def list_tickets(
    caller: AnyCaller,
    pages: Pages,
    status: Annotated[str | None, _one_or_more(Status)] = None,
    priority: Annotated[str | None, _one_or_more(Priority)] = None,
    complexity: Annotated[str | None, _one_or_more(Complexity)] = None,
    channel: Annotated[str | None, _one_or_more(Channel)] = None,
    level: Annotated[int | None, Query(ge=1, le=3)] = None,
    client_id: UUID | None = None,
    assignee_id: Annotated[UUID | None, Query(description="Staff only.")] = None,
    emergency: bool | None = None,
    broken: Annotated[bool | None, Query(description="Whether any promise on the ticket is broken by now.")] = None,
    due_before: Annotated[Instant | None, Query(description="A running promise is due before this instant.")] = None,
    updated_since: Annotated[Instant | None, Query(description="Something happened at or after this instant.")] = None,
    include: Annotated[str | None, _one_or_more(Include)] = None,
) -> Response:
    """List the tickets that the caller may know of, the newest first.

    With `include` each item carries its `clocks` and `allowed_acts` too, as the ticket by itself does;
    a page then has at most 50 items.
    """
    included = _values("include", include, Include) or []
    if included and pages.limit > MOST_WHOLE:
        raise errors.invalid([FieldError("/query/limit", "less_than_equal", f"with include at most {MOST_WHOLE}")])
    if assignee_id and not visibility.knows_the_house(caller.actor):
        raise errors.invalid([FieldError("/query/assignee_id", "not_yours", "only staff filter by this; leave it out")])
    filters = Filters(
        status=_values("status", status, Status),
        priority=_values("priority", priority, Priority),
        complexity=_values("complexity", complexity, Complexity),
        channel=_values("channel", channel, Channel),
        level=level,
        client_id=client_id,
        assignee_id=assignee_id,
        emergency=emergency,
        broken=broken,
        due_before=due_before,
        updated_since=updated_since,
    )
    page = pages.turn(await tickets.page(caller.pool, filters, caller.scope, pages.after, pages.most, caller.now))
    wholes = await acting.seen_on_page(caller, [item.id for item in page.rows]) if included else {}
    items = [_item(item, wholes.get(item.id), caller, included) for item in page.rows]
    return answer(TicketPage(as_of=caller.now, items=items, next_cursor=page.next_cursor), headers=page.headers)


def _item(item: Item, whole: tuple[Ticket, Terms] | None, caller: Caller, included: Sequence[str]) -> TicketItemShape:
    clocks = clock_shapes(*whole, caller.now) if whole and Include.CLOCKS in included else None
    acts = allowed_acts(*whole, caller.actor, caller.now) if whole and Include.ACTS in included else None
    return item_shape(item, caller.actor, clocks, acts)


def _values(name: str, text: str | None, choices: Any) -> list[str] | None:  # noqa: ANN401  # an enum class
    """Read a comma-separated filter."""
    if text is None:
        return None
    values = text.split(",")
    if not set(values) <= set(choices):
        raise errors.invalid([FieldError(f"/query/{name}", "unknown_value", f"choose from {', '.join(choices)}")])
    return values


@router.get("/{ticket_id}", operation_id="get_ticket", response_model=TicketShape)
async def get_ticket(
    ticket_id: str,
    caller: AnyCaller,
    as_of: AsOf = None,
    include: Annotated[str | None, _one_or_more(Include)] = None,
) -> Response:
    """Read a ticket by its id or ref, with its clocks and what you may do, now or at another instant.

    `include` is taken as in a list; both are always in this answer.
    """
    _values("include", include, Include)
    found, terms = await acting.seen_at(caller, ticket_id, as_of)
    shape = ticket_shape(found, terms, caller.actor, as_of or caller.now)
    return answer(shape, headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/clocks", operation_id="get_ticket_clocks", response_model=ClocksShape)
async def get_ticket_clocks(ticket_id: str, caller: AnyCaller, as_of: AsOf = None) -> Response:
    """Read every promise on a ticket with the trace that explains its due date to the microsecond."""
    found, terms = await acting.seen_at(caller, ticket_id, as_of)
    return answer(clocks_shape(found, terms, as_of or caller.now), headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/acts", operation_id="get_ticket_acts", response_model=ActsShape)
async def get_ticket_acts(ticket_id: str, caller: AnyCaller) -> Response:
    """Ask which acts are open to you now, and why the others are not."""
    found, terms = await acting.seen(caller, ticket_id)
    case = passing.case_of(found, terms, actor=caller.actor, now=caller.now)
    return answer(acts_shape(case), headers={"ETag": etag(found.version)})


@router.get("/{ticket_id}/events", operation_id="list_ticket_events", response_model=Page[EventShape])
async def list_ticket_events(ticket_id: str, caller: AnyCaller, pages: Pages, as_of: AsOf = None) -> Response:
    """List what had happened to a ticket by an instant, the oldest first; a contact sees what is public.

    `as_of` in the future lists what has happened by now: what time will bring is in the ticket and its clocks.
    """
    found, _ = await acting.seen_at(caller, ticket_id, as_of)
    page = await events_page(caller, found, pages, Selection(until=as_of))
    items = [event_shape(event, caller.actor) for event in page.rows]
    return answer(Page[EventShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


async def events_page(caller: Caller, found: Ticket, pages: Paging, selection: Selection) -> Turned[Event]:
    """Read one page of a ticket's events, as far as the caller may see them."""
    after = pages.place[0] if pages.place else 0
    seen = replace(selection, internal=visibility.internal_filter(caller.actor))
    rows = await events.of_ticket(caller.pool, found.client_id, found.id, after, seen, pages.most)
    return pages.turn(rows, lambda event: (event.number,), lambda event: event.data is not None)
