"""An execution as a client sees it: its state, and a handle to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._errors import ExecutionCancelled, ExecutionFailed
from ._queue import NOT_GIVEN

if TYPE_CHECKING:
    from ._client import Children, PolosClient
    from ._stream import Update
    from ._typing import Shape

R = TypeVar("R")
FINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why an execution failed, as its worker told it, or the server when no worker could."""

    type: str
    message: str
    traceback: str = ""
    reason: str = ""  # queue_timeout, execution_timeout, attempt_timeout, worker_lost; else empty

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a waiting execution waits for, as it was when the server answered."""

    key: str  # of the step
    kind: str  # time, executions, event, resume (for an answer)
    since: dt.datetime | None
    until: dt.datetime | None  # when it is over, or its time is
    topic: str | None  # of the event
    note: Any  # what is shown to whom is asked
    executions: int  # how many it waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a workflow, as it was when the server answered."""

    id: str
    workflow_id: str
    queue: str
    status: str
    payload: Any
    result: Any
    error: ErrorInfo | None
    attempt: int
    max_attempts: int
    priority: int
    enqueued_at: dt.datetime | None
    due_at: dt.datetime | None
    claimed_at: dt.datetime | None
    finished_at: dt.datetime | None
    worker_id: str | None
    slot: int | None
    parent_id: str | None
    root_id: str | None
    position: int | None  # place in line, 1 = next; None when it is not queued or not known cheaply
    served: bool | None = None  # queued: whether a living worker serves its workflow; None elsewhere and in lists
    waits: tuple[Wait, ...] = ()  # while its status is waiting

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def __getitem__(self, name: str) -> Any:
        """`execution["status"]` is `execution.status`: elsewhere, executions are dicts."""
        if name not in self.__slots__:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """`default` also where there is nothing yet: `execution.get("result", {})`."""
        found = self[name] if name in self.__slots__ else None
        return default if found is None else found


class ExecutionHandle(Generic[R]):
    """An accepted execution: ask how it is, wait for its result, follow it, cancel it, have it done again."""

    __slots__ = ("_client", "_notes", "_shape", "created", "id", "queue", "workflow_id")

    def __init__(
        self,
        id: str,
        workflow_id: str,
        queue: str,
        created: bool,
        notes: Sequence[str],
        client: PolosClient,
        shape: Shape,
    ) -> None:
        self.id = id
        self.workflow_id = workflow_id
        self.queue = queue
        self.created = created  # False: it was there already
        self._notes = notes
        self._client = client
        self._shape = shape

    def __repr__(self) -> str:
        return f"<ExecutionHandle {self.id} of {self.workflow_id} on {self.queue}>"

    @property
    def notes(self) -> list[str]:
        """What the server wants to be known, e.g. that the queue keeps its own limit."""
        if not isinstance(self._notes, list):  # a list of its own when somebody asks: 0.15 µs less for a handle
            self._notes = list(self._notes)
        return self._notes

    @property
    def root_workflow_id(self) -> str | None:
        """The workflow of the execution that began it all, as `root_execution_id` is its id."""
        return self.workflow_id

    @property
    def root_execution_id(self) -> str:
        return self.id

    async def get(self, client: PolosClient | None = None) -> Execution:
        """Its state now. (Elsewhere a client has to be given.)"""
        return await self._client.get_execution(self.id)

    async def result(self, timeout: float | None = None) -> R:
        """Waits for the end: ExecutionFailed, ExecutionCancelled, or ExecutionTimeout after `timeout` seconds."""
        execution = await self._client.wait(self.id, timeout=timeout)
        result: R = result_of(execution, self._shape)
        return result

    def stream(self) -> AsyncIterator[Update]:
        """What happens to it from its beginning to its end: see `PolosClient.stream`."""
        return self._client.stream(self.id)

    async def cancel(self, client: PolosClient | None = None, *, children: Children = "leave") -> Execution:
        """Asks to stop it, with `children="cancel"` also what it has started: `PolosClient.cancel_execution`."""
        return await self._client.cancel_execution(self.id, children=children)

    async def retry(self) -> Execution:
        """Queues it again after it has failed or was cancelled: see `PolosClient.retry_execution`."""
        return await self._client.retry_execution(self.id)

    async def rerun(self, *, payload: Any = NOT_GIVEN) -> ExecutionHandle[R]:
        """Runs it again as a new one: see `PolosClient.rerun_execution`."""
        new = await self._client.rerun_execution(self.id, payload=payload)
        new._shape = self._shape
        return new

    async def resume(self, key: str, data: Any = None) -> Execution:
        """Answers it, when it is suspended in the step `key`: see `PolosClient.resume`."""
        return await self._client.resume(self.id, key, data)


def result_of(execution: Execution, shape: Shape) -> Any:
    """The result of a final execution, typed; or the error that says why there is none."""
    if execution.status == "completed":
        return shape.load(execution.result, f"The result of {execution.workflow_id}")
    about = f"Execution {execution.id} of {execution.workflow_id}"
    if execution.status == "cancelled":
        raise ExecutionCancelled(f"{about} was cancelled", execution)
    error = execution.error or ErrorInfo("Error", "no reason was given")
    raise ExecutionFailed(f"{about} failed: {error.type}: {error.message}", execution)


def read_execution(data: Mapping[str, Any]) -> Execution:
    """The server's JSON; fields that this version does not know are left out."""
    return Execution(
        id=data["id"],
        workflow_id=data["workflow_id"],
        queue=data["queue"],
        status=data["status"],
        payload=data.get("payload"),
        result=data.get("result"),
        error=_error(data.get("error")),
        attempt=data.get("attempt", 0),
        max_attempts=data.get("max_attempts", 1),
        priority=data.get("priority", 0),
        enqueued_at=read_time(data.get("enqueued_at")),
        due_at=read_time(data.get("due_at")),
        claimed_at=read_time(data.get("claimed_at")),
        finished_at=read_time(data.get("finished_at")),
        worker_id=data.get("worker_id"),
        slot=data.get("slot"),
        parent_id=data.get("parent_id"),
        root_id=data.get("root_id"),
        position=data.get("position"),
        served=data.get("served"),
        waits=tuple(map(_wait, data.get("waits") or ())),
    )


def _wait(data: Mapping[str, Any]) -> Wait:
    return Wait(
        key=data["key"],
        kind=data["kind"],
        since=read_time(data.get("since")),
        until=read_time(data.get("until")),
        topic=data.get("topic"),
        note=data.get("note"),
        executions=(data.get("executions") or {}).get("count", 0),
    )


def _error(data: Mapping[str, Any] | None) -> ErrorInfo | None:
    if not data:
        return None
    return ErrorInfo(
        data.get("type", "Error"), data.get("message", ""), data.get("traceback", ""), data.get("reason", "")
    )


def read_time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
