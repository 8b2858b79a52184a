"""An execution that asks a person, and waits for the answer, minutes or weeks, without a slot and a worker."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel

from polos import Context, WaitTimeout, queue, workflow

expense_queue = queue("approval/expenses", concurrency_limit=2)
SMALL = 100
PATIENCE = dt.timedelta(seconds=3)  # in earnest: days


class Expense(BaseModel):
    who: str
    amount: int


class Decision(BaseModel):
    approved: bool
    by: str = "nobody"


@workflow(id="approval/expense", queue=expense_queue)
async def expense(ctx: Context, payload: Expense) -> str:
    """Small amounts are paid at once. Others are when somebody says so, in time."""
    if payload.amount > SMALL:
        decision = await ask(ctx, payload)
        if not decision.approved:
            return f"{payload.who} gets nothing, says {decision.by}"
    await ctx.step.run("pay", pay, payload)
    return f"{payload.who} gets {payload.amount}"


async def ask(ctx: Context, payload: Expense) -> Decision:
    """What is shown is chosen here; the answer has to be a Decision."""
    question = {"question": f"Pay {payload.amount} to {payload.who}?"}
    try:
        return await ctx.step.suspend("decision", question, PATIENCE, answer_type=Decision)
    except WaitTimeout:
        return Decision(approved=False)


def pay(expense: Expense) -> None:
    """Is called once, however often the execution is tried."""
