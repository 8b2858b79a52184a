from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    Context,
    DefinitionError,
    ExecutionFailed,
    Fail,
    Invocation,
    NotSerializable,
    PayloadInvalid,
    RetryPolicy,
    StepError,
    WaitTimeout,
    workflow,
)
from polos.testing import Clock, Ran, run


class Order(BaseModel):
    id: int


def never(*args: Any) -> Any:
    raise AssertionError("this is not to be called in a test")


async def charge(order: Order) -> str:
    never()
    return "paid"


def ship(order: Order) -> str:
    return f"order {order.id} is on its way"


@pytest.fixture
def order_flow() -> Any:
    @workflow(id="order", retries=2, retry_policy=RetryPolicy(base_delay=60, factor=1))
    async def order(ctx: Context, payload: Order) -> str:
        await ctx.step.run("charge", charge, payload, max_retries=1, base_delay=5, max_delay=5)
        return await ctx.step.run("ship", ship, payload)

    return order


async def test_it_runs_without_a_server(order_flow: Any) -> None:
    ran = await run(order_flow, {"id": 7}, replace={"charge": lambda order: f"paid {order.id}"})
    assert ran.result == "order 7 is on its way"
    assert (ran.status, ran.attempts, ran.pauses) == ("completed", 1, [])
    assert [(step.key, step.result) for step in ran.steps] == [
        ("charge", "paid 7"), ("ship", "order 7 is on its way"),
    ]  # fmt: skip
    assert ran.step("charge").attempt == 1


async def test_a_step_that_fails_is_tried_again_and_no_time_is_lost(order_flow: Any) -> None:
    began = time.monotonic()
    fail: dict[str, list[BaseException | None]] = {
        "charge": [ConnectionError("away"), ConnectionError("away")],
        "ship": [None, TimeoutError("slow")],
    }
    ran = await run(order_flow, Order(id=7), replace={"charge": lambda order: "paid"}, fail=fail)
    assert ran.attempts == 2
    assert (ran.calls("charge"), ran.calls("ship")) == (3, 1)
    assert 30 <= ran.pauses[0] <= 60
    assert 32.5 <= ran.clock.passed <= 65
    assert time.monotonic() - began < 1


async def test_the_result_of_one_that_failed_is_its_error(order_flow: Any) -> None:
    ran = await run(order_flow, {"id": 7}, fail={"charge": Fail("declined")})
    assert (ran.status, ran.attempts, ran.calls("charge")) == ("failed", 1, 1)
    assert ran.step("charge").error == "Fail: declined"
    assert isinstance(ran.error, Fail)
    with pytest.raises(Fail, match="declined"):
        _ = ran.result


async def test_a_worker_that_dies_does_nothing_twice(order_flow: Any) -> None:
    ran = await run(order_flow, {"id": 7}, replace={"charge": lambda order: "paid"}, die_after=["charge", "ship"])
    assert ran.result == "order 7 is on its way"
    assert (ran.attempts, ran.calls("charge"), ran.calls("ship")) == (3, 1, 1)
    assert [step.attempt for step in ran.steps] == [1, 2]


async def test_payloads_and_results_go_through_json() -> None:
    @workflow(id="typed")
    async def typed(ctx: Context, payload: Any) -> list[Order]:
        return [Order(id=each) for each in payload]

    assert (await run(typed, (1, 2))).result == [Order(id=1), Order(id=2)]
    with pytest.raises(NotSerializable):
        await run(typed, object())

    @workflow(id="strict", retries=5)
    async def strict(ctx: Context, payload: Order) -> Any:
        return {1, 2, never}

    assert isinstance((await run(strict, {"id": "x"})).error, PayloadInvalid)
    ran = await run(strict, {"id": 1})
    assert (type(ran.error), ran.attempts) == (NotSerializable, 1)


async def test_time_is_the_tests_own() -> None:
    @workflow(id="sleeps")
    async def sleeps(ctx: Context) -> list[int]:
        before = await ctx.step.now("before")
        await asyncio.gather(ctx.step.sleep("a day", dt.timedelta(days=1)), ctx.step.sleep("an hour", 3600))
        return [before, await ctx.step.now("after")]

    clock = Clock(dt.datetime(2031, 5, 1, tzinfo=dt.UTC))
    before, after = (await run(sleeps, clock=clock)).result
    assert dt.datetime.fromtimestamp(before / 1000, dt.UTC) == dt.datetime(2031, 5, 1, tzinfo=dt.UTC)
    assert after - before == 86_400_000
    assert clock.passed == 86_400
    ran = await run(sleeps, die_after=["a day"])
    assert ran.clock.passed == 86_400, "the second attempt sleeps for what is left"
    with pytest.raises(ValueError, match="time zone"):
        Clock(dt.datetime(2031, 5, 1))  # noqa: DTZ001


