"""A worker that dies in the middle: `mortal.py RECORD VERSION`. What its steps do is a line each in RECORD."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from polos import Context, Worker, workflow

RECORD = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
RENAMED = sys.argv[2] == "renamed"
TEN = 10


class Receipt(BaseModel):
    """Found by the annotation of the step: this module is `__main__` in every process."""

    number: int


def act(execution_id: str, number: int) -> Receipt:
    os.write(RECORD, json.dumps([execution_id, number]).encode() + b"\n")
    return Receipt(number=number)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once() -> None:
    marker = Path(f"{sys.argv[1]}.dead")
    if not marker.exists():
        marker.touch()
        die()


@workflow(id="ten", queue="ten")
async def ten(ctx: Context, payload: dict[str, int]) -> list[Any]:
    """Ten steps, and in the first attempt a kill -9 behind one of them."""
    receipts = []
    for number in range(TEN):
        receipts.append(await ctx.step.run(f"step-{number}", act, ctx.execution_id, number))
        if ctx.attempt == 1 and payload["dies_after"] == number:
            die()
    assert all(isinstance(each, Receipt) for each in receipts)
    return [each.number for each in receipts]


@workflow(id="shop", queue="shop")
async def shop(ctx: Context, payload: str) -> str:
    """Its second step has another key in the version that is deployed after the death of the first."""
    await ctx.step.run("reserve", act, payload, 1)
    await ctx.step.run("charge-card" if RENAMED else "charge", act, payload, 2)
    die_once()
    await ctx.step.run("ship", act, payload, 3)
    return "shipped"


async def act_slowly(execution_id: str) -> Receipt:
    receipt = act(execution_id, 1)
    await asyncio.sleep(1.5)  # long enough for the server to be killed meanwhile
    return receipt


@workflow(id="outlasts", queue="outlasts")
async def outlasts(ctx: Context) -> int:
    """Its server dies while its step runs; what the step did is saved when the next server is there."""
    receipt = await ctx.step.run("slow", act_slowly, ctx.execution_id)
    return receipt.number


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(Worker(max_concurrent=1, drain_seconds=1).run())
