"""Tickets and their clock cycles: rows that are the fold of events, written together with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    CTE,
    ClauseElement,
    Column,
    ColumnElement,
    Integer,
    Select,
    and_,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from app.db.idempotency import Answer, together
from app.db.register import After
from app.db.statements import Connection, Narrowing, answered, effect, many, one
from app.db.tables import Shaped, calendar_revisions, clock_cycles, events, policy_versions, tickets
from app.db.wall import narrowed, opened, within
from app.domain import clocks
from app.domain.clocks import Cycle
from app.domain.events import Event, Json, read_instant, rfc3339
from app.domain.ticket import Details, Feedback, Ticket

Kept: TypeAlias = Sequence[Mapping[str, Any]]
"""Rows of another table that are written with a ticket, as JSON objects with its column names."""

MUTABLE: Final = (
    "subject",
    "details",
    "outage_statement",
    "requested_priority",
    "priority",
    "priority_source",
    "complexity",
    "level",
    "status",
    "emergency",
    "last_event_at",
    "acknowledged_at",
    "tags",
    "assignee_id",
    "assignee_level",
    "classified_at",
    "late_reclassification",
    "escalation_requested_at",
    "waits",
    "reminded_at",
    "resolution",
    "resolved_at",
    "closed_at",
    "disputed",
    "feedback",
    "rules_applied",
    "last_number",
    "version",
)
"""The columns that acts change; everything else of a ticket stays as it was opened."""


CYCLE_MUTABLE: Final = (
    "kind",
    "clause",
    "target_seconds",
    "base",
    "warn_at",
    "warn_base",
    "calendar_revision",
    "due_at",
    "pauses",
    "warned",
    "detected_at",
    "ended_at",
    "end_reason",
)


@dataclass(frozen=True, slots=True)
class Scope(Narrowing):
    """Whose tickets are looked at: everybody's, one client's, or one contact's."""

    client_id: UUID | None = None
    contact_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Filters(Narrowing):
    """What narrows a page of tickets; None narrows nothing."""

    status: Sequence[str] | None = None
    priority: Sequence[str] | None = None
    complexity: Sequence[str] | None = None
    channel: Sequence[str] | None = None
    level: int | None = None
    client_id: UUID | None = None
    assignee_id: UUID | None = None
    emergency: bool | None = None
    broken: bool | None = None
    due_before: datetime | None = None
    updated_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A ticket as a page shows it: its words are as they are stored, as nothing is decided by them."""

    id: UUID
    client_id: UUID
    contact_id: UUID
    ref: str
    channel: str
    category: str
    subject: str
    requested_priority: str
    priority: str
    priority_source: str
    complexity: str
    level: int
    assignee_id: UUID | None
    status: str
    emergency: bool
    policy_version: int
    received_at: datetime
    created_at: datetime
    last_event_at: datetime
    version: int
    next_clock: str | None
    next_due_at: datetime | None
    broken: bool


@dataclass(frozen=True, slots=True)
class Story:
    """What is written with a ticket: its cycles that changed, what happened, when time acts next.

    `revision` is that of the calendar by which it was decided; where there is a newer one, nothing is written.
    """

    cycles: Kept
    happened: Kept
    next_at: datetime | None
    revision: int


def story(
    stored: Ticket | None, ticket: Ticket, happened: Sequence[Event], next_at: datetime | None, revision: int
) -> Story:
    """Return what goes with the ticket that these events led to: of its cycles those that aren't stored like that."""
    known = stored.cycles if stored else ()
    cycles = [clocks.to_json(cycle) for cycle in ticket.cycles if cycle not in known]
    return Story(cycles, [_event(event) for event in happened], next_at, revision)


def _event(event: Event) -> dict[str, Json]:
    return {
        "number": event.number,
        "version": event.version,
        "kind": event.kind,
        "at": rfc3339(event.at),
        "actor_role": event.actor.role,
        "actor_id": str(event.actor.id) if event.actor.id else None,
        "actor_client_id": str(event.actor.client_id) if event.actor.client_id else None,
        "data": event.data,
        "internal": event.internal,
        "audience": event.audience,
    }


