"""The hot endpoints as a bare ASGI application, in front of Django in the same process.

A Django view costs about a millisecond of Python per request, this about a twentieth of that. Everything else
(`handles` says no) goes to Django, where `routes` serves the same endpoints too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from queues import problems
from queues.keys import Principal, authenticate
from queues.problems import NotFound, Problem, TooLarge, as_problem

from . import handlers, telling, waiting
from .checks import MAX_REQUEST_BYTES
from .handlers import Reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Verb = Callable[[Principal, bytes], Coroutine[Any, Any, Reply]]

PREFIX = "/api/v1/"
_KEPT = "polos.verb"
LOOK_AFTER = 0.25  # seconds: only what takes longer is watched for a client that goes away

_PLAIN: dict[tuple[str, str], Verb] = {
    ("POST", "executions"): handlers.enqueue,
    ("POST", "executions/batch"): handlers.enqueue_batch,
    ("POST", "workers"): handlers.register,
    ("POST", "steps"): handlers.save_steps,
    ("POST", "logs"): telling.save_logs,
    ("POST", "executions/results"): waiting.results,
    ("POST", "events"): waiting.publish,
}
_OF_WORKER: dict[tuple[str, str], Callable[[Principal, UUID, bytes], Coroutine[Any, Any, Reply]]] = {
    ("POST", "exchange"): handlers.exchange,
    ("POST", "heartbeat"): handlers.heartbeat,
    ("DELETE", ""): handlers.deregister,
}
_OF_EXECUTION: dict[str, Callable[[Principal, UUID, Query], Coroutine[Any, Any, Reply]]] = {
    "": lambda principal, id, query: handlers.execution(principal, id, query.wait),
    "logs": lambda principal, id, query: telling.log_page(
        principal, id, after=query("after"), level=query("level"), limit=query("limit"), wait=query.wait
    ),
    "stream": lambda principal, id, query: telling.news(principal, id, after=query("after"), wait=query.wait),
}
_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_JSON = [(b"content-type", b"application/json"), *_HEADERS]
_PROBLEM = [(b"content-type", problems.CONTENT_TYPE.encode()), *_HEADERS]


def handles(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"].startswith(PREFIX) and _verb(scope) is not None


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    departure = _Departure(receive)
    try:
        status, body, headers = await _respond(scope, receive, departure)
    except _ClientGone:
        return
    except asyncio.CancelledError:
        if departure.noticed():
            return
        raise
    finally:
        departure.stop()
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _respond(
    scope: Scope, receive: Receive, departure: _Departure
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    try:
        principal = await authenticate(scope)
        body = b"" if scope["method"] == "GET" else await _read(scope, receive)
        if _may_wait(scope):
            departure.watch()
        verb = _verb(scope)
        if verb is None:
            raise NotFound("There is nothing at this address.")
        status, reply = await verb(principal, body)
        return status, reply, _JSON
    except _ClientGone:
        raise
    except Exception as error:
        problem = as_problem(error, where=f"{scope['method']} {scope['path']}")
        return _problem_response(problem)


def _problem_response(problem: Problem) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    more = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return int(problem.status), problems.body(problem), [*_PROBLEM, *more]


# -- which endpoint ----------------------------------------------------------------------------------


def _verb(scope: Scope) -> Verb | None:
    """Kept in the scope: the lane, the application and the endpoint ask for it in turn."""
    if _KEPT not in scope:
        scope[_KEPT] = _find_verb(scope)
    found: Verb | None = scope[_KEPT]
    return found


def _find_verb(scope: Scope) -> Verb | None:
    method, path = scope["method"], scope["path"][len(PREFIX) :]
    plain = _PLAIN.get((method, path))
    if plain is not None:
        return plain
    kind, _, rest = path.partition("/")
    text, _, tail = rest.partition("/")
    of_worker = _OF_WORKER.get((method, tail)) if kind == "workers" else None
    of_execution = _OF_EXECUTION.get(tail) if kind == "executions" and method == "GET" else None
    if not (of_worker or of_execution) or (named := _uuid(text)) is None:
        return None
    if of_worker:
        return lambda principal, body: of_worker(principal, named, body)
    if not of_execution:
        return None
    query = Query(scope.get("query_string", b""))  # not the scope, which keeps what is returned here
    return lambda principal, _: of_execution(principal, named, query)


def _may_wait(scope: Scope) -> bool:
    """Whether an answer may be long in coming, so that its client is worth watching: a timer is not free."""
    return scope["method"] == "GET" or bool(scope["path"].endswith("/exchange"))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Query:
    """What an address says after its question mark; read when it is asked for."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __call__(self, name: str) -> str:
        return parse_qs(self._text.decode("latin-1")).get(name, [""])[-1] if self._text else ""

    @property
    def wait(self) -> float:
        return handlers.wait_seconds(self("wait"))


# -- the request's body ------------------------------------------------------------------------------


class _ClientGone(Exception):
    pass


async def _read(scope: Scope, receive: Receive) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    _check_size(_announced(scope))
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        _check_size(len(body))
        return body
    return await _read_parts(message, receive)


async def _read_parts(message: dict[str, Any], receive: Receive) -> bytes:
    parts = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise _ClientGone
        parts += message.get("body", b"")
        _check_size(len(parts))
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _check_size(size: int) -> None:
    if size > MAX_REQUEST_BYTES:
        raise TooLarge(f"The request has {size:,} bytes or more, at most {MAX_REQUEST_BYTES:,} are allowed.")


# -- a client that goes away -------------------------------------------------------------------------


class _Departure:
    """Ends a long poll whose client has gone, so that nothing is claimed for nobody.

    A claim that was committed in that moment is not lost: the worker repeats the exchange and gets it again.
    Watching starts late, because a task per request would cost more than most requests.
    """

    __slots__ = ("_caller", "_gone", "_receive", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._caller = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_AFTER, self._start)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def noticed(self) -> bool:
        """Whether the cancellation of this request is ours; then it is over and done with."""
        if self._gone and self._caller is not None:
            return self._caller.uncancel() == 0
        return False

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._caller is not None:
            self._caller.cancel()
