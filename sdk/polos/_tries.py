"""How often `ctx.step.run` tries: what of its keyword arguments is meant for it, and not for the function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._errors import DefinitionError, StepError
from ._retrying import RetryPolicy, retries_of
from ._seconds import seconds_of
from ._threads import is_async

OPTIONS = frozenset(("max_retries", "base_delay", "max_delay", "step_timeout", "never_retry"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    most: int
    policy: RetryPolicy
    timeout: float | None  # seconds for one try


ONCE = Tries(most=1, policy=RetryPolicy(), timeout=None)


def take_tries(key: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> Tries:
    """Takes the options out of `kwargs`; StepError when they cannot be meant, or the function is none."""
    if not callable(function):
        if inspect.iscoroutine(function):
            function.close()  # it will not be awaited, and that is told here
        raise StepError(
            f"Step {key!r} takes a function and its arguments, run({key!r}, function, 1, 2), and calls it itself, "
            f"not what a call gave back, {function!r:.100}"
        )
    if OPTIONS.isdisjoint(kwargs):
        return ONCE
    options = {name: kwargs.pop(name) for name in OPTIONS & kwargs.keys()}
    if problem := _ambiguous(function, options):
        raise StepError(f"Step {key!r}: {problem}")
    try:
        return _tries(options, function)
    except (DefinitionError, ValueError) as error:
        raise StepError(f"Step {key!r}: {error}") from error


def _ambiguous(function: Callable[..., Any], options: dict[str, Any]) -> str | None:
    try:
        parameters = inspect.signature(function).parameters.keys()
    except (TypeError, ValueError):  # builtins may have no signature
        return None
    bound = function.keywords.keys() if isinstance(function, functools.partial) else ()
    names = (options.keys() & parameters).difference(bound)
    if not names:
        return None
    return f"{min(names)} is an option of the step and a parameter of the function: wrap it in functools.partial"


def _tries(options: dict[str, Any], function: Callable[..., Any]) -> Tries:
    retries = retries_of(options.get("max_retries", 0), what="max_retries")
    policy = RetryPolicy(
        base_delay=options.get("base_delay", 1.0),
        max_delay=options.get("max_delay", 10.0),
        never=options.get("never_retry", ()),
    )
    return Tries(most=retries + 1, policy=policy, timeout=_timeout(options.get("step_timeout"), function))


def _timeout(value: Any, function: Callable[..., Any]) -> float | None:
    if value is None:
        return None
    if not is_async(function):
        raise ValueError("step_timeout needs an async function: nobody can stop a thread")
    return seconds_of(value, what="step_timeout")
