"""Two walls between clients: with one of them forgotten the other holds, whatever fails or is cut off meanwhile."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import ClauseElement, func, literal_column, select

from app.db import events, ids, keys, tickets, upkeep
from app.db import pool as pools
from app.db.pool import Pool
from app.db.statements import DatabaseUnavailableError, Statement, many
from app.db.tables import clock_cycles, contacts, eligibility_checks
from app.db.tables import events as event_table
from app.db.tables import tickets as ticket_table
from app.db.wall import opened
from tests.api.conftest import Desk
from tests.api.test_access import MATRIX, Caller, caller  # noqa: F401  # a fixture
from tests.conftest import addresses

ROUNDS = 20_000
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a row is."""

    client_id: UUID


# Statements as somebody might write them who forgets the first wall.


@many(Whose)
def careless_tickets(client_id: UUID) -> ClauseElement:
    return select(ticket_table.c.client_id).where(opened(client_id))


@many(Whose)
def careless_events(client_id: UUID) -> ClauseElement:
    return select(event_table.c.client_id).where(opened(client_id)).limit(20)


@many(Whose)
def careless_contacts(client_id: UUID) -> ClauseElement:
    return select(contacts.c.client_id).where(opened(client_id))


@many(Whose)
def careless_cycles(client_id: UUID) -> ClauseElement:
    joined = clock_cycles.c.ticket_id == ticket_table.c.id
    return select(clock_cycles.c.client_id).join_from(ticket_table, clock_cycles, joined).where(opened(client_id))


@many(Whose)
def careless_checks(client_id: UUID) -> ClauseElement:
    return select(eligibility_checks.c.client_id).where(opened(client_id))


@many(Whose)
def slow(client_id: UUID) -> ClauseElement:
    wait = func.pg_sleep(literal_column("0.02")).is_not(None)
    return select(ticket_table.c.client_id).where(opened(client_id), wait).limit(3)


@many(Whose)
def failing(client_id: UUID) -> ClauseElement:
    wrong = literal_column("1 / (extract(epoch FROM tickets.created_at) * 0)::int")
    return select(ticket_table.c.client_id).where(opened(client_id), wrong == literal_column("1"))


# And who forgets both.


@many(Whose)
def forgotten() -> ClauseElement:
    return select(ticket_table.c.client_id)


READS = (careless_tickets, careless_events, careless_contacts, careless_cycles, careless_checks)
Read = Callable[[Pool, UUID], Awaitable[list[Whose]]]


@pytest.fixture
async def contact_pool(app_url: str) -> Any:
    pool = await pools.connect(addresses(app_url)["contact_database_url"], size=4, role=pools.CONTACT)
    yield pool
    await pool.close()


@pytest.fixture
async def crowd(desk: Desk) -> list[UUID]:
    """Three clients with tickets, events and checks of their own."""
    for who in ("standard", "premium"):
        for _ in range(3):
            await desk.open(who)
    for who in ("standard", "premium", "lapsed"):
        question = {"channel": "portal", "category": "incident"}
        assert (await desk.call(who, "POST", "/v1/eligibility-checks", question)).status_code == 201
    return [desk.parties[who].client_id for who in ("standard", "premium", "lapsed")]


