"""Many starts of the service, each in a process of its own that needn't import everything anew.

`python -m tests.starting` reads a list of settings as JSON, lets `serve` start with each, and tells how each ended.
"""

import json
import os
import sys
import tempfile
from typing import IO

from app.cli.commands import app


def start(settings: dict[str, str]) -> tuple[int, str]:
    """What `python -m app serve` does with these settings beside those of our own."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        child = os.fork()
        if not child:
            serve(settings, told)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        return os.waitstatus_to_exitcode(status), told.read()


def serve(settings: dict[str, str], told: IO[str]) -> None:
    code: object = 70
    try:
        os.environ |= settings
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
        app(["serve"])
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)


if __name__ == "__main__":
    json.dump([start(settings) for settings in json.load(sys.stdin)], sys.stdout)
