"""Who takes over when it is hard: support levels 1 to 3, by staff or at the client's wish (clauses escalation.*).

Escalation changes the level and nothing else; an assignee below the new level is taken off.
"""

from uuid import UUID

from app.domain import escalation, passing
from app.domain.acts import talk
from app.domain.errors import ActNotAllowedError
from app.domain.events import Event, EventKind, Json
from app.domain.policy import Priority
from app.domain.telling import Telling
from app.domain.ticket import TOP_LEVEL, ActName, Case, Ticket, allowed, permit


def escalate(case: Case, *, reason: str, to_level: int | None = None) -> list[Event]:
    """Hand a ticket one level up; from 1 to 3 at once where it is critical or a promise on it has broken.

    Raises:
        ActForbiddenError: the actor is no person of staff of at least the ticket's level, and no lead.
        AtTopLevelError: there is no level above.
        ActNotAllowedError: the level asked for can't be reached in one step, or the ticket has ended.
    """
    permit(ActName.ESCALATE, case)
    level = to_level or case.ticket.level + 1
    if level != case.ticket.level + 1 and not _may_skip(case, level):
        steps = "one level at a time; from 1 to 3 only where the ticket is critical or one of its promises has broken"
        raise ActNotAllowedError(steps, allowed_acts=allowed(case))
    telling = Telling(case)
    escalation.raise_to(telling, level, {"reason": reason, "clause": f"escalation.level-{level}"})
    return passing.settled(telling)


def _may_skip(case: Case, level: int) -> bool:
    ticket: Ticket = case.ticket
    urgent = ticket.priority is Priority.CRITICAL or any(cycle.broken_at(case.at) for cycle in ticket.cycles)
    return (ticket.level, level) == (1, TOP_LEVEL) and urgent


def deescalate(case: Case, *, reason: str) -> list[Event]:
    """Hand a ticket one level down; from level 3 only a lead does.

    Raises:
        ActForbiddenError: the actor is no person of staff of at least the ticket's level, and no lead.
        ActNotAllowedError: it is at level 1, or at 3 and the actor is no lead, or it has ended.
    """
    permit(ActName.DEESCALATE, case)
    telling = Telling(case)
    level = case.ticket.level - 1
    data: dict[str, Json] = {
        "level": level,
        "from_level": case.ticket.level,
        "reason": reason,
        "clause": f"escalation.level-{level}",
    }
    telling.tell(EventKind.TICKET_DEESCALATED, data, to=("client", f"level-{level}"))
    return passing.settled(telling)


def request_escalation(case: Case, *, text: str | None = None) -> list[Event]:
    """Ask, as the client, that somebody more senior takes over; a lead decides.

    Raises:
        ActForbiddenError: the actor is no contact of the client.
        AtTopLevelError: there is no level above.
        ActNotAllowedError: one is pending, or the ticket has ended.
    """
    permit(ActName.REQUEST_ESCALATION, case)
    telling = Telling(case)
    telling.tell(EventKind.ESCALATION_REQUESTED, {"text": text}, to=("lead", "assignee"))
    return passing.settled(telling)


def decide_escalation(case: Case, *, grant: bool, message_id: UUID, text: str) -> list[Event]:
    """Grant or decline what the client asked for, with a public answer.

    Raises:
        ActForbiddenError: the actor is no lead.
        ActNotAllowedError: nothing is asked for, or the ticket has ended.
    """
    permit(ActName.DECIDE_ESCALATION, case)
    telling = Telling(case)
    kind = EventKind.ESCALATION_GRANTED if grant else EventKind.ESCALATION_DECLINED
    telling.tell(kind, talk.message(message_id, text), to=("client",))
    talk.answered(telling)
    if grant and telling.ticket.level < TOP_LEVEL:
        level = telling.ticket.level + 1
        escalation.raise_to(telling, level, {"clause": f"escalation.level-{level}"})
    talk.updated(telling)
    return passing.settled(telling)
