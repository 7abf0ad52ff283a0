"""Measures whether a deadline far away costs more than a near one: `python -m bench.calendar`."""

import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from app.domain.calendar import BusinessCalendar

HOUR: Final = timedelta(hours=1)
SPANS: Final = {"2 h": 2 * HOUR, "2,000 h": 2_000 * HOUR}
ROUNDS: Final = 31
CALLS: Final = 5_000
TARGET: Final = 1.3
WEEK: Final = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS: Final = 3 * 365 * 86_400


def main() -> int:
    """Take turns between the spans, each call from a start of its own, and compare the medians."""
    random = Random(1)
    calendar = BusinessCalendar.parse({"timezone": "Asia/Kuala_Lumpur", "weekly_hours": WEEK})
    began = time.perf_counter()
    calendar.between(FIRST, FIRST + 5 * 366 * 24 * HOUR)
    print(f"table of six years built in {(time.perf_counter() - began) * 1e3:.1f} ms")
    taken: dict[str, list[float]] = {name: [] for name in SPANS}
    for number in range(ROUNDS):
        for name in sorted(SPANS, reverse=bool(number % 2)):
            starts = [FIRST + timedelta(seconds=random.randrange(SECONDS)) for _ in range(CALLS)]
            taken[name].append(microseconds_per_call(calendar, starts, SPANS[name]))
    for name, measured in taken.items():
        print(f"add {name:>8}: median {statistics.median(measured):.2f} us, fastest {min(measured):.2f} us")
    near, far = (statistics.median(taken[name]) for name in SPANS)
    print(f"ratio {far / near:.2f} (target at most {TARGET})")
    return 0 if far / near <= TARGET else 1


def microseconds_per_call(calendar: BusinessCalendar, starts: list[datetime], amount: timedelta) -> float:
    """Time `add` over all starts."""
    began = time.perf_counter()
    for start in starts:
        calendar.add(start, amount)
    return (time.perf_counter() - began) * 1e6 / len(starts)


if __name__ == "__main__":
    sys.exit(main())
