from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
import time
from typing import Any

import pytest
from pydantic import BaseModel

from polos import Context, Fail, Retry, StepTimeout, Throttled, workflow
from polos._typing import UNTYPED, result_shape

from .fake_server import FakeServer
from .test_steps import twice
from .test_worker import working


class Part(BaseModel):
    n: int


class Failing:
    """Fails so many times, then gives back how often it was called."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times = times
        self.error = error or ConnectionError("away")
        self.calls: list[float] = []

    async def __call__(self) -> int:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.times:
            raise self.error
        return len(self.calls)

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.calls, self.calls[1:], strict=False)]


async def once(server: FakeServer, body: Any) -> dict[str, Any]:
    """Runs a workflow in a single attempt."""

    @workflow(id="once")
    async def single(ctx: Context) -> Any:
        return await body(ctx)

    async with working(single):
        execution = await server.add("once")
        await server.until(lambda: execution["status"] in ("completed", "failed"))
    return execution


# -- tries of one step ---------------------------------------------------------------------------------


def told_pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [float(found) for found in re.findall(r"try \d+ follows in ([\d.e-]+) s", caplog.text)]


async def test_a_step_is_tried_again_after_growing_pauses(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polos")
    failing = Failing(3)

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", failing, max_retries=5, base_delay=0.05, max_delay=0.12)

    execution = await once(server, body)
    assert execution["result"] == 4
    pauses = told_pauses(caplog)
    for pause, longest in zip(pauses, (0.05, 0.1, 0.12), strict=True):
        assert longest / 2 <= pause <= longest
    assert all(real >= pause - 0.005 for real, pause in zip(failing.pauses, pauses, strict=True))
    assert "Step a failed (ConnectionError: away); try 2 follows" in caplog.text
    assert [step.get("error") for _, step in server.steps.items()] == [None]


async def test_after_the_last_try_there_is_no_pause_and_the_error_is_the_functions_own(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polos")
    failing = Failing(9)

    async def body(ctx: Context) -> str:
        try:
            await ctx.step.run("a", failing, max_retries=2, base_delay=0.01)
        except ConnectionError as error:
            return str(error.__notes__)
        return ""

    assert (await once(server, body))["result"] == "[\"Step 'a' was tried 3 times.\"]"
    assert (len(failing.calls), len(told_pauses(caplog))) == (3, 2)
    (error,) = [step["error"] for step in server.steps.values()]
    assert "was tried 3 times" in error["traceback"]


@pytest.mark.parametrize("error", [Fail("no"), ValueError("no"), KeyError("no")])
async def test_some_errors_end_the_tries(error: Exception, server: FakeServer) -> None:
    failing = Failing(1, error)

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", failing, max_retries=3, never_retry=(ValueError, LookupError))

    assert (await once(server, body))["error"]["type"] == type(error).__name__
    assert len(failing.calls) == 1


@pytest.mark.parametrize("error", [Retry(after=0.1), Throttled(retry_after=0.1)])
async def test_the_author_chooses_the_pause(error: Exception, server: FakeServer) -> None:
    failing = Failing(1, error)

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", failing, max_retries=1, base_delay=30, max_delay=30)

    assert (await once(server, body))["result"] == 2
    assert 0.09 <= failing.pauses[0] < 10


async def test_a_try_that_takes_too_long_is_stopped_and_repeated(server: FakeServer) -> None:
    stopped: list[int] = []

    async def slow() -> str:
        if len(stopped) == 1:
            return "quick"
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(1)
            raise
        return "slow"

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", slow, max_retries=1, base_delay=0.0, step_timeout=0.05)

    assert (await once(server, body))["result"] == "quick"


async def test_a_timeout_is_an_error_of_its_own(server: FakeServer) -> None:
    async def slow() -> None:
        await asyncio.sleep(30)

    async def own() -> None:
        raise TimeoutError("of the database")

    async def body(ctx: Context) -> list[str]:
        told = []
        for key, function in (("slow", slow), ("own", own)):
            try:
                await ctx.step.run(key, function, step_timeout=0.05)
            except TimeoutError as error:
                told.append(f"{type(error).__name__}: {error}")
        return told

    assert (await once(server, body))["result"] == [
        "StepTimeout: Step 'slow' took longer than 0.05 s", "TimeoutError: of the database",
    ]  # fmt: skip
    assert issubclass(StepTimeout, TimeoutError)


async def test_a_sync_workflow_that_asks_for_a_step_is_told_why_not(server: FakeServer) -> None:
    @workflow(id="sync")
    def in_a_thread(ctx: Context) -> None:
        ctx.step.run("a", int)  # type: ignore[unused-coroutine]

    async with working(in_a_thread):
        execution = await server.add("sync")
        await server.until(lambda: execution["status"] == "failed")
    assert execution["error"]["type"] == "StepError"
    assert "sync asks for a step in a thread" in execution["error"]["message"]


async def test_an_object_that_is_called_may_be_async(server: FakeServer) -> None:
    class Slow:
        async def __call__(self) -> str:
            await asyncio.sleep(0.01)
            return threading.current_thread().name

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", Slow(), step_timeout=5)

    assert (await once(server, body))["result"] == threading.main_thread().name


async def test_results_of_methods_are_typed_too(server: FakeServer) -> None:
    class Shop:
        def part(self) -> Part:
            return Part(n=1)

        @classmethod
        async def parts(cls) -> list[Part]:
            return [Part(n=2)]

    async def body(ctx: Context) -> str:
        return repr([await ctx.step.run("a", Shop().part), await ctx.step.run("b", Shop.parts)])

    assert (await once(server, body))["result"] == "[Part(n=1), [Part(n=2)]]"


def test_an_annotation_is_understood_once() -> None:
    def parts() -> list[Part]:
        return []

    def later() -> NotYet:  # type: ignore[name-defined]  # noqa: F821
        return None

    assert result_shape(parts) is result_shape(parts)
    assert result_shape(later) is UNTYPED
    later.__globals__["NotYet"] = Part
    try:
        assert result_shape(later).load({"n": 1}, "it") == Part(n=1)
    finally:
        del later.__globals__["NotYet"]


async def one(**kwargs: Any) -> Any:
    return kwargs


def plain() -> None: ...


async def named(max_retries: int) -> int:
    return max_retries


async def part_of(n: int, max_retries: int) -> Part:
    return Part(n=n * max_retries)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (one, {"max_retries": -1}, "max_retries is a whole number from 0 to 999, not -1"),
        (one, {"max_retries": True}, "max_retries"),
        (one, {"base_delay": float("nan")}, "base_delay is between 0 and"),
        (one, {"max_delay": "5"}, "max_delay is a number of seconds"),
        (one, {"never_retry": "ValueError"}, "never is an exception class"),
        (one, {"step_timeout": -1}, "step_timeout is between 0"),
        (plain, {"step_timeout": 1}, "nobody can stop a thread"),
        (named, {"max_retries": 1}, r"max_retries is an option of the step and a parameter.*functools\.partial"),
    ],
)
async def test_options_that_cannot_be_meant_are_refused(
    function: Any, options: dict[str, Any], words: str, server: FakeServer
) -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", function, **options)

    error = (await once(server, body))["error"]
    assert error["type"] == "StepError"
    assert re.search(words, error["message"])


@pytest.mark.parametrize(
    "wrapped", [functools.partial(part_of, 2, 3), functools.partial(part_of, 2, max_retries=3)]
)
async def test_a_partial_has_its_own_arguments_and_the_type_of_what_is_in_it(
    wrapped: Any, server: FakeServer
) -> None:
    async def body(ctx: Context) -> str:
        return repr(await ctx.step.run("a", wrapped, max_retries=1))

    assert (await once(server, body))["result"] == "Part(n=6)"
    assert result_shape(wrapped) is result_shape(part_of)


async def test_options_are_not_passed_on(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", one, max_retries=1, more=2)

    assert (await once(server, body))["result"] == {"more": 2}


# -- uuid, now, random, sleep --------------------------------------------------------------------------


async def test_chance_and_time_are_the_same_in_every_attempt(server: FakeServer) -> None:
    seen: list[Any] = []

    async def body(ctx: Context) -> None:
        seen.append([await ctx.step.uuid("id"), await ctx.step.now("at"), await ctx.step.random("dice")])

    await twice(server, body)
    assert seen[0] == seen[1]
    id, at, dice = seen[0]
    assert len(id) == 36
    assert abs(at - time.time() * 1000) < 10_000
    assert isinstance(at, int)
    assert 0 <= dice < 1


async def test_a_random_number_of_zero_is_zero(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    seen: list[Any] = []

    async def body(ctx: Context) -> None:
        seen.append(await ctx.step.random("dice"))

    await twice(server, body)
    assert seen == [0.0, 0.0]
    assert all(isinstance(each, float) for each in seen)


async def test_a_sleep_is_slept_once(server: FakeServer) -> None:
    slept: list[float] = []

    async def body(ctx: Context) -> None:
        began = time.monotonic()
        await ctx.step.sleep("pause", 0.5)
        slept.append(time.monotonic() - began)

    await twice(server, body)
    assert slept[0] >= 0.49
    assert slept[1] < 0.4


async def test_a_sleep_that_was_interrupted_goes_on_where_it_was(server: FakeServer) -> None:
    begun: list[float] = []

    @workflow(id="sleeps")
    async def sleeps(ctx: Context) -> None:
        begun.append(time.monotonic())
        await ctx.step.sleep("pause", 1.5)

    async with working(sleeps):
        execution = await server.add("sleeps")
        await server.until(lambda: server.steps)
        await asyncio.sleep(1.0)
        await server.lose_workers()
        await server.until(lambda: execution["status"] == "completed")
        ended = time.monotonic()
    assert len(begun) == 2
    assert ended - begun[0] >= 1.5
    assert ended - begun[1] < 1.4, "it slept 1.5 s from where it began, not from the second attempt"


@pytest.mark.parametrize("seconds", [-1, float("nan"), "5", 10**9])
async def test_a_sleep_has_a_length(seconds: Any, server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.sleep("pause", seconds)

    assert (await once(server, body))["error"]["type"] == "StepError"


# -- what is done is kept ------------------------------------------------------------------------------


async def test_a_step_is_kept_though_its_worker_was_refused_meanwhile(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    async def body(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: calls.append(1))

    server.fail("/steps", status=401, detail="This key is revoked.")
    assert (await once(server, body))["status"] == "completed"
    assert len(calls) == 1
    assert caplog.text.count("refuses this worker: This key is revoked") == 1


async def test_a_step_that_is_done_is_saved_though_its_execution_is_stopped(server: FakeServer) -> None:
    done = asyncio.Event()

    async def act() -> None:
        server.fail("/steps", times=3)
        done.set()

    @workflow(id="acts")
    async def acts(ctx: Context) -> None:
        await ctx.step.run("a", act)

    async with working(acts):
        execution = await server.add("acts")
        await done.wait()
        await server.until(lambda: server.bodies("/steps"))
        await server.ask_cancel(execution["id"])
        await server.until(lambda: execution["status"] == "cancelled")
    assert (execution["id"], "a") in server.steps


async def test_a_step_that_the_workflow_gives_up_leaves_a_trace(server: FakeServer) -> None:
    async def body(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.05):
                await ctx.step.run("slow", asyncio.sleep, 30)
        except TimeoutError:
            return await ctx.step.run("instead", lambda: "instead")
        return ""

    execution = await once(server, body)
    assert execution["result"] == "instead"
    assert server.steps[execution["id"], "slow"]["error"]["type"] == "CancelledError"


async def test_a_step_is_kept_though_its_workers_key_may_not_read_steps(server: FakeServer) -> None:
    async def body(ctx: Context) -> Any:
        server.fail(f"{ctx.execution_id}/steps", status=403, detail="This key is for work only.")
        return await ctx.step.run("a", lambda: 7)

    server.fail("/steps", after=True)  # the reply is lost, so the step is saved again: a repeat
    execution = await once(server, body)
    assert (execution["status"], execution["result"]) == ("completed", 7)


async def test_a_result_that_no_longer_fits_names_key_and_line(server: FakeServer) -> None:
    def loose() -> Any:
        return {"n": "many"}

    def strict() -> Part:
        raise AssertionError("it is stored")

    functions = [loose, strict]

    async def body(ctx: Context) -> None:
        await ctx.step.run("part", functions.pop(0))

    error = (await twice(server, body))["error"]
    assert error["type"] == "StepError"
    assert "The result of step part, asked for at " in error["message"]
    assert "test_step_kinds.py:" in error["message"]
