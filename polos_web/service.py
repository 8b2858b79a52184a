"""What one server process runs beside its requests, and how it lets go: the engine, and requests under way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from queues.consumers import sockets
from queues.engine import get_engine
from queues.live import get_sampler


class Service:
    def __init__(self) -> None:
        self.started = False
        self._starting: asyncio.Future[None] | None = None
        self.requests = _UnderWay()

    async def start(self) -> None:
        if self._starting is None:
            self._starting = asyncio.ensure_future(get_engine().start())
        await asyncio.shield(self._starting)
        self.started = True

    async def drain(self, seconds: float) -> None:
        """No more work is given out, long polls are answered, and what is under way gets `seconds` to finish."""
        if not self.started:
            return
        await get_engine().drain()
        await sockets.close_all()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.requests.none.wait(), seconds)

    async def stop(self) -> None:
        if self.started:
            await get_sampler().stop()
            await get_engine().stop()


class _UnderWay:
    """Counts requests. A class, because what `contextmanager` makes costs a small request a thirtieth."""

    def __init__(self) -> None:
        self.none = asyncio.Event()
        self.none.set()
        self._count = 0

    def __enter__(self) -> None:
        self._count += 1
        self.none.clear()

    def __exit__(self, *trouble: object) -> None:
        self._count -= 1
        if not self._count:
            self.none.set()


service = Service()
