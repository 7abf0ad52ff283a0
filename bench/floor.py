"""The floor: the same answers with the least there can be around them: `python -m bench.floor PORT`.

Starlette, asyncpg and SQL by hand around the domain layer, on the service's own database, with the same rows written
as durably. No framework's validation, no credentials (it believes `X-Floor-Caller: <role> <client or -> <person>`),
no row-level security (it works as the superuser), no idempotency, no limits, no log. What it lacks besides, as the
load doesn't ask for it: staff's pages, filters, refusals, acts that lose a race, a client's word that reopens.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import uvicorn
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from app.db import ids, tickets
from app.db.clients import read_agreements, read_contact
from app.db.policies import Book
from app.domain import clocks, eligibility, fold, passing
from app.domain import ticket as acts
from app.domain.acts import intake, levels, talk, triage
from app.domain.acts.intake import Opening
from app.domain.calendar import Base
from app.domain.clocks import SECOND, Cycle, EndReason
from app.domain.eligibility import Facts
from app.domain.events import CLIENTS, Actor, Event, Role
from app.domain.policy import Category, Channel, Clock, Kind, Priority, Terms
from app.domain.ticket import Case, Complexity, Details, PrioritySource, Resolution, Status, Ticket

Json: TypeAlias = dict[str, Any]
KINDS: Final = {
    "channel": Channel, "category": Category, "requested_priority": Priority, "priority": Priority,
    "priority_source": PrioritySource, "complexity": Complexity, "status": Status, "resolution": Resolution,
    "details": lambda found: Details(**found), "warnings": tuple, "tags": tuple, "rules_applied": tuple,
    "waits": clocks.pauses_from_json,
}  # fmt: skip
SAME: Final = [field.name for field in fields(Ticket) if field.name not in KINDS and field.name != "cycles"]
SHOWN: Final = (
    "id ref client_id contact_id status priority requested_priority priority_source complexity level emergency channel"
    " category subject description details outage_statement asset_id service follow_up_of eligibility_check_id answered"
    " late_logged received_at created_at acknowledged_at policy_version warnings late_reclassification"
    " escalation_requested_at waiting_since resolution resolved_at closed_at disputed version"
).split()
WHEN: Final = {
    "now": "The desk is open.",
    "emergency": "The desk is closed: help is limited to critical issues, and the people on call are told.",
    "next_opening": "The desk is closed: your ticket is looked at when it opens again.",
}
READ: Final = """SELECT t.*, ARRAY(SELECT c FROM clock_cycles c WHERE c.client_id = t.client_id
    AND c.ticket_id = t.id ORDER BY c.started_at, c.clock, c.cycle) AS cycles
FROM tickets t WHERE t.id = $1"""
PAGE: Final = """SELECT t.id, t.ref, t.client_id, t.contact_id, t.status, t.priority, t.requested_priority,
    t.priority_source, t.complexity, t.level, NULL AS assignee_id, t.emergency, t.channel, t.category, t.subject,
    t.received_at, t.created_at, t.last_event_at AS updated_at, t.policy_version, n.clock AS next_clock,
    n.due_at AS next_due_at, EXISTS (SELECT FROM clock_cycles c WHERE c.client_id = t.client_id AND c.ticket_id = t.id
        AND c.due_at < least(coalesce(c.ended_at, $1), $1)) AS broken, t.version, NULL AS clocks, NULL AS allowed_acts
FROM tickets t LEFT JOIN LATERAL (SELECT c.clock, c.due_at FROM clock_cycles c WHERE c.client_id = t.client_id
    AND c.ticket_id = t.id AND c.ended_at IS NULL AND c.due_at >= $1 ORDER BY c.due_at LIMIT 1) n ON true
WHERE t.client_id = $2 AND t.contact_id = $3 ORDER BY t.created_at DESC, t.id DESC LIMIT $4"""
FACTS: Final = """SELECT nextval('ticket_refs') AS number,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('assets', a.assets, 'services', a.services, 'support_line',
        a.support_line, 'plans', (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM subscriptions s
        WHERE s.client_id = $1 AND s.agreement_id = a.id))), '[]') FROM agreements a WHERE a.client_id = $1) AS agreements,
    jsonb_build_object('confirmed_at', c.confirmed_at, 'bounced_at', c.bounced_at) AS contact
