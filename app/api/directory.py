"""Clients, contacts, agreements, subscriptions and agents over HTTP: kept by the portal under ids of its own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import errors, paging
from app.api.deps import AnyCaller, Caller, Held, House, Manager, Now, Runtime, Synchroniser
from app.api.errors import Problem
from app.api.front_door import Route
from app.api.idempotency import OnceOnly
from app.api.paging import Cursor, Limit, Page
from app.api.shapes import ExternalId, Flag, Given, Instant, Line, Number, Told, answer, etag
from app.db import clients, ids, staff
from app.db.clients import CarePlan, Client, Contact, SignedAgreement
from app.db.register import After, Register
from app.db.staff import Agent
from app.db.statements import ConstraintError
from app.domain.errors import FieldError
from app.domain.events import CLIENTS, Role
from app.domain.policy import Tier

router = APIRouter(prefix="/v1", tags=["directory"], route_class=Route)

Row = TypeVar("Row", Client, Contact, SignedAgreement, CarePlan)
OVERLAP: Final = "subscriptions_overlap"

Named: TypeAlias = Annotated[ExternalId, Path(description="The id under which another system knows it.")]
IfMatch: TypeAlias = Annotated[str | None, Header(max_length=64, description="Write only onto this version.")]
IfNoneMatch: TypeAlias = Annotated[str | None, Header(max_length=64, description="`*`: write only what isn't there.")]
Names: TypeAlias = Annotated[list[Line], Field(max_length=1_000)]


class Kept(Told):
    """What every entry of the directory carries."""

    id: UUID
    external_id: str
    created_at: Instant
    updated_at: Instant
    version: int


class ClientRequest(Given):
    """An organisation."""

    name: Line


class ClientShape(Kept):
    """An organisation that support is promised to."""

    name: str


class ContactRequest(Given):
    """A person of a client; `confirmed_at` is when they last confirmed these details."""

    client_id: UUID
    name: Line
    email: Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
    phone: Annotated[str, Field(pattern=r"^[0-9+() ./-]{3,50}$")] | None = None
    role: Annotated[Role, Field(json_schema_extra={"enum": ["contact", "client_admin"]})] = Role.CONTACT
    confirmed_at: Instant | None = None
    bounced_at: Annotated[Instant | None, Field(description="When mail to them came back.")] = None

    @model_validator(mode="after")
    def of_a_client(self) -> "ContactRequest":
        """Refuse a role of the house."""
        if self.role not in CLIENTS:
            raise ValueError("a contact's role is contact or client_admin")
        return self


class ContactShape(Kept):
    """A person of a client."""

    client_id: UUID
    name: str
    email: str
    phone: str | None
    role: Role
    confirmed_at: Instant | None
    bounced_at: Instant | None


class AgreementRequest(Given):
    """A signed contract; `assets` or `services` null covers everything of its sort, an empty list nothing."""

    client_id: UUID
    name: Line
    assets: Names | None = None
    services: Names | None = None
    support_line: Annotated[str, Field(pattern=r"^[0-9+() ./-]{3,50}$")] | None = None


class AgreementShape(Kept):
    """A client's signed contract."""

    client_id: UUID
    name: str
    assets: list[str] | None
    services: list[str] | None
    support_line: str | None


class SuspensionShape(Given):
    """A stretch in which the plan rests; `ends_at` null while it still does."""

    starts_at: Instant
    ends_at: Instant | None = None


