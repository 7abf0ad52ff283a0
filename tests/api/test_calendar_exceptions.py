"""A calendar that changes: each change is a revision, and what runs is counted anew, once, never into the past."""

import asyncio
from typing import Any

import pytest

from app.db import tickets
from tests.api.conftest import Desk, kl, z

HOLIDAY = {"date": "2026-01-12", "name": "A state holiday", "hours": []}


@pytest.fixture
async def desk_calendar(desk: Desk) -> Any:
    """The desk's own calendar, as it is, and put back afterwards."""
    found = (await desk.get("lead", "/v1/calendars"))["items"]
    path = f"/v1/calendars/{next(calendar['id'] for calendar in found if calendar['name'] == 'Support desk')}"
    known = {entry["date"] for entry in (await desk.get("lead", path))["exceptions"]}
    yield path
    for entry in (await desk.get("lead", path))["exceptions"]:
        if entry["date"] not in known:
            await desk.call("lead", "DELETE", f"{path}/exceptions/{entry['date']}")


async def test_a_holiday_declared_in_the_morning_moves_what_runs(desk: Desk, desk_calendar: str) -> None:
    await desk.at("2026-01-09 17:00:00")
    ticket, done = await desk.open(), await desk.open()
    assert ticket["clocks"][0]["due_at"] == z("2026-01-12 10:00:00")
    await desk.act("agent", done, "acknowledge")
    await desk.at("2026-01-12 09:30:00")
    changed = await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    assert changed.status_code == 201
    assert HOLIDAY in changed.json()["exceptions"]
    clock = await desk.clock(ticket)
    assert clock["due_at"] == z("2026-01-13 10:00:00"), "shown before the worker has noted it"
    listed = {item["id"]: item for item in (await desk.get("agent", "/v1/tickets?include=clocks"))["items"]}
    assert listed[ticket["id"]]["clocks"][0]["due_at"] == z("2026-01-13 10:00:00")
    for _ in range(2):
        await desk.sweep()
    clock = await desk.clock(ticket)
    assert clock["due_at"] == z("2026-01-13 10:00:00")
    assert ("holiday", "A state holiday") in {(piece["kind"], piece["reason"]) for piece in clock["trace"]}
    assert clock["trace"][-1]["total_seconds"] == 7200
    moved = [e["data"] for e in await desk.events(ticket, "clock.moved")]
    assert [(m["clock"], m["was_due_at"], m["due_at"], m["reason"]) for m in moved] == [
        ("acknowledgement", z("2026-01-12 10:00:00"), z("2026-01-13 10:00:00"), "calendar"),
        ("resolution", z("2026-01-12 17:00:00"), z("2026-01-13 17:00:00"), "calendar"),
    ]
    assert moved[0]["exceptions"] == ["A state holiday"]
    assert (await desk.clock(done))["due_at"] == z("2026-01-12 10:00:00")
    assert [e["data"]["clock"] for e in await desk.events(done, "clock.moved")] == ["resolution"]


async def test_a_change_counts_from_its_own_instant_though_the_clock_stood_later_before(
    desk: Desk, desk_calendar: str
) -> None:
    await desk.at("2026-03-02 10:00:00")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY | {"date": "2026-04-01"})
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    await desk.at("2026-01-12 09:30:00")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    assert (await desk.clock(ticket))["due_at"] == z("2026-01-13 10:00:00")
    await desk.sweep()
    await desk.at("2026-01-12 10:00:01")
    await desk.sweep()
    assert (await desk.clock(ticket))["state"] == "running"
    assert await desk.events(ticket, "clock.broken") == []


