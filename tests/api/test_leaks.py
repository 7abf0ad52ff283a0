"""Nothing leaks: what is another client's looks like what isn't there, and what is the house's is read by nobody else.

Generated from the description of the API: every operation, every place for an id, each role of a client.
"""

import ast
import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from app.db import ids
from tests.api.conftest import Desk
from tests.api.test_access import QUERIES
from tests.api.test_acts import BODIES, WHY, a_boss
from tests.conftest import ROOT

SAME_FOR_ALL = {"date", "x-request-id", "content-length"}
LATEST = "2026-01-05"


class Place(NamedTuple):
    """Where an operation takes an id: in its path, its query or its body."""

    operation: str
    method: str
    path: str
    inside: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation}-{self.inside}-{self.name}"


def places(document: Mapping[str, Any]) -> Iterator[Place]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found = [
                (entry["in"], entry["name"]) for entry in operation.get("parameters", ()) if entry["in"] != "header"
            ]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            for part in (body, *body.get("anyOf", ())):
                name = part.get("$ref", "").rpartition("/")[2]
                found += [
                    ("body", field) for field in document["components"]["schemas"].get(name, {}).get("properties", {})
                ]
            for inside, name in found:
                if re.search(r"_id$|^follow_up_of$", name):
                    yield Place(operation["operationId"], method.upper(), path, inside, name)


@pytest.fixture
async def scene(desk: Desk, app: tuple[FastAPI, httpx.AsyncClient]) -> dict[str, tuple[str, str]]:
    """For each name of an id one that is there and the caller may not know of, and one that isn't there."""
    await a_boss(desk)
    theirs, party = await desk.open("premium"), desk.parties["premium"]
    question = {"channel": "portal", "category": "incident"}
    check = (await desk.call("premium", "POST", "/v1/eligibility-checks", question)).json()["id"]
    plan = (await desk.get("premium", "/v1/subscriptions"))["items"][0]
    agents = (await desk.get("admin", "/v1/agents"))["items"]
    calendar = (await desk.get("admin", "/v1/calendars"))["items"][0]["id"]
    foreign = {
        "ticket_id": theirs["id"], "follow_up_of": theirs["id"], "check_id": check, "eligibility_check_id": check,
        "client_id": str(party.client_id), "contact_id": str(party.contact_id),
        "agreement_id": str(party.agreement_id), "subscription_id": plan["id"], "agent_id": agents[0]["id"],
        "assignee_id": agents[0]["id"], "calendar_id": calendar, "actor_id": agents[0]["id"], "subject_id": plan["id"],
    }  # fmt: skip
    found = {name: (value, str(ids.new_id())) for name, value in foreign.items()}
    found["ref"] = (theirs["ref"], "KE-2026-999999")
    found["key_id"] = (desk.keys["premium"].split("_")[1], "0" * 16)
    found["asset_id"] = ("theirs.example", "nobodys.example")
    for noun in ("clients", "contacts", "agreements", "subscriptions"):
        known = (await desk.get("premium", f"/v1/{noun}"))["items"][0]["external_id"]
        found[f"external_id of {noun}"] = (known, known[:-1] + ("0" if known[-1] != "0" else "1"))
    return found


def names_of(place: Place) -> tuple[str, ...]:
    if place.name == "external_id":
        return (f"external_id of {place.path.split('/')[2]}",)
    return (place.name, "ref") if place.name in {"ticket_id", "follow_up_of"} else (place.name,)


async def ask(desk: Desk, who: str, place: Place, value: str, own: Mapping[str, str]) -> httpx.Response:
    values = dict(own)
    body: Any = BODIES.get(place.operation.replace("_", "-"), {})
    if place.operation == "create_ticket":
        body = desk.request()
    elif place.operation == "check_eligibility":
        body = {"channel": "portal", "category": "incident"}
    elif place.operation == "send_message":
        body = BODIES["reply"]
    elif place.operation == "amend_ticket":
        body = BODIES["amend"]
    elif place.operation == "put_feedback":
        body = BODIES["feedback"]
    query = QUERIES.get(place.operation, "")
    if place.inside == "path":
        values[place.name] = value
    elif place.inside == "body":
        body = body | {place.name: value}
    else:
        query = f"{place.name}={value}"
    path = place.path.format(**values) + (f"?{query}" if query else "")
    headers = {"If-Match": '"1"'} if place.method == "PATCH" else {}
    return await desk.call(
        who, place.method, path, None if place.method in {"GET", "DELETE"} else body, headers=headers
    )


