"""Eligibility over HTTP: every reason at once, a refusal that keeps what was written."""

import asyncio
from typing import Any

from tests.api.conftest import Desk, z


def codes(decision: Any) -> list[str]:
    return [finding["code"] for finding in decision["findings"]]


async def test_a_phone_request_of_a_standard_client_on_a_saturday_is_refused_for_three_reasons(desk: Desk) -> None:
    party = desk.parties["standard"]
    body = {
        "client_id": str(party.client_id), "channel": "phone", "category": "incident", "requested_priority": "normal",
        "as_of": "2026-01-10T12:00:00+08:00",
    }  # fmt: skip
    response = await desk.call("agent", "POST", "/v1/eligibility-checks", body)
    decision = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/v1/eligibility-checks/{decision['id']}"
    assert decision["outcome"] == "denied"
    assert decision["as_of"] == "2026-01-10T04:00:00Z"
    assert codes(decision) == ["phone_requires_premium", "phone_requires_urgency", "phone_outside_business_hours"]
    assert {finding["clause"]["id"] for finding in decision["findings"]} == {"channels.phone"}
    assert all(finding["clause"]["text"].startswith("For urgent matters") for finding in decision["findings"])
    assert decision["findings"][0]["facts"] == {"tier": "standard"}
    assert [other["kind"] for other in decision["alternatives"]] == ["portal", "email"]
    assert decision["handling"] == {"mode": "next_opening", "starts_at": "2026-01-12T01:00:00Z"}
    assert decision["clocks"] == [
        {"clock": "acknowledgement", "kind": "commitment", "due_at": "2026-01-12T03:00:00Z"},
        {"clock": "resolution", "kind": "estimate", "due_at": "2026-01-12T16:00:00Z"},
    ]


async def test_a_check_is_kept_and_read_again(desk: Desk) -> None:
    body = {"channel": "portal", "category": "question"}
    decision = (await desk.call("standard", "POST", "/v1/eligibility-checks", body)).json()
    kept = await desk.get("standard", f"/v1/eligibility-checks/{decision['id']}")
    assert {name: kept[name] for name in decision} == decision
    assert kept["request"]["channel"] == "portal"
    assert kept["ticket_attempt"] is False


async def test_a_preview_leaves_nothing_behind(desk: Desk) -> None:
    body = {"channel": "portal", "category": "question"}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks?store=false", body)
    assert response.status_code == 200
    assert response.json()["id"] is None
    assert (await desk.get("agent", "/v1/eligibility-checks"))["items"] == []


async def test_a_lapsed_clients_ticket_is_refused_with_the_consultation_and_staff_read_the_attempt(desk: Desk) -> None:
    body = desk.request(subject="Our shop is down", description="Nobody can order anything since noon today.")
    response = await desk.call("lapsed", "POST", "/v1/tickets", body)
    problem = response.json()
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (problem["code"], problem["type"]) == ("not_eligible", "/problems/not_eligible")
    decision = problem["decision"]
    assert codes(decision) == ["care_plan_inactive"]
    assert decision["findings"][0]["facts"]["state"] == "expired"
    assert decision["findings"][0]["clause"]["id"] == "eligibility.care-plan"
    assert [other["kind"] for other in decision["alternatives"]] == ["consultation"]
    assert (decision["handling"], decision["clocks"]) == (None, [])
    assert (await desk.get("agent", "/v1/tickets"))["items"] == []

    kept = (await desk.get("agent", "/v1/eligibility-checks?outcome=denied"))["items"]
    assert [check["id"] for check in kept] == [decision["id"]]
    assert kept[0]["ticket_attempt"] is True
    assert kept[0]["request"]["subject"] == "Our shop is down"
    assert kept[0]["request"]["description"] == "Nobody can order anything since noon today."
    assert kept[0]["request"]["details"]["impact"] == "no inquiries arrive"


async def test_a_refused_ticket_is_replayed_with_its_key_and_kept_once(desk: Desk) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await desk.call("lapsed", "POST", "/v1/tickets", desk.request(), headers=headers)
    second = await desk.call("lapsed", "POST", "/v1/tickets", desk.request(), headers=headers)
    assert (first.status_code, second.status_code) == (403, 403)
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len((await desk.get("agent", "/v1/eligibility-checks"))["items"]) == 1


async def test_warnings_come_with_an_accepted_ticket(desk: Desk) -> None:
    ticket = await desk.open(details={}, description="Broken.", requested_priority="critical")
    assert [warning["code"] for warning in ticket["warnings"]] == ["details_missing", "outage_statement_missing"]
    assert ticket["warnings"][0]["facts"]["missing"] == [
        "details.since", "details.where", "details.impact", "description",
    ]  # fmt: skip


