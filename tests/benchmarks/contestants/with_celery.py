"""celery on Redis, a note beside the peers: no limit per queue, and Redis writes to disk now and then.

The solo pool is its best for jobs this short; a job leaves Redis only once it has run (acks_late), as with the
others, and the worker fetches ahead. No results, no events, no gossip: nothing that the measurement does not need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

from ..tape import Job
from . import Client, IsUnfinished, Task

QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")


@contextmanager
def unfinished(url: str) -> Iterator[IsUnfinished]:
    redis = import_module("redis").Redis(unix_socket_path=url.removeprefix("redis+socket://"))
    yield lambda: bool(redis.llen("bench") or redis.hlen("unacked"))
    redis.close()


async def set_up(task: Task) -> None:
    """Nothing: Redis has no schema."""


async def work(task: Task, job: Job) -> None:
    app = _app(task)
    app.task(name="bench")(job.run_in_thread)
    app.worker_main(["worker", "--pool=solo", "--queues=bench", *QUIET])  # its own loop, until it is killed


@asynccontextmanager
async def client(task: Task, *, at_once: int) -> AsyncIterator[Client]:
    app = _app(task)
    with app.producer_pool.acquire(block=True) as producer:
        producer.maybe_declare(app.amqp.queues["bench"])  # which connects: like the others, before the clock runs
        yield _Client(app, producer)


class _Client:
    """No call enqueues many at once."""

    def __init__(self, app: Any, producer: Any) -> None:
        self._app, self._producer = app, producer

    async def enqueue(self, number: int) -> None:
        self._send(number)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._send(number)
            await asyncio.sleep(0)

    def _send(self, number: int) -> None:
        self._app.send_task("bench", (number,), producer=self._producer)


def _app(task: Task) -> Any:
    app = import_module("celery").Celery("bench", broker=task.database_url)
    app.conf.update(
        task_default_queue="bench",
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=128,
        worker_send_task_events=False,
    )
    return app
