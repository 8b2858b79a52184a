"""A worker whose workflow waits for everything, and dies once: `waiter.py RECORD`. Steps write lines there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from polos import Context, Worker, _step_waits, workflow

_step_waits.IN_MEMORY = 0.1  # so that short waits give back slot and worker here
RECORD = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def act(execution_id: str, name: str) -> str:
    os.write(RECORD, json.dumps([execution_id, name]).encode() + b"\n")
    return name


def die_once(execution_id: str) -> None:
    marker = Path(f"{sys.argv[1]}.{execution_id}")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@workflow(id="waiter-child", queue="waiter")
async def child(ctx: Context, payload: int) -> int:
    await ctx.step.run("act", act, ctx.execution_id, "by child")
    return 2 * payload


@workflow(id="waiter", queue="waiter", retries=2)
async def waiter(ctx: Context, payload: str) -> list[object]:
    """Waits for everything that there is, and dies behind the wait that its payload names."""
    found: list[object] = []

    async def passed(name: str, value: Any) -> None:
        found.append(value)
        if payload == name:
            die_once(ctx.execution_id)
        await ctx.step.run(f"after {name}", act, ctx.execution_id, name)

    await ctx.step.sleep("sleep", 0.3)
    await passed("sleep", None)
    await passed("child", await ctx.step.invoke_and_wait("child", child, 21))
    handles = await ctx.step.batch_invoke("started", [(child, n) for n in range(3)])
    await passed("started", len(handles))
    await passed("batch", [each.result for each in await ctx.step.batch_invoke_and_wait("batch", [(child, 1)])])
    await passed("results", await asyncio.gather(*(handle.result() for handle in handles)))
    event = await ctx.step.wait_for_event("event", f"waiter/{ctx.execution_id}")
    await passed("event", event.payload)
    await passed("answer", await ctx.step.suspend("answer", "Yes?"))
    return found


@workflow(id="waiter-naps", queue="waiter-naps")
async def naps(ctx: Context, payload: float) -> str:
    await ctx.step.sleep("nap", payload)
    return ctx.worker


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(Worker(max_concurrent=1, drain_seconds=1).run())
