"""Workflows, where `polos-sdk` has them."""

from __future__ import annotations

from .._aliases import StepExecutionError, WorkflowTimeoutError, get_all_workflows, get_workflow
from .._workflow import Workflow, workflow

__all__ = [
    "StepExecutionError",
    "Workflow",
    "WorkflowTimeoutError",
    "get_all_workflows",
    "get_workflow",
    "workflow",
]
