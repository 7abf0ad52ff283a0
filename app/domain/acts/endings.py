"""How a ticket ends and begins again: resolved, out of scope, disputed, reopened, closed, withdrawn, rated."""

from uuid import UUID

from app.domain import emergency, passing
from app.domain.acts import talk
from app.domain.clocks import EndReason
from app.domain.errors import FieldError, InvalidDocumentError, NothingToChangeError
from app.domain.events import STAFF, Event, EventKind, Json, rfc3339
from app.domain.policy import Clock
from app.domain.telling import Telling
from app.domain.ticket import ActName, Case, Complexity, Exclusion, Resolution, allowed, permit


def resolve(case: Case, *, resolution: Resolution, message_id: UUID, text: str) -> list[Event]:
    """Resolve a ticket with a public solution (clauses response.standard and response.complex).

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket has ended.
    """
    permit(ActName.RESOLVE, case)
    telling = Telling(case)
    data = {**talk.message(message_id, text), "resolution": resolution}
    telling.tell(EventKind.TICKET_RESOLVED, data, to=("client",))
    for clock in Clock:
        telling.keep(clock)
    emergency.end(telling)
    return passing.settled(telling)


def mark_out_of_scope(
    case: Case,
    *,
    exclusion: Exclusion,
    message_id: UUID,
    text: str,
    alternative: str,
    evidence: str | None = None,
) -> list[Event]:
    """Find a ticket outside of support, explained in public, with a way out (clauses exclusions.*).

    Raises:
        InvalidDocumentError: somebody else's changes are claimed without evidence.
        ActForbiddenError: the actor is no person of staff, or no lead where the client disputed it before.
        ActNotAllowedError: the ticket has ended.
    """
    permit(ActName.MARK_OUT_OF_SCOPE, case)
    if exclusion is Exclusion.THIRD_PARTY_MODIFICATIONS and not evidence:
        message = "say what shows that somebody else changed the code"
        raise InvalidDocumentError([FieldError("/evidence", "missing", message)])
    telling = Telling(case)
    data: dict[str, Json] = {
        **talk.message(message_id, text),
        "resolution": Resolution.OUT_OF_SCOPE,
        "exclusion": exclusion,
        "clause": f"exclusions.{exclusion.replace('_', '-')}",
        "alternative": alternative,
        "evidence": evidence,
    }
    telling.tell(EventKind.TICKET_OUT_OF_SCOPE, data, to=("client",))
    telling.keep(Clock.ACKNOWLEDGEMENT)
    telling.cancel(EndReason.OUT_OF_SCOPE)
    emergency.end(telling)
    return passing.settled(telling)


def dispute(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Contradict a verdict of out of scope, once; a lead gives the next one.

    Raises:
        ActForbiddenError: the actor is no contact of the client.
        ActNotAllowedError: there is no such verdict.
        AlreadyDisputedError: it was disputed before.
        ReopenWindowOverError: it was given too long ago.
    """
    permit(ActName.DISPUTE, case)
    telling = Telling(case)
    telling.tell(EventKind.TICKET_DISPUTED, talk.message(message_id, text), to=("lead", "assignee"))
    _begin_again(telling)
    return passing.settled(telling)


def reopen(case: Case, *, reason: str) -> list[Event]:
    """Take a resolved ticket up again; as staff, that is itself the acknowledgement.

    Raises:
        ActForbiddenError: the actor's role reopens nothing.
        ActNotAllowedError: the ticket isn't resolved, or was found out of scope.
        ReopenWindowOverError: it was resolved too long ago.
    """
    permit(ActName.REOPEN, case)
    telling = Telling(case)
    telling.tell(EventKind.TICKET_REOPENED, {"reason": reason}, to=("client", "assignee"))
    _begin_again(telling)
    return passing.settled(telling)


def reply_and_reopen(case: Case, *, message_id: UUID, text: str) -> list[Event]:
    """Say as the client that a resolved ticket isn't: the message takes it up again.

    Raises:
        ActForbiddenError: the actor is no contact of the client.
        ActNotAllowedError: the ticket isn't resolved, or was found out of scope.
        ReopenWindowOverError: it was resolved too long ago.
    """
    permit(ActName.REPLY, case)
    permit(ActName.REOPEN, case)
    telling = Telling(case)
    telling.tell(EventKind.MESSAGE_RECEIVED, talk.message(message_id, text), to=("assignee",))
    telling.tell(EventKind.TICKET_REOPENED, {"reason": None}, to=("assignee",))
    _begin_again(telling)
    return passing.settled(telling)


def close(case: Case, *, reason: str) -> list[Event]:
    """Close a resolved ticket for good; by staff before the window is over it is reported as early.

    Raises:
        ActForbiddenError: the actor's role closes nothing.
        ActNotAllowedError: the ticket isn't resolved.
    """
    permit(ActName.CLOSE, case)
    telling = Telling(case)
    early = case.actor.role in STAFF and case.in_window
    telling.tell(EventKind.TICKET_CLOSED, {"reason": reason, "early": early}, to=("client", "assignee"))
    return passing.settled(telling)


def withdraw(case: Case, *, reason: str) -> list[Event]:
    """Take a ticket back as its client, or for them as a lead; what runs is cancelled, what broke stays broken.

    Raises:
        ActForbiddenError: the actor is neither.
        ActNotAllowedError: the ticket has ended.
    """
    permit(ActName.WITHDRAW, case)
    telling = Telling(case)
    telling.tell(EventKind.TICKET_WITHDRAWN, {"reason": reason}, to=("client", "assignee"))
    telling.cancel(EndReason.WITHDRAWN)
    emergency.end(telling)
    return passing.settled(telling)


def rate(case: Case, *, rating: int, comment: str | None) -> list[Event]:
    """Say what one thought of a resolution, or change it while that is possible (clause responsibilities.feedback).

    Raises:
        ActForbiddenError: the actor is neither the ticket's contact nor a client_admin.
        ActNotAllowedError: the ticket isn't resolved, or the time to change it is over.
        NothingToChangeError: it says so already.
    """
    permit(ActName.FEEDBACK, case)
    ticket, telling = case.ticket, Telling(case)
    known = ticket.feedback if ticket.feedback and ticket.feedback.resolved_at == ticket.resolved_at else None
    if known and (known.rating, known.comment) == (rating, comment):
        raise NothingToChangeError("the feedback says so already", allowed_acts=allowed(case))
    data: dict[str, Json] = {
        "rating": rating,
        "comment": comment,
        "given_at": rfc3339(known.given_at if known else case.at),
        "resolved_at": rfc3339(ticket.resolved_at) if ticket.resolved_at else None,
        "clause": "responsibilities.feedback",
    }
    telling.tell(EventKind.FEEDBACK_GIVEN, data, to=("lead", "assignee"))
    return passing.settled(telling)


def _begin_again(telling: Telling) -> None:
    """Begin a new run: an acknowledgement, and what is promised on a standard or a complex issue."""
    telling.start(Clock.ACKNOWLEDGEMENT)
    if telling.ticket.complexity is Complexity.STANDARD:
        telling.start(Clock.RESOLUTION)
    if telling.actor.role in STAFF:
        talk.acknowledged(telling)
    else:
        emergency.begin_if_closed(telling)
