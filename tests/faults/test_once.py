"""What many do at once: one key has one effect, and no change overwrites another that nobody saw."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.faults.figures import WHOLE, Figure
from tests.faults.load import Tally, Writers
from tests.faults.processes import Api, House, client_of
from tests.faults.proxy import Network, Proxy

ROUNDS = 100
TWINS = 50
CARELESS = 3
WRITERS = 8
CHANGES = 10
pytestmark = pytest.mark.skipif(not WHOLE, reason="make faults runs it")


@asynccontextmanager
async def unheard(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A way to an API by which requests arrive, and answers are lost after the commit."""
    async with Proxy(lambda: asyncio.open_connection("127.0.0.1", api.port)) as proxy:
        proxy.become(Network.HALF_OPEN)
        async with client_of(proxy.port, timeout=0.3) as http:
            yield http
        proxy.become(Network.WHOLE)


async def test_many_requests_with_one_key_have_one_effect_also_where_the_reply_was_lost(
    house: House, api: Api, writers: Writers, figures: list[Figure]
) -> None:
    tally, careless = writers.tally, Writers(api, writers.body)
    async with unheard(api) as lost_way:
        for number in range(ROUNDS):
            subject = f"twins {number}"
            heard = [writers.open(subject, api.http) for _ in range(TWINS - 1)]
            told = await asyncio.gather(writers.open(subject, lost_way, api.http), *heard)
            assert len({*told}) == 1
            assert told[0]
        for number in range(CARELESS):
            await careless.open(f"careless {number}", lost_way, api.http, keyed=False)
    lost, duplicated = await tally.compared(house.database)
    _, doubled = await careless.tally.compared(house.database)
    figures.append(
        Figure(
            "one key, many at once", f"{TWINS} twins at once, one reply of them lost after commit", ROUNDS,
            f"without a key: {doubled} of {CARELESS} twice", lost, duplicated, len(tally.wrong), tally.slowest,
        )
    )  # fmt: skip
    assert (lost, duplicated, tally.wrong) == (0, 0, [])
    assert tally.statuses["ReadTimeout"] == ROUNDS
    assert doubled == CARELESS


async def test_of_eight_writers_with_if_match_nobody_loses_a_change(
    house: House, api: Api, figures: list[Figure]
) -> None:
    tally = Tally()
    counted = await count_together(house, api, tally, careful=True)
    control = await count_together(house, api, Tally(), careful=False)
    made = WRITERS * CHANGES
    figures.append(
        Figure(
            "writers with If-Match", f"{WRITERS} writers add 1 to one ticket, {CHANGES} times each", made,
            f"If-Match: *: {made - control} of {made} lost", made - counted, None, len(tally.wrong), tally.slowest,
        )
    )  # fmt: skip
    assert (counted, tally.wrong) == (made, [])
    assert control < made


async def count_together(house: House, api: Api, tally: Tally, *, careful: bool) -> int:
    """Let all writers count in a ticket's subject, and return how far they came."""
    opened = await api.call("standard", "POST", "/v1/tickets", house.desk.request(subject="count 0"))
    path = f"/v1/tickets/{opened.json()['id']}"
    await asyncio.gather(*(count(api, path, tally, careful=careful) for _ in range(WRITERS)))
    return _counted(await api.call("agent", "GET", path))


async def count(api: Api, path: str, tally: Tally, *, careful: bool) -> None:
    """Read, add one, write; and read again where somebody was faster."""
    done = 0
    while done < CHANGES:
        read = await api.call("agent", "GET", path)
        seen = read.headers["ETag"] if careful else "*"
        written = await tally.ask(
            api.http, "PATCH", path,
            json={"subject": f"count {_counted(read) + 1}"}, headers=api.headers("agent", **{"If-Match": seen}),
        )  # fmt: skip
        assert written is not None
        assert written.status_code in {200, 409, 412}, written.text
        # Careless writers are told at times that it is so already: what they lost, somebody else has counted.
        done += written.status_code == 200 or not careful


def _counted(ticket: httpx.Response) -> int:
    return int(ticket.json()["subject"].removeprefix("count "))
