"""Deduplication with a real server and a worker in this process."""

from __future__ import annotations

import asyncio

from polos import Context, Polos, workflow
from tests.servers import Server


async def test_the_newest_takes_the_place_of_the_old_one_and_never_two_run(running_server: Server) -> None:
    running, peak, seen = 0, 0, []

    @workflow(id="dedup/sync", queue="dedup/sync")
    async def sync(ctx: Context, payload: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        seen.append(payload)
        try:
            await asyncio.sleep(0 if payload == 4 else 30)
            return payload
        finally:
            await asyncio.sleep(0.2)  # it takes a moment to stop
            running -= 1

    async with Polos([sync], api_url=running_server.url) as polos:
        handles = []
        for n in range(5):
            handles.append(await sync.invoke(polos, n, dedup_key="k", dedup_policy="cancel_old"))
            await asyncio.sleep(0.1)
        assert await handles[4].result(15) == 4
        assert [(await handle.get()).status for handle in handles] == ["cancelled"] * 4 + ["completed"]
        kept = await sync.invoke(polos, 7, dedup_key="k", debounce=0.4)
        again = await sync.invoke(polos, 4, dedup_key="k", debounce=0.4)
        assert (again.id, again.created) == (kept.id, False)
        assert await kept.result(15) == 4
    assert peak == 1
    assert seen[-1] == 4 and 7 not in seen
