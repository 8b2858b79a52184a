"""DBOS: threads and a poll. Its best: 8 threads and a poll of 0.1 s for steps and for many jobs without a limit,
64 threads and 0.003 s under a limit, 0.01 s for a single job. Async workflows and a limit per worker were no
faster."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..tape import Job
from . import Client, Task, by_sql

unfinished = by_sql("""
    select exists (
        select from dbos.workflow_status where queue_name = 'bench' and status in ('ENQUEUED', 'PENDING')
    )
""")
VERSION = "benchmark"


async def set_up(task: Task) -> None:
    await asyncio.to_thread(_launch, task)


async def work(task: Task, job: Job) -> None:
    module = import_module("dbos")

    @module.DBOS.workflow(name="bench")  # type: ignore[untyped-decorator]
    def body(number: int) -> None:
        if not task.steps:
            job.run_in_thread(number)
            return
        began = time.monotonic_ns()
        for _ in range(task.steps):
            step()
        job.run_in_thread(number, began)

    step = module.DBOS.step(name="step")(_no_op)
    await asyncio.to_thread(_launch, task)
    await asyncio.to_thread(_register, task)
    await asyncio.Event().wait()


def _no_op() -> None:
    pass


def _launch(task: Task) -> None:
    module = import_module("dbos")
    module.DBOS(
        config={
            "name": "bench",
            "system_database_url": task.database_url,
            "application_version": VERSION,
            "executor_id": str(os.getpid()),  # one that is shared takes over what the other runs
            "run_admin_server": False,
            "log_level": "ERROR",
            "max_executor_threads": 8 if _in_bulk(task) else 64,
        }
    )
    module.DBOS.launch()


def _register(task: Task) -> None:
    """Only here, not with the schema: a queue that is known at launch is worked on before its limit is set."""
    poll = 0.1 if _in_bulk(task) else 0.003 if task.limit else 0.01
    import_module("dbos").DBOS.register_queue("bench", global_concurrency=task.limit, polling_interval_sec=poll)


def _in_bulk(task: Task) -> bool:
    return task.limit is None and (task.jobs > 1_000 or task.steps > 0)


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    opened = import_module("dbos").DBOSClient(
        system_database_url=task.database_url, system_database_pool_size=max(5, at_once)
    )
    yield _Client(opened, task)
    opened.destroy()


class _Client:
    """No call enqueues many at once: those go into one transaction."""

    def __init__(self, opened: Any, task: Task) -> None:
        self._client = opened
        self._engine = import_module("sqlalchemy").create_engine(_for_sqlalchemy(task.database_url))

    async def enqueue(self, number: int) -> None:
        await self._client.enqueue_async(_options(), number)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._in_one_transaction, numbers)

    def _in_one_transaction(self, numbers: Sequence[int]) -> None:
        with self._engine.begin() as connection:
            for number in numbers:
                self._client.enqueue_in_transaction(connection, _options(), number)


def _options() -> dict[str, str]:
    return {"workflow_name": "bench", "queue_name": "bench", "app_version": VERSION}


def _for_sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
