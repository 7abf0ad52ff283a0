"""The commands: each does one thing, and says in one sentence what to do where it can't."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import structlog
import typer
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.api import system
from app.cli import demo as demo_data
from app.cli import dev as development
from app.cli import serving, setup
from app.cli.problems import StartError
from app.db import keys, migrations, seal, upkeep
from app.db import pool as pools
from app.db.lease import Lease
from app.db.migrations import MigrationError
from app.db.policies import Version
from app.db.pool import Pool
from app.db.seal import Receipt, Sealer
from app.db.statements import DatabaseUnavailableError
from app.domain.errors import InvalidDocumentError
from app.domain.events import rfc3339
from app.embedded import EmbeddedError, EmbeddedPostgres
from app.main import create_app
from app.settings import Settings, SettingsError, load
from app.worker import loop, self_check

app: Final = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what can go wrong at a start into one sentence and exit code 2."""
    try:
        yield
    except (SettingsError, StartError, EmbeddedError, MigrationError) as error:
        _give_up(str(error))
    except InvalidDocumentError as error:
        _give_up("\n".join(f"{wrong.pointer or '/'}: {wrong.message}" for wrong in error.errors))
    except DatabaseUnavailableError:
        _give_up("The database can't be reached; start it, mend DATABASE_URL, or unset it to use the embedded one.")


