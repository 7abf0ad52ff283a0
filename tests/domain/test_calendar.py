"""The business calendar by example: the golden table, the shared cases, parsing, refusals and traces."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.domain.calendar import Base, BusinessCalendar, Segment, SegmentKind, to_micros
from app.domain.errors import InstantOutOfRangeError, InvalidDocumentError, NaiveDatetimeError
from app.domain.hours import Window

CASES = json.loads(Path(__file__).with_name("business_time.json").read_text(encoding="utf-8"))
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OFFICE = {day: [["09:00", "18:00"]] for day in DAYS[:5]}
NIGHTS = {day: [["22:00", "06:00"]] for day in DAYS[:5]}
ALWAYS = {day: [["00:00", "24:00"]] for day in DAYS}
KUALA_LUMPUR = ZoneInfo("Asia/Kuala_Lumpur")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
HOURS, BUSINESS_DAYS, ALL = Base.BUSINESS_HOURS, Base.BUSINESS_DAYS, Base.CALENDAR
MONDAY_HOLIDAY: dict[str, Any] = {"2026-01-12": []}
CHRISTMAS = {"2026-12-24": [["09:00", "13:00"]], "2026-12-25": []}
SUMMER: dict[str, Any] = {str(date(2026, 7, 1) + timedelta(days=day)): [] for day in range(40)}
FIRST = datetime(2000, 1, 1, tzinfo=UTC)
LAST = datetime(2100, 1, 1, tzinfo=UTC)

GOLDEN = [
    ("2026-01-05 10:00:00", 2, HOURS, {}, "2026-01-05 12:00:00"),
    ("2026-01-05 16:00:00", 2, HOURS, {}, "2026-01-05 18:00:00"),
    ("2026-01-05 16:00:01", 2, HOURS, {}, "2026-01-06 09:00:01"),
    ("2026-01-05 03:00:00", 2, HOURS, {}, "2026-01-05 11:00:00"),
    ("2026-01-05 18:00:00", 2, HOURS, {}, "2026-01-06 11:00:00"),
    ("2026-01-09 17:59:30", 2, HOURS, {}, "2026-01-12 10:59:30"),
    ("2026-01-10 12:00:00", 2, HOURS, {}, "2026-01-12 11:00:00"),
    ("2026-01-09 17:00:00", 2, HOURS, MONDAY_HOLIDAY, "2026-01-13 10:00:00"),
    ("2026-12-24 11:30:00", 2, HOURS, CHRISTMAS, "2026-12-28 09:30:00"),
    ("2026-07-01 09:00:00", 2, HOURS, SUMMER, "2026-08-10 11:00:00"),
    ("2026-01-09 17:30:00", 24, BUSINESS_DAYS, {}, "2026-01-12 17:30:00"),
    ("2026-01-09 17:30:00", 24, ALL, {}, "2026-01-10 17:30:00"),
    ("2026-01-09 17:30:00", 24, BUSINESS_DAYS, MONDAY_HOLIDAY, "2026-01-13 17:30:00"),
    ("2026-01-10 12:00:00", 24, BUSINESS_DAYS, {}, "2026-01-13 00:00:00"),
    ("2026-12-24 11:30:00", 24, BUSINESS_DAYS, CHRISTMAS, "2026-12-28 11:30:00"),
]


def calendar(
    weekly: dict[str, Any] = OFFICE, exceptions: dict[str, Any] | None = None, zone: str = "Asia/Kuala_Lumpur"
) -> BusinessCalendar:
    return BusinessCalendar.parse(document(weekly, exceptions, zone))


def document(
    weekly: dict[str, Any] = OFFICE, exceptions: dict[str, Any] | None = None, zone: str = "Asia/Kuala_Lumpur"
) -> dict[str, Any]:
    dated = [{"date": day, "name": f"name of {day}", "hours": hours} for day, hours in (exceptions or {}).items()]
    return {"timezone": zone, "weekly_hours": weekly, "exceptions": dated}


def local(written: str, zone: tzinfo = KUALA_LUMPUR) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=zone)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_shared_case_comes_out_as_written(case: dict[str, Any]) -> None:
    exceptions = {day: list[Any]() for day in case["holidays"]} | case["overrides"]
    made = calendar(case["weekly_hours"], exceptions, case["timezone"])
    start = datetime.fromisoformat(case["start"])
    if case["op"] == "add":
        due = made.add(start, timedelta(seconds=case["amount_seconds"]))
        assert due == datetime.fromisoformat(case["expected"])
        assert due.tzinfo is UTC
    else:
        elapsed = made.between(start, datetime.fromisoformat(case["end"]))
        assert elapsed == timedelta(seconds=case["expected"])


def test_there_are_shared_cases_of_both_kinds() -> None:
    assert {case["op"] for case in CASES} == {"add", "between"}
    assert len(CASES) == 93


@pytest.mark.parametrize(("start", "hours", "base", "exceptions", "due"), GOLDEN)
def test_a_golden_deadline_is_as_promised(
    start: str, hours: int, base: Base, exceptions: dict[str, Any], due: str
) -> None:
    assert calendar(exceptions=exceptions).add(local(start), hours * HOUR, base) == local(due)


def test_a_golden_deadline_crosses_the_spring_change_of_new_york() -> None:
    new_york = ZoneInfo("America/New_York")
    made = calendar(zone="America/New_York")
    assert made.add(local("2026-03-06 17:00", new_york), 2 * HOUR) == local("2026-03-09 10:00", new_york)


def test_a_zero_amount_moves_nothing_not_even_out_of_closed_time() -> None:
    assert calendar().add(local("2026-01-10 12:00"), timedelta(0)) == local("2026-01-10 12:00")


def test_going_back_takes_the_last_instant_that_is_far_enough() -> None:
    assert calendar().add(local("2026-01-12 10:00"), -2 * HOUR) == local("2026-01-09 17:00")
    assert calendar().add(local("2026-01-12 10:00"), -HOUR) == local("2026-01-12 09:00")


def test_a_business_day_has_23_or_25_hours_where_the_clocks_change() -> None:
    made = calendar(ALWAYS, zone="Europe/London")
    london = ZoneInfo("Europe/London")
    for day, next_day, hours in (("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)):
        assert made.between(local(day, london), local(next_day, london), BUSINESS_DAYS) == hours * HOUR


def test_a_date_whose_only_window_is_skipped_by_the_clocks_is_no_business_day() -> None:
    made = calendar({"sun": [["02:00", "03:00"]]}, zone="America/New_York")
    start = local("2026-03-08", ZoneInfo("America/New_York"))
    assert made.intervals(start, start + 24 * HOUR) == []
    assert made.intervals(start, start + 24 * HOUR, BUSINESS_DAYS) == []
    assert made.between(start, start + 8 * 24 * HOUR, BUSINESS_DAYS) == 24 * HOUR


def test_a_wall_time_that_comes_twice_is_open_twice() -> None:
    made = calendar({"sun": [["01:00", "02:00"]]}, zone="America/New_York")
    start = local("2026-11-01", ZoneInfo("America/New_York"))
    assert made.between(start, start + 24 * HOUR) == 2 * HOUR


def test_a_holiday_cuts_the_evening_of_its_own_date_and_leaves_the_morning_to_the_next() -> None:
    made = calendar(NIGHTS, {"2026-01-07": []})
    opened = made.intervals(local("2026-01-06 12:00"), local("2026-01-08 12:00"))
    assert opened == [
        (local("2026-01-06 22:00"), local("2026-01-07 00:00")),
        (local("2026-01-08 00:00"), local("2026-01-08 06:00")),
    ]


def test_an_exception_past_midnight_adds_to_the_weekly_hours_of_the_next_date() -> None:
    made = calendar(OFFICE, {"2026-01-06": [["20:00", "02:00"]]})
    opened = made.intervals(local("2026-01-06 00:00"), local("2026-01-08 00:00"))
    assert opened == [
        (local("2026-01-06 20:00"), local("2026-01-07 02:00")),
        (local("2026-01-07 09:00"), local("2026-01-07 18:00")),
    ]


def test_openness_is_half_open() -> None:
    made = calendar()
    opens, closes = local("2026-01-05 09:00"), local("2026-01-05 18:00")
    assert [made.is_open(opens - SECOND), made.is_open(opens), made.is_open(closes - SECOND), made.is_open(closes)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_next_opening_is_now_when_open_and_the_next_closing_ends_the_open_time() -> None:
    made = calendar()
    noon, night, monday = local("2026-01-09 12:00"), local("2026-01-09 18:00"), local("2026-01-12 09:00")
    assert (made.next_open(noon), made.next_close(noon)) == (noon, night)
    assert (made.next_open(night), made.next_close(night)) == (monday, local("2026-01-12 18:00"))


def test_windows_that_touch_are_one_open_time() -> None:
    made = calendar({"mon": [["09:00", "12:00"], ["12:00", "24:00"]], "tue": [["00:00", "01:00"]]})
    assert made.next_close(local("2026-01-05 10:00")) == local("2026-01-06 01:00")


def test_a_calendar_that_never_opens_has_no_next_opening() -> None:
    made = calendar({})
    assert made.next_open(FIRST) is None
    assert made.next_close(FIRST) is None


NAMED = [
    pytest.param({"timezone": "Mars/Olympus"}, "/timezone", "unknown_timezone", id="zone"),
    pytest.param({"weekly_hours": {"lun": []}}, "/weekly_hours/lun", "unknown_field", id="weekday"),
    pytest.param({"weekly_hours": {"mon": [["9:00", "18:00"]]}}, "/weekly_hours/mon/0/0", "wrong_wall_time", id="time"),
    pytest.param({"weekly_hours": {"mon": [["24:00", "18:00"]]}}, "/weekly_hours/mon/0/0", "wrong_wall_time", id="24"),
    pytest.param({"weekly_hours": {"mon": [["09:00", "09:00"]]}}, "/weekly_hours/mon/0", "empty_window", id="empty"),
    pytest.param({"weekly_hours": {"mon": [["09:00"]]}}, "/weekly_hours/mon/0", "wrong_type", id="half a window"),
    pytest.param({"weekly_hours": {"mon": "09:00"}}, "/weekly_hours/mon", "wrong_type", id="no list"),
    pytest.param(
        {"weekly_hours": {"mon": [["09:00", "13:00"], ["12:00", "18:00"]]}},
        "/weekly_hours/mon/1",
        "windows_overlap",
        id="overlap",
    ),
    pytest.param(
        {"exceptions": [{"date": "2026-02-30", "name": "x", "hours": []}]},
        "/exceptions/0/date",
        "wrong_date",
        id="date",
    ),
    pytest.param(
        {"exceptions": [{"date": "2026-02-01", "name": "x", "hours": []}] * 2},
        "/exceptions/1/date",
        "duplicate_date",
        id="twice",
    ),
]


@pytest.mark.parametrize(("change", "pointer", "code"), NAMED)
def test_a_document_that_is_wrong_is_refused_by_field(change: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(InvalidDocumentError) as refused:
        BusinessCalendar.parse(document() | change)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [(pointer, code)]


def test_all_that_is_wrong_in_a_document_is_named_at_once() -> None:
    with pytest.raises(InvalidDocumentError) as refused:
        BusinessCalendar.parse({"timezone": 8, "weekly_hours": [], "exceptions": {}})
    assert {error.pointer for error in refused.value.errors} == {"/timezone", "/weekly_hours", "/exceptions"}


def test_a_document_may_leave_out_exceptions_and_weekdays() -> None:
    assert BusinessCalendar.parse({"timezone": "UTC", "weekly_hours": {}}).weekly == ((),) * 7


def test_seconds_and_24_00_are_legal() -> None:
    made = calendar({"mon": [["09:00:30", "09:00:31"], ["23:00", "24:00"]]}, zone="UTC")
    day = datetime(2026, 1, 5, tzinfo=UTC)
    assert made.between(day, day + 24 * HOUR) == HOUR + SECOND


class Nowhere(tzinfo):
    """A zone that doesn't know its offset: Python calls such a datetime naive as well."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


