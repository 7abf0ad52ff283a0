"""API keys: made for somebody, limited, rotated with an overlap, revoked at once, and never readable again."""

import asyncio
from typing import Any

import asyncpg
import pytest

from app.cli import setup
from app.cli.problems import StartError
from tests.api.conftest import Desk, kl, z


async def make(desk: Desk, expected: int = 201, who: str = "admin", **asked: Any) -> Any:
    response = await desk.call(who, "POST", "/v1/keys", {"name": "A key", "role": "automation"} | asked)
    assert response.status_code == expected, response.text
    found = response.json()
    if expected == 201:
        desk.keys["made"] = found["key"]
    return found


async def status(desk: Desk, who: str = "made", path: str = "/v1/me") -> tuple[int, str | None]:
    response = await desk.call(who, "GET", path)
    return response.status_code, response.json().get("code")


async def test_a_key_is_told_once_and_works_at_once(desk: Desk) -> None:
    made = await make(desk)
    assert made["key"].startswith(f"ke_{made['id']}_")
    assert made["expires_at"] == z("2027-01-05 10:00:00")
    me = await desk.get("made", "/v1/me")
    assert (me["role"], me["name"], me["scopes"]) == ("automation", "A key", None)


async def test_a_key_of_a_person_may_what_the_person_may_today(desk: Desk) -> None:
    contact = desk.parties["standard"].contact_id
    made = await make(desk, role=None, contact_id=str(contact))
    assert (made["role"], made["client_id"]) == ("contact", str(desk.parties["standard"].client_id))
    agent = next(each for each in (await desk.get("admin", "/v1/agents"))["items"] if each["name"] == "agent")
    made = await make(desk, role=None, agent_id=agent["id"])
    assert (await status(desk, path="/v1/keys")) == (403, "forbidden")
    changed = await desk.call(
        "admin", "PATCH", f"/v1/agents/{agent['id']}", {"role": "admin"}, headers={"If-Match": '"1"'}
    )
    assert changed.status_code == 200, changed.text
    assert (await status(desk, path="/v1/keys")) == (200, None)
    assert (await desk.get("admin", f"/v1/keys/{made['id']}"))["role"] == "admin"


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"role": None}, ""),
        ({"role": "automation", "contact_id": "01900000-0000-7000-8000-000000000001"}, ""),
        ({"role": "admin"}, ""),
        ({"role": "contact"}, ""),
        ({"role": None, "agent_id": "01900000-0000-7000-8000-000000000001"}, "/agent_id"),
        ({"role": None, "contact_id": "01900000-0000-7000-8000-000000000001"}, "/contact_id"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["tickets:all"]}, "/scopes/0"),
        ({"expires_at": "2026-01-05T10:00:00+08:00"}, "/expires_at"),
        ({"name": ""}, "/name"),
        ({"secret": "mine"}, "/secret"),
    ],
)
async def test_a_wrong_wish_is_told_which_field(desk: Desk, asked: dict[str, Any], pointer: str) -> None:
    refused = await make(desk, 422, **asked)
    assert [error["pointer"] for error in refused["errors"]] == [pointer]


async def test_an_expired_key_opens_nothing(desk: Desk) -> None:
    await make(desk, expires_at="2026-01-05T11:00:00+08:00")
    await desk.at("2026-01-05 10:59:59")
    assert await status(desk) == (200, None)
    await desk.at("2026-01-05 11:00:00")
    assert await status(desk) == (401, "unauthenticated")


async def test_a_key_that_is_revoked_opens_nothing_from_that_moment_on(desk: Desk) -> None:
    made = await make(desk)
    revoked = await desk.call("admin", "POST", f"/v1/keys/{made['id']}/revoke")
    assert (revoked.status_code, revoked.json()["revoked_at"]) == (200, z("2026-01-05 10:00:00"))
    assert await status(desk) == (401, "unauthenticated")
    again = await desk.call("admin", "POST", f"/v1/keys/{made['id']}/revoke")
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_change")
    rotated = await desk.call("admin", "POST", f"/v1/keys/{made['id']}/rotate")
    assert (rotated.status_code, rotated.json()["code"]) == (409, "nothing_to_change")


async def test_a_key_and_the_one_that_replaces_it_both_work_for_a_while(desk: Desk) -> None:
    made = await make(desk, scopes=["tickets:read"])
    desk.keys["old"] = desk.keys["made"]
    response = await desk.call("admin", "POST", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 3600})
    assert response.status_code == 201, response.text
    fresh = response.json()
    desk.keys["made"] = fresh["key"]
    assert (fresh["replaces"], fresh["scopes"], fresh["role"]) == (made["id"], ["tickets:read"], "automation")
    assert [await status(desk, who) for who in ("old", "made")] == [(200, None), (200, None)]
    assert (await desk.get("admin", f"/v1/keys/{made['id']}"))["expires_at"] == z("2026-01-05 11:00:00")
    await desk.at("2026-01-05 11:00:00")
    assert [await status(desk, who) for who in ("old", "made")] == [(401, "unauthenticated"), (200, None)]


async def test_a_rotation_never_lets_a_key_live_longer(desk: Desk) -> None:
    made = await make(desk, expires_at="2026-01-05T10:30:00+08:00")
    await desk.call("admin", "POST", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 86_400})
    assert (await desk.get("admin", f"/v1/keys/{made['id']}"))["expires_at"] == z("2026-01-05 10:30:00")


