"""The rules of dependency, on the tree as it is and on copies in which each of them is broken."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IMPURE = {"asyncio", "os", "time", "random", "logging", "socket"}
CLOCKS = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.gmtime",
    "time.localtime",
    "time.time",
    "time.time_ns",
}
CLOCK_READERS = {"app/api/deps.py", "app/cli/commands.py", "app/worker/loop.py"}
SQL_CLOCK = re.compile(
    r"\b(?:(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\("
    r"|current_(?:date|time|timestamp)\b|local(?:time|timestamp)\b)",
    re.IGNORECASE,
)
SQL_FUNCTION = re.compile(r"func\.(?:now|(?:clock|statement|transaction|current)_\w+|localtime\w*|sysdate)")

Check = Callable[[Path], list[str]]
"""Returns what is wrong with the tree below a root, a line for each place."""


def contract(name: str, root: Path) -> list[str]:
    """Run one contract of .importlinter."""
    lint = Path(sys.executable).with_name("lint-imports")
    command: list[str | Path] = [lint, "--no-cache", "--contract", name]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if not run.returncode:
        return []
    return run.stdout.partition("Broken contracts")[2].splitlines() or [run.stdout + run.stderr]


def purity(root: Path) -> list[str]:
    """Find what the domain imports besides the domain and the pure part of the standard library."""
    allowed = sys.stdlib_module_names - IMPURE
    return [
        f"{where}: {name}"
        for where, tree in modules(root, "app/domain")
        for name in imported(tree)
        if name.partition(".")[0] not in allowed and not f"{name}.".startswith("app.domain.")
    ]


def imports_inside_functions(root: Path) -> list[str]:
    """Find imports that wait for a call."""
    return [
        f"{where}:{node.lineno}"
        for where, tree in modules(root)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def clocks(root: Path) -> list[str]:
    """Find who reads the clock without being one of those that may."""
    return [
        f"{where}: {name}"
        for where, tree in modules(root)
        if where not in CLOCK_READERS
        for name in names(tree)
        if name in CLOCKS
    ]


def clocks_in_sql(root: Path) -> list[str]:
    """Find SQL that asks the database for the time, in strings that are not docstrings or as a function."""
    found = []
    for where, tree in modules(root, "app/db"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_CLOCK.search(node.value):
                found.append(f"{where}:{node.lineno}: {node.value}")
            if isinstance(node, ast.Attribute) and SQL_FUNCTION.search(ast.unparse(node)):
                found.append(f"{where}:{node.lineno}: {ast.unparse(node)}")
    return found


def cycles(root: Path) -> list[str]:
    """Find modules that import each other, at any depth and over any number of others."""
    trees = {dotted(where): tree for where, tree in modules(root)}
    graph = {name: {known(found, trees) for found in imported(tree)} - {name, ""} for name, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def modules(root: Path, under: str = "app") -> Iterator[tuple[str, ast.Module]]:
    """Yield each module with its path from the root."""
    for path in sorted((root / under).rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def dotted(where: str) -> str:
    """Return the name of a module from its path."""
    return where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def known(name: str, trees: dict[str, ast.Module]) -> str:
    """Return the module that an imported name is, or is in; nothing where it is none of ours."""
    while name and name not in trees:
        name = name.rpartition(".")[0]
    return name


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports: `a.b` for `import a.b` as well as for `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            yield from (f"{package}.{alias.name}" for alias in node.names)


def names(tree: ast.Module) -> Iterator[str]:
    """Yield every name a module uses, written out as it was imported: `datetime.datetime.now`."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins |= {alias.asname or alias.name: alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            yield origins.get(first, first) + dot + rest


CONTRACTS = {
    name: partial(contract, name) for name in ("layers", "acyclic", "sql", "http", "settings", "outside", "cli")
}
SOURCES: list[Check] = [purity, imports_inside_functions, clocks, clocks_in_sql, cycles]
CHECKS: dict[str, Check] = CONTRACTS | {check.__name__: check for check in SOURCES}

