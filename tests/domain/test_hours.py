"""Opening hours as people write them: what is legal, and what a wrong document is told, word by word."""

from datetime import date, timedelta
from typing import Any

import pytest

from app.domain.calendar import BusinessCalendar
from app.domain.errors import InvalidDocumentError
from app.domain.hours import DateException, Window, written

HOUR = timedelta(hours=1)
WINDOWS = 'give a list of windows, such as [["09:00", "18:00"]]'
TIMES = 'give a window as two wall-clock times, such as ["09:00", "18:00"]'
TIME = "write a wall-clock time as HH:MM or HH:MM:SS; 24:00 may end a window"
EMPTY = 'a window needs some length; a whole day is ["00:00", "24:00"]'
OVERLAP = "this window overlaps another one of the same day"
NAME = "give a text of 1 to 200 characters"
DATE = "give a date that exists, as YYYY-MM-DD, between 2000-01-01 and 2099-12-31"


def parse(monday: Any = (), exceptions: Any = ()) -> BusinessCalendar:
    return BusinessCalendar.parse(
        {"timezone": "Asia/Kuala_Lumpur", "weekly_hours": {"mon": monday}, "exceptions": exceptions}
    )


def told(**document: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidDocumentError) as refused:
        parse(**document)
    return [(error.pointer, error.code, error.message) for error in refused.value.errors]


@pytest.mark.parametrize(
    ("monday", "pointer", "code", "message"),
    [
        ("09:00", "", "wrong_type", WINDOWS),
        (9, "", "wrong_type", WINDOWS),
        ([["00:00", "00:01"]] * 25, "", "too_many", "at most 24 windows a day"),
        (["09:00"], "/0", "wrong_type", TIMES),
        ([9], "/0", "wrong_type", TIMES),
        ([["09:00"]], "/0", "wrong_type", TIMES),
        ([["09:00", "18:00", "19:00"]], "/0", "wrong_type", TIMES),
        ([["9:00", "18:00"]], "/0/0", "wrong_wall_time", TIME),
        ([["09:00", "18:60"]], "/0/1", "wrong_wall_time", TIME),
        ([["24:00", "18:00"]], "/0/0", "wrong_wall_time", TIME),
        ([["09:00", "24:00:01"]], "/0/1", "wrong_wall_time", TIME),
        ([["09:00", 18]], "/0/1", "wrong_wall_time", TIME),
        ([["09:00", "09:00"]], "/0", "empty_window", EMPTY),
        ([["09:00", "13:00"], ["12:00", "18:00"]], "/1", "windows_overlap", OVERLAP),
        ([["12:00", "18:00"], ["09:00", "12:00:01"]], "/1", "windows_overlap", OVERLAP),
        ([["22:00", "02:00"], ["23:00", "23:30"]], "/1", "windows_overlap", OVERLAP),
        ([["09:00", "10:00"], ["08:00", "11:00"]], "/1", "windows_overlap", OVERLAP),
    ],
)
def test_wrong_windows_are_named(monday: Any, pointer: str, code: str, message: str) -> None:
    assert told(monday=monday) == [(f"/weekly_hours/mon{pointer}", code, message)]


@pytest.mark.parametrize(
    ("exceptions", "pointer", "code", "message"),
    [
        ("2026-01-05", "", "wrong_type", "give a list of exceptions, each with date, name and hours"),
        ({}, "", "wrong_type", "give a list of exceptions, each with date, name and hours"),
        ([{}] * 5_001, "", "too_many", "at most 5000 exceptions"),
        (
            [{"date": "2026-01-05", "name": "A", "hours": []}, {"date": "2026-01-05", "name": "B", "hours": []}],
            "/1/date",
            "duplicate_date",
            "another exception has this date; give its windows together",
        ),
        ([{"date": "2026-02-30", "name": "A", "hours": []}], "/0/date", "wrong_date", DATE),
        ([{"date": "20260105", "name": "A", "hours": []}], "/0/date", "wrong_date", DATE),
        ([{"date": "1999-12-31", "name": "A", "hours": []}], "/0/date", "wrong_date", DATE),
        ([{"date": "2100-01-01", "name": "A", "hours": []}], "/0/date", "wrong_date", DATE),
        ([{"date": 20260105, "name": "A", "hours": []}], "/0/date", "wrong_date", DATE),
        ([{"name": "A", "hours": []}], "/0/date", "missing", "this field is required"),
        ([{"date": "2026-01-05", "hours": []}], "/0/name", "missing", "this field is required"),
        ([{"date": "2026-01-05", "name": "A"}], "/0/hours", "missing", "this field is required"),
        ([{"date": "2026-01-05", "name": "A", "hours": "no"}], "/0/hours", "wrong_type", WINDOWS),
        (
            [{"date": "2026-01-05", "name": "x" * 201, "hours": []}],
            "/0/name",
            "wrong_text",
            "give a text of 1 to 200 characters",
        ),
    ],
)
def test_wrong_exceptions_are_named(exceptions: Any, pointer: str, code: str, message: str) -> None:
    assert told(exceptions=exceptions) == [(f"/exceptions{pointer}", code, message)]


