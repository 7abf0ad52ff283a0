"""The start as people meet it: one command that brings everything up, and one sentence where it can't."""

import itertools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.db import seal
from app.embedded import EmbeddedPostgres
from tests.conftest import administer, database, drop, template
from tests.starting import Ended, start

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "DATABASE_URL",
    "CONTACT_DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "HOST",
    "PORT",
    "STATE_DIR",
    "ENVIRONMENT",
    "TEST_CLOCK",
    "DOCS",
    "CORS_ORIGINS",
    "ISSUERS",
    "AUDIT_KEY",
    "AUDIT_PUBLIC_KEYS",
)
UNREACHABLE = "postgresql://somebody:secret@127.0.0.1:1/nothing"
PASSING_PYTHON = '#!/bin/sh\ncase "$2" in *{refused}*) exit 1;; esac\n'


def environment(**settings: object) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return kept | {name: str(value) for name, value in settings.items()}


def refusal(command: str, **settings: object) -> str:
    """What a command that can't start says: one line, exit code 2, nothing else."""
    return only_line(start(command, environment(**settings)))


def only_line(ended: Ended) -> str:
    lines = ended.errors.splitlines()
    assert (ended.code, len(lines), ended.output) == (2, 1, ""), ended
    return lines[0]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ------------------------------------------------------------------------------ what can't be


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_port_that_is_taken_is_named_with_another_to_take(command: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refusal(command, PORT=port, STATE_DIR=tmp_path, DATABASE_URL=UNREACHABLE)
    assert said.startswith(f"Port {port} on 127.0.0.1 is taken; choose another one: make run PORT=")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["dev", "serve", "worker", "migrate"])
def test_a_database_that_cannot_be_reached_is_said_without_its_password(command: str, port: int) -> None:
    said = refusal(command, DATABASE_URL=UNREACHABLE, PORT=port)
    assert said == ("The database can't be reached; start it, mend DATABASE_URL, or unset it to use the embedded one.")


def missing(url: str) -> str:
    """The address of a database that isn't there, on a server that is."""
    return urlsplit(url)._replace(path="/missing").geturl()


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_database_that_refuses_is_quoted(command: str, port: int, server_url: str) -> None:
    said = refusal(command, DATABASE_URL=missing(server_url), PORT=port)
    assert said.startswith('The database refuses the application (database "missing" does not exist); run')


def test_a_database_that_refuses_the_migration_is_quoted(server_url: str) -> None:
    said = refusal("migrate", DATABASE_URL=missing(server_url))
    assert said.startswith('The database refuses the migration (database "missing" does not exist); mend that')


