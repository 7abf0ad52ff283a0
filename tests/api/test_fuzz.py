"""Whatever is sent, to every field that can be written: a fault is never ours, and what is refused changes nothing.

A fixed sample in every suite; `make fuzz` sends everything everywhere, and schemathesis with two identities.
"""

import asyncio
import json
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.api.errors import TITLES
from tests.api.payloads import PAYLOADS
from tests.api.test_access import MATRIX, ROLES, Caller, caller  # noqa: F401  # a fixture
from tests.api.test_acts import BODIES, WHY

WHOLE = "FUZZ" in os.environ
SEED = int(os.environ.get("FUZZ") or 20_260_105)
SAMPLE = 2_000
PARTS = 2 if WHOLE else 1
MARK = "@@payload@@"
KEPT_REFUSALS = {"not_eligible"}
TABLES = (
    "clients", "contacts", "agreements", "subscriptions", "agents", "policy_versions", "policy_acknowledgements",
    "calendars", "calendar_revisions", "eligibility_checks", "eligibility_overrides", "tickets", "clock_cycles",
    "events", "idempotency_keys", "test_clock",
)  # fmt: skip
# How many rows there are, and by which transaction one was written last: what was written changes one of them.
ROWS = "SELECT '{0} ' || count(*) || ' ' || coalesce(max(xmin::text::bigint), 0) AS part FROM {0}"
PRINT = f"SELECT string_agg(part, ', ') FROM ({' UNION ALL '.join(map(ROWS.format, TABLES))}) AS parts"
# While no transaction anywhere on the server was given a number, nothing was written: that is known much sooner.
WRITTEN = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
# The clock is the tests' own: who moves it moves what everything else is compared with.
LEFT_OUT = {"set_test_clock", "clear_test_clock", "sweep"}


class Field(NamedTuple):
    """A place in a request that a stranger may fill."""

    operation: str
    inside: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.operation} {self.inside} /{'/'.join(map(str, self.path))}"


