"""Whole lives of tickets, drawn at random: what was promised, paused, moved and broken holds together at every step."""

import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.domain import fold, passing, policy
from app.domain.acts import endings, intake, levels, talk, triage
from app.domain.acts.intake import Opening
from app.domain.calendar import BusinessCalendar, SegmentKind
from app.domain.clocks import Clock, ClockState, EndReason
from app.domain.eligibility import Agreement, ContactDetails, Facts, Request, Subscription, check
from app.domain.errors import ActError, InvalidDocumentError
from app.domain.events import Actor, Event, Role
from app.domain.hours import DateException
from app.domain.policy import Category, Channel, Priority, Terms, Tier
from app.domain.ticket import Complexity, Details, Exclusion, Resolution, Status, Ticket
from tests.conftest import ROOT

VERSION = policy.parse(tomllib.loads((ROOT / "app" / "policies" / "v1.toml").read_text(encoding="utf-8")))
ZONE = ZoneInfo(VERSION.timezone)
CLIENT, CONTACT, AGENT = UUID(int=1), UUID(int=2), UUID(int=3)
PEOPLE = {
    "contact": Actor(Role.CONTACT, CONTACT, CLIENT),
    "agent": Actor(Role.AGENT, AGENT, level=1),
    "senior": Actor(Role.AGENT, AGENT, level=3),
    "lead": Actor(Role.LEAD, AGENT, level=3),
    "automation": Actor(Role.AUTOMATION),
}
BROKEN = {ClockState.BREACHED, ClockState.OVERDUE}
SOON = timedelta(hours=5, microseconds=1)
WORD: dict[str, Any] = {"message_id": UUID(int=5), "text": "A word."}
WHY: dict[str, Any] = {"reason": "Because."}

Do = Callable[[Any], list[Event]]
ACTS: dict[str, Do] = {
    "acknowledge": lambda case: talk.acknowledge(case, message_id=UUID(int=5)),
    "acknowledge with a word": lambda case: talk.acknowledge(case, **WORD),
    "reply": lambda case: talk.reply(case, **WORD),
    "reply and reopen": lambda case: endings.reply_and_reopen(case, **WORD),
    "note": lambda case: talk.note(case, **WORD),
    "request details": lambda case: talk.request_details(case, **WORD),
    "resume": talk.resume,
    "complex": lambda case: triage.classify(case, complexity=Complexity.COMPLEX, **WHY),
    "standard": lambda case: triage.classify(case, complexity=Complexity.STANDARD, **WHY),
    "critical": lambda case: triage.prioritize(case, priority=Priority.CRITICAL, outage_statement="All.", **WHY),
    "low": lambda case: triage.prioritize(case, priority=Priority.LOW, **WHY),
    "expect soon": lambda case: talk.expect_resolution(
        case, expected_at=case.at + timedelta(hours=5, microseconds=1), **WORD
    ),
    "expect later": lambda case: talk.expect_resolution(case, expected_at=case.at + timedelta(days=4), **WORD),
    "assign": lambda case: triage.assign(case, assignee_id=AGENT, level=2),
    "amend": lambda case: triage.amend(case, subject="Another"),
    "escalate": lambda case: levels.escalate(case, **WHY),
    "escalate to the top": lambda case: levels.escalate(case, to_level=3, **WHY),
    "deescalate": lambda case: levels.deescalate(case, **WHY),
    "request escalation": levels.request_escalation,
    "grant": lambda case: levels.decide_escalation(case, grant=True, **WORD),
    "decline": lambda case: levels.decide_escalation(case, grant=False, **WORD),
    "resolve": lambda case: endings.resolve(case, resolution=Resolution.FIXED, **WORD),
    "out of scope": lambda case: endings.mark_out_of_scope(
        case, exclusion=Exclusion.UPGRADES, alternative="An agreement.", **WORD
    ),
    "dispute": lambda case: endings.dispute(case, **WORD),
    "reopen": lambda case: endings.reopen(case, **WHY),
    "close": lambda case: endings.close(case, **WHY),
    "withdraw": lambda case: endings.withdraw(case, **WHY),
    "feedback": lambda case: endings.rate(case, rating=4, comment=None),
}
RARE = {"close", "withdraw"}

pauses = st.one_of(
    st.just(timedelta(0)),
    st.timedeltas(timedelta(0), timedelta(hours=3)),
    st.timedeltas(timedelta(0), timedelta(days=4)),
    st.timedeltas(timedelta(minutes=-5), timedelta(0)),
)
steps = st.tuples(st.sampled_from(sorted(PEOPLE)), st.sampled_from(sorted(ACTS)), pauses, st.booleans())
holidays = st.lists(st.integers(0, 40), max_size=3, unique=True)


