"""The people who help."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.db.register import Register
from app.db.tables import agents
from app.domain.events import Role


@dataclass(frozen=True, slots=True)
class Agent:
    """A person of staff with their support level, 1 to 3, and who an identity provider says they are."""

    id: UUID
    name: str
    email: str
    role: Role
    level: int
    on_call: bool
    created_at: datetime
    updated_at: datetime
    version: int
    identity_issuer: str | None = None
    identity_subject: str | None = None


register = Register(agents, Agent, owner=None, named=agents.c.email)
