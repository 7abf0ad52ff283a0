"""Our calendar, two libraries and a walk over days behind the same questions, for `bench.calendar`.

Each takes a desk and answers a list of cases at once, so that what the comparison costs itself is the
same for all. A question that one of them has no answer to is a method it doesn't have.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import businesstimedelta
import pandas as pd
import pytz  # the zones that businesstimedelta takes

from app.cli.setup import SHIPPED
from app.domain import clocks, policy
from app.domain.calendar import FIRST_INSTANT, NO_TIME, BusinessCalendar, Segment, SegmentKind
from app.domain.clocks import Cycle
from app.domain.hours import WEEKDAYS
from app.domain.policy import Terms

POLICY: Final = policy.parse(tomllib.loads(SHIPPED.read_text(encoding="utf-8")))
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Desk:
    """Opening hours that all can express: one window on some weekdays, and whole days off with their names."""

    timezone: str
    opens: time
    closes: time
    weekdays: tuple[int, ...]
    days_off: Mapping[date, str]

    def closed_on(self, day: date, name: str) -> "Desk":
        """Return the desk with one more day off."""
        return replace(self, days_off={**self.days_off, day: name})


@dataclass(frozen=True, slots=True)
class Case:
    """A start with what is asked of it: an amount of open time, where that ends, a clock that runs so long."""

    start: datetime
    amount: timedelta
    end: datetime
    cycle: Cycle


class Ours:
    """The calendar of the service, through its clocks where a question is about clocks."""

    def __init__(self, desk: Desk) -> None:
        hours = [[f"{desk.opens:%H:%M}", f"{desk.closes:%H:%M}"]]
        days_off = [{"date": day, "name": name, "hours": []} for day, name in desk.days_off.items()]
        weekly = {WEEKDAYS[weekday]: hours for weekday in desk.weekdays}
        self.calendar = BusinessCalendar.parse(
            {"timezone": desk.timezone, "weekly_hours": weekly, "exceptions": days_off}
        )

    def add(self, cases: Sequence[Case]) -> list[datetime]:
        """Return when each amount is over."""
        return [self.calendar.add(case.start, case.amount) for case in cases]

    def between(self, cases: Sequence[Case]) -> list[timedelta]:
        """Return the open time of each case."""
        return [self.calendar.between(case.start, case.end) for case in cases]

    def trace(self, cases: Sequence[Case]) -> list[tuple[Segment, ...]]:
        """Explain the clock of each case."""
        return [case.cycle.trace(self.calendar, case.end) for case in cases]

    def recount(self, cases: Sequence[Case]) -> list[datetime | None]:
        """Return when each clock is due after a change of the calendar, made so early that it holds none back."""
        terms = Terms(POLICY, self.calendar, revision=2, changed_at=FIRST_INSTANT)
        return [clocks.moved(case.cycle, None, terms, terms.changed_at, ()).due_at for case in cases]


class BusinessTimeDelta:
    """The package `businesstimedelta`; it counts, but has nothing that explains."""

    def __init__(self, desk: Desk) -> None:
        zone = pytz.timezone(desk.timezone)
        self.rule = businesstimedelta.WorkDayRule(desk.opens, desk.closes, list(desk.weekdays), tz=zone)
        # A rule of no days off looks for the next one for five years, and breaks.
        if desk.days_off:
            days_off = businesstimedelta.HolidayRule(desk.days_off, tz=zone)
            self.rule = businesstimedelta.Rules([self.rule, days_off])

    def add(self, cases: Sequence[Case]) -> list[datetime]:
        """Return when each amount is over."""
        amount = businesstimedelta.BusinessTimeDelta(self.rule, timedelta=cases[0].amount)
        return [case.start + amount for case in cases]

    def between(self, cases: Sequence[Case]) -> list[timedelta]:
        """Return the open time of each case."""
        return [self.rule.difference(case.start, case.end).timedelta for case in cases]

    recount = add


class CustomBusinessHour:
    """The offset of that name in `pandas`; it adds whole hours, and answers nothing else."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.weekmask = "".join(str(int(weekday in desk.weekdays)) for weekday in range(len(WEEKDAYS)))

    def add(self, cases: Sequence[Case]) -> list[datetime | ValueError]:
        """Return when each amount is over."""
        offset = pd.offsets.CustomBusinessHour(
            cases[0].amount // HOUR,
            weekmask=self.weekmask,
            holidays=list(self.desk.days_off),
            start=self.desk.opens,
            end=self.desk.closes,
        )
        return [self._added(pd.Timestamp(case.start).tz_convert(self.desk.timezone), offset) for case in cases]

    recount = add

    def _added(self, start: pd.Timestamp, offset: pd.offsets.CustomBusinessHour) -> datetime | ValueError:
        """Return where an offset leads, or what it raises when the wall clock shows that twice or never."""
        try:
            end: datetime = start + offset
        except ValueError as error:
            return error
        return end


class DayWalk:
    """The loop that most desks have: one date after the other, in the time of the wall clock."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.zone = ZoneInfo(desk.timezone)
        self.overnight = DAY if desk.closes <= desk.opens else NO_TIME

    def add(self, cases: Sequence[Case]) -> list[datetime]:
        """Return when each amount is over."""
        return [self._add(case.start.astimezone(self.zone), case.amount) for case in cases]

    def between(self, cases: Sequence[Case]) -> list[timedelta]:
        """Return the open time of each case."""
        return [self._between(case.start.astimezone(self.zone), case.end.astimezone(self.zone)) for case in cases]

    def trace(self, cases: Sequence[Case]) -> list[tuple[Segment, ...]]:
        """Explain the stretch of each case."""
        return [tuple(self._trace(case.start.astimezone(self.zone), case.end.astimezone(self.zone))) for case in cases]

    recount = add

    def _windows(self, start: datetime) -> Iterator[tuple[datetime, datetime, str | None]]:
        """Yield what is left of each window from `start` on, for ever, with the name of a day off."""
        day = start.date() - self.overnight
        while True:
            if day.weekday() in self.desk.weekdays:
                opens = max(start, datetime.combine(day, self.desk.opens, self.zone))
                closes = datetime.combine(day + self.overnight, self.desk.closes, self.zone)
                if opens < closes:
                    yield opens, closes, self.desk.days_off.get(day)
            day += DAY

    def _add(self, start: datetime, amount: timedelta) -> datetime:
        for opens, closes, day_off in self._windows(start):
            if day_off is None:
                if closes - opens >= amount:
                    return opens + amount
                amount -= closes - opens
        raise AssertionError("windows go on for ever")

    def _between(self, start: datetime, end: datetime) -> timedelta:
        total = NO_TIME
        for opens, closes, day_off in self._windows(start):
            if opens >= end:
                break
            if day_off is None:
                total += min(closes, end) - opens
        return total

    def _trace(self, start: datetime, end: datetime) -> Iterator[Segment]:
        at, total = start, NO_TIME
        for opens, window_closes, day_off in self._windows(start):
            if opens >= end:
                break
            closes = min(window_closes, end)
            if at < opens:
                yield Segment(at, opens, SegmentKind.CLOSED, None, NO_TIME, total)
            counted = NO_TIME if day_off else closes - opens
            total += counted
            kind = SegmentKind.HOLIDAY if day_off else SegmentKind.COUNTED
            yield Segment(opens, closes, kind, day_off, counted, total)
            at = closes
        if at < end:
            yield Segment(at, end, SegmentKind.CLOSED, None, NO_TIME, total)
