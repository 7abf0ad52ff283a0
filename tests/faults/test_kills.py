"""Processes that are killed under load: what was acknowledged is there, once, and soon there is more."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

import httpx
import pytest

from tests.conftest import ROOT
from tests.faults.figures import DRAW, WHOLE, Figure
from tests.faults.load import Tally, Writers, liar
from tests.faults.processes import Api, House, Process, client_of

ROUNDS = 3 if WHOLE else 1
READY_SECONDS = 5.0
LONGEST_SECONDS = 60.0
ANSWER_SECONDS = 5.0
whole = pytest.mark.skipif(not WHOLE, reason="make faults runs it")

Fault: TypeAlias = Callable[[House, Api, Process], Awaitable[float | None]]
"""Breaks something, brings it back, and tells after how long all was well again."""


async def kill_api(_house: House, api: Api, _worker: Process) -> float | None:
    api.process.kill()
    api.process.start()
    return await api.ready_within(LONGEST_SECONDS)


async def kill_worker(_house: House, api: Api, worker: Process) -> float | None:
    worker.kill()
    worker.start()
    return await sweeps_within(api, LONGEST_SECONDS)


async def sweeps_within(api: Api, seconds: float) -> float | None:
    """Wait for the next sweep, as readiness tells of it."""
    began, since = time.monotonic(), datetime.now(UTC)
    while time.monotonic() - began < seconds:
        found = (await api.http.get("/readyz")).json()["last_sweep_at"]
        if found and datetime.fromisoformat(found) > since:
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    return None


async def kill_postgres(house: House, api: Api, _worker: Process) -> float | None:
    return await _end_postgres(house, api, signal.SIGKILL)


async def restart_postgres(house: House, api: Api, _worker: Process) -> float | None:
    return await _end_postgres(house, api, signal.SIGQUIT)


async def _end_postgres(house: House, api: Api, number: signal.Signals) -> float | None:
    await house.database.kill(number)
    await asyncio.sleep(DRAW.uniform(0, 1))
    await house.database.start()
    return await api.ready_within(LONGEST_SECONDS)


FAULTS = [
    pytest.param(kill_api, "API killed", "kill -9 under 8 writers", marks=whole, id="the API"),
    pytest.param(kill_worker, "worker killed", "kill -9 under 8 writers", marks=whole, id="the worker"),
    pytest.param(kill_postgres, "PostgreSQL killed", "kill -9, orphans left", id="PostgreSQL"),
    pytest.param(
        restart_postgres, "PostgreSQL restarted", "immediate, under 8 writers", marks=whole, id="PostgreSQL at once"
    ),
]


@pytest.mark.parametrize(("fault", "name", "done"), FAULTS)
async def test_killed_under_load_nothing_is_lost_or_done_twice(
    fault: Fault, name: str, done: str, house: House, api: Api, writers: Writers, figures: list[Figure]
) -> None:
    readies = []
    async with house.running("worker") as worker:
        assert await sweeps_within(api, LONGEST_SECONDS)
        async with writers.busy() as tally:
            for _ in range(ROUNDS):
                await asyncio.sleep(DRAW.uniform(0.5, 1.5))
                readies.append(await fault(house, api, worker))
            await asyncio.sleep(1)
    lost, duplicated = await tally.compared(house.database)
    # A process of ours is back when it has read its code, which takes as long as the machine is busy.
    reading = await loading() if fault in {kill_api, kill_worker} else 0
    more = f", {reading:.1f} s to read our code" if reading else ""
    figures.append(
        Figure(
            name, f"{done}, {len(tally.acknowledged):,} tickets{more}", ROUNDS, await control(writers, house), lost,
            duplicated, len(tally.wrong), tally.slowest, max(ready or LONGEST_SECONDS for ready in readies),
        )
    )  # fmt: skip
    assert (lost, duplicated, tally.wrong) == (0, 0, [])
    assert tally.slowest < ANSWER_SECONDS
    assert None not in readies
    assert max(ready or 0 for ready in readies) < READY_SECONDS + reading
    assert len(tally.acknowledged) > 10 * ROUNDS


async def loading() -> float:
    """How long it takes to read our code, and do nothing."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "--help", cwd=ROOT, stdout=subprocess.DEVNULL
    )
    await process.wait()
    return time.monotonic() - began


async def control(writers: Writers, house: House) -> str:
    """The same measurement on servers that break each promise: one acknowledges only, one fails, one isn't there."""
    lying = Writers(writers.api, writers.body)
    async with liar(201) as port, client_of(port) as http:
        for number in range(20):
            await lying.open(f"a lie {number}", http)
    async with liar(500) as port, client_of(port) as http:
        await lying.open("a failure", http)
    async with liar(503) as port, client_of(port) as http:
        await lying.tally.ask(http, "POST", "/v1/tickets")
    lost, _ = await lying.tally.compared(house.database)
    assert (lost, len(lying.tally.wrong)) == (20, 2)
    nobody = Api(writers.api.process, port, writers.api.keys)
    assert await nobody.ready_within(0.2) is None
    await nobody.http.aclose()
    return "a liar: 20 of 20 lost; 500 and a bare 503 seen; nobody: not ready"


@whole
async def test_told_to_stop_it_is_not_ready_first_finishes_what_was_begun_and_exits_clean(
    house: House, figures: list[Figure]
) -> None:
    clean, codes, slowest = 0, [], 0.0
    for _ in range(3):
        tally, code = await leave(house, signal.SIGTERM, patient=True)
        clean += sum(tally.statuses[name] for name in tally.statuses if isinstance(name, str))
        codes.append(code)
        slowest = max(slowest, tally.slowest)
        assert tally.wrong == []
    careless, _ = await leave(house, signal.SIGKILL, patient=False)
    cut_off = sum(careless.statuses[name] for name in careless.statuses if isinstance(name, str))
    figures.append(
        Figure(
            "API told to stop", "SIGTERM under 8 clients, who go when it isn't ready", 3,
            f"kill -9: {cut_off} requests cut off", lost=clean, wrong=0, slowest=slowest,
        )
    )  # fmt: skip
    assert (clean, codes) == (0, [0, 0, 0])
    assert cut_off


async def leave(house: House, number: signal.Signals, *, patient: bool) -> tuple[Tally, int]:
    """Stop an API under load; patient clients ask until readiness says 503, the others until they are cut off."""
    tally, sent_away = Tally(), asyncio.Event()
    async with house.api(following=False) as api:

        async def ask() -> None:
            while not sent_away.is_set():
                await tally.ask(api.http, "GET", "/v1/me", headers=api.headers("agent"))

        tasks = [asyncio.create_task(ask()) for _ in range(8)]
        await asyncio.sleep(0.5)
        api.process.send(number)
        while not sent_away.is_set():
            if not patient:
                await asyncio.sleep(0.5)
                sent_away.set()
            try:
                ready = await api.http.get("/readyz")
            except httpx.TransportError:
                assert not patient
                continue
            if ready.status_code == 503:
                assert ready.json()["database"] is True
                assert ready.headers["Connection"] == "close"
                sent_away.set()
        await asyncio.gather(*tasks)
        return tally, await asyncio.to_thread(api.process.end)
