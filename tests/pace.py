"""How slow this machine is right now: what bounds on times are stretched by.

A bound is the one that a usual machine keeps with little to spare, so that it finds what has become slower; a slow
machine, or a busy one, gets what it needs, within reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

USUAL = 0.018  # seconds of `_work` on a usual machine: the one for which the bounds were chosen
MOST = 4.0
HOLDS = 10.0  # seconds for which a measurement counts

_last = (0.0, -HOLDS)  # what it was, and when


def slowness(clock: Callable[[], float] = time.perf_counter) -> float:
    """From 1 (as fast as a usual machine, or faster) to 4. By the clock on the wall other processes count, too;
    with `time.process_time` they count as little as they do in the processor's time of what is measured."""
    return min(MOST, max(1.0, min(_work(clock) for _ in range(3)) / USUAL))


async def soon(awaited: Awaitable[T], seconds: float = 1.0) -> T:
    """Waits for what has to come within so many seconds on a usual machine. Raises `TimeoutError`."""
    return await asyncio.wait_for(awaited, seconds * lately())


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Looks again and again, whatever may make it true. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (anything may make it true)
            await asyncio.sleep(0.005)


def lately() -> float:
    """`slowness` on the wall, measured anew every ten seconds."""
    global _last
    found, at = _last
    if time.monotonic() - at > HOLDS:
        found = slowness()
        _last = found, time.monotonic()
    return found


def _work(clock: Callable[[], float]) -> float:
    """Some of what Python does for a page or a request: names, dictionaries, sorting, text."""
    began = clock()
    groups: dict[str, list[dict[str, object]]] = {}
    for n in range(20_000):
        name = f"team{n % 40}/queue-{n:04}"
        groups.setdefault(name[:6], []).append({"name": name, "n": n})
    "".join(sorted(f"<li>{each['name']}</li>" for group in groups.values() for each in group))
    return clock() - began
