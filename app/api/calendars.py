"""Calendars over HTTP: business time as a calculator that explains itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.deps import House, Manager, Runtime
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import OnceOnly
from app.api.paging import Page, Pages
from app.api.shapes import Given, Instant, Line, SegmentShape, Told, answer
from app.api.ticket_shapes import trace_shape
from app.db import ids, policies
from app.db.policies import Calendar
from app.db.statements import ConstraintError
from app.domain import hours
from app.domain.calendar import Base, BusinessCalendar

router = APIRouter(prefix="/v1/calendars", tags=["calendars"], route_class=route_of("calendars"))

LONGEST_TRACE: Final = 20_000
CENTURY: Final = 100 * 366 * 86_400
AHEAD: Final = timedelta(days=366)

Span = Annotated[int, Query(ge=-CENTURY, le=CENTURY, description="Seconds to count; negative ones count back.")]
InBase = Annotated[Base, Query(description="Which time counts.")]
Windows = list[list[str]]


class ExceptionShape(Given):
    """What one local date has instead of its weekly hours; no hours means closed."""

    date: str
    name: Line
    hours: Windows


class CalendarRequest(Given):
    """A zone, weekly windows (a window may run past midnight) and dated exceptions."""

    name: Line
    timezone: Annotated[str, Field(min_length=1, max_length=64)]
    weekly_hours: dict[str, Windows]
    exceptions: Annotated[list[ExceptionShape], Field(max_length=5_000)] = Field(default_factory=list)


class CalendarShape(Told):
    """A calendar with its exceptions as of its latest revision."""

    id: UUID
    name: str
    timezone: str
    weekly_hours: dict[str, Windows]
    exceptions: list[ExceptionShape]
    revision: int
    created_at: datetime
    tzdata: str
    fingerprint: str


class OpenShape(Told):
    """Whether a calendar is open, and when that changes."""

    as_of: datetime
    timezone: str
    tzdata: str
    open_now: bool
    next_opens_at: datetime | None
    next_closes_at: datetime | None


class DueShape(Told):
    """Where an amount of time ends, and why there."""

    due_at: datetime
    timezone: str
    tzdata: str
    fingerprint: str
    trace: list[SegmentShape]


class ElapsedShape(Told):
    """How much time lies between two instants, and where."""

    elapsed_seconds: float
    timezone: str
    tzdata: str
    fingerprint: str
    trace: list[SegmentShape]


@router.post("", operation_id="create_calendar", status_code=201, response_model=CalendarShape)
async def create_calendar(body: CalendarRequest, caller: Manager, once: OnceOnly) -> Response:
    """Create a calendar; one without open time in the next 366 days is refused."""
    document = body.model_dump(exclude={"name"})
    found = _opening(BusinessCalendar.parse(document), caller.now)
    kept = Calendar(
        id=ids.new_id(),
        name=body.name,
        timezone=body.timezone,
        weekly_hours=document["weekly_hours"],
        created_at=caller.now,
        revision=1,
        exceptions=document["exceptions"],
    )
    shape = _shape(kept, found)
    headers = {"Location": f"/v1/calendars/{kept.id}", "ETag": _etag(found)}
    response = answer(shape, status=201, headers=headers)
    try:
        await once.write(lambda: policies.add_calendar(caller.held.pool, kept, once.keep(response), caller.by()))
    except ConstraintError as error:
        if error.name == "uq_calendars_name":
            raise Problem("name_taken", "Another calendar has this name already; choose another one.") from None
        raise
    return response


@router.get("", operation_id="list_calendars", response_model=Page[CalendarShape])
async def list_calendars(caller: House, pages: Pages) -> Response:
    """List the calendars, the newest first."""
    page = pages.turn(await policies.page(caller.held.pool, pages.after, pages.most))
    rows = [_in_force(caller.held, row, caller.now) for row in page.rows]
    items = [_shape(row, _parsed(row)) for row in rows]
    return answer(Page[CalendarShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


@router.get("/{calendar_id}", operation_id="get_calendar", response_model=CalendarShape)
async def get_calendar(request: Request, calendar_id: UUID, caller: House) -> Response:
    """Read a calendar; the desk's has the weekly hours of the policy in force."""
    row, found = await find(caller.held, calendar_id, caller.now)
    headers = {"ETag": _etag(found), "Cache-Control": "private, max-age=60"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    return answer(_shape(row, found), headers=headers)


@router.get("/{calendar_id}/open", operation_id="get_calendar_open", response_model=OpenShape)
async def get_calendar_open(calendar_id: UUID, caller: House, as_of: Instant | None = None) -> Response:
    """Ask whether the calendar is open at an instant, and when it next opens and closes."""
    at = as_of or caller.now
    _, found = await find(caller.held, calendar_id, at)
    opened = found.is_open(at)
    closes = found.next_close(at)
    shape = OpenShape(
        as_of=at,
        timezone=found.timezone,
        tzdata=found.tzdata,
        open_now=opened,
        next_opens_at=found.next_opening(at),
        next_closes_at=closes,
    )
    return answer(shape)


@router.get("/{calendar_id}/due", operation_id="get_calendar_due", response_model=DueShape)
async def get_calendar_due(
    calendar_id: UUID,
    caller: House,
    start: Instant,
    seconds: Span,
    base: InBase = Base.BUSINESS_HOURS,
) -> Response:
    """Compute the first instant by which an amount of time has counted; negative seconds go back."""
    _, found = await find(caller.held, calendar_id, start)
    due_at = found.add(start, timedelta(seconds=seconds), base)
    shape = DueShape(
        due_at=due_at,
        timezone=found.timezone,
        tzdata=found.tzdata,
        fingerprint=found.fingerprint,
        trace=_trace(found, start, due_at, base),
    )
    return answer(shape)


@router.get("/{calendar_id}/elapsed", operation_id="get_calendar_elapsed", response_model=ElapsedShape)
async def get_calendar_elapsed(
    calendar_id: UUID, caller: House, start: Instant, end: Instant, base: InBase = Base.BUSINESS_HOURS
) -> Response:
    """Measure the time that counts between two instants, negative where `end` comes first."""
    _, found = await find(caller.held, calendar_id, start)
    shape = ElapsedShape(
        elapsed_seconds=found.between(start, end, base) / timedelta(seconds=1),
        timezone=found.timezone,
        tzdata=found.tzdata,
        fingerprint=found.fingerprint,
        trace=_trace(found, start, end, base),
    )
    return answer(shape)


def _trace(found: BusinessCalendar, start: datetime, end: datetime, base: Base) -> list[SegmentShape]:
    """Explain the span from the earlier to the later instant.

    Raises:
        Problem: 422 where that would take too many segments.
    """
    first, last = min(start, end), max(start, end)
    trace = found.trace(first, last, base)
    if len(trace) > LONGEST_TRACE:
        raise Problem("trace_too_long", f"This span has more than {LONGEST_TRACE} segments; ask for a shorter one.")
    return trace_shape(trace)


async def find(held: Runtime, calendar_id: UUID, at: datetime) -> tuple[Calendar, BusinessCalendar]:
    """Find a calendar with its latest revision; the desk's has the hours of the policy in force at an instant.

    Raises:
        Problem: 404 where there is none.
    """
    row = await policies.calendar(held.pool, calendar_id)
    if row is None:
        raise errors.not_found()
    row = _in_force(held, row, at)
    return row, _parsed(row)


def _in_force(held: Runtime, row: Calendar, at: datetime) -> Calendar:
    version = held.book.desk(row.id, at)
    if version is None:
        return row
    return replace(row, timezone=version.timezone, weekly_hours=hours.written(version.weekly))


def _parsed(row: Calendar) -> BusinessCalendar:
    return _calendar(json.dumps([row.timezone, row.weekly_hours, row.exceptions]))


def _opening(found: BusinessCalendar, now: datetime) -> BusinessCalendar:
    """Return a calendar that opens.

    Raises:
        Problem: 422 where it doesn't within 366 days.
    """
    if not found.between(now, now + AHEAD):
        raise Problem("calendar_never_opens", "The calendar has no open time within the next 366 days; give it some.")
    return found


def revised(
    row: Calendar, exceptions: Sequence[Mapping[str, Any]], now: datetime
) -> tuple[CalendarShape, dict[str, str]]:
    """Return a calendar's next revision as it is answered, with its headers.

    Raises:
        InvalidDocumentError: an exception is wrong.
        Problem: 422 where it would never open.
    """
    document = {"timezone": row.timezone, "weekly_hours": row.weekly_hours, "exceptions": exceptions}
    found = _opening(BusinessCalendar.parse(document), now)
    changed = replace(row, exceptions=exceptions, revision=row.revision + 1)
    return _shape(changed, found), {"ETag": _etag(found)}


@lru_cache(maxsize=256)
def _calendar(written: str) -> BusinessCalendar:
    """Return a calendar by its content, with the tables that it has built already."""
    timezone, weekly_hours, exceptions = json.loads(written)
    return BusinessCalendar.parse({"timezone": timezone, "weekly_hours": weekly_hours, "exceptions": exceptions})


def _etag(found: BusinessCalendar) -> str:
    return f'"{found.fingerprint[:32]}"'


def _shape(row: Calendar, found: BusinessCalendar) -> CalendarShape:
    return CalendarShape(
        id=row.id,
        name=row.name,
        timezone=row.timezone,
        weekly_hours=dict(row.weekly_hours),
        exceptions=[ExceptionShape(**entry) for entry in row.exceptions],
        revision=row.revision,
        created_at=row.created_at,
        tzdata=found.tzdata,
        fingerprint=found.fingerprint,
    )
