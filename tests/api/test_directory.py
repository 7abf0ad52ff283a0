"""The directory over HTTP: upserts by the portal's ids, versions, and whose entries one may see."""

from typing import Any

import pytest

from tests.api.conftest import Desk, kl, z


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


BACKWARDS = {"starts_at": "2026-02-02T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("clients", {"name": ""}, "/name"),
    ("contacts", {"name": "A", "email": "nobody"}, "/email"),
    ("contacts", {"name": "A", "email": "a@b.c", "role": "admin"}, "/role"),
    ("contacts", {"name": "A", "email": "a@b.c", "phone": "call me"}, "/phone"),
    ("contacts", {"name": "A", "email": "a@b.c", "phone": "()"}, "/phone"),
    ("contacts", {"name": "A", "email": "a\u202e@b.c"}, "/email"),
    ("agreements", {"name": "A", "support_line": "-- --"}, "/support_line"),
    ("agreements", {"name": "A", "assets": [""]}, "/assets/0"),
    ("agreements", {"name": "A", "assets": "all"}, "/assets"),
    ("subscriptions", {"tier": "gold", "starts_on": "2026-01-01"}, "/tier"),
    ("subscriptions", {"tier": "standard", "starts_on": "1999-12-31"}, "/starts_on"),
    ("subscriptions", {"tier": "standard", "starts_on": "2026-01-02", "ends_on": "2026-01-01"}, "/ends_on"),
    ("subscriptions", {"tier": "standard", "starts_on": "2026-01-02", "suspensions": [BACKWARDS]}, "/suspensions/0"),
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


# ------------------------------------------------------------------------------- one's own details


async def test_a_contact_changes_their_own_details_and_they_count_as_confirmed(desk: Desk) -> None:
    party = await desk.client("bounced", bounced_at=kl("2026-01-02 10:00:00"), confirmed_at=kl("2025-01-02 10:00:00"))
    path = f"/v1/contacts/{party.contact_id}"
    before = await desk.open("bounced")
    assert "contact_details_stale" in {warning["code"] for warning in before["warnings"]}
    body = {"email": "new@client.example", "phone": "+60 12 345 6789"}
    assert (await desk.call("bounced", "PATCH", path, body)).status_code == 428
    assert (await desk.call("bounced", "PATCH", path, body, headers={"If-Match": '"9"'})).status_code == 412
    changed = await desk.call("bounced", "PATCH", path, body, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    found = changed.json()
    assert (found["email"], found["phone"], found["name"]) == (*body.values(), "Contact of bounced")
    assert (found["confirmed_at"], found["bounced_at"], changed.headers["ETag"]) == (
        z("2026-01-05 10:00:00"), None, '"2"',
    )  # fmt: skip
    assert not (await desk.open("bounced"))["warnings"]
    without = await desk.call("bounced", "PATCH", path, {"phone": None}, headers={"If-Match": '"2"'})
    assert without.json()["phone"] is None
    nameless = await desk.call("bounced", "PATCH", path, {"name": None}, headers={"If-Match": '"3"'})
    assert (nameless.status_code, nameless.json()["errors"][0]["pointer"]) == (422, "/name")


async def test_a_contact_confirms_their_own_details(desk: Desk) -> None:
    party = await desk.client("old", confirmed_at=kl("2025-01-02 10:00:00"))
    assert (await desk.open("old"))["warnings"]
    confirmed = await desk.call("old", "POST", f"/v1/contacts/{party.contact_id}/confirm")
    assert (confirmed.status_code, confirmed.json()["confirmed_at"]) == (200, z("2026-01-05 10:00:00"))
    assert not (await desk.open("old"))["warnings"]


async def test_confirming_twice_under_one_key_is_confirming_once(desk: Desk) -> None:
    party = await desk.client("old", confirmed_at=kl("2025-01-02 10:00:00"))
    path, key = f"/v1/contacts/{party.contact_id}/confirm", {"Idempotency-Key": "once"}
    first = await desk.call("old", "POST", path, headers=key)
    await desk.at("2026-01-06 10:00:00")
    again = await desk.call("old", "POST", path, headers=key)
    assert (first.content, first.headers["ETag"]) == (again.content, again.headers["ETag"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await desk.get("old", f"/v1/contacts/{party.contact_id}"))["version"] == 2


async def test_nobody_changes_or_confirms_somebody_elses_details(desk: Desk) -> None:
    mine, other = desk.parties["standard"], desk.parties["premium"]
    person = {"client_id": str(mine.client_id), "name": "A colleague", "email": "col@client.example"}
    colleague = (await put(desk, "/v1/contacts/by-external-id/colleague", person)).json()
    for who, contact, expected in (
        ("standard", other.contact_id, 404),
        ("standard", colleague["id"], 403),
        ("lead", mine.contact_id, 403),
        ("automation", mine.contact_id, 403),
    ):
        confirm = await desk.call(who, "POST", f"/v1/contacts/{contact}/confirm")
        change = await desk.call(who, "PATCH", f"/v1/contacts/{contact}", {}, headers={"If-Match": '"1"'})
        assert (confirm.status_code, change.status_code) == (expected, expected)


# --------------------------------------------------------------------------- a plan's life as facts


async def test_a_plan_rests_goes_on_ends_and_is_renewed_and_every_past_instant_can_be_judged(desk: Desk) -> None:
    party = await desk.client("kopi", tier=None)
    path = "/v1/subscriptions/by-external-id/"
    first = {
        "client_id": str(party.client_id), "agreement_id": str(party.agreement_id),
        "tier": "standard", "starts_on": "2026-02-01", "ends_on": "2026-06-30",
    }  # fmt: skip
    suspended = {"starts_at": "2026-03-01T00:00:00+08:00", "ends_at": None}
    resumed = suspended | {"ends_at": "2026-03-11T00:00:00+08:00"}
    cancelled = {"cancelled_at": "2026-05-01T00:00:00+08:00"}
    renewed = first | {"tier": "premium", "starts_on": "2026-05-02", "ends_on": None}
    for name, facts in (
        ("a", first),
        ("a", first | {"suspensions": [suspended]}),
        ("a", first | {"suspensions": [resumed]}),
        ("a", first | {"suspensions": [resumed]} | cancelled),
        ("b", renewed),
    ):
        assert (await put(desk, path + name, facts)).status_code in {200, 201}
    for day, state in (
        ("2026-01-31", "not_started"), ("2026-02-01", None), ("2026-03-01", "suspended"), ("2026-03-11", None),
        ("2026-04-30", None), ("2026-05-01", "not_started"), ("2026-05-02", None), ("2027-05-02", None),
    ):  # fmt: skip
        check = {"channel": "portal", "category": "incident", "as_of": f"{day}T12:00:00+08:00"}
        decision = (await desk.call("kopi", "POST", "/v1/eligibility-checks", check)).json()
        found = next((f["facts"]["state"] for f in decision["findings"] if f["code"] == "care_plan_inactive"), None)
        assert found == state, day


# -------------------------------------------------------------------------------------------- staff


async def test_a_lead_changes_level_and_on_call_and_an_admin_the_role(desk: Desk) -> None:
    body = {"name": "Nadia", "email": "nadia@kawan.example"}
    made = (await desk.call("lead", "POST", "/v1/agents", body)).json()
    path = f"/v1/agents/{made['id']}"
    assert (await desk.call("lead", "PATCH", path, {"level": 2})).status_code == 428
    changed = await desk.call("lead", "PATCH", path, {"level": 2, "on_call": True}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["level"], changed.json()["on_call"]) == (200, 2, True)
    assert (await desk.call("lead", "PATCH", path, {"level": 3}, headers={"If-Match": '"1"'})).status_code == 412
    match = {"If-Match": '"2"'}
    for who, change, expected in (
        ("agent3", {"level": 3}, 403), ("lead", {"role": "admin"}, 403), ("lead", {"level": 4}, 422),
        ("lead", {"role": "contact"}, 422), ("lead", {"name": None}, 422), ("admin", {"role": "lead"}, 200),
    ):  # fmt: skip
        response = await desk.call(who, "PATCH", path, change, headers=match)
        assert response.status_code == expected, (who, change, response.text)


async def test_a_lead_makes_neither_themselves_nor_others_an_admin(desk: Desk) -> None:
    me = await desk.get("lead", "/v1/me")
    path = f"/v1/agents/{me['agent_id']}"
    raised = await desk.call("lead", "PATCH", path, {"role": "admin"}, headers={"If-Match": '"1"'})
    assert (raised.status_code, raised.json()["code"]) == (403, "forbidden")
    made = {"name": "Boss", "email": "boss@kawan.example", "role": "admin"}
    assert (await desk.call("lead", "POST", "/v1/agents", made)).status_code == 403
    assert (await desk.get("lead", "/v1/me"))["role"] == "lead"


async def test_bringing_a_contact_up_to_date_leaves_what_it_does_not_say(desk: Desk) -> None:
    party = await desk.client("kopi", confirmed_at=kl("2025-12-01 10:00:00"), bounced_at=kl("2026-01-02 10:00:00"))
    same = {"client_id": str(party.client_id), "name": "New name", "email": "kopi@client.example"}
    path = "/v1/contacts/by-external-id/kopi"
    kept = (await put(desk, path, same)).json()
    assert (kept["confirmed_at"], kept["bounced_at"]) == (z("2025-12-01 10:00:00"), z("2026-01-02 10:00:00"))
    moved = (await put(desk, path, same | {"email": "moved@client.example"})).json()
    assert (moved["confirmed_at"], moved["bounced_at"]) == (z("2026-01-05 10:00:00"), None)


async def test_a_lead_changes_agents_but_no_admin_and_not_their_own_level(desk: Desk) -> None:
    listed = {agent["name"]: agent for agent in (await desk.get("lead", "/v1/agents"))["items"]}

    async def change(who: str, whose: str, **body: Any) -> int:
        path = f"/v1/agents/{listed[whose]['id']}"
        return (await desk.call(who, "PATCH", path, body, headers={"If-Match": "*"})).status_code

    assert await change("lead", "admin", email="mine@kawan.example") == 403
    assert await change("lead", "lead", level=1) == 403
    assert await change("lead", "lead", on_call=True) == 200
    assert await change("lead", "agent", level=2) == 200
    identity = {"identity_issuer": "https://login.example", "identity_subject": "u-1"}
    assert await change("lead", "agent", **identity) == 403
    assert await change("admin", "agent", **identity) == 200
    assert await change("admin", "agent2", **identity) == 409
    assert await change("admin", "agent", identity_subject=None) == 422
    assert await change("admin", "agent", identity_issuer=None, identity_subject=None) == 200
    assert await change("admin", "lead", level=2) == 200


@pytest.mark.parametrize(
    ("path", "change", "pointer"),
    [
        ("/v1/agents/{agent}", {"level": None}, "/level"),
        ("/v1/agents/{agent}", {"role": None}, "/role"),
        ("/v1/agents/{agent}", {"role": "contact"}, "/role"),
        ("/v1/contacts/by-external-id/x", {"role": "agent"}, "/role"),
        ("/v1/subscriptions/by-external-id/x", {"ends_on": "2025-12-31"}, "/ends_on"),
        ("/v1/subscriptions/by-external-id/x", {"starts_on": "0001-01-01"}, "/starts_on"),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(desk: Desk, path: str, change: dict[str, Any], pointer: str) -> None:
    party, agent = desk.parties["premium"], (await desk.get("admin", "/v1/agents"))["items"][0]["id"]
    whole: dict[str, Any] = {"client_id": str(party.client_id)}
    if "contacts" in path:
        whole |= {"name": "X", "email": "x@client.example"}
    if "subscriptions" in path:
        whole |= {"agreement_id": str(party.agreement_id), "tier": "premium", "starts_on": "2026-01-01"}
    method, body = ("PATCH", change) if "agents" in path else ("PUT", whole | change)
    headers = {"If-Match": "*"} if method == "PATCH" else {}
    refused = await desk.call("admin", method, path.format(agent=agent), body, headers=headers)
    assert (refused.status_code, [error["pointer"] for error in refused.json()["errors"]]) == (422, [pointer])
