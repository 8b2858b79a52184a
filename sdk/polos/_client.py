"""The client: starts executions, asks for them, cancels them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from urllib.parse import quote

from ._errors import DefinitionError, ExecutionTimeout
from ._execution import Execution, ExecutionHandle, read_execution
from ._http import Http
from ._ids import new_id
from ._json import encode
from ._names import check_limit, check_name
from ._queue import NOT_GIVEN, MaybeLimit
from ._settings import Settings, load_settings
from ._typing import UNTYPED, Shape
from ._workflow import Workflow

logger = logging.getLogger("polos")

R = TypeVar("R")
MAX_BATCH = 1_000
MAX_BATCH_CHARACTERS = 3_900_000  # of 16 MiB: a character has up to four bytes
LONGEST_WAIT = 30.0
SHORT_WAIT = 1.0
WAITING_REQUESTS = 64
PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One execution to start with `batch_invoke`. Options as for `invoke`."""

    workflow: Workflow[Any] | str
    payload: Any = None
    queue_name: str | None = None
    queue_concurrency_limit: MaybeLimit = NOT_GIVEN
    idempotency_key: str | None = None
    priority: int = 0
    delay: float | None = None


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
        self,
        workflow: Workflow[R],
        payload: Any = None,
        *,
        queue_name: str | None = None,
        queue_concurrency_limit: MaybeLimit = NOT_GIVEN,
        idempotency_key: str | None = None,
        priority: int = 0,
        delay: float | None = None,
    ) -> ExecutionHandle[R]: ...
    @overload
    async def invoke(
        self,
        workflow: str,
        payload: Any = None,
        *,
        queue_name: str | None = None,
        queue_concurrency_limit: MaybeLimit = NOT_GIVEN,
        idempotency_key: str | None = None,
        priority: int = 0,
        delay: float | None = None,
    ) -> ExecutionHandle[Any]: ...
    async def invoke(
        self,
        workflow: Workflow[Any] | str,
        payload: Any = None,
        *,
        queue_name: str | None = None,
        queue_concurrency_limit: MaybeLimit = NOT_GIVEN,
        idempotency_key: str | None = None,
        priority: int = 0,
        delay: float | None = None,
    ) -> ExecutionHandle[Any]:
        """Starts an execution and returns at once.

        `queue_name` puts it on another queue than the workflow's. A queue that does not exist yet is created
        with `queue_concurrency_limit` (None = unlimited); one that exists keeps its limit, and `notes` of the
        handle say so. A repeated `idempotency_key` returns the execution that is there. `priority` is a head
        start in seconds, `delay` seconds to wait at least.
        """
        return await self.start(
            Invocation(
                workflow=workflow,
                payload=payload,
                queue_name=queue_name,
                queue_concurrency_limit=queue_concurrency_limit,
                idempotency_key=idempotency_key,
                priority=priority,
                delay=delay,
            )
        )

    @overload
    async def run(
        self, workflow: Workflow[R], payload: Any = None, *, timeout: float | None = None, **options: Any
    ) -> R: ...
    @overload
    async def run(
        self, workflow: str, payload: Any = None, *, timeout: float | None = None, **options: Any
    ) -> Any: ...
    async def run(
        self, workflow: Workflow[Any] | str, payload: Any = None, *, timeout: float | None = None, **options: Any
    ) -> Any:
        """Starts an execution and waits for its result: `invoke`, then `result(timeout)`. Options as there."""
        handle = await self.start(Invocation(workflow=workflow, payload=payload, **options))
        return await handle.result(timeout)

    async def batch_invoke(
        self, invocations: Iterable[Invocation | tuple[Workflow[Any] | str, Any]]
    ) -> list[ExecutionHandle[Any]]:
        """Starts many executions; handles in the same order. Takes `Invocation`s or `(workflow, payload)` pairs.

        Each request of up to 1,000 is kept as a whole or refused as a whole.
        """
        items = [_invocation(each) for each in invocations]
        bodies = [execution_body(item, new_id()) for item in items]
        handles: list[ExecutionHandle[Any]] = []
        for part in _parts(bodies):
            reply = await self._call("POST", "/executions/batch", f'{{"executions":[{",".join(part)}]}}')
            begun = items[len(handles) : len(handles) + len(part)]
            handles += map(self._handle, reply["executions"], begun)
        return handles

    async def start(
        self, item: Invocation, *, id: str | None = None, parent: dict[str, str] | None = None
    ) -> ExecutionHandle[Any]:
        """What `invoke` and `ctx.step.invoke` share. The id makes a repeated request harmless."""
        reply = await self._call("POST", "/executions", execution_body(item, id or new_id(), parent))
        return self._handle(reply, item)

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

    async def cancel_execution(self, execution_id: str) -> Execution:
        """Asks to stop an execution; Conflict when it is final already."""
        path = f"/executions/{quote(execution_id, safe='')}/cancellation"
        return read_execution(await self._call("POST", path, "{}"))

    async def _wait_once(self, execution_id: str, left: float) -> Execution:
        self._waiting += 1
        try:
            # More waiters than requests: short turns, so that each gets to see its own.
            longest = LONGEST_WAIT if self._waiting <= WAITING_REQUESTS else SHORT_WAIT
            async with self._wait_turns:
                wait = min(left, longest)
                path = f"/executions/{quote(execution_id, safe='')}?wait={wait:.3f}"
                return read_execution(await self._call("GET", path, timeout=wait + 15))
        finally:
            self._waiting -= 1

    async def _call(self, method: str, path: str, body: str | None = None, *, timeout: float = 30.0) -> Any:
        return await self.http.call(method, path, body, lane="client", timeout=timeout, patience=self._patience)

    def _handle(self, accepted: dict[str, Any], item: Invocation) -> ExecutionHandle[Any]:
        notes: list[str] = accepted.get("notes") or []
        for note in notes:
            self._tell(note)
        return ExecutionHandle(
            id=accepted["id"],
            workflow_id=accepted["workflow_id"],
            queue=accepted["queue"],
            created=accepted["created"],
            notes=notes,
            client=self,
            shape=_shape(item.workflow),
        )

    def _tell(self, note: str) -> None:
        """A note is worth one line in the log, not one for each of a thousand executions."""
        if note not in self._told and len(self._told) < 1_000:
            self._told.add(note)
            logger.warning("%s", note)


