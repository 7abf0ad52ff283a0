"""One cell of the measurement: an operation, so many connections, the service or its floor; load from `wrk`."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import uuid4

import httpx

from app.embedded import EmbeddedPostgres
from bench.stock import TICKET, Caller

ROOT: Final = Path(__file__).resolve().parent.parent
SCRIPT: Final = Path(__file__).with_name("load.lua")
PROCESSES: Final = 2
TICK: Final = os.sysconf("SC_CLK_TCK")
WARM_SECONDS: Final = 1
READY_SECONDS: Final = 30
LINES: Final = 4_000
CHECK: Final = {name: TICKET[name] for name in ("channel", "category", "description", "details")}
WHY: Final = {"reason": "The client has called."}
READS: Final = ("read", "list", "clocks")
"""Operations that leave nothing behind."""
ACTS: Final = ("reply", "prioritize", "escalate")
"""Operations that need tickets of their own."""
OPERATIONS: Final = (*READS, "check", *ACTS, "create")


@dataclass(frozen=True, slots=True)
class Served:
    """Processes that answer: where, and their numbers."""

    name: str
    ports: list[int]
    pids: list[int]


@contextmanager
def served(name: str, command: Sequence[str], environment: dict[str, str], first_port: int) -> Iterator[Served]:
    """Start the processes of the service or the floor, and wait until each answers."""
    ports = [first_port + number for number in range(PROCESSES)]
    running = [
        subprocess.Popen(
            [part.format(port=port) for part in command],
            cwd=ROOT,
            env={**os.environ, **environment, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        for port, process in zip(ports, running, strict=True):
            _await(port, process)
        yield Served(name, ports, [process.pid for process in running])
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(15)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit(f"nothing answers on port {port}")


def bodies(operation: str) -> list[tuple[str, Any]]:
    """Return what is sent to do an operation, one after the other, each under the name of its act."""
    given: dict[str, list[tuple[str, Any]]] = {
        "reply": [("messages", {"text": "We are looking into it, and will be back before noon."})],
        "prioritize": [("prioritize", WHY | {"priority": "high"}), ("prioritize", WHY | {"priority": "normal"})],
        "escalate": [("escalate", WHY), ("deescalate", WHY)],
        "check": [("", CHECK)],
        "create": [("", TICKET)],
    }
    return given[operation]


def lines(operation: str, callers: Sequence[Caller], own: Sequence[str], random: Random) -> list[str]:
    """Return the requests of a cell; `own` are ids of tickets that only this cell changes."""
    contacts = [caller for caller in callers if caller.role == "contact"]
    agents = [caller for caller in callers if caller.role == "agent"]
    if operation in ACTS:
        # Every ticket once for each body: by when it is its turn again, it is as it was.
        return [
            _line("POST", f"/v1/tickets/{ticket}/{act}", agent, body)
            for act, body in bodies(operation)
            for ticket, agent in zip(own, cycle(agents), strict=False)
        ]
    if operation in {"read", "clocks"}:
        end = "/clocks" if operation == "clocks" else ""
        # Of each caller's tickets as many as there are, in no order.
        known = [(caller, ticket) for caller in contacts for ticket in caller.tickets]
        random.shuffle(known)
        return [_line("GET", f"/v1/tickets/{ticket}{end}", who) for who, ticket in islice(cycle(known), LINES)]
    if operation == "list":
        return [_line("GET", "/v1/tickets?limit=50", caller) for caller in contacts]
    path = {"check": "/v1/eligibility-checks", "create": "/v1/tickets"}[operation]
    return [_line("POST", path, caller, bodies(operation)[0][1]) for caller in contacts]


def _line(method: str, path: str, caller: Caller, body: Any = None) -> str:  # noqa: ANN401  # JSON
    return "\t".join((method, path, caller.told, caller.key, json.dumps(body) if body is not None else ""))


def load(app: Served, given: Sequence[str], connections: int, seconds: int) -> dict[str, Any]:
    """Send requests over so many connections, and return what `wrk` counted."""
    threads = min(PROCESSES, connections)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requests:
        requests.write("\n".join(given))
        requests.flush()
        environment = {
            "PORTS": ",".join(map(str, app.ports)),
            "REQUESTS": requests.name,
            "THREADS": str(threads),
            "RUN": uuid4().hex[:12],
        }
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
        command.append(f"http://127.0.0.1:{app.ports[0]}/")
        ran = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, cwd=ROOT
        )
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def measured(
    app: Served, postmaster: int, given: tuple[Sequence[str], Sequence[str]], connections: int, seconds: int
) -> dict[str, Any]:
    """Measure a cell: requests a second, waits, and the processor time of application and database for each.

    `given` are the requests to warm up with, and those to measure.
    """
    warm, real = given
    if warm:
        load(app, warm, connections, WARM_SECONDS)
    before = processor(app.pids), of_children(postmaster)
    found = load(app, real, connections, seconds)
    after = processor(app.pids), of_children(postmaster)
    count = max(found["requests"], 1)
    return found | {
        "per_second": found["requests"] / found["seconds"],
        "app_us": (after[0] - before[0]) / count * 1e6,
        "database_us": (after[1] - before[1]) / count * 1e6,
        "memory_mb": max(memory(pid) for pid in app.pids),
    }


def processor(pids: Sequence[int]) -> float:
    """Return the seconds of processor time that processes have had."""
    return sum(_time(Path(f"/proc/{pid}/stat"))[1] for pid in pids)


def postmaster_of(server: EmbeddedPostgres) -> int:
    """Return the number of the process that has started everything of a database's server."""
    return int((server.data / "postmaster.pid").read_text(encoding="ascii").split()[0])


def of_children(postmaster: int) -> float:
    """Return the seconds of processor time of all that a database's server has started and that is there."""
    found = (_time(path) for path in Path("/proc").glob("[0-9]*/stat"))
    return sum(seconds for parent, seconds in found if parent == postmaster)


def _time(path: Path) -> tuple[int, float]:
    """Return the parent of a process and the seconds of processor time it has had."""
    try:
        found = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0.0
    return int(found[1]), (int(found[11]) + int(found[12])) / TICK


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