def _read_cycles(found: list[dict[str, Any]]) -> tuple[Cycle, ...]:
    return tuple(clocks.from_json(cycle) for cycle in found)


def _read_feedback(found: dict[str, Any]) -> Feedback:
    instants = {name: read_instant(found[name]) for name in ("given_at", "resolved_at")}
    return Feedback(**{**found, **instants})


def _of_cycle(columns: Any) -> list[Column[Any]]:  # noqa: ANN401  # a collection of columns
    return [column for column in columns if column.name not in {"client_id", "ticket_id"}]


def _own_cycles(query: Select[Any], client_id: UUID | None) -> Select[Any]:
    """Keep a query to the cycles of the ticket around it."""
    table = clock_cycles.c
    own = and_(table.client_id == tickets.c.client_id, table.ticket_id == tickets.c.id)
    return narrowed(query.where(own), client_id, table.client_id)


def _cycles(client_id: UUID | None) -> ClauseElement:
    """Return a ticket's cycles as one value, in the order in which they started."""
    table = clock_cycles.c
    parts: list[Any] = []
    for column in _of_cycle(table):
        parts += [literal_column(f"'{column.name}'"), column]
    document = func.jsonb_build_object(*parts)
    ordered = func.jsonb_agg(aggregate_order_by(document, table.started_at, table.clock, table.cycle))
    found = _own_cycles(select(func.coalesce(ordered, literal_column("'[]'::jsonb"))), client_id)
    return type_coerce(found.correlate(tickets).scalar_subquery(), Shaped(_read_cycles))


def _columns(client_id: UUID | None) -> list[Any]:
    """Return what a ticket is read from, in the order of its fields."""
    special: dict[str, Any] = {
        "details": type_coerce(tickets.c.details, Shaped(lambda found: Details(**found))).label("details"),
        "warnings": type_coerce(tickets.c.warnings, Shaped(tuple)).label("warnings"),
        "tags": type_coerce(tickets.c.tags, Shaped(tuple)).label("tags"),
        "waits": type_coerce(tickets.c.waits, Shaped(clocks.pauses_from_json)).label("waits"),
        "feedback": type_coerce(tickets.c.feedback, Shaped(_read_feedback)).label("feedback"),
        "rules_applied": type_coerce(tickets.c.rules_applied, Shaped(tuple)).label("rules_applied"),
        "cycles": _cycles(client_id).label("cycles"),  # type: ignore[attr-defined]  # a coerced subquery has a label
    }
    return [special.get(field.name, tickets.c.get(field.name)) for field in fields(Ticket)]


def _scoped(query: Select[Any], scope: Scope) -> Select[Any]:
    query = narrowed(query, scope.client_id, tickets.c.client_id)
    if scope.contact_id is not None:
        query = query.where(tickets.c.contact_id == scope.contact_id)
    return query


