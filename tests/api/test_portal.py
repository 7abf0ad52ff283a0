"""What a front end asks first: who am I, what is open to me, what do the words mean."""

from typing import Any

import asyncpg
import pytest

from tests.api.conftest import Desk, z

SATURDAY = "as_of=2026-01-10T12:00:00%2B08:00"


def against(found: Any) -> dict[str, list[str]]:
    return {each["channel"]: [finding["code"] for finding in each["findings"]] for each in found["channels"]}


async def test_availability_of_a_standard_client_on_a_saturday(desk: Desk) -> None:
    found = await desk.get("standard", f"/v1/availability?{SATURDAY}")
    assert (found["as_of"], found["timezone"], found["open_now"]) == (
        z("2026-01-10 12:00:00"), "Asia/Kuala_Lumpur", False,
    )  # fmt: skip
    assert (found["next_opens_at"], found["next_closes_at"]) == (z("2026-01-12 09:00:00"), z("2026-01-12 18:00:00"))
    assert against(found) == {
        "portal": [], "email": [], "phone": ["phone_requires_premium", "phone_outside_business_hours"],
    }  # fmt: skip
    assert [each["available"] for each in found["channels"]] == [True, True, False]
    assert (found["emergency"]["for"], found["emergency"]["clause"]["id"]) == (["critical"], "availability.after-hours")


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("premium", {"portal": [], "email": [], "phone": []}),
        (
            "lapsed",
            {
                "portal": ["care_plan_inactive"],
                "email": ["care_plan_inactive"],
                "phone": ["care_plan_inactive", "phone_requires_premium"],
            },
        ),
    ],
)
async def test_availability_while_the_desk_is_open(desk: Desk, who: str, expected: dict[str, list[str]]) -> None:
    own = await desk.get(who, "/v1/availability")
    assert (against(own), own["open_now"], own["next_closes_at"]) == (expected, True, z("2026-01-05 18:00:00"))
    asked = await desk.get("agent", f"/v1/availability?client_id={desk.parties[who].client_id}")
    assert asked == own
    assert (await desk.get("agent", "/v1/availability"))["channels"] == []


async def test_a_client_asks_only_for_themselves(desk: Desk) -> None:
    other = desk.parties["premium"].client_id
    response = await desk.call("standard", "GET", f"/v1/availability?client_id={other}")
    assert response.json()["errors"][0]["pointer"] == "/query/client_id"


async def test_me_says_for_whom_a_key_speaks(desk: Desk) -> None:
    mine, party = await desk.get("standard", "/v1/me"), desk.parties["standard"]
    review = mine.pop("policy_review")
    assert (review["due"], review["policy_version"], review["clause"]["id"]) == (True, 1, "changes.review")
    assert mine == {
        "role": "contact", "name": "Contact of standard", "agent_id": None, "level": None,
        "client_id": str(party.client_id), "contact_id": str(party.contact_id), "scopes": None,
    }  # fmt: skip
    staff = await desk.get("agent2", "/v1/me")
    assert (staff["role"], staff["level"], staff["client_id"], staff["contact_id"]) == ("agent", 2, None, None)
    assert staff["agent_id"]
    assert staff["policy_review"] is None


async def test_the_reference_lists_every_value_with_a_label(desk: Desk) -> None:
    lists = (await desk.get("standard", "/v1/reference"))["lists"]
    assert {"value": "waiting_on_client", "label": "Waiting on client"} in lists["status"]
    assert [word["value"] for word in lists["priority"]] == ["critical", "high", "normal", "low"]
    assert {"value": "mark-out-of-scope", "label": "Mark out of scope"} in lists["act"]


async def test_a_schema_from_the_future_serves_and_one_from_the_past_does_not(desk: Desk) -> None:
    """While versions change places: every migration leaves room for the code before it."""
    connection = await asyncpg.connect(desk.owner_url.replace("+asyncpg", "", 1))
    (now,) = await connection.fetchrow("SELECT version_num FROM alembic_version")
    found = {}
    for revision in ("9999", "0005", now):
        await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
        found[revision] = (await desk.call(None, "GET", "/readyz")).status_code
    await connection.close()
    assert found == {"9999": 200, "0005": 503, now: 200}