FROM contacts c WHERE c.client_id = $1 AND c.id = $2"""
CYCLES: Final = """kept AS (INSERT INTO clock_cycles SELECT r.* FROM written w,
    jsonb_populate_recordset(NULL::clock_cycles, {0}) r ON CONFLICT (client_id, ticket_id, clock, cycle) DO UPDATE SET
    kind = excluded.kind, clause = excluded.clause, target_seconds = excluded.target_seconds, base = excluded.base,
    warn_at = excluded.warn_at, warn_base = excluded.warn_base, calendar_revision = excluded.calendar_revision,
    due_at = excluded.due_at, pauses = excluded.pauses, warned = excluded.warned, detected_at = excluded.detected_at,
    ended_at = excluded.ended_at, end_reason = excluded.end_reason)"""
LOGGED: Final = """logged AS (INSERT INTO events (client_id, ticket_id, number, version, kind, at, actor_role, actor_id,
    actor_client_id, data, internal, audience) SELECT w.client_id, w.id, r.number, r.version, r.kind, r.at, r.actor_role,
    r.actor_id, r.actor_client_id, r.data, r.internal, r.audience FROM written w, jsonb_to_recordset({0}) r (number int,
    version int, kind text, at timestamptz, actor_role text, actor_id uuid, actor_client_id uuid, data jsonb,
    internal bool, audience jsonb) ORDER BY r.number)"""
STORED: Final = [field.name for field in fields(Ticket) if field.name not in {"cycles", "feedback"}]
SAVED: Final = (
    "priority priority_source outage_statement level status emergency last_event_at acknowledged_at assignee_id"
    " assignee_level waits reminded_at rules_applied last_number version"
).split()
ADD: Final = (
    f"WITH written AS (INSERT INTO tickets ({', '.join(STORED)}, next_at) VALUES"
    f" ({', '.join(f'${place}' for place in range(4, len(STORED) + 4))}, $3) RETURNING client_id, id),"
    f" {CYCLES.format('$1')}, {LOGGED.format('$2')} SELECT 1 FROM written"
)
SAVE: Final = (
    f"WITH written AS (UPDATE tickets SET {', '.join(f'{name} = ${place}' for place, name in enumerate(SAVED, 6))},"
    " next_at = $3 WHERE client_id = $4 AND id = $5 AND version = $20 - 1 RETURNING client_id, id),"
    f" {CYCLES.format('$1')}, {LOGGED.format('$2')} SELECT 1 FROM written"
)
CHECK: Final = """INSERT INTO eligibility_checks (client_id, id, contact_id, outcome, policy_version, as_of, created_at,
    created_by_role, created_by_id, request, decision, ticket_attempt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, false)"""
SQL: Final = {"read": READ, "page": PAGE, "facts": FACTS, "add": ADD, "save": SAVE, "check": CHECK}


def caller_of(request: Request) -> Actor:
    """Believe who asks."""
    role, client, person = request.headers["x-floor-caller"].split(" ")
    return Actor(Role(role), UUID(person), None if client == "-" else UUID(client), 3)


def answer(told: Json, status: int = 200, version: int | None = None) -> Response:
    """Write JSON."""
    headers = {"etag": f'"{version}"'} if version else None
    return Response(to_json(told), status, headers, "application/json")


def cycle_of(row: Mapping[str, Any]) -> Cycle:
    """Read a cycle."""
    return Cycle(
        Clock(row["clock"]), row["cycle"], Kind(row["kind"]), row["clause"], timedelta(seconds=row["target_seconds"]),
        Base(row["base"]), tuple(row["warn_at"]), Base(row["warn_base"]), row["calendar_revision"], row["started_at"],
        row["due_at"], clocks.pauses_from_json(row["pauses"]), row["warned"], row["detected_at"], row["ended_at"],
        row["end_reason"] and EndReason(row["end_reason"]),
    )  # fmt: skip


def ticket_of(row: Mapping[str, Any]) -> Ticket:
    """Read a ticket."""
    found = {name: row[name] for name in SAME if name != "feedback"}
    found |= {name: row[name] if row[name] is None else read(row[name]) for name, read in KINDS.items()}
    return Ticket(**found, cycles=tuple(map(cycle_of, row["cycles"])))


def clock_told(cycle: Cycle, terms: Terms, at: datetime) -> Json:
    """Write a cycle at an instant."""
    calendar = terms.calendar_of(cycle.calendar_revision)
    return {
        "clock": cycle.clock, "cycle": cycle.number, "kind": cycle.kind, "clause": cycle.clause,
        "state": cycle.state(at), "target_seconds": -(-cycle.target // SECOND), "base": cycle.base,
        "started_at": cycle.started_at, "due_at": cycle.due_at,
        "remaining_seconds": -(-cycle.remaining(at, calendar) // SECOND),
        "counting_now": cycle.counting(at, calendar), "next_change_at": cycle.next_change_at(at, calendar),
        "met_at": cycle.met_at, "broken_at": cycle.broken_at(at), "detected_at": cycle.detected_at,
        "ended_at": cycle.ended_at, "end_reason": cycle.end_reason,
    }  # fmt: skip


def traced(cycle: Cycle, terms: Terms, at: datetime) -> Json:
    """Write a cycle with its trace."""
    calendar = terms.calendar_of(cycle.calendar_revision)
    trace = [
        {"from": piece.start, "to": piece.end, "kind": piece.kind, "reason": piece.reason,
         "counted_seconds": clocks.seconds(piece.counted), "total_seconds": clocks.seconds(piece.total)}
        for piece in cycle.trace(calendar, at)
    ]  # fmt: skip
    return clock_told(cycle, terms, at) | {"trace": trace, "fingerprint": calendar.fingerprint}


def ticket_told(found: Ticket, terms: Terms, viewer: Actor, at: datetime) -> Json:
    """Write a ticket at an instant."""
    case, runs = (
        passing.case_of(found, terms, actor=viewer, now=at),
        [clock_told(each, terms, at) for each in found.cycles],
    )
    changes = [run["next_change_at"] for run in runs if run["next_change_at"]]
    changes += [instant for instant in passing.service_at(found, terms) if instant > at]
    handling, expected = None, found.running(Clock.EXPECTED_RESOLUTION)
    if found.running(Clock.ACKNOWLEDGEMENT):
        opens, closes = terms.calendar.next_open(at), terms.calendar.next_close(at)
        changes += [turn for turn in [closes if opens == at else opens] if turn]
        when = eligibility.handling(terms, at, emergency=found.emergency)
        handling = {"mode": when.mode, "starts_at": when.starts_at, "message": WHEN[when.mode]}
    house = viewer.role not in CLIENTS
    return {name: getattr(found, name) for name in SHOWN} | {
        "updated_at": found.last_event_at, "as_of": at, "handling": handling, "tags": found.tags if house else (),
        "assignee_id": found.assignee_id if house else None, "clocks": runs,
        "expected_resolution_at": expected.due_at if expected else None,
        "reopens_until": case.reopens_until if found.status is Status.RESOLVED else None,
        "next_change_at": min(changes, default=None), "allowed_acts": acts.allowed(case),
    }  # fmt: skip


def story(found: Ticket, happened: tuple[Event, ...], terms: Terms) -> tuple[Any, ...]:
    """Return what is written with a ticket: its cycles, its events, and when time acts next."""
    whose = {"client_id": found.client_id, "ticket_id": found.id}
    kept = tickets.story(found, happened, passing.next_at(found, terms), terms.revision)
    return [cycle | whose for cycle in map(dict, kept.cycles)], kept.happened, kept.next_at


def stored(found: Ticket, names: list[str]) -> list[Any]:
    """Return the columns of a ticket."""
    return [clocks.pauses_json(found.waits) if name == "waits" else getattr(found, name) for name in names]


class Floor:
    """The routes, on connections that each have every statement prepared."""

    book: Book
    free: asyncio.LifoQueue[dict[str, Any]]

    async def ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401  # records
        """Run a statement on the connection that was free last."""
        prepared = await self.free.get()
        try:
            return await prepared[name].fetch(*arguments)
        finally:
            self.free.put_nowait(prepared)

    async def found(self, request: Request) -> tuple[Ticket, Terms, Actor, datetime]:
        """Read the ticket that a request is about, and who asks."""
        (row,) = await self.ask("read", UUID(request.path_params["id"]))
        found = ticket_of(row)
        return found, await self.book.of(found.policy_version, found.calendar_revision), caller_of(request), now()

    async def read(self, request: Request) -> Response:
        """Read a ticket."""
        found, terms, caller, at = await self.found(request)
        return answer(ticket_told(passing.known_by(found, terms, at), terms, caller, at), version=found.version)

    async def clocks(self, request: Request) -> Response:
        """Explain the promises on a ticket."""
        found, terms, _, at = await self.found(request)
        runs = [traced(cycle, terms, at) for cycle in passing.known_by(found, terms, at).cycles]
        zone = {"timezone": terms.calendar.timezone, "tzdata": terms.calendar.tzdata}
        return answer({"as_of": at, **zone, "clocks": runs}, version=found.version)

    async def page(self, request: Request) -> Response:
        """List a contact's tickets."""
        caller, at = caller_of(request), now()
        rows = await self.ask("page", at, caller.client_id, caller.id, 51)
        more = f"{rows[49]['created_at']}~{rows[49]['id']}" if len(rows) > 50 else None  # noqa: PLR2004  # a page
        return answer({"items": [dict(row) for row in rows[:50]], "next_cursor": more, "as_of": at})

    async def judged(self, request: Request) -> tuple[Any, ...]:
        """Judge a request by the facts of its client."""
        caller, body, at = caller_of(request), json.loads(await request.body()), now()
        (row,) = await self.ask("facts", caller.client_id, caller.id)
        asked = eligibility.Request(
            Channel(body["channel"]), Category(body["category"]), Priority(body.get("requested_priority", "normal")),
            description=body["description"], details=Details(**body["details"]),
        )  # fmt: skip
        terms = await self.book.in_force(at)
        facts = Facts(asked, read_agreements(row["agreements"]), read_contact(row["contact"]))
        return caller, body, at, row["number"], asked, terms, eligibility.check(facts, terms, at)

    async def create(self, request: Request) -> Response:
        """Open a ticket."""
        caller, body, at, number, asked, terms, decision = await self.judged(request)
        ref = f"KE-{at.year}-{number:06}"
        opening = Opening(ids.new_id(), caller.client_id, caller.id, ref, body["subject"], asked, False, at)  # noqa: FBT003  # not answered
        happened = fold.numbered(None, intake.open_ticket(opening, decision, terms, actor=caller, now=at))
        opened = fold.fold(None, happened)
        await self.ask("add", *story(opened, happened, terms), *stored(opened, STORED))
        return answer(ticket_told(opened, terms, caller, at), 201, 1)

    async def check(self, request: Request) -> Response:
        """Keep a decision."""
        caller, body, at, _, _, terms, decision = await self.judged(request)
        told = {name: getattr(decision, name) for name in ("findings", "alternatives", "handling", "clocks")}
        key = (caller.client_id, ids.new_id(), decision.outcome, terms.policy.number)
        await self.ask("check", *key[:2], caller.id, *key[2:], at, at, caller.role, caller.id, body, told)
        named = dict(zip(("client_id", "id", "outcome", "policy_version"), key, strict=True))
        return answer(named | {"as_of": at, "created_at": at} | told, 201)

    def act(self, do: Callable[[Case, Json], list[Event]]) -> Callable[[Request], Awaitable[Response]]:
        """Return the route of an act: read, decide, write."""

        async def acted(request: Request) -> Response:
            body = json.loads(await request.body()) | {"message_id": ids.new_id()}
            found, terms, caller, at = await self.found(request)
            happened = fold.numbered(found, do(passing.case_of(found, terms, actor=caller, now=at), body))
            changed = fold.fold(found, happened)
            key = (found.client_id, found.id)
            await self.ask("save", *story(changed, happened, terms), *key, *stored(changed, SAVED))
            if do is not reply:
                return answer(ticket_told(changed, terms, caller, at), 200, changed.version)
            said = {"id": body["message_id"], "visibility": "public", "text": body["text"], "at": at}
            return answer(said | {"author": {"role": caller.role, "id": caller.id}}, 201, changed.version)

        return acted

    @asynccontextmanager
    async def running(self, _app: Router) -> AsyncIterator[None]:
        """Hold the connections, and know the terms."""
        settings = {"timezone": "UTC", "synchronous_commit": "on", "jit": "off"}
        self.free = asyncio.LifoQueue()
        opened = []
        for _ in range(8):
            opened.append(
                connection := await asyncpg.connect(os.environ["FLOOR_DATABASE_URL"], server_settings=settings)
            )
            await connection.set_type_codec(
                "jsonb",
                encoder=lambda value: b"\x01" + to_json(value),
                decoder=lambda found: json.loads(bytes(found)[1:]),
                schema="pg_catalog",
                format="binary",
            )
            self.free.put_nowait({name: await connection.prepare(text) for name, text in SQL.items()})
        self.book = Book(opened[0])
        await self.book.read()
        yield
        for connection in opened:
            await connection.close()


