"""Clocks: met at the due instant, broken one microsecond later, and every trace adds up."""

import tomllib
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import clocks, fold, passing, policy
from app.domain.acts import intake, talk
from app.domain.acts.intake import Opening
from app.domain.calendar import MICROSECOND, BusinessCalendar
from app.domain.clocks import ClockState, EndReason
from app.domain.eligibility import Agreement, ContactDetails, Decision, Facts, Request, Subscription, check
from app.domain.errors import InvalidDocumentError
from app.domain.events import SERVICE, Actor, EventKind, Role
from app.domain.hours import DateException
from app.domain.policy import Category, Channel, Clock, Kind, Priority, Terms, Tier
from app.domain.ticket import Details, Ticket
from tests.conftest import ROOT

KL = ZoneInfo("Asia/Kuala_Lumpur")
VERSION = policy.parse(tomllib.loads((ROOT / "app" / "policies" / "v1.toml").read_text(encoding="utf-8")))
HOLIDAY = DateException(datetime(2026, 1, 12, tzinfo=KL).date(), "A holiday")
TERMS = Terms(VERSION, BusinessCalendar(VERSION.timezone, VERSION.weekly), 1)
CLOSED_MONDAY = replace(TERMS, calendar=BusinessCalendar(VERSION.timezone, VERSION.weekly, (HOLIDAY,)))
CLIENT, CONTACT, AGENT = UUID(int=1), UUID(int=2), UUID(int=3)
PERSON = Actor(Role.CONTACT, CONTACT, CLIENT)
STAFF = Actor(Role.AGENT, AGENT)

instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(KL))  # noqa: DTZ001
priorities = st.sampled_from(Priority)


def kl(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=KL)


def decided(request: Request, now: datetime, terms: Terms = TERMS) -> Decision:
    plan = Subscription(Tier.PREMIUM, datetime(2025, 1, 1, tzinfo=KL).date())
    agreement = Agreement((plan,), support_line="+60 3 5550 0100")
    return check(Facts(request, (agreement,), ContactDetails(now)), terms, now)


def opened(  # what a ticket varies in
    received: datetime,
    priority: Priority = Priority.NORMAL,
    *,
    logged: datetime | None = None,
    answered: bool = False,
    terms: Terms = TERMS,
    actor: Actor = PERSON,
) -> Ticket:
    asked = Request(Channel.PORTAL, Category.INCIDENT, priority, description="Broken.", details=Details())
    opening = Opening(UUID(int=9), CLIENT, CONTACT, "KE-2026-000001", "Subject", asked, answered, received)
    events = intake.open_ticket(opening, decided(asked, received, terms), terms, actor=actor, now=logged or received)
    return fold.fold(None, fold.numbered(None, events))


def after(found: Ticket, now: datetime, terms: Terms = TERMS) -> Ticket:
    return fold.fold(found, fold.numbered(found, passing.swept(found, terms, now)))


@given(instants, priorities, st.sampled_from([Clock.ACKNOWLEDGEMENT, Clock.RESOLUTION]))
def test_met_at_the_due_instant_broken_one_microsecond_later(start: datetime, priority: Priority, name: Clock) -> None:
    cycle = clocks.started(VERSION.target(name, priority), 1, start, TERMS)
    kept, late = (cycle.stopped(at, EndReason.DONE) for at in (cycle.due_at, cycle.due_at + MICROSECOND))
    broken = ClockState.BREACHED if cycle.kind is Kind.COMMITMENT else ClockState.OVERDUE
    for now in (cycle.due_at + MICROSECOND, cycle.due_at + timedelta(days=900)):
        assert (kept.state(now), kept.met_at, kept.broken_at(now)) == (ClockState.MET, cycle.due_at, None)
        assert (late.state(now), late.met_at, late.broken_at(now)) == (broken, None, cycle.due_at)
        assert cycle.state(now) is broken
    assert cycle.state(cycle.due_at) is ClockState.RUNNING
    assert cycle.breaks_at == cycle.due_at + MICROSECOND


@given(instants, priorities)
def test_every_trace_adds_up_to_the_target_without_a_gap(start: datetime, priority: Priority) -> None:
    for name in (Clock.ACKNOWLEDGEMENT, Clock.RESOLUTION):
        cycle = clocks.started(VERSION.target(name, priority), 1, start, CLOSED_MONDAY)
        trace = cycle.trace(CLOSED_MONDAY.calendar, start)
        assert (trace[0].start, trace[-1].end, trace[-1].total) == (cycle.started_at, cycle.due_at, cycle.target)
        assert all(one.end == other.start for one, other in pairwise(trace))


@given(instants, priorities, st.lists(st.timedeltas(timedelta(0), timedelta(days=3)), max_size=6))
@settings(max_examples=150)
def test_it_makes_no_difference_how_often_anybody_looks(
    start: datetime, priority: Priority, steps: list[timedelta]
) -> None:
    """Breaks and emergencies come once each, whether time is looked at often or once at the end."""
    end = start + sum(steps, timedelta(0))
    often = opened(start, priority)
    at, seen = start, []
    for step in steps:
        at += step
        events = passing.swept(often, TERMS, at)
        seen += events
        often = fold.fold(often, fold.numbered(often, events))
        assert passing.swept(often, TERMS, at) == []
        following = passing.next_at(often, TERMS)
        assert following is None or following > at
    once = after(opened(start, priority), end)
    assert [cycle.detected_at is None for cycle in often.cycles] == [c.detected_at is None for c in once.cycles]
    assert (often.emergency, often.status) == (once.emergency, once.status)
    kinds = [(event.kind, event.data.get("clock"), event.data.get("percent"), event.data.get("rule")) for event in seen]
    assert len(kinds) == len(set(kinds))


