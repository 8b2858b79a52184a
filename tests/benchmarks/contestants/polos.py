"""Ours: the SDK at its default settings, against real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from polos import Context, Invocation, PolosClient, Worker, Workflow, queue, workflow

from ..tape import Job
from . import Client, Task

UNFINISHED = """
    select exists (select from queues_execution where status = 'queued')
        or exists (select from queues_execution where status in ('running', 'cancelling'))
"""


async def set_up(task: Task) -> None:
    """Nothing: the harness migrates with the command, as everybody does."""


async def work(task: Task, job: Job) -> None:
    async def body(ctx: Context, number: int) -> None:
        await job.run(number)

    client = PolosClient(task.api_url, task.api_key)
    await Worker([_workflow(task, body)], client=client, max_concurrent=task.max_concurrent).run()


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    async with PolosClient(task.api_url, task.api_key) as opened:
        yield _Client(opened, task)


class _Client:
    def __init__(self, opened: PolosClient, task: Task) -> None:
        self._client, self._task = opened, task
        self._workflow = _workflow(task, _never)

    async def enqueue(self, number: int) -> None:
        await self._client.invoke(self._workflow, number)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        if self._task.queues == 1:
            await self._client.batch_invoke([(self._workflow, number) for number in numbers])
        else:
            await self._client.batch_invoke([self._on_its_queue(number) for number in numbers])

    def _on_its_queue(self, number: int) -> Invocation:
        return Invocation(
            workflow=self._workflow,
            payload=number,
            queue_name=f"bench-{number % self._task.queues}",
            queue_concurrency_limit=self._task.limit,
        )


async def _never(ctx: Context, number: int) -> None:
    raise NotImplementedError("clients only enqueue")


def _workflow(task: Task, body: object) -> Workflow[None]:
    made: Workflow[None] = workflow(id="bench", queue=queue("bench", concurrency_limit=task.limit))(body)  # type: ignore[call-overload]
    return made
