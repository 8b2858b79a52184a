"""What code written for `polos-sdk` calls things, so that it runs here: see docs/coming-from.md.

Found by `polos.__getattr__`, so that the surface that is told to newcomers stays short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._context import Context as WorkflowContext
from ._errors import ExecutionTimeout as WorkflowTimeoutError
from ._execution import ExecutionHandle
from ._hooks import HookAction, HookContext, HookResult, hook
from ._invocation import Invocation
from ._queue import NOT_GIVEN, MaybeSeconds
from ._step_children import ChildResult as BatchStepResult
from ._workflow import Workflow, registered_workflows

if TYPE_CHECKING:
    from pydantic import BaseModel as WorkflowState

    from ._client import PolosClient

__all__ = [
    "BatchStepResult",
    "BatchWorkflowInput",
    "HookAction",
    "HookContext",
    "HookResult",
    "StepExecutionError",
    "WorkflowContext",
    "WorkflowState",
    "WorkflowTimeoutError",
    "batch_invoke",
    "get_all_workflows",
    "get_workflow",
    "hook",
]

# There it wraps what a step's function raised. Here that is raised as it is, which any `except` must catch.
StepExecutionError = Exception


class BatchWorkflowInput(Invocation):
    """An `Invocation` of the workflow with this `id`, typed as that one where this process has declared it."""

    __slots__ = ()

    def __init__(
        self, *, id: str, payload: Any = None, run_timeout_seconds: MaybeSeconds = NOT_GIVEN, **options: Any
    ) -> None:
        workflow = get_workflow(id) or id
        super().__init__(workflow=workflow, payload=payload, execution_timeout=run_timeout_seconds, **options)

    @property
    def id(self) -> str:
        return self.workflow.id if isinstance(self.workflow, Workflow) else self.workflow


def get_workflow(id: str) -> Workflow[Any] | None:
    """The workflow with this id, if this process has declared it."""
    return get_all_workflows().get(id)


def get_all_workflows() -> dict[str, Workflow[Any]]:
    """All workflows that this process has declared, by id."""
    return {each.id: each for each in registered_workflows()}


async def batch_invoke(client: PolosClient, workflows: Iterable[Invocation]) -> list[ExecutionHandle[Any]]:
    """`client.batch_invoke(workflows)`."""
    return await client.batch_invoke(workflows)


def __getattr__(name: str) -> Any:
    """pydantic is imported only for who asks for something of it."""
    if name == "WorkflowState":
        from pydantic import BaseModel

        return BaseModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
