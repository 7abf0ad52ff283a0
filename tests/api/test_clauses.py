"""The 28 clauses of the policy, each by a test of its name that reads what cites it over HTTP.

Each test runs twice: as the policy is, and with a version that lacks the clause, where it has to fail.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.db.policies import policy
from app.domain.policy import CLAUSES
from tests.api.conftest import Desk, kl

Body = Callable[[Desk], Awaitable[Any]]
TESTED: dict[str, str] = {}
OUTAGE = {"requested_priority": "critical", "outage_statement": "All is down."}
WHY = {"reason": "It is so."}


@pytest.fixture
async def without(
    app: tuple[FastAPI, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Put a policy version in force that lacks a clause; no document may, so it is cut out after reading."""
    book, parse = app[0].state.runtime.book, policy.parse

    async def cut(name: str) -> None:
        def lacking(document: Any) -> Any:
            version = parse(document)
            return replace(version, clauses={own: clause for own, clause in version.clauses.items() if own != name})

        monkeypatch.setattr(policy, "parse", lacking)
        await book.read()

    yield cut
    monkeypatch.undo()
    await book.read()


def clause(name: str) -> Callable[[Body], Any]:
    """Declare a test of a clause: its body returns what it found cited, as an id or with title and text."""

    def declare(body: Body) -> Any:
        async def shown(desk: Desk) -> None:
            found = await body(desk)
            policy = await desk.get("standard", "/v1/policy")
            texts = {entry["id"]: entry for entry in policy["clauses"]}
            assert found in (name, texts[name])

        @pytest.mark.parametrize("lacking", [False, True], ids=["kept", "lacking"])
        @functools.wraps(body)
        async def test(desk: Desk, without: Callable[[str], Awaitable[None]], *, lacking: bool) -> None:
            if not lacking:
                await shown(desk)
                return
            await without(name)
            with pytest.raises((AssertionError, KeyError, StopIteration)):
                await shown(desk)

        del test.__wrapped__  # type: ignore[attr-defined]  # its arguments are not the body's
        TESTED[name] = body.__name__
        return test

    return declare


async def finding(desk: Desk, code: str, who: str = "standard", **asked: Any) -> Any:
    check = {"channel": "portal", "category": "incident", **asked}
    response = await desk.call(who, "POST", "/v1/eligibility-checks", check)
    assert response.status_code == 201, response.text
    return next(found["clause"] for found in response.json()["findings"] if found["code"] == code)


async def event(desk: Desk, ticket: Any, kind: str) -> Any:
    return (await desk.events(ticket, kind))[-1]["data"]["clause"]


async def channel(desk: Desk, name: str) -> Any:
    found = await desk.get("standard", "/v1/availability")
    return next(entry["clause"] for entry in found["channels"] if entry["channel"] == name)


async def prioritized(desk: Desk, priority: str) -> Any:
    started = await desk.open(requested_priority="low" if priority == "normal" else "normal")
    await desk.act("agent", started, "prioritize", priority=priority, outage_statement="All is down.", **WHY)
    return await event(desk, started, "ticket.prioritized")


async def excluded(desk: Desk, name: str) -> Any:
    return await finding(desk, f"excluded_{name}", category=name)


@clause("eligibility.care-plan")
async def test_eligibility_care_plan(desk: Desk) -> Any:
    return await finding(desk, "care_plan_inactive", "lapsed")


@clause("eligibility.non-subscribers")
async def test_eligibility_non_subscribers(desk: Desk) -> Any:
    refused = (await desk.call("lapsed", "POST", "/v1/tickets", desk.request())).json()["decision"]
    assert [other["kind"] for other in refused["alternatives"]] == ["consultation"]
    return "eligibility.non-subscribers"


@clause("availability.business-hours")
async def test_availability_business_hours(desk: Desk) -> Any:
    found = await desk.get("standard", "/v1/availability")
    assert (found["open_now"], found["next_closes_at"]) == (True, "2026-01-05T10:00:00Z")
    return found["clause"]


@clause("availability.after-hours")
async def test_availability_after_hours(desk: Desk) -> Any:
    await desk.at("2026-01-10 12:00:00")
    ticket = await desk.open(**OUTAGE)
    emergency = (await desk.get("standard", "/v1/availability"))["emergency"]
    assert emergency["clause"]["id"] == await event(desk, ticket, "ticket.emergency")
    return emergency["clause"]


@clause("channels.ticketing")
async def test_channels_ticketing(desk: Desk) -> Any:
    assert (await desk.open())["channel"] == "portal"
    return await channel(desk, "portal")


@clause("channels.email")
async def test_channels_email(desk: Desk) -> Any:
    party = desk.parties["standard"]
    urgent = {"client_id": str(party.client_id), "channel": "email", "requested_priority": "high"}
    return await finding(desk, "email_is_for_non_urgent", "agent", **urgent)


@clause("channels.phone")
async def test_channels_phone(desk: Desk) -> Any:
    return await finding(desk, "phone_requires_premium", channel="phone", requested_priority="high")


