"""How a ticket is judged: its priority, its complexity, who works on it, what is known of it."""

from dataclasses import asdict
from uuid import UUID

from app.domain import emergency, passing
from app.domain.errors import AssigneeLevelTooLowError, FieldError, InvalidDocumentError, NothingToChangeError
from app.domain.events import STAFF, Event, EventKind, Json
from app.domain.frozen import replace
from app.domain.policy import Clock, Priority
from app.domain.telling import Telling
from app.domain.ticket import ActName, Case, Complexity, Details, PrioritySource, allowed, permit


def prioritize(case: Case, *, priority: Priority, reason: str, outage_statement: str | None = None) -> list[Event]:
    """Set how bad it is (clauses priority.*): staff say so, a client asks while staff haven't.

    The resolution promise of the new priority is applied to the whole run, past included.

    Raises:
        InvalidDocumentError: critical without a statement of the outage.
        ActForbiddenError: the actor's role sets no priorities.
        ActNotAllowedError: staff have set it, or the ticket has ended.
        NothingToChangeError: it is so already.
    """
    permit(ActName.PRIORITIZE, case)
    ticket, by_staff = case.ticket, case.actor.role in STAFF
    source = PrioritySource.STAFF if by_staff else PrioritySource.CLIENT
    if (priority, source) == (ticket.priority, ticket.priority_source):
        raise NothingToChangeError(f"the priority is {priority} already", allowed_acts=allowed(case))
    statement = outage_statement or ticket.outage_statement
    if priority is Priority.CRITICAL and not statement:
        message = "critical means a major outage; state what is down and for whom"
        raise InvalidDocumentError([FieldError("/outage_statement", "missing", message)])
    telling = Telling(case)
    kind = EventKind.TICKET_PRIORITIZED if by_staff else EventKind.TICKET_PRIORITY_REQUESTED
    data: dict[str, Json] = {
        "priority": priority,
        "was": ticket.priority,
        "reason": reason,
        "outage_statement": statement,
        "clause": f"priority.{priority}",
    }
    telling.tell(kind, data, to=("client", "assignee"))
    _rekey(telling)
    critical = telling.terms.policy.emergency
    if priority in critical:
        if ticket.priority not in critical:
            emergency.begin_if_closed(telling)
    elif by_staff:
        emergency.end(telling)
    return passing.settled(telling)


def _rekey(telling: Telling) -> None:
    """Apply the target of the priority to the running resolution; one already broken stays."""
    cycle = telling.ticket.running(Clock.RESOLUTION)
    if cycle is None or cycle.broken_at(telling.at):
        return
    moved = telling.retargeted(cycle, telling.target(Clock.RESOLUTION))
    if replace(moved, calendar_revision=cycle.calendar_revision) != cycle:
        telling.move(cycle, moved, "priority")


def classify(case: Case, *, complexity: Complexity, reason: str) -> list[Event]:
    """Say whether an issue is standard or complex (clauses response.standard and response.complex).

    A complex one is owed regular updates instead of a resolution within a day; back to standard, the
    resolution promise goes on as if it had never stopped.

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket has ended.
        NothingToChangeError: it is so already.
    """
    permit(ActName.CLASSIFY, case)
    ticket = case.ticket
    if complexity is ticket.complexity:
        raise NothingToChangeError(f"the issue is {complexity} already", allowed_acts=allowed(case))
    resolution = ticket.running(Clock.RESOLUTION)
    late = complexity is Complexity.COMPLEX and resolution is not None and resolution.broken_at(case.at) is not None
    telling = Telling(case)
    data: dict[str, Json] = {
        "complexity": complexity,
        "reason": reason,
        "late_reclassification": late,
        "clause": f"response.{complexity}",
    }
    telling.tell(EventKind.TICKET_CLASSIFIED, data, to=("client", "assignee"))
    if complexity is Complexity.COMPLEX:
        telling.supersede(Clock.RESOLUTION)
        if not telling.ticket.running(Clock.ACKNOWLEDGEMENT):
            telling.start(Clock.UPDATE)
    else:
        telling.supersede(Clock.UPDATE)
        telling.supersede(Clock.EXPECTED_RESOLUTION)
        _go_on(telling)
    return passing.settled(telling)


