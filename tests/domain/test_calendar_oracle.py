"""The calendar against a walk second by second, and broken calendars that the walk has to catch."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.domain.calendar import Base, BusinessCalendar
from app.domain.hours import DateException, Weekly
from tests.oracle.run import Extent, compare
from tests.oracle.walk import DAY, Document, offsets, seconds_of

Exceptions = tuple[DateException, ...]

CASES = 2_000
SEED = 20_260_105


class ToTheMinute(BusinessCalendar):
    """Rounds its deadlines to the minute."""

    def add(self, start: datetime, amount: timedelta, base: Base = Base.BUSINESS_HOURS) -> datetime:
        return super().add(start, amount, base).replace(second=0)


class OpeningForAnExactFit(BusinessCalendar):
    """Takes the next opening where the amount ends exactly at a closing."""

    def add(self, start: datetime, amount: timedelta, base: Base = Base.BUSINESS_HOURS) -> datetime:
        due = super().add(start, amount, base)
        return self.next_open(due, base) or due if amount > timedelta(0) else due


class WithoutSummerTime(BusinessCalendar):
    """Takes January's offset, to the hour, for that of the whole year."""

    def __init__(self, timezone: str, weekly: Weekly, exceptions: Exceptions = ()) -> None:
        january = datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone)).utcoffset() or timedelta(0)
        whole_hours = -round(january / timedelta(hours=1))
        super().__init__(f"Etc/GMT{whole_hours:+}", weekly, exceptions)


class WithoutTails(BusinessCalendar):
    """Forgets what a window past midnight leaves to the next date."""

    def __init__(self, timezone: str, weekly: Weekly, exceptions: Exceptions = ()) -> None:
        cut = tuple(tuple(replace(w, end=max(w.end, timedelta(days=w.end <= w.start))) for w in day) for day in weekly)
        super().__init__(timezone, cut, exceptions)


class WithoutExceptions(BusinessCalendar):
    """Works through every holiday."""

    def __init__(self, timezone: str, weekly: Weekly, _: Exceptions = ()) -> None:
        super().__init__(timezone, weekly)


def mismatches(cases: int, parse: Callable[[Document], BusinessCalendar]) -> list[str]:
    outcomes = list(compare(cases, SEED, parse, Extent(cases=100, days=21)))
    assert len(outcomes) == cases
    return [str(outcome) for outcome in outcomes if not outcome.agrees]


def test_two_thousand_answers_are_those_of_the_walk() -> None:
    assert mismatches(CASES, BusinessCalendar.parse) == []


@pytest.mark.parametrize(
    "broken", [ToTheMinute, OpeningForAnExactFit, WithoutSummerTime, WithoutTails, WithoutExceptions]
)
def test_the_walk_catches_a_broken_calendar(broken: type[BusinessCalendar]) -> None:
    assert mismatches(CASES // 4, broken.parse)


def test_asking_each_minute_finds_the_offsets_that_asking_each_second_finds() -> None:
    half_hour_at_midnight = seconds_of(datetime(2018, 5, 4, tzinfo=ZoneInfo("Asia/Pyongyang")))
    span = (half_hour_at_midnight, half_hour_at_midnight + 2 * DAY)
    by_minute, by_second = (offsets("Asia/Pyongyang", *span, stride) for stride in (60, 1))
    assert by_minute == by_second
    assert len(by_second) == 2
