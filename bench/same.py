"""Compares what the service and the floor answer and write: a floor that did less would be none."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx

from bench.cells import ACTS, Served, bodies
from bench.stock import Caller

OWN: Final = frozenset({"id", "ref", "ticket_id", "contact_id", "client_id", "message_id", "actor_id", "next_cursor"})
"""What differs between any two tickets or checks."""
NOW: Final = frozenset({"remaining_seconds", "counted_seconds", "total_seconds"})
"""What differs by the time between two requests."""
SLACK: Final = 60.0
KEPT: Final = {
    "tickets": "SELECT to_jsonb(r) FROM tickets r WHERE id = $1",
    "cycles": "SELECT to_jsonb(r) FROM clock_cycles r WHERE ticket_id = $1 ORDER BY started_at, clock, cycle",
    "events": "SELECT to_jsonb(r) - 'position' - 'transaction' FROM events r WHERE ticket_id = $1 ORDER BY number",
    "checks": "SELECT to_jsonb(r) - 'request' FROM eligibility_checks r WHERE id = $1",
}


def differences(where: str, one: Any, other: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    """Yield what differs between two values of JSON; instants may lie a minute apart."""
    name = where.rpartition("/")[2]
    if name in OWN:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        yield from (f"{where}/{key}: only one has it" for key in sorted(one.keys() ^ other.keys()))
        for key in one.keys() & other.keys():
            yield from differences(f"{where}/{key}", one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(f"{where}[{place}]", *pair)
    elif one != other and not _near(one, other, asked_now=name in NOW or where.endswith("seconds")):
        yield f"{where}: {one!r} is not {other!r}"


def _near(one: object, other: object, *, asked_now: bool) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        try:
            return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) < SLACK
        except (ValueError, TypeError):
            return False
    return asked_now and isinstance(one, int | float) and isinstance(other, int | float) and abs(one - other) < SLACK


class Comparison:
    """The same people asking both the same."""

    def __init__(self, service: Served, floor: Served, callers: Sequence[Caller], owner: asyncpg.Connection) -> None:
        self.apps, self.owner = (service, floor), owner
        self.contacts = [caller for caller in callers if caller.role == "contact"]
        self.agent = next(caller for caller in callers if caller.role == "agent")
        self.found: list[str] = []

    async def run(self, twins: Sequence[str]) -> list[str]:
        """Return every difference; of the tickets the first is acted on by the service, the second by the floor."""
        async with httpx.AsyncClient(timeout=10) as http:
            for caller in self.contacts:
                await self.both(http, caller, "GET", ("/v1/tickets?limit=50",) * 2)
                for ticket in caller.tickets[:40]:
                    await self.both(http, caller, "GET", (f"/v1/tickets/{ticket}",) * 2)
                    await self.both(http, caller, "GET", (f"/v1/tickets/{ticket}/clocks",) * 2)
            for operation, path in (("check", "/v1/eligibility-checks"), ("create", "/v1/tickets")):
                ((_, body),) = bodies(operation)
                pair = await self.both(http, self.contacts[0], "POST", (path, path), body)
                await self.rows(operation, [told["id"] for told in pair])
            for operation in ACTS:
                for act, body in bodies(operation):
                    paths = tuple(f"/v1/tickets/{ticket}/{act}" for ticket in twins)
                    await self.both(http, self.agent, "POST", paths, body)
                    await self.rows(f"after {act}", twins)
        return self.found

    async def both(
        self, http: httpx.AsyncClient, who: Caller, method: str, paths: Sequence[str], body: object = None
    ) -> list[Any]:
        """Ask both, and compare what they answer."""
        told = []
        for app, address in zip(self.apps, paths, strict=True):
            headers = {"Authorization": f"Bearer {who.key}", "X-Floor-Caller": who.told, "Idempotency-Key": uuid4().hex}
            url = f"http://127.0.0.1:{app.ports[0]}{address}"
            response = await http.request(method, url, json=body, headers=headers)
            told.append({"status": response.status_code, "etag": response.headers.get("etag")} | response.json())
        self.found += differences(f"{method} {paths[0]}", *told)
        return told

    async def rows(self, what: str, ids: Sequence[str]) -> None:
        """Compare what is kept of two tickets or checks."""
        pair = [
            {name: [json.loads(row[0]) for row in await self.owner.fetch(text, each)] for name, text in KEPT.items()}
            for each in ids
        ]
        self.found += differences(f"rows of {what}", *pair)
