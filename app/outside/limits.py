"""How much one principal may ask for: so many requests in a window of time, and so many at once.

The count is kept in this process, or in a Redis or Valkey that all processes share. A window begins
with its first request and is fixed. While the shared count can't be had, each process counts for
itself: a desk that answers matters more than an exact limit.
"""

import asyncio
import math
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError

log: Final = structlog.get_logger()
IN_THIS_PROCESS: Final = "memory://"
SHARED_SECONDS: Final = 0.25
APART_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a principal's requests in their window, below 0 where they asked for more."""

    limit: int
    window_seconds: int
    left: int
    reset_seconds: int

    @property
    def exceeded(self) -> bool:
        """Tell whether this request was one too many."""
        return self.left < 0


class Windows:
    """Counts in fixed windows, in this process. The library's own looks at all that it counts for each that it adds."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._found: dict[str, tuple[float, int]] = {}
        self._tidy_at = 0.0

    def add(self, name: str, at: float, seconds: int) -> tuple[int, float]:
        """Count one more under a name, and return how many those are by now and when their window ends."""
        if not self._tidy_at - seconds <= at < self._tidy_at:
            # Once in the length of a window, so that what has ended doesn't pile up.
            self._found = {known: window for known, window in self._found.items() if window[0] > at}
            self._tidy_at = at + seconds
        ends_at, count = self._found.get(name, (0.0, 0))
        # A clock that was set back doesn't lengthen a window.
        if not ends_at - seconds <= at < ends_at:
            ends_at, count = at + seconds, 0
        self._found[name] = ends_at, count + 1
        return count + 1, ends_at


class Limits:
    """Counts the requests of each principal, and lets only so many of them work at once."""

    def __init__(self, rate: str, at_once: int, storage: str = IN_THIS_PROCESS) -> None:
        """Take a rate such as `1200/minute`, how many may work at once, and where it is counted."""
        self._rate = parse(rate)
        self.at_once = at_once
        self._own = Windows()
        # The client of Valkey speaks to a Redis as well.
        self._shared = (
            None
            if storage == IN_THIS_PROCESS
            else RedisStorage(
                f"async+{storage}",
                wrap_exceptions=True,
                implementation="valkey",
                socket_timeout=SHARED_SECONDS,
                socket_connect_timeout=SHARED_SECONDS,
            )
        )
        self._apart_until = 0.0
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def count(self, principal: str, at: datetime) -> Quota:
        """Count one request, and return what is left at that instant."""
        if self._shared and monotonic() >= self._apart_until:
            try:
                async with asyncio.timeout(SHARED_SECONDS):
                    return self._left(*await _counted(self._shared, self._rate, principal), at)
            except (StorageError, TimeoutError) as error:
                self._apart_until = monotonic() + APART_SECONDS
                log.warning("the shared count of requests can't be had; this process counts alone", reason=str(error))
        return self._left(*self._own.add(principal, at.timestamp(), self._rate.get_expiry()), at)

    def _left(self, count: int, ends_at: float, at: datetime) -> Quota:
        amount, window = self._rate.amount, self._rate.get_expiry()
        return Quota(amount, window, amount - count, min(window, max(1, math.ceil(ends_at - at.timestamp()))))

    async def close(self) -> None:
        """Leave the shared count."""
        if self._shared:
            bridge: Any = self._shared.bridge  # its class doesn't tell that each of its kind has a connection
            await bridge.get_connection().aclose()

    def turn(self, principal: str) -> asyncio.Semaphore:
        """Return what is held while a request of a principal works: who comes when it is full waits for another's end.

        It isn't for us to say how long: where the database is slow, that isn't the principal's doing.
        """
        return self._turns.get(principal) or self._turns.setdefault(principal, asyncio.Semaphore(self.at_once))


async def _counted(storage: RedisStorage, rate: RateLimitItem, principal: str) -> tuple[int, float]:
    """Count one more where all processes do, and return how many those are and when their window ends."""
    key = rate.key_for(principal)
    return await storage.incr(key, rate.get_expiry()), await storage.get_expiry(key)
