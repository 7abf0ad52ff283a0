"""What the calendar takes for granted about time zones, proved on every zone of the pinned package."""

import re
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

NAMES = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
FIRST = datetime(2000, 1, 1, tzinfo=UTC)
LAST = datetime(2100, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HEADER = struct.Struct(">4sc15x6l")
AMOUNT = r"([+-]?\d+(?::\d+){0,2})"
RULE = rf"M(\d+)\.(\d)\.(\d)(?:/{AMOUNT})?"
FOOTER = re.compile(rf"(?:<[^>]+>|[A-Za-z]+){AMOUNT}(?:(?:<[^>]+>|[A-Za-z]+){AMOUNT}?,{RULE},{RULE})?")

Change = tuple[datetime, int]
"""An instant, and the offset in seconds that holds from then on."""


def changes(content: bytes) -> list[Change]:
    """Return every change of offset that a TZif file of version 2 or later states, up to 2100."""
    *_, body = content.split(b"TZif")
    _, _, utc_count, wall_count, leap_count, time_count, type_count, char_count = HEADER.unpack_from(b"TZif" + body)
    layout = struct.Struct(f">{time_count}q{time_count}B" + "lBB" * type_count)
    numbers = layout.unpack_from(b"TZif" + body, HEADER.size)
    times, kinds, types = numbers[:time_count], numbers[time_count : 2 * time_count], numbers[2 * time_count :: 3]
    assert not leap_count
    rest = HEADER.size + layout.size + char_count + wall_count + utc_count - len(b"TZif")
    footer = body[rest:].strip().decode()
    stated = [(EPOCH + timedelta(seconds=at), types[kind]) for at, kind in zip(times, kinds, strict=True)]
    since = stated[-1][0] if stated else EPOCH
    everything = [(EPOCH - 10**5 * DAY, types[0]), *stated, *ruled(footer, since)]
    return [after for before, after in pairwise(everything) if before[1] != after[1]]


def ruled(footer: str, since: datetime) -> Iterator[Change]:
    """Yield the changes that the rule in the footer goes on making after those stated."""
    found = FOOTER.fullmatch(footer)
    assert found, footer
    standard, summer, *rules = found.groups()
    standard_offset = -seconds(standard)
    if rules[0] is None:
        yield since, standard_offset
        return
    summer_offset = -seconds(summer) if summer else standard_offset + 3600
    after = [
        change
        for year in range(since.year, LAST.year + 1)
        for change in (
            (on(year, rules[:4]) - timedelta(seconds=standard_offset), summer_offset),
            (on(year, rules[4:]) - timedelta(seconds=summer_offset), standard_offset),
        )
    ]
    yield from (change for change in sorted(after) if change[0] > since)


def on(year: int, rule: Sequence[str]) -> datetime:
    """Return the wall-clock time of a rule such as M3.5.0/2: the last Sunday of March at two."""
    month, week, weekday = (int(part) for part in rule[:3])
    first = date(year, month, 1)
    day = first + (weekday - first.isoweekday()) % 7 * DAY + (week - 1) * 7 * DAY
    while day.month != month:
        day -= 7 * DAY
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds(rule[3] or "2"))


def seconds(written: str) -> int:
    """Read an amount such as -3:30 in hours, minutes and seconds."""
    parts = [int(part) for part in written.lstrip("+-").split(":")]
    amount = sum(part * size for part, size in zip(parts, (3600, 60, 1), strict=False))
    return -amount if written.startswith("-") else amount


def closest(found: Sequence[Change]) -> timedelta:
    """Return the shortest time between two changes of offset from 2000 to 2100."""
    inside = [at for at, _ in found if FIRST - 3 * DAY <= at <= LAST + 3 * DAY]
    return min((later - earlier for earlier, later in pairwise(inside)), default=timedelta.max)


def content(name: str) -> bytes:
    return files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()


def test_no_zone_changes_its_offset_twice_within_a_day() -> None:
    assert len(NAMES) > 500
    too_close = {name: closest(changes(content(name))) for name in NAMES}
    assert {name: apart for name, apart in too_close.items() if apart <= DAY} == {}


def test_the_changes_read_are_those_that_python_makes() -> None:
    for name in NAMES:
        zone = ZoneInfo(name)
        for at, offset in changes(content(name)):
            if FIRST <= at <= LAST:
                assert at.astimezone(zone).utcoffset() == timedelta(seconds=offset), (name, at)
                assert (at - timedelta(seconds=1)).astimezone(zone).utcoffset() != timedelta(seconds=offset), (name, at)


@pytest.mark.parametrize(
    ("name", "count"), [("Asia/Kuala_Lumpur", 0), ("Europe/London", 200), ("Pacific/Apia", 23), ("UTC", 0)]
)
def test_a_zone_changes_as_often_as_its_history_says(name: str, count: int) -> None:
    assert sum(FIRST <= at <= LAST for at, _ in changes(content(name))) == count


def test_a_zone_that_changes_twice_within_a_day_would_be_found() -> None:
    noon = int(datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp())
    header = HEADER.pack(b"TZif", b"2", 0, 0, 0, 2, 2, 4)
    body = struct.pack(">2q2BlBBlBB", noon, noon + 10 * 3600, 1, 0, 0, 0, 0, 3600, 1, 0) + b"ABC\0"
    empty = HEADER.pack(b"TZif", b"2", 0, 0, 0, 0, 1, 1) + struct.pack(">lBB", 0, 0, 0) + b"\0"
    assert closest(changes(empty + header + body + b"\nABC0\n")) == timedelta(hours=10)
