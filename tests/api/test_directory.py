"""The directory over HTTP: upserts by the portal's ids, versions, and whose entries one may see."""

from typing import Any

import pytest

from tests.api.conftest import Desk


async def put(desk: Desk, path: str, body: Any, who: str = "automation", **headers: str) -> Any:
    return await desk.call(who, "PUT", path, body, headers=headers)


async def test_a_client_is_created_then_brought_up_to_date(desk: Desk) -> None:
    path = "/v1/clients/by-external-id/crm-1"
    created = await put(desk, path, {"name": "First"})
    changed = await put(desk, path, {"name": "Second"})
    assert (created.status_code, created.headers["ETag"]) == (201, '"1"')
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    found = await desk.get("agent", path)
    assert (found["id"], found["name"], found["version"]) == (created.json()["id"], "Second", 2)
    assert await desk.get("agent", f"/v1/clients/{found['id']}") == found


async def test_conditions_on_an_upsert_are_honoured(desk: Desk) -> None:
    path = "/v1/clients/by-external-id/crm-1"
    absent = await put(desk, path, {"name": "A"}, **{"If-Match": '"1"'})
    assert (absent.status_code, absent.json()["code"]) == (412, "precondition_failed")
    assert (await put(desk, path, {"name": "A"}, **{"If-None-Match": "*"})).status_code == 201
    assert (await put(desk, path, {"name": "B"}, **{"If-None-Match": "*"})).status_code == 412
    assert (await put(desk, path, {"name": "B"}, **{"If-Match": '"2"'})).status_code == 412
    assert (await put(desk, path, {"name": "B"}, **{"If-Match": '"1"'})).status_code == 200
    assert (await desk.get("agent", path))["name"] == "B"


async def test_a_plan_made_over_http_makes_its_client_eligible(desk: Desk) -> None:
    client = (await put(desk, "/v1/clients/by-external-id/c", {"name": "Kopi"})).json()
    person = {"client_id": client["id"], "name": "Mei", "email": "mei@client.example"}
    contact = (await put(desk, "/v1/contacts/by-external-id/p", person)).json()
    assert contact["confirmed_at"] == "2026-01-05T02:00:00Z"
    check = {"client_id": client["id"], "contact_id": contact["id"], "channel": "portal", "category": "incident"}
    before = await desk.call("agent", "POST", "/v1/eligibility-checks", check)
    assert before.json()["findings"][0]["facts"] == {"state": "none"}
    signed = {"client_id": client["id"], "name": "Care", "assets": ["shop"], "support_line": "+60 3 1"}
    agreement = (await put(desk, "/v1/agreements/by-external-id/a", signed)).json()
    facts = {"client_id": client["id"], "agreement_id": agreement["id"], "tier": "premium", "starts_on": "2026-01-05"}
    plan = await put(desk, "/v1/subscriptions/by-external-id/s", facts)
    assert plan.status_code == 201, plan.text
    after = await desk.call("agent", "POST", "/v1/eligibility-checks", check)
    assert after.json()["outcome"] == "allowed"
    resting = facts | {"suspensions": [{"starts_at": "2026-01-05T00:00:00Z", "ends_at": None}]}
    assert (await put(desk, "/v1/subscriptions/by-external-id/s", resting)).json()["version"] == 2
    rests = await desk.call("agent", "POST", "/v1/eligibility-checks", check)
    assert rests.json()["findings"][0]["facts"] == {"state": "suspended"}
    over = facts | {"cancelled_at": "2026-01-05T01:00:00Z"}
    await put(desk, "/v1/subscriptions/by-external-id/s", over)
    gone = await desk.call("agent", "POST", "/v1/eligibility-checks", check)
    assert gone.json()["findings"][0]["facts"] == {"state": "cancelled"}


