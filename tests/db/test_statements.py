"""The way to the database: what would go wrong when a statement runs is refused when it is declared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import ClauseElement, Column, Integer, MetaData, Table, and_, insert, select, text

from app.db import statements
from app.db.statements import ConstraintError, DatabaseUnavailableError, Narrowing, StatementError, effect, many, one
from app.db.tables import clients, tickets
from app.domain.policy import Priority


@dataclass(frozen=True, slots=True)
class Pair:
    id: UUID
    priority: Priority


def test_a_list_that_expands_is_refused() -> None:
    @many(Pair)
    def wrong(ids: Sequence[str]) -> ClauseElement:
        return select(tickets.c.id, tickets.c.priority).where(tickets.c.ref.in_(["a", "b"]))

    with pytest.raises(StatementError, match="expands"):
        wrong.variant(frozenset())


def test_a_value_pasted_into_text_is_refused() -> None:
    @many(Pair)
    def wrong(ref: str) -> ClauseElement:
        return select(tickets.c.id, tickets.c.priority).where(text(f"ref = '{ref}'"))

    with pytest.raises(StatementError, match="must not become part"):
        wrong.variant(frozenset())


def test_a_default_made_in_python_is_refused() -> None:
    table = Table("defaults", MetaData(), Column("id", Integer), Column("other", Integer, default=lambda: 1))

    @effect
    def wrong(id: int) -> ClauseElement:  # noqa: A002
        return insert(table).values(id=id).returning(table.c.id)

    with pytest.raises(StatementError, match="default"):
        wrong.variant(frozenset())


def test_columns_that_are_not_the_rows_fields_are_refused() -> None:
    @one(Pair)
    def wrong(id: UUID) -> ClauseElement:  # noqa: A002
        return select(tickets.c.priority, tickets.c.id).where(tickets.c.id == id)

    with pytest.raises(StatementError, match="takes"):
        wrong.variant(frozenset())


def test_what_is_absent_leaves_no_trace_in_the_statement() -> None:
    @dataclass(frozen=True, slots=True)
    class Only(Narrowing):
        ref: str | None = None
        since: datetime | None = None

    @many(Pair)
    def found(only: Only, most: int | None) -> ClauseElement:
        query = select(tickets.c.id, tickets.c.priority)
        if only.ref is not None:
            query = query.where(tickets.c.ref == only.ref)
        if only.since is not None:
            query = query.where(tickets.c.created_at > only.since)
        return query if most is None else query.limit(most)

    assert "WHERE" not in found.variant(frozenset({"only.ref", "only.since", "most"})).text
    assert "LIMIT" in found.variant(frozenset()).text
    assert "ref" in found.variant(frozenset({"only.since", "most"})).text
    assert "created_at" not in found.variant(frozenset({"only.since", "most"})).text


async def test_a_constraint_says_its_name_and_an_unreachable_database_says_so(app_url: str) -> None:
    connection = await asyncpg.connect(app_url.replace("+asyncpg", "", 1), server_settings={"role": "kawan_runtime"})

    @effect
    def add(id: UUID, name: str, at: datetime) -> ClauseElement:  # noqa: A002
        values: dict[str, Any] = {"id": id, "external_id": name, "name": name}
        return insert(clients).values(**values, created_at=at, updated_at=at, version=1).returning(clients.c.id)

    @one(Pair)
    def find(id: UUID) -> ClauseElement:  # noqa: A002
        return select(tickets.c.id, tickets.c.priority).where(and_(tickets.c.id == id))

    now, some = datetime.fromisoformat("2026-01-05T10:00:00+08:00"), UUID(int=7)
    with pytest.raises(ConstraintError) as caught:
        await add(connection, some, "", now)
    assert caught.value.name in {"ck_clients_name_length", "ck_clients_external_id_length"}
    assert await find(connection, some) is None
    await connection.close()
    with pytest.raises(DatabaseUnavailableError):
        await find(connection, some)


def test_instants_ids_and_amounts_are_kept_as_json() -> None:
    value = {
        "at": datetime.fromisoformat("2026-01-05T10:00:00+08:00"),
        "id": UUID(int=1),
        "pair": Pair(UUID(int=2), Priority.LOW),
    }
    assert statements.decode(statements.encode(value)) == {
        "at": "2026-01-05T10:00:00+08:00",
        "id": str(UUID(int=1)),
        "pair": {"id": str(UUID(int=2)), "priority": "low"},
    }
    with pytest.raises(TypeError):
        statements.encode({"what": object()})


async def test_an_argument_left_out_is_no_absent_one() -> None:
    @many(Pair)
    def found(ref: str | None, most: int) -> ClauseElement:
        return select(tickets.c.id, tickets.c.priority).where(tickets.c.ref == ref).limit(most)

    arguments: list[Any] = [("KE-1",), ("KE-1", 2, 3)]
    for some in arguments:
        with pytest.raises(TypeError, match="each once"):
            await found(None, *some)  # type: ignore[arg-type]  # what the type checker forbids is what is tried
