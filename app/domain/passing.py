"""What happens to a ticket when time passes and nobody acts: whoever looks first writes it down, once.

Promises break and are warned of, a closing desk makes an emergency, escalation rules have their
say, a changed calendar counts anew: all of that holds for everybody, so an act begins with it.
Reminding, resolving and closing are acts of the service: only the worker does them, on the state
it finds, and a client's word that comes first wins.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import TypeAlias

from app.domain import emergency, escalation
from app.domain.calendar import Base
from app.domain.clocks import Cycle, EndReason
from app.domain.escalation import Outlook
from app.domain.events import SERVICE, Actor, Event, EventKind, Json, rfc3339
from app.domain.frozen import replace
from app.domain.policy import Terms
from app.domain.telling import Telling
from app.domain.ticket import ActName, Case, Resolution, Status, Ticket, permit

Step: TypeAlias = Callable[[Telling], None]
Pending: TypeAlias = tuple[datetime, Step]


def case_of(found: Ticket, terms: Terms, *, actor: Actor, now: datetime) -> Case:
    """Return a ticket for somebody to act on, with what time has brought by `now`, or by its last event if later."""
    telling = Telling(Case(found, terms, SERVICE, max(now, found.last_event_at)))
    _pass(telling, _holding)
    return Case(telling.ticket, terms, actor, telling.at, tuple(telling.events))


def settled(telling: Telling) -> list[Event]:
    """Return the events of an act, with what follows from them at once: a rule that has its say."""
    after = Telling(Case(telling.ticket, telling.terms, SERVICE, telling.at, tuple(telling.events)))
    _pass(after, _holding)
    return after.events


def known_by(found: Ticket, terms: Terms, at: datetime) -> Ticket:
    """Return a ticket as anybody may know it by an instant, noted or not: what a new calendar moves, an emergency."""
    telling = Telling(Case(found, terms, SERVICE, max(at, found.last_event_at)))
    _pass(telling, _showing)
    if telling.ticket is found:
        return found
    return replace(found, cycles=telling.ticket.cycles, emergency=telling.ticket.emergency)


def outlooks(found: Ticket, terms: Terms, now: datetime) -> list[Outlook]:
    """Say of each escalation rule whether it would fire now: a dry run, nothing happens."""
    telling = Telling(Case(found, terms, SERVICE, max(now, found.last_event_at)))
    _pass(telling, _noticing)
    return escalation.outlooks(telling.ticket, terms, telling.at)


def swept(found: Ticket, terms: Terms, now: datetime) -> list[Event]:
    """Return everything that time brings by `now`, the service's own acts included."""
    telling = Telling(Case(found, terms, SERVICE, max(now, found.last_event_at)))
    _pass(telling, _all)
    return telling.events


def next_at(ticket: Ticket, terms: Terms) -> datetime | None:
    """Return the next instant at which time brings anything, or None."""
    telling = Telling(Case(ticket, terms, SERVICE, ticket.last_event_at))
    return min((instant for instant, _ in _all(telling)), default=None)


def service_at(ticket: Ticket, terms: Terms) -> list[datetime]:
    """Return when the service itself acts if nobody does before: it reminds, gives up waiting, closes."""
    return [instant for instant, _ in _service(Telling(Case(ticket, terms, SERVICE, ticket.last_event_at)))]


def _pass(telling: Telling, pending: Callable[[Telling], Iterator[Pending]]) -> None:
    """Take what is due one after the other, the earliest first: each may bring more."""
    while due := [found for found in pending(telling) if found[0] <= telling.at]:
        _, step = min(due, key=itemgetter(0))
        before = telling.ticket
        step(telling)
        if replace(telling.ticket, last_event_at=before.last_event_at) == before:
            raise RuntimeError("a step of time that changes nothing would be due for ever")


def _all(telling: Telling) -> Iterator[Pending]:
    yield from _holding(telling)
    yield from _service(telling)


# ------------------------------------------------------------------------------- what holds for all


def _showing(telling: Telling) -> Iterator[Pending]:
    for cycle in telling.ticket.cycles:
        if cycle.running and cycle.detected_at is None:
            yield from _recounts(cycle, telling)
    closes_at = emergency.closes_at(telling.ticket, telling.terms, telling.since)
    if closes_at:
        yield closes_at, partial(emergency.begin, since=closes_at)


