"""The golden cases of the policy, as tickets of the desk under the test clock."""

from itertools import pairwise
from typing import Any

import pytest

from tests.api.conftest import Desk, z

ACKNOWLEDGED_BY = [
    ("2026-01-05 10:00:00", "2026-01-05 12:00:00"),
    ("2026-01-05 16:00:00", "2026-01-05 18:00:00"),
    ("2026-01-05 16:00:01", "2026-01-06 09:00:01"),
    ("2026-01-05 03:00:00", "2026-01-05 11:00:00"),
    ("2026-01-05 18:00:00", "2026-01-06 11:00:00"),
    ("2026-01-09 17:59:30", "2026-01-12 10:59:30"),
    ("2026-01-10 12:00:00", "2026-01-12 11:00:00"),
]
RESOLVED_BY = [
    ("2026-01-09 17:30:00", "normal", "2026-01-12 17:30:00"),
    ("2026-01-09 17:30:00", "critical", "2026-01-10 17:30:00"),
    ("2026-01-10 12:00:00", "normal", "2026-01-13 00:00:00"),
    ("2026-01-10 10:00:00", "critical", "2026-01-11 10:00:00"),
    ("2026-01-05 10:00:00", "normal", "2026-01-06 10:00:00"),
]


def explained(clock: Any) -> None:
    """The trace leads from the start to the due date without a gap, and counts the target exactly."""
    trace = clock["trace"]
    assert trace[0]["from"] == clock["started_at"]
    assert trace[-1]["to"] == clock["due_at"]
    assert all(one["to"] == other["from"] for one, other in pairwise(trace))
    assert sum(segment["counted_seconds"] for segment in trace) == clock["target_seconds"]
    assert trace[-1]["total_seconds"] == clock["target_seconds"]


@pytest.mark.parametrize(("received", "due"), ACKNOWLEDGED_BY)
async def test_a_ticket_is_acknowledged_within_two_working_hours(desk: Desk, received: str, due: str) -> None:
    await desk.at(received)
    ticket = await desk.open()
    clock = await desk.clock(ticket)
    assert (clock["started_at"], clock["due_at"]) == (z(received), z(due))
    assert (clock["state"], clock["kind"], clock["base"]) == ("running", "commitment", "business_hours")
    explained(clock)


@pytest.mark.parametrize(("received", "priority", "due"), RESOLVED_BY)
async def test_a_standard_issue_is_resolved_within_a_day(desk: Desk, received: str, priority: str, due: str) -> None:
    await desk.at(received)
    ticket = await desk.open(requested_priority=priority)
    clock = await desk.clock(ticket, "resolution")
    assert clock["due_at"] == z(due)
    assert clock["kind"] == "estimate"
    explained(clock)