def _give_up(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise typer.Exit(2)


@dataclass(frozen=True, slots=True)
class Database:
    """Where it is for the house, for contacts' requests and for migrations, with the server behind it if it is ours."""

    url: str
    contact_url: str
    owner_url: str
    server: EmbeddedPostgres | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """Return what tells another process of ours where it is."""
        return {"DATABASE_URL": self.url, "CONTACT_DATABASE_URL": self.contact_url}


@contextmanager
def database(settings: Settings) -> Iterator[Database]:
    """Give the database to work on: the embedded one where none is set."""
    if settings.database_url:
        owner_url = settings.migration_database_url or settings.database_url
        yield Database(settings.database_url, settings.contacts_url, owner_url)
        return
    with EmbeddedPostgres(settings.state_dir) as server:
        yield Database(server.app_url, server.contact_url, server.owner_url, server)


@asynccontextmanager
async def connected(url: str, *, role: str = pools.HOUSE, named: str = "DATABASE_URL") -> AsyncIterator[Pool]:
    """Give a connection with the rights of the running application.

    Raises:
        StartError: the database refuses it.
        DatabaseUnavailableError: it can't be reached.
    """
    try:
        pool = await pools.connect(url, size=1, role=role)
    except Exception as error:
        # The driver's own errors all have one; its name is for app.db alone.
        if not hasattr(error, "sqlstate"):
            raise
        raise StartError(
            f"The database refuses the application ({error}); run `python -m app migrate`, or mend {named}."
        ) from None
    try:
        yield pool
    finally:
        await pools.close(pool)


async def _require_walls(found: Database, *, exposed: bool) -> None:
    """See that the database can be reached by both logins, that neither may do more than it is for, and nobody else in.

    Raises:
        StartError: naming every login that may and every key for development, where others than the developer call.
    """
    wrong = list[str]()
    for name, role in (("DATABASE_URL", pools.HOUSE), ("CONTACT_DATABASE_URL", pools.CONTACT)):
        try:
            async with connected(found.addresses[name], role=role, named=name) as pool:
                login = await upkeep.login(pool)
                demo = await keys.for_development(pool) if role == pools.HOUSE else []
        except DatabaseUnavailableError:
            if role == pools.HOUSE:
                raise
            raise StartError(
                "The database can't be reached by the login for contacts; mend CONTACT_DATABASE_URL."
            ) from None
        if login and (login.unbounded or (role == pools.CONTACT and login.house)):
            wrong.append(
                f"The login of {name} may do more than {role}: give it one that is a member of {role} and of"
                " nothing else, owns nothing and is no superuser."
            )
        if demo:
            names = ", ".join(key.name for key in demo)
            wrong.append(f"The database holds keys for development ({names}): revoke them, or take another database.")
    if exposed and wrong:
        raise StartError(" ".join(wrong))


async def _require_connection(url: str) -> None:
    async with connected(url):
        return


@app.command()
def dev() -> None:
    """Start everything for development: database, migrations, demo data, API and worker."""
    with plainly():
        settings = load()
        development.require_private(settings)
        development.require_free(settings.host, settings.port)
        with database(settings) as found:
            migrations.upgrade(found.owner_url)
            credentials = asyncio.run(_fill(settings, found.url))
            commands = {name: partial(app, [name, "--following"]) for name in ("serve", "worker")}
            development.run(settings, commands, found.addresses | _audit_keys(settings), credentials, found.server)


@app.command()
def demo() -> None:
    """Fill a migrated database with demo data, unless it is there, and print where the keys are."""
    with plainly():
        settings = load()
        development.require_private(settings)
        with database(settings) as found:
            print(asyncio.run(_fill(settings, found.url)))


async def _fill(settings: Settings, url: str) -> Path:
    now = datetime.now(UTC)
    async with connected(url) as pool:
        await setup.publish_shipped_policy(pool, now)
        return await demo_data.load(pool, settings.state_dir, development.base_url(settings), now)


FOLLOWING: TypeAlias = Annotated[
    bool, typer.Option("--following", hidden=True, help="Stop when the process that started this one is gone.")
]


@app.command()
def serve(*, following: FOLLOWING = False) -> None:
    """Serve the API."""
    with plainly():
        if following:
            development.stop_with_parent()
        settings = load()
        log_at(settings.log_level)
        development.require_free(settings.host, settings.port)
        with database(settings) as found:
            asyncio.run(_require_walls(found, exposed=settings.exposed))
            os.environ |= found.addresses | {"AUDIT_PUBLIC_KEYS": _audit_keys(settings)["AUDIT_PUBLIC_KEYS"]}
            # In development nobody is sent elsewhere.
            serving.run(settings, linger=0 if following else serving.LINGER_SECONDS)


@app.command()
def worker(*, following: FOLLOWING = False) -> None:
    """Look after the clocks: warnings, breaches, emergencies."""
    with plainly():
        if following:
            development.stop_with_parent()
        settings = load()
        log_at(settings.log_level)
        key = _audit_keys(settings)["AUDIT_KEY"]
        if not key:
            raise StartError(
                "AUDIT_KEY has to be set for the worker, which seals the audit; `new-audit-key` makes one."
            )
        with database(settings) as found:
            asyncio.run(_require_connection(found.url))
            uvloop.run(_work(settings, found.url, key))


async def _work(settings: Settings, url: str, key: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    interval = timedelta(seconds=settings.sweep_seconds)
    sealer = Sealer(seal.private_key(key))
    await loop.run(url, interval=interval, test_clock=settings.test_clock, stop=stop, sealer=sealer)


@app.command(name="self-check")
def check_oneself() -> None:
    """Fold every ticket again from its events, and compare it with what is stored; exit code 1 where any differs."""
    with plainly():
        settings = load()
        with database(settings) as found:
            result = asyncio.run(_check(found.url))
    for ticket_id in result.drifted:
        print(f"{ticket_id} is not the fold of its events")
    print(f"{result.tickets} tickets, drift {len(result.drifted)}")
    if result.drifted:
        raise typer.Exit(1)


async def _check(url: str) -> self_check.Result:
    async with connected(url) as pool:
        return await self_check.run(pool)


@app.command()
def verify(
    receipt: Annotated[str, typer.Option(help="A checkpoint as it was kept: number:digest.")] = "",
) -> None:
    """Compare all events and audit entries with their seals; exit code 1 where any is not as it was sealed."""
    with plainly():
        settings = load()
        try:
            kept = Receipt.read(receipt) if receipt else None
        except ValueError as error:
            raise StartError(f"That is no receipt: {error}.") from None
        with database(settings) as found:
            keys = seal.public_keys(_audit_keys(settings)["AUDIT_PUBLIC_KEYS"].split(","))
            report = asyncio.run(_verify(found.url, keys, kept))
    for finding in report.findings:
        print(f"checkpoint {finding.checkpoint}: {finding.problem.replace('_', ' ')}")
    said = f"{len(report.findings)} findings" if report.findings else "all as it was sealed"
    print(f"{report.checkpoints} checkpoints, {report.events} events, {report.entries} entries: {said}")
    print(f"{report.unsealed} rows were written since, and are not sealed yet")
    if report.last and not report.findings:
        print(f"receipt: {report.last.number}:{report.last.digest}")
    if report.findings:
        raise typer.Exit(1)


async def _verify(url: str, keys: Mapping[str, Ed25519PublicKey], receipt: Receipt | None) -> seal.Report:
    async with connected(url) as pool:
        return await seal.verify(pool, keys, receipt=receipt)


@app.command(name="new-audit-key")
def new_audit_key() -> None:
    """Print a new key to seal the audit with, for the worker alone, and the one to verify with."""
    private, public = seal.new_key()
    print(f"AUDIT_KEY={private}\nAUDIT_PUBLIC_KEYS={public}")


def _audit_keys(settings: Settings) -> dict[str, str]:
    """Return the keys of the audit as settings: those that are set, or for development one of its own.

    Raises:
        StartError: what is sealed couldn't be verified.
    """
    private, public = settings.audit_key, list(settings.audit_public_keys)
    if not private and not public and not settings.exposed:
        private = development.audit_key(settings.state_dir)
    if private and not public:
        public = [seal.public_of(private)]
    if private and seal.public_of(private) not in public:
        raise StartError("AUDIT_PUBLIC_KEYS lacks the key that goes with AUDIT_KEY; add it.")
    return {"AUDIT_KEY": private, "AUDIT_PUBLIC_KEYS": ",".join(public)}


@app.command()
def migrate() -> None:
    """Bring the schema to this version and publish the shipped policy where there is none."""
    with plainly():
        settings = load()
        with database(settings) as found:
            migrations.upgrade(found.owner_url)
            asyncio.run(_publish(found.url))


async def _publish(url: str) -> None:
    async with connected(url) as pool:
        await setup.publish_shipped_policy(pool, datetime.now(UTC))


@app.command(name="create-admin")
def create_admin(name: str, email: str) -> None:
    """Make an admin, or find them by their address, and print a new API key of theirs: the first way in."""
    with plainly():
        settings = load()
        with database(settings) as found:
            print(asyncio.run(_create_admin(found.url, name, email)))


async def _create_admin(url: str, name: str, email: str) -> str:
    async with connected(url) as pool:
        return await setup.create_admin(pool, name, email, datetime.now(UTC))


@app.command(name="publish-policy")
def publish_policy(
    path: Annotated[Path, typer.Argument(help="The document: TOML like app/policies/v1.toml, or JSON.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong with it.")] = False,
) -> None:
    """Publish the next version of the policy: in force from its `effective_from`, or at once where it has none."""
    with plainly():
        settings = load()
        document = setup.read_document(path)
        with database(settings) as found:
            version = asyncio.run(_publish_next(found.url, document, check=check))
    verb = "would be" if check else "is"
    print(f"Policy version {version.number} {verb} in force from {rfc3339(version.effective_from)}.")


async def _publish_next(url: str, document: dict[str, Any], *, check: bool) -> Version:
    async with connected(url) as pool:
        published = await setup.publish_next(pool, document, clock=lambda: datetime.now(UTC), check=check)
    if not check:
        await Lease[Version]().forgotten()
    return published


@app.command()
def openapi(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("openapi.yaml")) -> None:
    """Write the description of the API."""
    settings = Settings(database_url=None, test_clock=True, host="127.0.0.1", environment="development")
    path.write_text(system.as_yaml(create_app(settings).openapi()), encoding="utf-8")


def log_at(level: str) -> None:
    """Log from a level on, a JSON object a line: no value of a request can break out of it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(),
    )
