from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from polos import PolosClient, Worker

from .fake_server import FakeServer

EXAMPLE = Path(__file__).parents[2] / "sdk" / "examples" / "shared-queues"
QUEUES = {
    "api-calls": 5, "database-ops": 10, "heavy-processing": 2, "unlimited": None, "make_thumbnail": 3,
    "take_turns": None,
}  # fmt: skip


def _load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's main.py; its `workflows` hides the server's package of that name, for this test only."""
    _load("workflows", monkeypatch)
    return _load("main", monkeypatch)


@pytest_asyncio.fixture
async def working(main: ModuleType, server: FakeServer) -> AsyncIterator[Worker]:
    worker = Worker()  # all that workflows.py declares
    task = asyncio.create_task(worker.serve())
    yield worker
    worker.stop()
    await task


async def test_the_queues_are_those_of_its_readme(working: Worker, server: FakeServer) -> None:
    await server.until(lambda: server.workers)
    body = server.bodies("/workers")[0]
    stated = {each["name"]: each["concurrency_limit"] for each in body["queues"] if "concurrency_limit" in each}
    assert stated == QUEUES
    assert [each["name"] for each in body["queues"] if "concurrency_limit" not in each] == ["mail"]
    readme = (EXAMPLE / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in {*QUEUES, "mail", *working._workflows})


def test_the_worker_runs_all_workflows(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _load("worker", monkeypatch)
    assert {each.id for each in module.WORKFLOWS} == set(Worker()._workflows)


async def test_the_story_is_told(
    main: ModuleType, working: Worker, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with PolosClient() as client:
        parts = (main.inline_and_named_queues, main.unlimited_queue, main.batch, main.across_queues)
        await asyncio.gather(*(part(client) for part in parts))
    told = capsys.readouterr().out
    assert "batch_processor started 10 children" in told
    assert "call   on api-calls         completed: {'called': '/orders/order-7', 'slot': None}" in told
    assert server.peak["api-calls"] == 5
    assert server.peak["make_thumbnail"] == 3


async def test_a_limit_that_is_chosen_holds(
    main: ModuleType, working: Worker, server: FakeServer, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real_sleep = asyncio.sleep
    monkeypatch.setattr("workflows.asyncio.sleep", lambda seconds: real_sleep(min(seconds, 0.2)))
    async with PolosClient() as client:
        await main.in_turn(client, queue="one", limit=1, words="")
        await main.in_turn(client, queue="three", limit=3, words="")
    assert dict(server.peak) == {"one": 1, "three": 3}
    one, three = map(float, re.findall(r"together ([\d.]+)", capsys.readouterr().out))
    assert one >= 0.6 > three >= 0.2
