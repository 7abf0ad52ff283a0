"""One sweep: lock what is due, decide with the same rules as everybody, store."""

from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.db import policies, tickets
from app.db import pool as pools
from app.db.policies import Book
from app.db.pool import Pool, Transaction
from app.db.statements import ConstraintError
from app.domain import fold, passing
from app.domain.ticket import Ticket

log: Final = structlog.get_logger()
BATCH: Final = 100


async def run(pool: Pool, book: Book, now: datetime) -> int:
    """Do everything that time alone has brought by `now`, and return how many tickets it touched.

    Any number of sweeps may run at once: each locks its own tickets, and a ticket that was done
    is no longer due. A ticket that can't be decided or stored is logged and left for the next
    sweep; the others go on.
    """
    touched, stuck = 0, set[UUID]()
    await book.keep_up(await policies.changes(pool))
    while True:
        try:
            found, done = await _batch(pool, book, now, stuck)
        except _StuckError as error:
            log.exception("a ticket can't be stored", ticket=str(error.ticket_id))
            stuck.add(error.ticket_id)
            continue
        if not found:
            return touched
        touched += done


class _StuckError(Exception):
    """A ticket that the schema refuses; its batch is undone and tried again without it."""

    def __init__(self, ticket_id: UUID) -> None:
        super().__init__(ticket_id)
        self.ticket_id = ticket_id


async def _batch(pool: Pool, book: Book, now: datetime, stuck: set[UUID]) -> tuple[int, int]:
    """Let time pass for some tickets, and return how many were found and how many changed."""
    done = 0
    async with pools.transaction(pool) as connection:
        await tickets.announce_writes(connection)
        due = await tickets.lock_due(connection, now, BATCH, list(stuck))
        for found in due:
            if await _pass(connection, book, found, now):
                done += 1
            else:
                stuck.add(found.id)
    return len(due), done


async def _pass(connection: Transaction, book: Book, found: Ticket, now: datetime) -> bool:
    """Let time pass for one ticket: its events are written only where its version still is the one found."""
    try:
        terms = await book.of(found.policy_version, found.calendar_revision)
        happened = fold.numbered(found, passing.swept(found, terms, now))
        changed = fold.fold(found, happened)
        next_at = passing.next_at(changed, terms)
        story = tickets.story(found, changed, happened, next_at, terms.revision)
    except Exception:
        log.exception("time can't pass for a ticket", ticket=str(found.id))
        return False
    if not happened:
        # The calendar was changed, and it makes no difference here.
        later = next_at is None or next_at > now
        return later and await tickets.look_again(connection, found.client_id, found.id, found.version, next_at)
    try:
        return await tickets.save(connection, changed, story, None)
    except ConstraintError as error:
        raise _StuckError(found.id) from error
