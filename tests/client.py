"""A client generated from openapi.yaml: it imports, passes its type check, opens and acknowledges a ticket.

Run by `make client`: the generator has an environment of its own, the service is started for it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "var" / "tools"
STORY = """
import json, sys
from kawan_elite_support_client import AuthenticatedClient
from kawan_elite_support_client.api.tickets import acknowledge, create_ticket, get_ticket
from kawan_elite_support_client.models import (
    Category, Channel, ClockState, ProblemDetails, Status, TicketRequest, TicketShape,
)

credentials = json.load(open(sys.argv[1]))


def speaking_as(name: str) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=credentials["base_url"], token=credentials["keys"][name])


body = TicketRequest(
    channel=Channel.PORTAL, category=Category.INCIDENT, subject="From a client", description="The generated one."
)
opened = create_ticket.sync(client=speaking_as("contact"), body=body)
assert isinstance(opened, TicketShape), opened
assert opened.status is Status.NEW
taken = acknowledge.sync(str(opened.id), client=speaking_as("agent"))
assert isinstance(taken, TicketShape), taken
assert taken.status is Status.OPEN and taken.clocks[0].state is ClockState.MET
foreign = get_ticket.sync(str(opened.id), client=speaking_as("premium_contact"))
assert isinstance(foreign, ProblemDetails) and foreign.code == "not_found", foreign
print(f"{opened.ref}: opened, acknowledged, and hidden from others")
"""


def run(*command: str | Path, **more: Any) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **more)


def tools() -> Path:
    """Make the environment of the tools, and return where its programs are."""
    python = ENVIRONMENT / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    if not python.exists():
        run(sys.executable, "-m", "venv", ENVIRONMENT)
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", ROOT / "requirements/tools.txt")
    return python.parent


def generate(target: Path) -> Path:
    """Generate the client and check its types; return the interpreter that has it."""
    programs = tools()
    python = programs / "python"
    shutil.rmtree(target, ignore_errors=True)
    path = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    generator = programs / "openapi-python-client"
    run(generator, "generate", "--path", ROOT / "openapi.yaml", "--output-path", target, "--fail-on-warning", env=path)
    run(python, "-m", "mypy", "--strict", "--no-error-summary", target / "kawan_elite_support_client", cwd=target)
    return python


@contextmanager
def service(state: Path) -> Iterator[Path]:
    """Start the whole service and give its credentials file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "STATE_DIR": str(state), "PORT": str(port), "LOG_LEVEL": "warning"}
    for name in ("DATABASE_URL", "TEST_CLOCK"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "dev"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout or ():
            if "is ready on" in line:
                break
        yield state / "dev-credentials.json"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def main() -> None:
    began = time.monotonic()
    target = ROOT / "var" / "kawan-elite-support-client"
    with tempfile.TemporaryDirectory() as scratch:
        python = generate(target)
        story = Path(scratch) / "story.py"
        story.write_text(STORY, encoding="utf-8")
        with service(Path(scratch) / "state") as credentials:
            base = json.loads(credentials.read_text(encoding="utf-8"))["base_url"]
            print(f"service on {base}", flush=True)
            run(python, story, credentials, env={**os.environ, "PYTHONPATH": str(target)})
    print(f"the client is in {target.relative_to(ROOT)}; done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
