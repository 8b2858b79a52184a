"""In front of Django: a bound on requests at once, and on the size of each.

Under ASGI each synchronous request gets a thread and, with its first query, a database connection. Without a
bound a burst becomes a hundred threads and errors from the pool; with it, a line, and past that an early 503.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_API_BYTES = 16 * 1024 * 1024
MAX_PAGE_BYTES = 2_621_440
MAX_WAITING = 200
_IN_MEMORY = 64 * 1024  # bytes of a body; the rest is in a file
_CODES = {413: "too-large", 503: "unavailable"}  # as in `queues.problems`, which the settings cannot import
_ALWAYS = frozenset(("/healthz", "/readyz", "/metrics"))  # asked exactly when a server is overloaded


class TooLarge(Exception):
    pass


def max_bytes(path: str) -> int:
    return MAX_API_BYTES if path.startswith("/api/") else MAX_PAGE_BYTES


class Gate:
    def __init__(self, application: Application, *, at_once: int, max_waiting: int = MAX_WAITING) -> None:
        self.application = application
        self.places = asyncio.Semaphore(at_once)
        self.max_waiting = max_waiting
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = max_bytes(scope["path"])
        if (size := announced(scope)) > limit:
            await _refuse_size(scope, send, limit, f"{size:,}")
        elif scope["path"] in _ALWAYS:
            await self._bounded(scope, receive, send, limit)
        elif self.waiting >= self.max_waiting:
            busy = "The server is busy. Try again in a moment."
            await refuse(scope, send, 503, busy, [(b"retry-after", b"2")])
        else:
            await self._in_line(scope, receive, send, limit)

    async def _in_line(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """The body first: a place is for work, not for waiting on a slow client."""
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            try:
                if not await _arrived(body, _counting(receive, limit)):
                    return
            except TooLarge:
                await _refuse_size(scope, send, limit)
                return
            self.waiting += 1
            try:
                await self.places.acquire()
            finally:
                self.waiting -= 1
            try:
                await self.application(scope, _from(body, receive), send)
            finally:
                self.places.release()

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        try:
            await self.application(scope, _counting(receive, limit), send)
        except TooLarge:
            # Django reads the whole body before it answers, so no response has begun.
            await _refuse_size(scope, send, limit)


async def _arrived(body: IO[bytes], receive: Receive) -> bool:
    """Whether the whole body came, before the client went."""
    while (message := await receive())["type"] == "http.request":
        body.write(message.get("body", b""))
        if not message.get("more_body"):
            body.seek(0)
            return True
    return False


def _from(body: IO[bytes], receive: Receive) -> Receive:
    ended = False

    async def read() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        part = body.read(_IN_MEMORY)
        ended = len(part) < _IN_MEMORY
        return {"type": "http.request", "body": part, "more_body": not ended}

    return read


def _counting(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge
        return message

    return counted


def announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _refuse_size(scope: Scope, send: Send, limit: int, size: str = "more") -> None:
    await refuse(scope, send, 413, f"The request has {size} bytes, at most {limit:,} are allowed.")


async def refuse(
    scope: Scope, send: Send, status: int, sentence: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """In the API's shape where the API is asked."""
    if not scope["path"].startswith("/api/"):
        await respond(send, status, sentence, headers)
        return
    code = _CODES[status]
    problem = {
        "type": f"urn:polos:problem:{code}", "title": code.replace("-", " ").capitalize(),
        "status": status, "detail": sentence,
    }  # fmt: skip
    await respond(send, status, json.dumps(problem), headers, kind=b"application/problem+json")


async def respond(
    send: Send,
    status: int,
    sentence: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    kind: bytes = b"text/plain; charset=utf-8",
) -> None:
    body = sentence.encode()
    more = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*more, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
