"""Connections: two small pools, for the house and for contacts, whose every session has its role and bounded waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from app.db import statements
from app.db.statements import answered

Pool: TypeAlias = asyncpg.Pool
Transaction: TypeAlias = asyncpg.Connection

HOUSE: Final = "kawan_runtime"
"""The role that sees every client: staff's requests, the worker, and finding out who asks."""
CONTACT: Final = "kawan_contact"
"""The role of contacts' requests: it sees the rows of one client at a time, of the one a statement names."""
CONNECT_SECONDS: Final = 2
COMMAND_SECONDS: Final = 3
SESSION: Final = {
    "application_name": "kawan-support",
    "timezone": "UTC",
    "statement_timeout": "2500",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "synchronous_commit": "on",
    "jit": "off",
}


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
            init=_prepare,
            reset=_keep,
        )
    )


@asynccontextmanager
async def transaction(pool: Pool, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
    """Hold one connection and one transaction for several statements; a snapshot reads one state and writes nothing."""
    connection = await answered(pool.acquire(timeout=1))
    try:
        async with connection.transaction(isolation="repeatable_read" if snapshot else None, readonly=snapshot):
            yield connection
    finally:
        await pool.release(connection)


async def _prepare(connection: Transaction) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=statements.encode, decoder=statements.decode, schema="pg_catalog")


async def _keep(_connection: object) -> None:
    """Reset nothing: no statement ever sets anything for a session."""
