"""Connections: two small pools, for the house and for contacts, whose every session has its role and bounded waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from app.db import statements
from app.db.statements import UNAVAILABLE, answered, in_our_words

Transaction: TypeAlias = asyncpg.Connection
T = TypeVar("T")

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
        return list(await self._answered(super().fetch(*args, **more)))

    async def execute(self, *args: object, **more: object) -> str:
        """Run a statement without records, such as those that begin and end a transaction."""
        return str(await self._answered(super().execute(*args, **more)))

    async def _answered(self, waiting: Awaitable[T]) -> T:
        try:
            return await waiting
        except (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError):
            self.terminate()
            raise


class Pool:
    """Connections to be used again, the last one first; so many at most, each made when it is needed.

    The driver's own pool takes longer than a statement: a task, a shield and a proxy for every use of a connection.
    """

    def __init__(self, make: Callable[[], Awaitable[Session]], size: int) -> None:
        """Take what makes a connection, and how many there may be."""
        self.size = size
        self._make, self._places = make, asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._busy: set[Session] = set()

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Run a statement on any connection and return its records."""
        connection = await self.acquire()
        try:
            return await connection.fetch(query, *args)
        finally:
            self.release(connection)

    async def acquire(self, within: float | None = None) -> Session:
        """Take a connection, waiting for so many seconds until one is free.

        Raises:
            TimeoutError: none was.
        """
        if within is None:
            await self._places.acquire()
        else:
            async with asyncio.timeout(within):
                await self._places.acquire()
        try:
            connection = next((found for found in self._taken() if not found.is_closed()), None) or await self._make()
        except BaseException:
            self._places.release()
            raise
        self._busy.add(connection)
        return connection

    def _taken(self) -> Iterator[Session]:
        while self._idle:
            yield self._idle.pop()

    def release(self, connection: Session) -> None:
        """Give a connection back; one that has ended, or is left in a transaction, makes room for another."""
        self._busy.discard(connection)
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._places.release()

    async def close(self) -> None:
        """Take leave of the database; who is still asking is cut off, and who isn't answered goes without a word."""
        idle, self._idle = self._idle, []
        try:
            for connection in idle:
                await connection.close()
        finally:
            for connection in (*idle, *self._busy):
                connection.terminate()


async def connect(url: str, *, size: int, role: str = HOUSE) -> Pool:
    """Open a pool on a `postgresql+asyncpg://` address.

    The role is sent with the connection itself: whoever logs in works with its rights, no more.

    Raises:
        DatabaseUnavailableError: the database can't be reached.
    """

    async def make() -> Session:
        connection: Session = await asyncpg.connect(
            url.replace("+asyncpg", "", 1),
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"role": role, **SESSION},
            connection_class=Session,
        )
        try:
            await _prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    pool = Pool(make, size)
    pool.release(await answered(pool.acquire()))
    return pool


@asynccontextmanager
async def transaction(pool: Pool, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
    """Hold one connection and one transaction for several statements; a snapshot reads one state and writes nothing."""
    connection = await answered(pool.acquire(within=1))
    try:
        with in_our_words():
            async with connection.transaction(isolation="repeatable_read" if snapshot else None, readonly=snapshot):
                yield connection
    finally:
        pool.release(connection)


async def close(pool: Pool) -> None:
    """Take leave of the database, and wait only briefly for one that doesn't answer."""
    with suppress(*UNAVAILABLE):
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()


async def _prepare(connection: Transaction) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=statements.encode, decoder=statements.decode, schema="pg_catalog")
