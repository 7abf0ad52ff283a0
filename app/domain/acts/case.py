"""A ticket at the instant at which somebody acts on it: time has passed up to then, and nothing else."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from app.domain import passing, ticket
from app.domain.events import Actor, Event
from app.domain.policy import Terms
from app.domain.ticket import ActName, Ticket


@dataclass(frozen=True, slots=True)
class Case:
    """What every act is given; an act returns `passed` first, then its own events."""

    ticket: Ticket
    passed: tuple[Event, ...]
    terms: Terms
    actor: Actor
    at: datetime

    @classmethod
    def of(cls, found: Ticket, terms: Terms, *, actor: Actor, now: datetime) -> Self:
        """Let time pass up to `now`, or to the ticket's last event where that is later."""
        at = max(now, found.last_event_at)
        passed = passing.due(found, terms, at)
        return cls(ticket.fold(found, ticket.numbered(found, passed)), tuple(passed), terms, actor, at)

    def permit(self, name: ActName) -> None:
        """See that the table of acts has a row for this.

        Raises:
            ActForbiddenError: never in this role.
            ActNotAllowedError: not as the ticket stands.
        """
        ticket.permit(name, self.ticket, self.actor)
