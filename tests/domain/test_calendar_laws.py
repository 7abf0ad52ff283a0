"""The laws of business time, for calendars of every shape, to the microsecond, in all bases."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st

from app.domain.calendar import Base, BusinessCalendar, SegmentKind
from app.domain.hours import DateException, Window

ZONES: Final = (
    "Africa/Cairo",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Kuala_Lumpur",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Chatham",
)
NO_TIME: Final = timedelta(0)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
# Apia skips a date at the end of 2011, and St John's changes at 00:01 until that year.
EARLIEST: Final = date(2010, 10, 1)
DATES: Final = st.dates(EARLIEST, EARLIEST + 560 * DAY)
MOMENTS: Final = st.datetimes(datetime(2010, 10, 15), datetime(2012, 3, 1), timezones=st.just(UTC))  # noqa: DTZ001
AMOUNTS: Final = st.one_of(
    st.timedeltas(NO_TIME, 60 * HOUR),
    st.integers(0, 60).map(lambda hours: hours * HOUR),
    st.integers(0, 60 * 60).map(lambda minutes: minutes * HOUR / 60),
)
BASES: Final = st.sampled_from(Base)
ANYTHING: Final = settings(max_examples=120, deadline=None)
FEW: Final = settings(max_examples=40, deadline=None)


@st.composite
def windows(draw: st.DrawFn, fewest: int = 0) -> tuple[Window, ...]:
    """Up to three windows of a date, touching or not, the last perhaps past midnight."""
    cuts = sorted(draw(st.lists(st.integers(0, 96), min_size=2 * fewest, max_size=6, unique=True)))
    times = [cut * HOUR / 4 for cut in cuts]
    made = [Window(opens, closes) for opens, closes in zip(times[::2], times[1::2], strict=False)]
    past_midnight = draw(st.booleans())
    if made and past_midnight:
        last = made.pop()
        earliest = made[0].start if made else last.start
        made.append(Window(last.start, min(earliest, draw(st.sampled_from((NO_TIME, 2 * HOUR, 6 * HOUR))))))
    return tuple(made)


@st.composite
def calendars(draw: st.DrawFn) -> BusinessCalendar:
    """A calendar that is open at some time of every week, with up to five exceptions."""
    office = draw(windows(fewest=1))
    weekly = [draw(st.sampled_from((office, office, (), draw(windows())))) for _ in range(7)]
    weekly[draw(st.integers(0, 6))] = (Window(9 * HOUR, 18 * HOUR),)
    exceptions = draw(st.dictionaries(DATES, st.one_of(st.just(()), windows()), max_size=5))
    named = tuple(DateException(day, f"exception of {day}", exceptions[day]) for day in sorted(exceptions))
    return BusinessCalendar(draw(st.sampled_from(ZONES)), tuple(weekly), named)


def again(calendar: BusinessCalendar, *more: DateException) -> BusinessCalendar:
    """Return the same calendar with nothing computed yet, and perhaps with more exceptions."""
    return BusinessCalendar(calendar.timezone, calendar.weekly, (*calendar.exceptions, *more))


@ANYTHING
@given(calendars(), MOMENTS, AMOUNTS, st.sampled_from((1, -1)), BASES)
def test_as_much_time_lies_between_as_was_added(
    calendar: BusinessCalendar, start: datetime, amount: timedelta, sign: int, base: Base
) -> None:
    assert calendar.between(start, calendar.add(start, sign * amount, base), base) == sign * amount


@ANYTHING
@given(calendars(), MOMENTS, AMOUNTS, AMOUNTS, st.sampled_from((1, -1)), BASES)
def test_adding_twice_is_adding_the_sum(
    calendar: BusinessCalendar, start: datetime, first: timedelta, second: timedelta, sign: int, base: Base
) -> None:
    assume(first and second)
    stepwise = calendar.add(calendar.add(start, sign * first, base), sign * second, base)
    assert stepwise == calendar.add(start, sign * (first + second), base)


@ANYTHING
@given(calendars(), MOMENTS, AMOUNTS, BASES)
def test_a_deadline_is_the_first_instant_that_is_far_enough(
    calendar: BusinessCalendar, start: datetime, amount: timedelta, base: Base
) -> None:
    assume(amount)
    due = calendar.add(start, amount, base)
    assert calendar.between(start, due - timedelta.resolution, base) < amount
    back = calendar.add(start, -amount, base)
    assert calendar.between(back + timedelta.resolution, start, base) < amount


@ANYTHING
@given(calendars(), MOMENTS, st.timedeltas(NO_TIME, 10 * DAY), AMOUNTS, st.sampled_from((1, -1)), BASES)
def test_a_later_start_is_never_due_earlier(
    calendar: BusinessCalendar, start: datetime, later: timedelta, amount: timedelta, sign: int, base: Base
) -> None:
    assert calendar.add(start, sign * amount, base) <= calendar.add(start + later, sign * amount, base)


@ANYTHING
@given(calendars(), MOMENTS, AMOUNTS, AMOUNTS, BASES)
def test_a_greater_amount_is_never_due_earlier(
    calendar: BusinessCalendar, start: datetime, less: timedelta, more: timedelta, base: Base
) -> None:
    assert calendar.add(start, less, base) <= calendar.add(start, less + more, base)
    assert calendar.add(start, -less - more, base) <= calendar.add(start, -less, base)
    assert calendar.add(start, -less, base) <= calendar.add(start, more, base)


@ANYTHING
@given(calendars(), MOMENTS, MOMENTS, MOMENTS, BASES)
def test_time_between_adds_up_and_has_a_sign(
    calendar: BusinessCalendar, first: datetime, second: datetime, third: datetime, base: Base
) -> None:
    parts = calendar.between(first, second, base) + calendar.between(second, third, base)
    assert parts == calendar.between(first, third, base)
    assert calendar.between(first, second, base) == -calendar.between(second, first, base)


@ANYTHING
@given(calendars(), MOMENTS, MOMENTS)
def test_open_time_is_within_business_days_and_those_within_all_time(
    calendar: BusinessCalendar, one: datetime, other: datetime
) -> None:
    first, last = sorted((one, other))
    hours, days, everything = (calendar.between(first, last, base) for base in Base)
    assert NO_TIME <= hours <= days <= everything == last - first


@ANYTHING
@example(
    BusinessCalendar("UTC", ((Window(NO_TIME, DAY),),) * 7),
    datetime(2011, 4, 2, 15, tzinfo=UTC),
    timedelta(0),
    "Australia/Lord_Howe",
    Base.BUSINESS_DAYS,
)
@given(calendars(), MOMENTS, AMOUNTS, st.sampled_from(ZONES), BASES)
def test_the_zone_in_which_an_instant_is_written_changes_nothing(
    calendar: BusinessCalendar, start: datetime, amount: timedelta, zone: str, base: Base
) -> None:
    elsewhere = start.astimezone(ZoneInfo(zone))
    due = calendar.add(start, amount, base)
    assert calendar.add(elsewhere, amount, base) == due
    assert calendar.add(elsewhere, amount, base).tzinfo is UTC
    assert calendar.between(elsewhere, due.astimezone(ZoneInfo(zone)), base) == amount
    assert calendar.is_open(elsewhere, base) == calendar.is_open(start, base)
    assert calendar.next_open(elsewhere, base) == calendar.next_open(start, base)
    assert calendar.next_opening(elsewhere, base) == calendar.next_opening(start, base)
    assert calendar.next_close(elsewhere, base) == calendar.next_close(start, base)
    assert calendar.trace(elsewhere, due, base) == calendar.trace(start, due, base)


@ANYTHING
@given(st.sampled_from(ZONES), MOMENTS, AMOUNTS, st.sampled_from((1, -1)), BASES)
def test_around_the_clock_adding_is_plain_addition(
    zone: str, start: datetime, amount: timedelta, sign: int, base: Base
) -> None:
    calendar = BusinessCalendar(zone, ((Window(NO_TIME, DAY),),) * 7)
    assert calendar.add(start, sign * amount, base) == start + sign * amount
    assert calendar.between(start, start + amount, base) == amount


@ANYTHING
@given(calendars(), DATES, MOMENTS, AMOUNTS, BASES)
def test_a_holiday_never_makes_a_deadline_earlier(
    calendar: BusinessCalendar, holiday: date, start: datetime, amount: timedelta, base: Base
) -> None:
    assume(holiday not in {exception.date for exception in calendar.exceptions})
    closed = again(calendar, DateException(holiday, "one more holiday"))
    assert closed.add(start, amount, base) >= calendar.add(start, amount, base)
    assert closed.add(start, -amount, base) <= calendar.add(start, -amount, base)


@FEW
@given(calendars(), MOMENTS, AMOUNTS, st.lists(st.integers(2000, 2024), min_size=1, max_size=4), BASES)
def test_growing_the_table_changes_no_answer(
    calendar: BusinessCalendar, start: datetime, amount: timedelta, asked: list[int], base: Base
) -> None:
    def answers(fresh: BusinessCalendar) -> list[object]:
        due, back = fresh.add(start, amount, base), fresh.add(start, -amount, base)
        openings = fresh.next_open(start, base), fresh.next_close(start, base)
        return [
            due,
            back,
            *openings,
            fresh.is_open(due, base),
            fresh.intervals(back, due, base),
            fresh.trace(back, due),
        ]

    before = answers(calendar)
    for year in asked:
        calendar.between(start, datetime(year, 7, 1, tzinfo=UTC), base)
        assert answers(calendar) == before
    assert answers(again(calendar)) == before


@ANYTHING
@given(calendars(), MOMENTS, AMOUNTS, BASES)
def test_a_trace_is_gapless_and_adds_up_to_the_target(
    calendar: BusinessCalendar, start: datetime, amount: timedelta, base: Base
) -> None:
    assume(amount)
    due = calendar.add(start, amount, base)
    traced = calendar.trace(start, due, base)
    assert (traced[0].start, traced[-1].end, traced[-1].total) == (start, due, amount)
    assert all(one.end == other.start for one, other in pairwise(traced))
    total = NO_TIME
    for segment in traced:
        assert segment.start < segment.end
        counts = segment.kind is SegmentKind.COUNTED
        assert segment.counted == (segment.end - segment.start if counts else NO_TIME)
        total += segment.counted
        assert segment.total == total
    counted = [(segment.start, segment.end) for segment in traced if segment.kind is SegmentKind.COUNTED]
    assert counted == calendar.intervals(start, due, base)


@ANYTHING
@given(calendars(), MOMENTS, st.timedeltas(timedelta.resolution, 40 * DAY), BASES)
def test_a_trace_calls_holiday_what_the_exceptions_took_away(
    calendar: BusinessCalendar, start: datetime, length: timedelta, base: Base
) -> None:
    end = start + length
    weekly = BusinessCalendar(calendar.timezone, calendar.weekly)
    zone, names = ZoneInfo(calendar.timezone), {e.date: e.name for e in calendar.exceptions}
    traced = calendar.trace(start, end, base)
    for segment in traced:
        inside = weekly.between(segment.start, segment.end, base)
        if segment.kind is SegmentKind.HOLIDAY:
            assert inside == segment.end - segment.start
            assert segment.reason == names[segment.start.astimezone(zone).date()]
            last = (segment.end - timedelta.resolution).astimezone(zone)
            assert segment.reason == names[last.date()]
        elif segment.kind is SegmentKind.CLOSED:
            assert inside == NO_TIME
            assert segment.reason is None
    assert any(segment.kind is SegmentKind.COUNTED for segment in traced) == bool(calendar.between(start, end, base))


@ANYTHING
@given(calendars(), MOMENTS, st.timedeltas(NO_TIME, 40 * DAY), BASES)
def test_intervals_are_disjoint_and_add_up_and_agree_with_the_other_questions(
    calendar: BusinessCalendar, start: datetime, length: timedelta, base: Base
) -> None:
    assume(length)
    end = start + length
    found = calendar.intervals(start, end, base)
    assert sum((closes - opens for opens, closes in found), NO_TIME) == calendar.between(start, end, base)
    assert all(closes < opens for (_, closes), (opens, _) in pairwise(found))
    for opens, closes in found:
        assert start <= opens < closes <= end
        assert calendar.is_open(opens, base)
        assert calendar.is_open(closes - timedelta.resolution, base)
        if closes < end:
            assert not calendar.is_open(closes, base)
            assert calendar.next_close(opens, base) == closes
        if start < opens:
            assert not calendar.is_open(opens - timedelta.resolution, base)
            assert calendar.next_open(opens - timedelta.resolution, base) == opens


class Forgetful(BusinessCalendar):
    """Loses the microseconds of its deadlines, as a calendar of whole seconds would."""

    def add(self, start: datetime, amount: timedelta, base: Base = Base.BUSINESS_HOURS) -> datetime:
        return super().add(start, amount, base).replace(microsecond=0)


def test_the_laws_catch_a_calendar_that_loses_microseconds() -> None:
    law: Any = test_as_much_time_lies_between_as_was_added
    broken = calendars().map(lambda made: Forgetful(made.timezone, made.weekly, made.exceptions))
    unshrunk = settings(FEW, phases=[Phase.generate], database=None)
    check = unshrunk(given(broken, MOMENTS, AMOUNTS, st.just(1), BASES)(law.hypothesis.inner_test))
    with pytest.raises(AssertionError):
        check()
