"""Measures the service beside its floor, in one run and in turns: `python -m bench [--quick] [--size N ...]`.

Each cell is an operation, at so many connections, on so many tickets, by the service or by the floor. Its result
is written the moment it is there; a run that was broken off goes on where it was.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx

from app.db import migrations
from app.embedded import EmbeddedPostgres
from bench import cells, stock
from bench.cells import ACTS, OPERATIONS, READS, ROOT, Served
from bench.same import Comparison
from bench.stock import Caller, Original, Person

STATE: Final = ROOT / "var" / "bench"
SIZES: Final = (1_000, 100_000, 1_000_000)
ROUNDS: Final = {8: 5, 1: 2, 32: 2}
"""How often each cell is measured, by connections."""
SECONDS: Final = 2
PORT: Final = 8500
WARM_STOCK: Final = 300
STOCK: Final = 1_000
WIDTH: Final = 40
FIRST_FRESH: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured in a run, and where it is written."""

    sizes: tuple[int, ...]
    rounds: dict[int, int]
    seconds: int
    raw: Path

    def cells(self, size: int) -> Iterator[dict[str, Any]]:
        """Yield the cells of a size: service and floor in turns, what leaves nothing behind first."""
        for some in (READS, [name for name in OPERATIONS if name not in READS]):
            for number, connections, operation in product(range(max(self.rounds.values())), self.rounds, some):
                if number >= self.rounds[connections]:
                    continue
                for app in ("service", "floor")[:: 1 if number % 2 == 0 else -1]:
                    yield {
                        "size": size, "connections": connections, "operation": operation, "round": number, "app": app,
                    }  # fmt: skip

    def done(self) -> list[dict[str, Any]]:
        """Return the results that are there."""
        return [json.loads(line) for line in self.raw.read_text().splitlines()] if self.raw.exists() else []


FULL: Final = Plan(SIZES, ROUNDS, SECONDS, STATE / "raw.jsonl")
QUICK: Final = Plan(SIZES[:1], {8: 1}, 1, STATE / "quick.jsonl")


