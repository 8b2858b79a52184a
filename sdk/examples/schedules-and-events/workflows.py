"""Workflows that nobody calls: a clock starts them, or an event."""

from __future__ import annotations

import asyncio
from typing import Any

from polos import BatchEventPayload, Context, EventPayload, SchedulePayload, queue, workflow

reports = queue("reports", concurrency_limit=2)
orders = queue("orders", concurrency_limit=10)

looked: asyncio.Queue[str] = asyncio.Queue()  # what main.py waits for; a real program would not
packed: asyncio.Queue[str] = asyncio.Queue()
booked: asyncio.Queue[list[str]] = asyncio.Queue()


# -- by the clock ------------------------------------------------------------------------------------


@workflow(
    queue=reports,
    schedule={"cron": "30 3 * * MON-FRI", "timezone": "Europe/Berlin", "catch_up": "latest"},
)
async def nightly_report(ctx: Context, tick: SchedulePayload) -> str:
    """Half past three in Berlin, in summer as in winter. After an outage: the last night that was missed."""
    return f"the report of {tick.timestamp:%Y-%m-%d}"


@workflow(queue=reports, schedule={"every": 1, "overlap": "skip"})
async def look_for_mail(ctx: Context, tick: SchedulePayload) -> None:
    """Every second; while one look is not finished, the next ones are skipped."""
    await looked.put(tick.key)


# -- by events ---------------------------------------------------------------------------------------


@workflow(queue=orders)
async def place_order(ctx: Context, payload: dict[str, Any]) -> None:
    """Tells the others that there is an order: once, whatever happens to the worker."""
    await ctx.step.publish_event("tell", "orders/placed", {"order": payload["order"]})


@workflow(queue=orders, trigger_on_event="orders/placed")
async def pack(ctx: Context, event: EventPayload) -> None:
    """One execution for each order."""
    await packed.put(event.payload["order"])


@workflow(queue=orders, trigger_on_event="orders/placed", batch_size=5, batch_timeout_seconds=1)
async def book(ctx: Context, batch: BatchEventPayload) -> None:
    """One execution for five orders, or for fewer when the oldest has waited for a second."""
    await booked.put([event.payload["order"] for event in batch.events])
