"""Clients, contacts, agreements and subscriptions over HTTP: kept by the portal under ids of its own."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import errors, registers
from app.api.deps import AnyCaller, ByClient, Caller, Synchroniser, everywhere
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import Once, OnceOnly
from app.api.paging import Page, Pages
from app.api.registers import IfMatch, IfNoneMatch, Kept, Named, Names
from app.api.shapes import Day, Email, Given, Instant, Line, Phone
from app.db import clients, ids
from app.db.clients import CarePlan, Client, Contact, SignedAgreement
from app.domain.events import Role
from app.domain.policy import Tier

router = APIRouter(prefix="/v1", tags=["directory"], route_class=route_of("directory"))

JUST_NOW: Final = timedelta(seconds=10)
"""Longer than a change takes, anybody is remembered, and clocks of several machines differ."""


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
    email: Email
    phone: Phone | None = None
    role: Literal[Role.CONTACT, Role.CLIENT_ADMIN] = Role.CONTACT
    confirmed_at: Instant | None = None
    bounced_at: Annotated[Instant | None, Field(description="When mail to them came back.")] = None


class ContactShape(Kept):
    """A person of a client."""

    client_id: UUID
    name: str
    email: str
    phone: str | None
    role: Role
    confirmed_at: datetime | None
    bounced_at: datetime | None


class ContactChange(Given):
    """What a person changes of their own details; what is left out stays."""

    name: Line | None = None
    email: Email | None = None
    phone: Annotated[Phone | None, Field(description="null takes it away.")] = None


class AgreementRequest(Given):
    """A signed contract; `assets` or `services` null covers everything of its sort, an empty list nothing."""

    client_id: UUID
    name: Line
    assets: Names | None = None
    services: Names | None = None
    support_line: Phone | None = None


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

    @model_validator(mode="after")
    def in_order(self) -> "SuspensionShape":
        """Refuse a rest that runs backwards."""
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("a suspension has to end after it starts")
        return self


class SubscriptionRequest(Given):
    """A care plan with all its facts, so that any instant of the past can be judged."""

    client_id: UUID
    agreement_id: UUID
    tier: Tier
    starts_on: Annotated[Day, Field(description="The first local date of the plan.")]
    ends_on: Annotated[Day | None, Field(description="The last local date; null for an open end.")] = None
    suspensions: Annotated[list[SuspensionShape], Field(max_length=200)] = Field(default_factory=list)
    cancelled_at: Instant | None = None


class SubscriptionShape(Kept):
    """A subscription to a care plan."""

    client_id: UUID
    agreement_id: UUID
    tier: Tier
    starts_on: date
    ends_on: date | None
    suspensions: list[SuspensionShape]
    cancelled_at: datetime | None


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
    caller: Synchroniser,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a client, or bring it up to date."""

    def entry(found: Client | None) -> Client:
        if found:
            return replace(found, name=body.name, updated_at=caller.now, version=found.version + 1)
        return Client(ids.new_id(), external_id, body.name, caller.now, caller.now, 1)

    return await registers.put(clients.organisations, caller, external_id, entry, ClientShape, if_match, if_none_match)


@router.get("/clients", operation_id="list_clients", response_model=Page[ClientShape])
async def list_clients(caller: AnyCaller, pages: Pages) -> Response:
    """List the clients that you may know of, the newest first."""
    return await registers.page(clients.organisations, caller, caller.scope.client_id, pages, ClientShape)


@router.get(
    "/clients/by-external-id/{external_id}", operation_id="get_client_by_external_id", response_model=ClientShape
)
async def get_client_by_external_id(external_id: Named, caller: AnyCaller) -> Response:
    """Read a client by the id of the portal."""
    return await registers.named(clients.organisations, caller, external_id, ClientShape)


@router.get("/clients/{client_id}", operation_id="get_client", response_model=ClientShape)
async def get_client(client_id: UUID, caller: AnyCaller) -> Response:
    """Read a client."""
    return registers.one(await clients.organisations.get(caller.pool, client_id, caller.scope.client_id), ClientShape)


# ------------------------------------------------------------------------------------ contacts


