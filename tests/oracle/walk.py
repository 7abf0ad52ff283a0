"""The brute-force oracle: a calendar walked second by second, once, into running sums of open seconds.

Nothing of the application is imported: the document is read here a second time, by other means. No
intervals are computed. A local date is 86,400 bytes, one per second of its wall clock, 1 where open;
every second of the walk takes the byte its own wall clock shows, and every answer is a look-up in the
running sums.

The UTC offset is asked of zoneinfo every `stride` seconds. Where two neighbouring answers differ, it is
asked for each second between them, so a change is placed to the second. What a stride of 60 would miss
is an offset that changes and changes back within one minute; tests/domain/test_time_zones.py reads the
transitions themselves and finds none. A stride of 1 asks for every second and assumes nothing.
"""

import zoneinfo
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Any, Final
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=())

Document = dict[str, Any]

DAY: Final = 86_400
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BASES: Final = ("business_hours", "business_days", "calendar")
MARGIN: Final = 2 * DAY
"""Walked on both sides of what is asked about, so that every local date asked about is known whole."""


@dataclass(frozen=True)
class Run:
    """Consecutive seconds of one UTC offset, [start, end) since the epoch."""

    start: int
    end: int
    offset: int


class Walk:
    """One calendar over [start, end), in seconds since the epoch; answers None to what lies beyond it."""

    def __init__(self, document: Document, start: int, end: int, stride: int = 60) -> None:
        self.start = start
        self.end = end
        runs = offsets(document["timezone"], start - MARGIN, end + MARGIN, stride)
        hours, days = open_seconds(document, runs)
        inner = slice(MARGIN, MARGIN + end - start)
        self.seconds = {
            "business_hours": hours[inner],
            "business_days": days[inner],
            "calendar": bytes([1]) * (end - start),
        }
        self.sums: dict[str, Sequence[int]] = {
            "business_hours": running_sums(self.seconds["business_hours"]),
            "business_days": running_sums(self.seconds["business_days"]),
            "calendar": range(end - start + 1),
        }
        self.changes = [run.start for run in runs if start < run.start < end]

    def between(self, base: str, start: int, end: int) -> int:
        """Return the open seconds from one instant to the other."""
        sums = self.sums[base]
        return sums[end - self.start] - sums[start - self.start]

    def add(self, base: str, start: int, amount: int) -> int | None:
        """Return the first second that is `amount` open seconds on, or the last that is as much back."""
        if amount == 0:
            return start
        sums = self.sums[base]
        wanted = sums[start - self.start] + amount
        if not 0 <= wanted <= sums[-1]:
            return None
        index = bisect_left(sums, wanted) if amount > 0 else bisect_right(sums, wanted) - 1
        # What recedes to the very edge of the walk may go on beyond it.
        return self.start + index if 0 < index < self.end - self.start else None

    def is_open(self, base: str, at: int) -> bool:
        """Tell whether the second counts."""
        return bool(self.seconds[base][at - self.start])

    def next_open(self, base: str, at: int) -> int | None:
        """Return the first open second from `at` on."""
        index = self.seconds[base].find(1, at - self.start)
        return None if index < 0 else self.start + index

    def next_close(self, base: str, at: int) -> int | None:
        """Return the first closed second after the first open one from `at` on."""
        opened = self.next_open(base, at)
        index = -1 if opened is None else self.seconds[base].find(0, opened - self.start)
        return None if index < 0 else self.start + index

    def edges(self, base: str) -> list[int]:
        """Return every second at which open turns to closed or back."""
        seconds, found, at = self.seconds[base], list[int](), 0
        while (at := seconds.find(1 - seconds[at], at)) >= 0:
            found.append(self.start + at)
        return found


@cache
def offsets(timezone: str, start: int, end: int, stride: int) -> tuple[Run, ...]:
    """Walk the UTC offset of a zone from `start` to `end`."""
    zone = ZoneInfo(timezone)
    runs: list[Run] = []
    began, offset = start, offset_at(zone, start)
    for before in range(start, end, stride):
        after = min(before + stride, end)
        if offset_at(zone, after) == offset:
            continue
        for second in range(before, after + 1):
            now = offset_at(zone, second)
            if now != offset:
                runs.append(Run(began, second, offset))
                began, offset = second, now
    return (*runs, Run(began, end, offset))


def offset_at(zone: ZoneInfo, second: int) -> int:
    """Return the UTC offset at a second since the epoch, in seconds."""
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    if offset is None:
        raise ValueError(f"{zone} has no offset at {second}")
    return offset // timedelta(seconds=1)


def open_seconds(document: Document, runs: Sequence[Run]) -> tuple[bytes, bytes]:
    """Return a byte per second walked, for business hours and for business days."""
    masks: dict[int, bytes] = {}
    hours = bytearray()
    stretches: list[tuple[int, int]] = []
    for day, first, last in local_dates(runs):
        mask = masks.get(day) or masks.setdefault(day, wall_clock(document, date(1970, 1, 1) + timedelta(days=day)))
        # The wall clock runs on second by second while the offset stays: this copies one byte for each.
        hours += mask[first:last]
        stretches.append((day, last - first))
    open_dates = set()
    at = 0
    for day, length in stretches:
        if hours.find(1, at, at + length) >= 0:
            open_dates.add(day)
        at += length
    days = b"".join(bytes([day in open_dates]) * length for day, length in stretches)
    return bytes(hours), days


def local_dates(runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
    """Yield each local date as it is walked: days since the epoch, first and past-the-last second of its wall clock."""
    for run in runs:
        at = run.start
        while at < run.end:
            day, second = divmod(at + run.offset, DAY)
            length = min(DAY - second, run.end - at)
            yield day, second, second + length
            at += length


def wall_clock(document: Document, day: date) -> bytes:
    """Return the wall clock of one local date, a byte per second, 1 where open."""
    mask = bytearray(DAY)
    exceptions = {item["date"]: item["hours"] for item in document["exceptions"]}
    yesterday = day - timedelta(days=1)
    if day.isoformat() in exceptions:
        for opens, closes in wall_times(exceptions[day.isoformat()]):
            paint(mask, opens, closes if closes > opens else DAY)
        return bytes(mask)
    for opens, closes in wall_times(document["weekly_hours"].get(WEEKDAYS[day.weekday()], [])):
        paint(mask, opens, closes if closes > opens else DAY)
    carried = [
        *document["weekly_hours"].get(WEEKDAYS[yesterday.weekday()], []),
        *exceptions.get(yesterday.isoformat(), []),
    ]
    for opens, closes in wall_times(carried):
        if closes <= opens:
            paint(mask, 0, closes)
    return bytes(mask)


def wall_times(windows: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Read windows into seconds since midnight."""
    return [(wall_second(opens), wall_second(closes)) for opens, closes in windows]


def wall_second(written: str) -> int:
    """Read HH:MM or HH:MM:SS."""
    parts = [int(part) for part in written.split(":")]
    return sum(part * size for part, size in zip(parts, (3600, 60, 1), strict=False))


def paint(mask: bytearray, start: int, end: int) -> None:
    """Open the seconds from `start` until just before `end`."""
    mask[start:end] = bytes([1]) * (end - start)


def running_sums(seconds: bytes) -> Sequence[int]:
    """Return how many seconds are open before each second, and at last in all."""
    return array("I", accumulate(seconds, initial=0))


def seconds_of(at: datetime) -> int:
    """Return whole seconds since the epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def instant(second: int) -> datetime:
    """Return a second since the epoch as an instant."""
    return datetime.fromtimestamp(second, UTC)
