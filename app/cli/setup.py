"""What every installation starts from: the shipped policy, its calendar, the public holidays."""

import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from app.db import ids, policies
from app.db.policies import Calendar, Version
from app.db.pool import Pool
from app.domain import policy
from app.domain.hours import DateException
from app.domain.policy import PolicyVersion
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
        await policies.add_calendar(pool, desk, None)
    kept = Version(version.number, version.effective_from, desk.id, plain(document), now)
    await policies.publish(pool, kept)


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
