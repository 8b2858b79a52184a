"""`ctx.step`: named parts of an execution that are done once, however often it is tried."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._errors import StepTimeout
from ._json import encode
from ._log import Log
from ._replay import Place
from ._running import error_info
from ._step_children import ChildSteps
from ._step_waits import WaitSteps
from ._stepbase import called_from
from ._trace import Span, traced
from ._tries import Tries, take_tries
from ._typing import Shape, result_shape
from ._waits import inside

if TYPE_CHECKING:
    from pydantic import BaseModel

logger = logging.getLogger("polos")

P = ParamSpec("P")
T = TypeVar("T")
E = type[Exception]


class Step(WaitSteps, ChildSteps):
    """Named parts of an execution that are done once, however often it is tried.

    Every part has a key, unique within the execution. A later attempt runs the function again from its top; each
    step that is finished gives back at once what it gave before, also when it was on another worker. Steps may run
    side by side, with `asyncio.gather` for example.

    Steps that wait (for a time, an event, an answer, a child) give back slot and worker as soon as everything else
    of the execution waits too. Its task is cancelled then: `finally` and `async with` do their work, steps in them
    do not. What is neither a step nor a wait has 5 s to come to one. When one of the waits is over, the function
    runs again from its top, as the same attempt and in its original place. An `asyncio.timeout` around a wait ends
    with the task: use the `timeout` of the step.
    """

    __slots__ = ()

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
        place = called_from()
        tries = take_tries(key, function, kwargs)
        return self._counted(self._run_function(key, place, tries, function, args, kwargs))

    def uuid(self, key: str) -> Coroutine[Any, Any, str]:
        """A random UUID as text, the same in every attempt."""
        return self._counted(self._once(key, called_from(), str, _uuid))

    def now(self, key: str) -> Coroutine[Any, Any, int]:
        """Milliseconds since 1970 on the clock of the worker that was first here, the same in every attempt."""
        return self._counted(self._once(key, called_from(), int, lambda: int(self._tools.clock.now() * 1000)))

    def random(self, key: str) -> Coroutine[Any, Any, float]:
        """A number from 0 to 1 (less than 1), the same in every attempt. Not for secrets."""
        return self._counted(self._once(key, called_from(), float, random.random))

    def trace(
        self, name: str, attributes: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Span, bool | None]:
        """Measures a part of the code: `with ctx.step.trace("load", {"table": "orders"}):`.

        How many `seconds` it took is a line of the execution's log, with the attributes as fields, which may be
        added to meanwhile (`span.set_attribute`). An error is told, too, and passed on. It stores nothing, so its
        name may be used again. After a wait in it that gave back the slot, it measures from where that went on.
        """
        return traced(Log(self._run, self._tools.reporter), name, attributes)

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
        scope, token = asyncio.timeout(seconds), inside.set(key)
        try:
            async with scope:
                return await self._tools.threads.call(function, *args, **kwargs)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise StepTimeout(f"Step {key!r} took longer than {seconds:g} s") from error
        finally:
            inside.reset(token)


def _warn_untyped(value: Any, shape: Shape, key: str, function: Callable[..., Any]) -> None:
    if shape.plain and hasattr(type(value), "__pydantic_validator__"):
        model: BaseModel = value
        logger.warning(
            "Step %s gives back a dict, not a %s: annotate what %s returns to get the model.",
            key, type(model).__name__, getattr(function, "__qualname__", repr(function)),
        )  # fmt: skip


def _uuid() -> str:
    return str(uuid.uuid4())
