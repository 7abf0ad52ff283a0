"""The second wall between clients: what the catalogue says, and that each statement opens it before it reads."""

import asyncio
import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

import app.db
from app import embedded
from app.db import migrations, tables
from app.db.register import Register
from app.db.statements import Statement
from app.embedded import EmbeddedPostgres
from tests.conftest import STATE, addresses

PROTECTED = {table.name for table in tables.metadata.tables.values() if "client_id" in table.c} | {"clients"}
LOGINS = {"kawan_app": "kawan_runtime", "kawan_portal": "kawan_contact"}
# Statements that contacts may run and that are about no client: what the house alone asks, and what is nobody's.
UNWALLED = {
    "audit.early_lines",
    "audit.event_lines",
    "tickets.after",
    "tickets.lock_due",
    "tickets.look_at_all",
}


def plain(url: str) -> str:
    return url.replace("+asyncpg", "", 1)


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain(owner_url))
    yield connection
    await connection.close()


async def test_every_table_of_clients_has_the_wall(owner: asyncpg.Connection) -> None:
    columns = "SELECT DISTINCT table_name FROM information_schema.columns WHERE column_name = 'client_id'"
    of_clients = {row[0] for row in await owner.fetch(f"{columns} AND table_schema = 'public'")} | {"clients"}
    walled = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
    assert {row[0] for row in await owner.fetch(walled)} == of_clients == PROTECTED
    own = "(client_id = (NULLIF(current_setting('app.client_id'::text, true), ''::text))::uuid)"
    found = {
        (row["tablename"], tuple(row["roles"])): (row["permissive"], row["cmd"], row["qual"], row["with_check"])
        for row in await owner.fetch("SELECT * FROM pg_policies")
    }
    expected = {(name, ("kawan_runtime",)): ("PERMISSIVE", "ALL", "true", "true") for name in PROTECTED}
    for name in PROTECTED - {"api_keys"}:
        condition = own.replace("client_id =", "id =") if name == "clients" else own
        expected[name, ("kawan_contact",)] = ("PERMISSIVE", "ALL", condition, condition)
    assert found == expected


async def test_there_is_no_way_around_the_wall(owner: asyncpg.Connection) -> None:
    definers = "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    assert await owner.fetch(definers) == []
    views = "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
    assert await owner.fetch(views) == []
    row = await owner.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,"
        " (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) AS owned"
        " FROM pg_roles WHERE rolname IN ('kawan_runtime', 'kawan_contact', 'kawan_app', 'kawan_portal')"
    )
    assert {tuple(found)[1:] for found in row} == {(False, False, False, False, 0)}


async def test_what_a_contacts_session_may_do_at_all(owner: asyncpg.Connection) -> None:
    rights = await owner.fetch(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights"
        " FROM information_schema.role_table_grants WHERE grantee = 'kawan_contact' GROUP BY 1"
    )
    assert {row["table_name"]: row["rights"] for row in rights} == {
        "agreements": "SELECT",
        "audit_entries": "INSERT",
        "calendar_revisions": "SELECT",
        "clients": "SELECT",
        "clock_cycles": "INSERT SELECT UPDATE",
        "contacts": "SELECT UPDATE",
        "eligibility_checks": "INSERT SELECT",
        "eligibility_overrides": "SELECT",
        "events": "INSERT SELECT",
        "idempotency_keys": "INSERT SELECT",
        "policy_acknowledgements": "INSERT SELECT",
        "policy_versions": "SELECT",
        "subscriptions": "SELECT",
        "tickets": "INSERT SELECT UPDATE",
    }