@one(Ticket)
def get(id: UUID | None, ref: str | None, scope: Scope) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a ticket by its id or its ref, among those in scope."""
    query = _scoped(select(*_columns(scope.client_id)), scope)
    if id is not None:
        return query.where(tickets.c.id == id)
    return query.where(tickets.c.ref == ref)


@many(Ticket)
def whole(ids: Sequence[UUID], scope: Scope) -> ClauseElement:
    """Find the tickets of a page by their ids, whole, among those in scope."""
    return _scoped(select(*_columns(scope.client_id)), scope).where(tickets.c.id == func.any(ids))


def _next_due(now: datetime, client_id: UUID | None) -> Any:  # noqa: ANN401  # a lateral subquery with two columns
    """Return the running promise of a ticket that falls due next."""
    table = clock_cycles.c
    query = _own_cycles(select(table.clock, table.due_at), client_id)
    query = query.where(table.ended_at.is_(None), table.due_at >= now)
    return query.order_by(table.due_at).limit(literal_column("1")).lateral("next_due")


def _broken(now: datetime, client_id: UUID | None) -> Any:  # noqa: ANN401  # a condition
    """Tell whether a promise of a ticket is broken by now.

    Not by EXISTS, which may be planned as one reading of all promises of everybody.
    """
    table = clock_cycles.c
    ended = func.least(func.coalesce(table.ended_at, now), now)
    found = _own_cycles(select(literal_column("1")), client_id).where(table.due_at < ended)
    return found.correlate(tickets).limit(literal_column("1")).scalar_subquery().is_not(None)


def _filtered(query: Select[Any], filters: Filters, now: datetime, client_id: UUID | None) -> Select[Any]:
    for name in ("status", "priority", "complexity", "channel"):
        if (values := getattr(filters, name)) is not None:
            query = query.where(tickets.c[name] == func.any(values))
    for name in ("level", "client_id", "assignee_id", "emergency"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(tickets.c[name] == value)
    if filters.updated_since is not None:
        query = query.where(tickets.c.last_event_at >= filters.updated_since)
    if filters.broken is not None:
        query = query.where(_broken(now, client_id) == filters.broken)
    if filters.due_before is not None:
        table = clock_cycles.c
        due = _own_cycles(select(literal_column("1")), client_id).where(
            table.ended_at.is_(None), table.due_at >= now, table.due_at < filters.due_before
        )
        query = query.where(due.correlate(tickets).exists())
    return query


@many(Item)
def page(filters: Filters, scope: Scope, after: After | None, most: int, now: datetime) -> ClauseElement:
    """List tickets, the newest first, after the one at which the page before ended."""
    following = _next_due(now, scope.client_id)
    special: dict[str, Any] = {
        "next_clock": following.c.clock.label("next_clock"),
        "next_due_at": following.c.due_at.label("next_due_at"),
        "broken": _broken(now, scope.client_id).label("broken"),
    }
    columns = [special[field.name] if field.name in special else tickets.c[field.name] for field in fields(Item)]
    key = (tickets.c.created_at, tickets.c.id)
    query = select(*columns).outerjoin_from(tickets, following, literal_column("true"))
    query = _filtered(_scoped(query, scope), filters, now, scope.client_id)
    query = query.order_by(*(column.desc() for column in key)).limit(most)
    if after is not None:
        query = query.where(tuple_(*key) < tuple_(after.created_at, after.id))
    return query


@many(Ticket)
def after(id: UUID, most: int) -> ClauseElement:  # noqa: A002  # the column's name
    """List tickets in the order of their ids, after one of them."""
    return select(*_columns(None)).where(tickets.c.id > id).order_by(tickets.c.id).limit(most)


@many(Ticket)
def lock_due(now: datetime, most: int, without: Sequence[UUID]) -> ClauseElement:
    """Lock tickets for which time alone brings something, leaving those that another worker has."""
    due = and_(tickets.c.next_at <= now, tickets.c.next_at.is_not(None), tickets.c.id != func.all(without))
    query = select(*_columns(None)).where(due)
    return query.order_by(tickets.c.next_at).limit(most).with_for_update(skip_locked=True, of=tickets)


async def announce_writes(via: Connection) -> None:
    """Say that tickets will be written before any of them is locked: who holds back writes is waited for first."""
    await answered(via.fetch("LOCK TABLE tickets IN ROW EXCLUSIVE MODE"))


async def hold_back_writes(via: Connection) -> None:
    """Let nobody else write tickets until the transaction ends; those under way are waited for, briefly."""
    await answered(via.fetch("LOCK TABLE tickets IN SHARE ROW EXCLUSIVE MODE"))


@effect
def look_at_all(calendar_id: UUID, now: datetime) -> ClauseElement:
    """Have the worker look at every ticket that isn't closed and is counted by a calendar."""
    ours = select(policy_versions.c.number).where(policy_versions.c.calendar_id == calendar_id)
    open_ones = and_(tickets.c.status != literal_column("'closed'"), tickets.c.policy_version.in_(ours))
    return update(tickets).where(open_ones).values(next_at=now).returning(literal_column("1"))


@effect
def look_again(client_id: UUID, id: UUID, version: int, next_at: datetime | None) -> ClauseElement:  # noqa: A002  # the column's name
    """Note when time brings something next for a ticket for which it has brought nothing."""
    same = and_(within(client_id, tickets.c.client_id), tickets.c.id == id, tickets.c.version == version)
    return update(tickets).where(same).values(next_at=next_at).returning(literal_column("1"))


