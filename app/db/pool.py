"""Connections: two small pools, for the house and for contacts, whose every session has its role and bounded waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias

import asyncpg

from app.db import statements
from app.db.statements import UNAVAILABLE, answered, in_our_words

Pool: TypeAlias = asyncpg.Pool
Transaction: TypeAlias = asyncpg.Connection

HOUSE: Final = "kawan_runtime"
"""The role that sees every client: staff's requests, the worker, and finding out who asks."""
CONTACT: Final = "kawan_contact"
"""The role of contacts' requests: it sees the rows of one client at a time, of the one a statement names."""
CONNECT_SECONDS: Final = 2
COMMAND_SECONDS: Final = 3
CLOSE_SECONDS: Final = 2
SESSION: Final = {
    "application_name": "kawan-support",
    "timezone": "UTC",
    "statement_timeout": "2500",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "synchronous_commit": "on",
    "jit": "off",
}


class Session(asyncpg.Connection):  # type: ignore[misc]  # shipped without types
    """A connection that is given up once it has left something unanswered: it would be waited for again and again."""

    async def fetch(self, *args: object, **more: object) -> list[Any]:
        """Run a statement and return its records."""
        try:
            return list(await super().fetch(*args, **more))
        except (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError):
            self.terminate()
            raise


async def connect(url: str, *, size: int, role: str = HOUSE) -> Pool:
    """Open a pool on a `postgresql+asyncpg://` address.

    The role is sent with the connection itself: whoever logs in works with its rights, no more.

    Raises:
        DatabaseUnavailableError: the database can't be reached.
    """
    return await answered(
        asyncpg.create_pool(
            url.replace("+asyncpg", "", 1),
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"role": role, **SESSION},
            connection_class=Session,
            init=_prepare,
            reset=_keep,
        )
    )


@asynccontextmanager
async def transaction(pool: Pool, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
    """Hold one connection and one transaction for several statements; a snapshot reads one state and writes nothing."""
    connection = await answered(pool.acquire(timeout=1))
    try:
        with in_our_words():
            async with connection.transaction(isolation="repeatable_read" if snapshot else None, readonly=snapshot):
                yield connection
    finally:
        await pool.release(connection)


async def close(pool: Pool) -> None:
    """Take leave of the database, and wait only briefly for one that doesn't answer."""
    with suppress(*UNAVAILABLE):
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()


async def _prepare(connection: Transaction) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=statements.encode, decoder=statements.decode, schema="pg_catalog")


async def _keep(_connection: object) -> None:
    """Reset nothing: no statement ever sets anything for a session."""
