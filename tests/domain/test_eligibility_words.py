"""What a decision says to a person, word by word: each finding with its facts, each alternative with its way."""

import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.domain import policy
from app.domain.calendar import Base, BusinessCalendar
from app.domain.eligibility import (
    Agreement,
    ContactDetails,
    Decision,
    Facts,
    Mode,
    Outcome,
    Request,
    Subscription,
    channels,
    check,
    check_reopening,
    handling,
    require_overridable,
)
from app.domain.errors import NotOverridableError
from app.domain.policy import Category, Channel, Priority, Terms, Tier
from app.domain.ticket import Details
from tests.conftest import ROOT

DOCUMENT: dict[str, Any] = tomllib.loads((ROOT / "app" / "policies" / "v1.toml").read_text(encoding="utf-8"))
MONDAY = datetime(2026, 1, 5, 2, tzinfo=UTC)
SATURDAY = datetime(2026, 1, 10, 4, tzinfo=UTC)
PLAN = Subscription(Tier.STANDARD, date(2025, 1, 1))
PREMIUM = Subscription(Tier.PREMIUM, date(2025, 1, 1))
STANDARD = (Agreement((PLAN,)),)
WITH_LINE = (Agreement((PREMIUM,), support_line="+60 3 5550 0100"),)
WHOLE = Details("this morning", "the shop", "nobody can pay")


def terms(**contact: str) -> Terms:
    version = policy.parse(DOCUMENT | {"contact": contact})
    return Terms(version, BusinessCalendar(version.timezone, version.weekly), 1)


TERMS = terms()


def ask(agreements: tuple[Agreement, ...] = STANDARD, now: datetime = MONDAY, **asked: Any) -> Decision:
    request = Request(**{"channel": Channel.PORTAL, "category": Category.INCIDENT, **asked})
    return check(Facts(request, agreements, ContactDetails(confirmed_at=now)), TERMS, now)


def said(decision: Decision) -> list[tuple[str, str, dict[str, Any]]]:
    return [(finding.code.value, finding.message, dict(finding.facts)) for finding in decision.findings]


def instead(decision: Decision) -> list[tuple[str, str, str | None, datetime | None]]:
    return [(other.kind.value, other.message, other.url, other.available_from) for other in decision.alternatives]


BEYOND = [
    ("separate_agreement", "Ask for a separate agreement that covers this work.", None, None),
    ("consultation", "Book a consultation with our advisory services.", None, None),
]
PORTAL = ("portal", "Open a ticket in the project portal, at any time.", None, None)
NO_PLAN = "care_plan_inactive"
EMAIL = ("email", "Write an e-mail: this matter is not urgent.", None, None)


@pytest.mark.parametrize(
    ("subscription", "message", "state"),
    [
        (None, "There is no care plan on record; standard support needs an active one.", "none"),
        (
            Subscription(Tier.STANDARD, date(2026, 2, 1)),
            "Your care plan has not started yet; standard support begins on its first day.",
            "not_started",
        ),
        (
            Subscription(Tier.STANDARD, date(2025, 1, 1), date(2025, 12, 31)),
            "Your care plan has expired; standard support needs an active one.",
            "expired",
        ),
        (
            Subscription(Tier.STANDARD, date(2025, 1, 1), cancelled_at=MONDAY),
            "Your care plan was cancelled; standard support needs an active one.",
            "cancelled",
        ),
    ],
)
def test_an_inactive_plan_says_what_it_is(subscription: Subscription | None, message: str, state: str) -> None:
    decision = ask((Agreement((subscription,)),) if subscription else ())
    assert said(decision) == [("care_plan_inactive", message, {"state": state})]
    assert instead(decision) == [("consultation", "Book a consultation with our advisory services.", None, None)]


def test_what_no_agreement_lists_names_what_was_asked_for() -> None:
    agreement = Agreement((PLAN,), assets=("shop",), services=("hosting",))
    decision = ask((agreement,), asset_id="blog", service="hosting")
    message = "No active agreement lists what this request is about, so it is outside the scope of support."
    assert said(decision) == [("outside_agreement", message, {"asset_id": "blog", "service": "hosting"})]
    assert instead(decision) == BEYOND


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ("customizations", "Customizations beyond the original scope are not part of support."),
        ("upgrades", "Major version upgrades and platform migrations are not part of support."),
        ("layout_changes", "Changes to the existing layout or design are not part of support."),
        ("feature_additions", "New features beyond the original scope are not part of support."),
    ],
)
def test_an_exclusion_says_what_is_not_part_of_support(category: str, message: str) -> None:
    decision = ask(category=Category(category))
    assert said(decision) == [(f"excluded_{category}", message, {"category": category})]
    assert instead(decision) == BEYOND