QUESTIONS: list[Callable[[BusinessCalendar, datetime], object]] = [
    lambda made, at: made.add(at, HOUR),
    lambda made, at: made.add(at, timedelta(0)),
    lambda made, at: made.between(at, local("2026-01-05")),
    lambda made, at: made.between(local("2026-01-05"), at),
    lambda made, at: made.is_open(at),
    lambda made, at: made.next_open(at),
    lambda made, at: made.next_close(at),
    lambda made, at: made.intervals(at, local("2026-01-05")),
    lambda made, at: made.trace(at, local("2026-01-05")),
]


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("zone", [None, Nowhere()])
def test_a_naive_datetime_is_refused(ask: Callable[[BusinessCalendar, datetime], object], zone: tzinfo | None) -> None:
    with pytest.raises(NaiveDatetimeError):
        ask(calendar(), datetime(2026, 1, 5, 10, tzinfo=zone))


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("beyond", [FIRST - timedelta.resolution, LAST + timedelta.resolution])
def test_an_instant_outside_2000_to_2100_is_refused(
    ask: Callable[[BusinessCalendar, datetime], object], beyond: datetime
) -> None:
    with pytest.raises(InstantOutOfRangeError):
        ask(calendar(), beyond)


@pytest.mark.parametrize("offset", [-14, 0, 14])
def test_the_first_and_last_instants_of_python_are_refused(offset: int) -> None:
    zone = timezone(offset * HOUR)
    for at in (datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)):
        with pytest.raises(InstantOutOfRangeError):
            calendar().is_open(at)


