from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from polos import (
    BadLimit,
    BadName,
    Conflict,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionTimeout,
    Invocation,
    NotFound,
    NotSerializable,
    PayloadInvalid,
    PolosClient,
    RequestRefused,
    ServerUnavailable,
    TooLarge,
    queue,
    workflow,
)
from polos import _http as http_module
from polos._invocation import read_batch
from polos._workflow import Workflow

from .fake_server import FakeServer


class Answer(BaseModel):
    n: int


@workflow(id="call_api", queue=queue("api-calls", concurrency_limit=5))
async def call_api(ctx: Any, payload: Any) -> Answer:
    return Answer(n=1)


@workflow(id="named", queue="mail", retries=2)
async def named(ctx: Any, payload: Any) -> None: ...


async def _sent(server: FakeServer, *args: Any, **options: Any) -> dict[str, Any]:
    async with PolosClient() as client:
        await client.invoke(*args, **options)
    body: dict[str, Any] = server.bodies("/executions")[-1]
    return {name: body[name] for name in body if name.startswith("queue_")}


async def test_a_queue_that_does_not_exist_yet_is_made_as_it_is_declared(server: FakeServer) -> None:
    assert await _sent(server, call_api) == {"queue_name": "api-calls", "queue_concurrency_limit": 5}
    assert await _sent(server, named) == {"queue_name": "mail"}
    assert await _sent(server, "call_api") == {}


async def test_another_queue_does_not_get_the_workflows_limit(server: FakeServer) -> None:
    assert await _sent(server, call_api, queue_name="other") == {"queue_name": "other"}
    sent = await _sent(server, call_api, queue_name="third", queue_concurrency_limit=None)
    assert sent == {"queue_name": "third", "queue_concurrency_limit": None}
    sent = await _sent(server, call_api, queue_concurrency_limit=1)
    assert sent == {"queue_name": "api-calls", "queue_concurrency_limit": 1}


async def test_options_are_sent_only_when_they_are_given(client: PolosClient, server: FakeServer) -> None:
    await named.invoke(client, {"a": 1}, idempotency_key="k", priority=5, delay=1.5)
    body = server.bodies("/executions")[-1]
    assert body.pop("id")
    assert body == {
        "workflow_id": "named", "payload": {"a": 1}, "queue_name": "mail", "max_attempts": 3,
        "idempotency_key": "k", "priority": 5, "delay": 1.5,
    }  # fmt: skip


async def test_a_start_may_be_put_off(client: PolosClient, server: FakeServer) -> None:
    await client.invoke("mail", delay=dt.timedelta(minutes=1))
    await client.invoke("mail", run_at=dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC))
    first, second = server.bodies("/executions")
    assert (first["delay"], second["run_at"]) == (60, "2030-01-31T12:00:00Z")


async def test_a_queue_that_keeps_its_limit_is_told_once(
    client: PolosClient, caplog: pytest.LogCaptureFixture
) -> None:
    await call_api.invoke(client)
    handles = [await call_api.invoke(client, queue_concurrency_limit=1) for _ in range(3)]
    assert {note for handle in handles for note in handle.notes} == {
        "The queue api-calls exists with limit 5 and keeps it."
    }
    assert caplog.text.count("keeps it") == 1


async def test_what_no_request_can_carry_is_refused_with_its_name_size_and_bound(
    client: PolosClient, server: FakeServer
) -> None:
    large, words = "x" * 17_000_000, r" has 17,000,\d\d\d bytes, at most {} are allowed"
    with pytest.raises(TooLarge, match="The payload of call_api" + words.format("262,144")):
        await client.invoke(call_api, large)
    with pytest.raises(TooLarge, match="The payload of named" + words.format("262,144")):
        await client.batch_invoke([(call_api, 1), (named, large)])
    with pytest.raises(TooLarge, match="The payload of event news" + words.format("262,144")):
        await client.publish_event("news", large)
    with pytest.raises(TooLarge, match="The answer to approve" + words.format("1,048,576")):
        await client.resume("an-id", "approve", large)
    assert not server.requests


