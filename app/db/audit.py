"""The audit as it is kept: who changes something says so in the statement, and the schema's triggers note it.

What is written is sealed afterwards, in the order of transactions: those below the oldest that still runs
are over, so nothing is ever added among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Integer,
    Label,
    ScalarSelect,
    Table,
    Text,
    cast,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from app.db.statements import Narrowing, Statement, effect, many, one, scalar
from app.db.tables import audit_checkpoints, audit_entries, events
from app.domain.events import Role

SETTING: Final = "app.by"
"""The setting in which the triggers of the schema find who changes something."""


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something, when, and by which request."""

    role: Role
    id: UUID | None
    at: datetime
    request_id: str | None = None


def signed(by: By) -> ColumnElement[bool]:
    """Say in a statement who it is by: a condition that always holds, gone with the transaction."""
    told: list[Any] = [
        literal_column("'role'"), by.role, literal_column("'id'"), by.id,
        literal_column("'at'"), by.at, literal_column("'request_id'"), by.request_id,
    ]  # fmt: skip
    said = cast(func.jsonb_build_object(*told), Text)
    gate = func.set_config(literal_column(f"'{SETTING}'"), said, literal_column("true"))
    return select(gate).scalar_subquery().is_not(None)


# ----------------------------------------------------------------------------------- entries


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: what was before, and what is after; by whom, or by which login alone."""

    position: int
    at: datetime
    subject: str
    subject_id: str
    client_id: UUID | None
    actor_role: Role | None
    actor_id: UUID | None
    request_id: str | None
    login: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Sought(Narrowing):
    """Which entries are listed; None narrows nothing."""

    subject: str | None = None
    subject_id: str | None = None
    client_id: UUID | None = None
    actor_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@many(Entry)
def page(sought: Sought, before: int | None, most: int) -> ClauseElement:
    """List entries, the newest first."""
    table = audit_entries.c
    columns = (column for column in audit_entries.c if column.name != "transaction")
    query = select(*columns).order_by(table.position.desc()).limit(most)
    for column, wanted in (
        (table.subject, sought.subject),
        (table.subject_id, sought.subject_id),
        (table.client_id, sought.client_id),
        (table.actor_id, sought.actor_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if sought.since is not None:
        query = query.where(table.at >= sought.since)
    if sought.until is not None:
        query = query.where(table.at < sought.until)
    return query if before is None else query.where(table.position < before)


# ------------------------------------------------------------------------------- checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A seal on everything that the transactions from `since` to before `until` wrote."""

    number: int
    since: int
    until: int
    events: int
    entries: int
    digest: str
    sealed_at: datetime
    key_id: str
    signature: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is sealed: its place, and all it says as JSON."""

    transaction: int
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Tail:
    """How many rows are not sealed yet, and how many of them say that they are of transactions still to come."""

    unsealed: int
    ahead: int


@scalar(int)
def horizon() -> ClauseElement:
    """Find the number below which every transaction is over."""
    return select(literal_column("transaction_number(pg_snapshot_xmin(pg_current_snapshot()))", BigInteger))


@one(Checkpoint)
def last() -> ClauseElement:
    """Find the last checkpoint."""
    return select(*audit_checkpoints.c).order_by(audit_checkpoints.c.number.desc()).limit(literal_column("1"))


@one(Checkpoint)
def checkpoint(number: int) -> ClauseElement:
    """Find a checkpoint."""
    return select(*audit_checkpoints.c).where(audit_checkpoints.c.number == number)


@many(Checkpoint)
def checkpoints(after: int, most: int) -> ClauseElement:
    """List checkpoints in their order, after a number."""
    table = audit_checkpoints.c
    return select(*audit_checkpoints.c).where(table.number > after).order_by(table.number).limit(most)


@effect
def add_checkpoint(checkpoint: Checkpoint) -> ClauseElement:
    """Store a checkpoint; without effect where its number is taken: then somebody else sealed the same."""
    values = {column.name: getattr(checkpoint, column.name) for column in audit_checkpoints.c}
    put = insert(audit_checkpoints).values(values).on_conflict_do_nothing()
    return put.returning(audit_checkpoints.c.number)


def _tail(table: Table, since: int | ColumnElement[int]) -> ScalarSelect[int]:
    """Count the rows of a table from a transaction on."""
    return select(func.count()).select_from(table).where(table.c.transaction >= since).scalar_subquery()


@one(Tail)
def tail(until: int) -> ClauseElement:
    """Count what is not sealed yet, from the end of the last checkpoint on."""
    newest: ColumnElement[int] = literal_column(
        "transaction_number(pg_snapshot_xmax(pg_current_snapshot()))", BigInteger
    )
    return select(
        (_tail(events, until) + _tail(audit_entries, until)).label("unsealed"),
        (_tail(events, newest) + _tail(audit_entries, newest)).label("ahead"),
    )


# What is sealed of a row, in this order: a column that is added later is no part of what was sealed before.
EVENT: Final = (
    *("client_id", "ticket_id", "number", "version", "kind", "at", "actor_role", "actor_id", "actor_client_id"),
    *("data", "internal", "audience"),
)
ENTRY: Final = (
    *("at", "subject", "subject_id", "client_id", "actor_role", "actor_id", "request_id", "login", "before", "after"),
)


def _text(table: Table, names: tuple[str, ...]) -> Label[str]:
    """Write a row as it is sealed."""
    return cast(func.jsonb_build_array(*(table.c[name] for name in names)), Text).label("text")


def _lines(table: Table, names: tuple[str, ...]) -> Statement[[int, int, int, int, int], list[Line]]:
    """Read the rows of a table as they are sealed: those from a transaction on and before another, after a place."""
    place = (table.c.transaction, table.c.position)

    def lines(since: int, until: int, transaction: int, position: int, most: int) -> ClauseElement:
        query = select(*place, _text(table, names)).where(table.c.transaction >= since, table.c.transaction < until)
        return query.where(tuple_(*place) > tuple_(transaction, position)).order_by(*place).limit(most)

    return Statement(lines, list, Line)


event_lines = _lines(events, EVENT)
entry_lines = _lines(audit_entries, ENTRY)


@many(Line)
def early_lines(position: int, most: int) -> ClauseElement:
    """Read the events that were there before there were seals, after a place: the first checkpoint has them."""
    nothing = literal_column("0", Integer).label("transaction")
    query = select(nothing, events.c.position, _text(events, EVENT)).where(events.c.transaction.is_(None))
    return query.where(events.c.position > position).order_by(events.c.position).limit(most)
