"""A pipeline of steps that are tried again, and undone in reverse order when a later one cannot be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from polos import Context, Fail, queue, workflow

trip_queue = queue("compensation/trips", concurrency_limit=5)
told: list[str] = []  # what the other systems were told to do, for main.py to print
flaky: dict[str, int] = {}


class Trip(BaseModel):
    who: str
    budget: int


class Charge(BaseModel):
    paid: bool
    reason: str = ""


@workflow(id="compensation/book-trip", queue=trip_queue, retries=2)
async def book_trip(ctx: Context, payload: Trip) -> str:
    """Flight, hotel, money. What is done is undone when the next thing is refused."""
    undo: list[tuple[str, Callable[..., Any]]] = []

    await ctx.step.run("flight", book, payload.who, "flight")
    undo.append(("flight", cancel))
    # The hotel's system is away now and then: three more tries, before the attempt fails, which has two more.
    await ctx.step.run("hotel", book_hotel, payload.who, max_retries=3, base_delay=0.05)
    undo.append(("hotel", cancel))

    # Whether it was paid is decided once: the step returns it. An error would be tried again by the next attempt.
    charge = await ctx.step.run("charge", charge_card, payload)
    if charge.paid:
        return f"{payload.who} travels"
    for what, function in reversed(undo):
        await ctx.step.run(f"undo {what}", function, payload.who, what, max_retries=10)
    raise Fail(f"{payload.who} stays at home: {charge.reason}")  # not to be tried again


async def book(who: str, what: str) -> None:
    await asyncio.sleep(0.02)
    told.append(f"book {what} for {who}")


async def cancel(who: str, what: str) -> None:
    told.append(f"cancel {what} of {who}")


async def book_hotel(who: str) -> None:
    flaky[who] = flaky.get(who, 0) + 1
    if flaky[who] < 3:
        told.append(f"no answer from the hotel for {who}")
        raise ConnectionError("the hotel does not answer")
    await book(who, "hotel")


async def charge_card(trip: Trip) -> Charge:
    if trip.budget < 1_000:
        return Charge(paid=False, reason="the card was declined")
    told.append(f"charge {trip.who}")
    return Charge(paid=True)
