"""Business time as interval algebra: the open hours of a calendar as half-open segments of UTC.

Two questions carry everything else: how much open time lies between two instants, and which
instant is a given amount of open time away. A table of cumulative open time answers both with
one bisection, however long the span.
"""

import hashlib
import importlib.resources
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import accumulate
from typing import Final, Self
from zoneinfo import ZoneInfo

from app.domain.errors import InstantOutOfRangeError, NaiveDatetimeError
from app.domain.hours import DateException, HoursReader, Weekly, Window

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_INSTANT: Final = datetime(2000, 1, 1, tzinfo=UTC)
LAST_INSTANT: Final = datetime(2100, 1, 1, tzinfo=UTC)
YEARS: Final = range(FIRST_INSTANT.year, LAST_INSTANT.year)
MICROSECOND: Final = timedelta(microseconds=1)
FIRST: Final = (FIRST_INSTANT - EPOCH) // MICROSECOND
LAST: Final = (LAST_INSTANT - EPOCH) // MICROSECOND
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
NO_TIME: Final = timedelta(0)

Span = tuple[int, int]
"""Half-open, in microseconds since the epoch or since a local midnight."""


class Base(StrEnum):
    """Which time counts: open windows, whole business days (24x5), or all of it (24x7)."""

    BUSINESS_HOURS = "business_hours"
    BUSINESS_DAYS = "business_days"
    CALENDAR = "calendar"


class SegmentKind(StrEnum):
    """Why a stretch of a trace counts, or why it doesn't."""

    COUNTED = "counted"
    CLOSED = "closed"
    HOLIDAY = "holiday"
    PAUSED = "paused"
    GRACE = "grace"


@dataclass(frozen=True)
class Segment:
    """One stretch of a trace; `counted` is its own share, `total` the running sum at its end."""

    start: datetime
    end: datetime
    kind: SegmentKind
    reason: str | None
    counted: timedelta
    total: timedelta


@dataclass(frozen=True, slots=True)
class Lost:
    """Time that the weekly hours would have given and a dated exception took away."""

    start: int
    end: int
    name: str


