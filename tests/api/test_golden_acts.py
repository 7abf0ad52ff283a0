"""The golden cases that acts bring about: waiting, priorities, complexity, silence, withdrawal."""

from itertools import pairwise
from typing import Any

import pytest

from tests.api.conftest import Desk, z

WHY = {"reason": "Because."}


def explained(clock: Any) -> None:
    """The trace leads from the start to the due date without a gap, and counts the target exactly."""
    trace = clock["trace"]
    assert trace[0]["from"] == clock["started_at"]
    assert trace[-1]["to"] == clock["due_at"]
    assert all(one["to"] == other["from"] for one, other in pairwise(trace))
    assert trace[-1]["total_seconds"] == clock["target_seconds"]


async def opened(desk: Desk, wall: str, **fields: Any) -> Any:
    await desk.at(f"2026-01-{wall}")
    return await desk.open(**fields)


async def waiting(desk: Desk, ticket: Any, start: str, end: str) -> None:
    await desk.at(f"2026-01-{start}")
    await desk.act("agent", ticket, "request-details", text="Which page?")
    await desk.at(f"2026-01-{end}")
    await desk.say("standard", ticket, "The first one.")


async def test_waiting_on_a_friday_moves_the_due_date_by_as_much(desk: Desk) -> None:
    ticket = await opened(desk, "09 10:00:00")
    await waiting(desk, ticket, "09 12:00:00", "09 16:00:00")
    clock = await desk.clock(ticket, "resolution")
    assert clock["due_at"] == z("2026-01-12 14:00:00")
    explained(clock)
    assert [(piece["kind"], piece["reason"]) for piece in clock["trace"]] == [
        ("counted", None), ("paused", "waiting_on_client"), ("counted", None), ("closed", None), ("counted", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "due", "kinds"),
    [
        ("10 10:00:00", "2026-01-10 14:00:00", ["counted", "paused", "counted"]),
        ("12 09:00:00", "2026-01-12 09:00:00", ["counted", "paused", "counted", "grace"]),
    ],
)
async def test_set_critical_the_whole_run_is_counted_anew_and_never_broken_before_the_change(
    desk: Desk, changed: str, due: str, kinds: list[str]
) -> None:
    ticket = await opened(desk, "09 10:00:00")
    await waiting(desk, ticket, "09 12:00:00", "09 16:00:00")
    await desk.at(f"2026-01-{changed}")
    await desk.act("agent", ticket, "prioritize", priority="critical", outage_statement="The whole shop.", **WHY)
    clock = await desk.clock(ticket, "resolution")
    assert (clock["due_at"], clock["base"], clock["state"]) == (z(due), "calendar", "running")
    explained(clock)
    assert [piece["kind"] for piece in clock["trace"]] == kinds
    moved = (await desk.events(ticket, "clock.moved"))[0]["data"]
    assert (moved["was_due_at"], moved["due_at"], moved["reason"]) == (z("2026-01-12 14:00:00"), z(due), "priority")


@pytest.mark.parametrize(("priority", "due"), [("normal", "2026-01-12 18:00:00"), ("critical", "2026-01-11 10:00:00")])
async def test_a_wait_over_a_night_counts_in_the_clocks_own_base(desk: Desk, priority: str, due: str) -> None:
    ticket = await opened(desk, "09 10:00:00", requested_priority=priority, outage_statement="The whole shop.")
    await waiting(desk, ticket, "09 16:00:00", "10 16:00:00")
    clock = await desk.clock(ticket, "resolution")
    assert clock["due_at"] == z(due)
    explained(clock)


async def test_a_critical_ticket_lowered_on_a_saturday_is_due_on_tuesday(desk: Desk) -> None:
    ticket = await opened(desk, "10 10:00:00", requested_priority="critical", outage_statement="The whole shop.")
    assert (await desk.clock(ticket, "resolution"))["due_at"] == z("2026-01-11 10:00:00")
    await desk.at("2026-01-10 12:00:00")
    lowered = await desk.act("agent", ticket, "prioritize", priority="normal", **WHY)
    assert lowered["emergency"] is False
    clock = await desk.clock(ticket, "resolution")
    assert (clock["due_at"], clock["base"]) == (z("2026-01-13 00:00:00"), "business_days")
    explained(clock)
    assert len(await desk.events(ticket, "ticket.emergency_ended")) == 1


