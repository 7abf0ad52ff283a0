"""Who somebody is is remembered for a moment, and a change of it is answered when nobody remembers otherwise."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from app.api import deps
from app.db import ids, lease
from app.db.lease import Lease
from app.domain.events import Role
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import Desk, running
from tests.api.test_examples import Recorder, every_operation
from tests.api.test_policies import document, hours, publish
from tests.conftest import addresses

LONG_ENOUGH = 0.4


@pytest.fixture
async def other(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], app_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A second process, which remembers as long as the first."""
    monkeypatch.setattr(lease, "SECONDS", LONG_ENOUGH)
    monkeypatch.setattr(app[0].state.runtime.bearers, "seconds", LONG_ENOUGH)
    async with running(create_app(Settings(**addresses(app_url), test_clock=True, pool_size=2))) as http:
        yield http


async def me(desk: Desk, http: httpx.AsyncClient, who: str) -> Any:
    response = await http.get("/v1/me", headers={"Authorization": f"Bearer {desk.keys[who]}"})
    return response.json() if response.is_success else response.status_code


async def open_then(desk: Desk, http: httpx.AsyncClient) -> Any:
    """Whether the desk is open at 11:00 on Monday, 12 January 2026, as a process knows it."""
    header = {"Authorization": f"Bearer {desk.keys['premium']}"}
    asked = await http.get("/v1/availability?as_of=2026-01-12T11:00:00%2B08:00", headers=header)
    return asked.json()["open_now"]


async def put(desk: Desk, **changes: str) -> Any:
    """Bring the contact of `standard` up to date."""
    path = "/v1/contacts/by-external-id/standard"
    known = await desk.get("admin", path)
    fields = {name: known[name] for name in ("client_id", "name", "email", "role")} | changes
    response = await desk.call("automation", "PUT", path, fields)
    assert response.status_code == 200, response.text
    return response.json()


def key_of(desk: Desk, who: str) -> str:
    return desk.keys[who].split("_")[1]


async def test_a_revoked_key_opens_nothing_on_any_process_from_the_answer_on(
    desk: Desk, other: httpx.AsyncClient
) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    revoked = await desk.call("admin", "POST", f"/v1/keys/{key_of(desk, 'standard')}/revoke")
    assert revoked.status_code == 200
    assert await me(desk, other, "standard") == 401


async def test_nor_from_the_answer_to_whoever_asks_a_second_time(desk: Desk, other: httpx.AsyncClient) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    path, once = f"/v1/keys/{key_of(desk, 'standard')}/revoke", {"idempotency-key": "once"}
    first = asyncio.create_task(desk.call("admin", "POST", path, headers=once))
    await asyncio.sleep(LONG_ENOUGH / 4)
    assert not first.done()
    assert (await me(desk, other, "standard"))["role"] == "contact", "it would prove nothing otherwise"
    again = await desk.call("admin", "POST", path, headers=once)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert await me(desk, other, "standard") == 401
    assert (await first).status_code == 200


async def test_nor_does_one_that_was_replaced_without_an_overlap(desk: Desk, other: httpx.AsyncClient) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    path = f"/v1/keys/{key_of(desk, 'standard')}/rotate"
    rotated = await desk.call("admin", "POST", path, {"overlap_seconds": 0})
    assert rotated.status_code == 201, rotated.text
    assert await me(desk, other, "standard") == 401


@pytest.mark.parametrize(("field", "value"), [("level", 3), ("role", "lead")])
async def test_what_staff_may_is_known_to_every_process(
    desk: Desk, other: httpx.AsyncClient, field: str, value: Any
) -> None:
    before = await me(desk, other, "agent")
    assert before[field] != value
    path = f"/v1/agents/{before['agent_id']}"
    changed = await desk.call("admin", "PATCH", path, {field: value}, headers={"if-match": "*"})
    assert changed.status_code == 200, changed.text
    assert (await me(desk, other, "agent"))[field] == value


async def test_so_is_what_a_contact_may(desk: Desk, other: httpx.AsyncClient) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    await put(desk, role="client_admin")
    assert (await me(desk, other, "standard"))["role"] == "client_admin"