async def test_warnings_come_at_half_three_quarters_and_nine_tenths_of_the_open_time(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge", {})
    seen = []
    for wall in ("14:29:59", "14:30:00", "16:44:59", "16:45:00"):
        await desk.at(f"2026-01-05 {wall}")
        await desk.sweep()
        seen.append(len(await desk.events(ticket, "clock.warned")))
    await desk.at("2026-01-06 09:05:59")
    await desk.sweep()
    seen.append(len(await desk.events(ticket, "clock.warned")))
    await desk.at("2026-01-06 09:06:00")
    await desk.sweep()
    warned = await desk.events(ticket, "clock.warned")
    assert seen == [0, 1, 1, 2, 2]
    assert [event["data"]["percent"] for event in warned] == [50, 75, 90]
    assert [event["at"] for event in warned] == [
        z("2026-01-05 14:30:00"), z("2026-01-05 16:45:00"), z("2026-01-06 09:06:00"),
    ]  # fmt: skip


async def test_of_several_warnings_in_the_past_only_the_highest_is_sent(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 11:55:00")
    await desk.sweep()
    warned = [event["data"] for event in await desk.events(ticket, "clock.warned")]
    assert [(data["clock"], data["percent"]) for data in warned] == [("acknowledgement", 90)]


async def test_a_promise_is_kept_at_the_due_instant_itself(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:00:00")
    response = await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    clock = response.json()["clocks"][0]
    assert (clock["state"], clock["met_at"], clock["broken_at"]) == ("met", z("2026-01-05 12:00:00"), None)
    assert [event["kind"] for event in await desk.events(ticket)][-2:] == ["ticket.acknowledged", "clock.met"]


async def test_a_promise_is_broken_one_microsecond_later_and_stays_broken(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:00:00.000001")
    response = await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    clock = response.json()["clocks"][0]
    assert (clock["state"], clock["met_at"]) == ("breached", None)
    assert clock["broken_at"] == z("2026-01-05 12:00:00")
    assert clock["detected_at"] == "2026-01-05T04:00:00.000001Z"
    assert (clock["ended_at"], clock["end_reason"]) == ("2026-01-05T04:00:00.000001Z", "done")
    kinds = [event["kind"] for event in await desk.events(ticket)]
    assert kinds.count("clock.broken") == 1
    assert "clock.met" not in kinds
    await desk.at("2026-01-07 12:00:00")
    assert (await desk.clock(ticket))["state"] == "breached"


async def test_the_worker_notices_a_breach_once(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:00:00")
    await desk.sweep()
    assert await desk.events(ticket, "clock.broken") == []
    await desk.at("2026-01-05 12:00:01")
    for _ in range(3):
        await desk.sweep()
    broken = await desk.events(ticket, "clock.broken")
    assert len(broken) == 1
    assert broken[0]["data"]["broken_at"] == z("2026-01-05 12:00:00")
    assert broken[0]["at"] == z("2026-01-05 12:00:01")
    assert broken[0]["audience"] == ["lead"]


async def test_a_critical_ticket_nobody_took_becomes_an_emergency_when_the_desk_closes(desk: Desk) -> None:
    await desk.at("2026-01-05 17:55:00")
    ticket = await desk.open(requested_priority="critical", outage_statement="Everything is down.")
    assert ticket["emergency"] is False
    await desk.at("2026-01-05 17:59:59")
    await desk.sweep()
    assert await desk.events(ticket, "ticket.emergency") == []
    await desk.at("2026-01-05 18:00:00")
    await desk.sweep()
    await desk.sweep()
    told = await desk.events(ticket, "ticket.emergency")
    assert [event["at"] for event in told] == [z("2026-01-05 18:00:00")]
    assert "on_call" in told[0]["audience"]
    assert (await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["emergency"] is True
    assert (await desk.clock(ticket))["due_at"] == z("2026-01-06 10:55:00")


async def test_a_critical_ticket_received_while_the_desk_is_closed_is_an_emergency_at_once(desk: Desk) -> None:
    await desk.at("2026-01-10 12:00:00")
    ticket = await desk.open(requested_priority="critical", outage_statement="Everything is down.")
    assert ticket["emergency"] is True
    assert len(await desk.events(ticket, "ticket.emergency")) == 1


async def test_a_normal_ticket_after_hours_waits_for_the_next_opening(desk: Desk) -> None:
    await desk.at("2026-01-10 12:00:00")
    ticket = await desk.open()
    assert ticket["emergency"] is False
    assert ticket["clocks"][0]["counting_now"] is False
    assert ticket["clocks"][0]["next_change_at"] == z("2026-01-12 09:00:00")


async def test_an_acknowledged_critical_ticket_is_no_emergency_when_the_desk_closes(desk: Desk) -> None:
    await desk.at("2026-01-05 17:55:00")
    ticket = await desk.open(requested_priority="critical", outage_statement="Everything is down.")
    await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge", {})
    await desk.at("2026-01-05 18:00:00")
    await desk.sweep()
    assert await desk.events(ticket, "ticket.emergency") == []


async def test_a_call_that_staff_answered_is_acknowledged_when_it_was_received(desk: Desk) -> None:
    party = desk.parties["premium"]
    body = desk.request(
        client_id=str(party.client_id), contact_id=str(party.contact_id), channel="phone",
        requested_priority="high", received_at="2026-01-05T09:30:00+08:00",
    )  # fmt: skip
    response = await desk.call("agent", "POST", "/v1/tickets", body)
    ticket = response.json()
    assert response.status_code == 201, ticket
    clock = ticket["clocks"][0]
    assert (ticket["status"], clock["state"], clock["met_at"]) == ("open", "met", z("2026-01-05 09:30:00"))
    assert ticket["late_logged"] is False


async def test_an_answered_call_logged_after_more_than_two_hours_is_flagged(desk: Desk) -> None:
    party = desk.parties["premium"]
    body = desk.request(
        client_id=str(party.client_id), contact_id=str(party.contact_id), channel="phone",
        requested_priority="high", received_at="2026-01-05T09:30:00+08:00",
    )  # fmt: skip
    await desk.at("2026-01-05 11:30:01")
    assert (await desk.call("agent", "POST", "/v1/tickets", body)).json()["late_logged"] is True


async def test_a_voicemail_is_no_acknowledgement(desk: Desk) -> None:
    party = desk.parties["premium"]
    body = desk.request(
        client_id=str(party.client_id), contact_id=str(party.contact_id), channel="phone",
        requested_priority="high", answered=False,
    )  # fmt: skip
    ticket = (await desk.call("agent", "POST", "/v1/tickets", body)).json()
    assert (ticket["status"], ticket["clocks"][0]["state"]) == ("new", "running")
