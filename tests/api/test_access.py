"""Who may call what: every cell of the matrix in access.txt, asserted both ways; and what a limited key may do."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from app.domain.access import Permission
from app.domain.events import CLIENTS, STAFF, Role
from tests.api.conftest import Desk
from tests.api.test_acts import BODIES, WORD, a_boss
from tests.conftest import ROOT

PUBLIC = {"livez", "readyz", "get_problem"}
ROLES: Mapping[str, tuple[str, Role]] = {
    "C": ("standard", Role.CONTACT),
    "K": ("boss", Role.CLIENT_ADMIN),
    "A": ("agent", Role.AGENT),
    "L": ("lead", Role.LEAD),
    "M": ("admin", Role.ADMIN),
    "U": ("auditor", Role.AUDITOR),
    "P": ("automation", Role.AUTOMATION),
}
OWN: Mapping[str, dict[str, Any]] = {
    "assign": {"assignee_id": None},
    "amend_ticket": BODIES["amend"],
    "put_feedback": BODIES["feedback"],
}
REFUSED = {"forbidden", "act_forbidden"}
QUERIES = {
    "get_calendar_due": "start=2026-01-05T02:00:00Z&seconds=60",
    "get_calendar_elapsed": "start=2026-01-05T02:00:00Z&end=2026-01-05T03:00:00Z",
}


class Operation(NamedTuple):
    """A row of the matrix."""

    name: str
    scope: str
    letters: str


def read() -> list[Operation]:
    lines = (ROOT / "tests" / "api" / "access.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return [Operation(row[0], row[1], "".join(row[2:])) for row in rows]


MATRIX = read()


class Caller:
    """Calls operations by their ids, on what is the standard client's."""

    def __init__(self, desk: Desk, document: Mapping[str, Any], ids: dict[str, str], boss: str) -> None:
        self.desk, self.ids, self.boss = desk, ids, boss
        self.operations = {
            operation["operationId"]: (path, method)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    async def __call__(self, who: str, name: str) -> httpx.Response:
        template, method = self.operations[name]
        own = {"contact_id": self.boss} if who == "boss" else {}
        path = template.format(**self.ids | own)
        if name in QUERIES:
            path += f"?{QUERIES[name]}"
        body = OWN.get(name) or BODIES.get(name.replace("_", "-"), {} if method in {"post", "put", "patch"} else None)
        if name == "send_message":
            body = WORD | {"visibility": "internal" if who == "automation" else "public"}
        headers = {"If-Match": "*"} if method == "patch" else {}
        return await self.desk.call(who, method.upper(), path, body, headers=headers)


@pytest.fixture
async def caller(desk: Desk, app: tuple[FastAPI, httpx.AsyncClient]) -> Caller:
    await a_boss(desk)
    party = desk.parties["standard"]
    calendar = (await desk.get("admin", "/v1/calendars"))["items"][0]
    check = await desk.call("standard", "POST", "/v1/eligibility-checks", {"channel": "portal", "category": "incident"})
    ids = {
        "ticket_id": (await desk.open())["id"],
        "check_id": check.json()["id"],
        "calendar_id": calendar["id"],
        "date": "2026-05-05",
        "number": "1",
        "client_id": str(party.client_id),
        "contact_id": str(party.contact_id),
        "agreement_id": str(party.agreement_id),
        "subscription_id": (await desk.get("standard", "/v1/subscriptions"))["items"][0]["id"],
        "external_id": "standard",
        "agent_id": (await desk.get("admin", "/v1/agents"))["items"][0]["id"],
        "key_id": (await desk.get("admin", "/v1/keys"))["items"][-1]["id"],
        "code": "not_found",
    }
    return Caller(desk, app[0].openapi(), ids, (await desk.get("boss", "/v1/me"))["contact_id"])


def test_every_operation_stands_in_the_matrix(app: tuple[FastAPI, httpx.AsyncClient]) -> None:
    paths = app[0].openapi()["paths"]
    known = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert sorted(known) == sorted([*(row.name for row in MATRIX), *PUBLIC])
    assert {row.scope for row in MATRIX} == {"-", *Permission}
    assert len(MATRIX) * len(ROLES) == 602


def test_every_operation_is_described_with_the_roles_and_the_scope_of_its_row(
    app: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    paths = app[0].openapi()["paths"]
    found = {operation["operationId"]: operation for methods in paths.values() for operation in methods.values()}
    for row in MATRIX:
        scopes = [] if row.scope == "-" else [row.scope]
        assert found[row.name]["security"] == [{"bearer": scopes}], row.name
        assert all(f"Scope: `{scope}`" in found[row.name]["description"] for scope in scopes), row.name
        roles = {role for letter, (_, role) in ROLES.items() if letter in row.letters}
        told = "" if roles >= {*CLIENTS, *STAFF} else f"\n\nFor {', '.join(role for role in Role if role in roles)}."
        assert told in found[row.name]["description"], row.name
        assert bool(told) == ("\n\nFor " in found[row.name]["description"]), row.name
    assert not any("security" in found[name] for name in PUBLIC)


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
async def test_an_operation_is_open_to_the_roles_of_its_row(caller: Caller, row: Operation) -> None:
    for letter, (who, _) in ROLES.items():
        response = await caller(who, row.name)
        refused = response.status_code == 401 or (response.status_code == 403 and response.json()["code"] in REFUSED)
        assert refused == (letter not in row.letters), (who, response.text)


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
async def test_an_operation_needs_the_scope_of_its_row(caller: Caller, row: Operation) -> None:
    who, role = ROLES["M" if "M" in row.letters else row.letters[0]]
    whose = await caller.desk.get(who, "/v1/me")
    person = {name: whose[name] for name in ("agent_id", "client_id", "contact_id")}
    others = [scope for scope in Permission if scope != row.scope]
    await caller.desk.key("others", role, scopes=others, **person)
    await caller.desk.key("only", role, scopes=[Permission.KEYS_READ if row.scope == "-" else row.scope], **person)
    caller.ids["key_id"] = caller.desk.keys["only"].split("_")[1]
    without, with_it = await caller("others", row.name), await caller("only", row.name)
    limited = without.status_code == 403 and without.json()["code"] == "insufficient_scope"
    assert limited == (row.scope != "-"), without.text
    assert with_it.status_code not in {401, 403}, with_it.text
    assert not limited or row.scope in without.json()["detail"]
