"""`@workflow`: a plain function that says on which queue it runs."""

from __future__ import annotations

import datetime as dt
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, Unpack, overload

from . import _retrying, _typing
from ._attempt import Hooks, Options, attempt_of, hooks_of
from ._errors import BadName, BadSignature, DefinitionError, DuplicateWorkflow, NotSerializable
from ._json import encode
from ._names import check_name
from ._places import caller, file_and_line
from ._queue import QueueOption, read_queue_option
from ._retrying import RetryPolicy, retries_of
from ._schedule import ScheduleOption, is_start, read_schedule, read_trigger
from ._seconds import timeout_of
from ._typing import UNTYPED, Shape, result_shape, shape_or_untyped

if TYPE_CHECKING:
    from ._client import PolosClient
    from ._execution import ExecutionHandle
    from ._invocation import InvokeOptions

logger = logging.getLogger("polos")

R = TypeVar("R")
MAX_DESCRIPTION = 500
MAX_PRIORITY = 1_000_000
Seconds = float | dt.timedelta | None


class Workflow(Generic[R]):
    """A function with an id, a queue and options. Calling it calls the function, as a test would."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        id: str | None = None,
        queue: QueueOption = None,
        retries: int = 0,
        description: str | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: Seconds = None,
        queue_timeout: Seconds = None,
        execution_timeout: Seconds = None,
        priority: int = 0,
        schedule: ScheduleOption = None,
        trigger_on_event: str | None = None,
        batch_size: int = 1,
        batch_timeout_seconds: Seconds = None,
        on_start: Hooks = (),
        on_end: Hooks = (),
        state_schema: type[Any] | None = None,
    ) -> None:
        self.body = function
        self.place = _place_of(function)
        self.id = check_name(_id_of(function, self.place) if id is None else id, what="workflow", place=self.place)
        _check_function(function, self)
        self.queue = read_queue_option(queue, workflow_id=self.id, place=self.place)
        self.retries = _checked_retries(retries, self.id, self.place)
        self.queue_timeout = _checked_timeout(queue_timeout, "queue_timeout", self)
        self.execution_timeout = _checked_timeout(execution_timeout, "execution_timeout", self)
        self.priority = _checked_priority(priority, self)
        self.schedule = read_schedule(schedule, workflow_id=self.id, place=self.place)
        self.trigger = read_trigger(
            trigger_on_event, batch_size, batch_timeout_seconds, workflow_id=self.id, place=self.place
        )
        self.description = _first_paragraph(
            function.__doc__ if description is None else _checked_description(description, self)
        )
        self.state_schema = None if state_schema is None else _checked_state(state_schema, self)
        self.is_async = _is_async(function, self.place)
        self._payload = _payload_parameter(function, self.id, self.place)
        self.function = function  # what a worker calls
        if (retry_policy, timeout) != (None, None) or on_start or on_end:
            options = _options(self, retry_policy, timeout, on_start, on_end)
            default = self._payload.default if self._payload else _typing.EMPTY
            self.function = attempt_of(
                function, options, is_async=self.is_async, default=default, load=self.arguments
            )
        self._payload_shape: Shape | None = None if self._payload else UNTYPED
        self._result_shape: Shape | None = None
        self._told = False  # that a payload was left out
        self.__name__ = self.id
        self.__doc__ = function.__doc__
        self._resolve_early(sys._getframe(2).f_locals)

    def __repr__(self) -> str:
        return f"<Workflow {self.id} on queue {self.queue.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(*args, **kwargs)

    async def invoke(
        self, client: PolosClient, payload: Any = None, **options: Unpack[InvokeOptions]
    ) -> ExecutionHandle[R]:
        """Starts an execution and returns at once. See `PolosClient.invoke`."""
        from ._invocation import invocation

        return await client.start(invocation("Workflow.invoke", self, payload, options))

    async def run(
        self,
        client: PolosClient,
        payload: Any = None,
        *,
        timeout: float | None = None,
        **options: Unpack[InvokeOptions],
    ) -> R:
        """Starts an execution and waits for its result. Options as for `invoke`."""
        from ._invocation import invocation

        handle: ExecutionHandle[R] = await client.start(invocation("Workflow.run", self, payload, options))
        return await handle.result(timeout)

    @property
    def takes_payload(self) -> bool:
        """Whether the function has a parameter beside `ctx`."""
        return self._payload is not None

    def arguments(self, payload: Any) -> tuple[Any, ...]:
        """What comes after `ctx`: the payload as the annotation wants it, or PayloadInvalid."""
        shape = self._payload_shape or self.payload_shape()
        if self._payload is None and payload is not None:
            self._tell_unused(payload)
        if self._payload is None or (payload is None and self._payload.default is not _typing.EMPTY):
            return ()
        return (payload if shape.plain else shape.load(payload, f"The payload of {self.id}"),)

    def _tell_unused(self, payload: Any) -> None:
        """Once. What a schedule or an event sends may be left out: the function only wants to be started."""
        if not self._told and payload != {} and not is_start(payload):
            self._told = True
            logger.warning(
                "%s takes no payload: its function, at %s, has ctx alone. What was given is left out.",
                self.id,
                self.place,
            )

    def payload_shape(self) -> Shape:
        """Resolved once; BadSignature when the annotation names what does not exist at run time."""
        if self._payload_shape is None:
            self._payload_shape = self._shape_of(self._payload.annotation) if self._payload else UNTYPED
        return self._payload_shape

    @property
    def result_shape(self) -> Shape:
        if self._result_shape is None:
            self._result_shape = result_shape(self.body)
        return self._result_shape

    def _shape_of(self, annotation: Any) -> Shape:
        try:
            return self._checked(_typing.resolve(annotation, function=self.body))
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise BadSignature(
                f"{self.place}: the payload of {self.id} is annotated {annotation!r}, which cannot be found "
                f"at run time ({error}). A name imported under TYPE_CHECKING is not enough."
            ) from error

    def _checked(self, annotation: Any) -> Shape:
        try:
            return Shape(annotation)
        except BadSignature as error:
            raise BadSignature(f"{self.place}: the payload of {self.id}: {error}") from error

    def _resolve_early(self, names: Mapping[str, Any]) -> None:
        """Textual annotations may name what is local to the caller. What is defined later is resolved later."""
        annotations = getattr(self.body, "__annotations__", {})
        if self._payload and isinstance(self._payload.annotation, str):
            found = self._early(self._payload.annotation, names)
            self._payload_shape = None if found is None else self._checked(found[0])
        if isinstance(annotations.get("return"), str):
            found = self._early(annotations["return"], names)
            self._result_shape = None if found is None else shape_or_untyped(found[0])

    def _early(self, annotation: str, names: Mapping[str, Any]) -> tuple[Any] | None:
        try:
            return (_typing.resolve(annotation, function=self.body, names=names),)
        except Exception:  # whatever it is, it comes back with its place when the worker starts
            return None


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[..., Awaitable[R]], /) -> Workflow[R]: ...
    @overload
    def __call__(self, function: Callable[..., R], /) -> Workflow[R]: ...


@overload
def workflow(id: Callable[..., Awaitable[R]], /) -> Workflow[R]: ...
@overload
def workflow(id: Callable[..., R], /) -> Workflow[R]: ...
@overload
def workflow(
    id: str | None = None,
    *,
    queue: QueueOption = None,
    retries: int = 0,
    description: str | None = None,
    retry_policy: RetryPolicy | None = None,
    timeout: Seconds = None,
    queue_timeout: Seconds = None,
    execution_timeout: Seconds = None,
    priority: int = 0,
    schedule: ScheduleOption = None,
    trigger_on_event: str | None = None,
    batch_size: int = 1,
    batch_timeout_seconds: Seconds = None,
    on_start: Hooks = (),
    on_end: Hooks = (),
    state_schema: type[Any] | None = None,
) -> _Decorator: ...
def workflow(
    id: Any = None,
    *,
    queue: QueueOption = None,
    retries: int = 0,
    description: str | None = None,
    retry_policy: RetryPolicy | None = None,
    timeout: Seconds = None,
    queue_timeout: Seconds = None,
    execution_timeout: Seconds = None,
    priority: int = 0,
    schedule: ScheduleOption = None,
    trigger_on_event: str | None = None,
    batch_size: int = 1,
    batch_timeout_seconds: Seconds = None,
    on_start: Hooks = (),
    on_end: Hooks = (),
    state_schema: type[Any] | None = None,
) -> Any:
    """Declares a workflow: `@workflow`, `@workflow()` or `@workflow(id=..., queue=..., retries=...)`.

    The function takes `(ctx)` or `(ctx, payload)`. A plain `def` runs in a thread. `queue` is a `Queue`, a
    name, or `{"concurrency_limit": n}`; without it the workflow has a queue of its own, unlimited. A failed
    attempt is tried again `retries` more times, later each time, as `retry_policy` says (1 s, doubling, at most
    5 minutes). What the function raises may choose: see `Retry`, `Throttled` and `Fail`.

    `timeout` is the most seconds for one attempt, without the time in the queue; it begins anew after a wait that
    gave back the slot. An async function is cancelled then and the attempt fails with AttemptTimeout; a sync one
    is to look at `ctx.cancel_requested`.

    `priority` is a head start in line, in seconds. `queue_timeout` is the longest time to its first start, and
    `execution_timeout` the longest to its end, all attempts and pauses in it: what is too late fails. These three
    are the defaults of its executions; whoever starts one may say otherwise. All times are seconds or timedeltas.

    `schedule` starts it by itself: a cron expression in UTC (`"0 3 * * MON-FRI"`, `"@hourly"`), or a dict with one
    of `cron`, `every` (seconds or a timedelta) and `at` (a datetime), and with `timezone`, `payload` (without it,
    a `SchedulePayload`), `catch_up` after an outage of the servers ("skip", "latest", "all"; `catch_up_most`) and
    `overlap` while the execution before is not finished ("allow", "skip", "cancel" it). `key` names it. It is made
    when a worker registers, and changes and goes with the code.

    `trigger_on_event` starts it for each event on this topic, with an `EventPayload`. With `batch_size` or
    `batch_timeout_seconds`, for several of them at once, with a `BatchEventPayload`: when there are so many, or
    when the oldest has waited for so long (without a time, only when there are so many).

    `on_start(ctx, payload)` is called before the function, whenever that begins: in every attempt, and when it
    goes on after a wait that gave back the slot. An error in it fails the attempt.
    `on_end(ctx, outcome)` is called after each attempt that ended by itself, with an `Outcome` that has its result
    or its error: not after one that was cancelled, or that goes on elsewhere. An error in it fails an attempt that
    had a result. Both are functions, async or not, or lists of them. A payload that does not fit calls neither.

    `state_schema` is a pydantic model whose fields have defaults: `ctx.state` is an object of it, checked
    whenever a field is set.

    DefinitionError, with file and line, for what cannot work: BadName, BadLimit, BadSignature, DuplicateWorkflow.
    """
    if callable(id):
        return _register(Workflow(id))

    def decorate(function: Callable[..., Any]) -> Workflow[Any]:
        return _register(
            Workflow(
                function,
                id=id,
                queue=queue,
                retries=retries,
                description=description,
                retry_policy=retry_policy,
                timeout=timeout,
                queue_timeout=queue_timeout,
                execution_timeout=execution_timeout,
                priority=priority,
                schedule=schedule,
                trigger_on_event=trigger_on_event,
                batch_size=batch_size,
                batch_timeout_seconds=batch_timeout_seconds,
                on_start=on_start,
                on_end=on_end,
                state_schema=state_schema,
            )
        )

    return decorate


_registry: dict[str, Workflow[Any]] = {}


def registered_workflows() -> list[Workflow[Any]]:
    """All workflows that this process has declared, in that order."""
    return list(_registry.values())


def check_unique(workflows: Iterable[Workflow[Any]]) -> dict[str, Workflow[Any]]:
    """The workflows of one worker by id."""
    by_id: dict[str, Workflow[Any]] = {}
    for each in workflows:
        if not isinstance(each, Workflow):
            raise DefinitionError(f"{each!r} is not a workflow: decorate it with @workflow")
        if by_id.setdefault(each.id, each) is not each:
            raise _duplicate(by_id[each.id], each)
    return by_id


def _register(new: Workflow[Any]) -> Workflow[Any]:
    known = _registry.get(new.id)
    # The same line again is the same module imported twice (as __main__ and by name) or reloaded.
    if known is not None and known.place != new.place:
        raise _duplicate(known, new)
    _registry[new.id] = new
    return new


def _duplicate(first: Workflow[Any], second: Workflow[Any]) -> DuplicateWorkflow:
    return DuplicateWorkflow(
        f"{second.place}: a workflow with the id {second.id} exists already, at {first.place}"
    )


def _place_of(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None:  # a partial, an object that is called
        return caller()
    return file_and_line(code.co_filename, code.co_firstlineno)


def _id_of(function: Callable[..., Any], place: str) -> str:
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise BadName(f"{place}: {function!r:.250} has no name that could name a workflow: say @workflow(id=…)")
    return str(name)


def _check_function(function: Any, of: Workflow[Any]) -> None:
    if isinstance(function, Workflow):
        raise BadSignature(f"{of.place}: workflow {of.id}: {function.id} is a workflow already")
    if isinstance(function, type) or not callable(function):
        raise BadSignature(f"{of.place}: workflow {of.id} is to be a function, not {function!r:.250}")


def _is_async(function: Callable[..., Any], place: str) -> bool:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise BadSignature(f"{place}: a workflow returns its result, it does not yield")
    return inspect.iscoroutinefunction(function)


def _payload_parameter(function: Callable[..., Any], id: str, place: str) -> inspect.Parameter | None:
    """The second parameter, if there is one. Others must have defaults: nobody would fill them."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    others = positional[2:] + [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    lost = len(positional) == 1 and any(each.kind is each.VAR_KEYWORD for each in parameters)  # the payload is one
    if not positional or lost or any(each.default is _typing.EMPTY for each in others):
        raise BadSignature(f"{place}: workflow {id} takes (ctx) or (ctx, payload)")
    payload = positional[1] if len(positional) > 1 else None
    if payload is not None and payload.default is not _typing.EMPTY:
        _check_default(payload.default, id, place)
    return payload


