"""No statement reads a table that grows from end to end, but for those that are named here with their reason."""

import json

import asyncpg

from app.db import tickets
from tests.db.test_wall import ALL, plain, planned

GROWING = {"tickets", "clock_cycles", "events", "eligibility_checks", "idempotency_keys", "audit_entries"}
WHOLE = {
    "tickets.look_at_all": "a calendar has changed: all that is open is looked at anew",
}


def read_whole(node: dict[str, object]) -> set[str]:
    """The growing tables that a plan reads from end to end: scans without an index, or by one without a condition."""
    found, kind = set[str](), str(node["Node Type"])
    relation = str(node.get("Relation Name"))
    if relation in GROWING and kind == "Seq Scan":
        found.add(relation)
    plans = node.get("Plans", [])
    assert isinstance(plans, list)
    return found.union(*(read_whole(child) for child in plans)) if plans else found


async def test_nothing_that_grows_is_read_from_end_to_end(app_url: str) -> None:
    """With scans forbidden where there is any other way, as on tables that have grown; one left over has none."""
    settings = {"role": "kawan_runtime", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
    connection = await asyncpg.connect(plain(app_url), server_settings=settings, statement_cache_size=0)
    found = dict[str, set[str]]()
    plans = 0
    try:
        for name, text, _ in ALL:
            plan = await planned(connection, text)
            if plan is not None:
                plans += 1
                if whole := read_whole(plan):
                    found.setdefault(name, set()).update(whole)
    finally:
        await connection.close()
    assert plans > 700
    assert found.keys() == WHOLE.keys(), found


async def test_a_contacts_page_is_read_in_its_order_and_no_further(app_url: str) -> None:
    """Else all tickets of a large client are read and sorted for each page of one of its people."""
    scoped = frozenset(tickets.page.optional) - {"scope.client_id", "scope.contact_id"}
    settings = {"role": "kawan_runtime", "plan_cache_mode": "force_generic_plan"}
    settings |= {f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "sort")}
    connection = await asyncpg.connect(plain(app_url), server_settings=settings, statement_cache_size=0)
    try:
        plan = json.dumps(await planned(connection, tickets.page.variant(scoped).text))
    finally:
        await connection.close()
    assert '"Index Name": "ix_tickets_client_id_contact_id_created_at"' in plan
    assert '"Sort Key": ["tickets.' not in plan


def test_a_scan_from_end_to_end_is_seen() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "events"}
    assert read_whole({"Node Type": "Limit", "Plans": [{"Node Type": "Sort", "Plans": [scan]}]}) == {"events"}
    assert read_whole({"Node Type": "Limit", "Plans": [scan | {"Node Type": "Index Scan"}]}) == set()
