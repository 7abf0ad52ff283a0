"""Policy versions and calendars as they are kept, and the terms that something is judged by."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, and_, func, insert, literal_column, select, tuple_, update

from app.db.audit import By, signed
from app.db.idempotency import Answer, together
from app.db.register import After
from app.db.statements import Connection, effect, many, one, scalar
from app.db.tables import calendar_revisions, calendars, policy_acknowledgements, policy_versions, terms_changes
from app.db.wall import narrowed, opened, within
from app.domain import policy, publishing
from app.domain.calendar import BusinessCalendar
from app.domain.errors import NoPolicyInForceError
from app.domain.hours import DateException, HoursReader
from app.domain.policy import PolicyVersion, Terms


@dataclass(frozen=True, slots=True)
class Version:
    """A published policy version with the document it was read from."""

    number: int
    effective_from: datetime
    calendar_id: UUID
    document: Mapping[str, Any]
    published_at: datetime
    taken_back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """That a client has reviewed a version, and which of their people said so."""

    client_id: UUID
    policy_version: int
    contact_id: UUID
    acknowledged_at: datetime


@dataclass(frozen=True, slots=True)
class AfterReview:
    """Where the page before ended, in a list of acknowledgements that begins with the newest."""

    at: datetime
    client_id: UUID
    policy_version: int


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
def publish(version: Version, by: By) -> ClauseElement:
    """Store a policy version; without effect where its number is taken.

    Raises:
        ConstraintError: another version takes effect at the same instant.
    """
    values = {column.name: getattr(version, column.name) for column in policy_versions.c}
    # Through an INSERT of a SELECT, as the number may be there already and that is no error.
    source = select(*values.values()).where(
        signed(by),
        ~select(policy_versions.c.number).where(policy_versions.c.number == version.number).exists(),
    )
    return insert(policy_versions).from_select(list(values), source).returning(policy_versions.c.number)


@effect
def take_back(number: int, at: datetime, by: By) -> ClauseElement:
    """Take a version back; without effect where that was done already."""
    its = and_(policy_versions.c.number == number, policy_versions.c.taken_back_at.is_(None))
    return update(policy_versions).where(signed(by), its).values(taken_back_at=at).returning(policy_versions.c.number)


@effect
def acknowledge(entry: Acknowledgement, answer: Answer | None, by: By) -> ClauseElement:
    """Note that a client has reviewed a version, and keep the answer.

    Raises:
        ConstraintError: they had already.
    """
    values = {column.name: getattr(entry, column.name) for column in policy_acknowledgements.c}
    source = select(*values.values()).where(opened(entry.client_id))
    added = insert(policy_acknowledgements).from_select(list(values), source)
    return together(added.returning(policy_acknowledgements.c.client_id).cte("added"), answer, by)


@one(Acknowledgement)
def acknowledgement(client_id: UUID, number: int) -> ClauseElement:
    """Find out whether a client has reviewed a version."""
    table = policy_acknowledgements.c
    return select(*table).where(within(client_id, table.client_id), table.policy_version == number)


@many(Acknowledgement)
def acknowledgements(client_id: UUID | None, number: int | None, after: AfterReview | None, most: int) -> ClauseElement:
    """List acknowledgements, the newest first."""
    table = policy_acknowledgements.c
    place = (table.acknowledged_at, table.client_id, table.policy_version)
    query = select(*table).order_by(*(column.desc() for column in place)).limit(most)
    query = narrowed(query, client_id, table.client_id)
    if number is not None:
        query = query.where(table.policy_version == number)
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(after.at, after.client_id, after.policy_version))
    return query


@scalar(int)
def changes() -> ClauseElement:
    """Count the changes of policy and calendars there have been."""
    return select(terms_changes.c.number)


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
def add_calendar(calendar: Calendar, answer: Answer | None, by: By) -> ClauseElement:
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
    return together(added, answer, by).add_cte(first)


@effect
def add_revision(revision: Revision, by: By) -> ClauseElement:
    """Store the next revision of a calendar.

    Raises:
        ConstraintError: somebody else has added one with its number.
    """
    values = {column.name: getattr(revision, column.name) for column in calendar_revisions.c}
    source = select(*values.values()).where(signed(by))
    return insert(calendar_revisions).from_select(list(values), source).returning(literal_column("1"))


class Book:
    """All terms there are, kept in memory, and read again when the count of their changes has gone on."""

    def __init__(self, via: Connection) -> None:
        self.via = via
        self.read_at = 0
        self.reading = asyncio.Lock()
        self.policies: dict[int, PolicyVersion] = {}
        self.live: list[PolicyVersion] = []
        self.calendars: dict[int, UUID] = {}
        self.exceptions: dict[UUID, dict[int, Revision]] = {}
        self.terms: dict[tuple[int, int], Terms] = {}

    async def in_force(self, at: datetime) -> Terms:
        """Return the version in force at an instant, with the latest revision of its calendar.

        Raises:
            NoPolicyInForceError: the instant lies before the first version.
        """
        if not self.live:
            await self.read()
        found = self._in_force(at)
        if found is None:
            raise NoPolicyInForceError("no policy version is in force at this instant; ask about a later one")
        return await self.of(found.number, max(self.exceptions[self.calendars[found.number]]))

    def _in_force(self, at: datetime) -> PolicyVersion | None:
        begun = [version for version in self.live if version.effective_from <= at]
        return max(begun, key=lambda version: version.effective_from, default=None)

    def following(self, version: PolicyVersion) -> PolicyVersion | None:
        """Return the version that takes effect next after another one."""
        later = [other for other in self.live if other.effective_from > version.effective_from]
        return min(later, key=lambda other: other.effective_from, default=None)

    def upcoming(self, document: Mapping[str, Any], now: datetime) -> Version:
        """Return a document as the version to publish next.

        Raises:
            InvalidDocumentError: naming every field that is wrong.
        """
        latest = max(self.policies)
        calendar_id = self.calendars[latest]
        revisions = self.exceptions[calendar_id]
        exceptions = read_exceptions(revisions[max(revisions)].exceptions)
        complete = publishing.completed(document, latest=latest, now=now)
        version = publishing.review(complete, latest=latest, exceptions=exceptions, now=now)
        return Version(version.number, version.effective_from, calendar_id, complete, now)

    def desk(self, calendar_id: UUID, at: datetime) -> PolicyVersion | None:
        """Return the version that says when the desk of a calendar is open, if policy versions share it."""
        found = self._in_force(at)
        return found if found and self.calendars[found.number] == calendar_id else None

    async def by_number(self, number: int) -> PolicyVersion:
        """Return a policy version, which may have been published this moment."""
        if number not in self.policies:
            await self.read()
        return self.policies[number]

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
        known = {
            revision: (entry.changed_at, _calendar_of(version, entry.exceptions)) for revision, entry in entries.items()
        }
        changed_at, calendar = known[latest]
        return Terms(version, calendar, latest, changed_at, known)

    async def keep_up(self, count: int) -> None:
        """Read again if there have been changes since, up to a count of them; once for all who wait."""
        if count > self.read_at:
            async with self.reading:
                if count > self.read_at:
                    await self.read()

    async def read(self) -> None:
        """Read everything anew, and only then put it in place: others may be looking meanwhile."""
        count = await changes(self.via)
        known = await versions(self.via)
        calendars = {version.calendar_id for version in known}
        found = {calendar_id: await revisions(self.via, calendar_id) for calendar_id in calendars}
        if count < self.read_at:
            return  # somebody who began later was quicker
        self.exceptions = {name: {entry.revision: entry for entry in entries} for name, entries in found.items()}
        self.calendars = {version.number: version.calendar_id for version in known}
        self.policies = {version.number: policy.parse(version.document) for version in known}
        self.terms = {}
        self.live = [self.policies[version.number] for version in known if version.taken_back_at is None]
        self.read_at = count


def _calendar_of(version: PolicyVersion, exceptions: Sequence[Mapping[str, Any]]) -> BusinessCalendar:
    return BusinessCalendar(version.timezone, version.weekly, read_exceptions(exceptions))


def read_exceptions(found: Sequence[Mapping[str, Any]]) -> tuple[DateException, ...]:
    """Read the exceptions of a revision."""
    reader = HoursReader()
    exceptions = reader.exceptions(found, "/exceptions")
    reader.finish()
    return exceptions
