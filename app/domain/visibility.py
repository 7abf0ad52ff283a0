"""Who may see what happened: the API, and everything else that shows events, asks here and nowhere else."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from app.domain.events import CLIENTS, Actor, Event, Role

HOUSE_ONLY: Final = frozenset({"reason", "rule", "trigger", "tags", "evidence"})
"""What an event tells the house alone: why somebody of it did so, by which rule, under which label."""


def whose_tickets(viewer: Actor) -> tuple[UUID | None, UUID | None]:
    """Return the client and the contact whose tickets a viewer may know of; None narrows nothing.

    The house knows of everybody's, a client_admin of the client's, a contact of their own.
    """
    if viewer.role not in CLIENTS:
        return None, None
    return viewer.client_id, viewer.id if viewer.role is Role.CONTACT else None


def whose_questions(viewer: Actor) -> Sequence[Role] | None:
    """Return whose eligibility checks a viewer may know of besides refused tickets; None where it doesn't matter.

    A client knows of what they asked themselves.
    """
    return sorted(CLIENTS) if viewer.role in CLIENTS else None


def asked(request: Mapping[str, Any], by: Role, viewer: Actor) -> Mapping[str, Any]:
    """Return what a refused request said, as a viewer may know: a client reads no reasons that the house gave."""
    return request if by in CLIENTS or viewer.role not in CLIENTS else _for_clients(request)


def internal_filter(viewer: Actor) -> bool | None:
    """Return what `internal` has to be of an event for this viewer to see it; None where it doesn't matter."""
    return False if viewer.role in CLIENTS else None


def shown(event: Event, viewer: Actor) -> Mapping[str, Any]:
    """Return what an event tells a viewer: a client reads it without the house's reasons, rules and labels."""
    if viewer.role not in CLIENTS:
        return event.data
    return {
        name: _for_clients(value) if isinstance(value, Mapping) else value
        for name, value in _for_clients(event.data).items()
    }


def told(event: Event, viewer: Actor) -> Sequence[str]:
    """Return who is told of an event, as far as a viewer may know: a client learns of nobody of the house."""
    return tuple(name for name in event.audience if viewer.role not in CLIENTS or name == "client")


def named(actor: Actor, viewer: Actor) -> UUID | None:
    """Return who did something, as far as a viewer may know: to a client everybody of the house is the house."""
    return actor.id if actor.role in CLIENTS or viewer.role not in CLIENTS else None


def _for_clients(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in told.items() if name not in HOUSE_ONLY}


def knows_the_house(viewer: Actor) -> bool:
    """Tell whether a viewer sees who of the house does something and why, and how it is labelled."""
    return viewer.role not in CLIENTS
