"""What a ticket is: its values, and the table of what may be done with it, from where, by whom, to where.

Three axes never set one another: status, priority and support level; complexity is a fourth.
How events change a ticket stands in `fold`, what each act does in `acts`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID

from app.domain import errors
from app.domain.clocks import Cycle, Pause
from app.domain.errors import ActError
from app.domain.events import CLIENTS, STAFF, Actor, Event, Role
from app.domain.policy import Category, Channel, Clock, Priority, Terms


class Status(StrEnum):
    """How far a ticket is; `new` means that nobody has acknowledged it."""

    NEW = "new"
    OPEN = "open"
    WAITING_ON_CLIENT = "waiting_on_client"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Complexity(StrEnum):
    """Which resolution promise fits (clauses response.standard and response.complex)."""

    STANDARD = "standard"
    COMPLEX = "complex"


class PrioritySource(StrEnum):
    """Who the priority comes from."""

    CLIENT = "client"
    STAFF = "staff"


class Resolution(StrEnum):
    """How a ticket came to be resolved."""

    FIXED = "fixed"
    ANSWERED = "answered"
    WORKAROUND = "workaround"
    OUT_OF_SCOPE = "out_of_scope"
    NO_CLIENT_RESPONSE = "no_client_response"


class Exclusion(StrEnum):
    """Why staff find a ticket outside of support (clauses exclusions.*)."""

    CUSTOMIZATIONS = "customizations"
    UPGRADES = "upgrades"
    LAYOUT_CHANGES = "layout_changes"
    FEATURE_ADDITIONS = "feature_additions"
    THIRD_PARTY_MODIFICATIONS = "third_party_modifications"
    OUT_OF_SCOPE = "out_of_scope"


class ActName(StrEnum):
    """What can be done to a ticket that exists."""

    ACKNOWLEDGE = "acknowledge"
    REPLY = "reply"
    NOTE = "note"
    PRIORITIZE = "prioritize"
    CLASSIFY = "classify"
    EXPECT_RESOLUTION = "expect-resolution"
    ESCALATE = "escalate"
    DEESCALATE = "deescalate"
    REQUEST_ESCALATION = "request-escalation"
    DECIDE_ESCALATION = "decide-escalation"
    ASSIGN = "assign"
    REQUEST_DETAILS = "request-details"
    RESUME = "resume"
    RESOLVE = "resolve"
    MARK_OUT_OF_SCOPE = "mark-out-of-scope"
    DISPUTE = "dispute"
    REOPEN = "reopen"
    CLOSE = "close"
    WITHDRAW = "withdraw"
    AMEND = "amend"
    FEEDBACK = "feedback"


TOP_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Details:
    """What the client owes to be helped well (clause responsibilities.descriptions)."""

    since: str | None = None
    where: str | None = None
    impact: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the client thought of a resolution, 1 to 5 (clause responsibilities.feedback)."""

    rating: int
    comment: str | None
    given_at: datetime
    resolved_at: datetime


