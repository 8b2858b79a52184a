"""The example's README begins with an installation, by uv or by pip: each in an empty environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import Server

SDK = Path(__file__).resolve().parents[2] / "sdk"
ASKS = "import polos, workflows; print(polos.__file__)"
RUNS = """
import asyncio, importlib.util, polos

@polos.workflow(id="installed-alone")
async def double(ctx: polos.Context, number: int) -> int:
    return await ctx.step.run("double", lambda: 2 * number)

async def main() -> None:
    async with polos.Polos([double], patience=5) as client:
        print(await double.run(client, 21, timeout=20))

asyncio.run(main())
print([name for name in ("django", "queues", "workflows", "polos_web") if importlib.util.find_spec(name)])
print(polos.__file__)
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the SDK with its example, so that nothing is left in the checkout."""
    leave = shutil.ignore_patterns(".venv", "__pycache__", "*.egg-info", "uv.lock", ".env")
    shutil.copytree(SDK, tmp_path / "sdk", ignore=leave)
    return tmp_path / "sdk" / "examples" / "shared-queues"


def run(folder: Path, *command: str, **more: str) -> str:
    """What it prints; `more` is for its environment."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")} | more
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder: Path, *command: str) -> None:
    """Networks have hiccups."""
    for pause in (2, 10):
        with suppress(AssertionError, subprocess.TimeoutExpired):
            run(folder, *command)
            return
        time.sleep(pause)
    run(folder, *command)


def is_installed_for(python: Path, example: Path) -> bool:
    """The SDK comes from its own environment, not from the one that runs the tests."""
    return str(example.parent.parent.parent) in run(example, str(python), "-c", ASKS)


def test_uv_sync_installs_the_example_and_the_sdk(example: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    install(example, uv, "sync", "--python", sys.executable)
    assert is_installed_for(example / ".venv" / "bin" / "python", example)


def test_pip_installs_the_example_and_the_sdk(example: Path) -> None:
    run(example, sys.executable, "-m", "venv", "env")
    python = example / "env" / "bin" / "python"
    install(example, str(python), "-m", "pip", "install", "--quiet", "-e", ".")
    assert is_installed_for(python, example)


def test_the_wheel_runs_a_workflow_where_nothing_else_is_installed(tmp_path: Path, running_server: Server) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    python = tmp_path / "env" / "bin" / "python"
    install(tmp_path, uv, "build", "--quiet", "--wheel", "--out-dir", ".", str(SDK))
    (wheel,) = tmp_path.glob("*.whl")
    run(tmp_path, uv, "venv", "--quiet", "--python", sys.executable, "env")
    install(tmp_path, uv, "pip", "install", "--quiet", "--python", str(python), str(wheel))
    result, others, place = run(tmp_path, str(python), "-c", RUNS, POLOS_API_URL=running_server.url).splitlines()
    assert (result, others) == ("42", "[]")
    assert Path(place).is_relative_to(tmp_path / "env")
