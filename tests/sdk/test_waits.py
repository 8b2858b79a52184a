"""Steps that wait, against the fake server: what is declared, when, and what comes back."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    ChildResult,
    Conflict,
    Context,
    Event,
    ExecutionFailed,
    ExecutionTimeout,
    Fail,
    Invocation,
    PolosClient,
    SyncClient,
    WaitTimeout,
    _step_waits,
    workflow,
)
from polos.cli import main

from .fake_server import FakeServer
from .test_worker import working


class Order(BaseModel):
    id: int


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long takes a fifth of a second here."""
    monkeypatch.setattr(_step_waits, "IN_MEMORY", 0.05)


def declared(server: FakeServer) -> list[list[dict[str, Any]]]:
    """The waits of each outcome that declares some, but for how long they were waited for."""
    results = [result for body in server.bodies("/exchange") for result in body.get("results", ())]
    return [
        [{name: value for name, value in wait.items() if name != "waited"} for wait in result["waits"]]
        for result in results
        if result["outcome"] == "waiting"
    ]


async def ended(server: FakeServer, body: Any, *others: Any, **options: Any) -> dict[str, Any]:
    """Runs a workflow in a single attempt."""

    @workflow(id="one", queue="one")
    async def one(ctx: Context) -> Any:
        return await body(ctx)

    async with working(one, *others):
        execution = await server.add("one", queue="one", **options)
        await server.until(lambda: execution["status"] in ("completed", "failed", "cancelled"))
    assert execution["attempt"] == 1
    return execution


# -- times -----------------------------------------------------------------------------------------


async def test_a_long_sleep_gives_back_slot_and_worker_and_is_over_once(server: FakeServer) -> None:
    starts: list[float] = []

    async def body(ctx: Context) -> str:
        starts.append(time.monotonic())
        await ctx.step.sleep("nap", dt.timedelta(seconds=0.2))
        return await ctx.step.run("after", lambda: "done")

    execution = await ended(server, body)
    assert execution["result"] == "done"
    assert len(starts) == 2
    assert starts[1] - starts[0] >= 0.19
    assert declared(server) == [[{"key": "nap", "kind": "time", "seconds": pytest.approx(0.2, abs=0.05)}]]
    assert {key for _, key in server.steps} == {"nap", "after"}


