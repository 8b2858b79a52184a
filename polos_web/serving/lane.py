"""The fast lane: hot requests on Daphne's port, answered without Twisted's parser and Daphne's queues.

Daphne's own way costs 0.23 ms of the processor for a request that is refused, this one 0.06. It takes only what
it understands completely: a plain HTTP/1.1 request for a hot endpoint, with a known length, that is not large.
At the first byte of anything else the whole connection becomes Daphne's, which then reads that request from its
beginning.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

from twisted.internet.protocol import Protocol

from workflows.api import hot

from ..gate import Application, Message

MAX_HEAD_BYTES = 8 * 1024
MAX_HEADERS = 100  # Daphne refuses 500
MAX_BODY_BYTES = 1024 * 1024  # kept in memory; Daphne keeps a larger body in a file
IDLE_SECONDS = 60  # as long as Daphne waits for a request on an open connection

_REQUEST_LINE = re.compile(rb"(POST|GET|DELETE) (/api/v1/[A-Za-z0-9/._~-]*)(?:\?([!-~]*))? HTTP/1\.1")
# What surrounds the value is stripped afterwards: a pattern for it would take cubic time to refuse some headers.
_HEADER = re.compile(rb"([A-Za-z0-9-]+):([\t -~\x80-\x84\x86-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,7}")
# Whoever sends one of these wants more than an answer.
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"connection", b"te", b"trailer"))
_REASONS = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}


class Head(NamedTuple):
    scope: dict[str, Any]
    length: int  # of the body
    size: int  # of the head itself


def parse(data: bytes) -> Head | None:
    """The head of a request at the beginning of the data; None when it is not for this lane."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or len(lines) > MAX_HEADERS:
        return None
    headers = []
    length = None
    for each in lines:
        found = _HEADER.fullmatch(each)
        if found is None:
            return None
        name, value = found[1].lower(), found[2].strip(b" \t")
        if name in _UNUSUAL and (name != b"connection" or value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value) or int(value) > MAX_BODY_BYTES:
                return None
            length = int(value)
        headers.append((name, value))
    method, path, query = line.groups()
    if method == b"POST" and length is None:
        return None
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": method.decode(), "path": path.decode(), "raw_path": path, "query_string": query or b"",
        "root_path": "", "headers": headers,
    }  # fmt: skip
    return Head(scope, length or 0, end + 4) if hot.handles(scope) else None


