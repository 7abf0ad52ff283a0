"""One sweep: lock what is due, decide with the same rules as everybody, store."""

from datetime import datetime
from typing import Final

import structlog

from app.db import pool as pools
from app.db import tickets
from app.db.policies import Book
from app.db.pool import Pool, Transaction
from app.domain import passing, ticket
from app.domain.ticket import Ticket

log: Final = structlog.get_logger()
BATCH: Final = 100


async def run(pool: Pool, book: Book, now: datetime) -> int:
    """Do everything that time alone has brought by `now`, and return how many tickets it touched.

    Any number of sweeps may run at once: each locks its own tickets, and a ticket that was done
    is no longer due.
    """
    touched = 0
    while done := await _batch(pool, book, now):
        touched += done
    return touched


async def _batch(pool: Pool, book: Book, now: datetime) -> int:
    async with pools.transaction(pool) as connection:
        due = await tickets.lock_due(connection, now, BATCH)
        return sum([await _pass(connection, book, found, now) for found in due])


async def _pass(connection: Transaction, book: Book, found: Ticket, now: datetime) -> bool:
    """Let time pass for one ticket: its events are written only where its version still is the one found.

    A ticket that can't be decided is logged and left for the next sweep; the others go on.
    """
    try:
        terms = await book.of(found.policy_version, found.calendar_revision)
        happened = ticket.numbered(found, passing.due(found, terms, now))
        changed = ticket.fold(found, happened)
        story = tickets.story(changed, happened, passing.next_at(changed, terms))
    except Exception:
        log.exception("time can't pass for a ticket", ticket=str(found.id))
        return False
    return await tickets.save(connection, changed, story, None)
