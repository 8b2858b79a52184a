"""The plugin as a user has it: in a test run of his own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).parents[2] / "sdk"

CONFTEST = 'pytest_plugins = ["polos.pytest_plugin"]\n'
TESTS = """
import asyncio
import os
from polos import Polos, queue, workflow

running = most = 0

@workflow(id="narrow", queue=queue("narrow", concurrency_limit=2))
async def narrow(ctx, payload):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.1)
    running -= 1
    return payload

def test_a_limit_holds(polos_server):
    async def main():
        async with Polos([narrow]) as polos:
            handles = await polos.batch_invoke([(narrow, n) for n in range(6)])
            return [await handle.result(30) for handle in handles]

    assert asyncio.run(main()) == list(range(6))
    assert most == 2

def test_it_is_the_same_server(polos_server):
    async def main():
        async with Polos([], api_url=polos_server) as polos:
            return await polos.http.call("GET", "/queues", lane="test")

    assert [each["name"] for each in asyncio.run(main())["queues"]] == ["narrow"]
"""


def pytest_in(folder: Path, *, path: str | None = None) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    env |= {
        "POLOS_API_URL": "https://not-this-one.example",
        "POLOS_API_KEY": "polos_of_another",
        "PATH": path or env["PATH"],
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_fixture_is_a_server_with_limits(tmp_path: Path) -> None:
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
