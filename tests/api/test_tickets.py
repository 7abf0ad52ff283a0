"""Tickets over HTTP: the answer's shape, idempotency, versions, lists, messages and what time does to them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.db import clients, idempotency, ids, statements, tickets
from app.db import events as stored_events
from app.db.clients import Contact
from app.db.policies import Book
from app.domain import fold as domain
from app.domain.events import Role
from app.domain.ticket import ActName
from app.worker import sweep
from tests.api.conftest import BY, LONG_AGO, Desk, kl, z


async def test_a_new_ticket_has_the_shape_that_others_rely_on(desk: Desk) -> None:
    response = await desk.call("standard", "POST", "/v1/tickets", desk.request())
    ticket = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/v1/tickets/{ticket['id']}"
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Cache-Control"] == "no-store"
    expected = {
        "status": "new", "priority": "normal", "requested_priority": "normal", "priority_source": "client",
        "complexity": "standard", "level": 1, "emergency": False, "policy_version": 1, "version": 1,
        "received_at": z("2026-01-05 10:00:00"), "as_of": z("2026-01-05 10:00:00"), "warnings": [],
    }  # fmt: skip
    assert {name: ticket[name] for name in expected} == expected
    assert ticket["ref"].startswith("KE-2026-")
    assert ticket["clocks"][0] == {
        "clock": "acknowledgement", "cycle": 1, "kind": "commitment", "clause": "response.initial", "state": "running",
        "target_seconds": 7200, "base": "business_hours", "started_at": z("2026-01-05 10:00:00"),
        "due_at": z("2026-01-05 12:00:00"), "remaining_seconds": 7200, "counting_now": True,
        "next_change_at": "2026-01-05T04:00:00.000001Z", "met_at": None, "broken_at": None, "detected_at": None,
        "ended_at": None, "end_reason": None,
    }  # fmt: skip
    assert ticket["allowed_acts"] == ["reply", "prioritize", "request-escalation", "withdraw", "amend"]


async def test_a_ticket_is_found_by_its_ref_too(desk: Desk) -> None:
    ticket = await desk.open()
    for ref in (ticket["ref"], ticket["ref"].lower()):
        assert (await desk.get("standard", f"/v1/tickets/{ref}"))["id"] == ticket["id"]


async def test_remaining_time_is_in_the_clocks_own_base_and_rounded_up(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.at("2026-01-05 10:00:00.000001")
    assert (await desk.clock(ticket))["remaining_seconds"] == 7200
    await desk.at("2026-01-05 11:59:59.5")
    assert (await desk.clock(ticket))["remaining_seconds"] == 1
    await desk.at("2026-01-08 11:00:00")
    assert (await desk.clock(ticket))["remaining_seconds"] == 0


async def test_acts_say_what_is_open_and_why_the_rest_is_not(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/acts"
    assert (await desk.get("agent", path))["allowed"][:3] == ["acknowledge", "reply", "note"]
    mine = await desk.get("standard", path)
    assert mine["allowed"] == ["reply", "prioritize", "request-escalation", "withdraw", "amend"]
    refused = {act["act"]: act["code"] for act in mine["forbidden"]}
    assert (refused["acknowledge"], refused["note"]) == ("act_forbidden", "act_forbidden")
    assert (refused["reopen"], refused["dispute"]) == ("act_not_allowed", "act_not_allowed")
    assert set(refused) | set(mine["allowed"]) == set(ActName)
    await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    assert (await desk.get("agent", path))["forbidden"][0]["code"] == "act_not_allowed"


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("agent", 200, None),
        ("agent2", 200, None),
        ("lead", 200, None),
        ("admin", 200, None),
        ("standard", 403, "act_forbidden"),
        ("automation", 403, "act_forbidden"),
        ("auditor", 403, "forbidden"),
        ("premium", 404, "not_found"),
    ],
)
async def test_only_a_person_of_staff_acknowledges(desk: Desk, who: str, status: int, code: str | None) -> None:
    ticket = await desk.open()
    response = await desk.call(who, "POST", f"/v1/tickets/{ticket['id']}/acknowledge", {"text": "Hello"})
    assert (response.status_code, response.json().get("code")) == (status, code)


async def test_a_second_acknowledgement_is_not_allowed_and_says_what_is(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    again = await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    assert (again.status_code, again.json()["code"]) == (409, "act_not_allowed")
    assert "acknowledge" not in again.json()["allowed_acts"]
    assert again.json()["allowed_acts"][:2] == ["reply", "note"]


async def test_the_first_public_word_of_staff_is_the_acknowledgement(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    await desk.call("agent", "POST", f"{path}/messages", {"text": "Internal.", "visibility": "internal"})
    assert (await desk.get("agent", path))["status"] == "new"
    await desk.call("automation", "POST", f"{path}/messages", {"text": "Deployed.", "visibility": "internal"})
    assert (await desk.get("agent", path))["status"] == "new"
    await desk.call("standard", "POST", f"{path}/messages", {"text": "Any news?"})
    assert (await desk.get("agent", path))["status"] == "new"
    sent = await desk.call("agent2", "POST", f"{path}/messages", {"text": "We are on it."})
    assert sent.status_code == 201
    assert (await desk.get("agent", path))["status"] == "open"
    assert (await desk.clock(ticket))["state"] == "met"


async def test_a_contact_never_sees_what_is_internal(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    await desk.call("agent", "POST", f"{path}/messages", {"text": "canary-7f3a", "visibility": "internal"})
    await desk.at("2026-01-05 11:30:00")
    await desk.sweep()
    for address in (path, f"{path}/messages", f"{path}/events", f"{path}/clocks", f"{path}/acts", "/v1/tickets"):
        text = (await desk.call("standard", "GET", address)).text
        assert "canary-7f3a" not in text
        assert "clock.warned" not in text
    assert "canary-7f3a" in (await desk.call("agent", "GET", f"{path}/messages")).text


async def test_messages_come_in_their_order_with_their_authors(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/messages"
    await desk.call("standard", "POST", path, {"text": "First\nwith two lines"})
    await desk.call("agent", "POST", path, {"text": "Second"})
    found = (await desk.get("standard", path))["items"]
    assert [(item["text"], item["author"]["role"]) for item in found] == [
        ("First\nwith two lines", "contact"),
        ("Second", "agent"),
    ]


async def test_the_same_key_brings_the_same_answer_and_one_ticket(desk: Desk) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
    await desk.at("2026-01-05 10:30:00")
    again = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await desk.call("standard", "POST", "/v1/tickets", desk.request(subject="Other"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    foreign = await desk.call("premium", "POST", "/v1/tickets", desk.request(), headers=headers)
    assert foreign.status_code == 201
    assert len((await desk.get("agent", "/v1/tickets"))["items"]) == 2


async def test_twenty_twins_at_once_have_one_effect(desk: Desk) -> None:
    headers = {"Idempotency-Key": "twins"}
    answers = await asyncio.gather(
        *(desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers) for _ in range(20))
    )
    assert {response.status_code for response in answers} == {201}
    assert len({response.content for response in answers}) == 1
    assert len((await desk.get("agent", "/v1/tickets"))["items"]) == 1


async def test_an_act_with_a_key_is_done_once(desk: Desk) -> None:
    ticket = await desk.open()
    path, headers = f"/v1/tickets/{ticket['id']}/acknowledge", {"Idempotency-Key": "a"}
    first = await desk.call("agent", "POST", path, {}, headers=headers)
    second = await desk.call("agent", "POST", path, {}, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert len(await desk.events(ticket, "ticket.acknowledged")) == 1


async def test_an_act_on_a_version_that_is_gone_is_refused(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    await desk.call("standard", "POST", f"{path}/messages", {"text": "More."})
    stale = await desk.call("agent", "POST", f"{path}/acknowledge", {}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    fresh = await desk.call("agent", "POST", f"{path}/acknowledge", {}, headers={"If-Match": '"2"'})
    assert (fresh.status_code, fresh.headers["ETag"]) == (200, '"3"')


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"1", "2"', 200),
        ('"77","1"', 200),
        ("*", 200),
        ('"2"', 412),
        ('W/"1"', 412),
        ("1", 422),
        ('"1', 422),
        ('"1",', 422),
    ],
)
async def test_if_match_takes_a_list_of_tags_and_names_a_wrong_one(desk: Desk, tags: str, status: int) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/acknowledge"
    response = await desk.call("agent", "POST", path, headers={"If-Match": tags})
    assert response.status_code == status
    if status == 422:
        assert response.json()["errors"][0]["pointer"] == "/header/if-match"


async def test_a_ticket_says_when_anything_of_it_changes_next(desk: Desk) -> None:
    ticket = await desk.open(requested_priority="critical", outage_statement="All is down.")
    assert ticket["next_change_at"] == "2026-01-05T04:00:00.000001Z"
    await desk.at("2026-01-05 13:00:00")
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["next_change_at"] == z("2026-01-05 18:00:00")
    await desk.at("2026-01-05 18:00:00")
    found = await desk.get("standard", f"/v1/tickets/{ticket['id']}")
    assert (found["emergency"], found["handling"]["mode"]) == (True, "emergency")
    assert found["next_change_at"] == z("2026-01-06 09:00:00")


async def test_writers_at_once_lose_no_word(desk: Desk) -> None:
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}/messages"
    answers = await asyncio.gather(*(desk.call("agent", "POST", path, {"text": f"word {n}"}) for n in range(8)))
    kept = {item["text"] for item in (await desk.get("agent", path))["items"]}
    said = {response.json()["text"] for response in answers if response.status_code == 201}
    assert {response.status_code for response in answers} <= {201, 409}
    assert kept == said
    assert said


async def test_staff_may_say_when_a_request_was_received(desk: Desk) -> None:
    party = desk.parties["standard"]
    body = desk.request(client_id=str(party.client_id), contact_id=str(party.contact_id))
    for who, wall, expected in (
        ("agent", "2026-01-05 10:00:01", "in_the_future"),
        ("agent", "2025-12-29 09:59:59", "too_far_back"),
    ):
        response = await desk.call(who, "POST", "/v1/tickets", body | {"received_at": kl(wall).isoformat()})
        assert response.status_code == 422
        assert response.json()["errors"] == [
            {"pointer": "/received_at", "code": expected, "message": response.json()["errors"][0]["message"]}
        ]
    mine = await desk.call("standard", "POST", "/v1/tickets", desk.request(received_at="2026-01-05T01:00:00Z"))
    assert mine.json()["errors"][0]["code"] == "not_yours"
    await desk.at("2026-01-08 10:00:00")
    ticket = (
        await desk.call("agent", "POST", "/v1/tickets", body | {"received_at": kl("2026-01-05 10:00").isoformat()})
    ).json()
    assert [(clock["clock"], clock["state"]) for clock in ticket["clocks"]] == [
        ("acknowledgement", "breached"),
        ("resolution", "overdue"),
    ]
    assert len(await desk.events(ticket, "clock.broken")) == 2


async def test_a_follow_up_names_a_ticket_of_the_same_client(desk: Desk) -> None:
    ticket = await desk.open()
    assert (await desk.open(follow_up_of=ticket["id"]))["follow_up_of"] == ticket["id"]
    foreign = await desk.call("premium", "POST", "/v1/tickets", desk.request(follow_up_of=ticket["id"]))
    assert foreign.json()["errors"][0]["pointer"] == "/follow_up_of"


async def test_pages_follow_each_other_without_gap_or_repeat(desk: Desk) -> None:
    made = [await desk.open(subject=f"Ticket {n}") for n in range(7)]
    seen: list[str] = []
    path: str | None = "/v1/tickets?limit=3&status=new,open"
    while path:
        response = await desk.call("standard", "GET", path)
        page = response.json()
        seen += [item["id"] for item in page["items"]]
        link = response.headers.get("Link")
        assert (link is None) == (page["next_cursor"] is None)
        path = link.split(">")[0].lstrip("<") if link else None
    assert seen == [ticket["id"] for ticket in reversed(made)]


async def test_a_cursor_fits_only_its_own_list_and_cannot_be_made(desk: Desk) -> None:
    for n in range(3):
        await desk.open(subject=f"Ticket {n}")
    cursor = (await desk.get("standard", "/v1/tickets?limit=1"))["next_cursor"]
    for path in (
        f"/v1/tickets?limit=1&status=new&cursor={cursor}",
        f"/v1/eligibility-checks?cursor={cursor}",
        f"/v1/tickets?cursor={cursor[:-4]}AAAA",
        "/v1/tickets?cursor=nonsense",
    ):
        response = await desk.call("standard", "GET", path)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor")


async def test_filters_narrow_the_list(desk: Desk) -> None:
    quiet = await desk.open(requested_priority="low")
    loud = await desk.open(requested_priority="high")
    await desk.call("agent", "POST", f"/v1/tickets/{loud['id']}/acknowledge")
    await desk.at("2026-01-05 12:30:00")

    async def listed(query: str) -> list[str]:
        return [item["id"] for item in (await desk.get("agent", f"/v1/tickets?{query}"))["items"]]

    assert await listed("status=new") == [quiet["id"]]
    assert await listed("priority=high,critical") == [loud["id"]]
    assert await listed("broken=true") == [quiet["id"]]
    assert await listed("broken=false") == [loud["id"]]
    assert await listed("due_before=2026-01-06T10:00:00%2B08:00") == []
    assert await listed("due_before=2026-01-06T10:00:01%2B08:00") == [loud["id"], quiet["id"]]
    assert await listed("emergency=true") == []
    assert await listed(f"client_id={desk.parties['premium'].client_id}") == []
    item = (await desk.get("agent", "/v1/tickets?status=new"))["items"][0]
    assert (item["broken"], item["next_clock"], item["next_due_at"]) == (True, "resolution", z("2026-01-06 10:00:00"))


async def test_a_page_includes_what_each_ticket_tells_by_itself(desk: Desk) -> None:
    mine, asked, closed, _theirs = [await desk.open() for _ in range(3)] + [await desk.open("premium")]
    await desk.act("agent", asked, "classify", complexity="complex", reason="Deep.")
    await desk.act("agent", asked, "request-details", text="Which page?")
    await desk.act("agent", closed, "resolve", resolution="fixed", text="Done.")
    # By now a rule has its say on one of them, and nobody has noted it.
    await desk.at("2026-01-05 12:30:00")
    ours = [closed["id"], asked["id"], mine["id"]]
    for who, count in (("standard", 3), ("premium", 1), ("agent", 4), ("lead", 4), ("auditor", 4)):
        items = (await desk.get(who, "/v1/tickets?include=clocks,acts"))["items"]
        assert len(items) == count
        assert who != "standard" or [item["id"] for item in items] == ours
        for item in items:
            one = await desk.get(who, f"/v1/tickets/{item['id']}?include=clocks,acts")
            assert (item["clocks"], item["allowed_acts"]) == (one["clocks"], one["allowed_acts"])
    bare = {"clocks": None, "allowed_acts": None}
    for query, named in (("", set()), ("?include=clocks", {"clocks"}), ("?include=acts", {"allowed_acts"})):
        for item in (await desk.get("standard", f"/v1/tickets{query}"))["items"]:
            assert {name for name in bare if item[name] is not None} == named
            assert all(item[name] for name in named)


async def test_a_page_fetches_more_of_its_tickets_only_where_that_is_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await desk.open() for _ in range(3)]
    asked: list[list[str]] = []

    async def whole(via: Any, wanted: Any, scope: Any, ask: Any = tickets.whole) -> Any:
        asked.append([str(each) for each in wanted])
        return await ask(via, wanted, scope)

    monkeypatch.setattr(tickets, "whole", whole)
    assert len((await desk.get("standard", "/v1/tickets?limit=2"))["items"]) == 2
    assert asked == []
    page = await desk.call("standard", "GET", "/v1/tickets?include=acts&limit=2")
    following = page.headers["Link"].split(">")[0].lstrip("<")
    assert (await desk.get("standard", following))["items"][0]["allowed_acts"] == made[0]["allowed_acts"]
    assert asked == [[made[2]["id"], made[1]["id"]], [made[0]["id"]]]


async def test_tickets_are_fetched_whole_within_the_scope_alone(desk: Desk) -> None:
    mine, theirs = await desk.open(), await desk.open("premium")
    wanted, party = [UUID(mine["id"]), UUID(theirs["id"])], desk.parties["standard"]
    for scope, found in (
        (tickets.Scope(party.client_id, party.contact_id), {mine["id"]}),
        (tickets.Scope(party.client_id), {mine["id"]}),
        (tickets.Scope(party.client_id, ids.new_id()), set()),
        (tickets.Scope(), {mine["id"], theirs["id"]}),
    ):
        assert {str(ticket.id) for ticket in await tickets.whole(desk.pool, wanted, scope)} == found


@pytest.mark.parametrize("value", ["", "trace", "clocks,", "clocks,trace", "clocks, acts", "CLOCKS"])
async def test_only_what_there_is_can_be_included(desk: Desk, value: str) -> None:
    ticket = await desk.open()
    for path in ("/v1/tickets", f"/v1/tickets/{ticket['id']}"):
        response = await desk.call("standard", "GET", path, params={"include": value})
        told = [(error["pointer"], error["code"]) for error in response.json()["errors"]]
        assert (response.status_code, told) == (422, [("/query/include", "unknown_value")])


async def test_a_page_that_includes_more_is_shorter(desk: Desk) -> None:
    for query, status in (("limit=51", 200), ("include=acts&limit=50", 200), ("include=acts", 200)):
        assert (await desk.call("standard", "GET", f"/v1/tickets?{query}")).status_code == status
    for query in ("include=acts&limit=51", "include=clocks,acts&limit=200"):
        response = await desk.call("standard", "GET", f"/v1/tickets?{query}")
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/query/limit")


async def test_the_stored_row_is_the_fold_of_its_events(desk: Desk) -> None:
    ticket = await desk.open(requested_priority="critical", outage_statement="All is down.")
    path = f"/v1/tickets/{ticket['id']}"
    await desk.at("2026-01-05 11:30:00")
    await desk.sweep()
    await desk.call("standard", "POST", f"{path}/messages", {"text": "Any news?"})
    await desk.at("2026-01-05 12:30:00")
    await desk.call("agent", "POST", f"{path}/acknowledge", {"text": "Sorry for the wait."})
    await desk.at("2026-01-07 12:30:00")
    await desk.sweep()
    stored = await tickets.get(desk.pool, None, ticket["ref"], tickets.Scope())
    assert stored is not None
    told = await stored_events.of_ticket(desk.pool, stored.client_id, stored.id, 0, stored_events.Selection(), 1000)
    assert domain.fold(None, told) == stored


async def due_clocks(desk: Desk, count: int) -> None:
    """Tickets whose acknowledgement and resolution are both overdue and undetected."""
    for _ in range(count):
        await desk.open()
    await desk.at("2026-01-08 10:00:00")


async def broken_events(desk: Desk) -> int:
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM events WHERE kind = 'clock.broken'"))
    finally:
        await connection.close()


async def sweeps_at_once(desk: Desk) -> None:
    now = kl("2026-01-08 10:00:00")
    await asyncio.gather(*(sweep.run(desk.pool, Book(desk.pool), now) for _ in range(3)))


async def test_three_sweeps_at_once_over_two_hundred_due_clocks_leave_two_hundred_events(desk: Desk) -> None:
    await due_clocks(desk, 100)
    await sweeps_at_once(desk)
    assert await broken_events(desk) == 200


async def test_without_the_guard_they_leave_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the lock and the version taken out of the statements, by this test alone."""
    # A statement is compiled when it is first needed; what isn't there can't be changed.
    await desk.open()
    await sweeps_at_once(desk)
    assert await broken_events(desk) == 2
    await due_clocks(desk, 100)

    def unguarded(statement: Any, *cuts: str) -> None:
        for compiled in statement.variants.values():
            text = compiled.text
            for cut in cuts:
                assert cut in text
                text = text.replace(cut, "")
            monkeypatch.setattr(compiled, "text", text)

    unguarded(tickets.lock_due, " FOR UPDATE OF tickets SKIP LOCKED")
    for compiled in tickets.save.variants.values():
        before, _, after = compiled.text.partition(" AND tickets.version = ")
        # The value goes on to be given, so its place stays in the text, where it decides nothing.
        version, found, rest = after.partition(" AND NOT ")
        assert found
        monkeypatch.setattr(compiled, "text", f"{before} AND {version} IS NOT NULL{found}{rest}")
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    await connection.execute("ALTER TABLE events DROP CONSTRAINT uq_events_ticket_id_number")
    try:
        await sweeps_at_once(desk)
        assert await broken_events(desk) > 202
    finally:
        await connection.execute("TRUNCATE events")
        await connection.execute(
            "ALTER TABLE events ADD CONSTRAINT uq_events_ticket_id_number UNIQUE (ticket_id, number)"
        )
        await connection.close()


