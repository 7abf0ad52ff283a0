"""The audit: every administrative change is noted by whom, and nothing that was sealed can be changed unseen."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import pytest

from app.db import audit, migrations, seal, tables
from app.db.seal import Receipt, Sealer
from tests.api.conftest import AUDIT_KEY, AUDIT_PUBLIC_KEY, Desk
from tests.conftest import ROOT

KEYS = seal.public_keys([AUDIT_PUBLIC_KEY])


def sealer() -> Sealer:
    return Sealer(seal.private_key(AUDIT_KEY))


@pytest.fixture
async def intruder(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who may do everything with the database, and has no key to seal with."""
    url = owner_url.replace("+asyncpg", "", 1).replace("kawan_owner@", "postgres@", 1)
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


# ---------------------------------------------------------------------------------- entries


async def entries(desk: Desk, who: str = "auditor", **filters: Any) -> list[Any]:
    query = "&".join(f"{name}={value}" for name, value in (filters | {"limit": 200}).items())
    found: list[Any] = (await desk.get(who, f"/v1/audit/entries?{query}"))["items"]
    return found[::-1]


async def test_every_administrative_change_is_noted_with_before_and_after_and_by_whom(desk: Desk) -> None:
    known = (await entries(desk))[-1]["position"]
    request_ids = []

    async def do(who: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        request_ids.append(f"change-{len(request_ids)}")
        response = await desk.call(who, method, path, body, headers={"X-Request-Id": request_ids[-1], **headers})
        assert response.status_code < 300, response.text
        return response.json()

    owner = (await do("automation", "PUT", "/v1/clients/by-external-id/kopitiam", {"name": "Kopitiam"}))["id"]
    await do("lead", "PUT", "/v1/clients/by-external-id/kopitiam", {"name": "Kopitiam Sdn Bhd"})
    person = {"client_id": owner, "name": "Mei", "email": "mei@client.example"}
    await do("lead", "PUT", "/v1/contacts/by-external-id/mei", person)
    contract = {"client_id": owner, "name": "Website care"}
    agreement = (await do("lead", "PUT", "/v1/agreements/by-external-id/website", contract))["id"]
    plan = {"client_id": owner, "agreement_id": agreement, "tier": "standard", "starts_on": "2026-01-01"}
    await do("lead", "PUT", "/v1/subscriptions/by-external-id/care", plan)
    contact = f"/v1/contacts/{desk.parties['standard'].contact_id}"
    await do("standard", "PATCH", contact, {"name": "Mei Ling"}, **{"If-Match": '"1"'})
    agent = await do("admin", "POST", "/v1/agents", {"name": "Nadia", "email": "nadia@kawan.example"})
    await do("lead", "PATCH", f"/v1/agents/{agent['id']}", {"level": 2}, **{"If-Match": '"1"'})
    key = await do("admin", "POST", "/v1/keys", {"name": "A program", "role": "automation"})
    rotated = await do("admin", "POST", f"/v1/keys/{key['id']}/rotate")
    await do("admin", "POST", f"/v1/keys/{rotated['id']}/revoke")
    hours = {"name": "Another", "timezone": "UTC", "weekly_hours": {"mon": [["09:00", "18:00"]]}}
    calendar = await do("lead", "POST", "/v1/calendars", hours)
    holiday = {"date": "2026-06-15", "name": "A holiday", "hours": []}
    await do("lead", "POST", f"/v1/calendars/{calendar['id']}/exceptions", holiday)
    document = await desk.get("admin", "/v1/policy-versions/1/document")
    following = {name: value for name, value in document.items() if name != "version"} | {
        "effective_from": "2026-06-01"
    }
    await do("admin", "POST", "/v1/policy-versions", following)
    await do("admin", "POST", "/v1/policy-versions/2/take-back")
    await do("standard", "POST", "/v1/policy-acknowledgements", {})
    question = {"client_id": str(desk.parties["lapsed"].client_id), "channel": "portal", "category": "incident"}
    denied = (await desk.call("agent", "POST", "/v1/eligibility-checks", question)).json()
    await do("lead", "POST", f"/v1/eligibility-checks/{denied['id']}/override", {"reason": "Goodwill."})

    noted = [entry for entry in await entries(desk) if entry["position"] > known]
    told = sorted((entry["subject"], entry["action"], entry["actor_role"]) for entry in noted)
    assert told == [
        ("agent", "changed", "lead"), ("agent", "created", "admin"), ("agreement", "created", "lead"),
        ("calendar", "created", "lead"), ("calendar_revision", "created", "lead"),
        ("calendar_revision", "created", "lead"), ("client", "changed", "lead"), ("client", "created", "automation"),
        ("contact", "changed", "contact"), ("contact", "created", "lead"), ("eligibility_override", "created", "lead"),
        ("key", "changed", "admin"), ("key", "changed", "admin"), ("key", "created", "admin"),
        ("key", "created", "admin"), ("policy_acknowledgement", "created", "contact"),
        ("policy_version", "changed", "admin"), ("policy_version", "created", "admin"),
        ("subscription", "created", "lead"),
    ]  # fmt: skip
    assert {entry["request_id"] for entry in noted} == set(request_ids)
    assert {entry["login"] for entry in noted} == {"kawan_app", "kawan_portal"}
    renamed = noted[1]
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("Kopitiam", "Kopitiam Sdn Bhd")
    assert renamed["changed"] == ["name", "version"]
    assert renamed["subject_id"] == renamed["client_id"] == owner
    secrets = [made["key"].split("_")[2] for made in (key, rotated)]
    whole = str(noted)
    assert "digest" not in whole
    assert not any(secret in whole for secret in secrets)
    ours = await entries(desk, "admin", subject="client", client_id=owner)
    assert [entry["action"] for entry in ours] == ["created", "changed"]


async def test_a_change_by_hand_is_noted_by_its_login(desk: Desk, intruder: asyncpg.Connection) -> None:
    await intruder.execute("UPDATE clients SET name = 'Mine' WHERE external_id = 'premium'")
    (entry,) = [entry for entry in await entries(desk, subject="client") if entry["action"] == "changed"]
    assert (entry["login"], entry["actor_role"], entry["request_id"]) == ("postgres", None, None)
    assert (entry["before"]["name"], entry["after"]["name"]) == ("Premium", "Mine")


async def test_a_refused_change_leaves_no_entry(desk: Desk) -> None:
    before = await entries(desk)
    stale = await desk.call(
        "lead", "PUT", "/v1/clients/by-external-id/premium", {"name": "X"}, headers={"If-Match": '"9"'}
    )
    assert stale.status_code == 412
    assert await entries(desk) == before


# -------------------------------------------------------------------------------- the chain


async def history(desk: Desk, checkpoints: int = 3) -> list[Any]:
    """Things happen, and are sealed again and again; return the checkpoints."""
    kept = sealer()
    for number in range(checkpoints):
        ticket = await desk.open()
        await desk.act("agent", ticket, "acknowledge")
        await desk.call("lead", "PUT", "/v1/clients/by-external-id/premium", {"name": f"Premium {number}"})
        await settled(desk, kept)
    found: list[Any] = (await desk.get("auditor", "/v1/audit/checkpoints"))["items"]
    assert len(found) >= checkpoints
    return found


async def settled(desk: Desk, kept: Sealer) -> None:
    """Seal all there is, once others' transactions don't hold it up any more."""
    over = (
        "SELECT transaction_number(pg_snapshot_xmin(pg_current_snapshot()))"
        " > greatest((SELECT max(transaction) FROM events), (SELECT max(transaction) FROM audit_entries))"
    )
    for _ in range(400):
        if (await desk.pool.fetch(over))[0][0]:
            await kept.run(desk.pool, datetime.now(UTC))
            return
        await asyncio.sleep(0.05)
    raise AssertionError("others' transactions don't end")


async def problems(desk: Desk, receipt: str = "", after: int = 0) -> list[tuple[int, str]]:
    query = f"?after={after}" + (f"&receipt={receipt}" if receipt else "")
    found = await desk.get("auditor", f"/v1/audit/verification{query}")
    assert found["next_after"] is None
    assert found["sound"] == (found["findings"] == [])
    return [(finding["checkpoint"], finding["problem"]) for finding in found["findings"]]


FORGED = '{"text": "forged"}'
Attack = Callable[[asyncpg.Connection], Awaitable[Any]]
SECOND = "(SELECT since FROM audit_checkpoints WHERE number = 2)"
OF_SECOND = f"transaction >= {SECOND} AND transaction < (SELECT until FROM audit_checkpoints WHERE number = 2)"
COLUMNS = "client_id, ticket_id, version, kind, at, actor_role, actor_id, actor_client_id, data, internal, audience"


async def edit_event(db: asyncpg.Connection) -> None:
    await db.execute(f"UPDATE events SET data = data || '{FORGED}' WHERE {OF_SECOND}")


async def edit_entry(db: asyncpg.Connection) -> None:
    await db.execute(f"UPDATE audit_entries SET actor_role = 'admin' WHERE {OF_SECOND} AND actor_role = 'lead'")


async def delete(db: asyncpg.Connection) -> None:
    await db.execute(f"DELETE FROM events WHERE position = (SELECT max(position) FROM events WHERE {OF_SECOND})")


async def delete_entry(db: asyncpg.Connection) -> None:
    await db.execute(f"DELETE FROM audit_entries WHERE {OF_SECOND}")


async def swap(db: asyncpg.Connection) -> None:
    """Two neighbours change places, each with all that it says."""
    first, second = [
        row[0] for row in await db.fetch(f"SELECT position FROM events WHERE {OF_SECOND} ORDER BY 1 LIMIT 2")
    ]
    for column in ("kind", "data"):
        await db.execute(
            f"UPDATE events AS one SET {column} = other.{column} FROM events AS other"
            " WHERE one.position + other.position = $1 AND one.position IN ($2, $3) AND one.position <> other.position",
            first + second, first, second,
        )  # fmt: skip


async def insert(
    db: asyncpg.Connection, transaction: str, position: str = "(SELECT max(position) + 1 FROM events)"
) -> None:
    await db.execute(
        f"INSERT INTO events (position, transaction, number, {COLUMNS}) OVERRIDING SYSTEM VALUE"
        f" SELECT {position}, {transaction}, 900, {COLUMNS} FROM events LIMIT 1"
    )


async def rewrite(db: asyncpg.Connection) -> None:
    """A row is changed, and its checkpoint made to fit, but for the signature."""
    await edit_event(db)
    await db.execute("UPDATE audit_checkpoints SET digest = repeat('a', 64) WHERE number = 2")


async def take_out(db: asyncpg.Connection) -> None:
    await db.execute(f"DELETE FROM events WHERE {OF_SECOND}")
    await db.execute(f"DELETE FROM audit_entries WHERE {OF_SECOND}")
    await db.execute("DELETE FROM audit_checkpoints WHERE number = 2")


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (edit_event, {(2, "altered")}),
        (edit_entry, {(2, "altered")}),
        (delete, {(2, "missing_rows")}),
        (delete_entry, {(2, "missing_rows")}),
        (swap, {(2, "altered")}),
        (partial(insert, transaction=SECOND), {(2, "added_rows")}),
        # As if it had been there before there were seals, before everything, at a seam, and far ahead.
        (partial(insert, transaction="NULL"), {(1, "added_rows")}),
        (partial(insert, transaction="-1", position="-1"), {(1, "added_rows")}),
        (partial(insert, transaction=SECOND, position="-1"), {(2, "added_rows")}),
        (partial(insert, transaction=str(2**62)), {(3, "from_the_future")}),
        (rewrite, {(2, "forged"), (2, "altered"), (3, "altered")}),
        (take_out, {(3, "missing_checkpoint")}),
    ],
)
async def test_what_was_changed_behind_the_seals_is_found(
    desk: Desk, intruder: asyncpg.Connection, attack: Attack, expected: set[tuple[int, str]]
) -> None:
    assert len(await history(desk)) == 3
    assert await problems(desk) == []
    await attack(intruder)
    assert set(await problems(desk)) == expected


