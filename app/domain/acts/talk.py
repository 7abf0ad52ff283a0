"""What is said on a ticket: the acknowledgement, replies, notes, questions to the client, expected dates.

A public word of a person of staff acknowledges the ticket and, on a complex issue, ends the silent
spell that the update clock measures (clauses response.initial and response.complex).
"""

from datetime import datetime
from uuid import UUID

from app.domain import passing
from app.domain.errors import FieldError, InvalidDocumentError
from app.domain.events import STAFF, Event, EventKind, Json, rfc3339
from app.domain.policy import Clock
from app.domain.telling import Telling
from app.domain.ticket import ACTIVE, ActName, Case, Complexity, permit


def acknowledge(case: Case, *, message_id: UUID, text: str | None = None) -> list[Event]:
    """A person of staff takes note of the ticket, with a public word if they like (clause response.initial).

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket is acknowledged already, or has ended.
    """
    permit(ActName.ACKNOWLEDGE, case)
    telling = Telling(case)
    telling.tell(EventKind.TICKET_ACKNOWLEDGED, to=("client",))
    if text is not None:
        telling.tell(EventKind.MESSAGE_SENT, message(message_id, text), to=("client",))
        spoken(telling)
    else:
        acknowledged(telling)
    return passing.settled(telling)


def reply(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Say something in public: as staff an answer, as a client a word that ends a wait.

    Raises:
        ActForbiddenError: the actor's role writes no replies.
        ActNotAllowedError: the ticket's status takes none.
        ReopenWindowOverError: the ticket was resolved too long ago.
    """
    permit(ActName.REPLY, case)
    telling = Telling(case)
    if case.actor.role in STAFF:
        telling.tell(EventKind.MESSAGE_SENT, message(message_id, text), to=("client",))
        spoken(telling)
        return passing.settled(telling)
    telling.tell(EventKind.MESSAGE_RECEIVED, message(message_id, text), to=("assignee",))
    if telling.waiting:
        _resumed(telling)
    return passing.settled(telling)


def note(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Keep a remark that no client ever sees; it answers nobody and moves no clock.

    Raises:
        ActForbiddenError: the actor's role keeps no notes.
    """
    permit(ActName.NOTE, case)
    telling = Telling(case)
    telling.tell(EventKind.MESSAGE_NOTED, message(message_id, text), internal=True)
    return passing.settled(telling)


def request_details(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Ask the client, and wait: resolution and update stand still until they answer.

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket waits already, or has ended.
    """
    permit(ActName.REQUEST_DETAILS, case)
    telling = Telling(case)
    telling.tell(EventKind.TICKET_DETAILS_REQUESTED, message(message_id, text), to=("client",))
    answered(telling)
    telling.pause()
    updated(telling)
    return passing.settled(telling)


def resume(case: Case) -> list[Event]:
    """Go on without waiting any longer for the client.

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket doesn't wait.
    """
    permit(ActName.RESUME, case)
    telling = Telling(case)
    _resumed(telling)
    return passing.settled(telling)


def expect_resolution(case: Case, *, expected_at: datetime, message_id: UUID, text: str) -> list[Event]:
    """Tell the client by when a complex issue is expected to be resolved (clause response.complex).

    Raises:
        InvalidDocumentError: the date doesn't lie in the future.
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the issue isn't complex, or the ticket has ended.
    """
    permit(ActName.EXPECT_RESOLUTION, case)
    if expected_at <= case.at:
        raise InvalidDocumentError([FieldError("/expected_at", "in_the_past", "give an instant in the future")])
    telling = Telling(case)
    data = {**message(message_id, text), "expected_at": rfc3339(expected_at)}
    telling.tell(EventKind.TICKET_EXPECTED_RESOLUTION_SET, data, to=("client",))
    answered(telling)
    telling.expect(expected_at)
    updated(telling)
    return passing.settled(telling)


# ------------------------------------------------------------------- what a word of staff does


def message(message_id: UUID, text: str) -> dict[str, Json]:
    """Write what a message says."""
    return {"message_id": str(message_id), "text": text}


def spoken(telling: Telling) -> None:
    """Let a public word of staff have its effect: it answers, and the next silent spell begins."""
    answered(telling)
    updated(telling)


def answered(telling: Telling) -> None:
    """End the acknowledgement and the silent spell that a public word of staff ends."""
    telling.keep(Clock.ACKNOWLEDGEMENT)
    telling.keep(Clock.UPDATE)


def updated(telling: Telling) -> None:
    """Begin the next silent spell of a complex issue."""
    if telling.ticket.complexity is Complexity.COMPLEX and telling.ticket.status in ACTIVE:
        telling.start(Clock.UPDATE)


def acknowledged(telling: Telling) -> None:
    """Let an acknowledgement without a word have its effect: it is met, and updates are owed from now on."""
    telling.keep(Clock.ACKNOWLEDGEMENT)
    if not telling.ticket.running(Clock.UPDATE):
        updated(telling)


def _resumed(telling: Telling) -> None:
    telling.tell(EventKind.TICKET_RESUMED, to=("assignee",))
    telling.resume()
