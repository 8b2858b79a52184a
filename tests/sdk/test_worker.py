from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    Context,
    DefinitionError,
    ExecutionFailed,
    Polos,
    PolosClient,
    Unauthorized,
    Worker,
    queue,
    workflow,
)
from polos._queue import NOT_GIVEN
from polos._running import retry_in
from polos._workflow import Workflow

from .fake_server import FakeServer, serving


class Order(BaseModel):
    id: int


@asynccontextmanager
async def working(*workflows: Workflow[Any], **options: Any) -> AsyncIterator[Worker]:
    """A worker that runs while the block does, and drains at its end."""
    worker = Worker(workflows=workflows, **options)
    task = asyncio.create_task(worker.serve())
    await asyncio.wait((task, ready := asyncio.create_task(worker.ready.wait())), return_when="FIRST_COMPLETED")
    ready.cancel()
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(10):
            await task


class Crowd:
    """How many of its executions run at once; each takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running = self.most = 0

    def workflow(self) -> Workflow[Any]:
        @workflow(id="quick")
        async def quick(ctx: Context) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(self.seconds)
            self.running -= 1

        return quick


def gate() -> tuple[Workflow[Any], asyncio.Event, list[str]]:
    """A workflow that begins, and ends when the event is set."""
    opened, begun = asyncio.Event(), []

    @workflow(id="gated")
    async def gated(ctx: Context, payload: Any) -> Any:
        begun.append(ctx.execution_id)
        await opened.wait()
        return payload

    return gated, opened, begun


# -- what it says about itself -------------------------------------------------------------------------


async def test_a_registration_says_what_is_declared(server: FakeServer) -> None:
    @workflow(queue=queue("api", 5), retries=2)
    async def first(ctx: Any) -> None:
        """Says hello."""

    @workflow(queue="by-name")
    async def second(ctx: Any) -> None: ...

    @workflow
    async def third(ctx: Any) -> None: ...

    async with working(first, second, third, name="w", max_concurrent=7):
        pass
    body = server.bodies("/workers")[0]
    assert {"name": "w", "max_concurrent": 7, "pid": os.getpid()}.items() <= body.items()
    limits = {each["name"]: each.get("concurrency_limit", NOT_GIVEN) for each in body["queues"]}
    assert limits == {"api": 5, "by-name": NOT_GIVEN, "third": None}
    assert all(":" in each["place"] for each in body["queues"])
    assert body["workflows"][0] == {
        "id": "first", "queue": "api", "description": "Says hello.", "max_attempts": 3, "schedule": None,
        "trigger": None,
    }  # fmt: skip


async def test_a_key_that_is_refused_ends_the_worker_at_its_start(server: FakeServer) -> None:
    @workflow
    async def any_work(ctx: Any) -> None: ...

    server.fail("/workers", status=401, detail="This key is revoked.")
    with pytest.raises(Unauthorized, match="This key is revoked"):
        await Worker(workflows=[any_work]).serve()


# -- running -------------------------------------------------------------------------------------------


async def test_async_and_sync_functions_run(server: FakeServer, polos: type[Polos]) -> None:
    @workflow
    async def double(ctx: Context, payload: int) -> int:
        return 2 * payload

    @workflow
    def thread_name(ctx: Context) -> str:
        return threading.current_thread().name

    @workflow
    async def order(ctx: Context, payload: Order) -> Order:
        return Order(id=payload.id + 1)

    async with polos() as client:
        assert await client.run(double, 4) == 8
        assert (await client.run(thread_name)).startswith("polos-")
        assert await order.run(client, {"id": "4"}) == Order(id=5)


@pytest.mark.parametrize("value", [None, 0, "", False, [], {}, "ü\U0001f600", [1, {"a": None}], 2**53])
async def test_results_come_back_as_they_are(value: Any, server: FakeServer, polos: type[Polos]) -> None:
    @workflow(id="echo")
    async def echo(ctx: Context, payload: Any) -> Any:
        return payload

    async with polos() as client:
        assert await client.run(echo, value) == value


async def test_the_context_tells_where_it_is(server: FakeServer) -> None:
    told: dict[str, Any] = {}

    @workflow(id="about", queue="q")
    async def about(ctx: Context) -> None:
        names = ("workflow_id", "execution_id", "attempt", "max_attempts", "queue", "slot", "worker", "parent_id",
                 "root_id", "cancel_requested")  # fmt: skip
        told.update({name: getattr(ctx, name) for name in names})

    async with working(about, name="w"):
        execution = await server.add("about", queue="q")
        await server.until(lambda: execution["status"] == "completed")
    id = execution["id"]
    assert told == {
        "workflow_id": "about", "execution_id": id, "attempt": 1, "max_attempts": 1, "queue": "q", "slot": None,
        "worker": "w", "parent_id": None, "root_id": id, "cancel_requested": False,
    }  # fmt: skip


async def test_a_limit_is_held_and_all_are_done_once(server: FakeServer) -> None:
    running, peak, done = 0, 0, []

    @workflow(id="limited", queue=queue("narrow", 3))
    async def limited(ctx: Context, payload: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.001)
        running -= 1
        done.append(payload)

    async with working(limited):
        for n in range(100):
            await server.add("limited", n, queue="narrow")
        await server.until(lambda: len(server.by_status("completed")) == 100)
    assert sorted(done) == list(range(100))
    assert (peak, server.peak["narrow"]) == (3, 3)


async def test_never_more_at_once_than_max_concurrent(server: FakeServer) -> None:
    gated, opened, begun = gate()
    async with working(gated, max_concurrent=2):
        for _ in range(5):
            await server.add("gated")
        await server.until(lambda: len(begun) == 2)
        await asyncio.sleep(0.02)
        assert len(begun) == 2
        opened.set()
        await server.until(lambda: len(server.by_status("completed")) == 5)
    assert all(body["capacity"] <= 2 for body in server.bodies("/exchange") if "capacity" in body)


async def test_sync_functions_run_side_by_side(server: FakeServer) -> None:
    together = threading.Barrier(5, timeout=5)

    @workflow(id="meets")
    def meets(ctx: Context) -> None:
        together.wait()

    async with working(meets):
        for _ in range(5):
            await server.add("meets")
        await server.until(lambda: len(server.by_status("completed")) == 5)


# -- failing -------------------------------------------------------------------------------------------


async def test_a_failure_tells_type_message_and_where(server: FakeServer, polos: type[Polos]) -> None:
    @workflow
    async def fails(ctx: Context) -> None:
        raise ValueError("bad\x00 \ud800" + "x" * 10_000)

    async with polos() as client:
        with pytest.raises(ExecutionFailed, match="ValueError"):
            await client.run(fails)
    error = server.by_status("failed")[0]["error"]
    assert error["type"] == "ValueError"
    assert len(error["message"]) == 4_000
    assert "in fails" in error["traceback"]
    assert "_session.py" not in error["traceback"]


async def test_a_failed_attempt_is_tried_again_later(server: FakeServer) -> None:
    @workflow(id="flaky", retries=2)
    async def flaky(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("not yet")
        return ctx.attempt

    async with working(flaky):
        execution = await server.add("flaky", max_attempts=3)
        await server.until(lambda: execution["status"] == "completed")
    results = [result for body in server.bodies("/exchange") for result in body.get("results", [])]
    assert 0.5 <= results[0]["retry_in"] <= 1.0
    assert 1.0 <= results[1]["retry_in"] <= 2.0
    assert execution["result"] == 3


def test_the_pause_doubles_up_to_five_minutes_and_ends_with_the_attempts() -> None:
    assert retry_in(3, 3) is None
    assert all(150 <= (retry_in(attempt, 1_000) or 0) <= 300 for attempt in (10, 20, 900))


@pytest.mark.parametrize("payload", [{"id": "no number"}, None, []])
async def test_a_payload_that_does_not_fit_is_not_tried_again(payload: Any, server: FakeServer) -> None:
    ran: list[Any] = []

    @workflow(id="typed", retries=5)
    async def typed(ctx: Context, payload: Order) -> None:
        ran.append(payload)

    async with working(typed):
        execution = await server.add("typed", payload, max_attempts=6)
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "PayloadInvalid"
    assert (execution["attempt"], ran) == (1, [])


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (object(), "an object of type object is not JSON"),
        (float("inf"), "not JSON compliant"),
        ("\ud800", "half of a surrogate pair"),
        ("x" * (1024 * 1024), "has 1,048,578 bytes as JSON; the most is 1,048,576"),
        ("ü" * (600 * 1024), "has 1,228,802 bytes"),
        ({"at": {"deep": {1, 2, object()}}}, "is not JSON"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_and_says_why(
    result: Any, words: str, server: FakeServer
) -> None:
    @workflow(id="gives", retries=3)
    async def gives(ctx: Context) -> Any:
        return result

    async with working(gives):
        execution = await server.add("gives", max_attempts=4)
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "NotSerializable"
    assert words in execution["error"]["message"]


async def test_a_result_that_the_server_does_not_take_fails_and_says_why(server: FakeServer) -> None:
    @workflow(id="gives")
    async def gives(ctx: Context) -> Any:
        return "a\x00b"

    async with working(gives):
        execution = await server.add("gives")
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"] == {"type": "ResultRefused", "message": "U+0000 cannot be stored."}


async def test_one_result_that_spoils_a_request_does_not_spoil_the_others(server: FakeServer) -> None:
    gated, opened, begun = gate()
    async with working(gated):
        executions = [await server.add("gated", n) for n in range(3)]
        await server.until(lambda: len(begun) == 3)
        server.fail("/exchange", status=422, detail="Not well-formed.", times=2, with_results=True)
        opened.set()
        await server.until(lambda: all(each["status"] in ("completed", "failed") for each in executions))
    assert sorted(each["status"] for each in executions) == ["completed", "completed", "failed"]


async def test_sys_exit_fails_the_execution_and_not_the_worker(server: FakeServer) -> None:
    @workflow
    async def leaves(ctx: Context) -> None:
        sys.exit(3)

    @workflow
    def leaves_too(ctx: Context) -> None:
        raise StopIteration("odd")

    async with working(leaves, leaves_too):
        first, second = await server.add("leaves"), await server.add("leaves_too")
        await server.until(lambda: first["status"] == second["status"] == "failed")
    assert first["error"]["type"] == "SystemExit"


# -- the exchange --------------------------------------------------------------------------------------


async def test_a_result_does_not_wait_for_the_long_poll(server: FakeServer) -> None:
    gated, opened, begun = gate()
    async with working(gated):
        execution = await server.add("gated")
        await server.until(lambda: begun)
        await asyncio.sleep(0.05)  # by now the next claim is parked
        began = time.monotonic()
        opened.set()
        await server.until(lambda: execution["status"] == "completed")
        assert time.monotonic() - began < 0.5
    hand_ins = [body for body in server.bodies("/exchange") if body["capacity"] == 0]
    assert sum(len(body.get("results", [])) for body in hand_ins) == 1


async def test_results_go_with_the_next_claim(server: FakeServer) -> None:
    @workflow(id="quick")
    async def quick(ctx: Context) -> None: ...

    for _ in range(50):
        await server.add("quick")
    async with working(quick, max_concurrent=10):
        await server.until(lambda: len(server.by_status("completed")) == 50)
    with_claims = [len(body.get("results", [])) for body in server.bodies("/exchange") if body["capacity"]]
    assert sum(with_claims) == 50


async def test_a_second_lane_claims_while_there_is_more_work_than_room(server: FakeServer) -> None:
    crowd = Crowd(0.01)
    for _ in range(60):
        await server.add("quick")
    async with working(crowd.workflow(), max_concurrent=10):
        await server.until(lambda: len(server.by_status("completed")) == 60)
        await asyncio.sleep(0.1)
        # Nothing is left, and the first lane waits for more; the second may have been the last to ask.
        await server.until(
            lambda: [body for body in server.bodies("/exchange") if not body.get("lane")][-1].get("wait")
        )
        count = len(server.bodies("/exchange"))
        await server.add("quick")
        await server.until(lambda: len(server.by_status("completed")) == 61)
    lanes = [body.get("lane", 0) for body in server.bodies("/exchange") if body["capacity"]]
    assert lanes[0] == 0 and 1 in lanes
    assert crowd.most == 10
    assert not any(body.get("lane") for body in server.bodies("/exchange")[count:]), "one execution needs one lane"


async def test_a_lost_reply_is_asked_for_again_with_the_same_number(server: FakeServer) -> None:
    gated, opened, begun = gate()
    opened.set()
    server.fail("/exchange", after=True)
    await server.add("gated")
    async with working(gated):
        await server.until(lambda: len(server.by_status("completed")) == 1)
    assert len(begun) == 1
    numbers = [body["seq"] for body in server.bodies("/exchange") if body["capacity"]]
    assert numbers[:3] == [1, 1, 2]
    assert [body["received"] for body in server.bodies("/exchange") if body["capacity"]][:3] == [0, 0, 1]


async def test_large_results_are_spread_over_requests(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polos._session.MOST_CHARACTERS", 5_000)

    @workflow(id="large")
    async def large(ctx: Context) -> str:
        return "x" * 2_000

    for _ in range(10):
        await server.add("large")
    async with working(large):
        await server.until(lambda: len(server.by_status("completed")) == 10)
    assert max(len(body.get("results", [])) for body in server.bodies("/exchange")) == 2


async def test_a_result_that_came_too_late_is_let_go(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    gated, opened, begun = gate()
    async with working(gated):
        execution = await server.add("gated")
        await server.until(lambda: begun)
        await server.steal(execution["id"])
        opened.set()
        await server.until(lambda: "came too late" in caplog.text)
    assert execution["result"] is None


async def test_a_server_that_does_not_hold_a_poll_is_not_asked_without_pause(server: FakeServer) -> None:
    gated, _, _ = gate()
    server.poll_seconds = 0.0
    async with working(gated):
        await asyncio.sleep(0.35)
    assert len(server.bodies("/exchange")) < 8


# -- outages and leases --------------------------------------------------------------------------------


async def test_an_outage_is_survived_and_told_once(
    server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._http.LONGEST_PAUSE", 0.05)
    caplog.set_level(logging.INFO, "polos")
    gated, opened, begun = gate()
    async with working(gated):
        execution = await server.add("gated")
        await server.until(lambda: begun)
        server.fail("/exchange", times=12, detail="The database is away.")
        opened.set()
        await server.until(lambda: execution["status"] == "completed")
        await server.until(lambda: "answers again" in caplog.text)
    assert caplog.text.count("The database is away") == 1
    assert caplog.text.count("answers again") == 1


async def test_a_server_that_starts_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polos._http.LONGEST_PAUSE", 0.05)
    gated, opened, _ = gate()
    opened.set()
    async with serving() as first:
        port = int(first.url.rsplit(":", 1)[1])
    worker = Worker(workflows=[gated], client=PolosClient(f"http://127.0.0.1:{port}"))
    task = asyncio.create_task(worker.serve())
    await asyncio.sleep(0.1)
    async with serving(port=port) as server:
        execution = await server.add("gated")
        await server.until(lambda: execution["status"] == "completed")
        worker.stop()
        await task


async def test_a_lost_worker_stops_what_runs_and_registers_again(server: FakeServer) -> None:
    stopped: list[str] = []
    opened = asyncio.Event()

    @workflow(id="held")
    async def held(ctx: Context) -> int:
        try:
            await opened.wait()
        except asyncio.CancelledError:
            stopped.append(ctx.execution_id)
            raise
        return ctx.attempt

    async with working(held):
        execution = await server.add("held")
        await server.until(lambda: execution["status"] == "running")
        await server.lose_workers()
        await server.until(lambda: execution["attempt"] == 2)
        opened.set()
        await server.until(lambda: execution["status"] == "completed")
    assert stopped == [execution["id"]]
    assert len({body["id"] for body in server.bodies("/workers")}) == 2
    assert execution["result"] == 2


async def test_a_thread_that_outlives_a_lost_registration_leaves_its_room_to_the_next(server: FakeServer) -> None:
    server.heartbeat_seconds = 0.2
    begun: list[int] = []
    go = threading.Event()

    @workflow(id="threaded")
    def threaded(ctx: Context) -> int:
        begun.append(ctx.attempt)
        go.wait(5)
        return ctx.attempt

    async with working(threaded, max_concurrent=1):
        execution = await server.add("threaded")
        await server.until(lambda: begun == [1])
        await server.lose_workers()
        await server.until(lambda: len(server.bodies("/workers")) == 2)
        await asyncio.sleep(0.2)  # by now the new registration waits for room
        go.set()
        await server.until(lambda: execution["status"] == "completed")
    assert begun == [1, 2]


async def test_what_the_lease_does_not_cover_is_stopped(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.lease_seconds, server.heartbeat_seconds = 0.4, 0.1
    gated, _, begun = gate()
    async with working(gated):
        await server.add("gated")
        await server.until(lambda: begun)
        server.fail("/heartbeat", times=1_000)
        await server.until(lambda: "The lease is over" in caplog.text, 3)
        await server.until(lambda: any(body.get("results") for body in server.bodies("/exchange")))
    assert server.bodies("/exchange")[-1]["results"][0]["outcome"] == "released"


async def test_heartbeats_keep_the_lease(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.lease_seconds, server.heartbeat_seconds = 0.3, 0.05
    gated, opened, begun = gate()
    async with working(gated):
        execution = await server.add("gated")
        await server.until(lambda: begun)
        await asyncio.sleep(0.6)
        opened.set()
        await server.until(lambda: execution["status"] == "completed")
    assert "lease" not in caplog.text
    assert server.bodies("/heartbeat")[-1]["received"] >= 1


async def test_what_blocks_the_event_loop_is_named_and_so_is_the_lease_that_it_costs(
    server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._watch.EVERY", 0.02)
    server.lease_seconds, server.heartbeat_seconds = 0.4, 0.1

    @workflow(id="call_api")
    async def call_api(ctx: Context) -> int:
        if ctx.attempt == 1:
            time.sleep(0.7)  # noqa: ASYNC251  # the fault that is to be named
            server.workers[next(iter(server.workers))].gone = True
        return ctx.attempt

    async with working(call_api):
        execution = await server.add("call_api")
        await server.until(lambda: len(server.bodies("/workers")) == 2)
        await server.until(lambda: "make the workflow a sync function" in caplog.text)
    says = r"by call_api \(execution {}\) at .*test_worker\.py:\d+".format(execution["id"])
    # While it goes on, a machine that is short of processors may look like a standstill of the whole process.
    goes_on = rf"(by|by a standstill .*, in) {says.removeprefix('by ')}\. No heartbeat"
    assert re.search(rf"has been blocked for 0\.\d s {goes_on}", caplog.text)
    assert re.search(rf"was blocked for 0\.\d s {says}: make the workflow a sync function", caplog.text)
    assert re.search(r"its event loop was blocked for 0\.\d s, and its lease is 0\.4 s\. Registering", caplog.text)


async def test_many_short_tasks_are_not_taken_for_one_that_blocks(
    server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._watch.EVERY", 0.02)
    server.lease_seconds = 0.4

    @workflow(id="computes")
    async def computes(ctx: Context) -> None:
        time.sleep(0.02)  # noqa: ASYNC251

    for _ in range(40):
        await server.add("computes")
    async with working(computes):
        await server.until(lambda: len(server.by_status("completed")) == 40)
        await server.until(lambda: "was blocked" in caplog.text)
    assert "by many tasks in turn, such as computes (execution" in caplog.text


# -- cancelling ----------------------------------------------------------------------------------------


async def test_a_cancelled_execution_is_stopped_and_told(server: FakeServer, polos: type[Polos]) -> None:
    gated, _, begun = gate()
    async with polos(workflows=[gated]) as client:
        handle = await gated.invoke(client)
        await server.until(lambda: begun)
        await handle.cancel()
        await server.until(lambda: len(server.by_status("cancelled")) == 1)


async def test_one_that_finishes_first_is_completed(server: FakeServer) -> None:
    begun = asyncio.Event()

    @workflow(id="stubborn")
    async def stubborn(ctx: Context) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done all the same" if ctx.cancel_requested else "?"
        return "?"

    async with working(stubborn):
        execution = await server.add("stubborn")
        await begun.wait()
        await server.ask_cancel(execution["id"])
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == "done all the same"


async def test_a_thread_can_wait_for_its_cancellation(server: FakeServer) -> None:
    begun, told = threading.Event(), []

    @workflow(id="patient")
    def patient(ctx: Context) -> None:
        told.append(ctx.cancelled.wait(0.01))
        begun.set()
        told.append(ctx.cancelled.wait(30))
        told.append(ctx.cancelled.is_set())
        raise InterruptedError

    async with working(patient):
        execution = await server.add("patient")
        await server.until(begun.is_set)
        await server.ask_cancel(execution["id"])
        await server.until(lambda: execution["status"] == "cancelled")
    assert told == [False, True, True]


async def test_a_task_can_wait_for_the_cancellation_of_its_workflow(server: FakeServer) -> None:
    begun, told = asyncio.Event(), asyncio.Event()

    async def end_it(ctx: Context) -> None:
        assert not await ctx.cancelled.wait(0.01)
        begun.set()
        assert await ctx.cancelled.wait()
        told.set()

    @workflow(id="tidy")
    async def tidy(ctx: Context) -> None:
        _ = asyncio.create_task(end_it(ctx))  # noqa: RUF006 - the workflow waits beside it
        await asyncio.sleep(60)

    async with working(tidy):
        execution = await server.add("tidy")
        await begun.wait()
        await server.ask_cancel(execution["id"])
        await asyncio.wait_for(told.wait(), 5)
        await server.until(lambda: execution["status"] == "cancelled")


async def test_a_thread_that_waits_so_is_woken_by_its_timeout(server: FakeServer) -> None:
    @workflow(id="late", timeout=0.1)
    def late(ctx: Context) -> None:
        assert ctx.cancelled.wait()
        raise InterruptedError

    async with working(late):
        execution = await server.add("late")
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "AttemptTimeout"


async def test_a_thread_is_told_when_it_has_really_ended(server: FakeServer) -> None:
    begun, go = threading.Event(), threading.Event()

    @workflow(id="threaded")
    def threaded(ctx: Context) -> None:
        begun.set()
        go.wait(5)
        if ctx.cancel_requested:
            raise InterruptedError

    async with working(threaded):
        execution = await server.add("threaded")
        await server.until(begun.is_set)
        await server.ask_cancel(execution["id"])
        await asyncio.sleep(0.05)
        assert execution["status"] == "cancelling"
        go.set()
        await server.until(lambda: execution["status"] == "cancelled")


async def test_what_a_body_cancels_itself_is_a_failure(server: FakeServer) -> None:
    @workflow(id="odd")
    async def odd(ctx: Context) -> None:
        task = asyncio.create_task(asyncio.sleep(1))
        task.cancel()
        await task

    async with working(odd):
        execution = await server.add("odd")
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "CancelledError"


# -- leaving -------------------------------------------------------------------------------------------


async def test_draining_finishes_what_runs_and_takes_nothing_more(server: FakeServer) -> None:
    gated, opened, begun = gate()
    async with working(gated) as worker:
        first = await server.add("gated")
        await server.until(lambda: begun)
        worker.stop()
        await asyncio.sleep(0.05)
        second = await server.add("gated")
        await asyncio.sleep(0.05)
        opened.set()
    assert (first["status"], second["status"]) == ("completed", "queued")
    assert [each.left for each in server.workers.values()] == [True]


async def test_what_does_not_finish_is_handed_back(server: FakeServer) -> None:
    gated, _, begun = gate()
    async with working(gated, drain_seconds=0.05):
        execution = await server.add("gated")
        await server.until(lambda: begun)
    assert (execution["status"], execution["attempt"]) == ("queued", 1)
    assert [r["outcome"] for body in server.bodies("/exchange") for r in body.get("results", [])] == ["released"]


async def test_a_thread_that_does_not_end_is_left_to_its_lease(
    server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._session.STOP_SECONDS", 0.1)
    go = threading.Event()

    @workflow(id="stuck")
    def stuck(ctx: Context) -> None:
        go.wait(10)

    async with working(stuck, drain_seconds=0.05):
        execution = await server.add("stuck")
        await server.until(lambda: execution["status"] == "running")
    go.set()
    assert execution["status"] == "running"
    assert [each.left for each in server.workers.values()] == [False]
    assert "do not end" in caplog.text


async def test_the_server_may_ask_a_worker_to_leave(server: FakeServer) -> None:
    gated, opened, begun = gate()
    worker = Worker(workflows=[gated])
    task = asyncio.create_task(worker.serve())
    execution = await server.add("gated")
    await server.until(lambda: begun)
    server.drain = True
    await server._announce()
    await asyncio.sleep(0.02)
    opened.set()
    async with asyncio.timeout(5):
        await task
    assert execution["status"] == "completed"


async def test_a_program_that_fails_hands_its_work_back_at_once(server: FakeServer, polos: type[Polos]) -> None:
    gated, _, begun = gate()
    began = time.monotonic()

    async def program() -> None:
        async with polos(workflows=[gated]) as client:
            await client.invoke(gated)
            await server.until(lambda: begun)
            raise KeyError

    with pytest.raises(KeyError):
        await program()
    assert time.monotonic() - began < 5
    assert len(server.by_status("queued")) == 1


async def test_polos_without_workflows_is_a_client(server: FakeServer, polos: type[Polos]) -> None:
    async with polos() as client:
        await client.invoke("somewhere-else")
    assert not server.workers


async def test_polos_refuses_what_a_worker_refuses(polos: type[Polos]) -> None:
    @workflow(id="one", queue=queue("q", 1))
    async def one(ctx: Any) -> None: ...

    @workflow(id="two", queue=queue("q", 2))
    async def two(ctx: Any) -> None: ...

    with pytest.raises(DefinitionError, match="declared twice"):
        polos()


SCRIPT = """
import asyncio, logging, sys
from polos import Worker, workflow

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