class Life:
    """A ticket from its opening on, with all that happened and what was seen of it on the way."""

    def __init__(self, start: datetime, priority: Priority, days: list[int]) -> None:
        calendar = BusinessCalendar(VERSION.timezone, VERSION.weekly)
        self.terms = Terms(VERSION, calendar, 1, start, {1: (start, calendar)})
        self.days = [(start + timedelta(days=day)).astimezone(ZONE).date() for day in days]
        asked = Request(Channel.PORTAL, Category.INCIDENT, priority, description="Broken.", details=Details())
        plan = Subscription(Tier.PREMIUM, datetime(2025, 1, 1, tzinfo=UTC).date())
        decision = check(Facts(asked, (Agreement((plan,)),), ContactDetails(start)), self.terms, start)
        opening = Opening(UUID(int=9), CLIENT, CONTACT, "KE-2026-000001", "Subject", asked, False, start)
        events = intake.open_ticket(opening, decision, self.terms, actor=PEOPLE["contact"], now=start)
        self.events = list(fold.numbered(None, events))
        self.ticket = fold.fold(None, self.events)
        self.now = start
        self.seen: list[tuple[int, datetime, Any]] = []
        self.broken: dict[tuple[Clock, int], datetime] = {}

    def step(self, who: str, act: str, wait: timedelta, *, swept: bool) -> bool:
        self.now += wait
        if swept:
            self.take(passing.swept(self.ticket, self.terms, self.now))
        case = passing.case_of(self.ticket, self.terms, actor=PEOPLE[who], now=self.now)
        try:
            self.take(ACTS[act](case))
        except (ActError, InvalidDocumentError):
            return False
        return True

    def close_a_day(self) -> None:
        """Change the calendar: one more date is closed from now on."""
        if self.days:
            exceptions = (*self.terms.calendar.exceptions, DateException(self.days.pop(), "A new holiday"))
            calendar = BusinessCalendar(
                VERSION.timezone, VERSION.weekly, tuple(sorted(exceptions, key=lambda e: e.date))
            )
            revision = self.terms.revision + 1
            self.now = max(self.now, self.ticket.last_event_at, self.terms.changed_at)
            known = {**self.terms.revisions, revision: (self.now, calendar)}
            self.terms = replace(self.terms, calendar=calendar, revision=revision, changed_at=self.now, revisions=known)
            self.take(list(passing.case_of(self.ticket, self.terms, actor=PEOPLE["lead"], now=self.now).passed))

    def take(self, events: list[Event]) -> None:
        happened = fold.numbered(self.ticket, events)
        self.events += happened
        self.ticket = fold.fold(self.ticket, happened)

    def look(self) -> None:
        at = max(self.now, self.ticket.last_event_at)
        self.seen.append((len(self.events), at, shown(self.ticket, self.terms, at)))

    def look_back(self) -> None:
        """See that the past is shown as it was seen then, and that all events folded are the ticket."""
        ticket, folded = None, 0
        for known, at, before in self.seen:
            past = [event for event in self.events if event.at <= at]
            if len(past) == known:
                ticket, folded = fold.fold(ticket, past[folded:]), known
                assert shown(ticket, self.terms, at) == before
        assert fold.fold(ticket, self.events[folded:]) == self.ticket

    def hold(self) -> None:
        """See that everything holds together now."""
        at = max(self.now, self.ticket.last_event_at)
        assert [event.number for event in self.events] == list(range(1, len(self.events) + 1))
        assert all(one.at <= other.at for one, other in pairwise(self.events))
        for cycle in self.ticket.cycles:
            self.adds_up(cycle, at)
            state = cycle.state(at)
            if state in BROKEN:
                self.broken.setdefault((cycle.clock, cycle.number), at)
                assert cycle.met_at is None
            elif (cycle.clock, cycle.number) in self.broken:
                # A clock set back stands before what nobody had noted yet.
                assert at < self.broken[cycle.clock, cycle.number]
            assert (state is ClockState.PAUSED) == (cycle.running and cycle.due_at is None)
            if cycle.paused:
                assert self.ticket.status is Status.WAITING_ON_CLIENT
        running = [cycle.clock for cycle in self.ticket.cycles if cycle.running]
        usual = [clock for clock in running if clock is not Clock.EXPECTED_RESOLUTION]
        assert len(usual) == len(set(usual))
        if self.ticket.status in {Status.RESOLVED, Status.CLOSED}:
            assert not running
            assert not self.ticket.emergency
        if self.ticket.assignee_level is not None:
            assert self.ticket.assignee_level >= self.ticket.level
        assert (self.ticket.status is Status.WAITING_ON_CLIENT) == any(end is None for _, end in self.ticket.waits)
        told = [
            (e.kind, e.data["clock"], e.data["cycle"])
            for e in self.events
            if e.kind.value in {"clock.broken", "clock.met"}
        ]
        assert len(told) == len(set(told))
        assert {key[1:] for key in told if key[0] == "clock.met"}.isdisjoint(
            key[1:] for key in told if key[0] == "clock.broken"
        )

    def adds_up(self, cycle: Any, at: datetime) -> None:
        """The trace leads without a gap from the start to where the cycle stands, and counts exactly."""
        calendar = self.terms.calendar_of(cycle.calendar_revision)
        trace = cycle.trace(calendar, at)
        assert all(one.end == other.start for one, other in pairwise(trace))
        assert sum((piece.counted for piece in trace), timedelta(0)) == (trace[-1].total if trace else timedelta(0))
        if trace:
            assert trace[0].start == cycle.started_at
        cut = cycle.ended_at and cycle.end_reason is not EndReason.DONE and not cycle.broken_at(cycle.ended_at)
        if cycle.due_at and not cut:
            assert trace[-1].end == cycle.due_at
            assert trace[-1].total == cycle.target
        elif trace:
            assert trace[-1].total == min(cycle.used(trace[-1].end, calendar), trace[-1].total)
        waited = sum((piece.end - piece.start for piece in trace if piece.kind is SegmentKind.PAUSED), timedelta(0))
        assert waited <= sum(
            (min(end or at, trace[-1].end) - start for start, end in cycle.pauses if trace and start < trace[-1].end),
            timedelta(0),
        )


