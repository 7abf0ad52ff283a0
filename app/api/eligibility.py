"""Eligibility checks over HTTP: whether a request would be taken, why, and what to do instead."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from app.api import errors
from app.api.deps import AnyCaller, Caller, Manager, Writer
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Page, Pages
from app.api.shapes import (
    ClauseShape,
    Draft,
    Given,
    Instant,
    ShortProse,
    Told,
    Unwritten,
    UnwrittenLine,
    answer,
    as_values,
    from_stored,
)
from app.db import checks, clients, ids
from app.db.checks import Check, Found, Override, Scope
from app.db.statements import ConstraintError
from app.domain import eligibility, visibility
from app.domain.eligibility import AlternativeKind, Decision, Facts, Finding, FindingCode, Mode, Outcome
from app.domain.errors import FieldError
from app.domain.events import CLIENTS
from app.domain.policy import Category, Channel, Clause, Clock, Kind, Priority, Severity
from app.domain.ticket import Details

router = APIRouter(
    prefix="/v1/eligibility-checks",
    tags=["eligibility"],
    route_class=route_of("eligibility"),
)


class DetailsShape(Given):
    """What helps to resolve an issue: since when, where, and with which impact."""

    since: Unwritten = None
    where: Unwritten = None
    impact: Unwritten = None


class RequestShape(Given):
    """A request for support. A contact may leave out `client_id` and `contact_id`: they come from the key."""

    client_id: UUID | None = None
    contact_id: UUID | None = None
    channel: Channel
    category: Category
    requested_priority: Priority = Priority.NORMAL
    asset_id: UnwrittenLine = None
    service: UnwrittenLine = None
    details: DetailsShape | None = None
    outage_statement: Unwritten = None


class CheckRequest(RequestShape):
    """A request to judge; they are asked for only once a description or details are given."""

    description: Draft | None = None
    as_of: Annotated[Instant | None, Field(description="Judge at this instant instead of now.")] = None

    model_config = Given.model_config | {
        "json_schema_extra": {
            "examples": [{"channel": "portal", "category": "incident", "requested_priority": "normal"}]
        }
    }


class FindingShape(Told):
    """One thing the rules say of the request, with its clause."""

    code: FindingCode
    severity: Severity
    clause: ClauseShape
    message: str
    facts: dict[str, Any]


class AlternativeShape(Told):
    """Something that would work instead."""

    kind: AlternativeKind
    message: str
    url: str | None
    available_from: datetime | None


class HandlingShape(Told):
    """When somebody would look at it."""

    mode: Mode
    starts_at: datetime


class ExpectedClockShape(Told):
    """A promise the request would be given."""

    clock: Clock
    kind: Kind
    due_at: datetime


class DecisionShape(Told):
    """The verdict with all its reasons; `id` is null in a preview."""

    id: UUID | None
    client_id: UUID
    outcome: Outcome
    policy_version: int
    as_of: datetime
    created_at: datetime
    findings: list[FindingShape]
    alternatives: list[AlternativeShape]
    handling: HandlingShape | None
    clocks: list[ExpectedClockShape]


class OverrideRequest(Given):
    """Why a refused request is let in all the same."""

    reason: ShortProse


class OverrideShape(Told):
    """That a refused request is let in all the same; who said so and why is for the house."""

    overridden_at: datetime
    overridden_by: UUID | None
    reason: str | None


class StoredCheckShape(DecisionShape):
    """A stored decision with what was asked; `ticket_attempt` marks a ticket that was refused."""

    contact_id: UUID | None
    ticket_attempt: bool
    request: dict[str, Any]
    override: OverrideShape | None


DECIDED: Final = ("findings", "alternatives", "handling", "clocks")
"""What a stored check keeps of a decision as JSON; the rest of it has columns."""

COLUMNS: Final = ("id", "client_id", "contact_id", "outcome", "policy_version", "as_of", "created_at", "ticket_attempt")
"""What a stored check tells as its columns have it."""


@router.post(
    "",
    operation_id="check_eligibility",
    status_code=201,
    response_model=DecisionShape,
    responses={200: {"model": DecisionShape, "description": "A preview: nothing is stored."}},
)
async def check_eligibility(
    body: CheckRequest,
    caller: Writer,
    once: OnceOnly,
    *,
    store: Annotated[bool, Query(description="false for a preview that leaves nothing behind.")] = True,
) -> Response:
    """Ask whether a request would be taken, before the form is even shown.

    All findings come at once, each with its clause; `alternatives` says what to do instead,
    `handling` when somebody would look at it, `clocks` what would be promised. A denial is an
    answer like any other here: 201, or 200 for a preview.
    """
    client_id, contact_id = whose(body, caller)
    at = body.as_of or caller.now
    decision, _ = await judge(caller, body, body.description, client_id, contact_id, at)
    shape = decision_shape(decision, ids.new_id() if store else None, client_id, caller.now)
    if shape.id is None:
        await once.replay()
        return answer(shape)
    check = stored(shape, shape.id, caller, contact_id, body.model_dump(mode="json"), attempt=False)
    response = answer(shape, status=201, headers={"Location": f"/v1/eligibility-checks/{shape.id}"})
    await once.write(lambda: checks.add(caller.pool, check, once.keep(response)))
    return response


@router.get("", operation_id="list_eligibility_checks", response_model=Page[StoredCheckShape])
async def list_eligibility_checks(
    caller: AnyCaller, pages: Pages, client_id: UUID | None = None, outcome: Outcome | None = None
) -> Response:
    """List stored decisions, the newest first; refused tickets are among them with all that was written."""
    scope = _seen_by(caller)
    if scope.client_id and client_id not in {None, scope.client_id}:
        return answer(Page[StoredCheckShape](items=[], next_cursor=None))
    narrowed = replace(scope, client_id=scope.client_id or client_id)
    found = await checks.page(caller.pool, narrowed, outcome, pages.after, pages.most)
    page = pages.turn(found, fits=lambda check: check.request is not None)
    items = [_stored_shape(check, caller) for check in page.rows]
    return answer(Page[StoredCheckShape](items=items, next_cursor=page.next_cursor), headers=page.headers)


@router.get("/{check_id}", operation_id="get_eligibility_check", response_model=StoredCheckShape)
async def get_eligibility_check(check_id: UUID, caller: AnyCaller) -> Response:
    """Read a stored decision and what was asked."""
    found = await checks.get(caller.pool, check_id, _seen_by(caller))
    if found is None:
        raise errors.not_found()
    return answer(_stored_shape(found, caller))


@router.post("/{check_id}/override", operation_id="override_eligibility_check", response_model=StoredCheckShape)
async def override_eligibility_check(
    check_id: UUID, body: OverrideRequest, caller: Manager, once: OnceOnly
) -> Response:
    """Let a refused request in all the same, for a reason.

    One ticket of the same client, category and channel may then be opened with this
    `eligibility_check_id`, by whoever may open it. The decision stays as it was.
    """
    found = await checks.get(caller.pool, check_id, Scope())
    if found is None or caller.actor.id is None:
        raise errors.not_found()
    if found.overridden_at is not None:
        raise Problem("nothing_to_change", "This decision is overridden already; open the ticket with its id.")
    limits = (await caller.held.book.by_number(found.policy_version)).limits
    eligibility.require_overridable(found.outcome, found.created_at, limits, caller.now)
    entry = Override(found.client_id, found.id, body.reason, caller.actor.id, caller.now)
    after = replace(found, override_reason=body.reason, overridden_by=caller.actor.id, overridden_at=caller.now)
    response = answer(_stored_shape(after, caller))
    try:
        await once.write(lambda: checks.override(caller.pool, entry, once.keep(response), caller.by()))
    except ConstraintError as error:
        if error.name == "pk_eligibility_overrides":
            raise Problem("concurrent_update", "Somebody else has just overridden it; read it again.") from None
        raise
    return response


def _seen_by(caller: Caller) -> Scope:
    """Return which decisions a caller may know of: a client what they asked themselves, and tickets refused."""
    return Scope(caller.scope.client_id, caller.scope.contact_id, visibility.whose_questions(caller.actor))


def whose(body: RequestShape, caller: Caller) -> tuple[UUID, UUID | None]:
    """Return the client and contact a request is for: a contact's own, whatever staff name.

    Raises:
        Problem: 422 where they are missing, or are not the contact's to name.
    """
    if caller.role in CLIENTS and caller.actor.client_id and caller.actor.id:
        found = []
        if body.client_id not in {None, caller.actor.client_id}:
            found.append(FieldError("/client_id", "unknown_client", "leave it out: it comes from your key"))
        if body.contact_id not in {None, caller.actor.id}:
            found.append(FieldError("/contact_id", "unknown_contact", "leave it out: it comes from your key"))
        if found:
            raise errors.invalid(found)
        return caller.actor.client_id, caller.actor.id
    if body.client_id is None:
        raise errors.invalid([FieldError("/client_id", "missing", "say for which client")])
    return body.client_id, body.contact_id


async def judge(
    caller: Caller,
    body: RequestShape,
    description: str | None,
    client_id: UUID,
    contact_id: UUID | None,
    at: datetime,
    *,
    drawing: Literal[True] | None = None,
) -> tuple[Decision, int | None]:
    """Fetch what a request is judged by, and judge it at an instant; `drawing` draws the next ref's number as well.

    Raises:
        Problem: 422 where the client or the contact isn't there.
        NoPolicyInForceError: no policy version is in force at the instant.
    """
    terms = await caller.held.book.in_force(at)
    coverage = await clients.coverage(caller.pool, client_id, contact_id, drawing=drawing)
    if coverage is None:
        raise errors.invalid([await _unknown(caller, client_id)])
    facts = Facts(asked(body, description), coverage.agreements, coverage.contact)
    return eligibility.check(facts, terms, at), coverage.number


async def _unknown(caller: Caller, client_id: UUID) -> FieldError:
    if await clients.organisations.get(caller.pool, client_id, None):
        return FieldError("/contact_id", "unknown_contact", "name a contact of this client")
    return FieldError("/client_id", "unknown_client", "name a client that is known here")


def asked(body: RequestShape, description: str | None) -> eligibility.Request:
    """Return a body as the domain's request."""
    return eligibility.Request(
        channel=body.channel,
        category=body.category,
        priority=body.requested_priority,
        asset_id=body.asset_id,
        service=body.service,
        description=description,
        details=Details(**body.details.model_dump()) if body.details else None,
        outage_statement=body.outage_statement,
    )