@pytest.mark.parametrize("base", Base)
def test_an_answer_beyond_2000_to_2100_is_refused(base: Base) -> None:
    for start, amount in ((LAST, HOUR), (FIRST, -HOUR), (local("2026-01-05"), 1_000_000 * HOUR)):
        with pytest.raises(InstantOutOfRangeError):
            calendar().add(start, amount, base)


@pytest.mark.parametrize("base", Base)
def test_the_edges_of_the_range_can_be_asked_about(base: Base) -> None:
    assert FIRST < calendar().add(FIRST, HOUR, base) < calendar().add(LAST, -HOUR, base) < LAST


def test_a_trace_explains_a_half_day_a_holiday_and_a_weekend() -> None:
    traced = calendar(exceptions=CHRISTMAS).trace(local("2026-12-24 11:30"), local("2026-12-28 09:30"))
    assert [shown(segment) for segment in traced] == [
        ("24 11:30", "24 13:00", "counted", None, 1.5, 1.5),
        ("24 13:00", "24 18:00", "holiday", "name of 2026-12-24", 0, 1.5),
        ("24 18:00", "25 09:00", "closed", None, 0, 1.5),
        ("25 09:00", "25 18:00", "holiday", "name of 2026-12-25", 0, 1.5),
        ("25 18:00", "28 09:00", "closed", None, 0, 1.5),
        ("28 09:00", "28 09:30", "counted", None, 0.5, 2),
    ]