class Progress:
    """A line on the terminal that says how far it is."""

    def __init__(self, total: int) -> None:
        self.total, self.begun = max(total, 1), time.monotonic()

    def show(self, done: int, what: str) -> None:
        """Draw the line anew."""
        bar = "#" * (WIDTH * done // self.total)
        spent = time.monotonic() - self.begun
        left = spent / done * (self.total - done) if done else 0
        sys.stderr.write(f"\r[{bar:{WIDTH}}] {done:,} of {self.total:,}, {left / 60:4.0f} min left  {what:45}")
        sys.stderr.flush()


def filled(server: EmbeddedPostgres, size: int, kept: Path) -> list[Caller]:
    """Return the callers of a database with so many tickets, filled if it wasn't yet."""
    if not kept.exists():
        migrations.upgrade(server.owner_url)
        progress = Progress(size)
        found = asyncio.run(stock.fill(server, size, lambda done: progress.show(done, "tickets copied")))
        sys.stderr.write("\n")
        kept.write_text(json.dumps([asdict(caller) for caller in found]), encoding="utf-8")
    return [Caller(**found) for found in json.loads(kept.read_text(encoding="utf-8"))]


async def opened(app: Served, server: EmbeddedPostgres, callers: list[Caller]) -> Original:
    """Open a ticket by the service, take it up, and return how that is stored: what acts begin with."""
    contact = next(caller for caller in callers if caller.role == "contact")
    agent = next(caller for caller in callers if caller.role == "agent")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{app.ports[0]}") as http:
        made = await http.post("/v1/tickets", json=stock.TICKET, headers={"Authorization": f"Bearer {contact.key}"})
        ticket = made.raise_for_status().json()["id"]
        path = f"/v1/tickets/{ticket}/acknowledge"
        (await http.post(path, headers={"Authorization": f"Bearer {agent.key}"})).raise_for_status()
    owner = await stock.owner_of(server)
    try:
        found = await stock.original(owner, UUID(ticket))
        await stock.forget(owner, [UUID(ticket)])
    finally:
        await owner.close()
    return found


async def fresh(
    owner: asyncpg.Connection, original: Original, callers: list[Caller], count: int, first: int
) -> list[str]:
    """Store so many tickets like that, and return their ids."""
    people = [Person(UUID(one.client_id), UUID(one.person_id)) for one in callers if one.role == "contact"]
    made = [stock.copied(original, people[number % len(people)], first + number) for number in range(count)]
    await stock.copy(owner, iter(made))
    return [str(one.ticket["id"]) for one in made]


async def tidied(owner: asyncpg.Connection, mark: Any) -> None:  # noqa: ANN401  # an instant
    """Take away all tickets and checks that came after a mark, so that each cell finds the same database."""
    rows = await owner.fetch("SELECT id FROM tickets WHERE created_at >= $1 ", mark)
    await stock.forget(owner, [row[0] for row in rows])
    await owner.execute("TRUNCATE idempotency_keys")
    await owner.execute("DELETE FROM eligibility_checks")


class Bench:
    """One size: a database, the service and the floor on it."""

    def __init__(
        self, server: EmbeddedPostgres, callers: list[Caller], apps: Mapping[str, Served], seconds: int
    ) -> None:
        self.server, self.callers, self.apps, self.seconds = server, callers, apps, seconds
        self.postmaster = cells.postmaster_of(server)
        self.original = asyncio.run(opened(apps["service"], server, callers))
        self.random = Random(stock.SEED)
        self.next = 0
        if found := asyncio.run(self._compared()):
            raise SystemExit("the floor isn't the same:\n" + "\n".join(found[:20]))

    def run(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Measure one cell."""
        operation = cell["operation"]
        warm, real = asyncio.run(self._prepared()) if operation in ACTS else ([], [])
        given = tuple(cells.lines(operation, self.callers, own, self.random) for own in (warm, real))
        found = cells.measured(
            self.apps[cell["app"]], self.postmaster, (given[0], given[1]), cell["connections"], self.seconds
        )
        if operation not in READS:
            asyncio.run(self._tidied())
        return dict(cell) | found

    async def _compared(self) -> list[str]:
        """Return what the floor answers or writes otherwise than the service."""
        owner = await stock.owner_of(self.server)
        try:
            (one, other), self.next = await fresh(owner, self.original, self.callers[:1], 2, FIRST_FRESH), 2
            return await Comparison(self.apps["service"], self.apps["floor"], self.callers, owner).run([one, other])
        finally:
            await owner.close()
            await self._tidied()

    async def _prepared(self) -> list[list[str]]:
        owner = await stock.owner_of(self.server)
        try:
            made = []
            for count in (WARM_STOCK, STOCK):
                made.append(await fresh(owner, self.original, self.callers, count, FIRST_FRESH + self.next))
                self.next += count
            return made
        finally:
            await owner.close()

    async def _tidied(self) -> None:
        owner = await stock.owner_of(self.server)
        try:
            await tidied(owner, self.original.ticket["created_at"])
        finally:
            await owner.close()


def measure(plan: Plan, size: int, commit: str) -> None:
    """Measure all cells of a size that have no result yet."""
    known = [
        {name: found[name] for name in ("size", "connections", "operation", "round", "app")} for found in plan.done()
    ]
    left = [cell for cell in plan.cells(size) if cell not in known]
    if not left:
        return
    state = STATE / str(size)
    with ExitStack() as opening:
        server = opening.enter_context(EmbeddedPostgres(state))
        callers = filled(server, size, state / "callers.json")
        addresses = {
            "DATABASE_URL": server.app_url,
            "CONTACT_DATABASE_URL": server.contact_url,
            "FLOOR_DATABASE_URL": stock.superuser_url(server),
            "RATE_LIMIT": "999999999/hour",
            "STATE_DIR": str(state),
        }
        service = [sys.executable, "-m", "app", "serve"]
        floor = [sys.executable, "-m", "bench.floor", "{port}"]
        apps = {
            "service": opening.enter_context(cells.served("service", service, addresses, PORT)),
            "floor": opening.enter_context(cells.served("floor", floor, addresses, PORT + 10)),
        }
        bench, progress = Bench(server, callers, apps, plan.seconds), Progress(len(left))
        plan.raw.parent.mkdir(parents=True, exist_ok=True)
        with plan.raw.open("a", encoding="utf-8") as raw:
            for number, cell in enumerate(left):
                progress.show(number, f"{size:,} tickets: {cell['operation']}, {cell['connections']}, {cell['app']}")
                raw.write(json.dumps(bench.run(cell) | {"commit": commit}) + "\n")
                raw.flush()
        sys.stderr.write("\n")


def main() -> None:
    """Measure what isn't measured yet."""
    parser = argparse.ArgumentParser(description="Measure the service beside its floor.")
    parser.add_argument("--quick", action="store_true", help="a thousand tickets, 8 connections, one round of a second")
    parser.add_argument("--anew", action="store_true", help="forget the results that are there")
    parser.add_argument("--size", type=int, action="append", help="only so many tickets")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk was not found; install it (on Debian: apt install wrk).")
    plan = QUICK if asked.quick else FULL
    if asked.anew or asked.quick:
        plan.raw.unlink(missing_ok=True)
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if {row["commit"] for row in plan.done()} - {commit}:
        raise SystemExit(f"{plan.raw} has results of another commit; begin with `python -m bench --anew`")
    for size in asked.size or plan.sizes:
        measure(plan, size, commit)


if __name__ == "__main__":
    main()
