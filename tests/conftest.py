"""A real PostgreSQL for the tests: one server for all workers, one database of its own for each."""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.cli.commands import log_at
from app.db import lease, migrations
from app.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "var" / "tests"


@pytest.fixture(scope="session", autouse=True)
def _log() -> None:
    """Log as the service does, but for its requests: a test makes thousands."""
    log_at("warning")


@pytest.fixture(scope="session", autouse=True)
def _brief_leases() -> Iterator[None]:
    """Remember as the service does, but for less time: each change of terms and keys waits for it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lease, "SECONDS", 0.05)
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of a server as somebody who may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given.replace("postgresql://", "postgresql+asyncpg://", 1)
        return
    with EmbeddedPostgres(STATE, durable=False) as server:
        yield server.owner_url


def database(url: str, name: str) -> str:
    """The address of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


async def administer(url: str, *statements: str) -> list[Any]:
    """Run statements outside a transaction, and return the rows of the last one."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            results = [await connection.execute(text(statement)) for statement in statements]
            return list(results[-1].scalars()) if results[-1].returns_rows else []
    finally:
        await engine.dispose()


async def drop(server_url: str, name: str) -> None:
    """Drop a database as the superuser: the server's own upkeep may be in it, which nobody else may end."""
    await administer(server_url.replace("kawan_owner@", "postgres@", 1), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def alone() -> Iterator[None]:
    """Keep the other workers waiting."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "template.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def template(server_url: str) -> str:
    """A migrated database to copy, made once for each state of the migrations."""
    written = b"".join(path.read_bytes() for path in sorted((ROOT / "migrations").rglob("*.py")))
    name = f"template_{hashlib.sha256(written).hexdigest()[:12]}"
    if not await administer(server_url, f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        fresh = f"{name}_fresh"
        await drop(server_url, fresh)
        await administer(server_url, f"CREATE DATABASE {fresh}")
        await asyncio.to_thread(migrations.upgrade, database(server_url, fresh))
        await administer(server_url, f"ALTER DATABASE {fresh} RENAME TO {name}")
    return name


@pytest.fixture(scope="session")
async def owner_url(server_url: str, worker_id: str) -> AsyncIterator[str]:
    """A migrated database of this worker's own, as its owner."""
    name = f"test_{worker_id}_{os.getpid()}"
    with alone():
        await drop(server_url, name)
        await administer(server_url, f"CREATE DATABASE {name} TEMPLATE {await template(server_url)}")
    yield database(server_url, name)
    await drop(server_url, name)


@pytest.fixture(scope="session")
def app_url(owner_url: str) -> str:
    """The same database as the application uses it."""
    if os.environ.get("TEST_DATABASE_URL"):
        return owner_url
    return owner_url.replace("kawan_owner@", "kawan_app@", 1)


def addresses(app_url: str) -> dict[str, str]:
    """The settings by which an application of ours reaches it: for the house, and for contacts' requests."""
    return {"database_url": app_url, "contact_database_url": app_url.replace("kawan_app@", "kawan_portal@", 1)}