def test_a_trace_in_business_days_shows_whole_dates() -> None:
    traced = calendar(exceptions=MONDAY_HOLIDAY).trace(
        local("2026-01-09 17:30"), local("2026-01-13 17:30"), BUSINESS_DAYS
    )
    assert [shown(segment) for segment in traced] == [
        ("09 17:30", "10 00:00", "counted", None, 6.5, 6.5),
        ("10 00:00", "12 00:00", "closed", None, 0, 6.5),
        ("12 00:00", "13 00:00", "holiday", "name of 2026-01-12", 0, 6.5),
        ("13 00:00", "13 17:30", "counted", None, 17.5, 24),
    ]


def test_a_trace_of_calendar_time_is_one_counted_segment() -> None:
    traced = calendar(exceptions=MONDAY_HOLIDAY).trace(local("2026-01-12 09:00"), local("2026-01-12 11:00"), ALL)
    assert [shown(segment) for segment in traced] == [("12 09:00", "12 11:00", "counted", None, 2, 2)]


def test_holidays_in_a_row_are_named_one_by_one() -> None:
    made = calendar(ALWAYS, {"2026-02-17": [], "2026-02-18": []})
    traced = made.trace(local("2026-02-17"), local("2026-02-19"))
    assert [(segment.kind, segment.reason) for segment in traced] == [
        (SegmentKind.HOLIDAY, "name of 2026-02-17"),
        (SegmentKind.HOLIDAY, "name of 2026-02-18"),
    ]


