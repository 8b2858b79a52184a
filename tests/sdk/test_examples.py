"""The examples that run client and worker in one process: as their READMEs say, and without a server."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from polos import Fail
from polos.testing import run
from tests import servers
from tests.servers import Server

EXAMPLES = Path(__file__).parents[2] / "sdk" / "examples"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """The `workflows` of an example, in the place of the server's package of that name for this test."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location("workflows", EXAMPLES / name / "workflows.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "workflows", module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("name", ["fan-out", "approval", "compensation", "schedules-and-events"])
def test_it_prints_what_its_readme_says(name: str, running_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=EXAMPLES / name,
        env=servers.environment({"POLOS_API_URL": running_server.url}),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"```\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL)
    assert told is not None
    assert timeless(done.stdout) == timeless(told[1])


def timeless(text: str) -> str:
    return re.sub(r"\d+\.\d s$", "… s", text, flags=re.MULTILINE)


async def test_the_join_happens_once_though_workers_die(load: Load) -> None:
    ran = await run(load("fan-out").report, 14, die_after=["pages", "pages.results", "publish"])
    assert (ran.result.pages, ran.result.missing) == (13, [13])
    assert (ran.calls("publish"), ran.attempts, len(ran.children)) == (1, 4, 14)


async def test_who_decides_is_asked_and_may_be_late(load: Load) -> None:
    module = load("approval")
    yes = await run(module.expense, {"who": "Bob", "amount": 900}, answers={"decision": {"approved": True}})
    assert (yes.result, yes.asked) == ("Bob gets 900", {"decision": {"question": "Pay 900 to Bob?"}})
    late = await run(module.expense, {"who": "Bob", "amount": 900})
    assert (late.result, late.calls("pay")) == ("Bob gets nothing, says nobody", 0)
    assert late.clock.passed == module.PATIENCE.total_seconds()


async def test_what_was_done_is_undone_once_in_reverse_order(load: Load) -> None:
    module = load("compensation")
    ran = await run(module.book_trip, {"who": "Bob", "budget": 5}, die_after=["charge", "undo hotel"])
    assert isinstance(ran.error, Fail)
    assert module.told[-2:] == ["cancel hotel of Bob", "cancel flight of Bob"]
    assert (ran.calls("hotel"), ran.calls("undo hotel"), ran.attempts) == (3, 1, 3)
