"""Policy versions and calendars as they are kept, and the terms that something is judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, and_, func, insert, literal_column, select, tuple_

from app.db.idempotency import Answer, together
from app.db.register import After
from app.db.statements import Connection, effect, many, one
from app.db.tables import calendar_revisions, calendars, policy_versions
from app.domain import policy
from app.domain.calendar import BusinessCalendar
from app.domain.errors import NoPolicyInForceError
from app.domain.hours import HoursReader
from app.domain.policy import PolicyVersion, Terms


@dataclass(frozen=True, slots=True)
class Version:
    """A published policy version with the document it was read from."""

    number: int
    effective_from: datetime
    calendar_id: UUID
    document: Mapping[str, Any]
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """A calendar with the exceptions of its latest revision."""

    id: UUID
    name: str
    timezone: str
    weekly_hours: Mapping[str, Any]
    created_at: datetime
    revision: int
    exceptions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Revision:
    """The exceptions of a calendar from one change to the next."""

    calendar_id: UUID
    revision: int
    changed_at: datetime
    exceptions: Sequence[Mapping[str, Any]]


@many(Version)
def versions() -> ClauseElement:
    """List all policy versions, the first to take effect first."""
    return select(*policy_versions.c).order_by(policy_versions.c.effective_from)


@effect
def publish(version: Version) -> ClauseElement:
    """Store a policy version; without effect where its number is taken."""
    values = {column.name: getattr(version, column.name) for column in policy_versions.c}
    # Through an INSERT of a SELECT, as the number may be there already and that is no error.
    source = select(*values.values()).where(
        ~select(policy_versions.c.number).where(policy_versions.c.number == version.number).exists()
    )
    return insert(policy_versions).from_select(list(values), source).returning(policy_versions.c.number)


def _latest() -> Any:  # noqa: ANN401  # a query with these columns
    """Join each calendar with its latest revision."""
    newest = (
        select(func.max(calendar_revisions.c.revision))
        .where(calendar_revisions.c.calendar_id == calendars.c.id)
        .correlate(calendars)
        .scalar_subquery()
    )
    joined = and_(calendar_revisions.c.calendar_id == calendars.c.id, calendar_revisions.c.revision == newest)
    columns = (*calendars.c, calendar_revisions.c.revision, calendar_revisions.c.exceptions)
    return select(*columns).join_from(calendars, calendar_revisions, joined)


@one(Calendar)
def calendar(id: UUID) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a calendar."""
    return _latest().where(calendars.c.id == id)  # type: ignore[no-any-return]  # a query


@one(Calendar)
def calendar_named(name: str) -> ClauseElement:
    """Find a calendar by its name."""
    return _latest().where(calendars.c.name == name)  # type: ignore[no-any-return]  # a query


@many(Calendar)
def page(after: After | None, most: int) -> ClauseElement:
    """List calendars, the newest first."""
    query = _latest().order_by(calendars.c.created_at.desc(), calendars.c.id.desc()).limit(most)
    if after is not None:
        query = query.where(tuple_(calendars.c.created_at, calendars.c.id) < tuple_(after.created_at, after.id))
    return query  # type: ignore[no-any-return]  # a query


@many(Revision)
def revisions(calendar_id: UUID) -> ClauseElement:
    """List the revisions of a calendar."""
    table = calendar_revisions
    return select(*table.c).where(table.c.calendar_id == calendar_id).order_by(table.c.revision)


@effect
def add_calendar(calendar: Calendar, answer: Answer | None) -> ClauseElement:
    """Store a new calendar with its first revision.

    Raises:
        ConstraintError: the name is taken.
    """
    values = {column.name: getattr(calendar, column.name) for column in calendars.c}
    added = insert(calendars).values(**values).returning(calendars.c.id, calendars.c.created_at).cte("added")
    given: list[Any] = [added.c.id, calendar.revision, added.c.created_at, calendar.exceptions]
    source = select(*given)
    columns = [column.name for column in calendar_revisions.c]
    first = insert(calendar_revisions).from_select(columns, source).returning(literal_column("1")).cte("first")
    return together(added, answer).add_cte(first)


@effect
def add_revision(revision: Revision) -> ClauseElement:
    """Store the next revision of a calendar.

    Raises:
        ConstraintError: somebody else has added one with its number.
    """
    values = {column.name: getattr(revision, column.name) for column in calendar_revisions.c}
    return insert(calendar_revisions).values(**values).returning(literal_column("1"))


class Book:
    """All terms there are, kept in memory: what is published never changes, so it is read once.

    A version or revision that isn't known yet makes the book read again.
    """

    def __init__(self, via: Connection) -> None:
        self.via = via
        self.policies: dict[int, PolicyVersion] = {}
        self.calendars: dict[int, UUID] = {}
        self.exceptions: dict[UUID, dict[int, Revision]] = {}
        self.terms: dict[tuple[int, int], Terms] = {}

    async def in_force(self, at: datetime) -> Terms:
        """Return the version in force at an instant, with the latest revision of its calendar.

        Raises:
            NoPolicyInForceError: the instant lies before the first version.
        """
        found = self._in_force(at)
        if found is None:
            await self.read()
            found = self._in_force(at)
        if found is None:
            raise NoPolicyInForceError("no policy version is in force at this instant; ask about a later one")
        return await self.of(found.number, max(self.exceptions[self.calendars[found.number]]))

    def _in_force(self, at: datetime) -> PolicyVersion | None:
        begun = [version for version in self.policies.values() if version.effective_from <= at]
        return max(begun, key=lambda version: version.effective_from, default=None)

    async def of(self, number: int, revision: int) -> Terms:
        """Return a policy version with its calendar as it is now, which is at least at a revision."""
        if revision not in self.exceptions.get(self.calendars.get(number, UUID(int=0)), {}):
            await self.read()
        latest = max(self.exceptions[self.calendars[number]])
        if (number, latest) not in self.terms:
            self.terms[number, latest] = self._terms(number, latest)
        return self.terms[number, latest]

    def _terms(self, number: int, latest: int) -> Terms:
        version, entries = self.policies[number], self.exceptions[self.calendars[number]]
        calendars = {revision: _calendar_of(version, entry.exceptions) for revision, entry in entries.items()}
        return Terms(version, calendars[latest], latest, entries[latest].changed_at, calendars)

    async def read(self) -> None:
        """Read everything anew, and only then put it in place: others may be looking meanwhile."""
        known = await versions(self.via)
        found = {version.calendar_id: await revisions(self.via, version.calendar_id) for version in known}
        self.exceptions = {name: {entry.revision: entry for entry in entries} for name, entries in found.items()}
        self.calendars = {version.number: version.calendar_id for version in known}
        self.policies = {version.number: policy.parse(version.document) for version in known}


def _calendar_of(version: PolicyVersion, exceptions: Sequence[Mapping[str, Any]]) -> BusinessCalendar:
    reader = HoursReader()
    found = reader.exceptions(exceptions, "/exceptions")
    reader.finish()
    return BusinessCalendar(version.timezone, version.weekly, found)
