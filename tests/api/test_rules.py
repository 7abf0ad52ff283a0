"""Rules of acts, clocks and levels that a story has to be told for, each by itself."""

from typing import Any

import pytest

from tests.api.conftest import Desk, z
from tests.api.test_life import OUTAGE, WHY, agent_id, clocks

DONE = {"resolution": "fixed", "text": "Done."}
VERDICT = {"exclusion": "upgrades", "text": "It is an upgrade.", "alternative": "An offer."}


async def runs(desk: Desk, ticket: Any, name: str) -> list[tuple[int, str, str | None]]:
    """The cycles of a clock: their number, state and due date."""
    found = await clocks(desk, ticket)
    return [(clock["cycle"], clock["state"], clock["due_at"]) for clock in found if clock["clock"] == name]


async def a_complex_one(desk: Desk) -> Any:
    ticket = await desk.open()
    await desk.act("agent", ticket, "acknowledge")
    return await desk.act("agent", ticket, "classify", complexity="complex", **WHY)


# -------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(("who", "early"), [("agent", True), ("lead", True), ("standard", False), (None, False)])
async def test_what_staff_close_is_reported_as_closed_early_and_nothing_else_is(
    desk: Desk, who: str | None, *, early: bool
) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", **DONE)
    if who:
        await desk.act(who, ticket, "close", **WHY)
    else:
        await desk.at("2026-01-12 10:00:00")
        await desk.sweep()
    closed = await desk.events(ticket, "ticket.closed")
    assert [event["data"]["early"] for event in closed] == [early]


@pytest.mark.parametrize(
    ("ending", "again"),
    [(("resolve", DONE), ("reopen", WHY)), (("mark-out-of-scope", VERDICT), ("dispute", {"text": "No."}))],
)
async def test_a_request_for_escalation_lapses_when_the_ticket_ends(desk: Desk, ending: Any, again: Any) -> None:
    ticket = await desk.open()
    await desk.act("standard", ticket, "request-escalation", text="It is urgent.")
    ended = await desk.act("agent", ticket, ending[0], **ending[1])
    assert ended["escalation_requested_at"] is None
    await desk.act("standard", ticket, again[0], **again[1])
    decision = {"decision": "granted", "text": "All right."}
    assert (await desk.act("lead", ticket, "decide-escalation", 409, **decision))["code"] == "act_not_allowed"
    assert (await desk.act("standard", ticket, "request-escalation"))["escalation_requested_at"]