async def test_whoever_holds_back_what_they_send_is_asked_for_again(desk: Desk, other: httpx.AsyncClient) -> None:
    """Somebody begins a request, is shut out, and then sends the rest of it."""
    ticket, arrives = await desk.open(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"text": "A wo'
        await arrives.wait()
        yield b'rd."}'

    headers = {"Authorization": f"Bearer {desk.keys['standard']}", "content-type": "application/json"}
    begun = other.post(f"/v1/tickets/{ticket['id']}/messages", content=slowly(), headers=headers)
    sending = asyncio.create_task(begun)
    await asyncio.sleep(LONG_ENOUGH / 4)
    revoked = await desk.call("admin", "POST", f"/v1/keys/{key_of(desk, 'standard')}/revoke")
    assert revoked.status_code == 200
    arrives.set()
    assert (await sending).status_code == 401
    assert await desk.events(ticket, "message.received") == []


async def test_whoever_was_kept_is_looked_up_once_more_however_long_that_takes(
    desk: Desk, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked up until nothing keeps them they would never come to act while everybody is slow."""
    ticket, authenticated, times = await desk.open(), deps.authenticated, list[str]()

    async def slowly(request: Request) -> deps.Caller:
        if not hasattr(request.state, "caller"):
            times.append(request.url.path)
            await asyncio.sleep(LONG_ENOUGH * lease.SLACK * 2)
        return await authenticated(request)

    monkeypatch.setattr(deps, "authenticated", slowly)
    headers = {"Authorization": f"Bearer {desk.keys['standard']}"}
    assert (await other.get(f"/v1/tickets/{ticket['id']}", headers=headers)).status_code == 200
    assert times == [f"/v1/tickets/{ticket['id']}"] * 2


async def test_a_role_is_waited_for_by_whoever_sends_the_same_again(desk: Desk, other: httpx.AsyncClient) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    first = asyncio.create_task(put(desk, role="client_admin"))
    await asyncio.sleep(LONG_ENOUGH / 4)
    assert (await me(desk, other, "standard"))["role"] == "contact", "it would prove nothing otherwise"
    await put(desk, role="client_admin")
    assert (await me(desk, other, "standard"))["role"] == "client_admin"
    await first


async def test_a_holiday_is_waited_for_by_whoever_sends_the_same_again(desk: Desk, other: httpx.AsyncClient) -> None:
    assert await open_then(desk, other) is True
    calendar = (await desk.get("lead", "/v1/calendars"))["items"][-1]["id"]
    path, once = f"/v1/calendars/{calendar}/exceptions", {"idempotency-key": "once"}
    holiday = {"date": "2026-01-12", "name": "A day off", "hours": []}
    first = asyncio.create_task(desk.call("lead", "POST", path, holiday, headers=once))
    await asyncio.sleep(LONG_ENOUGH / 4)
    assert await open_then(desk, other) is True, "it would prove nothing otherwise"
    again = await desk.call("lead", "POST", path, holiday, headers=once)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert await open_then(desk, other) is False
    assert (await first).status_code == 201


async def test_so_are_the_terms(desk: Desk, other: httpx.AsyncClient) -> None:
    assert await open_then(desk, other) is True
    later = hours(await document(desk, effective_from="2026-01-10T00:00:00+08:00"), mon=[])
    number = (await publish(desk, later))["version"]
    assert await open_then(desk, other) is False
    taken = await desk.call("admin", "POST", f"/v1/policy-versions/{number}/take-back")
    assert taken.status_code == 200, taken.text
    assert await open_then(desk, other) is True
    calendar = (await desk.get("lead", "/v1/calendars"))["items"][-1]["id"]
    holiday = {"date": "2026-01-12", "name": "A day off", "hours": []}
    added = await desk.call("lead", "POST", f"/v1/calendars/{calendar}/exceptions", holiday)
    assert added.status_code == 201, added.text
    assert await open_then(desk, other) is False
    removed = await desk.call("lead", "DELETE", f"/v1/calendars/{calendar}/exceptions/2026-01-12")
    assert removed.status_code == 200, removed.text
    assert await open_then(desk, other) is True


async def test_whoever_may_not_change_anything_is_refused_without_waiting(desk: Desk, other: httpx.AsyncClient) -> None:
    async with asyncio.timeout(LONG_ENOUGH):
        refused = await desk.call("standard", "POST", f"/v1/keys/{key_of(desk, 'premium')}/revoke")
    assert refused.status_code == 403


async def test_a_contact_whose_role_stays_is_brought_up_to_date_without_waiting(
    desk: Desk, other: httpx.AsyncClient
) -> None:
    async with asyncio.timeout(LONG_ENOUGH):
        assert (await put(desk, name="Another Name"))["name"] == "Another Name"


async def test_a_remembered_key_needs_its_secret(desk: Desk, other: httpx.AsyncClient) -> None:
    assert (await me(desk, other, "standard"))["role"] == "contact"
    desk.keys["forged"] = f"ke_{key_of(desk, 'standard')}_{'0' * 64}"
    assert await me(desk, other, "forged") == 401
    assert (await me(desk, other, "standard"))["role"] == "contact"


async def test_a_key_that_was_unknown_opens_at_once_when_it_is_there(
    desk: Desk, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = ids.new_key()
    desk.keys["coming"] = fresh.text
    assert await me(desk, other, "coming") == 401
    monkeypatch.setattr(ids, "new_key", lambda: fresh)
    await desk.key("coming", Role.AUDITOR)
    assert (await me(desk, other, "coming"))["role"] == "auditor"


STANDING = (
    "SELECT key.id, coalesce(agent.role, contact.role, key.role), agent.level, agent.identity_subject, key.client_id,"
    " key.digest, key.scopes, key.expires_at, key.revoked_at FROM api_keys key"
    " LEFT JOIN agents agent ON agent.id = key.agent_id LEFT JOIN contacts contact ON contact.id = key.contact_id"
)
"""What the service remembers of everybody, but for their names."""


class Watching(Recorder):
    """Calls operations by their ids, and notes which changed what is remembered, and which waited."""

    def __init__(self, desk: Desk, document: dict[str, Any], waits: list[str]) -> None:
        super().__init__(desk, document)
        self.waits, self.changing, self.waiting = waits, set[str](), set[str]()

    async def __call__(self, operation_id: str, *args: Any, **more: Any) -> Any:
        before, terms = await self.known()
        self.waits.clear()
        told = await super().__call__(operation_id, *args, **more)
        after, terms_after = await self.known()
        if terms != terms_after or any(after.get(key) != standing for key, standing in before.items()):
            self.changing.add(operation_id)
        if self.waits:
            self.waiting.add(operation_id)
        return told

    async def known(self) -> tuple[dict[str, tuple[Any, ...]], int]:
        rows = await self.desk.pool.fetch(STANDING)
        (terms,) = await self.desk.pool.fetch("SELECT number FROM terms_changes")
        return {row[0]: tuple(row)[1:] for row in rows}, terms[0]


async def test_whatever_changes_what_is_remembered_waits(
    desk: Desk, app: tuple[FastAPI, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, forgotten = list[str](), Lease.forgotten

    async def noted(self: Lease[Any]) -> None:
        waits.append("waited")
        await forgotten(self)

    monkeypatch.setattr(Lease, "forgotten", noted)
    call = Watching(desk, app[0].openapi(), waits)
    await every_operation(call, desk)
    assert call.changing - call.waiting == {"create_calendar"}, "no policy counts by a new one yet"
    assert call.waiting - call.changing <= {"put_contact", "change_agent"}, "which may change other things"
    assert {"revoke_key", "rotate_key", "publish_policy_version", "add_calendar_exception"} <= call.changing


# ------------------------------------------------------------------------------------ the lease itself


async def asked(kept: Lease[str], answers: list[str | None], name: str = "name") -> str | None:
    async def read() -> str | None:
        return answers.pop(0)

    return await kept.get(name, read)


async def test_what_was_read_is_remembered_and_then_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(lease, "monotonic", lambda: now[0])
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    kept, answers = Lease[str](), [None, "first", "second"]
    assert await asked(kept, answers) is None, "what isn't there is not remembered"
    assert [await asked(kept, answers) for _ in range(2)] == ["first", "first"]
    assert await asked(kept, ["other"], "other name") == "other"
    now[0] = 100.999
    assert await asked(kept, answers) == "first"
    now[0] = 101.0
    assert await asked(kept, answers) == "second"


async def test_it_lasts_from_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement sees what was there when it began, however long it takes."""
    now = [100.0]
    monkeypatch.setattr(lease, "monotonic", lambda: now[0])
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    kept = Lease[str]()

    async def slow() -> str:
        now[0] += 0.9
        return "first"

    assert await kept.get("name", slow) == "first"
    now[0] = 101.0
    assert await asked(kept, ["second"]) == "second"


async def test_it_is_forgotten_here_at_once_and_everywhere_after_a_wait() -> None:
    kept = Lease[str]()
    await asked(kept, ["before"])
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(kept.forgotten())
    await asyncio.sleep(0)
    assert await asked(kept, ["after"]) == "after"
    await waiting
    assert asyncio.get_running_loop().time() - began >= kept.seconds


async def test_it_remembers_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "MOST", 2)
    kept = Lease[str]()
    for name in ("one", "two", "three"):
        await asked(kept, [name], name)
    assert await asked(kept, ["again"], "one") == "again"
    assert await asked(kept, [], "three") == "three"
