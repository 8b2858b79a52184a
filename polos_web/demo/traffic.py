"""Starts the demo's work through REST, as any client would."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aiohttp
import structlog

from ..people import local_url
from ..serving.companion import Looping
from . import plan

log = structlog.get_logger(__name__)


class Traffic(Looping):
    def __init__(self, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(local_url(), headers=self._headers, timeout=timeout) as session:
            for second in itertools.count():
                try:
                    await _start(session, plan.due(second, await _waiting(session)))
                except (aiohttp.ClientError, TimeoutError) as error:
                    log.warning("the demo's traffic pauses", reason=str(error) or "no answer in time")
                    await asyncio.sleep(4)
                await asyncio.sleep(1)


async def _waiting(session: aiohttp.ClientSession) -> dict[str, int]:
    async with session.get("/api/v1/queues", params={"limit": "100"}) as response:
        response.raise_for_status()
        found = await response.json()
    return {queue["name"]: queue["waiting"] for queue in found["queues"]}


async def _start(session: aiohttp.ClientSession, works: list[tuple[plan.Work, int]]) -> None:
    items: list[dict[str, Any]] = []
    for work, count in works:
        items += [{"workflow_id": work.workflow, "queue_name": work.queue, "payload": work.payload}] * count
    if items:
        async with session.post("/api/v1/executions/batch", json={"executions": items}) as response:
            response.raise_for_status()