async def cut(db: asyncpg.Connection) -> None:
    """The last checkpoint goes, with all that it covered."""
    since = await db.fetchval("DELETE FROM audit_checkpoints WHERE number = 3 RETURNING since")
    await db.execute("DELETE FROM events WHERE transaction >= $1", since)
    await db.execute("DELETE FROM audit_entries WHERE transaction >= $1", since)


async def test_what_was_cut_off_with_its_seal_is_found_by_a_receipt(desk: Desk, intruder: asyncpg.Connection) -> None:
    last = (await history(desk))[-1]
    receipt = f"{last['number']}:{last['digest']}"
    assert await problems(desk, receipt) == []
    await cut(intruder)
    assert await problems(desk, receipt) == [(3, "cut_off")]


async def test_what_was_sealed_anew_is_found_by_a_receipt_and_not_sealed_by_who_remembers(
    desk: Desk, intruder: asyncpg.Connection
) -> None:
    first = sealer()
    second = (await history(desk))[1]
    await first.run(desk.pool, datetime.now(UTC))
    await intruder.execute("DELETE FROM audit_checkpoints WHERE number >= 2")
    await intruder.execute(f"UPDATE events SET data = data || '{FORGED}' WHERE transaction >= $1", second["since"])
    receipt = f"2:{second['digest']}"
    assert await problems(desk, receipt) == [(2, "cut_off")]
    assert await first.run(desk.pool, datetime.now(UTC)) == 0
    # A worker that was started since, and knows nothing of what was there.
    await settled(desk, sealer())
    assert await problems(desk) == []
    assert await problems(desk, receipt) == [(2, "rewritten")]
    assert await problems(desk, receipt, after=2) == [(2, "rewritten")]
    assert await first.run(desk.pool, datetime.now(UTC)) == 0


