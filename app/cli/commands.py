"""The commands: each does one thing, and says in one sentence what to do where it can't."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer
import uvicorn

from app.api import system
from app.cli import demo as demo_data
from app.cli import dev as development
from app.cli import setup
from app.cli.problems import StartError
from app.db import migrations
from app.db import pool as pools
from app.db.migrations import MigrationError
from app.db.statements import DatabaseUnavailableError
from app.embedded import EmbeddedError, EmbeddedPostgres
from app.main import create_app
from app.settings import Settings, SettingsError, load
from app.worker import loop

app: Final = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what can go wrong at a start into one sentence and exit code 2."""
    try:
        yield
    except (SettingsError, StartError, EmbeddedError, MigrationError) as error:
        _give_up(str(error))
    except DatabaseUnavailableError:
        _give_up("The database can't be reached; start it, mend DATABASE_URL, or unset it to use the embedded one.")


def _give_up(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise typer.Exit(2)


@contextmanager
def database(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give the addresses for the application and for migrations, with the embedded server where none is set."""
    if settings.database_url:
        yield settings.database_url, settings.migration_database_url or settings.database_url
        return
    with EmbeddedPostgres(settings.state_dir) as server:
        yield server.app_url, server.owner_url


@app.command()
def dev() -> None:
    """Start everything for development: database, migrations, demo data, API and worker."""
    with plainly():
        settings = load()
        development.require_free(settings.host, settings.port)
        server = None if settings.database_url else EmbeddedPostgres(settings.state_dir)
        with database(settings) as (url, owner_url):
            migrations.upgrade(owner_url)
            credentials = asyncio.run(_fill(settings, url))
            development.run(settings, url, credentials, server)


async def _fill(settings: Settings, url: str) -> Path:
    pool = await pools.connect(url, size=2)
    now = datetime.now(UTC)
    try:
        await setup.publish_shipped_policy(pool, now)
        return await demo_data.load(pool, settings.state_dir, f"http://{settings.host}:{settings.port}", now)
    finally:
        await pool.close()


@app.command()
def serve() -> None:
    """Serve the API."""
    with plainly():
        settings = load()
        with database(settings) as (url, _):
            os.environ["DATABASE_URL"] = url
            uvicorn.run(
                "app.main:create_app",
                factory=True,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                log_level=settings.log_level,
                server_header=False,
                timeout_graceful_shutdown=10,
            )


@app.command()
def worker() -> None:
    """Look after the clocks: warnings, breaches, emergencies."""
    with plainly():
        settings = load()
        log_at(settings.log_level)
        with database(settings) as (url, _):
            asyncio.run(_work(settings, url))


async def _work(settings: Settings, url: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    interval = timedelta(seconds=settings.sweep_seconds)
    await loop.run(url, interval=interval, test_clock=settings.test_clock, stop=stop)


@app.command()
def migrate() -> None:
    """Bring the schema to this version and publish the shipped policy where there is none."""
    with plainly():
        settings = load()
        with database(settings) as (url, owner_url):
            migrations.upgrade(owner_url)
            asyncio.run(_publish(url))


async def _publish(url: str) -> None:
    pool = await pools.connect(url, size=1)
    try:
        await setup.publish_shipped_policy(pool, datetime.now(UTC))
    finally:
        await pool.close()


@app.command()
def openapi(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("openapi.yaml")) -> None:
    """Write the description of the API."""
    settings = Settings(database_url=None, test_clock=True, host="127.0.0.1", environment="development")
    path.write_text(system.as_yaml(create_app(settings).openapi()), encoding="utf-8")


def log_at(level: str) -> None:
    """Let the log begin at a level."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
