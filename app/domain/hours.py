"""Opening hours as written by people: wall-clock windows, weekly hours, dated exceptions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from app.domain.document import Reader

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FIRST_DATE: Final = date(2000, 1, 1)
LAST_DATE: Final = date(2099, 12, 31)
MOST_WINDOWS: Final = 24
MOST_EXCEPTIONS: Final = 5_000
LONGEST_NAME: Final = 200
WALL_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
WHOLE_DAY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Window:
    """Open from `start` until just before `end`, both wall-clock time since local midnight.

    `0 <= start < 24 h` and `0 <= end <= 24 h`; an end at or before the start is reached on the
    next date.
    """

    start: timedelta
    end: timedelta

    def __str__(self) -> str:
        """Write the window as documents do: 09:00-18:00."""
        return f"{wall_time(self.start)}-{wall_time(self.end)}"


@dataclass(frozen=True, slots=True)
class DateException:
    """What one local date has instead of its weekly hours; no windows means closed."""

    date: date
    name: str
    windows: tuple[Window, ...] = ()


Weekly = tuple[tuple[Window, ...], ...]


def wall_time(since_midnight: timedelta) -> str:
    """Write a wall-clock time as `HH:MM`, with seconds only where there are any."""
    minutes, seconds = divmod(since_midnight // timedelta(seconds=1), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


class HoursReader(Reader):
    """Reads zones, weekly hours and exceptions."""

    def timezone(self, value: object, pointer: str) -> str:
        """Read an IANA zone name."""
        if isinstance(value, str) and value in available_timezones():
            return ZoneInfo(value).key
        self.refuse(pointer, "unknown_timezone", "name an IANA time zone, such as Asia/Kuala_Lumpur")
        return "UTC"

    def weekly_hours(self, value: object, pointer: str) -> Weekly:
        """Read the windows of each weekday, Monday first; a weekday left out is closed."""
        days = self.table(value, pointer, (), WEEKDAYS)
        return tuple(days.read(day, self.windows, ()) for day in WEEKDAYS)

    def windows(self, value: object, pointer: str) -> tuple[Window, ...]:
        """Read one date's windows, in any order, none overlapping another."""
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.refuse(pointer, "wrong_type", 'give a list of windows, such as [["09:00", "18:00"]]')
            return ()
        if len(value) > MOST_WINDOWS:
            self.refuse(pointer, "too_many", f"at most {MOST_WINDOWS} windows a day")
            return ()
        found = [self.window(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        for index, later in enumerate(found):
            if later and any(earlier and _overlap(earlier, later) for earlier in found[:index]):
                self.refuse(f"{pointer}/{index}", "windows_overlap", "this window overlaps another one of the same day")
        return tuple(sorted((window for window in found if window), key=lambda window: window.start))

    def window(self, value: object, pointer: str) -> Window | None:
        """Read one `[start, end]`."""
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(("start", "end")):
            self.refuse(pointer, "wrong_type", 'give a window as two wall-clock times, such as ["09:00", "18:00"]')
            return None
        start = self.wall_time(value[0], f"{pointer}/0")
        end = WHOLE_DAY if value[1] in ("24:00", "24:00:00") else self.wall_time(value[1], f"{pointer}/1")
        if start is None or end is None:
            return None
        if start == end:
            self.refuse(pointer, "empty_window", 'a window needs some length; a whole day is ["00:00", "24:00"]')
            return None
        return Window(start, end)

    def wall_time(self, value: object, pointer: str) -> timedelta | None:
        """Read `HH:MM` or `HH:MM:SS`, before 24:00."""
        found = WALL_TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.refuse(
                pointer, "wrong_wall_time", "write a wall-clock time as HH:MM or HH:MM:SS; 24:00 may end a window"
            )
            return None
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)

    def exceptions(self, value: object, pointer: str) -> tuple[DateException, ...]:
        """Read dated exceptions, one a date, in the order of their dates."""
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.refuse(pointer, "wrong_type", "give a list of exceptions, each with date, name and hours")
            return ()
        if len(value) > MOST_EXCEPTIONS:
            self.refuse(pointer, "too_many", f"at most {MOST_EXCEPTIONS} exceptions")
            return ()
        found: dict[date, DateException] = {}
        for exception, where in self._each_exception(value, pointer):
            if exception.date in found:
                self.refuse(
                    f"{where}/date", "duplicate_date", "another exception has this date; give its windows together"
                )
            found[exception.date] = exception
        return tuple(found[day] for day in sorted(found))

    def _each_exception(self, items: Sequence[object], pointer: str) -> Iterator[tuple[DateException, str]]:
        for index, item in enumerate(items):
            where = f"{pointer}/{index}"
            exception = self.exception(item, where)
            if exception:
                yield exception, where

    def exception(self, value: object, pointer: str) -> DateException | None:
        """Read one exception: `date`, `name`, `hours` (an empty list for closed)."""
        fields = self.table(value, pointer, ("date", "name", "hours"))
        day = fields.read("date", self.local_date, None)
        name = fields.text("name", LONGEST_NAME)
        windows = fields.read("hours", self.windows, ())
        return DateException(day, name, windows) if day else None

    def local_date(self, value: object, pointer: str) -> date | None:
        """Read a date between 2000 and 2099, as a date or as `YYYY-MM-DD`."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            try:
                value = date.fromisoformat(value)
            except ValueError:
                value = None
        if type(value) is date and FIRST_DATE <= value <= LAST_DATE:
            return value
        self.refuse(pointer, "wrong_date", "give a date that exists, as YYYY-MM-DD, between 2000-01-01 and 2099-12-31")
        return None


def written(weekly: Weekly) -> dict[str, list[list[str]]]:
    """Write weekly windows as documents have them."""
    return {day: [str(window).split("-") for window in windows] for day, windows in zip(WEEKDAYS, weekly, strict=True)}


def _overlap(one: Window, other: Window) -> bool:
    """Tell whether two windows that begin on the same date share an instant."""
    ends = [window.end if window.end > window.start else window.end + WHOLE_DAY for window in (one, other)]
    return one.start < ends[1] and other.start < ends[0]
