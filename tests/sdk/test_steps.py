from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from polos import Context, Polos, PolosClient, workflow
from polos._ids import child_id
from polos.testing import run

from .fake_server import FakeServer
from .test_worker import working


class Part(BaseModel):
    n: int


async def twice(server: FakeServer, body: Any, **more: Any) -> dict[str, Any]:
    """Runs a workflow whose first attempt fails after its steps."""

    @workflow(id="stepped", retries=1)
    async def stepped(ctx: Context, payload: Any) -> Any:
        result = await body(ctx)
        if ctx.attempt == 1:
            raise RuntimeError("once more")
        return result

    async with working(stepped):
        execution = await server.add("stepped", max_attempts=2, **more)
        await server.until(lambda: execution["status"] in ("completed", "failed"))
    return execution


async def test_a_step_is_done_once(server: FakeServer) -> None:
    calls: list[str] = []

    async def fetch(n: int, *, more: int) -> int:
        calls.append("fetch")
        return n + more

    def name_thread() -> str:
        calls.append("thread")
        return threading.current_thread().name

    async def body(ctx: Context) -> Any:
        return [await ctx.step.run("a", fetch, 1, more=2), await ctx.step.run("b", name_thread)]

    execution = await twice(server, body)
    assert execution["result"][0] == 3
    assert execution["result"][1].startswith("polos-")
    assert calls == ["fetch", "thread"]
    step = server.steps[execution["id"], "a"]
    assert step["started_at"] <= step["ended_at"]


@pytest.mark.parametrize("value", [None, 0, "", False, [], {}, 0.0])
async def test_falsy_results_are_replayed_as_they_are(value: Any, server: FakeServer) -> None:
    calls: list[int] = []

    def give() -> Any:
        calls.append(1)
        return value

    async def body(ctx: Context) -> Any:
        got = await ctx.step.run("a", give)
        return [got, type(got).__name__]

    execution = await twice(server, body)
    assert execution["result"] == [value, type(value).__name__]
    assert len(calls) == 1


async def test_a_result_is_the_same_in_every_attempt(server: FakeServer) -> None:
    seen: list[Any] = []

    def pair() -> Any:
        return (1, {2: "a"})

    def part() -> Part:
        return Part(n=1)

    def parts() -> list[Part]:
        return [Part(n=2)]

    async def body(ctx: Context) -> None:
        seen.append(
            [await ctx.step.run(key, step) for key, step in (("pair", pair), ("part", part), ("parts", parts))]
        )

    await twice(server, body)
    assert seen[0] == seen[1] == [[1, {"2": "a"}], Part(n=1), [Part(n=2)]]


