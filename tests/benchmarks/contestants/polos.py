"""Ours: the SDK at its default settings, against real servers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from polos import Context, Invocation, PolosClient, Worker, Workflow, queue, workflow
from polos._session import Session

from ..tape import Job, Tape
from . import Client, Task, by_sql

unfinished = by_sql("""
    select exists (select from queues_execution where status = 'queued')
        or exists (select from queues_execution where status in ('running', 'cancelling'))
""")


async def set_up(task: Task) -> None:
    """Nothing: the harness migrates with the command, as everybody does."""


async def work(task: Task, job: Job) -> None:
    async def plain(ctx: Context, number: int) -> None:
        await job.run(number)

    async def with_steps(ctx: Context, number: int) -> None:
        began = time.monotonic_ns()
        for each in range(task.steps):
            await ctx.step.run(f"step-{each}", _no_op)
        await job.run(number, began)

    body = with_steps if task.steps else plain
    _record_claims(Tape(task.claims_tape, task.jobs + 10_000))  # each has one job at least
    client = PolosClient(task.api_url, task.api_key)
    await Worker([_workflow(task, body)], client=client, max_concurrent=task.max_concurrent).run()


def _record_claims(tape: Tape) -> None:
    """From the moment when the worker asks to the moment when it has the answer, if there was any work in it."""
    claim = Session._claim

    async def recorded(self: Session, *request: Any) -> dict[str, Any]:
        asked = time.monotonic_ns()
        reply = await claim(self, *request)
        if reply["executions"]:
            tape.add(len(reply["executions"]), asked, time.monotonic_ns())
        return reply

    Session._claim = recorded  # type: ignore[method-assign, assignment]


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    async with PolosClient(task.api_url, task.api_key) as opened:
        yield _Client(opened, task)


class _Client:
    def __init__(self, opened: PolosClient, task: Task) -> None:
        self._client, self._task = opened, task
        self._workflow = _workflow(task, _never)

    async def enqueue(self, number: int) -> None:
        await self._client.invoke(self._workflow, number, **self._place(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        if self._task.queues == 1:
            await self._client.batch_invoke([(self._workflow, number) for number in numbers])
            return
        await self._client.batch_invoke(
            [Invocation(workflow=self._workflow, payload=number, **self._place(number)) for number in numbers]
        )

    def _place(self, number: int) -> dict[str, Any]:
        if self._task.queues == 1:
            return {}
        name = f"{self._task.name}-{number % self._task.queues}"
        return {"queue_name": name, "queue_concurrency_limit": self._task.limit}


async def _no_op() -> None:
    pass


async def _never(ctx: Context, number: int) -> None:
    raise NotImplementedError("clients only enqueue")


def _workflow(task: Task, body: object) -> Workflow[None]:
    line = queue(task.name, concurrency_limit=task.limit)
    made: Workflow[None] = workflow(id=task.name, queue=line)(body)  # type: ignore[call-overload]
    return made
