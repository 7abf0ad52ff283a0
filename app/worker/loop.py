"""The worker: sweeps again and again, and goes on after whatever went wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from app.db import idempotency, upkeep
from app.db import pool as pools
from app.db.policies import Book
from app.db.pool import Pool
from app.db.seal import Sealer
from app.db.statements import DatabaseUnavailableError
from app.worker import self_check, sweep

log: Final = structlog.get_logger()
KEYS_KEPT: Final = timedelta(hours=24)
SEALED_EVERY: Final = timedelta(seconds=10)
SELF_CHECKED_EVERY: Final = timedelta(hours=1)


async def run(url: str, *, interval: timedelta, test_clock: bool, stop: asyncio.Event, sealer: Sealer) -> None:
    """Sweep at every interval until told to stop, and check oneself from time to time beside that."""
    pool = await pools.connect(url, size=3)
    book = Book(pool)
    beside = [asyncio.create_task(each) for each in (_check_again_and_again(pool), _seal_again_and_again(pool, sealer))]
    try:
        while not stop.is_set():
            await _once(pool, book, test_clock=test_clock)
            await _pause(stop, interval)
    finally:
        for task in beside:
            task.cancel()
        await pools.close(pool)


async def _check_again_and_again(pool: Pool) -> None:
    while True:
        try:
            if await check_is_due(pool, datetime.now(UTC)):
                found = await self_check.run(pool)
                await upkeep.checked(pool, datetime.now(UTC), found.tickets, len(found.drifted))
        except DatabaseUnavailableError as error:
            log.warning("self-check failed; trying again", reason=str(error))
        except Exception:
            log.exception("self-check failed; trying again")
        await asyncio.sleep(SELF_CHECKED_EVERY.total_seconds())


async def check_is_due(pool: Pool, now: datetime) -> bool:
    """Tell whether no worker has finished a self-check lately: one that starts needn't look at every ticket again."""
    known = await upkeep.readiness(pool)
    return known is None or known.checked_at is None or now - known.checked_at > SELF_CHECKED_EVERY / 2


async def _seal_again_and_again(pool: Pool, sealer: Sealer) -> None:
    while True:
        try:
            await sealer.run(pool, datetime.now(UTC))
        except DatabaseUnavailableError as error:
            log.warning("sealing failed; trying again", reason=str(error))
        except Exception:
            log.exception("sealing failed; trying again")
        await asyncio.sleep(SEALED_EVERY.total_seconds())


async def _once(pool: Pool, book: Book, *, test_clock: bool) -> None:
    try:
        touched = await sweep.run(pool, book, await _now(pool, test_clock=test_clock))
        real = datetime.now(UTC)
        await idempotency.forget(pool, real - KEYS_KEPT)
        await upkeep.swept(pool, real)
        if touched:
            log.info("swept", tickets=touched)
    except DatabaseUnavailableError as error:
        log.warning("sweep failed; trying again", reason=str(error))
    except Exception:
        log.exception("sweep failed; trying again")


async def _now(pool: Pool, *, test_clock: bool) -> datetime:
    kept = await upkeep.test_now(pool) if test_clock else None
    return kept.at if kept else datetime.now(UTC)


async def _pause(stop: asyncio.Event, interval: timedelta) -> None:
    try:
        async with asyncio.timeout(interval.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return