def _noticing(telling: Telling) -> Iterator[Pending]:
    yield from _showing(telling)
    for cycle in telling.ticket.cycles:
        if cycle.running and cycle.detected_at is None:
            if cycle.breaks_at:
                yield cycle.breaks_at, partial(_break, cycle=cycle)
            yield from _warnings(cycle, telling)


def _holding(telling: Telling) -> Iterator[Pending]:
    yield from _noticing(telling)
    for found in escalation.pending(telling.ticket, telling.terms):
        yield found.at, partial(escalation.apply, found=found)


def _recounts(cycle: Cycle, telling: Telling) -> Iterator[Pending]:
    """Yield the first change of the calendar that moves a cycle, unless it was broken before."""
    if cycle.base is Base.CALENDAR or cycle.paused:
        return
    for terms in telling.terms.after(cycle.calendar_revision):
        if cycle.broken_at(terms.changed_at):
            return
        moved = telling.recounted(cycle, terms)
        if moved.due_at != cycle.due_at:
            named = terms.changes_since(cycle.calendar_revision)
            yield terms.changed_at, partial(Telling.move, cycle=cycle, moved=moved, reason="calendar", exceptions=named)
            return


def _break(telling: Telling, cycle: Cycle) -> None:
    due_at = rfc3339(cycle.due_at) if cycle.due_at else None
    data: dict[str, Json] = {**_named(cycle), "due_at": due_at, "broken_at": due_at}
    telling.tell(EventKind.CLOCK_BROKEN, data, to=("lead",))


def _warnings(cycle: Cycle, telling: Telling) -> Iterator[Pending]:
    """Yield the warning to send next: of several in the past only the highest, none once broken."""
    if cycle.due_at is None or telling.at > cycle.due_at:
        return
    upcoming = cycle.warnings(telling.terms.calendar_of(cycle.calendar_revision))
    past = [warning for warning in upcoming if warning[1] <= telling.at]
    for percent, instant in past[-1:] or upcoming[:1]:
        yield instant, partial(_warn, cycle=cycle, percent=percent)


def _warn(telling: Telling, cycle: Cycle, percent: int) -> None:
    due_at = rfc3339(cycle.due_at) if cycle.due_at else None
    data: dict[str, Json] = {**_named(cycle), "percent": percent, "due_at": due_at}
    telling.tell(EventKind.CLOCK_WARNED, data, to=("assignee", "lead"), internal=True)


def _named(cycle: Cycle) -> dict[str, Json]:
    return {"clock": cycle.clock, "cycle": cycle.number, "clause": cycle.clause}


# ---------------------------------------------------------------------------- what the service does


def _service(telling: Telling) -> Iterator[Pending]:
    ticket, terms = telling.ticket, telling.terms
    waiting = terms.policy.waiting
    if ticket.waiting_since:
        if ticket.reminded_at is None:
            yield terms.calendar.add(ticket.waiting_since, waiting.reminder, waiting.base), _remind
        yield terms.calendar.add(ticket.waiting_since, waiting.resolution, waiting.base), _give_up
    if ticket.status is Status.RESOLVED and ticket.resolved_at:
        yield ticket.resolved_at + terms.policy.limits.reopen, _close


def _remind(telling: Telling) -> None:
    telling.tell(EventKind.TICKET_REMINDED, {"waiting_since": _since(telling)}, to=("client",))


def _give_up(telling: Telling) -> None:
    """Resolve a ticket whose client hasn't answered: nobody's promise was kept, so the rest is cancelled."""
    permit(ActName.RESOLVE, _case(telling))
    data: dict[str, Json] = {"resolution": Resolution.NO_CLIENT_RESPONSE, "waiting_since": _since(telling)}
    telling.tell(EventKind.TICKET_RESOLVED, data, to=("client", "assignee"))
    telling.cancel(EndReason.NO_CLIENT_RESPONSE)
    emergency.end(telling)


def _close(telling: Telling) -> None:
    permit(ActName.CLOSE, _case(telling))
    telling.tell(EventKind.TICKET_CLOSED, {"early": False}, to=("client",))


def _since(telling: Telling) -> str | None:
    since = telling.ticket.waiting_since
    return rfc3339(since) if since else None


def _case(telling: Telling) -> Case:
    return Case(telling.ticket, telling.terms, SERVICE, telling.at)
