"""The development database with real processes: shared, killed, restarted, and gone with the last user."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded import NAMESPACE, NOBODY, UNPRIVILEGED, EmbeddedError, EmbeddedPostgres, _binaries

ROOT = Path(__file__).resolve().parents[2]
USER = """
import sys, time
from pathlib import Path
from app.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("joined", flush=True)
time.sleep(60)
"""
ASKER = """
import subprocess, sys
from pathlib import Path
from app.embedded import EmbeddedPostgres, _binaries
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    address = ["-h", str(server.socket_dir), "-U", "kawan_owner", "-d", "kawan"]
    subprocess.run([_binaries() / "psql", *address, "-Atqc", "SELECT 'answered'"], check=True)
"""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")


def client(server: EmbeddedPostgres, statement: str) -> list[str]:
    address = ["-h", str(server.socket_dir), "-U", "kawan_owner", "-d", "kawan"]
    return [str(_binaries() / "psql"), *address, "-v", "ON_ERROR_STOP=1", "-Atqc", statement]


def ask(server: EmbeddedPostgres, statement: str) -> str:
    return subprocess.run(client(server, statement), capture_output=True, text=True, check=True).stdout.strip()


def postmaster(server: EmbeddedPostgres) -> int:
    pid = server._pid()
    assert pid is not None
    return pid


def eventually(holds: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def watchers(server: EmbeddedPostgres) -> list[int]:
    """The watchers of a server, found without asking it."""
    asked = b"\0".join((b"-m", b"app.embedded", os.fsencode(server.root.parent), b""))
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if asked in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def gone(server: EmbeddedPostgres) -> bool:
    """Whether neither server nor watcher is left, in a few seconds."""
    return eventually(lambda: not server.runs() and not server._answers() and not watchers(server))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    found = EmbeddedPostgres(tmp_path / "with a space")
    yield found
    found.stop()
    assert gone(found)


@contextmanager
def another(server: EmbeddedPostgres) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server, and is killed with no chance to leave it."""
    command = [sys.executable, "-c", USER, str(server.root.parent)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "joined\n"
            yield process
        finally:
            process.kill()


def test_it_keeps_what_was_committed_when_the_last_user_leaves_and_it_stops(server: EmbeddedPostgres) -> None:
    with server:
        ask(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    assert not server.runs()
    with server:
        assert ask(server, "SELECT n FROM kept") == "7"


def test_it_is_durable_and_speaks_no_tcp(server: EmbeddedPostgres) -> None:
    with server:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "server_encoding")
        assert [ask(server, f"SHOW {name}") for name in names] == ["on", "on", "on", "", "UTF8"]
        assert server.socket_dir.stat().st_mode & 0o077 == 0


def test_the_careless_settings_of_tests_are_chosen_by_name(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        assert ask(server, "SHOW fsync") == "off"


def test_neither_role_is_a_superuser_and_the_login_owns_nothing(server: EmbeddedPostgres) -> None:
    with server:
        roles = "SELECT rolname, rolsuper, rolcreaterole FROM pg_roles WHERE rolname LIKE 'kawan%' ORDER BY 1"
        assert ask(server, roles).split() == [
            "kawan_app|f|f", "kawan_contact|f|f", "kawan_owner|f|t", "kawan_portal|f|f", "kawan_runtime|f|f",
        ]  # fmt: skip
        others = (
            "SELECT string_agg(member.rolname || '>' || had.rolname, ' ' ORDER BY member.rolname) FROM pg_auth_members"
        )
        of = " JOIN pg_roles had ON had.oid = roleid JOIN pg_roles member ON member.oid = pg_auth_members.member"
        logins = "kawan_app>kawan_runtime kawan_portal>kawan_contact"
        assert ask(server, f"{others}{of} WHERE member.rolname IN ('kawan_app', 'kawan_portal')") == logins
        assert ask(server, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'kawan'") == "kawan_owner"
    assert server.owner_url.startswith("postgresql+asyncpg://kawan_owner@/kawan?host=/")
    assert server.app_url.startswith("postgresql+asyncpg://kawan_app@/kawan?host=/")


def test_text_sorts_by_code_point_whatever_the_system_speaks(server: EmbeddedPostgres) -> None:
    with server:
        assert ask(server, "SELECT string_agg(w, '' ORDER BY w) FROM unnest(ARRAY['b', 'é', 'B', 'a']) w") == "Babé"
        assert ask(server, "SELECT upper('é')") == "É"


def test_a_killed_user_takes_nothing_from_the_others(server: EmbeddedPostgres) -> None:
    with server:
        first = postmaster(server)
        with another(server):
            pass
        time.sleep(0.3)
        assert (postmaster(server), ask(server, "SELECT 1")) == (first, "1")


def test_it_stays_for_the_others_when_the_one_that_started_it_leaves(server: EmbeddedPostgres) -> None:
    server.start()
    with another(server):
        server.stop()
        time.sleep(0.3)
        assert ask(server, "SELECT 1") == "1"
    assert gone(server)


def test_it_is_gone_when_all_its_users_were_killed(server: EmbeddedPostgres) -> None:
    with another(server), another(server):
        assert server.runs()
    assert gone(server)


def test_a_start_after_all_users_were_killed_finds_everything(server: EmbeddedPostgres) -> None:
    with another(server):
        ask(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    with server:
        assert ask(server, "SELECT n FROM kept") == "7"


def test_it_comes_back_after_it_was_killed_under_load(server: EmbeddedPostgres) -> None:
    server.start()
    ask(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    busy = client(server, "INSERT INTO kept SELECT 0 FROM generate_series(1, 100000000)")
    with subprocess.Popen(busy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        time.sleep(0.3)
        os.kill(postmaster(server), signal.SIGKILL)
        assert eventually(lambda: not server.runs())
        server.start()
    assert ask(server, "SELECT DISTINCT n FROM kept") == "7"


def test_it_comes_back_when_its_number_is_another_process_by_now(server: EmbeddedPostgres) -> None:
    with server:
        pass
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n1\n5432\n\n\n")
    with server:
        assert ask(server, "SELECT 1") == "1"
    os.kill(os.getpid(), 0)  # and this process was left alone


def test_half_a_cluster_of_a_killed_start_is_never_used(server: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", USER, str(server.root.parent)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as starting:
        assert eventually((server.root / "fresh" / "base").exists)
        os.killpg(starting.pid, signal.SIGKILL)
    assert not server.data.exists()
    with server:
        assert ask(server, "SELECT 1") == "1"


def test_a_killed_watcher_is_replaced_at_the_next_start(server: EmbeddedPostgres) -> None:
    server.start()
    for pid in watchers(server):
        os.kill(pid, signal.SIGKILL)
    with another(server):
        server.stop()
        assert len(watchers(server)) == 1
    assert gone(server)


def test_starts_and_stops_in_quick_turns_always_leave_a_watcher(server: EmbeddedPostgres) -> None:
    for _ in range(5):
        with server:
            assert server.runs()
        server.start()
        assert eventually(lambda: len(watchers(server)) == 1, 1)
        server.stop()


def test_two_servers_live_side_by_side_and_paths_may_be_long(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with server, EmbeddedPostgres(tmp_path / ("long" * 30) / 'it\'s "$HOME"') as other:
        ask(other, "CREATE TABLE mine (n int)")
        assert ask(server, "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'") == "0"
    assert gone(other)
    assert not other.socket_dir.exists()


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.socket_dir.mkdir(parents=True, mode=0o755)
    with pytest.raises(EmbeddedError, match="directory of your own with mode 0700; remove it"):
        server.start()


def test_a_place_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="set STATE_DIR to a directory that you may write"):
        EmbeddedPostgres(tmp_path / "file").start()


def test_a_server_that_cannot_start_says_why_and_what_to_do(server: EmbeddedPostgres) -> None:
    with server:
        pass
    (server.data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError, match=r"incompatible with server.* begins anew"):
        server.start()


@as_root
@pytest.mark.parametrize("way", [NAMESPACE, UNPRIVILEGED], ids=["in a namespace", "as nobody"])
def test_it_works_for_root_below_a_directory_that_only_root_may_enter(tmp_path: Path, way: object) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path)
    server.__dict__["_way"] = way
    with server:
        assert ask(server, "SELECT 1") == "1"
        assert Path(f"/proc/{postmaster(server)}").stat().st_uid == getattr(way, "owner", None)


@as_root
def test_the_ways_to_be_nobody_may_change_between_starts(server: EmbeddedPostgres) -> None:
    for way in (UNPRIVILEGED, NAMESPACE, UNPRIVILEGED):
        server.__dict__["_way"] = way
        with server:
            assert ask(server, "SELECT 1") == "1"


@as_root
def test_it_works_as_an_ordinary_user() -> None:
    home = Path(tempfile.mkdtemp(prefix="kawan-test-", dir="/tmp"))  # where an ordinary user may enter
    os.chown(home, NOBODY, NOBODY)
    ordinary = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    python = [*ordinary, _python_for_all(ordinary), "-c", ASKER, str(home)]
    path = os.pathsep.join((str(ROOT), sysconfig.get_path("purelib")))
    try:
        ran = subprocess.run(
            python, cwd=home, env={"PATH": os.environ["PATH"], "PYTHONPATH": path}, capture_output=True, check=False
        )
        assert ran.stdout == b"answered\n", ran.stderr.decode()
    finally:
        shutil.rmtree(home)


def _python_for_all(ordinary: list[str]) -> str:
    """An interpreter that an ordinary user may run, and may read this checkout with."""
    # Once more by its own hand: setpriv itself may still do what root may.
    again = "import sys; open(sys.argv[1])"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {again!r}, sys.argv[1]], check=True)"
    source = str(ROOT / "app" / "embedded.py")
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([*ordinary, python, "-c", script, source], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("this checkout or its interpreter lies where an ordinary user may not read")
