"""What every installation starts from: the shipped policy, its calendar, the public holidays."""

import json
import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from app.cli.problems import StartError
from app.db import ids, keys, policies, staff, tickets
from app.db import pool as pools
from app.db.audit import By
from app.db.keys import Key
from app.db.policies import Book, Calendar, Version
from app.db.pool import Pool
from app.db.staff import Agent
from app.db.statements import ConstraintError, LockTimeoutError
from app.domain import policy
from app.domain.events import Role
from app.domain.hours import DateException
from app.domain.policy import PolicyVersion
from app.domain.ticket import TOP_LEVEL
from app.outside import public_holidays

SHIPPED: Final = Path(__file__).resolve().parent.parent / "policies" / "v1.toml"
DESK: Final = "Support desk"


async def publish_shipped_policy(pool: Pool, now: datetime) -> None:
    """Publish policy version 1 with the holidays of this year and the next, unless it is there already."""
    document = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    version = policy.parse(document)
    desk = await policies.calendar_named(pool, DESK)
    if desk is None:
        desk = _calendar(document, version, now)
        await policies.add_calendar(pool, desk, None, by_service(now))
    kept = Version(version.number, version.effective_from, desk.id, plain(document), now)
    await policies.publish(pool, kept, by_service(now))


def read_document(path: Path) -> dict[str, Any]:
    """Read a policy document from a file, as TOML or, by its ending, as JSON.

    Raises:
        StartError: there is no such file, or it is no such document.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise StartError(f"{path} can't be read: {error.strerror}; name the policy's file.") from None
    except ValueError as error:
        raise StartError(f"{path} is no well-formed {path.suffix.lstrip('.') or 'TOML'}: {error}.") from None
    if not isinstance(found, dict):
        raise StartError(f"{path} holds no policy: its document is an object.")
    return {name: plain(value) for name, value in found.items()}


async def publish_next(pool: Pool, document: dict[str, Any], *, clock: Callable[[], datetime], check: bool) -> Version:
    """Publish a document as the next version of the policy, or only have it checked.

    Raises:
        InvalidDocumentError: naming every field that is wrong.
        StartError: another version takes effect at the same instant, or was published meanwhile, or those who
            write tickets don't come to an end.
    """
    async with pools.transaction(pool, snapshot=check) as connection:
        if not check:
            # Whoever is writing a ticket now is waited for, and whoever comes later sees the new version.
            try:
                await tickets.hold_back_writes(connection)
            except LockTimeoutError:
                sentence = "Too many tickets are being written right now; publish this again in a moment."
                raise StartError(sentence) from None
        book = Book(connection)
        await book.read()
        version = book.upcoming(document, clock())
        if check:
            return version
        try:
            published = await policies.publish(connection, version, by_service(version.published_at))
        except ConstraintError:
            raise StartError("Another version takes effect at this very instant; choose another one.") from None
        if not published:
            raise StartError("Somebody else has just published this version; read it, then decide.")
    return version


async def create_admin(pool: Pool, name: str, email: str, now: datetime) -> str:
    """Make an admin, or find them by their address, and return a new API key of theirs: it is told this once.

    Raises:
        StartError: the address is somebody else's, who is no admin.
    """
    if not name.strip() or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise StartError('Give a name and an address: create-admin "Aminah Admin" aminah@kawan.example.')
    found = await staff.register.by_name(pool, email, None)
    if found is None:
        found = Agent(
            id=ids.new_id(), name=name, email=email, role=Role.ADMIN, level=TOP_LEVEL, on_call=False,
            created_at=now, updated_at=now, version=1,
        )  # fmt: skip
        await staff.register.add(pool, found, None, by_service(now))
    if found.role is not Role.ADMIN:
        raise StartError(f"Whoever has this address is no admin but {found.role}; give another address.")
    fresh = ids.new_key()
    key = Key(
        id=fresh.id,
        digest=fresh.digest,
        name="made on the command line",
        role=found.role,
        agent_id=found.id,
        client_id=None,
        contact_id=None,
        created_at=now,
        expires_at=now + keys.LIFE,
        revoked_at=None,
    )
    await keys.add(pool, key, None, by_service(now))
    return fresh.text


def by_service(now: datetime) -> By:
    """Return what is said of changes that the command line makes."""
    return By(Role.SERVICE, None, now)


def _calendar(document: dict[str, Any], version: PolicyVersion, now: datetime) -> Calendar:
    years = sorted({version.effective_from.year, now.year, now.year + 1})
    closed = public_holidays.exceptions(version.holidays, years) if version.holidays else ()
    return Calendar(
        id=ids.new_id(),
        name=DESK,
        timezone=version.timezone,
        weekly_hours=document["calendar"]["weekly_hours"],
        created_at=now,
        revision=1,
        exceptions=[_exception(day) for day in closed],
    )


def _exception(day: DateException) -> dict[str, Any]:
    return {"date": day.date.isoformat(), "name": day.name, "hours": []}


def plain(value: Any) -> Any:  # noqa: ANN401  # TOML
    """Return a TOML document as JSON has it: dates as text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
