"""Fills a database with as many tickets as a desk has after years: few large clients, many small ones, mostly closed.

A few tickets live their lives through the real routes under a test clock; every other one is a copy of one of
them, whole weeks earlier and somebody else's, brought in by `COPY`. So each stored row is what the service
itself would have stored, and a ticket is still the fold of its events.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import httpx

from app.cli import setup
from app.db import ids, keys
from app.db import pool as pools
from app.db.keys import Key
from app.domain.events import Role
from app.embedded import EmbeddedPostgres
from app.main import create_app
from app.settings import Settings

SEED: Final = 20_260_105
LONG_AGO: Final = datetime(2025, 1, 1, tzinfo=UTC)
MONDAY: Final = datetime(2026, 11, 2, 2, tzinfo=UTC)
"""Ten in the morning where the desk is, of a week without a holiday: in it the originals live."""
WEEKS: Final = 40
"""So many weeks back the oldest copies lie: all after the first policy took effect."""
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
CALLERS: Final = 4
BATCH: Final = 5_000
FIRST_COPY: Final = 1_000_000
"""Copies have refs of their own, far from those that the sequence gives."""
TICKET: Final = {
    "channel": "portal",
    "category": "incident",
    "subject": "The order form is broken",
    "description": "Whoever sends the order form sees an error since this noon; we lose orders. " * 4,
    "details": {"since": "this noon", "where": "the order form", "impact": "no orders arrive"},
}
TAKEN: Final = ((0.5, "agent", "acknowledge", {}), (2, "agent", "messages", {"text": "We are looking into it."}))
SOLVED: Final = (*TAKEN, (7, "agent", "resolve", {"resolution": "fixed", "text": "Mended; please look."}))
CLOSED: Final = (26, "contact", "close", {"reason": "All is well again."})
HARD: Final = (
    (4, "contact", "messages", {"text": "It is worse now."}),
    (5, "agent", "escalate", {"reason": "It needs the vendor."}),
    (28, "agent3", "resolve", {"resolution": "fixed", "text": "Mended."}),
    (48, "contact", "close", {"reason": "All is well again."}),
)
Steps: TypeAlias = Sequence[tuple[float, str, str, dict[str, Any]]]
LIVES: Final[tuple[tuple[int, str, Steps], ...]] = (
    (40, "normal", (*SOLVED, CLOSED)),
    (15, "low", (*SOLVED, CLOSED)),
    (12, "high", (*SOLVED, CLOSED)),
    (10, "normal", (*TAKEN, *HARD)),
    (6, "normal", SOLVED),
    (6, "normal", (*TAKEN, (6, "agent", "request-details", {"text": "Which browser is it?"}))),
    (6, "normal", TAKEN),
    (5, "normal", ()),
)
"""How many of a hundred tickets live so, with which priority, and what is done after how many hours by whom."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key, and tickets that they may read."""

    key: str
    role: str
    client_id: str
    person_id: str
    tickets: list[str]

    @property
    def told(self) -> str:
        """Return what the floor is told of who asks."""
        return f"{self.role} {self.client_id} {self.person_id}"


@dataclass(frozen=True, slots=True)
class Original:
    """A ticket with its cycles and events as they are stored, JSON as text."""

    ticket: dict[str, Any]
    cycles: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def earlier(self, weeks: int) -> "Original":
        """Return the same some weeks before."""
        shift = _shifted(timedelta(weeks=weeks))
        return Original(shift(self.ticket), [shift(row) for row in self.cycles], [shift(row) for row in self.events])


@dataclass(frozen=True, slots=True)
class Person:
    """A contact of a client: for whom a ticket is."""

    client_id: UUID
    contact_id: UUID


def _shifted(by: timedelta) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def text(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) - by).isoformat().replace("+00:00", "Z")

    def value(found: Any) -> Any:  # noqa: ANN401  # a column's value
        if isinstance(found, datetime):
            return found - by
        return INSTANT.sub(text, found) if isinstance(found, str) else found

    return lambda row: {name: value(found) for name, found in row.items()}


