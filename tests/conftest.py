"""A real PostgreSQL for the tests: one server for all workers, one database of its own for each."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db import migrations
from app.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of a server as somebody who may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given.replace("postgresql://", "postgresql+asyncpg://", 1)
        return
    with EmbeddedPostgres(ROOT / "var" / "tests", durable=False) as server:
        yield server.owner_url


def database(url: str, name: str) -> str:
    """The address of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


async def administer(url: str, *statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


@pytest.fixture(scope="session")
async def owner_url(server_url: str, worker_id: str) -> str:
    """A migrated database of this worker's own, as its owner."""
    name = f"test_{worker_id}_{os.getpid()}"
    await administer(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    url = database(server_url, name)
    await asyncio.to_thread(migrations.upgrade, url)
    return url


@pytest.fixture(scope="session")
def app_url(owner_url: str) -> str:
    """The same database as the application uses it."""
    if os.environ.get("TEST_DATABASE_URL"):
        return owner_url
    return owner_url.replace("kawan_owner@", "kawan_app@", 1)