async def test_a_contacts_login_cannot_become_the_house(app_url: str) -> None:
    connection = await asyncpg.connect(plain(addresses(app_url)["contact_database_url"]))
    try:
        for role in ("kawan_runtime", "kawan_owner", "kawan_app", "postgres"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT FROM api_keys")
    finally:
        await connection.close()


class Text(NamedTuple):
    """One text of a statement, and whether it is about one client."""

    name: str
    text: str
    walled: bool


def declared() -> Iterator[tuple[str, Statement[Any, Any]]]:
    for module in pkgutil.iter_modules(app.db.__path__):
        found = importlib.import_module(f"app.db.{module.name}")
        for name, value in vars(found).items():
            if isinstance(value, Statement) and value.declare.__module__ == found.__name__:
                yield f"{module.name}.{name}", value
            elif isinstance(value, Register):
                for verb, statement in vars(value).items():
                    if isinstance(statement, Statement):
                        yield f"{module.name}.{name}.{verb}", statement


def texts() -> Iterator[Text]:
    """Every statement, without each set of up to three of its optional arguments and with up to two of them."""
    for name, statement in declared():
        every = statement.optional
        sizes = {size for size in range(len(every) + 1) if size <= 3 or size >= len(every) - 2}
        whose = [path for path in every if path in {"owner", "client_id"} or path == "scope.client_id"]
        for size in sizes:
            for absent in map(frozenset, itertools.combinations(every, size)):
                yield Text(name, statement.variant(absent).text, walled=not absent.intersection(whose))


ALL = list(texts())


def scans(node: dict[str, Any], *, gated: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each scan of a protected table, and whether the gate stands above it on its own level."""
    if node.get("Parent Relationship") in {"InitPlan", "SubPlan"} or "Subplan Name" in node:
        gated = False
    gated = gated or ("IS NOT NULL" in node.get("One-Time Filter", ""))
    if node["Node Type"].endswith("Scan") and node.get("Relation Name") in PROTECTED:
        yield node["Relation Name"], gated
    for child in node.get("Plans", ()):
        yield from scans(child, gated=gated)


async def planned(connection: asyncpg.Connection, text: str) -> dict[str, Any] | None:
    """Return the plan that serves every value, as a contact's session gets it; None where it may not run it."""
    count = max((int(number) for number in re.findall(r"\$(\d+)", text)), default=0)
    try:
        await connection.execute(f"PREPARE one AS {text}")
        values = f"({', '.join(['NULL'] * count)})" if count else ""
        found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE one{values}")
    except asyncpg.InsufficientPrivilegeError:
        return None
    finally:
        await connection.execute("DEALLOCATE ALL")
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    return plan


async def check_plans(url: str) -> tuple[int, int]:
    """Look at every statement on one server; return how many there are, and how many scans."""
    settings = {"role": "kawan_contact", "plan_cache_mode": "force_generic_plan"}
    connection = await asyncpg.connect(plain(url), server_settings=settings, statement_cache_size=0)
    plans, seen, ungated = 0, 0, dict[str, list[str]]()
    try:
        for name, text, walled in ALL:
            plan = await planned(connection, text)
            if plan is None:
                continue
            plans += 1
            for relation, gated in scans(plan):
                seen += 1
                if not gated and (walled or name in UNWALLED):
                    ungated.setdefault(name, []).append(relation)
    finally:
        await connection.close()
    assert ungated.keys() == UNWALLED
    return plans, seen


async def test_every_statement_opens_the_wall_above_every_scan(app_url: str) -> None:
    plans, seen = await check_plans(addresses(app_url)["contact_database_url"])
    assert (plans > 700, seen > 2_600) == (True, True), (plans, seen)


def installed() -> list[Path]:
    """Every PostgreSQL of this machine that is not the one the other tests run on."""
    packaged = embedded._binaries()
    found = [*packaged.parent.parent.glob("*/bin"), *Path("/usr/lib/postgresql").glob("*/bin")]
    return sorted(path for path in found if (path / "postgres").exists() and path != packaged)


@pytest.mark.parametrize("binaries", installed(), ids=lambda path: path.parent.name)
async def test_the_plans_of_other_versions_do_so_too(binaries: Path) -> None:
    with EmbeddedPostgres(STATE / f"wall-{binaries.parent.name}", durable=False, binaries=binaries) as server:
        await asyncio.to_thread(migrations.upgrade, server.owner_url)
        plans, seen = await check_plans(server.contact_url)
    assert (plans > 700, seen > 2_600) == (True, True), (plans, seen)


def test_a_scan_without_its_own_gate_is_seen() -> None:
    gate = {"Node Type": "Result", "One-Time Filter": "((InitPlan 1).col1 IS NOT NULL)"}
    scan = {"Node Type": "Index Scan", "Relation Name": "tickets"}
    below = {"Node Type": "Seq Scan", "Relation Name": "events", "Parent Relationship": "SubPlan"}
    assert list(scans(scan)) == [("tickets", False)]
    assert list(scans(gate | {"Plans": [scan | {"Plans": [below]}]})) == [("tickets", True), ("events", False)]