async def test_what_an_agreement_does_not_list_is_outside_of_it(desk: Desk) -> None:
    await desk.client("shop", assets=["shop.example"], services=[])
    body = {"channel": "portal", "category": "incident"}
    inside = await desk.call("shop", "POST", "/v1/eligibility-checks", body | {"asset_id": "shop.example"})
    outside = await desk.call("shop", "POST", "/v1/eligibility-checks", body | {"asset_id": "blog.example"})
    assert inside.json()["outcome"] == "allowed"
    assert codes(outside.json()) == ["outside_agreement"]
    assert [other["kind"] for other in outside.json()["alternatives"]] == ["separate_agreement", "consultation"]


async def test_one_ticket_uses_a_check(desk: Desk) -> None:
    check = (
        await desk.call("standard", "POST", "/v1/eligibility-checks", {"channel": "portal", "category": "incident"})
    ).json()
    ticket = await desk.open(eligibility_check_id=check["id"])
    assert ticket["eligibility_check_id"] == check["id"]
    again = await desk.call("standard", "POST", "/v1/tickets", desk.request(eligibility_check_id=check["id"]))
    assert (again.status_code, again.json()["code"]) == (409, "check_used")


async def test_a_check_of_another_category_or_client_does_not_fit(desk: Desk) -> None:
    body = {"channel": "portal", "category": "question"}
    own = (await desk.call("standard", "POST", "/v1/eligibility-checks", body)).json()
    foreign = (await desk.call("premium", "POST", "/v1/eligibility-checks", body | {"category": "incident"})).json()
    for check in (own, foreign):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(eligibility_check_id=check["id"]))
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/eligibility_check_id"


async def test_an_instant_before_the_first_policy_has_none_in_force(desk: Desk) -> None:
    body = {"channel": "portal", "category": "question", "as_of": "2025-12-31T23:59:59+08:00"}
    response = await desk.call("standard", "POST", "/v1/eligibility-checks", body)
    assert (response.status_code, response.json()["code"]) == (422, "no_policy_in_force")
    first = await desk.call("standard", "POST", "/v1/eligibility-checks", body | {"as_of": "2026-01-01T00:00:00+08:00"})
    assert first.status_code == 201


async def test_a_plan_ends_with_its_last_local_day(desk: Desk) -> None:
    body = {"client_id": str(desk.parties["lapsed"].client_id), "channel": "portal", "category": "question"}
    for as_of, outcome in ((z("2026-01-01 00:00:00"), "denied"),):
        decision = (await desk.call("agent", "POST", "/v1/eligibility-checks", body | {"as_of": as_of})).json()
        assert decision["outcome"] == outcome


async def test_an_urgent_email_is_taken_with_a_warning_and_never_bounced(desk: Desk) -> None:
    party = desk.parties["premium"]
    body = desk.request(
        client_id=str(party.client_id), contact_id=str(party.contact_id), channel="email", requested_priority="high"
    )
    ticket = (await desk.call("agent", "POST", "/v1/tickets", body)).json()
    assert [(w["code"], w["clause"]["id"]) for w in ticket["warnings"]] == [
        ("email_is_for_non_urgent", "channels.email")
    ]
    assert ticket["status"] == "new"


async def test_old_contact_details_are_warned_of(desk: Desk) -> None:
    await desk.at("2026-06-30 07:59:59")
    fresh = await desk.open("premium")
    assert fresh["warnings"] == []
    await desk.at("2026-06-30 08:00:00")
    stale = await desk.open("premium")
    assert [(w["code"], w["clause"]["id"]) for w in stale["warnings"]] == [
        ("contact_details_stale", "responsibilities.contact")
    ]


async def test_what_support_does_not_include_is_refused_by_its_own_clause(desk: Desk) -> None:
    for category in ("customizations", "upgrades", "layout_changes", "feature_additions"):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(category=category))
        finding = response.json()["decision"]["findings"][0]
        assert finding["code"] == f"excluded_{category}"
        assert finding["clause"]["id"] == f"exclusions.{category.replace('_', '-')}"
    ticket = await desk.open(category="third_party_modifications")
    assert [(w["code"], w["clause"]["id"]) for w in ticket["warnings"]] == [
        ("may_be_excluded", "exclusions.third-party-modifications")
    ]


