"""Whether a request is taken, and why: every finding of the policy's rules at once, never only the first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from app.domain.errors import NotOverridableError
from app.domain.events import Json, rfc3339
from app.domain.policy import Category, Channel, Clause, Clock, Kind, Limits, Priority, Severity, Terms, Tier
from app.domain.ticket import Details


class PlanState(StrEnum):
    """What a subscription is at an instant; the order is the one in which an inactive plan is explained."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NONE = "none"


class FindingCode(StrEnum):
    """What can be found about a request, in the order in which findings are told."""

    CARE_PLAN_INACTIVE = "care_plan_inactive"
    OUTSIDE_AGREEMENT = "outside_agreement"
    EXCLUDED_CUSTOMIZATIONS = "excluded_customizations"
    EXCLUDED_UPGRADES = "excluded_upgrades"
    EXCLUDED_LAYOUT_CHANGES = "excluded_layout_changes"
    EXCLUDED_FEATURE_ADDITIONS = "excluded_feature_additions"
    MAY_BE_EXCLUDED = "may_be_excluded"
    PHONE_REQUIRES_PREMIUM = "phone_requires_premium"
    PHONE_REQUIRES_URGENCY = "phone_requires_urgency"
    PHONE_OUTSIDE_BUSINESS_HOURS = "phone_outside_business_hours"
    PHONE_NO_SUPPORT_LINE = "phone_no_support_line"
    EMAIL_IS_FOR_NON_URGENT = "email_is_for_non_urgent"
    CONTACT_DETAILS_STALE = "contact_details_stale"
    DETAILS_MISSING = "details_missing"
    OUTAGE_STATEMENT_MISSING = "outage_statement_missing"


class Outcome(StrEnum):
    """The verdict over all findings."""

    ALLOWED = "allowed"
    ALLOWED_WITH_WARNINGS = "allowed_with_warnings"
    DENIED = "denied"


class AlternativeKind(StrEnum):
    """What to do instead."""

    CONSULTATION = "consultation"
    SEPARATE_AGREEMENT = "separate_agreement"
    PORTAL = "portal"
    EMAIL = "email"
    PHONE = "phone"


class Mode(StrEnum):
    """When a request is looked at: now, as an emergency after hours, or at the next opening."""

    NOW = "now"
    EMERGENCY = "emergency"
    NEXT_OPENING = "next_opening"


# ---------------------------------------------------------------------------------------- facts


@dataclass(frozen=True, slots=True)
class Suspension:
    """A stretch in which a plan rests, half-open; without an end it still does."""

    starts_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A care plan with its facts: first and last local date, suspensions, cancellation."""

    tier: Tier
    starts_on: date
    ends_on: date | None = None
    suspensions: tuple[Suspension, ...] = ()
    cancelled_at: datetime | None = None

    def state(self, at: datetime, zone: ZoneInfo) -> PlanState:
        """Return what the subscription is at an instant, by the local date of the policy's zone."""
        today = at.astimezone(zone).date()
        if today < self.starts_on:
            return PlanState.NOT_STARTED
        if self.ends_on is not None and today > self.ends_on:
            return PlanState.EXPIRED
        if self.cancelled_at is not None and self.cancelled_at <= at:
            return PlanState.CANCELLED
        resting = any(
            pause.starts_at <= at and (pause.ends_at is None or at < pause.ends_at) for pause in self.suspensions
        )
        return PlanState.SUSPENDED if resting else PlanState.ACTIVE


@dataclass(frozen=True, slots=True)
class Agreement:
    """A signed contract: a list that is None covers everything of its sort, an empty one nothing."""

    subscriptions: tuple[Subscription, ...] = ()
    assets: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    support_line: str | None = None

    def covers(self, asset: str | None, service: str | None) -> bool:
        """Tell whether the agreement lists what a request names."""
        return (asset is None or self.assets is None or asset in self.assets) and (
            service is None or self.services is None or service in self.services
        )


@dataclass(frozen=True, slots=True)
class ContactDetails:
    """How current a contact's own details are."""

    confirmed_at: datetime | None
    bounced_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; `description` and `details` are None where nothing has been written yet."""

    channel: Channel
    category: Category
    priority: Priority = Priority.NORMAL
    asset_id: str | None = None
    service: str | None = None
    description: str | None = None
    details: Details | None = None
    outage_statement: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision rests on, besides the policy and the instant."""

    request: Request
    agreements: tuple[Agreement, ...] = ()
    contact: ContactDetails | None = None


