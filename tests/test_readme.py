"""The README: its tables say what the code, the policy and the settings say."""

import re

import pytest

from app.domain.policy import CLAUSES
from app.settings import Settings
from tests.api.test_clauses import TESTED
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z.0-9-]+)` \| `([\w./]+)` \| `(\w+)` \|$", re.MULTILINE)
ROWS = ROW.findall(README)


def test_every_clause_has_its_row_in_the_policys_order() -> None:
    assert tuple(row[0] for row in ROWS) == CLAUSES


@pytest.mark.parametrize(("clause", "file", "test"), ROWS)
def test_a_row_names_the_code_and_the_test_of_its_clause(clause: str, file: str, test: str) -> None:
    code = (ROOT / file).read_text(encoding="utf-8")
    assert test == TESTED[clause]
    assert clause in code or f"{clause.split('.', maxsplit=1)[0]}." in code, f"{file} says nothing of {clause}"


def test_every_setting_has_its_row() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE)
    assert listed == [name.upper() for name in settings_in_order()]


def settings_in_order() -> list[str]:
    order = [
        "database_url", "contact_database_url", "migration_database_url", "host", "port", "state_dir", "environment",
        "test_clock", "docs", "cors_origins", "issuers", "pool_size", "rate_limit", "rate_limit_storage", "audit_key",
            "audit_public_keys", "sweep_seconds", "log_level",
    ]  # fmt: skip
    assert sorted(order) == sorted(Settings.model_fields)
    return order


def test_the_first_screen_says_what_it_is_and_how_to_start() -> None:
    screen = "\n".join(README.splitlines()[:40])
    for words in ("make run", "make test", "curl", '"outcome": "denied"'):
        assert words in screen
