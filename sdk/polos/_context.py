"""`ctx`: what a running workflow knows about itself, and its steps."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._client import Invocation, PolosClient
from ._errors import Conflict, DuplicateStep, NotFound, PayloadInvalid, StepError, StepRefused
from ._execution import ExecutionHandle
from ._ids import child_id
from ._json import decode, encode
from ._queue import NOT_GIVEN, MaybeLimit
from ._running import Run, error_info
from ._steps import StepSaver
from ._threads import Threads
from ._typing import UNTYPED, Shape, result_shape
from ._workflow import Workflow

if TYPE_CHECKING:
    from pydantic import BaseModel

logger = logging.getLogger("polos")

P = ParamSpec("P")
T = TypeVar("T")
MAX_KEY = 200


class Tools:
    """What all contexts of one worker share."""

    __slots__ = ("client", "saver", "threads", "worker")

    def __init__(self, *, client: PolosClient, saver: StepSaver, threads: Threads, worker: str) -> None:
        self.client = client
        self.saver = saver
        self.threads = threads
        self.worker = worker


class Context:
    """The first argument of every workflow."""

    __slots__ = ("_run", "_step", "_tools")

    def __init__(self, run: Run, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self._step: Step | None = None

    def __repr__(self) -> str:
        return f"<Context of {self.workflow_id} {self.execution_id}, attempt {self.attempt}>"

    @property
    def workflow_id(self) -> str:
        return str(self._run.claim["workflow_id"])

    @property
    def execution_id(self) -> str:
        return self._run.id

    @property
    def attempt(self) -> int:
        """From 1."""
        return int(self._run.claim["attempt"])

    @property
    def max_attempts(self) -> int:
        return int(self._run.claim["max_attempts"])

    @property
    def queue(self) -> str:
        """The queue that it runs on: the workflow's, unless another was chosen when it was started."""
        return str(self._run.claim["queue"])

    @property
    def slot(self) -> int | None:
        """Which slot of the queue it holds, from 1; None on an unlimited queue."""
        slot: int | None = self._run.claim["slot"]
        return slot

    @property
    def worker(self) -> str:
        """The name of the worker that runs it."""
        return self._tools.worker

    @property
    def parent_id(self) -> str | None:
        parent: str | None = self._run.claim["parent_id"]
        return parent

    @property
    def root_id(self) -> str:
        """The execution that began it all: its own id when it has no parent."""
        return str(self._run.claim["root_id"] or self._run.id)

    @property
    def cancel_requested(self) -> bool:
        """True once it shall stop. Async functions are cancelled; a sync one has to look here."""
        return self._run.ending is not None

    @property
    def step(self) -> Step:
        if self._step is None:
            self._step = Step(self._run, self._tools)
        return self._step