@pytest.mark.parametrize("url", ["mysql://somewhere/x", "nonsense", "postgresql://host:port/x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    assert refusal("migrate", DATABASE_URL=url).startswith("These settings don't work: DATABASE_URL: ")


SEALS = {"AUDIT_PUBLIC_KEYS": seal.new_key()[1]}
SAFE = {"DATABASE_URL": UNREACHABLE, "CONTACT_DATABASE_URL": UNREACHABLE.replace("somebody", "contacts")} | SEALS
PLAIN = json.dumps([{"issuer": "http://login.kawan.example", "audience": "kawan", "people": "staff"}])
# Where others may call, as the sentences say it, and how else the violation may end.
EXPOSED = {
    "HOST=0.0.0.0": ("on 0.0.0.0", " or serve on 127.0.0.1"),
    "HOST=::": ("on ::", " or serve on 127.0.0.1"),
    "HOST=192.168.1.20": ("on 192.168.1.20", " or serve on 127.0.0.1"),
    "ENVIRONMENT=production": ("in production", ""),
}
# What is for the developer alone: a setting that says so, or one that is left out, and its sentence.
UNSAFE = {
    "TEST_CLOCK=1": "TEST_CLOCK may not be set {0}: unset it{1}",
    "DATABASE_URL=": "DATABASE_URL has to be set {0}: the embedded database is for development",
    "CONTACT_DATABASE_URL=": "CONTACT_DATABASE_URL has to be set {0}, with another login than DATABASE_URL",
    "AUDIT_PUBLIC_KEYS=": "AUDIT_PUBLIC_KEYS has to be set {0}, with the key that the worker's AUDIT_KEY goes with",
    "DOCS=1": "DOCS may not be set {0}: unset it{1}",
    "CORS_ORIGINS=*": "CORS_ORIGINS may not hold * {0}: name the portal's origin",
    f"ISSUERS={PLAIN}": "ISSUERS may not be reached by plain http {0}: use https",
}
COULD_START = "The database can't be reached; start it, mend DATABASE_URL, or unset it to use the embedded one."


def mixed(*settings: str) -> dict[str, str]:
    return SAFE | dict(setting.split("=", 1) for setting in settings)


def test_every_unsafe_mix_names_each_violation_and_nothing_else_and_what_is_safe_goes_on(port: int) -> None:
    """Each alone, each pair, and all at once, wherever others may call; without any it goes as far as its database."""
    mixes = [mix for size in (1, 2, len(UNSAFE)) for mix in itertools.combinations(UNSAFE, size)]
    refused = list(itertools.product(EXPOSED, mixes))
    assert len(refused) == 4 * (7 + 21 + 1)
    exposed = [mixed(f"PORT={port}", where) for where in EXPOSED if where != "HOST=192.168.1.20"]
    reached = {"PORT": str(port), "DATABASE_URL": UNREACHABLE}
    alone = [mixed(f"HOST={host}", *UNSAFE) | reached for host in ("127.0.0.1", "127.0.0.2", "localhost")]
    for settings in exposed + alone:
        assert refusal("serve", **settings) == COULD_START
    for where, mix in refused:
        sentences = "; ".join(UNSAFE[setting].format(*EXPOSED[where]) for setting in mix)
        assert refusal("serve", **mixed(where, *mix)) == f"These settings don't work: {sentences}."


def test_every_unsafe_setting_is_named_at_once() -> None:
    """The same by the command itself."""
    ran = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT, env=environment(**mixed("HOST=0.0.0.0", *UNSAFE)), capture_output=True, text=True, check=False,
        timeout=30,
    )  # fmt: skip
    said = only_line(Ended(ran.returncode, ran.stdout, ran.stderr))
    assert said.count(" on 0.0.0.0") == len(UNSAFE)


@pytest.mark.parametrize(
    ("house", "contacts", "said"),
    [
        ("kawan_owner", "kawan_portal", "The login of DATABASE_URL may do more than kawan_runtime: give it one"),
        ("kawan_app", "kawan_owner", "The login of CONTACT_DATABASE_URL may do more than kawan_contact: give it one"),
        (
            "kawan_app",
            "kawan_app/",
            'set role "kawan_contact"); run `python -m app migrate`, or mend CONTACT_DATABASE_',
        ),
        ("kawan_portal", "kawan_app", 'set role "kawan_runtime"); run `python -m app migrate`, or mend DATABASE_URL.'),
    ],
)
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="another server has other logins")
def test_a_login_that_may_do_more_than_it_is_for_is_refused_in_production(
    house: str, contacts: str, said: str, port: int, app_url: str
) -> None:
    plain = app_url.replace("+asyncpg", "", 1)
    # The same login by another address is no other login.
    more = "&application_name=other" if contacts.endswith("/") else ""
    urls = {
        "DATABASE_URL": plain.replace("kawan_app@", f"{house}@"),
        "CONTACT_DATABASE_URL": plain.replace("kawan_app@", f"{contacts.strip('/')}@") + more,
    }
    assert said in refusal("serve", ENVIRONMENT="production", PORT=port, **urls, **SEALS)


def fill(settings: dict[str, str]) -> None:
    filling = [sys.executable, "-m", "app", "demo"]
    subprocess.run(filling, cwd=ROOT, env=environment(**settings), capture_output=True, check=True, timeout=60)