# ------------------------------------------------------------------------------------- decision


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the rules say of a request."""

    code: FindingCode
    severity: Severity
    clause: Clause
    message: str
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alternative:
    """Something that would work instead, and from when."""

    kind: AlternativeKind
    message: str
    url: str | None = None
    available_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Handling:
    """When somebody would look at the request."""

    mode: Mode
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class ExpectedClock:
    """A promise the request would be given."""

    clock: Clock
    kind: Kind
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with all its reasons; a denied one is data like any other."""

    outcome: Outcome
    policy_version: int
    as_of: datetime
    findings: tuple[Finding, ...]
    alternatives: tuple[Alternative, ...]
    handling: Handling | None
    clocks: tuple[ExpectedClock, ...]


def handling(terms: Terms, now: datetime, *, emergency: bool) -> Handling:
    """Say when somebody looks at a request, or at a ticket, that is or isn't an emergency (clauses availability.*)."""
    opens = terms.calendar.next_open(now)
    if opens == now:
        return Handling(Mode.NOW, now)
    if emergency or opens is None:
        return Handling(Mode.EMERGENCY, now)
    return Handling(Mode.NEXT_OPENING, opens)


def check(facts: Facts, terms: Terms, now: datetime) -> Decision:
    """Judge a request at an instant (clauses eligibility, channels, exclusions, responsibilities).

    Raises:
        InstantOutOfRangeError: the instant, or a due date, lies outside 2000 to 2100.
    """
    judgement = _Judgement(facts, terms, now)
    findings = tuple(judgement.findings())
    refused, possible = _refused(findings), _possible(findings)
    return Decision(
        outcome=Outcome.DENIED if refused else Outcome.ALLOWED_WITH_WARNINGS if findings else Outcome.ALLOWED,
        policy_version=terms.policy.number,
        as_of=now,
        findings=findings,
        alternatives=tuple(judgement.alternatives(findings)),
        handling=judgement.handling() if possible else None,
        clocks=tuple(judgement.clocks()) if possible else (),
    )


def check_reopening(facts: Facts, terms: Terms, now: datetime) -> Decision:
    """Judge whether a resolved ticket is still covered: by plan and agreement alone, nothing else of it is new.

    Raises:
        InstantOutOfRangeError: the instant lies outside 2000 to 2100.
    """
    judgement = _Judgement(facts, terms, now)
    findings = tuple(judgement.coverage())
    return Decision(
        outcome=Outcome.DENIED if findings else Outcome.ALLOWED,
        policy_version=terms.policy.number,
        as_of=now,
        findings=findings,
        alternatives=tuple(judgement.alternatives(findings)),
        handling=None,
        clocks=(),
    )


def require_overridable(outcome: Outcome, decided_at: datetime, limits: Limits, now: datetime) -> None:
    """See that a decision may be overridden: it refuses, and was made within the policy's limit.

    Raises:
        NotOverridableError: it refuses nothing, or was made too long ago.
    """
    if outcome is not Outcome.DENIED:
        raise NotOverridableError("this decision refuses nothing; open the ticket as it is")
    if now - decided_at > limits.override:
        raise NotOverridableError(
            f"this decision is older than {limits.override.days} days; have the request judged again, and override that"
        )


def channels(
    agreements: tuple[Agreement, ...], terms: Terms, now: datetime
) -> list[tuple[Channel, tuple[Finding, ...]]]:
    """Say of each channel what stands against using it now for something urgent.

    Raises:
        InstantOutOfRangeError: the instant lies outside 2000 to 2100.
    """
    found = []
    for channel in Channel:
        request = Request(channel, Category.INCIDENT, next(iter(terms.policy.urgent), Priority.LOW))
        against = _Judgement(Facts(request, agreements), terms, now).findings()
        found.append((channel, tuple(each for each in against if each.severity is Severity.REFUSAL)))
    return found


def _refused(findings: Sequence[Finding]) -> set[FindingCode]:
    return {finding.code for finding in findings if finding.severity is Severity.REFUSAL}


