"""The clocks of a ticket (clauses response.*): one cycle is one run of one promise.

A cycle changes by its own events alone: started, met, ended, warned, broken, paused, resumed,
moved, superseded, cancelled. Its due date is a function of its start, target, base and pauses,
held back to the change that moved it: no clock is broken before the change that broke it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final, TypeAlias

from app.domain.calendar import MICROSECOND, NO_TIME, Base, BusinessCalendar, Segment, SegmentKind
from app.domain.events import Json, read_instant, rfc3339
from app.domain.frozen import replace
from app.domain.policy import WHOLE, Clock, Kind, Target, Terms

SECOND: Final = timedelta(seconds=1)

Pause: TypeAlias = tuple[datetime, datetime | None]
"""A half-open stretch that doesn't count; without an end it goes on."""


class ClockState(StrEnum):
    """What a cycle is at an instant."""

    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    BREACHED = "breached"
    OVERDUE = "overdue"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class EndReason(StrEnum):
    """How a cycle ended."""

    DONE = "done"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    OUT_OF_SCOPE = "out_of_scope"
    NO_CLIENT_RESPONSE = "no_client_response"


BROKEN: Final = {Kind.COMMITMENT: ClockState.BREACHED, Kind.ESTIMATE: ClockState.OVERDUE}
PAUSING: Final = frozenset({Clock.RESOLUTION, Clock.UPDATE})
"""The clocks that stand still while the ticket waits for the client."""