@pytest.mark.parametrize("base", [HOURS, BUSINESS_DAYS])
@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25)])
def test_a_holiday_on_which_the_clocks_change_is_one_segment(base: Base, day: str, hours: int) -> None:
    new_york = ZoneInfo("America/New_York")
    made = calendar(ALWAYS, {day: []}, "America/New_York")
    traced = made.trace(local(day, new_york), local(day, new_york).astimezone(UTC) + hours * HOUR, base)
    assert [(segment.kind, segment.reason) for segment in traced] == [(SegmentKind.HOLIDAY, f"name of {day}")]


def test_a_holiday_on_a_date_that_is_closed_anyway_took_nothing_away() -> None:
    traced = calendar(exceptions={"2026-01-10": []}).trace(local("2026-01-10"), local("2026-01-11"))
    assert [segment.kind for segment in traced] == [SegmentKind.CLOSED]


@pytest.mark.parametrize("end", ["2026-01-05 10:00", "2026-01-05 09:30", "2026-01-02 10:00"])
@pytest.mark.parametrize("base", Base)
def test_no_time_or_time_backwards_has_no_intervals_and_an_empty_trace(end: str, base: Base) -> None:
    assert calendar().intervals(local("2026-01-05 10:00"), local(end), base) == []
    assert calendar().trace(local("2026-01-05 10:00"), local(end), base) == ()


def shown(segment: Segment) -> tuple[str, str, str, str | None, float, float]:
    start, end = (at.astimezone(KUALA_LUMPUR).strftime("%d %H:%M") for at in (segment.start, segment.end))
    return start, end, segment.kind, segment.reason, segment.counted / HOUR, segment.total / HOUR


def test_the_fingerprint_is_the_same_for_the_same_calendar() -> None:
    made = calendar(OFFICE, CHRISTMAS)
    before = made.fingerprint
    made.add(local("2026-01-05"), 2_000 * HOUR)
    assert calendar(OFFICE, CHRISTMAS).fingerprint == made.fingerprint == before
    assert int(before, 16)


def test_the_fingerprint_changes_with_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    other_name = document(OFFICE, CHRISTMAS)
    other_name["exceptions"][0]["name"] = "Eve"
    variants = [
        document(OFFICE, CHRISTMAS),
        other_name,
        document(OFFICE, CHRISTMAS, "Asia/Singapore"),
        document(OFFICE),
        document(OFFICE, {"2026-12-24": [["09:00", "13:00"]], "2026-12-26": []}),
        document(OFFICE, CHRISTMAS | {"2026-12-24": [["09:00", "13:00:01"]]}),
        document(OFFICE | {"mon": [["09:00", "18:00:01"]]}, CHRISTMAS),
        document(OFFICE | {"mon": [["09:00", "12:00"], ["12:01", "18:00"]]}, CHRISTMAS),
        document(dict.fromkeys(DAYS[1:6], OFFICE["mon"]), CHRISTMAS),
    ]
    found = {BusinessCalendar.parse(variant).fingerprint for variant in variants}
    assert len(found) == len(variants)
    monkeypatch.setattr("app.domain.calendar.tzdata_version", lambda: "1999z")
    assert calendar(OFFICE, CHRISTMAS).fingerprint not in found


def test_the_release_of_the_time_zone_database_is_named() -> None:
    assert calendar().tzdata == import_module("tzdata").IANA_VERSION


