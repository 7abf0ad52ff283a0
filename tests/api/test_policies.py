"""The policy over HTTP: every clause with its text, what is in force, what its owner has left open."""

import asyncio
from typing import Any

import asyncpg
import pytest

from app.cli import setup
from app.cli.problems import StartError
from app.db import tickets
from app.db.policies import Book
from app.domain.policy import CLAUSES
from app.main import create_app
from app.settings import Settings
from app.worker import self_check
from tests.api.conftest import Desk, kl, running, z
from tests.conftest import addresses


@pytest.mark.parametrize("clause", CLAUSES)
async def test_every_clause_is_served_with_its_title_and_text(desk: Desk, clause: str) -> None:
    found = await desk.get("standard", "/v1/policy")
    served = next(entry for entry in found["clauses"] if entry["id"] == clause)
    assert served["title"]
    assert len(served["text"]) > 10


async def test_the_policy_in_force_says_its_hours_promises_and_open_questions(desk: Desk) -> None:
    found = await desk.get("standard", "/v1/policy?as_of=2026-01-05T10:00:00%2B08:00")
    assert (found["version"], found["effective_from"]) == (1, "2025-12-31T16:00:00Z")
    assert (found["timezone"], found["weekly_hours"]["mon"]) == ("Asia/Kuala_Lumpur", [["09:00", "18:00"]])
    assert found["weekly_hours"]["sat"] == []
    promises = {(t["clock"], t["priority"]): (t["target_seconds"], t["base"]) for t in found["targets"]}
    assert promises == {
        ("acknowledgement", None): (7200, "business_hours"),
        ("resolution", None): (86400, "business_days"),
        ("update", None): (32400, "business_hours"),
        ("resolution", "critical"): (86400, "calendar"),
        ("expected_resolution", None): (None, "calendar"),
    }
    assert (found["email_address"], found["booking_url"]) == (None, None)
    assert len(found["open_questions"]) == 3


async def test_versions_are_listed_read_and_known_by_their_tag(desk: Desk) -> None:
    listed = (await desk.get("agent", "/v1/policy-versions"))["items"]
    assert [version["version"] for version in listed] == [1]
    read = await desk.call("agent", "GET", "/v1/policy-versions/1")
    assert read.json() == listed[0]
    assert (await desk.call("agent", "GET", "/v1/policy-versions/2")).status_code == 404
    again = await desk.call("agent", "GET", "/v1/policy-versions/1", headers={"If-None-Match": read.headers["ETag"]})
    assert again.status_code == 304


async def test_before_the_first_version_there_is_no_policy(desk: Desk) -> None:
    response = await desk.call("agent", "GET", "/v1/policy?as_of=2025-12-31T15:59:59Z")
    assert (response.status_code, response.json()["code"]) == (422, "no_policy_in_force")


async def test_a_book_of_terms_that_is_being_read_may_be_looked_into(desk: Desk) -> None:
    now, looked = kl("2026-01-05 10:00:00"), []

    class Looking:
        """Lets somebody else look while the first is half way through."""

        async def fetch(self, query: str, *args: object) -> list[Any]:
            if "calendar_revisions" in query and not looked:
                looked.append(None)
                looked.append(await book.in_force(now))
            return list(await desk.pool.fetch(query, *args))

    book = Book(Looking())
    assert (await book.in_force(now)).policy == looked[1].policy


# --------------------------------------------------------------------------------- the next version


async def document(desk: Desk, **changes: Any) -> dict[str, Any]:
    """The document of version 1 with some changes, as the next one; its number and date are left out."""
    found: dict[str, Any] = await desk.get("agent", "/v1/policy-versions/1/document")
    del found["version"], found["effective_from"]
    return found | changes


def hours(found: dict[str, Any], **days: Any) -> dict[str, Any]:
    calendar = found["calendar"]
    return found | {"calendar": calendar | {"weekly_hours": calendar["weekly_hours"] | days}}


async def publish(desk: Desk, body: Any, expected: int = 201, **more: Any) -> Any:
    response = await desk.call("admin", "POST", "/v1/policy-versions", body, **more)
    assert response.status_code == expected, response.text
    return response.json()


