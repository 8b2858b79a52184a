"""procrastinate, with psycopg. It has no limit per queue but a lock (limit 1), so it takes no part in limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..tape import Job
from . import Client, Task, by_sql

unfinished = by_sql("select exists (select from procrastinate_jobs where status in ('todo', 'doing'))")


async def set_up(task: Task) -> None:
    app = _app(task, connections=2)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work(task: Task, job: Job) -> None:
    app = _app(task, connections=55)

    @app.task(name="bench", queue="bench")  # type: ignore[untyped-decorator]
    async def body(number: int) -> None:
        await job.run(number)

    async with app.open_async():
        await app.run_worker_async(queues=["bench"], concurrency=100)


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    app = _app(task, connections=max(2, at_once))
    async with app.open_async():
        yield _Client(app)


class _Client:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def enqueue(self, number: int) -> None:
        await self._app.configure_task("bench", queue="bench").defer_async(number=number)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        task = self._app.configure_task("bench", queue="bench")
        await task.batch_defer_async(*({"number": number} for number in numbers))


def _app(task: Task, *, connections: int) -> Any:
    procrastinate = import_module("procrastinate")
    pool = {"min_size": connections, "max_size": connections}
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=task.database_url, **pool))
