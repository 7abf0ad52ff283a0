"""What happens to a ticket when time passes and nobody acts: whoever looks first writes it down, once."""

from collections.abc import Iterator
from datetime import datetime

from app.domain.clocks import Cycle
from app.domain.events import SERVICE, Event, EventKind, Json, rfc3339
from app.domain.policy import Clock, Terms
from app.domain.ticket import Ticket


def due(ticket: Ticket, terms: Terms, now: datetime) -> list[Event]:
    """Return the events that time alone has brought by `now`, in the order in which they fell due.

    Each comes once: the fold remembers what was warned of, what was seen broken, and the emergency.
    """
    pending = [
        (instant, event) for instant, event in _pending(ticket, terms, max(now, ticket.last_event_at)) if instant <= now
    ]
    return [event for _, event in sorted(pending, key=lambda found: found[0])]


def next_at(ticket: Ticket, terms: Terms) -> datetime | None:
    """Return the next instant at which time alone brings anything, or None."""
    return min((instant for instant, _ in _pending(ticket, terms, ticket.last_event_at)), default=None)


def _pending(ticket: Ticket, terms: Terms, at: datetime) -> Iterator[tuple[datetime, Event]]:
    """Yield what is still to come, each with its instant and the event it would leave at `at`."""
    for cycle in ticket.cycles:
        if cycle.running and cycle.detected_at is None:
            yield cycle.breaks_at, _broken(cycle, at)
            yield from _warnings(cycle, terms, at)
    emergency_at = _emergency_at(ticket, terms)
    if emergency_at:
        yield emergency_at, _emergency(terms, at, emergency_at)


def _broken(cycle: Cycle, at: datetime) -> Event:
    data: dict[str, Json] = {
        "clock": cycle.clock,
        "cycle": cycle.number,
        "clause": cycle.clause,
        "due_at": rfc3339(cycle.due_at),
        "broken_at": rfc3339(cycle.due_at),
    }
    return Event(EventKind.CLOCK_BROKEN, at, SERVICE, data, audience=("lead",))


def _warnings(cycle: Cycle, terms: Terms, at: datetime) -> Iterator[tuple[datetime, Event]]:
    """Yield the warning to send next: of several in the past only the highest, none once broken."""
    if at > cycle.due_at:
        return
    upcoming = cycle.warnings(terms.calendar)
    past = [warning for warning in upcoming if warning[1] <= at]
    for percent, instant in past[-1:] or upcoming[:1]:
        data: dict[str, Json] = {
            "clock": cycle.clock,
            "cycle": cycle.number,
            "clause": cycle.clause,
            "percent": percent,
            "due_at": rfc3339(cycle.due_at),
        }
        yield instant, Event(EventKind.CLOCK_WARNED, at, SERVICE, data, internal=True, audience=("assignee", "lead"))


def _emergency_at(ticket: Ticket, terms: Terms) -> datetime | None:
    """Return when a critical ticket nobody has acknowledged meets a closed desk (availability.after-hours)."""
    unheard = ticket.priority in terms.policy.emergency and ticket.running(Clock.ACKNOWLEDGEMENT)
    if ticket.emergency or not unheard:
        return None
    received, logged = ticket.received_at, ticket.created_at
    closed_since = terms.calendar.is_open(received) or not terms.calendar.between(received, logged)
    if closed_since and not terms.calendar.is_open(logged):
        return logged
    # Logged late, and the desk has opened in between: from now on like any other.
    return terms.calendar.next_close(logged)


def _emergency(terms: Terms, at: datetime, since: datetime) -> Event:
    data: dict[str, Json] = {
        "clause": terms.policy.emergency_clause,
        "since": rfc3339(since),
        "message": "The desk is closed: help is limited to critical issues, and the people on call have been told.",
    }
    return Event(EventKind.TICKET_EMERGENCY, at, SERVICE, data, audience=("client", "on_call"))
