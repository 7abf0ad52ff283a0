"""Several workers, killed and stopped in the middle of it: each promise that breaks is noted exactly once."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from app.db import tables
from tests.api.conftest import z
from tests.faults.figures import DRAW, WHOLE, Figure
from tests.faults.load import Tally
from tests.faults.processes import Api, House, Process

CLOCKS = 10_000
HELD = 1_000
WORKERS = 4
KILLS = 10
STOPPED_SECONDS = 11
OPENED, BROKEN = "2026-01-05 10:00:00", "2026-01-05 12:00:01"
pytestmark = pytest.mark.skipif(not WHOLE, reason="make faults runs it")

EMPTY = "TRUNCATE tickets, clock_cycles, events, idempotency_keys CASCADE"
COPIES = """
CREATE TEMP TABLE copies AS
    SELECT gen_random_uuid() AS id, 'KE-2026-' || lpad((500000 + number)::text, 6, '0') AS ref
    FROM generate_series(1, {count}) AS number
"""
OF_ITSELF = {
    "tickets": {"id": "copies.id", "ref": "copies.ref"},
    "clock_cycles": {"ticket_id": "copies.id"},
    "events": {
        "ticket_id": "copies.id",
        "data": "CASE kind WHEN 'ticket.opened' THEN data || jsonb_build_object('id', copies.id, 'ref', copies.ref)"
        " ELSE data END",
    },
}
# How many events there are of the right kind, and how many of them are one too many.
NOTED = """
SELECT count(*), count(*) - count(DISTINCT (ticket_id, data ->> 'clock', data ->> 'cycle', kind))
FROM {table} WHERE kind = 'clock.broken'
"""


async def copies(house: House, api: Api, count: int) -> None:
    """Open a ticket through the API, and copy it with everything that it is the fold of."""
    async with house.database.superuser() as connection:
        await connection.execute(EMPTY)
        await clock(api, OPENED)
        opened = await api.call("standard", "POST", "/v1/tickets", house.desk.request())
        await connection.execute(COPIES.format(count=count - 1))
        for name, own in OF_ITSELF.items():
            columns = [column.name for column in tables.metadata.tables[name].c if column.name != "position"]
            values = [own.get(column, f"{name}.{column}") for column in columns]
            mine = "id" if name == "tickets" else "ticket_id"
            await connection.execute(
                f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {name}, copies"
                f" WHERE {name}.{mine} = $1", UUID(opened.json()["id"]),
            )  # fmt: skip


async def clock(api: Api, wall: str) -> None:
    answer = await api.call("admin", "PUT", "/v1/test-clock", {"now": z(wall)})
    assert answer.status_code == 200, answer.text


async def noted(house: House, table: str = "events") -> tuple[int, int]:
    return tuple((await house.database.ask(NOTED.format(table=table)))[0])


async def all_noted(house: House, count: int, seconds: float) -> float:
    """Wait until every promise was noted, and return how long that took."""
    began = time.monotonic()
    while (await noted(house))[0] < count:
        assert time.monotonic() - began < seconds, await noted(house)
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def test_ten_thousand_clocks_are_noted_once_each_by_workers_that_are_killed_and_people_who_act(
    house: House, figures: list[Figure]
) -> None:
    async with house.api(TEST_CLOCK=1) as api, house.api(TEST_CLOCK=1) as other:
        await copies(house, api, CLOCKS)
        tally = Tally()
        async with AsyncExitStack() as stack:
            workers = [await stack.enter_async_context(house.running("worker", TEST_CLOCK=1)) for _ in range(WORKERS)]
            await asyncio.sleep(3)
            await clock(api, BROKEN)
            began = time.monotonic()
            people = [asyncio.create_task(act(house, way, tally)) for way in (api, other)]
            for _ in range(KILLS):
                await asyncio.sleep(DRAW.uniform(0.2, 0.8))
                await kill(DRAW.choice(workers))
            await all_noted(house, CLOCKS, 150)
            took = time.monotonic() - began
            for person in people:
                person.cancel()
            await asyncio.gather(*people, return_exceptions=True)
            await asyncio.sleep(2)
        found, doubled = await noted(house)
        control = await naive(house)
        checked = await house.self_check()
        figures.append(
            Figure(
                "workers killed", f"{WORKERS} workers, 2 APIs, {found:,} clocks in {took:.0f} s; {checked}", KILLS,
                f"naive loop: {control:,} too many", CLOCKS - found, doubled, len(tally.wrong), tally.slowest,
            )
        )  # fmt: skip
        assert (found, doubled, tally.wrong) == (CLOCKS, 0, [])
        assert checked == f"{CLOCKS} tickets, drift 0"
        assert control


async def kill(worker: Process) -> None:
    await asyncio.to_thread(worker.kill)
    worker.start()


async def act(house: House, api: Api, tally: Tally) -> None:
    """Write notes on tickets whose promise has just broken: each act brings along what time has brought."""
    rows = await house.database.ask("SELECT id::text FROM tickets ORDER BY id")
    while True:
        path = f"/v1/tickets/{DRAW.choice(rows)['id']}/messages"
        body = {"text": "Seen.", "internal": True}
        await tally.ask(api.http, "POST", path, json=body, headers=api.headers("agent"))
        await asyncio.sleep(0.1)


async def naive(house: House) -> int:
    """The same work by four loops that read what is due without locking it; return how many events are too many."""
    async with house.database.superuser() as connection:
        await connection.execute(
            "DROP TABLE IF EXISTS naive, naive_events;"
            "CREATE TABLE naive AS SELECT id, false AS done FROM tickets LIMIT 500;"
            "CREATE TABLE naive_events (ticket_id uuid, kind text, data jsonb)"
        )

    async def loop() -> None:
        async with house.database.superuser() as own:
            while due := await own.fetch("SELECT id FROM naive WHERE NOT done LIMIT 50"):
                for row in due:
                    await note(own, row["id"])

    await asyncio.gather(*(loop() for _ in range(WORKERS)))
    return (await noted(house, "naive_events"))[1]


async def note(connection: asyncpg.Connection, ticket_id: UUID) -> None:
    broken = '{"clock": "acknowledgement", "cycle": 1}'
    await connection.execute("INSERT INTO naive_events VALUES ($1, 'clock.broken', $2)", ticket_id, broken)
    await connection.execute("UPDATE naive SET done = true WHERE id = $1", ticket_id)


async def test_a_worker_that_stopped_past_its_time_changes_nothing_when_it_goes_on(
    house: House, figures: list[Figure]
) -> None:
    async with house.api(TEST_CLOCK=1) as api:
        await copies(house, api, HELD)
        async with house.running("worker", TEST_CLOCK=1) as stopped:
            await asyncio.sleep(3)
            await clock(api, BROKEN)
            held = await stop_amid_a_batch(house, stopped)
            async with house.running("worker", TEST_CLOCK=1):
                await asyncio.sleep(STOPPED_SECONDS)
                await all_noted(house, HELD, 60)
                before = await stored(house)
                stopped.send(signal.SIGCONT)
                await asyncio.sleep(3)
        found, doubled = await noted(house)
        changed = int(before != await stored(house))
        control = await stale(house)
        checked = await house.self_check()
    figures.append(
        Figure(
            "worker stopped", f"SIGSTOP for {STOPPED_SECONDS} s with {held} tickets locked; {checked}", 1,
            f"without the version as guard: {control} stale write", HELD - found, doubled + changed,
        )
    )  # fmt: skip
    assert (found, doubled, changed) == (HELD, 0, 0)
    assert checked == f"{HELD} tickets, drift 0"
    assert control == 1


async def stop_amid_a_batch(house: House, worker: Process) -> int:
    """Stop a worker while it holds locks, and return on how many tickets it had written by then."""
    async with house.database.superuser() as connection:
        for _ in range(500):
            worker.send(signal.SIGSTOP)
            await asyncio.sleep(0.05)
            waiting = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                " AND application_name = 'kawan-support'"
            )
            free = await connection.fetch("SELECT FROM tickets FOR UPDATE SKIP LOCKED")
            if waiting and len(free) < HELD:
                return HELD - len(free)
            worker.send(signal.SIGCONT)
            await asyncio.sleep(0.02)
    raise AssertionError("the worker was never caught with a batch")


async def stored(house: House) -> str:
    """Everything that is stored of tickets, as one value."""
    query = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM tickets t"
    return str((await house.database.ask(query))[0][0])


async def stale(house: House) -> int:
    """A write by somebody who read before the others wrote, without the version as guard: it overwrites."""
    async with house.database.superuser() as slow, house.database.superuser() as quick:
        read = await slow.fetchrow("SELECT id, version FROM tickets LIMIT 1")
        await quick.execute("UPDATE tickets SET subject = 'quick' WHERE id = $1", read["id"])
        await slow.execute("UPDATE tickets SET subject = 'stale' WHERE id = $1", read["id"])
        overwritten = await slow.fetchval("SELECT subject FROM tickets WHERE id = $1", read["id"])
        await slow.execute("UPDATE tickets SET subject = 'The form is broken' WHERE id = $1", read["id"])
    return int(overwritten == "stale")
