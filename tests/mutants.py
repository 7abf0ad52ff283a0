"""Mutants: calendar, opening hours and eligibility broken in every small way; each time a test has to fail.

Run by `make mutants`. A mutant that survives is either a gap in the tests, and this fails, or makes
no difference that anybody could see: then it stands in `mutants.toml` with the reason.
"""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "var" / "mutants"
PYTHON = PLACE / "env" / "bin" / "python"
TREE = PLACE / "tree"
COPIED = ("app", "migrations", "tests", "alembic.ini", "pyproject.toml")
MODULES = ("calendar", "hours", "eligibility")
TESTS = (
    "test_calendar.py",
    "test_hours.py",
    "test_eligibility_words.py",
    "test_eligibility_grid.py",
    "test_calendar_laws.py",
    "test_calendar_oracle.py",
    "test_time_zones.py",
)
SETTINGS = """\
[mutmut]
source_paths=app
timeout_multiplier=1.5
timeout_constant=15
only_mutate=
    {modules}
also_copy=
    migrations
    alembic.ini
pytest_add_cli_args=
    -p
    no:randomly
pytest_add_cli_args_test_selection=
    {tests}
"""
KILLED = {"killed", "timeout"}


class Mutant(NamedTuple):
    """One changed line of a module."""

    where: str
    was: str
    now: str


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def prepare() -> None:
    """Make an environment with mutmut in it, and a copy of the tree to mutate."""
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", PYTHON.parent.parent)
    uv = Path(sys.executable).parent / "uv"
    run(
        uv, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "-r", ROOT / "requirements/mutants.txt"
    )
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, TREE / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, TREE / name)
    modules = "\n    ".join(f"app/domain/{module}.py" for module in MODULES)
    tests = "\n    ".join(f"tests/domain/{test}" for test in TESTS)
    (TREE / "setup.cfg").write_text(SETTINGS.format(modules=modules, tests=tests), encoding="utf-8")


def mutmut(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return run(PYTHON, "-m", "mutmut", *arguments, cwd=TREE, **more)


def verdicts() -> dict[str, str]:
    """Return what became of each mutant."""
    told = mutmut("results", "--all", "true", stdout=subprocess.PIPE).stdout
    return dict(line.strip().split(": ", 1) for line in told.splitlines() if ": " in line)


def shown(name: str) -> Mutant:
    """Return a mutant as its module and function with the line as it was and as it is."""
    told = mutmut("show", name, stdout=subprocess.PIPE).stdout.splitlines()
    was = [line[1:].strip() for line in told if line.startswith("-") and not line.startswith("---")]
    now = [line[1:].strip() for line in told if line.startswith("+") and not line.startswith("+++")]
    where = name.removeprefix("app.domain.").rsplit("__mutmut_", 1)[0].replace("xǁ", "").replace("ǁ", ".")
    return Mutant(where.replace(".x_", "."), " ".join(was), " ".join(now))


def main() -> int:
    began = time.monotonic()
    prepare()
    mutmut("run", "--max-children", str(min(os.cpu_count() or 1, 4)), stdout=subprocess.DEVNULL)
    found = verdicts()
    survivors = {shown(name) for name, verdict in found.items() if verdict not in KILLED}
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    explained = {Mutant(entry["where"], entry["was"], entry["now"]) for entry in document["survivors"]}
    for kind in sorted(set(found.values())):
        print(f"{kind:10} {sum(verdict == kind for verdict in found.values()):5}")
    for mutant in sorted(survivors - explained):
        print(f"SURVIVED  {mutant.where}\n  - {mutant.was}\n  + {mutant.now}")
    for mutant in sorted(explained - survivors):
        print(f"explained, but no longer there: {mutant.where}: {mutant.now}")
    print(
        f"{len(found)} mutants, {len(survivors)} survived, {len(survivors & explained)} of them explained,"
        f" {time.monotonic() - began:.0f} s"
    )
    return 1 if survivors != explained or not found else 0


if __name__ == "__main__":
    sys.exit(main())