@dataclass(frozen=True)
class Ticket:
    """One request, as its events tell it up to the last of them."""

    id: UUID
    client_id: UUID
    contact_id: UUID
    ref: str
    channel: Channel
    category: Category
    subject: str
    description: str
    details: Details
    outage_statement: str | None
    asset_id: str | None
    service: str | None
    follow_up_of: UUID | None
    eligibility_check_id: UUID | None
    requested_priority: Priority
    priority: Priority
    priority_source: PrioritySource
    complexity: Complexity
    level: int
    status: Status
    emergency: bool
    answered: bool
    late_logged: bool
    policy_version: int
    warnings: tuple[Any, ...]
    received_at: datetime
    created_at: datetime
    last_event_at: datetime
    acknowledged_at: datetime | None = None
    tags: tuple[str, ...] = ()
    assignee_id: UUID | None = None
    assignee_level: int | None = None
    classified_at: datetime | None = None
    late_reclassification: bool = False
    escalation_requested_at: datetime | None = None
    waits: tuple[Pause, ...] = ()
    reminded_at: datetime | None = None
    resolution: Resolution | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    disputed: bool = False
    feedback: Feedback | None = None
    rules_applied: tuple[str, ...] = ()
    cycles: tuple[Cycle, ...] = ()
    last_number: int = 0
    version: int = 0

    @property
    def calendar_revision(self) -> int:
        """Return the latest calendar revision by which a cycle was counted."""
        return max(cycle.calendar_revision for cycle in self.cycles)

    @property
    def run_started_at(self) -> datetime:
        """Return when the ticket was received, or reopened last: each run has its own acknowledgement."""
        return max(cycle.started_at for cycle in self.cycles if cycle.clock is Clock.ACKNOWLEDGEMENT)

    @property
    def waiting_since(self) -> datetime | None:
        """Return since when the ticket waits for its client."""
        return self.waits[-1][0] if self.status is Status.WAITING_ON_CLIENT else None

    def running(self, clock: Clock) -> Cycle | None:
        """Return the cycle of a clock that nothing has ended yet, the latest of them."""
        return next((cycle for cycle in reversed(self.cycles) if cycle.clock is clock and cycle.running), None)

    def latest(self, clock: Clock) -> Cycle | None:
        """Return the cycle of a clock that started last."""
        return next((cycle for cycle in reversed(self.cycles) if cycle.clock is clock), None)


@dataclass(frozen=True, slots=True)
class Case:
    """A ticket at the instant at which somebody acts: `passed` is what time alone has brought since its last event."""

    ticket: Ticket
    terms: Terms
    actor: Actor
    at: datetime
    passed: tuple[Event, ...] = ()

    @property
    def reopens_until(self) -> datetime | None:
        """Return the end of the reopen window of a resolved ticket: at that instant it is over."""
        resolved_at = self.ticket.resolved_at
        return resolved_at + self.terms.policy.limits.reopen if resolved_at else None

    @property
    def in_window(self) -> bool:
        """Tell whether a resolved ticket may be reopened yet, judged by the instants alone."""
        return self.reopens_until is not None and self.at < self.reopens_until


# ------------------------------------------------------------------------------- the conditions

Refusal: TypeAlias = tuple[type[ActError], str]
Condition: TypeAlias = Callable[[Case], Refusal | None]


def _acknowledgement_runs(case: Case) -> Refusal | None:
    if case.ticket.running(Clock.ACKNOWLEDGEMENT):
        return None
    return errors.ActNotAllowedError, "the ticket is acknowledged already; reply instead"


def _client_sets_priority(case: Case) -> Refusal | None:
    if case.ticket.priority_source is PrioritySource.CLIENT:
        return None
    return errors.ActNotAllowedError, "staff have set the priority; write to them"


def _complex(case: Case) -> Refusal | None:
    if case.ticket.complexity is Complexity.COMPLEX:
        return None
    return errors.ActNotAllowedError, "only a complex issue is given an expected date; classify it first"


def _of_its_level(case: Case) -> Refusal | None:
    if case.actor.role in LEADS or case.actor.role is Role.SERVICE or (case.actor.level or 0) >= case.ticket.level:
        return None
    return errors.ActForbiddenError, f"it takes level {case.ticket.level} or a lead; ask one of them"


def _below_the_top(case: Case) -> Refusal | None:
    if case.ticket.level < TOP_LEVEL:
        return None
    return errors.AtTopLevelError, "the ticket is at level 3 already, with senior staff and management"


def _above_the_bottom(case: Case) -> Refusal | None:
    if case.ticket.level > 1:
        return None
    return errors.ActNotAllowedError, "the ticket is at level 1, and none is below"


def _lead_from_the_top(case: Case) -> Refusal | None:
    if case.ticket.level < TOP_LEVEL or case.actor.role in LEADS:
        return None
    return errors.ActNotAllowedError, "a lead takes a ticket down from level 3; ask one"


def _nothing_requested(case: Case) -> Refusal | None:
    if case.ticket.escalation_requested_at is None:
        return None
    return errors.ActNotAllowedError, "an escalation is requested already; wait for the decision"