class Step:
    """Named parts of an execution that are done once, however often it is tried."""

    __slots__ = ("_keys", "_run", "_stored", "_tools")

    def __init__(self, run: Run, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self._stored: dict[str, Any] = run.claim.get("steps") or {}
        self._keys: set[str] = set()

    @overload
    async def run(
        self, key: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def run(self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls `function` and keeps its result: a later attempt gets that and does not call it again.

        Async functions are awaited, sync ones run in a thread. What comes back has been through JSON in every
        attempt alike; a pydantic model comes back as a model when the function is annotated with it. An error
        is raised here and kept for people to see; a later attempt calls the function again.
        """
        self._use(key)
        shape = result_shape(function)
        if key in self._stored:
            return self._typed(self._stored[key], shape, key)
        started = _now()
        try:
            value = await self._call(function, args, kwargs)
            result = encode(value, f"The result of step {key}")
        except Exception as error:
            await self._save(key, started, error=error_info(error))
            raise
        _warn_untyped(value, shape, key, function)
        return self._typed(await self._keep(key, started, result), shape, key)

    async def invoke(
        self,
        key: str,
        workflow: Workflow[T] | str,
        payload: Any = None,
        *,
        queue_name: str | None = None,
        queue_concurrency_limit: MaybeLimit = NOT_GIVEN,
        priority: int = 0,
        delay: float | None = None,
    ) -> ExecutionHandle[Any]:
        """Starts a child execution and goes on. A later attempt gets the same child. Options as for `invoke`."""
        self._use(key)
        item = Invocation(
            workflow=workflow,
            payload=payload,
            queue_name=queue_name,
            queue_concurrency_limit=queue_concurrency_limit,
            priority=priority,
            delay=delay,
        )
        if key in self._stored:
            return self._known_child(self._stored[key], item)
        started, child = _now(), child_id(self._run.id, key)
        handle = await self._start_child(child, item)
        kept = encode({"id": child, "workflow_id": handle.workflow_id, "queue": handle.queue}, "A child")
        await self._save(key, started, result=kept, child=child)
        return handle

    def _use(self, key: str) -> None:
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
            raise StepError(f"A step's key is a text of 1 to {MAX_KEY} characters, not {key!r:.250}")
        if key in self._keys:
            raise DuplicateStep(
                f"The step key {key!r} is used twice in execution {self._run.id}: give each step its own, "
                "in a loop for example by adding the index"
            )
        self._keys.add(key)

    async def _call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        value = await self._tools.threads.run(function, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    async def _keep(self, key: str, started: str, result: str) -> Any:
        """The value that counts: this one, or the one that an earlier attempt had saved unknown to us."""
        outcome = await self._save(key, started, result=result)
        return await self._load(key, result) if outcome == "repeated" else decode(result)

    async def _save(
        self,
        key: str,
        started: str,
        *,
        result: str | None = None,
        error: dict[str, str] | None = None,
        child: str | None = None,
    ) -> str:
        body: dict[str, Any] = {
            "execution_id": self._run.id, "token": self._run.token, "key": key,
            "started_at": started, "ended_at": _now(),
        }  # fmt: skip
        if error is not None:
            body["error"] = error
        if child is not None:
            body["child_id"] = child
        text = encode(body, f"Step {key}")
        saved = await self._tools.saver.save(text if result is None else f'{text[:-1]},"result":{result}}}')
        if saved["outcome"] == "stale":
            self._abandon()
        if saved["outcome"] == "invalid":
            raise StepRefused(f"The result of step {key} was not taken: {saved.get('detail', '')}")
        return str(saved["outcome"])

    async def _load(self, key: str, ours: str) -> Any:
        path = f"/executions/{self._run.id}/steps"
        reply = await self._tools.client.http.call("GET", path, lane="steps", patience=None)
        return next((step["result"] for step in reply["steps"] if step["key"] == key), decode(ours))

    async def _start_child(self, child: str, item: Invocation) -> ExecutionHandle[Any]:
        client = self._tools.client
        try:
            return await client.start(item, id=child, parent={"id": self._run.id, "token": self._run.token})
        except Conflict:
            # Either an earlier attempt started it with another payload, or this claim is over.
            known = await self._child(child)
            if known is None:
                self._abandon()
            return self._known_child(known, item)

    async def _child(self, child: str) -> dict[str, Any] | None:
        try:
            found = await self._tools.client.get_execution(child)
        except NotFound:
            return None
        return {"id": found.id, "workflow_id": found.workflow_id, "queue": found.queue}

    def _known_child(self, known: Any, item: Invocation) -> ExecutionHandle[Any]:
        shape = item.workflow.result_shape if isinstance(item.workflow, Workflow) else UNTYPED
        return ExecutionHandle(
            id=known["id"],
            workflow_id=known["workflow_id"],
            queue=known["queue"],
            created=False,
            notes=[],
            client=self._tools.client,
            shape=shape,
        )

    def _abandon(self) -> Any:
        """Somebody else has this execution now. Nothing more is done for it, and nothing reported."""
        self._run.ending = "dropped"
        raise asyncio.CancelledError(f"execution {self._run.id} is somebody else's now")

    def _typed(self, value: Any, shape: Shape, key: str) -> Any:
        try:
            return shape.load(value, f"The result of step {key}")
        except PayloadInvalid as error:
            raise StepError(str(error)) from error


def _warn_untyped(value: Any, shape: Shape, key: str, function: Callable[..., Any]) -> None:
    if shape.plain and hasattr(type(value), "__pydantic_validator__"):
        model: BaseModel = value
        logger.warning(
            "Step %s gives back a dict, not a %s: annotate what %s returns to get the model.",
            key, type(model).__name__, getattr(function, "__qualname__", repr(function)),
        )  # fmt: skip


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
