"""The workflows of this example, and the queues that they share.

Nothing here is heavy: each one sleeps where a real one would call an API, ask a database or compute.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import BaseModel

from polos import Context, queue, workflow

# One object, used by many workflows: they share its limit, wherever they run.
api_queue = queue("api-calls", concurrency_limit=5)
database_queue = queue("database-ops", concurrency_limit=10)
heavy_queue = queue("heavy-processing", concurrency_limit=2)
unlimited_queue = queue("unlimited")


# -- two workflows, one queue: never more than 5 calls at once, whichever they are --------------------


@workflow(id="call_api", queue=api_queue)
async def call_api(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Calls an API that allows five calls at once."""
    await asyncio.sleep(0.5)
    return {"called": payload.get("path", "/"), "slot": ctx.slot}


@workflow(id="send_webhook", queue=api_queue)
async def send_webhook(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Tells another system; shares the five calls with call_api."""
    await asyncio.sleep(0.3)
    return {"sent": payload.get("event", "ping")}


# -- reading and writing share the database's ten connections -----------------------------------------


class Record(BaseModel):
    key: str
    value: int = 0


@workflow(id="read_record", queue=database_queue)
def read_record(ctx: Context, payload: Record) -> Record:
    """A plain function: it runs in a thread."""
    time.sleep(0.2)
    return Record(key=payload.key, value=len(payload.key))


@workflow(id="write_record", queue=database_queue)
async def write_record(ctx: Context, payload: Record) -> Record:
    """The payload is validated before the body runs; a wrong one fails at once and is not retried."""
    await asyncio.sleep(0.3)
    return payload


# -- few at once ---------------------------------------------------------------------------------------


@workflow(id="process_video", queue=heavy_queue, retries=2)
async def process_video(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Two at once, no more. Its steps are kept: a second attempt does not decode again."""
    ctx.log.info("decoding", seconds=payload.get("seconds", 10))
    frames = await ctx.step.run("decode", decode, payload.get("seconds", 10))
    ctx.heartbeat(0.5, f"{frames} frames decoded")
    size = await ctx.step.run("encode", encode, frames)
    ctx.log.info("encoded", frames=frames, bytes=size)
    return {"frames": frames, "bytes": size}


async def decode(seconds: int) -> int:
    await asyncio.sleep(0.6)
    return seconds * 25


def encode(frames: int) -> int:
    time.sleep(0.6)
    return frames * 1024


# -- the other ways to name a queue --------------------------------------------------------------------


@workflow(id="count_words", queue=unlimited_queue)
async def count_words(ctx: Context, payload: dict[str, Any]) -> int:
    """On a queue without a limit."""
    await asyncio.sleep(0.2)
    return len(str(payload.get("text", "")).split())


@workflow(id="make_thumbnail", queue={"concurrency_limit": 3})
async def make_thumbnail(ctx: Context, payload: dict[str, Any]) -> str:
    """Inline: a queue of its own, named after the workflow, three at once."""
    await asyncio.sleep(0.4)
    return f"{payload.get('image', 'image')}-small.png"


@workflow(id="send_mail", queue="mail")
async def send_mail(ctx: Context, payload: dict[str, Any]) -> str:
    """A name only: its limit is for the server, or for somebody on the dashboard, to say."""
    await asyncio.sleep(0.2)
    return f"sent to {payload.get('to', 'nobody')}"


# -- limits chosen when it is started ------------------------------------------------------------------


@workflow(id="take_turns")
async def take_turns(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Works for `seconds`. Which queue, and how many at once, is said by whoever starts it: see main.py."""
    began = time.time()
    await asyncio.sleep(payload.get("seconds", 2.0))
    return {"name": payload.get("name"), "began": began, "ended": time.time()}


# -- work that starts other work -----------------------------------------------------------------------


@workflow(id="batch_processor", queue=unlimited_queue)
async def batch_processor(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Starts one child for each item. The queue of the children decides how many run at once."""
    items = payload.get("items", [])
    children = [
        await ctx.step.invoke(f"item-{number}", call_api, {"path": f"/items/{item}"})
        for number, item in enumerate(items)
    ]
    return {"started": len(children), "children": [child.id for child in children]}


@workflow(id="orchestrator", queue=unlimited_queue)
async def orchestrator(ctx: Context, payload: dict[str, Any]) -> dict[str, str]:
    """Starts work on four queues and goes on: each child waits in its own line."""
    key = payload.get("key", "order-1")
    children = {
        "read": await ctx.step.invoke("read", read_record, {"key": key}),
        "call": await ctx.step.invoke("call", call_api, {"path": f"/orders/{key}"}),
        "video": await ctx.step.invoke("video", process_video, {"seconds": 4}),
        "mail": await ctx.step.invoke("mail", send_mail, {"to": "someone@example.org"}),
    }
    return {name: child.id for name, child in children.items()}
