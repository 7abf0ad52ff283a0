"""Eligibility checks as they were decided, with all that was asked: refused tickets among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, insert, select, tuple_

from app.db.idempotency import Answer, together
from app.db.register import After
from app.db.statements import effect, many, one
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


@effect
def add(check: Check, answer: Answer | None) -> ClauseElement:
    """Store a decision, and the answer with it."""
    values = {column.name: getattr(check, column.name) for column in eligibility_checks.c}
    return together(insert(eligibility_checks).values(**values).returning(eligibility_checks.c.id).cte("added"), answer)


@one(Check)
def get(id: UUID, client_id: UUID | None, contact_id: UUID | None) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a stored decision, in the scope of a client or a contact where one is given."""
    table = eligibility_checks.c
    query = select(*table).where(table.id == id)
    if client_id is not None:
        query = query.where(table.client_id == client_id)
    return query if contact_id is None else query.where(table.contact_id == contact_id)


@many(Check)
def page(
    client_id: UUID | None, contact_id: UUID | None, outcome: str | None, after: After | None, most: int
) -> ClauseElement:
    """List stored decisions, the newest first."""
    table = eligibility_checks.c
    query = select(*table).order_by(table.created_at.desc(), table.id.desc()).limit(most)
    if client_id is not None:
        query = query.where(table.client_id == client_id)
    if contact_id is not None:
        query = query.where(table.contact_id == contact_id)
    if outcome is not None:
        query = query.where(table.outcome == outcome)
    if after is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(after.created_at, after.id))
    return query
