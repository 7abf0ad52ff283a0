"""Demo data: three clients, the people who help, a dozen tickets, and keys to get in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from app.api.deps import KEY
from app.cli import setup
from app.db import clients, ids, keys, staff, tickets
from app.db.clients import CarePlan, Client, Contact, SignedAgreement
from app.db.keys import Key
from app.db.policies import Book
from app.db.pool import Pool
from app.db.staff import Agent
from app.domain import eligibility, fold, passing
from app.domain.acts import intake, talk
from app.domain.acts.intake import Opening
from app.domain.eligibility import Facts, Outcome, Request
from app.domain.events import Actor, Event, Role
from app.domain.policy import Category, Channel, Priority, Terms, Tier
from app.domain.ticket import Details, Ticket

CREDENTIALS: Final = "dev-credentials.json"

PEOPLE: Final = {
    "admin": ("Aminah Admin", Role.ADMIN, 3),
    "lead": ("Lim Lead", Role.LEAD, 3),
    "agent": ("Arif Agent", Role.AGENT, 1),
    "agent2": ("Siti Specialist", Role.AGENT, 2),
    "agent3": ("Raj Senior", Role.AGENT, 3),
}
CLIENTS: Final = {
    "standard": ("Batik Studio Sdn Bhd", Tier.STANDARD, None),
    "premium": ("Harbour Freight Sdn Bhd", Tier.PREMIUM, "+60 3 5550 0100"),
    "lapsed": ("Old Town Cafe", Tier.STANDARD, None),
}
KEY_NAMES: Final = {"standard": "contact", "premium": "premium_contact", "lapsed": "lapsed_contact"}


@dataclass(frozen=True, slots=True)
class Story:
    """A demo ticket: whose, how long ago, how urgent, and after how long somebody answered."""

    client: str
    hours_ago: float
    priority: Priority
    subject: str
    answered_after: float | None


STORIES: Final = (
    Story("standard", 0.5, Priority.NORMAL, "Contact form sends no mail", None),
    Story("standard", 20, Priority.LOW, "How do we change the opening hours on the site?", 1),
    Story("standard", 50, Priority.HIGH, "Checkout is slow since this morning", 0.5),
    Story("standard", 75, Priority.NORMAL, "New colleague needs a login", None),
    Story("standard", 120, Priority.NORMAL, "Image upload fails for large files", 1.5),
    Story("standard", 160, Priority.LOW, "Typo on the imprint page", 30),
    Story("premium", 0.2, Priority.HIGH, "Customers cannot track their shipments", None),
    Story("premium", 3, Priority.CRITICAL, "Portal is down for everybody", 0.2),
    Story("premium", 30, Priority.NORMAL, "Monthly report shows last month twice", 2),
    Story("premium", 55, Priority.CRITICAL, "Payments fail", None),
    Story("premium", 100, Priority.NORMAL, "Export to spreadsheet breaks on umlauts", 4),
    Story("premium", 140, Priority.LOW, "Question about user roles", 1),
)


async def load(pool: Pool, state_dir: Path, base_url: str, now: datetime) -> Path:
    """Bring in the demo data once, and see that the credentials file opens this database; return its path."""
    people = {name: await _agent(pool, name, now) for name in PEOPLE}
    organisations = {name: await _client(pool, name, now) for name in CLIENTS}
    contacts = {name: await _contact(pool, name, organisations[name], now) for name in CLIENTS}
    for name in CLIENTS:
        await _plan(pool, name, organisations[name], now)
    page = await tickets.page(pool, tickets.Filters(), tickets.Scope(), None, 1, now)
    if not page:
        for story in STORIES:
            await _ticket(pool, story, contacts[story.client], people["agent"], now)
    path = state_dir / CREDENTIALS
    kept = await _usable(pool, path, base_url, organisations)
    if not kept:
        keys = {name: await _key(pool, name, agent_id=agent, now=now) for name, agent in people.items()}
        for name, contact in contacts.items():
            keys[KEY_NAMES[name]] = await _key(pool, KEY_NAMES[name], contact=contact, now=now)
        _write(path, base_url, keys, organisations, contacts)
    return path


async def _agent(pool: Pool, name: str, now: datetime) -> UUID:
    full, role, level = PEOPLE[name]
    email = f"{name}@kawan.example"
    found = await staff.register.by_name(pool, email, None)
    if found:
        return found.id
    agent = Agent(ids.new_id(), full, email, role, level, level == 3, now, now, 1)  # noqa: PLR2004  # the top level
    await staff.register.add(pool, agent, None, setup.by_service(now))
    return agent.id


async def _client(pool: Pool, name: str, now: datetime) -> UUID:
    found = await clients.organisations.by_name(pool, f"demo-{name}", None)
    if found:
        return found.id
    client = Client(ids.new_id(), f"demo-{name}", CLIENTS[name][0], now, now, 1)
    await clients.organisations.add(pool, client, None, setup.by_service(now))
    return client.id


async def _contact(pool: Pool, name: str, client_id: UUID, now: datetime) -> Contact:
    found = await clients.people.by_name(pool, f"demo-{name}-contact", None)
    if found:
        return found
    contact = Contact(
        client_id=client_id,
        id=ids.new_id(),
        external_id=f"demo-{name}-contact",
        name=f"Contact of {CLIENTS[name][0]}",
        email=f"{name}@client.example",
        phone=None,
        role=Role.CONTACT,
        confirmed_at=now,
        bounced_at=None,
        created_at=now,
        updated_at=now,
        version=1,
    )
    await clients.people.add(pool, contact, None, setup.by_service(now))
    return contact


async def _plan(pool: Pool, name: str, client_id: UUID, now: datetime) -> None:
    _, tier, line = CLIENTS[name]
    if await clients.contracts.by_name(pool, f"demo-{name}-agreement", None):
        return
    agreement = SignedAgreement(
        client_id=client_id,
        id=ids.new_id(),
        external_id=f"demo-{name}-agreement",
        name="Care plan agreement",
        assets=None,
        services=None,
        support_line=line,
        created_at=now,
        updated_at=now,
        version=1,
    )
    await clients.contracts.add(pool, agreement, None, setup.by_service(now))
    plan = CarePlan(
        client_id=client_id,
        id=ids.new_id(),
        agreement_id=agreement.id,
        external_id=f"demo-{name}-plan",
        tier=tier,
        starts_on=datetime(2025, 1, 1, tzinfo=now.tzinfo).date(),
        ends_on=datetime(2025, 12, 31, tzinfo=now.tzinfo).date() if name == "lapsed" else None,
        suspensions=(),
        cancelled_at=None,
        created_at=now,
        updated_at=now,
        version=1,
    )
    await clients.plans.add(pool, plan, None, setup.by_service(now))


async def _ticket(pool: Pool, story: Story, contact: Contact, agent_id: UUID, now: datetime) -> None:
    """Let a ticket come in at its instant, and be answered where its story says so."""
    book = Book(pool)
    received_at = now - timedelta(hours=story.hours_ago)
    terms = await book.in_force(received_at)
    asked = Request(
        channel=Channel.PORTAL,
        category=Category.INCIDENT,
        priority=story.priority,
        description=f"{story.subject}. It has been like this since we first saw it.",
        details=Details("this week", "on the live site", "several people are held up"),
        outage_statement="Nobody can use it." if story.priority is Priority.CRITICAL else None,
    )
    coverage = await clients.coverage(pool, contact.client_id, contact.id, drawing=True)
    if coverage is None:
        return
    decision = eligibility.check(Facts(asked, coverage.agreements, coverage.contact), terms, received_at)
    if decision.outcome is Outcome.DENIED:
        return
    opening = Opening(
        id=ids.new_id(),
        client_id=contact.client_id,
        contact_id=contact.id,
        ref=f"KE-{received_at.year}-{coverage.number:06}",
        subject=story.subject,
        request=asked,
        answered=False,
        received_at=received_at,
    )
    actor = Actor(Role.CONTACT, contact.id, contact.client_id)
    events = intake.open_ticket(opening, decision, terms, actor=actor, now=received_at)
    opened = await _store(pool, None, events, terms)
    if story.answered_after is not None and story.answered_after < story.hours_ago:
        at = received_at + timedelta(hours=story.answered_after)
        case = passing.case_of(opened, terms, actor=Actor(Role.AGENT, agent_id), now=at)
        await _store(pool, opened, talk.reply(case, message_id=ids.new_id(), text="We are looking into it."), terms)


async def _store(pool: Pool, found: Ticket | None, events: list[Event], terms: Terms) -> Ticket:
    happened = fold.numbered(found, events)
    changed = fold.fold(found, happened)
    story = tickets.story(found, changed, happened, passing.next_at(changed, terms), terms.revision)
    await (tickets.save if found else tickets.add)(pool, changed, story, None)
    return changed


async def _key(
    pool: Pool, name: str, *, now: datetime, agent_id: UUID | None = None, contact: Contact | None = None
) -> str:
    fresh = ids.new_key()
    role = PEOPLE[name][1] if agent_id else Role.CONTACT
    key = Key(
        id=fresh.id,
        digest=fresh.digest,
        name=f"{keys.DEMO}{name}",
        role=role,
        agent_id=agent_id,
        client_id=contact.client_id if contact else None,
        contact_id=contact.id if contact else None,
        created_at=now,
        expires_at=None,
        revoked_at=None,
    )
    await keys.add(pool, key, None, setup.by_service(now))
    return fresh.text


async def _usable(pool: Pool, path: Path, base_url: str, organisations: Mapping[str, UUID]) -> bool:
    """Tell whether the file there opens this database at this address."""
    document = _read(path)
    parts = KEY.fullmatch(str(document.get("keys", {}).get("admin")))
    if parts is None or document.get("base_url") != base_url:
        return False
    found = await keys.credential(pool, parts.group(1))
    same = document.get("clients") == {name: str(client) for name, client in organisations.items()}
    return same and found is not None and found.digest == ids.digest(parts.group(2))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(
    path: Path,
    base_url: str,
    keys: Mapping[str, str],
    organisations: Mapping[str, UUID],
    contacts: Mapping[str, Contact],
) -> None:
    """Write the credentials for their owner's eyes alone."""
    document = {
        "base_url": base_url,
        "keys": keys,
        "clients": {name: str(client) for name, client in organisations.items()},
        "contacts": {name: str(contact.id) for name, contact in contacts.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
