"""Compares our calendar with two libraries and a walk over days, in one run and in turns: `python -m bench.calendar`.

`make bench` runs it in an environment of its own, as the service has no need of the others. It fails when a
deadline far away costs more than a near one, and writes what it measured to `bench/results/calendar.json`.
All times are of the processor, so that others on the machine count for less.
"""

import json
import os
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from time import process_time
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from app.domain import clocks
from app.domain.calendar import Base, BusinessCalendar
from app.domain.policy import Clock, Holidays, Terms
from app.outside import public_holidays
from bench.contenders import POLICY, BusinessTimeDelta, Case, CustomBusinessHour, DayWalk, Desk, Ours

RESULTS: Final = Path(__file__).parent / "results" / "calendar.json"
HOUR: Final = timedelta(hours=1)
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
YEARS: Final = 3
# Days off are known until well after the last answer: businesstimedelta breaks where it finds no next one.
KNOWN: Final = range(FIRST.year, FIRST.year + 3 * YEARS)
DAYS_OFF: Final = {day.date: day.name for day in public_holidays.exceptions(Holidays("MY", "KUL"), KNOWN)}
OFFICE: Final = Desk("Asia/Kuala_Lumpur", time(9), time(18), tuple(range(5)), DAYS_OFF)
CHANGED: Final = OFFICE.closed_on(date(2027, 6, 15), "the office moves")
# The clocks change while this one is open.
NIGHT: Final = Desk("Europe/London", time(22), time(6), tuple(range(7)), {})
Ask: TypeAlias = Callable[[Sequence[Case]], list[Any]]
OURS: Final = "ours"
CONTENDERS: Final[dict[str, Callable[[Desk], Any]]] = {
    OURS: Ours,
    "businesstimedelta": BusinessTimeDelta,
    "CustomBusinessHour": CustomBusinessHour,
    "day walk": DayWalk,
}
ROUNDS: Final = 7
PAIRS: Final = 31
CALLS: Final = 5_000
RUNNING: Final = 10_000
FEWEST: Final = 5
TURN: Final = 0.05
"""Seconds that one contender may take for a question in a round; a slow one is asked about the first starts alone."""
TARGET: Final = 1.3


@dataclass(slots=True)
class Entry:
    """What one contender needed for one question, round by round, and how its answers compare with ours."""

    name: str
    ask: Ask | None
    calls: int = 0
    microseconds: list[float] = field(default_factory=list)
    checked: int = 0
    differing: Counter[str] = field(default_factory=Counter)

    @property
    def median(self) -> float:
        """Return the microseconds that one call takes."""
        return statistics.median(self.microseconds)

    def asked(self, cases: Sequence[Case]) -> list[Any]:
        """Answer as many of the cases as there is time for, and note how long it took."""
        if self.ask is None:
            return []
        chosen = cases[: self.calls]
        began = process_time()
        answers = self.ask(chosen)
        self.microseconds.append((process_time() - began) * 1e6 / len(chosen))
        return answers

    def limit(self, cases: Sequence[Case], most: int) -> None:
        """Find how many calls there is time for in a turn, by a few that count for nothing else."""
        if self.ask is None:
            return
        self.ask(cases)
        began = process_time()
        self.ask(cases)
        seconds = (process_time() - began) / len(cases)
        self.calls = min(most, max(FEWEST, int(TURN / seconds)))


class Row:
    """One operation over one span at one desk, asked of everybody."""

    def __init__(self, operation: str, span: str, amount: timedelta, desk: Desk) -> None:
        self.operation, self.span, self.amount, self.desk = operation, span, amount, desk
        self.ours = Ours(desk)
        self.entries = [Entry(name, self._question(kind)) for name, kind in CONTENDERS.items()]

    def _question(self, kind: Callable[[Desk], Any]) -> Ask | None:
        """Return what answers the operation; to count anew, the changed desk is read anew as well."""
        answer: Ask | None = getattr(kind(self.desk), self.operation, None)
        if answer and self.operation == "recount":
            return lambda cases: list(kind(CHANGED).recount(cases))
        return answer

    def limit(self, random: Random) -> None:
        """Let everybody warm up, and find how many calls each has time for: nobody has more than we."""
        cases = list(self._cases(random, FEWEST))
        most = CALLS
        for entry in self.entries:
            entry.limit(cases, most)
            if entry.name == OURS:
                # In bulk, what is read anew is shared by all clocks: a few of them can't tell what one takes.
                entry.calls = RUNNING if self.operation == "recount" else entry.calls
                most = entry.calls

    def take_turns(self, random: Random, *, backwards: bool) -> None:
        """Ask everybody about the same new cases, and compare the answers."""
        cases = list(self._cases(random, self.entries[0].calls))
        order = reversed(self.entries) if backwards else self.entries
        answers = {entry.name: entry.asked(cases) for entry in order}
        for entry in self.entries[1:]:
            entry.checked += len(answers[entry.name])
            for case, ours, theirs in zip(cases, answers[OURS], answers[entry.name], strict=False):
                if ours != theirs and ours != in_utc(theirs):
                    entry.differing[self._why(case, ours, theirs)] += 1

    def _cases(self, random: Random, number: int) -> Iterator[Case]:
        target = replace(POLICY.targets[Clock.RESOLUTION], amount=self.amount, base=Base.BUSINESS_HOURS)
        terms = Terms(POLICY, self.ours.calendar, revision=1)
        for _ in range(number):
            start = FIRST + timedelta(seconds=random.randrange(YEARS * 365 * 86_400))
            cycle = clocks.started(target, 1, start, terms)
            yield Case(start, self.amount, self.ours.calendar.add(start, self.amount), cycle)

    def _why(self, case: Case, ours: object, theirs: object) -> str:
        """Say what is the matter with an answer that isn't ours."""
        if isinstance(theirs, Exception):
            return "raises where the wall clock shows the answer twice or never"
        calendar, zone = self.ours.calendar, ZoneInfo(self.desk.timezone)
        closes = calendar.next_close(case.start) if calendar.is_open(case.start) else None
        if closes and theirs in {calendar.add(closes, case.amount), calendar.between(closes, case.end)}:
            return "forgets what is left of the window it starts in, where that goes past midnight"
        if isinstance(ours, datetime) and isinstance(theirs, datetime) and not calendar.between(ours, theirs):
            return "ends at the next opening, not at the closing with as much open time"
        if case.start.astimezone(zone).utcoffset() != case.end.astimezone(zone).utcoffset():
            return "counts hours of the wall clock, and the clocks change in between"
        return "unexplained"