def _key() -> tuple[Column[Any], Column[Any]]:
    return tickets.c.client_id, tickets.c.id


def _with_story(changed: CTE, story: Story, answer: Answer | None) -> Select[Any]:
    """Write cycles, events and the answer exactly where the ticket itself was written."""
    kept, logged = _kept_cycles(changed, story.cycles), _logged(changed, story.happened)
    return together(changed, answer).add_cte(kept, logged)


def _kept_cycles(changed: CTE, cycles: Kept) -> CTE:
    own = _of_cycle(clock_cycles.c)
    given = _records(cycles, own, "given")
    source = select(changed.c.client_id, changed.c.id, *given.c).select_from(changed, given)
    kept = upsert(clock_cycles).from_select(["client_id", "ticket_id", *(column.name for column in own)], source)
    fresh = {name: kept.excluded[name] for name in CYCLE_MUTABLE}
    return kept.on_conflict_do_update(index_elements=list(clock_cycles.primary_key.columns), set_=fresh).cte("cycles")


def _logged(changed: CTE, happened: Kept) -> CTE:
    own = [column for column in events.c if column.name not in {"position", "transaction", "client_id", "ticket_id"}]
    given = _records(happened, own, "happened")
    source = select(changed.c.client_id, changed.c.id, *given.c).select_from(changed, given).order_by(given.c.number)
    names = ["client_id", "ticket_id", *(column.name for column in own)]
    return insert(events).from_select(names, source).cte("logged")


def _records(rows: Kept, columns: Sequence[Column[Any]], name: str) -> Any:  # noqa: ANN401  # an alias with these columns
    """Return a list of JSON objects as rows with the columns of a table."""
    typed = [Column(column.name, column.type) for column in columns]
    return func.jsonb_to_recordset(rows).table_valued(*typed).render_derived(name=name, with_types=True)


def _recounted(ticket: Ticket, story: Story) -> ColumnElement[bool]:
    """Tell whether the calendar has a newer revision than the one by which a ticket was decided."""
    revisions, versions = calendar_revisions.c, policy_versions.c
    newer = and_(versions.number == ticket.policy_version, revisions.revision > story.revision)
    joined = revisions.calendar_id == versions.calendar_id
    return select(literal_column("1")).join_from(calendar_revisions, policy_versions, joined).where(newer).exists()


def _in_force(ticket: Ticket) -> ColumnElement[bool]:
    """Tell whether the policy version by which a ticket was opened is the one in force when it was received."""
    table = policy_versions.c
    found: Select[Any] = (
        select(table.number)
        .where(table.effective_from <= ticket.received_at, table.taken_back_at.is_(None))
        .order_by(table.effective_from.desc())
        .limit(literal_column("1"))
    )
    return found.scalar_subquery() == ticket.policy_version


@effect
def add(ticket: Ticket, story: Story, answer: Answer | None) -> ClauseElement:
    """Store a new ticket with its story and the answer, all or nothing; no effect where the terms have changed.

    Raises:
        ConstraintError: the key of the answer is taken, or the eligibility check is used already.
    """
    values = {field.name: getattr(ticket, field.name) for field in fields(Ticket) if field.name != "cycles"}
    values |= {"next_at": story.next_at}
    source = select(*values.values()).where(opened(ticket.client_id), ~_recounted(ticket, story), _in_force(ticket))
    added = insert(tickets).from_select(list(values), source).returning(*_key()).cte("changed")
    return _with_story(added, story, answer)


@effect
def save(ticket: Ticket, story: Story, answer: Answer | None) -> ClauseElement:
    """Store the next version; no effect where the one before is no longer stored, or the calendar has changed."""
    before = ticket.version - literal_column("1", Integer)
    same = and_(
        within(ticket.client_id, tickets.c.client_id),
        tickets.c.id == ticket.id,
        tickets.c.version == before,
        ~_recounted(ticket, story),
    )
    values = {name: getattr(ticket, name) for name in MUTABLE}
    changed = update(tickets).where(same).values(**values, next_at=story.next_at).returning(*_key()).cte("changed")
    return _with_story(changed, story, answer)