def _escalation_requested(case: Case) -> Refusal | None:
    if case.ticket.escalation_requested_at:
        return None
    return errors.ActNotAllowedError, "no escalation is requested"


def _lead_after_a_dispute(case: Case) -> Refusal | None:
    if not case.ticket.disputed or case.actor.role in LEADS:
        return None
    return errors.ActForbiddenError, "the client has disputed the first verdict; a lead gives the next one"


def _in_window(case: Case) -> Refusal | None:
    return None if case.in_window else _over(case)


def _over(_case: Case) -> Refusal:
    return errors.ReopenWindowOverError, "the time to reopen the ticket is over; open a new one with follow_up_of"


def _within_scope(case: Case) -> Refusal | None:
    if case.ticket.resolution is not Resolution.OUT_OF_SCOPE:
        return None
    return errors.ActNotAllowedError, "the ticket was found out of scope; its client may dispute that"


def _out_of_scope(case: Case) -> Refusal | None:
    if case.ticket.resolution is Resolution.OUT_OF_SCOPE:
        return None
    return errors.ActNotAllowedError, "only a verdict of out of scope can be disputed"


def _undisputed(case: Case) -> Refusal | None:
    if not case.ticket.disputed:
        return None
    return errors.AlreadyDisputedError, "the verdict was disputed before, and a lead has decided"


def _resolved_once(case: Case) -> Refusal | None:
    if case.ticket.resolved_at:
        return None
    return errors.ActNotAllowedError, "the ticket was withdrawn; there is no resolution to rate"


def _changeable(case: Case) -> Refusal | None:
    given = case.ticket.feedback
    if given is None or given.resolved_at != case.ticket.resolved_at:
        return None
    if case.at < given.given_at + case.terms.policy.limits.feedback:
        return None
    return errors.ActNotAllowedError, "feedback on this resolution was given, and the time to change it is over"


# ------------------------------------------------------------------------------ the table of acts


@dataclass(frozen=True, slots=True)
class Act:
    """A row of the table: which act, by whom, from which status, to which (None: the same, or as the act says)."""

    name: ActName
    who: frozenset[Role]
    sources: frozenset[Status]
    target: Status | None = None
    conditions: tuple[Condition, ...] = ()


N, O, W, R, X = Status  # noqa: E741  # as the policy's table writes them
ACTIVE: Final = frozenset({N, O, W})
LEADS: Final = frozenset({Role.LEAD, Role.ADMIN})
SERVICE: Final = frozenset({Role.SERVICE})