async def test_a_short_sleep_stays_in_memory(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.sleep("nap", 0.04)
        await ctx.step.wait_for("no time")

    assert (await ended(server, body))["status"] == "completed"
    assert declared(server) == []


async def test_a_moment_is_waited_for_and_one_that_has_passed_is_not(server: FakeServer) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.3)

    async def body(ctx: Context) -> float:
        await ctx.step.wait_until("past", dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        await ctx.step.wait_until("soon", moment)
        return dt.datetime.now(dt.UTC).timestamp()

    execution = await ended(server, body)
    assert execution["result"] >= moment.timestamp()
    assert declared(server) == [[{"key": "soon", "kind": "time", "until": moment.isoformat()}]]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda step: step.sleep("a", -1), "between 0 and"),
        (lambda step: step.wait_for("a", days=400), "between 0 and"),
        (lambda step: step.wait_until("a", dt.datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001
        (lambda step: step.wait_until("a", dt.datetime(2190, 1, 1, tzinfo=dt.UTC)), "at most a year"),
        (lambda step: step.wait_for_event("a", "topic", timeout="soon"), "number of seconds"),
        (lambda step: step.suspend("a", object()), "cannot be written as JSON"),
        (lambda step: step.suspend("a", "é" * 9_000), "18,002 bytes as JSON; the most is 16,384"),
        (lambda step: step.wait_for_event("a", "topic", since="now"), "since of step 'a' is a datetime"),
    ],
)
async def test_what_cannot_be_waited_for_is_refused(what: Any, words: str, server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await what(ctx.step)

    assert words in (await ended(server, body))["error"]["message"]
    assert declared(server) == []


async def test_units_are_added_up(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.wait_for("long", 1, minutes=1, hours=1, days=1, weeks=1)

    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await body(ctx)

    async with working(one):
        await server.add("one")
        await server.until(lambda: declared(server))
    assert declared(server)[0][0]["seconds"] == pytest.approx(1 + 60 + 3600 + 86400 + 604800, abs=1)


# -- events and answers ------------------------------------------------------------------------------


async def waiting(server: FakeServer, execution: dict[str, Any]) -> None:
    await server.until(lambda: execution["status"] == "waiting")


async def test_an_event_comes_typed_and_only_once(server: FakeServer, client: PolosClient) -> None:
    seen: list[Event[Order]] = []

    @workflow(id="one")
    async def one(ctx: Context) -> str:
        event = await ctx.step.wait_for_event("order", "orders/new", payload_type=Order)
        seen.append(event)
        again = await ctx.step.wait_for_event("order-2", "orders/new", timeout=60)
        return f"{event.payload.id} {again.data['id']}"

    async with working(one):
        await client.publish_event("orders/new", {"id": 1})  # before anybody waits
        execution = await server.add("one")
        await waiting(server, execution)
        first = await client.publish_event("orders/new", Order(id=2))
        await server.until(lambda: len(declared(server)) == 2)
        await client.publish_event("orders/new", {"id": 3}, id="0197a3f0-0000-7000-8000-000000000001")
        await client.publish_event("orders/new", {"id": 3}, id="0197a3f0-0000-7000-8000-000000000001")
        await server.until(lambda: execution["status"] == "completed")
        with pytest.raises(Conflict):
            await client.publish_event("orders/new", 4, id="0197a3f0-0000-7000-8000-000000000001")
    assert execution["result"] == "2 3"
    assert seen[0] == seen[1]
    assert (seen[0].id, seen[0].topic, seen[0].published_at) == (first.id, "orders/new", first.published_at)
    assert [wait["seconds"] for (wait,) in declared(server)[1:]] == [pytest.approx(60, abs=1)]


async def test_an_event_that_does_not_come_is_an_error_that_stays(server: FakeServer) -> None:
    async def body(ctx: Context) -> str:
        try:
            await ctx.step.wait_for_event("order", "orders/new", timeout=0.1)
        except WaitTimeout as error:
            await ctx.step.sleep("later", 0.1)  # the next claim is told the same
            return str(error)
        return ""

    told = (await ended(server, body))["result"]
    assert told.startswith("No event came under orders/new within 0.1 s: step 'order' at ")
    assert "test_waits.py:" in told


async def test_no_event_is_missed_that_comes_while_other_steps_run(
    server: FakeServer, client: PolosClient
) -> None:
    """One that is waited for beside the step that leads to it, and one after the step, since before it."""

    async def lead_to(topic: str, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        await client.publish_event(topic, topic)
        await asyncio.sleep(0.1)

    async def body(ctx: Context) -> Any:
        # When a wait began is known less the time that handing it in takes: by far less than the pause.
        beside, _ = await asyncio.gather(
            ctx.step.wait_for_event("beside", "a", timeout=1), ctx.step.run("lead to a", lead_to, "a", after=0.3)
        )
        begun = await ctx.step.now("begun")
        await ctx.step.run("lead to b", lead_to, "b")
        after = await ctx.step.wait_for_event("after", "b", timeout=1, since=begun)
        await ctx.step.run("lead to b again", lead_to, "b")
        following = await ctx.step.wait_for_event("following", "b", timeout=1, since=after.published_at)
        return [beside.payload, after.payload, following.payload, after.id != following.id]

    assert (await ended(server, body))["result"] == ["a", "b", "b", True]


async def test_a_payload_of_another_type_is_told(server: FakeServer, client: PolosClient) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await ctx.step.wait_for_event("order", "orders", payload_type=Order)

    async with working(one):
        execution = await server.add("one")
        await waiting(server, execution)
        await client.publish_event("orders", {"id": "seven"})
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "StepError"
    assert "The payload of the event of step order" in execution["error"]["message"]


async def test_an_event_is_published_once_by_all_attempts(server: FakeServer) -> None:
    async def body(ctx: Context) -> list[str]:
        id = await ctx.step.publish_event("tell", "orders/done", {"id": 7})
        await ctx.step.sleep("nap", 0.1)
        return [id, await ctx.step.publish_event("again", "orders/done", {"id": 7})]

    execution = await ended(server, body)
    assert list(server.events) == execution["result"]
    assert [event["payload"] for event in server.events.values()] == [{"id": 7}, {"id": 7}]


async def test_a_person_answers(server: FakeServer, client: PolosClient) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> Any:
        order = await ctx.step.suspend("approve", {"amount": 500}, answer_type=Order)
        plain = await ctx.step.suspend("comment")
        return [order.id, plain]

    async with working(one):
        execution = await server.add("one")
        with pytest.raises(Conflict):
            await client.resume(execution["id"], "approve", {"id": 1})
        await waiting(server, execution)
        await client.resume(execution["id"], "approve", Order(id=5))
        await client.resume(execution["id"], "approve", Order(id=5))
        await server.until(lambda: len(declared(server)) == 2)
        with pytest.raises(Conflict):
            await client.resume(execution["id"], "approve", Order(id=6))
        await client.resume(execution["id"], "comment", None)
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == [5, None]
    assert [(wait["key"], wait["note"]) for (wait,) in declared(server)] == [
        ("approve", {"amount": 500}), ("comment", None),
    ]  # fmt: skip


async def test_the_command_shows_what_is_asked_and_answers(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> Any:
        both = await asyncio.gather(ctx.step.suspend("approve", {"amount": 5}), ctx.step.suspend("comment"))
        return [*both, await ctx.step.suspend("last")]

    async def polos(*arguments: str) -> tuple[int, str, str]:
        status = await asyncio.to_thread(main, ["resume", execution["id"], *arguments])
        return status, *capsys.readouterr()

    async with working(one):
        execution = await server.add("one")
        await waiting(server, execution)
        assert await polos() == (0, 'approve {"amount": 5}\ncomment null\n', "Answer with --data.\n")
        status, _, told = await polos("--data", "1")
        assert (status, told) == (1, f"{execution['id']} asks in approve, comment: say in which KEY\n")
        assert (await polos("comment", "--data", "null"))[0] == 0
        await waiting(server, execution)
        told = (await polos("other"))[2]
        assert told == f"{execution['id']} is waiting and asks nothing in other\n"
        assert (await polos("other", "--data", "1"))[2] == f"{execution['id']}: Nobody waits for other.\n"
        assert (await polos("approve", "--data", '{"yes": true}'))[
            1
        ] == f"{execution['id']} goes on from approve\n"
        await server.until(lambda: len(declared(server)) >= 3 and execution["status"] == "waiting")
        assert (await polos("--data", "[2]"))[0] == 0
        await server.until(lambda: execution["status"] == "completed")
        assert (await polos())[2] == f"{execution['id']} is completed and asks nothing\n"
    assert execution["result"] == [{"yes": True}, None, [2]]


async def test_who_has_no_event_loop_publishes_and_answers(server: FakeServer) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("order", "orders")
        return [event.payload, await ctx.step.suspend("go?"), await ctx.step.suspend("sure?")]

    def script() -> Any:
        with SyncClient(server.url) as client:
            handle = client.invoke(one)
            until_waiting(handle, "event")
            event = client.publish_event("orders", 1)
            until_waiting(handle, "resume")
            client.resume(handle.id, "go?", 2)
            until_waiting(handle, "resume", key="sure?")
            handle.resume("sure?", 3)
            return [event.payload, *handle.result(10)]

    def until_waiting(handle: Any, kind: str, key: str = "") -> None:
        while not any(wait.kind == kind and wait.key.startswith(key) for wait in handle.get().waits):
            time.sleep(0.01)

    async with working(one):
        assert await asyncio.to_thread(script) == [1, 1, 2, 3]


async def test_another_workflow_answers(server: FakeServer) -> None:
    @workflow(id="asks")
    async def asks(ctx: Context) -> Any:
        try:
            return await ctx.step.suspend("go?", timeout=30)
        except WaitTimeout:
            return "nobody"

    @workflow(id="answers")
    async def answers(ctx: Context, payload: str) -> None:
        await ctx.step.resume("yes", payload, "go?", [1])
        await ctx.step.sleep("nap", 0.1)

    async with working(asks, answers):
        execution = await server.add("asks")
        await waiting(server, execution)
        other = await server.add("answers", execution["id"])
        await server.until(lambda: other["status"] == "completed")
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == [1]
    assert len(server.bodies("/resume")) == 1


# -- children ----------------------------------------------------------------------------------------


@workflow(id="double")
async def double(ctx: Context, payload: int) -> Order:
    if payload < 0:
        raise Fail("negative")
    return Order(id=2 * payload)


async def test_a_child_on_the_parents_queue_of_one(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        order: Order = await ctx.step.invoke_and_wait("child", double, 21, queue_name="one")
        assert isinstance(order, Order)
        return order.id

    server.limits["one"] = 1
    execution = await ended(server, body, double)
    assert execution["result"] == 42
    assert server.peak["one"] == 1
    (child,) = [each for each in server.executions.values() if each["parent_id"]]
    assert declared(server) == [[{"key": "child.result", "kind": "executions", "executions": [child["id"]]}]]


async def test_the_error_of_a_child_is_the_parents_and_stays(server: FakeServer) -> None:
    async def body(ctx: Context) -> str:
        try:
            await ctx.step.invoke_and_wait("child", double, -1)
        except ExecutionFailed as error:
            await ctx.step.sleep("nap", 0.1)
            return f"{error} {error.execution and error.execution.status}"
        return ""

    assert (await ended(server, body, double))["result"].endswith(" failed: Fail: negative failed")


async def test_an_attempt_that_a_childs_failure_ended_is_followed_by_one_with_another_child(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    @workflow(id="fails-twice")
    async def fails_twice(ctx: Context) -> str:
        calls.append(ctx.execution_id)
        if len(calls) <= 3:  # "before", and two of them
            raise ConnectionError("away")
        return "there"

    @workflow(id="one", retries=2)
    async def one(ctx: Context) -> Any:
        await ctx.step.run("before", calls.append, "before")
        return await ctx.step.invoke_and_wait("child", fails_twice)

    async with working(one, fails_twice):
        execution = await server.add("one", max_attempts=3)
        await server.until(lambda: execution["status"] in ("completed", "failed"))
    assert (execution["result"], execution["attempt"]) == ("there", 3)
    assert len(set(calls)) == len(calls) == 4
    assert "without asking" not in caplog.text


async def test_a_failure_that_was_caught_stays_as_it_is(server: FakeServer) -> None:
    """The worker dies in the middle of what is done instead; it must not find the child mended."""
    fails = [True]
    gate = asyncio.Event()

    @workflow(id="child")
    async def child(ctx: Context) -> None:
        if fails.pop():
            raise ConnectionError("away")

    @workflow(id="one", retries=1)
    async def one(ctx: Context) -> Any:
        try:
            await ctx.step.invoke_and_wait("child", child)
        except ExecutionFailed:
            await ctx.step.run("undo", gate.wait)
            return "undone"

    async with working(one, child):
        execution = await server.add("one", max_attempts=2)
        await server.until(lambda: (execution["id"], "child.result") in server.steps)
        await server.lose_workers()
        await server.until(lambda: execution["attempt"] == 2)
        gate.set()
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == "undone"
    assert len(server.executions) == 2


async def test_a_wait_that_timed_out_begins_anew_when_somebody_tries_again(
    server: FakeServer, client: PolosClient, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow(id="one", retries=5)
    async def one(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("event", "topic", timeout=0.2)
        answer = await ctx.step.suspend("ask", timeout=0.2)
        return [event.payload, answer]

    async with working(one):
        execution = await server.add("one", max_attempts=6)
        for attempt, key in ((1, "event"), (2, "ask")):
            await server.until(lambda: execution["status"] == "failed")
            assert (execution["attempt"], execution["error"]["type"]) == (attempt, "WaitTimeout")
            await server.retry(execution["id"])
            await server.until(lambda key=key: (execution["id"], f"{key}@2") in server.waits)  # type: ignore[misc]
            if key == "event":
                await client.publish_event("topic", 7)
            else:
                await client.resume(execution["id"], "ask@2", 8)
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == [7, 8]
    assert "without asking" not in caplog.text


async def test_children_that_were_too_slow_are_waited_for_anew(server: FakeServer) -> None:
    gate = asyncio.Event()

    @workflow(id="child")
    async def child(ctx: Context) -> str:
        await gate.wait()
        return "late"

    @workflow(id="one", retries=1)
    async def one(ctx: Context) -> Any:
        (first,) = await ctx.step.batch_invoke_and_wait("all", [(child, None)], timeout=0.2)
        return [first.result, await ctx.step.invoke_and_wait("single", child, timeout=0.2)]

    async with working(one, child):
        execution = await server.add("one", max_attempts=2)
        await server.until(lambda: execution["status"] == "failed")
        assert execution["error"]["type"] == "ExecutionTimeout"
        await server.retry(execution["id"])
        gate.set()
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == ["late", "late"]
    assert len(server.executions) == 3


async def test_a_child_that_takes_too_long_goes_on(server: FakeServer) -> None:
    @workflow(id="slow")
    async def slow(ctx: Context) -> str:
        await ctx.step.sleep("nap", 0.4)
        return "late"

    async def body(ctx: Context) -> Any:
        handle = await ctx.step.invoke("child", slow)
        told = []
        for _ in range(2):
            try:
                await handle.result(timeout=0.1)
            except ExecutionTimeout as error:
                told.append(str(error))
        return [*told, await handle.result(), await handle.result()]

    first, second, late, again = (await ended(server, body, slow))["result"]
    assert "was not finished within its timeout: step 'child.result' at " in first
    assert "step 'child.result-2' at " in second
    assert (late, again) == ("late", "late")


async def test_a_batch_keeps_its_order_and_failures_are_items(server: FakeServer) -> None:
    seen: list[list[ChildResult[Any]]] = []

    async def body(ctx: Context) -> Any:
        items: list[Any] = [
            (double, 1),
            Invocation(workflow=double, payload=-1, queue_name="other"),
            ("double", 3),
        ]
        results = await ctx.step.batch_invoke_and_wait("all", items)
        seen.append(results)
        await ctx.step.sleep("nap", 0.1)
        return [[each.success, each.status] for each in results]

    assert (await ended(server, body, double))["result"] == [
        [True, "completed"],
        [False, "failed"],
        [True, "completed"],
    ]
    first, failed, untyped = seen[0]
    assert (first.result, failed.result, untyped.result) == (Order(id=2), None, {"id": 6})
    assert failed.error is not None and failed.error.message == "negative"
    assert seen[0] == seen[1]
    assert len(server.bodies("/executions/batch")) == 1


async def test_an_empty_batch_waits_for_nothing(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.step.batch_invoke_and_wait("all", [])

    assert (await ended(server, body))["result"] == []
    assert declared(server) == []


async def test_handles_of_a_batch_are_waited_for_with_few_claims(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> Any:
        starts.append(1)
        handles = await ctx.step.batch_invoke("all", [(double, n) for n in range(30)])
        await ctx.step.sleep("nap", 0.2)  # all are done by then
        return [(await handle.result()).id for handle in handles]

    assert (await ended(server, body, double))["result"] == [2 * n for n in range(30)]
    assert len(starts) == 2
    assert len(server.bodies("/executions/results")) == 1


async def test_results_that_are_too_large_to_keep_are_fetched_again(server: FakeServer) -> None:
    @workflow(id="large")
    async def large(ctx: Context) -> str:
        return "x" * 100_000

    async def body(ctx: Context) -> Any:
        results = await ctx.step.batch_invoke_and_wait("all", [(large, None)] * 4)
        await ctx.step.sleep("nap", 0.1)
        return [len(each.result or ()) for each in results]

    execution = await ended(server, body, large)
    assert execution["result"] == [100_000] * 4
    assert server.steps[execution["id"], "all.results"]["result"] == {"ends": None}


async def test_a_child_that_is_gone_is_told(server: FakeServer) -> None:
    @workflow(id="nap")
    async def nap(ctx: Context) -> None:
        await asyncio.sleep(0.2)

    async def body(ctx: Context) -> Any:
        (result,) = await ctx.step.batch_invoke_and_wait("all", [(nap, None)])
        return [result.status, result.success, result.error and result.error.message]

    @workflow(id="one")
    async def one(ctx: Context) -> Any:
        return await body(ctx)

    async with working(one, nap):
        execution = await server.add("one")
        await waiting(server, execution)
        (child,) = [id for id, each in server.executions.items() if each["parent_id"]]
        await server.until(lambda: server.executions[child]["status"] == "running")
        worker = server.workers[server.executions[child]["worker_id"]]
        del server.executions[child]
        server._look_at_waits()
        await server.until(lambda: execution["status"] == "completed")
        server.executions[child] = {"_token": None, "status": "completed", "worker_id": worker.id, "queue": "nap"}
    assert execution["result"] == ["missing", False, "it was removed, as all are some time after their end"]


def took(execution: dict[str, Any]) -> float:
    began, end = (dt.datetime.fromisoformat(execution[name]) for name in ("enqueued_at", "finished_at"))
    return (end - began).total_seconds()


# -- side by side ------------------------------------------------------------------------------------


async def test_all_waits_of_a_gather_are_declared_together(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> Any:
        starts.append(1)
        await asyncio.gather(
            ctx.step.sleep("short", 0.15),
            ctx.step.sleep("long", 0.45),
            ctx.step.invoke_and_wait("child", double, 1),
        )
        return len(starts)

    execution = await ended(server, body, double)
    assert execution["status"] == "completed"
    first, *later = declared(server)
    assert [wait["key"] for wait in first] == ["short", "long", "child.result"]
    assert {wait["key"] for waits in later for wait in waits} <= {"short", "long"}
    assert 0.44 <= took(execution) < 0.9, "a wait that is declared again keeps its end"


async def test_a_running_step_beside_a_wait_is_finished_first(server: FakeServer) -> None:
    calls: list[str] = []

    async def slow(name: str) -> str:
        calls.append(name)
        await asyncio.sleep(0.1)
        return name

    async def steps(ctx: Context) -> list[str]:
        return [await ctx.step.run(f"s{n}", slow, f"s{n}") for n in range(3)]

    async def body(ctx: Context) -> Any:
        _, done = await asyncio.gather(ctx.step.sleep("nap", 0.4), steps(ctx))
        return done

    execution = await ended(server, body)
    assert execution["result"] == calls == ["s0", "s1", "s2"]
    assert 0.38 <= took(execution) < 0.68, "what passed beside the steps counts"


async def test_the_end_of_a_sleep_beside_steps_is_kept(server: FakeServer) -> None:
    """Should the worker die before the steps are done, the sleep does not begin anew."""
    gate = asyncio.Event()

    async def body(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("nap", 0.3), ctx.step.run("step", gate.wait))

    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await body(ctx)

    async with working(one):
        execution = await server.add("one", max_attempts=2)
        await server.until(lambda: (execution["id"], "nap") in server.steps)
        end = dt.datetime.fromisoformat(server.steps[execution["id"], "nap"]["result"])
        await server.lose_workers()
        await server.until(lambda: execution["attempt"] == 2)
        gate.set()
        await server.until(lambda: execution["status"] == "completed")
    finished = dt.datetime.fromisoformat(execution["finished_at"])
    assert end <= finished < end + dt.timedelta(seconds=0.5)


async def groups(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.step.sleep("a", 0.1))
        group.create_task(ctx.step.sleep("b", 0.1))


async def waits(ctx: Context) -> None:
    tasks = [asyncio.create_task(ctx.step.sleep(name, 0.1)) for name in "ab"]
    await asyncio.wait(tasks)


async def one_by_one(ctx: Context) -> None:
    for each in asyncio.as_completed([ctx.step.sleep("a", 0.1), ctx.step.sleep("b", 0.1)]):
        await each


async def nested(ctx: Context) -> None:
    await asyncio.gather(asyncio.gather(asyncio.gather(ctx.step.sleep("a", 0.1))), ctx.step.sleep("b", 0.1))


async def background(ctx: Context) -> None:
    task = asyncio.create_task(ctx.step.sleep("a", 0.1))
    await ctx.step.sleep("b", 0.1)
    await task


@pytest.mark.parametrize("body", [groups, waits, one_by_one, nested, background])
async def test_standing_still_is_seen_at_once(body: Any, server: FakeServer) -> None:
    began = time.monotonic()
    assert (await ended(server, body))["status"] == "completed"
    assert time.monotonic() - began < 2
    assert {wait["key"] for wait in declared(server)[0]} == {"a", "b"}


async def test_the_first_of_two_waits_is_enough(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        tasks = {name: asyncio.create_task(ctx.step.sleep(name, s)) for name, s in (("a", 0.1), ("b", 60))}
        done, pending = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks["a"]}
        return len(pending)  # nobody cancels it

    assert (await ended(server, body))["result"] == 1


async def test_what_is_no_step_has_a_while_to_come_to_one(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polos")
    monkeypatch.setattr("polos._waits.PATIENCE", 0.3)
    calls: list[str] = []

    async def other(ctx: Context) -> None:
        await asyncio.sleep(0.1)
        await ctx.step.run("s", lambda: calls.append("s"))
        calls.append("waits")
        await asyncio.sleep(0.5 if len(calls) < 5 else 0)

    async def body(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("nap", 0.2), other(ctx))

    execution = await ended(server, body)
    assert execution["status"] == "completed"
    assert calls.count("s") == 1, "it came to its step in the first claim"
    assert calls.count("waits") >= 2, "what followed was broken off, and begun anew"
    assert "neither a step nor a wait for 0.3 s: it is broken off" in caplog.text


async def test_a_timeout_around_a_wait_is_told_once(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    @workflow(id="scoped", timeout=30)
    async def scoped(ctx: Context, payload: bool) -> None:
        async with asyncio.timeout(20 if payload else None):
            await ctx.step.sleep("nap", 0.1)

    for waits_inside, times in ((False, 0), (True, 1)):
        caplog.clear()
        async with working(scoped):
            executions = [await server.add("scoped", waits_inside) for _ in range(3)]
            await server.until(lambda all=executions: {each["status"] for each in all} == {"completed"})  # type: ignore[misc]
        assert caplog.text.count("inside of an asyncio.timeout") == times


async def test_a_wait_inside_of_a_step_is_refused(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        async def inner() -> None:
            await ctx.step.sleep("short", 0.01)
            await ctx.step.sleep("nap", 60)

        await ctx.step.run("outer", inner)

    error = (await ended(server, body))["error"]
    assert error["type"] == "StepError"
    assert "waits inside of the step 'outer'" in error["message"]


async def test_a_handle_inside_of_a_step_waits_in_memory(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        handle = await ctx.step.invoke("child", double, 4)

        async def inner() -> int:
            result: int = (await handle.result(10)).id
            return result

        return await ctx.step.run("outer", inner)

    assert (await ended(server, body, double))["result"] == 8
    assert declared(server) == []


async def test_clean_up_is_done_but_steps_in_it_are_not(server: FakeServer) -> None:
    told: list[str] = []

    async def body(ctx: Context) -> str:
        told.append("begin")
        try:
            await ctx.step.sleep("nap", 0.1)
        finally:
            told.append("finally")
            await ctx.step.run("clean", told.append, "cleaned")
        return "done"

    assert (await ended(server, body))["result"] == "done"
    assert told == ["begin", "finally", "begin", "finally", "cleaned"]


async def test_who_catches_the_cancellation_waits_all_the_same(server: FakeServer) -> None:
    ends: list[Any] = []

    @workflow(id="stubborn", timeout=30, on_end=lambda ctx, outcome: ends.append(outcome.result))
    async def stubborn(ctx: Context) -> str:
        try:
            await ctx.step.sleep("nap", 0.1)
        except BaseException:
            return "caught"
        return "slept"

    async with working(stubborn):
        execution = await server.add("stubborn")
        await server.until(lambda: execution["status"] == "completed")
    assert (execution["result"], ends) == ("slept", ["slept"])


async def test_a_thousand_waits_and_more(server: FakeServer) -> None:
    async def body(ctx: Context) -> int:
        await asyncio.gather(*(ctx.step.sleep(f"s{n}", 0.1) for n in range(1_050)))
        return 1

    assert (await ended(server, body))["result"] == 1
    assert len(declared(server)[0]) == 1_000


# -- between the claims --------------------------------------------------------------------------------


async def test_a_renamed_wait_is_a_change(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> None:
        starts.append(1)
        await ctx.step.run("first", int)
        await ctx.step.sleep("nap" if len(starts) == 1 else "doze", 0.1)

    error = (await ended(server, body))["error"]
    assert error["type"] == "StepsChanged"
    assert "The step 'doze' at " in error["message"]
    assert "after 'first' earlier attempts finished step 'nap'" in error["message"]


async def test_a_wait_that_became_another_kind_is_a_change(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> None:
        starts.append(1)
        if len(starts) == 1:
            await ctx.step.sleep("a", 0.1)
        await ctx.step.wait_for_event("a", "topic")

    error = (await ended(server, body))["error"]
    assert "The step 'a' at " in error["message"]
    assert "is a wait for an event, which is not what an earlier attempt stored" in error["message"]


async def test_another_number_of_children_is_a_change(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> None:
        starts.append(1)
        await ctx.step.batch_invoke("all", [(double, n) for n in range(len(starts))])
        await ctx.step.sleep("nap", 0.1)

    error = (await ended(server, body, double))["error"]
    assert "starts 2 children, but an earlier attempt started 1 there" in error["message"]


async def test_an_outcome_that_could_not_be_kept_is_told_again(server: FakeServer, client: PolosClient) -> None:
    """The worker dies between its claim and the save of what it waited for."""

    @workflow(id="one", retries=1)
    async def one(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("order", "orders")
        return [event.id, await ctx.step.run("after", lambda: event.payload)]

    async with working(one):
        execution = await server.add("one", max_attempts=2)
        await waiting(server, execution)
        server.fail("/steps", times=1_000)
        event = await client.publish_event("orders", 7)
        await server.until(lambda: server.bodies("/steps"))
        await server.lose_workers()
        server.faults.clear()
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == [event.id, 7]
    assert execution["attempt"] == 2


async def test_a_lost_reply_to_what_is_declared_does_no_harm(server: FakeServer) -> None:
    starts: list[int] = []

    async def body(ctx: Context) -> None:
        starts.append(1)
        if len(starts) == 1:
            server.fail("/exchange", after=True)
        await ctx.step.sleep("nap", 0.3)

    assert (await ended(server, body))["status"] == "completed"
    assert len(starts) == 2


async def test_waits_that_the_server_does_not_take_are_told(server: FakeServer) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await ctx.step.suspend("ask", "a\0b")

    async with working(one):
        execution = await server.add("one")
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "ResultRefused"


async def test_a_cancelled_one_does_not_wait(server: FakeServer) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await ctx.step.suspend("ask")

    async with working(one):
        execution = await server.add("one")
        await waiting(server, execution)
        await server.ask_cancel(execution["id"])
        assert execution["status"] == "cancelled"


async def test_a_worker_that_drains_hands_in_what_waits(server: FakeServer) -> None:
    @workflow(id="one")
    async def one(ctx: Context) -> None:
        await asyncio.gather(ctx.step.suspend("ask"), ctx.step.run("slow", asyncio.sleep, 0.2))

    async with working(one):
        execution = await server.add("one")
        await server.until(lambda: execution["status"] == "running")
    assert execution["status"] == "waiting"
    assert declared(server)[0][0]["key"] == "ask"
