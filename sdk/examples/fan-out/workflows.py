"""Fan out and join: one execution starts many others, waits for all of them, and adds up what they found."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from polos import Context, Fail, queue, workflow

# Eight at once, over all reports that are made at the same time, on however many workers.
page_queue = queue("fan-out/pages", concurrency_limit=8)
# One report at a time. While it waits for its pages it holds no slot, so that the next one can fan out meanwhile.
report_queue = queue("fan-out/reports", concurrency_limit=1)


class Page(BaseModel):
    number: int
    words: int


class Report(BaseModel):
    pages: int
    words: int
    missing: list[int]


@workflow(id="fan-out/count-page", queue=page_queue, retries=1)
async def count_page(ctx: Context, payload: int) -> Page:
    """Stands for something slow with a limit: a model, an API, a renderer."""
    await asyncio.sleep(0.1)
    if payload % 13 == 0:
        raise Fail(f"page {payload} is empty")  # trying again would not help
    return Page(number=payload, words=100 * payload)


@workflow(id="fan-out/report", queue=report_queue)
async def report(ctx: Context, payload: int) -> Report:
    """A child that failed is an item like the others: what that means is decided here."""
    numbers = range(1, payload + 1)
    results = await ctx.step.batch_invoke_and_wait("pages", [(count_page, number) for number in numbers])
    counted: list[Page] = [each.result for each in results if each.success]
    missing = [number for number, each in zip(numbers, results, strict=True) if not each.success]
    await ctx.step.run("publish", publish, len(counted))  # once, however often this function runs again
    return Report(pages=len(counted), words=sum(page.words for page in counted), missing=missing)


def publish(pages: int) -> dict[str, Any]:
    return {"published": pages}