ACTS: Final = (
    Act(ActName.ACKNOWLEDGE, STAFF, frozenset({N, O}), O, (_acknowledgement_runs,)),
    Act(ActName.REPLY, STAFF, frozenset({N, O, W, R})),
    Act(ActName.REPLY, CLIENTS, frozenset({N, O})),
    Act(ActName.REPLY, CLIENTS, frozenset({W}), O),
    Act(ActName.REPLY, CLIENTS, frozenset({R}), None, (_in_window,)),
    Act(ActName.REPLY, CLIENTS, frozenset({X}), None, (_over,)),
    Act(ActName.NOTE, STAFF | {Role.AUTOMATION}, frozenset(Status)),
    Act(ActName.PRIORITIZE, STAFF, ACTIVE),
    Act(ActName.PRIORITIZE, CLIENTS, ACTIVE, None, (_client_sets_priority,)),
    Act(ActName.CLASSIFY, STAFF, ACTIVE),
    Act(ActName.EXPECT_RESOLUTION, STAFF, ACTIVE, None, (_complex,)),
    Act(ActName.ESCALATE, STAFF | SERVICE, ACTIVE, None, (_of_its_level, _below_the_top)),
    Act(ActName.DEESCALATE, STAFF, ACTIVE, None, (_of_its_level, _above_the_bottom, _lead_from_the_top)),
    Act(ActName.REQUEST_ESCALATION, CLIENTS, ACTIVE, None, (_below_the_top, _nothing_requested)),
    Act(ActName.DECIDE_ESCALATION, LEADS, ACTIVE, None, (_escalation_requested,)),
    Act(ActName.ASSIGN, STAFF, ACTIVE | {R}),
    Act(ActName.REQUEST_DETAILS, STAFF, frozenset({N, O}), W),
    Act(ActName.RESUME, STAFF, frozenset({W}), O),
    Act(ActName.RESOLVE, STAFF, ACTIVE, R),
    Act(ActName.RESOLVE, SERVICE, frozenset({W}), R),
    Act(ActName.MARK_OUT_OF_SCOPE, STAFF, ACTIVE, R, (_lead_after_a_dispute,)),
    Act(ActName.DISPUTE, CLIENTS, frozenset({R}), O, (_out_of_scope, _undisputed, _in_window)),
    Act(ActName.REOPEN, STAFF | CLIENTS, frozenset({R}), O, (_within_scope, _in_window)),
    Act(ActName.CLOSE, STAFF | CLIENTS | SERVICE, frozenset({R}), X),
    Act(ActName.WITHDRAW, CLIENTS | LEADS, ACTIVE, X),
    Act(ActName.AMEND, STAFF | CLIENTS, ACTIVE | {R}),
    Act(ActName.FEEDBACK, CLIENTS, frozenset({R, X}), None, (_resolved_once, _changeable)),
)


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Why an act is not open to an actor now."""

    act: ActName
    code: str
    reason: str


def permit(name: ActName, case: Case) -> Act:
    """Return the row by which this actor may do this act now.

    Raises:
        ActForbiddenError: the actor's role may never do it, or not on a ticket like this.
        ActNotAllowedError: somebody in this role may, but not as the ticket stands; or one of its
            kinds, with a code of its own.
    """
    refusal = _refusal(name, case)
    if refusal is not None:
        kind, reason = refusal
        raise kind(reason, allowed_acts=allowed(case))
    return next(row for row in _ROWS[name, case.actor.role] if case.ticket.status in row.sources)


def allowed(case: Case) -> tuple[ActName, ...]:
    """Return the acts that are open to this actor now, in the order of the table."""
    if _foreign(case.ticket, case.actor):
        return ()
    rows = _OPEN[case.actor.role, case.ticket.status]
    return tuple(row.name for row in rows if not any(condition(case) for condition in row.conditions))


def forbidden(case: Case) -> tuple[Forbidden, ...]:
    """Return the acts that are not open to this actor now, each with its reason."""
    refusals = ((name, _refusal(name, case)) for name in ActName)
    return tuple(Forbidden(name, refusal[0].code, refusal[1]) for name, refusal in refusals if refusal)


_ROWS: Final = {
    (name, role): tuple(row for row in ACTS if row.name is name and role in row.who)
    for name in ActName
    for role in Role
}
"""The rows of each act for each role."""
_OPEN: Final = {
    (role, status): tuple(row for name in ActName for row in _ROWS[name, role] if status in row.sources)
    for role in Role
    for status in Status
}
"""What is open to each role in each status, as far as that decides."""


def _refusal(name: ActName, case: Case) -> Refusal | None:
    rows = _ROWS[name, case.actor.role]
    if not rows or _foreign(case.ticket, case.actor):
        return errors.ActForbiddenError, f"the role {case.actor.role} may never {name}; ask somebody who may"
    row = next((row for row in rows if case.ticket.status in row.sources), None)
    if row is None:
        statuses = " or ".join(status for status in Status if any(status in row.sources for row in rows))
        return errors.ActNotAllowedError, f"{name} is for a ticket that is {statuses}; this one is {case.ticket.status}"
    return next((refusal for condition in row.conditions if (refusal := condition(case))), None)


def _foreign(ticket: Ticket, actor: Actor) -> bool:
    """Tell whether the ticket isn't the contact's own; a client_admin acts for the whole client."""
    if actor.role not in CLIENTS:
        return False
    return actor.client_id != ticket.client_id or (actor.role is Role.CONTACT and actor.id != ticket.contact_id)
