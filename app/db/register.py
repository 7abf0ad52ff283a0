"""Registers: the nouns that other systems know by a name of their own, all read and written alike."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ClauseElement, Column, Select, Table, and_, insert, literal_column, select, tuple_, update

from app.db.audit import By
from app.db.idempotency import Answer, together
from app.db.statements import Statement, first
from app.db.wall import narrowed, within

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class After:
    """Where the page before ended, in a list that begins with the newest."""

    created_at: datetime
    id: UUID


class Register(Generic[Row]):
    """The statements of one table whose columns are the fields of a dataclass, in the same order.

    `owner` is the column that says whose a row is, None where it is no client's; `named` the one that others
    know a row by.
    """

    def __init__(self, table: Table, row: type[Row], *, owner: Column[Any] | None, named: Column[Any]) -> None:
        self.table, self.owner, self.named = table, owner, named
        entry = {"entry": row}
        self.get: Statement[[UUID, UUID | None], Row | None] = Statement(self._get, first, row)
        self.by_name: Statement[[str, UUID | None], Row | None] = Statement(self._by_name, first, row)
        self.page: Statement[[UUID | None, After | None, int], list[Row]] = Statement(self._page, list, row)
        self.add: Statement[[Row, Answer | None, By], bool] = Statement(self._add, bool, None, entry)
        self.save: Statement[[Row, Answer | None, By], bool] = Statement(self._save, bool, None, entry)

    def _get(self, id: UUID, owner: UUID | None) -> ClauseElement:  # noqa: A002  # the column's name
        """Find a row by its id, among those of one owner where one is given."""
        return self._of(owner, select(*self.table.c).where(self.table.c.id == id))

    def _by_name(self, name: str, owner: UUID | None) -> ClauseElement:
        """Find a row by the name that others know it by, among those of one owner where one is given."""
        return self._of(owner, select(*self.table.c).where(self.named == name))

    def _page(self, owner: UUID | None, after: After | None, most: int) -> ClauseElement:
        """List the newest first, after the row at which the page before ended."""
        key = (self.table.c.created_at, self.table.c.id)
        query = self._of(owner, select(*self.table.c).order_by(*(column.desc() for column in key)).limit(most))
        if after is not None:
            query = query.where(tuple_(*key) < tuple_(after.created_at, after.id))
        return query

    def _add(self, entry: Row, answer: Answer | None, by: By) -> ClauseElement:
        """Store a new row, and the answer with it.

        Raises:
            ConstraintError: the name is taken, or a rule of the schema is broken.
        """
        added = insert(self.table).values(self._values(entry)).returning(self.table.c.id)
        return together(added.cte("added"), answer, by)

    def _save(self, entry: Row, answer: Answer | None, by: By) -> ClauseElement:
        """Store the next version of a row, and the answer with it; no effect where the one before is not stored."""
        values = self._values(entry)
        before = values["version"] - literal_column("1")
        same = and_(self.table.c.id == values["id"], self.table.c.version == before)
        if self.owner is not None:
            same = and_(within(values[self.owner.name], self.owner), same)
        saved = update(self.table).where(same).values(values).returning(self.table.c.id)
        return together(saved.cte("saved"), answer, by)

    def _of(self, owner: UUID | None, query: Select[Any]) -> Select[Any]:
        return query if self.owner is None else narrowed(query, owner, self.owner)

    def _values(self, entry: Row) -> dict[str, Any]:
        return {column.name: getattr(entry, column.name) for column in self.table.c}