@pytest.mark.parametrize(
    ("start", "hours", "answer"),
    [
        ("2026-01-05 18:00", 45 * 52 * 3, "2029-01-01 18:00"),
        ("2026-01-05 12:00", -45 * 52 * 3, "2023-01-09 12:00"),
        ("2026-01-05 12:00", -45 * 52 * 20, "2006-01-30 12:00"),
    ],
)
def test_a_fresh_calendar_reaches_years_ahead_and_back(start: str, hours: int, answer: str) -> None:
    """Every week has 45 open hours, so that whole weeks can be counted by hand."""
    made = calendar()
    assert made.add(local(start), hours * HOUR) == local(answer)
    assert made.between(local(start), local(answer)) == hours * HOUR


@pytest.mark.parametrize("base", [HOURS, BUSINESS_DAYS])
def test_a_table_grows_by_as_much_as_it_has_and_never_beyond_what_it_knows(base: Base) -> None:
    made, at = calendar(), local("2026-01-05 10:00")
    made.between(at, at, base)
    assert made._tables[base].years == range(2026, 2027)
    made.add(at, 4_000 * HOUR if base is HOURS else 400 * 24 * HOUR, base)
    assert made._tables[base].years == range(2026, 2028)
    made.add(at, -4_000 * HOUR if base is HOURS else -400 * 24 * HOUR, base)
    assert made._tables[base].years == range(2024, 2028)


def test_a_microsecond_ahead_and_back_is_one() -> None:
    at, micro = local("2026-01-05 10:00"), timedelta(microseconds=1)
    assert calendar().add(at, micro) == at + micro
    assert calendar().add(at, -micro) == at - micro


def test_an_answer_out_of_range_says_on_which_side() -> None:
    for start, amount, told in (
        (LAST, HOUR, "this much time ends after the year 2099; ask for less"),
        (FIRST, -HOUR, "this much time begins before the year 2000; ask for less"),
    ):
        with pytest.raises(InstantOutOfRangeError) as refused:
            calendar().add(start, amount)
        assert str(refused.value) == told


def test_a_holiday_that_only_touches_a_trace_is_not_in_it() -> None:
    made = calendar(exceptions=MONDAY_HOLIDAY)
    before = made.trace(local("2026-01-12 08:00"), local("2026-01-12 09:00"))
    after = made.trace(local("2026-01-12 18:00"), local("2026-01-12 19:00"))
    assert [segment.kind for segment in (*before, *after)] == [SegmentKind.CLOSED, SegmentKind.CLOSED]


@pytest.mark.parametrize("base", [HOURS, BUSINESS_DAYS])
def test_a_table_is_rising_and_holds_nothing_beyond_its_years(base: Base) -> None:
    for weekly in (OFFICE, NIGHTS, ALWAYS):
        made = calendar(weekly, exceptions=CHRISTMAS)
        made.between(local("2026-06-01"), local("2026-06-02"), base)
        table = made._tables[base]
        spans = list(zip(table.opens, table.closes, strict=True))
        assert all(opened < closed for opened, closed in spans)
        assert table.opens[0] >= table.start
        assert table.closes[-1] <= table.end
        assert table.totals == [0, *accumulate(closed - opened for opened, closed in spans)]


@pytest.mark.parametrize("base", [HOURS, BUSINESS_DAYS])
def test_a_calendar_asked_about_earlier_years_answers_like_a_fresh_one(base: Base) -> None:
    used = calendar()
    used.between(local("2026-06-01"), local("2026-06-02"), base)
    span = local("2020-02-03 10:00"), local("2021-05-05 16:00")
    assert used.between(*span, base) == calendar().between(*span, base)
    assert used._tables[base].years == range(2020, 2027)
    table = used._tables[base]
    for at in (datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)):
        used.between(at, at, base)
        assert used._tables[base] is table
    last = calendar()
    last.between(local("2099-06-01"), local("2099-06-02"), base)
    assert last._tables[base].years == range(2099, 2100)


