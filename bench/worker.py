"""Measures the worker, the start and the memory: `python -m bench.worker [tickets]`.

Ten thousand promises fall due at one instant among a million tickets for which time brings something one day; two
workers do what time has brought while somebody asks the API. An empty look is timed before that, and afterwards how
much an API process holds after 100,000 requests. Written to bench/results/worker.json.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
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
AHEAD: Final = 60
"""So many seconds before it is due everything is prepared."""
RESULT: Final = bench.RESULTS / "worker.json"


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
    await owner.execute("VACUUM ANALYZE tickets")
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
    """Wait until everything is done, and say how long after it was due, and whether each was done once."""
    connection = await asyncpg.connect(stock.superuser_url(server))
    left = DUE
    while left:
        left = await connection.fetchval("SELECT count(*) FROM tickets WHERE next_at <= $1", due)
        await asyncio.sleep(0.1)
    late = await connection.fetch(
        "SELECT extract(epoch FROM at - $1)::float AS late, count(*) OVER (PARTITION BY ticket_id, data->>'clock',"
        " data->>'cycle') AS times FROM events WHERE kind = 'clock.broken' AND at >= $1", due,
    )  # fmt: skip
    await connection.close()
    lateness = sorted(row["late"] for row in late)
    return {
        "broken": len(late), "twice": sum(row["times"] > 1 for row in late),
        "seconds_until_done": lateness[-1], "late_p99_s": lateness[int(len(lateness) * 0.99)],
    }  # fmt: skip


def start_seconds() -> list[float]:
    """Return how long the development start takes until it is ready, the first time and again."""
    taken = []
    with tempfile.TemporaryDirectory() as state:
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


def main() -> None:
    """Measure, print and keep what came of it."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else bench.SIZES[-1]
    first, *again = start_seconds()
    found: dict[str, Any] = {"tickets": size, "first_start_s": first, "start_s": statistics.median(again)}
    state = bench.STATE / str(size)
    with ExitStack() as opening:
        server = opening.enter_context(EmbeddedPostgres(state))
        callers = bench.filled(server, size, state / "callers.json")
        addresses = {
            "DATABASE_URL": server.app_url, "CONTACT_DATABASE_URL": server.contact_url,
            "RATE_LIMIT": "999999999/hour", "STATE_DIR": str(state), "LOG_LEVEL": "warning",
        }  # fmt: skip
        api = opening.enter_context(
            cells.served("service", [sys.executable, "-m", "app", "serve"], addresses, bench.PORT + 20)
        )
        original = asyncio.run(bench.opened(api, server, callers))
        due, found["with_a_next_instant"] = asyncio.run(prepare(server, original, callers))
        found["empty_look_ms"] = asyncio.run(empty_look(server))
        reads = cells.lines("read", callers, [], Random(stock.SEED))
        found["read_p99_before_us"] = cells.load(api, reads, 4, 10)["p99_us"]
        workers = [
            subprocess.Popen([sys.executable, "-m", "app", "worker"], cwd=ROOT, env={**os.environ, **addresses})
            for _ in range(2)
        ]
        try:
            time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() - 0.5))
            found["read_p99_while_us"] = cells.load(api, reads, 4, 6)["p99_us"]
            found |= asyncio.run(done_by(server, due))
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(30)
        memory = [max(map(cells.memory, api.pids))]
        sent = 0
        while sent < REQUESTS:
            sent += cells.load(api, reads, 8, 20)["requests"]
            memory.append(max(map(cells.memory, api.pids)))
        found |= {"requests": sent, "memory_mb": memory[-1], "memory_over_time_mb": memory}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