def fields(document: Mapping[str, Any]) -> Iterator[Field]:
    for path in document["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            if name in LEFT_OUT:
                continue
            for parameter in operation.get("parameters", ()):
                yield Field(name, parameter["in"], (parameter["name"],))
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if body:
                yield Field(name, "body", ())
                yield from (Field(name, "body", steps) for steps in inside(document, body, ()))


def inside(document: Mapping[str, Any], schema: Mapping[str, Any], steps: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if len(steps) > 4:
        return
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from inside(document, choice, steps)
    for name, found in schema.get("properties", {}).items():
        yield (*steps, name)
        yield from inside(document, found, (*steps, name))
    if "items" in schema:
        yield (*steps, 0)
        yield from inside(document, schema["items"], (*steps, 0))


def placed(body: Any, steps: tuple[str | int, ...]) -> Any:
    """The body with a mark in a place of it."""
    if not steps:
        return MARK
    first, *rest = steps
    if isinstance(first, int):
        return [placed(body[0] if isinstance(body, list) and body else {}, tuple(rest))]
    known = body if isinstance(body, dict) else {}
    return known | {first: placed(known.get(first), tuple(rest))}


class Fuzz:
    """Sends payloads over a socket, and counts what comes back."""

    def __init__(self, call: Caller, http: httpx.AsyncClient, owner: asyncpg.Connection) -> None:
        self.call, self.desk, self.http, self.owner = call, call.desk, http, owner
        self.answers: Counter[int] = Counter()
        self.faults: list[tuple[str, str, str]] = []
        self.bodies = self.base()
        self.printed = ("", "")

    def base(self) -> dict[str, Any]:
        party = self.desk.parties["standard"]
        whose = {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
        owner = {"client_id": whose["client_id"]}
        person = {"name": "Mei", "email": "mei@client.example"}
        given = {
            "create_ticket": self.desk.request() | whose,
            "check_eligibility": {"channel": "portal", "category": "incident"} | whose,
            "send_message": BODIES["reply"],
            "amend_ticket": BODIES["amend"],
            "put_feedback": BODIES["feedback"],
            "put_client": {"name": "Kopitiam"},
            "put_contact": person | owner,
            "put_agreement": owner | {"name": "Website care"},
            "put_subscription": owner
            | {"agreement_id": str(party.agreement_id), "tier": "standard", "starts_on": "2030-01-01"},
            "create_agent": {"name": "Nadia", "email": "nadia@kawan.example"},
            "change_agent": {"level": 2},
            "change_contact": {"phone": "+60 3 5550 0100"},
            "create_key": {"name": "A program", "role": "automation"},
            "create_calendar": {"name": "Another", "timezone": "UTC", "weekly_hours": {"mon": [["09:00", "18:00"]]}},
            "add_calendar_exception": {"date": "2026-06-15", "name": "A holiday", "hours": []},
            "override_eligibility_check": WHY,
        }
        acts = {name.replace("-", "_"): body for name, body in BODIES.items()}
        return acts | given

    async def print(self) -> str:
        """What the tables hold; read anew where anything was written since."""
        written: str = await self.owner.fetchval(WRITTEN)
        if written != self.printed[0]:
            self.printed = (written, await self.owner.fetchval(PRINT))
        return self.printed[1]

    async def send(self, who: str, field: Field, payload: str) -> None:
        template, method = self.call.operations[field.operation]
        ids = self.call.ids | ({"contact_id": self.call.boss} if who == "boss" else {})
        if field.inside == "path":
            ids = ids | {field.path[0]: MARK}
        path = template.format(**ids)
        headers = {"Authorization": f"Bearer {self.desk.keys[who]}"}
        headers |= {"If-Match": "*"} if method == "patch" else {}
        more: dict[str, Any] = {}
        text = payload[1:-1] if payload.startswith('"') and payload.endswith('"') else payload
        written = text.encode(errors="replace").decode("latin-1")
        if field.inside == "path":
            path = path.replace(MARK, httpx.QueryParams({"p": written[:2_000]}).__str__()[2:].replace("+", "%20"))
        elif field.inside == "query":
            more["params"] = {field.path[0]: text[:4_000].encode(errors="replace").decode()}
        elif field.inside == "header":
            headers[str(field.path[0])] = "".join(c for c in written[:4_000] if c.isprintable())
        body = self.bodies.get(field.operation, {})
        if method in {"post", "put", "patch"}:
            if field.inside == "body":
                body = placed(body, field.path)
            more["content"] = json.dumps(body).replace(f'"{MARK}"', payload).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json"
        before = await self.print()
        try:
            written_headers = {name: value.encode("latin-1") for name, value in headers.items()}
            response = await self.http.request(method.upper(), path, headers=written_headers, **more)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if not isinstance(error, httpx.InvalidURL | httpx.LocalProtocolError):
                self.faults.append((str(field), payload[:80], repr(error)))
            self.answers[0] += 1
            return
        self.answers[response.status_code] += 1
        wrong = await self.wrong(response, payload, before)
        if wrong:
            self.faults.append(
                (f"{who}: {field}", payload[:80], f"{wrong}: {response.status_code} {response.text[:200]}")
            )

    async def wrong(self, response: httpx.Response, payload: str, before: str) -> str | None:
        """Say what is wrong with an answer."""
        status = response.status_code
        if status < 400:
            return None
        if status >= 500 or response.headers["Content-Type"] != "application/problem+json":
            return "a fault of ours" if status >= 500 else "no problem document"
        problem = response.json()
        if TITLES.get(problem["code"], (0,))[0] != status or problem["status"] != status:
            return "another status than its code's"
        if len(payload) > 40 and payload.startswith('"') and payload[1:-1] in response.text:
            return "the value is repeated"
        if problem["code"] not in KEPT_REFUSALS and await self.print() != before:
            return "refused, and something changed"
        return None


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The application behind its real server, on a socket."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app, lifespan="off", loop="none", http="httptools", ws="none", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=20) as http:
            yield http
    finally:
        server.should_exit = True
        await serving
        listening.close()


@pytest.mark.parametrize("part", range(PARTS))
async def test_whatever_is_sent_no_fault_is_ours_and_no_refusal_changes_anything(
    part: int,
    caller: Caller,  # noqa: F811  # the fixture
    app: tuple[FastAPI, httpx.AsyncClient],
    owner_url: str,
) -> None:
    draw = random.Random(SEED + part)  # noqa: S311  # which payload comes next is no secret
    assert len(set(PAYLOADS)) >= 250
    letters = {row.name: row.letters for row in MATRIX}
    found = list(fields(app[0].openapi()))
    pairs = [(field, payload) for field in found for payload in PAYLOADS]
    if not WHOLE:
        pairs = sorted(draw.sample(pairs, SAMPLE), key=lambda pair: pair[0].operation)
    pairs = pairs[part::PARTS]
    owner = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    try:
        async with served(app[0]) as http:
            fuzz = Fuzz(caller, http, owner)
            for count, (field, payload) in enumerate(pairs):
                allowed = letters.get(field.operation, "M")
                who = ROLES[draw.choice([letter for letter in allowed if letter in "CKM"] or list(allowed))][0]
                await fuzz.send(who, field, payload)
                if count % 200 == 0:
                    caller.ids["ticket_id"] = (await caller.desk.open())["id"]
                    # A key of nobody's here: who ends their own is refused from then on.
                    made = await caller.desk.call("admin", "POST", "/v1/keys", fuzz.bodies["create_key"])
                    caller.ids["key_id"] = made.json()["id"]
    finally:
        await owner.close()
    told = dict(sorted(fuzz.answers.items()))
    print(f"seed {SEED}, part {part + 1} of {PARTS}: {len(PAYLOADS)} payloads, {len(found)} fields,")  # noqa: T201  # the figures
    print(f"  {len(pairs):,} requests: {told}")  # noqa: T201  # the same
    assert fuzz.faults == []
    assert fuzz.answers[200] + fuzz.answers[201] > len(pairs) // 20
    assert fuzz.answers[422] > len(pairs) // 4


async def test_a_fault_would_be_seen(
    caller: Caller,  # noqa: F811  # the fixture
    app: tuple[FastAPI, httpx.AsyncClient],
    owner_url: str,
) -> None:
    """The control: a 500, a bare answer, a refusal that writes, and one that repeats what it was given."""
    owner = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    fuzz = Fuzz(caller, app[1], owner)
    title = {"code": "forbidden", "status": 403}
    problem = {"Content-Type": "application/problem+json"}
    secret = json.dumps("a value that is long enough to be told from others")
    try:
        before = await fuzz.print()
        for response, payload, said in (
            (httpx.Response(500), "1", "a fault of ours"),
            (httpx.Response(404, text="?", headers={"Content-Type": "text/plain"}), "1", "no problem document"),
            (httpx.Response(404, json=title, headers=problem), "1", "another status than its code's"),
            (
                httpx.Response(403, json=title | {"detail": secret[1:-1]}, headers=problem),
                secret,
                "the value is repeated",
            ),
            (httpx.Response(403, json=title, headers=problem), "1", None),
        ):
            assert await fuzz.wrong(response, payload, before) == said
        await caller.desk.open()
        said = await fuzz.wrong(httpx.Response(403, json=title, headers=problem), "1", before)
        assert said == "refused, and something changed"
    finally:
        await owner.close()