async def test_nobody_elses_signature_is_believed(desk: Desk) -> None:
    await history(desk, 1)
    stranger = seal.public_keys([seal.new_key()[1]])
    report = await seal.verify(desk.pool, stranger)
    assert [finding.problem for finding in report.findings] == ["forged"] * report.checkpoints


async def test_what_is_still_being_written_is_sealed_when_it_is_over_and_nothing_twice(
    desk: Desk, app_url: str
) -> None:
    connection = await asyncpg.connect(app_url.replace("+asyncpg", "", 1), server_settings={"role": "kawan_runtime"})
    one, two = sealer(), sealer()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE clients SET name = 'Late' WHERE external_id = 'premium'")
        for number in range(3):
            await desk.call("lead", "PUT", "/v1/clients/by-external-id/lapsed", {"name": f"Lapsed {number}"})
            await asyncio.gather(one.run(desk.pool, datetime.now(UTC)), two.run(desk.pool, datetime.now(UTC)))
        late = "SELECT transaction FROM audit_entries WHERE after ->> 'name' = 'Late'"
        number = await connection.fetchval(late)
        assert ((await desk.pool.fetch("SELECT max(until) FROM audit_checkpoints"))[0][0] or 0) <= number
        await transaction.commit()
    finally:
        await connection.close()

    async def write(number: int) -> None:
        for _ in range(5):
            await desk.open()
            await desk.call("lead", "PUT", f"/v1/clients/by-external-id/{number}", {"name": "One of many"})

    async def keep_sealing() -> None:
        while True:
            await asyncio.gather(one.run(desk.pool, datetime.now(UTC)), two.run(desk.pool, datetime.now(UTC)))

    sealing = asyncio.create_task(keep_sealing())
    await asyncio.gather(*(write(number) for number in range(4)))
    sealing.cancel()
    await asyncio.gather(sealing, return_exceptions=True)
    await settled(desk, one)
    report = await seal.verify(desk.pool, KEYS)
    (counted,) = await desk.pool.fetch("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM audit_entries)")
    assert (report.events, report.entries, report.findings) == (*counted, ())
    assert report.checkpoints > 3


