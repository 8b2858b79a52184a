"""`ctx.step`: named parts of an execution that are done once, however often it is tried."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
import random
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, Unpack, overload

from ._errors import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadInvalid,
    ServerUnavailable,
    StepError,
    StepRefused,
    StepsChanged,
    StepTimeout,
)
from ._execution import ExecutionHandle
from ._ids import child_id
from ._invocation import ChildOptions, Invocation, shape_of
from ._json import decode, encode
from ._replay import Place, Replay, shown
from ._running import Run, current, error_info
from ._seconds import seconds_of
from ._tries import Tries, take_tries
from ._typing import Shape, result_shape
from ._workflow import Workflow

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ._context import Tools

logger = logging.getLogger("polos")

P = ParamSpec("P")
T = TypeVar("T")
E = type[Exception]
LAST_SAVE_SECONDS = 3.0  # for what is done to be saved when its execution is being stopped; under STOP_SECONDS


class Step:
    """Named parts of an execution that are done once, however often it is tried.

    Every part has a key, unique within the execution. A later attempt runs the function again from its top; each
    step that is finished gives back at once what it gave before, also when it was on another worker. Steps may run
    side by side, with `asyncio.gather` for example.
    """

    __slots__ = ("_replay", "_run", "_tools")

    def __init__(self, run: Run, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self._replay: Replay = run.steps()

    @overload
    def run(
        self, key: str, function: Callable[..., Awaitable[T]], /, *args: Any, max_retries: int,
        base_delay: float = ..., max_delay: float = ..., never_retry: E | tuple[E, ...] = ...,
        step_timeout: float | dt.timedelta = ..., **kwargs: Any,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip
    @overload
    def run(
        self, key: str, function: Callable[..., Awaitable[T]], /, *args: Any,
        step_timeout: float | dt.timedelta, **kwargs: Any,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip
    @overload
    def run(
        self, key: str, function: Callable[..., T], /, *args: Any, max_retries: int,
        base_delay: float = ..., max_delay: float = ..., never_retry: E | tuple[E, ...] = ..., **kwargs: Any,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip
    @overload
    def run(
        self, key: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def run(
        self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def run(
        self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Calls `function` and keeps its result: a later attempt gets that and does not call it again.

        Async functions are awaited, sync ones run in a thread. What comes back has been through JSON in every
        attempt alike; a pydantic model comes back as a model when the function is annotated with it. A result that
        cannot be saved because the server is away is saved when it is back; the function is not called again.

        An error is raised here and kept for people to see; a later attempt calls the function again, also where
        the workflow caught the error: what is to be decided once, a step returns.

        Before that it may be tried again on the spot: `max_retries` times (default 0), after pauses that begin at
        `base_delay` seconds (1), double, and end at `max_delay` seconds (10), half of each by chance; the slot is
        kept meanwhile. `polos.Retry(after=...)` chooses a pause; `polos.Fail` and the types in `never_retry` end
        the tries. `step_timeout` is the most seconds for one try of an async function, then StepTimeout. Where the
        function has a parameter of such a name itself, wrap it in `functools.partial`.

        StepError for a key that cannot be one, DuplicateStep for one used before, NotSerializable for a result
        that JSON cannot hold, StepRefused for one that the server does not take, StepsChanged when the stored
        steps show that the code was changed under a running execution.
        """
        place = _called_from()
        tries = take_tries(key, function, kwargs)
        return self._run_function(key, place, tries, function, args, kwargs)

    def sleep(self, key: str, seconds: float | dt.timedelta) -> Coroutine[Any, Any, None]:
        """Waits, once: a later attempt waits for what is left of the time.

        It waits in memory: the execution keeps its slot and its place in the worker. For seconds, not for hours.
        """
        return self._sleep(key, _called_from(), seconds)

    def uuid(self, key: str) -> Coroutine[Any, Any, str]:
        """A random UUID as text, the same in every attempt."""
        return self._once(key, _called_from(), str, _uuid)

    def now(self, key: str) -> Coroutine[Any, Any, int]:
        """Milliseconds since 1970 on the clock of the worker that was first here, the same in every attempt."""
        return self._once(key, _called_from(), int, lambda: int(self._tools.clock.now() * 1000))

    def random(self, key: str) -> Coroutine[Any, Any, float]:
        """A number from 0 to 1 (less than 1), the same in every attempt. Not for secrets."""
        return self._once(key, _called_from(), float, random.random)

    def invoke(
        self, key: str, workflow: Workflow[T] | str, payload: Any = None, **options: Unpack[ChildOptions]
    ) -> Coroutine[Any, Any, ExecutionHandle[Any]]:
        """Starts a child execution and goes on. A later attempt gets the same child. Options as for `invoke`."""
        return self._invoke(key, _called_from(), Invocation(workflow=workflow, payload=payload, **options))

    # -- the kinds of steps ------------------------------------------------------------------------

    async def _run_function(
        self,
        key: str,
        place: Place,
        tries: Tries,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        shape = result_shape(function)
        if await self._is_stored(key, place):
            return self._typed(self._replay.stored[key], shape, key)
        started = self._now()
        try:
            value = await self._try(key, tries, function, args, kwargs)
            result = encode(value, f"The result of step {key}")
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        except asyncio.CancelledError as error:
            if self._run.ending is None:  # the function itself gave it up, and goes on: nobody waits for this
                self._tools.saver.submit(self._body(key, started, error=error_info(error)))
            raise
        _warn_untyped(value, shape, key, function)
        return self._typed(await self._keep(key, started, result), shape, key)

    async def _once(self, key: str, place: Place, kind: type[T], make: Callable[[], T]) -> T:
        if await self._is_stored(key, place):
            value = self._replay.stored[key]
        else:
            value = await self._keep(key, self._now(), encode(make(), f"Step {key}"))
        if not isinstance(value, kind):
            raise self._another_kind(key, f"step of type {kind.__name__}")
        return value

    async def _sleep(self, key: str, place: Place, seconds: float | dt.timedelta) -> None:
        try:
            wanted = seconds_of(seconds, what=f"The time of step {key!r}")
        except ValueError as error:
            raise StepError(str(error)) from error
        clock = self._tools.clock
        if await self._is_stored(key, place):
            until = self._until(key)
        else:
            until = clock.now() + wanted
            end = _iso(until)
            await self._save(key, self._now(), result=f'"{end}"', ended=end)
        # Never longer than it says: the clocks of two workers may differ.
        left = min(until - clock.now(), wanted)
        if left > 0:
            await clock.sleep(left)

    async def _invoke(self, key: str, place: Place, item: Invocation) -> ExecutionHandle[Any]:
        if await self._is_stored(key, place):
            return self._known_child(self._stored_child(key, item), item)
        started, child = self._now(), child_id(self._run.id, key)
        try:
            handle = await self._start_child(child, item)
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        kept = encode({"id": child, "workflow_id": handle.workflow_id, "queue": handle.queue}, "A child")
        await self._save(key, started, result=kept, child=child)
        return handle

    # -- what is stored ----------------------------------------------------------------------------

    async def _is_stored(self, key: str, place: Place) -> bool:
        if self._replay.ask(key, place, self._run.id):
            return True
        if self._replay.unused:
            await self._replay.check_new(key, alone=self._is_alone, listing=self._listing)
        return False

    def _is_alone(self) -> bool:
        """Whether nothing else of this execution runs, so that what comes next is what this task does next."""
        if self._run.attempt_was_read:
            return False
        mine = asyncio.current_task()
        return not any(_runs(task, self._run) for task in asyncio.all_tasks() if task is not mine)

    async def _listing(self) -> list[dict[str, Any]] | None:
        """All steps that are on record, failed ones too; None when this worker's key may not read them."""
        path = f"/executions/{self._run.id}/steps"
        try:
            reply = await self._tools.client.http.call("GET", path, lane="steps", patience=None)
        except Forbidden:
            return None
        found: list[dict[str, Any]] = reply["steps"]
        return found

    def _until(self, key: str) -> float:
        try:
            return dt.datetime.fromisoformat(self._replay.stored[key]).timestamp()
        except (TypeError, ValueError):
            raise self._another_kind(key, "step.sleep") from None

    def _stored_child(self, key: str, item: Invocation) -> Any:
        known = self._replay.stored[key]
        if not isinstance(known, dict) or not {"id", "workflow_id", "queue"} <= known.keys():
            raise self._another_kind(key, "step.invoke")
        wanted = item.workflow.id if isinstance(item.workflow, Workflow) else item.workflow
        if known["workflow_id"] != wanted:
            raise StepsChanged(
                f"The step {key!r} at {shown(self._replay.asked[key])} starts {wanted}, but an earlier attempt "
                f"started {known['workflow_id']} there: give the new child a key of its own"
            )
        return known

    def _another_kind(self, key: str, kind: str) -> StepsChanged:
        return StepsChanged(
            f"The step {key!r} at {shown(self._replay.asked[key])} is a {kind}, which is not what an earlier "
            "attempt stored under this key: give the new step a key of its own"
        )

    def _typed(self, value: Any, shape: Shape, key: str) -> Any:
        try:
            return shape.load(value, f"The result of step {key}, asked for at {shown(self._replay.asked[key])},")
        except PayloadInvalid as error:
            raise StepError(str(error)) from error

    # -- calling -----------------------------------------------------------------------------------

    async def _try(
        self, key: str, tries: Tries, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        for count in range(1, tries.most + 1):
            try:
                return await self._in_time(key, tries.timeout, function, args, kwargs)
            except Exception as error:
                pause = tries.policy.pause_after(error, count) if count < tries.most else None
                if pause is None:
                    if count > 1:
                        error.add_note(f"Step {key!r} was tried {count} times.")
                    raise
                logger.info("Step %s failed (%s: %s); try %d follows in %g s.",
                            key, type(error).__name__, error, count + 1, pause)  # fmt: skip
            await self._tools.clock.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _in_time(
        self, key: str, seconds: float | None, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await self._tools.threads.call(function, *args, **kwargs)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise StepTimeout(f"Step {key!r} took longer than {seconds:g} s") from error

    # -- saving ------------------------------------------------------------------------------------

    async def _keep(self, key: str, started: str, result: str) -> Any:
        """The value that counts: this one, or the one that was saved before, unknown to us."""
        outcome = await self._save(key, started, result=result)
        if outcome != "repeated":
            return decode(result)
        known = await self._listing() or ()
        return next((step["result"] for step in known if step["key"] == key), decode(result))

    async def _save(
        self, key: str, started: str, *, result: str, child: str | None = None, ended: str | None = None
    ) -> str:
        saved = await self._submit(self._body(key, started, child=child, ended=ended, result=result))
        if saved["outcome"] == "invalid":
            error = StepRefused(f"The result of step {key} was not taken: {saved.get('detail', '')}")
            await self._save_error(key, started, error)
            raise error
        return str(saved["outcome"])

    async def _save_error(self, key: str, started: str, error: Exception) -> None:
        await self._submit(self._body(key, started, error=error_info(error)))

    async def _submit(self, step: str) -> dict[str, Any]:
        """Waits until it is saved; for a moment even when the execution is being stopped: it was done."""
        future = self._tools.saver.submit(step)
        try:
            saved = await asyncio.shield(future)
        except asyncio.CancelledError:
            if self._run.ending != "dropped":
                await asyncio.wait((future,), timeout=LAST_SAVE_SECONDS)
            raise
        if saved["outcome"] == "stale":
            self._abandon()
        return saved

    def _body(
        self,
        key: str,
        started: str,
        *,
        result: str | None = None,
        error: dict[str, str] | None = None,
        child: str | None = None,
        ended: str | None = None,
    ) -> str:
        body: dict[str, Any] = {
            "execution_id": self._run.id, "token": self._run.token, "key": key,
            "started_at": started, "ended_at": ended or self._now(),
        }  # fmt: skip
        if error is not None:
            body["error"] = error
        if child is not None:
            body["child_id"] = child
        text = encode(body, f"Step {key}")
        return text if result is None else f'{text[:-1]},"result":{result}}}'

    def _now(self) -> str:
        return _iso(self._tools.clock.now())

    # -- children ----------------------------------------------------------------------------------

    async def _start_child(self, child: str, item: Invocation) -> ExecutionHandle[Any]:
        client = self._tools.client
        while True:
            try:
                return await client.start(item, id=child, parent={"id": self._run.id, "token": self._run.token})
            except ServerUnavailable:
                continue  # for as long as it takes, as for everything that an execution does
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
        return ExecutionHandle(
            id=known["id"],
            workflow_id=known["workflow_id"],
            queue=known["queue"],
            created=False,
            notes=[],
            client=self._tools.client,
            shape=shape_of(item.workflow),
        )

    def _abandon(self) -> NoReturn:
        """Somebody else has this execution now. Nothing more is done for it, and nothing reported."""
        self._run.ending = "dropped"
        raise asyncio.CancelledError(f"execution {self._run.id} is somebody else's now")


def _called_from() -> Place:
    """Where the code asks for a step. Taken at the call: a task of its own has no caller to be seen."""
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


def _runs(task: asyncio.Task[Any], run: Run) -> bool:
    """Whether a task belongs to an execution: its variables are a copy of those of the task that began it."""
    if sys.version_info >= (3, 12):
        return task.get_context().get(current) is run
    return any(isinstance(each, Variables) and each.get(current) is run for each in gc.get_referents(task))


def _warn_untyped(value: Any, shape: Shape, key: str, function: Callable[..., Any]) -> None:
    if shape.plain and hasattr(type(value), "__pydantic_validator__"):
        model: BaseModel = value
        logger.warning(
            "Step %s gives back a dict, not a %s: annotate what %s returns to get the model.",
            key, type(model).__name__, getattr(function, "__qualname__", repr(function)),
        )  # fmt: skip


def _uuid() -> str:
    return str(uuid.uuid4())


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