async def test_a_limited_key_makes_nobody_who_may_more(desk: Desk) -> None:
    admin = (await desk.get("admin", "/v1/me"))["agent_id"]
    own = (await desk.get("agent", "/v1/me"))["agent_id"]
    await make(desk, role=None, agent_id=admin, scopes=["directory:write", "directory:read"])
    person = {"name": "Nadia", "email": "nadia@kawan.example"}
    identity = {"identity_issuer": "https://login.example", "identity_subject": "nadia"}
    for who, more in (("made", {"role": "admin"}), ("made", {"role": "lead"}), ("made", identity)):
        refused = await desk.call(who, "POST", "/v1/agents", person | more)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        changed = await desk.call(who, "PATCH", f"/v1/agents/{own}", more, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.json()["code"]) == (403, "insufficient_scope")
    for change in ({"level": 2}, {"role": "agent"}):
        changed = await desk.call("made", "PATCH", f"/v1/agents/{admin}", change, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.json()["code"]) == (403, "insufficient_scope")
    assert (await desk.call("made", "POST", "/v1/agents", person)).status_code == 201
    assert (await desk.call("made", "PATCH", f"/v1/agents/{own}", {"level": 2}, headers={"If-Match": '"1"'})).is_success


async def test_a_limited_key_makes_none_that_may_more(desk: Desk) -> None:
    admin = (await desk.get("admin", "/v1/me"))["agent_id"]
    whole = await make(desk)
    await make(desk, role=None, agent_id=admin, scopes=["keys:write", "tickets:read"])
    for wish in ({"role": None, "agent_id": admin}, {"scopes": ["tickets:read", "tickets:write"]}):
        refused = await make(desk, 403, who="made", **wish)
        assert refused["code"] == "insufficient_scope"
    rotated = await desk.call("made", "POST", f"/v1/keys/{whole['id']}/rotate")
    assert (rotated.status_code, rotated.json()["code"]) == (403, "insufficient_scope")
    assert (await make(desk, who="made", scopes=["tickets:read"]))["scopes"] == ["tickets:read"]


async def test_a_secret_is_never_readable_again(desk: Desk) -> None:
    once = {"Idempotency-Key": "k-1"}
    wish = {"name": "A key", "role": "automation"}
    first = await desk.call("admin", "POST", "/v1/keys", wish, headers=once)
    again = await desk.call("admin", "POST", "/v1/keys", wish, headers=once)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    rotate = f"/v1/keys/{first.json()['id']}/rotate"
    rotated = await desk.call("admin", "POST", rotate, headers=once)
    assert (await desk.call("admin", "POST", rotate, headers=once)).json() == rotated.json() | {"key": None}
    secrets = [answer.json()["key"].split("_")[2] for answer in (first, rotated)]
    assert "key" not in (await desk.get("admin", f"/v1/keys/{first.json()['id']}"))
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    kept = [str(await connection.fetch(f"SELECT t::text FROM {name} t")) for (name,) in tables]  # its own
    answers = [bytes(row[0]).decode() for row in await connection.fetch("SELECT body FROM idempotency_keys")]
    await connection.close()
    assert len(answers) == 2
    assert not any(secret in text for secret in secrets for text in (*kept, *answers))


async def test_keys_are_listed_by_pages_the_newest_first(desk: Desk) -> None:
    for minute in range(3):
        await desk.at(f"2026-01-05 10:0{minute}:00")
        await make(desk, name=f"Key {minute}")
    listed, path = [], "/v1/keys?limit=2"
    while path:
        response = await desk.call("auditor", "GET", path)
        listed += [item["name"] for item in response.json()["items"]]
        path = response.links["next"]["url"] if "next" in response.links else ""
    assert listed[:3] == ["Key 2", "Key 1", "Key 0"]
    assert len(listed) == len(set(listed)) == len(desk.keys) - 1 + 3


async def test_of_two_rotations_at_once_one_makes_a_key_and_the_old_one_ends(desk: Desk) -> None:
    made = await make(desk)
    path = f"/v1/keys/{made['id']}/rotate"
    both = await asyncio.gather(*(desk.call("admin", "POST", path) for _ in range(2)))
    assert sorted(response.status_code for response in both) == [201, 409]
    assert {response.json().get("code") for response in both} == {None, "nothing_to_change"}
    assert (await desk.call("admin", "POST", path)).json()["code"] == "nothing_to_change"
    assert (await desk.get("admin", f"/v1/keys/{made['id']}"))["expires_at"] == z("2026-01-06 10:00:00")


async def test_the_first_admin_comes_by_the_command_line(desk: Desk) -> None:
    now = kl("2026-01-05 10:00:00")
    desk.keys["first"] = await setup.create_admin(desk.pool, "Aminah", "aminah@kawan.example", now)
    assert (await status(desk, "first", "/v1/keys")) == (200, None)
    desk.keys["again"] = await setup.create_admin(desk.pool, "Aminah", "aminah@kawan.example", now)
    assert (await desk.get("again", "/v1/me"))["agent_id"] == (await desk.get("first", "/v1/me"))["agent_id"]
    for name, email, said in (("A", "agent@kawan.example", "no admin but agent"), ("A", "nobody", "a name and an")):
        with pytest.raises(StartError, match=said):
            await setup.create_admin(desk.pool, name, email, now)