@given(instants, st.timedeltas(timedelta(0), timedelta(days=5)))
def test_nothing_is_both_met_and_broken(start: datetime, wait: timedelta) -> None:
    case = passing.case_of(opened(start), TERMS, actor=STAFF, now=start + wait)
    events = talk.acknowledge(case, message_id=UUID(int=5), text="Hello")
    told = [event.kind for event in events if event.data.get("clock") == "acknowledgement"]
    assert (EventKind.CLOCK_MET in told) != (EventKind.CLOCK_BROKEN in told)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-01-09 17:00:00", "2026-01-13 10:00:00"),
        ("2026-01-09 17:30:00", "2026-01-13 10:30:00"),
    ],
)
def test_a_holiday_is_passed_over_and_named(received: str, due: str) -> None:
    found = opened(kl(received), terms=CLOSED_MONDAY)
    cycle = found.cycles[0]
    assert cycle.due_at == kl(due)
    assert "A holiday" in {segment.reason for segment in cycle.trace(CLOSED_MONDAY.calendar, cycle.started_at)}


def test_an_estimate_over_a_holiday_goes_on_with_the_next_business_day() -> None:
    found = opened(kl("2026-01-09 17:30:00"), terms=CLOSED_MONDAY)
    assert found.cycles[1].due_at == kl("2026-01-13 17:30:00")


def test_a_voicemail_of_saturday_logged_on_monday_is_an_emergency_only_when_the_desk_closes() -> None:
    received, logged = kl("2026-01-10 12:00:00"), kl("2026-01-12 10:00:00")
    found = opened(received, Priority.CRITICAL, logged=logged, actor=STAFF)
    assert found.emergency is False
    assert after(found, kl("2026-01-12 17:59:59")).emergency is False
    assert after(found, kl("2026-01-12 18:00:00")).emergency is True


def test_a_voicemail_logged_after_a_business_day_is_no_emergency_before_the_next_close() -> None:
    found = opened(kl("2026-01-10 12:00:00"), Priority.CRITICAL, logged=kl("2026-01-12 20:00:00"), actor=STAFF)
    assert found.emergency is False
    assert after(found, kl("2026-01-13 18:00:00")).emergency is True


def test_a_call_of_the_afternoon_logged_in_the_evening_is_an_emergency_at_once() -> None:
    found = opened(kl("2026-01-12 17:55:00"), Priority.CRITICAL, logged=kl("2026-01-12 20:00:00"), actor=STAFF)
    assert found.emergency is True


def test_a_critical_request_logged_while_the_desk_is_still_closed_is_an_emergency_at_once() -> None:
    found = opened(kl("2026-01-10 12:00:00"), Priority.CRITICAL, logged=kl("2026-01-11 09:00:00"), actor=STAFF)
    assert found.emergency is True


def test_a_backdated_ticket_carries_its_breaks_from_the_start() -> None:
    found = opened(kl("2026-01-05 10:00:00"), logged=kl("2026-01-08 10:00:00"), actor=STAFF)
    assert [cycle.detected_at for cycle in found.cycles] == [kl("2026-01-08 10:00:00")] * 2


def test_an_act_never_comes_before_the_last_event() -> None:
    found = opened(kl("2026-01-05 10:00:00"))
    case = passing.case_of(found, TERMS, actor=STAFF, now=kl("2026-01-05 09:00:00"))
    assert case.at == kl("2026-01-05 10:00:00")
    assert [event.at for event in talk.reply(case, message_id=UUID(int=5), text="Hi")] == [case.at] * 2


@pytest.mark.parametrize(
    ("role", "at", "code"),
    [
        (Role.AGENT, "2026-01-05 10:00:00", None),
        (Role.AGENT, "2025-12-29 10:00:00", None),
        (Role.AGENT, "2025-12-29 09:59:59.999999", "too_far_back"),
        (Role.ADMIN, "2020-01-01 00:00:00", None),
        (Role.AGENT, "2026-01-05 10:00:00.000001", "in_the_future"),
        (Role.CONTACT, "2026-01-05 10:00:00", "not_yours"),
        (Role.AUTOMATION, "2026-01-05 10:00:00", "not_yours"),
    ],
)
def test_who_may_backdate_and_how_far(role: Role, at: str, code: str | None) -> None:
    now = kl("2026-01-05 10:00:00")
    if code is None:
        assert intake.received(kl(at), actor=Actor(role), limits=VERSION.limits, now=now) == kl(at)
        return
    with pytest.raises(InvalidDocumentError) as caught:
        intake.received(kl(at), actor=Actor(role), limits=VERSION.limits, now=now)
    assert [(error.pointer, error.code) for error in caught.value.errors] == [("/received_at", code)]


def test_a_ticket_begins_with_being_opened() -> None:
    found = opened(kl("2026-01-05 10:00:00"))
    broken = passing.swept(found, TERMS, kl("2026-01-09 10:00:00"))[0]
    assert broken.actor == SERVICE
    with pytest.raises(ValueError, match="begins with"):
        fold.apply(None, broken)
    with pytest.raises(ValueError, match="begins with"):
        fold.fold(None, [])