async def hammered(pool: Pool, crowd: list[UUID], seed: int, rounds: int, *, session: bool = False) -> Counter[str]:
    """Read, fail and be cut off at random; count the rows that were seen, and those of somebody else."""
    draw = random.Random(seed)  # noqa: S311  # which statement comes next is no secret
    seen: Counter[str] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)

    async def once(number: int, client_id: UUID) -> None:
        async with gate:
            if session:
                await pool.fetch("SELECT set_config('app.client_id', $1, false)", str(client_id))
            if number < 70:
                rows = await READS[number % len(READS)](pool, client_id)
                seen["foreign"] += sum(row.client_id != client_id for row in rows)
                seen["own"] += sum(row.client_id == client_id for row in rows)
            elif number < 90:
                seen["unopened"] += len(await forgotten(pool))
            elif number < 96:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await failing(pool, crowd[0])
                seen["failed"] += 1
            else:
                cut = asyncio.create_task(slow(pool, client_id))
                await asyncio.sleep(draw.random() / 100)
                cut.cancel()
                with suppress(asyncio.CancelledError, DatabaseUnavailableError):
                    await cut
                seen["cut off"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(rounds):
            group.create_task(once(draw.randrange(100), draw.choice(crowd)))
    return seen


async def test_twenty_thousand_careless_statements_see_no_foreign_row(contact_pool: Pool, crowd: list[UUID]) -> None:
    seen = await hammered(contact_pool, crowd, 4, ROUNDS)
    assert seen["own"] > ROUNDS
    assert min(seen["failed"], seen["cut off"]) > ROUNDS // 50
    assert (seen["foreign"], seen["unopened"]) == (0, 0)


async def test_the_hammer_sees_a_wall_that_is_opened_for_a_session(contact_pool: Pool, crowd: list[UUID]) -> None:
    seen = await hammered(contact_pool, crowd, 5, ROUNDS // 40, session=True)
    assert seen["unopened"] > 0


async def test_a_row_of_another_client_is_neither_written_nor_changed(
    contact_pool: Pool, crowd: list[UUID], desk: Desk
) -> None:
    foreign = (await desk.get("premium", "/v1/tickets"))["items"][0]["id"]
    opened_for = "(SELECT set_config('app.client_id', $1, true)) IS NOT NULL"
    change = f"UPDATE tickets SET subject = 'mine' WHERE {opened_for} AND id = $2 RETURNING id"
    assert await contact_pool.fetch(change, str(crowd[0]), foreign) == []
    given = f"UPDATE tickets SET client_id = $3 WHERE {opened_for} AND client_id = $2 RETURNING id"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await contact_pool.fetch(given, str(crowd[0]), crowd[0], crowd[1])
    added = (
        "INSERT INTO policy_acknowledgements SELECT $2::uuid, 1, contacts.id, contacts.created_at FROM contacts"
        f" WHERE {opened_for}"
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await contact_pool.fetch(added, str(crowd[0]), crowd[1])


async def test_the_first_wall_holds_where_the_second_is_not_there(desk: Desk, crowd: list[UUID]) -> None:
    """By the house's pool, which sees everybody's rows, a scope shows one client's and nothing else."""
    ticket = (await desk.get("premium", "/v1/tickets"))["items"][0]
    foreign, found = UUID(ticket["id"]), tickets.Scope(crowd[0])
    everything = tickets.Filters()
    own = await tickets.page(desk.pool, everything, found, None, 50, await _now(desk))
    assert {item.client_id for item in own} == {crowd[0]}
    assert await tickets.get(desk.pool, foreign, None, found) is None
    assert await tickets.get(desk.pool, None, ticket["ref"], found) is None
    assert await events.of_ticket(desk.pool, crowd[0], foreign, 0, events.Selection(), 50) == []


async def _now(desk: Desk) -> Any:
    kept = await upkeep.test_now(desk.pool)
    assert kept is not None
    return kept.at


class Recorded:
    """A pool that notes what is asked of it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.asked: set[str] = set()

    async def fetch(self, query: str, *args: object) -> Any:
        self.asked.add(query)
        return await self.pool.fetch(query, *args)


def all_texts(*statements: Statement[Any, Any]) -> set[str]:
    return {compiled.text for statement in statements for compiled in statement.variants.values()}


async def test_a_contact_is_served_by_the_contacts_pool_alone(
    caller: Caller,  # noqa: F811  # the fixture
    app: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    """The house's finds out who asks and at which instant, and nothing else."""
    runtime = app[0].state.runtime
    recorded = Recorded(runtime.pool)
    app[0].state.runtime = replace(runtime, pool=recorded)
    try:
        for row in MATRIX:
            if "C" in row.letters:
                assert (await caller("standard", row.name)).status_code < 500
    finally:
        app[0].state.runtime = runtime
    assert recorded.asked == all_texts(keys.credential, upkeep.test_now)


async def test_hundreds_of_mixed_and_cut_off_requests_carry_nothing_over(desk: Desk, crowd: list[UUID]) -> None:
    draw = random.Random(6)  # noqa: S311  # the same
    parties = dict(zip(("standard", "premium", "lapsed"), crowd, strict=True))
    some = {who: (await desk.get(who, "/v1/tickets"))["items"] for who in ("standard", "premium")}
    foreign_seen, answered = 0, Counter[int]()
    gate = asyncio.Semaphore(AT_ONCE)

    async def once(who: str, sort: int) -> None:
        nonlocal foreign_seen
        other = "premium" if who != "premium" else "standard"
        theirs = draw.choice(some[other])
        path, body = {
            0: ("/v1/tickets", None),
            1: (f"/v1/tickets/{theirs['id']}", None),
            2: (f"/v1/tickets/{theirs['ref']}/events", None),
            3: ("/v1/contacts", None),
            4: ("/v1/eligibility-checks", None),
            5: (f"/v1/tickets/{theirs['id']}/messages", {"text": "Let me in."}),
            6: ("/v1/tickets", {"subject": ""}),
        }[sort % 7]
        headers = {"Idempotency-Key": str(ids.new_id())} if body else {}
        method = "POST" if body else "GET"
        async with gate:
            request = asyncio.create_task(desk.call(who, method, path, body, headers=headers))
            if sort >= 63:
                await asyncio.sleep(draw.random() / 200)
                request.cancel()
            with suppress(asyncio.CancelledError):
                response = await request
                answered[response.status_code] += 1
                strangers = [str(client) for name, client in parties.items() if name != who]
                foreign_seen += any(client in response.text for client in strangers)

    async with asyncio.TaskGroup() as group:
        for _ in range(600):
            group.create_task(once(draw.choice(list(parties)), draw.randrange(70)))
    assert foreign_seen == 0
    assert set(answered) == {200, 404, 422}
    assert answered[200] > 150


async def test_a_key_that_the_code_of_before_has_answered_is_in_use_and_no_fault(desk: Desk, owner_url: str) -> None:
    async def ask() -> httpx.Response:
        return await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers={"Idempotency-Key": "k"})

    assert (await ask()).status_code == 201
    owner = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    await owner.execute("UPDATE idempotency_keys SET client_id = NULL")
    await owner.close()
    again = await ask()
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_in_use")
    assert len((await desk.get("standard", "/v1/tickets"))["items"]) == 1