def _go_on(telling: Telling) -> None:
    """Let the resolution of this run go on as if it had never stopped; a broken one stays as it was."""
    ticket = telling.ticket
    cycle = ticket.latest(Clock.RESOLUTION)
    if cycle is None or cycle.started_at < ticket.run_started_at:
        # Reopened while complex: the promise of this run was never made yet.
        telling.start(Clock.RESOLUTION, ticket.run_started_at)
        cycle = telling.ticket.latest(Clock.RESOLUTION)
    if cycle is not None:
        moved = telling.retargeted(cycle, telling.target(Clock.RESOLUTION))
        if cycle.ended_at and cycle.broken_at(cycle.ended_at):
            moved = replace(cycle, ended_at=None, end_reason=None)
        if moved != cycle:
            telling.move(cycle, moved, "reclassified")


def assign(case: Case, *, assignee_id: UUID | None, level: int | None) -> list[Event]:
    """Give a ticket to a person of staff of at least its level, or take it off.

    Raises:
        ActForbiddenError: the actor is no person of staff.
        ActNotAllowedError: the ticket is closed.
        AssigneeLevelTooLowError: the person's level is below the ticket's.
        NothingToChangeError: it is theirs already.
    """
    permit(ActName.ASSIGN, case)
    if (assignee_id, level) == (case.ticket.assignee_id, case.ticket.assignee_level):
        raise NothingToChangeError("the ticket is assigned so already", allowed_acts=allowed(case))
    if level is not None and level < case.ticket.level:
        reason = f"the ticket is at level {case.ticket.level}; assign somebody of that level"
        raise AssigneeLevelTooLowError(reason, allowed_acts=allowed(case))
    telling = Telling(case)
    data: dict[str, Json] = {"assignee_id": str(assignee_id) if assignee_id else None, "level": level}
    telling.tell(EventKind.TICKET_ASSIGNED, data, internal=True, to=("assignee",))
    return passing.settled(telling)


def amend(
    case: Case,
    *,
    subject: str | None = None,
    tags: tuple[str, ...] | None = None,
    details: Details | None = None,
    outage_statement: str | None = None,
) -> list[Event]:
    """Complete what is known of a ticket (clause responsibilities.descriptions); None leaves a field as it is.

    So does each None within `details`.

    Raises:
        InvalidDocumentError: a client gives what is staff's to say.
        ActForbiddenError: the actor's role amends nothing.
        ActNotAllowedError: the ticket is closed.
        NothingToChangeError: nothing would be different.
    """
    permit(ActName.AMEND, case)
    ticket = case.ticket
    given: dict[str, object] = {
        "subject": subject,
        "tags": tags,
        "details": details and _completed(ticket.details, details),
        "outage_statement": outage_statement,
    }
    changed = [name for name, value in given.items() if value is not None and value != getattr(ticket, name)]
    if case.actor.role not in STAFF:
        yours = [FieldError(f"/{name}", "not_yours", "only staff change this") for name in ("subject", "tags")]
        refused = [error for error in yours if given[error.pointer[1:]] is not None]
        if refused:
            raise InvalidDocumentError(refused)
    if not changed:
        raise NothingToChangeError("nothing of this is different", allowed_acts=allowed(case))
    changes: dict[str, Json] = {name: _plain(given[name]) for name in changed}
    telling = Telling(case)
    labels_only = changed == ["tags"]
    audience = ("assignee",) if labels_only else ("client", "assignee")
    telling.tell(EventKind.TICKET_AMENDED, {"changes": changes}, internal=labels_only, to=audience)
    return passing.settled(telling)


def _completed(known: Details, given: Details) -> Details:
    return Details(**asdict(known) | {name: value for name, value in asdict(given).items() if value is not None})


def _plain(value: object) -> Json:
    if isinstance(value, Details):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else str(value)