def test_third_party_changes_are_looked_at_first() -> None:
    decision = ask(category=Category.THIRD_PARTY_MODIFICATIONS)
    message = "Issues caused by changes somebody else made to the code may not be covered; staff will look first."
    assert said(decision) == [("may_be_excluded", message, {"category": "third_party_modifications"})]
    assert instead(decision) == []


def test_each_leg_of_the_phone_says_what_it_needs() -> None:
    decision = ask(now=SATURDAY, channel=Channel.PHONE)
    assert said(decision) == [
        ("phone_requires_premium", "The support line is for clients with a premium plan.", {"tier": "standard"}),
        (
            "phone_requires_urgency",
            "The support line is for urgent matters: critical or high priority.",
            {"priority": "normal"},
        ),
        (
            "phone_outside_business_hours",
            "The support line is answered during business hours only.",
            {"next_opens_at": "2026-01-12T01:00:00Z"},
        ),
    ]
    assert instead(decision) == [PORTAL, EMAIL]


def test_a_premium_agreement_without_a_line_says_so() -> None:
    decision = ask((Agreement((PREMIUM,)),), channel=Channel.PHONE, priority=Priority.HIGH)
    assert said(decision) == [
        ("phone_no_support_line", "The signed agreement names no support line.", {"tier": "premium"})
    ]
    assert instead(decision) == [PORTAL]


def test_nobody_without_a_plan_has_a_tier() -> None:
    decision = ask((), channel=Channel.PHONE, priority=Priority.HIGH)
    assert said(decision)[1:] == [
        ("phone_requires_premium", "The support line is for clients with a premium plan.", {"tier": None})
    ]


def test_a_line_of_a_standard_agreement_is_no_premium_line() -> None:
    mixed = (Agreement((PLAN,), support_line="+60 3 5550 0199"), Agreement((PREMIUM,)))
    decision = ask(mixed, channel=Channel.PHONE, priority=Priority.HIGH)
    assert [code for code, _, _ in said(decision)] == ["phone_no_support_line"]
    both = (Agreement((PLAN,), support_line="+60 3 5550 0199"), *WITH_LINE)
    assert ask(both, channel=Channel.PHONE, priority=Priority.HIGH).findings == ()


def test_a_line_of_an_agreement_that_does_not_cover_the_matter_is_not_offered() -> None:
    covering, other = Agreement((PREMIUM,), assets=("shop",)), Agreement((PREMIUM,), ("blog",), None, "+60 3 5550 0100")
    decision = ask((covering, other), channel=Channel.PHONE, priority=Priority.HIGH, asset_id="shop")
    assert [code for code, _, _ in said(decision)] == ["phone_no_support_line"]


def test_a_tier_counts_from_the_first_local_date_of_its_plan() -> None:
    plan = Subscription(Tier.PREMIUM, date(2026, 1, 10))
    midnight = datetime(2026, 1, 9, 16, tzinfo=UTC)
    decision = ask(
        (Agreement((plan,), support_line="+60 3 5550 0100"),), midnight, channel=Channel.PHONE, priority=Priority.HIGH
    )
    assert [code for code, _, _ in said(decision)] == ["phone_outside_business_hours"]


def test_a_critical_call_after_hours_is_sent_to_the_portal_as_an_emergency() -> None:
    outage = "The whole shop is down."
    asked = {"channel": Channel.PHONE, "priority": Priority.CRITICAL, "outage_statement": outage}
    decision = ask(WITH_LINE, SATURDAY, **asked)
    assert instead(decision) == [
        ("portal", "Open a critical ticket in the project portal: it is an emergency.", None, None),
        (
            "phone",
            "Call the support line of your agreement once the desk is open again.",
            None,
            datetime(2026, 1, 12, 1, tzinfo=UTC),
        ),
    ]


def test_an_urgent_email_is_told_of_the_quicker_ways() -> None:
    decision = ask(WITH_LINE, channel=Channel.EMAIL, priority=Priority.HIGH)
    message = "E-mail is for non-urgent inquiries; the request is taken, but the portal is quicker."
    assert said(decision) == [("email_is_for_non_urgent", message, {"priority": "high"})]
    assert instead(decision) == [
        PORTAL,
        ("phone", "Call the support line of your agreement: the desk is open.", None, MONDAY),
    ]


