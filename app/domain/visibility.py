"""Who may see what happened: the API, and everything else that shows events, asks here and nowhere else."""

from app.domain.events import CLIENTS, Actor, Event


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
