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

from polos import Context, DefinitionError, Fail, NotSerializable, PayloadInvalid, RetryPolicy, workflow
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
        ends.append(name)

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