@router.put(
    "/contacts/by-external-id/{external_id}",
    operation_id="put_contact",
    response_model=ContactShape,
    responses={201: {"model": ContactShape, "description": "They are new."}},
)
async def put_contact(
    request: Request,
    external_id: Named,
    body: ContactRequest,
    caller: Synchroniser,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a contact, or bring them up to date.

    A new one counts as confirmed now unless you say otherwise, and so does one whose address or number
    changes; otherwise `confirmed_at` and `bounced_at` stay as they are where they are left out.
    """
    details: dict[str, Any] = body.model_dump(exclude={"client_id", "confirmed_at"})
    known_before = list[Contact]()

    def entry(found: Contact | None) -> Contact:
        if found:
            registers.same("client_id", found.client_id, body.client_id)
            known_before.append(found)
            same = (found.email, found.phone) == (body.email, body.phone)
            confirmed = body.confirmed_at or (found.confirmed_at if same else caller.now)
            bounced = body.bounced_at if "bounced_at" in body.model_fields_set or not same else found.bounced_at
            whole = details | {"confirmed_at": confirmed, "bounced_at": bounced}
            return replace(found, **whole, updated_at=caller.now, version=found.version + 1)
        return Contact(
            client_id=body.client_id,
            id=ids.new_id(),
            external_id=external_id,
            **details,
            confirmed_at=body.confirmed_at or caller.now,
            created_at=caller.now,
            updated_at=caller.now,
            version=1,
        )

    try:
        return await registers.put(clients.people, caller, external_id, entry, ContactShape, if_match, if_none_match)
    finally:
        # Also where somebody has changed it a moment ago, perhaps this very caller, whose answer was lost.
        if any(found.role != body.role or caller.now - found.updated_at < JUST_NOW for found in known_before):
            await everywhere(request)


@router.get("/contacts", operation_id="list_contacts", response_model=Page[ContactShape])
async def list_contacts(caller: AnyCaller, pages: Pages, client_id: UUID | None = None) -> Response:
    """List contacts, the newest first; a contact sees the people of their own client."""
    owner = registers.owner(caller, client_id)
    return await registers.page(clients.people, caller, owner, pages, ContactShape)


@router.get(
    "/contacts/by-external-id/{external_id}", operation_id="get_contact_by_external_id", response_model=ContactShape
)
async def get_contact_by_external_id(external_id: Named, caller: AnyCaller) -> Response:
    """Read a contact by the id of the portal."""
    return await registers.named(clients.people, caller, external_id, ContactShape)


@router.get("/contacts/{contact_id}", operation_id="get_contact", response_model=ContactShape)
async def get_contact(contact_id: UUID, caller: AnyCaller) -> Response:
    """Read a contact."""
    return registers.one(await clients.people.get(caller.pool, contact_id, caller.scope.client_id), ContactShape)


@router.patch("/contacts/{contact_id}", operation_id="change_contact", response_model=ContactShape)
async def change_contact(contact_id: UUID, body: ContactChange, caller: ByClient, if_match: IfMatch = None) -> Response:
    """Change your own details; they count as confirmed then. `If-Match` is required."""
    found = await _own_details(caller, contact_id)
    registers.require_match(if_match, found.version)
    return await _save_details(caller, replace(found, **registers.changes(body, {"phone"})))


@router.post("/contacts/{contact_id}/confirm", operation_id="confirm_contact", response_model=ContactShape)
async def confirm_contact(contact_id: UUID, caller: ByClient, once: OnceOnly, if_match: IfMatch = None) -> Response:
    """Say that your own details are right as they are: the warning that they are old goes away."""
    found = await _own_details(caller, contact_id)
    if if_match is not None:
        registers.require_match(if_match, found.version)
    return await _save_details(caller, found, once)


async def _own_details(caller: Caller, contact_id: UUID) -> Contact:
    client_id, own_id = registers.own(caller)
    found = await clients.people.get(caller.pool, contact_id, client_id)
    if found is None:
        raise errors.not_found()
    if found.id != own_id:
        raise Problem("forbidden", "These are somebody else's details; only they themselves may change them.")
    return found


async def _save_details(caller: Caller, found: Contact, once: Once | None = None) -> Response:
    """Store details as their owner says they are: confirmed now, and mail to them is tried again."""
    changed = replace(found, confirmed_at=caller.now, bounced_at=None, updated_at=caller.now, version=found.version + 1)
    return await registers.save(clients.people, caller, changed, ContactShape, once)


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
    caller: Synchroniser,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a signed agreement, or bring it up to date."""
    terms: dict[str, Any] = body.model_dump(exclude={"client_id"})

    def entry(found: SignedAgreement | None) -> SignedAgreement:
        if found:
            registers.same("client_id", found.client_id, body.client_id)
            return replace(found, **terms, updated_at=caller.now, version=found.version + 1)
        return SignedAgreement(
            client_id=body.client_id,
            id=ids.new_id(),
            external_id=external_id,
            **terms,
            created_at=caller.now,
            updated_at=caller.now,
            version=1,
        )

    return await registers.put(clients.contracts, caller, external_id, entry, AgreementShape, if_match, if_none_match)


@router.get("/agreements", operation_id="list_agreements", response_model=Page[AgreementShape])
async def list_agreements(caller: AnyCaller, pages: Pages, client_id: UUID | None = None) -> Response:
    """List agreements, the newest first; a contact sees their own client's."""
    owner = registers.owner(caller, client_id)
    return await registers.page(clients.contracts, caller, owner, pages, AgreementShape)


@router.get(
    "/agreements/by-external-id/{external_id}",
    operation_id="get_agreement_by_external_id",
    response_model=AgreementShape,
)
async def get_agreement_by_external_id(external_id: Named, caller: AnyCaller) -> Response:
    """Read an agreement by the id of the portal."""
    return await registers.named(clients.contracts, caller, external_id, AgreementShape)


@router.get("/agreements/{agreement_id}", operation_id="get_agreement", response_model=AgreementShape)
async def get_agreement(agreement_id: UUID, caller: AnyCaller) -> Response:
    """Read an agreement."""
    return registers.one(await clients.contracts.get(caller.pool, agreement_id, caller.scope.client_id), AgreementShape)


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
    caller: Synchroniser,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Create a care plan, or bring its facts up to date: start, end, suspensions, cancellation.

    Two plans of one agreement may not overlap: 409 `subscriptions_overlap`.
    """
    facts: dict[str, Any] = body.model_dump(exclude={"client_id", "agreement_id", "suspensions"})
    rests = [rest.model_dump(mode="json") for rest in body.suspensions]

    def entry(found: CarePlan | None) -> CarePlan:
        if found:
            registers.same("client_id", found.client_id, body.client_id)
            registers.same("agreement_id", found.agreement_id, body.agreement_id)
            return replace(found, **facts, suspensions=rests, updated_at=caller.now, version=found.version + 1)
        return CarePlan(
            client_id=body.client_id,
            id=ids.new_id(),
            agreement_id=body.agreement_id,
            external_id=external_id,
            **facts,
            suspensions=rests,
            created_at=caller.now,
            updated_at=caller.now,
            version=1,
        )

    return await registers.put(clients.plans, caller, external_id, entry, SubscriptionShape, if_match, if_none_match)


@router.get("/subscriptions", operation_id="list_subscriptions", response_model=Page[SubscriptionShape])
async def list_subscriptions(caller: AnyCaller, pages: Pages, client_id: UUID | None = None) -> Response:
    """List care plans, the newest first; a contact sees their own client's."""
    owner = registers.owner(caller, client_id)
    return await registers.page(clients.plans, caller, owner, pages, SubscriptionShape)


@router.get(
    "/subscriptions/by-external-id/{external_id}",
    operation_id="get_subscription_by_external_id",
    response_model=SubscriptionShape,
)
async def get_subscription_by_external_id(external_id: Named, caller: AnyCaller) -> Response:
    """Read a care plan by the id of the portal."""
    return await registers.named(clients.plans, caller, external_id, SubscriptionShape)


@router.get("/subscriptions/{subscription_id}", operation_id="get_subscription", response_model=SubscriptionShape)
async def get_subscription(subscription_id: UUID, caller: AnyCaller) -> Response:
    """Read a care plan."""
    return registers.one(
        await clients.plans.get(caller.pool, subscription_id, caller.scope.client_id), SubscriptionShape
    )
