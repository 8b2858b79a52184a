"""Time as steps and pauses see it; `polos.testing` puts another clock in its place."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The clock of this machine."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


CLOCK = Clock()
