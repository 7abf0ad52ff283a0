"""Every act in every status by every role, from a table written by hand: what is allowed works, the rest says why."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.db import clients, ids
from app.db.clients import Contact
from app.domain.events import Role
from app.domain.ticket import ActName
from tests.api.conftest import BY, LONG_AGO, Desk

WORD = {"text": "A word."}
WHY = {"reason": "Because."}

# Who may, by status: new, open, waiting_on_client, resolved, closed. C contact and client_admin,
# A person of staff, L lead and admin, U automation; "-" nobody. A lower-case letter: their role may
# in other statuses or conditions, so the answer is 409; whoever isn't named at all gets 403.
TABLE = """
acknowledge        A      a      a      a      a
reply              CA     CA     CA     CA     ca
note               AU     AU     AU     AU     AU
prioritize         CA     CA     CA     ca     ca
classify           A      A      A      a      a
expect-resolution  a      a      a      a      a
escalate           A      A      A      a      a
deescalate         a      a      a      a      a
request-escalation C      C      C      c      c
decide-escalation  l      l      l      l      l
assign             A      A      A      A      a
request-details    A      A      a      a      a
resume             a      a      A      a      a
resolve            A      A      A      a      a
mark-out-of-scope  A      A      A      a      a
dispute            c      c      c      c      c
reopen             ca     ca     ca     CA     ca
close              ca     ca     ca     CA     ca
withdraw           CL     CL     CL     cl     cl
amend              CA     CA     CA     CA     ca
feedback           c      c      c      C      C
"""
STATUSES = ("new", "open", "waiting_on_client", "resolved", "closed")
ROLES = {
    "standard": "C", "boss": "C", "agent": "A", "agent2": "A", "agent3": "A", "lead": "AL", "admin": "AL",
    "automation": "U", "auditor": "",
}  # fmt: skip
ROWS = {line.split()[0]: line.split()[1:] for line in TABLE.strip().splitlines()}
BODIES: dict[str, dict[str, Any]] = {
    "reply": WORD,
    "note": WORD | {"visibility": "internal"},
    "prioritize": {"priority": "high"} | WHY,
    "classify": {"complexity": "complex"} | WHY,
    "expect-resolution": {"expected_at": "2026-02-01T00:00:00Z"} | WORD,
    "escalate": WHY,
    "deescalate": WHY,
    "decide-escalation": {"decision": "granted"} | WORD,
    "request-details": WORD,
    "resolve": {"resolution": "fixed"} | WORD,
    "mark-out-of-scope": {"exclusion": "upgrades", "alternative": "An agreement of its own."} | WORD,
    "dispute": WORD,
    "reopen": WHY,
    "close": WHY,
    "withdraw": WHY,
    "amend": {"outage_statement": "The whole shop."},
    "feedback": {"rating": 4},
}


def test_every_act_has_its_row() -> None:
    assert ROWS.keys() == set(ActName)


async def do(desk: Desk, who: str, act: str, ticket: Any, version: int) -> Any:
    path = f"/v1/tickets/{ticket['id']}"
    body = BODIES.get(act)
    if act == "amend":
        return await desk.call(who, "PATCH", path, body, headers={"If-Match": f'"{version}"'})
    if act == "feedback":
        return await desk.call(who, "PUT", f"{path}/feedback", body)
    if act == "assign":
        found = (await desk.get("admin", "/v1/agents"))["items"]
        body = {"assignee_id": next(agent["id"] for agent in found if agent["name"] == "agent3")}
    return await desk.call(who, "POST", f"{path}/{'messages' if act in {'reply', 'note'} else act}", body)


async def a_boss(desk: Desk) -> None:
    """A client_admin of the standard client."""
    party, boss = desk.parties["standard"], ids.new_id()
    stamp = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "version": 1}
    person = Contact(
        client_id=party.client_id, id=boss, external_id="boss", name="The boss", email="boss@client.example",
        phone=None, role=Role.CLIENT_ADMIN, confirmed_at=LONG_AGO, bounced_at=None, **stamp,
    )  # fmt: skip
    await clients.people.add(desk.pool, person, None, BY)
    await desk.key("boss", Role.CLIENT_ADMIN, client_id=party.client_id, contact_id=boss)


async def _new(desk: Desk) -> Any:
    return await desk.open()


async def _open(desk: Desk) -> Any:
    ticket = await desk.open()
    return await desk.act("agent", ticket, "acknowledge")


async def _waiting(desk: Desk) -> Any:
    ticket = await desk.open()
    return await desk.act("agent", ticket, "request-details", **WORD)


async def _resolved(desk: Desk) -> Any:
    ticket = await desk.open()
    return await desk.act("agent", ticket, "resolve", **BODIES["resolve"])


async def _closed(desk: Desk) -> Any:
    return await desk.act("standard", await _resolved(desk), "close", **WHY)


MAKE: dict[str, Callable[[Desk], Awaitable[Any]]] = {
    "new": _new, "open": _open, "waiting_on_client": _waiting, "resolved": _resolved, "closed": _closed,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("act", ROWS)
async def test_an_act_is_open_to_whom_the_table_says(desk: Desk, act: str, status: str) -> None:
    await a_boss(desk)
    cell = ROWS[act][STATUSES.index(status)]
    ticket = await MAKE[status](desk)
    assert ticket["status"] == status
    for who, letters in ROLES.items():
        allowed = any(letter in cell for letter in letters)
        known = allowed or any(letter.lower() in "".join(ROWS[act]).lower() for letter in letters)
        shown = (await desk.get(who, f"/v1/tickets/{ticket['id']}"))["allowed_acts"]
        assert (act in shown) == allowed, (who, shown)
        response = await do(desk, who, act, ticket, ticket["version"])
        if allowed:
            assert response.status_code in {200, 201}, (who, response.text)
            ticket = await MAKE[status](desk)
            continue
        problem = response.json()
        assert response.status_code == (403 if not known or who == "auditor" else 409), (who, response.text)
        if who != "auditor":
            assert problem["allowed_acts"] == shown
        again = await desk.get("agent", f"/v1/tickets/{ticket['id']}")
        assert again["version"] == ticket["version"]


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [("reply", "closed", "reopen_window_over"), ("acknowledge", "open", "act_not_allowed"),
     ("dispute", "resolved", "act_not_allowed"), ("deescalate", "new", "act_not_allowed")],
)  # fmt: skip
async def test_a_refused_act_has_its_own_code(desk: Desk, act: str, status: str, code: str) -> None:
    ticket = await MAKE[status](desk)
    who = "standard" if act in {"reply", "dispute"} else "agent"
    response = await do(desk, who, act, ticket, ticket["version"])
    assert (response.status_code, response.json()["code"]) == (409, code)