async def test_sleeps_side_by_side_end_in_their_order() -> None:
    ends: list[str] = []

    async def sleep(ctx: Context, name: str, seconds: float) -> None:
        await ctx.step.sleep(name, seconds)
        await ctx.step.run(f"note {name}", ends.append, name)

    @workflow(id="races")
    async def races(ctx: Context) -> None:
        await asyncio.gather(sleep(ctx, "long", 30), sleep(ctx, "short", 10), sleep(ctx, "middle", 20))

    ran = await run(races)
    assert (ran.error, ends, ran.clock.passed) == (None, ["short", "middle", "long"], 30)


async def test_children_run_too() -> None:
    @workflow(id="child", retries=1, retry_policy=RetryPolicy(base_delay=10, factor=1))
    async def child(ctx: Context, payload: int) -> Order:
        assert ctx.root_id == ctx.parent_id
        return Order(id=await ctx.step.run("double", lambda: 2 * payload))

    @workflow(id="parent", queue="parents")
    async def parent(ctx: Context) -> int:
        handles = [await ctx.step.invoke(f"child-{n}", child, n, delay=60) for n in range(3)]
        orders: list[Order] = [await handle.result() for handle in handles]
        return sum(order.id for order in orders)

    ran = await run(parent, fail={"double": [ConnectionError()]}, die_after=["child-1"])
    assert ran.result == 6
    assert ran.attempts == 2
    assert [(each.workflow_id, each.payload, each.status) for each in ran.children] == [
        ("child", n, "completed") for n in range(3)
    ]
    assert 65 <= ran.clock.passed <= 70


async def test_a_child_may_start_at_a_time() -> None:
    @workflow(id="child")
    async def child(ctx: Context) -> None: ...

    @workflow(id="parent")
    async def parent(ctx: Context) -> None:
        at = dt.datetime.fromtimestamp(await ctx.step.now("now") / 1000 + 90, dt.UTC)
        await (await ctx.step.invoke("child", child, run_at=at)).result()

    ran = await run(parent)
    assert 89 <= ran.clock.passed <= 91


async def test_of_children_with_a_key_there_is_one_at_a_time() -> None:
    @workflow(id="child")
    async def child(ctx: Context, payload: int) -> int:
        return payload

    @workflow(id="parent")
    async def parent(ctx: Context) -> list[Any]:
        first = await ctx.step.invoke("first", child, 1, delay=60, dedup_key="k")
        for key, policy in (("skip", "skip"), ("replace", "replace")):
            other = await ctx.step.invoke(key, child, 2, dedup_key="k", dedup_policy=policy)  # type: ignore[arg-type]
            assert (other.id, other.created) == (first.id, False)
        newest = await ctx.step.invoke("new", child, 3, dedup_key="k", dedup_policy="cancel_old")
        return [(await first.get()).status, await newest.result(), first.id == newest.id]

    assert (await run(parent, die_after=["skip"])).result == ["cancelled", 3, False]


async def test_a_batch_of_children_has_no_keys() -> None:
    @workflow(id="parent")
    async def parent(ctx: Context) -> None:
        await ctx.step.batch_invoke("all", [Invocation(workflow="child", dedup_key="k")])

    with pytest.raises(StepError, match="only invoke can"):
        _ = (await run(parent)).result


async def test_what_children_give_back_may_be_chosen() -> None:
    @workflow(id="parent")
    async def parent(ctx: Context) -> list[Any]:
        found = []
        for name in ("value", "function", "error", "unknown"):
            handle = await ctx.step.invoke(name, name, 5)
            try:
                found.append(await handle.result())
            except Exception as error:
                found.append(str(error))
        return found

    ran = await run(parent, children={"value": 1, "function": lambda n: n + 1, "error": ValueError("bad")})
    assert isinstance(ran.error, DefinitionError)
    assert "The workflow unknown is not declared" in str(ran.error)
    ran = await run(
        parent, children={"value": 1, "function": lambda n: n + 1, "error": ValueError("bad"), "unknown": None}
    )
    one, six, error, nothing = ran.result
    assert (one, six, nothing) == (1, 6, None)
    assert error.endswith("failed: ValueError: bad")


async def test_events_come_and_people_answer() -> None:
    @workflow(id="asks")
    async def asks(ctx: Context, payload: int) -> list[Any]:
        first = await ctx.step.wait_for_event("first", "orders", payload_type=Order)
        second = await ctx.step.wait_for_event("second", "orders")
        approved: bool = await ctx.step.suspend("approve", {"order": first.payload.id}, answer_type=bool)
        comment = await ctx.step.suspend("comment", "Any comment?")
        await ctx.step.publish_event("tell", "approved", second.payload)
        return [first.payload.id, second.payload, approved, comment]

    ran = await run(
        asks,
        7,
        events={"orders": [{"id": 1}, 2]},
        answers={"approve": True, "comment": lambda question: f"{question} No."},
        die_after=["second", "approve"],
    )
    assert ran.result == [1, 2, True, "Any comment? No."]
    assert ran.asked == {"approve": {"order": 1}, "comment": "Any comment?"}
    assert [(event.topic, event.payload) for event in ran.events] == [("approved", 2)]
    assert ran.attempts == 3, "waits are no attempts, deaths are"


