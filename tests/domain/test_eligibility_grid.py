"""What the support policy answers to every channel, priority, plan and desk, written out cell by cell."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from app.domain import policy
from app.domain.calendar import BusinessCalendar
from app.domain.eligibility import (
    Agreement,
    ContactDetails,
    Decision,
    Facts,
    FindingCode,
    Request,
    Subscription,
    Suspension,
    check,
)
from app.domain.policy import Category, Channel, Priority, Terms, Tier
from app.domain.ticket import Details
from tests.conftest import ROOT

ZONE = ZoneInfo("Asia/Kuala_Lumpur")
VERSION = policy.parse(tomllib.loads((ROOT / "app" / "policies" / "v1.toml").read_text(encoding="utf-8")))
TERMS = Terms(VERSION, BusinessCalendar(VERSION.timezone, VERSION.weekly), 1)


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZONE).astimezone(UTC)


OPEN = local(2026, 1, 5, 10)
CLOSED = local(2026, 1, 10, 12)
NEXT_OPENING = local(2026, 1, 12, 9)
DESK: Mapping[str, datetime] = {"open": OPEN, "closed": CLOSED}
MICROSECOND = timedelta(microseconds=1)
LINE = "+60312345678"
OUTAGE = "The shop is down for every visitor."

SINCE_2025 = date(2025, 1, 1)
STANDARD = Subscription(Tier.STANDARD, SINCE_2025)
PREMIUM = Subscription(Tier.PREMIUM, SINCE_2025)
NOT_STARTED = Subscription(Tier.PREMIUM, date(2026, 2, 1))
EXPIRED = Subscription(Tier.PREMIUM, SINCE_2025, date(2025, 12, 31))
SUSPENDED = Subscription(Tier.PREMIUM, SINCE_2025, suspensions=(Suspension(local(2026, 1, 1)),))
CANCELLED = Subscription(Tier.PREMIUM, SINCE_2025, cancelled_at=local(2026, 1, 2))

# The plans that are not active would be premium with a line, if they were: what has ended grants nothing.
PLANS: Mapping[str, tuple[Agreement, ...]] = {
    "none": (),
    "not_started": (Agreement((NOT_STARTED,), support_line=LINE),),
    "expired": (Agreement((EXPIRED,), support_line=LINE),),
    "suspended": (Agreement((SUSPENDED,), support_line=LINE),),
    "cancelled": (Agreement((CANCELLED,), support_line=LINE),),
    "standard": (Agreement((STANDARD,)),),
    "premium_line": (Agreement((PREMIUM,), support_line=LINE),),
    "premium_no_line": (Agreement((PREMIUM,)),),
}

GRID = """
portal critical none            open   | denied                | care_plan_inactive
portal critical none            closed | denied                | care_plan_inactive
portal critical not_started     open   | denied                | care_plan_inactive
portal critical not_started     closed | denied                | care_plan_inactive
portal critical expired         open   | denied                | care_plan_inactive
portal critical expired         closed | denied                | care_plan_inactive
portal critical suspended       open   | denied                | care_plan_inactive
portal critical suspended       closed | denied                | care_plan_inactive
portal critical cancelled       open   | denied                | care_plan_inactive
portal critical cancelled       closed | denied                | care_plan_inactive
portal critical standard        open   | allowed               |
portal critical standard        closed | allowed               |
portal critical premium_line    open   | allowed               |
portal critical premium_line    closed | allowed               |
portal critical premium_no_line open   | allowed               |
portal critical premium_no_line closed | allowed               |
portal high     none            open   | denied                | care_plan_inactive
portal high     none            closed | denied                | care_plan_inactive
portal high     not_started     open   | denied                | care_plan_inactive
portal high     not_started     closed | denied                | care_plan_inactive
portal high     expired         open   | denied                | care_plan_inactive
portal high     expired         closed | denied                | care_plan_inactive
portal high     suspended       open   | denied                | care_plan_inactive
portal high     suspended       closed | denied                | care_plan_inactive
portal high     cancelled       open   | denied                | care_plan_inactive
portal high     cancelled       closed | denied                | care_plan_inactive
portal high     standard        open   | allowed               |
portal high     standard        closed | allowed               |
portal high     premium_line    open   | allowed               |
portal high     premium_line    closed | allowed               |
portal high     premium_no_line open   | allowed               |
portal high     premium_no_line closed | allowed               |
portal normal   none            open   | denied                | care_plan_inactive
portal normal   none            closed | denied                | care_plan_inactive
portal normal   not_started     open   | denied                | care_plan_inactive
portal normal   not_started     closed | denied                | care_plan_inactive
portal normal   expired         open   | denied                | care_plan_inactive
portal normal   expired         closed | denied                | care_plan_inactive
portal normal   suspended       open   | denied                | care_plan_inactive
portal normal   suspended       closed | denied                | care_plan_inactive
portal normal   cancelled       open   | denied                | care_plan_inactive
portal normal   cancelled       closed | denied                | care_plan_inactive
portal normal   standard        open   | allowed               |
portal normal   standard        closed | allowed               |
portal normal   premium_line    open   | allowed               |
portal normal   premium_line    closed | allowed               |
portal normal   premium_no_line open   | allowed               |
portal normal   premium_no_line closed | allowed               |
portal low      none            open   | denied                | care_plan_inactive
portal low      none            closed | denied                | care_plan_inactive
portal low      not_started     open   | denied                | care_plan_inactive
portal low      not_started     closed | denied                | care_plan_inactive
portal low      expired         open   | denied                | care_plan_inactive
portal low      expired         closed | denied                | care_plan_inactive
portal low      suspended       open   | denied                | care_plan_inactive
portal low      suspended       closed | denied                | care_plan_inactive
portal low      cancelled       open   | denied                | care_plan_inactive
portal low      cancelled       closed | denied                | care_plan_inactive
portal low      standard        open   | allowed               |
portal low      standard        closed | allowed               |
portal low      premium_line    open   | allowed               |
portal low      premium_line    closed | allowed               |
portal low      premium_no_line open   | allowed               |
portal low      premium_no_line closed | allowed               |
email  critical none            open   | denied                | care_plan_inactive email_is_for_non_urgent
email  critical none            closed | denied                | care_plan_inactive email_is_for_non_urgent
email  critical not_started     open   | denied                | care_plan_inactive email_is_for_non_urgent
email  critical not_started     closed | denied                | care_plan_inactive email_is_for_non_urgent
email  critical expired         open   | denied                | care_plan_inactive email_is_for_non_urgent
email  critical expired         closed | denied                | care_plan_inactive email_is_for_non_urgent
email  critical suspended       open   | denied                | care_plan_inactive email_is_for_non_urgent
email  critical suspended       closed | denied                | care_plan_inactive email_is_for_non_urgent
email  critical cancelled       open   | denied                | care_plan_inactive email_is_for_non_urgent
email  critical cancelled       closed | denied                | care_plan_inactive email_is_for_non_urgent
email  critical standard        open   | allowed_with_warnings | email_is_for_non_urgent
email  critical standard        closed | allowed_with_warnings | email_is_for_non_urgent
email  critical premium_line    open   | allowed_with_warnings | email_is_for_non_urgent
email  critical premium_line    closed | allowed_with_warnings | email_is_for_non_urgent
email  critical premium_no_line open   | allowed_with_warnings | email_is_for_non_urgent
email  critical premium_no_line closed | allowed_with_warnings | email_is_for_non_urgent
email  high     none            open   | denied                | care_plan_inactive email_is_for_non_urgent
email  high     none            closed | denied                | care_plan_inactive email_is_for_non_urgent
email  high     not_started     open   | denied                | care_plan_inactive email_is_for_non_urgent
email  high     not_started     closed | denied                | care_plan_inactive email_is_for_non_urgent
email  high     expired         open   | denied                | care_plan_inactive email_is_for_non_urgent
email  high     expired         closed | denied                | care_plan_inactive email_is_for_non_urgent
email  high     suspended       open   | denied                | care_plan_inactive email_is_for_non_urgent
email  high     suspended       closed | denied                | care_plan_inactive email_is_for_non_urgent
email  high     cancelled       open   | denied                | care_plan_inactive email_is_for_non_urgent
email  high     cancelled       closed | denied                | care_plan_inactive email_is_for_non_urgent
email  high     standard        open   | allowed_with_warnings | email_is_for_non_urgent
email  high     standard        closed | allowed_with_warnings | email_is_for_non_urgent
email  high     premium_line    open   | allowed_with_warnings | email_is_for_non_urgent
email  high     premium_line    closed | allowed_with_warnings | email_is_for_non_urgent
email  high     premium_no_line open   | allowed_with_warnings | email_is_for_non_urgent
email  high     premium_no_line closed | allowed_with_warnings | email_is_for_non_urgent
email  normal   none            open   | denied                | care_plan_inactive
email  normal   none            closed | denied                | care_plan_inactive
email  normal   not_started     open   | denied                | care_plan_inactive
email  normal   not_started     closed | denied                | care_plan_inactive
email  normal   expired         open   | denied                | care_plan_inactive
email  normal   expired         closed | denied                | care_plan_inactive
email  normal   suspended       open   | denied                | care_plan_inactive
email  normal   suspended       closed | denied                | care_plan_inactive
email  normal   cancelled       open   | denied                | care_plan_inactive
email  normal   cancelled       closed | denied                | care_plan_inactive
email  normal   standard        open   | allowed               |
email  normal   standard        closed | allowed               |
email  normal   premium_line    open   | allowed               |
email  normal   premium_line    closed | allowed               |
email  normal   premium_no_line open   | allowed               |
email  normal   premium_no_line closed | allowed               |
email  low      none            open   | denied                | care_plan_inactive
email  low      none            closed | denied                | care_plan_inactive
email  low      not_started     open   | denied                | care_plan_inactive
email  low      not_started     closed | denied                | care_plan_inactive
email  low      expired         open   | denied                | care_plan_inactive
email  low      expired         closed | denied                | care_plan_inactive
email  low      suspended       open   | denied                | care_plan_inactive
email  low      suspended       closed | denied                | care_plan_inactive
email  low      cancelled       open   | denied                | care_plan_inactive
email  low      cancelled       closed | denied                | care_plan_inactive
email  low      standard        open   | allowed               |
email  low      standard        closed | allowed               |
email  low      premium_line    open   | allowed               |
email  low      premium_line    closed | allowed               |
email  low      premium_no_line open   | allowed               |
email  low      premium_no_line closed | allowed               |
phone  critical none            open   | denied                | care_plan_inactive phone_requires_premium
phone  critical none            closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  critical not_started     open   | denied                | care_plan_inactive phone_requires_premium
phone  critical not_started     closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  critical expired         open   | denied                | care_plan_inactive phone_requires_premium
phone  critical expired         closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  critical suspended       open   | denied                | care_plan_inactive phone_requires_premium
phone  critical suspended       closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  critical cancelled       open   | denied                | care_plan_inactive phone_requires_premium
phone  critical cancelled       closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  critical standard        open   | denied                | phone_requires_premium
phone  critical standard        closed | denied                | phone_requires_premium phone_outside_business_hours
phone  critical premium_line    open   | allowed               |
phone  critical premium_line    closed | denied                | phone_outside_business_hours
phone  critical premium_no_line open   | denied                | phone_no_support_line
phone  critical premium_no_line closed | denied                | phone_outside_business_hours phone_no_support_line
phone  high     none            open   | denied                | care_plan_inactive phone_requires_premium
phone  high     none            closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  high     not_started     open   | denied                | care_plan_inactive phone_requires_premium
phone  high     not_started     closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  high     expired         open   | denied                | care_plan_inactive phone_requires_premium
phone  high     expired         closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  high     suspended       open   | denied                | care_plan_inactive phone_requires_premium
phone  high     suspended       closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  high     cancelled       open   | denied                | care_plan_inactive phone_requires_premium
phone  high     cancelled       closed | denied                | care_plan_inactive phone_requires_premium phone_outside_business_hours
phone  high     standard        open   | denied                | phone_requires_premium
phone  high     standard        closed | denied                | phone_requires_premium phone_outside_business_hours
phone  high     premium_line    open   | allowed               |
phone  high     premium_line    closed | denied                | phone_outside_business_hours
phone  high     premium_no_line open   | denied                | phone_no_support_line
phone  high     premium_no_line closed | denied                | phone_outside_business_hours phone_no_support_line
phone  normal   none            open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  normal   none            closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   not_started     open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  normal   not_started     closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   expired         open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  normal   expired         closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   suspended       open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  normal   suspended       closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   cancelled       open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  normal   cancelled       closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   standard        open   | denied                | phone_requires_premium phone_requires_urgency
phone  normal   standard        closed | denied                | phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  normal   premium_line    open   | denied                | phone_requires_urgency
phone  normal   premium_line    closed | denied                | phone_requires_urgency phone_outside_business_hours
phone  normal   premium_no_line open   | denied                | phone_requires_urgency phone_no_support_line
phone  normal   premium_no_line closed | denied                | phone_requires_urgency phone_outside_business_hours phone_no_support_line
phone  low      none            open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  low      none            closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      not_started     open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  low      not_started     closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      expired         open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  low      expired         closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      suspended       open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  low      suspended       closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      cancelled       open   | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency
phone  low      cancelled       closed | denied                | care_plan_inactive phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      standard        open   | denied                | phone_requires_premium phone_requires_urgency
phone  low      standard        closed | denied                | phone_requires_premium phone_requires_urgency phone_outside_business_hours
phone  low      premium_line    open   | denied                | phone_requires_urgency
phone  low      premium_line    closed | denied                | phone_requires_urgency phone_outside_business_hours
phone  low      premium_no_line open   | denied                | phone_requires_urgency phone_no_support_line
phone  low      premium_no_line closed | denied                | phone_requires_urgency phone_outside_business_hours phone_no_support_line
"""  # noqa: E501


class Cell(NamedTuple):
    channel: str
    priority: str
    plan: str
    desk: str
    outcome: str
    codes: list[str]


def cell(line: str) -> Cell:
    where, outcome, codes = (part.strip() for part in line.split("|"))
    channel, priority, plan, desk = where.split()
    return Cell(channel, priority, plan, desk, outcome, codes.split())


CELLS = [cell(line) for line in GRID.strip().splitlines()]


def ask(
    agreements: tuple[Agreement, ...],
    now: datetime = OPEN,
    *,
    channel: str = "portal",
    category: str = "incident",
    priority: str = "normal",
    asset: str | None = None,
    service: str | None = None,
) -> Decision:
    """Ask with fresh contact details; a critical request says what is down."""
    request = Request(
        channel=Channel(channel),
        category=Category(category),
        priority=Priority(priority),
        asset_id=asset,
        service=service,
        outage_statement=OUTAGE if priority == "critical" else None,
    )
    return check(Facts(request, agreements, ContactDetails(confirmed_at=now)), TERMS, now)


def codes(decision: Decision) -> list[str]:
    return [finding.code.value for finding in decision.findings]


def kinds(decision: Decision) -> list[str]:
    return [alternative.kind.value for alternative in decision.alternatives]


# ------------------------------------------------------------------------------- the grid


def test_the_grid_holds_each_of_its_192_cells_once() -> None:
    places = {(row.channel, row.priority, row.plan, row.desk) for row in CELLS}
    assert len(CELLS) == 192
    assert places == {
        (channel, priority, plan, desk)
        for channel in ("portal", "email", "phone")
        for priority in ("critical", "high", "normal", "low")
        for plan in PLANS
        for desk in DESK
    }


@pytest.mark.parametrize("row", CELLS, ids=lambda row: "-".join(row[:4]))
def test_every_cell_has_its_outcome_and_all_its_findings_in_order(row: Cell) -> None:
    decision = ask(PLANS[row.plan], DESK[row.desk], channel=row.channel, priority=row.priority)
    assert (decision.outcome.value, codes(decision)) == (row.outcome, row.codes)


# ------------------------------------------------------------------- why a plan is inactive


@pytest.mark.parametrize("channel", ["portal", "email", "phone"])
@pytest.mark.parametrize(
    ("plan", "state"),
    [
        ("none", "none"),
        ("not_started", "not_started"),
        ("expired", "expired"),
        ("suspended", "suspended"),
        ("cancelled", "cancelled"),
    ],
)
def test_an_inactive_plan_says_in_which_state_it_is(plan: str, state: str, channel: str) -> None:
    finding = ask(PLANS[plan], channel=channel).findings[0]
    assert (finding.code.value, finding.facts["state"]) == ("care_plan_inactive", state)


@pytest.mark.parametrize(
    ("subscriptions", "state"),
    [
        ((CANCELLED, SUSPENDED), "suspended"),
        ((EXPIRED, SUSPENDED), "suspended"),
        ((NOT_STARTED, SUSPENDED), "suspended"),
        ((EXPIRED, NOT_STARTED), "not_started"),
        ((CANCELLED, NOT_STARTED), "not_started"),
        ((CANCELLED, EXPIRED), "expired"),
    ],
)
def test_of_several_states_the_first_that_fits_is_told(subscriptions: tuple[Subscription, ...], state: str) -> None:
    agreements = tuple(Agreement((subscription,)) for subscription in subscriptions)
    assert ask(agreements).findings[0].facts["state"] == state


# ----------------------------------------------------------------- clauses and severities

CLAUSE_AND_SEVERITY: Mapping[str, tuple[str, str]] = {
    "care_plan_inactive": ("eligibility.care-plan", "refusal"),
    "outside_agreement": ("exclusions.out-of-scope", "refusal"),
    "excluded_customizations": ("exclusions.customizations", "refusal"),
    "excluded_upgrades": ("exclusions.upgrades", "refusal"),
    "excluded_layout_changes": ("exclusions.layout-changes", "refusal"),
    "excluded_feature_additions": ("exclusions.feature-additions", "refusal"),
    "may_be_excluded": ("exclusions.third-party-modifications", "warning"),
    "phone_requires_premium": ("channels.phone", "refusal"),
    "phone_requires_urgency": ("channels.phone", "refusal"),
    "phone_outside_business_hours": ("channels.phone", "refusal"),
    "phone_no_support_line": ("channels.phone", "refusal"),
    "email_is_for_non_urgent": ("channels.email", "warning"),
    "contact_details_stale": ("responsibilities.contact", "warning"),
    "details_missing": ("responsibilities.descriptions", "warning"),
    "outage_statement_missing": ("priority.critical", "warning"),
}
CRITICAL_WITHOUT_STATEMENT = Request(Channel.PORTAL, Category.INCIDENT, Priority.CRITICAL)
TOO_SHORT = Request(Channel.PORTAL, Category.INCIDENT, description="It is broken", details=Details())


def every_finding() -> list[Decision]:
    """Decisions that show each code at least once."""
    plain = Request(Channel.PORTAL, Category.INCIDENT)
    fresh = ContactDetails(confirmed_at=OPEN)
    standard = PLANS["standard"]
    return [
        ask(PLANS["none"]),
        ask((Agreement((STANDARD,), assets=("shop",)),), asset="blog"),
        ask(standard, category="customizations"),
        ask(standard, category="upgrades"),
        ask(standard, category="layout_changes"),
        ask(standard, category="feature_additions"),
        ask(standard, category="third_party_modifications"),
        ask(standard, CLOSED, channel="phone"),
        ask(PLANS["premium_no_line"], channel="phone", priority="high"),
        ask(standard, channel="email", priority="high"),
        check(Facts(plain, standard, ContactDetails(confirmed_at=None)), TERMS, OPEN),
        check(Facts(TOO_SHORT, standard, fresh), TERMS, OPEN),
        check(Facts(CRITICAL_WITHOUT_STATEMENT, standard, fresh), TERMS, OPEN),
    ]


def test_every_code_has_its_clause_and_its_severity() -> None:
    assert {code.value for code in FindingCode} == set(CLAUSE_AND_SEVERITY)
    told = {
        (finding.code.value, finding.clause.id, finding.severity.value)
        for decision in every_finding()
        for finding in decision.findings
    }
    assert told == {(code, clause, severity) for code, (clause, severity) in CLAUSE_AND_SEVERITY.items()}


def test_every_finding_says_a_sentence_to_a_person() -> None:
    for decision in every_finding():
        assert all(finding.message.strip() for finding in decision.findings)


# ------------------------------------------------------------- what to do instead, and when


@pytest.mark.parametrize(
    ("channel", "priority", "plan", "desk", "instead", "mode"),
    [
        ("portal", "normal", "none", "open", ["consultation"], None),
        ("phone", "high", "expired", "open", ["consultation"], None),
        ("phone", "normal", "expired", "closed", ["consultation"], None),
        ("email", "critical", "none", "open", ["consultation"], None),
        ("phone", "normal", "standard", "open", ["portal", "email"], "now"),
        ("phone", "normal", "standard", "closed", ["portal", "email"], "next_opening"),
        ("phone", "high", "standard", "open", ["portal"], "now"),
        ("phone", "high", "standard", "closed", ["portal"], "next_opening"),
        ("phone", "critical", "standard", "closed", ["portal"], "emergency"),
        ("phone", "high", "premium_line", "closed", ["portal", "phone"], "next_opening"),
        ("phone", "critical", "premium_line", "closed", ["portal", "phone"], "emergency"),
        ("phone", "low", "premium_line", "open", ["portal", "email"], "now"),
        ("phone", "low", "premium_line", "closed", ["portal", "email"], "next_opening"),
        ("phone", "high", "premium_no_line", "open", ["portal"], "now"),
        ("phone", "low", "premium_no_line", "open", ["portal", "email"], "now"),
        ("phone", "critical", "premium_no_line", "closed", ["portal"], "emergency"),
        ("phone", "critical", "premium_line", "open", [], "now"),
        ("email", "critical", "premium_line", "open", ["portal", "phone"], "now"),
        ("email", "critical", "premium_line", "closed", ["portal"], "emergency"),
        ("email", "critical", "premium_no_line", "open", ["portal"], "now"),
        ("email", "high", "standard", "open", ["portal"], "now"),
        ("email", "high", "premium_line", "closed", ["portal"], "next_opening"),
        ("portal", "critical", "standard", "closed", [], "emergency"),
        ("portal", "normal", "standard", "open", [], "now"),
        ("portal", "normal", "standard", "closed", [], "next_opening"),
    ],
)
def test_a_telling_cell_names_what_to_do_instead_and_how_it_is_handled(
    channel: str, priority: str, plan: str, desk: str, instead: list[str], mode: str | None
) -> None:
    decision = ask(PLANS[plan], DESK[desk], channel=channel, priority=priority)
    told = None if decision.handling is None else decision.handling.mode.value
    assert (kinds(decision), told) == (instead, mode)


def test_a_call_refused_only_for_the_hour_is_told_when_the_phone_opens_next() -> None:
    decision = ask(PLANS["premium_line"], CLOSED, channel="phone", priority="high")
    phone = [alternative for alternative in decision.alternatives if alternative.kind.value == "phone"]
    assert [alternative.available_from for alternative in phone] == [NEXT_OPENING]
    assert decision.handling is not None
    assert decision.handling.starts_at == NEXT_OPENING


@pytest.mark.parametrize(
    ("priority", "due"),
    [
        ("normal", [("acknowledgement", local(2026, 1, 12, 11)), ("resolution", local(2026, 1, 13))]),
        ("critical", [("acknowledgement", local(2026, 1, 12, 11)), ("resolution", local(2026, 1, 11, 12))]),
    ],
)
def test_a_call_refused_by_phone_rules_shows_the_clocks_of_the_portal(
    priority: str, due: list[tuple[str, datetime]]
) -> None:
    decision = ask(PLANS["standard"], CLOSED, channel="phone", priority=priority)
    assert [(clock.clock.value, clock.due_at) for clock in decision.clocks] == due
    assert decision.clocks == ask(PLANS["standard"], CLOSED, priority=priority).clocks


@pytest.mark.parametrize("channel", ["portal", "email", "phone"])
def test_a_denial_that_is_not_only_of_phone_rules_has_no_handling_and_no_clocks(channel: str) -> None:
    for decision in (
        ask(PLANS["expired"], channel=channel),
        ask(PLANS["premium_line"], channel=channel, category="upgrades"),
        ask((Agreement((PREMIUM,), assets=(), support_line=LINE),), channel=channel, asset="shop"),
    ):
        assert decision.outcome.value == "denied"
        assert (decision.handling, list(decision.clocks)) == (None, [])


# ----------------------------------------------------------------------------- exclusions


@pytest.mark.parametrize(
    ("category", "outcome", "found", "instead"),
    [
        ("incident", "allowed", [], []),
        ("question", "allowed", [], []),
        ("service_request", "allowed", [], []),
        ("customizations", "denied", ["excluded_customizations"], ["separate_agreement", "consultation"]),
        ("upgrades", "denied", ["excluded_upgrades"], ["separate_agreement", "consultation"]),
        ("layout_changes", "denied", ["excluded_layout_changes"], ["separate_agreement", "consultation"]),
        ("feature_additions", "denied", ["excluded_feature_additions"], ["separate_agreement", "consultation"]),
        ("third_party_modifications", "allowed_with_warnings", ["may_be_excluded"], []),
    ],
)
def test_the_category_says_whether_support_includes_it(
    category: str, outcome: str, found: list[str], instead: list[str]
) -> None:
    decision = ask(PLANS["standard"], category=category)
    assert (decision.outcome.value, codes(decision), kinds(decision)) == (outcome, found, instead)


def test_all_that_is_wrong_is_found_at_once_in_the_order_of_the_table() -> None:
    request = Request(
        Channel.PHONE, Category.UPGRADES, Priority.LOW, service="seo", description="New CMS", details=Details()
    )
    agreements = (Agreement((STANDARD,), services=("hosting",)),)
    decision = check(Facts(request, agreements, ContactDetails(confirmed_at=None)), TERMS, CLOSED)
    assert decision.outcome.value == "denied"
    assert codes(decision) == [
        "outside_agreement",
        "excluded_upgrades",
        "phone_requires_premium",
        "phone_requires_urgency",
        "phone_outside_business_hours",
        "contact_details_stale",
        "details_missing",
    ]


def test_third_party_changes_are_a_warning_between_the_others() -> None:
    request = Request(Channel.EMAIL, Category.THIRD_PARTY_MODIFICATIONS, Priority.CRITICAL)
    decision = check(Facts(request, PLANS["standard"], ContactDetails(confirmed_at=None)), TERMS, OPEN)
    assert (decision.outcome.value, codes(decision)) == (
        "allowed_with_warnings",
        ["may_be_excluded", "email_is_for_non_urgent", "contact_details_stale", "outage_statement_missing"],
    )


# ------------------------------------------------------------------------ contact details


@pytest.mark.parametrize(
    ("contact", "found"),
    [
        (ContactDetails(OPEN), []),
        (ContactDetails(OPEN - timedelta(days=180) + MICROSECOND), []),
        (ContactDetails(OPEN - timedelta(days=180)), ["contact_details_stale"]),
        (ContactDetails(OPEN - timedelta(days=181)), ["contact_details_stale"]),
        (ContactDetails(None), ["contact_details_stale"]),
        (ContactDetails(OPEN - timedelta(days=9), bounced_at=OPEN - timedelta(days=1)), ["contact_details_stale"]),
        (ContactDetails(None, bounced_at=OPEN - timedelta(days=1)), ["contact_details_stale"]),
    ],
)
def test_contact_details_are_stale_after_180_days_or_when_mail_bounced(
    contact: ContactDetails, found: list[str]
) -> None:
    request = Request(Channel.PORTAL, Category.INCIDENT)
    assert codes(check(Facts(request, PLANS["standard"], contact), TERMS, OPEN)) == found


# -------------------------------------------------------------------- details and outages


@pytest.mark.parametrize(
    ("description", "details", "asset", "found"),
    [
        ("The checkout is slow.", Details("today", "checkout", "no orders"), None, []),
        ("12345678901234567890", Details("today", "checkout", "no orders"), None, []),
        ("1234567890123456789", Details("today", "checkout", "no orders"), None, ["details_missing"]),
        ("The checkout is slow.", Details(None, "checkout", "no orders"), None, ["details_missing"]),
        ("The checkout is slow.", Details("", "checkout", "no orders"), None, ["details_missing"]),
        ("The checkout is slow.", Details("today", None, "no orders"), None, ["details_missing"]),
        ("The checkout is slow.", Details("today", None, "no orders"), "shop", []),
        ("The checkout is slow.", Details("today", "checkout", None), None, ["details_missing"]),
        ("The checkout is slow.", Details("today", "checkout", ""), "shop", ["details_missing"]),
        ("Since today, checkout, no orders come in.", Details(), None, ["details_missing"]),
        ("Since today, checkout, no orders come in.", None, None, ["details_missing"]),
    ],
)
def test_details_that_are_missing_are_asked_for_and_not_guessed_from_prose(
    description: str, details: Details | None, asset: str | None, found: list[str]
) -> None:
    request = Request(Channel.PORTAL, Category.INCIDENT, asset_id=asset, description=description, details=details)
    decision = check(Facts(request, PLANS["standard"], ContactDetails(OPEN)), TERMS, OPEN)
    assert codes(decision) == found


@pytest.mark.parametrize(
    ("priority", "statement", "found"),
    [
        ("critical", None, ["outage_statement_missing"]),
        ("critical", "", ["outage_statement_missing"]),
        ("critical", OUTAGE, []),
        ("high", None, []),
        ("normal", None, []),
        ("low", None, []),
    ],
)
def test_only_a_critical_request_owes_a_statement_of_the_outage(
    priority: str, statement: str | None, found: list[str]
) -> None:
    request = Request(Channel.PORTAL, Category.INCIDENT, Priority(priority), outage_statement=statement)
    assert codes(check(Facts(request, PLANS["standard"], ContactDetails(OPEN)), TERMS, OPEN)) == found


# -------------------------------------------------------------------- edges of a care plan


def state(subscription: Subscription, now: datetime) -> str:
    findings = ask((Agreement((subscription,)),), now).findings
    return str(findings[0].facts["state"]) if findings else "active"


PAUSED = Subscription(
    Tier.STANDARD, SINCE_2025, suspensions=(Suspension(local(2026, 1, 5, 10), local(2026, 1, 5, 12)),)
)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (local(2026, 1, 5, 10) - MICROSECOND, "active"),
        (local(2026, 1, 5, 10), "suspended"),
        (local(2026, 1, 5, 12) - MICROSECOND, "suspended"),
        (local(2026, 1, 5, 12), "active"),
    ],
)
def test_a_suspension_holds_from_its_start_until_just_before_its_end(now: datetime, expected: str) -> None:
    assert state(PAUSED, now) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 1, 4, 16, tzinfo=UTC) - MICROSECOND, "not_started"),
        (datetime(2026, 1, 4, 16, tzinfo=UTC), "active"),
        (datetime(2026, 1, 10, 16, tzinfo=UTC) - MICROSECOND, "active"),
        (datetime(2026, 1, 10, 16, tzinfo=UTC), "expired"),
    ],
)
def test_a_plan_holds_from_its_first_to_the_end_of_its_last_date_in_kuala_lumpur(now: datetime, expected: str) -> None:
    assert state(Subscription(Tier.STANDARD, date(2026, 1, 5), date(2026, 1, 10)), now) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [(OPEN - MICROSECOND, "active"), (OPEN, "cancelled"), (OPEN + MICROSECOND, "cancelled")],
)
def test_a_plan_ends_at_the_instant_of_its_cancellation(now: datetime, expected: str) -> None:
    assert state(Subscription(Tier.STANDARD, SINCE_2025, cancelled_at=OPEN), now) == expected


# ----------------------------------------------------------------------- several agreements

STANDARD_SITE = Agreement((STANDARD,), assets=("site",), services=("hosting",))
PREMIUM_SHOP = Agreement((PREMIUM,), assets=("shop",), services=("seo",), support_line=LINE)
EXPIRED_BLOG = Agreement((EXPIRED,), assets=("blog",), services=("ads",), support_line=LINE)
ALL_THREE = (STANDARD_SITE, EXPIRED_BLOG, PREMIUM_SHOP)


@pytest.mark.parametrize(
    ("asset", "service", "found"),
    [
        (None, None, []),
        ("shop", None, []),
        (None, "seo", []),
        ("shop", "seo", []),
        ("site", None, ["phone_requires_premium"]),
        (None, "hosting", ["phone_requires_premium"]),
    ],
)
def test_a_call_is_judged_by_the_best_tier_of_the_agreements_that_list_its_subject(
    asset: str | None, service: str | None, found: list[str]
) -> None:
    decision = ask(ALL_THREE, channel="phone", priority="high", asset=asset, service=service)
    assert codes(decision) == found


@pytest.mark.parametrize(
    ("agreements", "asset", "service", "found"),
    [
        (ALL_THREE, "site", None, []),
        (ALL_THREE, "shop", None, []),
        (ALL_THREE, "blog", None, ["outside_agreement"]),
        (ALL_THREE, None, "ads", ["outside_agreement"]),
        (ALL_THREE, "unknown", None, ["outside_agreement"]),
        ((Agreement((STANDARD,), assets=None),), "anything", None, []),
        ((Agreement((STANDARD,), assets=()),), "shop", None, ["outside_agreement"]),
        ((Agreement((STANDARD,), assets=()),), None, None, []),
        ((Agreement((STANDARD,), services=None),), None, "anything", []),
        ((Agreement((STANDARD,), services=()),), None, "seo", ["outside_agreement"]),
        ((Agreement((STANDARD,), assets=("shop",), services=()),), "shop", None, []),
        ((Agreement((STANDARD,), assets=("shop",), services=()),), "shop", "seo", ["outside_agreement"]),
    ],
)
def test_what_no_active_agreement_lists_is_outside_of_it(
    agreements: tuple[Agreement, ...], asset: str | None, service: str | None, found: list[str]
) -> None:
    decision = ask(agreements, asset=asset, service=service)
    assert codes(decision) == found
    assert kinds(decision) == (["separate_agreement", "consultation"] if found else [])


@pytest.mark.parametrize(
    ("agreements", "found"),
    [
        ((Agreement((STANDARD,)), Agreement((PREMIUM,), support_line=LINE)), []),
        ((Agreement((PREMIUM,)), Agreement((PREMIUM,), support_line=LINE)), []),
        ((Agreement((EXPIRED,), support_line=LINE), Agreement((STANDARD,))), ["phone_requires_premium"]),
        ((Agreement((EXPIRED,), support_line=LINE), Agreement((PREMIUM,))), ["phone_no_support_line"]),
        ((Agreement((STANDARD,), support_line=LINE), Agreement((PREMIUM,))), ["phone_no_support_line"]),
        ((Agreement((EXPIRED, Subscription(Tier.PREMIUM, date(2026, 1, 1))), support_line=LINE),), []),
    ],
)
def test_tier_and_line_are_those_of_active_premium_subscriptions(
    agreements: tuple[Agreement, ...], found: list[str]
) -> None:
    assert codes(ask(agreements, channel="phone", priority="high")) == found
