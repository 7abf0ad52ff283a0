"""The clocks of a ticket (clauses response.initial, response.standard): one cycle is one run of one promise."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from app.domain.calendar import MICROSECOND, NO_TIME, Base, BusinessCalendar, Segment
from app.domain.events import Json, read_instant, rfc3339
from app.domain.policy import WHOLE, Clock, Kind, Target, Terms

SECOND: Final = timedelta(seconds=1)


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


@dataclass(frozen=True, slots=True)
class Cycle:
    """One run of a clock, with the target it was given and what became of it."""

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
    due_at: datetime
    warned: int = 0
    detected_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None

    @property
    def running(self) -> bool:
        """Tell whether nothing has ended the cycle yet, broken or not."""
        return self.ended_at is None

    @property
    def met_at(self) -> datetime | None:
        """Return when the promise was kept: done at the due instant is still in time."""
        return self.ended_at if self.ended_at and self.ended_at <= self.due_at else None

    def broken_at(self, now: datetime) -> datetime | None:
        """Return the due instant once it has passed with the cycle unended."""
        return self.due_at if min(now, self.ended_at or now) > self.due_at else None

    def state(self, now: datetime) -> ClockState:
        """Return the state at an instant: broken stays broken, however the cycle ended later."""
        if self.broken_at(now):
            return BROKEN[self.kind]
        return ClockState.RUNNING if self.running else ClockState.MET

    def remaining(self, now: datetime, calendar: BusinessCalendar) -> timedelta:
        """Return the time left until due in the clock's own base; nothing once ended or broken."""
        if not self.running or now >= self.due_at:
            return NO_TIME
        return calendar.between(max(now, self.started_at), self.due_at, self.base)

    def counting(self, now: datetime, calendar: BusinessCalendar) -> bool:
        """Tell whether time counts against the promise at this instant."""
        return self.state(now) is ClockState.RUNNING and calendar.is_open(now, self.base)

    def next_change_at(self, now: datetime, calendar: BusinessCalendar) -> datetime | None:
        """Return when state or counting changes next if nobody acts."""
        if self.state(now) is not ClockState.RUNNING:
            return None
        opens, closes = calendar.next_open(now, self.base), calendar.next_close(now, self.base)
        flip = closes if opens == now else opens
        return min(flip, self.breaks_at) if flip else self.breaks_at

    @property
    def breaks_at(self) -> datetime:
        """Return the first instant at which the promise is broken: just after the due one."""
        return self.due_at + MICROSECOND

    def warnings(self, calendar: BusinessCalendar) -> list[tuple[int, datetime]]:
        """Return each percentage not warned of yet with its instant, in the base in which one warns."""
        span = calendar.between(self.started_at, self.due_at, self.warn_base)
        if not span:
            return []
        return [
            (percent, calendar.add(self.started_at, span * percent // WHOLE, self.warn_base))
            for percent in self.warn_at
            if percent > self.warned
        ]

    def trace(self, calendar: BusinessCalendar) -> tuple[Segment, ...]:
        """Explain the due date: segments from start to due whose counted time is the target exactly."""
        return calendar.trace(self.started_at, self.due_at, self.base)

    def stopped(self, at: datetime, reason: EndReason) -> "Cycle":
        """Return the cycle ended, unless it already was."""
        return replace(self, ended_at=at, end_reason=reason) if self.running else self


def started(target: Target, number: int, at: datetime, terms: Terms) -> Cycle:
    """Return a new cycle: due = min { t >= at : open time since `at` >= target }."""
    return Cycle(
        clock=target.clock,
        number=number,
        kind=target.kind,
        clause=target.clause,
        target=target.amount,
        base=target.base,
        warn_at=target.warn_at,
        warn_base=target.warn_base,
        calendar_revision=terms.revision,
        started_at=at,
        due_at=terms.calendar.add(at, target.amount, target.base),
    )


def promise(cycle: Cycle) -> dict[str, Json]:
    """Write what `clock.started` says of a new cycle."""
    return {
        "clock": cycle.clock,
        "cycle": cycle.number,
        "kind": cycle.kind,
        "clause": cycle.clause,
        "target_seconds": cycle.target // SECOND,
        "base": cycle.base,
        "warn_at": cycle.warn_at,
        "warn_base": cycle.warn_base,
        "calendar_revision": cycle.calendar_revision,
        "started_at": rfc3339(cycle.started_at),
        "due_at": rfc3339(cycle.due_at),
    }


def to_json(cycle: Cycle) -> dict[str, Json]:
    """Write the promise and what became of it."""
    return {
        **promise(cycle),
        "warned": cycle.warned,
        "detected_at": rfc3339(cycle.detected_at) if cycle.detected_at else None,
        "ended_at": rfc3339(cycle.ended_at) if cycle.ended_at else None,
        "end_reason": cycle.end_reason,
    }


def from_json(data: Mapping[str, Any]) -> Cycle:
    """Read what `promise` or `to_json` wrote."""
    return Cycle(
        clock=Clock(data["clock"]),
        number=data["cycle"],
        kind=Kind(data["kind"]),
        clause=data["clause"],
        target=timedelta(seconds=data["target_seconds"]),
        base=Base(data["base"]),
        warn_at=tuple(data["warn_at"]),
        warn_base=Base(data["warn_base"]),
        calendar_revision=data["calendar_revision"],
        started_at=read_instant(data["started_at"]),
        due_at=read_instant(data["due_at"]),
        warned=data.get("warned", 0),
        detected_at=_read(data.get("detected_at")),
        ended_at=_read(data.get("ended_at")),
        end_reason=data.get("end_reason") and EndReason(data["end_reason"]),
    )


def _read(value: str | None) -> datetime | None:
    return read_instant(value) if value else None
