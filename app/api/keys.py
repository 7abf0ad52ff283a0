"""API keys over HTTP: made, rotated and revoked by admins; a secret is told once and never again."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import errors
from app.api.deps import Admin, Caller, Everywhere, Overseer, Runtime
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Page, Pages
from app.api.shapes import Given, Instant, Line, Number, Told, answer, from_stored
from app.db import clients, ids, keys, staff
from app.db.idempotency import Answer
from app.db.keys import After, Key
from app.db.statements import ConstraintError
from app.domain.access import Permission
from app.domain.errors import FieldError
from app.domain.events import Role

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=route_of("keys"))

LONGEST_OVERLAP: Final = 30 * 86_400
PROGRAMS: Final = (Role.AUDITOR, Role.AUTOMATION)

KeyId: TypeAlias = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="The key's id: the part after `ke_`.")]


class KeyRequest(Given):
    """For whom a key is: one person of staff, one contact, or a program with a role of its own."""

    name: Line
    agent_id: UUID | None = None
    contact_id: UUID | None = None
    role: Annotated[Role | None, Field(json_schema_extra={"enum": ["auditor", "automation", None]})] = None
    scopes: Annotated[list[Permission] | None, Field(min_length=1, max_length=len(Permission))] = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def of_one(self) -> "KeyRequest":
        """Refuse a key of nobody, or of several."""
        if [self.agent_id, self.contact_id, self.role].count(None) != 2:  # noqa: PLR2004  # all but one
            raise ValueError("give one of agent_id, contact_id and role")
        if self.role not in {None, *PROGRAMS}:
            raise ValueError("a program's role is auditor or automation; a person's comes with agent_id or contact_id")
        return self


class RotationRequest(Given):
    """How long the key that is replaced goes on working beside the new one, and until when the new one does."""

    overlap_seconds: Annotated[Number, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400
    expires_at: Instant | None = None


class KeyShape(Told):
    """An API key without its secret."""

    id: str
    name: str
    role: Role
    agent_id: UUID | None
    client_id: UUID | None
    contact_id: UUID | None
    scopes: list[Permission] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None


class NewKeyShape(KeyShape):
    """An API key as it is made: `key` is its whole text, told this once."""

    key: str | None


@router.post("", operation_id="create_key", status_code=201, response_model=NewKeyShape)
async def create_key(body: KeyRequest, caller: Admin, once: OnceOnly) -> Response:
    """Make an API key; `key` is told this once, and again under no circumstances.

    It may do what its person's role allows at the time of each call, limited to `scopes` where they are
    given. Without `expires_at` it lives for a year. An answer repeated for an `Idempotency-Key` has `key`
    null: if the first answer was lost, rotate the key.
    """
    expires_at = _end(body.expires_at, caller.now)
    _require_within(caller, body.scopes)
    fresh = ids.new_key()
    key = Key(
        id=fresh.id,
        digest=fresh.digest,
        name=body.name,
        role=body.role or Role.CONTACT,
        agent_id=body.agent_id,
        client_id=None,
        contact_id=body.contact_id,
        created_at=caller.now,
        expires_at=expires_at,
        revoked_at=None,
        scopes=body.scopes and sorted(set(body.scopes)),
    )
    whole = await _with_person(caller.held, key)
    await once.write(lambda: keys.add(caller.held.pool, whole, _kept(once, whole), caller.by()))
    return _told(whole, fresh.text)


@router.get("", operation_id="list_keys", response_model=Page[KeyShape])
async def list_keys(caller: Overseer, pages: Pages) -> Response:
    """List all API keys, the newest first, those that ended included."""
    after = After(datetime.fromisoformat(pages.place[0]), pages.place[1]) if pages.place else None
    found = pages.turn(await keys.page(caller.held.pool, after, pages.most))
    page = Page[KeyShape](items=[_shape(key) for key in found.rows], next_cursor=found.next_cursor)
    return answer(page, headers=found.headers)


@router.get("/{key_id}", operation_id="get_key", response_model=KeyShape)
async def get_key(key_id: KeyId, caller: Overseer) -> Response:
    """Read an API key."""
    return answer(_shape(await _find(caller.held, key_id)))


@router.post(
    "/{key_id}/rotate",
    operation_id="rotate_key",
    status_code=201,
    response_model=NewKeyShape,
    dependencies=[Everywhere],
)
async def rotate_key(key_id: KeyId, caller: Admin, once: OnceOnly, body: RotationRequest | None = None) -> Response:
    """Make a new API key of the same kind; the one it replaces goes on for `overlap_seconds` (a day), no longer.

    `key` is told this once. Without `expires_at` the new one lives for a year.
    """
    asked = body or RotationRequest()
    expires_at = _end(asked.expires_at, caller.now)
    old = await _find(caller.held, key_id)
    _require_within(caller, old.scopes)
    fresh = ids.new_key()
    key = replace(
        old,
        id=fresh.id,
        digest=fresh.digest,
        created_at=caller.now,
        expires_at=expires_at,
        revoked_at=None,
        replaces=old.id,
    )
    until = caller.now + timedelta(seconds=asked.overlap_seconds)
    try:
        kept = _kept(once, key)
        if not await once.write(lambda: keys.rotate(caller.held.pool, key, until, kept, caller.by())):
            raise Problem("nothing_to_change", "This key has ended already; make a new one.")
    except ConstraintError as error:
        if error.name == "uq_api_keys_replaces":
            detail = "This key was replaced before; rotate the one that followed it, or make a new one."
            raise Problem("nothing_to_change", detail) from None
        raise
    return _told(key, fresh.text)


@router.post("/{key_id}/revoke", operation_id="revoke_key", response_model=KeyShape, dependencies=[Everywhere])
async def revoke_key(key_id: KeyId, caller: Admin, once: OnceOnly) -> Response:
    """End an API key for good; by the answer, which takes a second, it opens nothing on any process."""
    found = await _find(caller.held, key_id)
    revoked = replace(found, revoked_at=caller.now)
    response = answer(_shape(revoked))
    kept = once.keep(response)
    if not await once.write(lambda: keys.revoke(caller.held.pool, key_id, caller.now, kept, caller.by())):
        raise Problem("nothing_to_change", "This key was revoked before.")
    return response


def _end(asked: datetime | None, now: datetime) -> datetime:
    """Return when a new key ends: when it is asked to, or in a year.

    Raises:
        Problem: 422 where that is over already.
    """
    if asked is not None and asked <= now:
        raise errors.invalid([FieldError("/expires_at", "too_early", "give an instant that is still to come")])
    return asked or now + keys.LIFE


async def _find(held: Runtime, key_id: str) -> Key:
    found = await keys.get(held.pool, key_id)
    if found is None:
        raise errors.not_found()
    return found


async def _with_person(held: Runtime, key: Key) -> Key:
    """Read whose key it will be.

    Raises:
        Problem: 422 where nobody has that id.
    """
    if key.contact_id is not None:
        contact = await clients.people.get(held.pool, key.contact_id, None)
        if contact is None:
            raise errors.invalid([FieldError("/contact_id", "unknown_contact", "name one that is known here")])
        return replace(key, client_id=contact.client_id, role=contact.role)
    if key.agent_id is not None:
        agent = await staff.register.get(held.pool, key.agent_id, None)
        if agent is None:
            raise errors.invalid([FieldError("/agent_id", "unknown_agent", "name one that is known here")])
        return replace(key, role=agent.role)
    return key


def _require_within(caller: Caller, scopes: Sequence[str] | None) -> None:
    """See that nobody whose credential is limited makes one that may do more.

    Raises:
        Problem: 403 where the new key would.
    """
    if caller.permissions is not None and not (scopes and caller.permissions.issuperset(scopes)):
        raise Problem("insufficient_scope", "A limited credential makes keys with some of its own scopes only.")


def _shape(key: Key) -> KeyShape:
    return from_stored(KeyShape, {name: value for name, value in asdict(key).items() if name != "digest"})


def _told(key: Key, text: str | None) -> Response:
    shape = NewKeyShape(**asdict(_shape(key)), key=text)
    return answer(shape, status=201, headers={"Location": f"/v1/keys/{key.id}"})


def _kept(once: Once, key: Key) -> Answer | None:
    """Keep the answer for an Idempotency-Key without the secret: what is kept could be read again."""
    return once.keep(_told(key, None))
