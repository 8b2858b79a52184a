from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BadSignature,
    Context,
    DefinitionError,
    ExecutionFailed,
    Fail,
    Outcome,
    Polos,
    PolosClient,
    Retry,
    RetryPolicy,
    Throttled,
    Workflow,
    workflow,
)
from tests.servers import Server

from .fake_server import FakeServer
from .test_worker import working


class Order(BaseModel):
    id: int


async def ended(server: FakeServer, work: Workflow[Any], payload: Any = None) -> dict[str, Any]:
    async with working(work):
        execution = await server.add(work.id, payload, max_attempts=work.retries + 1)
        await server.until(lambda: execution["status"] in ("completed", "failed"))
    return execution


def pauses(server: FakeServer) -> list[float | None]:
    results = [result for body in server.bodies("/exchange") for result in body.get("results", [])]
    # By claim: what was on its way when the worker stopped was sent twice.
    failed = {result["token"]: result for result in results if result["outcome"] == "failed"}
    return [result.get("retry_in") for result in failed.values()]


def failing(error: Exception, **options: Any) -> Workflow[Any]:
    @workflow(id="fails", **options)
    async def fails(ctx: Context) -> None:
        raise error

    made: Workflow[Any] = fails
    return made


# -- after an error ------------------------------------------------------------------------------------


async def test_the_policy_says_when_the_next_attempt_begins(server: FakeServer) -> None:
    policy = RetryPolicy(base_delay=10, factor=3, max_delay=60)
    execution = await ended(server, failing(ValueError(), retries=4, retry_policy=policy))
    first, second, third, fourth, last = pauses(server)
    assert execution["attempt"] == 5
    for pause, longest in ((first, 10), (second, 30), (third, 60), (fourth, 60)):
        assert pause is not None and longest / 2 <= pause <= longest
    assert last is None


async def test_some_errors_end_it_at_once(server: FakeServer) -> None:
    policy = RetryPolicy(never=LookupError)
    execution = await ended(server, failing(KeyError("gone"), retries=4, retry_policy=policy))
    assert (execution["attempt"], execution["error"]["type"]) == (1, "KeyError")


async def test_fail_ends_it_at_once(server: FakeServer) -> None:
    execution = await ended(server, failing(Fail("no such customer"), retries=4))
    assert (execution["attempt"], pauses(server)) == (1, [None])
    assert (execution["error"]["type"], execution["error"]["message"]) == ("Fail", "no such customer")


@pytest.mark.parametrize(
    ("error", "pause", "message"),
    [
        (Retry(after=90), 90.0, "to be tried again after 90 s"),
        (Retry("not ready", after=dt.timedelta(minutes=2)), 120.0, "not ready"),
        (Throttled(retry_after=7), 7.0, "throttled; to be tried again after 7 s"),
        (Retry(after=0), 0.0, "to be tried again after 0 s"),
    ],
)
async def test_retry_and_throttled_choose_the_pause(
    error: Retry, pause: float, message: str, server: FakeServer
) -> None:
    execution = await ended(server, failing(error, retries=1))
    assert pauses(server) == [pause, None]
    assert execution["error"]["message"] == message


async def test_retry_without_a_time_leaves_the_pause_to_the_policy(server: FakeServer) -> None:
    await ended(server, failing(Retry(), retries=1, retry_policy=RetryPolicy(base_delay=8)))
    first, _ = pauses(server)
    assert first is not None and 4 <= first <= 8


async def test_what_a_step_raises_counts_for_the_attempt_too(server: FakeServer) -> None:
    calls: list[int] = []

    async def call() -> None:
        calls.append(1)
        raise Throttled(retry_after=0.05)

    @workflow(id="calls", retries=1)
    async def calling(ctx: Context) -> None:
        await ctx.step.run("call", call, max_retries=1)

    await ended(server, calling)
    assert len(calls) == 4
    assert pauses(server) == [0.05, None]


async def test_the_error_that_a_retry_was_raised_from_is_shown_too(server: FakeServer) -> None:
    @workflow(id="asks")
    async def asks(ctx: Context) -> None:
        try:
            raise ConnectionError("refused")
        except ConnectionError as error:
            raise Retry("the bank is away", after=60) from error

    traceback = (await ended(server, asks))["error"]["traceback"]
    assert traceback.index("ConnectionError: refused") < traceback.index("Retry: the bank is away")
    assert traceback.count("in asks") == 2


