"""How the policy changes: what a new version has to be, until when it may be taken back (changes.right-to-update)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from app.domain import policy
from app.domain.calendar import LAST_INSTANT, Base, BusinessCalendar
from app.domain.errors import FieldError, InvalidDocumentError, PolicyInForceError
from app.domain.events import rfc3339
from app.domain.hours import DateException
from app.domain.policy import PolicyVersion

AHEAD: Final = timedelta(days=366)
LONGEST: Final = timedelta(days=3_652)


def completed(document: Mapping[str, object], *, latest: int, now: datetime) -> dict[str, object]:
    """Return a document with what may be left out: its number is the next one, and it takes effect now."""
    given = {name: value for name, value in document.items() if value is not None}
    return {"version": latest + 1, "effective_from": rfc3339(now), **given}


def review(
    document: Mapping[str, object], *, latest: int, exceptions: Sequence[DateException], now: datetime
) -> PolicyVersion:
    """Read a complete document as the version after the `latest`, with the exceptions of the calendar it shares.

    Raises:
        InvalidDocumentError: naming every field that is wrong; it may neither take effect in the
            past nor skip a number, and its hours have to come to what it promises.
    """
    version = policy.parse(document)
    found = []
    if version.number != latest + 1:
        message = f"the next version is {latest + 1}; leave it out, or say so"
        found.append(FieldError("/version", "not_the_next", message))
    if version.effective_from < now:
        message = "a version takes effect now or later; leave the instant out for now"
        found.append(FieldError("/effective_from", "in_the_past", message))
    else:
        found += _out_of_reach(version, BusinessCalendar(version.timezone, version.weekly, tuple(exceptions)))
    if found:
        raise InvalidDocumentError(found)
    return version


def _out_of_reach(version: PolicyVersion, calendar: BusinessCalendar) -> list[FieldError]:
    """Return what the desk's own hours would never come to: no opening in a year, or an amount in ten."""
    start = min(version.effective_from, LAST_INSTANT - AHEAD)
    if not calendar.between(start, start + AHEAD):
        message = "the desk would not open within 366 days; give it open hours"
        return [FieldError("/calendar/weekly_hours", "never_opens", message)]
    start = min(version.effective_from, LAST_INSTANT - LONGEST)
    at_most = {base: calendar.between(start, start + LONGEST, base) for base in Base}
    message = "with these open hours that would take more than ten years; give less, or more hours"
    return [
        FieldError(pointer, "out_of_reach", message)
        for pointer, amount, base in _amounts(version)
        if amount > at_most[base]
    ]


def _amounts(version: PolicyVersion) -> Iterator[tuple[str, timedelta, Base]]:
    """Yield every amount of time of a version that is counted by its hours, with its pointer."""
    for clock, target in version.targets.items():
        yield f"/targets/{clock}/seconds", target.amount, target.base
    for (clock, priority), target in version.targets_by_priority.items():
        yield f"/targets/{clock}/by_priority/{priority}/seconds", target.amount, target.base
    waiting = version.waiting
    yield "/waiting/reminder_seconds", waiting.reminder, waiting.base
    yield "/waiting/resolution_seconds", waiting.resolution, waiting.base
    for index, rule in enumerate(version.rules):
        yield f"/escalation_rules/{index}/after_seconds", rule.after, rule.base


def require_ahead(effective_from: datetime, taken_back_at: datetime | None, now: datetime) -> None:
    """See that a version may be taken back.

    Raises:
        PolicyInForceError: it has taken effect, or was taken back already.
    """
    if taken_back_at is not None:
        raise PolicyInForceError("this version was taken back already; publish the next one")
    if effective_from <= now:
        raise PolicyInForceError("this version has taken effect; publish the next one to change the policy")
