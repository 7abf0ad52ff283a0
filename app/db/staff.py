"""The people who help, and the keys by which people and programs get in."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ClauseElement, func, insert, literal_column, select

from app.db.register import Register
from app.db.statements import effect, one
from app.db.tables import TextEnum, agents, api_keys, contacts, terms_changes
from app.domain.events import Role


@dataclass(frozen=True, slots=True)
class Agent:
    """A person of staff with their support level, 1 to 3."""

    id: UUID
    name: str
    email: str
    role: Role
    level: int
    on_call: bool
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is kept: the digest of its secret, and for whom it speaks."""

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


@dataclass(frozen=True, slots=True)
class Credential:
    """What a key says about its bearer today; the role of a person is read where the person is kept.

    `terms_changes` comes along so that whoever asks is answered by the terms of now, on every process.
    """

    digest: bytes
    role: Role
    agent_id: UUID | None
    level: int | None
    client_id: UUID | None
    contact_id: UUID | None
    name: str
    expires_at: datetime | None
    revoked_at: datetime | None
    terms_changes: int


register = Register(agents, Agent, owner=agents.c.id, named=agents.c.email)


@effect
def add_key(key: Key) -> ClauseElement:
    """Store a key."""
    values = {column.name: getattr(key, column.name) for column in api_keys.c}
    return insert(api_keys).values(**values).returning(literal_column("1"))


@one(Credential)
def credential(id: str) -> ClauseElement:  # noqa: A002  # the column's name
    """Find what a key stands for."""
    key = api_keys.c
    return (
        select(
            key.digest,
            func.coalesce(agents.c.role, contacts.c.role, key.role, type_=TextEnum(Role)).label("role"),
            key.agent_id,
            agents.c.level,
            key.client_id,
            key.contact_id,
            key.name,
            key.expires_at,
            key.revoked_at,
            select(terms_changes.c.number).scalar_subquery().label("terms_changes"),
        )
        .select_from(
            api_keys.outerjoin(agents, agents.c.id == key.agent_id).outerjoin(contacts, contacts.c.id == key.contact_id)
        )
        .where(key.id == id)
    )
