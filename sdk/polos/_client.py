"""The client: starts executions, asks for them, answers and cancels them; publishes events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload
from urllib.parse import quote

from ._batches import fitting
from ._errors import ExecutionTimeout
from ._events import Event, event_body, read_event
from ._execution import Execution, ExecutionHandle, read_execution
from ._http import Http
from ._ids import new_id, new_ids
from ._invocation import Invocation, InvokeOptions, Pair, execution_bodies, execution_body, read_batch, shape_of
from ._json import decode, encode
from ._places import caller
from ._settings import Settings, load_settings
from ._stream import Update, follow
from ._typing import Shape
from ._workflow import Workflow

logger = logging.getLogger("polos")

R = TypeVar("R")
LONGEST_WAIT = 30.0
SHORT_WAIT = 1.0
WAITING_REQUESTS = 64
PATIENCE = 60.0


class PolosClient:
    """Speaks to one server. Use it as an async context manager, or call `close()`.

    Every call is repeated for up to `patience` seconds while the server cannot be reached or is busy, then
    raises ServerUnavailable. A refusal is raised at once, as the RequestRefused that fits.
    """

    def __init__(
        self, api_url: str | None = None, api_key: str | None = None, *, patience: float = PATIENCE
    ) -> None:
        self.settings: Settings = load_settings(api_url=api_url, api_key=api_key)
        self.http = Http(self.settings)
        self._patience = patience
        self._waiting = 0
        self._wait_turns = asyncio.Semaphore(WAITING_REQUESTS)
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.api_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.http.close()

    @overload
    async def invoke(
        self, workflow: Workflow[R], payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[R]: ...
    @overload
    async def invoke(
        self, workflow: str, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[Any]: ...
    async def invoke(
        self, workflow: Workflow[Any] | str, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[Any]:
        """Starts an execution and returns at once.

        `queue_name` puts it on another queue than the workflow's. A queue that does not exist yet is created
        with `queue_concurrency_limit` (None = unlimited); one that exists keeps its limit, and `notes` of the
        handle say so. A repeated `idempotency_key` returns the execution that is there.

        `priority` is a head start in seconds. It starts after `delay` at the earliest (seconds or a timedelta), or
        not before `run_at` (a datetime with a time zone). From when it may start, it fails when it has not started
        after `queue_timeout` (reason `queue_timeout` in its error), and is stopped and fails when it has not ended
        after `execution_timeout`, with all its attempts and pauses (reason `execution_timeout`). Where these are
        not given, the workflow's own count; None is no timeout.

        With a `dedup_key` there is one execution of the workflow on the queue with this key at a time. While one
        is there and not final, `dedup_policy` says what happens: "skip" starts nothing, "replace" gives the
        payload to the one that is there unless that has started, and either returns its handle (`created` is
        False); "cancel_old" cancels it and starts a new one when it has stopped. With `debounce` (seconds) it
        starts when nobody has asked for so long, with the last payload, but at the latest `debounce_longest` after
        the first; once it has started, the next one is another.
        """
        return await self.start(Invocation(workflow=workflow, payload=payload, **options))

    @overload
    async def run(
        self,
        workflow: Workflow[R],
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> R: ...
    @overload
    async def run(
        self,
        workflow: str,
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> Any: ...
    async def run(
        self,
        workflow: Workflow[Any] | str,
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> Any:
        """Starts an execution and waits for its result: `invoke`, then `result(timeout)`. Options as there."""
        handle = await self.start(Invocation(workflow=workflow, payload=payload, **options))
        return await handle.result(timeout)

    async def batch_invoke(self, invocations: Iterable[Invocation | Pair]) -> list[ExecutionHandle[Any]]:
        """Starts many executions; handles in the same order. Takes `Invocation`s or `(workflow, payload)` pairs.

        Each request of up to 1,000 is kept as a whole or refused as a whole.
        """
        items = list(invocations)
        ids = new_ids(len(items))
        workflows, bodies = execution_bodies(items, ids)
        shapes = {each: shape_of(each) for each in set(workflows)}
        handles: list[ExecutionHandle[Any]] = []
        for part in _parts(bodies):
            own = slice(len(handles), len(handles) + len(part))
            answers = await self._call(
                "POST",
                "/executions/batch",
                f'{{"executions":[{",".join(part)}]}}',
                read=partial(read_batch, ids=ids[own]),
            )
            own_shapes = map(shapes.__getitem__, workflows[own])
            for accepted, of in answers:
                handles += self._handles(accepted, of, own_shapes)
        return handles

    async def start(
        self, item: Invocation, *, id: str | None = None, parent: dict[str, str] | None = None
    ) -> ExecutionHandle[Any]:
        """What `invoke` and `ctx.step.invoke` share. The id makes a repeated request harmless."""
        reply = await self._call("POST", "/executions", execution_body(item, id or new_id(), parent))
        (handle,) = self._handles(reply, [reply["id"]], [shape_of(item.workflow)])
        return handle

    async def get_execution(self, execution_id: str) -> Execution:
        """The state of an execution; NotFound when there is none."""
        return read_execution(await self._call("GET", f"/executions/{quote(execution_id, safe='')}"))

    async def wait(self, execution_id: str, *, timeout: float | None = None) -> Execution:
        """Waits for a final state, ExecutionTimeout after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LONGEST_WAIT if end is None else max(0.0, end - time.monotonic())
            execution = await self._wait_once(execution_id, left)
            if execution.is_final:
                return execution
            if end is not None and time.monotonic() >= end:
                raise ExecutionTimeout(
                    f"Execution {execution_id} of {execution.workflow_id} was not finished after {timeout:g} s; "
                    f"it is {execution.status}",
                    execution,
                )

    def stream(self, execution_id: str) -> AsyncIterator[Update]:
        """What happens to an execution, from its beginning to its end: `async for update in client.stream(id)`.

        An `Execution` whenever its status, its attempt or its place in line is another one, the final one last; a
        `Progress` whenever the workflow says how far it is; a `LogLine` for each line of its log. Lines come all
        and once, also over a lost connection; of states and of progress that follow each other within a tenth of
        a second the last one comes. ServerUnavailable when nothing was heard of the server for `patience`.
        """
        return follow(self, execution_id)

    async def cancel_execution(self, execution_id: str) -> Execution:
        """Asks to stop an execution; Conflict when it is final already."""
        path = f"/executions/{quote(execution_id, safe='')}/cancellation"
        return read_execution(await self._call("POST", path, "{}"))

    async def resume(self, execution_id: str, key: str, data: Any = None) -> Execution:
        """Answers an execution that is suspended in the step `key` (`ctx.step.suspend`): it goes on with `data`.

        Repeated with the same data it has no second effect. NotFound when there is no such execution, Conflict
        when nobody waits for this answer: not yet, not any more, or somebody gave another one.
        """
        path = f"/executions/{quote(execution_id, safe='')}/resume"
        body = encode({"key": key, "data": data}, f"The answer to {key}")
        return read_execution(await self._call("POST", path, body))

    async def publish_event(self, topic: str, payload: Any = None, *, id: str | None = None) -> Event[Any]:
        """Publishes an event: every execution that waits for the topic goes on.

        A repeated `id` (a UUID) publishes it once; Conflict when it is there with other content. BadName for a
        topic that cannot be one, NotSerializable for a payload that JSON cannot hold.
        """
        body = event_body(topic, payload, id, place=caller())
        return read_event(await self._call("POST", "/events", body), payload)

    async def _wait_once(self, execution_id: str, left: float) -> Execution:
        return read_execution(await self.long_poll(f"/executions/{quote(execution_id, safe='')}", left))

    async def long_poll(self, path: str, left: float = LONGEST_WAIT) -> Any:
        """An answer that the server may keep back for up to `left` seconds."""
        self._waiting += 1
        try:
            # More waiters than requests: short turns, so that each gets to see its own.
            longest = LONGEST_WAIT if self._waiting <= WAITING_REQUESTS else SHORT_WAIT
            async with self._wait_turns:
                wait = min(left, longest)
                path = f"{path}{'&' if '?' in path else '?'}wait={wait:.3f}"
                return await self._call("GET", path, timeout=wait + 15)
        finally:
            self._waiting -= 1

    async def _call(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        timeout: float = 30.0,
        read: Callable[[bytes], Any] = decode,
    ) -> Any:
        return await self.http.call(
            method, path, body, lane="client", timeout=timeout, patience=self._patience, read=read
        )

    def _handles(
        self, accepted: dict[str, Any], ids: Iterable[str], shapes: Iterable[Shape]
    ) -> list[ExecutionHandle[Any]]:
        """Handles to the executions of which the server says this."""
        notes: list[str] = accepted.get("notes") or []
        for note in notes:
            self._tell(note)
        workflow_id, queue, created = accepted["workflow_id"], accepted["queue"], accepted["created"]
        return [
            ExecutionHandle(
                id=id,
                workflow_id=workflow_id,
                queue=queue,
                created=created,
                notes=[*notes],
                client=self,
                shape=shape,
            )
            for id, shape in zip(ids, shapes, strict=False)  # the ids first: they say how many
        ]

    def _tell(self, note: str) -> None:
        """A note is worth one line in the log, not one for each of a thousand executions."""
        if note not in self._told and len(self._told) < 1_000:
            self._told.add(note)
            logger.warning("%s", note)


def _parts(bodies: Sequence[str]) -> Iterable[Sequence[str]]:
    start = 0
    while start < len(bodies):
        end = start + fitting(bodies, start)
        yield bodies[start:end]
        start = end
