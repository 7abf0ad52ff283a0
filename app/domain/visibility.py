"""Who may see what happened: the API, and everything else that shows events, asks here and nowhere else."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.domain.events import CLIENTS, Actor, Event

HOUSE_ONLY: Final = frozenset({"reason", "rule", "trigger", "tags", "evidence"})
"""What an event tells the house alone: why somebody of it did so, by which rule, under which label."""


def may_see_ticket(client_id: object, contact_id: object, viewer: Actor) -> bool:
    """Tell whether a viewer may know of a ticket: staff of any, a client_admin of the client's, a contact of theirs."""
    if viewer.role not in CLIENTS:
        return True
    whole_client = viewer.role is not viewer.role.CONTACT
    return viewer.client_id == client_id and (whole_client or viewer.id == contact_id)


def may_see_event(event: Event, viewer: Actor) -> bool:
    """Tell whether an event of a ticket the viewer may see is shown to them: internal ones only to the house."""
    return viewer.role not in CLIENTS or not event.internal


def internal_filter(viewer: Actor) -> bool | None:
    """Return what `internal` has to be of an event for this viewer to see it; None where it doesn't matter."""
    return False if viewer.role in CLIENTS else None


def shown(event: Event, viewer: Actor) -> Mapping[str, Any]:
    """Return what an event tells a viewer: a client reads it without the house's reasons, rules and labels."""
    if viewer.role not in CLIENTS:
        return event.data
    return {name: _without(value) for name, value in event.data.items() if name not in HOUSE_ONLY}


def told(event: Event, viewer: Actor) -> Sequence[str]:
    """Return who is told of an event, as far as a viewer may know: a client learns of nobody of the house."""
    return tuple(name for name in event.audience if viewer.role not in CLIENTS or name == "client")


def _without(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: item for name, item in value.items() if name not in HOUSE_ONLY}


def knows_the_house(viewer: Actor) -> bool:
    """Tell whether a viewer sees who works on a ticket, and its labels."""
    return viewer.role not in CLIENTS
