"""A version of the support policy as frozen values, and the reading of the document it is written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from app.domain.calendar import FIRST_INSTANT, LAST_INSTANT, Base, BusinessCalendar
from app.domain.document import LONGEST_FIELD, Table
from app.domain.hours import HoursReader, Weekly

YEAR: Final = 366 * 86_400
WHOLE: Final = 100


class Priority(StrEnum):
    """How bad it is (clauses priority.critical to priority.low)."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Channel(StrEnum):
    """By which way a request comes (clauses channels.ticketing, channels.email, channels.phone)."""

    PORTAL = "portal"
    EMAIL = "email"
    PHONE = "phone"


class Tier(StrEnum):
    """What a care plan subscription is: the better one last."""

    STANDARD = "standard"
    PREMIUM = "premium"


class Category(StrEnum):
    """What a request is about; the last five are what support does not include."""

    INCIDENT = "incident"
    QUESTION = "question"
    SERVICE_REQUEST = "service_request"
    CUSTOMIZATIONS = "customizations"
    UPGRADES = "upgrades"
    LAYOUT_CHANGES = "layout_changes"
    FEATURE_ADDITIONS = "feature_additions"
    THIRD_PARTY_MODIFICATIONS = "third_party_modifications"


class Trigger(StrEnum):
    """What makes an escalation rule look."""

    CLOCK_WARNED = "clock_warned"
    CLOCK_BROKEN = "clock_broken"
    CLASSIFIED = "classified"


class Severity(StrEnum):
    """Whether a finding denies a request or only comes with it."""

    REFUSAL = "refusal"
    WARNING = "warning"


VERDICTS: Final = {
    Category.CUSTOMIZATIONS: Severity.REFUSAL,
    Category.UPGRADES: Severity.REFUSAL,
    Category.LAYOUT_CHANGES: Severity.REFUSAL,
    Category.FEATURE_ADDITIONS: Severity.REFUSAL,
    Category.THIRD_PARTY_MODIFICATIONS: Severity.WARNING,
}
"""What an exclusion says where there is one: of nothing else there is a finding (clauses exclusions.*)."""

CHANNEL_RULES: Final = {
    Channel.PORTAL: (),
    Channel.EMAIL: ("non_urgent_only",),
    Channel.PHONE: ("tiers", "urgent_only", "business_hours_only", "support_line_required"),
}
"""What may be asked of whoever uses a channel (clauses channels.*)."""


class Clock(StrEnum):
    """Which promise on a ticket is measured."""

    ACKNOWLEDGEMENT = "acknowledgement"
    RESOLUTION = "resolution"
    UPDATE = "update"
    EXPECTED_RESOLUTION = "expected_resolution"


class Kind(StrEnum):
    """A commitment is met or breached, an estimate is met or overdue."""

    COMMITMENT = "commitment"
    ESTIMATE = "estimate"