async def test_a_model_without_annotation_is_a_dict_from_the_start(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(ctx: Context) -> Any:
        got: Any = await ctx.step.run("a", lambda: Part(n=1))
        return type(got).__name__

    assert (await twice(server, body))["result"] == "dict"
    assert "annotate what" in caplog.text


async def test_a_key_used_twice_is_refused(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.run("same", int)
        await ctx.step.run("same", int)

    error = (await twice(server, body))["error"]
    assert error["type"] == "DuplicateStep"
    assert "'same' is used twice" in error["message"]


@pytest.mark.parametrize("key", ["", "x" * 201, 5, None])
async def test_a_key_is_a_text(key: Any, server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.run(key, int)

    assert (await twice(server, body))["error"]["type"] == "StepError"


async def test_what_was_called_already_is_no_function(server: FakeServer) -> None:
    async def later() -> None: ...

    @workflow
    async def hasty(ctx: Context, payload: bool) -> None:
        await ctx.step.run("a", later() if payload else 5)  # type: ignore[call-overload]

    for payload, shown in ((False, "5"), (True, "<coroutine object")):
        ran = await run(hasty, payload)
        assert ran.error is not None
        assert "Step 'a' takes a function and its arguments" in str(ran.error) and shown in str(ran.error)


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_a_step_that_nobody_awaits_is_told(server: FakeServer, polos: type[Polos]) -> None:
    @workflow
    async def forgets(ctx: Context, payload: bool) -> None:
        step = ctx.step.run("a", int)
        await (step if payload else ctx.step.run("b", int))

    told = ("warning", {"steps": 1})
    async with polos([forgets]) as client:
        for payload, lines in ((False, [told]), (True, [])):
            handle = await client.invoke(forgets, payload)
            await handle.result(5)
            assert [(line["level"], line["fields"]) for _, line in server.executions[handle.id]["_lines"]] == lines
    assert [(line.level, line.fields) for line in (await run(forgets, False)).lines] == [told]


async def test_keys_may_hold_anything(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.step.run('a/b?c#d "ü"\n', int, "5")

    assert (await twice(server, body))["result"] == 5


async def test_a_failed_step_is_kept_for_people_and_called_again(server: FakeServer) -> None:
    calls: list[int] = []

    def sometimes() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not now")
        return "now"

    @workflow(id="retried", retries=1)
    async def retried(ctx: Context) -> str:
        return await ctx.step.run("a", sometimes)

    async with working(retried):
        execution = await server.add("retried", max_attempts=2)
        await server.until(lambda: execution["status"] == "completed")
    assert execution["result"] == "now"
    assert [step.get("error", {}).get("type") for body in server.bodies("/steps") for step in body["steps"]] == [
        "ValueError", None,
    ]  # fmt: skip


async def test_steps_side_by_side_are_saved_together(server: FakeServer) -> None:
    async def give(n: int) -> int:
        return n

    async def body(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.step.run(f"s{n}", give, n) for n in range(20)))

    execution = await twice(server, body)
    assert execution["result"] == list(range(20))
    assert len(server.bodies("/steps")) <= 3


async def test_a_save_that_fails_is_tried_again_and_fails_nothing(server: FakeServer) -> None:
    calls: list[int] = []

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: calls.append(1))

    server.fail("/steps", times=2)
    assert (await twice(server, body))["status"] == "completed"
    assert len(calls) == 1


async def test_a_save_whose_reply_was_lost_counts(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: 7)

    server.fail("/steps", after=True)
    execution = await twice(server, body)
    assert execution["result"] == 7
    assert [method for method, path, _ in server.requests if path.endswith("/steps")] == ["POST", "POST", "GET"]


async def test_the_value_that_is_stored_counts(server: FakeServer) -> None:
    """An earlier attempt saved it while this one was running the step."""

    async def body(ctx: Context) -> Any:
        server.steps.setdefault((ctx.execution_id, "a"), {"key": "a", "result": "first"})
        return await ctx.step.run("a", lambda: "second")

    assert (await twice(server, body))["result"] == "first"


async def test_a_step_under_a_stale_token_stops_the_execution(server: FakeServer) -> None:
    after: list[int] = []

    @workflow(id="stolen")
    async def stolen(ctx: Context) -> None:
        await server.steal(ctx.execution_id)
        try:
            await ctx.step.run("a", int)
        except Exception:
            after.append(1)
        after.append(2)

    async with working(stolen):
        await server.add("stolen")
        await server.until(lambda: server.bodies("/steps"))
        await asyncio.sleep(0.05)
    assert after == []
    assert not [body for body in server.bodies("/exchange") if body.get("results")]


async def test_a_result_that_is_not_json_fails_in_its_step(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.run("a", object)

    error = (await twice(server, body))["error"]
    assert error["type"] == "NotSerializable"
    assert "The result of step a" in error["message"]


async def test_a_child_is_started_once_and_the_parent_goes_on(server: FakeServer) -> None:
    @workflow(id="child")
    async def child(ctx: Context, payload: int) -> Part:
        return Part(n=payload)

    seen: list[str] = []

    async def body(ctx: Context) -> str:
        handle = await ctx.step.invoke("start", child, 5, queue_name="elsewhere", queue_concurrency_limit=1)
        seen.append(handle.id)
        return handle.id

    execution = await twice(server, body)
    assert seen[0] == seen[1] == child_id(execution["id"], "start")
    started = server.executions[seen[0]]
    assert (started["parent_id"], started["queue"], server.limits["elsewhere"]) == (
        execution["id"],
        "elsewhere",
        1,
    )
    assert len(server.bodies("/executions")) == 1
    assert server.steps[execution["id"], "start"]["child_id"] == seen[0]


async def test_a_child_whose_step_was_not_saved_is_found_again(server: FakeServer) -> None:
    seen: list[str] = []

    async def body(ctx: Context) -> str:
        handle = await ctx.step.invoke("start", "child", {"attempt": ctx.attempt})
        server.steps.clear()
        seen.append(handle.id)
        return handle.queue

    execution = await twice(server, body)
    assert execution["result"] == "child"
    assert seen[0] == seen[1]


async def test_a_child_is_started_when_the_server_is_back(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._http.LONGEST_PAUSE", 0.02)

    async def body(ctx: Context) -> str:
        return (await ctx.step.invoke("start", "child")).queue

    @workflow(id="parent")
    async def parent(ctx: Context) -> str:
        return await body(ctx)

    async with PolosClient(patience=0.1) as client, working(parent, client=client):
        server.fail("/executions", times=30)
        execution = await server.add("parent")
        await server.until(lambda: execution["status"] in ("completed", "failed"), 20)
    assert execution["result"] == "child"


async def test_a_child_under_a_stale_token_is_not_started(server: FakeServer) -> None:
    @workflow(id="stolen")
    async def stolen(ctx: Context) -> None:
        await server.steal(ctx.execution_id)
        await ctx.step.invoke("start", "child")

    async with working(stolen):
        await server.add("stolen")
        await server.until(lambda: server.bodies("/executions"))
        await asyncio.sleep(0.05)
    assert not [body for body in server.bodies("/exchange") if body.get("results")]
    assert len(server.executions) == 1


async def test_a_parent_may_wait_for_its_child(server: FakeServer, polos: type[Polos]) -> None:
    @workflow(id="child")
    async def child(ctx: Context, payload: int) -> Part:
        return Part(n=payload)

    @workflow(id="parent")
    async def parent(ctx: Context) -> int:
        handle = await ctx.step.invoke("start", child, 5)
        part: Part = await handle.result(timeout=5)
        return part.n

    async with polos(workflows=[child, parent]) as client:
        assert await client.run(parent, timeout=5) == 5


async def test_a_step_in_a_thread_ends_before_its_execution_does(server: FakeServer) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(5)

    @workflow(id="waits")
    async def waits(ctx: Context) -> None:
        await ctx.step.run("a", wait)

    async with working(waits):
        execution = await server.add("waits")
        await server.until(begun.is_set)
        await server.ask_cancel(execution["id"])
        await asyncio.sleep(0.05)
        assert execution["status"] == "cancelling"
        go.set()
        await server.until(lambda: execution["status"] == "cancelled")
