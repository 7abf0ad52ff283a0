"""A busy desk under the test clock, through HTTP: clients write at all hours, staff work, a holiday is declared.

A few days of it run with every suite; `make month` runs a month of 2,000 tickets and prints what came of it.
"""

import heapq
import itertools
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from app.domain.policy import Tier
from app.worker import self_check
from tests.api.conftest import Desk, kl

SEED = 20_260_105
TICKETS = int(os.environ.get("TICKETS", "80"))
DAYS = 30 if TICKETS > 1_000 else 7
STAFF = ("agent", "agent2", "agent3", "lead")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ONCE = {"clock.met", "clock.broken", "clock.warned", "clock.started", "ticket.reminded"}


@dataclass
class Month:
    """What happened, and what is still to come."""

    desk: Desk
    random: Random
    now: datetime
    plan: list[tuple[datetime, int, str, dict[str, Any]]] = field(default_factory=list)
    order: Any = field(default_factory=itertools.count)
    tickets: list[Any] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    swept: int = 0

    def later(self, wait: timedelta, what: str, ticket: dict[str, Any] | None = None) -> None:
        heapq.heappush(self.plan, (self.now + wait, next(self.order), what, ticket or {}))

    def working(self, wait: timedelta) -> timedelta:
        """A wait that ends while the desk is open, more or less: staff are people."""
        at = self.now + wait
        while at.weekday() > 4 or not 9 <= at.hour < 18:  # a working day
            at += HOUR
        return at - self.now + self.random.random() * 20 * MINUTE

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    async def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """Ask for something; a refusal by the rules is an answer too, anything else is not."""
        response = await self.desk.call(who, method, path, body)
        assert response.status_code in {200, 201, 403, 409}, response.text
        self.calls[f"{response.status_code}"] += 1
        return response.json() if response.status_code < 300 else None  # done

    async def act(self, who: str, ticket: Any, name: str, **body: Any) -> Any:
        return await self.call(who, "POST", f"/v1/tickets/{ticket['id']}/{name}", body)

    async def say(self, who: str, ticket: Any, text: str) -> Any:
        return await self.call(who, "POST", f"/v1/tickets/{ticket['id']}/messages", {"text": text})

    # ------------------------------------------------------------------------- what people do

    async def arrive(self, _: Any) -> None:
        who = self.random.choice(["standard", "standard", "premium", "busy", "busy", "busy", "lapsed"])
        await self.write(who, self.random.choices(["critical", "high", "normal", "low"], [4, 16, 60, 20])[0])

    async def outage(self, _: Any) -> None:
        await self.write("busy", "critical")

    async def write(self, who: str, priority: str) -> None:
        fields = {"requested_priority": priority}
        if priority == "critical":
            fields["outage_statement"] = "The shop is down for everybody."
        ticket = await self.call(who, "POST", "/v1/tickets", self.desk.request(**fields))
        if ticket:
            ticket["who"] = who
            self.tickets.append(ticket)
            hurry = 10 * MINUTE if priority == "critical" else self.random.expovariate(1) * 50 * MINUTE
            self.later(hurry if priority == "critical" else self.working(hurry), "take", ticket)

    async def take(self, ticket: Any) -> None:
        who = self.random.choice(STAFF)
        await self.act(who, ticket, "acknowledge")
        if self.chance(0.03):
            await self.act(self.random.choice(["lead", ticket["who"]]), ticket, "withdraw", reason="It went away.")
        elif self.chance(0.04):
            verdict = {"exclusion": "upgrades", "text": "It is an upgrade.", "alternative": "We make an offer."}
            await self.act("lead", ticket, "mark-out-of-scope", **verdict)
        elif self.chance(0.12):
            await self.act("lead", ticket, "classify", complexity="complex", reason="It needs the vendor.")
            self.later(self.working(self.random.random() * 2 * DAY), "update", ticket)
        elif self.chance(0.18):
            await self.act("lead", ticket, "request-details", text="Which page, and since when?")
            if self.chance(0.7):
                self.later(self.random.random() * 4 * DAY, "answer", ticket)
        else:
            self.later(self.working(self.random.expovariate(1) * 9 * HOUR), "solve", ticket)

    async def answer(self, ticket: Any) -> None:
        await self.say(ticket["who"], ticket, "The checkout, since this morning.")
        self.later(self.working(self.random.expovariate(1) * 6 * HOUR), "solve", ticket)

    async def update(self, ticket: Any) -> None:
        await self.say("lead", ticket, "We are still at it with the vendor.")
        if self.chance(0.5):
            self.later(self.working(self.random.random() * 1.5 * DAY), "update", ticket)
        else:
            self.later(self.working(self.random.random() * DAY), "solve", ticket)

    async def solve(self, ticket: Any) -> None:
        await self.act("lead", ticket, "resolve", resolution="fixed", text="Mended; please see for yourself.")
        if self.chance(0.06):
            self.later(self.random.random() * 5 * DAY, "return_", ticket)
        elif self.chance(0.3):
            path = f"/v1/tickets/{ticket['id']}/feedback"
            await self.call(ticket["who"], "PUT", path, {"rating": self.random.randint(2, 5)})

    async def return_(self, ticket: Any) -> None:
        await self.act(ticket["who"], ticket, "reopen", reason="It is back.")
        self.later(self.working(self.random.expovariate(1) * HOUR), "take", ticket)
        self.later(self.working(self.random.expovariate(1) * 8 * HOUR), "solve", ticket)

    async def holiday(self, _: Any) -> None:
        calendar = (await self.desk.get("lead", "/v1/calendars"))["items"][0]["id"]
        day = {"date": (self.now + DAY).date().isoformat(), "name": "A state funeral", "hours": []}
        await self.call("lead", "POST", f"/v1/calendars/{calendar}/exceptions", day)

    # ------------------------------------------------------------------------- how time passes

    async def until(self, at: datetime) -> None:
        """Let the clock run to an instant; the worker looks every half hour."""
        while self.now + 30 * MINUTE < at:
            await self.clock(self.now + 30 * MINUTE)
            self.swept += await self.desk.sweep()
        await self.clock(at)

    async def clock(self, at: datetime) -> None:
        self.now = at
        await self.desk.call("admin", "PUT", "/v1/test-clock", {"now": at.isoformat()})

    async def run(self, end: datetime) -> None:
        while self.plan and self.plan[0][0] <= end:
            at, _, what, ticket = heapq.heappop(self.plan)
            await self.until(at)
            await getattr(self, what)(ticket)
        await self.until(end)
        self.swept += await self.desk.sweep()


