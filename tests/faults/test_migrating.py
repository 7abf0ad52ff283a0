"""A schema that changes under load: what only adds holds up nobody, and code and schema know each other's age."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from app.db import migrations
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import running
from tests.conftest import ROOT, addresses, administer, database, drop
from tests.faults.figures import WHOLE, Figure
from tests.faults.load import Writers
from tests.faults.processes import Api, House

STALL_SECONDS = 0.5
whole = pytest.mark.skipif(not WHOLE, reason="make faults runs it")

# As our own are: one adds, the next looks at what is there and builds beside the traffic, and one goes too far.
EXPAND = {
    "expand": """
        op.add_column("tickets", sa.Column("mood", sa.Text(), nullable=True))
        op.add_column("events", sa.Column("weight", sa.Integer(), server_default="1", nullable=False))
        op.execute("ALTER TABLE tickets ADD CONSTRAINT ck_tickets_mood CHECK (length(mood) < 9) NOT VALID")
    """,
    "look": """
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_mood")
        with op.get_context().autocommit_block():
            op.create_index("ix_tickets_mood", "tickets", ["mood"], postgresql_concurrently=True)
    """,
}
CARELESS = {
    "careless": """
        op.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
        op.execute("SELECT pg_sleep(1.5)")
    """
}
MIGRATION = '''"""{name}"""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{name}", "{before}", None, None
def upgrade():
{body}
'''
RUN = """
import sys
from alembic import command
from app.db import migrations
found = migrations.configuration(sys.argv[1])
found.set_main_option("path_separator", "newline")
found.set_main_option("version_locations", "\\n".join(sys.argv[2:]))
command.upgrade(found, "head")
"""


def head() -> str:
    found = ScriptDirectory.from_config(migrations.configuration("")).get_current_head()
    assert found
    return found


def written(folder: Path, bodies: dict[str, str], before: str) -> str:
    """Write migrations that come after all others, and return the last one's name."""
    folder.mkdir()
    for name, body in bodies.items():
        lines = "\n".join(f"    {line.strip()}" for line in body.strip().splitlines())
        # What stands in a block is one step deeper.
        lines = lines.replace("    op.create_index", "        op.create_index")
        (folder / f"{name}.py").write_text(MIGRATION.format(name=name, before=before, body=lines))
        before = name
    return before


async def migrate(house: House, *folders: Path) -> None:
    own = [str(ROOT / "migrations" / "versions"), *map(str, folders)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, house.database.server.owner_url, *own, cwd=ROOT
    )
    assert await process.wait() == 0


@asynccontextmanager
async def stalls(writers: Writers) -> AsyncIterator[list[float]]:
    """Write all the time, and note the longest that nobody was answered."""
    found, answered = [0.0], [time.monotonic()]

    async def watch() -> None:
        seen = 0
        while True:
            if len(writers.tally.acknowledged) > seen:
                seen, answered[0] = len(writers.tally.acknowledged), time.monotonic()
            found[0] = max(found[0], time.monotonic() - answered[0])
            await asyncio.sleep(0.005)

    async with writers.busy(4):
        await asyncio.sleep(0.5)
        answered[0] = time.monotonic()
        watching = asyncio.create_task(watch())
        yield found
        watching.cancel()


@whole
async def test_a_migration_that_only_adds_holds_up_nobody_and_the_code_before_it_goes_on(
    house: House, api: Api, tmp_path: Path, figures: list[Figure]
) -> None:
    added, careless = tmp_path / "added", tmp_path / "careless"
    last = written(added, EXPAND, head())
    written(careless, CARELESS, last)
    writers, late = Writers(api, house.desk.request()), Writers(api, house.desk.request())
    try:
        async with stalls(writers) as stalled:
            await migrate(house, added)
            assert (await api.http.get("/readyz")).status_code == 200
            async with house.api() as started_later:
                await late.open("on the schema to come", started_later.http)
        async with stalls(Writers(api, house.desk.request())) as control:
            await migrate(house, added, careless)
    finally:
        await house.database.ask(f"UPDATE alembic_version SET version_num = '{head()}'")
    tally = writers.tally
    lost, duplicated = await tally.compared(house.database)
    figures.append(
        Figure(
            "old code, new schema", f"2 migrations that add, under 4 writers; longest stall {stalled[0]:.2f} s", 1,
            f"one that locks: {control[0]:.2f} s", lost, duplicated, len(tally.wrong), tally.slowest,
        )
    )  # fmt: skip
    assert (lost, duplicated, tally.wrong, set(tally.statuses)) == (0, 0, [], {201})
    assert len(late.tally.acknowledged) == 1
    assert stalled[0] < STALL_SECONDS < control[0]


REVISIONS = [found.revision for found in ScriptDirectory.from_config(migrations.configuration("")).walk_revisions()]


@pytest.mark.parametrize("revision", [*reversed(REVISIONS)] if WHOLE else [REVISIONS[-1], *REVISIONS[1::-1]])
async def test_new_code_on_an_old_schema_says_that_it_is_not_ready(revision: str, server_url: str) -> None:
    name = f"behind_{revision}"
    await drop(server_url, name)
    await administer(server_url, f"CREATE DATABASE {name}")
    url = database(server_url, name)
    try:
        await asyncio.to_thread(command.upgrade, migrations.configuration(url), revision)
        app_url = url.replace("kawan_owner@", "kawan_app@", 1)
        async with running(create_app(Settings(**addresses(app_url), pool_size=1))) as http:
            answer = await http.get("/readyz")
        newest = revision == head()
        assert (answer.status_code, answer.json()["migrations"]) == ((200, True) if newest else (503, False))
        assert answer.json()["database"] is True
    finally:
        await drop(server_url, name)
