"""A process of a contestant: `python -m tests.benchmarks.process ROLE TASK`.

It says `ready` once everything is imported, waits for a line, does its part, and prints what it measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from polos._loop import loop_factory

from .contestants import OURS, Client, Contestant, Task, load
from .scenarios import CHURN_RATE
from .tape import Job, Reader, Tape

BATCH = 1_000
AT_ONCE = 8
CHURN_BATCH = 100
CHURN_AHEAD = 2_000  # jobs that wait; more are not enqueued
PATIENCE = 30.0  # seconds for a job to start


def main() -> None:
    role, task = sys.argv[1], Task.from_json(sys.argv[2])
    contestant = load(task.contestant)
    print("ready", flush=True)  # noqa: T201
    if sys.stdin.readline():
        with _loop_of(role, task.contestant) as runner:
            print(json.dumps(runner.run(_do(role, contestant, task))), flush=True)  # noqa: T201


def _loop_of(role: str, contestant: str) -> asyncio.Runner:
    """Our workers run as `polos worker` does, our clients as a script; the others on the faster loop."""
    return asyncio.Runner(loop_factory=None if contestant == OURS and role != "work" else loop_factory())


async def _do(role: str, contestant: Contestant, task: Task) -> Any:
    if role == "set_up":
        return await contestant.set_up(task)
    if role == "work":
        # A little more room than jobs: one that runs twice is to be seen, not to crash.
        return await contestant.work(task, Job(Tape(task.tape, task.jobs + 10_000), task.job_seconds))
    async with contestant.client(task, at_once=AT_ONCE if role == "eight" else 1) as client:
        return await _enqueue(role, client, task)


async def _enqueue(role: str, client: Client, task: Task) -> float | list[float]:
    """Seconds; of `latency`, of each job from the call to its start. Of `churn` the number of jobs."""
    numbers = range(task.jobs)
    if role == "latency":
        return await _latencies(client, task)
    if role == "churn":
        return await _churn(client, task)
    began = time.perf_counter()
    if role == "one":
        await _one_by_one(client, numbers)
    elif role == "eight":
        await asyncio.gather(*(_one_by_one(client, numbers[i::AT_ONCE]) for i in range(AT_ONCE)))
    else:
        for first in range(0, task.jobs, BATCH):
            await client.enqueue_many(numbers[first : first + BATCH])
    return time.perf_counter() - began


async def _one_by_one(client: Client, numbers: Sequence[int]) -> None:
    for number in numbers:
        await client.enqueue(number)


async def _churn(client: Client, task: Task) -> int:
    """An even rate, for some seconds; a worker that cannot keep up with it is not buried."""
    reader, began, sent = Reader([task.tape]), time.monotonic(), 0
    while sent + CHURN_BATCH <= task.jobs and (elapsed := time.monotonic() - began) < task.seconds:
        if sent > elapsed * CHURN_RATE or sent > reader.count() + CHURN_AHEAD:
            await asyncio.sleep(0.005)
            continue
        await client.enqueue_many(range(sent, sent + CHURN_BATCH))
        sent += CHURN_BATCH
    return sent


async def _latencies(client: Client, task: Task) -> list[float]:
    """One at a time, in turn over the queues, with pauses that are the same in every run."""
    reader, pauses = Reader([task.tape]), random.Random(7)  # noqa: S311
    first = await _warm_up(client, task, reader)
    called = {}
    for number in range(first, task.jobs):
        called[number] = time.monotonic_ns()
        await client.enqueue(number)
        await _until_started(reader, number)
        await asyncio.sleep(pauses.uniform(0.01, 0.03))  # idle again, and not in step with any poll
    starts = {run.number: run.start for run in reader.runs()}
    return [(starts[number] - moment) / 1e9 for number, moment in called.items()]


async def _warm_up(client: Client, task: Task, reader: Reader) -> int:
    """Of several queues, each has one job that is not measured: the first one creates it. Returns their number."""
    if task.queues == 1:
        return 0
    await client.enqueue_many(range(task.queues))
    await _until_started(reader, task.queues - 1)
    return task.queues


async def _until_started(reader: Reader, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while reader.count() <= number:  # another process writes it
        assert time.monotonic() < deadline, f"job {number} did not start"
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    main()
