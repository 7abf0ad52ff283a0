"""The self-check: every ticket folded again from its events, and compared with what is stored."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from app.db import events, tickets
from app.db import pool as pools
from app.db.pool import Pool, Transaction
from app.domain import fold
from app.domain.ticket import Ticket

log: Final = structlog.get_logger()
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Result:
    """How many tickets were compared, and which of them differ."""

    tickets: int
    drifted: tuple[UUID, ...]


async def run(pool: Pool) -> Result:
    """Compare all tickets, a batch at a time; each batch sees one state of the database, and locks nothing."""
    seen, drifted, after = 0, list[UUID](), UUID(int=0)
    while True:
        async with pools.transaction(pool, snapshot=True) as connection:
            batch = await tickets.after(connection, after, BATCH)
            drifted += [found.id for found in batch if not await _same(connection, found)]
        if not batch:
            return Result(seen, tuple(drifted))
        seen, after = seen + len(batch), batch[-1].id


async def _same(connection: Transaction, found: Ticket) -> bool:
    story = await events.story(connection, found.client_id, found.id, None)
    whole = [event.number for event in story] == list(range(1, found.last_number + 1))
    try:
        same = whole and fold.fold(None, story) == found
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        log.error("a ticket is not the fold of its events", ticket=str(found.id), ref=found.ref)
    return same
