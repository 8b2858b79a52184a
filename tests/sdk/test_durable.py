"""Steps on a real server, with worker processes that are killed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from polos import (
    Context,
    ExecutionFailed,
    Fail,
    Outcome,
    Polos,
    PolosClient,
    RetryPolicy,
    Throttled,
    workflow,
)
from tests import servers
from tests.acceptance.fleet import WorkerProcess, launch
from tests.servers import Server

MORTAL = Path(__file__).parent / "workers" / "mortal.py"
QUICK_TO_NOTICE = {"POLOS_LEASE_SECONDS": "2", "POLOS_HEARTBEAT_SECONDS": "0.5", "POLOS_SWEEP_SECONDS": "0.5"}
TEN = 10


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Server]:
    launched = servers.launch(tmp_path / "data", env=QUICK_TO_NOTICE)
    try:
        yield launched.wait_until_ready()
    finally:
        launched.stop()


@contextmanager
def worker(server: Server, tmp_path: Path, version: str = "old", name: str = "w") -> Iterator[WorkerProcess]:
    arguments = [sys.executable, str(MORTAL), str(tmp_path / "record"), version]
    started = launch(arguments, tmp_path / f"{name}.log", {"POLOS_API_URL": server.url, "POLOS_WORKER_NAME": name})
    try:
        yield started
    finally:
        started.stop()


async def test_a_step_that_could_not_be_saved_is_saved_by_the_next_server_and_not_done_again(
    tmp_path: Path,
) -> None:
    port = servers.free_port()
    first = servers.launch(tmp_path / "data", port=port)
    second = None
    try:
        first.wait_until_ready()
        with worker(first, tmp_path):
            async with PolosClient(first.url) as client:
                handle = await client.invoke("outlasts", queue_name="outlasts")
                assert await asyncio.to_thread(servers.eventually, lambda: bool(record(tmp_path)), seconds=20)
                first.process.kill()
                second = servers.launch(tmp_path / "data", port=port)
                assert await handle.result(60) == 1
                assert (await handle.get()).attempt == 1
    finally:
        first.process.kill()
        if second is not None:
            second.stop()
    assert record(tmp_path) == {(handle.id, 1): 1}


async def test_attempts_on_a_real_server_follow_what_the_error_says(running_server: Server) -> None:
    ended: list[tuple[int, bool, float]] = []

    def note(ctx: Context, outcome: Outcome) -> None:
        ended.append((ctx.attempt, outcome.will_retry, time.monotonic()))

    @workflow(id="throttled", retries=3, timeout=0.3, on_end=note, retry_policy=RetryPolicy(base_delay=0.1))
    async def throttled(ctx: Context) -> str:
        if ctx.attempt == 1:
            raise Throttled(retry_after=0.7)
        if ctx.attempt == 2:
            await asyncio.sleep(30)
        raise Fail("never again")

    async with Polos([throttled], api_url=running_server.url) as polos:
        with pytest.raises(ExecutionFailed, match="Fail: never again") as caught:
            await polos.run(throttled, timeout=30)
    assert caught.value.execution is not None
    assert caught.value.execution.attempt == 3
    (first, second, third) = ended
    assert [each[:2] for each in ended] == [(1, True), (2, True), (3, False)]
    assert second[2] - first[2] >= 0.7 + 0.3
    assert third[2] - second[2] < 5


def record(tmp_path: Path) -> Counter[tuple[str, int]]:
    """How often each step was done, by execution and number."""
    path = tmp_path / "record"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter((execution, number) for execution, number in map(json.loads, lines))


async def dead(process: WorkerProcess) -> None:
    assert await asyncio.to_thread(process.process.wait, 30) == -9, process.said


async def test_a_kill_behind_any_of_ten_steps_repeats_none_of_them(quick: Server, tmp_path: Path) -> None:
    async with PolosClient(quick.url) as client:
        handles = [await client.invoke("ten", {"dies_after": number}, queue_name="ten") for number in range(TEN)]
        for start in range(0, TEN, 5):  # five at once, so that the machine stays usable
            names = [f"mortal-{number}" for number in range(start, start + 5)]
            with ExitStack() as stack:
                mortals = [stack.enter_context(worker(quick, tmp_path, name=name)) for name in names]
                await asyncio.gather(*map(dead, mortals))
        with worker(quick, tmp_path, name="last"):
            results = await asyncio.gather(*(handle.result(60) for handle in handles))
        attempts = [(await handle.get()).attempt for handle in handles]
    assert results == [list(range(TEN))] * TEN
    assert attempts == [2] * TEN
    assert record(tmp_path) == {(handle.id, number): 1 for handle in handles for number in range(TEN)}


async def test_code_that_was_changed_is_refused_and_put_right_goes_on(quick: Server, tmp_path: Path) -> None:
    async with PolosClient(quick.url) as client:
        handle = await client.invoke("shop", "order-7", queue_name="shop")
        with worker(quick, tmp_path) as first:
            await dead(first)
        with (
            worker(quick, tmp_path, "renamed", "renamed"),
            pytest.raises(
                ExecutionFailed, match=r"StepsChanged: The step 'charge-card' at .*mortal\.py:\d+ is new"
            ),
        ):
            await handle.result(30)
        assert record(tmp_path) == {("order-7", 1): 1, ("order-7", 2): 1}
        await client.http.call("POST", f"/executions/{handle.id}/retry", "{}", lane="test")
        with worker(quick, tmp_path, "old", "put-right"):
            assert await handle.result(30) == "shipped"
    assert record(tmp_path) == {("order-7", number): 1 for number in (1, 2, 3)}