async def refuse(
    caller: Caller,
    once: Once,
    decision: Decision,
    whose: tuple[UUID, UUID],
    written: dict[str, Any],
) -> Response:
    """Keep what was refused with all that was written, and answer with the decision."""
    client_id, contact_id = whose
    check_id = ids.new_id()
    shape = decision_shape(decision, check_id, client_id, caller.now)
    check = stored(shape, check_id, caller, contact_id, written, attempt=True)
    detail = "The support policy refuses this request; decision says why, and what to do instead."
    problem = Problem("not_eligible", detail, decision=as_values(shape))
    response = errors.render(once.request, problem)
    await once.write(lambda: checks.add(caller.pool, check, once.keep(response)))
    return response


def stored(
    shape: DecisionShape,
    check_id: UUID,
    caller: Caller,
    contact_id: UUID | None,
    written: dict[str, Any],
    *,
    attempt: bool,
) -> Check:
    """Return the row that keeps a decision with all that was asked."""
    return Check(
        client_id=shape.client_id,
        id=check_id,
        contact_id=contact_id,
        outcome=shape.outcome,
        policy_version=shape.policy_version,
        as_of=shape.as_of,
        created_at=shape.created_at,
        created_by_role=caller.role,
        created_by_id=caller.actor.id,
        request=written,
        decision={name: value for name, value in as_values(shape).items() if name in DECIDED},
        ticket_attempt=attempt,
    )


