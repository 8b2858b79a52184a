"""Calls of an API that answers 429: who is refused says when to come again, and keeps the place in the line."""

from __future__ import annotations

import asyncio
import time

from polos import Context, Throttled, queue, workflow

ALLOWED, WINDOW = 5, 0.5  # so many calls within so many seconds

# One line for everything that calls this API, on however many workers.
api_queue = queue("throttled/api", concurrency_limit=5)


class TooManyRequests(Exception):
    """What a client of HTTP makes of `429` with `Retry-After`."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("429 Too Many Requests")
        self.retry_after = retry_after


class Api:
    """Stands for somebody else's: it allows a few calls in each window, and refuses all others."""

    def __init__(self) -> None:
        self.answered: list[int] = []
        self.refused = 0
        self._since = float("-inf")
        self._used = 0

    async def ask(self, number: int) -> str:
        now = time.monotonic()
        if now - self._since >= WINDOW:
            self._since, self._used = now, 0
        if self._used == ALLOWED:
            self.refused += 1
            raise TooManyRequests(retry_after=WINDOW)
        self._used += 1
        self.answered.append(number)
        await asyncio.sleep(0.02)
        return f"answer {number}"


api = Api()


# Each refusal counts as an attempt, so there are plenty.
@workflow(id="throttled/read", queue=api_queue, retries=50)
async def read(ctx: Context, payload: int) -> str:
    return await ctx.step.run("ask", ask, payload)


@workflow(id="throttled/write", queue=api_queue, retries=50)
async def write(ctx: Context, payload: int) -> str:
    """Calls the same API, so it is on the same queue."""
    return await ctx.step.run("ask", ask, payload)


async def ask(number: int) -> str:
    """The one place that knows what a refusal looks like."""
    try:
        return await api.ask(number)
    except TooManyRequests as refusal:
        raise Throttled(retry_after=refusal.retry_after) from refusal
