"""Every operation and every error, once over HTTP: what the checked-in examples say is what happens.

`UPDATE_EXAMPLES=1` writes them anew.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import yaml
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from limits import parse
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.responses import Response

from app.api import acting, front_door, system
from app.api.deps import Allowed
from app.api.errors import TITLES
from app.api.front_door import Route, route_of
from app.db import statements
from app.db import tickets as stored_tickets
from app.domain.events import Role
from app.domain.policy import Tier
from app.main import UndeclaredOperationError, create_app, require_declared
from app.outside import identity
from app.outside.identity import IssuerUnavailableError
from app.settings import Settings
from tests.api.conftest import AUDIT_PUBLIC_KEY, Desk, running
from tests.api.test_audit import sealer, settled
from tests.conftest import ROOT, addresses

EXAMPLES = ROOT / "app" / "api" / "examples.json"
ERRORS = ROOT / "tests" / "api" / "errors.json"
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CHANGING = [
    (re.compile(r"KE-2026-\d{6}"), "KE-2026-000001"),
    (re.compile(r'"tzdata": "\w+"'), '"tzdata": "2026f"'),
    (re.compile(r'"fingerprint": "[0-9a-f]{64}"'), '"fingerprint": "' + "0" * 64 + '"'),
    (re.compile(r'"(position|since|until|events|entries|checkpoints)": \d+'), r'"\1": 1'),
    (re.compile(r'"digest": "[^"]+"'), '"digest": "' + "0" * 64 + '"'),
    (re.compile(r'"signature": "[^"]+"'), '"signature": "AAAA"'),
    (re.compile(r'"sealed_at": "[^"]+"'), '"sealed_at": "2026-01-05T02:30:00Z"'),
    (re.compile(r'"request_id": "[^"]+"'), '"request_id": "' + "0" * 32 + '"'),
    (re.compile(r'"next_cursor": "[^"]+"'), '"next_cursor": "AAAA"'),
    (re.compile(r'"calendar_revision": \d+'), '"calendar_revision": 1'),
    (re.compile(r'"last_sweep_at": "[^"]+"'), '"last_sweep_at": null'),
    (re.compile(r"ke_[0-9a-f]{16}_[0-9a-f]{64}"), f"ke_{'0' * 16}_{'0' * 64}"),
    (re.compile(r'(?<=")[0-9a-f]{16}(?=")'), "0" * 16),
]


def steady(value: Any) -> Any:
    """The same without what differs from run to run: ids in the order of their appearance, seals, releases."""
    text = json.dumps(value, ensure_ascii=False)
    seen: dict[str, str] = {}
    for found in UUIDS.findall(text):
        seen.setdefault(found, f"01900000-0000-7000-8000-{len(seen) + 1:012}")
    text = UUIDS.sub(lambda match: seen[match[0]], text)
    for pattern, fixed in CHANGING:
        text = pattern.sub(fixed, text)
    return json.loads(text)


def compare(path: Path, found: Any) -> None:
    text = json.dumps(steady(found), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_EXAMPLES"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


class Recorder:
    """Calls operations by their ids and keeps what went over the wire."""

    def __init__(self, desk: Desk, document: dict[str, Any]) -> None:
        self.desk, self.kept = desk, {}
        self.operations = {
            operation["operationId"]: (path, method)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self.described = {
            operation["operationId"]: operation["responses"]
            for methods in document["paths"].values()
            for operation in methods.values()
        }

    async def __call__(
        self, operation_id: str, who: str | None, query: str = "", body: Any = None, *, if_match: str = "", **ids: str
    ) -> Any:
        template, method = self.operations[operation_id]
        path = template.format(**ids) + (f"?{query}" if query else "")
        headers = {"if-match": if_match} if if_match else {}
        response = await self.desk.call(who, method.upper(), path, body, headers=headers)
        assert response.status_code < 300, response.text
        described = self.described[operation_id][str(response.status_code)]["headers"].keys()
        sent = {name for name in ("ETag", "Location") if name in response.headers}
        assert described & {"ETag", "Location"} == sent, operation_id
        parameters = ids | dict(parse_qsl(query)) | headers
        entry: dict[str, Any] = {"parameters": parameters, "status": response.status_code}
        if body is not None:
            entry["body"] = body
        entry["response"] = response.json() if response.content else None
        self.kept[operation_id] = entry
        return entry["response"]


async def every_operation(call: Recorder, desk: Desk) -> None:
    standard = desk.parties["standard"]
    ticket = await call("create_ticket", "standard", body=desk.request())
    await desk.at("2026-01-05 10:30:00")
    message = {"text": "We have found the cause and are mending it.", "visibility": "public"}
    await call("acknowledge", "agent", body={"text": "We are looking into it."}, ticket_id=ticket["id"])
    await call("send_message", "agent", body=message, ticket_id=ticket["id"])
    for name in ("get_ticket", "get_ticket_clocks", "get_ticket_acts"):
        await call(name, "standard", ticket_id=ticket["id"])
    await call("list_ticket_events", "standard", "limit=3", ticket_id=ticket["id"])
    await call("list_messages", "standard", ticket_id=ticket["id"])
    await call("list_tickets", "agent", "status=new,open&include=clocks,acts&limit=5")
    await the_acts(call, desk)
    check = {
        "client_id": str(standard.client_id), "channel": "phone", "category": "incident",
        "requested_priority": "normal", "as_of": "2026-01-10T12:00:00+08:00",
    }  # fmt: skip
    decision = await call("check_eligibility", "agent", body=check)
    await call("get_eligibility_check", "agent", check_id=decision["id"])
    await call("list_eligibility_checks", "agent", "outcome=denied&limit=1")
    goodwill = {"reason": "Their renewal to premium was signed yesterday."}
    await call("override_eligibility_check", "lead", body=goodwill, check_id=decision["id"])
    calendar = await call(
        "create_calendar",
        "lead",
        body={
            "name": "New York desk",
            "timezone": "America/New_York",
            "weekly_hours": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
            "exceptions": [
                {"date": "2026-12-24", "name": "Christmas Eve", "hours": [["09:00", "13:00"]]},
                {"date": "2026-12-25", "name": "Christmas", "hours": []},
            ],
        },
    )
    own = {"calendar_id": calendar["id"]}
    await call("get_calendar", "agent", **own)
    await call("get_calendar_open", "agent", "as_of=2026-03-06T17:00:00-05:00", **own)
    await call("get_calendar_due", "agent", "start=2026-03-06T17:00:00-05:00&seconds=7200&base=business_hours", **own)
    spring = "start=2026-03-06T17:00:00-05:00&end=2026-03-09T10:00:00-04:00&base=business_hours"
    await call("get_calendar_elapsed", "agent", spring, **own)
    await call("list_calendars", "agent", "limit=1")
    holiday = {"date": "2026-11-26", "name": "Thanksgiving", "hours": []}
    await call("add_calendar_exception", "lead", body=holiday, **own)
    await call("list_calendar_exceptions", "agent", **own)
    await call("remove_calendar_exception", "lead", date="2026-11-26", **own)
    await the_policy(call)
    await the_directory(call)
    await the_keys(call)
    me = await call("get_me", "standard")
    phone = {"phone": "+60 12 345 6789"}
    await call("change_contact", "standard", body=phone, if_match='"1"', contact_id=me["contact_id"])
    await call("confirm_contact", "standard", contact_id=me["contact_id"])
    await call("get_availability", "standard", "as_of=2026-01-10T12:00:00%2B08:00")
    await call("get_reference", "standard")
    await call("livez", None)
    await call("readyz", None)
    await call("get_problem", None, code="not_eligible")
    await call("set_test_clock", "admin", body={"now": "2026-01-05T04:30:00Z"})
    await call("sweep", "admin")
    await call("clear_test_clock", "admin")


async def the_acts(call: Recorder, desk: Desk) -> None:
    ticket = await desk.open(subject="The checkout takes a minute")
    own = {"ticket_id": ticket["id"]}
    agents = (await desk.get("lead", "/v1/agents"))["items"]
    specialist = next(agent["id"] for agent in agents if agent["name"] == "agent3")
    why = {"priority": "high", "reason": "Orders are lost, but not all of them."}
    await call("prioritize", "agent", body=why, **own)
    await call("classify", "agent", body={"complexity": "complex", "reason": "It needs the payment provider."}, **own)
    await call("assign", "agent", body={"assignee_id": specialist}, **own)
    soon = {"expected_at": "2026-01-08T17:00:00+08:00", "text": "The provider answers by Thursday."}
    await call("expect_resolution", "agent2", body=soon, **own)
    await call("request_details", "agent2", body={"text": "Which browser do your customers use?"}, **own)
    await call("resume", "agent2", **own)
    await call("request_escalation", "standard", body={"text": "Our campaign starts tomorrow."}, **own)
    granted = {"decision": "granted", "text": "Our senior staff take over today."}
    await call("decide_escalation", "lead", body=granted, **own)
    await call("deescalate", "lead", body={"reason": "The provider has found the cause."}, **own)
    await call("escalate", "lead", body={"reason": "The cause was another one."}, **own)
    await call("preview_escalation_rules", "agent", **own)
    version = (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["version"]
    details = {"since": "Monday morning", "where": "the checkout", "impact": "every second order is given up"}
    await call("amend_ticket", "standard", body={"details": details}, if_match=f'"{version}"', **own)
    solved = {"resolution": "fixed", "text": "The provider has mended their side; orders take two seconds again."}
    await call("resolve", "agent3", body=solved, **own)
    await call("put_feedback", "standard", body={"rating": 5, "comment": "Quick in the end."}, **own)
    await call("get_feedback", "agent", **own)
    await call("reopen", "standard", body={"reason": "It is slow again this morning."}, **own)
    await call("withdraw", "standard", body={"reason": "It was our own network, sorry."}, **own)
    other = {"ticket_id": (await desk.open(subject="A shop in three languages"))["id"]}
    verdict = {
        "exclusion": "feature_additions",
        "text": "A second language is a new feature, which support does not include.",
        "alternative": "We gladly make you an offer for it.",
    }
    await call("mark_out_of_scope", "agent", body=verdict, **other)
    await call("dispute", "standard", body={"text": "The languages are in our contract, see page 4."}, **other)
    await desk.act("agent", {"id": other["ticket_id"]}, "resolve", resolution="answered", text="You are right.")
    await call("close", "standard", body={"reason": "Thank you."}, **other)


async def the_policy(call: Recorder) -> None:
    await call("get_policy", "standard", "as_of=2026-01-05T10:00:00%2B08:00")
    document = await call("get_policy_document", "agent", number="1")
    next_one = document | {"version": 2, "effective_from": "2026-07-01"}
    await call("publish_policy_version", "admin", body=next_one)
    await call("list_policy_versions", "standard", "limit=1")
    await call("get_policy_version", "standard", number="2")
    await call("take_back_policy_version", "admin", number="2")
    await call("acknowledge_policy", "standard", body={"policy_version": 1})
    await call("list_policy_acknowledgements", "agent", "policy_version=1")


async def the_directory(call: Recorder) -> None:
    client = await call("put_client", "lead", body={"name": "Kopitiam Digital Sdn Bhd"}, external_id="crm-1042")
    person = {"client_id": client["id"], "name": "Mei Ling", "email": "mei.ling@client.example", "role": "client_admin"}
    contact = await call("put_contact", "lead", body=person, external_id="portal-77")
    contract = {"client_id": client["id"], "name": "Website care 2026", "assets": ["shop.example"], "services": None}
    agreement = await call("put_agreement", "lead", body=contract, external_id="sign-2026-9")
    facts = {"client_id": client["id"], "agreement_id": agreement["id"], "tier": "standard", "starts_on": "2026-01-01"}
    plan = await call("put_subscription", "lead", body=facts, external_id="billing-311")
    for noun, entry, name in (
        ("client", client, "crm-1042"),
        ("contact", contact, "portal-77"),
        ("agreement", agreement, "sign-2026-9"),
        ("subscription", plan, "billing-311"),
    ):
        await call(f"get_{noun}", "lead", **{f"{noun}_id": entry["id"]})
        await call(f"get_{noun}_by_external_id", "lead", external_id=name)
        await call(f"list_{noun}s", "lead", "limit=1")
    helper = {"name": "Nadia Specialist", "email": "nadia@kawan.example", "role": "agent", "level": 2, "on_call": True}
    agent = await call("create_agent", "admin", body=helper)
    await call("get_agent", "admin", agent_id=agent["id"])
    await call("change_agent", "lead", body={"level": 3}, if_match='"1"', agent_id=agent["id"])
    await call("list_agents", "admin", "limit=1")


async def the_keys(call: Recorder) -> None:
    wish = {"name": "The nightly sync", "role": "automation", "scopes": ["directory:read", "directory:write"]}
    key = await call("create_key", "admin", body=wish)
    await call("list_keys", "auditor", "limit=1")
    await call("rotate_key", "admin", body={"overlap_seconds": 3_600}, key_id=key["id"])
    await call("revoke_key", "admin", key_id=key["id"])
    await call("get_key", "auditor", key_id=key["id"])
    await settled(call.desk, sealer())
    await call("list_audit_entries", "auditor", "subject=key&limit=1")
    await call("list_audit_checkpoints", "auditor", "limit=1")
    await call("verify_audit", "auditor", "after=0")


async def test_every_operation_answers_as_its_example_says(desk: Desk, app: tuple[FastAPI, httpx.AsyncClient]) -> None:
    record = Recorder(desk, app[0].openapi())
    await every_operation(record, desk)
    assert record.kept.keys() == record.operations.keys()
    compare(EXAMPLES, record.kept)


async def every_error(desk: Desk, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # noqa: PLR0915  # one after the other
    kept: dict[str, Any] = {}

    async def fail(who: str | None, method: str, path: str, body: Any = None, **more: Any) -> None:
        response = await desk.call(who, method, path, body, **more)
        problem = response.json()
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.status_code == problem["status"]
        assert problem["code"] not in kept, problem
        kept[problem["code"]] = {"request": {"method": method, "path": path, "as": who}, "response": problem}

    key = {"Idempotency-Key": "example"}
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    check = (
        await desk.call("standard", "POST", "/v1/eligibility-checks", {"channel": "portal", "category": "incident"})
    ).json()
    await desk.open(eligibility_check_id=check["id"])
    broken = {"content": b'{"channel": ', "headers": {"Content-Type": "application/json"}}
    await fail("standard", "POST", "/v1/tickets", **broken)
    await fail(None, "GET", "/v1/tickets")
    await fail("standard", "POST", "/v1/agents", {"name": "Me", "email": "me@client.example"})
    await fail("lapsed", "POST", "/v1/tickets", desk.request())
    await fail("standard", "POST", f"{path}/acknowledge", {})
    await fail("premium", "GET", path)
    await fail("standard", "DELETE", "/v1/tickets")
    await desk.call("agent", "POST", f"{path}/acknowledge", {})
    await fail("agent", "POST", f"{path}/acknowledge", {})
    await fail("standard", "POST", "/v1/tickets", desk.request(eligibility_check_id=check["id"]))
    await fail("lead", "POST", "/v1/agents", {"name": "Again", "email": "agent@kawan.example"})
    person = {"client_id": str(desk.parties["premium"].client_id), "name": "Me", "email": "me@client.example"}
    await fail("lead", "PUT", "/v1/contacts/by-external-id/standard", person)
    party = desk.parties["standard"]
    plan = {"client_id": str(party.client_id), "agreement_id": str(party.agreement_id), "tier": "premium"}
    await fail("lead", "PUT", "/v1/subscriptions/by-external-id/second", plan | {"starts_on": "2026-02-01"})
    await fail("agent", "POST", f"{path}/acknowledge", {}, headers={"If-Match": '"1"'})
    large = {"content": b" " * 300_000, "headers": {"Content-Type": "application/json"}}
    await fail("standard", "POST", "/v1/tickets", **large)
    await fail("standard", "POST", "/v1/tickets", content=b"x", headers={"Content-Type": "text/plain"})

    async def drop_by_drop() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.05)

    with monkeypatch.context() as patched:
        patched.setattr(front_door, "BODY_SECONDS", 0.1)
        await fail("standard", "POST", "/v1/tickets", content=drop_by_drop(), headers=large["headers"])
    await fail("standard", "POST", "/v1/tickets", desk.request(subject="", channel="fax"))
    with monkeypatch.context() as patched:
        patched.setattr(app.state.runtime.limits, "_rate", parse("1/hour"))
        await desk.call("lapsed", "GET", "/v1/me")
        await fail("lapsed", "GET", "/v1/me")
    early = {"channel": "portal", "category": "question", "as_of": "2020-01-01T00:00:00Z"}
    await fail("standard", "POST", "/v1/eligibility-checks", early)
    calendar = (await desk.get("agent", "/v1/calendars?limit=1"))["items"][0]["id"]
    due = f"/v1/calendars/{calendar}/due?start=2099-12-31T00:00:00Z&seconds=864000&base=calendar"
    await fail("agent", "GET", due)
    await fail("agent", "GET", f"/v1/calendars/{calendar}/elapsed?start=2000-01-01T00:00:00Z&end=2099-01-01T00:00:00Z")
    never = {"name": "Never", "timezone": "UTC", "weekly_hours": {"mon": []}}
    await fail("lead", "POST", "/v1/calendars", never)
    await fail("standard", "GET", "/v1/tickets?cursor=AAAA")
    await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=key)
    await fail("standard", "POST", "/v1/tickets", desk.request(subject="Another"), headers=key)

    async def raising(error: Exception, target: Any, name: str, *call: Any, **more: Any) -> None:
        async def broken(*_: Any) -> Any:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(target, name, broken)
            await fail(*call, **more)

    await desk.key("limited", Role.AUTOMATION, scopes=["tickets:write"])
    await fail("limited", "GET", "/v1/tickets")
    away = IssuerUnavailableError()
    await raising(away, identity.Issuers, "identify", None, "GET", "/v1/me", headers={"Authorization": "Bearer a.b.c"})
    lost = statements.LockTimeoutError()
    fresh = {"headers": {"Idempotency-Key": "busy"}}
    await raising(lost, stored_tickets, "add", "standard", "POST", "/v1/tickets", desk.request(), **fresh)
    await raising(statements.DatabaseUnavailableError(), stored_tickets, "get", "agent", "GET", path)
    await raising(ZeroDivisionError(), acting, "seen", "agent", "GET", path)

    await acts_that_fail(desk, fail)
    await policies_that_fail(desk, fail)

    async def never_first(*_: Any) -> bool:
        return False

    with monkeypatch.context() as patched:
        patched.setattr(stored_tickets, "save", never_first)
        await fail("agent", "POST", f"{path}/messages", {"text": "Hello"})
    return kept


async def acts_that_fail(desk: Desk, fail: Any) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    await fail("standard", "PATCH", path, {"outage_statement": "All is down."})
    await fail("agent", "POST", f"{path}/classify", {"complexity": "standard", "reason": "It is."})
    for _ in range(2):
        await desk.act("lead", ticket, "escalate", reason="It is hard.")
    await fail("lead", "POST", f"{path}/escalate", {"reason": "It is very hard."})
    agents = (await desk.get("lead", "/v1/agents"))["items"]
    junior = next(agent["id"] for agent in agents if agent["name"] == "agent")
    await fail("lead", "POST", f"{path}/assign", {"assignee_id": junior})
    verdict = {"exclusion": "upgrades", "text": "It is an upgrade.", "alternative": "An offer."}
    await desk.act("lead", ticket, "mark-out-of-scope", **verdict)
    await desk.act("standard", ticket, "dispute", text="It is not.")
    await desk.act("lead", ticket, "mark-out-of-scope", **verdict)
    await fail("standard", "POST", f"{path}/dispute", {"text": "It still is not."})
    other = await desk.open()
    await desk.act("agent", other, "resolve", resolution="fixed", text="Done.")
    await desk.at("2026-01-12 10:00:00")
    await fail("standard", "POST", f"/v1/tickets/{other['id']}/messages", {"text": "It is back."})


async def policies_that_fail(desk: Desk, fail: Any) -> None:
    await fail("admin", "POST", "/v1/policy-versions/1/take-back")
    document = await desk.get("agent", "/v1/policy-versions/1/document")
    later = document | {"effective_from": "2026-07-01"}
    assert (await desk.call("admin", "POST", "/v1/policy-versions", later | {"version": 2})).status_code == 201
    await fail("admin", "POST", "/v1/policy-versions", later | {"version": 3})
    check = await desk.call("standard", "POST", "/v1/eligibility-checks", {"channel": "portal", "category": "incident"})
    path = f"/v1/eligibility-checks/{check.json()['id']}/override"
    await fail("lead", "POST", path, {"reason": "Goodwill."})


async def test_every_error_code_has_its_example(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await every_error(desk, app[0], monkeypatch)
    assert kept.keys() == TITLES.keys()
    compare(ERRORS, dict(sorted(kept.items())))


def described() -> dict[str, Any]:
    return create_app(Settings(database_url=None, test_clock=True)).openapi()


def test_the_checked_in_description_is_the_applications() -> None:
    assert (ROOT / "openapi.yaml").read_text(encoding="utf-8") == system.as_yaml(described())


def test_the_description_is_valid_openapi() -> None:
    document = described()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_operation_is_named_described_and_illustrated() -> None:
    seen: set[str] = set()
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["operationId"] not in seen, where
            seen.add(operation["operationId"])
            assert operation["description"], where
            assert {"422", "503"} <= operation["responses"].keys(), where
            if "security" in operation:
                assert {"401", "403"} <= operation["responses"].keys(), where
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["example"] is not None, where
                assert {"400", "413", "415"} <= operation["responses"].keys(), where
            for status, response in operation["responses"].items():
                if status >= "400" and operation["operationId"] != "readyz":
                    assert list(response["content"]) == ["application/problem+json"], where
            good = [response for status, response in operation["responses"].items() if status < "300"]
            if operation["operationId"] != "clear_test_clock":
                assert any("example" in response["content"]["application/json"] for response in good), where


@pytest.mark.parametrize(
    ("route_class", "dependencies"),
    [
        (Route, []),
        (Route, [Depends(Allowed(Role.ADMIN))]),
        (route_of("tickets"), []),
        (APIRoute, [Depends(Allowed(Role.ADMIN))]),
    ],
    ids=["nothing", "roles alone", "an area alone", "no route of ours"],
)
def test_an_operation_that_does_not_say_who_may_call_it_stops_the_start(
    route_class: type[APIRoute], dependencies: list[Any]
) -> None:
    router = APIRouter(route_class=route_class, dependencies=dependencies)

    @router.get("/open-by-oversight")
    async def oversight() -> Response: ...

    with pytest.raises(UndeclaredOperationError, match="oversight"):
        require_declared([route for route in router.routes if isinstance(route, APIRoute)])


def test_yaml_and_json_describe_the_same() -> None:
    assert yaml.safe_load(system.as_yaml(described())) == json.loads(json.dumps(described()))


async def test_the_documentation_page_loads_nothing_from_elsewhere(desk: Desk) -> None:
    page = await desk.call(None, "GET", "/docs")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert page.status_code == 200
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert (await desk.call(None, "GET", address)).status_code == 200


@pytest.mark.parametrize(
    "settings", [{"docs": False}, {"host": "192.168.1.20"}, {"environment": "production"}], ids=str
)
async def test_the_documentation_page_is_not_there_where_others_may_call(
    settings: dict[str, Any], desk: Desk, app_url: str
) -> None:
    sealed = {"audit_public_keys": AUDIT_PUBLIC_KEY}
    async with running(create_app(Settings(**addresses(app_url), **sealed, **settings))) as http:
        for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/static-offline-docs/swagger-ui.css"):
            page = await http.get(path)
            assert (page.status_code, page.json()["code"]) == (404, "not_found"), path
        for path in ("/openapi.json", "/openapi.yaml"):
            assert (await http.get(path)).status_code == 200, path


async def test_the_test_clock_is_not_there_unless_asked_for(app_url: str) -> None:
    document = create_app(Settings(**addresses(app_url))).openapi()
    assert not {"/v1/test-clock", "/v1/sweeps"} & document["paths"].keys()


async def test_a_client_admin_sees_the_whole_client_and_a_contact_only_their_own(desk: Desk) -> None:
    party = await desk.client("boss", role=Role.CLIENT_ADMIN, tier=Tier.STANDARD)
    ticket = await desk.open("boss")
    assert (await desk.get("boss", "/v1/tickets"))["items"][0]["id"] == ticket["id"]
    assert ticket["client_id"] == str(party.client_id)
    assert (await desk.get("standard", "/v1/tickets"))["items"] == []
