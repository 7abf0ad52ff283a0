"""Many starts of the service, each in a process of its own that needn't import everything anew.

`python -m tests.starting` reads a command and its environment from each line, runs `python -m app` so in a child,
and answers with a line of how that ended and what it said.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

from app.cli.commands import app

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    """How a start ended: exit code, output, errors."""

    code: int
    output: str
    errors: str


@cache
def warm() -> "subprocess.Popen[str]":
    """The process whose children are started; it ends with this one."""
    command = [sys.executable, "-m", "tests.starting"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start(command: str, environment: dict[str, str]) -> Ended:
    """Start a command in exactly this environment, and wait until it has ended."""
    process = warm()
    assert process.stdin
    assert process.stdout
    print(json.dumps([command, environment]), file=process.stdin, flush=True)
    return Ended(*json.loads(process.stdout.readline()))


def child(command: str, environment: dict[str, str]) -> Ended:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+") as errors:
        number = os.fork()
        if not number:
            run(command, environment, output, errors)
        _, status = os.waitpid(number, 0)
        output.seek(0)
        errors.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), output.read(), errors.read())


def run(command: str, environment: dict[str, str], output: IO[str], errors: IO[str]) -> None:
    code: object = 70
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        app([command])
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(child(*json.loads(line))), flush=True)  # noqa: T201  # its answer
