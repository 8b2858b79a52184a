"""Hooks as code for `polos-sdk` writes them: they say what is to happen by what they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, overload

from ._errors import Fail

if TYPE_CHECKING:
    from ._attempt import Outcome
    from ._context import Context


class HookAction(Enum):
    CONTINUE = "continue"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookContext:
    """What such a hook is told."""

    workflow_id: str
    current_payload: Any = None
    current_output: Any = None  # at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResult:
    """What such a hook gives back. A modification that is None changes nothing."""

    action: HookAction = HookAction.CONTINUE
    modified_payload: Any = None
    modified_output: Any = None
    error_message: str | None = None

    @classmethod
    def continue_with(cls, *, modified_payload: Any = None, modified_output: Any = None) -> HookResult:
        return cls(modified_payload=modified_payload, modified_output=modified_output)

    @classmethod
    def fail(cls, message: str) -> HookResult:
        return cls(action=HookAction.FAIL, error_message=message)


class Hooked:
    """A function of (ctx, HookContext) for `on_start`, and for `on_end` of what has a result."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def start(self, ctx: Context, payload: Any) -> Any:
        return self._function(ctx, HookContext(workflow_id=ctx.workflow_id, current_payload=payload))

    def end(self, ctx: Context, outcome: Outcome, payload: Any) -> Any:
        told = HookContext(workflow_id=ctx.workflow_id, current_payload=payload, current_output=outcome.result)
        return self._function(ctx, told)

    def __call__(self, ctx: Context, told: HookContext) -> Any:
        return self._function(ctx, told)


@overload
def hook(function: Callable[..., Any]) -> Hooked: ...
@overload
def hook(function: None = None) -> Callable[[Callable[..., Any]], Hooked]: ...
def hook(function: Callable[..., Any] | None = None) -> Any:
    """`@hook` or `@hook()`: a function of (ctx, HookContext) that gives back a HookResult."""
    return Hooked if function is None else Hooked(function)


def checked(result: Any) -> HookResult:
    """What a hook gave back; Fail when it says so. Other hooks have nothing to say."""
    if not isinstance(result, HookResult):
        return _NOTHING
    if result.action is HookAction.FAIL:
        raise Fail(result.error_message or "a hook said so")
    return result


_NOTHING = HookResult()
