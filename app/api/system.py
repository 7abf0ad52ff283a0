"""The service about itself: is it alive, is it ready, its own description, and what its errors mean."""

from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Final

import yaml
from fastapi import APIRouter, FastAPI, Request
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.deps import Admin, Public, runtime, wall_clock
from app.api.errors import TITLES
from app.api.front_door import Route, route_of
from app.api.shapes import Given, Instant, Told, answer
from app.db import upkeep
from app.db.statements import DatabaseUnavailableError, SchemaBehindError

router = APIRouter(tags=["system"], route_class=Route)
test_router = APIRouter(prefix="/v1", tags=["test clock"], route_class=route_of(None))

WORKER_REST: Final = timedelta(seconds=30)


class Live(Told):
    """The process answers."""

    status: str


class Worker(StrEnum):
    """Whether something looks after the clocks."""

    SWEEPING = "sweeping"
    MISSING = "missing"


class Ready(Told):
    """Whether requests can be served, and by what."""

    ready: bool
    database: bool
    migrations: bool
    worker: Worker
    last_sweep_at: datetime | None
    drift: Annotated[int | None, Field(description="How many tickets weren't the fold of their events; 0 is right.")]
    last_self_check_at: datetime | None


class ProblemPage(Told):
    """What an error code means."""

    code: str
    status: int
    title: str


class TestClock(Given):
    """The instant that every request and sweep decides at."""

    now: Instant


class Swept(Told):
    """How many tickets a sweep touched."""

    as_of: datetime
    tickets: int


@router.get("/livez", operation_id="livez", response_model=Live, dependencies=[Public])
async def livez() -> Response:
    """Tell that the process answers; nothing else is asked."""
    return answer(Live(status="live"))


@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=Ready,
    dependencies=[Public],
    responses={503: {"model": Ready, "description": "Not ready: send nobody here."}},
)
async def readyz(request: Request) -> Response:
    """Tell whether the database answers with the schema this version needs, and when the worker last swept.

    A process that was told to stop isn't ready for its last two seconds.
    """
    held, found, reached = runtime(request), None, True
    try:
        found = await upkeep.readiness(held.pool)
        await upkeep.login(held.contact_pool)
    except SchemaBehindError:
        found = None
    except DatabaseUnavailableError:
        found, reached = None, False
    migrated = found is not None and found.revision not in {None, *held.behind} and not (found.owner or found.superuser)
    swept_at = found.swept_at if found else None
    seen = swept_at is not None and wall_clock() - swept_at < WORKER_REST
    shape = Ready(
        ready=migrated and not request.app.state.leaving.is_set(),
        database=reached,
        migrations=migrated,
        worker=Worker.SWEEPING if seen else Worker.MISSING,
        last_sweep_at=swept_at,
        drift=found.drift if found else None,
        last_self_check_at=found.checked_at if found else None,
    )
    return answer(shape, status=200 if shape.ready else 503)


@router.get("/problems/{code}", operation_id="get_problem", response_model=ProblemPage, dependencies=[Public])
async def get_problem(code: str) -> Response:
    """Read what an error code means: the page that `type` of a problem leads to."""
    if code not in TITLES:
        raise errors.not_found()
    status, title = TITLES[code]
    return answer(ProblemPage(code=code, status=status, title=title), headers={"Cache-Control": "max-age=3600"})


@router.get("/openapi.yaml", include_in_schema=False, dependencies=[Public])
async def openapi_yaml(request: Request) -> Response:
    """Describe the API in YAML."""
    return Response(_description(request.app), media_type="application/yaml")


@cache
def _description(app: FastAPI) -> str:
    """Written once: it takes half a second, and anybody may ask."""
    return as_yaml(app.openapi())


def as_yaml(document: dict[str, object]) -> str:
    """Write the description as the file that is checked in."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


@test_router.put("/test-clock", operation_id="set_test_clock", response_model=TestClock)
async def set_test_clock(body: TestClock, caller: Admin) -> Response:
    """Stop the clock at an instant, for every process on this database, until it is cleared; admins only.

    Without `TEST_CLOCK=1` neither this nor the sweep on demand is there: 404.
    """
    await upkeep.set_test_now(caller.held.pool, body.now)
    return answer(body)


@test_router.delete("/test-clock", operation_id="clear_test_clock", status_code=204)
async def clear_test_clock(caller: Admin) -> Response:
    """Go back to real time."""
    await upkeep.clear_test_now(caller.held.pool)
    return Response(None, 204)


@test_router.post("/sweeps", operation_id="sweep", response_model=Swept)
async def sweep(caller: Admin) -> Response:
    """Do at once what the worker would: everything that time alone has brought by now."""
    held = caller.held
    return answer(Swept(as_of=caller.now, tickets=await held.sweep(held.pool, held.book, caller.now)))
