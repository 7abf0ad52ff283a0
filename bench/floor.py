"""The floor: the same answers with the least there can be around them: `python -m bench.floor PORT`.

Starlette, asyncpg and SQL by hand around the domain layer, on the service's own database (`FLOOR_DATABASE_URL`, as the
superuser), with the same rows written as durably. It believes `X-Floor-Caller: <role> <client or -> <person>` and
validates nothing; it has no credentials, row-level security, idempotency, limits or log. Left out besides, as no load
asks for it: staff's pages, filters, refusals, lost races, a client's word that reopens.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
from app.domain import clocks, eligibility, events, fold, passing, policy
from app.domain import ticket as life
from app.domain.acts import intake, levels, talk, triage
from app.domain.calendar import Base
from app.domain.clocks import SECOND, Cycle
from app.domain.events import CLIENTS, Actor, Event
from app.domain.policy import Clock, Priority, Terms
from app.domain.ticket import Case, Details, Ticket

Json: TypeAlias = dict[str, Any]
Do: TypeAlias = Callable[[Case, Json], list[Event]]
READERS: Final[dict[str, Any]] = {
    "channel": policy.Channel, "category": policy.Category, "requested_priority": Priority, "priority": Priority,
    "priority_source": life.PrioritySource, "complexity": life.Complexity, "status": life.Status,
    "resolution": life.Resolution,
    "details": lambda found: Details(**found), "warnings": tuple, "tags": tuple, "rules_applied": tuple,
    "waits": clocks.pauses_from_json,
}  # fmt: skip
TOLD: Final = (
    "id", "client_id", "contact_id", "ref", "channel", "category", "subject", "description", "details",
    "outage_statement", "asset_id", "service", "follow_up_of", "eligibility_check_id", "requested_priority",
    "priority", "priority_source", "complexity", "level", "status", "emergency", "answered", "late_logged",
    "policy_version", "warnings", "received_at", "created_at",
)  # fmt: skip
ADDED: Final = (*TOLD, "last_event_at", "acknowledged_at", "last_number", "version")
SAVED: Final = (
    "priority", "priority_source", "outage_statement", "level", "status", "emergency", "last_event_at",
    "acknowledged_at", "assignee_id", "assignee_level", "waits", "reminded_at", "rules_applied", "last_number",
    "version",
)  # fmt: skip
SHOWN: Final = (
    *TOLD, "acknowledged_at", "late_reclassification", "escalation_requested_at", "waiting_since", "resolution",
    "resolved_at", "closed_at", "disputed", "version",
)  # fmt: skip
PLAIN: Final = tuple(field.name for field in fields(Ticket) if field.name not in {*READERS, "cycles", "feedback"})
WHEN: Final = {
    "now": "The desk is open.",
    "emergency": "The desk is closed: help is limited to critical issues, and the people on call are told.",
    "next_opening": "The desk is closed: your ticket is looked at when it opens again.",
}
TEXT: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
SQL: Final = {name: text for name, _, text in (part.partition("\n") for part in TEXT.split("\n-- ")[1:])}


def caller_of(request: Request) -> Actor:
    """Believe who asks."""
    role, client, person = request.headers["x-floor-caller"].split(" ")
    return Actor(events.Role(role), UUID(person), None if client == "-" else UUID(client), 3)


def answer(told: Json, status: int = 200, version: int | None = None) -> Response:
    """Write JSON."""
    return Response(to_json(told), status, {"etag": f'"{version}"'} if version else None, "application/json")


def cycle_of(row: Mapping[str, Any]) -> Cycle:
    """Read a cycle."""
    return Cycle(
        Clock(row["clock"]), row["cycle"], policy.Kind(row["kind"]), row["clause"],
        timedelta(seconds=row["target_seconds"]), Base(row["base"]), tuple(row["warn_at"]), Base(row["warn_base"]),
        row["calendar_revision"], row["started_at"], row["due_at"], clocks.pauses_from_json(row["pauses"]),
        row["warned"], row["detected_at"], row["ended_at"], row["end_reason"] and clocks.EndReason(row["end_reason"]),
    )  # fmt: skip


def ticket_of(row: Mapping[str, Any]) -> Ticket:
    """Read a ticket."""
    shaped = {name: row[name] if row[name] is None else read(row[name]) for name, read in READERS.items()}
    return Ticket(**{name: row[name] for name in PLAIN}, **shaped, cycles=tuple(map(cycle_of, row["cycles"])))


def clock_told(cycle: Cycle, terms: Terms, at: datetime) -> Json:
    """Write a cycle at an instant."""
    calendar = terms.calendar_of(cycle.calendar_revision)
    return {
        "clock": cycle.clock, "cycle": cycle.number, "kind": cycle.kind, "clause": cycle.clause,
        "state": cycle.state(at), "target_seconds": -(-cycle.target // SECOND), "base": cycle.base,
        "started_at": cycle.started_at, "due_at": cycle.due_at, "met_at": cycle.met_at, "ended_at": cycle.ended_at,
        "remaining_seconds": -(-cycle.remaining(at, calendar) // SECOND), "end_reason": cycle.end_reason,
        "counting_now": cycle.counting(at, calendar), "next_change_at": cycle.next_change_at(at, calendar),
        "broken_at": cycle.broken_at(at), "detected_at": cycle.detected_at,
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
    case, house = passing.case_of(found, terms, actor=viewer, now=at), viewer.role not in CLIENTS
    runs, handling = [clock_told(each, terms, at) for each in found.cycles], None
    changes = [run["next_change_at"] for run in runs if run["next_change_at"]]
    changes += [instant for instant in passing.service_at(found, terms) if instant > at]
    if found.running(Clock.ACKNOWLEDGEMENT):
        opens, closes = terms.calendar.next_open(at), terms.calendar.next_close(at)
        changes += [turn for turn in [closes if opens == at else opens] if turn]
        when = eligibility.handling(terms, at, emergency=found.emergency)
        handling = {"mode": when.mode, "starts_at": when.starts_at, "message": WHEN[when.mode]}
    expected = found.running(Clock.EXPECTED_RESOLUTION)
    return {name: getattr(found, name) for name in SHOWN} | {
        "updated_at": found.last_event_at, "as_of": at, "handling": handling, "tags": found.tags if house else (),
        "assignee_id": found.assignee_id if house else None, "clocks": runs, "allowed_acts": life.allowed(case),
        "expected_resolution_at": expected.due_at if expected else None, "next_change_at": min(changes, default=None),
        "reopens_until": case.reopens_until if found.status is life.Status.RESOLVED else None,
    }  # fmt: skip


def kept(
    before: Ticket | None, found: Ticket, happened: tuple[Event, ...], terms: Terms, names: tuple[str, ...]
) -> list[Any]:
    """Return what is written: cycles, events, when time acts next, and columns of the ticket."""
    whose = {"client_id": found.client_id, "ticket_id": found.id}
    story = tickets.story(before, found, happened, passing.next_at(found, terms), terms.revision)
    columns = {name: getattr(found, name) for name in names} | {"waits": clocks.pauses_json(found.waits)}
    return [[{**cycle, **whose} for cycle in story.cycles], story.happened, story.next_at, *map(columns.get, names)]


class Floor:
    """The routes, on connections that each have every statement prepared."""

    book: Book
    free: asyncio.LifoQueue[Json]

    async def ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401  # records
        """Run a statement on the connection that was free last."""
        prepared = await self.free.get()
        try:
            return await prepared[name].fetch(*arguments)
        finally:
            self.free.put_nowait(prepared)

    async def found(self, request: Request) -> tuple[Ticket, Terms, Actor, datetime]:
        """Read the ticket that a request is about."""
        (row,) = await self.ask("read", UUID(request.path_params["id"]))
        found, at = ticket_of(row), datetime.now(UTC)
        return found, await self.book.of(found.policy_version, found.calendar_revision), caller_of(request), at

    async def read(self, request: Request) -> Response:
        """Read a ticket, or the traces of its promises."""
        found, terms, caller, at = await self.found(request)
        known = passing.known_by(found, terms, at)
        if not request.url.path.endswith("/clocks"):
            return answer(ticket_told(known, terms, caller, at), version=found.version)
        zone = {"as_of": at, "timezone": terms.calendar.timezone, "tzdata": terms.calendar.tzdata}
        return answer(zone | {"clocks": [traced(cycle, terms, at) for cycle in known.cycles]}, version=found.version)

    async def page(self, request: Request) -> Response:
        """List a contact's tickets."""
        caller, at, most = caller_of(request), datetime.now(UTC), 50
        rows = await self.ask("page", at, caller.client_id, caller.id, most + 1)
        more = f"{rows[most - 1]['created_at']}~{rows[most - 1]['id']}" if len(rows) > most else None
        return answer({"items": [dict(row) for row in rows[:most]], "next_cursor": more, "as_of": at})

    async def judged(self, request: Request) -> tuple[Any, ...]:
        """Judge a request by the facts of its client."""
        caller, body, at = caller_of(request), json.loads(await request.body()), datetime.now(UTC)
        (row,) = await self.ask("facts", caller.client_id, caller.id)
        asked = eligibility.Request(
            policy.Channel(body["channel"]), policy.Category(body["category"]),
            Priority(body.get("requested_priority", "normal")),
            description=body["description"], details=Details(**body["details"]),
        )  # fmt: skip
        facts = eligibility.Facts(asked, read_agreements(row["agreements"]), read_contact(row["contact"]))
        terms = await self.book.in_force(at)
        return caller, body, at, row["number"], asked, terms, eligibility.check(facts, terms, at)

    async def create(self, request: Request) -> Response:
        """Open a ticket."""
        caller, body, at, number, asked, terms, decision = await self.judged(request)
        ref = f"KE-{at.year}-{number:06}"
        opening = intake.Opening(ids.new_id(), caller.client_id, caller.id, ref, body["subject"], asked, False, at)  # noqa: FBT003  # not answered
        happened = fold.numbered(None, intake.open_ticket(opening, decision, terms, actor=caller, now=at))
        opened = fold.fold(None, happened)
        await self.ask("add", *kept(None, opened, happened, terms, ADDED))
        return answer(ticket_told(opened, terms, caller, at), 201, 1)

    async def check(self, request: Request) -> Response:
        """Keep a decision."""
        caller, body, at, _, _, terms, decision = await self.judged(request)
        told = {name: getattr(decision, name) for name in ("findings", "alternatives", "handling", "clocks")}
        key = (caller.client_id, ids.new_id(), decision.outcome, terms.policy.number)
        await self.ask("check", *key[:2], caller.id, *key[2:], at, at, caller.role, caller.id, body, told)
        named = dict(zip(("client_id", "id", "outcome", "policy_version"), key, strict=True))
        return answer(named | {"as_of": at, "created_at": at} | told, 201)

    def act(self, do: Do) -> Callable[[Request], Awaitable[Response]]:
        """Return the route of an act: read, decide, write."""

        async def acted(request: Request) -> Response:
            body = json.loads(await request.body()) | {"message_id": ids.new_id()}
            found, terms, caller, at = await self.found(request)
            happened = fold.numbered(found, do(passing.case_of(found, terms, actor=caller, now=at), body))
            changed = fold.fold(found, happened)
            written, *_ = await self.ask(
                "save",
                *(values := kept(found, changed, happened, terms, SAVED))[:3],
                found.client_id,
                found.id,
                *values[3:],
            )
            if written and do is not reply:
                return answer(ticket_told(changed, terms, caller, at), 200, changed.version)
            said = {"id": body["message_id"], "visibility": "public", "text": body["text"], "at": at}
            return answer(said | {"author": {"role": caller.role, "id": caller.id}}, 201, changed.version)

        return acted

    @asynccontextmanager
    async def running(self, _app: Router) -> AsyncIterator[None]:
        """Hold the connections, and know the terms."""
        self.free, settings = asyncio.LifoQueue(), {"timezone": "UTC", "synchronous_commit": "on", "jit": "off"}
        opened = [await asyncpg.connect(os.environ["FLOOR_DATABASE_URL"], server_settings=settings) for _ in range(8)]
        write, read = (lambda value: b"\x01" + to_json(value)), (lambda found: json.loads(bytes(found)[1:]))
        for each in opened:
            await each.set_type_codec("jsonb", encoder=write, decoder=read, schema="pg_catalog", format="binary")
            self.free.put_nowait({name: await each.prepare(text) for name, text in SQL.items()})
            # What is only prepared leaves a transaction open, which would keep all that is dead from being taken away.
            await each.execute("SELECT 1")
        self.book = Book(opened[0])
        await self.book.read()
        yield
        for each in opened:
            await each.close()