@clause("response.initial")
async def test_response_initial(desk: Desk) -> Any:
    clock = await desk.clock(await desk.open())
    assert (clock["target_seconds"], clock["base"]) == (7200, "business_hours")
    return clock["clause"]


@clause("response.standard")
async def test_response_standard(desk: Desk) -> Any:
    clock = await desk.clock(await desk.open(), "resolution")
    assert (clock["target_seconds"], clock["kind"]) == (86400, "estimate")
    return clock["clause"]


@clause("response.complex")
async def test_response_complex(desk: Desk) -> Any:
    ticket = await desk.open()
    await desk.act("agent", ticket, "acknowledge")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    return (await desk.clock(ticket, "update"))["clause"]


@clause("priority.critical")
async def test_priority_critical(desk: Desk) -> Any:
    assert await prioritized(desk, "critical") == "priority.critical"
    return await finding(desk, "outage_statement_missing", requested_priority="critical")


@clause("priority.high")
async def test_priority_high(desk: Desk) -> Any:
    return await prioritized(desk, "high")


@clause("priority.normal")
async def test_priority_normal(desk: Desk) -> Any:
    return await prioritized(desk, "normal")


@clause("priority.low")
async def test_priority_low(desk: Desk) -> Any:
    return await prioritized(desk, "low")


@clause("escalation.level-1")
async def test_escalation_level_1(desk: Desk) -> Any:
    ticket = await desk.open()
    assert ticket["level"] == 1
    await desk.act("agent", ticket, "escalate", **WHY)
    await desk.act("agent2", ticket, "deescalate", **WHY)
    return await event(desk, ticket, "ticket.deescalated")


@clause("escalation.level-2")
async def test_escalation_level_2(desk: Desk) -> Any:
    ticket = await desk.open()
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    return await event(desk, ticket, "ticket.escalated")


@clause("escalation.level-3")
async def test_escalation_level_3(desk: Desk) -> Any:
    ticket = await desk.open(**OUTAGE)
    await desk.act("agent", ticket, "escalate", to_level=3, **WHY)
    escalated = (await desk.events(ticket, "ticket.escalated"))[-1]
    assert "management" in escalated["audience"]
    return escalated["data"]["clause"]


@clause("responsibilities.descriptions")
async def test_responsibilities_descriptions(desk: Desk) -> Any:
    return (await desk.open(details=None))["warnings"][0]["clause"]


@clause("responsibilities.contact")
async def test_responsibilities_contact(desk: Desk) -> Any:
    await desk.client("stale", confirmed_at=kl("2025-01-01 10:00:00"))
    return (await desk.open("stale"))["warnings"][0]["clause"]


@clause("responsibilities.feedback")
async def test_responsibilities_feedback(desk: Desk) -> Any:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    given = await desk.call("standard", "PUT", f"/v1/tickets/{ticket['id']}/feedback", {"rating": 5})
    assert given.status_code == 200, given.text
    return await event(desk, ticket, "feedback.given")


@clause("exclusions.customizations")
async def test_exclusions_customizations(desk: Desk) -> Any:
    return await excluded(desk, "customizations")


@clause("exclusions.upgrades")
async def test_exclusions_upgrades(desk: Desk) -> Any:
    return await excluded(desk, "upgrades")


@clause("exclusions.layout-changes")
async def test_exclusions_layout_changes(desk: Desk) -> Any:
    return await excluded(desk, "layout_changes")


@clause("exclusions.feature-additions")
async def test_exclusions_feature_additions(desk: Desk) -> Any:
    return await excluded(desk, "feature_additions")


@clause("exclusions.third-party-modifications")
async def test_exclusions_third_party_modifications(desk: Desk) -> Any:
    verdict = {
        "exclusion": "third_party_modifications", "text": "Somebody else changed the code.",
        "alternative": "We can repair it as separate work.", "evidence": "The log names another developer.",
    }  # fmt: skip
    ticket = await desk.open(category="third_party_modifications")
    await desk.act("agent", ticket, "mark-out-of-scope", **verdict)
    assert await event(desk, ticket, "ticket.out_of_scope") == ticket["warnings"][0]["clause"]["id"]
    return ticket["warnings"][0]["clause"]


@clause("exclusions.out-of-scope")
async def test_exclusions_out_of_scope(desk: Desk) -> Any:
    await desk.client("narrow", assets=["shop.example"])
    return await finding(desk, "outside_agreement", "narrow", asset_id="blog.example")


@clause("changes.right-to-update")
async def test_changes_right_to_update(desk: Desk) -> Any:
    document = await desk.get("agent", "/v1/policy-versions/1/document")
    later = document | {"version": 2, "effective_from": "2026-07-01"}
    published = await desk.call("admin", "POST", "/v1/policy-versions", later)
    assert published.status_code == 201, published.text
    return (await desk.get("standard", "/v1/policy"))["following"]["clause"]


@clause("changes.review")
async def test_changes_review(desk: Desk) -> Any:
    return (await desk.get("standard", "/v1/me"))["policy_review"]["clause"]


def test_every_clause_has_its_test() -> None:
    assert tuple(TESTED) == CLAUSES
