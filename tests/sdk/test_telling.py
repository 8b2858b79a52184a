"""What workflows tell while they run: `ctx.log`, `ctx.heartbeat`, and what others see of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from typing import Any

import pytest

from polos import (
    Context,
    Execution,
    ExecutionFailed,
    LogLine,
    Polos,
    PolosClient,
    Progress,
    SyncClient,
    Update,
    _reports,
    workflow,
)
from polos.testing import Line, run
from tests.pace import lately
from tests.servers import Server

from .fake_server import FINAL, FakeServer
from .test_worker import working


async def told(server: FakeServer, body: Any) -> dict[str, Any]:
    """Runs a workflow to its end."""

    @workflow(id="teller")
    async def teller(ctx: Context, payload: Any) -> Any:
        return await body(ctx)

    async with working(teller):
        execution = await server.add("teller")
        await server.until(lambda: execution["status"] in FINAL)
    return execution


async def test_lines_arrive_with_level_fields_and_time_and_before_the_result(server: FakeServer) -> None:
    @workflow(id="teller")
    async def teller(ctx: Context) -> None:
        ctx.log.debug("a")
        ctx.log.info("b", to="ana", n=1)
        ctx.log.warning("c")
        ctx.log.error("d", text="a field may be called so", level="and so")

    async with working(teller):
        execution = await server.add("teller")
        await server.until(lambda: execution["status"] == "completed")
        lines = [line for _, line in execution["_lines"]]  # those that were there when it completed
    assert [(line["seq"], line["level"], line["text"]) for line in lines] == [
        (1, "debug", "a"), (2, "info", "b"), (3, "warning", "c"), (4, "error", "d"),
    ]  # fmt: skip
    assert lines[1]["fields"] == {"to": "ana", "n": 1}
    assert lines[3]["fields"] == {"text": "a field may be called so", "level": "and so"}
    assert abs(dt.datetime.fromisoformat(lines[0]["at"]) - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


async def test_they_are_sent_while_it_runs_and_many_at_once(server: FakeServer) -> None:
    go_on = asyncio.Event()

    async def body(ctx: Context) -> None:
        for n in range(2_500):
            ctx.log.info(f"line {n}")
        await go_on.wait()

    running = asyncio.create_task(told(server, body))
    await server.until(lambda: server.executions and len(_only(server)["_lines"]) == 2_500)
    assert _only(server)["status"] == "running"
    assert len(server.bodies("/logs")) <= 4
    go_on.set()
    await running
    assert server.lines(_only(server)) == [f"line {n}" for n in range(2_500)]


async def test_a_failed_attempt_has_its_lines_too(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        ctx.log.error("about to fail")
        raise RuntimeError("as said")

    execution = await told(server, body)
    assert (execution["status"], server.lines(execution)) == ("failed", ["about to fail"])


async def test_sync_workflows_tell_from_their_thread(server: FakeServer) -> None:
    @workflow(id="threaded")
    def threaded(ctx: Context) -> str:
        ctx.log.info("from", thread=threading.current_thread().name)
        ctx.heartbeat(1, "done")
        return "ok"

    async with working(threaded):
        execution = await server.add("threaded")
        await server.until(lambda: execution["status"] == "completed")
    ((_, line),) = execution["_lines"]
    assert line["fields"]["thread"].startswith("polos-")
    assert execution["_progress"][-1]["value"] == 1


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"o": object}, {"o": "<class 'object'>"}),
        ({"n": float("nan"), "a": "x"}, {"n": "nan", "a": "x"}),
        ({"o": Odd()}, {"o": "<Odd without a text: RuntimeError>"}),
        ({"z": "a\0b"}, {"z": "a\\x00b"}),
        ({"s": "\ud800"}, {"s": "\\ud800"}),
        ({"at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}, {"at": "2030-01-01T00:00:00Z"}),
        ({"big": "x" * 20_000}, {"big": "x" * 99 + "…"}),
    ],
    ids=["class", "nan", "odd", "null", "surrogate", "time", "large"],
)
async def test_no_field_can_fail_what_it_tells_of(
    server: FakeServer, fields: dict[str, Any], kept: dict[str, Any]
) -> None:
    async def body(ctx: Context) -> None:
        ctx.log.info("x\0", **fields)

    execution = await told(server, body)
    ((_, line),) = execution["_lines"]
    assert (execution["status"], line["text"], line["fields"]) == ("completed", "x\\x00", kept)


async def test_a_long_text_is_cut(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        ctx.log.info("x" * 20_000)
        ctx.heartbeat(text="y" * 600)

    execution = await told(server, body)
    assert server.lines(execution) == ["x" * 9_999 + "…"]
    assert len(execution["_progress"][-1]["text"]) == 500


async def test_a_line_that_the_server_does_not_take_does_not_cost_the_others(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("/logs", status=422, detail="fields has a number that does not fit", times=3)

    async def body(ctx: Context) -> None:
        ctx.log.info("before")
        ctx.log.info("odd", n=2**70)
        ctx.log.info("after")

    execution = await told(server, body)
    assert server.lines(execution) == ["odd", "after"]  # all, the first two, the first one were refused
    assert "does not take what executions log" in caplog.text


async def test_the_latest_progress_is_sent_and_what_is_not_said_stays(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        for n in range(1_000):
            ctx.heartbeat(n / 1_000, f"page {n}")
        await server.until(lambda: _only(server)["_progress"])
        ctx.heartbeat(text="nearly")
        await server.until(lambda: len(_only(server)["_progress"]) == 2)
        ctx.heartbeat(1.0000001)

    execution = await told(server, body)
    said = [(each["value"], each["text"]) for each in execution["_progress"]]
    assert said == [(0.999, "page 999"), (0.999, "nearly"), (1.0, "nearly")]


@pytest.mark.parametrize("value", [40, -0.1, float("nan"), "0.4", True])
async def test_a_progress_that_cannot_be_meant_is_refused(value: Any) -> None:
    @workflow(id="wrong")
    async def wrong(ctx: Context) -> None:
        ctx.heartbeat(value)

    ran = await run(wrong)
    assert isinstance(ran.error, ValueError)
    assert "from 0 to 1" in str(ran.error)


async def test_an_outage_costs_no_line_and_keeps_nobody_waiting(server: FakeServer) -> None:
    server.fail("/logs", times=4)
    server.fail("/logs", after=True)  # taken, and the answer is lost: it must not be there twice

    async def body(ctx: Context) -> float:
        began = time.monotonic()
        for n in range(10):
            ctx.log.info(str(n))
        return time.monotonic() - began

    execution = await told(server, body)
    assert server.lines(execution) == [str(n) for n in range(10)]
    assert execution["result"] < 0.1 * lately()


async def test_more_than_can_be_kept_drops_the_oldest_and_says_so(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reports, "MOST_KEPT", 100)
    server.fail("/logs", times=2)

    async def body(ctx: Context) -> None:
        for n in range(1_000):
            ctx.log.info(str(n))

    execution = await told(server, body)
    lines = server.lines(execution)
    assert lines[0] == "900 lines were dropped here: more was logged than could be sent."
    assert lines[1:] == [str(n) for n in range(900, 1_000)]


async def test_memory_is_bounded_in_characters_too(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.setattr(_reports, "MOST_KEPT_CHARACTERS", 50_000)

    async def body(ctx: Context) -> None:
        for _ in range(30):
            ctx.log.info("x" * 5_000)

    lines = server.lines(await told(server, body))
    assert (lines[0].split(" dropped")[0], len(lines)) == ("21 lines were", 10)


async def test_a_server_that_never_takes_lines_does_not_keep_the_result(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_reports, "FLUSH_SECONDS", 0.3)
    monkeypatch.setattr(_reports, "LONGEST_FLUSH", 0.6)
    server.fail("/logs", times=1_000)

    async def body(ctx: Context) -> str:
        ctx.log.info("lost")
        return "kept"

    execution = await told(server, body)
    assert execution["result"] == "kept"
    assert "could not be sent in time" in caplog.text


async def test_a_server_that_knows_no_logs_is_told_once(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("/logs", status=404, detail="There is nothing at this address.", times=100)

    async def body(ctx: Context) -> None:
        for n in range(3):
            ctx.log.info(str(n))
            await asyncio.sleep(0.25)

    assert (await told(server, body))["status"] == "completed"
    assert caplog.text.count("does not take what executions log") == 1


async def test_a_claim_that_is_over_tells_nothing_more(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        ctx.log.info("mine")
        await server.until(lambda: server.lines(_only(server)) == ["mine"])
        await server.steal(ctx.execution_id)
        ctx.log.info("somebody else's")
        ctx.heartbeat(0.5)

    @workflow(id="teller")
    async def teller(ctx: Context) -> None:
        await body(ctx)

    async with working(teller):
        execution = await server.add("teller")
        await server.until(lambda: len(server.bodies("/logs")) == 2)
        await asyncio.sleep(0.05)
    assert server.lines(execution) == ["mine"]


async def test_cancelling_keeps_the_last_lines(server: FakeServer) -> None:
    @workflow(id="teller")
    async def teller(ctx: Context) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ctx.log.warning("tidied up")

    async with working(teller):
        execution = await server.add("teller")
        await server.until(lambda: execution["status"] == "running")
        await server.ask_cancel(execution["id"])
        await server.until(lambda: execution["status"] == "cancelled")
    assert server.lines(execution) == ["tidied up"]


async def test_what_was_told_before_finished_steps_is_not_told_again() -> None:
    @workflow(id="again", retries=1)
    async def again(ctx: Context) -> None:
        ctx.log.info("begin")
        ctx.heartbeat(0.1)
        await ctx.step.run("a", lambda: ctx.log.info("in a"))
        ctx.log.info("between")
        await ctx.step.run("b", lambda: ctx.log.info("in b"))
        ctx.log.info("after", n=1)
        ctx.heartbeat(0.9, "b is done")
        if ctx.attempt == 1:
            raise RuntimeError("once more")

    ran = await run(again)
    assert [(line.text, line.attempt) for line in ran.lines] == [
        ("begin", 1), ("in a", 1), ("between", 1), ("in b", 1), ("after", 1), ("after", 2),
    ]  # fmt: skip
    assert ran.lines[-1] == Line(level="info", text="after", fields={"n": 1}, attempt=2)
    assert ran.progress == (0.9, "b is done")


async def test_what_was_told_before_a_wait_is_not_told_again_and_what_was_said_stays() -> None:
    @workflow(id="waits")
    async def waits(ctx: Context) -> None:
        ctx.log.info("before")
        ctx.heartbeat(0.5, "half")
        await ctx.step.wait_for("a day", days=1)
        ctx.log.info("between")
        await ctx.step.wait_for("another", days=1)
        ctx.log.info("after")
        ctx.heartbeat(text="nearly")

    ran = await run(waits)
    assert [line.text for line in ran.lines] == ["before", "between", "after"]
    assert ran.progress == (0.5, "nearly")


async def test_a_new_step_ends_the_silence() -> None:
    """Code that was changed may never ask for what is stored."""

    @workflow(id="changed", retries=1)
    async def changed(ctx: Context) -> None:
        if ctx.attempt == 1:
            await ctx.step.run("old", str)
            raise RuntimeError("once more")
        ctx.log.info("before")
        await ctx.step.run("new", str)
        ctx.log.info("behind")

    assert [line.text for line in (await run(changed)).lines] == ["behind"]


# -- following -----------------------------------------------------------------------------------------


async def test_who_follows_gets_everything_once_over_lost_connections(server: FakeServer) -> None:
    @workflow(id="teller")
    async def teller(ctx: Context) -> str:
        for n in range(5):
            ctx.log.info(str(n), n=n)
            ctx.heartbeat(n / 5, f"{n} of 5")
            await asyncio.sleep(0.25)
        return "done"

    async with PolosClient() as client, working(teller):
        handle = await client.invoke(teller)
        server.fail("/stream", times=2)
        server.fail("/stream", after=True, times=2)
        updates = [update async for update in handle.stream()]
    lines = [update for update in updates if isinstance(update, LogLine)]
    assert [(line.number, line.text, line.fields) for line in lines] == [
        (n + 1, str(n), {"n": n}) for n in range(5)
    ]
    assert isinstance(lines[0].at, dt.datetime)
    values = [update.value for update in updates if isinstance(update, Progress)]
    assert values == sorted(values, key=lambda value: value or 0)
    assert values[-1] == 0.8
    states = [update.status for update in updates if isinstance(update, Execution)]
    assert states[-1] == "completed"
    last = updates[-1]
    assert isinstance(last, Execution)
    assert last.result == "done"


async def test_scripts_need_no_await(server: FakeServer) -> None:
    @workflow(id="double")
    async def double(ctx: Context, payload: int) -> int:
        ctx.log.info("doubling")
        if payload < 0:
            raise ValueError("negative")
        return 2 * payload

    def script() -> None:
        with SyncClient() as client:
            assert client.run(double, 21, timeout=10) == 42
            handle = client.invoke("double", 4)
            assert handle.result(10) == 8
            assert handle.get().status == client.wait(handle.id).status == "completed"
            updates: list[Update] = list(handle.stream())
            assert [update.text for update in updates if isinstance(update, LogLine)] == ["doubling"]
            many = client.batch_invoke([(double, n) for n in range(3)])
            assert [each.result(10) for each in many] == [0, 2, 4]
            with pytest.raises(ExecutionFailed, match="negative"):
                client.run(double, -1)
            waiting = client.invoke("nobody")
            assert (waiting.cancel().status, waiting.created, waiting.queue) == ("cancelled", True, "nobody")
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.get_execution("x")

    async with working(double):
        await asyncio.to_thread(script)


async def test_in_a_running_loop_it_works_too(server: FakeServer) -> None:
    """As in a notebook: the loop of the cell is busy, the client has its own."""
    other = FakeServer()
    ready, done = threading.Event(), threading.Event()

    def serve() -> None:
        async def main() -> None:
            from .fake_server import serving

            async with serving(other):
                ready.set()
                await asyncio.to_thread(done.wait)

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    try:
        with SyncClient(other.url) as client:
            assert client.invoke("anything").get().status == "queued"
    finally:
        done.set()
        thread.join()


# -- a real server -------------------------------------------------------------------------------------


async def test_on_a_real_server_lines_and_progress_are_followed_live(running_server: Server) -> None:
    go_on = asyncio.Event()

    @workflow(id="told-live", queue="told/live", retries=1)
    async def live(ctx: Context) -> str:
        ctx.log.info("begun", page=1)
        ctx.heartbeat(0.4, "page 4 of 10")
        await go_on.wait()
        if ctx.attempt == 1:
            raise RuntimeError("once more")
        return "done"

    seen: list[Update] = []
    async with Polos([live], api_url=running_server.url) as polos, asyncio.timeout(20):
        async for update in (await polos.invoke(live)).stream():
            seen.append(update)
            if isinstance(update, Progress):
                go_on.set()
    lines = [update for update in seen if isinstance(update, LogLine)]
    assert [(line.attempt, line.text, line.fields) for line in lines] == [
        (1, "begun", {"page": 1}), (2, "begun", {"page": 1}),
    ]  # fmt: skip
    progress = next(update for update in seen if isinstance(update, Progress))
    assert (progress.value, progress.text, progress.attempt) == (0.4, "page 4 of 10", 1)
    last = seen[-1]
    assert isinstance(last, Execution)
    assert (last.status, last.result) == ("completed", "done")


async def test_on_a_real_server_a_wait_leaves_no_line_out_and_repeats_none(running_server: Server) -> None:
    @workflow(id="told-parent", queue={"concurrency_limit": 1})
    async def parent(ctx: Context) -> int:
        ctx.log.info("before")
        given: int = await ctx.step.suspend("how many")
        ctx.log.info("after", given=given)
        return given

    async with Polos([parent], api_url=running_server.url) as polos, asyncio.timeout(20):
        handle = await polos.invoke(parent)
        lines = []
        async for update in handle.stream():
            if isinstance(update, LogLine):
                lines.append((update.number, update.attempt, update.text, update.fields))
            elif isinstance(update, Execution) and update.status == "waiting":
                await handle.resume("how many", 3)
    assert lines == [(1, 1, "before", {}), (2, 1, "after", {"given": 3})]


def _only(server: FakeServer) -> dict[str, Any]:
    (execution,) = server.executions.values()
    return execution


# -- traces -------------------------------------------------------------------------------------------


async def test_a_trace_is_a_line_with_its_seconds_and_attributes(server: FakeServer) -> None:
    async def body(ctx: Context) -> None:
        with ctx.step.trace("load", {"table": "orders"}) as span:
            await ctx.step.run("read", lambda: 3)
            span.set_attribute("rows", 3)
        with pytest.raises(KeyError), ctx.step.trace("load"):
            raise KeyError("orders")

    lines = [line for _, line in (await told(server, body))["_lines"]]
    assert [(line["level"], line["text"]) for line in lines] == [
        ("debug", "load"), ("warning", "load failed: KeyError: 'orders'"),
    ]  # fmt: skip
    assert 0 < lines[0]["fields"].pop("seconds") < 5
    assert lines[0]["fields"] == {"table": "orders", "rows": 3}