def served(paths: tuple[str, ...], **settings: object) -> list[bool]:
    """Which of these addresses a start of `serve` answers."""
    base = f"http://127.0.0.1:{settings['PORT']}"
    with subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment(**settings)) as process:
        try:
            assert eventually(lambda: answers(f"{base}/livez"), 40)
            return [answers(base + path) for path in paths]
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture
async def filled(server_url: str, worker_id: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of a database with demo data in it, by two logins that own nothing."""
    name = f"demo_{worker_id}_{os.getpid()}"
    await administer(server_url, f"CREATE DATABASE {name} TEMPLATE {await template(server_url)}")
    url = database(server_url, name).replace("+asyncpg", "", 1)
    logins = [url.replace("kawan_owner@", f"{login}@") for login in ("kawan_app", "kawan_portal")]
    settings = dict(zip(("DATABASE_URL", "CONTACT_DATABASE_URL"), logins, strict=True)) | {"STATE_DIR": str(tmp_path)}
    fill(settings)
    yield settings
    await drop(server_url, name)


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="another server has other logins")
async def test_keys_for_development_are_refused_where_others_call_until_they_are_revoked(
    filled: dict[str, str], port: int
) -> None:
    keys = "demo admin, demo agent, demo agent2, demo agent3, demo contact, demo lapsed_contact, demo lead,"
    owner = filled["DATABASE_URL"].replace("kawan_app@", "kawan_owner@")
    said = refusal("serve", ENVIRONMENT="production", PORT=port, **filled | SEALS | {"DATABASE_URL": owner})
    assert said.startswith("The login of DATABASE_URL may do more than kawan_runtime: ")
    assert said.endswith(f" ({keys} demo premium_contact): revoke them, or take another database.")
    connection = await asyncpg.connect(owner)
    await connection.execute("UPDATE api_keys SET revoked_at = now()")
    await connection.close()
    paths = ("/openapi.json", "/v1/docs", "/docs")
    assert served(paths, ENVIRONMENT="production", PORT=port, **filled | SEALS) == [True, False, False]


def test_every_senseless_setting_is_named_at_once() -> None:
    said = refusal("serve", PORT="none", LOG_LEVEL="loud", ISSUERS="https://login.kawan.example")
    assert all(name in said for name in ("PORT: ", "LOG_LEVEL: ", "ISSUERS: write it as a JSON list of issuers"))


@pytest.mark.parametrize(
    ("command", "setting"),
    [("dev", {"HOST": "0.0.0.0"}), ("demo", {"ENVIRONMENT": "production"})],  # noqa: S104  # what is refused
)
def test_demo_keys_are_never_made_where_others_can_call(command: str, setting: dict[str, str]) -> None:
    other = UNREACHABLE.replace("somebody", "contacts")
    said = refusal(command, DATABASE_URL=UNREACHABLE, CONTACT_DATABASE_URL=other, **setting, **SEALS)
    assert said.startswith("Demo data with keys for every role is for this machine alone;")


def test_a_state_directory_that_cannot_be_made_is_said(port: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "set STATE_DIR to a directory that you may write" in refusal("dev", PORT=port, STATE_DIR=tmp_path / "file")


def made(tmp_path: Path, python: str | Path) -> str:
    """What `make run` says with a Python, in a checkout without an environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    run = ["make", "--no-print-directory", "run", f"PYTHON={python}"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 2
    return ran.stdout


def passing(path: Path, refused: str) -> Path:
    """A Python that has everything but one thing."""
    path.write_text(PASSING_PYTHON.format(refused=refused))
    path.chmod(0o755)
    return path


def test_make_says_that_there_is_no_python(tmp_path: Path) -> None:
    said = made(tmp_path, "python-of-nowhere")
    assert said.startswith("python-of-nowhere was not found; install Python 3.11 or later")


def test_make_says_that_python_is_too_old(tmp_path: Path) -> None:
    said = made(tmp_path, passing(tmp_path / "old", "version_info"))
    assert said == f"{tmp_path / 'old'} is older than 3.11; name a later one: make PYTHON=python3.12.\n"


def test_make_says_that_the_venv_module_is_missing(tmp_path: Path) -> None:
    said = made(tmp_path, passing(tmp_path / "bare", "ensurepip"))
    assert said == f"{tmp_path / 'bare'} has no venv module; install it (on Debian: apt install python3-venv).\n"


def test_make_alone_lists_its_targets() -> None:
    ran = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in ran.stdout.splitlines()} >= {"run", "test", "check", "lock", "clean"}


# -------------------------------------------------------------------------- the whole of it


@dataclass
class Start:
    """A development start that is ready."""

    process: subprocess.Popen[str]
    server: EmbeddedPostgres
    base_url: str
    told: str

    def rest(self, seconds: float = 20) -> tuple[int, str]:
        """Wait for its end, and return exit code and last words."""
        _, stderr = self.process.communicate(timeout=seconds)
        return self.process.returncode, stderr

    def answers(self, path: str) -> bool:
        return answers(self.base_url + path)

    def gone(self) -> bool:
        return eventually(lambda: not self.server.runs() and not self.answers("/livez") and not children(self.server))


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310  # our own address
            return True
    except OSError:
        return False


def eventually(holds: Callable[[], bool], seconds: float = 8) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def children(server: EmbeddedPostgres, name: str = "") -> list[int]:
    """The API and worker processes on a server's state, found by what they were given and what they are called."""
    place = f"STATE_DIR={server.root.parent}".encode()
    return [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if place in _read(path / "environ").split(b"\0") and f"kawan-{name}".encode() in _read(path / "comm")
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def started(state: Path, port: int) -> Iterator[Start]:
    with _started(state, port) as start:
        yield start
        start.process.kill()
        assert start.gone()


@contextmanager
def _started(state: Path, port: int) -> Iterator[Start]:
    with subprocess.Popen(
        [sys.executable, "-m", "app", "dev"], cwd=ROOT, env=environment(PORT=port, STATE_DIR=state),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        told = ""
        while "Stop with Ctrl-C" not in told:
            line = process.stdout.readline()
            assert line, process.communicate()
            told += line
        yield Start(process, EmbeddedPostgres(state), f"http://127.0.0.1:{port}", told)


def test_a_start_answers_and_tells_where_it_is_and_how_to_get_in(started: Start, state: Path) -> None:
    path = state / "dev-credentials.json"
    assert started.answers("/readyz")
    assert started.answers("/docs")
    assert started.base_url in started.told
    assert str(path) in started.told
    assert started.told.count("curl") == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["base_url"] == started.base_url


def test_a_start_that_is_killed_leaves_nothing_running(started: Start) -> None:
    started.process.kill()
    started.process.wait()
    assert started.gone()


@pytest.mark.parametrize("name", ["serve", "worker"])
def test_a_start_ends_with_what_it_cannot_be_without(started: Start, name: str) -> None:
    for pid in children(started.server, name):
        os.kill(pid, signal.SIGKILL)
    code, said = started.rest()
    assert code == 2
    assert said.splitlines()[-1] == f"The {name} process ended by itself; what it printed above says why."


def test_a_start_mends_its_database_when_that_was_killed(started: Start) -> None:
    pid = started.server._pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: started.server._pid() not in {None, pid})
    assert eventually(lambda: started.answers("/readyz"), 5)


def test_a_start_that_is_stopped_leaves_nothing_running_and_the_next_finds_its_keys(state: Path, port: int) -> None:
    kept = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with _started(state, port) as start:
            kept.append((state / "dev-credentials.json").read_text())
            start.process.send_signal(number)
            code, said = start.rest()
            assert (code, start.server.runs(), children(start.server)) == (0, False, [])
            assert "Traceback" not in said
    assert kept[0] == kept[1]


def test_a_worker_that_could_not_seal_does_not_start_where_it_matters() -> None:
    said = refusal("worker", ENVIRONMENT="production", **SAFE)
    assert said.startswith("AUDIT_KEY has to be set for the worker")
    said = refusal("worker", ENVIRONMENT="production", **SAFE, AUDIT_KEY=seal.new_key()[0])
    assert said == "AUDIT_PUBLIC_KEYS lacks the key that goes with AUDIT_KEY; add it."
    assert "AUDIT_KEY: write a key as" in refusal("worker", DATABASE_URL=UNREACHABLE, AUDIT_KEY="mine")
