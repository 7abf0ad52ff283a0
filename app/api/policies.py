"""The support policy over HTTP: what is in force, every version there is, the next one, and who has reviewed it."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import JSONResponse, Response

from app.api import errors, registers
from app.api.deps import Admin, AnyCaller, ByClient, Caller, Everywhere, House, Runtime, everywhere, instant_by
from app.api.eligibility import clause_shape
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Page, Pages
from app.api.shapes import ClauseShape, Given, Instant, Number, Told, answer, as_json
from app.db import idempotency, policies, tickets
from app.db import pool as pools
from app.db.policies import Acknowledgement, AfterReview, Book, Version
from app.db.pool import Transaction
from app.db.statements import Connection, ConstraintError, LockTimeoutError
from app.domain import hours, policy, publishing
from app.domain.calendar import Base
from app.domain.errors import FieldError
from app.domain.policy import Clock, Kind, PolicyVersion, Priority, Target

router = APIRouter(prefix="/v1", tags=["policy"], route_class=route_of("policy"))

MOST_VERSIONS = 1_000_000
LEVELS = (1, 2, 3)

VersionNumber: TypeAlias = Annotated[int, Path(ge=1, le=MOST_VERSIONS, description="The version's number.")]


class TargetShape(Told):
    """A promise: how much time, in which base; `priority` null holds for every one not named apart.

    `target_seconds` is null for the date that staff give for a complex issue: how far ahead it lies is theirs to say.
    """

    clock: Clock
    priority: Priority | None
    kind: Kind
    clause: str
    target_seconds: int | None
    base: Base
    warn_at_percent: list[int]


class PriorityShape(Told):
    """What a priority means: which ones are urgent, and for which there is help after hours."""

    priority: Priority
    urgent: bool
    emergency: bool
    clause: ClauseShape


class LevelShape(Told):
    """What a support level means."""

    level: int
    clause: ClauseShape


class FollowingShape(Told):
    """The version that takes effect next, and the clause by which the policy may change."""

    version: int
    effective_from: datetime
    clause: ClauseShape


class PolicyShape(Told):
    """A policy version: its clauses, hours and promises, and what its owner has left open."""

    version: int
    effective_from: datetime
    published_at: datetime
    taken_back_at: datetime | None
    following: FollowingShape | None
    timezone: str
    weekly_hours: dict[str, list[list[str]]]
    clauses: list[ClauseShape]
    targets: list[TargetShape]
    priorities: list[PriorityShape]
    levels: list[LevelShape]
    email_address: str | None
    booking_url: str | None
    open_questions: list[str]


class AcknowledgementRequest(Given):
    """Which version was reviewed; the one in force where it is left out."""

    policy_version: Annotated[Number | None, Body(ge=1, le=MOST_VERSIONS)] = None


class AcknowledgementShape(Told):
    """That a client has reviewed a version of the policy."""

    client_id: UUID
    contact_id: UUID
    policy_version: int
    acknowledged_at: datetime


@router.get("/policy", operation_id="get_policy", response_model=PolicyShape)
async def get_policy(caller: AnyCaller, as_of: Instant | None = None) -> Response:
    """Read the policy in force now, or at another instant; `following` announces the next version."""
    terms = await caller.held.book.in_force(as_of or caller.now)
    found = await _found(caller.pool, terms.policy.number)
    shape = _shape(found, caller.held.book)
    return answer(shape, headers={"Cache-Control": "private, max-age=60", "ETag": _etag(shape)})


@router.get("/policy-versions", operation_id="list_policy_versions", response_model=Page[PolicyShape])
async def list_policy_versions(caller: AnyCaller, pages: Pages) -> Response:
    """List all versions, the first to take effect first; scheduled ones and those taken back are among them."""
    after = (datetime.fromisoformat(pages.place[0]), pages.place[1]) if pages.place else None
    known = [(version.effective_from, version.number, version) for version in await policies.versions(caller.pool)]
    later = [version for at, number, version in known if after is None or (at, number) > after]
    page = pages.turn(later, lambda version: (version.effective_from.isoformat(), version.number))
    items = [_shape(version, caller.held.book) for version in page.rows]
    return answer(Page[PolicyShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


@router.get("/policy-versions/{number}", operation_id="get_policy_version", response_model=PolicyShape)
async def get_policy_version(request: Request, number: VersionNumber, caller: AnyCaller) -> Response:
    """Read one version; what it says never changes once it is published."""
    shape = _shape(await _found(caller.pool, number), caller.held.book)
    headers = {"ETag": _etag(shape), "Cache-Control": "private, max-age=60"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    return answer(shape, headers=headers)


@router.get("/policy-versions/{number}/document", operation_id="get_policy_document", response_model=dict[str, Any])
async def get_policy_document(number: VersionNumber, caller: House) -> Response:
    """Read a version as the document that it was published from: change a copy of it to publish the next one."""
    return JSONResponse((await _found(caller.held.pool, number)).document)


@router.post(
    "/policy-versions",
    operation_id="publish_policy_version",
    status_code=201,
    response_model=PolicyShape,
    responses={200: {"model": PolicyShape, "description": "A preview: nothing is stored."}},
)
async def publish_policy_version(
    body: Annotated[
        dict[str, Any],
        Body(
            description="The whole document, as `GET /v1/policy-versions/{number}/document` gives it. `version` may be"
            " left out, and `effective_from` too: then it takes effect at once. A date means midnight in its zone."
        ),
    ],
    caller: Admin,
    once: OnceOnly,
    *,
    store: Annotated[bool, Query(description="false to have the document checked and nothing published.")] = True,
) -> Response:
    """Publish the next version of the policy, in force now or from an instant to come.

    Every field that is wrong is named at once. Tickets keep the version they were received under;
    what is judged anew is judged by the one in force then. Until it takes effect it may be taken back.
    """
    if store:
        await everywhere(once.request)
    upcoming = caller.held.book.upcoming(body, caller.now)
    _require_own_instant(upcoming, caller.held.book)
    if not store:
        await once.replay()
        return answer(_shape(upcoming, caller.held.book))
    return await once.write(lambda: _publish(caller, body, once))


@asynccontextmanager
async def _alone(held: Runtime) -> AsyncIterator[tuple[Transaction, Book]]:
    """Hold a transaction in which nobody else writes a ticket, and what is published then.

    Everything in it goes by its own connection: the pool's others may be waiting for it.

    Raises:
        Problem: 409 where those who write don't come to an end.
    """
    async with pools.transaction(held.pool) as connection:
        # Whoever is writing a ticket now is waited for, and whoever comes later sees the new version.
        try:
            await tickets.hold_back_writes(connection)
        except LockTimeoutError:
            detail = "Too many tickets are being written right now; send this again in a moment."
            raise Problem("concurrent_update", detail) from None
        book = Book(connection)
        await book.read()
        yield connection, book


async def _publish(caller: Caller, document: Mapping[str, Any], once: Once) -> Response:
    async with _alone(caller.held) as (connection, book):
        await once.replay(connection)
        version = book.upcoming(document, await instant_by(connection, caller.held))
        _require_own_instant(version, book)
        shape = _shape(version, book)
        headers = {"Location": f"/v1/policy-versions/{version.number}", "ETag": _etag(shape)}
        response = answer(shape, status=201, headers=headers)
        kept = once.keep(response)
        if not await policies.publish(connection, version, caller.by(version.published_at)):
            raise Problem("concurrent_update", "Somebody else has just published this version; read it, then decide.")
        if kept:
            await idempotency.keep(connection, kept)
    return response


def _require_own_instant(version: Version, book: Book) -> None:
    """See that no other version takes effect at the same instant.

    Raises:
        Problem: 409 where one does.
    """
    if any(other.effective_from == version.effective_from for other in book.live):
        detail = "Another version takes effect at this very instant; choose another one, or take that one back."
        raise Problem("effective_from_taken", detail)


@router.post(
    "/policy-versions/{number}/take-back",
    operation_id="take_back_policy_version",
    response_model=PolicyShape,
    dependencies=[Everywhere],
)
async def take_back_policy_version(number: VersionNumber, caller: Admin, once: OnceOnly) -> Response:
    """Take back a version that hasn't taken effect; its number stays used, and its text can still be read."""
    return await once.write(lambda: _take_back(caller, number, once))