async def test_events_from_before_there_were_seals_are_in_the_first(
    desk: Desk, intruder: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    await desk.open()
    await intruder.execute("UPDATE events SET transaction = NULL")
    await desk.open()
    monkeypatch.setattr(seal, "PAGE", 2)
    monkeypatch.setattr(seal, "MOST_ROWS", 3)
    await settled(desk, sealer())
    report = await seal.verify(desk.pool, KEYS)
    assert (report.events, report.findings) == (await intruder.fetchval("SELECT count(*) FROM events"), ())
    await intruder.execute("UPDATE events SET internal = NOT internal WHERE transaction IS NULL")
    assert [finding.checkpoint for finding in (await seal.verify(desk.pool, KEYS)).findings] == [1]


async def test_a_long_chain_is_sealed_and_verified_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MOST_ROWS", 1)
    for _ in range(4):
        await desk.open()
    await settled(desk, sealer())
    monkeypatch.setattr("app.api.audit.VERIFYING_SECONDS", 0.0)
    after, checkpoints, events = 0, 0, 0
    while after is not None:
        part = await desk.get("admin", f"/v1/audit/verification?after={after}")
        assert part["sound"]
        checkpoints, events, after = checkpoints + part["checkpoints"], events + part["events"], part["next_after"]
    assert checkpoints >= 4
    assert events == (await desk.pool.fetch("SELECT count(*) FROM events"))[0][0]


async def test_the_audit_is_for_admins_and_auditors(desk: Desk) -> None:
    for path in ("entries", "checkpoints", "verification"):
        for who in ("standard", "agent", "lead", "automation"):
            assert (await desk.call(who, "GET", f"/v1/audit/{path}")).status_code == 403
    wrong = await desk.call("auditor", "GET", "/v1/audit/verification?receipt=1:abc")
    assert wrong.json()["errors"][0]["pointer"] == "/query/receipt"


async def test_the_command_line_verifies_too(desk: Desk, intruder: asyncpg.Connection) -> None:
    last = (await history(desk))[-1]

    async def verify(*arguments: str) -> tuple[int, str]:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "app", "verify", *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env=os.environ | {"DATABASE_URL": desk.app_url, "AUDIT_PUBLIC_KEYS": AUDIT_PUBLIC_KEY},
        )  # fmt: skip
        return ran.returncode, ran.stdout + ran.stderr

    code, said = await verify()
    assert (code, said.splitlines()[-1]) == (0, f"receipt: {last['number']}:{last['digest']}")
    await edit_event(intruder)
    code, said = await verify("--receipt", f"9:{'0' * 64}")
    assert (code, said.splitlines()[:2]) == (1, ["checkpoint 2: altered", "checkpoint 9: cut off"])


