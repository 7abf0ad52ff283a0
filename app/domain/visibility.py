"""Who may see what happened: the API, and everything else that shows events, asks here and nowhere else."""

from app.domain.events import CLIENTS, Actor, Event
from app.domain.ticket import Ticket


def may_see_ticket(client_id: object, contact_id: object, viewer: Actor) -> bool:
    """Tell whether a viewer may know of a ticket: staff of any, a client_admin of the client's, a contact of theirs."""
    if viewer.role not in CLIENTS:
        return True
    whole_client = viewer.role is not viewer.role.CONTACT
    return viewer.client_id == client_id and (whole_client or viewer.id == contact_id)


def may_see_event(event: Event, viewer: Actor) -> bool:
    """Tell whether an event of a ticket the viewer may see is shown to them: internal ones only to the house."""
    return viewer.role not in CLIENTS or not event.internal


def shown(ticket: Ticket, events: list[Event], viewer: Actor) -> list[Event]:
    """Return the events of a ticket that the viewer may see, in order."""
    if not may_see_ticket(ticket.client_id, ticket.contact_id, viewer):
        return []
    return [event for event in events if may_see_event(event, viewer)]