@pytest.mark.parametrize("channel", [Channel.PORTAL, Channel.PHONE])
def test_only_an_email_is_told_that_email_is_not_for_urgent_matters(channel: Channel) -> None:
    assert ask(WITH_LINE, channel=channel, priority=Priority.HIGH).findings == ()


def contact(confirmed_at: datetime | None, bounced_at: datetime | None) -> list[tuple[str, str, dict[str, Any]]]:
    request = Request(Channel.PORTAL, Category.INCIDENT)
    return said(check(Facts(request, STANDARD, ContactDetails(confirmed_at, bounced_at)), TERMS, MONDAY))


OLD = "These contact details have not been confirmed for a long time; please confirm them."
BOUNCED = "Mail to this contact came back; please correct the contact details."


@pytest.mark.parametrize(
    ("confirmed", "bounced", "message"),
    [
        (timedelta(days=180), None, OLD),
        (timedelta(days=180) - timedelta(microseconds=1), None, None),
        (timedelta(days=-1), None, None),
        (None, None, OLD),
        (timedelta(0), timedelta(0), BOUNCED),
        (timedelta(0), timedelta(microseconds=-1), None),
        (timedelta(days=180), timedelta(microseconds=-1), OLD),
        (timedelta(days=200), timedelta(days=1), BOUNCED),
    ],
)
def test_contact_details_that_are_stale_say_why(
    confirmed: timedelta | None, bounced: timedelta | None, message: str | None
) -> None:
    confirmed_at = None if confirmed is None else MONDAY - confirmed
    bounced_at = None if bounced is None else MONDAY - bounced
    shown = bounced_at if bounced_at and bounced_at <= MONDAY else None
    facts = {
        "confirmed_at": confirmed_at and confirmed_at.isoformat().replace("+00:00", "Z"),
        "bounced_at": shown and shown.isoformat().replace("+00:00", "Z"),
    }
    assert contact(confirmed_at, bounced_at) == ([("contact_details_stale", message, facts)] if message else [])


def test_a_check_for_no_contact_judges_no_details_of_one() -> None:
    request = Request(Channel.PORTAL, Category.INCIDENT)
    assert check(Facts(request, STANDARD), TERMS, MONDAY).findings == ()


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ({}, []),
        ({"details": Details()}, ["details.since", "details.where", "details.impact"]),
        ({"details": Details(" ", "\t", "")}, ["details.since", "details.where", "details.impact"]),
        ({"details": Details(), "asset_id": "shop"}, ["details.since", "details.impact"]),
        ({"details": WHOLE}, []),
        ({"details": WHOLE, "description": "x" * 20}, []),
        ({"details": WHOLE, "description": " " + "x" * 19 + " "}, ["description"]),
        ({"description": "x" * 20}, ["details.since", "details.where", "details.impact"]),
        ({"description": ""}, ["details.since", "details.where", "details.impact", "description"]),
    ],
)
def test_missing_details_are_named_one_by_one(asked: dict[str, Any], missing: list[str]) -> None:
    message = "Please say more, so that the issue can be resolved: " + ", ".join(missing) + "."
    assert said(ask(**asked)) == ([("details_missing", message, {"missing": missing})] if missing else [])


@pytest.mark.parametrize("statement", [None, "", "  "])
def test_a_critical_request_is_asked_what_is_down(statement: str | None) -> None:
    decision = ask(priority=Priority.CRITICAL, outage_statement=statement)
    message = "Critical means a major outage; please state what is down and for whom."
    assert said(decision) == [("outage_statement_missing", message, {"priority": "critical"})]


def test_addresses_that_the_policy_has_are_given() -> None:
    known = terms(email_address="help@kawan.example", booking_url="https://kawan.example/book")
    call = Request(Channel.PHONE, Category.INCIDENT)
    refused = check(Facts(call, STANDARD), known, MONDAY)
    assert [other.url for other in refused.alternatives] == [None, "mailto:help@kawan.example"]
    lapsed = check(Facts(Request(Channel.PORTAL, Category.INCIDENT)), known, MONDAY)
    assert [other.url for other in lapsed.alternatives] == ["https://kawan.example/book"]


def test_a_decision_names_its_policy_and_instant_and_the_promises_it_would_bring() -> None:
    decision = ask()
    assert (decision.policy_version, decision.as_of) == (1, MONDAY)
    assert [(clock.clock.value, clock.kind.value, clock.due_at) for clock in decision.clocks] == [
        ("acknowledgement", "commitment", MONDAY + timedelta(hours=2)),
        ("resolution", "estimate", MONDAY + timedelta(hours=24)),
    ]
    assert decision.handling is not None
    assert (decision.handling.mode, decision.handling.starts_at) == (Mode.NOW, MONDAY)


