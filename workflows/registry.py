"""Workflows as workers declare them: which queue an execution goes to when nobody names one."""

from __future__ import annotations

import time
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import force_setattr

from queues.engine import Engine
from queues.engine.arrays import numbers, texts
from queues.engine.statements import statement
from queues.requests import NewExecution, WorkflowDeclaration

KEPT_SECONDS = 2.0
MAX_KEPT = 10_000


class Home(NamedTuple):
    """Where a workflow's executions go, and with which options, when nobody says otherwise."""

    queue: str
    max_attempts: int | None  # None: nobody has registered the workflow
    priority: int = 0
    queue_timeout: float | None = None
    execution_timeout: float | None = None

    @property
    def has_options(self) -> bool:
        return bool(self.priority or self.queue_timeout or self.execution_timeout)


_kept: dict[str, tuple[float, Home]] = {}


async def declare(engine: Engine, workflows: list[WorkflowDeclaration]) -> list[str]:
    """Takes over a worker's declarations, whose queues exist; returns sentences for its log."""
    values = {
        "ids": texts(item.id for item in workflows),
        "queues": texts(item.queue for item in workflows),
        "descriptions": texts(item.description for item in workflows),
        "max_attempts": numbers(item.max_attempts for item in workflows),
        "priorities": numbers(item.priority for item in workflows),
        "queue_timeouts": numbers(item.queue_timeout for item in workflows),
        "execution_timeouts": numbers(item.execution_timeout for item in workflows),
    }
    async with engine.connection() as conn, conn.transaction():
        cursor = await conn.execute(statement("moved_workflows", "workflows"), values)
        moved = await cursor.fetchall()
        await conn.execute(statement("declare_workflows", "workflows"), values)
    forget()
    return [
        f"Workflow {name} was registered on the queue {before} until now. "
        f"New executions go to {now}; those that wait on {before} need a worker that serves them there."
        for name, before, now in moved
    ]


async def resolve(engine: Engine, workflow_id: str) -> Home:
    """The home of a workflow, at most two seconds old; of an unknown one, a queue named after it."""
    kept = _kept.get(workflow_id)
    if kept is None or kept[0] < time.monotonic():
        kept = _keep(workflow_id, await _find(engine, workflow_id))
    return kept[1]


def fill_in(item: NewExecution, home: Home) -> None:
    """What a request leaves open is as its workflow says. Only for requests that nobody else has yet."""
    force_setattr(item, "queue_name", item.queue_name or home.queue)
    force_setattr(item, "max_attempts", item.max_attempts or home.max_attempts or 1)
    if home.has_options:
        fill_in_options(item, home)


def fill_in_options(item: NewExecution, home: Home) -> None:
    if item.priority is None:
        force_setattr(item, "priority", home.priority)
    if item.queue_timeout is UNSET:
        force_setattr(item, "queue_timeout", home.queue_timeout)
    if item.execution_timeout is UNSET:
        force_setattr(item, "execution_timeout", home.execution_timeout)


def forget() -> None:
    _kept.clear()


async def _find(engine: Engine, workflow_id: str) -> Home:
    async with engine.connection() as conn:
        cursor = await conn.execute(statement("find_workflow", "workflows"), {"id": workflow_id})
        row = await cursor.fetchone()
    return Home(*row) if row else Home(workflow_id, None)


def _keep(workflow_id: str, home: Home) -> tuple[float, Home]:
    if len(_kept) >= MAX_KEPT:
        _kept.clear()
    kept = _kept[workflow_id] = (time.monotonic() + KEPT_SECONDS, home)
    return kept