@pytest.mark.parametrize("after", [-1, float("inf"), "5", True, dt.timedelta(days=-1)])
def test_a_pause_has_a_length(after: Any) -> None:
    with pytest.raises(ValueError, match=r"^after is "):
        Retry(after=after)
    with pytest.raises(ValueError, match=r"^retry_after is "):
        Throttled(retry_after=after)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_delay": -1}, "base_delay is between 0"),
        ({"max_delay": None}, "max_delay is a number of seconds"),
        ({"factor": 0.5}, "factor is between 1 and 100"),
        ({"factor": "2"}, "factor is a number"),
        ({"never": ["ValueError"]}, "never is an exception class"),
        ({"never": (KeyboardInterrupt,)}, "never is an exception class"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_with_its_place(options: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=rf"test_options\.py:\d+: {words}"):
        RetryPolicy(**options)


def test_a_thousand_attempts_have_pauses() -> None:
    assert 150 <= RetryPolicy(factor=100).pause(1_000) <= 300
    assert RetryPolicy(base_delay=0).pause(5) == 0.0


# -- in time -------------------------------------------------------------------------------------------


async def test_timeouts_and_priority_are_declared_and_sent_with_each_start(server: FakeServer) -> None:
    @workflow(id="urgent", priority=30, queue_timeout=dt.timedelta(minutes=1), execution_timeout=90)
    async def urgent(ctx: Context) -> None: ...

    @workflow(id="plain")
    async def plain(ctx: Context) -> None: ...

    async with working(urgent, plain), PolosClient() as client:
        await urgent.invoke(client)
        await urgent.invoke(client, priority=0, queue_timeout=None, execution_timeout=7)
        await plain.invoke(client)
    declared = {each["id"]: each for each in server.bodies("/workers")[0]["workflows"]}
    options = {"priority": 30, "queue_timeout": 60, "execution_timeout": 90}
    assert declared["urgent"].items() >= options.items()
    first, second, third = ({n: body[n] for n in options if n in body} for body in server.bodies("/executions"))
    assert first == options
    assert second == {"priority": 0, "queue_timeout": None, "execution_timeout": 7}
    assert third == {} == {name: declared["plain"][name] for name in options if name in declared["plain"]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 1.5}, "priority is a whole number"),
        ({"priority": 2_000_000}, "priority is a whole number"),
        ({"queue_timeout": 0}, "queue_timeout is more than 0 seconds"),
        ({"execution_timeout": "1"}, "execution_timeout is a number of seconds"),
    ],
)
def test_options_that_cannot_be_are_refused_with_their_place(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=rf"test_options\.py:\d+: workflow late: {words}"):

        @workflow(id="late", **options)
        async def late(ctx: Context) -> None: ...


async def test_the_sooner_of_two_deadlines_is_the_one_that_counts(server: FakeServer) -> None:
    seen: list[dt.datetime | None] = []

    @workflow(id="timed", timeout=60)
    async def timed(ctx: Context) -> None:
        seen.append(ctx.deadline)

    far, near = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds) for seconds in (600, 5))
    async with working(timed):
        for end in (far, near):
            await server.add("timed", deadline=end.isoformat())
        await server.until(lambda: len(server.by_status("completed")) == 2)
    assert seen[0] is not None and seen[0] < far - dt.timedelta(seconds=500)
    assert seen[1] == near


