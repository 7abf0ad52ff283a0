"""What every act on a ticket shares over HTTP: find it, decide, store, answer; again if somebody was faster."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from starlette.responses import Response

from app.api import errors
from app.api.deps import Caller, Writer
from app.api.errors import Problem
from app.api.idempotency import IdempotencyKey, Once, once
from app.api.shapes import ETAGS, Instant, Told, answer, etag, matches
from app.api.ticket_shapes import ticket_shape
from app.db import events, tickets
from app.db.tickets import Scope
from app.domain import fold, passing
from app.domain.events import Event
from app.domain.policy import Terms
from app.domain.ticket import Case, Ticket

TRIES: Final = 3
REF: Final = re.compile(r"KE-\d{4}-\d{6,12}", re.ASCII)
ID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

IfMatch: TypeAlias = Annotated[
    str | None,
    Header(
        max_length=64,
        description="The ETag you decided by; 412 where the ticket has moved on.",
        json_schema_extra=ETAGS,
    ),
]
AsOf: TypeAlias = Annotated[
    Instant | None,
    Query(description="Show it as it was then, or as it will be if time passes and nobody acts; now if left out."),
]
Decide: TypeAlias = Callable[[Case], list[Event] | Awaitable[list[Event]]]
"""Decides on a ticket as it is; awaited where it has to look something up."""
Show: TypeAlias = Callable[[Ticket, Terms, tuple[Event, ...]], tuple[int, Told]]


async def find(caller: Caller, ticket_id: str, scope: Scope) -> Ticket | None:
    """Find a ticket by its id or ref, among those in scope."""
    ref = ticket_id.upper()
    if REF.fullmatch(ref):
        return await tickets.get(caller.pool, None, ref, scope)
    if ID.fullmatch(ticket_id):
        return await tickets.get(caller.pool, UUID(ticket_id), None, scope)
    return None


async def seen(caller: Caller, ticket_id: str) -> tuple[Ticket, Terms]:
    """Find a ticket among those that the caller may know of, with the terms it was opened under.

    Raises:
        Problem: 404, the same for what isn't there and for what is somebody else's.
    """
    found = await find(caller, ticket_id, caller.scope)
    if found is None:
        raise errors.not_found()
    return found, await caller.held.book.of(found.policy_version, found.calendar_revision)


async def seen_at(caller: Caller, ticket_id: str, as_of: datetime | None) -> tuple[Ticket, Terms]:
    """Find a ticket as it was at an instant: the fold of what had happened by then.

    Raises:
        Problem: 404, also where it wasn't there yet.
    """
    found, latest = await seen(caller, ticket_id)
    if as_of is None or as_of >= found.last_event_at:
        return known(found, latest, as_of or caller.now)
    terms = latest.as_of(as_of)
    story = await events.story(caller.pool, found.client_id, found.id, as_of)
    if not story:
        raise Problem("not_found", "The ticket was not there yet at that instant; ask about a later one.")
    return passing.known_by(fold.fold(None, story), terms, as_of), terms


def known(found: Ticket, latest: Terms, at: datetime) -> tuple[Ticket, Terms]:
    """Return a ticket as anybody may know it by an instant after all that has happened, with the terms of then."""
    terms = latest.as_of(at)
    return passing.known_by(found, terms, at), terms


async def seen_on_page(caller: Caller, ids: Sequence[UUID]) -> dict[UUID, tuple[Ticket, Terms]]:
    """Find the tickets of a page whole, among those that the caller may know of, each as it is seen by itself."""
    found = await tickets.whole(caller.pool, ids, caller.scope)
    latest = {ticket.id: await caller.held.book.of(ticket.policy_version, ticket.calendar_revision) for ticket in found}
    return {ticket.id: known(ticket, latest[ticket.id], caller.now) for ticket in found}


@dataclass(frozen=True, slots=True)
class Acting:
    """Somebody about to act on a ticket."""

    caller: Caller
    once: Once
    ticket_id: str
    if_match: str | None

    async def case(self) -> Case:
        """Return the ticket as it stands for the caller now."""
        found, terms = await seen(self.caller, self.ticket_id)
        return passing.case_of(found, terms, actor=self.caller.actor, now=self.caller.now)

    async def do(self, decide: Decide, show: Show | None = None) -> Response:
        """Fetch, decide, store; and read again where somebody else was faster.

        Raises:
            Problem: 409 after three lost races, 412 where If-Match names another version.
            ActError: the act isn't open to the caller.
        """
        for _ in range(TRIES):
            found, terms = await seen(self.caller, self.ticket_id)
            happened = await self._decided(found, terms, decide)
            changed = fold.fold(found, happened)
            status, shape = (show or self._ticket)(changed, terms, happened)
            response = answer(shape, status=status, headers={"ETag": etag(changed.version)})
            kept = self.once.keep(response)
            story = tickets.story(found, changed, happened, passing.next_at(changed, terms), terms.revision)
            if await self.once.write(lambda: tickets.save(self.caller.pool, changed, story, kept)):  # noqa: B023  # called at once
                return response
            await self.once.replay()
            await self.caller.held.book.read()
        raise Problem("concurrent_update", "Others are changing this ticket right now; read it and try again.")

    async def _decided(self, found: Ticket, terms: Terms, decide: Decide) -> tuple[Event, ...]:
        if not matches(self.if_match, found.version):
            raise Problem(
                "precondition_failed",
                "The ticket has moved on since the version you named; read it again, then decide again.",
            )
        decided = decide(passing.case_of(found, terms, actor=self.caller.actor, now=self.caller.now))
        return fold.numbered(found, await decided if isinstance(decided, Awaitable) else decided)

    def _ticket(self, changed: Ticket, terms: Terms, _happened: tuple[Event, ...]) -> tuple[int, Told]:
        return 200, ticket_shape(changed, terms, self.caller.actor, max(self.caller.now, changed.last_event_at))


async def acting(
    request: Request,
    ticket_id: str,
    caller: Writer,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Acting:
    """Read who is about to act, on what, and when."""
    return Acting(caller, await once(request, idempotency_key), ticket_id, if_match)


ActingOn: TypeAlias = Annotated[Acting, Depends(acting)]