BREAKS = [
    pytest.param("layers", "app/domain/ticket.py", "from app.db import tables", id="the domain sees the database"),
    pytest.param("layers", "app/db/pool.py", "from app.api import deps", id="the database sees the API"),
    pytest.param("layers", "app/api/system.py", "from app.worker import loop", id="the API sees the worker"),
    pytest.param("layers", "app/worker/loop.py", "from app.api import deps", id="the worker sees the API"),
    pytest.param("layers", "app/db/pool.py", "from app.outside import mail", id="the database sees the outside"),
    pytest.param("layers", "app/outside/mail.py", "from app.db import pool", id="the outside sees the database"),
    pytest.param("layers", "app/api/system.py", "from app import settings", id="the API reads the settings"),
    pytest.param(
        "layers", "app/worker/loop.py", "from app.settings import Settings", id="the worker reads the settings"
    ),
    pytest.param("layers", "app/db/pool.py", "from app.settings import Settings", id="the database reads the settings"),
    pytest.param("layers", "app/api/system.py", "from app import main", id="the API sees main"),
    pytest.param("layers", "app/placeless.py", "", id="a module has no place"),
    pytest.param("sql", "app/api/system.py", "import sqlalchemy", id="SQL in the API"),
    pytest.param("sql", "app/domain/ticket.py", "import asyncpg", id="SQL in the domain"),
    pytest.param("sql", "app/worker/loop.py", "import asyncpg.exceptions", id="SQL in the worker"),
    pytest.param("http", "app/db/pool.py", "import fastapi", id="HTTP in the database"),
    pytest.param("http", "app/worker/loop.py", "from starlette import status", id="HTTP in the worker"),
    pytest.param("http", "app/domain/ticket.py", "from pydantic import BaseModel", id="HTTP in the domain"),
    pytest.param("settings", "app/api/system.py", "import pydantic_settings", id="settings in the API"),
    pytest.param("outside", "app/api/system.py", "import httpx", id="the API talks to others"),
    pytest.param("outside", "app/db/policies.py", "import holidays", id="the database knows holidays"),
    pytest.param("cli", "app/main.py", "import uvicorn", id="main is a server"),
    pytest.param("cli", "app/worker/loop.py", "import typer", id="the worker is a command line"),
    pytest.param("purity", "app/domain/ticket.py", "import os", id="the domain has an environment"),
    pytest.param("purity", "app/domain/ticket.py", "from asyncio import sleep", id="the domain waits"),
    pytest.param("purity", "app/domain/acts/talk.py", "import yaml", id="the domain leaves the standard library"),
    pytest.param("purity", "app/domain/ticket.py", "from app import settings", id="the domain sees the settings"),
    pytest.param("purity", "app/domain/ticket.py", "from . import events", id="the domain imports relatively"),
    pytest.param(
        "imports_inside_functions", "app/db/pool.py", "async def late():\n    import json", id="an import waits"
    ),
    pytest.param(
        "clocks", "app/domain/ticket.py", "import datetime as d\nd.datetime.now()", id="a clock by its module"
    ),
    pytest.param(
        "clocks", "app/db/pool.py", "from datetime import datetime as d\nmade = d.utcnow", id="a clock to call"
    ),
    pytest.param(
        "clocks", "app/worker/sweep.py", "from time import time as clock\nclock()", id="a clock by another name"
    ),
    pytest.param("clocks", "app/cli/demo.py", "from datetime import date\ndate.today()", id="a clock of dates"),
    pytest.param("clocks_in_sql", "app/db/tickets.py", "SQL = 'SELECT now()'", id="SQL asks for now"),
    pytest.param(
        "clocks_in_sql", "app/db/tickets.py", "SQL = f'SELECT Current_Timestamp {1}'", id="SQL asks in capitals"
    ),
    pytest.param(
        "clocks_in_sql", "app/db/tickets.py", "import sqlalchemy\nsqlalchemy.func.now()", id="a function asks"
    ),
    pytest.param("cycles", "app/domain/errors.py", "from app.domain import ticket", id="two modules in a circle"),
    pytest.param("cycles", "app/domain/document.py", "from app.domain.acts import talk", id="a circle over packages"),
    pytest.param("acyclic", "app/domain/errors.py", "from app.domain import acts", id="two packages in a circle"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the checks look at, once, so that nobody's editing meanwhile is taken for a finding."""
    return copied(ROOT, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def before(tree: Path) -> dict[str, list[str]]:
    """Return what each check finds in the tree as it is."""
    return {name: check(tree) for name, check in CHECKS.items()}


def copied(source: Path, target: Path) -> Path:
    shutil.copy(source / ".importlinter", target)
    shutil.copytree(source / "app", target / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.mark.parametrize("name", CHECKS)
def test_the_tree_keeps_the_rules(before: dict[str, list[str]], name: str) -> None:
    assert before[name] == []


@pytest.mark.parametrize(("name", "where", "line"), BREAKS)
def test_a_broken_rule_is_noticed_where_it_is_broken(
    before: dict[str, list[str]], tree: Path, tmp_path: Path, name: str, where: str, line: str
) -> None:
    path = copied(tree, tmp_path) / where
    path.touch()
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    found = set(CHECKS[name](tmp_path)) - set(before[name])
    ways_to_say_where = (where, dotted(where), f".{path.stem} -> ")
    assert any(way in place for way in ways_to_say_where for place in found)


def test_every_check_has_been_seen_to_fail() -> None:
    assert {broken.values[0] for broken in BREAKS} == set(CHECKS)


def test_every_contract_is_among_the_checks() -> None:
    sections = configparser.ConfigParser()
    sections.read(ROOT / ".importlinter")
    assert {name.rpartition(":")[2] for name in sections.sections()} == {"importlinter", *CONTRACTS}
