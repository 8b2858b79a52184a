"""A real server for tests, on an embedded PostgreSQL of its own.

Put `pytest_plugins = ["polos.pytest_plugin"]` into conftest.py, then

    async def test_five_at_once(polos_server):
        async with Polos([call_api]) as polos:
            ...

Needs the server's package (`polos-server`) in the environment of the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@pytest.fixture(scope="session")
def polos_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that runs for the whole test session, with an empty database and without keys.

    Tests share it, so give queues and workflows names of their own. Settings of your own (POLOS_*, DATABASE_URL,
    .env) do not reach it. While it runs, POLOS_API_URL leads to it and POLOS_API_KEY is empty: clients and workers
    that are made without an address find it, and never the server that your settings name.
    """
    command = _command()
    if command is None:
        pytest.fail("The fixture polos_server needs the command polos-server: install polos-web for the tests.")
    folder = tmp_path_factory.mktemp("polos-server")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "start", "--data-dir", str(folder / "data"), "--port", str(port)],
            cwd=folder,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, url, log)
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("POLOS_API_URL", url)
            settings.setenv("POLOS_API_KEY", "")
            yield url
    finally:
        _stop(process)


def _command() -> str | None:
    """Beside this Python, where a virtual environment that is not activated has it, or on the path."""
    beside = Path(sys.executable).with_name("polos-server")
    return str(beside) if beside.is_file() else shutil.which("polos-server")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POLOS_", "DJANGO_"))}
    kept.pop("DATABASE_URL", None)
    return kept | {"PYTHON_DOTENV_DISABLED": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"The server did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/queues", timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
