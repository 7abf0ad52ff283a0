"""Emergencies: critical tickets that meet a closed desk (clause availability.after-hours); they move no clock."""

from datetime import datetime

from app.domain.calendar import MICROSECOND
from app.domain.events import EventKind, rfc3339
from app.domain.policy import Clock, Terms
from app.domain.telling import Telling
from app.domain.ticket import ACTIVE, Ticket

MESSAGE = "The desk is closed: help is limited to critical issues, and the people on call have been told."


def closes_at(ticket: Ticket, terms: Terms, since: datetime) -> datetime | None:
    """Return when, after an instant, the desk first closes on a critical ticket that nobody has acknowledged."""
    unheard = _critical(ticket, terms) and ticket.running(Clock.ACKNOWLEDGEMENT)
    return _next_close(terms, since) if unheard else None


def _next_close(terms: Terms, since: datetime) -> datetime | None:
    """Return when the desk first closes after an instant: by its hours, or by a change of its calendar."""
    found, at = terms.as_of(since - MICROSECOND), since
    for changed in terms.after(found.revision):
        closes = found.calendar.next_close(at)
        if closes and closes < changed.changed_at:
            return closes
        was_open = found.calendar.is_open(changed.changed_at - MICROSECOND)
        if was_open and not changed.calendar.is_open(changed.changed_at):
            return changed.changed_at
        found, at = changed, changed.changed_at
    return found.calendar.next_close(at)


def begin_if_closed(telling: Telling) -> None:
    """Make a critical ticket an emergency where the desk is closed now."""
    if _critical(telling.ticket, telling.terms) and not telling.terms.calendar.is_open(telling.at):
        begin(telling, telling.at)


def begin_if_received_closed(telling: Telling) -> None:
    """Make a new critical ticket an emergency: it came to a desk closed until now, or one has closed on it since."""
    calendar, ticket = telling.terms.calendar, telling.ticket
    if calendar.is_open(ticket.received_at):
        meets_it = ticket.running(Clock.ACKNOWLEDGEMENT) is not None
    else:
        meets_it = not calendar.between(ticket.received_at, telling.at)
    if meets_it:
        begin_if_closed(telling)


def begin(telling: Telling, since: datetime) -> None:
    """Tell the people on call."""
    data = {"clause": telling.terms.policy.emergency_clause, "since": rfc3339(since), "message": MESSAGE}
    telling.tell(EventKind.TICKET_EMERGENCY, data, to=("client", "on_call"))


def end(telling: Telling) -> None:
    """End an emergency where there is one: its priority was lowered, or the ticket has ended."""
    if telling.ticket.emergency:
        data = {"clause": telling.terms.policy.emergency_clause}
        telling.tell(EventKind.TICKET_EMERGENCY_ENDED, data, to=("client", "on_call"))


def _critical(ticket: Ticket, terms: Terms) -> bool:
    return ticket.priority in terms.policy.emergency and ticket.status in ACTIVE and not ticket.emergency
