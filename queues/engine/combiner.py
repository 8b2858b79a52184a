"""Group commit: while one batch is in flight, what arrives meanwhile forms the next.

A single call is as fast as without; under load the batches grow by themselves, and with them the number of
calls that share one statement and one commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Combiner(Generic[T, R]):
    """Runs `run(items)` for one batch at a time; `run` returns one result, or one exception, per item."""

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        *,
        max_batch: int = 1_000,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._weight = weight
        self._pending: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._pending:
            batch = self._next_batch()
            if batch:
                await self._run_batch(batch)

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        room = self._max_batch
        while self._pending and (not batch or room >= self._weight(self._pending[0][0])):
            item, future = self._pending.popleft()
            if not future.done():  # the caller has gone
                batch.append((item, future))
                room -= self._weight(item)
        return batch

    async def _run_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:  # every caller of the batch learns it
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