def reply(case: Case, body: Json) -> list[Event]:
    """Say something."""
    return talk.reply(case, message_id=body["message_id"], text=body["text"])


def main() -> None:
    """Serve on a port."""
    floor, why = Floor(), lambda body: {"reason": body["reason"]}
    done: dict[str, Do] = {
        "messages": reply,
        "prioritize": lambda case, body: triage.prioritize(case, priority=Priority(body["priority"]), **why(body)),
        "escalate": lambda case, body: levels.escalate(case, **why(body)),
        "deescalate": lambda case, body: levels.deescalate(case, **why(body)),
    }
    routes = [Route(f"/v1/tickets/{{id}}/{name}", floor.act(do), methods=["POST"]) for name, do in done.items()]
    routes += [Route("/v1/tickets/{id}", floor.read), Route("/v1/tickets", floor.page)]
    routes += [Route("/v1/tickets", floor.create, methods=["POST"]), Route("/v1/tickets/{id}/clocks", floor.read)]
    routes += [Route("/v1/eligibility-checks", floor.check, methods=["POST"])]
    app, port = Router([*routes, Route("/readyz", lambda _: Response())], lifespan=floor.running), int(sys.argv[1])
    options: Json = {"loop": "uvloop", "http": "httptools", "ws": "none", "log_level": "warning", "access_log": False}
    uvicorn.run(app, port=port, server_header=False, **options)


if __name__ == "__main__":
    main()