async def test_a_request_for_escalation_lapses_when_the_ticket_is_withdrawn(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("standard", ticket, "request-escalation")
    assert (await desk.act("standard", ticket, "withdraw", **WHY))["escalation_requested_at"] is None


async def test_a_dispute_tells_the_lead(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "mark-out-of-scope", **VERDICT)
    await desk.act("standard", ticket, "dispute", text="It is none.")
    told = [event["audience"] for event in await desk.events(ticket, "ticket.disputed")]
    assert len(told) == 1
    assert "lead" in told[0]


async def test_a_staff_members_reopening_is_itself_the_acknowledgement(desk: Desk) -> None:
    ticket = await a_complex_one(desk)
    await desk.act("agent", ticket, "resolve", **DONE)
    await desk.at("2026-01-07 11:00:00")
    again = await desk.act("agent", ticket, "reopen", **WHY)
    assert again["status"] == "open"
    clock = await desk.clock(ticket)
    assert (clock["cycle"], clock["state"], clock["met_at"]) == (2, "met", z("2026-01-07 11:00:00"))
    # The first word isn't waited for: the silent spell has begun.
    assert (await runs(desk, ticket, "update"))[-1] == (2, "running", z("2026-01-08 11:00:00"))
    assert (await desk.act("agent", ticket, "acknowledge", 409))["code"] == "act_not_allowed"


async def test_a_clients_reopening_waits_for_an_acknowledgement(desk: Desk) -> None:
    ticket = await a_complex_one(desk)
    await desk.act("agent", ticket, "resolve", **DONE)
    await desk.at("2026-01-07 11:00:00")
    await desk.act("standard", ticket, "reopen", **WHY)
    clock = await desk.clock(ticket)
    assert (clock["cycle"], clock["state"], clock["due_at"]) == (2, "running", z("2026-01-07 13:00:00"))
    assert len(await runs(desk, ticket, "update")) == 1


async def test_each_resolution_has_its_own_feedback(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/feedback"
    await desk.act("agent", ticket, "resolve", **DONE)
    assert (await desk.call("standard", "PUT", path, {"rating": 2})).status_code == 200
    await desk.act("standard", ticket, "reopen", **WHY)
    await desk.at("2026-01-13 10:00:00")
    await desk.act("agent", ticket, "resolve", **DONE)
    second = await desk.call("standard", "PUT", path, {"rating": 2})
    assert (second.status_code, second.json()["given_at"]) == (200, z("2026-01-13 10:00:00"))
    await desk.at("2026-01-20 09:59:59")
    assert (await desk.call("standard", "PUT", path, {"rating": 3})).json()["rating"] == 3
    await desk.at("2026-01-20 10:00:00")
    assert (await desk.call("standard", "PUT", path, {"rating": 4})).status_code == 409
    given = await desk.events(ticket, "feedback.given")
    assert [event["data"]["rating"] for event in given] == [2, 2, 3]


# --------------------------------------------------------------------------------------- levels


async def test_a_broken_promise_opens_the_way_from_level_1_to_3(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 12:00:01")
    await desk.act("agent", ticket, "acknowledge")
    assert (await desk.act("lead", ticket, "deescalate", **WHY))["level"] == 1
    raised = await desk.act("agent", ticket, "escalate", to_level=3, **WHY)
    assert (raised["level"], raised["priority"]) == (3, "normal")


async def test_above_level_3_there_is_nothing_to_ask_for(desk: Desk) -> None:
    ticket = await desk.open(**OUTAGE)
    await desk.act("agent", ticket, "escalate", to_level=3, **WHY)
    assert (await desk.act("agent3", ticket, "escalate", 409, **WHY))["code"] == "at_top_level"
    assert (await desk.act("standard", ticket, "request-escalation", 409))["code"] == "at_top_level"


async def test_a_rule_takes_off_an_assignee_below_its_level(desk: Desk) -> None:
    junior, senior = await desk.open(), await desk.open()
    await desk.act("agent", junior, "assign", assignee_id=await agent_id(desk, "agent"))
    helper = await agent_id(desk, "agent2")
    await desk.act("agent", senior, "assign", assignee_id=helper)
    await desk.at("2026-01-05 12:00:01")
    await desk.sweep()
    found = [await desk.get("agent", f"/v1/tickets/{ticket['id']}") for ticket in (junior, senior)]
    assert [(ticket["level"], ticket["assignee_id"]) for ticket in found] == [(2, None), (2, helper)]
    assigned = (await desk.events(junior, "ticket.assigned"))[-1]
    assert (assigned["actor"]["role"], assigned["data"]["assignee_id"]) == ("service", None)


async def test_nobody_as_the_assignee_takes_somebody_off(desk: Desk) -> None:
    ticket = await desk.open()
    helper = await agent_id(desk, "agent2")
    assert (await desk.act("agent", ticket, "assign", assignee_id=helper))["assignee_id"] == helper
    assert (await desk.act("agent", ticket, "assign", assignee_id=None))["assignee_id"] is None
    assert (await desk.act("agent", ticket, "assign", 409, assignee_id=None))["code"] == "nothing_to_change"


async def test_the_acts_of_a_ticket_know_of_a_rule_that_nobody_has_noted(desk: Desk) -> None:
    """At 12:00 the acknowledgement breaks and `ack-breached` raises to level 2: level 1 may no longer escalate."""
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    for wall, may in (("2026-01-05 12:00:00", True), ("2026-01-05 12:00:01", False)):
        await desk.at(wall)
        for who, expected in (("agent", may), ("agent2", True)):
            one, acts = await desk.get(who, path), await desk.get(who, f"{path}/acts")
            assert one["allowed_acts"] == acts["allowed"]
            assert ("escalate" in one["allowed_acts"]) == expected, (who, wall)
    assert await desk.events(ticket, "ticket.escalated") == [], "reading leaves nothing behind"


# --------------------------------------------------------------------------------------- clocks


async def test_a_word_of_staff_while_the_client_is_waited_for_begins_the_next_spell_paused(desk: Desk) -> None:
    ticket = await a_complex_one(desk)
    await desk.act("agent", ticket, "request-details", text="Which page?")
    await desk.at("2026-01-05 15:00:00")
    await desk.say("agent", ticket, "The one with the form, perhaps?")
    assert (await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["status"] == "waiting_on_client"
    assert await runs(desk, ticket, "update") == [
        (1, "met", z("2026-01-06 10:00:00")), (2, "met", z("2026-01-06 15:00:00")), (3, "paused", None),
    ]  # fmt: skip
    clock = await desk.clock(ticket, "update")
    assert (clock["started_at"], clock["remaining_seconds"]) == (z("2026-01-05 15:00:00"), 32_400)
    await desk.at("2026-01-06 11:00:00")
    await desk.say("standard", ticket, "Yes.")
    assert (await runs(desk, ticket, "update"))[-1] == (3, "running", z("2026-01-07 11:00:00"))


async def test_an_overdue_expected_date_stays_beside_the_next(desk: Desk) -> None:
    ticket = await a_complex_one(desk)
    first, second = z("2026-01-05 14:00:00"), z("2026-01-06 14:00:00")
    await desk.act("agent", ticket, "expect-resolution", expected_at=first, text="By two.")
    await desk.at("2026-01-05 15:00:00")
    dated = await desk.act("agent", ticket, "expect-resolution", expected_at=second, text="By two tomorrow.")
    assert dated["expected_resolution_at"] == second
    assert await runs(desk, ticket, "expected_resolution") == [(1, "overdue", first), (2, "running", second)]
    found = [clock for clock in await clocks(desk, ticket) if clock["clock"] == "expected_resolution"]
    assert [clock["ended_at"] for clock in found] == [None, None]
    await desk.at("2026-01-06 09:00:00")
    await desk.act("agent", ticket, "resolve", **DONE)
    assert await runs(desk, ticket, "expected_resolution") == [(1, "overdue", first), (2, "met", second)]


async def test_reopened_as_complex_and_then_called_standard_it_is_due_a_day_after_its_reopening(desk: Desk) -> None:
    ticket = await a_complex_one(desk)
    await desk.act("agent", ticket, "resolve", **DONE)
    await desk.at("2026-01-07 10:00:00")
    await desk.act("standard", ticket, "reopen", **WHY)
    await desk.act("agent", ticket, "acknowledge")
    await desk.at("2026-01-07 15:00:00")
    await desk.act("agent", ticket, "classify", complexity="standard", **WHY)
    assert [run[:2] for run in await runs(desk, ticket, "resolution")] == [(1, "superseded"), (2, "running")]
    clock = await desk.clock(ticket, "resolution")
    assert (clock["started_at"], clock["due_at"]) == (z("2026-01-07 10:00:00"), z("2026-01-08 10:00:00"))


async def test_only_staff_end_an_emergency_by_a_lower_priority(desk: Desk) -> None:
    await desk.at("2026-01-10 12:00:00")
    ticket = await desk.open(**OUTAGE)
    lowered = await desk.act("standard", ticket, "prioritize", priority="normal", **WHY)
    assert (lowered["priority"], lowered["emergency"]) == ("normal", True)
    assert await desk.events(ticket, "ticket.emergency_ended") == []
    agreed = await desk.act("agent", ticket, "prioritize", priority="normal", **WHY)
    assert agreed["emergency"] is False
    assert len(await desk.events(ticket, "ticket.emergency_ended")) == 1
