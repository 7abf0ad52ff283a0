"""Who asks, and what they bring into a route: the instant, and the things that live as long as the process."""

import hmac
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from app.api.errors import Problem
from app.db import ids, keys, upkeep
from app.db.audit import By
from app.db.keys import Bearer, Credential
from app.db.lease import Lease
from app.db.policies import Book
from app.db.pool import Pool
from app.db.statements import Connection
from app.db.tickets import Scope
from app.domain import visibility
from app.domain.access import Permission
from app.domain.events import CLIENTS, STAFF, Actor, Role
from app.outside.identity import Issuers, IssuerUnavailableError, People, TokenError
from app.outside.limits import Limits

KEY: Final = re.compile(r"ke_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)
NO_DIGEST: Final = ids.digest("")


Sweep: TypeAlias = Callable[[Pool, Book, datetime], Coroutine[Any, Any, int]]
"""Does what time alone has brought by an instant, and returns how many tickets it touched."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one process holds: its connections, the terms it knows, its secrets and its mode."""

    pool: Pool
    contact_pool: Pool
    bearers: Lease[Bearer]
    book: Book
    cursor_secret: bytes
    issuers: Issuers
    limits: Limits
    audit_keys: Mapping[str, Ed25519PublicKey]
    test_clock: bool
    sweep: Sweep
    behind: frozenset[str]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and when, in which role, whose tickets they may know of, to what their credential is limited, if it is.

    `pool` is their way to the database: by that of contacts no other client's rows are to be had.
    `held` is what the process that they ask holds.
    """

    actor: Actor
    name: str
    principal: str
    permissions: frozenset[Permission] | None
    request_id: str
    now: datetime
    held: Runtime
    pool: Pool

    @property
    def role(self) -> Role:
        """Return the caller's role."""
        return self.actor.role

    @property
    def scope(self) -> Scope:
        """Return whose tickets the caller may know of."""
        return Scope(*visibility.whose_tickets(self.actor))

    def by(self, at: datetime | None = None) -> By:
        """Return what is said of the caller where they change something, at an instant of its own if it has one."""
        return By(self.role, self.actor.id, at or self.now, self.request_id)


def runtime(request: Request) -> Runtime:
    """Return what the process holds."""
    held: Runtime = request.app.state.runtime
    return held


def wall_clock() -> datetime:
    """Read the machine's own clock: for what is no business time, such as the age of a sweep."""
    return datetime.now(UTC)


async def instant_by(via: Connection, held: Runtime) -> datetime:
    """Read the clock: by a transaction what waited for others decides at the instant when it's its turn."""
    if held.test_clock:
        kept = await upkeep.test_now(via)
        if kept is not None:
            return kept.at
    return datetime.now(UTC)


bearer: Final = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="An API key, `ke_<id>_<secret>`, or a JSON Web Token of the portal or of staff's identity provider.",
)


async def authenticated(request: Request) -> Caller:
    """Find out who asks, before anything they send is read, and remember it for the request.

    Raises:
        Problem: 401 without a credential that is believed, 403 where nobody is known by it.
    """
    known: Caller | None = request.scope["state"].get("caller")
    if known is not None:
        return known
    credentials = await bearer(request)
    if credentials is None:
        raise _unauthenticated("No credential came with the request; send Authorization: Bearer and a key or a token.")
    here, text = runtime(request), credentials.credentials
    at = await instant_by(here.pool, here)
    key = KEY.fullmatch(text)
    found, permissions = await (_by_key(here, key[1], key[2], at) if key else _by_token(here, text))
    await here.book.keep_up(found.terms_changes)
    actor = Actor(found.role, found.agent_id or found.contact_id, found.client_id, found.level)
    caller = Caller(
        actor,
        found.name,
        f"{found.role}:{actor.id or (key and key[1])}",
        permissions,
        request.state.request_id,
        at,
        here,
        here.contact_pool if found.role in CLIENTS else here.pool,
    )
    request.state.caller = caller
    return caller