class SubscriptionRequest(Given):
    """A care plan with all its facts, so that any instant of the past can be judged."""

    client_id: UUID
    agreement_id: UUID
    tier: Tier
    starts_on: Annotated[date, Field(description="The first local date of the plan.")]
    ends_on: Annotated[date | None, Field(description="The last local date; null for an open end.")] = None
    suspensions: Annotated[list[SuspensionShape], Field(max_length=200)] = Field(default_factory=list)
    cancelled_at: Instant | None = None

    @model_validator(mode="after")
    def in_order(self) -> "SubscriptionRequest":
        """Refuse dates that run backwards or lie outside 2000 to 2100."""
        if self.ends_on is not None and self.ends_on < self.starts_on:
            raise ValueError("ends_on may not come before starts_on")
        years = [day.year for day in (self.starts_on, self.ends_on) if day]
        if min(years) < 2000 or max(years) > 2100:  # noqa: PLR2004  # the years that instants may have
            raise ValueError("give dates between 2000 and 2100")
        if any(rest.ends_at is not None and rest.ends_at <= rest.starts_at for rest in self.suspensions):
            raise ValueError("a suspension has to end after it starts")
        return self


class SubscriptionShape(Kept):
    """A subscription to a care plan."""

    client_id: UUID
    agreement_id: UUID
    tier: Tier
    starts_on: date
    ends_on: date | None
    suspensions: list[SuspensionShape]
    cancelled_at: Instant | None


class AgentRequest(Given):
    """A person of staff."""

    name: Line
    email: Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
    role: Annotated[Role, Field(json_schema_extra={"enum": ["agent", "lead", "admin"]})] = Role.AGENT
    level: Annotated[Number, Field(ge=1, le=3)] = 1
    on_call: Flag = False

    @model_validator(mode="after")
    def of_staff(self) -> "AgentRequest":
        """Refuse a role that no person of staff has."""
        if self.role not in {Role.AGENT, Role.LEAD, Role.ADMIN}:
            raise ValueError("an agent's role is agent, lead or admin")
        return self


class AgentShape(Told):
    """A person of staff with their support level."""

    id: UUID
    name: str
    email: str
    role: Role
    level: int
    on_call: bool
    created_at: Instant
    updated_at: Instant
    version: int


# ------------------------------------------------------------------------------------- clients


