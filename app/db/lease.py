"""What a process may remember of the database for a moment, so that not every request asks for it again."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

SECONDS: Final = 1.0
"""How long; the same for all processes, as each waits for the others."""
SLACK: Final = 0.05
"""How much longer a change waits, as a part of that: what somebody sends may take this long before it is acted on."""
MOST: Final = 10_000


class Lease(Generic[Value]):
    """What was read, for a second from when it was asked for; what wasn't there is asked for again.

    Whoever changes it waits until no process remembers what was before, and answers then: from the answer on
    all know of the change, with no word between them but the database.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.seconds = SECONDS
        self._known: dict[Hashable, tuple[float, Value]] = {}

    @property
    def slack(self) -> float:
        """Return how many seconds may pass between hearing of somebody and acting for them."""
        return self.seconds * SLACK

    async def get(self, name: Hashable, read: Callable[[], Awaitable[Value | None]]) -> Value | None:
        """Return what is remembered under a name, or what is read now."""
        asked = monotonic()
        until, known = self._known.get(name, (asked, None))
        if asked < until:
            return known
        found = await read()
        if found is not None:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[name] = asked + self.seconds, found
        return found

    async def forgotten(self) -> None:
        """Wait until what was there before this moment is remembered nowhere."""
        self._known.clear()
        await asyncio.sleep(self.seconds + self.slack)