async def _by_key(held: Runtime, key_id: str, secret: str, at: datetime) -> tuple[Bearer, frozenset[Permission] | None]:
    digest = ids.digest(secret)

    async def read() -> Credential | None:
        found = await keys.credential(held.pool, key_id)
        # An unknown key costs as much as a wrong secret, each time, so that no id can be guessed by the time it takes.
        known = hmac.compare_digest(digest, found.digest if found else NO_DIGEST)
        return found if known else None

    found = await held.bearers.get((key_id, digest), read)
    if not isinstance(found, Credential):
        raise _unauthenticated("This API key is not known; ask an admin for one.")
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        raise _unauthenticated("This API key is no longer valid; ask an admin for a new one.")
    return found, None if found.scopes is None else frozenset(map(Permission, found.scopes))


async def _by_token(held: Runtime, token: str) -> tuple[Bearer, frozenset[Permission] | None]:
    """Take an issuer's word for who somebody is, and our own for what they may do."""
    try:
        identity = await held.issuers.identify(token)
    except TokenError as error:
        raise _unauthenticated(f"{error} Or send an API key as it was given: ke_<id>_<secret>.") from None
    except IssuerUnavailableError:
        detail = "The token can't be checked now, as its issuer doesn't answer; try again in a few seconds."
        raise Problem("issuer_unavailable", detail, headers={"Retry-After": "5"}) from None
    issuer, subject = identity.issuer, identity.subject

    def read() -> Awaitable[Bearer | None]:
        if identity.people is People.CONTACTS:
            return keys.contact(held.pool, subject)
        return keys.agent(held.pool, issuer, subject)

    found = await held.bearers.get((issuer, subject), read)
    if found is None:
        raise Problem("forbidden", "The token is valid, but nobody is known here by its subject; ask staff to add you.")
    # Scopes of others, such as openid, limit nothing here.
    return found, frozenset(each for each in Permission if each in identity.scopes) or None


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="kawan-support"'})


class Needs:
    """The area that a router's operations belong to: what a limited credential needs for them."""

    def __init__(self, area: str | None) -> None:
        """Take the area; none where every credential will do."""
        self.area = area

    def permission(self, method: str) -> Permission | None:
        """Return what a method needs."""
        if self.area is None:
            return None
        return Permission(f"{self.area}:{'read' if method in {'GET', 'HEAD'} else 'write'}")

    def require(self, caller: Caller, method: str) -> None:
        """See that the credential isn't limited to other things.

        Raises:
            Problem: 403 where it is.
        """
        needed = self.permission(method)
        if needed is not None and caller.permissions is not None and needed not in caller.permissions:
            raise Problem("insufficient_scope", f"This credential is limited; use one with the scope {needed}.")


class Allowed:
    """A declaration of the roles that may call an operation; without one the application doesn't start."""

    def __init__(self, *roles: Role) -> None:
        """Take the roles; none means that everybody may, without credentials."""
        self.roles = frozenset(roles)

    async def __call__(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            Problem: 403 where the caller's role is not declared.
        """
        caller = await authenticated(request)
        if caller.role not in self.roles:
            # They change nothing that would have to be known.
            request.state.everywhere = False
            may = " or ".join(role for role in Role if role in self.roles)
            raise Problem("forbidden", f"The role {caller.role} may not use this operation; it is for {may}.")
        return caller


async def everybody() -> None:
    """Declare that an operation needs no credentials."""


async def everywhere(request: Request) -> None:
    """Have the answer, whatever it will be, wait until every process knows: of who may do what, or of the terms."""
    request.state.everywhere = True


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

Overseer: TypeAlias = Annotated[Caller, Depends(Allowed(Role.ADMIN, Role.AUDITOR))]
"""Admins, and who looks over everybody's shoulder."""

ByClient: TypeAlias = Annotated[Caller, Depends(Allowed(*CLIENTS))]
"""People of clients."""

Public: Final = Depends(everybody)

Everywhere: Final = Depends(everywhere)
"""For an operation that changes what a `Bearer` says: the count of changes of the terms is a part of that."""
