"""A request to a language model, which takes as long as a real one of its size would, in time-lapse."""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel

from polos import Context, queue, workflow

# Five at once until somebody chooses another limit on the page of the queue: main.py is made to be watched there.
api_queue = queue("api-calls", concurrency_limit=5)

# When each execution was begun. Client and worker are one process here, so that this can be a dictionary.
begun: dict[str, float] = {}


class Call(BaseModel):
    context_tokens: int
    generated_tokens: int
    seconds: float  # how long the model takes, in time-lapse


@workflow(id="trace-replay/complete", queue=api_queue)
async def complete(ctx: Context, payload: Call) -> int:
    """Stands for the call of a model."""
    begun[ctx.execution_id] = time.monotonic()
    await asyncio.sleep(payload.seconds)
    return payload.generated_tokens