async def test_what_is_wrong_is_refused_before_it_is_sent(client: PolosClient, server: FakeServer) -> None:
    with pytest.raises(BadName):
        await client.invoke("a b")
    with pytest.raises(BadName):
        await client.invoke(call_api, queue_name="a//b")
    with pytest.raises(BadLimit):
        await client.invoke(call_api, queue_name="a", queue_concurrency_limit=-1)
    with pytest.raises(DefinitionError):
        await client.invoke(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="with a time zone"):
        await client.invoke(call_api, run_at=dt.datetime(2030, 1, 31))  # noqa: DTZ001
    with pytest.raises(DefinitionError, match="delay is between 0"):
        await client.invoke(call_api, delay=-1)
    with pytest.raises(DefinitionError, match="not both"):
        await client.invoke(call_api, delay=1, run_at=dt.datetime.now(dt.UTC))
    with pytest.raises(TypeError, match="prority"):
        await client.invoke(call_api, prority=1)  # type: ignore[call-overload]
    with pytest.raises(NotSerializable, match="The payload of call_api cannot be written as JSON"):
        await client.invoke(call_api, {"a": object()})
    with pytest.raises(NotSerializable, match="surrogate"):
        await client.invoke(call_api, "\ud800")
    with pytest.raises(NotSerializable):
        await client.invoke(call_api, float("nan"))
    assert server.requests == []


