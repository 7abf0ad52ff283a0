"""What a route is given: the instant, the caller, and the things that live as long as the process."""

import hmac
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.errors import Problem
from app.db import ids, staff, upkeep
from app.db.policies import Book
from app.db.pool import Pool
from app.db.staff import Credential
from app.db.tickets import Scope
from app.domain.events import CLIENTS, STAFF, Actor, Role

KEY: Final = re.compile(r"ke_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)
NOBODY: Final = Credential(ids.digest(""), Role.AUDITOR, None, None, None, None, "", None, None, 0)


Sweep: TypeAlias = Callable[[Pool, Book, datetime], Coroutine[Any, Any, int]]
"""Does what time alone has brought by an instant, and returns how many tickets it touched."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one process holds: its connections, the terms it knows, its secrets and its mode."""

    pool: Pool
    book: Book
    cursor_secret: bytes
    test_clock: bool
    sweep: Sweep
    head: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in which role, and whose tickets they may know of."""

    actor: Actor
    name: str
    principal: str

    @property
    def role(self) -> Role:
        """Return the caller's role."""
        return self.actor.role

    @property
    def scope(self) -> Scope:
        """Return whose tickets the caller may know of: a contact their own, a client_admin the client's."""
        if self.role not in CLIENTS:
            return Scope()
        return Scope(self.actor.client_id, self.actor.id if self.role is Role.CONTACT else None)


def runtime(request: Request) -> Runtime:
    """Return what the process holds."""
    held: Runtime = request.app.state.runtime
    return held


Held: TypeAlias = Annotated[Runtime, Depends(runtime)]


def wall_clock() -> datetime:
    """Read the machine's own clock: for what is no business time, such as the age of a sweep."""
    return datetime.now(UTC)


WallClock: TypeAlias = Annotated[datetime, Depends(wall_clock)]


async def instant(held: Held) -> datetime:
    """Read the clock, once a request: everything a request decides, it decides at this instant."""
    if held.test_clock:
        kept = await upkeep.test_now(held.pool)
        if kept is not None:
            return kept.at
    return datetime.now(UTC)


Now: TypeAlias = Annotated[datetime, Depends(instant)]

bearer: Final = HTTPBearer(
    auto_error=False, scheme_name="apiKey", description="An API key, `ke_<id>_<secret>`, as a bearer token."
)


async def authenticated(
    held: Held, at: Now, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Find out who asks.

    Raises:
        Problem: 401 without a key that is known, unexpired and unrevoked.
    """
    if credentials is None:
        raise _unauthenticated("No API key came with the request; send Authorization: Bearer ke_<id>_<secret>.")
    parts = KEY.fullmatch(credentials.credentials)
    if parts is None:
        raise _unauthenticated("This is no API key; send Authorization: Bearer ke_<id>_<secret> as it was given.")
    key_id, secret = parts.groups()
    found = await staff.credential(held.pool, key_id)
    # An unknown key costs as much as a wrong secret, so that no id can be guessed by the time it takes.
    known = hmac.compare_digest(ids.digest(secret), (found or NOBODY).digest)
    if found is None or not known:
        raise _unauthenticated("This API key is not known; ask an admin for one.")
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        raise _unauthenticated("This API key is no longer valid; ask an admin for a new one.")
    await held.book.keep_up(found.terms_changes)
    return _caller(key_id, found)


def _caller(key_id: str, found: Credential) -> Caller:
    person = found.agent_id or found.contact_id
    actor = Actor(found.role, person, found.client_id, found.level)
    return Caller(actor, found.name, f"{found.role}:{person or key_id}")


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="kawan-support"'})


class Allowed:
    """A declaration of the roles that may call an operation; without one the application doesn't start."""

    def __init__(self, *roles: Role) -> None:
        """Take the roles; none means that everybody may, without credentials."""
        self.roles = frozenset(roles)

    async def __call__(self, caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
        """Return the caller.

        Raises:
            Problem: 403 where the caller's role is not declared.
        """
        if caller.role not in self.roles:
            raise Problem("forbidden", f"The role {caller.role} may not use this operation; ask staff.")
        return caller


async def everybody() -> None:
    """Declare that an operation needs no credentials."""


PEOPLE: Final = STAFF | {Role.AUDITOR, Role.AUTOMATION}

AnyCaller: TypeAlias = Annotated[Caller, Depends(Allowed(*CLIENTS, *PEOPLE))]
"""Whoever has a key; what they may see of it is narrowed by their scope."""

Writer: TypeAlias = Annotated[Caller, Depends(Allowed(*CLIENTS, *STAFF, Role.AUTOMATION))]
"""Whoever may open tickets and write on them."""

House: TypeAlias = Annotated[Caller, Depends(Allowed(*PEOPLE))]
"""Staff, auditors and programs of the house: no client."""

Staff: TypeAlias = Annotated[Caller, Depends(Allowed(*STAFF))]
"""People of staff."""

Manager: TypeAlias = Annotated[Caller, Depends(Allowed(Role.LEAD, Role.ADMIN))]
"""Leads and admins."""

Synchroniser: TypeAlias = Annotated[Caller, Depends(Allowed(Role.LEAD, Role.ADMIN, Role.AUTOMATION))]
"""Who keeps the directory: leads, admins, and the programs that bring it from elsewhere."""

Admin: TypeAlias = Annotated[Caller, Depends(Allowed(Role.ADMIN))]
"""Admins."""

ByClient: TypeAlias = Annotated[Caller, Depends(Allowed(*CLIENTS))]
"""People of clients."""

Public: Final = Depends(everybody)
