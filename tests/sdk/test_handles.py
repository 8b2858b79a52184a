"""What clients do with executions that are there already: real server, a worker in this process."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import re
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BadLimit,
    Conflict,
    Context,
    DefinitionError,
    ExecutionFailed,
    ExecutionHandle,
    Fail,
    Invalid,
    Invocation,
    NotFound,
    Polos,
    PolosClient,
    QueueDraining,
    SyncClient,
    SyncHandle,
    queue,
    workflow,
)
from polos.cli import main
from tests.servers import Server


class Paid(BaseModel):
    cents: int


class Desk:
    """What the workflows below do and how it ends, as the tests choose."""

    charged = 0
    broken = True


@workflow(id="handles/pay", queue="handles/pay")
async def pay(ctx: Context, cents: int) -> Paid:
    await ctx.step.run("charge", _charge)
    if Desk.broken:
        raise Fail("the printer is broken")
    return Paid(cents=cents)


def _charge() -> None:
    Desk.charged += 1


@workflow(id="handles/child", queue="handles/family")
async def child(ctx: Context) -> None:
    await ctx.step.sleep("long", 3600)


@workflow(id="handles/parent", queue="handles/family")
async def parent(ctx: Context) -> None:
    await ctx.step.invoke_and_wait("child", child)


async def test_a_failed_execution_is_found_retried_and_run_again(running_server: Server) -> None:
    Desk.charged, Desk.broken = 0, True
    async with Polos([pay], api_url=running_server.url) as polos:
        with pytest.raises(ExecutionFailed):
            await pay.run(polos, 7, timeout=15, idempotency_key="order-7")
        (failed,) = await polos.list_executions(
            'error:"printer is broken"', workflow=pay, status="failed", limit=9
        )
        again = await pay.invoke(polos, 7, idempotency_key="order-7")
        assert (again.id, again.created) == (failed.id, False)
        (note,) = again.notes
        assert note.startswith("Nothing was started: this execution is there already under the idempotency key")

        Desk.broken = False
        handle = await polos.get_handle(failed.id, pay)
        assert (handle.id, handle.workflow_id, handle.queue) == (failed.id, "handles/pay", "handles/pay")
        assert (await handle.retry()).status in ("queued", "running", "completed")
        assert await handle.result(15) == Paid(cents=7)
        assert Desk.charged == 1
        with pytest.raises(Conflict, match="Only a failed or cancelled execution can be retried"):
            await polos.retry_execution(failed.id)

        same, other = await handle.rerun(), await polos.rerun_execution(failed.id, payload=8)
        assert len({same.id, other.id, failed.id}) == 3
        assert same.created
        assert await same.result(15) == Paid(cents=7)
        assert await other.result(15) == {"cents": 8}
        assert Desk.charged == 3
        many = await polos.batch_invoke([Invocation(workflow=pay, payload=7, idempotency_key="order-7"), (pay, 1)])
        assert [len(each.notes) for each in many] == [1, 0]
        assert [update.status for update in await _states(many[1])][-1] == "completed"


async def _states(handle: ExecutionHandle[Any]) -> list[Any]:
    return [update async for update in handle.stream() if hasattr(update, "status")]


async def test_what_is_looked_for_comes_newest_first_over_pages(
    running_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._listing.PAGE", 2)
    async with PolosClient(running_server.url) as client:
        began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        made = [
            await client.invoke("handles/listed", {"n": n}, queue_name=f"handles/listed-{n % 2}") for n in range(5)
        ]
        newest = [handle.id for handle in reversed(made)]
        found = await client.list_executions("queue:handles/listed-*", since=began)
        assert [each.id for each in found] == newest
        assert [each.id async for each in client.iter_executions(workflow="handles/listed", since=began)] == newest
        found = await client.list_executions(workflow="handles/listed", limit=3)
        assert [each.id for each in found] == newest[:3]
        found = await client.list_executions("payload.n:3 status:queued", queue="handles/listed-1")
        assert [(each.id, each.payload) for each in found] == [(made[3].id, {"n": 3})]
        assert await client.list_executions("handles/listed", before="2020-01-01") == []
        with pytest.raises(Invalid, match="is not a status"):
            await client.list_executions("status:lost")
        with pytest.raises(TypeError, match=r"looked for by queue, .*, not by colour"):
            await client.list_executions(colour="red")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="with a time zone"):
            await client.list_executions(since=dt.datetime(2026, 1, 1))  # noqa: DTZ001
        for handle in made:
            await handle.cancel()


async def test_a_queue_is_tuned_and_an_execution_moved(running_server: Server) -> None:
    narrow = queue("handles/narrow/line", concurrency_limit=1)
    async with PolosClient(running_server.url) as client:
        first, second = [
            await client.invoke("handles/tuned", queue=narrow, queue_concurrency_limit=1) for _ in range(2)
        ]
        found = await client.get_queue(narrow)
        assert (found.name, found.limit, found.waiting, found.overridden) == (narrow.name, 1, 2, False)
        until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        found = await client.set_limit(narrow, 7, reason="a sale", until=until)
        assert (found.limit, found.declared_limit, found.overridden) == (7, 1, True)
        assert (found.override_reason, found.override_until) == ("a sale", until)
        assert (await client.set_limit(narrow.name, None)).limit is None
        found = await client.clear_limit(narrow, reason="over & done")
        assert (found.limit, found.overridden, found.override_until) == (1, False, None)
        found = await client.pause_queue(narrow, reason="wrong numbers", until=until)
        assert (found.paused, found.paused_reason, found.paused_until) == (True, "wrong numbers", until)
        assert not (await client.resume_queue(narrow)).paused
        assert (await client.drain_queue(narrow, reason="moves")).draining_reason == "moves"
        with pytest.raises(QueueDraining):
            await client.invoke("handles/tuned", queue_name=narrow.name)
        assert not (await client.accept_queue(narrow)).draining
        assert [each.name for each in await client.list_queues("narrow/li")] == [narrow.name]
        assert (await client.get_execution(second.id)).position == 2
        assert (await client.change_priority(second.id, 60, reason="waits for it")).priority == 60
        assert (await client.get_execution(second.id)).position == 1
        for handle in (first, second):
            await handle.cancel()
        with pytest.raises(Conflict):
            await client.change_priority(second.id, 0)
        with pytest.raises(NotFound, match="no queue named 'handles/nowhere'"):
            await client.pause_queue("handles/nowhere")
        with pytest.raises(BadLimit, match="the limit of queue a is between 0"):
            await client.set_limit("a", -1)
        with pytest.raises(DefinitionError, match="until is a datetime with a time zone"):
            await client.pause_queue("a", until=dt.datetime(2030, 1, 1))  # noqa: DTZ001


async def test_a_family_is_cancelled_or_left(running_server: Server) -> None:
    async with Polos([parent, child], api_url=running_server.url) as polos:

        async def family() -> tuple[ExecutionHandle[None], str]:
            handle = await parent.invoke(polos)
            while not (children := await polos.list_executions(parent=handle.id, status="waiting")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return handle, children[0].id

        handle, below = await family()
        await handle.cancel()
        assert (await polos.get_execution(below)).status == "waiting"
        handle, also_below = await family()
        await handle.cancel(children="cancel")
        assert (await polos.wait(also_below, timeout=15)).status == "cancelled"
        await polos.cancel_execution(below)


async def test_what_is_not_there_is_told(running_server: Server) -> None:
    async with PolosClient(running_server.url) as client:
        nobody = "01a00000-0000-7000-8000-000000000000"
        for asked in (client.get_handle, client.retry_execution, client.rerun_execution, client.cancel_execution):
            with pytest.raises(NotFound, match=f"There is no execution {nobody}"):
                await asked(nobody)
        handle = await client.invoke("handles/listed")
        with pytest.raises(DefinitionError, match="is of handles/listed, not of handles/pay"):
            await client.get_handle(handle.id, pay)
        await handle.cancel()


def test_a_script_does_the_same_without_await(running_server: Server) -> None:
    with SyncClient(running_server.url) as client:
        made = client.invoke("handles/scripted", {"n": 1}, dedup_key="one")
        twice = client.invoke("handles/scripted", {"n": 2}, dedup_key="one")
        assert (twice.id, twice.created) == (made.id, False)
        assert "under the deduplication key 'one'" in twice.notes[0]
        handle = client.get_handle(made.id)
        assert handle.get().payload == {"n": 1}
        assert [each.id for each in client.list_executions(workflow="handles/scripted")] == [made.id]
        assert handle.cancel(children="cancel").status == "cancelled"
        assert handle.retry().status == "queued"
        again = handle.rerun(payload=3)
        found = client.iter_executions("workflow:handles/scripted")
        assert [(each.id, each.payload) for each in found] == [(again.id, 3), (made.id, {"n": 1})]
        for each in (handle, again):
            each.cancel()
        assert client.change_priority(handle.retry().id, 5).priority == 5
        handle.cancel()
        assert client.set_limit("handles/scripted", 3).limit == client.get_queue("handles/scripted").limit == 3
        assert client.clear_limit("handles/scripted").limit is None
        assert client.pause_queue("handles/scripted").paused and client.drain_queue("handles/scripted").draining
        done = (client.resume_queue("handles/scripted"), client.accept_queue("handles/scripted"))
        assert not done[0].paused and not done[1].draining
        assert [each.name for each in client.list_queues("handles/scr")] == ["handles/scripted"]
        assert client.list_schedules(workflow="handles/scripted") == []
        assert client.list_events("handles/scripted") == []


@workflow(id="handles/report", queue="handles/reports")
async def report(ctx: Context, payload: Any) -> Any:
    return payload


async def test_a_schedule_is_made_paused_changed_run_and_deleted(
    running_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    async def command(*arguments: str) -> str:
        assert await asyncio.to_thread(main, [*arguments, "--api-url", running_server.url]) == 0
        return capsys.readouterr().out

    async with Polos([report], api_url=running_server.url) as polos:
        berlin: dict[str, Any] = {"cron": "30 3 * * MON-FRI", "timezone": "Europe/Berlin"}
        made = await polos.create_schedule(
            report, name="handles/nightly", payload={"n": 1}, catch_up="all", overlap="skip", **berlin
        )
        assert (made.workflow_id, made.cron, made.timezone) == ("handles/report", *berlin.values())
        assert (made.catch_up, made.overlap, made.payload, len(made.next)) == ("all", "skip", {"n": 1}, 5)
        with pytest.raises(Conflict, match="already"):
            await polos.create_schedule(report, name="handles/nightly", every=60)
        paused = await polos.pause_schedule("handles/nightly", reason="wrong numbers")
        assert (paused.paused, paused.paused_reason, paused.next) == (True, "wrong numbers", ())
        handle = await polos.run_schedule(made)
        assert await handle.result(15) == {"n": 1}
        changed = await polos.change_schedule("handles/nightly", every=dt.timedelta(minutes=5))
        assert (changed.cron, changed.every, changed.overlap, changed.paused) == (None, 300, "skip", True)
        assert [(tick.outcome, tick.execution_id) for tick in changed.ticks] == [("started", handle.id)]

        shown = await command("schedules", "--workflow", "handles/report")
        assert re.search(
            r"handles/nightly +handles/report +handles/reports +every 5 m .* paused: wrong num", shown
        )
        assert "starts handles/report in 4 m 5" in await command("schedules", "resume", "handles/nightly")
        change = ("schedules", "change", "handles/nightly")
        assert "in 59 m 5" in await command(*change, "--every", "3600", "--overlap", "cancel", "--reason", "less")
        slower = await polos.get_schedule("handles/nightly")
        assert (slower.every, slower.overlap, slower.catch_up, slower.payload) == (3600, "cancel", "all", {"n": 1})
        assert await asyncio.to_thread(main, [*change, "--api-url", running_server.url]) == 1
        assert "Say what shall be different about handles/nightly" in capsys.readouterr().err
        assert await command("schedules", "pause", "handles/nightly") == "handles/nightly is paused\n"
        run = await command("schedules", "run", "handles/nightly")
        assert (await polos.wait(run.strip(), timeout=15)).status == "completed"
        once = (
            "schedules",
            "create",
            "handles/once",
            "handles/report",
            "--at",
            "2199-01-31T12:00Z",
            "--payload",
            "7",
        )
        assert "handles/once starts handles/report in" in await command(*once)
        listed = await polos.list_schedules(workflow=report)
        assert [(each.name, each.payload) for each in listed] == [
            ("handles/nightly", {"n": 1}),
            ("handles/once", 7),
        ]
        assert await command("schedules", "delete", "handles/once") == "handles/once is deleted\n"
        await polos.delete_schedule("handles/nightly")
        with pytest.raises(NotFound, match="There is no schedule named 'handles/nightly'"):
            await polos.get_schedule("handles/nightly")

        id = (await command("publish", "handles/topic", "--payload", '{"n": 2}')).strip()
        assert [(event.id, event.data) for event in await polos.list_events("handles/topic")] == [(id, {"n": 2})]
        assert re.search(rf'{id} +handles/topic +\d+ s ago +{{"n": 2}}', await command("events"))


async def test_a_schedule_that_makes_no_sense_is_refused_before_it_is_sent() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "the schedule of w: give one of cron, every and at"),
        ({"cron": "@daily", "every": 5}, "give one of cron, every and at"),
        ({"cron": "61 * * * *"}, "the minute of"),
        ({"cron": "@daily", "timezone": "Berlin"}, "there is no time zone 'Berlin'"),
        ({"every": 5, "overlap": "maybe"}, "overlap is one of allow, skip, cancel"),
        ({"at": dt.datetime(2030, 1, 1)}, "at is a datetime with a time zone"),  # noqa: DTZ001
        ({"every": 5, "queue_name": "a b"}, "'a b' cannot name a queue"),
    ]
    async with PolosClient("http://127.0.0.1:9") as client:
        for said, told in wrong:
            with pytest.raises(DefinitionError, match=told):
                await client.create_schedule("w", **said)
        with pytest.raises(TypeError, match=r"PolosClient.create_schedule\(\) got .* 'crom'; did you mean 'cron'"):
            await client.create_schedule("w", crom="@daily")  # type: ignore[call-arg]


@pytest.mark.parametrize(("sync", "awaited"), [(SyncClient, PolosClient), (SyncHandle, ExecutionHandle)])
def test_the_client_for_scripts_has_all_that_the_other_has(sync: type, awaited: type) -> None:
    ours = {"start", "long_poll"}  # of `PolosClient`, for the SDK itself
    # What code for `polos-sdk` says, which has no client without await.
    others = {"client", "workflow_id", "suspend_execution_id", "suspend_step_key", "suspend_workflow_id"}
    for name in {name for name in dir(awaited) if not name.startswith("_")} - ours:
        if callable(getattr(awaited, name)):
            theirs, own = (
                {
                    each.name: str(each.annotation)
                    for each in inspect.signature(getattr(of, name)).parameters.values()
                    if each.name not in others
                }
                for of in (awaited, sync)
            )
            assert list(theirs.items()) == list(own.items()), name


async def test_an_option_that_there_is_not_is_told_of_the_function_that_was_called() -> None:
    async with PolosClient("http://127.0.0.1:9") as client:
        calls: list[tuple[str, Any]] = [
            ("Workflow.invoke", pay.invoke(client, 1, prioritee=2)),  # type: ignore[call-arg]
            ("Workflow.run", pay.run(client, 1, prioritee=2)),  # type: ignore[call-arg]
            ("PolosClient.invoke", client.invoke(pay, 1, prioritee=2)),  # type: ignore[call-overload]
            ("PolosClient.run", client.run(pay, 1, prioritee=2)),  # type: ignore[call-overload]
        ]
        for name, call in calls:
            with pytest.raises(TypeError) as wrong:
                await call
            told = f"{name}() got an unexpected keyword argument 'prioritee'; did you mean 'priority'?"
            assert str(wrong.value) == told
    with SyncClient("http://127.0.0.1:9") as script:
        with pytest.raises(TypeError, match=r"SyncClient.run\(\) got .* 'frob'; it takes queue_name, "):
            script.run(pay, 1, frob=2)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"SyncClient.invoke\(\) got"):
            script.invoke(pay, 1, frob=2)  # type: ignore[call-overload]