class Lane(Protocol):
    """One connection. One request is answered at a time, and only once the answer before it has been taken;
    what a client sends meanwhile waits for its turn."""

    transport: Any

    def __init__(
        self, application: Application, *, tasks: set[asyncio.Task[None]], daphnes: Callable[[], Any]
    ) -> None:
        self._application = application
        self._tasks = tasks
        self._daphnes = daphnes
        self._data = b""
        self._head: Head | None = None
        self._last: tuple[bytes, Head] | None = None
        self._answering: _Exchange | None = None
        self._paused = False
        self._unsent = False  # a part of the answer waits in the transport's own buffer

    def connectionMade(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport.setTcpNoDelay(True)
        self._socket = self.transport.getHandle()
        peer, host = self.transport.getPeer(), self.transport.getHost()
        self._ends = {"client": [peer.host, peer.port], "server": [host.host, host.port]}
        self._active = self._loop.time()
        self._timer = self._loop.call_later(IDLE_SECONDS, self._look_at_the_time)

    def dataReceived(self, data: bytes) -> None:
        self._active = self._loop.time()
        self._data = self._data + data if self._data else data
        if self._answering is None:
            self._next()
        elif len(self._data) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Any = None) -> None:
        self.connected, self._data = 0, b""  # what was sent ahead is not begun for nobody
        self._timer.cancel()
        if self._answering is not None:
            self._answering.end()

    def _look_at_the_time(self) -> None:
        """One timer for a connection: starting one for each request would cost more than parsing it."""
        idle = 0.0 if self._answering and not self._unsent else self._loop.time() - self._active
        if idle < IDLE_SECONDS:
            self._timer = self._loop.call_later(IDLE_SECONDS - idle, self._look_at_the_time)
        elif self._unsent:  # nobody takes the answer: waiting until it is sent would be waiting for ever
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def _next(self) -> None:
        """Answers the request that has arrived completely, or waits for the rest of it."""
        if not self._data:
            return
        if self._head is None:
            self._head = self._parsed()
            if self._head is None:
                if (
                    b"\r\n\r\n" in self._data
                    or len(self._data) > MAX_HEAD_BYTES
                    or not _may_become_one(self._data)
                ):
                    self._hand_over()
                return
        head, end = self._head, self._head.size + self._head.length
        if len(self._data) < end:
            return
        body, self._data, self._head = self._data[head.size : end], self._data[end:], None
        self._answer(head.scope | self._ends, body)

    def _parsed(self) -> Head | None:
        """Most heads are the one before, byte for byte: then what that said is said again."""
        if self._last is not None and self._data.startswith(self._last[0]):
            return self._last[1]
        head = parse(self._data)
        self._last = head and (self._data[: head.size], head)
        return head

    def _answer(self, scope: dict[str, Any], body: bytes) -> None:
        self._answering = exchange = _Exchange(body)
        task = self._loop.create_task(self._run(scope, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, scope: dict[str, Any], exchange: _Exchange) -> None:
        try:
            await self._application(scope, exchange.receive, exchange.send)
        finally:
            self._finish(exchange.response)

    def _finish(self, response: bytes) -> None:
        if not self.connected:
            return
        if not response:  # the application gave up, as it does when it is cancelled
            self.transport.loseConnection()
            return
        self._active = self._loop.time()
        self._write(response)
        if not self._unsent:
            self._go_on()

    def _go_on(self) -> None:
        self._answering = None
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        self._next()

    def _write(self, data: bytes) -> None:
        """Straight to the socket, which takes nearly always all of it; Twisted would come back for it later."""
        try:
            data = data[self._socket.send(data) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # the reading side learns it too
            return
        if data:
            self.transport.registerProducer(self, False)  # asks for more now, and when all of it is sent
            self._unsent = True
            self.transport.write(data)

    def resumeProducing(self) -> None:
        if self._unsent:
            self._unsent = False
            self.transport.unregisterProducer()
            self._active = self._loop.time()
            self._go_on()

    def stopProducing(self) -> None:
        pass

    def _hand_over(self) -> None:
        """From here on the connection is Daphne's."""
        self._timer.cancel()
        protocol = self._daphnes()
        if protocol is None:
            self.transport.loseConnection()
            return
        transport, data = self.transport, self._data
        transport.protocol = protocol
        protocol.makeConnection(transport)
        try:
            protocol.dataReceived(data)
        except Exception:  # not only Twisted, which would end the connection, calls this
            transport.abortConnection()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}\r\n".encode()


def _may_become_one(data: bytes) -> bool:
    """Whether these first bytes can still be the beginning of a request for this lane."""
    line, found, _ = data.partition(b"\r\n")
    if found:
        return _REQUEST_LINE.fullmatch(line) is not None
    return any(each.startswith(line) or line.startswith(each) for each in _BEGINNINGS)


_BEGINNINGS = tuple(method + b" " + b"/api/v1/" for method in (b"POST", b"GET", b"DELETE"))


class _Exchange:
    """One request and its response, as ASGI messages."""

    __slots__ = ("_body", "_ended", "_head", "response")

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._ended = asyncio.get_running_loop().create_future()
        self._head = b""
        self.response = b""

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.shield(self._ended)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """The hot endpoints send a head with the length, then the body in one piece."""
        if message["type"] == "http.response.start":
            lines = [b"%b: %b\r\n" % header for header in message["headers"]]
            self._head = b"".join([_REASONS[message["status"]], _date(int(time.time())), *lines, b"\r\n"])
        else:
            self.response = self._head + message["body"]

    def end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
