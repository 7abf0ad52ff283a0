"""Other people's wounds: one test for each class of advisory that has hit other desks.

Shown elsewhere, and not repeated here:

- child objects of other clients, at every place for an id: `test_leaks.py`, and by the database `test_walls.py`
- unknown fields, repeated parameters and keys, encoded bodies: `test_front_door.py`
- tokens of others, `jku`, `x5u` and `jwk` headers, issuers that look alike: `test_tokens.py`
- keys that end, are rotated, revoked, and told once: `test_keys.py`; forged cursors: `test_tickets.py`
- who makes admins: `test_directory.py`; addresses with control characters or without end: `test_front_door.py`
- an attacker's address of keys is never asked, and no redirect of a provider followed: `test_tokens.py`

Not here yet, as the service has none of them: mail (loops, a forged From), attachments, webhooks.
"""

import ast
import asyncio
import itertools
import json
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from app.api import acting, deps, front_door, shapes
from app.api.errors import TITLES
from app.cli.commands import log_at
from app.db import ids, seal
from app.domain import hours
from tests.api.conftest import Desk
from tests.api.test_fuzz import served
from tests.conftest import ROOT

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = f"<script>alert(1)</script>{IMAGE}"
PATTERNS = (
    front_door.NO_GZIP, front_door.REQUEST_ID, front_door.CONTROLS, front_door.SURROGATE, deps.KEY, shapes.RFC3339,
    shapes.CONTROLS, shapes.ONE_LINE, shapes.ETAG, re.compile(shapes.ETAGS["pattern"]), acting.REF, acting.ID,
    hours.WALL_TIME, seal.RECEIPT,
)  # fmt: skip
REPEATED = ('"1", ', '"', " ", ", ", "*,", "gzip;q=0", "a-", "KE-", "0", "00:", "2026-01-05T10:00:00.", "\x00", "ke_")
READERS = {"pickle", "marshal", "shelve", "dill", "xml", "eval", "exec", "compile", "__import__"}


def alike(response: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """All of an answer that may be compared: two answers never share id, date and what is left of the requests."""
    body, own = response.json() | {"request_id": None}, {"date", "x-request-id", "ratelimit"}
    return response.status_code, body, {name: text for name, text in response.headers.items() if name not in own}


# ------------------------------------------------------------------------- whose it is


@pytest.mark.parametrize("query", ["include=clocks,acts", "as_of=2026-01-05T02:00:00Z", "limit=1", ""])
async def test_a_side_parameter_opens_nothing_that_is_closed(desk: Desk, query: str) -> None:
    theirs = await desk.open("premium")
    for part in ("", "/clocks", "/acts", "/events", "/messages", "/feedback"):
        path = f"/v1/tickets/{theirs['id']}{part}"
        assert (await desk.call("standard", "GET", f"{path}?{query}")).status_code in {404, 422}
    listed = await desk.call("standard", "GET", f"/v1/tickets?{query}")
    assert listed.status_code == 422 or listed.json()["items"] == []


async def test_a_filter_is_no_oracle_of_what_one_may_not_see(desk: Desk) -> None:
    """Whatever is asked by, the answer is the same whether the house has such a ticket or not."""
    await desk.open("premium")
    mine = await desk.open("standard")
    agent = (await desk.get("agent", "/v1/me"))["agent_id"]
    await desk.act("agent", mine, "assign", assignee_id=agent)
    asked = [f"assignee_id={agent}", f"assignee_id={ids.new_id()}"]
    told = [alike(await desk.call("standard", "GET", f"/v1/tickets?{query}")) for query in asked]
    assert told[0] == told[1]
    theirs = desk.parties["premium"].client_id
    told = [
        alike(await desk.call("standard", "GET", f"/v1/tickets?client_id={client}"))
        for client in (theirs, ids.new_id())
    ]
    assert told[0] == told[1]
    for order in ("sort=assignee_id", "order_by=internal", "fields=assignee_id", "q=premium"):
        assert (await desk.call("standard", "GET", f"/v1/tickets?{order}")).status_code == 422


@pytest.mark.parametrize(
    "more",
    [
        {"role": "admin"}, {"level": 3}, {"status": "closed"}, {"priority": "critical"}, {"ref": "KE-2026-000001"},
        {"emergency": True}, {"id": "01900000-0000-7000-8000-000000000001"}, {"version": 7}, {"tags": ["vip"]},
        {"assignee_id": None},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_decided_by_us_is_not_assigned_by_a_body(desk: Desk, more: dict[str, Any]) -> None:
    response = await desk.call("standard", "POST", "/v1/tickets", desk.request(**more))
    (name,) = more
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"pointer": f"/{name}", "code": "extra_forbidden", "message": "this field is not known here"}
    ]
    assert (await desk.get("agent", "/v1/tickets"))["items"] == []


async def test_nobody_makes_more_of_themselves(desk: Desk) -> None:
    me = await desk.get("standard", "/v1/me")
    for more in ({"role": "client_admin"}, {"client_id": str(desk.parties["premium"].client_id)}, {"external_id": "x"}):
        path = f"/v1/contacts/{me['contact_id']}"
        response = await desk.call("standard", "PATCH", path, more, headers={"If-Match": "*"})
        assert response.status_code == 422, more
    assert await desk.get("standard", "/v1/me") == me


async def test_a_contact_cannot_say_that_they_wrote_by_mail_or_somebody_else_did(desk: Desk) -> None:
    """The portal's word is what comes by the portal: a forged sender is refused before there is any mail."""
    other = {"contact_id": str(desk.parties["premium"].contact_id)}
    for forged in ({"channel": "email"}, {"channel": "phone"}, other, {"received_at": "2026-01-01T00:00:00Z"}):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(**forged))
        assert response.status_code in {403, 422}, forged
    assert (await desk.get("agent", "/v1/tickets"))["items"] == []


