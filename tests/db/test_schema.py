"""The schema: it goes up, down and up again, is what the code says, and makes wrong states impossible."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from alembic import command

from app.db import migrations, tables
from tests.conftest import administer, database, drop

KINDS = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
)


@pytest.fixture
async def empty_url(server_url: str, worker_id: str) -> AsyncIterator[str]:
    name = f"schema_{worker_id}"
    await drop(server_url, name)
    await administer(server_url, f"CREATE DATABASE {name}")
    yield database(server_url, name)
    await drop(server_url, name)


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    yield connection
    await connection.close()


@pytest.fixture
async def runtime(app_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(app_url.replace("+asyncpg", "", 1), server_settings={"role": "kawan_runtime"})
    yield connection
    await connection.close()


async def migrate(url: str, verb: str, revision: str) -> None:
    await asyncio.to_thread(getattr(command, verb), migrations.configuration(url), revision)


async def test_migrations_go_up_down_and_up_again(empty_url: str) -> None:
    await migrate(empty_url, "upgrade", "head")
    await migrate(empty_url, "downgrade", "base")
    connection = await asyncpg.connect(empty_url.replace("+asyncpg", "", 1))
    try:
        assert await connection.fetch(KINDS) == []
        await migrate(empty_url, "upgrade", "head")
        found = {row[0] for row in await connection.fetch(KINDS)}
    finally:
        await connection.close()
    assert found == set(tables.metadata.tables)


async def test_the_migrated_schema_is_the_one_the_code_declares(owner_url: str) -> None:
    await asyncio.to_thread(command.check, migrations.configuration(owner_url))


async def test_a_schema_that_has_drifted_is_noticed(empty_url: str) -> None:
    await migrate(empty_url, "upgrade", "head")
    await administer(empty_url, "ALTER TABLE tickets DROP COLUMN late_logged CASCADE")
    with pytest.raises(Exception, match="late_logged"):
        await asyncio.to_thread(command.check, migrations.configuration(empty_url))


async def test_migrations_wait_for_no_lock_for_long(empty_url: str) -> None:
    await migrate(empty_url, "upgrade", "head")
    blocker = await asyncpg.connect(empty_url.replace("+asyncpg", "", 1))
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE tickets IN ACCESS SHARE MODE")
            began = asyncio.get_running_loop().time()
            with pytest.raises(Exception, match="lock timeout"):
                await migrate(empty_url, "downgrade", "base")
            assert asyncio.get_running_loop().time() - began < 10
    finally:
        await blocker.close()


def test_migrations_can_be_printed_as_sql() -> None:
    configuration = migrations.configuration("")
    configuration.output_buffer = io.StringIO()
    command.upgrade(configuration, "head", sql=True)
    assert "CREATE TABLE tickets" in configuration.output_buffer.getvalue()


async def test_the_application_works_as_a_role_that_owns_nothing(runtime: asyncpg.Connection) -> None:
    row = await runtime.fetchrow(
        "SELECT current_user AS role, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,"
        " (SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user) AS owned"
        " FROM pg_roles WHERE rolname = current_user"
    )
    assert dict(row) == {
        "role": "kawan_runtime", "rolsuper": False, "rolbypassrls": False, "rolcreaterole": False,
        "rolcreatedb": False, "owned": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE audit_entries SET after = '{}'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "UPDATE audit_checkpoints SET digest = ''",
        "DELETE FROM audit_checkpoints",
        "ALTER TABLE clients DISABLE TRIGGER note_change",
        "CREATE OR REPLACE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "UPDATE policy_versions SET document = '{}'",
        "UPDATE calendar_revisions SET exceptions = '[]'",
        "UPDATE eligibility_checks SET outcome = 'allowed'",
        "DELETE FROM tickets",
        "DROP TABLE tickets",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE tickets DROP COLUMN ref",
    ],
)
async def test_the_application_may_not_rewrite_history(runtime: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await runtime.execute(statement)


CLIENT = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"
STAMP = "now(), now(), 1"


async def directory(connection: asyncpg.Connection) -> None:
    await connection.execute("TRUNCATE clients, contacts, agreements, subscriptions, api_keys, agents CASCADE")
    for client in (CLIENT, OTHER):
        await connection.execute(f"INSERT INTO clients VALUES ('{client}', '{client}', 'A client', {STAMP})")
        await connection.execute(
            f"INSERT INTO agreements VALUES ('{client}', '{client}', '{client}', 'One', NULL, NULL, NULL, {STAMP})"
        )


def plan(number: int, starts: str, ends: str, cancelled: str = "NULL", client: str = CLIENT, of: str = CLIENT) -> str:
    return (
        f"INSERT INTO subscriptions VALUES ('{client}', '00000000-0000-7000-8000-0000000001{number:02}', '{of}',"
        f" '{number}', 'standard', {starts}, {ends}, '[]', {cancelled}, {STAMP})"
    )


async def test_subscriptions_of_one_agreement_may_not_overlap(owner: asyncpg.Connection) -> None:
    await directory(owner)
    await owner.execute(plan(1, "'2026-01-01'", "'2026-06-30'"))
    await owner.execute(plan(2, "'2026-07-01'", "NULL"))
    await owner.execute(plan(3, "'2026-03-01'", "NULL", client=OTHER, of=OTHER))
    for starts, ends in (("'2026-06-30'", "'2026-06-30'"), ("'2025-01-01'", "NULL"), ("'2027-01-01'", "NULL")):
        with pytest.raises(asyncpg.ExclusionViolationError) as caught:
            await owner.execute(plan(9, starts, ends))
        assert caught.value.constraint_name == "subscriptions_overlap"


async def test_a_cancelled_subscription_makes_room_from_that_day_on(owner: asyncpg.Connection) -> None:
    await directory(owner)
    await owner.execute(plan(1, "'2026-01-01'", "NULL", cancelled="'2026-03-10T12:00:00Z'"))
    with pytest.raises(asyncpg.ExclusionViolationError):
        await owner.execute(plan(2, "'2026-03-09'", "NULL"))
    await owner.execute(plan(3, "'2026-03-10'", "NULL"))


async def test_two_writers_at_once_cannot_make_subscriptions_overlap(owner: asyncpg.Connection, owner_url: str) -> None:
    await directory(owner)
    other = await asyncpg.connect(owner_url.replace("+asyncpg", "", 1))
    try:
        first, second = owner.transaction(), other.transaction()
        await first.start()
        await second.start()
        await owner.execute(plan(1, "'2026-01-01'", "NULL"))
        late = asyncio.create_task(other.execute(plan(2, "'2026-02-01'", "NULL")))
        await asyncio.sleep(0.2)
        assert not late.done()
        await first.commit()
        with pytest.raises(asyncpg.ExclusionViolationError):
            await late
        await second.rollback()
    finally:
        await other.close()


WRONG: list[tuple[str, str]] = [
    ("ck_subscriptions_dates", plan(1, "'2026-01-02'", "'2026-01-01'")),
    ("fk_subscriptions_client_id_agreement_id", plan(1, "'2026-01-01'", "NULL", client=OTHER, of=CLIENT)),
    ("ck_clients_name_length", f"INSERT INTO clients VALUES ('{CLIENT[:-1]}9', 'x', '', {STAMP})"),
    ("ck_agents_level", f"INSERT INTO agents VALUES ('{CLIENT}', 'A', 'a@b.c', 'agent', 4, false, {STAMP})"),
    ("ck_agents_role", f"INSERT INTO agents VALUES ('{CLIENT}', 'A', 'a@b.c', 'contact', 1, false, {STAMP})"),
    (
        "ck_api_keys_person",
        f"INSERT INTO api_keys VALUES ('k', sha256(''), 'n', 'agent', NULL, '{CLIENT}', NULL, now(), NULL, NULL)",
    ),
    (
        "ck_api_keys_digest",
        "INSERT INTO api_keys VALUES ('k', '', 'n', 'auditor', NULL, NULL, NULL, now(), NULL, NULL)",
    ),
]


@pytest.mark.parametrize(("constraint", "statement"), WRONG)
async def test_wrong_states_are_impossible(owner: asyncpg.Connection, constraint: str, statement: str) -> None:
    await directory(owner)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await owner.execute(statement)
    assert caught.value.constraint_name == constraint


def test_no_column_has_a_default_made_in_python() -> None:
    found: list[Any] = [
        column for table in tables.metadata.tables.values() for column in table.columns if column.default is not None
    ]
    assert found == []