@router.put(
    "/clients/by-external-id/{external_id}",
    operation_id="put_client",
    response_model=ClientShape,
    responses={201: {"model": ClientShape, "description": "It is new."}},
)
async def put_client(
    external_id: Named,
    body: ClientRequest,
    held: Held,
    caller: Synchroniser,
    now: Now,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a client, or bring it up to date."""
    _require(caller)

    def entry(found: Client | None) -> Client:
        if found:
            return replace(found, name=body.name, updated_at=now, version=found.version + 1)
        return Client(ids.new_id(), external_id, body.name, now, now, 1)

    return await _put(held, clients.organisations, external_id, entry, ClientShape, if_match, if_none_match)


@router.get("/clients", operation_id="list_clients", response_model=Page[ClientShape])
async def list_clients(
    request: Request, held: Held, caller: AnyCaller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the clients that you may know of, the newest first."""
    return await _page(request, held, clients.organisations, caller.scope.client_id, limit, cursor, ClientShape)


@router.get(
    "/clients/by-external-id/{external_id}", operation_id="get_client_by_external_id", response_model=ClientShape
)
async def get_client_by_external_id(external_id: Named, held: Held, caller: AnyCaller) -> Response:
    """Read a client by the id of the portal."""
    return await _named(held, clients.organisations, caller, external_id, "id", ClientShape)


@router.get("/clients/{client_id}", operation_id="get_client", response_model=ClientShape)
async def get_client(client_id: UUID, held: Held, caller: AnyCaller) -> Response:
    """Read a client."""
    return _one(await clients.organisations.get(held.pool, client_id, caller.scope.client_id), ClientShape)


# ------------------------------------------------------------------------------------ contacts


@router.put(
    "/contacts/by-external-id/{external_id}",
    operation_id="put_contact",
    response_model=ContactShape,
    responses={201: {"model": ContactShape, "description": "They are new."}},
)
async def put_contact(
    external_id: Named,
    body: ContactRequest,
    held: Held,
    caller: Synchroniser,
    now: Now,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a contact, or bring them up to date; a new one counts as confirmed now unless you say otherwise."""
    _require(caller)
    details: dict[str, Any] = body.model_dump(exclude={"client_id", "confirmed_at"})

    def entry(found: Contact | None) -> Contact:
        if found:
            _same("client_id", found.client_id, body.client_id)
            confirmed = body.confirmed_at or found.confirmed_at
            return replace(found, **details, confirmed_at=confirmed, updated_at=now, version=found.version + 1)
        return Contact(
            client_id=body.client_id,
            id=ids.new_id(),
            external_id=external_id,
            **details,
            confirmed_at=body.confirmed_at or now,
            created_at=now,
            updated_at=now,
            version=1,
        )

    return await _put(held, clients.people, external_id, entry, ContactShape, if_match, if_none_match)


@router.get("/contacts", operation_id="list_contacts", response_model=Page[ContactShape])
async def list_contacts(
    request: Request,
    held: Held,
    caller: AnyCaller,
    client_id: UUID | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List contacts, the newest first; a contact sees the people of their own client."""
    owner = _owner(caller, client_id)
    return await _page(request, held, clients.people, owner, limit, cursor, ContactShape)


@router.get(
    "/contacts/by-external-id/{external_id}", operation_id="get_contact_by_external_id", response_model=ContactShape
)
async def get_contact_by_external_id(external_id: Named, held: Held, caller: AnyCaller) -> Response:
    """Read a contact by the id of the portal."""
    return await _named(held, clients.people, caller, external_id, "client_id", ContactShape)


@router.get("/contacts/{contact_id}", operation_id="get_contact", response_model=ContactShape)
async def get_contact(contact_id: UUID, held: Held, caller: AnyCaller) -> Response:
    """Read a contact."""
    return _one(await clients.people.get(held.pool, contact_id, caller.scope.client_id), ContactShape)


# ---------------------------------------------------------------------------------- agreements


@router.put(
    "/agreements/by-external-id/{external_id}",
    operation_id="put_agreement",
    response_model=AgreementShape,
    responses={201: {"model": AgreementShape, "description": "It is new."}},
)
async def put_agreement(
    external_id: Named,
    body: AgreementRequest,
    held: Held,
    caller: Synchroniser,
    now: Now,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a signed agreement, or bring it up to date."""
    _require(caller)
    terms: dict[str, Any] = body.model_dump(exclude={"client_id"})

    def entry(found: SignedAgreement | None) -> SignedAgreement:
        if found:
            _same("client_id", found.client_id, body.client_id)
            return replace(found, **terms, updated_at=now, version=found.version + 1)
        return SignedAgreement(
            client_id=body.client_id,
            id=ids.new_id(),
            external_id=external_id,
            **terms,
            created_at=now,
            updated_at=now,
            version=1,
        )

    return await _put(held, clients.contracts, external_id, entry, AgreementShape, if_match, if_none_match)


@router.get("/agreements", operation_id="list_agreements", response_model=Page[AgreementShape])
async def list_agreements(
    request: Request,
    held: Held,
    caller: AnyCaller,
    client_id: UUID | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List agreements, the newest first; a contact sees their own client's."""
    owner = _owner(caller, client_id)
    return await _page(request, held, clients.contracts, owner, limit, cursor, AgreementShape)


@router.get(
    "/agreements/by-external-id/{external_id}",
    operation_id="get_agreement_by_external_id",
    response_model=AgreementShape,
)
async def get_agreement_by_external_id(external_id: Named, held: Held, caller: AnyCaller) -> Response:
    """Read an agreement by the id of the portal."""
    return await _named(held, clients.contracts, caller, external_id, "client_id", AgreementShape)


@router.get("/agreements/{agreement_id}", operation_id="get_agreement", response_model=AgreementShape)
async def get_agreement(agreement_id: UUID, held: Held, caller: AnyCaller) -> Response:
    """Read an agreement."""
    return _one(await clients.contracts.get(held.pool, agreement_id, caller.scope.client_id), AgreementShape)


# ------------------------------------------------------------------------------- subscriptions


@router.put(
    "/subscriptions/by-external-id/{external_id}",
    operation_id="put_subscription",
    response_model=SubscriptionShape,
    responses={201: {"model": SubscriptionShape, "description": "It is new."}},
)
async def put_subscription(
    external_id: Named,
    body: SubscriptionRequest,
    held: Held,
    caller: Synchroniser,
    now: Now,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a care plan, or bring its facts up to date: start, end, suspensions, cancellation.

    Two plans of one agreement may not overlap: 409 `subscriptions_overlap`.
    """
    _require(caller)
    facts: dict[str, Any] = body.model_dump(exclude={"client_id", "agreement_id", "suspensions"})
    rests = [rest.model_dump(mode="json") for rest in body.suspensions]

    def entry(found: CarePlan | None) -> CarePlan:
        if found:
            _same("client_id", found.client_id, body.client_id)
            _same("agreement_id", found.agreement_id, body.agreement_id)
            return replace(found, **facts, suspensions=rests, updated_at=now, version=found.version + 1)
        return CarePlan(
            client_id=body.client_id,
            id=ids.new_id(),
            agreement_id=body.agreement_id,
            external_id=external_id,
            **facts,
            suspensions=rests,
            created_at=now,
            updated_at=now,
            version=1,
        )

    return await _put(held, clients.plans, external_id, entry, SubscriptionShape, if_match, if_none_match)


@router.get("/subscriptions", operation_id="list_subscriptions", response_model=Page[SubscriptionShape])
async def list_subscriptions(
    request: Request,
    held: Held,
    caller: AnyCaller,
    client_id: UUID | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List care plans, the newest first; a contact sees their own client's."""
    owner = _owner(caller, client_id)
    return await _page(request, held, clients.plans, owner, limit, cursor, SubscriptionShape)


@router.get(
    "/subscriptions/by-external-id/{external_id}",
    operation_id="get_subscription_by_external_id",
    response_model=SubscriptionShape,
)
async def get_subscription_by_external_id(external_id: Named, held: Held, caller: AnyCaller) -> Response:
    """Read a care plan by the id of the portal."""
    return await _named(held, clients.plans, caller, external_id, "client_id", SubscriptionShape)


@router.get("/subscriptions/{subscription_id}", operation_id="get_subscription", response_model=SubscriptionShape)
async def get_subscription(subscription_id: UUID, held: Held, caller: AnyCaller) -> Response:
    """Read a care plan."""
    return _one(await clients.plans.get(held.pool, subscription_id, caller.scope.client_id), SubscriptionShape)


# -------------------------------------------------------------------------------------- agents


@router.post("/agents", operation_id="create_agent", status_code=201, response_model=AgentShape)
async def create_agent(body: AgentRequest, held: Held, caller: Manager, now: Now, once: OnceOnly) -> Response:
    """Add a person of staff."""
    _require(caller)
    agent = Agent(id=ids.new_id(), **body.model_dump(), created_at=now, updated_at=now, version=1)
    shape = _shape(agent, AgentShape)
    headers = {"Location": f"/v1/agents/{agent.id}", "ETag": etag(1)}
    kept = once.answer(201, headers | {"Content-Type": "application/json"}, shape.model_dump_json().encode())
    try:
        await once.write(lambda: staff.agents_register.add(held.pool, agent, kept))
    except ConstraintError as error:
        raise _refused(error) from None
    return answer(shape, status=201, headers=headers)


@router.get("/agents", operation_id="list_agents", response_model=Page[AgentShape])
async def list_agents(
    request: Request, held: Held, caller: House, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the people of staff, the newest first."""
    _require(caller)
    return await _page(request, held, staff.agents_register, None, limit, cursor, AgentShape)


@router.get("/agents/{agent_id}", operation_id="get_agent", response_model=AgentShape)
async def get_agent(agent_id: UUID, held: Held, caller: House) -> Response:
    """Read a person of staff."""
    _require(caller)
    return _one(await staff.agents_register.get(held.pool, agent_id, None), AgentShape)


# ------------------------------------------------------------------------------- the same for all


def _require(_caller: Caller) -> None:
    """Use the caller: that they may call at all is declared by the type of the argument."""


def _owner(caller: Caller, client_id: UUID | None) -> UUID | None:
    """Return whose entries to list: a contact's own client's, whatever they ask for."""
    own = caller.scope.client_id
    if own and client_id not in {None, own}:
        raise errors.invalid([FieldError("/query/client_id", "unknown_client", "leave it out: it comes from your key")])
    return own or client_id


def _same(name: str, found: UUID, given: UUID) -> None:
    if found != given:
        raise Problem("belongs_elsewhere", f"This external id is in use with another {name}; choose a new external id.")


def _shape(row: Any, shape: type[Told]) -> Told:  # noqa: ANN401  # a row of the directory
    return shape.model_validate(asdict(row))


def _one(row: Any, shape: type[Told]) -> Response:  # noqa: ANN401  # a row of the directory
    if row is None:
        raise errors.not_found()
    return answer(_shape(row, shape), headers={"ETag": etag(row.version)})


async def _named(
    held: Runtime, register: Register[Any], caller: Caller, name: str, owner: str, shape: type[Told]
) -> Response:
    found = await register.by_name(held.pool, name)
    if found is not None and caller.scope.client_id not in {None, getattr(found, owner)}:
        found = None
    return _one(found, shape)


async def _page(
    request: Request,
    held: Runtime,
    register: Register[Any],
    owner: UUID | None,
    limit: int,
    cursor: str | None,
    shape: type[Told],
) -> Response:
    place = paging.read(request, held.cursor_secret, cursor)
    after = After(datetime.fromisoformat(place[0]), UUID(place[1])) if place else None
    found: Sequence[Any] = await register.page(held.pool, owner, after, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    where = (last.created_at.isoformat(), last.id) if last else None
    next_cursor, headers = paging.next_page(request, held.cursor_secret, where)
    items = [_shape(row, shape) for row in found[:limit]]
    page: Page[Any] = Page[shape](items=items, next_cursor=next_cursor)  # type: ignore[valid-type]  # known when it runs
    return answer(page, headers=headers)


async def _put(
    held: Runtime,
    register: Register[Row],
    external_id: str,
    entry: Callable[[Row | None], Row],
    shape: type[Told],
    if_match: str | None,
    if_none_match: str | None,
) -> Response:
    """Create or replace by external id; where somebody else was faster, look again once."""
    for _ in range(2):
        found = await register.by_name(held.pool, external_id)
        if if_match is not None and (found is None or if_match not in {"*", etag(found.version)}):
            raise Problem(
                "precondition_failed", "It has moved on since the version you named; read it again, then decide again."
            )
        if if_none_match is not None and found is not None:
            raise Problem("precondition_failed", "It is there already; send If-Match to change it.")
        row = entry(found)
        try:
            written = await (register.save(held.pool, row) if found else register.add(held.pool, row, None))
        except ConstraintError as error:
            if not found and error.name.endswith("_external_id"):
                continue
            raise _refused(error) from None
        if written:
            status = 200 if found else 201
            return answer(_shape(row, shape), status=status, headers={"ETag": etag(row.version)})
    raise Problem("concurrent_update", "Somebody else is writing this right now; read it and try again.")


def _refused(error: ConstraintError) -> Problem:
    """Say which rule of the schema a write would break."""
    if error.name == OVERLAP:
        return Problem(
            "subscriptions_overlap",
            "Another plan of this agreement covers some of these days; end or cancel that one first.",
        )
    if error.name.startswith("fk_"):
        field = "agreement_id" if "agreement_id" in error.name else "client_id"
        return errors.invalid([FieldError(f"/{field}", f"unknown_{field[:-3]}", "name one that is known here")])
    if error.name.startswith("uq_"):
        return Problem(
            "name_taken", "Another one has this name or address already; choose another, or change that one."
        )
    return errors.invalid([FieldError("", "refused", "these values contradict each other")])
