"""Waits on a real server: on queues of one, by the thousand, and with worker processes that are killed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from polos import Context, Execution, ExecutionCancelled, ExecutionFailed, Polos, PolosClient, queue, workflow
from tests import servers
from tests.acceptance.fleet import WorkerProcess, launch
from tests.servers import Server

WAITER = Path(__file__).parent / "workers" / "waiter.py"
QUICK_TO_NOTICE = {"POLOS_LEASE_SECONDS": "2", "POLOS_HEARTBEAT_SECONDS": "0.5", "POLOS_SWEEP_SECONDS": "0.5"}
PLACES = ("sleep", "child", "started", "batch", "results", "event", "answer")
DEPTH = 50
MANY = 1_000


async def waiting(client: PolosClient, id: str, key: str) -> Execution:
    for _ in range(300):
        execution = await client.get_execution(id)
        assert not execution.is_final, execution
        if execution.status == "waiting" and any(wait.key == key for wait in execution.waits):
            return execution
        await asyncio.sleep(0.05)
    raise AssertionError(f"it does not wait for {key}: {execution}")


def post(server: Server, path: str, body: Any) -> Any:
    request = urllib.request.Request(  # noqa: S310
        f"{server.url}/api/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
        return json.load(reply)


async def test_fifty_deep_on_a_queue_of_one(running_server: Server) -> None:
    @workflow(id="nested", queue=queue("nested", concurrency_limit=1))
    async def nested(ctx: Context, payload: int) -> int:
        if payload == 0:
            return 0
        below: int = await ctx.step.invoke_and_wait("below", "nested", payload - 1)
        return below + 1

    async with Polos([nested], api_url=running_server.url) as polos:
        handle = await polos.invoke(nested, DEPTH)
        assert await handle.result(60) == DEPTH
        assert (await handle.get()).attempt == 1


async def test_a_thousand_children_are_joined_once(running_server: Server) -> None:
    joined: list[int] = []

    @workflow(id="joined-child", queue=queue("joined-child", concurrency_limit=100))
    async def child(ctx: Context, payload: int) -> int:
        if payload % 100 == 7:
            raise ValueError(payload)
        return 2 * payload

    @workflow(id="joins", queue=queue("joins", concurrency_limit=1))
    async def joins(ctx: Context) -> list[Any]:
        results = await ctx.step.batch_invoke_and_wait("all", [(child, n) for n in range(MANY)])
        await ctx.step.run("join", joined.append, len(results))
        return [each.result for each in results]

    async with Polos([child, joins], api_url=running_server.url) as polos:
        results = await polos.run(joins, timeout=60)
    assert results == [None if n % 100 == 7 else 2 * n for n in range(MANY)]
    assert joined == [MANY]


async def test_an_event_and_an_answer_by_rest(running_server: Server) -> None:
    @workflow(id="rest-asks", queue="rest-asks")
    async def asks(ctx: Context) -> list[Any]:
        event, answer = await asyncio.gather(
            ctx.step.wait_for_event("event", "rest/topic", timeout=60), ctx.step.suspend("answer", {"amount": 5})
        )
        return [event.payload, answer]

    async with Polos([asks], api_url=running_server.url) as polos:
        handle = await polos.invoke(asks)
        execution = await waiting(polos, handle.id, "answer")
        event, answer = sorted(execution.waits, key=lambda wait: wait.kind)
        assert (event.topic, answer.note) == ("rest/topic", {"amount": 5})
        assert event.until is not None and answer.until is None
        told = await asyncio.to_thread(post, running_server, "/events", {"topic": "rest/topic", "payload": [1]})
        assert told["woken"] == 1
        await waiting(polos, handle.id, "answer")
        path = f"/executions/{handle.id}/resume"
        await asyncio.to_thread(post, running_server, path, {"key": "answer", "data": {"yes": True}})
        assert await handle.result(30) == [[1], {"yes": True}]
        assert (await handle.get()).attempt == 1


async def test_one_that_waits_is_cancelled_at_once(running_server: Server) -> None:
    @workflow(id="cancelled-waits", queue="cancelled-waits")
    async def waits(ctx: Context) -> None:
        await ctx.step.suspend("ask")

    async with Polos([waits], api_url=running_server.url) as polos:
        handle = await polos.invoke(waits)
        await waiting(polos, handle.id, "ask")
        assert (await handle.cancel()).status == "cancelled"
        with pytest.raises(ExecutionCancelled):
            await handle.result(5)


async def test_two_that_wait_for_each_other_are_told(running_server: Server) -> None:
    @workflow(id="waits-for-itself", queue="waits-for-itself")
    async def circle(ctx: Context) -> None:
        handle = await ctx.step.invoke("self", "never-served", queue_name="never-served")
        handle.id = ctx.execution_id
        await handle.result()

    async with Polos([circle], api_url=running_server.url) as polos:
        with pytest.raises(ExecutionFailed, match="WaitCycle"):
            await polos.run(circle, timeout=30)


async def test_one_that_a_childs_failure_ended_can_be_tried_again_by_hand(
    running_server: Server,
) -> None:
    away = [True]

    @workflow(id="tried-again-child", queue="tried-again-child")
    async def child(ctx: Context) -> str:
        if away:
            raise ConnectionError("away")
        return "there"

    @workflow(id="tried-again", queue="tried-again")
    async def tried_again(ctx: Context) -> str:
        return await ctx.step.invoke_and_wait("child", child)

    async with Polos([child, tried_again], api_url=running_server.url) as polos:
        handle = await polos.invoke(tried_again)
        with pytest.raises(ExecutionFailed, match="ConnectionError: away"):
            await handle.result(30)
        away.clear()
        await asyncio.to_thread(post, running_server, f"/executions/{handle.id}/retry", {})
        assert await handle.result(30) == "there"


# -- killed workers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    launched = servers.launch(tmp_path_factory.mktemp("quick") / "data", env=QUICK_TO_NOTICE)
    try:
        yield launched.wait_until_ready()
    finally:
        launched.stop()


@contextmanager
def worker(server: Server, tmp_path: Path, name: str) -> Iterator[WorkerProcess]:
    arguments = [sys.executable, str(WAITER), str(tmp_path / "record")]
    started = launch(arguments, tmp_path / f"{name}.log", {"POLOS_API_URL": server.url, "POLOS_WORKER_NAME": name})
    try:
        yield started
    finally:
        started.stop()


async def answer_all(client: PolosClient, ids: list[str]) -> None:
    """Publishes and answers for each execution, as soon as it waits for it."""
    while True:
        for id in ids:
            for wait in (await client.get_execution(id)).waits:
                if wait.kind == "event":
                    await client.publish_event(f"waiter/{id}", "event")
                elif wait.kind == "resume":
                    await client.resume(id, wait.key, "answer")
        await asyncio.sleep(0.2)


async def test_a_kill_behind_any_wait_repeats_nothing_and_loses_nothing(quick: Server, tmp_path: Path) -> None:
    async with PolosClient(quick.url) as client:
        handles = [await client.invoke("waiter", place, queue_name="waiter") for place in PLACES]
        answering = asyncio.create_task(answer_all(client, [handle.id for handle in handles]))
        for start in range(0, len(PLACES), 4):  # four at once, so that the machine stays usable
            with ExitStack() as stack:
                names = [f"mortal-{number}" for number in range(start, min(len(PLACES), start + 4))]
                mortals = [stack.enter_context(worker(quick, tmp_path, name)) for name in names]
                await asyncio.gather(*(asyncio.to_thread(each.process.wait, 60) for each in mortals))
                assert [each.process.returncode for each in mortals] == [-9] * len(mortals)
        with worker(quick, tmp_path, "last"):
            results = await asyncio.gather(*(handle.result(60) for handle in handles))
        attempts = [(await handle.get()).attempt for handle in handles]
        answering.cancel()
    assert results == [[None, 42, 3, [2], [0, 2, 4], "event", "answer"]] * len(PLACES)
    assert attempts == [2] * len(PLACES)
    lines = Counter(map(tuple, map(json.loads, (tmp_path / "record").read_text().splitlines())))
    own = {(handle.id, place): lines[handle.id, place] for handle in handles for place in PLACES}
    assert set(own.values()) == {1}, own
    assert sum(count for (_, name), count in lines.items() if name == "by child") == 5 * len(PLACES)


async def test_who_sleeps_outlives_its_worker_and_wakes_on_another_in_time(quick: Server, tmp_path: Path) -> None:
    async with PolosClient(quick.url) as client:
        handle = await client.invoke("waiter-naps", 4.0, queue_name="waiter-naps")
        with worker(quick, tmp_path, "first") as first:
            execution = await waiting(client, handle.id, "nap")
            began = time.monotonic()
            first.process.kill()
            first.process.wait()
        (nap,) = execution.waits
        assert nap.since is not None and nap.until is not None
        assert (nap.until - nap.since).total_seconds() == pytest.approx(4, abs=0.2)
        with worker(quick, tmp_path, "second"):
            assert await handle.result(30) == "second"
        ended = await handle.get()
    assert ended.attempt == 1, "neither waiting nor the death of an idle worker is a try"
    assert ended.finished_at is not None
    assert 0 <= (ended.finished_at - nap.until).total_seconds() < 1.5
    assert time.monotonic() - began < 10
