"""`SyncClient`: the client for code without `await`: scripts, notebooks, a Django view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar, Unpack, overload

from ._client import MOST_LISTED, Children
from ._events import Event
from ._execution import Execution, ExecutionHandle
from ._invocation import Invocation, InvokeOptions, Pair, invocation
from ._listing import Filters
from ._queue import NOT_GIVEN
from ._schedules import Schedule
from ._stream import Update
from ._sync_calls import SyncScheduleCalls
from ._sync_queues import SyncQueueCalls
from ._workflow import Workflow

R = TypeVar("R")


class SyncClient(SyncScheduleCalls, SyncQueueCalls):
    """`PolosClient` without `await`: `with SyncClient() as client: print(client.run("add", {"a": 1}))`.

    Its requests are made in a thread of its own, so that it works where an event loop runs already, as in a
    notebook. It may be used from many threads. What each method does, gives and raises is told at `PolosClient`.
    """

    @overload
    def invoke(
        self, workflow: Workflow[R], payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def invoke(self, workflow: str, payload: Any = None, **options: Unpack[InvokeOptions]) -> SyncHandle[Any]: ...
    def invoke(
        self, workflow: Workflow[Any] | str, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> SyncHandle[Any]:
        """Starts an execution and returns at once. Options as for `PolosClient.invoke`."""
        return self._start(invocation("SyncClient.invoke", workflow, payload, options))

    @overload
    def run(
        self,
        workflow: Workflow[R],
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> R: ...
    @overload
    def run(
        self,
        workflow: str,
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> Any: ...
    def run(
        self,
        workflow: Workflow[Any] | str,
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> Any:
        """Starts an execution and waits for its result."""
        return self._start(invocation("SyncClient.run", workflow, payload, options)).result(timeout)

    def _start(self, item: Invocation) -> SyncHandle[Any]:
        return SyncHandle(self, self._wait(self._client.start(item)))

    def batch_invoke(self, invocations: Iterable[Invocation | Pair]) -> list[SyncHandle[Any]]:
        """Starts many executions; handles in the same order."""
        return [SyncHandle(self, each) for each in self._wait(self._client.batch_invoke(invocations))]

    def get_execution(self, execution_id: str) -> Execution:
        """The state of an execution; NotFound when there is none."""
        return self._wait(self._client.get_execution(execution_id))

    def wait(self, execution_id: str, *, timeout: float | None = None) -> Execution:
        """Waits for a final state, ExecutionTimeout after `timeout` seconds."""
        return self._wait(self._client.wait(execution_id, timeout=timeout))

    @overload
    def get_handle(self, execution_id: str, workflow: Workflow[R]) -> SyncHandle[R]: ...
    @overload
    def get_handle(self, execution_id: str, workflow: Workflow[Any] | str | None = None) -> SyncHandle[Any]: ...
    def get_handle(self, execution_id: str, workflow: Workflow[Any] | str | None = None) -> SyncHandle[Any]:
        """A handle to an execution that somebody started; NotFound when there is none."""
        return SyncHandle(self, self._wait(self._client.get_handle(execution_id, workflow)))

    def list_executions(
        self, search: str = "", *, limit: int = MOST_LISTED, **filters: Unpack[Filters]
    ) -> list[Execution]:
        """Executions, the newest first, that a search line finds: see `PolosClient.list_executions`."""
        return self._wait(self._client.list_executions(search, limit=limit, **filters))

    def iter_executions(
        self, search: str = "", *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> Iterator[Execution]:
        """As `list_executions`, one after the other, all of them by default."""
        return self._each(self._client.iter_executions(search, limit=limit, **filters))

    def stream(self, execution_id: str) -> Iterator[Update]:
        """What happens to an execution, as it happens."""
        return self._each(self._client.stream(execution_id))

    def cancel_execution(self, execution_id: str, *, children: Children = "leave") -> Execution:
        """Asks to stop an execution, and with `children="cancel"` what it has started; Conflict when it has
        completed or failed."""
        return self._wait(self._client.cancel_execution(execution_id, children=children))

    def retry_execution(self, execution_id: str) -> Execution:
        """Queues a failed or cancelled execution again; its finished steps are kept."""
        return self._wait(self._client.retry_execution(execution_id))

    def change_priority(self, execution_id: str, priority: int, *, reason: str = "") -> Execution:
        """Another head start in line, in seconds, for what is queued or scheduled."""
        return self._wait(self._client.change_priority(execution_id, priority, reason=reason))

    def rerun_execution(self, execution_id: str, *, payload: Any = NOT_GIVEN) -> SyncHandle[Any]:
        """Runs an execution again as a new one, from its beginning."""
        return SyncHandle(self, self._wait(self._client.rerun_execution(execution_id, payload=payload)))

    def resume(self, execution_id: str, key: str, data: Any = None) -> Execution:
        """Answers an execution that is suspended in the step `key`."""
        return self._wait(self._client.resume(execution_id, key, data))

    def publish_event(self, topic: str, payload: Any = None, *, id: str | None = None) -> Event[Any]:
        """Publishes an event: every execution that waits for the topic goes on."""
        return self._wait(self._client.publish_event(topic, payload, id=id))

    def list_events(self, topic: str | None = None, *, limit: int = MOST_LISTED) -> list[Event[Any]]:
        """Events, the newest first, of one topic or of all."""
        return self._wait(self._client.list_events(topic, limit=limit))

    def run_schedule(self, schedule: Schedule | str) -> SyncHandle[Any]:
        """Starts one execution of a schedule now."""
        return SyncHandle(self, self._wait(self._client.run_schedule(schedule)))


class SyncHandle(Generic[R]):
    """An accepted execution: `ExecutionHandle` without `await`."""

    __slots__ = ("_client", "_handle")

    def __init__(self, client: SyncClient, handle: ExecutionHandle[R]) -> None:
        self._client = client
        self._handle = handle

    def __repr__(self) -> str:
        return f"<SyncHandle {self.id} of {self.workflow_id} on {self.queue}>"

    @property
    def id(self) -> str:
        return self._handle.id

    @property
    def workflow_id(self) -> str:
        return self._handle.workflow_id

    @property
    def queue(self) -> str:
        return self._handle.queue

    @property
    def created(self) -> bool:
        return self._handle.created

    @property
    def notes(self) -> list[str]:
        return self._handle.notes

    def get(self) -> Execution:
        """Its state now."""
        return self._client.get_execution(self.id)

    def result(self, timeout: float | None = None) -> R:
        """Waits for the end: ExecutionFailed, ExecutionCancelled, or ExecutionTimeout after `timeout` seconds."""
        return self._client._wait(self._handle.result(timeout))

    def stream(self) -> Iterator[Update]:
        """What happens to it from its beginning to its end."""
        return self._client.stream(self.id)

    def cancel(self, *, children: Children = "leave") -> Execution:
        """Asks to stop it, and with `children="cancel"` what it has started."""
        return self._client.cancel_execution(self.id, children=children)

    def retry(self) -> Execution:
        """Queues it again after it has failed or was cancelled."""
        return self._client.retry_execution(self.id)

    def rerun(self, *, payload: Any = NOT_GIVEN) -> SyncHandle[R]:
        """Runs it again as a new one, from its beginning."""
        return SyncHandle(self._client, self._client._wait(self._handle.rerun(payload=payload)))

    def resume(self, key: str, data: Any = None) -> Execution:
        """Answers it, when it is suspended in the step `key`."""
        return self._client.resume(self.id, key, data)
