"""The development start: API and worker as children, kept together and stopped together."""

import errno
import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Final

from app.cli.problems import StartError
from app.db import seal
from app.embedded import EmbeddedPostgres
from app.settings import Settings

AUDIT_KEY: Final = "audit-key"
READY_SECONDS: Final = 30
STOP_SECONDS: Final = 15
STEP_SECONDS: Final = 0.1
FORKED: Final = get_context("fork")
LAST_PORT: Final = 65535
DIRECTLY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def base_url(settings: Settings) -> str:
    """Return where the API is called."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def require_private(settings: Settings) -> None:
    """See that only the developer can call: demo data comes with keys for every role.

    Raises:
        StartError: others could.
    """
    if settings.exposed:
        raise StartError(
            "Demo data with keys for every role is for this machine alone;"
            " unset HOST and ENVIRONMENT, or start with `python -m app serve` and `python -m app worker`."
        )


def require_free(host: str, port: int) -> None:
    """See that nobody serves there yet.

    Raises:
        StartError: somebody does, or it can't be served there at all.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise StartError(f"Port {port} on {host} can't be used ({error.strerror}); change PORT or HOST.") from None
        other = port + 1 if port < LAST_PORT else port - 1
        raise StartError(f"Port {port} on {host} is taken; choose another one: make run PORT={other}.") from None


def audit_key(state_dir: Path) -> str:
    """Return the key that development seals its audit with, made at the first start and readable by us alone."""
    path = state_dir / AUDIT_KEY
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        fresh = state_dir / f"{AUDIT_KEY}-{os.getpid()}"
        fresh.touch(0o600)
        fresh.write_text(seal.new_key()[0], encoding="ascii")
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text(encoding="ascii")


def stop_with_parent() -> None:
    """Stop this process when the one that started it is gone, or was before this could begin to look."""
    forked_from = parent_process()
    parent = forked_from.pid if forked_from else os.getppid()
    Thread(target=_await_orphaned, args=(parent,), daemon=True).start()


def _await_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(STEP_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def run(
    settings: Settings,
    commands: Mapping[str, Callable[[], object]],
    addresses: Mapping[str, str],
    credentials: Path,
    server: EmbeddedPostgres | None,
) -> None:
    """Run these commands, the API among them, until told to stop; a database of ours that was killed is started again.

    Raises:
        StartError: one of them ended by itself, or the API didn't get ready.
        EmbeddedError: the database can't be started again.
    """
    stopping = _Stopping()
    environment = {**os.environ, **addresses, "STATE_DIR": str(settings.state_dir)}
    children = {name: _child(name, command, environment) for name, command in commands.items()}
    try:
        _await_ready(settings, children, stopping)
        if not stopping.asked:
            _welcome(settings, credentials)
        while not stopping.asked:
            _require_alive(children)
            if server is not None and not server.runs():
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


def _child(name: str, command: Callable[[], object], environment: Mapping[str, str]) -> ForkProcess:
    """Start a command of ours as a fork: all that it needs is read already, which is most of a start."""
    child = FORKED.Process(target=_become, args=(command, environment), name=name)
    child.start()
    return child


def _become(command: Callable[[], object], environment: Mapping[str, str]) -> None:
    """Run a command in a session of its own, so that Ctrl-C reaches only the process that started it."""
    os.setsid()
    with suppress(OSError):
        # So that one tells them apart, where the system lets a process name itself.
        Path("/proc/self/comm").write_text(f"kawan-{current_process().name}", encoding="ascii")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(environment)
    command()


def _require_alive(children: Mapping[str, ForkProcess]) -> None:
    for name, child in children.items():
        if not child.is_alive():
            raise StartError(f"The {name} process ended by itself; what it printed above says why.")


def _await_ready(settings: Settings, children: Mapping[str, ForkProcess], stopping: _Stopping) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stopping.asked:
        _require_alive(children)
        if _ready(f"{base_url(settings)}/readyz"):
            return
        if time.monotonic() > deadline:
            raise StartError(f"The API isn't ready after {READY_SECONDS} s; what it printed above says why.")
        time.sleep(STEP_SECONDS)


def _ready(address: str) -> bool:
    try:
        with DIRECTLY.open(address, timeout=2):
            return True
    except (OSError, HTTPException):
        return False


def _stop(children: Mapping[str, ForkProcess]) -> None:
    for child in children.values():
        child.terminate()
    for child in children.values():
        child.join(STOP_SECONDS)
        if child.is_alive():
            child.kill()
            child.join()


def _welcome(settings: Settings, credentials: Path) -> None:
    base = base_url(settings)
    client = json.loads(credentials.read_text(encoding="utf-8"))["clients"]["standard"]
    post = "curl -s -H 'Content-Type: application/json' -H \"Authorization: Bearer $(key %s)\""
    print(
        f"""
Kawan Elite support is ready on {base}, described on {base}/docs.
Keys for every role are in {credentials}. Three requests to try in another terminal:

  key() {{ python3 -c "import json; print(json.load(open('{credentials}'))['keys']['$1'])"; }}

  # The portal: open a ticket as the contact of a client with a standard plan.
  {post % "contact"} {base}/v1/tickets \\
    -d '{{"channel": "portal", "category": "incident", "subject": "Form", "description": "It fails since this noon"}}'

  # The desk: would a phone call of that client be taken, and if not, why not?
  {post % "agent"} {base}/v1/eligibility-checks \\
    -d '{{"client_id": "{client}", "channel": "phone", "category": "incident"}}'

  # The desk: what is new?
  curl -s -H "Authorization: Bearer $(key agent)" '{base}/v1/tickets?status=new&limit=5'

Stop with Ctrl-C.
""",
        flush=True,
    )