async def test_complex_and_back_the_promise_goes_on_as_if_it_had_never_stopped(desk: Desk) -> None:
    ticket = await opened(desk, "05 10:00:00")
    await desk.act("agent", ticket, "acknowledge")
    await desk.at("2026-01-06 09:00:00")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    assert (await desk.clock(ticket, "resolution"))["state"] == "superseded"
    assert (await desk.clock(ticket, "update"))["due_at"] == z("2026-01-06 18:00:00")
    await desk.at("2026-01-06 17:00:00")
    await desk.say("agent", ticket, "It takes a little longer.")
    await desk.at("2026-01-07 09:00:00")
    await desk.act("agent", ticket, "classify", complexity="standard", **WHY)
    clock = await desk.clock(ticket, "resolution")
    assert (clock["state"], clock["due_at"], clock["cycle"]) == ("running", z("2026-01-07 09:00:00"), 1)
    explained(clock)
    assert clock["trace"][-1]["kind"] == "grace"
    assert (await desk.clock(ticket, "update"))["state"] == "superseded"
    await desk.at("2026-01-07 09:00:00.000001")
    assert (await desk.clock(ticket, "resolution"))["state"] == "overdue"


async def test_classified_complex_too_late_the_overdue_promise_stands(desk: Desk) -> None:
    ticket = await opened(desk, "05 10:00:00")
    await desk.at("2026-01-06 11:00:00")
    late = await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    clock = await desk.clock(ticket, "resolution")
    assert (clock["state"], clock["broken_at"]) == ("overdue", z("2026-01-06 10:00:00"))
    assert (clock["end_reason"], late["late_reclassification"]) == ("superseded", True)


async def test_an_update_is_owed_nine_open_hours_after_the_last_public_word(desk: Desk) -> None:
    ticket = await opened(desk, "09 10:00:00")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    await desk.at("2026-01-09 15:00:00")
    await desk.say("agent", ticket, "We have found it.")
    clock = await desk.clock(ticket, "update")
    assert (clock["due_at"], clock["cycle"]) == (z("2026-01-12 15:00:00"), 1)
    explained(clock)


async def test_a_question_ends_the_silent_spell_and_the_next_one_begins_with_the_answer(desk: Desk) -> None:
    ticket = await opened(desk, "05 09:00:00")
    await desk.act("agent", ticket, "acknowledge")
    await desk.act("agent", ticket, "classify", complexity="complex", **WHY)
    await desk.at("2026-01-05 10:00:00")
    await desk.act("agent", ticket, "request-details", text="Which page?")
    clock = await desk.clock(ticket, "update")
    assert (clock["cycle"], clock["state"], clock["due_at"]) == (2, "paused", None)
    assert clock["remaining_seconds"] == 9 * 3600
    await desk.at("2026-01-06 14:00:00")
    await desk.say("standard", ticket, "The first one.")
    clock = await desk.clock(ticket, "update")
    assert (clock["cycle"], clock["state"], clock["due_at"]) == (2, "running", z("2026-01-07 14:00:00"))
    explained(clock)
    found = await desk.get("agent", f"/v1/tickets/{ticket['id']}/clocks")
    states = {each["cycle"]: each["state"] for each in found["clocks"] if each["clock"] == "update"}
    assert states == {1: "met", 2: "running"}


async def test_silence_is_reminded_of_then_resolved_then_closed(desk: Desk) -> None:
    ticket = await opened(desk, "09 15:00:00")
    await desk.at("2026-01-09 16:00:00")
    await desk.act("agent", ticket, "request-details", text="Which page?")
    told = {"ticket.reminded": "2026-01-14", "ticket.resolved": "2026-01-23", "ticket.closed": "2026-01-30"}
    for kind, day in told.items():
        await desk.at(f"{day} 15:59:59")
        await desk.sweep()
        assert await desk.events(ticket, kind) == []
        await desk.at(f"{day} 16:00:00")
        await desk.sweep()
        await desk.sweep()
        assert [event["at"] for event in await desk.events(ticket, kind)] == [z(f"{day} 16:00:00")]
    found = await desk.get("standard", f"/v1/tickets/{ticket['id']}")
    assert (found["status"], found["resolution"]) == ("closed", "no_client_response")
    clock = await desk.clock(ticket, "resolution")
    assert (clock["state"], clock["end_reason"]) == ("cancelled", "no_client_response")


@pytest.mark.parametrize(
    ("wall", "state"), [("2026-01-05 12:00:00", "cancelled"), ("2026-01-05 12:00:00.000001", "breached")]
)
async def test_a_withdrawal_cancels_what_runs_and_heals_nothing(desk: Desk, wall: str, state: str) -> None:
    ticket = await opened(desk, "05 10:00:00")
    await desk.at(wall)
    withdrawn = await desk.act("standard", ticket, "withdraw", **WHY)
    clock = await desk.clock(ticket)
    assert (withdrawn["status"], clock["state"], clock["end_reason"]) == ("closed", state, "withdrawn")
