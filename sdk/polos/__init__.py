"""Workflows on shared, concurrency-limited queues.

    from polos import queue, workflow

    api_queue = queue("api-calls", concurrency_limit=5)

    @workflow(id="call_api", queue=api_queue)
    async def call_api(ctx, payload): ...

Run them with `Worker`, start them with `PolosClient`, or do both in one process with `Polos`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._attempt import Outcome
from ._client import PolosClient
from ._context import Context
from ._errors import (
    AttemptTimeout,
    BadLimit,
    BadName,
    BadSignature,
    ConfigurationError,
    Conflict,
    DefinitionError,
    DuplicateStep,
    DuplicateWorkflow,
    ExecutionCancelled,
    ExecutionError,
    ExecutionFailed,
    ExecutionTimeout,
    Fail,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotSerializable,
    PayloadInvalid,
    PolosError,
    QueueConflict,
    QueueDraining,
    RequestRefused,
    Retry,
    ServerUnavailable,
    StateInvalid,
    StepError,
    StepRefused,
    StepsChanged,
    StepTimeout,
    Throttled,
    TooLarge,
    Unauthorized,
    WaitTimeout,
)
from ._events import Event
from ._execution import ErrorInfo, Execution, ExecutionHandle, Wait
from ._invocation import Invocation
from ._log import Log
from ._logs import mark_log_records
from ._polos import Polos
from ._queue import Queue, queue
from ._queues import QueueInfo
from ._retrying import RetryPolicy
from ._schedule import BatchEventPayload, EventPayload, SchedulePayload
from ._schedules import Schedule, Tick
from ._step_children import ChildResult
from ._stream import LogLine, Progress, Update
from ._sync import SyncClient, SyncHandle
from ._version import __version__
from ._worker import Worker
from ._workflow import Workflow, workflow

if TYPE_CHECKING:  # what `__getattr__` finds
    from ._aliases import *  # noqa: F403

__all__ = [
    "AttemptTimeout",
    "BadLimit",
    "BadName",
    "BadSignature",
    "BatchEventPayload",
    "ChildResult",
    "ConfigurationError",
    "Conflict",
    "Context",
    "DefinitionError",
    "DuplicateStep",
    "DuplicateWorkflow",
    "ErrorInfo",
    "Event",
    "EventPayload",
    "Execution",
    "ExecutionCancelled",
    "ExecutionError",
    "ExecutionFailed",
    "ExecutionHandle",
    "ExecutionTimeout",
    "Fail",
    "Forbidden",
    "Gone",
    "Invalid",
    "Invocation",
    "Log",
    "LogLine",
    "NotFound",
    "NotSerializable",
    "Outcome",
    "PayloadInvalid",
    "Polos",
    "PolosClient",
    "PolosError",
    "Progress",
    "Queue",
    "QueueConflict",
    "QueueDraining",
    "QueueInfo",
    "RequestRefused",
    "Retry",
    "RetryPolicy",
    "Schedule",
    "SchedulePayload",
    "ServerUnavailable",
    "StateInvalid",
    "StepError",
    "StepRefused",
    "StepTimeout",
    "StepsChanged",
    "SyncClient",
    "SyncHandle",
    "Throttled",
    "Tick",
    "TooLarge",
    "Unauthorized",
    "Update",
    "Wait",
    "WaitTimeout",
    "Worker",
    "Workflow",
    "__version__",
    "mark_log_records",
    "queue",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Names that code written for `polos-sdk` imports."""
    if not name.startswith("_"):
        from . import _aliases

        if name in _aliases.__all__:
            return getattr(_aliases, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
