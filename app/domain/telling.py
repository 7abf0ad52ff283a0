"""The telling of an act: its events one by one, what they make of the ticket, and what they do to its clocks."""

from collections.abc import Mapping
from datetime import datetime

from app.domain import clocks, fold
from app.domain.calendar import NO_TIME
from app.domain.clocks import PAUSING, Cycle, EndReason, Pause
from app.domain.events import Event, EventKind, Json, rfc3339
from app.domain.frozen import replace
from app.domain.policy import Clock, Target, Terms
from app.domain.ticket import Case, Status


class Telling:
    """Collects the events of an act; `ticket` is their fold, so that each step sees what the one before has done."""

    def __init__(self, case: Case) -> None:
        """Begin after what time has brought."""
        self.ticket, self.terms, self.actor, self.at = case.ticket, case.terms, case.actor, case.at
        self.events = list(case.passed)
        self.since = case.ticket.last_event_at

    def tell(
        self,
        kind: EventKind,
        data: Mapping[str, Json] | None = None,
        *,
        to: tuple[str, ...] = (),
        internal: bool = False,
    ) -> None:
        """Add one event, and let it have its effect."""
        event = Event(kind, self.at, self.actor, data or {}, internal=internal, audience=to)
        self.events.append(event)
        same = replace(event, number=self.ticket.last_number, version=self.ticket.version)
        self.ticket = fold.apply(self.ticket, same)

    @property
    def waiting(self) -> bool:
        """Tell whether the ticket waits for its client."""
        return self.ticket.status is Status.WAITING_ON_CLIENT

    def target(self, clock: Clock) -> Target:
        """Return what is promised on a clock at the ticket's priority."""
        return self.terms.policy.target(clock, self.ticket.priority)

    # ---------------------------------------------------------------------------- the clocks

    def start(self, clock: Clock, at: datetime | None = None) -> None:
        """Start the next cycle of a clock; while the ticket waits for its client it starts paused."""
        self._begin(clocks.started(self.target(clock), self._next_number(clock), at or self.at, self.terms))

    def expect(self, at: datetime) -> None:
        """Start the next cycle of the expected date that staff gave; an overdue one before it stays."""
        for cycle in self._running(Clock.EXPECTED_RESOLUTION):
            if not cycle.broken_at(self.at):
                self._of(EventKind.CLOCK_SUPERSEDED, cycle, {})
        given = replace(self.terms.policy.expected, amount=at - self.at)
        self._begin(clocks.started(given, self._next_number(Clock.EXPECTED_RESOLUTION), self.at, self.terms))

    def keep(self, clock: Clock, at: datetime | None = None) -> None:
        """End the cycles of a clock as done: in time, or too late."""
        done_at = at or self.at
        for cycle in self._running(clock):
            if cycle.paused:
                self._go_on(cycle)
            if cycle.broken_at(done_at):
                self._of(EventKind.CLOCK_ENDED, cycle, {"reason": EndReason.DONE})
            else:
                self._of(EventKind.CLOCK_MET, cycle, {"met_at": rfc3339(done_at)})

    def supersede(self, clock: Clock) -> None:
        """End the cycles of a clock that another promise takes the place of."""
        for cycle in self._running(clock):
            self._of(EventKind.CLOCK_SUPERSEDED, cycle, {})

    def cancel(self, reason: EndReason, *some: Clock) -> None:
        """End the cycles of some clocks, of all of them by default, because the ticket has ended."""
        for clock in some or Clock:
            for cycle in self._running(clock):
                if cycle.paused:
                    self._go_on(cycle)
                self._of(EventKind.CLOCK_CANCELLED, cycle, {"reason": reason})

    def pause(self) -> None:
        """Let the clocks stand still that do so while the client is asked; a broken one stays as it is."""
        for clock in Clock:
            for cycle in self._running(clock):
                self._stand_still(cycle)

    def resume(self) -> None:
        """Let the clocks go on that stood still."""
        for cycle in [cycle for cycle in self.ticket.cycles if cycle.paused]:
            self._go_on(cycle)

    def retargeted(self, cycle: Cycle, target: Target) -> Cycle:
        """Return a cycle with its whole run counted anew by a target; due no earlier than now."""
        return clocks.moved(cycle, target, self.terms, self.at, self._pauses(cycle))

    def recounted(self, cycle: Cycle, terms: Terms) -> Cycle:
        """Return a cycle with its whole run counted anew by a changed calendar; due no earlier than the change."""
        return clocks.moved(cycle, None, terms, terms.changed_at, self._pauses(cycle))

    def _pauses(self, cycle: Cycle) -> tuple[Pause, ...]:
        return clocks.pauses_within(self.ticket.waits, cycle.started_at) if cycle.clock in PAUSING else ()

    def move(self, cycle: Cycle, moved: Cycle, reason: str, **why: Json) -> None:
        """Put a cycle that was counted anew in the place of the one before."""
        data = {
            **clocks.promise(moved),
            "pauses": clocks.pauses_json(moved.pauses),
            "was_due_at": _written(cycle.due_at),
            "reason": reason,
            **why,
        }
        self.tell(EventKind.CLOCK_MOVED, data, to=("client", "assignee"))

    def _begin(self, cycle: Cycle) -> None:
        self.tell(EventKind.CLOCK_STARTED, clocks.promise(cycle))
        if self.waiting:
            self._stand_still(cycle)

    def _stand_still(self, cycle: Cycle) -> None:
        if cycle.clock not in PAUSING or cycle.paused or cycle.broken_at(self.at):
            return
        left = max(cycle.target - cycle.used(self.at, self.terms.calendar), NO_TIME)
        data: dict[str, Json] = {"reason": "waiting_on_client", "remaining_seconds": clocks.seconds(left)}
        self._of(EventKind.CLOCK_PAUSED, cycle, data)

    def _go_on(self, cycle: Cycle) -> None:
        going = replace(cycle, pauses=(*cycle.pauses[:-1], (cycle.pauses[-1][0], self.at)))
        due_at = going.due(self.terms.calendar, self.at)
        data = {"due_at": _written(due_at), "calendar_revision": self.terms.revision}
        self._of(EventKind.CLOCK_RESUMED, cycle, data)

    def _running(self, clock: Clock) -> list[Cycle]:
        return [cycle for cycle in self.ticket.cycles if cycle.clock is clock and cycle.running]

    def _next_number(self, clock: Clock) -> int:
        return 1 + sum(cycle.clock is clock for cycle in self.ticket.cycles)

    def _of(self, kind: EventKind, cycle: Cycle, data: Mapping[str, Json]) -> None:
        self.tell(kind, {"clock": cycle.clock, "cycle": cycle.number, "clause": cycle.clause, **data})


def _written(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None