@workflow(id="slow")
async def slow(ctx, payload):
    print("begun", flush=True)
    await asyncio.sleep(payload)
    return "finished"

asyncio.run(Worker(workflows=[slow]).run())
"""


async def _started(tmp_path: Path, text: str = SCRIPT) -> asyncio.subprocess.Process:
    script = tmp_path / "slow_worker.py"
    script.write_text(text)
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async for line in process.stdout:
        if line == b"begun\n":
            return process
    raise AssertionError("the worker ended")


async def test_the_first_signal_drains(server: FakeServer, tmp_path: Path) -> None:
    execution = await server.add("slow", 0.3)
    process = await _started(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert execution["status"] == "completed"
    assert server.bodies("/workers")[0]["name"].endswith("/slow_worker")


STUCK = """
import asyncio, time
from polos import Worker, _session, workflow

_session.STOP_SECONDS = 0.1

@workflow(id="slow")
def slow(ctx, payload):
    print("begun", flush=True)
    time.sleep(payload)

asyncio.run(Worker(workflows=[slow], drain_seconds=0.1).run())
"""


async def test_a_sync_function_that_does_not_end_does_not_keep_the_process(
    server: FakeServer, tmp_path: Path
) -> None:
    execution = await server.add("slow", 60)
    process = await _started(tmp_path, STUCK)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
    assert execution["status"] == "running"


IN_A_THREAD = """
import asyncio, sys, time
from polos import workflow
from polos.cli import main, worker

