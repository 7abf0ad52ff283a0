"""Answers kept under the caller's key, written together with what the answer tells of."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ClauseElement, Select, and_, delete, insert, literal_column, select

from app.db.audit import By, signed
from app.db.statements import effect, one
from app.db.tables import idempotency_keys
from app.db.wall import narrowed, opened


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer under its key; `digest` is that of the request's body, `client_id` whose person was answered."""

    client_id: UUID | None
    principal: str
    operation: str
    key: str
    digest: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes
    created_at: datetime


def _columns(answer: Answer) -> dict[str, Any]:
    return {
        "client_id": answer.client_id,
        "principal": answer.principal,
        "operation": answer.operation,
        "key": answer.key,
        "digest": answer.digest,
        "status": answer.status,
        "headers": answer.headers,
        "body": answer.body,
        "created_at": answer.created_at,
    }


@one(Answer)
def get(client_id: UUID | None, principal: str, operation: str, key: str) -> ClauseElement:
    """Find the answer that was given under a key."""
    table = idempotency_keys.c
    query = select(*(table[field.name] for field in fields(Answer)))
    same = and_(table.principal == principal, table.operation == operation, table.key == key)
    return narrowed(query.where(same), client_id, table.client_id)


@effect
def keep(answer: Answer) -> ClauseElement:
    """Keep an answer that nothing else is written with."""
    columns = _columns(answer)
    source = select(*columns.values()).where(opened(answer.client_id))
    return insert(idempotency_keys).from_select(list(columns), source).returning(literal_column("1"))


@effect
def forget(before: datetime) -> ClauseElement:
    """Drop the answers kept before an instant."""
    return delete(idempotency_keys).where(idempotency_keys.c.created_at < before).returning(literal_column("1"))


def together(written: CTE, answer: Answer | None, by: By | None = None) -> Select[Any]:
    """Return a row for each one in `written`, say who it is by, and keep the answer if there is any."""
    done: Select[Any] = select(literal_column("1")).select_from(written)
    if by is not None:
        done = done.where(signed(by))
    if answer is None:
        return done
    columns = _columns(answer)
    source = select(*columns.values()).select_from(written)
    return done.add_cte(insert(idempotency_keys).from_select(list(columns), source).cte("kept"))
