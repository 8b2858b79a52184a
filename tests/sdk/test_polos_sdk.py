"""Programs as they are written for `polos-sdk`, with its imports, names and keywords, on a real server."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel

import polos as polos_module
from polos import (
    BatchEventPayload,
    EventPayload,
    ExecutionFailed,
    HookContext,
    HookResult,
    Polos,
    PolosClient,
    SchedulePayload,
    StepExecutionError,
    Worker,
    Workflow,
    WorkflowContext,
    WorkflowTimeoutError,
    batch_invoke,
    events,
    get_all_workflows,
    get_workflow,
    hook,
    queue,
    schedules,
    workflow,
)
from polos.core.context import WorkflowContext as ContextThere
from polos.core.workflow import StepExecutionError as ErrorThere
from polos.features import events as events_there
from polos.features.events import EventData
from polos.features.schedules import create as create_there
from polos.types.types import BatchStepResult, BatchWorkflowInput
from tests.servers import Server

Declare = Callable[[], list[Workflow[Any]]]


class Order(BaseModel):
    order_id: str
    items: list[str] = []
    total: float = 0.0


class Receipt(BaseModel):
    order_id: str
    number: str
    lines: int


class Decision(BaseModel):
    approved: bool
    approver: str
    comments: str | None = None


class Review(BaseModel):
    reviewer: str
    score: int


@pytest_asyncio.fixture
async def client(running_server: Server) -> AsyncIterator[PolosClient]:
    client = PolosClient(project_id="my-project", api_url=running_server.url)
    yield client
    await client.close()


async def ended(client: PolosClient, handle: Any) -> Any:
    """As its examples wait: they ask until it is final."""
    async with asyncio.timeout(30):
        execution = await client.get_execution(handle.id)
        while execution.get("status") not in ["completed", "failed"]:
            await asyncio.sleep(0.02)
            execution = await client.get_execution(handle.id)
    return execution


async def waiting(client: PolosClient, handle: Any) -> None:
    execution = await handle.get(client)
    while execution.get("status") != "waiting":
        await asyncio.sleep(0.02)
        execution = await handle.get(client)


async def test_steps_models_and_children(client: PolosClient) -> None:
    @workflow(id="there/bill")
    async def bill(ctx: WorkflowContext, payload: Order) -> Receipt:
        assert ctx.root_execution_id != ctx.execution_id
        assert (ctx.parent_execution_id, ctx.retry_count, ctx.cancel_event.is_set()) == (ctx.parent_id, 0, False)
        number = await ctx.step.uuid("number")
        return Receipt(order_id=payload.order_id, number=number, lines=len(payload.items))

    @workflow(id="there/order")
    async def order(ctx: WorkflowContext, payload: Order) -> dict[str, Any]:
        ok = await ctx.step.run("check", lambda: bool(payload.items))
        names = await ctx.step.run("names", upper, payload.items, max_retries=5, base_delay=2.0, max_delay=30.0)
        began = await ctx.step.now("began")
        await ctx.step.wait_for("cool_down", seconds=0.01)
        coin = await ctx.step.random("coin")
        receipt = await ctx.step.invoke_and_wait("bill", bill, payload, run_timeout_seconds=60)
        with ctx.step.trace("sum", {"lines": receipt.lines}):
            return {"ok": ok, "names": names, "began": began, "coin": coin, "lines": receipt.lines}

    worker = Worker(client=client, workflows=[bill, order])
    assert [each.id for each in worker.workflows] == ["there/bill", "there/order"]
    working = asyncio.create_task(worker.run())
    result = await order.run(client, Order(order_id="o-1", items=["a", "b"]), timeout=30)
    assert (result["ok"], result["names"], result["lines"]) == (True, ["A", "B"], 2)
    await worker.shutdown()
    await working


def upper(items: list[str]) -> list[str]:
    return [item.upper() for item in items]


async def test_errors_of_steps_and_children_are_caught_and_undone(running_server: Server) -> None:
    @workflow(id="there/breaks")
    async def breaks(ctx: WorkflowContext, payload: dict) -> None:  # type: ignore[type-arg]
        raise ValueError("broken")

    @workflow(id="there/saga")
    async def saga(ctx: WorkflowContext, payload: dict) -> dict:  # type: ignore[type-arg]
        done: list[str] = []
        try:
            await ctx.step.run("reserve", lambda: {"reserved": True})
            done.append("reserve")
            await ctx.step.run("charge", refuse, payload, max_retries=1, base_delay=0.0)
        except StepExecutionError as error:
            for step in reversed(done):
                await ctx.step.run(f"undo_{step}", lambda: {"undone": True})
            said = str(error)
        try:
            await ctx.step.invoke_and_wait("child", breaks, {})
        except ErrorThere:
            done.append("child failed")
        return {"done": done, "error": said}

    async with Polos([breaks, saga], api_url=running_server.url) as polos:
        result = await saga.run(polos, {"order": 7}, timeout=30)
        assert result == {"done": ["reserve", "child failed"], "error": "no money"}
        with pytest.raises(WorkflowTimeoutError):
            await polos.run("nobody-serves-this", {}, timeout=0.01)


def refuse(payload: dict[str, Any]) -> None:
    raise RuntimeError("no money")


async def test_a_person_is_asked_and_the_answer_is_in_the_data(client: PolosClient) -> None:
    @workflow(id="there/approval")
    async def approval(ctx: WorkflowContext, payload: Order) -> dict[str, Any]:
        answer = await ctx.step.suspend("ask", data={"total": payload.total}, timeout=86400)
        decision = Decision.model_validate(answer.get("data", {}))
        await ctx.step.publish_workflow_event("told", {"by": decision.approver}, event_type="decided")
        return {"approved": answer["data"]["approved"], "again": answer["approved"], **decision.model_dump()}

    async with Polos([approval], api_url=client.settings.api_url):
        handle = await approval.invoke(client, Order(order_id="o-2", total=9.5))
        assert (handle.root_workflow_id, handle.root_execution_id) == ("there/approval", handle.id)
        told = []
        async with asyncio.timeout(20):
            async for event in events.stream_workflow(client, handle.root_workflow_id, handle.id):
                told.append((event.event_type, event.data))
                if event.event_type == "suspend_ask":
                    await client.resume(
                        suspend_workflow_id=handle.root_workflow_id,
                        suspend_execution_id=handle.id,
                        suspend_step_key="ask",
                        data={"approved": True, "approver": "ada"},
                    )
        execution = await client.get_execution(handle.id)
    assert [kind for kind, _ in told] == ["suspend_ask", "decided", "workflow_finish"]
    assert (told[0][1], told[1][1]) == ({"total": 9.5}, {"by": "ada"})
    assert execution.get("status") == "completed"
    output = execution.get("result", {})
    assert output == {"approved": True, "again": True, "approver": "ada", "comments": None}
    assert execution.get("error", "none") == "none"
    assert execution["id"] == handle.id
    with pytest.raises(KeyError):
        execution["nothing"]


async def test_queues_are_chosen_when_work_is_started(running_server: Server, tmp_path: Path) -> None:
    running, most = [0], [0]

    @workflow(id="there/slow", queue=queue("there/api-calls", concurrency_limit=5))
    async def slow(ctx: WorkflowContext, payload: dict[str, Any]) -> str:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.03)
        running[0] -= 1
        return ctx.queue

    @workflow(id="there/spreads")
    async def spreads(ctx: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        first = await ctx.step.invoke("first", slow, {"n": 1})
        second = await ctx.step.invoke("second", slow, {"n": 2}, queue="there/other")
        third = await ctx.step.invoke_and_wait("third", slow, {"n": 3}, queue=queue("there/third", 1))
        return {"ids": [first.id, second.id], "third": third}

    log = tmp_path / "polos.log"
    async with Polos([slow, spreads], api_url=running_server.url, log_file=str(log)) as polos:
        handles = [
            await polos.invoke(
                workflow_id="there/slow",
                payload={"n": n},
                queue_name="there/one-at-a-time",
                queue_concurrency_limit=1,
            )
            for n in range(3)
        ]
        ends = [await ended(polos, handle) for handle in handles]
        assert {end["result"] for end in ends} == {"there/one-at-a-time"}
        assert most == [1]
        result = await spreads.run(polos, {}, timeout=30)
        assert result["third"] == "there/third"
        assert (await ended(polos, await polos.get_handle(result["ids"][1])))["queue"] == "there/other"
        for wrong in ("concurrency_key", "session_id", "user_id"):
            with pytest.raises(TypeError, match=f"has no {wrong}: "):
                await polos.invoke(slow, {}, **{wrong: "7"})  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"queue and queue_name, which are the same"):
            await polos.invoke(slow, {}, queue="a", queue_name="b")
        with pytest.raises(TypeError, match="needs a workflow"):
            await polos.invoke(payload={})  # type: ignore[call-overload]
    assert "there/slow" in log.read_text()


async def test_batches_by_id_are_typed(running_server: Server) -> None:
    @workflow(id="there/review")
    async def review(ctx: WorkflowContext, payload: Review) -> Review:
        if payload.score < 0:
            raise ValueError("no such score")
        return payload

    @workflow(id="there/reviews")
    async def reviews(ctx: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        requests = [
            BatchWorkflowInput(id="there/review", payload=Review(reviewer=name, score=score))
            for name, score in payload.items()
        ]
        results: list[BatchStepResult[Any]] = await ctx.step.batch_invoke_and_wait("all", requests)
        handles = await ctx.step.batch_invoke("again", requests[:1])
        return {
            "scores": [each.result.score for each in results if each.success and each.result],
            "errors": [str(each.error) for each in results if not each.success],
            "of": {each.workflow_id for each in results}.pop(),
            "started": len(handles),
        }

    assert get_workflow("there/review") is review
    assert set(get_all_workflows()) == {"there/review", "there/reviews"}
    async with Polos([review, reviews], api_url=running_server.url) as polos:
        result = await reviews.run(polos, {"ana": 8, "bo": -1, "cy": 5}, timeout=30)
        assert result == {
            "scores": [8, 5], "errors": ["ValueError: no such score"], "of": "there/review", "started": 1,
        }  # fmt: skip
        started = await batch_invoke(
            polos, [BatchWorkflowInput(id="there/review", payload={"reviewer": "d", "score": 1})]
        )
        assert (await started[0].result(30)).score == 1


async def test_events_have_a_type_and_start_workflows(client: PolosClient) -> None:
    seen: list[Any] = []
    all_seen = asyncio.Event()

    @workflow(id="there/on-order", trigger_on_event="there/orders")
    async def on_order(ctx: WorkflowContext, payload: EventPayload) -> None:
        seen.append((payload.event_type, payload.data.get("order_id"), payload.topic, payload.created_at.tzinfo))

    @workflow(id="there/batches", trigger_on_event="there/updates", batch_size=3, batch_timeout_seconds=30)
    async def batches(ctx: WorkflowContext, payload: BatchEventPayload) -> None:
        for event in payload.events:
            await ctx.step.run(f"process_{event.sequence_id}", seen.append, event.data["n"])
        all_seen.set()

    @workflow(id="there/chain")
    async def chain(ctx: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any]:
        id = await ctx.step.uuid("request_id")
        await ctx.step.publish_event(
            "ask", topic="there/orders", data={"order_id": id}, event_type="order_created"
        )
        event = await ctx.step.wait_for_event("answer", topic="there/answers", timeout=300)
        return {"type": event.event_type, "data": event.data, "topic": event.topic}

    async with Polos([on_order, batches, chain], api_url=client.settings.api_url), asyncio.timeout(30):
        following = asyncio.create_task(first_of(client, "there/answers"))
        handle = await chain.invoke(client, {})
        await waiting(client, handle)
        answer = EventData(event_type="answered", data={"ok": True})
        while not following.done():  # it follows what comes after it began
            await events.publish(client=client, topic="there/answers", event_data=answer)
            await asyncio.sleep(0.1)
        result = (await ended(client, handle)).get("result")
        numbers = await events_there.batch_publish(
            client=client,
            topic="there/updates",
            events=[events_there.EventData(data={"n": n}) for n in range(3)],
        )
        await all_seen.wait()
    assert result == {"type": "answered", "data": {"ok": True}, "topic": "there/answers"}
    assert following.result() == ("answered", {"ok": True})
    assert len(set(numbers)) == 3
    assert [each for each in seen if isinstance(each, int)] == [0, 1, 2]
    (order,) = [each for each in seen if isinstance(each, tuple)]
    assert (order[0], order[2], order[3]) == ("order_created", "there/orders", dt.UTC)


async def first_of(client: PolosClient, topic: str) -> tuple[str | None, Any]:
    async for event in events.stream_topic(client, topic):
        return event.event_type, event.data
    raise AssertionError("a topic has no end")


async def test_hooks_change_what_they_see_or_fail_it(running_server: Server) -> None:
    @hook
    def check(ctx: WorkflowContext, hook_ctx: HookContext) -> HookResult:
        if not hook_ctx.current_payload.items:
            return HookResult.fail("nothing was ordered")
        return HookResult.continue_with(modified_payload={"order_id": "changed", "items": ["a"]})

    @hook()
    async def add(ctx: WorkflowContext, hook_ctx: HookContext) -> HookResult:
        return HookResult.continue_with(modified_output={**hook_ctx.current_output, "by": hook_ctx.workflow_id})

    @workflow(id="there/hooked", on_start=check, on_end=[add], retries=3)
    async def hooked(ctx: WorkflowContext, payload: Order) -> dict[str, Any]:
        return {"id": payload.order_id}

    async with Polos([hooked], api_url=running_server.url) as polos:
        assert await hooked.run(polos, Order(order_id="o", items=["b"]), timeout=30) == {
            "id": "changed", "by": "there/hooked",
        }  # fmt: skip
        with pytest.raises(ExecutionFailed, match="nothing was ordered") as failed:
            await hooked.run(polos, Order(order_id="o"), timeout=30)
        assert failed.value.execution is not None and failed.value.execution.attempt == 1


async def test_schedules_are_made_for_each_customer_and_changed(running_server: Server) -> None:
    @workflow(id="there/reminder", schedule=True)
    async def reminder(ctx: WorkflowContext, payload: SchedulePayload) -> dict[str, Any]:
        return {"at": payload.timestamp, "key": payload.key}

    async with Polos([reminder], api_url=running_server.url) as polos:
        first = await schedules.create(
            client=polos, workflow="there/reminder", cron="0 8 * * *", timezone="America/New_York", key="ana"
        )
        other = await schedules.create(client=polos, workflow="there/reminder", cron="0 9 * * *", key="bo")
        again = await create_there(client=polos, workflow="there/reminder", cron="30 7 * * *", key="ana")
        plain = await schedules.create(client=polos, workflow=reminder, cron="0 3 * * *")
        assert (first == again, len({first, other, plain})) == (True, 3)
        known = await polos.http.call("GET", f"/schedules/{first}", lane="client")
        assert (known["cron"], known["timezone"], known["name"]) == ("30 7 * * *", "UTC", "ana")
        now = dt.datetime.now(dt.UTC)
        by_hand = SchedulePayload(
            timestamp=now,
            last_timestamp=now - dt.timedelta(days=1),
            timezone="UTC",
            schedule_id="by-hand",
            key="test",
            upcoming=now + dt.timedelta(days=1),
        )
        assert (await reminder.run(polos, by_hand, timeout=30))["key"] == "test"


def test_other_names_are_found_only_by_those_who_ask_for_them() -> None:
    assert ContextThere is polos_module.Context
    assert "WorkflowContext" not in polos_module.__all__
    assert polos_module.WorkflowState is BaseModel
    with pytest.raises(AttributeError, match="has no attribute 'Agent'"):
        polos_module.Agent  # noqa: B018