async def test_who_is_asked_to_stop_for_its_time_has_failed(running_server: Server) -> None:
    stopped: list[str] = []

    @workflow(id="endless", queue="enqueue/endless", execution_timeout=0.3, retries=5)
    async def endless(ctx: Context) -> None:
        assert ctx.deadline is not None
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(ctx.execution_id)

    async with Polos([endless], api_url=running_server.url) as polos:
        waits = await polos.invoke("nobody", queue_name="enqueue/nobody", queue_timeout=0.2)
        handle = await polos.invoke("endless", queue_name="enqueue/another")  # the option is the workflow's
        for late, reason in ((handle, "execution_timeout"), (waits, "queue_timeout")):
            with pytest.raises(ExecutionFailed) as failed:
                await late.result(10)
            assert failed.value.execution is not None and failed.value.execution.error is not None
            assert failed.value.execution.error.reason == reason
    assert stopped == [handle.id]


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(server: FakeServer) -> None:
    stopped: list[bool] = []

    @workflow(id="slow", timeout=0.5, retries=1)
    async def slow(ctx: Context) -> int:
        assert ctx.deadline is not None
        assert dt.timedelta() < ctx.deadline - dt.datetime.now(dt.UTC) <= dt.timedelta(seconds=0.5)
        try:
            await asyncio.sleep(0 if stopped else 30)
        except asyncio.CancelledError:
            stopped.append(ctx.cancel_requested)
            raise
        return ctx.attempt

    execution = await ended(server, slow)
    assert (execution["result"], stopped) == (2, [True])
    first = server.bodies("/exchange")
    (error,) = [r["error"] for body in first for r in body.get("results", []) if r["outcome"] == "failed"]
    assert (error["type"], error["reason"]) == ("AttemptTimeout", "attempt_timeout")
    assert error["message"] == "Attempt 1 took longer than 0.5 s, the timeout of slow"
    assert "in slow" in error["traceback"]


async def test_a_timeout_of_the_code_itself_is_its_own(server: FakeServer) -> None:
    @workflow(id="own", timeout=30)
    async def own(ctx: Context) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    assert (await ended(server, own))["error"]["type"] == "TimeoutError"


async def test_a_sync_function_is_told_and_counts_as_timed_out_when_it_gives_up(server: FakeServer) -> None:
    @workflow(id="gives-up", timeout=0.1)
    def gives_up(ctx: Context) -> None:
        while not ctx.cancel_requested:
            time.sleep(0.01)
        raise InterruptedError

    @workflow(id="is-late", timeout=0.1)
    def is_late(ctx: Context) -> str:
        time.sleep(0.2)
        return "done all the same"

    assert (await ended(server, gives_up))["error"]["type"] == "AttemptTimeout"
    assert (await ended(server, is_late))["result"] == "done all the same"


async def test_cancelling_is_not_a_timeout(server: FakeServer) -> None:
    outcomes: list[Outcome] = []

    async def note(ctx: Context, outcome: Outcome) -> None:
        outcomes.append(outcome)

    @workflow(id="waits", timeout=30, on_end=note)
    async def waits(ctx: Context) -> None:
        await asyncio.sleep(30)

    async with working(waits):
        execution = await server.add("waits")
        await server.until(lambda: execution["status"] == "running")
        await asyncio.sleep(0.05)
        await server.ask_cancel(execution["id"])
        await server.until(lambda: execution["status"] == "cancelled")
    assert outcomes == []


# -- hooks ---------------------------------------------------------------------------------------------


async def test_hooks_are_called_around_every_attempt(server: FakeServer) -> None:
    told: list[Any] = []

    async def first(ctx: Context, payload: Order) -> None:
        told.append(("start", payload, await ctx.step.run("hook", lambda: 5)))

    def second(ctx: Context, payload: Order) -> None:
        told.append("second")

    def end(ctx: Context, outcome: Outcome) -> None:
        told.append((outcome.result, repr(outcome.error), outcome.will_retry))

    @workflow(id="hooked", retries=1, on_start=[first, second], on_end=end)
    async def hooked(ctx: Context, payload: Order) -> str:
        told.append("body")
        if ctx.attempt == 1:
            raise KeyError("x")
        return "result"

    assert (await ended(server, hooked, {"id": 7}))["result"] == "result"
    start = ("start", Order(id=7), 5)
    assert told == [
        start, "second", "body", (None, "KeyError('x')", True),
        start, "second", "body", ("result", "None", False),
    ]  # fmt: skip


@pytest.mark.parametrize("result", [None, "text", 0, [1]])
async def test_hooks_change_no_result(result: Any, server: FakeServer) -> None:
    @workflow(id="hooked", on_start=lambda ctx, payload: "ignored", on_end=lambda ctx, outcome: "ignored")
    def hooked(ctx: Context, payload: Any) -> Any:
        return payload

    execution = await ended(server, hooked, result)
    assert (execution["status"], execution["result"]) == ("completed", result)