async def test_subscriptions_that_overlap_are_refused(desk: Desk) -> None:
    party = desk.parties["standard"]
    facts = {"client_id": str(party.client_id), "agreement_id": str(party.agreement_id), "tier": "premium"}
    response = await put(desk, "/v1/subscriptions/by-external-id/second", facts | {"starts_on": "2026-06-01"})
    assert (response.status_code, response.json()["code"]) == (409, "subscriptions_overlap")


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("clients", {"name": ""}, "/name"),
    ("contacts", {"name": "A", "email": "nobody"}, "/email"),
    ("contacts", {"name": "A", "email": "a@b.c", "role": "admin"}, ""),
    ("contacts", {"name": "A", "email": "a@b.c", "phone": "call me"}, "/phone"),
    ("contacts", {"name": "A", "email": "a@b.c", "phone": "()"}, "/phone"),
    ("contacts", {"name": "A", "email": "a\u202e@b.c"}, "/email"),
    ("agreements", {"name": "A", "support_line": "-- --"}, "/support_line"),
    ("agreements", {"name": "A", "assets": [""]}, "/assets/0"),
    ("agreements", {"name": "A", "assets": "all"}, "/assets"),
    ("subscriptions", {"tier": "gold", "starts_on": "2026-01-01"}, "/tier"),
    ("subscriptions", {"tier": "standard", "starts_on": "1999-12-31"}, ""),
    ("subscriptions", {"tier": "standard", "starts_on": "2026-01-02", "ends_on": "2026-01-01"}, ""),
    ("subscriptions", {"tier": "standard", "starts_on": "soon"}, "/starts_on"),
    ("subscriptions", {"tier": "standard", "starts_on": "2026-01-01T00:00:00Z"}, "/starts_on"),
    ("subscriptions", {"tier": "standard", "starts_on": 1767225600}, "/starts_on"),
    ("subscriptions", {"tier": "standard", "starts_on": "20260101"}, "/starts_on"),
]


@pytest.mark.parametrize(("noun", "body", "pointer"), WRONG)
async def test_wrong_entries_are_refused_by_field(desk: Desk, noun: str, body: dict[str, Any], pointer: str) -> None:
    party = desk.parties["standard"]
    if noun != "clients":
        body = body | {"client_id": str(party.client_id)}
    if noun == "subscriptions":
        body = body | {"agreement_id": str(party.agreement_id)}
    response = await put(desk, f"/v1/{noun}/by-external-id/x", body)
    assert response.status_code == 422, response.text
    assert pointer in {error["pointer"] for error in response.json()["errors"]}


async def test_an_entry_of_somebody_unknown_is_refused(desk: Desk) -> None:
    nobody = "01900000-0000-7000-8000-000000000000"
    person = {"client_id": nobody, "name": "Mei", "email": "mei@client.example"}
    response = await put(desk, "/v1/contacts/by-external-id/p", person)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/client_id")
    party = desk.parties["standard"]
    facts = {"client_id": str(party.client_id), "agreement_id": nobody, "tier": "premium", "starts_on": "2026-01-05"}
    response = await put(desk, "/v1/subscriptions/by-external-id/s", facts)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/agreement_id")


async def test_a_contact_sees_their_own_client_and_no_other(desk: Desk) -> None:
    mine, other = desk.parties["standard"], desk.parties["premium"]
    for noun, own, foreign in (
        ("clients", mine.client_id, other.client_id),
        ("contacts", mine.contact_id, other.contact_id),
        ("agreements", mine.agreement_id, other.agreement_id),
    ):
        items = (await desk.get("standard", f"/v1/{noun}"))["items"]
        assert {item["id"] for item in items} == {str(own)}
        assert (await desk.call("standard", "GET", f"/v1/{noun}/{own}")).status_code == 200
        assert (await desk.call("standard", "GET", f"/v1/{noun}/{foreign}")).status_code == 404
    plans = (await desk.get("standard", "/v1/subscriptions"))["items"]
    assert {plan["client_id"] for plan in plans} == {str(mine.client_id)}
    foreign_list = await desk.call("standard", "GET", f"/v1/contacts?client_id={other.client_id}")
    assert foreign_list.status_code == 422


@pytest.mark.parametrize("who", ["standard", "agent", "auditor"])
async def test_who_does_not_keep_the_directory_may_not_write_it(desk: Desk, who: str) -> None:
    for noun in ("clients", "contacts", "agreements", "subscriptions"):
        response = await put(desk, f"/v1/{noun}/by-external-id/x", {"name": "X"}, who=who)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_staff_are_added_by_leads_and_seen_by_the_house(desk: Desk) -> None:
    body = {"name": "Nadia", "email": "nadia@kawan.example", "level": 2}
    assert (await desk.call("agent", "POST", "/v1/agents", body)).status_code == 403
    made = (await desk.call("lead", "POST", "/v1/agents", body)).json()
    assert (made["role"], made["level"], made["on_call"]) == ("agent", 2, False)
    assert await desk.get("agent", f"/v1/agents/{made['id']}") == made
    assert (await desk.call("standard", "GET", "/v1/agents")).status_code == 403
    assert (await desk.call("lead", "POST", "/v1/agents", body | {"email": "n2@k.e", "level": "2"})).status_code == 422