async def owner_of(server: EmbeddedPostgres) -> asyncpg.Connection:
    """Connect as the superuser of the embedded server, by whom no wall is met and no trigger set off."""
    connection = await asyncpg.connect(superuser_url(server))
    for kind, first in (("jsonb", b"\x01"), ("json", b"")):
        await connection.set_type_codec(
            kind,
            encoder=lambda text, first=first: first + text.encode(),
            decoder=lambda found, first=first: bytes(found)[len(first) :].decode(),
            schema="pg_catalog",
            format="binary",
        )
    return connection


def superuser_url(server: EmbeddedPostgres) -> str:
    """Return the plain address by which the superuser reaches the embedded server."""
    return server.owner_url.replace("+asyncpg", "", 1).replace("kawan_owner@", "postgres@", 1)


async def fill(server: EmbeddedPostgres, count: int, told: Callable[[int], None]) -> list[Caller]:
    """Fill a migrated database with so many tickets, and return who may be spoken for: contacts first, then staff."""
    random = Random(SEED)  # the same database each time
    owner = await owner_of(server)
    pool = await pools.connect(server.app_url, size=2)
    try:
        await setup.publish_shipped_policy(pool, LONG_AGO)
        people = await _directory(owner, max(2 * CALLERS, count // 500))
        agents = await _staff(owner)
        keyed = [people[place] for place in (*range(CALLERS), *range(-CALLERS, 0))]
        contacts = [(await _key(pool, Role.CONTACT, person), person) for person in keyed]
        staff = {name: (await _key(pool, role, agent), agent) for name, (role, agent) in agents.items()}
        originals = await _originals(server, owner, contacts[0][0], {name: key for name, (key, _) in staff.items()})
        shares = [share for share, _, _ in LIVES]
        sizes = list(itertools.accumulate(1 / rank for rank in range(1, len(people) + 1)))
        # A million is loaded in a third of the time without what every row would have to be put into.
        later = await _without_indexes(owner)
        done = 0
        for week in reversed(range(1, WEEKS + 1)):
            shifted = [original.earlier(week) for original in originals]
            due = count * (WEEKS + 1 - week) // WEEKS - done
            for begun in range(0, due, BATCH):
                some = min(BATCH, due - begun)
                whose = random.choices(people, cum_weights=sizes, k=some)
                what = random.choices(shifted, shares, k=some)
                await copy(
                    owner, (copied(*pair, done + place) for place, pair in enumerate(zip(what, whose, strict=True)))
                )
                done += some
                told(done)
        for definition in later:
            await owner.execute(definition)
        await owner.execute("VACUUM ANALYZE")
        await owner.execute("CHECKPOINT")
        found = [
            Caller(key, "contact", str(who.client_id), str(who.contact_id), await _some(owner, who))
            for key, who in contacts
        ]
        return found + [Caller(key, str(agents[name][0]), "-", str(who), []) for name, (key, who) in staff.items()]
    finally:
        await owner.close()
        await pool.close()


async def _without_indexes(owner: asyncpg.Connection) -> list[str]:
    """Drop the indexes of what is loaded, and return the statements that make them again."""
    await owner.execute("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'")
    tables = "ARRAY['tickets'::regclass, 'clock_cycles', 'events']"
    foreign = await owner.fetch(
        "SELECT conrelid::regclass::text AS owner, conname, pg_get_constraintdef(oid) AS made FROM pg_constraint"
        f" WHERE contype = 'f' AND (conrelid = ANY({tables}) OR confrelid = ANY({tables}))"
    )
    keys = await owner.fetch(
        "SELECT conrelid::regclass::text AS owner, conname, pg_get_constraintdef(oid) AS made FROM pg_constraint"
        f" WHERE contype IN ('p', 'u') AND conrelid = ANY({tables})"
    )
    for row in (*foreign, *keys):
        await owner.execute(f"ALTER TABLE {row['owner']} DROP CONSTRAINT {row['conname']}")
    plain = await owner.fetch(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made FROM pg_index"
        f" WHERE indrelid = ANY({tables})"
    )
    for row in plain:
        await owner.execute(f"DROP INDEX {row['name']}")
    added = [f"ALTER TABLE {row['owner']} ADD CONSTRAINT {row['conname']} {row['made']}" for row in (*keys, *foreign)]
    return [row["made"] for row in plain] + added


async def _some(owner: asyncpg.Connection, person: Person) -> list[str]:
    """Return ids of tickets of a client, from all its years alike."""
    query = "SELECT id::text FROM tickets WHERE client_id = $1 ORDER BY md5(id::text) LIMIT 2000"
    return [row[0] for row in await owner.fetch(query, person.client_id)]


async def _directory(owner: asyncpg.Connection, clients: int) -> list[Person]:
    """Bring in clients with a contact, an agreement and a plan each."""
    people = [Person(ids.new_id(), ids.new_id()) for _ in range(clients)]
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("clients", "contacts", "agreements", "subscriptions")
    }
    for number, person in enumerate(people):
        stamp = {"external_id": f"bench-{number}", "created_at": LONG_AGO, "updated_at": LONG_AGO, "version": 1}
        own, agreement = {"client_id": person.client_id} | stamp, ids.new_id()
        plan = {"agreement_id": agreement, "tier": "premium" if number % 4 == 0 else "standard", "suspensions": "[]"}
        tables["clients"].append({"id": person.client_id, "name": f"Client {number}"} | stamp)
        named = {"name": f"Contact {number}", "email": f"contact{number}@client.example", "role": "contact"}
        tables["contacts"].append(own | named | {"id": person.contact_id, "confirmed_at": LONG_AGO})
        tables["agreements"].append(own | {"id": agreement, "name": "Care plan"})
        tables["subscriptions"].append(own | plan | {"id": ids.new_id(), "starts_on": date(2025, 1, 1)})
    for name, rows in tables.items():
        await _copy(owner, name, rows)
    return people


async def _staff(owner: asyncpg.Connection) -> dict[str, tuple[Role, UUID]]:
    agents = {
        "admin": (Role.ADMIN, 3),
        "agent": (Role.AGENT, 3),
        "agent2": (Role.AGENT, 3),
        "agent3": (Role.AGENT, 3),
        "agent4": (Role.AGENT, 3),
    }
    made = {name: (role, ids.new_id()) for name, (role, _) in agents.items()}
    stamp = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "version": 1, "on_call": False}
    rows = [
        stamp | {"id": made[name][1], "name": name, "email": f"{name}@kawan.example", "role": role, "level": level}
        for name, (role, level) in agents.items()
    ]
    await _copy(owner, "agents", rows)
    return made


