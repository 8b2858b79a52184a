"""How often `ctx.step.run` tries: what of its keyword arguments is meant for it, and not for the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._errors import DefinitionError, StepError
from ._retrying import RetryPolicy
from ._seconds import seconds_of

OPTIONS = frozenset(("max_retries", "base_delay", "max_delay", "step_timeout", "never_retry"))
MAX_RETRIES = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    most: int
    policy: RetryPolicy
    timeout: float | None  # seconds for one try


ONCE = Tries(most=1, policy=RetryPolicy(), timeout=None)


def take_tries(key: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> Tries:
    """Takes the options out of `kwargs`; StepError when they cannot be meant."""
    if OPTIONS.isdisjoint(kwargs):
        return ONCE
    options = {name: kwargs.pop(name) for name in OPTIONS & kwargs.keys()}
    if problem := _ambiguous(function, options):
        raise StepError(f"Step {key!r}: {problem}")
    try:
        return _tries(options, function)
    except (DefinitionError, ValueError) as error:
        raise StepError(f"Step {key!r}: {error}") from error


def is_async(function: Callable[..., Any]) -> bool:
    """Also for an object that is called: calling it in a thread would only make the coroutine there."""
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # it is not asked whether


def _ambiguous(function: Callable[..., Any], options: dict[str, Any]) -> str | None:
    try:
        names = options.keys() & inspect.signature(function).parameters.keys()
    except (TypeError, ValueError):  # builtins may have no signature
        return None
    if not names:
        return None
    return f"{min(names)} is an option of the step and a parameter of the function: wrap it in functools.partial"


def _tries(options: dict[str, Any], function: Callable[..., Any]) -> Tries:
    retries = options.get("max_retries", 0)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f"max_retries is a whole number from 0 to {MAX_RETRIES}, not {retries!r}")
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