CLAUSES: Final = (
    "eligibility.care-plan",
    "eligibility.non-subscribers",
    "availability.business-hours",
    "availability.after-hours",
    "channels.ticketing",
    "channels.email",
    "channels.phone",
    "response.initial",
    "response.standard",
    "response.complex",
    "priority.critical",
    "priority.high",
    "priority.normal",
    "priority.low",
    "escalation.level-1",
    "escalation.level-2",
    "escalation.level-3",
    "responsibilities.descriptions",
    "responsibilities.contact",
    "responsibilities.feedback",
    "exclusions.customizations",
    "exclusions.upgrades",
    "exclusions.layout-changes",
    "exclusions.feature-additions",
    "exclusions.third-party-modifications",
    "exclusions.out-of-scope",
    "changes.right-to-update",
    "changes.review",
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence of the policy that everything else cites."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Target:
    """How much time a promise gives, in which base, and at which percentages it warns."""

    clock: Clock
    kind: Kind
    clause: str
    amount: timedelta
    base: Base
    warn_at: tuple[int, ...]
    warn_base: Base


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """Who may use a channel, and for what."""

    clause: str
    tiers: tuple[Tier, ...]
    urgent_only: bool
    non_urgent_only: bool
    business_hours_only: bool
    support_line_required: bool


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What a category means that support does not include."""

    clause: str
    verdict: Severity


@dataclass(frozen=True, slots=True)
class Limits:
    """The figures that are neither promises nor channels."""

    contact_confirmation: timedelta
    description_characters: int
    backdate: timedelta
    late_logged: timedelta
    reopen: timedelta
    feedback: timedelta
    override: timedelta


@dataclass(frozen=True, slots=True)
class Waiting:
    """What happens while a client doesn't answer, counted in one base from the request to them."""

    base: Base
    reminder: timedelta
    resolution: timedelta


@dataclass(frozen=True, slots=True)
class EscalationRule:
    """When a ticket is raised to at least a level by itself, and who is told (clauses escalation.*).

    `priorities` are those it holds for, all where there are none; without a level it only tells.
    """

    id: str
    clause: str
    trigger: Trigger
    clock: Clock | None
    percent: int | None
    after: timedelta
    base: Base
    priorities: tuple[Priority, ...]
    raise_to: int | None
    tell: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holidays:
    """Whose public holidays are imported into the calendar's exceptions."""

    country: str
    subdivision: str | None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """The policy as published under one number; it never changes afterwards."""

    number: int
    effective_from: datetime
    timezone: str
    weekly: Weekly
    holidays: Holidays | None
    clauses: Mapping[str, Clause]
    targets: Mapping[Clock, Target]
    targets_by_priority: Mapping[tuple[Clock, Priority], Target]
    expected: Target
    channels: Mapping[Channel, ChannelRule]
    urgent: tuple[Priority, ...]
    emergency: tuple[Priority, ...]
    emergency_clause: str
    exclusions: Mapping[Category, Exclusion]
    limits: Limits
    waiting: Waiting
    rules: tuple[EscalationRule, ...]
    email_address: str | None
    booking_url: str | None
    open_questions: tuple[str, ...]

    def target(self, clock: Clock, priority: Priority) -> Target:
        """Return what is promised on a clock; only the priority makes a difference."""
        return self.targets_by_priority.get((clock, priority)) or self.targets[clock]


@dataclass(frozen=True, slots=True)
class Terms:
    """What something is judged by: a policy version and a revision of the calendar it shares."""

    policy: PolicyVersion
    calendar: BusinessCalendar
    revision: int
    changed_at: datetime = FIRST_INSTANT
    revisions: Mapping[int, tuple[datetime, BusinessCalendar]] = field(default_factory=dict)

    def calendar_of(self, revision: int) -> BusinessCalendar:
        """Return the calendar as it was at a revision; what a finished promise was counted by never changes."""
        return self.calendar if revision == self.revision else self.revisions[revision][1]

    def of_revision(self, revision: int) -> "Terms":
        """Return the same policy with the calendar of a revision."""
        changed_at, calendar = self.revisions[revision]
        return replace(self, calendar=calendar, revision=revision, changed_at=changed_at)

    def as_of(self, at: datetime) -> "Terms":
        """Return the same policy with the calendar as it was at an instant; before its first change, as it began."""
        known = [number for number, (changed_at, _) in self.revisions.items() if changed_at <= at]
        found = max(known, default=min(self.revisions, default=self.revision))
        return self.of_revision(found) if found < self.revision else self

    def after(self, revision: int) -> "list[Terms]":
        """Return the same policy with the calendar of each later revision up to this one, in their order."""
        return [self.of_revision(number) for number in sorted(self.revisions) if revision < number <= self.revision]

    def changes_since(self, revision: int) -> list[str]:
        """Name the exceptions in which the calendar differs from what it was at a revision."""
        before, now = set(self.calendar_of(revision).exceptions), set(self.calendar.exceptions)
        return sorted({exception.name for exception in before ^ now})


def parse(document: Mapping[str, object]) -> PolicyVersion:
    """Read and validate a policy document, as TOML or JSON give it.

    Raises:
        InvalidDocumentError: naming every field that is wrong.
    """
    reader = PolicyReader()
    version = reader.policy(document)
    reader.finish()
    return version


class PolicyReader(HoursReader):
    """Reads the sections of a policy document."""

    def policy(self, document: Mapping[str, object]) -> PolicyVersion:
        """Read the whole of it."""
        sections = ("version", "effective_from", "calendar", "targets", "channels", "emergency", "exclusions")
        top = self.table(
            document,
            "",
            (*sections, "limits", "waiting", "escalation_rules", "clauses"),
            ("open_questions", "contact"),
        )
        calendar = self._section(top, "calendar", ("timezone", "weekly_hours"), ("holidays",))
        channels = self._section(top, "channels", ("urgent", *Channel))
        emergency = self._section(top, "emergency", ("clause", "priorities"))
        contact = self._section(top, "contact", (), ("email_address", "booking_url"))
        timezone = calendar.read("timezone", self.timezone, "UTC")
        targets = self._section(
            top, "targets", (Clock.ACKNOWLEDGEMENT, Clock.RESOLUTION, Clock.UPDATE), (Clock.EXPECTED_RESOLUTION,)
        )
        return PolicyVersion(
            number=top.integer("version", 1, 1_000_000),
            effective_from=self._effective_from(top, timezone),
            timezone=timezone,
            weekly=calendar.read("weekly_hours", self.weekly_hours, ((),) * 7),
            holidays=self._holidays(calendar),
            clauses=self._clauses(top),
            targets={
                clock: self._target(targets, clock, clock)
                for clock in Clock
                if clock in targets and clock is not Clock.EXPECTED_RESOLUTION
            },
            expected=self._expected(targets),
            targets_by_priority=dict(self._targets_by_priority(targets)),
            channels={channel: self._channel(channels, channel) for channel in Channel},
            urgent=channels.choices("urgent", Priority),
            emergency=emergency.choices("priorities", Priority),
            emergency_clause=self._clause(emergency),
            exclusions=self._exclusions(top),
            limits=self._limits(top),
            waiting=self._waiting(top),
            rules=self._rules(top),
            email_address=contact.text("email_address") if "email_address" in contact else None,
            booking_url=contact.text("booking_url") if "booking_url" in contact else None,
            open_questions=top.texts("open_questions"),
        )

    def _section(self, top: Table, name: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Table:
        return self.table(top.fields.get(name, {}), f"{top.pointer}/{name}", required, optional)

    def _effective_from(self, top: Table, timezone: str) -> datetime:
        """Read when the version takes effect: an instant, or a date for its midnight in the calendar's zone."""
        given = top.fields.get("effective_from")
        if isinstance(given, datetime) or (isinstance(given, str) and len(given) > len("2026-01-01")):
            return self._instant(given, f"{top.pointer}/effective_from")
        day = top.read("effective_from", self.local_date, None) or date(2000, 1, 1)
        return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)

    def _instant(self, given: datetime | str, pointer: str) -> datetime:
        try:
            found = datetime.fromisoformat(given) if isinstance(given, str) else given
            if found.tzinfo is not None and FIRST_INSTANT <= found <= LAST_INSTANT:
                return found.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        self.refuse(pointer, "wrong_instant", "give a date, or an instant with its offset, from 2000 to 2099")
        return FIRST_INSTANT

    def _holidays(self, calendar: Table) -> Holidays | None:
        if "holidays" not in calendar:
            return None
        fields = self._section(calendar, "holidays", ("country",), ("subdivision",))
        return Holidays(fields.text("country", 2), fields.text("subdivision", 8) if "subdivision" in fields else None)

    def _clauses(self, top: Table) -> dict[str, Clause]:
        table = self._section(top, "clauses", CLAUSES)
        found = {}
        for name in CLAUSES:
            clause = self.table(table.fields.get(name, {}), f"/clauses/{name}", ("title", "text"))
            found[name] = Clause(name, clause.text("title"), clause.text("text"))
        return found

    def _clause(self, fields: Table) -> str:
        name = fields.text("clause")
        if "clause" in fields and name not in CLAUSES:
            self.refuse(f"{fields.pointer}/clause", "unknown_clause", "cite a clause of this document")
        return name

    def _target(self, targets: Table, name: str, clock: Clock) -> Target:
        known = ("clause", "kind", "seconds", "base", "warn_at", "warn_base")
        fields = self._section(targets, name, known, ("by_priority",))
        return Target(
            clock=clock,
            kind=fields.choice("kind", Kind),
            clause=self._clause(fields),
            amount=timedelta(seconds=fields.integer("seconds", 1, YEAR)),
            base=fields.choice("base", Base),
            warn_at=self._percentages(fields),
            warn_base=fields.choice("warn_base", Base),
        )

    def _expected(self, targets: Table) -> Target:
        """Read how a date that staff give is promised: how far ahead it lies is theirs to say."""
        clock = Clock.EXPECTED_RESOLUTION
        if clock not in targets:
            return Target(clock, Kind.ESTIMATE, "response.complex", timedelta(0), Base.CALENDAR, (), Base.CALENDAR)
        fields = self._section(targets, clock, ("clause", "kind", "warn_at", "warn_base"))
        return Target(
            clock=clock,
            kind=fields.choice("kind", Kind),
            clause=self._clause(fields),
            amount=timedelta(0),
            base=Base.CALENDAR,
            warn_at=self._percentages(fields),
            warn_base=fields.choice("warn_base", Base),
        )

    def _targets_by_priority(self, targets: Table) -> list[tuple[tuple[Clock, Priority], Target]]:
        """Read the targets of single priorities: each repeats only what differs."""
        found: list[tuple[tuple[Clock, Priority], Target]] = []
        for clock in Clock:
            usual = targets.fields.get(clock)
            if clock is Clock.EXPECTED_RESOLUTION or not isinstance(usual, Mapping):
                continue
            pointer = f"{targets.pointer}/{clock}/by_priority"
            special = self.table(usual.get("by_priority", {}), pointer, (), tuple(Priority))
            for priority in (priority for priority in Priority if priority in special):
                own = self.table(special.fields[priority], f"{pointer}/{priority}", (), tuple(usual))
                whole = {name: value for name, value in usual.items() if name != "by_priority"}
                target = Table(self, {priority: {**whole, **own.fields}}, pointer)
                found.append(((clock, priority), self._target(target, priority, clock)))
        return found

    def _percentages(self, fields: Table) -> tuple[int, ...]:
        found = tuple(item for item, _ in fields.items("warn_at") if type(item) is int and 0 < item < WHOLE)
        if len(found) != len(fields.items("warn_at")) or list(found) != sorted(set(found)):
            self.refuse(f"{fields.pointer}/warn_at", "wrong_percentages", "give rising percentages from 1 to 99")
        return found

    def _channel(self, channels: Table, channel: Channel) -> ChannelRule:
        flags = ("urgent_only", "non_urgent_only", "business_hours_only", "support_line_required")
        fields = self._section(channels, channel, ("clause",), CHANNEL_RULES[channel])
        return ChannelRule(self._clause(fields), fields.choices("tiers", Tier), *(fields.flag(name) for name in flags))

    def _exclusions(self, top: Table) -> dict[Category, Exclusion]:
        table = self._section(top, "exclusions", (), tuple(Category))
        found = {}
        for name in table.fields.keys() & set(Category):
            fields = self._section(table, name, ("clause", "verdict"))
            verdict = fields.choice("verdict", Severity)
            if VERDICTS.get(Category(name)) is not verdict:
                known = ", ".join(f"{each} by a {told}" for each, told in VERDICTS.items())
                self.refuse(f"{fields.pointer}/verdict", "wrong_verdict", f"what can be excluded: {known}")
            found[Category(name)] = Exclusion(self._clause(fields), verdict)
        return found

    def _limits(self, top: Table) -> Limits:
        names = ("contact_confirmation_days", "description_characters", "backdate_days", "late_logged_seconds")
        windows = ("reopen_days", "feedback_days", "override_days")
        fields = self._section(top, "limits", (*names, *windows))
        reopen, feedback, override = (timedelta(days=fields.integer(name, 0, 366)) for name in windows)
        return Limits(
            contact_confirmation=timedelta(days=fields.integer("contact_confirmation_days", 1, 3_660)),
            description_characters=fields.integer("description_characters", 1, 1_000),
            backdate=timedelta(days=fields.integer("backdate_days", 0, 366)),
            late_logged=timedelta(seconds=fields.integer("late_logged_seconds", 0, YEAR)),
            reopen=reopen,
            feedback=feedback,
            override=override,
        )

    def _waiting(self, top: Table) -> Waiting:
        fields = self._section(top, "waiting", ("base", "reminder_seconds", "resolution_seconds"))
        reminder, resolution = (fields.integer(f"{name}_seconds", 1, YEAR) for name in ("reminder", "resolution"))
        if reminder > resolution:
            self.refuse("/waiting/reminder_seconds", "too_late", "remind before, or when, the ticket is resolved")
        return Waiting(fields.choice("base", Base), timedelta(seconds=reminder), timedelta(seconds=resolution))

    def _rules(self, top: Table) -> tuple[EscalationRule, ...]:
        found: dict[str, EscalationRule] = {}
        for item, pointer in top.items("escalation_rules"):
            rule = self._rule(item, pointer)
            if rule.id in found:
                self.refuse(f"{pointer}/id", "duplicate_id", "another rule has this id; give each its own")
            found[rule.id] = rule
        return tuple(found.values())

    def _rule(self, item: object, pointer: str) -> EscalationRule:
        optional = ("clock", "percent", "after_seconds", "base", "priorities", "raise_to", "tell")
        fields = self.table(item, pointer, ("id", "clause", "trigger"), optional)
        if "raise_to" not in fields and not fields.items("tell"):
            self.refuse(pointer, "no_effect", "give raise_to, tell, or both")
        trigger = fields.choice("trigger", Trigger)
        if (trigger is Trigger.CLASSIFIED) == ("clock" in fields):
            self.refuse(f"{pointer}/clock", "wrong_clock", "name a clock for clock triggers, and none otherwise")
        if (trigger is Trigger.CLOCK_WARNED) != ("percent" in fields):
            self.refuse(f"{pointer}/percent", "wrong_percentages", "give a percentage for clock_warned, and only there")
        return EscalationRule(
            id=fields.text("id", LONGEST_FIELD),
            clause=self._clause(fields),
            trigger=trigger,
            clock=fields.choice("clock", Clock) if "clock" in fields else None,
            percent=fields.integer("percent", 1, WHOLE - 1) if "percent" in fields else None,
            after=timedelta(seconds=fields.integer("after_seconds", 0, YEAR) if "after_seconds" in fields else 0),
            base=fields.choice("base", Base) if "base" in fields else Base.CALENDAR,
            priorities=fields.choices("priorities", Priority),
            raise_to=fields.integer("raise_to", 2, 3) if "raise_to" in fields else None,
            tell=fields.texts("tell"),
        )