async def test_what_does_not_come_takes_its_time_and_no_longer() -> None:
    @workflow(id="asks")
    async def asks(ctx: Context) -> str:
        try:
            await ctx.step.wait_for_event("order", "orders", timeout=3600)
        except WaitTimeout:
            await ctx.step.suspend("approve", timeout=dt.timedelta(days=1))
        return "never"

    ran = await run(asks)
    assert isinstance(ran.error, WaitTimeout)
    assert ran.clock.passed == 3600 + 86_400


async def test_a_wait_that_nobody_ends_is_told() -> None:
    @workflow(id="asks")
    async def asks(ctx: Context, payload: str) -> None:
        if payload == "event":
            await ctx.step.wait_for_event("order", "orders")
        await ctx.step.suspend("approve")

    @workflow(id="parent")
    async def parent(ctx: Context) -> Any:
        return await ctx.step.invoke_and_wait("child", asks, "answer")

    ran = await run(asks, "event")
    assert isinstance(ran.error, AssertionError)
    assert str(ran.error) == (
        "Step 'order' waits for an event under 'orders', and nobody publishes one: say in events= what comes"
    )
    ran = await run(asks, "event", events={"orders": [1]})
    assert "Step 'approve' waits for an answer, and nobody does: say in answers= what is answered" in str(
        ran.error
    )
    failed = await run(parent)
    assert isinstance(failed.error, ExecutionFailed)
    assert "waits for an answer" in str(failed.error)


async def test_parents_wait_for_their_children() -> None:
    @workflow(id="child")
    async def child(ctx: Context, payload: int) -> Order:
        await ctx.step.sleep("nap", 60 * payload)
        if payload == 2:
            raise Fail("two")
        return Order(id=payload)

    @workflow(id="parent")
    async def parent(ctx: Context) -> Any:
        results = await ctx.step.batch_invoke_and_wait("all", [(child, n) for n in range(4)])
        single = await ctx.step.invoke_and_wait("single", child, 5)
        both = await asyncio.gather(*(ctx.step.invoke_and_wait(f"b{n}", child, n) for n in (1, 3)))
        return [[each.result and each.result.id for each in results], single.id, [each.id for each in both]]

    ran = await run(parent, die_after=["all", "all.results", "single", "single.result", "b1.result"])
    assert ran.result == [[0, 1, None, 3], 5, [1, 3]]
    assert ran.attempts == 6
    assert ran.clock.passed == 180 + 300 + 180
    assert len(ran.children) == 7


async def test_one_execution_tells_another() -> None:
    @workflow(id="listens")
    async def listens(ctx: Context, payload: int) -> Any:
        event = await ctx.step.wait_for_event("tick", "ticks", timeout=600)
        return [payload, event.payload]

    @workflow(id="parent")
    async def parent(ctx: Context) -> Any:
        asks = await ctx.step.invoke("asks", "listens", 1)
        await ctx.step.sleep("nap", 60)
        await ctx.step.publish_event("tick", "ticks", "now")
        return await asks.result()

    ran = await run(parent)
    assert ran.result == [1, "now"]
    assert ran.clock.passed == 60


async def test_sync_functions_run_in_threads() -> None:
    @workflow(id="threaded", timeout=5)
    def threaded(ctx: Context) -> str:
        return threading.current_thread().name

    assert (await run(threaded)).result.startswith("polos-")


async def test_a_key_that_is_wrong_is_told_with_those_that_there_are(order_flow: Any) -> None:
    ran: Ran[str] = await run(order_flow, {"id": 7}, replace={"charge": lambda order: "paid"})
    with pytest.raises(AssertionError, match="There is no step 'chrage', but 'charge', 'ship'"):
        ran.step("chrage")


async def test_two_runs_have_nothing_in_common(order_flow: Any) -> None:
    runs = (run(order_flow, {"id": n}, replace={"charge": lambda order: "paid"}) for n in range(20))
    results = [ran.result for ran in await asyncio.gather(*runs)]
    assert results == [f"order {n} is on its way" for n in range(20)]


async def test_children_that_nobody_waits_for_are_stopped_at_the_end() -> None:
    stopped: list[str] = []

    @workflow(id="child")
    async def child(ctx: Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(ctx.execution_id)
            raise

    @workflow(id="parent")
    async def parent(ctx: Context) -> str:
        handle = await ctx.step.invoke("child", child)
        await asyncio.sleep(0.01)
        return handle.id

    ran = await run(parent)
    assert stopped == [ran.result]
    assert ran.children[0].status == "cancelled"


def test_it_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, polos; print('polos.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
