"""How much one principal may ask for: exact in one process, never more in several, and nobody else's loss."""

import asyncio
import gc
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.domain.events import Role
from app.main import create_app
from app.outside.limits import Limits, Windows
from app.settings import Settings
from tests.api.conftest import AUDIT_PUBLIC_KEY, Desk, running
from tests.conftest import addresses

PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
SERVER = next(filter(None, (shutil.which(name, path=PATH) for name in ("valkey-server", "redis-server"))), None)
needs_redis = pytest.mark.skipif(SERVER is None, reason="there is neither a Redis nor a Valkey on this machine")


class Redis:
    """A server of the tests' own, which can be ended and started again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(SERVER), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the server didn't start")

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis() -> Iterator[Redis]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Redis(int(probe.getsockname()[1]))
    found.start()
    yield found
    found.stop()


@asynccontextmanager
async def limited(desk: Desk, **settings: Any) -> AsyncIterator[Desk]:
    """The same desk behind a process of its own."""
    application = create_app(Settings(**addresses(desk.app_url), test_clock=True, **settings))
    async with running(application) as http:
        other = Desk(http, desk.pool, desk.app_url, desk.owner_url)
        other.keys, other.parties = desk.keys, desk.parties
        yield other


async def asked(desks: list[Desk], who: str, times: int) -> Counter[int]:
    """Ask at once, in turns of each process, and count the answers by status."""
    calls = [desks[number % len(desks)].call(who, "GET", "/v1/tickets") for number in range(times)]
    return Counter(response.status_code for response in await asyncio.gather(*calls))


async def test_one_process_lets_exactly_so_many_requests_through_and_nobody_else_notices(desk: Desk) -> None:
    async with limited(desk, rate_limit="20/hour") as one:
        assert await asked([one], "standard", 30) == {200: 20, 429: 10}
        refused = await one.call("standard", "POST", "/v1/tickets", desk.request())
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert 3590 < int(refused.headers["Retry-After"]) <= 3600
        assert refused.headers["RateLimit-Policy"] == '"requests";q=20;w=3600'
        assert refused.headers["RateLimit"] == f'"requests";r=0;t={refused.headers["Retry-After"]}'
        other = await one.call("premium", "GET", "/v1/tickets")
        assert (other.status_code, other.headers["RateLimit"][:17]) == (200, '"requests";r=19;t')
        for free in ("/livez", "/readyz", "/openapi.json"):
            answer = await one.call(None, "GET", free)
            assert (answer.status_code in {200, 503}, "RateLimit" in answer.headers) == (True, False)
    assert (await desk.get("standard", "/v1/tickets"))["items"] == []


async def test_every_key_of_a_person_counts_and_a_refused_request_counts_too(desk: Desk) -> None:
    party = desk.parties["standard"]
    await desk.key("second", Role.CONTACT, client_id=party.client_id, contact_id=party.contact_id)
    async with limited(desk, rate_limit="6/minute") as one:
        for who in ("standard", "second"):
            assert (await one.call(who, "GET", "/v1/me")).status_code == 200
            assert (await one.call(who, "POST", "/v1/tickets", {})).status_code == 422
            missing = await one.call(who, "GET", "/v1/tickets/KE-2026-999999")
            assert (missing.status_code, "RateLimit" in missing.headers) == (404, True)
        assert (await one.call("second", "GET", "/v1/me")).status_code == 429


async def test_a_window_ends_and_the_next_one_begins(desk: Desk) -> None:
    async with limited(desk, rate_limit="2/second") as one:
        assert (await asked([one], "standard", 3))[429] == 1
        await asyncio.sleep(1.1)
        assert await asked([one], "standard", 1) == {200: 1}


@needs_redis
async def test_several_processes_over_one_redis_let_no_more_through_than_one_may(desk: Desk, redis: Redis) -> None:
    shared = {"rate_limit": "40/hour", "rate_limit_storage": redis.url, "pool_size": 2}
    async with limited(desk, **shared) as one, limited(desk, **shared) as two, limited(desk, **shared) as three:
        assert await asked([one, two, three], "standard", 90) == {200: 40, 429: 50}
        assert await asked([one, two, three], "premium", 3) == {200: 3}
    apart = {"rate_limit": "40/hour", "pool_size": 2}
    async with limited(desk, **apart) as one, limited(desk, **apart) as two:
        assert await asked([one, two], "standard", 90) == {200: 80, 429: 10}, "apart they count apart"


@needs_redis
async def test_while_the_shared_count_is_away_each_process_counts_for_itself(
    desk: Desk, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.outside.limits.APART_SECONDS", 0.2)
    async with limited(desk, rate_limit="10/hour", rate_limit_storage=redis.url) as one:
        assert await asked([one], "standard", 5) == {200: 5}
        redis.stop()
        began = time.monotonic()
        assert await asked([one], "standard", 15) == {200: 10, 429: 5}
        assert time.monotonic() - began < 2
        redis.start()
        await asyncio.sleep(0.3)
        assert await asked([one], "standard", 15) == {200: 10, 429: 5}, "what it counted went with it"


async def test_one_principals_requests_under_way_leave_connections_to_others(desk: Desk) -> None:
    """Eight writes of one contact wait for a row; another contact is answered at once, as four may work."""
    ticket = await desk.open()
    owner = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))

    async def waited(one: Desk) -> tuple[Counter[int], float]:
        async with owner.transaction():
            await owner.fetch("SELECT FROM tickets FOR UPDATE")
            path = f"/v1/tickets/{ticket['id']}/messages"
            writes = [asyncio.create_task(one.call("standard", "POST", path, {"text": "Hello?"})) for _ in range(8)]
            await asyncio.sleep(0.3)
            began = time.monotonic()
            assert (await one.call("premium", "GET", "/v1/tickets")).status_code == 200
            took = time.monotonic() - began
        return Counter(response.status_code for response in await asyncio.gather(*writes)), took

    try:
        async with limited(desk, pool_size=8) as one:
            answers, took = await waited(one)
            assert took < 0.5
            assert (answers[201] + answers[409], answers[201] > 3) == (8, True), "those that waited had their turn"
            one.http._transport.app.state.runtime.limits.at_once = 8  # type: ignore[attr-defined]  # httpx tells only that it is a transport
            control = asyncio.create_task(waited(one))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await control
    finally:
        await owner.close()


async def test_who_waits_for_their_own_requests_is_answered_in_time_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is slow is the database, so they aren't told that they asked for too much."""
    monkeypatch.setattr("app.api.front_door.ANSWER_SECONDS", 1.0)
    ticket = await desk.open()
    owner = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    try:
        async with limited(desk, pool_size=2) as one, owner.transaction():
            await owner.fetch("SELECT FROM tickets FOR UPDATE")
            path = f"/v1/tickets/{ticket['id']}/messages"
            began = time.monotonic()
            responses = await asyncio.gather(*(one.call("standard", "POST", path, {"text": "Hi?"}) for _ in range(4)))
            assert time.monotonic() - began < 2.5
    finally:
        await owner.close()
    assert {(response.status_code, response.headers["Retry-After"]) for response in responses} == {(503, "1")}


