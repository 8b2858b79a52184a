"""The example's README begins with an installation, by uv or by pip: each in an empty environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[2] / "sdk"
ASKS = "import polos, workflows; print(polos.__file__)"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the SDK with its example, so that nothing is left in the checkout."""
    leave = shutil.ignore_patterns(".venv", "__pycache__", "*.egg-info", "uv.lock", ".env")
    shutil.copytree(SDK, tmp_path / "sdk", ignore=leave)
    return tmp_path / "sdk" / "examples" / "shared-queues"


def run(folder: Path, *command: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_installed_for(python: Path, example: Path) -> bool:
    """The SDK comes from its own environment, not from the one that runs the tests."""
    return str(example.parent.parent.parent) in run(example, str(python), "-c", ASKS)


def test_uv_sync_installs_the_example_and_the_sdk(example: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    run(example, uv, "sync", "--python", sys.executable)
    assert is_installed_for(example / ".venv" / "bin" / "python", example)


def test_pip_installs_the_example_and_the_sdk(example: Path) -> None:
    run(example, sys.executable, "-m", "venv", "env")
    python = example / "env" / "bin" / "python"
    run(example, str(python), "-m", "pip", "install", "--quiet", "-e", ".")
    assert is_installed_for(python, example)
