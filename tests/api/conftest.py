"""The application over HTTP: with its lifespan, a stopped clock, and a directory of clients to speak for."""

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.cli import setup
from app.db import clients, ids, keys, seal, staff
from app.db import pool as pools
from app.db.audit import By
from app.db.clients import CarePlan, Client, Contact, SignedAgreement
from app.db.keys import Key
from app.db.pool import Pool
from app.db.staff import Agent
from app.domain.events import Role
from app.domain.policy import Tier
from app.main import create_app
from app.settings import Settings
from tests.conftest import addresses

KL = ZoneInfo("Asia/Kuala_Lumpur")
LONG_AGO = datetime(2025, 12, 1, tzinfo=UTC)
AUDIT_KEY = base64.b64encode(bytes(32)).decode()
AUDIT_PUBLIC_KEY = seal.public_of(AUDIT_KEY)
BY = By(Role.SERVICE, None, LONG_AGO)
EMPTIED = (
    "TRUNCATE events, clock_cycles, tickets, eligibility_checks, subscriptions, agreements, api_keys, contacts,"
    " clients, agents, idempotency_keys, test_clock, sweeps, self_checks, audit_entries, audit_checkpoints CASCADE;"
    "DELETE FROM calendar_revisions WHERE calendar_id IN (SELECT id FROM calendars WHERE name <> 'Support desk');"
    "DELETE FROM calendars WHERE name <> 'Support desk';"
    "DELETE FROM calendar_revisions WHERE revision > 1;"
    "DELETE FROM policy_versions WHERE number > 1"
)


