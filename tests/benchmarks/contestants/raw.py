"""The physical limit: bare SQL on a bare table, 500 at once, two commits a batch; inserts by `unnest`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from queues.ids import uuid7

from ..tape import Job
from . import Client, Task, by_sql

BATCH = 500
unfinished = by_sql("select exists (select from job where status < 2)")
TABLE = """
    create table job (
        id uuid primary key,
        queue text not null,
        status smallint not null default 0,
        payload json,
        enqueued_at timestamptz not null default now(),
        claimed_at timestamptz,
        finished_at timestamptz
    );
    create index job_ready on job (queue, enqueued_at, id) where status = 0;
    create index job_held on job (queue) where status = 1
"""
CLAIM = """
    update job set status = 1, claimed_at = now() where id = any(array(
        select id from job where queue = 'bench' and status = 0
        order by enqueued_at, id limit $1 for update skip locked
    ))
    returning id, payload
"""
COMPLETE = "update job set status = 2, finished_at = now() where id = any($1::uuid[])"
INSERT = """
    insert into job (id, queue, payload)
    select id, 'bench', number::text::json from unnest($1::uuid[], $2::int[]) as u (id, number)
"""


async def set_up(task: Task) -> None:
    connection = await _connect(task)
    await connection.execute(TABLE)
    await connection.close()


async def work(task: Task, job: Job) -> None:
    connection = await _connect(task)
    claim, complete = await connection.prepare(CLAIM), await connection.prepare(COMPLETE)
    while claimed := await claim.fetch(BATCH):
        for row in claimed:
            await job.run(int(row["payload"]))
        await complete.fetch([row["id"] for row in claimed])


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    async with import_module("asyncpg").create_pool(task.database_url, min_size=at_once, max_size=at_once) as pool:
        yield _Client(pool)


class _Client:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def enqueue(self, number: int) -> None:
        await self.enqueue_many([number])

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await self._pool.execute(INSERT, [uuid7() for _ in numbers], numbers)


async def _connect(task: Task) -> Any:
    return await import_module("asyncpg").connect(task.database_url)