async def _take_back(caller: Caller, number: int, once: Once) -> Response:
    async with _alone(caller.held) as (connection, book):
        await once.replay(connection)
        found, now = await _found(connection, number), await instant_by(connection, caller.held)
        publishing.require_ahead(found.effective_from, found.taken_back_at, now)
        shape = _shape(replace(found, taken_back_at=now), book)
        response = answer(shape, headers={"ETag": _etag(shape)})
        kept = once.keep(response)
        if not await policies.take_back(connection, number, now, caller.by(now)):
            raise Problem("concurrent_update", "Somebody else has just taken this version back; read it again.")
        if kept:
            await idempotency.keep(connection, kept)
    return response


@router.post(
    "/policy-acknowledgements",
    operation_id="acknowledge_policy",
    status_code=201,
    response_model=AcknowledgementShape,
    responses={200: {"model": AcknowledgementShape, "description": "Your client had reviewed it already."}},
)
async def acknowledge_policy(body: AcknowledgementRequest, caller: ByClient, once: OnceOnly) -> Response:
    """Say that your client has reviewed a version of the policy; the first of its people to say so is kept.

    `policy_review` of `GET /v1/me` tells whether a review is due. Not having reviewed refuses nothing.
    """
    version = caller.held.book.policies.get(body.policy_version) if body.policy_version else None
    if body.policy_version is None:
        version = (await caller.held.book.in_force(caller.now)).policy
    if version not in caller.held.book.live:
        raise errors.invalid([FieldError("/policy_version", "unknown_version", "name a version that is published")])
    client_id, contact_id = registers.own(caller)
    entry = Acknowledgement(client_id, version.number, contact_id, caller.now)
    response = answer(_acknowledged(entry), status=201)
    try:
        await once.write(lambda: policies.acknowledge(caller.pool, entry, once.keep(response), caller.by()))
    except ConstraintError as error:
        first = await policies.acknowledgement(caller.pool, client_id, version.number)
        if error.name != "pk_policy_acknowledgements" or first is None:
            raise
        response = answer(_acknowledged(first))
        again = once.keep(response)
        if again:
            await once.write(lambda: idempotency.keep(caller.pool, again))
    return response


