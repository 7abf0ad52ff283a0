"""What all registers of the directory share over HTTP: upserts by external id, pages, versions."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from fastapi import Header, Path
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.deps import Caller
from app.api.errors import Problem
from app.api.idempotency import Once
from app.api.paging import Page, Paging
from app.api.shapes import ETAGS, ExternalId, Given, Line, Told, answer, etag, from_stored, matches
from app.db.clients import CarePlan, Client, Contact, SignedAgreement
from app.db.register import Register
from app.db.statements import ConstraintError
from app.domain.errors import FieldError
from app.domain.events import CLIENTS

Row = TypeVar("Row", Client, Contact, SignedAgreement, CarePlan)
Stored = TypeVar("Stored")
OVERLAP: Final = "subscriptions_overlap"
DATES: Final = "ck_subscriptions_dates"

Named: TypeAlias = Annotated[ExternalId, Path(description="The id under which another system knows it.")]
IfMatch: TypeAlias = Annotated[
    str | None, Header(max_length=64, description="Write only onto this version.", json_schema_extra=ETAGS)
]
IfNoneMatch: TypeAlias = Annotated[str | None, Header(max_length=64, description="`*`: write only what isn't there.")]
Names: TypeAlias = Annotated[list[Line], Field(max_length=1_000)]


class Kept(Told):
    """What every entry of the directory carries."""

    id: UUID
    external_id: str
    created_at: datetime
    updated_at: datetime
    version: int


def owner(caller: Caller, client_id: UUID | None) -> UUID | None:
    """Return whose entries to list: a contact's own client's, whatever they ask for."""
    own = caller.scope.client_id
    if own and client_id not in {None, own}:
        raise errors.invalid([FieldError("/query/client_id", "unknown_client", "leave it out: it comes from your key")])
    return own or client_id


def own(caller: Caller) -> tuple[UUID, UUID]:
    """Return the client and contact that a caller speaks for.

    Raises:
        Problem: 403 where it is nobody of a client.
    """
    if caller.actor.client_id is None or caller.actor.id is None or caller.role not in CLIENTS:
        raise Problem("forbidden", f"The role {caller.role} may not use this operation; it is for contacts.")
    return caller.actor.client_id, caller.actor.id


def changes(body: Given, nullable: Collection[str]) -> dict[str, Any]:
    """Return what a PATCH changes: what is left out stays, and null takes away what may be absent.

    Raises:
        Problem: 422 naming each field that is null and has to be there.
    """
    found: dict[str, Any] = body.model_dump(exclude_unset=True)
    wrong = [name for name, value in found.items() if value is None and name not in nullable]
    if wrong:
        raise errors.invalid([FieldError(f"/{name}", "missing", "leave it out to keep it") for name in wrong])
    return found


def require_match(if_match: str | None, version: int) -> None:
    """See that a change is made to the version that its author has seen.

    Raises:
        Problem: 428 without If-Match, 412 where it names another version.
    """
    if if_match is None:
        raise Problem("precondition_required", "Send the ETag you read as If-Match, so that no change is lost.")
    if not matches(if_match, version):
        raise Problem(
            "precondition_failed", "It has moved on since the version you named; read it again, then decide again."
        )


def same(name: str, found: UUID, given: UUID) -> None:
    """See that an entry stays whose it is.

    Raises:
        Problem: 409 where it would go to somebody else.
    """
    if found != given:
        raise Problem("belongs_elsewhere", f"This external id is in use with another {name}; choose a new external id.")


def shape_of(row: Any, shape: type[Told]) -> Told:  # noqa: ANN401  # a row of the directory
    """Write a row of the directory."""
    return from_stored(shape, asdict(row))


def one(row: Any, shape: type[Told]) -> Response:  # noqa: ANN401  # a row of the directory
    """Answer with a row and its version, or 404 where there is none."""
    if row is None:
        raise errors.not_found()
    return answer(shape_of(row, shape), headers={"ETag": etag(row.version)})


async def named(register: Register[Any], caller: Caller, name: str, shape: type[Told]) -> Response:
    """Answer with the row of an external id, as far as the caller may know of its owner."""
    return one(await register.by_name(caller.pool, name, caller.scope.client_id), shape)


async def page(
    register: Register[Any], caller: Caller, owner: UUID | None, pages: Paging, shape: type[Told]
) -> Response:
    """Answer with a page of rows, the newest first."""
    found = pages.turn(await register.page(caller.pool, owner, pages.after, pages.most))
    items = [shape_of(row, shape) for row in found.rows]
    page: Page[Any] = Page[shape](items=items, next_cursor=found.next_cursor)  # type: ignore[valid-type]  # known when it runs
    return answer(page, headers=found.headers)


async def put(
    register: Register[Row],
    caller: Caller,
    external_id: str,
    entry: Callable[[Row | None], Row],
    shape: type[Told],
    if_match: str | None,
    if_none_match: str | None,
) -> Response:
    """Create or replace by external id; where somebody else was faster, look again once."""
    by = caller.by()
    for _ in range(2):
        found = await register.by_name(caller.pool, external_id, None)
        if if_match is not None:
            require_match(if_match, found.version if found else 0)
        if if_none_match is not None and found is not None:
            raise Problem("precondition_failed", "It is there already; send If-Match to change it.")
        row = entry(found)
        try:
            written = await (
                register.save(caller.pool, row, None, by) if found else register.add(caller.pool, row, None, by)
            )
        except ConstraintError as error:
            if not found and error.name.endswith("_external_id"):
                continue
            raise refused(error) from None
        if written:
            status = 200 if found else 201
            return answer(shape_of(row, shape), status=status, headers={"ETag": etag(row.version)})
    raise Problem("concurrent_update", "Somebody else is writing this right now; read it and try again.")


async def save(
    register: Register[Stored],
    caller: Caller,
    row: Stored,
    shape: type[Told],
    once: Once | None = None,
) -> Response:
    """Store the next version of a row, and answer with it, once where the request has a key.

    Raises:
        Problem: 409 where somebody else has just changed it, or it breaks a rule of the schema.
    """
    response = one(row, shape)
    kept = once.keep(response) if once else None

    def write() -> Awaitable[bool]:
        return register.save(caller.pool, row, kept, caller.by())

    try:
        written = await (once.write(write) if once else write())
    except ConstraintError as error:
        raise refused(error) from None
    if not written:
        raise Problem("concurrent_update", "Somebody else is writing this right now; read it and try again.")
    return response


def refused(error: ConstraintError) -> Problem:
    """Say which rule of the schema a write would break."""
    if error.name == OVERLAP:
        return Problem(
            "subscriptions_overlap",
            "Another plan of this agreement covers some of these days; end or cancel that one first.",
        )
    if error.name == DATES:
        return errors.invalid([FieldError("/ends_on", "too_early", "a plan ends on the day it starts, or later")])
    if error.name.startswith("fk_"):
        field = "agreement_id" if "agreement_id" in error.name else "client_id"
        return errors.invalid([FieldError(f"/{field}", f"unknown_{field[:-3]}", "name one that is known here")])
    if error.name.startswith("uq_"):
        return Problem(
            "name_taken", "Another one has this name or address already; choose another, or change that one."
        )
    return errors.invalid([FieldError("", "refused", "these values contradict each other")])