async def _key(pool: pools.Pool, role: Role, whose: Person | UUID) -> str:
    fresh = ids.new_key()
    client, contact = (whose.client_id, whose.contact_id) if isinstance(whose, Person) else (None, None)
    agent = None if isinstance(whose, Person) else whose
    key = Key(fresh.id, fresh.digest, "bench", role, agent, client, contact, LONG_AGO, None, None)
    await keys.add(pool, key, None, setup.by_service(LONG_AGO))
    return fresh.text


async def _originals(
    server: EmbeddedPostgres, owner: asyncpg.Connection, contact: str, staff: Mapping[str, str]
) -> list[Original]:
    """Let a ticket live each life, read what is stored, and take it away again."""
    app = create_app(Settings(database_url=server.app_url, contact_database_url=server.contact_url, test_clock=True))
    keys_by_name = staff | {"contact": contact}
    transport = httpx.ASGITransport(app=app)
    found = []
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://desk") as http:

        async def call(who: str, method: str, path: str, body: Any) -> Any:  # noqa: ANN401  # JSON
            response = await http.request(
                method, path, json=body, headers={"Authorization": f"Bearer {keys_by_name[who]}"}
            )
            response.raise_for_status()
            return response.json()

        async def turn(hours: float) -> None:
            """Let an hour of the desk be an hour, and the night between two days be none."""
            days, rest = divmod(hours, 24)
            at = MONDAY + timedelta(days=days, hours=rest)
            await call("admin", "PUT", "/v1/test-clock", {"now": at.isoformat()})
            await call("admin", "POST", "/v1/sweeps", None)

        for _, priority, steps in LIVES:
            await turn(0)
            ticket = await call("contact", "POST", "/v1/tickets", TICKET | {"requested_priority": priority})
            for hours, who, act, body in steps:
                await turn(hours)
                await call(who, "POST", f"/v1/tickets/{ticket['id']}/{act}", body or None)
            await turn(24 * 9 if steps and CLOSED in steps else 80)
            found.append(await original(owner, UUID(ticket["id"])))
            await owner.execute("DELETE FROM test_clock")
    await forget(owner, [UUID(str(one.ticket["id"])) for one in found])
    return found


