"""A request sent twice with one Idempotency-Key has one effect and one answer."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeAlias, TypeVar

from fastapi import Depends, Header, Request
from starlette.responses import Response

from app.api.deps import Caller, authenticated, wall_clock
from app.api.errors import Problem, Replayed
from app.db import idempotency
from app.db.idempotency import Answer
from app.db.statements import Connection, ConstraintError, LockTimeoutError

T = TypeVar("T")
KEPT_HEADERS: Final = ("Location", "ETag", "Content-Type")
TAKEN: Final = "pk_idempotency_keys"


@dataclass(frozen=True, slots=True)
class Once:
    """One request under its key, if it came with one."""

    request: Request
    caller: Caller
    operation: str
    key: str | None
    digest: bytes
    received_at: datetime

    def keep(self, answer: Response) -> Answer | None:
        """Return an answer as it is kept with the write, or None where the request has no key."""
        if self.key is None:
            return None
        kept = {name: value for name in KEPT_HEADERS if (value := answer.headers.get(name)) is not None}
        return Answer(
            self.caller.actor.client_id,
            self.caller.principal,
            self.operation,
            self.key,
            self.digest,
            answer.status_code,
            kept,
            bytes(answer.body),
            self.received_at,
        )

    async def replay(self, via: Connection | None = None) -> None:
        """Give the answer kept under the key, if there is one; within a transaction by its own connection.

        Raises:
            Replayed: with that answer.
            Problem: 422 where the key was used for another body.
        """
        if self.key is None:
            return
        client, principal = self.caller.actor.client_id, self.caller.principal
        found = await idempotency.get(via or self.caller.pool, client, principal, self.operation, self.key)
        if found is None:
            return
        if found.digest != self.digest:
            detail = "This Idempotency-Key was sent with another body or query; use a new key for a new request."
            raise Problem("idempotency_key_reused", detail)
        raise Replayed(found.status, found.headers, found.body)

    async def write(self, write: Callable[[], Awaitable[T]]) -> T:
        """Run the write that keeps the answer; where a twin was first, give the twin's answer.

        Raises:
            Replayed: the twin's answer.
            Problem: 409 while a twin is still under way.
        """
        try:
            return await write()
        except ConstraintError as error:
            # Whichever constraint a twin broke first: if it was a twin, its answer is there now.
            await self.replay()
            if error.name == TAKEN:
                # By the code of before, which doesn't say whose person it answered.
                raise self._in_use() from None
            raise
        except LockTimeoutError:
            if self.key is None:
                raise
            raise self._in_use() from None

    @staticmethod
    def _in_use() -> Problem:
        detail = "A request with this key is still under way; wait for it, or ask again in a second."
        return Problem("idempotency_key_in_use", detail, headers={"Retry-After": "1"})


IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="Sent again to the same address with the same body, it brings the first answer again for 24 hours.",
    ),
]


async def once(request: Request, idempotency_key: IdempotencyKey = None) -> Once:
    """Read the key of a request.

    Whether an answer is kept under it need not be asked: the write that keeps one is undone where there is one
    already, and whatever is refused asks first; so does what succeeds without a write.
    """
    caller, at = await authenticated(request), wall_clock()
    digest = hashlib.sha256(request.scope["query_string"] + b"\n" + await request.body()).digest()
    operation = f"{request.method} {request.scope['path']}"[:1024]
    request.state.once = found = Once(request, caller, operation, idempotency_key, digest, at)
    return found


OnceOnly: TypeAlias = Annotated[Once, Depends(once)]