def _possible(findings: Sequence[Finding]) -> bool:
    """Tell whether the portal would take the request: only a caller refused by the phone's own rules gets in so."""
    return _refused(findings) <= _PHONE


_PHONE: Final = frozenset(
    {
        FindingCode.PHONE_REQUIRES_PREMIUM,
        FindingCode.PHONE_REQUIRES_URGENCY,
        FindingCode.PHONE_OUTSIDE_BUSINESS_HOURS,
        FindingCode.PHONE_NO_SUPPORT_LINE,
    }
)
_BEYOND: Final = (AlternativeKind.SEPARATE_AGREEMENT, AlternativeKind.CONSULTATION)
_INSTEAD: Final = {
    FindingCode.CARE_PLAN_INACTIVE: (AlternativeKind.CONSULTATION,),
    FindingCode.OUTSIDE_AGREEMENT: _BEYOND,
    FindingCode.EXCLUDED_CUSTOMIZATIONS: _BEYOND,
    FindingCode.EXCLUDED_UPGRADES: _BEYOND,
    FindingCode.EXCLUDED_LAYOUT_CHANGES: _BEYOND,
    FindingCode.EXCLUDED_FEATURE_ADDITIONS: _BEYOND,
}
_INACTIVE: Final = {
    PlanState.SUSPENDED: "Your care plan is suspended; standard support starts again once it is resumed.",
    PlanState.NOT_STARTED: "Your care plan has not started yet; standard support begins on its first day.",
    PlanState.EXPIRED: "Your care plan has expired; standard support needs an active one.",
    PlanState.CANCELLED: "Your care plan was cancelled; standard support needs an active one.",
    PlanState.NONE: "There is no care plan on record; standard support needs an active one.",
}
_EXCLUSION: Final = {
    Category.CUSTOMIZATIONS: "Customizations beyond the original scope are not part of support.",
    Category.UPGRADES: "Major version upgrades and platform migrations are not part of support.",
    Category.LAYOUT_CHANGES: "Changes to the existing layout or design are not part of support.",
    Category.FEATURE_ADDITIONS: "New features beyond the original scope are not part of support.",
}


