"""Code that was changed under a running execution: what is refused, what is told, and what is let alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from polos import Context, NotSerializable, StepRefused, workflow

from .fake_server import FakeServer
from .test_worker import working

Body = Callable[[Context], Awaitable[Any]]


class Calls(list[str]):
    def __call__(self, name: str) -> str:
        self.append(name)
        return name


@pytest.fixture
def calls() -> Calls:
    return Calls()


async def deployed(server: FakeServer, *versions: Body, crash: bool = False) -> dict[str, Any]:
    """One version of the code for each attempt; all but the last fail, or lose their worker, at their end."""
    left = list(versions)

    @workflow(id="deployed")
    async def any_version(ctx: Context) -> Any:
        version = left.pop(0)
        result = await version(ctx)
        if left and crash:
            await asyncio.sleep(60)
        if left:
            raise RuntimeError("once more")
        return result

    def begun(attempt: int) -> bool:
        return len(versions) - len(left) >= attempt

    async with working(any_version):
        execution = await server.add("deployed", max_attempts=len(versions))
        for attempt in range(1, len(versions)) if crash else ():
            await server.until(partial(begun, attempt))
            await asyncio.sleep(0.1)
            await server.lose_workers()
        await server.until(lambda: execution["status"] in ("completed", "failed"))
    return execution


async def test_a_renamed_step_is_not_done_again(server: FakeServer, calls: Calls) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("reserve", calls, "reserve")
        await ctx.step.run("charge", calls, "charge")

    async def new(ctx: Context) -> None:
        await ctx.step.run("reserve", calls, "reserve")
        await ctx.step.run("charge-card", calls, "charge again")

    error = (await deployed(server, old, new))["error"]
    assert error["type"] == "StepsChanged"
    assert "The step 'charge-card' at " in error["message"]
    assert "test_replay.py:" in error["message"]
    assert (
        "after 'reserve' earlier attempts finished step 'charge', which this code has not asked for"
        in (error["message"])
    )
    assert calls == ["reserve", "charge"]


async def test_code_that_catches_every_error_does_not_compensate_because_of_a_renamed_step(
    server: FakeServer, calls: Calls
) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("charge", calls, "charge")

    async def new(ctx: Context) -> str:
        try:
            await ctx.step.run("charge-card", calls, "charge again")
        except Exception:
            with suppress(Exception):
                await ctx.step.run("refund", calls, "refund")
        return "refunded"

    execution = await deployed(server, old, new)
    assert execution["status"] == "failed"
    assert "The step 'charge-card' at " in execution["error"]["message"]
    assert calls == ["charge"]


async def test_so_it_is_after_a_crash_and_for_all_kinds_of_steps(server: FakeServer, calls: Calls) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.uuid("id")

    async def new(ctx: Context) -> None:
        await ctx.step.invoke("child", "somewhere")

    error = (await deployed(server, old, new, crash=True))["error"]
    assert "'child'" in error["message"]
    assert "first of all earlier attempts finished step 'id'" in error["message"]
    assert len(server.executions) == 1


async def test_steps_may_be_added_behind_what_is_done(server: FakeServer, calls: Calls) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("a", calls, "a")

    async def new(ctx: Context) -> None:
        await ctx.step.run("a", calls, "a")
        await ctx.step.run("b", calls, "b")

    assert (await deployed(server, old, new))["status"] == "completed"
    assert calls == ["a", "b"]


async def test_the_order_of_finished_steps_may_change(server: FakeServer, calls: Calls) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("a", calls, "a")
        await ctx.step.run("b", calls, "b")

    async def new(ctx: Context) -> None:
        await ctx.step.run("b", calls, "b")
        await ctx.step.run("a", calls, "a")
        await ctx.step.run("c", calls, "c")

    assert (await deployed(server, old, new))["status"] == "completed"
    assert calls == ["a", "b", "c"]


async def test_a_step_that_is_no_longer_asked_for_is_told_at_the_end(
    server: FakeServer, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("a", calls, "a")
        await ctx.step.run("b", calls, "b")

    async def new(ctx: Context) -> str:
        return await ctx.step.run("a", calls, "a")

    async def newest(ctx: Context) -> str:
        return "nothing"

    execution = await deployed(server, old, new)
    assert execution["status"] == "completed"
    assert (
        f"Execution {execution['id']} of deployed completed without asking for the finished step 'b'"
        in caplog.text
    )
    await deployed(server, old, newest)
    assert "without asking for the finished steps 'a', 'b'" in caplog.text


async def test_branches_side_by_side_are_not_taken_for_a_change(
    server: FakeServer, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """The first attempt finished one branch and not yet the other, which is first in the second attempt."""
    slow = asyncio.Event()

    async def branch(ctx: Context, name: str, wait: bool) -> None:
        await ctx.step.run(f"{name}1", calls, f"{name}1")
        if wait and not slow.is_set():
            await slow.wait()
        await ctx.step.run(f"{name}2", calls, f"{name}2")
        await ctx.step.run(f"{name}3", calls, f"{name}3")

    async def both(ctx: Context) -> None:
        try:
            async with asyncio.timeout(0.2):
                await asyncio.gather(branch(ctx, "a", True), branch(ctx, "b", False))
        except TimeoutError:
            slow.set()

    assert (await deployed(server, both, both))["status"] == "completed"
    assert sorted(calls) == ["a1", "a2", "a3", "b1", "b2", "b3"]
    assert "without asking" not in caplog.text


async def test_a_branch_that_waits_for_something_else_is_not_taken_for_a_change(
    server: FakeServer, calls: Calls
) -> None:
    async def side(ctx: Context) -> None:
        await asyncio.sleep(0.05)
        await ctx.step.run("side", calls, "side")

    async def old(ctx: Context) -> None:
        await side(ctx)

    async def new(ctx: Context) -> None:
        task = asyncio.create_task(side(ctx))
        await ctx.step.run("main", calls, "main")
        await task

    assert (await deployed(server, old, new))["status"] == "completed"
    assert calls == ["side", "main"]


async def test_a_failure_that_was_caught_may_go_another_way(server: FakeServer, calls: Calls) -> None:
    def primary() -> None:
        calls("primary")
        if calls.count("primary") == 1:
            raise ConnectionError

    async def careful(ctx: Context) -> None:
        try:
            await ctx.step.run("primary", primary)
        except ConnectionError:
            await ctx.step.run("fallback", calls, "fallback")

    async def and_then(ctx: Context) -> None:
        await careful(ctx)
        await ctx.step.run("next", calls, "next")

    assert (await deployed(server, careful, careful, and_then, crash=True))["status"] == "completed"
    assert calls == ["primary", "fallback", "primary", "next"]


async def test_a_step_that_could_not_be_kept_is_on_record_as_failed(server: FakeServer, calls: Calls) -> None:
    """Otherwise the next attempt would take it for a new one, before what was done instead."""

    async def careful(ctx: Context) -> None:
        try:
            await ctx.step.run("large", calls, "large")
        except StepRefused:
            await ctx.step.run("small", calls, "small")
        try:
            await ctx.step.invoke("child", "somewhere", object())
        except NotSerializable:
            await ctx.step.run("instead", calls, "instead")

    server.fail("/steps", status=413, detail="It is too large.")
    execution = await deployed(server, careful, careful)
    assert execution["status"] == "completed"
    assert calls == ["large", "small", "instead", "large"]
    assert server.steps[execution["id"], "child"]["error"]["type"] == "NotSerializable"


async def test_a_step_whose_result_is_too_large_is_not_done_again_and_again(
    server: FakeServer, calls: Calls
) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.run("large", calls, "x" * 1_100_000)

    execution = await deployed(server, body, body)
    assert (execution["status"], execution["attempt"], len(calls)) == ("failed", 1, 1)
    words = (
        "The result of step large was not taken: The result has 1,100,002 bytes, at most 1,048,576 are allowed."
    )
    assert execution["error"]["message"] == server.steps[execution["id"], "large"]["error"]["message"] == words


async def test_who_looks_at_the_attempt_may_do_something_else_in_each(server: FakeServer, calls: Calls) -> None:
    async def body(ctx: Context) -> None:
        if ctx.attempt > 1:
            await ctx.step.run("clean up", calls, "clean up")
        await ctx.step.run("a", calls, "a")

    assert (await deployed(server, body, body))["status"] == "completed"
    assert calls == ["a", "clean up"]


async def test_a_key_that_names_another_kind_of_step_is_refused(server: FakeServer, calls: Calls) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.run("a", calls, "text")

    async def number(ctx: Context) -> None:
        await ctx.step.now("a")

    async def sleep(ctx: Context) -> None:
        await ctx.step.sleep("a", 1)

    async def child(ctx: Context) -> None:
        await ctx.step.invoke("a", "somewhere")

    for new in (number, sleep, child):
        error = (await deployed(server, old, new))["error"]
        assert error["type"] == "StepsChanged"
        assert "The step 'a' at " in error["message"]
        assert "which is not what an earlier attempt stored" in error["message"]


async def test_a_child_of_another_workflow_needs_another_key(server: FakeServer) -> None:
    async def old(ctx: Context) -> None:
        await ctx.step.invoke("child", "one")

    async def new(ctx: Context) -> None:
        await ctx.step.invoke("child", "two")

    error = (await deployed(server, old, new))["error"]
    assert "starts two, but an earlier attempt started one there" in error["message"]


async def test_a_key_used_twice_names_both_lines(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.uuid("same")
        await asyncio.gather(ctx.step.uuid("same"), ctx.step.uuid("other"))

    error = (await deployed(server, body))["error"]
    assert error["type"] == "DuplicateStep"
    assert error["message"].count("test_replay.py:") == 2
