"""What runs beside the server on its loop, such as the demo's worker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol


class Companion(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def kill(self) -> None: ...


class Looping:
    """A companion that is one task, and leaves nothing behind when the process ends."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def kill(self) -> None:
        pass

    async def _run(self) -> None:
        raise NotImplementedError
