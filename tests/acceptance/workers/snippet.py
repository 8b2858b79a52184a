"""The first lines that anybody writes: every way to name a queue, client and worker in one process."""

from __future__ import annotations

import asyncio
import json

from polos import Polos, queue, workflow

api_queue = queue("api-calls", concurrency_limit=5)
unlimited_queue = queue("unlimited-queue")


@workflow(id="call_an_api", queue=api_queue)
async def call_an_api(ctx, payload):  # type: ignore[no-untyped-def]
    return {"queue": ctx.queue, "url": payload["url"]}


@workflow(id="crawl", queue=unlimited_queue)
async def crawl(ctx, payload):  # type: ignore[no-untyped-def]
    return {"queue": ctx.queue}


@workflow(id="inline_queue_workflow", queue={"concurrency_limit": 3})
async def inline_queue_workflow(ctx, payload):  # type: ignore[no-untyped-def]
    return {"queue": ctx.queue}


@workflow(id="named_queue_workflow", queue="my-queue-name")
async def named_queue_workflow(ctx, payload):  # type: ignore[no-untyped-def]
    return {"queue": ctx.queue}


@workflow
async def no_queue_at_all(ctx, payload):  # type: ignore[no-untyped-def]
    return {"queue": ctx.queue}


async def main() -> None:
    async with Polos() as polos:
        print(json.dumps(await call_an_api.run(polos, {"url": "https://example.org"})))  # noqa: T201
        for each in (crawl, inline_queue_workflow, named_queue_workflow, no_queue_at_all):
            handle = await each.invoke(polos, {})
            print(json.dumps(await handle.result()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