def execution_body(item: Invocation, id: str, parent: dict[str, str] | None = None) -> str:
    """One `NewExecution` as JSON. What nobody said is left out: the server has the defaults."""
    body: dict[str, Any] = {"id": id, "workflow_id": _workflow_id(item.workflow), "payload": item.payload}
    body |= _queue_fields(item)
    if isinstance(item.workflow, Workflow) and item.workflow.retries:
        body["max_attempts"] = item.workflow.retries + 1
    if item.idempotency_key is not None:
        body["idempotency_key"] = item.idempotency_key
    if item.priority:
        body["priority"] = item.priority
    if item.delay is not None:
        body["delay"] = item.delay
    if parent is not None:
        body["parent"] = parent
    return encode(body, f"The payload of {body['workflow_id']}")


def _queue_fields(item: Invocation) -> dict[str, Any]:
    """Name and limit for a queue that does not exist yet. The workflow's limit is never lent to another queue."""
    declared = item.workflow.queue if isinstance(item.workflow, Workflow) else None
    name, limit = item.queue_name, item.queue_concurrency_limit
    if name is None and declared is not None:
        name = declared.name
    if limit is NOT_GIVEN and declared is not None and name == declared.name:
        limit = declared.limit
    fields: dict[str, Any] = {}
    if name is not None:
        fields["queue_name"] = name if declared and name == declared.name else _checked_name(name)
    if limit is not NOT_GIVEN:
        fields["queue_concurrency_limit"] = check_limit(limit, what=f"queue {name}", place="invoke")
    return fields


def _checked_name(name: str) -> str:
    return check_name(name, what="queue", place="invoke")


def _workflow_id(workflow: Workflow[Any] | str) -> str:
    if isinstance(workflow, Workflow):
        return workflow.id
    if isinstance(workflow, str):
        return check_name(workflow, what="workflow", place="invoke")
    raise DefinitionError(f"{workflow!r} is not a workflow: pass what @workflow made, or its id")


def _shape(workflow: Workflow[Any] | str) -> Shape:
    return workflow.result_shape if isinstance(workflow, Workflow) else UNTYPED


def _invocation(item: Invocation | tuple[Workflow[Any] | str, Any]) -> Invocation:
    if isinstance(item, Invocation):
        return item
    workflow, payload = item
    return Invocation(workflow=workflow, payload=payload)


def _parts(bodies: Sequence[str]) -> Iterable[list[str]]:
    """Requests that the server takes: at most 1,000 items and 16 MiB each."""
    part: list[str] = []
    size = 0
    for body in bodies:
        if part and (len(part) == MAX_BATCH or size + len(body) > MAX_BATCH_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(body)
        size += len(body)
    if part:
        yield part
