"""Types of `polos-sdk` under their names there."""

from __future__ import annotations

from .._aliases import BatchStepResult, BatchWorkflowInput

__all__ = ["BatchStepResult", "BatchWorkflowInput"]
