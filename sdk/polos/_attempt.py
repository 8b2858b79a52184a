"""One attempt of a workflow that has options: hooks around the body, a time limit, a retry policy of its own."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._errors import AttemptTimeout
from ._hooks import Hooked, checked
from ._retrying import RetryPolicy
from ._running import Run, retry_in
from ._typing import EMPTY

if TYPE_CHECKING:
    from ._context import Context

logger = logging.getLogger("polos")

Hook = Callable[..., Any]
Hooks = Hook | list[Hook] | tuple[Hook, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended, as `on_end` gets it: with a result, or with an error."""

    result: Any = None
    error: BaseException | None = None
    will_retry: bool = False  # after an error: another attempt follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    policy: RetryPolicy
    timeout: float | None  # seconds
    on_start: tuple[Hook, ...]
    on_end: tuple[Hook, ...]


def attempt_of(
    body: Callable[..., Any],
    options: Options,
    *,
    is_async: bool,
    default: Any,
    load: Callable[[Any], tuple[Any, ...]],
) -> Callable[..., Any]:
    """What a worker calls instead of the body. `default` is that of the body's payload, `load` types one."""

    async def attempt(ctx: Context, *arguments: Any) -> Any:
        run, call = ctx._run, ctx._tools.threads.call
        run.policy = options.policy
        if options.timeout is not None:
            run.deadline = asyncio.get_running_loop().time() + options.timeout
        try:
            # A thread is not stopped: a sync function looks at `ctx.cancel_requested`, or ends in time by itself.
            async with asyncio.timeout_at(run.deadline if is_async else None) as scope:
                for hook in options.on_start:
                    begin = hook.start if isinstance(hook, Hooked) else hook
                    said = checked(await call(begin, ctx, _payload(run, arguments, default)))
                    arguments = arguments if said.modified_payload is None else load(said.modified_payload)
                result = await call(body, ctx, *arguments)
                if run.ending == "waiting":
                    raise asyncio.CancelledError
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if run.ending is not None:  # stopped from outside: the attempt has not ended by itself
                raise
            if scope.expired() if is_async else run.is_late:
                timed_out = _timed_out(ctx, options)
                await _after_failure(ctx, options, timed_out)
                raise timed_out from error
            await _after_failure(ctx, options, error)
            raise
        for hook in options.on_end:
            outcome = Outcome(result=result)
            if isinstance(hook, Hooked):
                ended = await call(hook.end, ctx, outcome, _payload(run, arguments, default))
            else:
                ended = await call(hook, ctx, outcome)
            said = checked(ended)
            result = result if said.modified_output is None else said.modified_output
        return result

    return attempt


def _payload(run: Run, arguments: tuple[Any, ...], default: Any) -> Any:
    """As the body sees it; as it was sent, where the body does not want it."""
    if arguments:
        return arguments[0]
    return run.claim["payload"] if default is EMPTY else default


def hooks_of(hooks: Hooks, *, name: str, second: str) -> tuple[Hook, ...]:
    """One hook or several; ValueError for what cannot be called with `ctx` and its second argument."""
    found: tuple[Any, ...] = tuple(hooks) if isinstance(hooks, list | tuple) else (hooks,)
    for hook in found:
        try:
            inspect.signature(hook).bind(None, None)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is a function of (ctx, {second}), or a list of them, not {hook!r}") from None
    return found


async def _after_failure(ctx: Context, options: Options, error: BaseException) -> None:
    """The hooks see the error; what goes wrong in them does not hide it."""
    run = ctx._run
    pause = retry_in(run.attempt, run.claim["max_attempts"], error, options.policy)
    outcome = Outcome(error=error, will_retry=pause is not None)
    for hook in options.on_end:
        if isinstance(hook, Hooked):
            continue
        try:
            await ctx._tools.threads.call(hook, ctx, outcome)
        except Exception:
            logger.exception("on_end of %s failed, after the attempt had failed itself.", ctx.workflow_id)


def _timed_out(ctx: Context, options: Options) -> AttemptTimeout:
    return AttemptTimeout(
        f"Attempt {ctx._run.attempt} took longer than {options.timeout:g} s, the timeout of {ctx.workflow_id}"
    )
