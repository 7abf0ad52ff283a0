"""What the walls cost: processor time of a request with and without row-level security, the audit's triggers, a seal.

Everything in one run and in turns, so that only the ratios need to be believed:
`python -m bench.walls [requests a round] [rounds]`.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx

from app.cli import commands, demo, setup
from app.db import migrations, seal
from app.db import pool as pools
from app.db.seal import Sealer
from app.embedded import EmbeddedPostgres
from app.main import create_app
from app.settings import Settings
from bench import cells, stock

REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5  # noqa: PLR2004  # the second argument
Call = Callable[[int], Awaitable[httpx.Response]]
Switch = tuple[list[str], list[str]]
"""Statements that put something there, and that take it away."""


class Costs:
    """Processor time of this process, and of everything the database's server has started."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.postmaster = cells.postmaster_of(server)

    def now(self) -> tuple[float, float]:
        """Return seconds of the application and of the database."""
        return time.process_time(), cells.of_children(self.postmaster)


async def measured(costs: Costs, call: Call) -> tuple[float, float]:
    """Return the microseconds that one request takes of the application and of the database."""
    await asyncio.gather(*(call(number) for number in range(8)))
    app, database = costs.now()
    for number in range(0, REQUESTS, 8):
        for response in await asyncio.gather(*(call(number + place) for place in range(8))):
            response.raise_for_status()
    app_then, database_then = costs.now()
    return (app_then - app) / REQUESTS * 1e6, (database_then - database) / REQUESTS * 1e6


async def compared(name: str, costs: Costs, call: Call, owner: asyncpg.Connection, switch: Switch) -> None:
    """Measure a request in turns with something and without, and print medians and ratios."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for there in (True, False):
            for statement in switch[not there]:
                await owner.execute(statement)
            found[there].append(await measured(costs, call))
    for statement in switch[0]:
        await owner.execute(statement)
    (app, database), (app_bare, database_bare) = (
        (statistics.median(one for one, _ in found[there]), statistics.median(two for _, two in found[there]))
        for there in (True, False)
    )
    ratio = (app + database) / (app_bare + database_bare)
    print(
        f"{name:34} with {app:6.0f} + {database:5.0f} us, without {app_bare:6.0f} + {database_bare:5.0f} us,"
        f" ratio {ratio:.3f}, of the database's part {database / max(database_bare, 1):.3f}",
        flush=True,
    )


async def run(server: EmbeddedPostgres, state: Path) -> None:
    """Fill a database, and measure."""
    commands.log_at("error")
    now, private = datetime.now(UTC), seal.new_key()[0]
    pool = await pools.connect(server.app_url, size=8)
    await setup.publish_shipped_policy(pool, now)
    keys = await _keys(pool, state, now)
    settings = Settings(database_url=server.app_url, contact_database_url=server.contact_url)
    app = create_app(settings)
    owner = await asyncpg.connect(stock.superuser_url(server))
    walled = [row[0] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relrowsecurity")]
    audited = [
        row[0] for row in await owner.fetch("SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'note_change'")
    ]
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://desk") as http:

        def call(who: str, method: str, path: str, body: Callable[[int], Any] | None = None) -> Call:
            headers = {"Authorization": f"Bearer {keys[who]}"}
            return lambda number: http.request(
                method, path.format(number), json=body(number) if body else None, headers=headers
            )

        request = {"channel": "portal", "category": "incident", "subject": "Form", "description": "It fails since noon"}
        create = call("contact", "POST", "/v1/tickets", lambda _number: request)
        made = [(await create(number)).json() for number in range(200)]
        walls = ([f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY" for name in walled],
                 [f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY" for name in walled])  # fmt: skip
        costs = Costs(server)
        await compared(
            "read a ticket, row-level security",
            costs,
            call("contact", "GET", f"/v1/tickets/{made[0]['id']}"),
            owner,
            walls,
        )
        await compared("a page of 50, row-level security", costs, call("contact", "GET", "/v1/tickets"), owner, walls)
        await compared("open a ticket, row-level security", costs, create, owner, walls)
        triggers = ([f"ALTER TABLE {name} ENABLE TRIGGER note_change" for name in audited],
                    [f"ALTER TABLE {name} DISABLE TRIGGER note_change" for name in audited])  # fmt: skip
        put = call("admin", "PUT", "/v1/clients/by-external-id/bench-{}", lambda number: {"name": f"Client {number}"})
        await compared("put a client, the audit's trigger", costs, put, owner, triggers)
        app_before, database_before = costs.now()
        sealed = await Sealer(seal.private_key(private)).run(pool, datetime.now(UTC))
        app_after, database_after = costs.now()
        rows = await owner.fetchval("SELECT sum(events + entries) FROM audit_checkpoints")
        cost = (app_after - app_before + database_after - database_before) / rows * 1e6
        print(f"seal: {rows:,} rows by {sealed} checkpoints, {cost:.1f} us each")
        began = time.monotonic()
        report = await seal.verify(pool, seal.public_keys([seal.public_of(private)]))
        took = time.monotonic() - began
        print(f"verify: {report.events + report.entries:,} rows in {took:.2f} s, {len(report.findings)} findings")
    await owner.close()
    await pool.close()


async def _keys(pool: pools.Pool, state: Path, now: datetime) -> dict[str, str]:
    path = await demo.load(pool, state, "http://desk", now)
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["keys"]
    return found


def main() -> None:
    """Start a database with durable settings, and measure on it."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, EmbeddedPostgres(Path(folder)) as server:
        migrations.upgrade(server.owner_url)
        asyncio.run(run(server, Path(folder)))


if __name__ == "__main__":
    main()