async def test_a_payload_that_the_function_would_never_see_is_refused(
    client: PolosClient, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def alone(ctx: Any) -> None: ...

    of: Workflow[None] = Workflow(alone)
    for call in (client.invoke(of, 0), client.batch_invoke([(call_api, 1), (of, None), (of, {"a": 1})])):
        with pytest.raises(PayloadInvalid, match=r"alone takes no payload: .*test_client.py:\d+"):
            await call
    assert server.requests == []
    await client.batch_invoke([(of, None), (of, {}), Invocation(workflow=of)])
    # Who knows only the id may give one: the worker says so once, but not of what a schedule sends.
    tick = dict.fromkeys(("schedule_id", "key", "timestamp", "last_timestamp", "upcoming", "timezone"), "")
    assert [of.arguments(each) for each in (None, {}, tick, 1, 1)] == [()] * 5
    assert caplog.text.count("alone takes no payload") == 1


@pytest.mark.parametrize(
    "found",
    [{"status": "queued", "attempt": 1}, {"status": "failed", "attempt": 2}],
    ids=["queued", "failed again"],
)
async def test_a_retry_whose_answer_is_lost_is_done_once(
    found: dict[str, Any], client: PolosClient, server: FakeServer
) -> None:
    handle = await client.invoke(call_api)
    server.executions[handle.id] |= {"status": "failed", "attempt": 1}
    server.retried = found  # what the repeat finds
    server.fail("/retry", after=True)
    again = await client.retry_execution(handle.id)
    assert (again.status, again.attempt) == (found["status"], found["attempt"])
    assert server.bodies("/retry") == [{"expected_status": "failed", "expected_attempt": 1}] * 2


async def test_a_retry_that_is_refused_says_why(client: PolosClient, server: FakeServer) -> None:
    handle = await client.invoke(call_api)
    with pytest.raises(Conflict, match="can be retried"):
        await client.retry_execution(handle.id)
    server.executions[handle.id] |= {"status": "failed"}
    server.fail("/retry", status=409, detail="Another one has its key.")
    with pytest.raises(Conflict, match="Another one has its key"):
        await client.retry_execution(handle.id)


async def test_a_schedule_is_deleted_also_when_the_answer_is_lost(client: PolosClient, server: FakeServer) -> None:
    server.fail("/schedules/s1", after=True)
    await client.delete_schedule("nightly")
    assert [method for method, path, _ in server.requests if path.endswith("/s1")] == ["DELETE"] * 2
    with pytest.raises(NotFound, match="no schedule named 'nightly'"):
        await client.delete_schedule("nightly")


async def test_models_and_times_are_payloads(client: PolosClient, server: FakeServer) -> None:
    await client.invoke(call_api, {"model": Answer(n=1), "at": dt.date(2026, 1, 2), "text": "ü"})
    assert server.bodies("/executions")[0]["payload"] == {"model": {"n": 1}, "at": "2026-01-02", "text": "ü"}


async def test_a_reply_that_is_lost_starts_nothing_twice(client: PolosClient, server: FakeServer) -> None:
    server.fail("/executions", after=True)
    handle = await client.invoke(call_api)
    assert list(server.executions) == [handle.id]
    assert handle.created is False
    first, second = server.bodies("/executions")
    assert first == second


async def test_a_busy_server_is_asked_again(
    client: PolosClient, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polos")
    server.fail("/executions", times=3, headers={"Retry-After": "0"}, detail="The database is away.")
    await client.invoke(call_api)
    assert len(server.bodies("/executions")) == 4
    assert caplog.text.count("answered 503: The database is away.") == 1
    assert caplog.text.count("answers again") == 1


async def test_patience_ends(server: FakeServer) -> None:
    server.fail("/executions", times=100)
    async with PolosClient(patience=0.2) as client:
        with pytest.raises(ServerUnavailable, match="answered 503: busy"):
            await client.invoke(call_api)


async def test_no_server_at_all() -> None:
    async with PolosClient("http://127.0.0.1:9", patience=0.1) as client:
        with pytest.raises(ServerUnavailable, match="cannot be reached"):
            await client.invoke(call_api)


async def test_a_refusal_comes_with_the_servers_sentence(client: PolosClient, server: FakeServer) -> None:
    with pytest.raises(NotFound, match=r"There is no such execution. \(HTTP 404\)") as caught:
        await client.get_execution("nothing/../here?")
    assert (caught.value.status, caught.value.detail) == (404, "There is no such execution.")
    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["is away", "is away.", "is away. Is the address right?"])
def test_an_outage_is_told_in_whole_sentences(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    http_module.Outages("http://there").begin("lane", reason)
    assert caplog.messages[0].count(".") + caplog.messages[0].count("?") == 2 + reason.count("?")
    assert "?." not in caplog.messages[0]


async def test_a_proxy_that_takes_less_is_named(client: PolosClient, server: FakeServer) -> None:
    server.fail("/executions", status=413, detail="")
    with pytest.raises(
        TooLarge, match=r"POST /executions has \d{3} bytes, which is more than the server or a proxy"
    ):
        await client.invoke(call_api)


@pytest.mark.parametrize("status", [401, 403, 409, 410, 413, 418, 422])
async def test_every_refusal_is_raised_at_once(status: int, client: PolosClient, server: FakeServer) -> None:
    server.fail("/executions", status=status, detail="No.")
    with pytest.raises(RequestRefused) as caught:
        await client.invoke(call_api)
    assert caught.value.status == status


async def test_batches_keep_the_order_and_are_cut(
    client: PolosClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polos._batches.MOST_ITEMS", 2)
    handles = await client.batch_invoke(
        [
            (call_api, 0),
            Invocation(workflow="plain", payload=1, queue_name="q"),
            Invocation(workflow=named, payload=2, priority=1),
        ]
    )
    assert [server.executions[handle.id]["payload"] for handle in handles] == [0, 1, 2]
    assert [len(body["executions"]) for body in server.bodies("/batch")] == [2, 1]
    assert await client.batch_invoke([]) == []
    monkeypatch.setattr("polos._batches.MOST_ITEMS", 10)
    monkeypatch.setattr("polos._batches.MOST_CHARACTERS", 400)
    handles = await client.batch_invoke([(call_api, "x" * size) for size in (20, 20, 500, 10, 20, 20)])
    assert [len(server.executions[handle.id]["payload"]) for handle in handles] == [20, 20, 500, 10, 20, 20]
    assert [len(body["executions"]) for body in server.bodies("/batch")[2:]] == [2, 1, 2, 1]


async def test_a_batch_says_of_each_item_what_invoke_would(client: PolosClient, server: FakeServer) -> None:
    items = [
        Invocation(workflow=call_api, payload={"text": "ü", "models": [Answer(n=1)]}),
        Invocation(workflow=call_api, queue_name="elsewhere", idempotency_key='a "key"', delay=2.5),
        Invocation(workflow=call_api, payload=["\x1f", "\x1f"], queue_name="elsewhere", priority=-3),
        Invocation(workflow="plain", payload="\x1f", queue_name="q", queue_concurrency_limit=None),
        Invocation(workflow="plain", run_at=dt.datetime(2030, 1, 31, tzinfo=dt.UTC)),
        Invocation(workflow=named, payload=',"\x1f",'),
    ]
    for item in items:
        await client.start(item)
    await client.batch_invoke(items)
    await client.batch_invoke(items[:1] * 3)  # with nothing in it that looks like the seam between two payloads
    one_by_one = [body | {"id": ""} for body in server.bodies("/executions")]
    together, alike = [[each | {"id": ""} for each in body["executions"]] for body in server.bodies("/batch")]
    assert together == one_by_one
    assert alike == one_by_one[:1] * 3


async def test_a_payload_that_is_not_json_is_told_from_the_others_of_its_batch(
    client: PolosClient, server: FakeServer
) -> None:
    for bad in (object(), float("nan"), "\ud800"):
        with pytest.raises(NotSerializable, match="The payload of named cannot be written as JSON"):
            await client.batch_invoke([(call_api, 1), (named, bad), ("plain", 2)])
    with pytest.raises(DefinitionError):
        await client.batch_invoke([(["a"], 1)])  # type: ignore[list-item]
    assert server.requests == []


async def test_what_the_server_says_of_one_item_of_a_batch_is_not_said_of_the_others(
    client: PolosClient, server: FakeServer
) -> None:
    first, again, other = await client.batch_invoke(
        [Invocation(workflow="a", idempotency_key="k"), Invocation(workflow="a", idempotency_key="k"), ("b", None)]
    )
    assert first.id == again.id != other.id
    assert [each.created for each in (first, again, other)] == [True, False, True]
    assert [each.queue for each in (first, again, other)] == ["a", "a", "b"]
    alike = await client.batch_invoke([(call_api, n) for n in range(3)])
    assert [server.executions[handle.id]["payload"] for handle in alike] == [0, 1, 2]
    assert {(handle.workflow_id, handle.queue, handle.created) for handle in alike} == {
        ("call_api", "api-calls", True)
    }


def test_answers_are_only_copied_when_they_are_all_the_same() -> None:
    ids = ["1", "2", "3"]
    for answers in (
        [{"id": "1", "n": []}, {"id": "2", "n": []}, {"id": "3", "n": []}],
        [{"id": "1", "n": []}, {"id": "2", "n": ["},{"]}, {"id": "3", "n": []}],
        [{"id": "1", "n": ["},{"]}, {"id": "2", "n": ["},{"]}, {"id": "3", "n": ["},{"]}],
        [{"id": "1"}, {"id": "2"}, {"id": "9"}],
        [{"id": "9"}, {"id": "2"}, {"id": "3"}],
        [{"m": "x", "id": "1"}, {"m": "x", "id": "2"}, {"m": "y", "id": "3"}],
        [{"n": 1, "id": "1"}, {"n": 1, "id": "2"}],
        [{"id": "1"}],
    ):
        for separators in ((",", ":"), (", ", ": ")):
            content = json.dumps({"executions": answers}, separators=separators).encode()
            read = [said | {"id": id} for said, of in read_batch(content, ids) for id in of]
            assert read == answers


async def test_a_result_is_waited_for_and_typed(client: PolosClient, server: FakeServer) -> None:
    handle = await call_api.invoke(client)
    waiting = asyncio.create_task(handle.result(timeout=5))
    await server.until(lambda: len(server.requests) > 1)
    server.executions[handle.id].update(status="completed", result={"n": 4})
    await server._announce()
    assert await waiting == Answer(n=4)
    assert (await handle.get()).result == {"n": 4}


async def test_how_an_execution_can_end(client: PolosClient, server: FakeServer) -> None:
    failed, cancelled, slow = [await client.invoke("w") for _ in range(3)]
    server.executions[failed.id].update(status="failed", error={"type": "ValueError", "message": "no"})
    await cancelled.cancel()
    with pytest.raises(ExecutionFailed, match="of w failed: ValueError: no") as failure:
        await failed.result()
    assert failure.value.execution is not None
    assert failure.value.execution.error is not None
    with pytest.raises(ExecutionCancelled):
        await cancelled.result()
    with pytest.raises(ExecutionTimeout, match=r"not finished after 0\.05 s; it is queued"):
        await slow.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        await client.run("w", timeout=0.01)
    with pytest.raises(Conflict):
        await client.cancel_execution(failed.id)


async def test_many_who_wait_do_not_hold_up_who_starts(client: PolosClient, server: FakeServer) -> None:
    handles = [await client.invoke("w", n) for n in range(100)]
    waiting = [asyncio.create_task(handle.result()) for handle in handles]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await client.invoke("w")
    for execution in server.executions.values():
        server._end(execution, "completed")
    await server._announce()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def _odd_server(handler: Any) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def _refusal(handler: Any) -> Exception:
    runner = await _odd_server(handler)
    try:
        async with PolosClient(
            f"http://127.0.0.1:{runner.addresses[0][1]}", "polos_1_key", patience=0.05
        ) as client:
            with pytest.raises(Exception, match=r".") as caught:
                await client.get_execution("x")
            return caught.value
    finally:
        await runner.cleanup()


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    error = await _refusal(redirect)
    assert isinstance(error, RequestRefused)
    assert "redirects to /elsewhere" in str(error)
    assert len(seen) == 1


async def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_RESPONSE", 1_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 100)
        return response

    async def long(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 2_000)

    for handler in (endless, long):
        assert "larger than 1,000 bytes" in str(await _refusal(handler))


async def test_something_that_is_no_polos_server() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>Hello</html>", content_type="text/html")

    error = await _refusal(page)
    assert isinstance(error, ServerUnavailable)
    assert "is POLOS_API_URL right?" in str(error)


async def test_the_key_goes_into_a_header() -> None:
    seen: dict[str, str] = {}

    async def note(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.json_response({"detail": "No."}, status=403)

    await _refusal(note)
    assert seen["Authorization"] == "Bearer polos_1_key"
    assert seen["User-Agent"].startswith("polos-web-sdk/")


async def test_one_at_a_time_is_asked_for_by_a_key(client: PolosClient, server: FakeServer) -> None:
    await client.invoke("sync", dedup_key="k")
    await client.invoke("sync", dedup_key="k", dedup_policy="cancel_old")
    await client.invoke("sync", dedup_key="k", debounce=dt.timedelta(seconds=5), debounce_longest=60)
    assert [body["deduplication"] for body in server.bodies("/executions")] == [
        {"key": "k", "policy": "skip"},
        {"key": "k", "policy": "cancel_old"},
        {"key": "k", "policy": "debounce", "seconds": 5, "longest": 60},
    ]
    for wrong in (
        {"dedup_policy": "replace"},
        {"debounce": 5},
        {"dedup_key": "k", "debounce_longest": 5},
        {"dedup_key": "k", "debounce": 0},
        {"dedup_key": "k", "debounce": 5, "dedup_policy": "replace"},
    ):
        with pytest.raises(DefinitionError):
            await client.invoke("sync", **wrong)
