"""Hands in four expenses, and plays the person who decides on two of them. Needs a server."""

from __future__ import annotations

import asyncio

from polos import ConfigurationError, Execution, ExecutionHandle, Polos, RequestRefused, ServerUnavailable
from workflows import Decision, Expense, expense


async def main() -> None:
    async with Polos([expense], patience=5) as polos:  # client and worker in one process
        expenses = [Expense(who="Ada", amount=40), Expense(who="Bob", amount=900), Expense(who="Cy", amount=5_000)]
        handles = [await expense.invoke(polos, each) for each in [*expenses, Expense(who="Di", amount=700)]]
        _, bob, cy, _ = handles
        await decide(bob, Decision(approved=True, by="Eve"))
        await decide(cy, Decision(approved=False, by="Eve"))
        for told in await asyncio.gather(*(handle.result(60) for handle in handles)):
            print(told)


async def decide(handle: ExecutionHandle[str], decision: Decision) -> None:
    """As a page, a chat bot or `polos resume ID --data '{"approved": true}'` would do it."""
    async for update in handle.stream():
        if isinstance(update, Execution) and update.status == "waiting":
            break
    (wait,) = (await handle.get()).waits
    print(f"{wait.note['question']} {'Yes' if decision.approved else 'No'}.")
    await handle.resume(wait.key, decision)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
