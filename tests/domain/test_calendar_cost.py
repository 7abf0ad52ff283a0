"""A calendar's answers cost the same for any span: the look-ups are counted, no time is measured."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest

from app.domain.calendar import Base, BusinessCalendar, Table

HOUR: Final = timedelta(hours=1)
SHORT: Final = 2 * HOUR
LONG: Final = 2_000 * HOUR
WEEK: Final = {day: [["09:00", "12:30"], ["13:30", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
STARTS: Final = [datetime(2026, 1, 1, tzinfo=UTC) + number * timedelta(hours=7, seconds=13) for number in range(300)]
BASES: Final = [Base.BUSINESS_HOURS, Base.BUSINESS_DAYS]
FIXED: Final = 8
"""Look-ups around the bisections of one answer, however large the table."""


class Counted(list[int]):
    """A list that counts how often it is looked into."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        Counted.looks += 1
        return super().__getitem__(index)


class Walking(BusinessCalendar):
    """Goes from one open interval to the next, as a simple calendar would."""

    def add(self, start: datetime, amount: timedelta, base: Base = Base.BUSINESS_HOURS) -> datetime:
        at, left = start, amount
        while left:
            opens, closes = self.next_open(at, base), self.next_close(at, base)
            assert opens
            assert closes
            step = min(left, closes - opens)
            at, left = opens + step, left - step
        return at


def built(kind: type[BusinessCalendar] = BusinessCalendar) -> BusinessCalendar:
    """Return a calendar whose tables reach from 2024 to 2029, each list of them counted."""
    calendar = kind.parse({"timezone": "Asia/Kuala_Lumpur", "weekly_hours": WEEK})
    for base in BASES:
        calendar.between(datetime(2024, 2, 1, tzinfo=UTC), datetime(2029, 2, 1, tzinfo=UTC), base)
        table = calendar._tables[base]
        table.opens, table.closes, table.totals = (Counted(each) for each in (table.opens, table.closes, table.totals))
    return calendar


def looks(ask: Callable[[datetime], object]) -> list[int]:
    """Return how many look-ups the answer to each start takes."""
    counts = []
    for start in STARTS:
        before = Counted.looks
        ask(start)
        counts.append(Counted.looks - before)
    return counts


def adding(calendar: BusinessCalendar, span: timedelta, base: Base, start: datetime) -> datetime:
    return calendar.add(start, span, base)


def measuring(calendar: BusinessCalendar, span: timedelta, base: Base, start: datetime) -> timedelta:
    return calendar.between(start, start + span, base)


def growth(calendar: BusinessCalendar, base: Base, sign: int) -> float:
    """Return how many times the look-ups of a short span a long one takes."""
    short = looks(partial(adding, calendar, sign * SHORT, base))
    long = looks(partial(adding, calendar, sign * LONG, base))
    return sum(long) / sum(short)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("sign", [1, -1])
def test_adding_2000_hours_takes_as_many_look_ups_as_adding_2(base: Base, sign: int) -> None:
    calendar = built()
    tables = dict(calendar._tables)
    assert growth(calendar, base, sign) == pytest.approx(1, abs=0.02)
    assert calendar._tables == tables


@pytest.mark.parametrize("base", BASES)
def test_no_answer_takes_more_look_ups_than_two_bisections(base: Base) -> None:
    calendar = built()
    table: Table = calendar._tables[base]
    most = 2 * len(table.totals).bit_length() + FIXED
    for span in (SHORT, LONG):
        assert 0 < max(looks(partial(adding, calendar, span, base))) <= most
        assert 0 < max(looks(partial(measuring, calendar, span, base))) <= most


def test_a_calendar_that_walks_its_intervals_would_be_caught() -> None:
    assert growth(built(Walking), Base.BUSINESS_HOURS, 1) > 10