def seen(response: httpx.Response, value: str) -> Any:
    """All that an answer shows, but for what names the request itself."""
    body = response.json() if response.content else None
    if isinstance(body, dict):
        body.pop("request_id", None)
        for changing in ("id", "ref", "created_at", "updated_at"):
            if response.status_code < 300:
                body.pop(changing, None)
    text = repr(body).replace(value, "the id")
    counted = {"location", "ratelimit"}
    headers = {name: text for name, text in response.headers.items() if name not in SAME_FOR_ALL | counted}
    return response.status_code, text, headers


async def test_a_foreign_id_answers_like_one_that_is_not_there(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], scene: dict[str, tuple[str, str]]
) -> None:
    found = list(places(app[0].openapi()))
    own = {name: values[1] for name, values in scene.items()}
    own |= {"external_id": "nobody", "date": LATEST, "number": "1", "code": "not_found"}
    counted, told = 0, []
    for place, who in itertools.product(found, ("standard", "boss")):
        for name in names_of(place):
            foreign, unknown = scene[name]
            answers = [seen(await ask(desk, who, place, value, own), value) for value in (foreign, unknown)]
            counted += 1
            if answers[0] != answers[1]:
                told.append((str(place), who, name, *answers))
            if place.inside == "path":
                assert answers[0][0] in {403, 404, 422}, (place, who, answers[0])
    assert told == []
    # Places for an id, and comparisons made: who adds an operation sees these numbers rise.
    assert (len(found), counted) == (81, 218)


async def test_what_the_house_alone_knows_is_met_by_no_client(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient]
) -> None:
    await a_boss(desk)
    canaries = list[str]()

    def canary(sort: str) -> str:
        canaries.append(f"canary-{sort}-{secrets.token_hex(6)}")
        return canaries[-1]

    helper = {"name": canary("name"), "email": f"{canary('mail')}@kawan.example", "role": "agent", "level": 3}
    agent = (await desk.call("admin", "POST", "/v1/agents", helper)).json()
    canaries.append(agent["id"])
    key = (await desk.call("admin", "POST", "/v1/keys", {"name": canary("key"), "agent_id": agent["id"]})).json()
    desk.keys["helper"] = key["key"]
    canaries.append(key["id"])
    asked = {"client_id": str(desk.parties["standard"].client_id), "channel": "phone", "category": "incident"}
    await desk.call("agent", "POST", "/v1/eligibility-checks", asked | {"description": canary("question")})
    tickets = [await desk.open(), await desk.open(), await desk.open()]
    for ticket in tickets:
        path = f"/v1/tickets/{ticket['id']}"
        await desk.act("agent", ticket, "acknowledge")
        await desk.call("helper", "POST", f"{path}/messages", {"text": canary("note"), "visibility": "internal"})
        await desk.act("agent", ticket, "prioritize", priority="high", reason=canary("priority"))
        await desk.act("agent", ticket, "assign", assignee_id=agent["id"])
        version = (await desk.get("agent", path))["version"]
        tags = {"tags": [canary("tag")]}
        changed = await desk.call("agent", "PATCH", path, tags, headers={"If-Match": f'"{version}"'})
        assert changed.status_code == 200
        await desk.act("agent", ticket, "classify", complexity="complex", reason=canary("complexity"))
        await desk.act("agent2", ticket, "escalate", reason=canary("escalation"))
        await desk.act("lead", ticket, "deescalate", reason=canary("deescalation"))
    verdict = {"exclusion": "third_party_modifications", "text": "Somebody changed it.", "alternative": "An offer."}
    await desk.act("agent", tickets[0], "mark-out-of-scope", evidence=canary("evidence"), **verdict)
    await desk.act("agent", tickets[1], "resolve", resolution="fixed", text="Done.")
    await desk.act("agent", tickets[1], "close", reason=canary("closing"))
    await desk.act("lead", tickets[2], "withdraw", reason=canary("withdrawal"))
    refused = (await desk.call("lapsed", "POST", "/v1/tickets", desk.request())).json()["decision"]["id"]
    await desk.call("lead", "POST", f"/v1/eligibility-checks/{refused}/override", {"reason": canary("override")})

    texts = list[str]()
    for who in ("standard", "boss", "lapsed"):
        async for response in crawl(desk, who, app[0].openapi(), [ticket["id"] for ticket in tickets]):
            texts.append(response.text + repr(response.headers))
    met = {found for found in canaries for text in texts if found in text}
    assert met == set()
    assert len(texts) > 250
    # The same crawl meets them where it may: it looks in the right places.
    house = [answer.text async for answer in crawl(desk, "lead", app[0].openapi(), [t["id"] for t in tickets])]
    assert [found for found in canaries if not any(found in text for text in house) and "key" not in found] == [
        key["id"]
    ]


