"""What the engine answers when it cannot do what was asked.

EngineError
├── EngineUnavailable   the database is away or overloaded; nothing was done, or it is not known: repeat
│   └── EngineTimeout   it answers, but a statement took longer than it may
├── WorkerGone          the worker is unknown, lost or has left: register again under a new id
├── ExecutionNotFound
└── NotPossible         the execution's status forbids it; `detail` says why
    └── ChangedSince    it is not as the one who decided saw it; `detail` says what changed
"""

from __future__ import annotations

from uuid import UUID


class EngineError(Exception):
    pass


class EngineUnavailable(EngineError):
    def __init__(self, detail: str = "The database does not answer right now.") -> None:
        super().__init__(detail)
        self.detail = detail


class EngineTimeout(EngineUnavailable):
    pass


class WorkerGone(EngineError):
    def __init__(self, worker_id: UUID) -> None:
        super().__init__(f"Worker {worker_id} is not registered any more.")
        self.worker_id = worker_id


class ExecutionNotFound(EngineError):
    def __init__(self, execution_id: UUID) -> None:
        super().__init__(f"There is no execution {execution_id}.")
        self.execution_id = execution_id


class NotPossible(EngineError):
    """`extra` is told to programs beside the sentence."""

    def __init__(self, detail: str, **extra: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class ChangedSince(NotPossible):
    def __init__(self, detail: str, *, status: str) -> None:
        super().__init__(f"{detail} Nothing was done: look again, then decide.", execution_status=status)