async def test_turns_are_given_back_whatever_happens() -> None:
    limits = Limits("1/minute", 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limits.turn("somebody"):
                raise ZeroDivisionError
    holding = asyncio.Event()

    async def hold() -> None:
        async with limits.turn("somebody"):
            holding.set()
            await asyncio.sleep(60)

    cut = asyncio.create_task(hold())
    await holding.wait()
    waiting = asyncio.create_task(hold())
    await asyncio.sleep(0)
    for task in (waiting, cut):
        task.cancel()
    await asyncio.gather(cut, waiting, return_exceptions=True)
    async with limits.turn("somebody"):
        assert not limits._turns["somebody"]._waiters


async def test_nobody_is_remembered_who_has_nothing_under_way() -> None:
    limits = Limits("1/minute", 1)
    async with limits.turn("somebody"):
        assert list(limits._turns) == ["somebody"]
    gc.collect()
    assert not limits._turns


def test_a_rate_or_a_place_that_cannot_be_counted_by_is_refused_by_name() -> None:
    for wrong in ({"rate_limit": "many"}, {"rate_limit": "0/minute"}, {"rate_limit_storage": "memcached://x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(**wrong)
    assert Settings(rate_limit="5/hour").requests == "5/hour"
    assert Settings().requests == "100000/minute"
    production = {"database_url": "postgresql://one@h/d", "contact_database_url": "postgresql://two@h/d"}
    production |= {"audit_public_keys": AUDIT_PUBLIC_KEY}
    assert Settings(environment="production", **production).requests == "1200/minute"


@needs_redis
async def test_the_process_that_is_told_to_stop_leaves_the_shared_count(redis: Redis) -> None:
    limits = Limits("5/minute", 1, redis.url)

    def connected() -> int:
        with socket.create_connection(("127.0.0.1", redis.port)) as asking:
            asking.sendall(b"INFO clients\r\n")
            return int(asking.recv(4096).split(b"connected_clients:")[1].split(b"\r\n")[0])

    assert (await limits.count("somebody", datetime.now(UTC))).left == 4
    assert connected() == 2
    await limits.close()
    assert connected() == 1


def test_a_window_is_fixed_and_what_has_ended_is_forgotten() -> None:
    windows = Windows()
    assert [windows.add("a", at, 60) for at in (100.0, 159.9)] == [(1, 160.0), (2, 160.0)]
    assert windows.add("b", 130.0, 60) == (1, 190.0)
    assert windows.add("a", 160.0, 60) == (1, 220.0), "a window ends at its end, and the next begins with a request"
    assert windows.add("a", 99.0, 60) == (1, 159.0), "a clock that was set back begins a window anew"
    for number in range(1_000):
        windows.add(f"once {number}", 230.0, 60)
    windows.add("a", 300.0, 60)
    assert windows._found.keys() == {"a"}  # what it holds is what is asked