async def original(owner: asyncpg.Connection, ticket_id: UUID) -> Original:
    """Read a ticket as it is stored."""
    (ticket,) = await owner.fetch("SELECT * FROM tickets WHERE id = $1", ticket_id)
    cycles = await owner.fetch("SELECT * FROM clock_cycles WHERE ticket_id = $1", ticket_id)
    events = await owner.fetch("SELECT * FROM events WHERE ticket_id = $1 ORDER BY number", ticket_id)
    kept = [{name: value for name, value in row.items() if name not in {"position", "transaction"}} for row in events]
    return Original(dict(ticket), [dict(row) for row in cycles], kept)


def copied(one: Original, whose: Person, number: int) -> Original:
    """Return the same as another ticket of somebody else."""
    before, fresh = one.ticket, ids.new_id()
    ref = f"KE-{before['created_at'].year}-{FIRST_COPY + number:06}"
    own: dict[str, Any] = {"client_id": whose.client_id, "ticket_id": fresh}
    new = {"client_id": whose.client_id, "id": fresh, "contact_id": whose.contact_id, "ref": ref}
    words = [(str(before[name]), str(value)) for name, value in new.items()]

    def retold(event: dict[str, Any]) -> dict[str, Any]:
        data = event["data"]
        for old, value in words:
            data = data.replace(old, value)
        theirs = event["actor_client_id"] is not None
        who = {"actor_client_id": whose.client_id, "actor_id": whose.contact_id} if theirs else {}
        return event | own | who | {"data": data}

    return Original(before | new, [cycle | own for cycle in one.cycles], [retold(event) for event in one.events])


async def copy(owner: asyncpg.Connection, some: Iterator[Original]) -> None:
    """Store tickets as they are given, past all triggers: what they say was checked when the first was written."""
    given = list(some)
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await _copy(owner, "tickets", [one.ticket for one in given])
        await _copy(owner, "clock_cycles", [row for one in given for row in one.cycles])
        await _copy(owner, "events", [row for one in given for row in one.events])


async def forget(owner: asyncpg.Connection, tickets: Sequence[UUID]) -> None:
    """Take tickets away as if they had never been."""
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        for table in ("events", "clock_cycles"):
            await owner.execute(f"DELETE FROM {table} WHERE ticket_id = ANY($1)", tickets)  # our names
        await owner.execute("DELETE FROM tickets WHERE id = ANY($1)", tickets)


async def _copy(owner: asyncpg.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        columns = list(rows[0])
        await owner.copy_records_to_table(
            table, records=[[row[name] for name in columns] for row in rows], columns=columns
        )