def now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


def reply(case: Case, body: Json) -> list[Event]:
    """Say something."""
    return talk.reply(case, message_id=body["message_id"], text=body["text"])


def main() -> None:
    """Serve on a port."""
    floor = Floor()
    done: dict[str, Callable[[Case, Json], list[Event]]] = {
        "messages": reply,
        "prioritize": lambda case, body: triage.prioritize(
            case, priority=Priority(body["priority"]), reason=body["reason"]
        ),
        "escalate": lambda case, body: levels.escalate(case, reason=body["reason"]),
        "deescalate": lambda case, body: levels.deescalate(case, reason=body["reason"]),
    }
    routes = [
        Route("/v1/tickets/{id}", floor.read),
        Route("/v1/tickets", floor.page),
        Route("/v1/tickets", floor.create, methods=["POST"]),
        *(Route(f"/v1/tickets/{{id}}/{name}", floor.act(do), methods=["POST"]) for name, do in done.items()),
        Route("/v1/tickets/{id}/clocks", floor.clocks),
        Route("/v1/eligibility-checks", floor.check, methods=["POST"]),
        Route("/readyz", lambda _request: Response()),
    ]
    options = {"loop": "uvloop", "http": "httptools", "ws": "none", "log_level": "warning", "access_log": False}
    app = Router(routes, lifespan=floor.running)
    uvicorn.run(app, port=int(sys.argv[1]), server_header=False, **options)  # type: ignore[arg-type]  # options of many types


if __name__ == "__main__":
    main()