def _checked_state(schema: Any, of: Workflow[Any]) -> type[Any] | None:
    from ._state import checked_schema

    return checked_schema(schema, workflow_id=of.id, place=of.place)


def _check_default(default: Any, id: str, place: str) -> None:
    """Whoever passes the default himself must get the same as whoever passes nothing."""
    try:
        encode(default, f"the default of the payload of {id}")
    except NotSerializable as error:
        raise BadSignature(f"{place}: {error}") from error


def _options(
    of: Workflow[Any],
    policy: RetryPolicy | None,
    timeout: Seconds,
    on_start: Hooks,
    on_end: Hooks,
) -> Options:
    try:
        return Options(
            policy=_checked_policy(policy, of.retries),
            timeout=_checked_timeout(timeout, "timeout", of),
            on_start=hooks_of(on_start, name="on_start", second="payload"),
            on_end=hooks_of(on_end, name="on_end", second="outcome"),
        )
    except DefinitionError:
        raise
    except ValueError as error:
        raise DefinitionError(f"{of.place}: workflow {of.id}: {error}") from error


def _checked_policy(policy: RetryPolicy | None, retries: int) -> RetryPolicy:
    if policy is None:
        return _retrying.DEFAULT
    if not isinstance(policy, RetryPolicy):
        raise ValueError(f"retry_policy is a RetryPolicy, not {policy!r}")
    if not retries:
        raise ValueError("retry_policy says when to try again, but retries is 0")
    return policy


def _checked_timeout(timeout: Seconds, what: str, of: Workflow[Any]) -> float | None:
    if timeout is None:
        return None
    try:
        return timeout_of(timeout, what=what)
    except ValueError as error:
        raise DefinitionError(f"{of.place}: workflow {of.id}: {error}") from error


def _checked_priority(priority: object, of: Workflow[Any]) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        raise DefinitionError(
            f"{of.place}: workflow {of.id}: priority is a whole number of seconds from -{MAX_PRIORITY:,} to "
            f"{MAX_PRIORITY:,}, not {priority!r}"
        )
    return priority


def _checked_description(description: object, of: Workflow[Any]) -> str:
    if isinstance(description, str):
        return description
    raise DefinitionError(f"{of.place}: workflow {of.id}: description is a text, not {description!r}")


def _checked_retries(retries: object, id: str, place: str) -> int:
    try:
        return retries_of(retries, what=f"retries of workflow {id}")
    except ValueError as error:
        raise DefinitionError(f"{place}: {error}") from error


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())[:MAX_DESCRIPTION]