def outrun(monkeypatch: pytest.MonkeyPatch, others: Callable[[], Awaitable[Any]]) -> None:
    """Let others do something between the reading and the writing of the next act."""
    save = tickets.save

    async def racing(*args: Any) -> bool:
        monkeypatch.setattr(tickets, "save", save)
        await others()
        return await save(*args)

    monkeypatch.setattr(tickets, "save", racing)


async def test_a_lost_race_is_decided_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that moves on between reading and writing is read again: nothing is overwritten."""
    ticket = await desk.open()
    path = f"/v1/tickets/{ticket['id']}"
    outrun(monkeypatch, lambda: desk.say("standard", ticket, "in between"))
    response = await desk.call("agent", "POST", f"{path}/acknowledge", {})
    assert (response.status_code, response.headers["ETag"]) == (200, '"3"')
    kinds = [event["kind"] for event in await desk.events(ticket)]
    assert kinds[-3:] == ["message.received", "ticket.acknowledged", "clock.met"]


async def test_a_clients_word_reopens_what_was_resolved_while_it_was_on_its_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "acknowledge")
    outrun(monkeypatch, lambda: desk.act("agent", ticket, "resolve", resolution="fixed", text="Mended."))
    await desk.say("standard", ticket, "It is still broken.")
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["status"] == "open"


async def test_an_unreachable_database_is_said_so_and_may_be_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise statements.DatabaseUnavailableError

    monkeypatch.setattr(tickets, "get", broken)
    response = await desk.call("agent", "GET", "/v1/tickets/KE-2026-000001")
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response.headers["Retry-After"] == "1"


async def test_only_staff_say_that_a_call_was_answered_and_only_of_a_call(desk: Desk) -> None:
    party = desk.parties["standard"]
    whose = {"client_id": str(party.client_id), "contact_id": str(party.contact_id)}
    for who, fields, code in (
        ("automation", {"channel": "email", "answered": True}, "not_yours"),
        ("automation", {"channel": "email", "answered": False}, "not_yours"),
        ("agent", {"channel": "portal", "answered": True}, "not_a_call"),
    ):
        response = await desk.call(who, "POST", "/v1/tickets", desk.request(**whose, **fields))
        assert (response.status_code, response.json()["errors"][0]["code"]) == (422, code)
        assert response.json()["errors"][0]["pointer"] == "/answered"
    assert (await desk.open("agent", **whose, answered=False))["status"] == "new"


async def test_a_key_is_kept_by_the_machines_clock_whatever_the_test_clock_says(desk: Desk) -> None:
    await desk.at("2026-01-01 00:00:00")
    headers = {"Idempotency-Key": "past"}
    first = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
    await idempotency.forget(desk.pool, datetime.now(UTC) - timedelta(hours=24))
    again = await desk.call("standard", "POST", "/v1/tickets", desk.request(), headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_twins_that_acknowledge_at_once_get_the_same_answer(desk: Desk) -> None:
    ticket = await desk.open()
    path, headers = f"/v1/tickets/{ticket['id']}/acknowledge", {"Idempotency-Key": "twins"}
    answers = await asyncio.gather(*(desk.call("agent", "POST", path, {}, headers=headers) for _ in range(10)))
    assert {response.status_code for response in answers} == {200}
    assert len({response.content for response in answers}) == 1
    assert len(await desk.events(ticket, "ticket.acknowledged")) == 1


@pytest.mark.parametrize(
    ("wall", "priority", "mode", "starts"),
    [
        ("2026-01-05 10:00:00", "normal", "now", "2026-01-05 10:00:00"),
        ("2026-01-10 12:00:00", "normal", "next_opening", "2026-01-12 09:00:00"),
        ("2026-01-10 12:00:00", "critical", "emergency", "2026-01-10 12:00:00"),
    ],
)
async def test_the_answer_says_when_somebody_looks_until_somebody_has(
    desk: Desk, wall: str, priority: str, mode: str, starts: str
) -> None:
    await desk.at(wall)
    ticket = await desk.open(requested_priority=priority, outage_statement="The whole site is down for everybody.")
    assert (ticket["handling"]["mode"], ticket["handling"]["starts_at"]) == (mode, z(starts))
    assert ("limited" in ticket["handling"]["message"]) == (mode == "emergency")
    seen = await desk.call("agent", "POST", f"/v1/tickets/{ticket['id']}/acknowledge")
    assert seen.json()["handling"] is None


async def test_an_emergency_is_shown_before_the_worker_has_noted_it(desk: Desk) -> None:
    await desk.at("2026-01-05 17:55:00")
    ticket = await desk.open(requested_priority="critical", outage_statement="All is down.")
    await desk.at("2026-01-05 18:00:00")
    assert (await desk.get("standard", f"/v1/tickets/{ticket['id']}"))["emergency"] is True
    assert await desk.events(ticket, "ticket.emergency") == []


@pytest.mark.parametrize("name", ["%00", "KE-2026-%00", "KE-2026-1", "a%00b", "%F0%9F%92%A9", "KE-2026-" + "9" * 40])
async def test_a_name_that_is_none_is_not_found(desk: Desk, name: str) -> None:
    for path in ("", "/clocks", "/events", "/acts", "/messages"):
        response = await desk.call("agent", "GET", f"/v1/tickets/{name}{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_follow_up_goes_by_id_or_ref_among_the_tickets_one_may_know_of(desk: Desk) -> None:
    party = desk.parties["standard"]
    colleague = ids.new_id()
    stamp = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "version": 1}
    person = Contact(
        client_id=party.client_id, id=colleague, external_id="colleague", name="A colleague",
        email="colleague@client.example", phone=None, role=Role.CONTACT, confirmed_at=None, bounced_at=None, **stamp,
    )  # fmt: skip
    await clients.people.add(desk.pool, person, None, BY)
    await desk.key("colleague", Role.CONTACT, client_id=party.client_id, contact_id=colleague)
    mine, theirs = await desk.open(), await desk.open("colleague")
    assert (await desk.open(follow_up_of=mine["ref"]))["follow_up_of"] == mine["id"]
    for name in (theirs["id"], theirs["ref"], "KE-2026-999999", str(ids.new_id()), "nonsense", "\x01"):
        response = await desk.call("standard", "POST", "/v1/tickets", desk.request(follow_up_of=name))
        assert response.status_code == 422
        assert response.json()["errors"][0]["code"] == "unknown_ticket"
    whole = await desk.open(
        "agent", client_id=str(party.client_id), contact_id=str(party.contact_id), follow_up_of=theirs["ref"]
    )
    assert whole["follow_up_of"] == theirs["id"]


async def test_a_page_says_at_which_instant_it_holds(desk: Desk) -> None:
    await desk.open()
    assert (await desk.get("standard", "/v1/tickets"))["as_of"] == z("2026-01-05 10:00:00")


async def test_an_act_writes_the_cycles_that_it_changes_and_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, story, written = await desk.open(), tickets.story, list[Any]()

    def noted(*given: Any) -> Any:
        found = story(*given)
        written.append([(cycle["clock"], cycle["cycle"]) for cycle in found.cycles])
        return found

    monkeypatch.setattr(tickets, "story", noted)
    for name, said in (
        ("acknowledge", {}),
        ("classify", {"complexity": "complex", "reason": "Odd."}),
        ("escalate", {"reason": "Hard."}),
    ):
        await desk.act("lead", ticket, name, **said)
    await desk.say("lead", ticket)
    await desk.act("lead", ticket, "resolve", resolution="fixed", text="It is mended.")
    assert written == [
        [("acknowledgement", 1)],
        [("resolution", 1), ("update", 1)],
        [],
        [("update", 1), ("update", 2)],
        [("update", 2)],
    ]


async def test_one_ticket_that_cannot_be_stored_holds_up_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets_made = [await desk.open(subject=f"Ticket {number}") for number in range(3)]
    story = tickets.story

    def impossible(before: Any, changed: Any, *rest: Any) -> Any:
        found = story(before, changed, *rest)
        if str(changed.id) != tickets_made[0]["id"]:
            return found
        return replace(found, cycles=[{**cycle, "warned": 1_000} for cycle in found.cycles])

    monkeypatch.setattr(tickets, "story", impossible)
    await desk.at("2026-01-05 12:30:00")
    assert await desk.sweep() == 2
    assert [len(await desk.events(ticket, "clock.broken")) for ticket in tickets_made] == [0, 1, 1]


async def test_completing_one_detail_leaves_the_others(desk: Desk) -> None:
    ticket = await desk.open()
    path, match = f"/v1/tickets/{ticket['id']}", {"If-Match": "*"}
    changed = await desk.call("standard", "PATCH", path, {"details": {"impact": "No logins either."}}, headers=match)
    assert changed.json()["details"] == ticket["details"] | {"impact": "No logins either."}
    same = await desk.call("standard", "PATCH", path, {"details": {}}, headers=match)
    assert (same.status_code, same.json()["code"]) == (409, "nothing_to_change")


async def test_an_instant_before_the_ticket_is_told_as_that(desk: Desk) -> None:
    ticket = await desk.open()
    for part in ("", "/clocks", "/events"):
        early = await desk.call("standard", "GET", f"/v1/tickets/{ticket['id']}{part}?as_of=2026-01-01T00:00:00Z")
        assert (early.status_code, early.json()["detail"]) == (
            404,
            "The ticket was not there yet at that instant; ask about a later one.",
        )
