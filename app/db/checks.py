"""Eligibility checks as they were decided, with all that was asked: refused tickets among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, Select, func, insert, or_, select, tuple_

from app.db.idempotency import Answer, together
from app.db.register import After
from app.db.statements import Narrowing, effect, many, one
from app.db.tables import eligibility_checks
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
class Scope(Narrowing):
    """Whose decisions are looked at; `asked_by` are the roles whose questions may be seen, besides tickets refused."""

    client_id: UUID | None = None
    contact_id: UUID | None = None
    asked_by: Sequence[str] | None = None


def _scoped(query: Select[Any], scope: Scope) -> Select[Any]:
    table = eligibility_checks.c
    if scope.client_id is not None:
        query = query.where(table.client_id == scope.client_id)
    if scope.contact_id is not None:
        query = query.where(table.contact_id == scope.contact_id)
    if scope.asked_by is not None:
        query = query.where(or_(table.ticket_attempt, table.created_by_role == func.any(scope.asked_by)))
    return query


@effect
def add(check: Check, answer: Answer | None) -> ClauseElement:
    """Store a decision, and the answer with it."""
    values = {column.name: getattr(check, column.name) for column in eligibility_checks.c}
    return together(insert(eligibility_checks).values(**values).returning(eligibility_checks.c.id).cte("added"), answer)


@one(Check)
def get(id: UUID, scope: Scope) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a stored decision among those in scope."""
    return _scoped(select(*eligibility_checks.c).where(eligibility_checks.c.id == id), scope)


@many(Check)
def page(scope: Scope, outcome: str | None, after: After | None, most: int) -> ClauseElement:
    """List stored decisions, the newest first."""
    table = eligibility_checks.c
    query = _scoped(select(*table).order_by(table.created_at.desc(), table.id.desc()).limit(most), scope)
    if outcome is not None:
        query = query.where(table.outcome == outcome)
    if after is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(after.created_at, after.id))
    return query
