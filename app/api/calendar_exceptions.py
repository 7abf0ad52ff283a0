"""Dated exceptions of a calendar over HTTP: each change is a revision, and what is running is counted anew."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.responses import Response

from app.api import calendars, errors
from app.api.calendars import CalendarShape, ExceptionShape
from app.api.deps import Everywhere, House, Manager, Runtime
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.shapes import Day, Told, answer
from app.db import idempotency, policies, tickets
from app.db import pool as pools
from app.db.audit import By
from app.db.idempotency import Answer
from app.db.policies import Calendar, Revision
from app.db.statements import ConstraintError
from app.domain.errors import FieldError
from app.domain.hours import HoursReader

router = APIRouter(prefix="/v1/calendars", tags=["calendars"], route_class=route_of("calendars"))

OnDate = Annotated[Day, Path(description="The local date, as YYYY-MM-DD.")]


class RevisionShape(Told):
    """The exceptions of a calendar as they are since an instant."""

    calendar_id: UUID
    revision: int
    changed_at: datetime
    exceptions: list[ExceptionShape]


@router.get("/{calendar_id}/exceptions", operation_id="list_calendar_exceptions", response_model=RevisionShape)
async def list_calendar_exceptions(calendar_id: UUID, caller: House) -> Response:
    """List the dated exceptions of a calendar in the order of their dates."""
    await calendars.find(caller.held, calendar_id, caller.now)
    latest = (await policies.revisions(caller.held.pool, calendar_id))[-1]
    shape = RevisionShape(
        calendar_id=calendar_id,
        revision=latest.revision,
        changed_at=latest.changed_at,
        exceptions=[ExceptionShape.model_validate(entry) for entry in latest.exceptions],
    )
    return answer(shape)


@router.post(
    "/{calendar_id}/exceptions",
    operation_id="add_calendar_exception",
    status_code=201,
    response_model=CalendarShape,
    dependencies=[Everywhere],
)
async def add_calendar_exception(calendar_id: UUID, body: ExceptionShape, caller: Manager, once: OnceOnly) -> Response:
    """Add an exception: a holiday (no hours) or a half day.

    Every running, unbroken promise that this calendar counts for is counted anew: its due date moves,
    but never to before this change, and `clock.moved` tells of it.
    """
    reader = HoursReader()
    reader.exception(body.model_dump(), "")
    reader.finish()
    row, _ = await calendars.find(caller.held, calendar_id, caller.now)
    if any(entry["date"] == body.date for entry in row.exceptions):
        raise errors.invalid([FieldError("/date", "duplicate_date", "this date has an exception; remove it first")])
    exceptions = sorted([*row.exceptions, body.model_dump()], key=lambda entry: str(entry["date"]))
    return await _revise(caller.held, row, exceptions, caller.by(), 201, once)


@router.delete(
    "/{calendar_id}/exceptions/{date}",
    operation_id="remove_calendar_exception",
    response_model=CalendarShape,
    dependencies=[Everywhere],
)
async def remove_calendar_exception(calendar_id: UUID, date: OnDate, caller: Manager, once: OnceOnly) -> Response:
    """Remove the exception of a date; what is running is counted anew, as when one is added."""
    row, _ = await calendars.find(caller.held, calendar_id, caller.now)
    exceptions = [entry for entry in row.exceptions if entry["date"] != date.isoformat()]
    if len(exceptions) == len(row.exceptions):
        raise errors.not_found()
    return await _revise(caller.held, row, exceptions, caller.by(), 200, once)


async def _revise(
    held: Runtime, row: Calendar, exceptions: Sequence[Mapping[str, Any]], by: By, status: int, once: Once
) -> Response:
    """Store the next revision of a calendar, and have the worker look at everything that it counts."""
    revision = Revision(row.id, row.revision + 1, by.at, exceptions)
    shape, headers = calendars.revised(row, exceptions, by.at)
    response = answer(shape, status=status, headers=headers)
    kept = once.keep(response)
    try:
        await once.write(lambda: _store(held, revision, by, kept))
    except ConstraintError as error:
        if error.name == "pk_calendar_revisions":
            detail = "Somebody else is changing this calendar right now; read it and try again."
            raise Problem("concurrent_update", detail) from None
        raise
    return response


async def _store(held: Runtime, revision: Revision, by: By, kept: Answer | None) -> None:
    async with pools.transaction(held.pool) as connection:
        # A ticket that is being written now is either seen here, or sees the new revision.
        await tickets.hold_back_writes(connection)
        await policies.add_revision(connection, revision, by)
        await tickets.look_at_all(connection, revision.calendar_id, revision.changed_at)
        if kept:
            await idempotency.keep(connection, kept)
