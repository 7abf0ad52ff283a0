"""A database that can't be reached, is slow, or is held by somebody: everybody is answered, and soon all is well."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from tests.faults.figures import WHOLE, Figure
from tests.faults.load import Tally
from tests.faults.processes import Api, House, client_of
from tests.faults.proxy import Network

EVERY = 0.06
LASTS = 6.0
ANSWER_SECONDS = 5.0
HEALED_SECONDS = 2.0
SLOW_TRIGGER = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END';
CREATE TRIGGER slow BEFORE INSERT ON tickets FOR EACH STATEMENT EXECUTE FUNCTION slow()
"""
pytestmark = pytest.mark.skipif(not WHOLE, reason="make faults runs it")

Trouble: TypeAlias = Callable[[House], AbstractAsyncContextManager[None]]


def broken(network: Network) -> Trouble:
    @asynccontextmanager
    async def trouble(house: House) -> AsyncIterator[None]:
        house.database.network.become(network)
        try:
            yield
        finally:
            house.database.network.become(Network.WHOLE)

    return trouble


@asynccontextmanager
async def slow_network(house: House) -> AsyncIterator[None]:
    house.database.network.delay = 1.2
    yield
    house.database.network.delay = 0


@asynccontextmanager
async def locked(house: House) -> AsyncIterator[None]:
    async with house.database.superuser() as connection, connection.transaction():
        await connection.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def slow_statement(house: House) -> AsyncIterator[None]:
    async with house.database.superuser() as connection:
        await connection.execute(SLOW_TRIGGER)
        yield
        await connection.execute("DROP FUNCTION slow CASCADE")


@dataclass
class Weather:
    """What came of a trouble: for those who asked, for liveness, and after how long all was well."""

    asked: Tally
    live: Tally
    healed: float


async def weathered(house: House, api: Api, trouble: Trouble) -> Weather:
    """Ask again and again, whether or not anybody has answered yet, before, in and after a trouble."""
    opened = await api.call("standard", "POST", "/v1/tickets", house.desk.request())
    asked, live = Tally(), Tally()
    async with arriving(house, api, opened.json()["id"], asked), alive(api, live):
        await asyncio.sleep(1)
        async with trouble(house):
            await asyncio.sleep(LASTS)
        over = time.monotonic()
        await asyncio.sleep(HEALED_SECONDS + 2)
    return Weather(asked, live, max(0.0, max(asked.failed_at, default=over) - over))


@asynccontextmanager
async def arriving(house: House, api: Api, ticket_id: str, tally: Tally) -> AsyncIterator[None]:
    """Staff and clients who read and write, one after the other, each as soon as it is their turn."""
    tasks: list[asyncio.Task[object]] = []

    async def arrive() -> None:
        for who in itertools.cycle(("standard", "agent")):
            read = tally.ask(api.http, "GET", f"/v1/tickets/{ticket_id}", headers=api.headers(who))
            tasks.append(asyncio.create_task(read))
            await asyncio.sleep(EVERY)
            headers = api.headers("standard", **{"Idempotency-Key": str(uuid4())})
            write = tally.ask(api.http, "POST", "/v1/tickets", json=house.desk.request(), headers=headers)
            tasks.append(asyncio.create_task(write))
            await asyncio.sleep(EVERY)

    arrivals = asyncio.create_task(arrive())
    try:
        yield
    finally:
        arrivals.cancel()
        await asyncio.gather(arrivals, *tasks, return_exceptions=True)


@asynccontextmanager
async def alive(api: Api, tally: Tally) -> AsyncIterator[None]:
    """Ask whether the process lives, all the time, and wait for a second at most."""

    async def ask() -> None:
        async with client_of(api.port, timeout=1) as http:
            while True:
                await tally.ask(http, "GET", "/livez")
                await asyncio.sleep(EVERY)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def naive(house: House, trouble: Trouble, query: str) -> str:
    """One connection without time-outs, and what becomes of whoever asks by it several times."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=house.database.network.port, user="postgres", database="kawan"
    )
    said = "naive: answered"
    try:
        async with trouble(house):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    for _ in range(6):
                        await connection.fetch(query)
            except TimeoutError:
                said = "naive: no answer in 5 s"
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass
        if said == "naive: answered":
            await asyncio.sleep(HEALED_SECONDS)
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.fetch("SELECT 1")
                return said
            said = "naive: dead 2 s after"
    finally:
        connection.terminate()
    return said


@pytest.mark.parametrize(
    ("trouble", "name", "done", "query"),
    [
        (broken(Network.CUT), "network cut", "every connection reset for 6 s", "SELECT 1"),
        (broken(Network.BLACK_HOLE), "network black-holed", "nothing arrives for 6 s", "SELECT 1"),
        (broken(Network.HALF_OPEN), "network half open", "no answer arrives for 6 s", "SELECT 1"),
        (slow_network, "network slow", "each answer 1.2 s later, 6 s long", "SELECT 1"),
        (locked, "pool exhausted", "tickets locked from outside for 6 s", "SELECT FROM tickets LIMIT 1"),
        (
            slow_statement,
            "statement too slow",
            "inserts sleep, 6 s long",
            "INSERT INTO tickets SELECT * FROM tickets LIMIT 0",
        ),
    ],
    ids=["cut", "black hole", "half open", "slow", "locked", "slow statement"],
)
async def test_in_trouble_everybody_is_answered_in_time_and_soon_after_all_is_well(
    trouble: Trouble, name: str, done: str, query: str, house: House, api: Api, figures: list[Figure]
) -> None:
    control = await naive(house, trouble, query)
    assert await api.ready_within(10)
    found = await weathered(house, api, trouble)
    unavailable = found.asked.statuses[503]
    figures.append(
        Figure(
            name, f"{done}: {sum(found.asked.statuses.values()):,} requests, {unavailable:,} of them 503", 1, control,
            wrong=len(found.asked.wrong), slowest=found.asked.slowest, ready=found.healed,
        )
    )  # fmt: skip
    assert control != "naive: answered"
    assert set(found.asked.statuses) <= {200, 201, 409, 503}, found.asked.statuses
    assert (found.asked.wrong, set(found.live.statuses)) == ([], {200})
    assert found.asked.slowest < ANSWER_SECONDS
    assert found.healed < HEALED_SECONDS
    assert unavailable


async def test_liveness_that_stops_is_seen(api: Api) -> None:
    stopped = Tally()
    async with alive(api, stopped):
        api.process.send(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        api.process.send(signal.SIGCONT)
        await asyncio.sleep(0.5)
    assert "ReadTimeout" in stopped.statuses
