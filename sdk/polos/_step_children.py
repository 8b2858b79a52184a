"""Steps that start children, and that wait for their results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from ._batches import fitting
from ._errors import (
    Conflict,
    ExecutionError,
    ExecutionTimeout,
    NotFound,
    ServerUnavailable,
    StepError,
    StepsChanged,
)
from ._execution import ErrorInfo, ExecutionHandle, read_execution, result_of
from ._finals import Finals
from ._ids import child_id, child_ids
from ._invocation import ChildOptions, Invocation, Pair, execution_bodies, id_of, invocation, shape_of
from ._json import encode
from ._replay import Place, shown
from ._running import Run
from ._seconds import seconds_of
from ._stepbase import StepBase, called_from, kept
from ._waits import inside
from ._workflow import Workflow

if TYPE_CHECKING:
    from ._client import PolosClient
    from ._context import Tools

R = TypeVar("R")
Seconds = float | dt.timedelta
MOST_CHILDREN = 10_000  # of one batch
MOST_KEPT = 256 * 1024  # characters of results that are kept with the step; more are fetched again by each replay


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult(Generic[R]):
    """How one child of a batch ended."""

    id: str
    workflow_id: str
    status: str  # completed, failed, cancelled; missing: it is not there any more
    result: R | None = None
    error: ErrorInfo | None = None  # of one that failed

    @property
    def success(self) -> bool:
        """Whether there is a result."""
        return self.status == "completed"


class ChildHandle(ExecutionHandle[R]):
    """A child, inside of its parent: waiting for its result gives back slot and worker."""

    __slots__ = ("_asked", "_steps", "key")

    def __init__(self, *, steps: ChildSteps, key: str, **known: Any) -> None:
        super().__init__(**known)
        self.key = key  # of the step that started it
        self._steps = steps
        self._asked = 0  # how often its result was waited for

    @property
    def root_workflow_id(self) -> str | None:
        """None where only the id of that execution is known."""
        claim = self._steps._run.claim
        return None if claim["root_id"] else str(claim["workflow_id"])

    @property
    def root_execution_id(self) -> str:
        return self._steps._run.root_id

    def result(self, timeout: float | None = None) -> Coroutine[Any, Any, R]:
        """Waits for the end: ExecutionFailed, ExecutionCancelled, or ExecutionTimeout after `timeout` seconds.

        This is a step of the parent: slot and worker are given back meanwhile, and a later attempt gets the same
        result. Inside of another step it waits in memory.
        """
        if inside.get() is not None:
            return super().result(timeout)
        return self._steps.result_of_child(self, called_from(), timeout)


class ChildSteps(StepBase):
    __slots__ = ("_known_finals",)

    def __init__(self, run: Run, tools: Tools) -> None:
        super().__init__(run, tools)
        self._known_finals: Finals | None = None

    @property
    def _finals(self) -> Finals:
        if self._known_finals is None:
            self._known_finals = Finals(self._tools.client.http)
        return self._known_finals

    def invoke(
        self, key: str, workflow: Workflow[R] | str, payload: Any = None, **options: Unpack[ChildOptions]
    ) -> Coroutine[Any, Any, ExecutionHandle[Any]]:
        """Starts a child execution and goes on. A later attempt gets the same child. Options as for `invoke`.

        With a `dedup_key` it may be one that was there already, and is no child of this execution.

        Waiting for the `result()` of its handle gives back slot and worker, and is a step too.
        """
        item = invocation("ctx.step.invoke", workflow, payload, options)
        return self._counted(self._invoke(key, called_from(), item))

    @overload
    def invoke_and_wait(
        self,
        key: str,
        workflow: Workflow[R],
        payload: Any = None,
        *,
        timeout: Seconds | None = None,
        **options: Unpack[ChildOptions],
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def invoke_and_wait(
        self,
        key: str,
        workflow: str,
        payload: Any = None,
        *,
        timeout: Seconds | None = None,
        **options: Unpack[ChildOptions],
    ) -> Coroutine[Any, Any, Any]: ...
    def invoke_and_wait(
        self,
        key: str,
        workflow: Workflow[Any] | str,
        payload: Any = None,
        *,
        timeout: Seconds | None = None,
        **options: Unpack[ChildOptions],
    ) -> Coroutine[Any, Any, Any]:
        """Starts a child execution and waits for its result, with slot and worker given back meanwhile.

        The child may run on the same queue, with any limit. Its result is kept: a later attempt gets the same.

        ExecutionFailed or ExecutionCancelled when it ends so, ExecutionTimeout when it has not ended `timeout`
        (seconds or a timedelta) after it was started; it goes on then. Another attempt finds the same child and
        the same end, unless this one ended with the failure: then it starts another child.
        """
        item = invocation("ctx.step.invoke_and_wait", workflow, payload, options)
        return self._counted(self._invoke_and_wait(key, called_from(), item, timeout))

    def batch_invoke(
        self, key: str, invocations: Iterable[Invocation | Pair]
    ) -> Coroutine[Any, Any, list[ExecutionHandle[Any]]]:
        """Starts up to 10,000 children with one step and goes on; handles in the same order.

        Takes `Invocation`s or `(workflow, payload)` pairs. A later attempt gets the same children.
        """
        return self._counted(self._batch_invoke(key, called_from(), list(invocations)))

    def batch_invoke_and_wait(
        self, key: str, invocations: Iterable[Invocation | Pair], *, timeout: Seconds | None = None
    ) -> Coroutine[Any, Any, list[ChildResult[Any]]]:
        """Starts up to 10,000 children and waits until all have ended; how each did, in the same order.

        A child that failed is an item like the others, and no error. Slot and worker are given back meanwhile.
        Takes `Invocation`s or `(workflow, payload)` pairs; an empty batch gives an empty list.

        ExecutionTimeout when they have not all ended `timeout` (seconds or a timedelta) after they were started;
        they go on then.
        """
        return self._counted(self._batch_and_wait(key, called_from(), list(invocations), timeout))

    def result_of_child(
        self, handle: ChildHandle[R], place: Place, timeout: Seconds | None
    ) -> Coroutine[Any, Any, R]:
        """For `ChildHandle.result`."""
        return self._counted(self._result(handle, place, timeout))

    # -- starting ----------------------------------------------------------------------------------

    async def _invoke(self, key: str, place: Place, item: Invocation) -> ChildHandle[Any]:
        if await self._is_stored(key, place):
            known = self._stored_child(key, item)
            self._finals.add_older([known["id"]])
            return self._handle(key, known["id"], known["workflow_id"], known["queue"], item)
        started, child = self._now(), child_id(self._run.id, key)
        try:
            handle = await self._start_child(key, child, item)
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        kept = encode({"id": handle.id, "workflow_id": handle.workflow_id, "queue": handle.queue}, "A child")
        await self._save(key, started, result=kept, child=handle.id)
        return handle

    async def _batch_invoke(
        self, key: str, place: Place, items: list[Invocation | Pair]
    ) -> list[ExecutionHandle[Any]]:
        if len(items) > MOST_CHILDREN:
            raise StepError(f"Step {key!r} starts {len(items):,} children; the most is {MOST_CHILDREN:,}")
        if any(isinstance(item, Invocation) and item.dedup_key is not None for item in items):
            raise StepError(f"Step {key!r} starts children with a dedup_key, which only invoke can, one by one")
        ids = child_ids(self._run.id, key, len(items))
        if await self._is_stored(key, place):
            kinds = self._stored_children(key, items)
            self._finals.add_older(ids)
        else:
            kinds = await self._start_children(key, items, ids)
        return [
            self._handle(f"{key}[{number}]", id, workflow_id, queue, item)
            for number, (id, (workflow_id, queue), item) in enumerate(zip(ids, kinds, items, strict=True))
        ]

    async def _start_child(self, key: str, child: str, item: Invocation) -> ChildHandle[Any]:
        client = self._tools.client
        while True:
            try:
                new = await client.start(item, id=child, parent=self._parent)
            except ServerUnavailable:
                continue  # for as long as it takes, as for everything that an execution does
            except Conflict:
                # Either an earlier attempt started it with another payload, or this claim is over.
                workflow_id, queue = await self._known_child(child)
                self._finals.add_older([child])
                return self._handle(key, child, workflow_id, queue, item)
            if not new.created:
                self._finals.add_older([new.id])
            # With a dedup_key it may be another one, which was there already.
            return self._handle(
                key, new.id, new.workflow_id, new.queue, item, created=new.created, notes=new.notes
            )

    async def _start_children(
        self, key: str, items: list[Invocation | Pair], ids: list[str]
    ) -> list[tuple[str, str]]:
        """Workflow and queue of each."""
        started = self._now()
        try:
            _, bodies = execution_bodies(items, ids, encode(self._parent, "A parent"))
            kinds: list[tuple[str, str]] = []
            while len(kinds) < len(bodies):
                begin = len(kinds)
                end = begin + fitting(bodies, begin)
                kinds += await self._start_part(bodies[begin:end], ids[begin:end])
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        groups = [[*kind, len(list(group))] for kind, group in groupby(kinds)]
        await self._save(key, started, result=encode({"children": groups}, f"Step {key}"))
        return kinds

    async def _start_part(self, bodies: Sequence[str], ids: Sequence[str]) -> list[tuple[str, str]]:
        body = f'{{"executions":[{",".join(bodies)}]}}'
        try:
            reply = await self._tools.client.http.call(
                "POST", "/executions/batch", body, lane="steps", patience=None
            )
        except Conflict:
            found = [await self._known_child(id) for id in ids]
        else:
            found = [(each["workflow_id"], each["queue"]) for each in reply["executions"]]
            ids = [id for id, each in zip(ids, reply["executions"], strict=True) if not each["created"]]
        self._finals.add_older(ids)
        return found

    @property
    def _parent(self) -> dict[str, str]:
        return {"id": self._run.id, "token": self._run.token}

    async def _known_child(self, id: str) -> tuple[str, str]:
        """Workflow and queue of a child that is there already."""
        try:
            found = await self._tools.client.get_execution(id)
        except NotFound:
            self._abandon()
        return found.workflow_id, found.queue

    def _handle(
        self,
        key: str,
        id: str,
        workflow_id: str,
        queue: str,
        item: Invocation | Pair,
        *,
        created: bool = False,
        notes: list[str] | None = None,
    ) -> ChildHandle[Any]:
        client: PolosClient = self._tools.client
        return ChildHandle(
            steps=self,
            key=key,
            id=id,
            workflow_id=workflow_id,
            queue=queue,
            created=created,
            notes=notes or [],
            client=client,
            shape=shape_of(_workflow(item)),
        )

    # -- what is stored of them --------------------------------------------------------------------

    def _stored_child(self, key: str, item: Invocation) -> Any:
        known = self._replay.stored[key]
        if not isinstance(known, dict) or not {"id", "workflow_id", "queue"} <= known.keys():
            raise self._another_kind(key, "step.invoke")
        self._check_same(key, known["workflow_id"], id_of(item.workflow))
        return known

    def _stored_children(self, key: str, items: list[Invocation | Pair]) -> list[tuple[str, str]]:
        known = self._replay.stored[key]
        if not isinstance(known, dict) or "children" not in known:
            raise self._another_kind(key, "step.batch_invoke")
        kinds = [(id, queue) for id, queue, count in known["children"] for _ in range(count)]
        if len(kinds) != len(items):
            raise StepsChanged(
                f"The step {key!r} at {shown(self._replay.asked[key])} starts {len(items):,} children, but an "
                f"earlier attempt started {len(kinds):,} there: what is chosen by time or chance belongs in a step"
            )
        for (stored, _), item in zip(kinds, items, strict=True):
            self._check_same(key, stored, id_of(_workflow(item)))
        return kinds

    def _check_same(self, key: str, stored: str, wanted: str) -> None:
        if stored != wanted:
            raise StepsChanged(
                f"The step {key!r} at {shown(self._replay.asked[key])} starts {wanted}, but an earlier attempt "
                f"started {stored} there: give the new child a key of its own"
            )

    # -- results -----------------------------------------------------------------------------------

    async def _invoke_and_wait(self, key: str, place: Place, item: Invocation, timeout: Seconds | None) -> Any:
        name, turn = key, 1
        while self._replay.stored.get(f"{name}.result.again") == "failed":  # an attempt ended so: another child
            self._replay.unused -= {name, f"{name}.result", f"{name}.result.again"}
            turn += 1
            name = f"{key}@{turn}"
        handle = await self._invoke(name, place, item)
        return await self._result(handle, place, timeout)

    async def _result(self, handle: ChildHandle[R], place: Place, timeout: Seconds | None) -> R:
        handle._asked += 1
        key = f"{handle.key}.result" if handle._asked == 1 else f"{handle.key}.result-{handle._asked}"
        key = self._turn(key)
        (found,) = await self._ends(key, place, [handle], timeout) or (None,)
        if found is None:
            what = f"Execution {handle.id} of {handle.workflow_id} was not finished within its timeout"
            raise kept(ExecutionTimeout(f"{what}: step {key!r} at {shown(place)}"), key)
        if found["status"] == "missing":
            raise ExecutionError(f"Execution {handle.id} of {handle.workflow_id} is not there any more: {_GONE}")
        execution = read_execution({"workflow_id": handle.workflow_id, "queue": handle.queue, **found})
        try:
            result: R = result_of(execution, handle._shape)
        except ExecutionError as error:
            raise kept(error, key) from None
        return result

    async def _batch_and_wait(
        self, key: str, place: Place, items: list[Invocation | Pair], timeout: Seconds | None
    ) -> list[ChildResult[Any]]:
        handles = await self._batch_invoke(key, place, items)
        ends_key = self._turn(f"{key}.results")
        found = await self._ends(ends_key, place, handles, timeout) if handles else []
        if found is None:
            what = f"The {len(handles):,} children of step {key!r} at {shown(place)}"
            raise kept(ExecutionTimeout(f"{what} were not all finished within their timeout"), ends_key)
        return [self._child_result(key, handle, each) for handle, each in zip(handles, found, strict=True)]

    def _child_result(self, key: str, handle: ExecutionHandle[Any], found: dict[str, Any]) -> ChildResult[Any]:
        status, error, result = found["status"], found.get("error"), found.get("result")
        if status == "missing":
            error = {"type": "Missing", "message": _GONE}
        elif status == "completed":
            result = self._typed(result, handle._shape, key, f"The result of {handle.workflow_id} in step")
        return ChildResult(
            id=handle.id,
            workflow_id=handle.workflow_id,
            status=status,
            result=result,
            error=ErrorInfo(error["type"], error["message"], error.get("traceback", "")) if error else None,
        )

    async def _ends(
        self, key: str, place: Place, handles: Sequence[ExecutionHandle[Any]], timeout: Seconds | None
    ) -> list[dict[str, Any]] | None:
        """`{"id", "status", "result", "error"}` of each; None when they took longer than the timeout."""
        try:
            seconds = None if timeout is None else seconds_of(timeout, what=f"The timeout of step {key!r}")
        except ValueError as error:
            raise StepError(str(error)) from error
        ids = [handle.id for handle in handles]
        if await self._is_stored(key, place):
            return await self._stored_ends(key, ids)
        over, finals = self._over(key, "executions"), self._finals
        if over is None:
            await finals.look(ids)
            if not finals.has(ids):
                timeouts = {} if seconds is None else {"seconds": seconds}
                await self._park(key, "executions", {"executions": ids, **timeouts})
        elif over["timed_out"]:
            await self._keep(key, self._now(), '{"timed_out":true}')
            return None
        else:
            await finals.fetch(ids)
        return await self._keep_ends(key, finals.of(ids))

    async def _keep_ends(self, key: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        text = encode({"ends": found}, f"Step {key}")
        if len(text) > MOST_KEPT:
            text = '{"ends":null}'
        stored = await self._keep(key, self._now(), text)
        return stored["ends"] or found

    async def _stored_ends(self, key: str, ids: list[str]) -> list[dict[str, Any]] | None:
        known = self._replay.stored[key]
        if not isinstance(known, dict) or not ({"ends", "timed_out"} & known.keys()):
            raise self._another_kind(key, "wait for executions")
        if "ends" not in known:
            return None
        if known["ends"] is None:
            await self._finals.fetch(ids)
            return self._finals.of(ids)
        ends: list[dict[str, Any]] = known["ends"]
        return ends


_GONE = "it was removed, as all are some time after their end"


def _workflow(item: Invocation | Pair) -> Workflow[Any] | str:
    return item.workflow if isinstance(item, Invocation) else item[0]