async def test_a_hook_that_fails_at_the_start_fails_the_attempt(server: FakeServer) -> None:
    ran: list[str] = []

    def refuse(ctx: Context, payload: Any) -> None:
        raise Fail("not on a Sunday")

    @workflow(id="hooked", retries=3, on_start=refuse, on_end=lambda ctx, outcome: ran.append(repr(outcome.error)))
    async def hooked(ctx: Context) -> None:
        ran.append("body")

    execution = await ended(server, hooked)
    assert execution["error"]["message"] == "not on a Sunday"
    assert (execution["attempt"], ran) == (1, ["Fail('not on a Sunday')"])


async def test_a_hook_that_fails_at_the_end_fails_what_had_a_result(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(ctx: Context, outcome: Outcome) -> None:
        raise RuntimeError("in the hook")

    @workflow(id="good", on_end=wrong)
    async def good(ctx: Context) -> None: ...

    @workflow(id="bad", on_end=wrong)
    async def bad(ctx: Context) -> None:
        raise ValueError("in the body")

    assert (await ended(server, good))["error"]["message"] == "in the hook"
    assert (await ended(server, bad))["error"]["message"] == "in the body"
    assert "on_end of bad failed" in caplog.text


async def test_a_hook_sees_the_default_that_the_function_sees(server: FakeServer) -> None:
    seen: list[Any] = []

    @workflow(id="defaults", on_start=lambda ctx, payload: seen.append(payload))
    async def defaults(ctx: Context, payload: str = "by default") -> None:
        seen.append(payload)

    await ended(server, defaults)
    assert seen == ["by default", "by default"]


async def test_a_hook_sees_the_payload_that_the_function_does_not_want(server: FakeServer) -> None:
    seen: list[Any] = []

    @workflow(id="alone", on_start=lambda ctx, payload: seen.append(payload))
    async def alone(ctx: Context) -> None: ...

    await ended(server, alone, {"id": 7})
    assert seen == [{"id": 7}]


def test_a_workflow_with_options_is_still_the_function() -> None:
    @workflow(timeout=5, on_end=lambda ctx, outcome: None)
    async def double(ctx: Any, payload: Order | None = None) -> Order:
        return payload or Order(id=2)

    assert asyncio.run(double(None)) == Order(id=2)
    assert double.arguments({"id": 1}) == (Order(id=1),)
    assert double.result_shape.load({"id": 3}, "it") == Order(id=3)
    assert double.is_async


# -- refused at import ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout is more than 0 seconds"),
        ({"timeout": -1}, "timeout is between 0"),
        ({"timeout": "5"}, "timeout is a number of seconds"),
        ({"retries": 1, "retry_policy": 5}, "retry_policy is a RetryPolicy"),
        ({"retry_policy": RetryPolicy()}, "retries is 0"),
        ({"on_start": lambda ctx: None}, r"on_start is a function of \(ctx, payload\)"),
        ({"on_end": lambda: None}, r"on_end is a function of \(ctx, outcome\)"),
        ({"on_end": [5]}, "on_end is a function"),
        ({"on_start": 5}, "on_start is a function"),
    ],
)
def test_options_that_cannot_work_are_refused_with_their_place(options: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=rf"test_options\.py:\d+: workflow odd: .*{words}"):

        @workflow(id="odd", **options)
        async def odd(ctx: Context) -> None: ...


@pytest.mark.parametrize("default", [object(), float("nan"), {1, 2, object()}, "\ud800"])
def test_a_default_that_nobody_could_send_is_refused_with_its_place(default: Any) -> None:
    with pytest.raises(BadSignature, match=r"test_options\.py:\d+: the default of the payload of odd cannot be"):

        @workflow(id="odd")
        async def odd(ctx: Context, payload: Any = default) -> None: ...


def test_payloads_may_be_optional_or_one_of_several_as_text_too() -> None:
    @workflow(id="maybe")
    async def maybe(ctx: Context, payload: dict[str, Any] | None) -> None: ...

    @workflow(id="either")
    async def either(ctx: Context, payload: Order | list[int] | None = None) -> None: ...

    @workflow(id="plain")
    async def plain(ctx, payload=None): ...  # type: ignore[no-untyped-def]

    assert maybe.arguments(None) == (None,)
    assert maybe.arguments({"a": 1}) == ({"a": 1},)
    assert either.arguments({"id": 1}) == (Order(id=1),)
    assert either.arguments([2]) == ([2],)
    assert either.arguments(None) == ()
    assert plain.arguments([1]) == ([1],)
