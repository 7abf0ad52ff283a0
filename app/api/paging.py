"""Keyset paging: cursors that only this service can make, and that fit only the list they came from."""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from app.api.deps import runtime
from app.api.errors import Problem
from app.db.register import After

Item = TypeVar("Item")
SEAL_BYTES: Final = 16

Limit: TypeAlias = Annotated[int, Query(ge=1, le=200, description="How many items a page has at most.")]
Cursor: TypeAlias = Annotated[
    str | None, Query(min_length=1, max_length=1024, description="next_cursor of the page before.")
]


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[Item]
    next_cursor: str | None


def newest(row: Any) -> tuple[str, Any]:  # noqa: ANN401  # a row that is listed with the newest first
    """Return the place of a row in a list that begins with the newest."""
    return row.created_at.isoformat(), row.id


@dataclass(frozen=True, slots=True)
class Turned(Generic[Item]):
    """One page of rows, the cursor for the next, and the headers that lead there."""

    rows: Sequence[Item]
    next_cursor: str | None
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Paging:
    """Where a caller is in a list, and how much of it they want at once."""

    request: Request
    secret: bytes
    limit: int
    place: list[Any] | None

    @property
    def after(self) -> After | None:
        """Return where the page before ended, in a list that begins with the newest."""
        return After(datetime.fromisoformat(self.place[0]), UUID(self.place[1])) if self.place else None

    @property
    def most(self) -> int:
        """Return how many rows to fetch: one more than are shown tells whether there are more."""
        return self.limit + 1

    def turn(
        self,
        found: Sequence[Item],
        place: Callable[[Item], Sequence[Any]] = newest,
        fits: Callable[[Item], bool] = lambda _: True,
    ) -> Turned[Item]:
        """Cut the rows that were fetched to one page; of a bounded one those that fit."""
        limit = min(self.limit, sum(map(fits, found)))
        last = found[limit - 1] if len(found) > limit else None
        next_cursor, headers = _next_page(self.request, self.secret, None if last is None else place(last))
        return Turned(found[:limit], next_cursor, headers)


async def paging(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Paging:
    """Read where a caller is in a list."""
    secret = runtime(request).cursor_secret
    return Paging(request, secret, limit, _read(request, secret, cursor))


Pages: TypeAlias = Annotated[Paging, Depends(paging)]


def _read(request: Request, secret: bytes, cursor: str | None) -> list[Any] | None:
    """Return where the page before ended.

    Raises:
        Problem: 422 where the cursor isn't one of this list with these filters.
    """
    if cursor is None:
        return None
    try:
        sealed = base64.urlsafe_b64decode(cursor.encode("ascii"))
    except (binascii.Error, ValueError):
        raise _invalid() from None
    seal, text = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal(request, secret, text)):
        raise _invalid()
    place: list[Any] = json.loads(text)
    return place


def _next_page(request: Request, secret: bytes, place: Sequence[Any] | None) -> tuple[str | None, dict[str, str]]:
    """Return the cursor for what comes after `place`, and the Link header that leads there."""
    if place is None:
        return None, {}
    text = json.dumps(list(place), default=str).encode()
    cursor = base64.urlsafe_b64encode(_seal(request, secret, text) + text).decode()
    query = urlencode([*_filters(request), ("cursor", cursor)])
    return cursor, {"Link": f'<{quote(request.scope["path"])}?{query}>; rel="next"'}


def _filters(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]


def _seal(request: Request, secret: bytes, text: bytes) -> bytes:
    """Bind a place to the list and its filters; the limit may change between pages."""
    filters = sorted(pair for pair in _filters(request) if pair[0] != "limit")
    bound = json.dumps([request.scope["path"], filters]).encode() + text
    return hmac.digest(secret, bound, "sha256")[:SEAL_BYTES]


def _invalid() -> Problem:
    return Problem(
        "invalid_cursor", "This cursor was not made for this list with these filters; start again without one."
    )
