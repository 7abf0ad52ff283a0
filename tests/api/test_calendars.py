"""Calendars over HTTP: the golden cases of other calendars, each explained to the second."""

from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.conftest import Desk

WEEK = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
MONDAY_OFF = [{"date": "2026-01-12", "name": "Founders' day", "hours": []}]
CHRISTMAS = [
    {"date": "2026-12-24", "name": "Christmas Eve", "hours": [["09:00", "13:00"]]},
    {"date": "2026-12-25", "name": "Christmas", "hours": []},
]
SUMMER = [
    {"date": f"2026-{day}", "name": "Summer closure", "hours": []}
    for day in [f"07-{n:02}" for n in range(1, 32)] + [f"08-{n:02}" for n in range(1, 10)]
]
KL, NY = "Asia/Kuala_Lumpur", "America/New_York"

HOURS, DAYS, ROUND_THE_CLOCK = "business_hours", "business_days", "calendar"

DUE = [
    ("a holiday on Monday", KL, MONDAY_OFF, "2026-01-09T17:00:00+08:00", 7200, HOURS, "2026-01-13T02:00:00Z"),
    ("a half day and Christmas", KL, CHRISTMAS, "2026-12-24T11:30:00+08:00", 7200, HOURS, "2026-12-28T01:30:00Z"),
    ("forty days closed", KL, SUMMER, "2026-07-01T09:00:00+08:00", 7200, HOURS, "2026-08-10T03:00:00Z"),
    ("the spring change in New York", NY, [], "2026-03-06T17:00:00-05:00", 7200, HOURS, "2026-03-09T14:00:00Z"),
    ("24 h over a weekend", KL, [], "2026-01-09T17:30:00+08:00", 86400, DAYS, "2026-01-12T09:30:00Z"),
    ("24 h round the clock", KL, [], "2026-01-09T17:30:00+08:00", 86400, ROUND_THE_CLOCK, "2026-01-10T09:30:00Z"),
    ("24 h over a holiday", KL, MONDAY_OFF, "2026-01-09T17:30:00+08:00", 86400, DAYS, "2026-01-13T09:30:00Z"),
    ("24 h from Saturday", KL, [], "2026-01-10T12:00:00+08:00", 86400, DAYS, "2026-01-12T16:00:00Z"),
    ("24 h from a half day", KL, CHRISTMAS, "2026-12-24T11:30:00+08:00", 86400, DAYS, "2026-12-28T03:30:00Z"),
    ("from half a minute before the end", KL, [], "2026-01-09T17:59:30+08:00", 7200, HOURS, "2026-01-12T02:59:30Z"),
    ("nothing at all", KL, [], "2026-01-10T12:00:00+08:00", 0, HOURS, "2026-01-10T04:00:00Z"),
    ("back from Monday", KL, [], "2026-01-12T10:00:00+08:00", -7200, HOURS, "2026-01-09T09:00:00Z"),
    ("2,000 hours", KL, [], "2026-01-05T09:00:00+08:00", 7_200_000, HOURS, "2026-11-11T03:00:00Z"),
]  # fmt: skip


async def calendar(desk: Desk, timezone: str = KL, exceptions: Any = (), **more: Any) -> Any:
    body = {"name": f"Calendar {next(desk.count)}", "timezone": timezone, "weekly_hours": WEEK} | more
    response = await desk.call("lead", "POST", "/v1/calendars", body | {"exceptions": list(exceptions)})
    assert response.status_code == 201, response.text
    return response.json()


@pytest.mark.parametrize(("why", "zone", "exceptions", "start", "seconds", "base", "due"), DUE, ids=[d[0] for d in DUE])
async def test_an_amount_of_time_ends_where_it_should_and_says_why(
    desk: Desk, why: str, zone: str, exceptions: Any, start: str, seconds: int, base: str, due: str
) -> None:
    made = await calendar(desk, zone, exceptions)
    query = urlencode({"start": start, "seconds": seconds, "base": base})
    found = await desk.get("agent", f"/v1/calendars/{made['id']}/due?{query}")
    assert found["due_at"] == due
    assert (found["timezone"], found["fingerprint"]) == (zone, made["fingerprint"])
    trace = found["trace"]
    assert sum(segment["counted_seconds"] for segment in trace) == abs(seconds)
    assert all(one["to"] == other["from"] for one, other in pairwise(trace))
    query = urlencode({"start": start, "end": due, "base": base})
    back = await desk.get("agent", f"/v1/calendars/{made['id']}/elapsed?{query}")
    assert back["elapsed_seconds"] == seconds
    assert back["trace"] == trace


