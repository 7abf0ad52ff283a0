"""Eligibility checks as they were decided, with all that was asked: refused tickets among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, Select, and_, func, insert, or_, select, tuple_

from app.db.audit import By
from app.db.idempotency import Answer, together
from app.db.pages import bounded
from app.db.register import After
from app.db.statements import Narrowing, effect, many, one
from app.db.tables import eligibility_checks, eligibility_overrides
from app.db.wall import narrowed, opened
from app.domain.eligibility import Outcome
from app.domain.events import Role


@dataclass(frozen=True, slots=True)
class Check:
    """A decision that was stored; `ticket_attempt` marks the ticket that was refused by it."""

    client_id: UUID
    id: UUID
    contact_id: UUID | None
    outcome: Outcome
    policy_version: int
    as_of: datetime
    created_at: datetime
    created_by_role: Role
    created_by_id: UUID | None
    request: Mapping[str, Any]
    decision: Mapping[str, Any]
    ticket_attempt: bool


@dataclass(frozen=True, slots=True)
class Override:
    """That a lead lets a refused request in all the same, and why."""

    client_id: UUID
    check_id: UUID
    reason: str
    overridden_by: UUID
    overridden_at: datetime


@dataclass(frozen=True, slots=True)
class Found(Check):
    """A stored decision, with its override where there is one."""

    override_reason: str | None
    overridden_by: UUID | None
    overridden_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scope(Narrowing):
    """Whose decisions are looked at; `asked_by` are the roles whose questions may be seen, besides tickets refused."""

    client_id: UUID | None = None
    contact_id: UUID | None = None
    asked_by: Sequence[str] | None = None


def _scoped(query: Select[Any], scope: Scope) -> Select[Any]:
    table = eligibility_checks.c
    query = narrowed(query, scope.client_id, table.client_id)
    if scope.contact_id is not None:
        query = query.where(table.contact_id == scope.contact_id)
    if scope.asked_by is not None:
        query = query.where(or_(table.ticket_attempt, table.created_by_role == func.any(scope.asked_by)))
    return query


@effect
def add(check: Check, answer: Answer | None) -> ClauseElement:
    """Store a decision, and the answer with it."""
    values = {column.name: getattr(check, column.name) for column in eligibility_checks.c}
    source = select(*values.values()).where(opened(check.client_id))
    added = insert(eligibility_checks).from_select(list(values), source).returning(eligibility_checks.c.id)
    return together(added.cte("added"), answer)


@effect
def override(entry: Override, answer: Answer | None, by: By) -> ClauseElement:
    """Store an override, and the answer with it.

    Raises:
        ConstraintError: the decision was overridden already.
    """
    values = {column.name: getattr(entry, column.name) for column in eligibility_overrides.c}
    added = insert(eligibility_overrides).values(**values).returning(eligibility_overrides.c.check_id)
    return together(added.cte("added"), answer, by)


def _found() -> Select[Any]:
    check, own = eligibility_checks.c, eligibility_overrides.c
    joined = and_(own.client_id == check.client_id, own.check_id == check.id)
    columns = (*check, own.reason.label("override_reason"), own.overridden_by, own.overridden_at)
    return select(*columns).outerjoin_from(eligibility_checks, eligibility_overrides, joined)


@one(Found)
def get(id: UUID, scope: Scope) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a stored decision among those in scope."""
    return _scoped(_found().where(eligibility_checks.c.id == id), scope)


@many(Found)
def page(scope: Scope, outcome: str | None, after: After | None, most: int) -> ClauseElement:
    """List stored decisions, the newest first, as many as fit on a page."""
    table = eligibility_checks.c
    newest = (table.created_at.desc(), table.id.desc())
    query = _scoped(_found().order_by(*newest).limit(most), scope)
    if outcome is not None:
        query = query.where(table.outcome == outcome)
    if after is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(after.created_at, after.id))
    return bounded(query, "request", *newest)
