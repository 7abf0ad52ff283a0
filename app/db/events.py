"""The log of what happened to tickets: written only together with them, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, Select, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from app.db.pages import bounded
from app.db.statements import Narrowing, many
from app.db.tables import Shaped, events
from app.db.wall import within
from app.domain.events import Actor, Event, Role


def _read_actor(found: dict[str, Any]) -> Actor:
    actor_id, client_id = (found[name] and UUID(found[name]) for name in ("id", "client_id"))
    return Actor(Role(found["role"]), actor_id, client_id)


@dataclass(frozen=True, slots=True)
class Selection(Narrowing):
    """Which events of a ticket are listed; None narrows nothing."""

    kinds: Sequence[str] | None = None
    internal: bool | None = None
    until: datetime | None = None


def _of_ticket(client_id: UUID, ticket_id: UUID, data: Any) -> Select[Any]:  # noqa: ANN401  # a column
    table = events.c
    actor = func.jsonb_build_object(
        literal_column("'role'"),
        table.actor_role,
        literal_column("'id'"),
        table.actor_id,
        literal_column("'client_id'"),
        table.actor_client_id,
    )
    return (
        select(
            table.kind,
            table.at,
            type_coerce(actor, Shaped(_read_actor)).label("actor"),
            data,
            table.internal,
            type_coerce(table.audience, Shaped(tuple)).label("audience"),
            table.number,
            table.version,
        )
        .where(within(client_id, table.client_id), table.ticket_id == ticket_id)
        .order_by(table.number)
    )


@many(Event)
def of_ticket(client_id: UUID, ticket_id: UUID, after: int, only: Selection, most: int) -> ClauseElement:
    """List a ticket's events after a number, in their order, as many as fit on a page."""
    table = events.c
    query = _of_ticket(client_id, ticket_id, table.data).where(table.number > after).limit(most)
    if only.until is not None:
        query = query.where(table.at <= only.until)
    if only.kinds is not None:
        query = query.where(table.kind == func.any(only.kinds))
    if only.internal is not None:
        query = query.where(table.internal == only.internal)
    return bounded(query, "data", table.number)


@many(Event)
def story(client_id: UUID, ticket_id: UUID, until: datetime | None) -> ClauseElement:
    """List all events of a ticket up to an instant as far as a fold needs them: without the words that were said."""
    wordless = events.c.data.op("-", return_type=JSONB())(literal_column("'text'")).label("data")
    query = _of_ticket(client_id, ticket_id, wordless)
    return query if until is None else query.where(events.c.at <= until)
