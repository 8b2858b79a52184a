"""pgqueuer, with asyncpg and uvloop. Its batch is the setting that counts: 500, but never above the limit, because
it hands results in only when a batch of them is full, or after 100 ms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..tape import Job
from . import Client, Task, by_sql

unfinished = by_sql("select exists (select from pgqueuer)")


async def set_up(task: Task) -> None:
    connection = await _asyncpg().connect(task.database_url)
    await _queries(connection).install()
    await connection.close()


async def work(task: Task, job: Job) -> None:
    connection = await _asyncpg().connect(task.database_url)
    pgq = import_module("pgqueuer").PgQueuer.from_asyncpg_connection(connection)

    @pgq.entrypoint("bench", concurrency_limit=task.limit or 0)  # type: ignore[untyped-decorator]
    async def body(claimed: Any) -> None:
        await job.run(int(claimed.payload))

    await pgq.run(batch_size=min(500, task.limit or 500))


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    if at_once == 1:
        connection = await _asyncpg().connect(task.database_url)
        yield _Client(_queries(connection))
        await connection.close()
        return
    async with _asyncpg().create_pool(task.database_url, min_size=at_once, max_size=at_once) as pool:
        yield _Client(import_module("pgqueuer.queries").Queries.from_asyncpg_pool(pool))


class _Client:
    def __init__(self, queries: Any) -> None:
        self._queries = queries

    async def enqueue(self, number: int) -> None:
        await self._queries.enqueue("bench", str(number).encode())

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        count = len(numbers)
        await self._queries.enqueue(["bench"] * count, [str(each).encode() for each in numbers], [0] * count)


def _queries(connection: Any) -> Any:
    return import_module("pgqueuer.queries").Queries.from_asyncpg_connection(connection)


def _asyncpg() -> Any:
    return import_module("asyncpg")