async def test_a_trace_names_the_holiday(desk: Desk) -> None:
    made = await calendar(desk, exceptions=MONDAY_OFF)
    query = urlencode({"start": "2026-01-09T17:00:00+08:00", "seconds": 7200})
    trace = (await desk.get("agent", f"/v1/calendars/{made['id']}/due?{query}"))["trace"]
    assert [(segment["kind"], segment["reason"], segment["counted_seconds"]) for segment in trace] == [
        ("counted", None, 3600),
        ("closed", None, 0),
        ("holiday", "Founders' day", 0),
        ("closed", None, 0),
        ("counted", None, 3600),
    ]


async def test_a_calendar_says_when_it_opens_and_closes(desk: Desk) -> None:
    made = await calendar(desk)
    path = f"/v1/calendars/{made['id']}/open?as_of="
    closed = await desk.get("agent", path + "2026-01-10T12:00:00%2B08:00")
    assert (closed["open_now"], closed["next_opens_at"], closed["next_closes_at"]) == (
        False, "2026-01-12T01:00:00Z", "2026-01-12T10:00:00Z",
    )  # fmt: skip
    opened = await desk.get("agent", path + "2026-01-09T17:59:59%2B08:00")
    assert (opened["open_now"], opened["next_opens_at"], opened["next_closes_at"]) == (
        True, "2026-01-12T01:00:00Z", "2026-01-09T10:00:00Z",
    )  # fmt: skip
    assert (await desk.get("agent", path + "2026-01-09T18:00:00%2B08:00"))["open_now"] is False


async def test_a_calendar_that_never_closes_says_so(desk: Desk) -> None:
    every = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    made = await calendar(desk, weekly_hours=every)
    found = await desk.get("agent", f"/v1/calendars/{made['id']}/open")
    assert (found["open_now"], found["next_opens_at"], found["next_closes_at"]) == (True, None, None)


async def test_a_calendar_is_read_listed_and_known_by_its_tag(desk: Desk) -> None:
    made = await calendar(desk, exceptions=CHRISTMAS)
    assert (await desk.get("agent", f"/v1/calendars/{made['id']}")) == made
    assert made["id"] in {item["id"] for item in (await desk.get("agent", "/v1/calendars"))["items"]}
    tag = (await desk.call("agent", "GET", f"/v1/calendars/{made['id']}")).headers["ETag"]
    again = await desk.call("agent", "GET", f"/v1/calendars/{made['id']}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_every_wrong_field_of_a_calendar_is_named(desk: Desk) -> None:
    body = {
        "name": "Wrong", "timezone": "Mars/Olympus",
        "weekly_hours": {"mon": [["09:00", "09:00"]], "funday": [], "tue": [["9", "18:00"], ["10:00", "12:00", "1"]]},
        "exceptions": [{"date": "2026-02-30", "name": "x", "hours": []}],
    }  # fmt: skip
    response = await desk.call("lead", "POST", "/v1/calendars", body)
    assert response.status_code == 422
    assert {(error["pointer"], error["code"]) for error in response.json()["errors"]} == {
        ("/timezone", "unknown_timezone"),
        ("/weekly_hours/funday", "unknown_field"),
        ("/weekly_hours/mon/0", "empty_window"),
        ("/weekly_hours/tue/0/0", "wrong_wall_time"),
        ("/weekly_hours/tue/1", "wrong_type"),
        ("/exceptions/0/date", "wrong_date"),
    }


async def test_a_name_is_used_once_and_a_key_makes_one_calendar(desk: Desk) -> None:
    body = {"name": "Twice", "timezone": KL, "weekly_hours": WEEK}
    first = await desk.call("lead", "POST", "/v1/calendars", body, headers={"Idempotency-Key": "c"})
    again = await desk.call("lead", "POST", "/v1/calendars", body, headers={"Idempotency-Key": "c"})
    other = await desk.call("lead", "POST", "/v1/calendars", body)
    assert (first.status_code, again.content) == (201, first.content)
    assert (other.status_code, other.json()["code"]) == (409, "name_taken")


async def test_only_leads_and_admins_make_calendars(desk: Desk) -> None:
    body = {"name": "Mine", "timezone": KL, "weekly_hours": WEEK}
    for who, status in (("agent", 403), ("standard", 403), ("automation", 403), ("admin", 201)):
        assert (await desk.call(who, "POST", "/v1/calendars", body)).status_code == status