def kl(text: str) -> datetime:
    """An instant by its wall clock in Kuala Lumpur: `2026-01-05 10:00:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=KL)


def z(text: str) -> str:
    """The same as the API writes it."""
    return kl(text).astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Party:
    """A client with a contact, an agreement and perhaps a plan."""

    client_id: UUID
    contact_id: UUID
    agreement_id: UUID


class Desk:
    """Speaks to the service for everybody in a test."""

    def __init__(self, http: httpx.AsyncClient, pool: Pool, app_url: str, owner_url: str) -> None:
        self.http, self.pool, self.app_url, self.owner_url = http, pool, app_url, owner_url
        self.keys: dict[str, str] = {}
        self.parties: dict[str, Party] = {}
        self.count = itertools.count(1)

    async def call(self, who: str | None, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if who:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        if body is not None:
            more["json"] = body
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, who: str, path: str, **more: Any) -> Any:
        response = await self.call(who, "GET", path, **more)
        assert response.status_code == 200, response.text
        return response.json()

    async def at(self, wall: str) -> None:
        """Stop the clock at a wall-clock time in Kuala Lumpur."""
        response = await self.call("admin", "PUT", "/v1/test-clock", {"now": kl(wall).isoformat()})
        assert response.status_code == 200, response.text

    async def sweep(self) -> int:
        response = await self.call("admin", "POST", "/v1/sweeps")
        assert response.status_code == 200, response.text
        return int(response.json()["tickets"])

    async def open(self, who: str = "standard", **fields: Any) -> Any:
        response = await self.call(who, "POST", "/v1/tickets", self.request(**fields))
        assert response.status_code == 201, response.text
        return response.json()

    @staticmethod
    def request(**fields: Any) -> dict[str, Any]:
        return {
            "channel": "portal",
            "category": "incident",
            "subject": "The form is broken",
            "description": "The contact form shows an error since this morning.",
            "details": {"since": "this morning", "where": "contact page", "impact": "no inquiries arrive"},
        } | fields

    async def act(self, who: str, ticket: Any, name: str, expected: int = 200, **body: Any) -> Any:
        """Do an act, and return the answer."""
        response = await self.call(who, "POST", f"/v1/tickets/{ticket['id']}/{name}", body or None)
        assert response.status_code == expected, response.text
        return response.json()

    async def say(self, who: str, ticket: Any, text: str = "A word.", **more: Any) -> Any:
        response = await self.call(who, "POST", f"/v1/tickets/{ticket['id']}/messages", {"text": text} | more)
        assert response.status_code == 201, response.text
        return response.json()

    async def events(self, ticket: Any, kind: str | None = None) -> list[Any]:
        page = await self.get("agent", f"/v1/tickets/{ticket['id']}/events?limit=200")
        return [event for event in page["items"] if kind is None or event["kind"] == kind]

    async def clock(self, ticket: Any, name: str = "acknowledgement", who: str = "agent") -> Any:
        found = await self.get(who, f"/v1/tickets/{ticket['id']}/clocks")
        return [clock for clock in found["clocks"] if clock["clock"] == name][-1]

    # ------------------------------------------------------------------------- the directory

    async def staff(self, name: str, role: Role, level: int = 1) -> UUID:
        agent = Agent(ids.new_id(), name, f"{name}@kawan.example", role, level, False, LONG_AGO, LONG_AGO, 1)
        await staff.register.add(self.pool, agent, None, BY)
        await self.key(name, role, agent_id=agent.id)
        return agent.id

    async def client(
        self,
        name: str,
        *,
        tier: Tier | None = Tier.STANDARD,
        line: str | None = None,
        assets: list[str] | None = None,
        services: list[str] | None = None,
        role: Role = Role.CONTACT,
        **facts: Any,
    ) -> Party:
        stamp = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "version": 1}
        party = Party(ids.new_id(), ids.new_id(), ids.new_id())
        await clients.organisations.add(
            self.pool, Client(id=party.client_id, external_id=name, name=name.title(), **stamp), None, BY
        )
        contact = Contact(
            client_id=party.client_id,
            id=party.contact_id,
            external_id=name,
            name=f"Contact of {name}",
            email=f"{name}@client.example",
            phone=None,
            role=role,
            confirmed_at=facts.pop("confirmed_at", datetime(2026, 1, 1, tzinfo=UTC)),
            bounced_at=facts.pop("bounced_at", None),
            **stamp,
        )
        await clients.people.add(self.pool, contact, None, BY)
        agreement = SignedAgreement(
            client_id=party.client_id,
            id=party.agreement_id,
            external_id=name,
            name="Agreement",
            assets=assets,
            services=services,
            support_line=line,
            **stamp,
        )
        await clients.contracts.add(self.pool, agreement, None, BY)
        if tier:
            await self.plan(party, name, tier, **facts)
        await self.key(name, role, client_id=party.client_id, contact_id=party.contact_id)
        self.parties[name] = party
        return party

    async def plan(self, party: Party, name: str, tier: Tier, **facts: Any) -> None:
        plan = CarePlan(
            client_id=party.client_id,
            id=ids.new_id(),
            agreement_id=party.agreement_id,
            external_id=f"{name}-{next(self.count)}",
            tier=tier,
            starts_on=facts.get("starts_on", date(2025, 1, 1)),
            ends_on=facts.get("ends_on"),
            suspensions=facts.get("suspensions", ()),
            cancelled_at=facts.get("cancelled_at"),
            created_at=LONG_AGO,
            updated_at=LONG_AGO,
            version=1,
        )
        await clients.plans.add(self.pool, plan, None, BY)

    async def key(self, name: str, role: Role, **whose: Any) -> None:
        fresh = ids.new_key()
        people = {"agent_id": None, "client_id": None, "contact_id": None} | whose
        key = Key(
            id=fresh.id, digest=fresh.digest, name=name, role=role, created_at=LONG_AGO,
            expires_at=people.pop("expires_at", None), revoked_at=people.pop("revoked_at", None), **people,
        )  # fmt: skip
        await keys.add(self.pool, key, None, BY)
        self.keys[name] = fresh.text


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as http:
            yield http


@pytest.fixture(scope="session")
async def published(app_url: str) -> AsyncIterator[Pool]:
    """The database with the shipped policy in it."""
    pool = await pools.connect(app_url, size=4)
    await setup.publish_shipped_policy(pool, LONG_AGO)
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
async def app(app_url: str, published: Pool) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    keys = {"audit_public_keys": (AUDIT_PUBLIC_KEY,)}
    application = create_app(Settings(**addresses(app_url), test_clock=True, pool_size=8, **keys))
    async with running(application) as http:
        yield application, http


@pytest.fixture
async def desk(app: tuple[FastAPI, httpx.AsyncClient], published: Pool, app_url: str, owner_url: str) -> Desk:
    """An empty database but for the policy, staff of every kind, and three clients."""
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    await connection.execute(EMPTIED)
    await connection.close()
    found = Desk(app[1], published, app_url, owner_url)
    for name, role, level in (
        ("admin", Role.ADMIN, 3),
        ("lead", Role.LEAD, 3),
        ("agent", Role.AGENT, 1),
        ("agent2", Role.AGENT, 2),
        ("agent3", Role.AGENT, 3),
    ):
        await found.staff(name, role, level)
    await found.key("automation", Role.AUTOMATION)
    await found.key("auditor", Role.AUDITOR)
    await found.client("standard")
    await found.client("premium", tier=Tier.PREMIUM, line="+60 3 5550 0100")
    await found.client("lapsed", ends_on=date(2025, 12, 31))
    await found.at("2026-01-05 10:00:00")
    return found
