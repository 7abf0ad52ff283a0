"""The development start: API and worker as children, kept together and stopped together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Final

from app.cli.problems import StartError
from app.embedded import EmbeddedPostgres
from app.settings import Settings

READY_SECONDS: Final = 30
STOP_SECONDS: Final = 15
STEP_SECONDS: Final = 0.2


def require_free(host: str, port: int) -> None:
    """See that nobody serves there yet.

    Raises:
        StartError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise StartError(f"Port {port} on {host} is taken; choose another one: make run PORT={port + 1}.") from None


def run(settings: Settings, url: str, credentials: Path, server: EmbeddedPostgres | None) -> None:
    """Run API and worker until told to stop.

    Raises:
        StartError: one of them ended by itself, or the API didn't get ready.
    """
    environment = {**os.environ, "DATABASE_URL": url, "STATE_DIR": str(settings.state_dir)}
    children = {name: _child(name, environment) for name in ("serve", "worker")}
    stopping = _Stopping()
    try:
        _await_ready(settings, children, stopping)
        if not stopping.asked:
            _welcome(settings, credentials)
        while not stopping.asked:
            _require_alive(children)
            if server is not None:
                server.start()
            time.sleep(STEP_SECONDS)
    finally:
        _stop(children)


class _Stopping:
    """Whether somebody asked to stop, by Ctrl-C or SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def _child(name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command of ours in a session of its own, so that Ctrl-C reaches only us."""
    return subprocess.Popen([sys.executable, "-m", "app", name], env=environment, start_new_session=True)


def _require_alive(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            raise StartError(f"The {name} process ended by itself; what it printed above says why.")


def _await_ready(settings: Settings, children: dict[str, subprocess.Popen[bytes]], stopping: _Stopping) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stopping.asked:
        _require_alive(children)
        if _ready(f"http://{settings.host}:{settings.port}/readyz"):
            return
        if time.monotonic() > deadline:
            raise StartError(f"The API isn't ready after {READY_SECONDS} s; what it printed above says why.")
        time.sleep(STEP_SECONDS)


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):  # noqa: S310  # our own address
            return True
    except OSError:
        return False


def _stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    for child in children.values():
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


def _welcome(settings: Settings, credentials: Path) -> None:
    base = f"http://{settings.host}:{settings.port}"
    client = json.loads(credentials.read_text(encoding="utf-8"))["clients"]["standard"]
    post = "curl -s -H 'Content-Type: application/json' -H \"Authorization: Bearer $(key %s)\""
    print(
        f"""
Kawan Elite support is ready on {base}, described on {base}/docs.
Keys for every role are in {credentials}. Three requests to try in another terminal:

  key() {{ python3 -c "import json; print(json.load(open('{credentials}'))['keys']['$1'])"; }}

  # The portal: open a ticket as the contact of a client with a standard plan.
  {post % "contact"} {base}/v1/tickets \\
    -d '{{"channel": "portal", "category": "incident", "subject": "Form", "description": "It shows an error"}}'

  # The desk: would a phone call of that client be taken, and if not, why not?
  {post % "agent"} {base}/v1/eligibility-checks \\
    -d '{{"client_id": "{client}", "channel": "phone", "category": "incident"}}'

  # The desk: what is new?
  curl -s -H "Authorization: Bearer $(key agent)" '{base}/v1/tickets?status=new&limit=5'

Stop with Ctrl-C.
""",
        flush=True,
    )
