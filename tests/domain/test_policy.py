"""The shipped policy: whole, true to the text, and refused with names where a field is wrong."""

import re
import tomllib
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain import policy
from app.domain.calendar import BusinessCalendar
from app.domain.eligibility import Facts, Request, check
from app.domain.errors import InvalidDocumentError
from app.domain.policy import CLAUSES, Category, Channel, Clock, Priority, Severity, Terms
from tests.conftest import ROOT

DOCUMENT: dict[str, Any] = tomllib.loads((ROOT / "app" / "policies" / "v1.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "app" / "policies" / "support-policy.txt").read_text(encoding="utf-8")


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def test_the_shipped_policy_has_all_28_clauses() -> None:
    version = policy.parse(DOCUMENT)
    assert len(CLAUSES) == 28
    assert tuple(version.clauses) == CLAUSES


@pytest.mark.parametrize("clause", sorted(set(CLAUSES) - {"channels.email"}))
def test_every_clause_is_a_sentence_of_the_policy(clause: str) -> None:
    assert words(DOCUMENT["clauses"][clause]["text"]) in words(TEXT)


def test_the_clause_with_a_blank_keeps_what_is_around_it() -> None:
    """The text leaves out the address; the blank is an open question, not an empty string."""
    assert "for non-urgent inquiries" in DOCUMENT["clauses"]["channels.email"]["text"]
    assert any("e-mail address" in question for question in DOCUMENT["open_questions"])
    assert policy.parse(DOCUMENT).email_address is None


def test_only_priority_keys_a_target() -> None:
    version = policy.parse(DOCUMENT)
    assert version.target(Clock.RESOLUTION, Priority.CRITICAL).base == "calendar"
    assert version.target(Clock.RESOLUTION, Priority.HIGH).base == "business_days"
    assert {version.target(Clock.ACKNOWLEDGEMENT, priority).amount.total_seconds() for priority in Priority} == {7200}


WRONG: list[tuple[str, Any, str]] = [
    ("version", 0, "out_of_range"),
    ("version", None, "missing"),
    ("zz", 1, "unknown_field"),
    ("effective_from", "2026-02-30", "wrong_date"),
    ("calendar/timezone", "Asia/Kuala Lumpur", "unknown_timezone"),
    ("calendar/weekly_hours/mon", [["09:00", "25:00"]], "wrong_wall_time"),
    ("calendar/weekly_hours/noday", [], "unknown_field"),
    ("targets/acknowledgement/seconds", -1, "out_of_range"),
    ("targets/acknowledgement/seconds", True, "out_of_range"),
    ("targets/acknowledgement/base", "hours", "unknown_value"),
    ("targets/acknowledgement/clause", "response.first", "unknown_clause"),
    ("targets/acknowledgement/warn_at", [75, 50], "wrong_percentages"),
    ("targets/acknowledgement/warn_at", [50, 100], "wrong_percentages"),
    ("targets/resolution/by_priority/urgent", {}, "unknown_field"),
    ("targets/resolution/by_priority/critical/base", "days", "unknown_value"),
    ("channels/urgent", "critical", "wrong_type"),
    ("channels/phone/tiers", ["gold"], "unknown_value"),
    ("channels/phone/urgent_only", "yes", "wrong_type"),
    ("channels/fax", {}, "unknown_field"),
    ("channels/portal/urgent_only", True, "unknown_field"),
    ("channels/email/support_line_required", True, "unknown_field"),
    ("exclusions/upgrades/verdict", None, "missing"),
    ("exclusions/upgrades/verdict", "maybe", "unknown_value"),
    ("exclusions/upgrades/verdict", "warning", "wrong_verdict"),
    ("exclusions/third_party_modifications/verdict", "refusal", "wrong_verdict"),
    ("exclusions/incident", {"clause": "exclusions.upgrades", "verdict": "refusal"}, "wrong_verdict"),
    ("limits/backdate_days", 1.5, "out_of_range"),
    ("limits/description_characters", None, "missing"),
    ("clauses/priority.low", None, "missing"),
    ("clauses/priority.low/text", "", "wrong_text"),
    ("clauses/priority.lowest", {}, "unknown_field"),
]


@pytest.mark.parametrize(("where", "value", "code"), WRONG, ids=[f"{where}={value}" for where, value, _ in WRONG])
def test_a_wrong_field_is_refused_by_its_name(where: str, value: Any, code: str) -> None:
    document = deepcopy(DOCUMENT)
    *steps, last = where.split("/")
    place = document
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(InvalidDocumentError) as caught:
        policy.parse(document)
    found = [(error.pointer, error.code) for error in caught.value.errors]
    assert any(pointer.startswith(f"/{where}") and code == named for pointer, named in found), found


def test_all_wrong_fields_are_named_at_once() -> None:
    document = deepcopy(DOCUMENT)
    document["version"] = "one"
    document["calendar"]["timezone"] = "Nowhere"
    document["limits"]["zz"] = 1
    with pytest.raises(InvalidDocumentError) as caught:
        policy.parse(document)
    assert {error.pointer for error in caught.value.errors} == {"/version", "/calendar/timezone", "/limits/zz"}


@pytest.mark.parametrize("category", Category)
def test_whatever_a_policy_excludes_can_be_told(category: Category) -> None:
    document = deepcopy(DOCUMENT)
    for verdict in Severity:
        document["exclusions"][category] = {"clause": "exclusions.upgrades", "verdict": verdict}
        try:
            version = policy.parse(document)
        except InvalidDocumentError:
            continue
        calendar = BusinessCalendar.parse({name: DOCUMENT["calendar"][name] for name in ("timezone", "weekly_hours")})
        facts = Facts(Request(Channel.PORTAL, category, Priority.NORMAL))
        codes = {finding.code for finding in check(facts, Terms(version, calendar, 1), version.effective_from).findings}
        assert codes & {f"excluded_{category}", "may_be_excluded"}


def judged(document: dict[str, Any], *asked: Any) -> set[str]:
    """By which findings a request is judged that somebody with no plan sends on a Monday morning."""
    version = policy.parse(document)
    terms = Terms(version, BusinessCalendar(version.timezone, version.weekly), 1)
    decision = check(Facts(Request(*asked)), terms, datetime(2026, 1, 5, 2, tzinfo=UTC))
    return {finding.code.value for finding in decision.findings} - {"care_plan_inactive"}


@pytest.mark.parametrize("category", sorted(DOCUMENT["exclusions"]))
def test_what_a_policy_leaves_out_of_its_exclusions_is_supported(category: str) -> None:
    document = deepcopy(DOCUMENT)
    asked = (Channel.PORTAL, Category(category), Priority.NORMAL)
    assert len(judged(document, *asked)) == 1
    del document["exclusions"][category]
    assert judged(document, *asked) == set()


@pytest.mark.parametrize(
    ("rule", "told"),
    [({"non_urgent_only": True}, {"email_is_for_non_urgent"}), ({"non_urgent_only": False}, set()), ({}, set())],
)
def test_an_email_may_be_urgent_where_the_policy_does_not_say_otherwise(rule: dict[str, bool], told: set[str]) -> None:
    document = deepcopy(DOCUMENT)
    document["channels"]["email"] = {"clause": "channels.email"} | rule
    assert judged(document, Channel.EMAIL, Category.INCIDENT, Priority.HIGH) == told


@pytest.mark.parametrize(
    ("flag", "told"),
    [("urgent_only", "phone_requires_urgency"), ("tiers", "phone_requires_premium")],
)
def test_the_phone_asks_only_what_the_policy_says(flag: str, told: str) -> None:
    document = deepcopy(DOCUMENT)
    asked = (Channel.PHONE, Category.INCIDENT, Priority.NORMAL)
    both = {"phone_requires_urgency", "phone_requires_premium"}
    assert judged(document, *asked) == both
    del document["channels"]["phone"][flag]
    assert judged(document, *asked) == both - {told}