async def test_a_change_that_moves_nothing_is_looked_at_once(desk: Desk, desk_calendar: str) -> None:
    ticket = await desk.open()
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY | {"date": "2026-06-15"})
    held = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert await tickets.lock_due(desk.pool, kl("2026-01-05 10:00:00"), 10, []) == [held]
    assert await desk.sweep() == 1
    assert await tickets.lock_due(desk.pool, kl("2026-01-05 10:00:00"), 10, []) == []
    assert (await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["version"] == ticket["version"]
    assert await desk.events(ticket, "clock.moved") == []
    # Whoever sets the priority later moves no due date either, and nobody is told that one moved.
    await desk.act("agent", ticket, "prioritize", priority="high", reason="Many are affected.")
    assert await desk.events(ticket, "clock.moved") == []


async def test_a_holiday_taken_back_moves_nothing_into_the_past(desk: Desk, desk_calendar: str) -> None:
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    assert ticket["clocks"][0]["due_at"] == z("2026-01-13 10:00:00")
    await desk.at("2026-01-12 11:00:00")
    removed = await desk.call("lead", "DELETE", f"{desk_calendar}/exceptions/2026-01-12")
    assert removed.status_code == 200
    await desk.sweep()
    clock = await desk.clock(ticket)
    assert (clock["due_at"], clock["state"]) == (z("2026-01-12 11:00:00"), "running")
    assert clock["trace"][-1]["kind"] == "grace"
    assert clock["trace"][-1]["total_seconds"] == 7200


async def test_what_was_broken_before_the_change_stays_broken(desk: Desk, desk_calendar: str) -> None:
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    await desk.at("2026-01-12 10:00:00.000001")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    await desk.sweep()
    assert (await desk.clock(ticket))["state"] == "breached"


async def test_a_paused_promise_goes_on_by_the_new_calendar(desk: Desk, desk_calendar: str) -> None:
    await desk.at("2026-01-09 10:00:00")
    ticket = await desk.open()
    await desk.act("agent", ticket, "request-details", text="Which page?")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    await desk.sweep()
    await desk.at("2026-01-09 12:00:00")
    await desk.say("standard", ticket, "The first.")
    assert (await desk.clock(ticket, "resolution"))["due_at"] == z("2026-01-13 12:00:00")


async def test_an_exception_is_refused_by_field_and_by_role(desk: Desk, desk_calendar: str) -> None:
    path = f"{desk_calendar}/exceptions"
    assert (await desk.call("agent", "POST", path, HOLIDAY)).status_code == 403
    await desk.call("lead", "POST", path, HOLIDAY)
    for body, pointer in (
        (HOLIDAY, "/date"),
        (HOLIDAY | {"date": "2026-02-30"}, "/date"),
        (HOLIDAY | {"date": "2026-03-03", "hours": [["9", "10"]]}, "/hours/0/0"),
    ):
        response = await desk.call("lead", "POST", path, body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"].startswith(pointer)
    assert (await desk.call("lead", "DELETE", f"{path}/2026-03-03")).status_code == 404
    listed = await desk.get("agent", path)
    assert HOLIDAY in listed["exceptions"]


async def test_a_change_with_a_key_is_made_once(desk: Desk, desk_calendar: str) -> None:
    headers = {"Idempotency-Key": "h"}
    answers = [
        await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY, headers=headers) for _ in range(2)
    ]
    assert [response.status_code for response in answers] == [201, 201]
    assert answers[1].content == answers[0].content


async def test_tickets_opened_while_the_calendar_changes_are_counted_by_the_new_one(
    desk: Desk, desk_calendar: str
) -> None:
    await desk.at("2026-01-09 17:00:00")
    opening = [desk.open(subject=f"Ticket {number}") for number in range(20)]
    made, changed = await asyncio.gather(
        asyncio.gather(*opening), desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    )
    assert changed.status_code == 201
    await desk.sweep()
    for ticket in made:
        assert (await desk.clock(ticket))["due_at"] == z("2026-01-13 10:00:00")


async def test_an_act_decided_by_the_calendar_of_before_is_decided_again(
    desk: Desk, desk_calendar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    save, raced = tickets.save, False

    class Racing:
        async def __call__(self, *args: Any) -> bool:
            nonlocal raced
            if not raced:
                raced = True
                await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
            return await save(*args)

    monkeypatch.setattr(tickets, "save", Racing())
    await desk.act("agent", ticket, "prioritize", priority="high", reason="Orders are lost.")
    stored = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert stored is not None
    assert [cycle.due_at for cycle in stored.cycles] == [kl("2026-01-13 10:00:00"), kl("2026-01-13 17:00:00")]


async def test_a_change_of_the_calendar_warns_by_the_new_due_date_alone(desk: Desk, desk_calendar: str) -> None:
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    for wall in ("2026-01-09 18:00:00", "2026-01-12 09:10:00"):
        await desk.at(wall)
        await desk.sweep()
    await desk.at("2026-01-12 09:10:30")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    await desk.sweep()
    for wall in ("2026-01-13 09:29:59", "2026-01-13 09:30:00", "2026-01-13 09:48:00"):
        await desk.at(wall)
        await desk.sweep()
    warned = [
        (event["data"]["percent"], event["at"])
        for event in await desk.events(ticket, "clock.warned")
        if event["data"]["clock"] == "acknowledgement"
    ]
    assert warned == [
        (50, z("2026-01-09 18:00:00")), (75, z("2026-01-13 09:30:00")), (90, z("2026-01-13 09:48:00")),
    ]  # fmt: skip


@pytest.mark.parametrize("half_day", [{"hours": []}, {"hours": [["09:00", "13:00"]]}])
async def test_a_desk_that_its_calendar_closes_makes_an_emergency_from_that_change_on(
    desk: Desk, desk_calendar: str, half_day: dict[str, Any]
) -> None:
    ticket = await desk.open(requested_priority="critical", outage_statement="All is down.")
    await desk.at("2026-01-05 16:00:00")
    today = {"date": "2026-01-05", "name": "A funeral", **half_day}
    assert (await desk.call("lead", "POST", f"{desk_calendar}/exceptions", today)).status_code == 201
    assert (await desk.get("agent", f"/v1/tickets/{ticket['id']}"))["emergency"] is True
    await desk.sweep()
    told = await desk.events(ticket, "ticket.emergency")
    assert [event["data"]["since"] for event in told] == [z("2026-01-05 16:00:00")]
    before = await desk.get("agent", f"/v1/tickets/{ticket['id']}?as_of=2026-01-05T15:00:00%2B08:00")
    assert before["emergency"] is False, "the past stays as it was"


@pytest.mark.parametrize("worker_between", [True, False])
async def test_each_change_counts_whether_or_not_the_worker_ran_between(
    desk: Desk, desk_calendar: str, *, worker_between: bool
) -> None:
    await desk.at("2026-01-09 17:00:00")
    ticket = await desk.open()
    await desk.at("2026-01-12 09:30:00")
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    if worker_between:
        await desk.sweep()
    await desk.at("2026-01-12 12:00:00")
    await desk.call("lead", "DELETE", f"{desk_calendar}/exceptions/2026-01-12")
    await desk.sweep()
    clock = await desk.clock(ticket)
    assert (clock["due_at"], clock["state"]) == (z("2026-01-12 12:00:00"), "running")
    assert len([e for e in await desk.events(ticket, "clock.moved") if e["data"]["clock"] == "acknowledgement"]) == 2


@pytest.mark.parametrize(
    ("change", "pointer"), [({"hours": [["9", "12:00"]]}, "/hours/0/0"), ({"hours": [["09:00"]]}, "/hours/0")]
)
async def test_what_is_wrong_of_an_exception_is_named_where_it_was_given(
    desk: Desk, change: dict[str, Any], pointer: str
) -> None:
    calendar = (await desk.get("lead", "/v1/calendars"))["items"][0]["id"]
    body = {"date": "2026-11-26", "name": "Thanksgiving", "hours": []} | change
    refused = await desk.call("lead", "POST", f"/v1/calendars/{calendar}/exceptions", body)
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_silence_is_counted_without_a_holiday(desk: Desk, desk_calendar: str) -> None:
    """Three and ten business days after Friday: each a day later than in a week without the Monday off."""
    await desk.call("lead", "POST", f"{desk_calendar}/exceptions", HOLIDAY)
    await desk.at("2026-01-09 16:00:00")
    ticket = await desk.open()
    await desk.act("agent", ticket, "request-details", text="Which page?")
    for kind, day in (("ticket.reminded", "2026-01-15"), ("ticket.resolved", "2026-01-26")):
        await desk.at(f"{day} 15:59:59")
        await desk.sweep()
        assert await desk.events(ticket, kind) == []
        await desk.at(f"{day} 16:00:00")
        await desk.sweep()
        assert [event["at"] for event in await desk.events(ticket, kind)] == [z(f"{day} 16:00:00")]
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["resolution"] == "no_client_response"