async def test_an_idempotency_key_of_somebody_else_brings_nothing_of_theirs(desk: Desk) -> None:
    headers = {"Idempotency-Key": "the-same-for-all"}
    first = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
    for who in ("premium", "agent"):
        body = desk.request()
        if who == "agent":
            party = desk.parties["standard"]
            body |= {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
        response = await desk.call(who, "POST", "/v1/tickets", body, headers=headers)
        assert response.status_code == 201
        assert "Idempotency-Replayed" not in response.headers
        assert response.json()["id"] != first.json()["id"]


# ------------------------------------------------------------------------- who somebody is


async def test_an_answer_does_not_tell_whether_a_key_is_there(desk: Desk) -> None:
    """Neither by what it says, nor by what it did on the way."""
    known, secret = desk.keys["standard"].split("_")[1:]
    asked = [f"ke_{known}_{'0' * 64}", f"ke_{'0' * 16}_{secret}", f"ke_{'0' * 16}_{'0' * 64}"]
    told = [await desk.call(None, "GET", "/v1/me", headers={"Authorization": f"Bearer {key}"}) for key in asked]
    assert alike(told[0]) == alike(told[1]) == alike(told[2])
    assert told[0].status_code == 401


def test_keys_and_ids_cannot_be_guessed() -> None:
    made = [ids.new_key() for _ in range(1_000)]
    assert len({key.text for key in made}) == len({key.id for key in made}) == 1_000
    digits = Counter(digit for key in made for digit in key.text.rpartition("_")[2])
    assert set(digits) == set("0123456789abcdef")
    # 64,000 digits, each expected 4,000 times; seven deviations of 61 are 430.
    assert all(abs(count - 4_000) < 430 for count in digits.values())
    # An id tells its time, and 74 bits beside it that nobody can count on.
    tails = [ids.new_id().int & (2**62 - 1) for _ in range(1_000)]
    assert len(set(tails)) == 1_000
    assert len({abs(one - other) for one, other in itertools.pairwise(tails)}) > 990


async def test_no_key_lives_for_ever(desk: Desk) -> None:
    made = await desk.call("admin", "POST", "/v1/keys", {"name": "A program", "role": "automation"})
    assert made.json()["expires_at"] is not None
    endless = {"name": "A program", "role": "automation", "expires_at": None}
    assert (await desk.call("admin", "POST", "/v1/keys", endless)).json()["expires_at"] is not None


# ------------------------------------------------------------------------- what is sent


async def test_script_in_a_text_is_never_more_than_text(desk: Desk) -> None:
    ticket = await desk.open(subject=SCRIPT, description=SCRIPT)
    await desk.say("standard", ticket, SCRIPT)
    for path in ("", "/messages", "/events"):
        response = await desk.call("agent", "GET", f"/v1/tickets/{ticket['id']}{path}")
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/problems/{0}", "/docs?{0}", "/docs/{0}", "/{0}", "/v1/tickets/{0}", "/v1/tickets?{0}={0}"):
        assert IMAGE not in (await desk.call("agent", "GET", path.format(IMAGE))).text, path


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-URL"])
async def test_a_header_of_the_callers_leads_nobody_elsewhere(desk: Desk, name: str) -> None:
    """Every address that is answered begins with a slash, whatever host was asked."""
    evil = {name: "evil.example"}
    await desk.open()
    made = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=evil)
    page = await desk.call("standard", "GET", "/v1/tickets?limit=1", headers=evil)
    refused = await desk.call("standard", "GET", "/v1/nothing", headers=evil)
    assert made.headers["Location"].startswith("/v1/tickets/")
    assert page.headers["Link"].startswith("</v1/tickets?")
    assert refused.json()["type"] == "/problems/not_found"
    for response in (made, page, refused, await desk.call(None, "GET", "/docs", headers=evil)):
        assert "evil.example" not in response.text + repr(response.headers)