def decision_shape(decision: Decision, check_id: UUID | None, client_id: UUID, now: datetime) -> DecisionShape:
    """Write a decision."""
    return DecisionShape(
        id=check_id,
        client_id=client_id,
        outcome=decision.outcome,
        policy_version=decision.policy_version,
        as_of=decision.as_of,
        created_at=now,
        findings=[finding_shape(finding) for finding in decision.findings],
        alternatives=[
            AlternativeShape(kind=other.kind, message=other.message, url=other.url, available_from=other.available_from)
            for other in decision.alternatives
        ],
        handling=HandlingShape(mode=decision.handling.mode, starts_at=decision.handling.starts_at)
        if decision.handling
        else None,
        clocks=[
            ExpectedClockShape(clock=clock.clock, kind=clock.kind, due_at=clock.due_at) for clock in decision.clocks
        ],
    )


def finding_shape(finding: Finding) -> FindingShape:
    """Write a finding with its clause."""
    return FindingShape(
        code=finding.code,
        severity=finding.severity,
        clause=clause_shape(finding.clause),
        message=finding.message,
        facts=dict(finding.facts),
    )


def clause_shape(clause: Clause) -> ClauseShape:
    """Write a clause."""
    return ClauseShape(id=clause.id, title=clause.title, text=clause.text)


def _stored_shape(check: Found, caller: Caller) -> StoredCheckShape:
    house = visibility.knows_the_house(caller.actor)
    known = {name: getattr(check, name) for name in COLUMNS}
    override = check.overridden_at and {
        "overridden_at": check.overridden_at,
        "overridden_by": check.overridden_by if house else None,
        "reason": check.override_reason if house else None,
    }
    asked = visibility.asked(check.request, check.created_by_role, caller.actor)
    return from_stored(StoredCheckShape, {**check.decision, **known, "request": asked, "override": override})
