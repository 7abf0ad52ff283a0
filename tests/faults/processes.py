"""The service as it runs: PostgreSQL, APIs and workers as processes that can be killed, with a network between."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx

from app.cli import setup
from app.db import migrations
from app.db import pool as pools
from app.domain.events import Role
from app.embedded import EmbeddedPostgres, _within
from tests.api.conftest import LONG_AGO, Desk
from tests.conftest import ROOT
from tests.faults.proxy import Proxy

SETTINGS = {
    "DATABASE_URL", "CONTACT_DATABASE_URL", "MIGRATION_DATABASE_URL", "HOST", "PORT", "STATE_DIR", "ENVIRONMENT",
    "TEST_CLOCK", "CORS_ORIGINS", "ISSUERS", "POOL_SIZE", "SWEEP_SECONDS", "LOG_LEVEL",
}  # fmt: skip


class Process:
    """A process of ours; it ends with the test, however that ends."""

    def __init__(self, command: str, log: Path, *, following: bool, **settings: object) -> None:
        self.command, self.log = [command, "--following"] if following else [command], log
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        self.environment = kept | {name: str(value) for name, value in settings.items()}
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "app", *self.command],
                cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        self.popen.kill()
        self.end()

    def end(self, seconds: float = 20) -> int:
        """Wait for its end, and return the exit code."""
        code = self.popen.wait(seconds)
        assert self.popen.stdin
        self.popen.stdin.close()
        return code

    def stop(self) -> int:
        self.send(signal.SIGCONT)
        self.popen.terminate()
        return self.end()


class Database:
    """PostgreSQL with its durable settings, which others may kill, behind a network of its own."""

    def __init__(self, server: EmbeddedPostgres, network: Proxy) -> None:
        self.server, self.network = server, network

    @property
    def settings(self) -> dict[str, str]:
        """How our processes reach it: by the network."""
        place = f"127.0.0.1:{self.network.port}/kawan"
        return {
            "DATABASE_URL": f"postgresql://kawan_app@{place}",
            "CONTACT_DATABASE_URL": f"postgresql://kawan_portal@{place}",
        }

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """Look at everything, beside the network."""
        connection = await asyncpg.connect(host=str(self.server.socket_dir), user="postgres", database="kawan")
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def ask(self, query: str, *values: Any) -> list[asyncpg.Record]:
        async with self.superuser() as connection:
            return list(await connection.fetch(query, *values))

    async def kill(self, number: signal.Signals) -> None:
        """End the server with no chance to tidy up; what it leaves behind is left, as in a real crash."""
        pid = self.server._pid()
        assert pid
        os.kill(pid, number)
        assert await asyncio.to_thread(_within, 10, lambda: not self.server.runs())

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)


class House:
    """Everything together, with a directory to speak for and a client for each API."""

    def __init__(self, database: Database, desk: Desk, state: Path) -> None:
        self.database, self.desk, self.state = database, desk, state

    @asynccontextmanager
    async def running(self, command: str, *, following: bool = True, **settings: object) -> AsyncIterator[Process]:
        """Run one of our commands: following, it ends with us by the end of its input, as in development."""
        log = self.state / f"{command}.log"
        given = {"STATE_DIR": self.state, "LOG_LEVEL": "warning"} | self.database.settings | settings
        process = Process(command, log, following=following, **given)
        try:
            yield process
        finally:
            if process.popen.poll() is None:
                # Not waited for here: it takes its leave by our network.
                await asyncio.to_thread(process.stop)

    @asynccontextmanager
    async def api(self, **settings: Any) -> AsyncIterator["Api"]:
        """Run an API until it is ready, and give a way to it."""
        port = free_port()
        async with (
            self.running("serve", PORT=port, **settings) as process,
            Api(process, port, self.desk.keys) as api,
        ):
            assert await api.ready_within(30)
            yield api

    async def self_check(self) -> str:
        """What our own self-check finds."""
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "self-check",
            cwd=ROOT, env=environment | self.database.settings, stdout=subprocess.PIPE,
        )  # fmt: skip
        told, _ = await asked.communicate()
        return told.decode().strip()


class Api:
    """One API process, and a client of it."""

    def __init__(self, process: Process, port: int, keys: dict[str, str]) -> None:
        self.process, self.port, self.keys = process, port, keys
        self.http = client_of(port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def headers(self, who: str, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}", **more}

    async def call(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.http.request(method, path, json=body, headers=self.headers(who, **headers))

    async def ready_within(self, seconds: float) -> float | None:
        """Wait until it is ready, and return after how long it was; None where it doesn't come to that."""
        began = time.monotonic()
        async with client_of(self.port, timeout=seconds) as http:
            while (waited := time.monotonic() - began) < seconds:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        return time.monotonic() - began
                await asyncio.sleep(0.02)
        return None if waited >= seconds else waited


def client_of(port: int, *, timeout: float = 20) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=timeout, limits=limits, trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def house(state: Path) -> AsyncIterator[House]:
    """Start PostgreSQL with a migrated database and people in it."""
    async with AsyncExitStack() as stack:
        server = EmbeddedPostgres(state)
        await asyncio.to_thread(server.start)
        stack.callback(server.stop)
        await asyncio.to_thread(migrations.upgrade, server.owner_url)
        socket_path = f"{server.socket_dir}/.s.PGSQL.5432"
        network = await stack.enter_async_context(Proxy(lambda: asyncio.open_unix_connection(socket_path)))
        pool = await pools.connect(server.app_url, size=1)
        try:
            desk = await _people(Desk(httpx.AsyncClient(), pool, server.app_url, server.owner_url))
        finally:
            await pool.close()
        yield House(Database(server, network), desk, state)


async def _people(desk: Desk) -> Desk:
    await setup.publish_shipped_policy(desk.pool, LONG_AGO)
    for name, role in (("admin", Role.ADMIN), ("agent", Role.AGENT)):
        await desk.staff(name, role, 3)
    await desk.client("standard", confirmed_at=datetime.now(UTC))
    return desk
