"""What the docs show runs: every block of Python of a page, one after the other, as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers
from tests.servers import Server

DOCS = servers.ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
CONFTEST = 'pytest_plugins = ["polos.pytest_plugin"]\n'


def blocks(page: str) -> list[str]:
    return PYTHON.findall((DOCS / page).read_text())


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_the_blocks_of_a_page_run(page: str, running_server: Server, tmp_path: Path) -> None:
    program = tmp_path / f"test_{page.replace('-', '_').removesuffix('.md')}.py"
    program.write_text("\n\n".join(blocks(page)))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:django", "-o", "asyncio_mode=auto"]
    has_tests = "def test_" in program.read_text()
    command = [sys.executable, *(["-m", "pytest", *options] if has_tests else []), str(program)]
    # What takes the plugin's server does not need one that the settings name.
    url = "http://127.0.0.1:9" if "polos_server" in program.read_text() else running_server.url
    env = servers.environment({"POLOS_API_URL": url})
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    missing = [link for link in LINK.findall((DOCS / page).read_text()) if not (DOCS / link).exists()]
    assert missing == []


def test_every_page_is_in_the_list() -> None:
    listed = set(LINK.findall((DOCS / "README.md").read_text()))
    assert set(PAGES) - {"README.md"} <= listed
