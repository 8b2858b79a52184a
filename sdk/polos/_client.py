"""The client: starts executions, asks for them, answers and cancels them; publishes events."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, Unpack, overload

from ._batches import MAX_PAYLOAD_BYTES, MAX_RESULT_BYTES, check_request, fitting
from ._caller import LONGEST_WAIT, PATIENCE, path_of
from ._errors import Conflict, DefinitionError, ExecutionTimeout
from ._events import Event, event_body, read_event
from ._execution import Execution, ExecutionHandle, read_execution
from ._ids import new_id, new_ids
from ._invocation import (
    Invocation,
    InvokeOptions,
    Pair,
    execution_bodies,
    execution_body,
    id_of,
    invocation,
    read_batch,
    shape_of,
    there_already,
)
from ._json import encode
from ._listing import Filters, pages, search_query
from ._queue import NOT_GIVEN
from ._queues import QueueCalls
from ._schedules import Schedule, ScheduleCalls
from ._stream import Update, follow
from ._typing import UNTYPED, Shape
from ._workflow import Workflow

logger = logging.getLogger("polos")

R = TypeVar("R")
MOST_LISTED = 50
Children = Literal["cancel", "leave"]


class PolosClient(ScheduleCalls, QueueCalls):
    """Speaks to one server. Use it as an async context manager, or call `close()`.

    Every call is repeated for up to `patience` seconds while the server cannot be reached or is busy, then
    raises ServerUnavailable. A refusal is raised at once, as the RequestRefused that fits.
    """

    def __init__(
        self,
        api_url: str | None = None,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE,
        project_id: str | None = None,
        deployment_id: str | None = None,
    ) -> None:
        """`project_id` and `deployment_id`, of `polos-sdk`, are not used: one installation is one project."""
        super().__init__(api_url, api_key, patience=patience)
        self._told: set[str] = set()

    @overload
    async def invoke(
        self, workflow: Workflow[R], payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[R]: ...
    @overload
    async def invoke(
        self, workflow: str, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[Any]: ...
    @overload
    async def invoke(
        self, *, workflow_id: str, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[Any]: ...
    async def invoke(
        self,
        workflow: Workflow[Any] | str = "",
        payload: Any = None,
        *,
        workflow_id: str = "",
        **options: Unpack[InvokeOptions],
    ) -> ExecutionHandle[Any]:
        """Starts an execution and returns at once.

        `queue_name` puts it on another queue than the workflow's. A queue that does not exist yet is created
        with `queue_concurrency_limit` (None = unlimited); one that exists keeps its limit, and `notes` of the
        handle say so. With an `idempotency_key` that was used before nothing is started: the handle is that of
        the execution which it started then, however that ended; `created` is False, and `notes` say so.

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
        return await self.start(invocation("PolosClient.invoke", workflow or workflow_id, payload, options))

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
        handle = await self.start(invocation("PolosClient.run", workflow, payload, options))
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
            if not all(accepted["created"] for accepted, _ in answers):
                _note_keys(items[own], ids[own], handles[own])
        return handles

    async def start(
        self, item: Invocation, *, id: str | None = None, parent: dict[str, str] | None = None
    ) -> ExecutionHandle[Any]:
        """What `invoke` and `ctx.step.invoke` share. The id makes a repeated request harmless."""
        id = id or new_id()
        reply = await self._call("POST", "/executions", execution_body(item, id, parent))
        (handle,) = self._handles(reply, [reply["id"]], [shape_of(item.workflow)])
        if handle.id != id:
            handle.notes.extend(there_already(item))
        return handle

    # -- executions that are there already ----------------------------------------------------------

    async def get_execution(self, execution_id: str) -> Execution:
        """The state of an execution; NotFound when there is none."""
        return read_execution(await self._call("GET", path_of(execution_id)))

    @overload
    async def get_handle(self, execution_id: str, workflow: Workflow[R]) -> ExecutionHandle[R]: ...
    @overload
    async def get_handle(
        self, execution_id: str, workflow: Workflow[Any] | str | None = None
    ) -> ExecutionHandle[Any]: ...
    async def get_handle(
        self, execution_id: str, workflow: Workflow[Any] | str | None = None
    ) -> ExecutionHandle[Any]:
        """A handle to an execution that somebody started; NotFound when there is none.

        With its `workflow` the result is typed as that one's; DefinitionError when it is of another one.
        """
        found = await self.get_execution(execution_id)
        if workflow is not None and id_of(workflow) != found.workflow_id:
            raise DefinitionError(f"Execution {found.id} is of {found.workflow_id}, not of {id_of(workflow)}")
        return self._handle_of(found, UNTYPED if workflow is None else shape_of(workflow))

    async def list_executions(
        self, search: str = "", *, limit: int = MOST_LISTED, **filters: Unpack[Filters]
    ) -> list[Execution]:
        """Executions, the newest first: at most `limit` of them. `search` is a line as on the page *Executions*.

            await client.list_executions('status:failed error:"timed out"', queue="billing/*", since="2h")

        The filters are terms of that line under names of their own. All must hold. Invalid for a line that cannot
        be read; the sentence says why.
        """
        return [each async for each in self._executions(search, limit, filters)]

    def iter_executions(
        self, search: str = "", *, limit: int | None = None, **filters: Unpack[Filters]
    ) -> AsyncIterator[Execution]:
        """As `list_executions`, one after the other, all of them by default: `async for each in …`."""
        return self._executions(search, limit, filters)

    async def _executions(self, search: str, limit: int | None, filters: Filters) -> AsyncIterator[Execution]:
        async for page in pages(self, "executions", search_query(search, filters), most=limit):
            for each in page:
                yield read_execution(each)

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

    async def cancel_execution(self, execution_id: str, *, children: Children = "leave") -> Execution:
        """Asks to stop an execution; Conflict when it has completed or failed.

        What it has started goes on, or with `children="cancel"` is cancelled with it, as far as the API key
        reaches. One that runs holds its slot until its worker has stopped it.
        """
        body = encode({"children": children}, "The cancellation")
        return read_execution(await self._call("POST", path_of(execution_id, "/cancellation"), body))

    async def retry_execution(self, execution_id: str) -> Execution:
        """Queues a failed or cancelled execution again, in a new place and with one more attempt.

        Its finished steps are not done again. Conflict when it is neither failed nor cancelled, or when another
        one has its deduplication key by now.
        """
        before = await self.get_execution(execution_id)
        seen = {"expected_status": before.status, "expected_attempt": before.attempt} if _ended(before) else {}
        body = encode(seen, "The retry")
        try:
            return read_execution(await self._call("POST", path_of(execution_id, "/retry"), body))
        except Conflict:
            # The first answer may have been lost after the retry was done; the repeat finds it changed then.
            now = await self.get_execution(execution_id)
            if seen and (not _ended(now) or now.attempt > before.attempt):
                return now
            raise

    async def change_priority(self, execution_id: str, priority: int, *, reason: str = "") -> Execution:
        """Another head start in line, in seconds: what is queued or scheduled moves accordingly.

        Conflict when it has been started already; Invalid for one beyond 1,000,000 to either side.
        """
        body = encode({"priority": priority, "reason": reason}, "The change")
        return read_execution(await self._call("PUT", path_of(execution_id, "/priority"), body))

    async def rerun_execution(self, execution_id: str, *, payload: Any = NOT_GIVEN) -> ExecutionHandle[Any]:
        """Runs an execution again as a new one, from its beginning: same workflow, same queue, same payload or
        another. The old one stays as it is.

        The new one has no idempotency key and no deduplication key: those of the old one do not hold it back.
        QueueDraining or Conflict when its queue takes nothing new.
        """
        body = {"id": new_id()} | ({} if payload is NOT_GIVEN else {"payload": payload})
        what = f"The payload for {execution_id}"
        text = check_request(encode(body, what), what, MAX_PAYLOAD_BYTES)
        new = read_execution(await self._call("POST", path_of(execution_id, "/rerun"), text))
        return self._handle_of(new, UNTYPED, created=True)

    async def resume(
        self,
        execution_id: str = "",
        key: str = "",
        data: Any = None,
        *,
        suspend_execution_id: str = "",
        suspend_step_key: str = "",
        suspend_workflow_id: str | None = None,
    ) -> Execution:
        """Answers an execution that is suspended in the step `key` (`ctx.step.suspend`): it goes on with `data`.

        Both have the names `suspend_execution_id` and `suspend_step_key`, too; the workflow need not be said.
        Repeated with the same data it has no second effect. NotFound when there is no such execution, Conflict
        when nobody waits for this answer: not yet, not any more, or somebody gave another one.
        """
        path, key = path_of(execution_id or suspend_execution_id, "/resume"), key or suspend_step_key
        what = f"The answer to {key}"
        body = check_request(encode({"key": key, "data": data}, what), what, MAX_RESULT_BYTES)
        return read_execution(await self._call("POST", path, body))

    async def publish_event(self, topic: str, payload: Any = None, *, id: str | None = None) -> Event[Any]:
        """Publishes an event: every execution that waits for the topic goes on.

        A repeated `id` (a UUID) publishes it once; Conflict when it is there with other content. BadName for a
        topic that cannot be one, NotSerializable for a payload that JSON cannot hold.
        """
        body = event_body(topic, payload, id, place="publish_event")
        return read_event(await self._call("POST", "/events", body), payload)

    async def list_events(self, topic: str | None = None, *, limit: int = MOST_LISTED) -> list[Event[Any]]:
        """Events, the newest first: at most `limit` of them, of one topic or of all."""
        query = {} if topic is None else {"topic": topic}
        found = pages(self, "events", query, most=limit)
        return [read_event(each, each["payload"]) async for page in found for each in page]

    async def run_schedule(self, schedule: Schedule | str) -> ExecutionHandle[Any]:
        """Starts one execution of a schedule now, whatever its pause and policies say."""
        path = f"{await self._path(schedule)}/runs"
        body = encode({"id": new_id()}, "The run")
        return self._handle_of(read_execution(await self._call("POST", path, body)), UNTYPED, created=True)

    async def _wait_once(self, execution_id: str, left: float) -> Execution:
        return read_execution(await self.long_poll(path_of(execution_id), left))

    def _handles(
        self, accepted: dict[str, Any], ids: Iterable[str], shapes: Iterable[Shape]
    ) -> list[ExecutionHandle[Any]]:
        """Handles to the executions of which the server says this."""
        notes = tuple(accepted.get("notes") or ())
        for note in notes:
            self._tell(note)
        workflow_id, queue, created = accepted["workflow_id"], accepted["queue"], accepted["created"]
        return [
            ExecutionHandle(id, workflow_id, queue, created, notes, self, shape)
            for id, shape in zip(ids, shapes, strict=False)  # the ids first: they say how many
        ]

    def _handle_of(self, known: Execution, shape: Shape, *, created: bool = False) -> ExecutionHandle[Any]:
        return ExecutionHandle(
            id=known.id,
            workflow_id=known.workflow_id,
            queue=known.queue,
            created=created,
            notes=(),
            client=self,
            shape=shape,
        )

    def _tell(self, note: str) -> None:
        """A note is worth one line in the log, not one for each of a thousand executions."""
        if note not in self._told and len(self._told) < 1_000:
            self._told.add(note)
            logger.warning("%s", note)


def _ended(execution: Execution) -> bool:
    return execution.status in ("failed", "cancelled")


def _note_keys(
    items: Sequence[Invocation | Pair], ids: Sequence[str], handles: Sequence[ExecutionHandle[Any]]
) -> None:
    for item, id, handle in zip(items, ids, handles, strict=True):
        if handle.id != id and isinstance(item, Invocation):
            handle.notes.extend(there_already(item))


def _parts(bodies: Sequence[str]) -> Iterable[Sequence[str]]:
    start = 0
    while start < len(bodies):
        end = start + fitting(bodies, start)
        yield bodies[start:end]
        start = end
