"""What every setting, dependency and file keeps to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import servers

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)


def names_read(*files: str) -> set[str]:
    sources = [path for pattern in files for path in ROOT.glob(pattern)]
    assert sources
    text = "".join(path.read_text() for path in sources)
    return set(re.findall(r'"((?:POLOS_[A-Z_]+|DATABASE_URL))"', text))


@pytest.mark.parametrize("files", ["polos_web/settings.py", "sdk/polos/*.py"])
def test_every_setting_is_documented(files: str) -> None:
    documented = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert names_read(files) - documented == set()


def test_nothing_is_documented_that_nobody_reads() -> None:
    documented = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert documented - names_read("polos_web/settings.py", "sdk/polos/*.py") == set()


def test_the_lock_pins_what_the_project_pins() -> None:
    locked = dict(PIN.findall((ROOT / "requirements.lock").read_text()))
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    for requirement in wanted:
        name, _, version = re.sub(r"\[.*?\]", "", requirement).partition("==")
        assert locked[name] == version.partition(";")[0].strip()  # without where it is installed
    constrained = {re.split("==", pin)[0] for pin in PROJECT["tool"]["uv"]["constraint-dependencies"]}
    assert set(locked) <= constrained | {re.split(r"[\[=]", one)[0] for one in wanted}


def test_the_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    for block in re.split(r"\n(?=[a-z])", text)[1:]:
        assert "# --hash=sha256:" in block, block


def test_production_settings_raise_no_warning(tmp_path: Path) -> None:
    settings = {
        "DATABASE_URL": "postgresql://polos@db.example/polos",
        "POLOS_PUBLIC_URL": "https://queues.example.com",
        "POLOS_HOST": "10.0.0.5",
        "POLOS_DATA_DIR": str(tmp_path / "data"),
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-c", "from django.core.management import execute_from_command_line as run; run()"]
    arguments = ["check", "--deploy", "--fail-level", "INFO"]
    env = servers.environment(settings) | {"DJANGO_SETTINGS_MODULE": "polos_web.settings"}
    done = subprocess.run([*command, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_files_say_nothing_of_package_indexes() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    host = re.compile("(?:files" + r"\.pythonhosted|pypi" + r"\.org/simple)")
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in {".png", ".ico", ".woff2"} or not path.is_file() or os.path.islink(path):
            continue
        assert not host.search(path.read_text(errors="replace")), name