async def simulate(desk: Desk, tickets: int, days: int) -> Month:
    await desk.client("busy", tier=Tier.PREMIUM, line="+60 3 5550 0200", starts_on=date(2025, 1, 1))
    month = Month(desk, Random(SEED), kl("2026-01-05 07:00:00"))  # noqa: S311  # the same month each time
    for _ in range(tickets):
        wait = month.random.random() * days * DAY
        month.later(month.working(wait) if month.chance(0.75) else wait, "arrive")
    for night in range(days // 3):
        month.later(3 * night * DAY + 15 * HOUR, "outage")
    month.later(2 * DAY + 8 * HOUR, "holiday")
    await month.run(month.now + (days + 3) * DAY)
    return month


async def test_a_busy_desk_keeps_its_books(desk: Desk) -> None:
    month = await simulate(desk, TICKETS, DAYS)
    checked = await self_check.run(desk.pool)
    assert (checked.tickets, checked.drifted) == (len(month.tickets), ())
    kinds, clocks = Counter[str](), defaultdict[str, list[Any]](list)
    for ticket in month.tickets:
        told = await desk.events(ticket)
        kinds.update(event["kind"] for event in told)
        once = [
            (event["kind"], *(event["data"].get(name) for name in ("clock", "cycle", "percent", "waiting_since")))
            for event in told
            if event["kind"] in ONCE
        ]
        assert len(once) == len(set(once)), ticket["ref"]
        for clock in (await desk.get("auditor", f"/v1/tickets/{ticket['id']}/clocks"))["clocks"]:
            clocks[clock["clock"]].append({"ref": ticket["ref"], **clock})
            seen = ("clock.broken", clock["clock"], clock["cycle"], None, None) in once
            assert bool(clock["broken_at"]) == seen == (clock["state"] in {"breached", "overdue"}), ticket["ref"]
            counted = sum(round(piece["counted_seconds"] * 1_000_000) for piece in clock["trace"])
            total = clock["trace"][-1]["total_seconds"] if clock["trace"] else 0
            assert counted == round(total * 1_000_000), ticket["ref"]
            # Only what ended in the instant in which it began has nothing to explain.
            assert clock["trace"] or clock["ended_at"] == clock["started_at"], clock
    assert {"ticket.opened", "clock.broken", "clock.moved", "ticket.emergency", "ticket.resolved"} <= kinds.keys()
    print(report(month, kinds, clocks))  # noqa: T201  # what `make month` is for


def report(month: Month, kinds: Counter[str], clocks: dict[str, list[Any]]) -> str:
    lines = [
        "",
        f"{len(month.tickets)} tickets taken, {sum(month.calls.values())} requests by people",
        f"{month.calls['403']} of them refused by the policy, {month.calls['409']} by a ticket's state",
        f"{sum(kinds.values())} events, {month.swept} tickets touched by the worker, drift 0",
        "",
        f"{'clock':22}{'met':>6}{'broken':>8}{'attained':>10}{'running':>9}{'superseded':>12}{'cancelled':>11}",
    ]
    for name, found in sorted(clocks.items()):
        states = Counter(clock["state"] for clock in found)
        met, broken = states["met"], states["breached"] + states["overdue"]
        share = f"{met / (met + broken):.1%}" if met + broken else "-"
        running = states["running"] + states["paused"]
        counted = f"{met:6}{broken:8}{share:>10}{running:9}{states['superseded']:12}{states['cancelled']:11}"
        lines.append(f"{name:22}{counted}")
    worst = [clock for found in clocks.values() for clock in found if clock["broken_at"]]
    for clock in month.random.sample(worst, min(3, len(worst))):
        lines += ["", f"{clock['ref']}: {clock['clock']} {clock['cycle']} was due {clock['due_at']} ({clock['state']})"]
        lines += [
            f"  {piece['from']} - {piece['to']}  {piece['kind']:8} {piece['counted_seconds']:>8} s"
            f"  {piece['total_seconds']:>8} s  {piece['reason'] or ''}"
            for piece in clock["trace"]
        ]
    return "\n".join(lines)
