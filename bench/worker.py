"""Measures the start, the worker and the memory: `python -m bench.worker [tickets]`.

Ten thousand promises fall due at one instant among a million tickets for which time brings something one day; two
workers do what time has brought while somebody asks the API. A look that finds nothing is timed before that, and
afterwards how much an API process holds after 100,000 requests. All on a copy of what `python -m bench` has filled.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.db import pool as pools
from app.db import tickets
from app.embedded import EmbeddedPostgres
from bench import __main__ as bench
from bench import cells, stock
from bench.cells import ROOT
from bench.stock import Caller, Person

DUE: Final = 10_000
LOOKS: Final = 200
STARTS: Final = 3
REQUESTS: Final = 100_000
BATCH: Final = 5_000
ROUNDS: Final = 5
LOAD_SECONDS: Final = 2
READERS: Final = 1
"""So many connections over which somebody reads as fast as they are answered."""
EARLY_SECONDS: Final = 0.3
WATCHED_EVERY: Final = 0.05
HELD_SECONDS: Final = 10
AHEAD: Final = 60
"""So many seconds before it is due everything is prepared."""
RESULT: Final = ROOT / "bench" / "results" / "worker.json"


async def prepare(server: EmbeddedPostgres, original: stock.Original, callers: list[Caller]) -> tuple[datetime, int]:
    """Let time bring nothing for whatever is there, and something for so many fresh tickets at one instant.

    Return that instant, and how many tickets there are for which it brings something at all.
    """
    owner = await stock.owner_of(server)
    people = [Person(UUID(caller.client_id), UUID(caller.person_id)) for caller in callers if caller.role == "contact"]
    await owner.execute("UPDATE tickets SET next_at = $1", datetime.now(UTC) + timedelta(days=365))
    # Just checked: the hourly self-check is measured by nobody here.
    await owner.execute(
        "INSERT INTO self_checks VALUES (true, $1, 0, 0) ON CONFLICT (singleton) DO UPDATE SET finished_at = $1",
        datetime.now(UTC),
    )
    # As if all that was filled in had been sealed when it was written: the worker would do nothing else for minutes.
    await owner.execute(
        "INSERT INTO audit_checkpoints (number, since, until, events, entries, digest, sealed_at, key_id, signature)"
        " VALUES (1, 0, pg_current_xact_id()::text::bigint, 1, 0, '', now(), '', '')"
    )
    await owner.execute("VACUUM ANALYZE tickets")
    await owner.execute("CHECKPOINT")
    due = datetime.now(UTC) + timedelta(seconds=AHEAD)
    cycles = [
        # Overdue by a microsecond at the instant that is come: breaking is what time brings.
        cycle | {"due_at": due - timedelta(microseconds=1), "warned": 99} if cycle["ended_at"] is None else cycle
        for cycle in original.cycles
    ]
    ready = stock.Original(original.ticket | {"next_at": due}, cycles, original.events)
    for begun in range(0, DUE, BATCH):
        some = (
            stock.copied(ready, people[number % len(people)], 20_000_000 + number)
            for number in range(begun, begun + min(BATCH, DUE - begun))
        )
        await stock.copy(owner, some)
    still: int = await owner.fetchval("SELECT count(*) FROM tickets WHERE next_at IS NOT NULL")
    await owner.close()
    return due, still


async def empty_look(server: EmbeddedPostgres) -> float:
    """Return how many milliseconds it takes to see that nothing is due, in the median."""
    pool, taken = await pools.connect(server.app_url, size=1), []
    for _ in range(LOOKS):
        began = time.perf_counter()
        async with pools.transaction(pool) as connection:
            await tickets.lock_due(connection, datetime.now(UTC), 100, [])
        taken.append((time.perf_counter() - began) * 1e3)
    await pools.close(pool)
    return statistics.median(taken)


async def done_by(server: EmbeddedPostgres, due: datetime) -> dict[str, Any]:
    """Watch until everything is done: by when which part of it was, in seconds from when it was due, and how often."""
    connection = await asyncpg.connect(stock.superuser_url(server))
    left, left_at = DUE, list[tuple[float, int]]()
    while left:
        left = await connection.fetchval("SELECT count(*) FROM tickets WHERE next_at <= $1", due)
        left_at.append(((datetime.now(UTC) - due).total_seconds(), left))
        await asyncio.sleep(WATCHED_EVERY)
    broken = await connection.fetch(
        "SELECT count(*) FROM events WHERE kind = 'clock.broken' AND at >= $1 GROUP BY ticket_id, data->>'clock'", due
    )
    await connection.close()
    return {
        "done": len(broken),
        "done_twice": sum(row["count"] > 1 for row in broken),
        "late_p50_s": next(at for at, left in left_at if left <= DUE * 0.5),
        "late_p99_s": next(at for at, left in left_at if left <= DUE * 0.01),
        "all_done_s": left_at[-1][0],
    }


def start_seconds() -> list[float]:
    """Return how long the development start takes until it is ready, the first time and again."""
    taken = []
    with TemporaryDirectory() as state:
        environment = {**os.environ, "STATE_DIR": state, "PORT": "8590", "LOG_LEVEL": "warning"}
        for _ in range(STARTS + 1):
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "dev"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
            )
            for line in process.stdout or ():
                if "is ready on" in line:
                    break
            taken.append(time.monotonic() - began)
            process.send_signal(signal.SIGINT)
            process.wait(30)
    return taken


@contextmanager
def copied(size: int) -> Iterator[tuple[EmbeddedPostgres, list[Caller]]]:
    """Give a copy of the database with so many tickets: what is done here to all of them is measured nowhere else."""
    filled = bench.STATE / str(size)
    with EmbeddedPostgres(filled) as server:
        callers = bench.filled(server, size, filled / "callers.json")
    state = bench.STATE / "worker"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(filled, state)
    try:
        with EmbeddedPostgres(state) as server:
            yield server, callers
    finally:
        shutil.rmtree(state)


def worked(
    server: EmbeddedPostgres, api: cells.Served, callers: list[Caller], addresses: dict[str, str]
) -> dict[str, Any]:
    """Let everything fall due while two workers look after it and somebody reads, and say how that went."""
    original = asyncio.run(bench.opened(api, server, callers))
    due, still = asyncio.run(prepare(server, original, callers))
    found: dict[str, Any] = {"with_a_next_instant": still, "empty_look_ms": asyncio.run(empty_look(server))}
    reads = cells.lines("read", callers, [], Random(stock.SEED))
    workers = [
        subprocess.Popen([sys.executable, "-m", "app", "worker"], cwd=ROOT, env={**os.environ, **addresses})
        for _ in range(2)
    ]
    try:
        before = [cells.load(api, reads, READERS, LOAD_SECONDS)["p99_us"] for _ in range(ROUNDS)]
        found["read_p99_before_us"] = statistics.median(before)
        with ThreadPoolExecutor(1) as beside:
            wait = (due - datetime.now(UTC)).total_seconds() - EARLY_SECONDS
            if wait < 0:
                raise SystemExit("it fell due before everything was prepared; prepare more seconds AHEAD")
            time.sleep(wait)
            watched = beside.submit(asyncio.run, done_by(server, due))
            found["read_p99_while_us"] = cells.load(api, reads, READERS, LOAD_SECONDS)["p99_us"]
            return found | watched.result()
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)


def grown(api: cells.Served, callers: list[Caller]) -> dict[str, Any]:
    """Say how much memory a process of the API has as it answers, in megabytes."""
    reads, memory, sent = cells.lines("read", callers, [], Random(stock.SEED)), dict[int, float](), 0
    while sent < REQUESTS:
        sent += cells.load(api, reads, 8, HELD_SECONDS)["requests"]
        memory[sent] = round(max(map(cells.memory, api.pids)), 1)
    return {"memory_mb_after_requests": memory}


def main() -> None:
    """Measure, print and keep what came of it."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else bench.SIZES[-1]
    first, *again = start_seconds()
    found: dict[str, Any] = {"tickets": size, "first_start_s": first, "start_s": statistics.median(again)}
    with ExitStack() as opening:
        server, callers = opening.enter_context(copied(size))
        addresses = {
            "DATABASE_URL": server.app_url, "CONTACT_DATABASE_URL": server.contact_url,
            "RATE_LIMIT": "999999999/hour", "STATE_DIR": str(bench.STATE / "worker"), "LOG_LEVEL": "warning",
        }  # fmt: skip
        command = [sys.executable, "-m", "app", "serve"]
        api = opening.enter_context(cells.served("service", command, addresses, bench.PORT + 20))
        found |= worked(server, api, callers, addresses)
        found |= grown(api, callers)
    text = json.dumps(found, indent=1)
    print(text)
    if size == bench.SIZES[-1]:
        RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
