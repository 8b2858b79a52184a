from __future__ import annotations

import asyncio
import json
from typing import Any

from polos_web.gate import MAX_API_BYTES, MAX_PAGE_BYTES, Gate, Receive, Send, respond


class Call:
    """One request through a gate; `answer` is its status, `headers` what came with it."""

    def __init__(self, *, path: str = "/", parts: tuple[bytes, ...] = (b"",), length: int | None = None) -> None:
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        self.scope: dict[str, Any] = {"type": "http", "path": path, "headers": headers}
        self._parts = list(parts)
        self.answer: int | None = None
        self.headers: dict[bytes, bytes] = {}

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts)}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer, self.headers = message["status"], dict(message["headers"])
        else:
            self.body = message["body"]

    async def through(self, gate: Gate) -> Call:
        await gate(self.scope, self.receive, self.send)
        return self


async def reads_everything(scope: Any, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await respond(send, 200, "fine")


async def test_a_small_request_passes() -> None:
    assert (await Call(parts=(b"a", b"b")).through(Gate(reads_everything, at_once=1))).answer == 200


async def test_an_announced_size_is_refused_before_anything_is_read() -> None:
    call = Call(length=MAX_PAGE_BYTES + 1, parts=())
    assert (await call.through(Gate(reads_everything, at_once=1))).answer == 413


async def test_a_size_that_nobody_announced_is_refused_while_it_arrives() -> None:
    call = Call(parts=(b"x" * MAX_PAGE_BYTES, b"y", b"z"))
    assert (await call.through(Gate(reads_everything, at_once=1))).answer == 413


async def test_the_api_may_send_more() -> None:
    call = Call(path="/api/v1/executions/batch", parts=(b"x" * MAX_PAGE_BYTES, b"y"))
    assert (await call.through(Gate(reads_everything, at_once=1))).answer == 200


async def test_the_api_says_in_its_own_shape_how_large_it_was() -> None:
    call = Call(path="/api/v1/executions", length=30_000_000, parts=())
    assert (await call.through(Gate(reads_everything, at_once=1))).answer == 413
    assert call.headers[b"content-type"] == b"application/problem+json"
    problem = json.loads(call.body)
    assert problem["type"] == "urn:polos:problem:too-large"
    assert problem["detail"] == f"The request has 30,000,000 bytes, at most {MAX_API_BYTES:,} are allowed."


async def test_requests_wait_in_line_and_past_that_are_told_to_come_back() -> None:
    release = asyncio.Event()

    async def slow(scope: Any, receive: Receive, send: Send) -> None:
        await release.wait()
        await respond(send, 200, "fine")

    gate = Gate(slow, at_once=1, max_waiting=1)
    first, second = (asyncio.create_task(Call().through(gate)) for _ in range(2))
    await asyncio.sleep(0)
    third = await Call().through(gate)
    assert (third.answer, third.headers[b"retry-after"]) == (503, b"2")
    assert (await asyncio.wait_for(_released(release, Call(path="/healthz"), gate), 1)).answer == 200
    assert [(await first).answer, (await second).answer] == [200, 200]


async def _released(release: asyncio.Event, call: Call, gate: Gate) -> Call:
    """A health check passes a full gate."""
    task = asyncio.create_task(call.through(gate))
    await asyncio.sleep(0)
    release.set()
    return await task


async def test_slow_bodies_take_no_place() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    gate = Gate(reads_everything, at_once=1)
    slow = Call()
    slow.receive = never  # type: ignore[method-assign]
    tasks = [asyncio.create_task(slow.through(gate)) for _ in range(5)]
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(Call().through(gate), 1)).answer == 200
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_large_body_arrives_whole() -> None:
    seen = 0

    async def count(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal seen
        while True:
            message = await receive()
            seen += len(message["body"])
            if not message["more_body"]:
                break
        await respond(send, 200, "fine")

    parts = tuple(b"x" * 64 * 1024 for _ in range(4))
    assert (await Call(parts=parts).through(Gate(count, at_once=1))).answer == 200
    assert seen == 4 * 64 * 1024
