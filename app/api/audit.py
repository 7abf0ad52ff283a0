"""The audit over HTTP: what was changed by whom, and whether all that happened is still as it was sealed."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.deps import Overseer
from app.api.front_door import route_of
from app.api.paging import Page, Pages
from app.api.shapes import Instant, Told, answer, from_stored
from app.db import audit, seal
from app.db.audit import Entry, Sought
from app.db.seal import Receipt, Wrong
from app.domain.errors import FieldError
from app.domain.events import Role

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=route_of("audit"))

VERIFYING_SECONDS: Final = 1.5
MOST_NUMBER: Final = 2**31 - 1

Subject: TypeAlias = Annotated[str | None, Query(max_length=64, description="The noun, such as `subscription`.")]


class EntryShape(Told):
    """One administrative change; `actor_role` null where only the login of the database is known."""

    position: int
    at: datetime
    subject: str
    subject_id: str
    client_id: UUID | None
    action: Annotated[str, Field(json_schema_extra={"enum": ["created", "changed", "deleted"]})]
    changed: Annotated[list[str], Field(description="The names of what differs between before and after.")]
    actor_role: Role | None
    actor_id: UUID | None
    request_id: str | None
    login: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class CheckpointShape(Told):
    """A signed seal on all that a range of transactions wrote; number and digest are its receipt."""

    number: int
    since: int
    until: int
    events: int
    entries: int
    digest: str
    sealed_at: datetime
    key_id: str
    signature: str


class AuditFindingShape(Told):
    """Something that is not as it was sealed."""

    checkpoint: int
    problem: Wrong


class VerificationShape(Told):
    """What a verification looked at and found; where `next_after` is not null, go on with `after=` it."""

    sound: bool
    checkpoints: int
    events: int
    entries: int
    findings: list[AuditFindingShape]
    last: CheckpointShape | None
    next_after: int | None
    unsealed: Annotated[int, Field(description="How many rows were written since the last seal; told at the end.")]


@router.get("/entries", operation_id="list_audit_entries", response_model=Page[EntryShape])
async def list_audit_entries(
    caller: Overseer,
    pages: Pages,
    subject: Subject = None,
    subject_id: Annotated[str | None, Query(max_length=64)] = None,
    client_id: UUID | None = None,
    actor_id: UUID | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> Response:
    """List administrative changes with before and after, the newest first.

    Changes of clients, contacts, agreements, subscriptions, staff, keys (never a secret), policy versions and
    reviews, calendars and overrides, whoever made them and however. What happens to tickets is in their events.
    """
    sought = Sought(subject, subject_id, client_id, actor_id, since, until)
    found = await audit.page(caller.held.pool, sought, pages.place[0] if pages.place else None, pages.most)
    page = pages.turn(found, lambda entry: (entry.position,))
    items = [_entry(entry) for entry in page.rows]
    return answer(Page[EntryShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


@router.get("/checkpoints", operation_id="list_audit_checkpoints", response_model=Page[CheckpointShape])
async def list_audit_checkpoints(caller: Overseer, pages: Pages) -> Response:
    """List the seals in their order; keep number and digest of the last one elsewhere, as a receipt."""
    found = await audit.checkpoints(caller.held.pool, pages.place[0] if pages.place else 0, pages.most)
    page = pages.turn(found, lambda checkpoint: (checkpoint.number,))
    items = [from_stored(CheckpointShape, asdict(checkpoint)) for checkpoint in page.rows]
    return answer(Page[CheckpointShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


@router.get("/verification", operation_id="verify_audit", response_model=VerificationShape)
async def verify_audit(
    caller: Overseer,
    after: Annotated[int, Query(ge=0, le=MOST_NUMBER, description="Go on after this checkpoint.")] = 0,
    receipt: Annotated[str | None, Query(max_length=80, description="A checkpoint as kept: `number:digest`.")] = None,
) -> Response:
    """Compare what is stored with its seals, as much of it as takes a second or two.

    A change, a row taken away, added or moved is found by the seals alone; what was cut off at the end together
    with its seals, or sealed anew, by a `receipt` from before. `sound` says that nothing was found here: go on
    until `next_after` is null.
    """
    found = await seal.verify(
        caller.held.pool, caller.held.audit_keys, after=after, receipt=_receipt(receipt), seconds=VERIFYING_SECONDS
    )
    shape = VerificationShape(
        sound=not found.findings,
        checkpoints=found.checkpoints,
        events=found.events,
        entries=found.entries,
        findings=[AuditFindingShape(checkpoint=each.checkpoint, problem=each.problem) for each in found.findings],
        last=from_stored(CheckpointShape, asdict(found.last)) if found.last else None,
        next_after=found.after,
        unsealed=found.unsealed,
    )
    return answer(shape)


def _receipt(text: str | None) -> Receipt | None:
    """Read a receipt.

    Raises:
        Problem: 422 where it is none.
    """
    if text is None:
        return None
    try:
        return Receipt.read(text)
    except ValueError as error:
        raise errors.invalid([FieldError("/query/receipt", "no_receipt", str(error))]) from None


def _entry(entry: Entry) -> EntryShape:
    action = "created" if entry.before is None else "deleted" if entry.after is None else "changed"
    before, after = dict(entry.before or {}), dict(entry.after or {})
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return from_stored(EntryShape, asdict(entry) | {"action": action, "changed": sorted(changed)})