worker.LAST_SECONDS = 0.2

@workflow(id="slow")
async def slow(ctx, payload):
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, payload)

sys.modules["here"] = sys.modules["__main__"]
sys.exit(main(["worker", "here", "--drain-seconds", "0.1"]))
"""


async def test_a_thread_that_the_code_started_does_not_keep_the_command(
    server: FakeServer, tmp_path: Path
) -> None:
    execution = await server.add("slow", 60)
    process = await _started(tmp_path, IN_A_THREAD)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
    assert execution["status"] == "queued"


async def test_the_second_signal_is_hard(server: FakeServer, tmp_path: Path) -> None:
    execution = await server.add("slow", 60)
    process = await _started(tmp_path)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # an echo
    await asyncio.sleep(0.7)
    assert process.returncode is None
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 5) == 130
    assert execution["status"] == "running"


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0.0, 0.005])
async def test_a_worker_with_little_room_goes_on_asking(server: FakeServer, most: int, seconds: float) -> None:
    @workflow(id="quick")
    async def quick(ctx: Context) -> None:
        await asyncio.sleep(seconds)

    done = 0
    async with working(quick, max_concurrent=most):
        for count in (1, 2, 3, 4, 5, 6, 7):
            for _ in range(count):
                await server.add("quick")
            done += count
            await server.until(lambda: len(server.by_status("completed")) == done)  # noqa: B023