class Table:
    """The open spans of some years in one base, with the open time before each of them."""

    __slots__ = ("closes", "end", "lost", "opens", "start", "totals", "years")

    def __init__(self, years: range, spans: Iterable[Span], lost: list[Lost]) -> None:
        """Take sorted, disjoint spans; what lies outside the years is cut off, what touches joined."""
        self.years = years
        self.start, self.end = _new_year(years.start), _new_year(years.stop)
        joined = _joined((max(a, self.start), min(b, self.end)) for a, b in spans if a < self.end and b > self.start)
        self.opens = [start for start, _ in joined]
        self.closes = [end for _, end in joined]
        self.totals = [0, *accumulate(end - start for start, end in joined)]
        self.lost = lost

    def measure(self, at: int) -> int:
        """Return the open time from the start of the table up to `at`."""
        index = bisect_right(self.opens, at) - 1
        return self.totals[index] + min(at, self.closes[index]) - self.opens[index] if index >= 0 else 0

    def reach(self, total: int) -> int:
        """Return the first instant at which the measure is `total`, for 0 < total <= all there is."""
        index = bisect_left(self.totals, total) - 1
        return self.opens[index] + total - self.totals[index]

    def recede(self, total: int) -> int:
        """Return the last instant at which the measure is `total`, for 0 <= total < all there is."""
        index = bisect_right(self.totals, total) - 1
        return self.opens[index] + total - self.totals[index]

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Yield the open spans within [start, end), cut at its ends."""
        if start >= end:
            return
        for index in range(bisect_right(self.closes, start), bisect_left(self.opens, end)):
            yield max(start, self.opens[index]), min(end, self.closes[index])


class BusinessCalendar:
    """A zone, weekly windows and dated exceptions; immutable, its tables grow as years are asked for."""

    def __init__(self, timezone: str, weekly: Weekly, exceptions: tuple[DateException, ...] = ()) -> None:
        """Take an IANA zone, seven tuples of windows (Monday first) and at most one exception a date."""
        self.timezone = timezone
        self.weekly = weekly
        self.exceptions = exceptions
        self._zone = ZoneInfo(timezone)
        self._dates = _Dates(weekly, exceptions)
        self._tables: dict[Base, Table] = {}

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> Self:
        """Read `{"timezone", "weekly_hours", "exceptions"}`.

        Raises:
            InvalidDocumentError: naming every field that is wrong.
        """
        reader = HoursReader()
        fields = reader.table(document, "", ("timezone", "weekly_hours"), ("exceptions",))
        timezone = fields.read("timezone", reader.timezone, "UTC")
        weekly = fields.read("weekly_hours", reader.weekly_hours, ((),) * 7)
        exceptions = fields.read("exceptions", reader.exceptions, ())
        reader.finish()
        return cls(timezone, weekly, exceptions)

    @property
    def tzdata(self) -> str:
        """Name the release of the time zone database that every answer rests on, such as 2026f."""
        return tzdata_version()

    @property
    def fingerprint(self) -> str:
        """Return a digest that differs whenever any answer of the calendar could."""
        parts = [self.timezone, self.tzdata]
        parts += ["|".join(map(str, windows)) for windows in self.weekly]
        parts += [repr((e.date.isoformat(), e.name, [str(w) for w in e.windows])) for e in self.exceptions]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def add(self, start: datetime, amount: timedelta, base: Base = Base.BUSINESS_HOURS) -> datetime:
        """Return min { t >= start : between(start, t) >= amount }; a negative amount goes back likewise.

        Raises:
            InstantOutOfRangeError: the start or the answer lies outside 2000 to 2100.
        """
        origin, micros = to_micros(start), amount // MICROSECOND
        if not micros:
            return to_datetime(origin)
        if base is Base.CALENDAR:
            return to_datetime(origin + micros)
        return to_datetime(self._ahead(origin, micros, base) if micros > 0 else self._back(origin, micros, base))

    def between(self, start: datetime, end: datetime, base: Base = Base.BUSINESS_HOURS) -> timedelta:
        """Return the open time from `start` to `end`, negative when `end` comes first."""
        first, last = to_micros(start), to_micros(end)
        if base is Base.CALENDAR:
            return timedelta(microseconds=last - first)
        table = self._covering(base, first, last)
        return timedelta(microseconds=table.measure(last) - table.measure(first))

    def is_open(self, at: datetime, base: Base = Base.BUSINESS_HOURS) -> bool:
        """Tell whether time counts at `at`; at a closing instant it does not (clause availability.business-hours)."""
        # As numbers: an instant that a zone's clock shows twice equals none that is written in another zone.
        here = to_micros(at)
        span = self._next_span(here, base)
        return span is not None and span[0] <= here

    def next_open(self, at: datetime, base: Base = Base.BUSINESS_HOURS) -> datetime | None:
        """Return the first open instant from `at` on (`at` itself when open); None if there is none before 2100."""
        span = self._next_span(to_micros(at), base)
        return to_datetime(max(span[0], to_micros(at))) if span else None

    def next_opening(self, at: datetime, base: Base = Base.BUSINESS_HOURS) -> datetime | None:
        """Return when open time begins next, after the one `at` is in; None if it doesn't before 2100."""
        if not self.is_open(at, base):
            return self.next_open(at, base)
        closes = self.next_close(at, base)
        return closes and self.next_open(closes, base)

    def next_close(self, at: datetime, base: Base = Base.BUSINESS_HOURS) -> datetime | None:
        """Return the end of the open time `at` is in, or of the next one; None if there is none before 2100."""
        span = self._next_span(to_micros(at), base)
        return to_datetime(span[1]) if span and span[1] < LAST else None

    def intervals(
        self, start: datetime, end: datetime, base: Base = Base.BUSINESS_HOURS
    ) -> list[tuple[datetime, datetime]]:
        """Return the open intervals within [start, end), touching ones joined."""
        first, last = to_micros(start), to_micros(end)
        return [(to_datetime(opened), to_datetime(closed)) for opened, closed in self._spans(base, first, last)]

    def trace(self, start: datetime, end: datetime, base: Base = Base.BUSINESS_HOURS) -> tuple[Segment, ...]:
        """Explain [start, end) in segments without gaps: counted, holiday (with its name), closed."""
        first, last = to_micros(start), to_micros(end)
        known: list[tuple[int, int, SegmentKind, str | None]] = [
            (opened, closed, SegmentKind.COUNTED, None) for opened, closed in self._spans(base, first, last)
        ]
        known += [
            (max(first, lost.start), min(last, lost.end), SegmentKind.HOLIDAY, lost.name)
            for lost in self._lost(base, first, last)
        ]
        return tuple(_totalled(_without_gaps(sorted(known), first, last)))

    def _spans(self, base: Base, start: int, end: int) -> Iterator[Span]:
        if base is Base.CALENDAR:
            return iter([(start, end)] if start < end else [])
        return self._covering(base, start, end).spans(start, end)

    def _lost(self, base: Base, start: int, end: int) -> list[Lost]:
        if base is Base.CALENDAR:
            return []
        return [lost for lost in self._covering(base, start, end).lost if lost.start < end and start < lost.end]

    def _ahead(self, origin: int, amount: int, base: Base) -> int:
        table = self._covering(base, origin, origin)
        while (total := table.measure(origin) + amount) > table.totals[-1]:
            table = self._later(base, table)
        return table.reach(total)

    def _back(self, origin: int, amount: int, base: Base) -> int:
        table = self._covering(base, origin, origin)
        while (total := table.measure(origin) + amount) < 0:
            table = self._earlier(base, table)
        return table.recede(total)

    def _next_span(self, at: int, base: Base) -> Span | None:
        if base is Base.CALENDAR:
            return at, LAST
        table = self._covering(base, at, at)
        while True:
            index = bisect_right(table.closes, at)
            # A span that ends with the table may go on in the year after it.
            if index < len(table.opens) and (table.closes[index] < table.end or table.end == LAST):
                return table.opens[index], table.closes[index]
            if table.end == LAST:
                return None
            table = self._later(base, table)

    def _covering(self, base: Base, start: int, end: int) -> Table:
        table = self._tables.get(base)
        first, last = (start, end) if start <= end else (end, start)
        if table and table.start <= first and last <= table.end:
            return table
        # The last instant has no year of its own: it belongs to the table of the year it ends.
        years = (min(to_datetime(first).year, YEARS[-1]), to_datetime(last).year + 1)
        if table:
            years = (min(years[0], table.years.start), max(years[1], table.years.stop))
        return self._built(base, range(*years))

    def _later(self, base: Base, table: Table) -> Table:
        """Grow the table towards the future by as much as it has, so that growing stays cheap."""
        if table.end == LAST:
            raise InstantOutOfRangeError("this much time ends after the year 2099; ask for less")
        return self._built(base, range(table.years.start, table.years.stop + len(table.years)))

    def _earlier(self, base: Base, table: Table) -> Table:
        if table.start == FIRST:
            raise InstantOutOfRangeError("this much time begins before the year 2000; ask for less")
        return self._built(base, range(table.years.start - len(table.years), table.years.stop))

    def _built(self, base: Base, years: range) -> Table:
        years = range(max(years.start, YEARS.start), min(years.stop, YEARS.stop))
        hours, days = _Builder(self._zone, self._dates, years).tables()
        self._tables = {Base.BUSINESS_HOURS: hours, Base.BUSINESS_DAYS: days}
        return self._tables[base]