class _Judgement:
    """One request under judgement: a small method for each rule, and nothing that stops at the first."""

    def __init__(self, facts: Facts, terms: Terms, now: datetime) -> None:
        self.request, self.contact = facts.request, facts.contact
        self.terms, self.policy, self.now = terms, terms.policy, now
        self.zone = ZoneInfo(terms.policy.timezone)
        self.open = terms.calendar.is_open(now)
        self.urgent = self.request.priority in self.policy.urgent
        self.states = {
            subscription.state(now, self.zone)
            for agreement in facts.agreements
            for subscription in agreement.subscriptions
        }
        self.active = [agreement for agreement in facts.agreements if self._tiers(agreement)]
        self.covering = [
            agreement for agreement in self.active if agreement.covers(self.request.asset_id, self.request.service)
        ]

    def _tiers(self, agreement: Agreement) -> list[Tier]:
        return [plan.tier for plan in agreement.subscriptions if plan.state(self.now, self.zone) is PlanState.ACTIVE]

    def handling(self) -> Handling:
        """Say when somebody would look at it."""
        return handling(self.terms, self.now, emergency=self.request.priority in self.policy.emergency)

    def findings(self) -> Iterator[Finding]:
        """Yield all findings in the order of the policy's table."""
        yield from self.coverage()
        yield from self._exclusion()
        if self.request.channel is Channel.PHONE:
            yield from self._phone()
        if self.policy.channels[self.request.channel].non_urgent_only and self.urgent:
            yield self._email()
        yield from self._contact()
        yield from self._details()
        yield from self._outage()

    def coverage(self) -> Iterator[Finding]:
        """Yield what is wrong with plan and agreement."""
        yield from self._care_plan()
        yield from self._agreement()

    def _finding(self, code: FindingCode, severity: Severity, clause: str, message: str, **facts: Json) -> Finding:
        return Finding(code, severity, self.policy.clauses[clause], message, facts)

    def _care_plan(self) -> Iterator[Finding]:
        if PlanState.ACTIVE in self.states:
            return
        state = next((state for state in PlanState if state in self.states), PlanState.NONE)
        yield self._finding(
            FindingCode.CARE_PLAN_INACTIVE, Severity.REFUSAL, "eligibility.care-plan", _INACTIVE[state], state=state
        )

    def _agreement(self) -> Iterator[Finding]:
        asset, service = self.request.asset_id, self.request.service
        if self.covering or (asset is None and service is None):
            return
        yield self._finding(
            FindingCode.OUTSIDE_AGREEMENT,
            Severity.REFUSAL,
            "exclusions.out-of-scope",
            "No active agreement lists what this request is about, so it is outside the scope of support.",
            asset_id=asset,
            service=service,
        )

    def _exclusion(self) -> Iterator[Finding]:
        category = self.request.category
        exclusion = self.policy.exclusions.get(category)
        if exclusion is None:
            return
        if exclusion.verdict is Severity.WARNING:
            code = FindingCode.MAY_BE_EXCLUDED
            message = (
                "Issues caused by changes somebody else made to the code may not be covered; staff will look first."
            )
        else:
            code, message = FindingCode(f"excluded_{category}"), _EXCLUSION[category]
        yield self._finding(code, exclusion.verdict, exclusion.clause, message, category=category)

    def _best_tier(self) -> Tier | None:
        """Return the best active tier of the agreements that cover the request (of all, if none does)."""
        tiers = [tier for agreement in self.covering or self.active for tier in self._tiers(agreement)]
        return max(tiers, key=list(Tier).index, default=None)

    def _premium_lines(self) -> list[str]:
        """Return the support lines of the agreements whose active plan may use the phone."""
        rule = self.policy.channels[Channel.PHONE]
        return [
            agreement.support_line
            for agreement in self.covering or self.active
            if agreement.support_line and any(tier in rule.tiers for tier in self._tiers(agreement))
        ]

    def _phone(self) -> Iterator[Finding]:
        """Yield each leg of the phone that fails (clause channels.phone)."""
        rule = self.policy.channels[Channel.PHONE]
        tier = self._best_tier()
        if rule.tiers and tier not in rule.tiers:
            message = "The support line is for clients with a premium plan."
            yield self._phone_finding(FindingCode.PHONE_REQUIRES_PREMIUM, message, tier=tier)
        if rule.urgent_only and not self.urgent:
            message = "The support line is for urgent matters: critical or high priority."
            yield self._phone_finding(FindingCode.PHONE_REQUIRES_URGENCY, message, priority=self.request.priority)
        if rule.business_hours_only and not self.open:
            message = "The support line is answered during business hours only."
            yield self._phone_finding(
                FindingCode.PHONE_OUTSIDE_BUSINESS_HOURS, message, next_opens_at=self._json(self._next_opening())
            )
        if rule.support_line_required and tier in rule.tiers and not self._premium_lines():
            message = "The signed agreement names no support line."
            yield self._phone_finding(FindingCode.PHONE_NO_SUPPORT_LINE, message, tier=tier)

    def _phone_finding(self, code: FindingCode, message: str, **facts: Json) -> Finding:
        return self._finding(code, Severity.REFUSAL, self.policy.channels[Channel.PHONE].clause, message, **facts)

    def _email(self) -> Finding:
        return self._finding(
            FindingCode.EMAIL_IS_FOR_NON_URGENT,
            Severity.WARNING,
            self.policy.channels[self.request.channel].clause,
            "E-mail is for non-urgent inquiries; the request is taken, but the portal is quicker.",
            priority=self.request.priority,
        )

    def _contact(self) -> Iterator[Finding]:
        if self.contact is None:
            return
        confirmed, bounced = self.contact.confirmed_at, self.contact.bounced_at
        if bounced is not None and bounced > self.now:
            bounced = None
        fresh = confirmed is not None and self.now - confirmed < self.policy.limits.contact_confirmation
        if fresh and bounced is None:
            return
        yield self._finding(
            FindingCode.CONTACT_DETAILS_STALE,
            Severity.WARNING,
            "responsibilities.contact",
            "Mail to this contact came back; please correct the contact details."
            if bounced
            else "These contact details have not been confirmed for a long time; please confirm them.",
            confirmed_at=self._json(confirmed),
            bounced_at=self._json(bounced),
        )

    def _details(self) -> Iterator[Finding]:
        missing = list(self._missing_details())
        if missing:
            yield self._finding(
                FindingCode.DETAILS_MISSING,
                Severity.WARNING,
                "responsibilities.descriptions",
                "Please say more, so that the issue can be resolved: " + ", ".join(missing) + ".",
                missing=missing,
            )

    def _missing_details(self) -> Iterator[str]:
        description, details = self.request.description, self.request.details
        if description is not None or details is not None:
            details = details or Details()
            if not _written(details.since):
                yield "details.since"
            if not _written(details.where) and self.request.asset_id is None:
                yield "details.where"
            if not _written(details.impact):
                yield "details.impact"
        if description is not None and len(description.strip()) < self.policy.limits.description_characters:
            yield "description"

    def _outage(self) -> Iterator[Finding]:
        if self.request.priority is Priority.CRITICAL and not _written(self.request.outage_statement):
            yield self._finding(
                FindingCode.OUTAGE_STATEMENT_MISSING,
                Severity.WARNING,
                "priority.critical",
                "Critical means a major outage; please state what is down and for whom.",
                priority=self.request.priority,
            )

    # ------------------------------------------------------------------------------ what then

    def alternatives(self, findings: Sequence[Finding]) -> Iterator[Alternative]:
        """Yield what would work instead, each kind once, in the order of the findings."""
        codes = [finding.code for finding in findings]
        offers = {
            AlternativeKind.CONSULTATION: self._consultation(),
            AlternativeKind.SEPARATE_AGREEMENT: self._separate_agreement(),
        }
        yield from (offers[kind] for kind in dict.fromkeys(kind for code in codes for kind in _INSTEAD.get(code, ())))
        if _possible(findings) and (_PHONE | {FindingCode.EMAIL_IS_FOR_NON_URGENT}).intersection(codes):
            yield from self._other_channels(_PHONE.intersection(codes))

    def _other_channels(self, failing: frozenset[FindingCode]) -> Iterator[Alternative]:
        """Yield the channels that would do, given the legs of the phone that fail."""
        yield self._portal()
        if failing and not self.urgent:
            message = "Write an e-mail: this matter is not urgent."
            yield Alternative(AlternativeKind.EMAIL, message, url=self._mailto())
        if failing == {FindingCode.PHONE_OUTSIDE_BUSINESS_HOURS}:
            message = "Call the support line of your agreement once the desk is open again."
            yield Alternative(AlternativeKind.PHONE, message, available_from=self._next_opening())
        if self.request.channel is Channel.EMAIL and not any(self._phone()):
            message = "Call the support line of your agreement: the desk is open."
            yield Alternative(AlternativeKind.PHONE, message, available_from=self.now)

    def _portal(self) -> Alternative:
        if self.request.priority in self.policy.emergency and not self.open:
            return Alternative(
                AlternativeKind.PORTAL, "Open a critical ticket in the project portal: it is an emergency."
            )
        return Alternative(AlternativeKind.PORTAL, "Open a ticket in the project portal, at any time.")

    def _consultation(self) -> Alternative:
        message = "Book a consultation with our advisory services."
        return Alternative(AlternativeKind.CONSULTATION, message, url=self.policy.booking_url)

    def _separate_agreement(self) -> Alternative:
        message = "Ask for a separate agreement that covers this work."
        return Alternative(AlternativeKind.SEPARATE_AGREEMENT, message)

    def _mailto(self) -> str | None:
        return f"mailto:{self.policy.email_address}" if self.policy.email_address else None

    def clocks(self) -> Iterator[ExpectedClock]:
        """Yield the promises the request would be given if it came now."""
        for clock in (Clock.ACKNOWLEDGEMENT, Clock.RESOLUTION):
            target = self.policy.target(clock, self.request.priority)
            yield ExpectedClock(clock, target.kind, self.terms.calendar.add(self.now, target.amount, target.base))

    def _next_opening(self) -> datetime | None:
        return self.terms.calendar.next_open(self.now)

    @staticmethod
    def _json(at: datetime | None) -> str | None:
        return None if at is None else rfc3339(at)


def _written(text: str | None) -> bool:
    return text is not None and bool(text.strip())
