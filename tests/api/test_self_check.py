"""The self-check: drift is 0 whatever was done, and anything written past the events is found."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.db import upkeep
from app.worker import loop, self_check
from tests.api.conftest import Desk

TAMPERED = [
    "UPDATE tickets SET priority = 'low'",
    "UPDATE tickets SET subject = 'Another'",
    "UPDATE clock_cycles SET due_at = due_at + interval '1 microsecond' WHERE clock = 'resolution'",
    "UPDATE clock_cycles SET warned = 50",
    "DELETE FROM events WHERE kind = 'message.sent'",
    "UPDATE events SET data = jsonb_set(data, '{subject}', '\"x\"') WHERE kind = 'ticket.opened'",
    "DELETE FROM clock_cycles WHERE clock = 'resolution'",
    "DELETE FROM events",
]


async def lived(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.say("agent", ticket)
    await desk.act("agent", ticket, "classify", complexity="complex", reason="It is.")
    await desk.act("agent2", ticket, "request-details", text="Which?")
    await desk.at("2026-01-06 10:00:00")
    await desk.sweep()


async def test_every_ticket_is_the_fold_of_its_events(desk: Desk) -> None:
    await lived(desk)
    await desk.open("premium")
    found = await self_check.run(desk.pool)
    assert (found.tickets, found.drifted) == (2, ())


@pytest.mark.parametrize("tampering", TAMPERED)
async def test_what_was_written_past_the_events_is_found(desk: Desk, tampering: str) -> None:
    await lived(desk)
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    try:
        await connection.execute(tampering)
    finally:
        await connection.close()
    found = await self_check.run(desk.pool)
    assert len(found.drifted) == 1


async def test_a_worker_that_starts_leaves_out_what_another_has_just_checked(desk: Desk) -> None:
    at = datetime.now(UTC)
    await upkeep.checked(desk.pool, at, 0, 0)
    due = {minutes: await loop.check_is_due(desk.pool, at + timedelta(minutes=minutes)) for minutes in (1, 29, 31, 60)}
    assert due == {1: False, 29: False, 31: True, 60: True}
