"""The front door: what isn't well-formed, small, strict JSON from somebody known goes no further."""

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.api import front_door
from app.db import ids, keys
from app.domain.events import Role
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import LONG_AGO, Desk, kl, running
from tests.conftest import addresses

JSON = {"Content-Type": "application/json"}
MALFORMED = {
    "nothing": b"{",
    "two values": b"{} {}",
    "not UTF-8": b'{"subject": "\xff"}',
    "UTF-16": '{"subject": "x"}'.encode("utf-16"),
    "a key twice": b'{"channel": "portal", "channel": "phone"}',
    "NaN": b'{"channel": NaN}',
    "Infinity": b'{"channel": -Infinity}',
    "too deep": b"[" * 5000 + b"]" * 5000,
    "deep": b'{"details": ' + b'{"a": ' * 30 + b"1" + b"}" * 31,
}
WRONG: dict[str, tuple[Any, str]] = {
    "an unknown field": ({"channel": "portal", "category": "incident", "zz": 1}, "/zz"),
    "a wrong type": ({"channel": 7, "category": "incident"}, "/channel"),
    "a missing field": ({"channel": "portal"}, "/category"),
    "a NUL": ({"channel": "portal", "category": "incident", "service": "a\0b"}, "/service"),
    "half a surrogate pair": ({"channel": "portal", "category": "incident", "service": "\ud800"}, "/service"),
    "half a surrogate pair in a key": ({"channel": "portal", "category": "incident", "\ud800": 1}, "/?"),
    "a direction character": ({"channel": "portal", "category": "incident", "service": "a\u202eb"}, "/service"),
    "a line end in a line": ({"channel": "portal", "category": "incident", "service": "a\nb"}, "/service"),
    "a control character": (
        {"channel": "portal", "category": "incident", "service": " \x07 "},
        "/service",
    ),
    "too long": ({"channel": "portal", "category": "incident", "service": "x" * 201}, "/service"),
    "a naive instant": ({"channel": "portal", "category": "incident", "as_of": "2026-01-05T10:00:00"}, "/as_of"),
    "a number for an instant": ({"channel": "portal", "category": "incident", "as_of": 1767578400}, "/as_of"),
    "the year 1": ({"channel": "portal", "category": "incident", "as_of": "0001-01-01T00:00:00Z"}, "/as_of"),
    "the year 9999": ({"channel": "portal", "category": "incident", "as_of": "9999-12-31T23:59:59-23:59"}, "/as_of"),
    "30 February": ({"channel": "portal", "category": "incident", "as_of": "2026-02-30T00:00:00Z"}, "/as_of"),
    "a huge integer": ({"channel": 2**63, "category": "incident"}, "/channel"),
    "an endless integer": ({"channel": 10**500, "category": "incident"}, "/channel"),
    "a bad id": ({"channel": "portal", "category": "incident", "client_id": "me"}, "/client_id"),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_well_formed_json_is_refused(desk: Desk, body: bytes) -> None:
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", content=body, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize(("body", "pointer"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_named_by_a_pointer_and_never_repeated(desk: Desk, body: Any, pointer: str) -> None:
    content = json.dumps(body).encode()
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", content=content, headers=JSON)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert "x" * 65 not in response.text


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
async def test_only_json_is_taken(desk: Desk, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_an_encoded_body_is_refused(desk: Desk) -> None:
    headers = JSON | {"Content-Encoding": "gzip"}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", content=b"{}", headers=headers)
    assert response.status_code == 415


async def test_a_large_body_is_refused(desk: Desk) -> None:
    content = b'{"service": "' + b"x" * 300_000 + b'"}'
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", content=content, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_parameters_that_are_unknown_or_repeated_are_refused(desk: Desk) -> None:
    response = await desk.call("standard", "GET", "/v1/tickets?statuss=new&limit=1&limit=2&channel=%00")
    assert sorted((error["pointer"], error["code"]) for error in response.json()["errors"]) == [
        ("/query/channel", "forbidden_character"),
        ("/query/limit", "repeated_parameter"),
        ("/query/statuss", "unknown_parameter"),
    ]
    for path in ("?limit=0", "?limit=201", "?limit=-1", "?limit=x", "?level=4", "?status=old", "?client_id=me"):
        assert (await desk.call("standard", "GET", f"/v1/tickets{path}")).status_code == 422


async def test_an_unknown_path_and_a_foreign_ticket_look_alike(desk: Desk) -> None:
    ticket = await desk.open("premium")
    answers = [
        await desk.call("standard", "GET", path)
        for path in (
            "/v1/nowhere",
            f"/v1/tickets/{ticket['id']}",
            f"/v1/tickets/{ticket['ref']}",
            f"/v1/tickets/{ids.new_id()}",
            "/v1/tickets/KE-2026-999999",
            f"/v1/tickets/{ticket['id']}/events",
            f"/v1/clients/{desk.parties['premium'].client_id}",
            "/v1/contacts/by-external-id/premium",
        )
    ]
    assert {response.status_code for response in answers} == {404}
    seen = {json.dumps({**response.json(), "request_id": ""}) for response in answers}
    assert len(seen) == 1


async def test_a_method_that_is_not_there_says_which_are(desk: Desk) -> None:
    response = await desk.call("standard", "DELETE", "/v1/tickets")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


async def test_head_and_options_are_answered(desk: Desk) -> None:
    head = await desk.call("standard", "HEAD", "/v1/tickets")
    assert (head.status_code, head.content) == (200, b"")
    options = await desk.call(None, "OPTIONS", "/v1/tickets")
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        "Bearer ke_0000000000000000_" + "0" * 64,
        "Bearer ke_" + "a" * 1_000_000,
    ],
    ids=["none", "empty", "no token", "no key", "another scheme", "an unknown key", "a megabyte"],
)
async def test_nobody_gets_in_without_a_key_that_is_known(desk: Desk, header: str | None) -> None:
    headers = {"Authorization": header} if header is not None else {}
    response = await desk.call(None, "GET", "/v1/tickets", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_with_a_wrong_secret_or_past_its_time_is_none(desk: Desk) -> None:
    key = desk.keys["agent"]
    desk.keys["forged"] = key[:-1] + ("0" if key[-1] != "0" else "1")
    await desk.key("expired", Role.AUDITOR, expires_at=kl("2026-01-05 10:00"))
    await desk.key("fresh", Role.AUDITOR, expires_at=kl("2026-01-05 10:00:01"))
    await desk.key("revoked", Role.AUDITOR, revoked_at=LONG_AGO)
    found = {name: await desk.call(name, "GET", "/v1/tickets") for name in ("forged", "expired", "revoked", "fresh")}
    assert {name: response.status_code for name, response in found.items()} == {
        "forged": 401, "expired": 401, "revoked": 401, "fresh": 200,
    }  # fmt: skip


async def test_a_request_id_is_taken_or_made_and_always_answered(desk: Desk) -> None:
    taken = await desk.call("standard", "GET", "/v1/nowhere", headers={"X-Request-Id": "my-id_1"})
    assert taken.headers["X-Request-Id"] == taken.json()["request_id"] == "my-id_1"
    for unfit in ("a b", "x" * 65, "a;b"):
        made = await desk.call("standard", "GET", "/v1/nowhere", headers={"X-Request-Id": unfit})
        assert made.headers["X-Request-Id"] == made.json()["request_id"] != unfit


async def test_a_contact_may_not_speak_for_another(desk: Desk) -> None:
    other = desk.parties["premium"]
    body = {"channel": "portal", "category": "incident", "client_id": str(other.client_id)}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", body)
    assert response.json()["errors"][0]["pointer"] == "/client_id"
    body = {"channel": "portal", "category": "incident", "contact_id": str(other.contact_id)}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", body)
    assert response.json()["errors"][0]["pointer"] == "/contact_id"


async def test_contacts_open_tickets_by_the_portal_only(desk: Desk) -> None:
    for who, channel, status in (
        ("standard", "email", 403),
        ("premium", "phone", 403),
        ("automation", "phone", 403),
        ("automation", "email", 201),
    ):
        body = desk.request(channel=channel, requested_priority="high" if channel == "phone" else "low")
        if who == "automation":
            party = desk.parties["premium"]
            body |= {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
        response = await desk.call(who, "POST", "/v1/tickets", body)
        assert response.status_code == status, response.text
        assert response.json().get("code") == (None if status == 201 else "act_forbidden")


async def test_large_answers_are_compressed_for_whoever_takes_that(desk: Desk) -> None:
    for accepted, coding in (
        ("gzip", "gzip"), ("gzip;q=0.5", "gzip"), ("identity", "identity"), ("br, gzip;q=0", "identity"),
        ("gzip; q=0.000, br", "identity"),
    ):  # fmt: skip
        response = await desk.call("agent", "GET", "/v1/policy", headers={"Accept-Encoding": accepted})
        assert response.headers.get("Content-Encoding", "identity") == coding
        assert response.json()["version"] == 1


async def test_a_slash_too_many_is_not_found_and_leads_nowhere_else(desk: Desk) -> None:
    response = await desk.call("standard", "GET", "/v1/tickets/")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_key_that_is_none_is_not_called_missing(desk: Desk) -> None:
    without = await desk.call(None, "GET", "/v1/tickets")
    wrong = await desk.call(None, "GET", "/v1/tickets", headers={"Authorization": "Bearer x"})
    assert without.json()["detail"].startswith("No credential came")
    assert wrong.json()["detail"].startswith("This is no token of an issuer that is believed here. Or send an API key")


async def test_a_refusal_is_never_larger_than_what_was_refused(desk: Desk) -> None:
    name, wrong = "~" * 64, "[" + ",".join(["1" + "0" * 24] * 9_000) + "]"
    for _ in range(18):
        wrong = f'{{"{name}":{wrong}}}'
    response = await desk.call("standard", "POST", "/v1/tickets", content=wrong.encode(), headers=JSON)
    assert (response.status_code, len(response.json()["errors"])) == (422, 100)
    assert len(response.content) < len(wrong)
    unknown = json.dumps({f"f{number}": 1 for number in range(2_000)}).encode()
    fields = await desk.call("standard", "POST", "/v1/eligibility-checks", content=unknown, headers=JSON)
    query = await desk.call(None, "GET", "/livez?" + "&".join(f"q{number}" for number in range(2_000)))
    assert [len(response.json()["errors"]) for response in (fields, query)] == [100, 100]


async def test_an_address_with_control_characters_or_without_end_is_not_found(desk: Desk) -> None:
    key = {"Idempotency-Key": "k1"}
    for path in ("/v1/tickets/%00/messages", "/livez%0a", "/v1/tickets/%0c", "/v1/tickets/" + "-" * 2_000):
        response = await desk.call("standard", "POST", path, {"text": "x"}, headers=key)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_an_id_is_taken_only_as_it_is_written(desk: Desk) -> None:
    ticket = await desk.open()
    own = str(ticket["id"])
    arabic = own.translate({ord(digit): chr(0x0660 + int(digit)) for digit in "0123456789"})
    for name in (
        own.replace("-", ""),
        "{" + own + "}",
        "urn:uuid:" + own,
        own[:8] + "--" + own[9:],
        arabic,
        "\u2003" + own[1:],
    ):
        for part in ("", "/events?limit=1"):
            response = await desk.call("standard", "GET", f"/v1/tickets/{quote(name)}{part}")
            assert response.status_code == 404, name
    assert (await desk.get("standard", f"/v1/tickets/{own.upper()}"))["id"] == own


async def test_a_client_reads_their_own_questions_and_refused_tickets_not_what_staff_asked(desk: Desk) -> None:
    party = desk.parties["standard"]
    whose = {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
    words = {"channel": "phone", "category": "incident", "description": "staff words about the caller"}
    asked = (await desk.call("agent", "POST", "/v1/eligibility-checks", whose | words)).json()
    refused = await desk.call("agent", "POST", "/v1/tickets", desk.request(**whose, channel="phone"))
    own = (
        await desk.call("standard", "POST", "/v1/eligibility-checks", {"channel": "portal", "category": "question"})
    ).json()
    seen = {item["id"] for item in (await desk.get("standard", "/v1/eligibility-checks"))["items"]}
    assert seen == {own["id"], refused.json()["decision"]["id"]}
    assert (await desk.call("standard", "GET", f"/v1/eligibility-checks/{asked['id']}")).status_code == 404


async def test_a_fault_of_ours_can_be_read_by_the_portals_browser(
    app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = "https://portal.example"
    async with running(create_app(Settings(**addresses(app_url), cors_origins=origin))) as http:
        monkeypatch.setattr(keys, "credential", None)
        headers = {"Origin": origin, "Authorization": "Bearer ke_" + "0" * 16 + "_" + "0" * 64}
        response = await http.get("/v1/tickets", headers=headers)
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("path", ["/v1/tickets/KE-2026-000001/resume", "/v1/keys/0000000000000000/revoke"])
async def test_a_body_where_none_is_taken_is_refused_by_field(desk: Desk, path: str) -> None:
    given = await desk.call("admin", "POST", path, {"reason": "It would be ignored.", "a/b": 1})
    assert (given.status_code, [error["pointer"] for error in given.json()["errors"]]) == (422, ["/reason", "/a~1b"])
    for nothing in ({}, None):
        assert (await desk.call("admin", "POST", path, nothing)).status_code == 404
    assert (await desk.call("admin", "POST", path, [1])).json()["errors"][0]["pointer"] == ""


async def test_whoever_is_not_known_is_told_so_before_their_body_is_read(desk: Desk) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (b"{", b"[" * 100_000, b" " * 300_000):
        refused = await desk.call(None, "POST", "/v1/tickets", content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    refused = await desk.call(None, "POST", "/v1/tickets", content=never(), headers=headers)
    assert refused.status_code == 401


@pytest.mark.parametrize(("count", "status"), [(9_990, 422), (10_001, 400)])
async def test_a_body_of_very_many_values_is_refused_at_once(desk: Desk, count: int, status: int) -> None:
    refused = await desk.call("standard", "POST", "/v1/tickets", {"subject": [1] * count})
    assert refused.status_code == status


async def test_hanging_up_is_nobodys_fault(desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], capsys: Any) -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    headers = {"content-type": "application/json", "authorization": f"Bearer {desk.keys['standard']}"}
    headers["content-length"] = "2"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/tickets", "raw_path": b"/v1/tickets", "query_string": b"", "root_path": "", "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("desk.test", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    answered = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        answered.append(message)

    await app[0](scope, receive, send)
    assert answered == []
    assert "Traceback" not in capsys.readouterr().out


async def test_an_answer_comes_in_time_however_long_the_database_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "ANSWER_SECONDS", 0.2)
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            answer = await desk.call("agent", "GET", "/v1/tickets")
            assert time.monotonic() - began < 1.5
    finally:
        await connection.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"
    monkeypatch.undo()
    assert (await desk.call("agent", "GET", "/v1/tickets")).status_code == 200


async def test_the_description_says_what_if_match_has_to_be(desk: Desk) -> None:
    """Required where a change without it is 428, and written as it is read."""
    paths = (await desk.call(None, "GET", "/openapi.json")).json()["paths"]
    found = [
        (method, parameter)
        for operations in paths.values()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "if-match"
    ]
    assert {method for method, parameter in found if parameter["required"]} == {"patch"}
    assert {method for method, parameter in found if not parameter["required"]} == {"post", "put"}
    (pattern,) = {parameter["schema"]["pattern"] for _, parameter in found}
    path = f"/v1/tickets/{(await desk.open())['id']}/acknowledge"
    for tag in ('"1"', "*", '"1", W/"2"', ' "1" ,"2" ', "1", '"', "", '"1",', '"1" "2"', '"é"'):
        response = await desk.call("agent", "POST", path, headers={"If-Match": tag.encode()})
        assert (re.search(pattern, tag) is None) == (response.status_code == 422), tag


async def test_every_answer_is_described_with_the_header_that_it_carries(desk: Desk) -> None:
    document = (await desk.call(None, "GET", "/openapi.json")).json()
    answers = [
        answer
        for operations in document["paths"].values()
        for operation in operations.values()
        for answer in operation["responses"].values()
    ]
    always = document["components"]["headers"]["X-Request-Id"]
    assert always["required"]
    assert all(answer["headers"]["X-Request-Id"] == {"$ref": "#/components/headers/X-Request-Id"} for answer in answers)