def test_the_last_open_microsecond_ends_at_the_closing() -> None:
    closing = local("2026-01-05 18:00")
    assert calendar().add(closing - timedelta(microseconds=1), timedelta(microseconds=1)) == closing


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([["09:00", "13:00"]], ["closed", "counted", "holiday", "closed"]),
        ([["13:00", "18:00"]], ["closed", "holiday", "counted", "closed"]),
        ([["20:00", "22:00"]], ["closed", "holiday", "closed", "counted", "closed"]),
        ([["18:00", "20:00"]], ["closed", "holiday", "counted", "closed"]),
        ([["09:00", "18:00"]], ["closed", "counted", "closed"]),
        ([["08:00", "19:00"]], ["closed", "counted", "closed"]),
        ([["10:00", "11:00"], ["12:00", "13:00"]],
         ["closed", "holiday", "counted", "holiday", "counted", "holiday", "closed"]),
    ],
)  # fmt: skip
def test_a_trace_shows_what_an_exception_took_away_and_nothing_empty(hours: Any, expected: list[str]) -> None:
    made = calendar(exceptions={"2026-01-05": hours})
    traced = made.trace(local("2026-01-05 00:00"), local("2026-01-06 00:00"))
    assert [segment.kind.value for segment in traced] == expected
    assert all(segment.start < segment.end for segment in traced)


@pytest.mark.parametrize(
    ("at", "error", "told"),
    [
        (
            datetime(2026, 1, 5),  # noqa: DTZ001
            NaiveDatetimeError,
            "give the instant with a UTC offset, such as 2026-01-05T10:00:00+08:00",
        ),
        (FIRST - SECOND, InstantOutOfRangeError, "give an instant between 2000-01-01 and 2100-01-01 UTC"),
        (LAST + SECOND, InstantOutOfRangeError, "give an instant between 2000-01-01 and 2100-01-01 UTC"),
    ],
)
def test_a_wrong_instant_is_told_what_would_be_right(at: datetime, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as refused:
        calendar().is_open(at)
    assert str(refused.value) == told


def test_an_answer_beyond_what_is_known_says_so() -> None:
    with pytest.raises(InstantOutOfRangeError) as refused:
        calendar().add(LAST, HOUR, ALL)
    assert str(refused.value) == "the answer would lie outside 2000-01-01 to 2100-01-01; ask for less"
    assert type(to_micros(FIRST)) is int


def test_a_window_that_ends_where_it_starts_lasts_until_the_next_date() -> None:
    nine = timedelta(hours=9)
    found = BusinessCalendar("UTC", ((Window(nine, nine),), *[()] * 6), ())
    assert found.next_close(local("2026-01-05 09:00:00", UTC)) == local("2026-01-06 09:00:00", UTC)
    assert found.between(local("2026-01-01 00:00:00", UTC), local("2026-01-12 00:00:00", UTC)) == timedelta(hours=24)


def test_a_span_over_new_year_ends_when_it_closes() -> None:
    """Tables are built year by year: a span that ends with one goes on in the next, but for the very last."""
    every_night = BusinessCalendar("UTC", ((Window(timedelta(hours=22), timedelta(hours=6)),),) * 7, ())
    assert every_night.next_close(local("2026-12-31 23:00:00", UTC)) == local("2027-01-01 06:00:00", UTC)
    assert every_night.next_open(LAST - HOUR) == LAST - HOUR


def test_the_next_opening_is_after_the_one_that_is_open() -> None:
    made = calendar()
    for at, opens in (
        ("2026-01-05 08:59:59", "2026-01-05 09:00:00"),
        ("2026-01-05 09:00:00", "2026-01-06 09:00:00"),
        ("2026-01-09 17:59:59", "2026-01-12 09:00:00"),
        ("2026-01-09 18:00:00", "2026-01-12 09:00:00"),
    ):
        assert made.next_opening(local(at)) == local(opens)
    assert made.next_opening(local("2026-01-09 10:00:00"), BUSINESS_DAYS) == local("2026-01-12 00:00:00")
    assert made.next_opening(FIRST, ALL) is None