async def test_going_on_after_a_checkpoint_that_is_not_there_is_a_finding(desk: Desk) -> None:
    report = await seal.verify(desk.pool, KEYS, after=7, receipt=Receipt(7, "0" * 64))
    assert [(finding.checkpoint, finding.problem) for finding in report.findings] == [(7, "missing_checkpoint")]


async def test_a_database_that_was_restored_elsewhere_goes_on_behind_what_was_sealed(
    desk: Desk, intruder: asyncpg.Connection
) -> None:
    """As if this server were another one, that has counted fewer transactions than the one before."""
    await history(desk, 1)
    ahead, rows = 10_000_000, "transaction = transaction + 10000000"
    await intruder.execute(f"UPDATE events SET {rows}")
    await intruder.execute(f"UPDATE audit_entries SET {rows}")
    await intruder.execute("DELETE FROM audit_checkpoints")
    function = "CREATE OR REPLACE FUNCTION transaction_number(xid8) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE"
    try:
        await intruder.execute(f"{function} RETURN $1::text::bigint + {ahead + 1_000_000}")
        await settled(desk, sealer())
        await intruder.execute(f"{function} RETURN $1::text::bigint + 0")
        assert await sealer().run(desk.pool, datetime.now(UTC)) == 0
        await asyncio.to_thread(migrations.upgrade, desk.owner_url)
        await desk.open()
        await settled(desk, sealer())
        report = await seal.verify(desk.pool, KEYS)
        assert (report.checkpoints > 1, report.findings) == (True, ())
    finally:
        await intruder.execute(f"{function} RETURN $1::text::bigint + 0")


def test_a_new_column_is_no_part_of_what_was_sealed_before() -> None:
    """Whoever adds one says here that it isn't sealed, or gives the seals a new format."""
    for table, sealed in ((tables.events, audit.EVENT), (tables.audit_entries, audit.ENTRY)):
        assert {column.name for column in table.c} - set(sealed) == {"transaction", "position"}
