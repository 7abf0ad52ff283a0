"""The policy over HTTP: every clause with its text, what is in force, what its owner has left open."""

from typing import Any

import pytest

from app.db.policies import Book
from app.domain.policy import CLAUSES
from tests.api.conftest import Desk, kl


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
    }
    assert (found["email_address"], found["booking_url"]) == (None, None)
    assert len(found["open_questions"]) == 3


async def test_versions_are_listed_read_and_known_by_their_tag(desk: Desk) -> None:
    listed = (await desk.get("agent", "/v1/policy-versions"))["items"]
    assert [version["version"] for version in listed] == [1]
    assert await desk.get("agent", "/v1/policy-versions/1") == listed[0]
    assert (await desk.call("agent", "GET", "/v1/policy-versions/2")).status_code == 404
    again = await desk.call("agent", "GET", "/v1/policy-versions/1", headers={"If-None-Match": '"1"'})
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
