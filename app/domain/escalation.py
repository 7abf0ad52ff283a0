"""The escalation rules of the policy: which of them would fire on a ticket, when, and why (clauses escalation.*).

A rule has its say once for each thing that triggered it: it raises the ticket, or finds it there
already. Neither is undone by what happens later, so that a lead's de-escalation holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.domain.clocks import Cycle
from app.domain.events import EventKind, Json, rfc3339
from app.domain.policy import EscalationRule, Terms, Trigger
from app.domain.telling import Telling
from app.domain.ticket import ACTIVE, TOP_LEVEL, Complexity, Status, Ticket


@dataclass(frozen=True, slots=True)
class Pending:
    """A rule that something has triggered, and the instant from which it holds."""

    rule: EscalationRule
    trigger: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a rule would do at an instant, and why."""

    rule: EscalationRule
    why: str
    at: datetime | None = None
    fires: bool = False


def outlooks(ticket: Ticket, terms: Terms, now: datetime) -> list[Outlook]:
    """Say of each rule whether it would fire now: a dry run, nothing happens."""
    return [_outlook(rule, ticket, terms, now) for rule in terms.policy.rules]


def _outlook(rule: EscalationRule, ticket: Ticket, terms: Terms, now: datetime) -> Outlook:
    said = [_would(found, ticket, now) for found in _triggered(rule, ticket, terms)]
    if ticket.status not in ACTIVE or not said:
        return Outlook(rule, f"the ticket is {ticket.status}" if said else "nothing has triggered it")
    return next((outlook for outlook in said if outlook.fires), said[-1])


def _would(found: Pending, ticket: Ticket, now: datetime) -> Outlook:
    rule = found.rule
    reasons = {
        f"it is not for {ticket.priority} tickets": not _concerns(rule, ticket),
        f"it has had its say on {found.trigger}": f"{rule.id}:{found.trigger}" in ticket.rules_applied,
        "the ticket waits for its client; it is looked at at the resume": ticket.status is Status.WAITING_ON_CLIENT,
        "its time has not come": found.at > now,
        f"the ticket is at level {ticket.level} already": _there(rule, ticket),
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    return Outlook(rule, why or f"triggered by {found.trigger}", found.at, fires=why is None)


def pending(ticket: Ticket, terms: Terms) -> Iterator[Pending]:
    """Yield each rule that was triggered and hasn't had its say; none while the client is waited for."""
    if ticket.status is Status.WAITING_ON_CLIENT or ticket.status not in ACTIVE:
        return
    for rule in terms.policy.rules:
        if not _concerns(rule, ticket):
            continue
        for found in _triggered(rule, ticket, terms):
            if f"{rule.id}:{found.trigger}" not in ticket.rules_applied:
                yield found


def _concerns(rule: EscalationRule, ticket: Ticket) -> bool:
    return not rule.priorities or ticket.priority in rule.priorities


def _there(rule: EscalationRule, ticket: Ticket) -> bool:
    return rule.raise_to is not None and ticket.level >= rule.raise_to


def _triggered(rule: EscalationRule, ticket: Ticket, terms: Terms) -> Iterator[Pending]:
    if rule.trigger is Trigger.CLASSIFIED:
        if ticket.complexity is Complexity.COMPLEX and ticket.classified_at:
            at = terms.calendar.add(ticket.classified_at, rule.after, rule.base)
            yield Pending(rule, f"classified:{rfc3339(ticket.classified_at)}", at)
        return
    for cycle in ticket.cycles:
        since = _since(rule, cycle, terms) if cycle.clock is rule.clock and cycle.running else None
        if since:
            at = terms.calendar.add(since, rule.after, rule.base)
            yield Pending(rule, f"{cycle.clock}:{cycle.number}", at)


def _since(rule: EscalationRule, cycle: Cycle, terms: Terms) -> datetime | None:
    """Return since when a cycle triggers a rule: it was seen broken, or warned of."""
    if rule.trigger is Trigger.CLOCK_BROKEN:
        return cycle.due_at if cycle.detected_at else None
    percent = rule.percent or 0
    if cycle.warned < percent or cycle.detected_at:
        return None
    return cycle.share_at(percent, terms.calendar_of(cycle.calendar_revision))


def apply(telling: Telling, found: Pending) -> None:
    """Let a rule have its say."""
    rule = found.rule
    data: dict[str, Json] = {"rule": rule.id, "trigger": found.trigger, "clause": rule.clause}
    if rule.raise_to is None or _there(rule, telling.ticket):
        told = rule.tell if rule.raise_to is None else ()
        telling.tell(EventKind.RULE_SATISFIED, data, internal=True, to=told)
    else:
        raise_to(telling, rule.raise_to, data, tell=rule.tell)


def raise_to(telling: Telling, level: int, data: dict[str, Json], *, tell: tuple[str, ...] = ()) -> None:
    """Raise a ticket, tell the people of the level, and take off an assignee below it."""
    audience = ("client", f"level-{level}", *(("management",) if level == TOP_LEVEL else ()), *tell)
    telling.tell(EventKind.TICKET_ESCALATED, {**data, "level": level, "from_level": telling.ticket.level}, to=audience)
    if telling.ticket.assignee_level is not None and telling.ticket.assignee_level < level:
        taken_off: dict[str, Json] = {"assignee_id": None, "level": None}
        telling.tell(EventKind.TICKET_ASSIGNED, taken_off, internal=True, to=("assignee",))