@router.get(
    "/policy-acknowledgements",
    operation_id="list_policy_acknowledgements",
    response_model=Page[AcknowledgementShape],
)
async def list_policy_acknowledgements(
    caller: AnyCaller,
    pages: Pages,
    client_id: UUID | None = None,
    policy_version: Annotated[int | None, Query(ge=1, le=MOST_VERSIONS)] = None,
) -> Response:
    """List who has reviewed which version, the newest first; a contact sees their own client's."""
    whose = registers.owner(caller, client_id)
    at = pages.place
    after = AfterReview(datetime.fromisoformat(at[0]), UUID(at[1]), at[2]) if at else None
    found = await policies.acknowledgements(caller.pool, whose, policy_version, after, pages.most)
    page = pages.turn(found, lambda entry: (entry.acknowledged_at.isoformat(), entry.client_id, entry.policy_version))
    items = [_acknowledged(entry) for entry in page.rows]
    return answer(Page[AcknowledgementShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


async def _found(via: Connection, number: int) -> Version:
    found = next((version for version in await policies.versions(via) if version.number == number), None)
    if found is None:
        raise errors.not_found()
    return found


def _acknowledged(entry: Acknowledgement) -> AcknowledgementShape:
    return AcknowledgementShape(
        client_id=entry.client_id,
        contact_id=entry.contact_id,
        policy_version=entry.policy_version,
        acknowledged_at=entry.acknowledged_at,
    )


def _etag(shape: PolicyShape) -> str:
    """Return the entity tag of a version: it changes when it is taken back, and when another one follows."""
    return f'"{hashlib.sha256(as_json(shape)).hexdigest()[:32]}"'


def _shape(found: Version, book: Book) -> PolicyShape:
    version = book.policies.get(found.number) or policy.parse(found.document)
    following = None if found.taken_back_at else book.following(version)
    return PolicyShape(
        version=version.number,
        effective_from=version.effective_from,
        published_at=found.published_at,
        taken_back_at=found.taken_back_at,
        following=FollowingShape(
            version=following.number,
            effective_from=following.effective_from,
            clause=_clause(version, "changes.right-to-update"),
        )
        if following
        else None,
        timezone=version.timezone,
        weekly_hours=hours.written(version.weekly),
        clauses=[_clause(version, name) for name in version.clauses],
        targets=_targets(version),
        priorities=[
            PriorityShape(
                priority=priority,
                urgent=priority in version.urgent,
                emergency=priority in version.emergency,
                clause=_clause(version, f"priority.{priority}"),
            )
            for priority in Priority
        ],
        levels=[LevelShape(level=level, clause=_clause(version, f"escalation.level-{level}")) for level in LEVELS],
        email_address=version.email_address,
        booking_url=version.booking_url,
        open_questions=list(version.open_questions),
    )


def _clause(version: PolicyVersion, name: str) -> ClauseShape:
    return clause_shape(version.clauses[name])


def _targets(version: PolicyVersion) -> list[TargetShape]:
    usual = [_target(target, None) for target in (*version.targets.values(), version.expected)]
    return usual + [_target(target, priority) for (_, priority), target in version.targets_by_priority.items()]


def _target(target: Target, priority: Priority | None) -> TargetShape:
    return TargetShape(
        clock=target.clock,
        priority=priority,
        kind=target.kind,
        clause=target.clause,
        target_seconds=target.amount // timedelta(seconds=1) or None,
        base=target.base,
        warn_at_percent=list(target.warn_at),
    )
