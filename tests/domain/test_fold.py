"""The fold and what is stored of it: nothing that can happen, and nothing a ticket holds, is forgotten."""

import dataclasses
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from app.db.tickets import CYCLE_MUTABLE, MUTABLE
from app.domain import fold, frozen, passing
from app.domain.clocks import Cycle
from app.domain.events import SERVICE, Event, EventKind
from app.domain.ticket import Ticket
from tests.domain.test_lives import Life, Priority

CHANGES_NOTHING = {EventKind.TICKET_OPENED, EventKind.MESSAGE_RECEIVED, EventKind.MESSAGE_NOTED}
"""What opens a ticket makes it; what a client says, or the house to itself, changes nothing by itself."""

FIXED = {
    "id", "client_id", "contact_id", "ref", "channel", "category", "description", "asset_id", "service",
    "follow_up_of", "eligibility_check_id", "answered", "late_logged", "policy_version", "warnings", "received_at",
    "created_at",
}  # fmt: skip
CYCLE_FIXED = {"clock", "number", "target", "started_at"}


def test_everything_that_can_happen_has_its_effect_or_none_by_name() -> None:
    assert set(EventKind) == fold._ON_TICKET.keys() | fold._ON_CYCLE.keys() | CHANGES_NOTHING


def test_every_field_of_a_ticket_is_stored_anew_or_stays_by_name() -> None:
    assert {field.name for field in fields(Ticket)} - {"cycles"} == FIXED | set(MUTABLE)
    assert FIXED.isdisjoint(MUTABLE)
    stored = {field.name for field in fields(Cycle)} - CYCLE_FIXED
    assert stored == set(CYCLE_MUTABLE) - {"target_seconds"}


def test_a_step_of_time_that_changes_nothing_is_a_fault_and_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 1, 5, 2, tzinfo=UTC)
    life = Life(start, Priority.NORMAL, [])

    def nothing(*_: Any, **__: Any) -> None:
        return

    monkeypatch.setattr(passing, "_break", nothing)
    with pytest.raises(RuntimeError, match="for ever"):
        passing.swept(life.ticket, life.terms, start.replace(day=9))


def test_a_value_made_from_another_has_its_fields_and_no_others() -> None:
    event = Event(EventKind.MESSAGE_SENT, datetime(2026, 1, 5, 2, tzinfo=UTC), SERVICE, {"text": "Yes."})
    changed = frozen.replace(event, number=2)
    assert (changed, event.number) == (dataclasses.replace(event, number=2), 0)
    with pytest.raises(TypeError, match="Event has no colour"):
        frozen.replace(event, colour="red")