def test_where_the_desk_never_opens_again_everything_is_looked_at_as_an_emergency() -> None:
    version = policy.parse(DOCUMENT)
    closed = Terms(version, BusinessCalendar("UTC", ((),) * 7), 1)
    found = handling(closed, MONDAY, emergency=False)
    assert (found.mode, found.starts_at) == (Mode.EMERGENCY, MONDAY)


def test_business_time_is_what_decides_whether_the_desk_is_open() -> None:
    """The desk is closed on a business day's evening, though business days count then."""
    evening = datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert TERMS.calendar.is_open(evening, Base.BUSINESS_DAYS)
    assert handling(TERMS, evening, emergency=False).mode is Mode.NEXT_OPENING


def test_a_reopening_is_judged_by_plan_and_coverage_alone() -> None:
    request = Request(Channel.PHONE, Category.UPGRADES, Priority.CRITICAL, asset_id="blog", details=Details())
    lapsed = Subscription(Tier.STANDARD, date(2025, 1, 1), date(2025, 12, 31))
    shop = Agreement((PLAN,), assets=("shop",))
    for agreements, codes in (
        ((), ["care_plan_inactive", "outside_agreement"]),
        ((Agreement((lapsed,)),), ["care_plan_inactive", "outside_agreement"]),
        ((shop,), ["outside_agreement"]),
        (STANDARD, []),
    ):
        decision = check_reopening(Facts(request, agreements), TERMS, SATURDAY)
        assert [code for code, _, _ in said(decision)] == codes
        assert decision.outcome is (Outcome.DENIED if codes else Outcome.ALLOWED)
        assert (decision.policy_version, decision.as_of, decision.handling, decision.clocks) == (1, SATURDAY, None, ())
    consultation, separate = BEYOND[1], BEYOND[0]
    refused = check_reopening(Facts(request, ()), TERMS, SATURDAY)
    assert instead(refused) == [consultation, separate]
    assert instead(check_reopening(Facts(request, (shop,)), TERMS, SATURDAY)) == [separate, consultation]


@pytest.mark.parametrize(
    ("agreements", "now", "expected"),
    [
        (
            (),
            MONDAY,
            [["care_plan_inactive"], ["care_plan_inactive"], ["care_plan_inactive", "phone_requires_premium"]],
        ),
        (STANDARD, MONDAY, [[], [], ["phone_requires_premium"]]),
        (WITH_LINE, MONDAY, [[], [], []]),
        (WITH_LINE, SATURDAY, [[], [], ["phone_outside_business_hours"]]),
        ((Agreement((PREMIUM,)),), MONDAY, [[], [], ["phone_no_support_line"]]),
    ],
)
def test_each_channel_says_what_stands_against_it(
    agreements: tuple[Agreement, ...], now: datetime, expected: list[list[str]]
) -> None:
    found = channels(agreements, TERMS, now)
    assert [channel.value for channel, _ in found] == ["portal", "email", "phone"]
    assert [[finding.code.value for finding in against] for _, against in found] == expected


def test_where_nothing_is_urgent_nobody_may_call() -> None:
    nothing_urgent = replace(TERMS, policy=replace(TERMS.policy, urgent=()))
    phone = dict(channels(WITH_LINE, nothing_urgent, MONDAY))[Channel.PHONE]
    assert [(finding.code.value, dict(finding.facts)) for finding in phone] == [
        ("phone_requires_urgency", {"priority": "low"})
    ]


def test_a_refusal_may_be_overridden_up_to_the_limit_of_the_policy() -> None:
    limits = TERMS.policy.limits
    assert limits.override == timedelta(days=7)
    require_overridable(Outcome.DENIED, MONDAY, limits, MONDAY + limits.override)
    with pytest.raises(NotOverridableError) as refused:
        require_overridable(Outcome.DENIED, MONDAY, limits, MONDAY + limits.override + timedelta(microseconds=1))
    assert str(refused.value) == (
        "this decision is older than 7 days; have the request judged again, and override that"
    )


@pytest.mark.parametrize("outcome", [Outcome.ALLOWED, Outcome.ALLOWED_WITH_WARNINGS])
def test_what_refuses_nothing_is_not_overridden(outcome: Outcome) -> None:
    with pytest.raises(NotOverridableError) as refused:
        require_overridable(outcome, MONDAY, TERMS.policy.limits, MONDAY)
    assert str(refused.value) == "this decision refuses nothing; open the ticket as it is"
