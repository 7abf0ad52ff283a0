"""Whole stories over HTTP: a ticket's life, escalation by rule and by people, waiting, endings, and what was then."""

from typing import Any

import pytest

from app.db import events as stored_events
from app.db import tickets
from app.domain import fold
from tests.api.conftest import Desk, kl, z

WHY = {"reason": "Because."}
OUTAGE = {"requested_priority": "critical", "outage_statement": "The whole shop is down."}


async def check_fold(desk: Desk, ticket: Any) -> None:
    """The stored row and its cycles are the fold of the events."""
    stored = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert stored is not None
    told = await stored_events.of_ticket(desk.pool, stored.client_id, stored.id, 0, stored_events.Selection(), 10_000)
    assert fold.fold(None, told) == stored


async def test_one_ticket_lives_through_everything(desk: Desk) -> None:
    async def act(who: str, name: str, **body: Any) -> Any:
        found = await desk.act(who, ticket, name, **body)
        await check_fold(desk, ticket)
        return found

    ticket = await desk.open()
    await desk.at("2026-01-05 10:30:00")
    assert (await act("agent", "acknowledge", text="We look into it."))["status"] == "open"
    assert (await act("agent", "prioritize", priority="high", **WHY))["priority_source"] == "staff"
    complex_ = await act("agent", "classify", complexity="complex", **WHY)
    assert (complex_["complexity"], complex_["level"]) == ("complex", 2)
    await desk.at("2026-01-05 15:00:00")
    await desk.say("agent2", ticket, "It is the payment provider.")
    dated = await act("agent2", "expect-resolution", expected_at="2026-01-07T02:00:00Z", text="By Wednesday.")
    assert dated["expected_resolution_at"] == "2026-01-07T02:00:00Z"
    await act("agent2", "expect-resolution", expected_at="2026-01-08T02:00:00Z", text="By Thursday.")
    assert (await act("lead", "assign", assignee_id=await agent_id(desk, "agent2")))["assignee_id"]
    top = await act("agent2", "escalate", **WHY)
    assert (top["level"], top["assignee_id"]) == (3, None)
    asked = await act("agent3", "request-details", text="Since which order?")
    assert (asked["status"], asked["waiting_since"]) == ("waiting_on_client", z("2026-01-05 15:00:00"))
    await desk.at("2026-01-06 09:00:00")
    await desk.say("standard", ticket, "Since number 4711.")
    await check_fold(desk, ticket)
    solved = await act("agent3", "resolve", resolution="fixed", text="It works again.")
    assert (solved["status"], solved["reopens_until"]) == ("resolved", z("2026-01-13 09:00:00"))
    await desk.at("2026-01-07 11:00:00")
    again = await act("standard", "reopen", reason="It is back.")
    assert (again["status"], again["level"], again["complexity"]) == ("open", 3, "complex")
    await act("agent3", "acknowledge")
    await act("agent3", "resolve", resolution="workaround", text="Please use the other form.")
    assert (await act("standard", "close", reason="Thank you."))["status"] == "closed"

    states = [(c["clock"], c["cycle"], c["state"]) for c in (await clocks(desk, ticket))]
    assert states == [
        ("acknowledgement", 1, "met"), ("resolution", 1, "superseded"), ("update", 1, "met"),
        ("expected_resolution", 1, "superseded"), ("expected_resolution", 2, "met"), ("update", 2, "met"),
        ("update", 3, "met"), ("update", 4, "met"), ("update", 5, "met"), ("acknowledgement", 2, "met"),
        ("update", 6, "met"),
    ]  # fmt: skip
    kinds = [event["kind"] for event in await desk.events(ticket) if event["kind"].startswith("ticket.")]
    assert kinds == [
        "ticket.opened", "ticket.acknowledged", "ticket.prioritized", "ticket.classified", "ticket.escalated",
        "ticket.expected_resolution_set", "ticket.expected_resolution_set", "ticket.assigned", "ticket.escalated",
        "ticket.assigned", "ticket.details_requested", "ticket.resumed", "ticket.resolved", "ticket.reopened",
        "ticket.acknowledged", "ticket.resolved", "ticket.closed",
    ]  # fmt: skip


async def agent_id(desk: Desk, name: str) -> str:
    found = (await desk.get("lead", "/v1/agents"))["items"]
    return str(next(agent["id"] for agent in found if agent["name"] == name))


