"""Types of `polos-sdk` under their names there."""

from __future__ import annotations

from .._aliases import WorkflowContext

__all__ = ["WorkflowContext"]