def test_every_wrong_exception_and_window_is_named_on_its_own() -> None:
    nameless = {"date": "2026-02-30", "name": "A", "hours": []}
    assert told(monday=[["9:00", "10:00"], ["11:00", "12:00"]], exceptions=[nameless, nameless]) == [
        ("/weekly_hours/mon/0/0", "wrong_wall_time", TIME),
        ("/exceptions/0/date", "wrong_date", DATE),
        ("/exceptions/1/date", "wrong_date", DATE),
    ]


def test_five_thousand_exceptions_are_legal() -> None:
    days = [date(2010, 1, 1) + timedelta(days=number) for number in range(5_000)]
    assert len(parse(exceptions=[{"date": day, "name": "x", "hours": []} for day in days]).exceptions) == 5_000


def test_an_unknown_zone_is_named_with_an_example() -> None:
    with pytest.raises(InvalidDocumentError) as refused:
        BusinessCalendar.parse({"timezone": "Asia/Kuala Lumpur", "weekly_hours": {}})
    assert [(error.pointer, error.code, error.message) for error in refused.value.errors] == [
        ("/timezone", "unknown_timezone", "name an IANA time zone, such as Asia/Kuala_Lumpur")
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ([["09:00", "13:00"], ["13:00", "18:00"]], [(9, 13), (13, 18)]),
        ([["13:00", "18:00"], ["09:00", "13:00"]], [(9, 13), (13, 18)]),
        ([["00:00", "24:00"]], [(0, 24)]),
        ([["00:00", "24:00:00"]], [(0, 24)]),
        ([["22:00", "02:00"], ["02:00", "03:00"]], [(2, 3), (22, 2)]),
        ([["23:00", "00:00"]], [(23, 0)]),
        ([[f"{hour:02}:00", f"{hour:02}:30"] for hour in range(24)], [(hour, hour + 0.5) for hour in range(24)]),
    ],
)
def test_legal_windows_are_read_in_the_order_of_the_day(written: Any, read: list[tuple[float, float]]) -> None:
    assert parse(monday=written).weekly[0] == tuple(Window(HOUR * start, HOUR * end) for start, end in read)


@pytest.mark.parametrize("day", ["2000-01-01", "2099-12-31", date(2000, 1, 1), date(2099, 12, 31)])
def test_exceptions_are_read_with_their_windows(day: Any) -> None:
    found = parse(exceptions=[{"date": day, "name": "x" * 200, "hours": [["09:00:30", "13:00"]]}]).exceptions
    when = date.fromisoformat(day) if isinstance(day, str) else day
    assert found == (DateException(when, "x" * 200, (Window(HOUR * 9 + timedelta(seconds=30), HOUR * 13),)),)


def test_exceptions_are_kept_in_the_order_of_their_dates() -> None:
    days = ["2026-03-01", "2026-01-01", "2026-02-01"]
    found = parse(exceptions=[{"date": day, "name": "x", "hours": []} for day in days]).exceptions
    assert [exception.date.isoformat() for exception in found] == sorted(days)


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (Window(HOUR * 9, HOUR * 18), "09:00-18:00"),
        (Window(timedelta(0), HOUR * 24), "00:00-24:00"),
        (Window(timedelta(hours=9, minutes=5, seconds=7), timedelta(hours=10, minutes=50)), "09:05:07-10:50"),
        (Window(timedelta(hours=22, seconds=59), timedelta(hours=1, minutes=1, seconds=10)), "22:00:59-01:01:10"),
    ],
)
def test_a_window_is_written_as_documents_do(window: Window, text: str) -> None:
    assert str(window) == text


def test_weekly_windows_are_written_as_they_are_read() -> None:
    hours: dict[str, list[list[str]]] = {day: [] for day in ("tue", "thu", "fri", "sat")}
    hours |= {"mon": [["09:00", "13:00"], ["14:00", "18:00"]], "wed": [["22:00", "06:00"]], "sun": [["00:00", "24:00"]]}
    read = BusinessCalendar.parse({"timezone": "UTC", "weekly_hours": hours})
    assert written(read.weekly) == hours
    with pytest.raises(ValueError, match="zip"):
        written(read.weekly[:6])