async def clocks(desk: Desk, ticket: Any, query: str = "") -> Any:
    return (await desk.get("agent", f"/v1/tickets/{ticket['id']}/clocks{query}"))["clocks"]


async def test_the_past_is_shown_as_it_was_and_never_changes(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    before = [await desk.get("standard", f"{path}{part}") for part in ("", "/clocks")]
    await desk.at("2026-01-05 11:00:00")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    await desk.at("2026-01-05 13:00:00")
    await desk.act("agent", ticket, "request-details", text="Which page?")
    query = "?as_of=2026-01-05T10:00:00%2B08:00"
    later = [await desk.get("standard", f"{path}{part}{query}") for part in ("", "/clocks")]
    assert later == before
    kinds = [e["kind"] for e in (await desk.get("agent", f"{path}/events{query}"))["items"]]
    assert kinds == ["ticket.opened", "clock.started", "clock.started"]
    early = await desk.call("standard", "GET", f"{path}?as_of=2026-01-05T09:59:59%2B08:00")
    assert early.status_code == 404


async def test_the_future_is_today_with_time_passing_and_nobody_acting(desk: Desk) -> None:
    ticket = await desk.open(**OUTAGE)
    path = f"/v1/tickets/{ticket['id']}"
    future = await desk.get("standard", f"{path}?as_of=2026-01-07T00:00:00%2B08:00")
    assert [clock["state"] for clock in future["clocks"]] == ["breached", "overdue"]
    assert (future["emergency"], future["status"]) == (True, "new")
    assert len(await desk.events(ticket)) == 3


async def raises(desk: Desk, ticket: Any) -> Any:
    """By which rule the ticket was raised, to which level, and who was told."""
    found = await desk.events(ticket, "ticket.escalated")
    return [(event["data"]["rule"], event["data"]["level"], event["audience"]) for event in found]


async def test_rules_escalate_once_each_and_a_deescalation_holds(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:00:01")
    await desk.sweep()
    await desk.at("2026-01-06 10:00:01")
    await desk.sweep()
    raised = [
        (e["data"]["rule"], e["data"]["level"], e["audience"]) for e in await desk.events(ticket, "ticket.escalated")
    ]
    assert raised == [("ack-breached", 2, ["client", "level-2", "lead"])]
    assert [e["data"]["rule"] for e in await desk.events(ticket, "rule.satisfied")] == ["resolution-overdue"]
    down = await desk.act("lead", ticket, "deescalate", **WHY)
    assert down["level"] == 1
    await desk.at("2026-01-07 09:59:59")
    await desk.sweep()
    assert (await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["level"] == 1
    await desk.at("2026-01-07 10:00:00")
    await desk.sweep()
    await desk.sweep()
    raised = [
        (e["data"]["rule"], e["data"]["level"], e["audience"]) for e in await desk.events(ticket, "ticket.escalated")
    ]
    assert raised[1:] == [("resolution-overdue-1d", 3, ["client", "level-3", "management"])]


async def test_a_missed_update_tells_management(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "acknowledge")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    await desk.at("2026-01-06 10:00:01")
    await desk.sweep()
    raised = [(e["data"]["rule"], e["data"]["level"]) for e in await desk.events(ticket, "ticket.escalated")]
    assert raised == [("complex-to-2", 2), ("update-missed", 3)]


async def test_a_rule_waits_for_the_client_too(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-06 10:00:01")
    await desk.act("agent", ticket, "request-details", text="Which page?")
    await desk.at("2026-01-08 10:00:00")
    await desk.sweep()
    path = f"/v1/tickets/{ticket['id']}/escalation-rules"
    rules = {rule["rule"]: rule for rule in (await desk.get("agent", path))["rules"]}
    assert (rules["resolution-overdue-1d"]["fires"], rules["resolution-overdue-1d"]["at"]) == (
        False,
        z("2026-01-07 10:00:00"),
    )
    assert "waits" in rules["resolution-overdue-1d"]["why"]
    resumed = await desk.act("agent", ticket, "resume")
    assert resumed["level"] == 3


async def test_levels_are_for_people_of_the_level(desk: Desk) -> None:
    ticket = await desk.open()
    assert (await desk.act("agent", ticket, "escalate", **WHY))["level"] == 2
    assert (await desk.act("agent", ticket, "escalate", 403, **WHY))["code"] == "act_forbidden"
    assert (await desk.act("agent2", ticket, "escalate", **WHY))["level"] == 3
    assert (await desk.act("agent3", ticket, "deescalate", 409, **WHY))["code"] == "act_not_allowed"
    assert (await desk.act("lead", ticket, "deescalate", **WHY))["level"] == 2
    other = await desk.open(**OUTAGE)
    assert (await desk.act("agent", other, "escalate", to_level=3, **WHY))["level"] == 3
    plain = await desk.open()
    assert (await desk.act("agent", plain, "escalate", 409, to_level=3, **WHY))["code"] == "act_not_allowed"


async def test_a_client_asks_for_escalation_and_a_lead_decides(desk: Desk) -> None:
    ticket = await desk.open()
    asked = await desk.act("standard", ticket, "request-escalation", text="It is urgent.")
    assert asked["escalation_requested_at"] == z("2026-01-05 10:00:00")
    assert (await desk.act("standard", ticket, "request-escalation", 409))["code"] == "act_not_allowed"
    declined = await desk.act("lead", ticket, "decide-escalation", decision="declined", text="We are on it.")
    assert (declined["level"], declined["status"], declined["escalation_requested_at"]) == (1, "open", None)
    assert (await desk.clock(ticket))["state"] == "met"
    await desk.act("standard", ticket, "request-escalation")
    granted = await desk.act("lead", ticket, "decide-escalation", decision="granted", text="All right.")
    assert granted["level"] == 2
    texts = [m["text"] for m in (await desk.get("standard", f"/v1/tickets/{ticket['id']}/messages"))["items"]]
    assert texts == ["We are on it.", "All right."]


async def test_out_of_scope_is_disputed_once_and_then_a_leads_word(desk: Desk) -> None:
    ticket = await desk.open()
    verdict = {"exclusion": "third_party_modifications", "text": "Somebody changed it.", "alternative": "An offer."}
    bare = await desk.act("agent", ticket, "mark-out-of-scope", 422, **verdict)
    assert bare["errors"][0]["pointer"] == "/evidence"
    out = await desk.act("agent", ticket, "mark-out-of-scope", evidence="commit 4711", **verdict)
    assert (out["status"], out["resolution"]) == ("resolved", "out_of_scope")
    states = {c["clock"]: (c["state"], c["end_reason"]) for c in await clocks(desk, ticket)}
    assert states == {"acknowledgement": ("met", "done"), "resolution": ("cancelled", "out_of_scope")}
    assert (await desk.act("standard", ticket, "reopen", 409, **WHY))["code"] == "act_not_allowed"
    await desk.say("standard", ticket, "It was you.")
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["status"] == "resolved"
    assert (await desk.act("standard", ticket, "dispute", text="It was you."))["status"] == "open"
    refused = await desk.act("agent", ticket, "mark-out-of-scope", 403, evidence="commit 4711", **verdict)
    assert refused["code"] == "act_forbidden"
    await desk.act("lead", ticket, "mark-out-of-scope", evidence="commit 4711", **verdict)
    assert (await desk.act("standard", ticket, "dispute", 409, text="No."))["code"] == "already_disputed"


async def test_a_reopening_is_judged_by_plan_and_coverage_and_the_refusal_is_kept(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    party = desk.parties["standard"]
    facts = {
        "client_id": str(party.client_id),
        "agreement_id": str(party.agreement_id),
        "tier": "standard",
        "starts_on": "2025-01-01",
    }
    found = (await desk.get("lead", "/v1/subscriptions"))["items"]
    name = next(plan["external_id"] for plan in found if plan["client_id"] == str(party.client_id))
    await desk.call("lead", "PUT", f"/v1/subscriptions/by-external-id/{name}", facts | {"ends_on": "2026-01-05"})
    await desk.at("2026-01-06 10:00:00")
    refused = await desk.act("standard", ticket, "reopen", 403, reason="It is back.")
    assert (refused["code"], refused["decision"]["findings"][0]["code"]) == ("not_eligible", "care_plan_inactive")
    kept = await desk.get("agent", f"/v1/eligibility-checks/{refused['decision']['id']}")
    assert kept["request"] == {
        "category": "incident", "channel": "portal", "reopen": ticket["id"], "ref": ticket["ref"],
        "reason": "It is back.",
    }  # fmt: skip
    # Staff who try it give reasons of the house, which their client doesn't read.
    tried = await desk.act("agent", ticket, "reopen", 403, reason="They have a point.")
    path = f"/v1/eligibility-checks/{tried['decision']['id']}"
    assert (await desk.get("agent", path))["request"]["reason"] == "They have a point."
    assert "reason" not in (await desk.get("standard", path))["request"]
    seen = await desk.call("standard", "GET", "/v1/eligibility-checks")
    assert ("They have" in seen.text, "It is back." in seen.text) == (False, True)
    # What a lead then lets in is a new ticket that follows this one.
    again = {"follow_up_of": ticket["id"], "eligibility_check_id": kept["id"]}
    assert (await desk.call("standard", "POST", "/v1/tickets", desk.request(**again))).status_code == 403
    await desk.call("lead", "POST", f"/v1/eligibility-checks/{kept['id']}/override", WHY)
    assert (await desk.call("standard", "POST", "/v1/tickets", desk.request(**again))).status_code == 201
    said = await desk.say("standard", ticket, "It is back.")
    assert said["text"] == "It is back."
    rated = await desk.call("standard", "PUT", f"/v1/tickets/{ticket['id']}/feedback", {"rating": 2})
    assert rated.status_code == 200
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["status"] == "resolved"


@pytest.mark.parametrize(("wall", "status"), [("2026-01-12 09:59:59", 201), ("2026-01-12 10:00:00", 409)])
async def test_a_clients_word_takes_a_resolved_ticket_up_again_within_its_window(
    desk: Desk, wall: str, status: int
) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    await desk.at(wall)
    path = f"/v1/tickets/{ticket['id']}/messages"
    if status == 201:
        await desk.call("standard", "POST", path, {"text": "Thanks.", "reopen": False})
        assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["status"] == "resolved"
    response = await desk.call("standard", "POST", path, {"text": "It is back."})
    assert (response.status_code, response.json().get("code")) == (
        status,
        "reopen_window_over" if status == 409 else None,
    )
    found = await desk.get("standard", f"/v1/tickets/{ticket['id']}")
    assert found["status"] == ("open" if status == 201 else "resolved")
    assert [c["cycle"] for c in await clocks(desk, ticket)] == ([1, 1, 2, 2] if status == 201 else [1, 1])


async def test_feedback_is_given_once_per_resolution_and_changed_for_a_week(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/feedback"
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    assert (await desk.call("standard", "GET", path)).status_code == 404
    first = (await desk.call("standard", "PUT", path, {"rating": 2, "comment": "Slow."})).json()
    await desk.at("2026-01-12 09:59:59")
    second = (await desk.call("standard", "PUT", path, {"rating": 5})).json()
    assert (second["rating"], second["comment"], second["given_at"]) == (5, None, first["given_at"])
    assert (await desk.call("standard", "PUT", path, {"rating": 5})).json()["code"] == "nothing_to_change"
    await desk.at("2026-01-12 10:00:00")
    assert (await desk.call("standard", "PUT", path, {"rating": 1})).status_code == 409
    assert (await desk.get("agent", path))["rating"] == 5
    assert (await desk.call("premium", "PUT", path, {"rating": 1})).status_code == 404


async def test_a_client_reads_no_reason_rule_label_or_assignee_of_the_house(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    await desk.act("agent", ticket, "prioritize", priority="high", reason="canary-reason")
    await desk.act("agent", ticket, "assign", assignee_id=await agent_id(desk, "agent2"))
    version = (await desk.get("agent", path))["version"]
    labels = {"tags": ["canary-tag"]}
    assert (await desk.call("agent", "PATCH", path, labels, headers={"If-Match": f'"{version}"'})).status_code == 200
    await desk.act("agent", ticket, "classify", complexity="complex", reason="canary-reason")
    for address in (path, f"{path}/events?limit=200", f"{path}/messages", f"{path}/clocks", "/v1/tickets"):
        text = (await desk.call("standard", "GET", address)).text
        assert "canary" not in text
        assert "complex-to-2" not in text
        assert await agent_id(desk, "agent2") not in text
    assert (await desk.get("agent", path))["tags"] == ["canary-tag"]
    assert (
        await desk.call("standard", "GET", f"/v1/tickets?assignee_id={await agent_id(desk, 'agent2')}")
    ).status_code == 422


async def test_amending_needs_the_version_and_clients_change_only_what_is_theirs(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    words = {"details": {"since": "Sunday", "where": "the form", "impact": "none"}}
    bare = await desk.call("standard", "PATCH", path, words)
    assert (bare.status_code, bare.json()["code"]) == (428, "precondition_required")
    subject = await desk.call("standard", "PATCH", path, {"subject": "Mine"}, headers={"If-Match": '"1"'})
    assert subject.json()["errors"] == [
        {"pointer": "/subject", "code": "not_yours", "message": "only staff change this"}
    ]
    done = await desk.call("standard", "PATCH", path, words, headers={"If-Match": '"1"'})
    assert (done.json()["details"]["since"], done.headers["ETag"]) == ("Sunday", '"2"')
    same = await desk.call("standard", "PATCH", path, words, headers={"If-Match": '"2"'})
    assert same.json()["code"] == "nothing_to_change"


async def test_becoming_critical_while_the_desk_is_closed_is_an_emergency_and_resolving_ends_it(desk: Desk) -> None:
    await desk.at("2026-01-10 12:00:00")
    ticket = await desk.open()
    bare = await desk.act("standard", ticket, "prioritize", 422, priority="critical", **WHY)
    assert bare["errors"][0]["pointer"] == "/outage_statement"
    raised = await desk.act("standard", ticket, "prioritize", priority="critical", outage_statement="All.", **WHY)
    assert (raised["emergency"], raised["requested_priority"], raised["priority_source"]) == (
        True,
        "critical",
        "client",
    )
    await desk.act("agent", ticket, "prioritize", priority="critical", **WHY)
    assert (await desk.act("standard", ticket, "prioritize", 409, priority="low", **WHY))["code"] == "act_not_allowed"
    solved = await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    assert solved["emergency"] is False
    told = [e["kind"] for e in await desk.events(ticket) if "emergency" in e["kind"]]
    assert told == ["ticket.emergency", "ticket.emergency_ended"]
    await desk.act("standard", ticket, "reopen", reason="It is down again.")
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["emergency"] is True


async def test_confirming_critical_at_night_is_no_new_emergency(desk: Desk) -> None:
    ticket = await desk.open(requested_priority="critical", outage_statement="All is down.")
    await desk.act("agent", ticket, "acknowledge")
    await desk.at("2026-01-05 20:00:00")
    await desk.act("agent", ticket, "prioritize", priority="critical", reason="It is.")
    assert await desk.events(ticket, "ticket.emergency") == []


async def test_the_dry_run_sees_what_nobody_has_noted_yet(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:30:00")
    found = await desk.get("agent", f"/v1/tickets/{ticket['id']}/escalation-rules")
    fires = {rule["rule"]: (rule["fires"], rule["at"]) for rule in found["rules"]}
    assert fires["ack-breached"] == (True, z("2026-01-05 12:00:00"))
    assert not any(fire for name, (fire, _) in fires.items() if name != "ack-breached")
    assert await desk.events(ticket, "clock.broken") == [], "a dry run leaves nothing behind"


async def test_the_same_expected_date_may_be_given_again_with_a_new_word(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "classify", complexity="complex", reason="Deep.")
    await desk.at("2026-01-05 10:20:00")
    date = {"expected_at": kl("2026-01-07 10:00:00").isoformat()}
    await desk.act("agent", ticket, "expect-resolution", text="By Wednesday.", **date)
    await desk.at("2026-01-05 15:00:00")
    again = await desk.act("agent", ticket, "expect-resolution", text="Still by Wednesday.", **date)
    runs = [(clock["clock"], clock["cycle"], clock["state"]) for clock in again["clocks"]]
    assert ("expected_resolution", 1, "superseded") in runs
    assert ("expected_resolution", 2, "running") in runs
    assert ("update", 2, "running") in runs


async def test_an_expected_date_is_warned_of(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "classify", complexity="complex", reason="Deep.")
    date = {"expected_at": kl("2026-01-05 18:00:00").isoformat()}
    await desk.act("agent", ticket, "expect-resolution", text="By tonight.", **date)
    for wall in ("2026-01-05 13:59:59", "2026-01-05 14:00:00", "2026-01-05 17:12:00"):
        await desk.at(wall)
        await desk.sweep()
    warned = [
        (event["data"]["percent"], event["at"])
        for event in await desk.events(ticket, "clock.warned")
        if event["data"]["clock"] == "expected_resolution"
    ]
    assert warned == [(50, z("2026-01-05 14:00:00")), (90, z("2026-01-05 17:12:00"))]


async def test_labels_are_for_the_house_alone(desk: Desk) -> None:
    ticket = await desk.open()
    headers = {"If-Match": '"1"'}
    response = await desk.call("agent", "PATCH", f"/v1/tickets/{ticket['id']}", {"tags": ["vip"]}, headers=headers)
    assert response.status_code == 200
    seen = (await desk.get("standard", f"/v1/tickets/{ticket['id']}/events?limit=200"))["items"]
    assert "ticket.amended" not in {event["kind"] for event in seen}


async def test_a_reopened_ticket_says_when_it_is_looked_at(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    await desk.at("2026-01-10 12:00:00")
    again = await desk.act("standard", ticket, "reopen", reason="It is back.")
    assert (again["handling"]["mode"], again["handling"]["starts_at"]) == ("next_opening", z("2026-01-12 09:00:00"))


async def test_a_rule_may_wait_after_a_warning_be_for_some_priorities_and_only_tell(desk: Desk) -> None:
    document = await desk.get("admin", "/v1/policy-versions/1/document")
    del document["version"], document["effective_from"]
    half = {"clause": "escalation.level-2", "trigger": "clock_warned", "clock": "acknowledgement", "percent": 50}
    document["escalation_rules"] = [
        {"id": "half-hour-on", **half, "after_seconds": 1800, "raise_to": 2, "tell": ["jane@kawan.example"]},
        {"id": "high-only", **half, "priorities": ["high"], "tell": ["lead"]},
    ]
    published = await desk.call("admin", "POST", "/v1/policy-versions", document)
    assert published.status_code == 201, published.text
    normal, high = await desk.open(), await desk.open(requested_priority="high")
    for wall, levels in (("2026-01-05 11:29:59", [1, 1]), ("2026-01-05 11:30:00", [2, 2])):
        await desk.at(wall)
        await desk.sweep()
        found = [(await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["level"] for ticket in (normal, high)]
        assert found == levels
    raised = (await desk.events(normal, "ticket.escalated"))[0]
    seen = (await desk.get("standard", f"/v1/tickets/{normal['id']}/events?limit=200"))["items"]
    assert raised["audience"] == ["client", "level-2", "jane@kawan.example"]
    assert {name for event in seen for name in event["audience"]} == {"client"}, "who else is told is the house's"
    told = [await desk.events(ticket, "rule.satisfied") for ticket in (normal, high)]
    assert [[(event["data"]["rule"], event["audience"]) for event in events] for events in told] == [
        [], [("high-only", ["lead"])],
    ]  # fmt: skip


async def test_an_assignee_who_rose_is_assigned_again_and_stays(desk: Desk) -> None:
    ticket = await desk.open()
    helper = await agent_id(desk, "agent")
    await desk.act("agent", ticket, "assign", assignee_id=helper)
    await desk.act("agent", ticket, "assign", 409, assignee_id=helper)
    found = await desk.call("admin", "PATCH", f"/v1/agents/{helper}", {"level": 3}, headers={"If-Match": "*"})
    assert found.status_code == 200
    await desk.act("agent", ticket, "assign", assignee_id=helper)
    assert (await desk.act("lead", ticket, "escalate", **WHY))["assignee_id"] == helper


async def test_a_critical_request_logged_after_the_desk_had_opened_promises_nobody_on_call(desk: Desk) -> None:
    await desk.at("2026-01-06 20:00:00")
    late = {"client_id": str(desk.parties["standard"].client_id), "received_at": kl("2026-01-05 20:00:00").isoformat()}
    late["contact_id"] = str(desk.parties["standard"].contact_id)
    ticket = await desk.open("agent", **late, **OUTAGE)
    assert (ticket["emergency"], ticket["handling"]["mode"]) == (False, "next_opening")
    assert ticket["handling"]["starts_at"] == z("2026-01-07 09:00:00")


async def test_a_ticket_says_when_it_stops_waiting_and_when_it_can_no_longer_be_reopened(desk: Desk) -> None:
    await desk.at("2026-01-09 16:00:00")
    ticket = await desk.open()
    waiting = await desk.act("agent", ticket, "request-details", text="Which page?")
    assert waiting["next_change_at"] == z("2026-01-14 16:00:00")
    resolved = await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    assert resolved["next_change_at"] == resolved["reopens_until"] == z("2026-01-16 16:00:00")
    closed = await desk.act("standard", ticket, "close", **WHY)
    assert closed["next_change_at"] is None


async def test_to_a_client_everybody_of_the_house_is_the_house(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.say("agent", ticket, "We look into it.")
    path = f"/v1/tickets/{ticket['id']}"
    for who, known in (("standard", False), ("agent2", True)):
        authors = [message["author"] for message in (await desk.get(who, f"{path}/messages"))["items"]]
        actors = [event["actor"] for event in (await desk.get(who, f"{path}/events"))["items"]]
        assert {person["role"] for person in actors} >= {"agent", "contact"}
        assert {bool(person["id"]) for person in (*authors, *actors) if person["role"] == "agent"} == {known}
        assert all(person["id"] for person in actors if person["role"] == "contact")


async def test_a_long_story_is_read_without_its_words(desk: Desk) -> None:
    ticket = await desk.open()
    for _ in range(3):
        await desk.say("standard", ticket, "x" * 20_000)
    stored = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert stored is not None
    story = await stored_events.story(desk.pool, stored.client_id, stored.id, None)
    assert fold.fold(None, story) == stored
    assert not any("text" in event.data for event in story)


async def walked(desk: Desk, who: str, path: str) -> list[Any]:
    """The pages of a list, by their cursors."""
    pages, cursor = [], ""
    while cursor is not None:
        page = await desk.get(who, f"{path}?limit=200{cursor and f'&cursor={cursor}'}")
        pages.append(page["items"])
        cursor = page["next_cursor"]
    return pages


async def test_a_page_ends_where_enough_is_written_on_it(desk: Desk) -> None:
    """Two hundred of the longest texts would be sixteen megabytes, and nobody else would be answered meanwhile."""
    ticket = await desk.open()
    words = ["\N{WATERMELON}" * 20_000 for _ in range(30)]
    for number, word in enumerate([*words, "short", "shorter"]):
        await desk.say("standard", ticket, f"{number:02}{word}"[:20_000])
    pages = await walked(desk, "standard", f"/v1/tickets/{ticket['id']}/messages")
    assert [len(page) for page in pages] == [13, 13, 6]
    assert [message["text"][:2] for page in pages for message in page] == [f"{number:02}" for number in range(32)]
    told = await walked(desk, "standard", f"/v1/tickets/{ticket['id']}/events")
    numbers = [event["number"] for page in told for event in page]
    assert (numbers, len(told)) == (sorted(set(numbers)), 3)
    for _ in range(14):
        asked = await desk.call("standard", "POST", "/v1/eligibility-checks", {
            "channel": "portal", "category": "incident", "description": words[0],
        })  # fmt: skip
        assert asked.status_code == 201, asked.text
    checks = await walked(desk, "standard", "/v1/eligibility-checks")
    assert [len(page) for page in checks] == [13, 1]
    assert len({check["id"] for page in checks for check in page}) == 14


async def test_whatever_is_written_counts_for_a_page(desk: Desk) -> None:
    """Reasons as well as words: an act may have as long a one as a message."""
    ticket = await desk.open()
    for number in range(20):
        priority = "high" if number % 2 else "low"
        await desk.act("agent", ticket, "prioritize", priority=priority, reason="x" * 20_000)
    told = await walked(desk, "agent", f"/v1/tickets/{ticket['id']}/events")
    assert len(told) == 2
    numbers = [event["number"] for page in told for event in page]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(event["kind"] == "ticket.prioritized" for page in told for event in page) == 20
    stored = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert stored is not None
    fetched = await stored_events.of_ticket(desk.pool, stored.client_id, stored.id, 0, stored_events.Selection(), 201)
    # Of what doesn't fit one is fetched, and without its words.
    assert [event.data is None for event in fetched] == [False] * len(told[0]) + [True]


async def test_a_preview_under_a_used_key_is_another_request(desk: Desk) -> None:
    body = {"channel": "portal", "category": "incident"}
    key = {"Idempotency-Key": "once"}
    stored = await desk.call("standard", "POST", "/v1/eligibility-checks", body, headers=key)
    preview = await desk.call("standard", "POST", "/v1/eligibility-checks?store=false", body, headers=key)
    assert (stored.status_code, preview.status_code, preview.json()["code"]) == (201, 422, "idempotency_key_reused")