def in_utc(answer: object) -> object:
    """Return an answer in UTC: an instant that its own wall clock shows twice equals no instant of another zone."""
    if isinstance(answer, datetime):
        return answer.astimezone(UTC)
    if isinstance(answer, tuple):
        return tuple(replace(each, start=each.start.astimezone(UTC), end=each.end.astimezone(UTC)) for each in answer)
    return answer


def main() -> int:
    """Take turns round by round, then print, write, and compare a near deadline with a far one."""
    random = Random(1)
    began = process_time()
    calendar = Ours(OFFICE).calendar
    calendar.between(FIRST, FIRST + 5 * 366 * 24 * HOUR)
    print(f"table of six years built in {(process_time() - began) * 1e3:.1f} ms")
    zone = ZoneInfo(OFFICE.timezone)
    first, last = (datetime(year, 1, 1, tzinfo=zone) for year in (FIRST.year, FIRST.year + YEARS))
    spans = {"2 h": 2 * HOUR, "80 h": 80 * HOUR, "2,000 h": 2_000 * HOUR, "3 years": calendar.between(first, last)}
    rows = [Row(asked, *span, OFFICE) for asked in ("add", "between", "trace", "recount") for span in spans.items()]
    rows += [Row(asked, "80 h", 80 * HOUR, NIGHT) for asked in ("add", "between", "trace")]
    for row in rows:
        row.limit(random)
    for number in range(ROUNDS):
        backwards = bool(number % 2)
        for row in reversed(rows) if backwards else rows:
            row.take_turns(random, backwards=backwards)
    show(rows)
    write(rows)
    near, far = near_and_far(calendar, random, (2 * HOUR, 2_000 * HOUR))
    print(f"2,000 h take {far:.2f} us and 2 h {near:.2f}: ratio {far / near:.2f} (target at most {TARGET})")
    return 0 if far / near <= TARGET else 1


def near_and_far(calendar: BusinessCalendar, random: Random, amounts: tuple[timedelta, timedelta]) -> list[float]:
    """Return the microseconds of an `add` of each amount, one right after the other so that the machine is the same."""
    taken: dict[timedelta, list[float]] = {amount: [] for amount in amounts}
    for number in range(PAIRS):
        for amount in sorted(amounts, reverse=bool(number % 2)):
            starts = [FIRST + timedelta(seconds=random.randrange(YEARS * 365 * 86_400)) for _ in range(CALLS)]
            began = process_time()
            for start in starts:
                calendar.add(start, amount)
            taken[amount].append((process_time() - began) * 1e6 / CALLS)
    return [statistics.median(taken[amount]) for amount in amounts]


def show(rows: Sequence[Row]) -> None:
    """Print one table, and below it why answers differ."""
    print(f"{'':34}{'ours, us':>10}" + "".join(f"{name:>28}" for name in list(CONTENDERS)[1:]))
    for row in rows:
        ours, *others = row.entries
        named = f"{row.operation:8} {row.span:>8}  {row.desk.timezone.partition('/')[2]}"
        print(f"{named:34}{ours.median:>10.2f}" + "".join(f"{cell(entry, ours.median):>28}" for entry in others))
    for row in rows:
        for entry in row.entries:
            named = f"{row.operation} {row.span} {row.desk.timezone}, {entry.name}"
            for why, count in entry.differing.most_common():
                print(f"{named}: {count} of {entry.checked} differ: {why}")


def cell(entry: Entry, ours: float) -> str:
    """Write how many times our time a contender takes, and how many of its answers differ."""
    if entry.ask is None:
        return "cannot"
    differing = entry.differing.total()
    return f"x {entry.median / ours:,.1f}, " + (f"{differing} of {entry.checked} differ" if differing else "same")


def write(rows: Sequence[Row]) -> None:
    """Write every round's measurement, for whoever draws it."""
    found = [
        {
            "operation": row.operation,
            "span": row.span,
            "span_seconds": row.amount.total_seconds(),
            "timezone": row.desk.timezone,
            "contender": entry.name,
            "can": entry.ask is not None,
            "calls_a_round": entry.calls,
            "microseconds": [round(value, 3) for value in entry.microseconds],
            "median": round(entry.median, 3) if entry.ask else None,
            "ratio": round(entry.median / row.entries[0].median, 2) if entry.ask else None,
            "checked": entry.checked,
            "differing": dict(entry.differing),
        }
        for row in rows
        for entry in row.entries
    ]
    machine = {"cpus": os.cpu_count()}
    document = {"python": platform.python_version(), "machine": machine, "rounds": ROUNDS, "rows": found}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