def shown(ticket: Ticket, terms: Terms, at: datetime) -> Any:
    """What a reader is shown of the clocks at an instant, without what was only noted later."""
    return [
        (
            cycle.clock,
            cycle.number,
            cycle.state(at),
            cycle.due_at,
            cycle.trace(terms.calendar_of(cycle.calendar_revision), at),
        )
        for cycle in ticket.cycles
    ]


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(Priority),
    st.lists(steps, min_size=1, max_size=25),
    holidays,
)
@example(
    datetime(2026, 1, 1, tzinfo=UTC),
    Priority.CRITICAL,
    [
        ("automation", "acknowledge", timedelta(days=1, microseconds=1), False),
        ("agent", "acknowledge", timedelta(minutes=-5), False),
    ],
    [],
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_life_drawn_at_random_holds_together(
    start: datetime, priority: Priority, story: list[tuple[str, str, timedelta, bool]], days: list[int]
) -> None:
    life = Life(start, priority, days)
    life.hold()
    for number, (who, act, wait, swept) in enumerate(story):
        if act in RARE and number % 3:
            continue
        life.step(who, act, wait, swept=swept)
        life.hold()
        life.look()
        if swept and not number % 4:
            life.close_a_day()
    life.look_back()


WAITS = (timedelta(0), timedelta(minutes=20), timedelta(hours=3), timedelta(days=1), timedelta(days=4))
SEED = 20_260_105


def test_thousands_of_lives_reach_every_act_state_and_end() -> None:
    """Walk deep: at each step acts are tried until one is allowed, so that a life gets somewhere."""
    random = Random(SEED)  # noqa: S311  # the same lives each time
    done, states, statuses, reasons = Counter[str](), set[ClockState](), set[Status](), set[EndReason | None]()
    for _ in range(2_000):
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(365 * 86_400))
        life = Life(start, random.choice(list(Priority)), random.sample(range(40), 2))
        for number in range(random.randrange(4, 16)):
            wait, swept = random.choice(WAITS), random.random() < 0.5
            for who, act in zip(random.choices(list(PEOPLE), k=6), random.choices(list(ACTS), k=6), strict=True):
                if act not in RARE or number > 8:
                    if life.step(who, act, wait, swept=swept):
                        done[act] += 1
                        break
                    wait = timedelta(0)
            if random.random() < 0.05:
                life.close_a_day()
            life.hold()
            life.look()
            at = max(life.now, life.ticket.last_event_at)
            statuses.add(life.ticket.status)
            states |= {cycle.state(at) for cycle in life.ticket.cycles}
            reasons |= {cycle.end_reason for cycle in life.ticket.cycles}
        life.look_back()
    assert done.keys() == ACTS.keys(), ACTS.keys() - done.keys()
    assert states == set(ClockState)
    assert statuses == set(Status)
    assert reasons == {None, *EndReason}