async def test_a_version_published_now_is_in_force_at_once(desk: Desk) -> None:
    before = await desk.open()
    quicker = await document(desk)
    quicker["targets"]["acknowledgement"]["seconds"] = 3600
    made = await publish(desk, quicker)
    assert (made["version"], made["effective_from"], made["following"]) == (2, z("2026-01-05 10:00:00"), None)
    assert (await desk.get("standard", "/v1/policy"))["version"] == 2
    assert (await desk.get("standard", "/v1/policy?as_of=2026-01-05T01:59:59.999999Z"))["version"] == 1
    after = await desk.open()
    assert (after["policy_version"], after["clocks"][0]["due_at"]) == (2, z("2026-01-05 11:00:00"))
    kept = await desk.get("agent", f"/v1/tickets/{before['id']}")
    assert (kept["policy_version"], kept["clocks"][0]["due_at"]) == (1, z("2026-01-05 12:00:00"))


async def test_a_reopened_ticket_keeps_the_version_it_was_received_under(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.act("agent", ticket, "resolve", resolution="fixed", text="Done.")
    quicker = await document(desk)
    quicker["targets"]["acknowledgement"]["seconds"] = 3600
    await publish(desk, quicker)
    await desk.at("2026-01-05 11:00:00")
    again = await desk.act("standard", ticket, "reopen", reason="It is back.")
    due = [clock["due_at"] for clock in again["clocks"] if clock["clock"] == "acknowledgement"]
    assert (again["policy_version"], due[-1]) == (1, z("2026-01-05 13:00:00"))


async def test_a_scheduled_version_is_announced_and_waits_for_its_day(desk: Desk) -> None:
    made = await publish(desk, await document(desk, effective_from="2026-02-01"))
    assert made["effective_from"] == z("2026-02-01 00:00:00")
    now = await desk.get("standard", "/v1/policy")
    assert (now["version"], now["following"]["version"], now["following"]["effective_from"]) == (
        1, 2, z("2026-02-01 00:00:00"),
    )  # fmt: skip
    assert now["following"]["clause"]["id"] == "changes.right-to-update"
    assert (await desk.open())["policy_version"] == 1
    await desk.at("2026-02-02 10:00:00")
    assert (await desk.open())["policy_version"] == 2
    listed = (await desk.get("auditor", "/v1/policy-versions"))["items"]
    assert [entry["version"] for entry in listed] == [1, 2]


async def test_a_scheduled_version_can_be_taken_back_until_its_day(desk: Desk) -> None:
    body = await document(desk, effective_from="2026-02-01T00:00:00+08:00")
    await publish(desk, body)
    path = "/v1/policy-versions/2/take-back"
    assert (await desk.call("lead", "POST", path)).status_code == 403
    taken = await desk.call("admin", "POST", path)
    assert (taken.status_code, taken.json()["taken_back_at"]) == (200, z("2026-01-05 10:00:00"))
    again = await desk.call("admin", "POST", path)
    assert (again.status_code, again.json()["code"]) == (409, "policy_in_force")
    assert (await desk.get("standard", "/v1/policy"))["following"] is None
    assert (await publish(desk, body))["version"] == 3, "its number stays used, its day is free again"
    await desk.at("2026-02-01 00:00:00")
    late = await desk.call("admin", "POST", "/v1/policy-versions/3/take-back")
    assert (late.status_code, late.json()["code"]) == (409, "policy_in_force")
    assert (await desk.get("standard", "/v1/policy"))["version"] == 3
    assert (await desk.call("admin", "POST", "/v1/policy-versions/9/take-back")).status_code == 404


async def test_two_versions_cannot_take_effect_at_the_same_instant(desk: Desk) -> None:
    await publish(desk, await document(desk, effective_from="2026-02-01"))
    same = await document(desk, effective_from="2026-01-31T16:00:00Z")
    seen = await publish(desk, same, 409, params={"store": "false"})
    assert seen["code"] == "effective_from_taken", "what is checked is told what publishing would be"
    refused = await publish(desk, same, 409)
    assert refused["code"] == "effective_from_taken"
    assert (await publish(desk, await document(desk, effective_from="2026-01-31T16:00:00.000001Z")))["version"] == 3


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"version": 3}, "/version", "not_the_next"),
    ({"version": "2"}, "/version", "out_of_range"),
    ({"effective_from": "2026-01-05T09:59:59+08:00"}, "/effective_from", "in_the_past"),
    ({"effective_from": "2026-01-05"}, "/effective_from", "in_the_past"),
    ({"effective_from": "2026-02-01T00:00:00"}, "/effective_from", "wrong_instant"),
    ({"effective_from": "2126-02-01T00:00:00Z"}, "/effective_from", "wrong_instant"),
    ({"effective_from": 1}, "/effective_from", "wrong_date"),
    ({"discounts": {}}, "/discounts", "unknown_field"),
    ({"open_questions": [1]}, "/open_questions/0", "wrong_text"),
    ({"escalation_rules": [{"id": "a", "clause": "escalation.level-2", "trigger": "classified"}]},
     "/escalation_rules/0", "no_effect"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pointer", "code"), WRONG)
async def test_a_wrong_document_is_refused_by_field_and_nothing_is_published(
    desk: Desk, change: dict[str, Any], pointer: str, code: str
) -> None:
    refused = await publish(desk, await document(desk, **change), 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in refused["errors"]}
    assert len((await desk.get("agent", "/v1/policy-versions"))["items"]) == 1


async def test_a_desk_that_would_never_open_is_refused(desk: Desk) -> None:
    closed = hours(await document(desk), mon=[], tue=[], wed=[], thu=[], fri=[])
    refused = await publish(desk, closed, 422)
    assert [error["pointer"] for error in refused["errors"]] == ["/calendar/weekly_hours"]


async def test_what_the_open_hours_never_come_to_is_refused_where_it_stands(desk: Desk) -> None:
    """A ticket keeps its version for good: a promise or a rule beyond all time would hold it for ever."""
    rule = {"id": "late", "clause": "escalation.level-2", "trigger": "clock_broken", "clock": "acknowledgement",
            "after_seconds": 31_622_400, "base": "business_hours", "raise_to": 2}  # fmt: skip
    once_a_week = hours(
        await document(desk, escalation_rules=[rule]), mon=[["09:00", "10:00"]], tue=[], wed=[], thu=[], fri=[]
    )
    refused = await publish(desk, once_a_week, 422)
    assert [(error["pointer"], error["code"]) for error in refused["errors"]] == [
        ("/escalation_rules/0/after_seconds", "out_of_reach")
    ]
    a_second = hours(
        await document(desk, escalation_rules=[]), mon=[["09:00", "09:00:01"]], tue=[], wed=[], thu=[], fri=[]
    )
    refused = await publish(desk, a_second, 422)
    assert {"/targets/acknowledgement/seconds", "/targets/update/seconds"} <= {
        error["pointer"] for error in refused["errors"]
    }


async def test_a_document_full_of_mistakes_is_answered_with_a_few_of_them(desk: Desk) -> None:
    many = await publish(desk, await document(desk, escalation_rules=[1] * 101), 422)
    assert [(error["pointer"], error["code"]) for error in many["errors"]] == [("/escalation_rules", "too_many")]
    rules = [{"tell": [1] * 90}] * 90
    assert len((await publish(desk, await document(desk, escalation_rules=rules), 422))["errors"]) == 100


async def test_one_connection_is_enough_to_publish_and_to_take_back(desk: Desk, app_url: str) -> None:
    """Nothing that holds the tickets back waits for a second connection: all of them may be waiting for it."""
    body = await document(desk, effective_from="2026-02-01")
    async with running(create_app(Settings(**addresses(app_url), test_clock=True, pool_size=1))) as alone:
        header = {"Authorization": f"Bearer {desk.keys['admin']}", "Idempotency-Key": "k"}
        async with asyncio.timeout(5):
            made = await alone.post("/v1/policy-versions", json=body, headers=header)
            taken = await alone.post("/v1/policy-versions/2/take-back", headers=header)
    assert (made.status_code, taken.status_code) == (201, 200), (made.text, taken.text)


async def test_a_slow_reader_puts_nothing_old_in_the_place_of_the_new(desk: Desk) -> None:
    class Slow:
        """Has a version published and read by somebody else before its own reading ends."""

        async def fetch(self, query: str, *args: object) -> list[Any]:
            found = list(await desk.pool.fetch(query, *args))
            if "calendar_revisions" in query and not quicker:
                quicker.append(await publish(desk, await document(desk)))
                await book.read()
            return found

    quicker: list[Any] = []
    book = Book(Slow())
    await book.read()
    assert max(book.policies) == 2


async def test_a_document_can_be_checked_without_being_published(desk: Desk) -> None:
    seen = await publish(desk, await document(desk), 200, params={"store": "false"})
    assert seen["version"] == 2
    assert (await desk.get("agent", "/v1/policy"))["version"] == 1


@pytest.mark.parametrize("who", ["standard", "agent", "lead", "auditor", "automation"])
async def test_only_an_admin_publishes(desk: Desk, who: str) -> None:
    response = await desk.call(who, "POST", "/v1/policy-versions", {})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_publishing_twice_under_one_key_publishes_once(desk: Desk) -> None:
    body, key = await document(desk), {"Idempotency-Key": "policy-2"}
    both = await asyncio.gather(*(desk.call("admin", "POST", "/v1/policy-versions", body, headers=key) for _ in "ab"))
    assert sorted(response.headers.get("Idempotency-Replayed", "") for response in both) == ["", "true"]
    assert both[0].json() == both[1].json()
    assert len((await desk.get("agent", "/v1/policy-versions"))["items"]) == 2


async def test_versions_are_paged(desk: Desk) -> None:
    for month in ("02", "03", "04"):
        await publish(desk, await document(desk, effective_from=f"2026-{month}-01"))
    first = await desk.get("agent", "/v1/policy-versions?limit=3")
    rest = await desk.get("agent", f"/v1/policy-versions?limit=3&cursor={first['next_cursor']}")
    assert [entry["version"] for entry in first["items"] + rest["items"]] == [1, 2, 3, 4]
    assert rest["next_cursor"] is None


async def test_the_desks_calendar_has_the_hours_of_the_version_in_force(desk: Desk) -> None:
    saturdays = hours(await document(desk, effective_from="2026-02-01"), sat=[["10:00", "14:00"]])
    await publish(desk, saturdays)
    listed = (await desk.get("agent", "/v1/calendars"))["items"]
    path = f"/v1/calendars/{listed[0]['id']}"
    assert (await desk.get("agent", f"{path}/open?as_of=2026-01-31T11:00:00%2B08:00"))["open_now"] is False
    assert (await desk.get("agent", f"{path}/open?as_of=2026-02-07T11:00:00%2B08:00"))["open_now"] is True
    assert listed[0]["weekly_hours"]["sat"] == []
    await desk.at("2026-02-07 11:00:00")
    assert (await desk.get("agent", path))["weekly_hours"]["sat"] == [["10:00", "14:00"]]
    available = await desk.get("premium", "/v1/availability")
    assert (available["open_now"], available["next_closes_at"]) == (True, z("2026-02-07 14:00:00"))


async def test_every_process_knows_a_version_at_once(desk: Desk, app_url: str) -> None:
    async with running(create_app(Settings(**addresses(app_url), test_clock=True, pool_size=2))) as other:
        header = {"Authorization": f"Bearer {desk.keys['premium']}"}
        assert (await other.get("/v1/policy", headers=header)).json()["version"] == 1
        saturdays = hours(await document(desk), sat=[["10:00", "14:00"]])
        await publish(desk, saturdays)
        assert (await other.get("/v1/policy", headers=header)).json()["version"] == 2
        asked = await other.get("/v1/availability?as_of=2026-01-10T11:00:00%2B08:00", headers=header)
        assert asked.json()["open_now"] is True
        holiday = {"date": "2026-01-10", "name": "A day off", "hours": []}
        calendar = (await desk.get("lead", "/v1/calendars"))["items"][0]["id"]
        path = f"/v1/calendars/{calendar}/exceptions"
        assert (await desk.call("lead", "POST", path, holiday)).status_code == 201
        asked = await other.get("/v1/availability?as_of=2026-01-10T11:00:00%2B08:00", headers=header)
        await desk.call("lead", "DELETE", f"{path}/2026-01-10")
        assert asked.json()["open_now"] is False


async def test_a_ticket_judged_by_a_version_just_replaced_is_judged_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, add = await document(desk), tickets.add
    judged = list[int]()

    async def late(pool: Any, ticket: Any, *rest: Any) -> bool:
        """Somebody publishes between decision and writing, on another process."""
        judged.append(ticket.policy_version)
        if len(judged) == 1:
            async with running(create_app(Settings(**addresses(desk.app_url), test_clock=True))) as other:
                header = {"Authorization": f"Bearer {desk.keys['admin']}"}
                published = await other.post("/v1/policy-versions", json=body, headers=header)
                assert published.status_code == 201, published.text
        return await add(pool, ticket, *rest)

    monkeypatch.setattr(tickets, "add", late)
    assert (await desk.open())["policy_version"] == 2
    assert judged == [1, 2]


# ------------------------------------------------------------------------------------ the review


async def test_a_client_reviews_the_policy_once(desk: Desk) -> None:
    assert (await desk.get("standard", "/v1/me"))["policy_review"]["due"] is True
    first = await desk.call("standard", "POST", "/v1/policy-acknowledgements", {})
    assert (first.status_code, first.json()["policy_version"]) == (201, 1)
    await desk.at("2026-01-06 10:00:00")
    again = await desk.call("standard", "POST", "/v1/policy-acknowledgements", {"policy_version": 1})
    assert (again.status_code, again.json()) == (200, first.json())
    review = (await desk.get("standard", "/v1/me"))["policy_review"]
    assert (review["due"], review["acknowledged_at"]) == (False, z("2026-01-05 10:00:00"))
    assert (await desk.get("premium", "/v1/me"))["policy_review"]["due"] is True
    await publish(desk, await document(desk))
    assert (await desk.get("standard", "/v1/me"))["policy_review"]["due"] is True
    assert (await desk.open())["status"] == "new", "not having reviewed refuses nothing"


async def test_a_review_sent_again_is_of_the_same_version(desk: Desk) -> None:
    """The second of a client's people is answered too, and a retry never reviews what nobody has seen."""
    await desk.call("standard", "POST", "/v1/policy-acknowledgements", {})
    key = {"Idempotency-Key": "k"}
    first = await desk.call("standard", "POST", "/v1/policy-acknowledgements", {}, headers=key)
    await publish(desk, await document(desk))
    again = await desk.call("standard", "POST", "/v1/policy-acknowledgements", {}, headers=key)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert (await desk.get("standard", "/v1/me"))["policy_review"]["due"] is True


async def test_reviews_of_one_instant_are_paged_without_losing_one(desk: Desk) -> None:
    await desk.call("standard", "POST", "/v1/policy-acknowledgements", {})
    await publish(desk, await document(desk))
    await desk.call("standard", "POST", "/v1/policy-acknowledgements", {})
    path = "/v1/policy-acknowledgements?limit=1"
    first = await desk.get("agent", path)
    rest = await desk.get("agent", f"{path}&cursor={first['next_cursor']}")
    assert [page["items"][0]["policy_version"] for page in (first, rest)] == [2, 1]
    assert rest["next_cursor"] is None


async def test_who_has_reviewed_is_listed_for_the_house_and_for_oneself(desk: Desk) -> None:
    for who in ("standard", "premium"):
        await desk.call(who, "POST", "/v1/policy-acknowledgements", {})
    path = "/v1/policy-acknowledgements"
    assert len((await desk.get("auditor", path))["items"]) == 2
    mine = (await desk.get("standard", path))["items"]
    assert [entry["client_id"] for entry in mine] == [str(desk.parties["standard"].client_id)]
    page = await desk.get("agent", f"{path}?limit=1")
    rest = await desk.get("agent", f"{path}?limit=1&cursor={page['next_cursor']}")
    assert {page["items"][0]["client_id"], rest["items"][0]["client_id"]} == {
        str(desk.parties[who].client_id) for who in ("standard", "premium")
    }
    assert (await desk.get("agent", f"{path}?policy_version=2"))["items"] == []


async def test_only_a_published_version_is_reviewed_and_only_by_contacts(desk: Desk) -> None:
    unknown = await desk.call("standard", "POST", "/v1/policy-acknowledgements", {"policy_version": 2})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/policy_version")
    assert (await desk.call("lead", "POST", "/v1/policy-acknowledgements", {})).status_code == 403


async def test_the_command_line_says_when_those_who_write_tickets_do_not_come_to_an_end(desk: Desk) -> None:
    document = await desk.get("agent", "/v1/policy-versions/1/document")
    del document["version"], document["effective_from"]
    writing = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    try:
        async with writing.transaction():
            await writing.execute("LOCK TABLE tickets IN ROW EXCLUSIVE MODE")
            with pytest.raises(StartError, match="publish this again in a moment"):
                await setup.publish_next(desk.pool, document, clock=lambda: kl("2026-02-01 00:00:00"), check=False)
    finally:
        await writing.close()


async def test_a_promise_takes_the_kind_of_its_new_priority(desk: Desk) -> None:
    found = await document(desk)
    critical = found["targets"]["resolution"]["by_priority"]["critical"]
    critical |= {"kind": "commitment", "clause": "priority.critical"}
    await publish(desk, found)
    ticket = await desk.open()
    first = await desk.clock(ticket, "resolution")
    await desk.act("agent", ticket, "prioritize", priority="critical", reason="Down.", outage_statement="All is down.")
    moved = await desk.clock(ticket, "resolution")
    assert (first["kind"], moved["kind"], moved["clause"]) == ("estimate", "commitment", "priority.critical")
    checked = await self_check.run(desk.pool)
    assert (checked.tickets, checked.drifted) == (1, ())
