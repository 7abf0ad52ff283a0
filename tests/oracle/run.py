"""Compares the calendar with the oracle: `python -m tests.oracle.run --cases 100000 --seed 1`."""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from app.domain.calendar import Base, BusinessCalendar
from tests.oracle import draw
from tests.oracle.draw import Case
from tests.oracle.walk import Document, Walk, instant

SHOWN: Final = 10
BREATH: Final = 5.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Extent:
    """How many cases a calendar gets, over how many days, and how many seconds lie between two looks at the offset."""

    cases: int = 250
    days: int = 45
    stride: int = 60


@dataclass(frozen=True)
class Outcome:
    """One case, with what the calendar said to it."""

    document: Document
    case: Case
    answer: object

    @property
    def agrees(self) -> bool:
        """Tell whether calendar and oracle say the same."""
        return self.answer == expected(self.case)

    def __str__(self) -> str:
        """Write down everything it takes to ask again."""
        case = self.case
        argument = instant(case.argument) if case.operation == "between" else case.argument
        return (
            f"{case.operation} {case.base} at {instant(case.at)} argument {argument}\n"
            f"  oracle   {expected(case)}\n  calendar {self.answer}\n  {self.document}"
        )


def compare(
    cases: int,
    seed: int,
    parse: Callable[[Document], BusinessCalendar] = BusinessCalendar.parse,
    extent: Extent = Extent(),
) -> Iterator[Outcome]:
    """Put random cases to calendars made by `parse`."""
    random = Random(seed)
    while cases > 0:
        document, start, end = draw.calendar(random, extent.days)
        walk, calendar = Walk(document, start, end, extent.stride), parse(document)
        for case in draw.cases(random, walk, min(cases, extent.cases)):
            yield Outcome(document, case, answer(calendar, case))
        cases -= extent.cases


def answer(calendar: BusinessCalendar, case: Case) -> datetime | timedelta | bool | None:
    """Ask the calendar."""
    at, base = instant(case.at), Base(case.base)
    if case.operation == "add":
        return calendar.add(at, timedelta(seconds=case.argument), base)
    if case.operation == "between":
        return calendar.between(at, instant(case.argument), base)
    asked: Any = getattr(calendar, case.operation)
    found: datetime | bool | None = asked(at, base)
    return found


def expected(case: Case) -> datetime | timedelta | bool | None:
    """Return the oracle's answer as the calendar would give it."""
    if case.expected is None or isinstance(case.expected, bool):
        return case.expected
    return timedelta(seconds=case.expected) if case.operation == "between" else instant(case.expected)


def main() -> int:
    """Run as many cases as asked for and say how they came out."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    options.add_argument("--stride", type=int, default=60, help="seconds between looks at the offset")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    began = said = time.monotonic()
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[Outcome] = []
    done = 0
    for done, outcome in enumerate(compare(chosen.cases, chosen.seed, extent=Extent(stride=chosen.stride)), 1):
        counts["operation", outcome.case.operation] += 1
        counts["base", outcome.case.base] += 1
        counts["zone", outcome.document["timezone"]] += 1
        if not outcome.agrees:
            wrong.append(outcome)
        if time.monotonic() - said >= BREATH:
            said = time.monotonic()
            print(f"{done:>9,} of {chosen.cases:,}, {len(wrong)} mismatches, {said - began:.0f} s", flush=True)
    for (kind, name), count in sorted(counts.items()):
        print(f"{kind:10} {name:22} {count:>9,}")
    for outcome in wrong[:SHOWN]:
        print(outcome)
    print(f"{done:,} cases, {len(wrong)} mismatches, {time.monotonic() - began:.0f} s")
    return 1 if wrong or done < chosen.cases else 0


if __name__ == "__main__":
    sys.exit(main())
