"""How often each operation asks the database, held to a table: a rise needs its reason in the same line.

`UPDATE_EXAMPLES=1` writes the figures anew and keeps the reasons.
"""

import itertools
import os
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.db.lease import Lease
from app.db.pool import Session
from tests.api.conftest import Desk
from tests.api.test_examples import Recorder, every_operation
from tests.conftest import ROOT

TABLE = ROOT / "tests" / "api" / "statements.txt"
ROW = re.compile(r"^(?P<operation>\w+) +(?P<count>\d+)(?: +(?P<reason>.+))?$")


def heard(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """Note each statement that goes over any connection: each is one round trip."""

    def noting(run: Any) -> Any:
        def noted(self: Session, query: str, *args: Any, **more: Any) -> Any:
            # The tests' own clock is asked once a request, and no installation has one.
            if "test_clock" not in query:
                asked.append(query)
            return run(self, query, *args, **more)

        return noted

    for name in ("fetch", "execute"):
        monkeypatch.setattr(Session, name, noting(getattr(Session, name)))


async def forgotten_here(known: Lease[Any]) -> None:
    """There is no other process to wait for."""
    known._known.clear()  # what it does, but for the wait


class Counting(Recorder):
    """Calls operations by their ids, each once under a key by somebody just heard of, and counts what they ask."""

    def __init__(self, desk: Desk, document: dict[str, Any], asked: list[str]) -> None:
        super().__init__(desk, document)
        self.asked, self.counts, self.keys = asked, dict[str, int](), itertools.count()
        call = desk.call

        async def keyed(who: str | None, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
            headers = more.pop("headers", {}) | ({"idempotency-key": f"k{next(self.keys)}"} if method == "POST" else {})
            return await call(who, method, path, body, headers=headers, **more)

        desk.call = keyed  # type: ignore[method-assign]  # this desk's alone

    async def __call__(self, operation_id: str, who: str | None, *args: Any, **more: Any) -> Any:
        await self.desk.call(who, "GET", "/v1/me")
        before = len(self.asked)
        told = await super().__call__(operation_id, who, *args, **more)
        self.counts[operation_id] = len(self.asked) - before
        return told


async def test_no_operation_asks_more_often_than_the_table_says(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    heard(monkeypatch, asked)
    # Who asks is remembered for the whole of it, and waited for not at all.
    monkeypatch.setattr(app[0].state.runtime.bearers, "seconds", 60.0)
    monkeypatch.setattr(Lease, "forgotten", forgotten_here)
    call = Counting(desk, app[0].openapi(), asked)
    await every_operation(call, desk)
    before = len(asked)
    assert (await desk.call("standard", "GET", "/v1/tickets")).status_code == 200
    assert len(asked) - before == 1, "a page without more of each ticket"
    assert set(call.counts) == set(call.operations)
    rows = [ROW.match(line) for line in TABLE.read_text(encoding="utf-8").splitlines()[2:]] if TABLE.exists() else []
    known = {row["operation"]: (int(row["count"]), row["reason"] or "") for row in rows if row}
    if os.environ.get("UPDATE_EXAMPLES"):
        lines = [f"{name:34} {call.counts[name]:2}  {known.get(name, (0, ''))[1]}".rstrip() for name in call.operations]
        head = "Statements of each operation, each a round trip; finding out who asks is one more, once a second.\n"
        TABLE.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    assert len(rows) == len(known) == len(call.operations), "each operation has one line"
    assert call.counts == {name: count for name, (count, _) in known.items()}
    assert all(reason for count, reason in known.values() if count > 2), "more than two need a reason"