@dataclass(frozen=True)
class Cycle:
    """One run of a clock, with the target it was given and what became of it.

    `due_at` is None while the cycle is paused and wasn't broken before.
    """

    clock: Clock
    number: int
    kind: Kind
    clause: str
    target: timedelta
    base: Base
    warn_at: tuple[int, ...]
    warn_base: Base
    calendar_revision: int
    started_at: datetime
    due_at: datetime | None
    pauses: tuple[Pause, ...] = ()
    warned: int = 0
    detected_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None

    # ------------------------------------------------------------------------ at an instant

    @property
    def running(self) -> bool:
        """Tell whether nothing has ended the cycle yet, broken or not."""
        return self.ended_at is None

    @property
    def paused(self) -> bool:
        """Tell whether the cycle stands still."""
        return self.running and self.due_at is None

    @property
    def met_at(self) -> datetime | None:
        """Return when the promise was kept: done at the due instant is still in time."""
        kept = self.end_reason is EndReason.DONE and self.ended_at and self.due_at and self.ended_at <= self.due_at
        return self.ended_at if kept else None

    def broken_at(self, now: datetime) -> datetime | None:
        """Return the due instant once it has passed with the cycle unended."""
        return self.due_at if self.due_at and min(now, self.ended_at or now) > self.due_at else None

    def state(self, now: datetime) -> ClockState:
        """Return the state at an instant: broken stays broken, however the cycle ended later."""
        if self.broken_at(now):
            return BROKEN[self.kind]
        if self.running:
            return ClockState.PAUSED if self.paused else ClockState.RUNNING
        ended = {EndReason.DONE: ClockState.MET, EndReason.SUPERSEDED: ClockState.SUPERSEDED}
        return ended.get(self.end_reason or EndReason.DONE, ClockState.CANCELLED)

    def used(self, until: datetime, calendar: BusinessCalendar) -> timedelta:
        """Return the time that has counted up to an instant, pauses taken out, in the clock's own base."""
        return sum(
            (calendar.between(start, end or until, self.base) for start, end in self._stretches(until)), start=NO_TIME
        )

    def remaining(self, now: datetime, calendar: BusinessCalendar) -> timedelta:
        """Return the time left until due in the clock's own base; nothing once ended, broken or only held back."""
        if not self.running or (self.due_at and now >= self.due_at):
            return NO_TIME
        return max(self.target - self.used(now, calendar), NO_TIME)

    def counting(self, now: datetime, calendar: BusinessCalendar) -> bool:
        """Tell whether time counts against the promise at this instant."""
        return self.state(now) is ClockState.RUNNING and calendar.is_open(now, self.base)

    def next_change_at(self, now: datetime, calendar: BusinessCalendar) -> datetime | None:
        """Return when state or counting changes next if nobody acts."""
        if self.state(now) is not ClockState.RUNNING or self.breaks_at is None:
            return None
        opens, closes = calendar.next_open(now, self.base), calendar.next_close(now, self.base)
        flip = closes if opens == now else opens
        return min(flip, self.breaks_at) if flip else self.breaks_at

    @property
    def breaks_at(self) -> datetime | None:
        """Return the first instant at which the promise is broken: just after the due one."""
        return self.due_at + MICROSECOND if self.due_at else None

    def warnings(self, calendar: BusinessCalendar) -> list[tuple[int, datetime]]:
        """Return each percentage not warned of yet with its instant, in the base in which one warns."""
        return self._shares([percent for percent in self.warn_at if percent > self.warned], calendar)

    def share_at(self, percent: int, calendar: BusinessCalendar) -> datetime | None:
        """Return when a share of the time up to the due date is over, in the base in which one warns.

        None while the cycle is paused, and where no such time lies before the due date.
        """
        return next((instant for _, instant in self._shares([percent], calendar)), None)

    def _shares(self, percents: Sequence[int], calendar: BusinessCalendar) -> list[tuple[int, datetime]]:
        """Return when each share of the time up to the due date is over; the stretches are measured once for all."""
        if self.due_at is None or not percents:
            return []
        measured = list(self._measured(self.due_at, self.warn_base, calendar))
        span = sum((counted for _, counted in measured if counted), start=NO_TIME)
        if not span:
            return []
        reached = ((each, _reach(measured, span * each // WHOLE, self.warn_base, calendar)) for each in percents)
        return [(percent, instant) for percent, instant in reached if instant]

    def trace(self, calendar: BusinessCalendar, as_of: datetime) -> tuple[Segment, ...]:
        """Explain the cycle in segments without gaps whose counted time adds up.

        With a due date: from start to due, and to the target exactly. Paused: up to `as_of`;
        superseded or cancelled before it was due: up to its end.
        """
        end = self.due_at or max(as_of, self.started_at)
        if self.ended_at and self.end_reason is not EndReason.DONE and not self.broken_at(self.ended_at):
            end = self.ended_at
        held_from = self._reached(calendar) or end
        pieces: list[Segment] = []
        at = self.started_at
        for start, stop in [*self.pauses, (end, None)]:
            start, stop = min(start, end), min(stop or end, end)  # noqa: PLW2901  # cut at the end
            counted_until = min(start, max(held_from, at))
            pieces += calendar.trace(at, counted_until, self.base)
            pieces += [_plain(counted_until, start, SegmentKind.GRACE, "held back to the change that moved it")]
            pieces += [_plain(start, stop, SegmentKind.PAUSED, "waiting_on_client")]
            at = max(at, stop)
        return _totalled(piece for piece in pieces if piece.start < piece.end)

    # ------------------------------------------------------------------------------ changes

    def due(self, calendar: BusinessCalendar, changed_at: datetime) -> datetime | None:
        """Return min { t >= start : time counted by t >= target }, not before the change; None while paused."""
        if self.pauses and self.pauses[-1][1] is None:
            return None
        reached = self._reached(calendar)
        return max(reached, changed_at) if reached else None

    def stopped(self, at: datetime, reason: EndReason) -> "Cycle":
        """Return the cycle ended, unless it already was."""
        return replace(self, ended_at=at, end_reason=reason) if self.running else self

    def _reached(self, calendar: BusinessCalendar) -> datetime | None:
        """Return the first instant by which the target has been counted; None while a pause forbids it."""
        return _reach(self._measured(None, self.base, calendar), self.target, self.base, calendar)

    def _measured(
        self, until: datetime | None, base: Base, calendar: BusinessCalendar
    ) -> Iterator[tuple[datetime, timedelta | None]]:
        """Yield where each stretch starts with the time that counts in it, None where it goes on."""
        for start, end in self._stretches(until):
            yield start, None if end is None else calendar.between(start, end, base)

    def _stretches(self, until: datetime | None) -> Iterator[tuple[datetime, datetime | None]]:
        """Yield what lies between the pauses, up to an instant; the last one is open where there is none."""
        at = self.started_at
        for start, end in self.pauses:
            if until is not None and start >= until:
                break
            yield at, start
            if end is None:
                return
            at = end
        if until is None or at < until:
            yield at, until


def _reach(
    measured: Iterable[tuple[datetime, timedelta | None]], amount: timedelta, base: Base, calendar: BusinessCalendar
) -> datetime | None:
    """Return the first instant by which an amount has been counted in stretches."""
    for start, counted in measured:
        if counted is None or counted >= amount:
            return calendar.add(start, amount, base)
        amount -= counted
    return None


def _plain(start: datetime, end: datetime, kind: SegmentKind, reason: str) -> Segment:
    return Segment(start, end, kind, reason, NO_TIME, NO_TIME)


def _totalled(pieces: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return the pieces with their running total, from one stretch to the next."""
    found = tuple(pieces)
    totals = accumulate(piece.counted for piece in found)
    return tuple(replace(piece, total=total) for piece, total in zip(found, totals, strict=True))


# --------------------------------------------------------------------------------- made and kept


def started(target: Target, number: int, at: datetime, terms: Terms) -> Cycle:
    """Return a new cycle: due = min { t >= at : open time since `at` >= target }."""
    return Cycle(
        clock=target.clock,
        number=number,
        **_promised(target),
        calendar_revision=terms.revision,
        started_at=at,
        due_at=terms.calendar.add(at, target.amount, target.base),
    )


def moved(cycle: Cycle, target: Target | None, terms: Terms, at: datetime, pauses: tuple[Pause, ...]) -> Cycle:
    """Return a cycle whose whole run is counted anew, past included; it goes on if it was superseded."""
    fresh = replace(cycle, calendar_revision=terms.revision, pauses=pauses, ended_at=None, end_reason=None)
    if target:
        fresh = replace(fresh, **_promised(target))
    return replace(fresh, due_at=fresh.due(terms.calendar, at))


def _promised(target: Target) -> dict[str, Any]:
    """Return the fields of a cycle that say what is promised."""
    return {
        "kind": target.kind,
        "clause": target.clause,
        "target": target.amount,
        "base": target.base,
        "warn_at": target.warn_at,
        "warn_base": target.warn_base,
    }


def promise(cycle: Cycle) -> dict[str, Json]:
    """Write what `clock.started` says of a new cycle."""
    return {
        "clock": cycle.clock,
        "cycle": cycle.number,
        "kind": cycle.kind,
        "clause": cycle.clause,
        # A date that staff gave may lie any fraction of a second ahead; its cycle says so by its due date.
        "target_seconds": -(-cycle.target // SECOND),
        "base": cycle.base,
        "warn_at": cycle.warn_at,
        "warn_base": cycle.warn_base,
        "calendar_revision": cycle.calendar_revision,
        "started_at": rfc3339(cycle.started_at),
        "due_at": _written(cycle.due_at),
    }


def to_json(cycle: Cycle) -> dict[str, Json]:
    """Write the promise and what became of it."""
    return {
        **promise(cycle),
        "pauses": pauses_json(cycle.pauses),
        "warned": cycle.warned,
        "detected_at": _written(cycle.detected_at),
        "ended_at": _written(cycle.ended_at),
        "end_reason": cycle.end_reason,
    }


def from_json(data: Mapping[str, Any]) -> Cycle:
    """Read what `promise` or `to_json` wrote."""
    clock, started_at, due_at = Clock(data["clock"]), read_instant(data["started_at"]), _read(data["due_at"])
    given = due_at - started_at if due_at and clock is Clock.EXPECTED_RESOLUTION else None
    return Cycle(
        clock=clock,
        number=data["cycle"],
        kind=Kind(data["kind"]),
        clause=data["clause"],
        target=given or timedelta(seconds=data["target_seconds"]),
        base=Base(data["base"]),
        warn_at=tuple(data["warn_at"]),
        warn_base=Base(data["warn_base"]),
        calendar_revision=data["calendar_revision"],
        started_at=started_at,
        due_at=due_at,
        pauses=pauses_from_json(data.get("pauses", ())),
        warned=data.get("warned", 0),
        detected_at=_read(data.get("detected_at")),
        ended_at=_read(data.get("ended_at")),
        end_reason=data.get("end_reason") and EndReason(data["end_reason"]),
    )


def pauses_within(waits: Iterable[Pause], start: datetime) -> tuple[Pause, ...]:
    """Return the stretches of a ticket's waiting as they fall to a cycle that started at an instant."""
    return tuple((max(begin, start), end) for begin, end in waits if end is None or end > start)


def pauses_json(pauses: Iterable[Pause]) -> list[Json]:
    """Write stretches as pairs of instants, the last one perhaps open."""
    return [[rfc3339(start), _written(end)] for start, end in pauses]


def pauses_from_json(data: Iterable[Any]) -> tuple[Pause, ...]:
    """Read what `pauses_json` wrote."""
    return tuple((read_instant(start), _read(end)) for start, end in data)


def seconds(amount: timedelta) -> float:
    """Write an amount of time in seconds, without a fraction where it has none."""
    return amount // SECOND if not amount % SECOND else amount.total_seconds()


def _written(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _read(value: str | None) -> datetime | None:
    return read_instant(value) if value else None
