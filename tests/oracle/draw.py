"""Random calendars around awkward dates, and random questions about them with the oracle's answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final

from tests.oracle.walk import BASES, DAY, WEEKDAYS, Document, Walk, seconds_of

ANCHORS: Final = {
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),  # midnight is skipped, then comes twice
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),  # Ramadan
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "America/Santiago": ("2026-04-05", "2026-09-06"),  # at midnight
    "America/Sao_Paulo": ("2018-02-18", "2018-11-04"),  # at midnight
    "America/St_Johns": ("2010-03-14", "2010-11-07"),  # at 00:01
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),  # by two hours
    "Asia/Kathmandu": ("2026-01-01", "2028-02-29"),  # +05:45
    "Asia/Kuala_Lumpur": ("2026-08-31", "2026-12-31"),
    "Asia/Pyongyang": ("2015-08-15", "2018-05-05"),  # by half an hour, once at 23:30
    "Asia/Tehran": ("2021-03-22", "2022-09-22"),  # at midnight
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # by half an hour
    "Europe/London": ("2026-03-29", "2026-10-25"),
    "Pacific/Apia": ("2011-09-24", "2011-12-30"),  # 30 December is skipped
    "Pacific/Chatham": ("2026-04-05", "2026-09-27"),  # +12:45
}
OPERATIONS: Final = ("add", "between", "is_open", "next_open", "next_close")
WEIGHTS: Final = (50, 20, 10, 10, 10)
NIGHT: Final = 4 * 3600
"""Offsets change in the first hours of a date: windows like to begin and end there."""

Style = Callable[[Random], list[list[str]]]


@dataclass(frozen=True)
class Case:
    """One question and the answer that the walk gives, in seconds since the epoch or of open time."""

    operation: str
    base: str
    at: int
    argument: int
    expected: int | bool | None


def calendar(random: Random, days: int) -> tuple[Document, int, int]:
    """Draw a calendar, and the span of `days` around an awkward date of its zone to walk it over."""
    timezone = random.choice(sorted(ANCHORS))
    anchor = date.fromisoformat(random.choice(ANCHORS[timezone]))
    start = seconds_of(datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)) - days * DAY // 2
    styles: list[Style] = [random.choice((office, scattered, nightly)) for _ in range(2)]
    weekly = {day: random.choice(styles)(random) for day in WEEKDAYS if random.random() < 0.8}
    document = {"timezone": timezone, "weekly_hours": weekly, "exceptions": exceptions(random, anchor, days)}
    return document, start, start + days * DAY


def exceptions(random: Random, anchor: date, days: int) -> list[dict[str, object]]:
    """Draw closures, half days and overnight exceptions, most of them close to the anchor."""
    near = [random.randint(-2, 2) for _ in range(random.randint(0, 3))]
    far = [random.randint(-days // 2, days // 2) for _ in range(random.randint(0, 4))]
    dates = sorted({anchor + timedelta(days=away) for away in (*near, *far)})
    styles: tuple[Style, ...] = (closed, closed, office, scattered, nightly)
    return [
        {"date": day.isoformat(), "name": f"exception {index}", "hours": random.choice(styles)(random)}
        for index, day in enumerate(dates)
    ]


def closed(_: Random) -> list[list[str]]:
    """Draw nothing."""
    return []


def office(random: Random) -> list[list[str]]:
    """Draw one window of whole or half hours."""
    opens = random.randint(0, 24)
    closes = random.randint(opens + 1, 48)
    return [[written(opens * 1800), written(closes * 1800)]]


def scattered(random: Random) -> list[list[str]]:
    """Draw several windows, to the second, some of them touching."""
    count = random.randint(1, 4)
    cuts = sorted({time_of_day(random) for _ in range(2 * count)} | {random.choice((0, DAY)), random.randrange(DAY)})
    windows = []
    while len(cuts) > 1:
        opens = cuts.pop(0)
        closes = cuts[0] if random.random() < 0.3 else cuts.pop(0)
        windows.append([written(opens), written(closes)])
    return windows


def nightly(random: Random) -> list[list[str]]:
    """Draw a window past midnight, with or without another one in between."""
    ends, first, second, begins = sorted(random.sample(range(DAY), 4))
    closes = random.choice((0, ends, ends // 60 * 60, NIGHT))
    between = [[written(first), written(second)]] if random.random() < 0.3 and first >= closes else []
    opens = random.choice((begins, max(begins, 22 * 3600)))
    return [*between, [written(opens), written(min(closes, opens))]] if second <= opens > closes else between


def time_of_day(random: Random) -> int:
    """Draw a time of day, often early, often on a quarter of an hour."""
    second = random.randrange(NIGHT if random.random() < 0.4 else DAY)
    return second // 900 * 900 if random.random() < 0.5 else second


def written(second: int) -> str:
    """Write a time of day as documents do."""
    minutes, seconds = divmod(second, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


def cases(random: Random, walk: Walk, count: int) -> Iterator[Case]:
    """Draw questions until `count` of them have an answer within the walk."""
    edges = {base: walk.edges(base) for base in BASES}
    found = 0
    while found < count:
        base = random.choices(BASES, (6, 3, 1))[0]
        marks = [*edges[base], *walk.changes] or [walk.start]
        case = question(random, walk, base, marks)
        if case is not None:
            found += 1
            yield case


def question(random: Random, walk: Walk, base: str, marks: list[int]) -> Case | None:
    """Draw one question, or None where the answer lies beyond the walk."""
    at = moment(random, walk, marks)
    operation = random.choices(OPERATIONS, WEIGHTS)[0]
    if operation == "add":
        amount = amount_from(random, walk, base, at, moment(random, walk, marks))
        expected = walk.add(base, at, amount)
        return None if expected is None else Case(operation, base, at, amount, expected)
    if operation == "between":
        other = moment(random, walk, marks)
        return Case(operation, base, at, other, walk.between(base, at, other))
    if operation == "is_open":
        return Case(operation, base, at, 0, walk.is_open(base, at))
    expected = walk.next_open(base, at) if operation == "next_open" else walk.next_close(base, at)
    return None if expected is None and base != "calendar" else Case(operation, base, at, 0, expected)


def moment(random: Random, walk: Walk, marks: list[int]) -> int:
    """Draw an instant, half of them on an edge, next to one, or within a few hours of it."""
    if random.random() < 0.5:
        return random.randrange(walk.start + 1, walk.end)
    away = random.choice((0, 0, 0, 1, -1, random.randint(-7200, 7200), random.randint(-DAY, DAY)))
    return min(max(random.choice(marks) + away, walk.start + 1), walk.end - 1)


def amount_from(random: Random, walk: Walk, base: str, at: int, mark: int) -> int:
    """Draw an amount, signed: none, one that fits another instant exactly or almost, or any."""
    if random.random() < 0.03:
        return 0
    exact = walk.between(base, at, mark)
    return exact + random.choice((0, 0, 1, -1, random.randint(-9000, 9000)))
