"""The way to the database where that ends in the middle, or says nothing any more."""

import asyncio
import os
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from app.db import pool as pools
from app.db.statements import DatabaseUnavailableError, answered
from tests.faults.proxy import Network, Proxy


async def end(connection: pools.Transaction) -> None:
    """Let the network end it, without a word."""
    connection._transport.abort()
    await asyncio.sleep(0.05)


async def test_a_connection_that_ended_before_the_commit_is_one_that_cannot_be_reached(app_url: str) -> None:
    pool = await pools.connect(app_url, size=1)
    with pytest.raises(DatabaseUnavailableError):
        async with pools.transaction(pool) as connection:
            await end(connection)
    assert await pool.fetch("SELECT 1")
    await pools.close(pool)


async def asking_after_the_end(pool: pools.Pool) -> None:
    async with pools.transaction(pool) as connection:
        await end(connection)
        await answered(connection.fetch("SELECT 1"))


async def test_what_went_wrong_within_a_transaction_is_told_also_where_it_cannot_be_undone(app_url: str) -> None:
    pool = await pools.connect(app_url, size=1)
    with pytest.raises(DatabaseUnavailableError):
        await asking_after_the_end(pool)
    await pools.close(pool)


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="the way to another server is not ours to break")
async def test_a_database_that_says_nothing_any_more_is_given_up_and_left_in_time(app_url: str) -> None:
    place = f"{parse_qs(urlsplit(app_url).query)['host'][0]}/.s.PGSQL.5432"
    async with Proxy(lambda: asyncio.open_unix_connection(place)) as proxy:
        name = urlsplit(app_url).path
        pool = await pools.connect(f"postgresql+asyncpg://kawan_app@127.0.0.1:{proxy.port}{name}", size=1)
        proxy.become(Network.BLACK_HOLE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.fetch("SELECT 1")
        proxy.become(Network.WHOLE)
        async with asyncio.timeout(1):
            assert await pool.fetch("SELECT 1")
        proxy.become(Network.BLACK_HOLE)
        began = time.monotonic()
        await pools.close(pool)
        assert time.monotonic() - began < pools.CLOSE_SECONDS + 1
