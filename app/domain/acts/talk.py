"""What is said on a ticket: the acknowledgement, replies and internal notes."""

from uuid import UUID

from app.domain.acts import intake
from app.domain.acts.case import Case
from app.domain.events import STAFF, Event, EventKind, Json
from app.domain.policy import Clock
from app.domain.ticket import ActName


def acknowledge(case: Case, *, message_id: UUID, text: str | None = None) -> list[Event]:
    """A person of staff takes note of the ticket, with a public word if they like (clause response.initial).

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket is acknowledged already, or has ended.
    """
    case.permit(ActName.ACKNOWLEDGE)
    event = Event(EventKind.TICKET_ACKNOWLEDGED, case.at, case.actor, audience=("client",))
    sent = [] if text is None else [_sent(case, message_id, text)]
    return [*case.passed, event, *sent, *_acknowledgement_met(case)]


def reply(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Say something in public; the first word of a person of staff is the acknowledgement.

    Raises:
        ActForbiddenError: the actor's role writes no replies.
        ActNotAllowedError: the ticket's status takes none.
    """
    case.permit(ActName.REPLY)
    if case.actor.role in STAFF:
        return [*case.passed, _sent(case, message_id, text), *_acknowledgement_met(case)]
    data = _message(message_id, text)
    return [*case.passed, Event(EventKind.MESSAGE_RECEIVED, case.at, case.actor, data, audience=("assignee",))]


def note(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Keep a remark that no client ever sees; it answers nobody and moves no clock.

    Raises:
        ActForbiddenError: the actor's role keeps no notes.
    """
    case.permit(ActName.NOTE)
    data = _message(message_id, text)
    return [*case.passed, Event(EventKind.MESSAGE_NOTED, case.at, case.actor, data, internal=True)]


def _sent(case: Case, message_id: UUID, text: str) -> Event:
    return Event(EventKind.MESSAGE_SENT, case.at, case.actor, _message(message_id, text), audience=("client",))


def _message(message_id: UUID, text: str) -> dict[str, Json]:
    return {"message_id": str(message_id), "text": text}


def _acknowledgement_met(case: Case) -> list[Event]:
    """Tell of an acknowledgement in time; a broken one stays broken and says nothing more."""
    cycle = case.ticket.running(Clock.ACKNOWLEDGEMENT)
    if cycle is None or cycle.broken_at(case.at):
        return []
    return [intake.clock_met(cycle.clock, cycle.number, case.at, case.actor, case.at)]
