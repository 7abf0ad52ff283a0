"""The support policy over HTTP: what is in force, and every version there is."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from app.api import errors
from app.api.deps import AnyCaller, Held, Now
from app.api.front_door import Route
from app.api.paging import Page
from app.api.shapes import ClauseShape, Instant, Told, answer, etag
from app.db import policies
from app.db.policies import Version
from app.domain import policy
from app.domain.calendar import Base
from app.domain.hours import WEEKDAYS
from app.domain.policy import Clock, Kind, PolicyVersion, Priority, Target

router = APIRouter(prefix="/v1", tags=["policy"], route_class=Route)


class TargetShape(Told):
    """A promise: how much time, in which base; `priority` null holds for every one not named apart."""

    clock: Clock
    priority: Priority | None
    kind: Kind
    clause: str
    target_seconds: int
    base: Base
    warn_at_percent: list[int]


class PolicyShape(Told):
    """A policy version: its clauses, hours and promises, and what its owner has left open."""

    version: int
    effective_from: Instant
    published_at: Instant
    timezone: str
    weekly_hours: dict[str, list[list[str]]]
    clauses: list[ClauseShape]
    targets: list[TargetShape]
    email_address: str | None
    booking_url: str | None
    open_questions: list[str]


@router.get("/policy", operation_id="get_policy", response_model=PolicyShape)
async def get_policy(held: Held, _caller: AnyCaller, now: Now, as_of: Instant | None = None) -> Response:
    """Read the policy in force now, or at another instant."""
    terms = await held.book.in_force(as_of or now)
    found = next(version for version in await policies.versions(held.pool) if version.number == terms.policy.number)
    return answer(_shape(found), headers={"Cache-Control": "private, max-age=60"})


@router.get("/policy-versions", operation_id="list_policy_versions", response_model=Page[PolicyShape])
async def list_policy_versions(held: Held, _caller: AnyCaller) -> Response:
    """List all versions, the first to take effect first."""
    items = [_shape(version) for version in await policies.versions(held.pool)]
    return answer(Page[PolicyShape](items=items, next_cursor=None), headers={"Cache-Control": "private, max-age=60"})


@router.get("/policy-versions/{number}", operation_id="get_policy_version", response_model=PolicyShape)
async def get_policy_version(
    request: Request, number: Annotated[int, Path(ge=1, le=1_000_000)], held: Held, _caller: AnyCaller
) -> Response:
    """Read one version; a published one never changes."""
    found = next((version for version in await policies.versions(held.pool) if version.number == number), None)
    if found is None:
        raise errors.not_found()
    headers = {"ETag": etag(found.number), "Cache-Control": "private, max-age=3600"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    return answer(_shape(found), headers=headers)


def _shape(found: Version) -> PolicyShape:
    version = policy.parse(found.document)
    return PolicyShape(
        version=version.number,
        effective_from=version.effective_from,
        published_at=found.published_at,
        timezone=version.timezone,
        weekly_hours={
            day: [str(window).split("-") for window in windows]
            for day, windows in zip(WEEKDAYS, version.weekly, strict=True)
        },
        clauses=[ClauseShape(id=c.id, title=c.title, text=c.text) for c in version.clauses.values()],
        targets=_targets(version),
        email_address=version.email_address,
        booking_url=version.booking_url,
        open_questions=list(version.open_questions),
    )


def _targets(version: PolicyVersion) -> list[TargetShape]:
    usual = [_target(target, None) for target in version.targets.values()]
    return usual + [_target(target, priority) for (_, priority), target in version.targets_by_priority.items()]


def _target(target: Target, priority: Priority | None) -> TargetShape:
    return TargetShape(
        clock=target.clock,
        priority=priority,
        kind=target.kind,
        clause=target.clause,
        target_seconds=target.amount // timedelta(seconds=1),
        base=target.base,
        warn_at_percent=list(target.warn_at),
    )