async def test_a_line_end_in_a_header_or_a_parameter_makes_no_header(desk: Desk) -> None:
    evil = "a\r\nSet-Cookie: b=c"
    for headers in ({"X-Request-Id": evil}, {"Idempotency-Key": evil}, {"If-Match": evil}, {"Origin": evil}):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
        assert not re.search(r"[\r\n]", "".join(response.headers.values())), headers
    await desk.open()
    await desk.open()
    for query in ({"channel": f"portal{evil}"}, {"updated_since": f"2026-01-01T00:00:00Z{evil}"}, {"limit": evil}):
        response = await desk.call("standard", "GET", "/v1/tickets", params={"limit": "1"} | query)
        assert not re.search(r"[\r\n]", "".join(response.headers.values())), query


async def test_no_cache_keeps_what_is_somebodys(desk: Desk, app: tuple[FastAPI, httpx.AsyncClient]) -> None:
    """What may be kept is the same for all, or for the caller's own browser alone."""
    ticket = await desk.open()
    for path in ("/v1/me", "/v1/tickets", f"/v1/tickets/{ticket['id']}", "/v1/clients", "/v1/contacts", "/v1/nothing"):
        for headers in ({}, {"Cache-Control": "max-age=600"}, {"X-Forwarded-Host": "evil.example"}):
            response = await desk.call("standard", "GET", path, headers=headers)
            assert response.headers["Cache-Control"] == "no-store", path
    for path in ("/v1/policy", "/v1/reference", "/v1/policy-versions/1", "/v1/calendars"):
        kept = (await desk.call("agent", "GET", path)).headers["Cache-Control"]
        assert kept == "no-store" or "private" in kept, (path, kept)


async def test_a_header_that_names_another_method_changes_none(desk: Desk) -> None:
    path = f"/v1/tickets/{(await desk.open())['id']}"
    told = await desk.get("standard", path)
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert await desk.get("standard", path, headers={name: "DELETE"}) == told


@pytest.mark.parametrize(
    ("framing", "answered"),
    [
        ("Content-Length: 5", 2),  # the control: two requests, one after the other
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 1),
        ("Content-Length: 5\r\nContent-Length: 50", 1),
        ("Transfer-Encoding: xchunked", 1),
        ("Content-Length: +5", 1),
        ("Content-Length: 5, 50", 1),
        ("Content-Length : 5", 1),
    ],
)
async def test_a_request_of_two_lengths_smuggles_no_other(
    app: tuple[FastAPI, httpx.AsyncClient], framing: str, answered: int
) -> None:
    """Whatever a proxy makes of it, one request is answered at most, and the connection ends."""
    async with served(app[0]) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        writer.write(f"POST /v1/tickets HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n".encode())
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        told = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
    assert (told.count(b"HTTP/1.1 "), told.count(b'"live"')) == (answered, answered - 1)


async def test_a_line_of_the_log_stays_one_line(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    log_at("info")
    try:
        evil = quote('a\u2028{"event": "answered"}')
        headers = {"X-Request-Id": 'a"\r\n{"event": "answered"}'}
        await desk.call("standard", "GET", f"/v1/{evil}\\n%22", headers=headers)
        await desk.call("standard", "GET", f"/v1/tickets?status={evil}%0A", headers=headers)
    finally:
        log_at("warning")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["answered", "answered"]


# ------------------------------------------------------------------------- how it is written


def test_nothing_that_is_read_can_become_code() -> None:
    """No pickle, no eval, no XML, and YAML is only ever written."""
    found = set[tuple[str, str]]()
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name.split(".")[0] for alias in node.names] if isinstance(node, ast.Import) else []
            names += [(node.module or "").split(".")[0]] if isinstance(node, ast.ImportFrom) else []
            names += [node.func.id] if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else []
            found |= {(path.name, name) for name in names if name in READERS}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
                found |= {(path.name, f"yaml.{node.attr}")}
    assert found == {("system.py", "yaml.safe_dump")}


@pytest.mark.parametrize("pattern", PATTERNS, ids=map(str, range(len(PATTERNS))))
def test_no_pattern_of_ours_takes_long_whatever_it_is_given(pattern: re.Pattern[str]) -> None:
    """One that goes back and forth takes seconds for a few dozen signs already."""
    for part, end, length in itertools.product(REPEATED, ("", "!", '"', "\n"), (26, 2_000)):
        text = part * (length // len(part)) + end
        began = time.process_time()
        pattern.search(text)
        pattern.fullmatch(text)
        assert time.process_time() - began < 0.5, (part, end)


def test_every_pattern_of_the_doors_is_among_them() -> None:
    text = "".join(path.read_text(encoding="utf-8") for folder in ("api", "db", "domain") for path in _modules(folder))
    assert len(re.findall(r": Final = re\.compile\(", text)) == len(PATTERNS) - 1


def _modules(folder: str) -> list[Any]:
    return sorted((ROOT / "app" / folder).rglob("*.py"))


async def test_the_page_of_a_problem_is_no_page_of_a_browsers(desk: Desk) -> None:
    for code in TITLES:
        page = await desk.call(None, "GET", f"/problems/{code}")
        assert (page.headers["Content-Type"], page.json()["code"]) == ("application/json", code)