async def test_empty_details_are_warned_of_and_never_refused(desk: Desk) -> None:
    empty = {
        "details": {"since": "", "where": " ", "impact": "\n"},
        "outage_statement": "",
        "description": "",
        "service": " ",
    }
    body = {"channel": "portal", "category": "incident", "requested_priority": "critical"} | empty
    decision = await desk.call("standard", "POST", "/v1/eligibility-checks?store=false", body)
    assert decision.status_code == 200
    assert codes(decision.json()) == ["details_missing", "outage_statement_missing"]
    ticket = await desk.open(details=empty["details"], outage_statement="", asset_id="", requested_priority="critical")
    assert (ticket["asset_id"], ticket["outage_statement"]) == (None, None)
    assert (await desk.open(details=None))["details"] == {"since": None, "where": None, "impact": None}
    assert [warning["code"] for warning in ticket["warnings"]] == ["details_missing", "outage_statement_missing"]
    for fields in ({"subject": " "}, {"description": ""}):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(**fields))
        assert response.status_code == 422


# ------------------------------------------------------------------------------------- overrides


async def denied(desk: Desk, who: str = "lapsed", **fields: Any) -> Any:
    response = await desk.call(who, "POST", "/v1/tickets", desk.request(**fields))
    assert response.status_code == 403, response.text
    return response.json()["decision"]


async def test_a_lead_lets_a_refused_request_in_and_one_ticket_uses_that(desk: Desk) -> None:
    decision = await denied(desk)
    path = f"/v1/eligibility-checks/{decision['id']}"
    early = await desk.call("lapsed", "POST", "/v1/tickets", desk.request(eligibility_check_id=decision["id"]))
    assert (early.status_code, early.json()["code"]) == (403, "not_eligible"), "a refusal alone opens nothing"
    reason = {"reason": "Their renewal was signed yesterday."}
    said = await desk.call("lead", "POST", f"{path}/override", reason)
    assert said.status_code == 200, said.text
    assert (said.json()["outcome"], said.json()["override"]["reason"]) == ("denied", reason["reason"])
    seen = (await desk.get("lapsed", path))["override"]
    assert seen == {"overridden_at": z("2026-01-05 10:00:00"), "overridden_by": None, "reason": None}
    ticket = await desk.open("lapsed", eligibility_check_id=decision["id"])
    assert ticket["eligibility_check_id"] == decision["id"]
    assert [clock["state"] for clock in ticket["clocks"]] == ["running", "running"]
    second = await desk.call("lapsed", "POST", "/v1/tickets", desk.request(eligibility_check_id=decision["id"]))
    assert (second.status_code, second.json()["code"]) == (409, "check_used")
    assert (await desk.call("lapsed", "POST", "/v1/tickets", desk.request())).status_code == 403


async def test_an_override_sent_twice_at_once_is_answered_twice(desk: Desk) -> None:
    path = f"/v1/eligibility-checks/{(await denied(desk))['id']}/override"
    key, reason = {"Idempotency-Key": "k"}, {"reason": "Goodwill."}
    both = await asyncio.gather(*(desk.call("lead", "POST", path, reason, headers=key) for _ in range(4)))
    assert {response.status_code for response in both} == {200}, [response.text for response in both]


async def test_an_override_is_for_the_same_client_category_and_channel(desk: Desk) -> None:
    decision = await denied(desk)
    await desk.call("lead", "POST", f"/v1/eligibility-checks/{decision['id']}/override", {"reason": "Goodwill."})
    party = desk.parties["lapsed"]
    whose = {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
    for who, other in (
        ("lapsed", {"category": "question"}),
        ("agent", {"channel": "email", **whose}),
        ("standard", {}),
    ):
        body = desk.request(eligibility_check_id=decision["id"], **other)
        response = await desk.call(who, "POST", "/v1/tickets", body)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["pointer"] == "/eligibility_check_id"


async def test_an_override_is_a_leads_within_seven_days_of_a_denial_and_once(desk: Desk) -> None:
    decision = await denied(desk)
    path = f"/v1/eligibility-checks/{decision['id']}/override"
    for who in ("lapsed", "agent", "agent3", "auditor", "automation"):
        assert (await desk.call(who, "POST", path, {"reason": "Please."})).status_code == 403
    assert (await desk.call("lead", "POST", path, {"reason": " "})).status_code == 422
    await desk.at("2026-01-12 10:00:00.000001")
    late = await desk.call("lead", "POST", path, {"reason": "Goodwill."})
    assert (late.status_code, late.json()["code"]) == (409, "not_overridable")
    await desk.at("2026-01-12 10:00:00")
    assert (await desk.call("lead", "POST", path, {"reason": "Goodwill."})).status_code == 200
    again = await desk.call("admin", "POST", path, {"reason": "Goodwill."})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_change")
    check = {"channel": "portal", "category": "incident"}
    allowed = (await desk.call("standard", "POST", "/v1/eligibility-checks", check)).json()
    none = await desk.call("lead", "POST", f"/v1/eligibility-checks/{allowed['id']}/override", {"reason": "Why not."})
    assert (none.status_code, none.json()["code"]) == (409, "not_overridable")
