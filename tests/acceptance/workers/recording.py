"""A worker whose bodies write down when they begin and end: `recording.py FILE WORKFLOW...`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from polos import Context, Worker, queue, workflow

five = queue("limit-5", concurrency_limit=5)
RECORD = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(ctx: Context, what: str) -> None:
    line = {
        "what": what, "at": time.monotonic(), "pid": os.getpid(), "id": ctx.execution_id, "attempt": ctx.attempt,
        "queue": ctx.queue, "workflow": ctx.workflow_id, "slot": ctx.slot,
    }  # fmt: skip
    os.write(RECORD, json.dumps(line).encode() + b"\n")  # one write: lines of several processes never mix


async def body(ctx: Context, payload: Any) -> None:
    note(ctx, "begin")
    try:
        await asyncio.sleep((payload or {}).get("seconds", 0))
    except asyncio.CancelledError:
        note(ctx, "stopped")
        raise
    note(ctx, "end")


WORKFLOWS = {
    "one": workflow(id="one", queue={"name": "limit-1", "concurrency_limit": 1})(body),
    "two": workflow(id="two", queue={"name": "limit-2", "concurrency_limit": 2})(body),
    "five": workflow(id="five", queue=five)(body),
    "five_too": workflow(id="five_too", queue=five)(body),
    "quick": workflow(id="quick", queue="quick")(body),
}

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(Worker(workflows=[WORKFLOWS[name] for name in sys.argv[2:]]).run())
