"""Clients, their people, their signed agreements and the care plans that belong to these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ClauseElement, and_, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.db.register import Register
from app.db.statements import one
from app.db.tables import Shaped, agreements, clients, contacts, subscriptions, ticket_refs
from app.db.wall import within
from app.domain.eligibility import Agreement, ContactDetails, Subscription, Suspension
from app.domain.events import Role, read_instant
from app.domain.policy import Tier


@dataclass(frozen=True, slots=True)
class Client:
    """An organisation under the id that the portal knows it by."""

    id: UUID
    external_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Contact:
    """A person of a client."""

    client_id: UUID
    id: UUID
    external_id: str
    name: str
    email: str
    phone: str | None
    role: Role
    confirmed_at: datetime | None
    bounced_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class SignedAgreement:
    """A client's contract: what it covers, and the line it names."""

    client_id: UUID
    id: UUID
    external_id: str
    name: str
    assets: list[str] | None
    services: list[str] | None
    support_line: str | None
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class CarePlan:
    """A subscription to a care plan, with its suspensions as `{"starts_at", "ends_at"}`."""

    client_id: UUID
    id: UUID
    agreement_id: UUID
    external_id: str
    tier: Tier
    starts_on: date
    ends_on: date | None
    suspensions: Sequence[Mapping[str, Any]]
    cancelled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What eligibility is judged by: a client's agreements with their plans, and the contact's details.

    `number` is that of the next ref, where one was drawn along the way.
    """

    agreements: tuple[Agreement, ...]
    contact: ContactDetails | None
    number: int | None


organisations = Register(clients, Client, owner=clients.c.id, named=clients.c.external_id)
people = Register(contacts, Contact, owner=contacts.c.client_id, named=contacts.c.external_id)
contracts = Register(agreements, SignedAgreement, owner=agreements.c.client_id, named=agreements.c.external_id)
plans = Register(subscriptions, CarePlan, owner=subscriptions.c.client_id, named=subscriptions.c.external_id)


def read_agreements(found: list[dict[str, Any]]) -> tuple[Agreement, ...]:
    """Read agreements with their plans from JSON."""
    return tuple(
        Agreement(
            subscriptions=tuple(_read_plan(plan) for plan in item["plans"]),
            assets=_read_names(item["assets"]),
            services=_read_names(item["services"]),
            support_line=item["support_line"],
        )
        for item in found
    )


def _read_names(found: list[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(found)


def _read_plan(found: dict[str, Any]) -> Subscription:
    return Subscription(
        tier=Tier(found["tier"]),
        starts_on=date.fromisoformat(found["starts_on"]),
        ends_on=found["ends_on"] and date.fromisoformat(found["ends_on"]),
        suspensions=tuple(
            Suspension(read_instant(rest["starts_at"]), rest["ends_at"] and read_instant(rest["ends_at"]))
            for rest in found["suspensions"]
        ),
        cancelled_at=found["cancelled_at"] and read_instant(found["cancelled_at"]),
    )


def read_contact(found: dict[str, Any]) -> ContactDetails:
    """Read from JSON when a contact's details were confirmed, and since when mail comes back."""
    confirmed, bounced = found["confirmed_at"], found["bounced_at"]
    return ContactDetails(confirmed and read_instant(confirmed), bounced and read_instant(bounced))


def _object(**columns: Any) -> Any:  # noqa: ANN401  # an SQL expression
    """Build a JSON object in SQL from names and columns."""
    parts: list[Any] = []
    for name, column in columns.items():
        parts += [literal_column(f"'{name}'"), column]
    return func.jsonb_build_object(*parts)


def _list(item: Any, *order: Any) -> Any:  # noqa: ANN401  # SQL expressions
    return func.coalesce(func.jsonb_agg(aggregate_order_by(item, *order)), literal_column("'[]'::jsonb"))


@one(Coverage)
def coverage(client_id: UUID, contact_id: UUID | None, *, drawing: Literal[True] | None) -> ClauseElement:
    """Fetch what a request of a client is judged by; none where the client, or the contact, isn't there.

    `drawing` draws the number of the next ref along the way.
    """
    plan, agreement, contact = subscriptions.c, agreements.c, contacts.c
    facts = {name: plan[name] for name in ("tier", "starts_on", "ends_on", "suspensions", "cancelled_at")}
    its_plans = (
        select(_list(_object(**facts), plan.starts_on, plan.id))
        .where(within(client_id, plan.client_id), plan.agreement_id == agreement.id)
        .correlate(agreements)
        .scalar_subquery()
    )
    terms = {name: agreement[name] for name in ("assets", "services", "support_line")}
    signed = (
        select(_list(_object(**terms, plans=its_plans), agreement.created_at, agreement.id))
        .where(within(client_id, agreement.client_id))
        .scalar_subquery()
    )
    signed_column = type_coerce(signed, Shaped(read_agreements)).label("agreements")
    none: Any = literal_column("NULL")
    drawn: Any = none if drawing is None else func.nextval(literal_column(f"'{ticket_refs.name}'"))
    number = drawn.label("number")
    if contact_id is None:
        return select(signed_column, none.label("contact"), number).where(within(client_id, clients.c.id))
    person = _object(confirmed_at=contact.confirmed_at, bounced_at=contact.bounced_at)
    joined = and_(contact.client_id == clients.c.id, contact.id == contact_id)
    person_column = type_coerce(person, Shaped(read_contact)).label("contact")
    query = select(signed_column, person_column, number).join_from(clients, contacts, joined)
    return query.where(within(client_id, clients.c.id))
