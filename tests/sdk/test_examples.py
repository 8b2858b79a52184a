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

from polos import Fail, Throttled
from polos.testing import run
from tests import servers
from tests.servers import Server

EXAMPLES = Path(__file__).parents[2] / "sdk" / "examples"
Load = Callable[..., ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """A module of an example, its `workflows` in the place of the server's package of that name for this test."""

    def load(name: str, module_name: str = "workflows") -> ModuleType:
        spec = importlib.util.spec_from_file_location(module_name, EXAMPLES / name / f"{module_name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module_name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("name", ["fan-out", "approval", "compensation", "schedules-and-events", "throttled"])
def test_it_prints_what_its_readme_says(name: str, running_server: Server) -> None:
    printed = started(name, running_server)
    told = re.search(r"```\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL)
    assert told is not None
    assert timeless(printed) == timeless(told[1])


def started(name: str, server: Server, *options: str) -> str:
    """What its main.py prints."""
    done = subprocess.run(
        [sys.executable, "main.py", *options],
        cwd=EXAMPLES / name,
        env=servers.environment({"POLOS_API_URL": server.url}),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def timeless(text: str) -> str:
    """Without what depends on how fast the machine is."""
    return re.sub(r"\d+(\.\d s| refusals)$", "…", text, flags=re.MULTILINE)


def test_a_trace_that_is_made_up_is_replayed_whole(running_server: Server) -> None:
    printed = started("trace-replay", running_server, "--minutes", "1", "--speed", "120")
    (come,) = re.findall(r"^(\d+) requests of 1 minutes", printed)
    assert re.search(rf"^{come} answered", printed, re.MULTILINE), printed
    assert re.search(r"^minute .* wait$", printed, re.MULTILINE), printed


def test_a_file_that_is_no_trace_is_refused_with_the_line(load: Load) -> None:
    traces = load("trace-replay", "traces")
    lines = [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2024-01-01 09:00:02.5000000,4,1",
        "2024-01-01 09:00:00,1,2",
    ]
    first, second = traces.read(lines)
    assert (first.at, first.context_tokens, second.at, second.generated_tokens) == (0, 1, 2.5, 1)
    assert second.seconds == pytest.approx(0.026)
    for wrong, problem in [
        ([], "no column TIMESTAMP and no ContextTokens and no GeneratedTokens"),
        (lines[:1], "no requests"),
        ([*lines, "yesterday,1,2"], "Line 4: .*yesterday"),
        ([*lines, "2024-01-01 09:00:00,1"], "Line 4: .*''"),
        ([*lines, "2024-01-01 09:00:00,-1,2"], "Line 4: .*below 0"),
    ]:
        with pytest.raises(ValueError, match=problem):
            traces.read(wrong)


async def test_who_is_refused_comes_again_when_it_was_told_to(load: Load) -> None:
    module = load("throttled")
    module.api._since, module.api._used = float("inf"), module.ALLOWED  # a window that never ends
    refused = await run(module.read, 1)
    assert isinstance(refused.error, Throttled)
    assert (refused.attempts, refused.pauses, module.api.answered) == (51, [module.WINDOW] * 50, [])
    module.api._used = 0
    assert (await run(module.write, 2)).result == "answer 2"


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
