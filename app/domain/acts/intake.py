"""How a ticket comes in: the instant it counts as received, and the promises it is given."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain import emergency, fold, passing
from app.domain.eligibility import Decision, Finding, Request
from app.domain.errors import FieldError, InvalidDocumentError
from app.domain.events import STAFF, Actor, Event, EventKind, Json, Role, rfc3339
from app.domain.policy import Channel, Clock, Limits, Severity, Terms
from app.domain.telling import Telling
from app.domain.ticket import Case, Details


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new ticket is made of, besides the request that was judged."""

    id: UUID
    client_id: UUID
    contact_id: UUID
    ref: str
    subject: str
    request: Request
    answered: bool
    received_at: datetime
    follow_up_of: UUID | None = None
    eligibility_check_id: UUID | None = None


def received(at: datetime | None, *, actor: Actor, limits: Limits, now: datetime) -> datetime:
    """Return the instant at which everything about a new ticket is judged.

    Staff may set it up to the policy's limit into the past, an admin without limit.

    Raises:
        InvalidDocumentError: it isn't the actor's to set, lies in the future or too far back.
    """
    if at is None:
        return now
    if actor.role not in STAFF:
        raise _wrong_instant("not_yours", "only staff may say when a request was received; leave it out")
    if at > now:
        raise _wrong_instant("in_the_future", "a request cannot be received in the future; give an instant up to now")
    if actor.role is not Role.ADMIN and now - at > limits.backdate:
        raise _wrong_instant(
            "too_far_back", f"at most {limits.backdate.days} days back; an admin may import older ones"
        )
    return at


def _wrong_instant(code: str, message: str) -> InvalidDocumentError:
    return InvalidDocumentError([FieldError("/received_at", code, message)])


def may_open(channel: Channel, actor: Actor) -> bool:
    """Tell whether somebody in this role may open a ticket by this channel (clause channels.ticketing)."""
    if actor.role in STAFF:
        return True
    if actor.role is Role.AUTOMATION:
        return channel in {Channel.PORTAL, Channel.EMAIL}
    return actor.role in {Role.CONTACT, Role.CLIENT_ADMIN} and channel is Channel.PORTAL


def open_ticket(opening: Opening, decision: Decision, terms: Terms, *, actor: Actor, now: datetime) -> list[Event]:
    """Return the events of a new ticket: opened, its two clocks, and what time has brought already.

    An answered call is acknowledged at the instant it was received (clause response.initial).
    """
    opened = _opened(opening, decision, terms, actor, now)
    ticket = fold.fold(None, fold.numbered(None, [opened]))
    telling = Telling(Case(ticket, terms, actor, now, (opened,)))
    for clock in (Clock.ACKNOWLEDGEMENT, Clock.RESOLUTION):
        telling.start(clock, opening.received_at)
    if opening.answered:
        telling.keep(Clock.ACKNOWLEDGEMENT, opening.received_at)
    emergency.begin_if_received_closed(telling)
    return passing.settled(telling)


def _opened(opening: Opening, decision: Decision, terms: Terms, actor: Actor, now: datetime) -> Event:
    request = opening.request
    data: dict[str, Json] = {
        "id": str(opening.id),
        "client_id": str(opening.client_id),
        "contact_id": str(opening.contact_id),
        "ref": opening.ref,
        "channel": request.channel,
        "category": request.category,
        "subject": opening.subject,
        "description": request.description or "",
        "details": _details(request.details or Details()),
        "outage_statement": request.outage_statement,
        "asset_id": request.asset_id,
        "service": request.service,
        "follow_up_of": _id(opening.follow_up_of),
        "eligibility_check_id": _id(opening.eligibility_check_id),
        "requested_priority": request.priority,
        "answered": opening.answered,
        "late_logged": opening.answered and now - opening.received_at > terms.policy.limits.late_logged,
        "received_at": rfc3339(opening.received_at),
        "policy_version": terms.policy.number,
        "warnings": [_warning(finding) for finding in decision.findings if finding.severity is Severity.WARNING],
    }
    return Event(EventKind.TICKET_OPENED, now, actor, data)


def _details(details: Details) -> dict[str, Json]:
    return {"since": details.since, "where": details.where, "impact": details.impact}


def _warning(finding: Finding) -> dict[str, Json]:
    clause = {"id": finding.clause.id, "title": finding.clause.title, "text": finding.clause.text}
    return {
        "code": finding.code,
        "severity": finding.severity,
        "clause": clause,
        "message": finding.message,
        "facts": finding.facts,
    }


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
