"""Real `polos-server start` processes for tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

COMMAND = [sys.executable, "-m", "polos_web.cli"]
ROOT = Path(__file__).parents[1]
START_SECONDS = 150  # migrations and all, on the slowest machine seen; nothing waits that long otherwise


def free_port() -> int:
    """Below the ports that the system gives to outgoing connections, so that none of those takes it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def url_of(dsn: str) -> str:
    """A conninfo as DATABASE_URL."""
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    account = f"{quote(parts.pop('user', ''))}:{quote(parts.pop('password', ''))}"
    return f"postgresql://{account}@/{quote(parts.pop('dbname'))}?{urlencode(parts)}"


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the developer's own settings, and nothing of the tests'."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POLOS_", "DJANGO_"))}
    kept.pop("DATABASE_URL", None)
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # a benchmark's processes, too, start as they do everywhere
    return kept | {"PYTHON_DOTENV_DISABLED": "1", "PYTHONUNBUFFERED": "1"} | dict(more or {})


@dataclass
class Server:
    """A server process. Its output is collected while it runs."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def signin_link(self) -> str:
        found = re.search(r"http\S+/signin/\S+", self.output)
        assert found, self.output
        return found[0]

    def wait_until_ready(self) -> Server:
        deadline = time.monotonic() + START_SECONDS
        while "is running." not in self.output or "Stop" not in self.output:
            self.assert_runs()
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)
        return self

    def assert_runs(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.wait_for_end()}")

    def wait_for_end(self, seconds: float = 60) -> str:
        self.process.wait(seconds)
        self._reader.join(5)
        return self.output

    def stop(self, number: int = signal.SIGINT, *, seconds: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.wait_for_end(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode


def launch(
    data_dir: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    fresh: bool = False,
) -> Server:
    """Starts one without waiting; `env` adds settings, such as DATABASE_URL (see `url_of`). `fresh`: a first
    start, which makes the database; otherwise that is a copy, which saves seconds."""
    if not fresh and not data_dir.exists() and "DATABASE_URL" not in (env or {}):
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", prepared(), data_dir], check=True)  # owners and all
    port = port or free_port()
    arguments = [*COMMAND, "start", "--data-dir", str(data_dir), "--port", str(port), *options]
    process = subprocess.Popen(
        arguments, env=environment(env), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Server(process, f"http://127.0.0.1:{port}", data_dir)


@cache
def prepared() -> Path:
    """What a server leaves that was started and stopped."""
    folder = Path(tempfile.mkdtemp(prefix="polos-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    first = launch(folder / "data", fresh=True)
    try:
        first.wait_until_ready()
    finally:
        assert first.stop() == 0
    return folder / "data"


class StartServer(Protocol):
    def __call__(
        self, *options: str, dsn: str | None = None, env: Mapping[str, str] | None = None, fresh: bool = False
    ) -> Server: ...


def answers(url: str, *, key: str = "") -> bool:
    """Whether the API answers with 200."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def eventually(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def run(arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Any other command, to its end."""
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, env=environment(env), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