class _Dates:
    """Which wall-clock spans each local date is open; a date is a number of days since the epoch."""

    def __init__(self, weekly: Weekly, exceptions: tuple[DateException, ...]) -> None:
        self._weekly = [
            _joined([*_heads(weekly[weekday]), *_tails(weekly[weekday - 1])]) for weekday in range(len(weekly))
        ]
        self._exceptions = {_day(exception.date): _joined(_heads(exception.windows)) for exception in exceptions}
        self._carried = {_day(e.date) + 1: tails for e in exceptions if (tails := list(_tails(e.windows)))}
        self.names = {_day(exception.date): exception.name for exception in exceptions}

    def regular(self, day: int) -> list[Span]:
        """Return what the weekly hours alone give."""
        return self._weekly[(day + EPOCH.weekday()) % len(self._weekly)]

    def actual(self, day: int) -> list[Span]:
        """Return what holds: the exception of the date, or the weekly hours and what an exception left of yesterday."""
        if day in self._exceptions:
            return self._exceptions[day]
        if day in self._carried:
            return _joined([*self.regular(day), *self._carried[day]])
        return self.regular(day)


class _Builder:
    """Resolves the local dates of some years to UTC, one stretch of constant offset after the other."""

    MARGIN = 3 * DAY
    """Looked at beyond the years on both sides, so that a date cut by their edge is known whole."""

    def __init__(self, zone: ZoneInfo, dates: _Dates, years: range) -> None:
        self._dates = dates
        self._years = years
        edges = (_new_year(years.start), _new_year(years.stop))
        self._stretches = list(_stretches(zone, edges[0] - self.MARGIN, edges[1] + self.MARGIN))

    def tables(self) -> tuple[Table, Table]:
        """Return the table of business hours and the one of business days."""
        opened: list[Span] = []
        lost: dict[int, list[Span]] = {}
        whole: list[tuple[int, int, int]] = []
        open_days: set[int] = set()
        regular_days: set[int] = set()
        for day, midnight, start, end in self._pieces():
            whole.append((day, max(midnight, start), min(midnight + DAY, end)))
            actual = list(_resolved(self._dates.actual(day), midnight, start, end))
            opened += actual
            if actual:
                open_days.add(day)
            if day in self._dates.names:
                regular = list(_resolved(self._dates.regular(day), midnight, start, end))
                if regular:
                    regular_days.add(day)
                lost.setdefault(day, []).extend(_without(regular, actual))
        days = [(start, end) for day, start, end in whole if day in open_days]
        days_lost: dict[int, list[Span]] = {}
        for day, start, end in whole:
            if day in regular_days - open_days:
                days_lost.setdefault(day, []).append((start, end))
        return Table(self._years, opened, self._named(lost)), Table(self._years, days, self._named(days_lost))

    def _named(self, lost: dict[int, list[Span]]) -> list[Lost]:
        """Join what each date lost where a change of offset had split it, and add the date's name."""
        return [Lost(*span, self._dates.names[day]) for day, spans in lost.items() for span in _joined(spans)]

    def _pieces(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield each local date of each stretch: its number, its midnight by that offset, the stretch."""
        for start, end, offset in self._stretches:
            for day in range((start + offset) // DAY, (end + offset - 1) // DAY + 1):
                yield day, day * DAY - offset, start, end


def to_micros(at: datetime) -> int:
    """Return the instant as microseconds since the epoch.

    Raises:
        NaiveDatetimeError: it has no UTC offset.
        InstantOutOfRangeError: it lies outside 2000-01-01..2100-01-01.
    """
    if at.utcoffset() is None:
        raise NaiveDatetimeError("give the instant with a UTC offset, such as 2026-01-05T10:00:00+08:00")
    micros = (at - EPOCH) // MICROSECOND
    if not FIRST <= micros <= LAST:
        raise InstantOutOfRangeError("give an instant between 2000-01-01 and 2100-01-01 UTC")
    return micros


def to_datetime(micros: int) -> datetime:
    """Return the instant in UTC.

    Raises:
        InstantOutOfRangeError: it lies outside 2000-01-01..2100-01-01.
    """
    if not FIRST <= micros <= LAST:
        raise InstantOutOfRangeError("the answer would lie outside 2000-01-01 to 2100-01-01; ask for less")
    return EPOCH + timedelta(microseconds=micros)


@cache
def tzdata_version() -> str:
    """Return the IANA release that the pinned tzdata package carries."""
    with importlib.resources.files("tzdata.zoneinfo").joinpath("tzdata.zi").open(encoding="utf-8") as source:
        return source.readline().removeprefix("# version").strip()


def _stretches(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, offset) of constant UTC offset, in microseconds.

    One probe a day finds every change, as no zone changes twice within one (tested over all of
    tzdata); a bisection finds its second.
    """
    offset = _offset(zone, start)
    for probe in range(start, end, DAY):
        until = min(probe + DAY, end)
        after = _offset(zone, until)
        if after != offset:
            seconds = range(probe // SECOND, until // SECOND + 1)
            change = SECOND * seconds[bisect_left(seconds, 1, key=lambda s: _offset(zone, s * SECOND) == after)]
            yield start, change, offset
            start, offset = change, after
    yield start, end, offset


def _offset(zone: ZoneInfo, at: int) -> int:
    local = datetime.fromtimestamp(at // SECOND, zone)
    return (local.utcoffset() or NO_TIME) // MICROSECOND


def _new_year(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND


def _day(of: date) -> int:
    return (of - EPOCH.date()).days


def _heads(windows: Iterable[Window]) -> Iterator[Span]:
    """Yield the share of each window that lies on the date it begins on."""
    for window in windows:
        end = window.end if window.end > window.start else timedelta(days=1)
        yield window.start // MICROSECOND, end // MICROSECOND


def _tails(windows: Iterable[Window]) -> Iterator[Span]:
    """Yield the share of each window past midnight that lies on the date after."""
    for window in windows:
        if NO_TIME < window.end <= window.start:
            yield 0, window.end // MICROSECOND


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Sort spans and join those that touch or overlap."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _without(spans: Iterable[Span], taken: list[Span]) -> Iterator[Span]:
    """Yield what is left of `spans` when `taken` (sorted, disjoint) is cut out."""
    for start, end in spans:
        for cut_start, cut_end in taken:
            if start < cut_start < end:
                yield start, cut_start
            if cut_start < end and cut_end > start:
                start = max(start, cut_end)  # noqa: PLW2901
        if start < end:
            yield start, end


def _resolved(wall: list[Span], midnight: int, start: int, end: int) -> Iterator[Span]:
    """Yield wall-clock spans of a date as instants, as far as they lie in the stretch [start, end)."""
    for opens, closes in wall:
        first, last = max(midnight + opens, start), min(midnight + closes, end)
        if first < last:
            yield first, last


def _without_gaps(
    known: Iterable[tuple[int, int, SegmentKind, str | None]], start: int, end: int
) -> Iterator[tuple[int, int, SegmentKind, str | None]]:
    """Yield the known stretches in order, with `closed` between them."""
    at = start
    for first, last, kind, reason in known:
        if at < first:
            yield at, first, SegmentKind.CLOSED, None
        yield first, last, kind, reason
        at = last
    if at < end:
        yield at, end, SegmentKind.CLOSED, None


def _totalled(stretches: Iterable[tuple[int, int, SegmentKind, str | None]]) -> Iterator[Segment]:
    total = NO_TIME
    for start, end, kind, reason in stretches:
        counted = timedelta(microseconds=end - start) if kind is SegmentKind.COUNTED else NO_TIME
        total += counted
        yield Segment(to_datetime(start), to_datetime(end), kind, reason, counted, total)
