"""How people and programs get in: API keys as they are kept, and who somebody is today."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ClauseElement, Select, and_, func, insert, literal_column, or_, select, tuple_, update

from app.db.audit import By
from app.db.idempotency import Answer, together
from app.db.statements import effect, many, one
from app.db.tables import TextEnum, agents, api_keys, contacts, terms_changes
from app.domain.events import Role

LIFE: Final = timedelta(days=365)
"""How long a key lives where nobody says otherwise."""
DEMO: Final = "demo "
"""How the names of the demo data's keys begin."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is kept: the digest of its secret, for whom it speaks, and what it is limited to."""

    id: str
    digest: bytes
    name: str
    role: Role
    agent_id: UUID | None
    client_id: UUID | None
    contact_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    scopes: Sequence[str] | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class ForDevelopment:
    """The name of a key of the demo data."""

    name: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who somebody is today, as their own row says; a program is known by its key alone.

    `terms_changes` comes along so that whoever asks is answered by the terms of now, on every process.
    """

    role: Role
    agent_id: UUID | None
    level: int | None
    client_id: UUID | None
    contact_id: UUID | None
    name: str
    terms_changes: int


@dataclass(frozen=True, slots=True)
class Credential(Bearer):
    """What a key says of its bearer, and what it needs to be believed."""

    digest: bytes
    scopes: Sequence[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class After:
    """Where the page before ended, in a list of keys that begins with the newest."""

    created_at: datetime
    id: str


TERMS_CHANGES: Any = select(terms_changes.c.number).scalar_subquery().label("terms_changes")
ROLE: Any = func.coalesce(agents.c.role, contacts.c.role, api_keys.c.role, type_=TextEnum(Role)).label("role")
"""The role of a person is read where the person is kept."""


def _columns(key: Key) -> dict[str, Any]:
    return {column.name: getattr(key, column.name) for column in api_keys.c}


def _today() -> Select[Any]:
    """Select the keys as they are kept, with their roles of today."""
    return _of_people(*(ROLE if column is api_keys.c.role else column for column in api_keys.c))


def _of_people(*columns: Any) -> Select[Any]:  # noqa: ANN401  # columns
    on_agents, on_contacts = agents.c.id == api_keys.c.agent_id, contacts.c.id == api_keys.c.contact_id
    people = api_keys.outerjoin(agents, on_agents).outerjoin(contacts, on_contacts)
    return select(*columns).select_from(people)


@one(Credential)
def credential(id: str) -> ClauseElement:  # noqa: A002  # the column's name
    """Find what a key stands for."""
    key = api_keys.c
    name = func.coalesce(agents.c.name, contacts.c.name, key.name).label("name")
    who = (ROLE, key.agent_id, agents.c.level, key.client_id, key.contact_id, name, TERMS_CHANGES)
    return _of_people(*who, key.digest, key.scopes, key.expires_at, key.revoked_at).where(key.id == id)


@one(Bearer)
def contact(external_id: str) -> ClauseElement:
    """Find the person of a client whom other systems know by a name."""
    nobody: Any = literal_column("NULL")
    own = contacts.c
    who = (own.role, nobody.label("agent_id"), nobody.label("level"), own.client_id, own.id.label("contact_id"))
    return select(*who, own.name, TERMS_CHANGES).where(own.external_id == external_id)


@one(Bearer)
def agent(issuer: str, subject: str) -> ClauseElement:
    """Find the person of staff whom an identity provider knows by a name."""
    nobody: Any = literal_column("NULL")
    own = agents.c
    who = (own.role, own.id.label("agent_id"), own.level, nobody.label("client_id"), nobody.label("contact_id"))
    found = and_(own.identity_issuer == issuer, own.identity_subject == subject)
    return select(*who, own.name, TERMS_CHANGES).where(found)


@one(Key)
def get(id: str) -> ClauseElement:  # noqa: A002  # the column's name
    """Find a key."""
    return _today().where(api_keys.c.id == id)


@many(Key)
def page(after: After | None, most: int) -> ClauseElement:
    """List the keys, the newest first."""
    key = api_keys.c
    query = _today().order_by(key.created_at.desc(), key.id.desc()).limit(most)
    if after is not None:
        query = query.where(tuple_(key.created_at, key.id) < tuple_(after.created_at, after.id))
    return query


@many(ForDevelopment)
def for_development() -> ClauseElement:
    """List the keys of the demo data that are valid: of their name, and without an end, which no other key is."""
    key = api_keys.c
    valid = and_(key.expires_at.is_(None), key.revoked_at.is_(None))
    return select(key.name).where(valid, key.name.startswith(DEMO)).order_by(key.name)


@effect
def add(key: Key, answer: Answer | None, by: By) -> ClauseElement:
    """Store a key, and the answer with it."""
    return together(insert(api_keys).values(_columns(key)).returning(api_keys.c.id).cte("added"), answer, by)


@effect
def rotate(fresh: Key, until: datetime, answer: Answer | None, by: By) -> ClauseElement:
    """Store a key in place of the one that it replaces, which ends at `until` or when it would have ended before.

    No effect where that one is no longer valid.
    """
    key = api_keys.c
    valid = and_(
        key.id == fresh.replaces,
        key.revoked_at.is_(None),
        or_(key.expires_at.is_(None), key.expires_at > fresh.created_at),
    )
    ended = update(api_keys).where(valid).values(expires_at=func.least(key.expires_at, until)).returning(key.id)
    columns = _columns(fresh)
    source = select(*columns.values()).select_from(ended.cte("ended"))
    return together(insert(api_keys).from_select(list(columns), source).returning(key.id).cte("added"), answer, by)


@effect
def revoke(key_id: str, at: datetime, answer: Answer | None, by: By) -> ClauseElement:
    """End a key at once, and keep the answer with it; no effect where that was done before."""
    key = api_keys.c
    live = and_(key.id == key_id, key.revoked_at.is_(None))
    return together(update(api_keys).where(live).values(revoked_at=at).returning(key.id).cte("revoked"), answer, by)