async def crawl(desk: Desk, who: str, document: Mapping[str, Any], tickets: list[str]) -> Any:
    """Every GET with every one of its own ids, every filter, in every page, now and then; and acts that are refused."""
    own: dict[str, list[str]] = {"ticket_id": tickets, "number": ["1"], "code": ["not_found"], "date": [LATEST]}
    own |= {"external_id": ["standard", "boss"], "agent_id": [], "key_id": []}
    for noun, name in (
        ("clients", "client_id"), ("contacts", "contact_id"), ("agreements", "agreement_id"),
        ("subscriptions", "subscription_id"), ("eligibility-checks", "check_id"), ("agents", "agent_id"),
        ("calendars", "calendar_id"),
    ):  # fmt: skip
        response = await desk.call(who, "GET", f"/v1/{noun}?limit=200")
        yield response
        own[name] = [item["id"] for item in response.json().get("items", ())]
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        names = re.findall(r"{(\w+)}", path)
        for values in itertools.product(*(own[name] for name in names)):
            address = path.format(**dict(zip(names, values, strict=True)))
            extra = QUERIES.get(methods["get"]["operationId"])
            yield await desk.call(who, "GET", address + (f"?{extra}" if extra else ""))
            for query in queries(methods["get"], own):
                yield await desk.call(who, "GET", f"{address}?{query}")
    for ticket in tickets:
        for act in ("acknowledge", "assign", "escalate", "deescalate", "resolve", "reopen", "withdraw", "classify"):
            if who != "lead":
                yield await desk.call(who, "POST", f"/v1/tickets/{ticket}/{act}", BODIES.get(act, WHY))


def queries(operation: Mapping[str, Any], own: Mapping[str, list[str]]) -> Iterator[str]:
    tries = {
        "limit": ["1", "200"], "as_of": ["2026-01-05T02:00:00Z", "2026-02-05T02:00:00Z"], "include": ["clocks,acts"],
        "status": ["open,closed", "resolved"], "broken": ["true", "false"], "emergency": ["true"], "level": ["1", "3"],
        "assignee_id": own["agent_id"], "priority": ["high"], "outcome": ["denied"], "complexity": ["complex"],
    }  # fmt: skip
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            for value in tries.get(parameter["name"], ()):
                yield f"{parameter['name']}={value}"


def test_who_may_see_what_is_decided_in_one_place() -> None:
    """Nobody but these asks it, and nobody beside it asks whether an event is internal."""
    callers = set()
    for path in sorted((ROOT / "app").rglob("*.py")):
        name = str(path.relative_to(ROOT / "app"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "visibility":
                callers.add((name, node.attr))
    assert callers == {
        ("api/deps.py", "whose_tickets"),
        ("api/eligibility.py", "asked"),
        ("api/eligibility.py", "knows_the_house"),
        ("api/eligibility.py", "whose_questions"),
        ("api/ticket_shapes.py", "knows_the_house"),
        ("api/ticket_shapes.py", "named"),
        ("api/ticket_shapes.py", "shown"),
        ("api/ticket_shapes.py", "told"),
        ("api/tickets.py", "internal_filter"),
        ("api/tickets.py", "knows_the_house"),
    }
