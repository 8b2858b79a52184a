"""`ctx.cancelled`: whether a workflow shall stop, as an event."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import _get_running_loop
from collections.abc import Coroutine
from typing import Any

from ._running import Run


class Cancelled:
    """`ctx.cancelled`: set once the execution shall stop, because somebody cancelled it or its time is over.

    A sync function waits in its thread: `ctx.cancelled.wait(5)`. Async code awaits it, in a task that is to end
    something, for example: `await ctx.cancelled.wait()`. The task of the workflow itself is cancelled anyhow.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def __repr__(self) -> str:
        return f"<Cancelled: {self.is_set()}>"

    def is_set(self) -> bool:
        return self._run.ending is not None or self._run.is_late

    def wait(self, timeout: float | None = None) -> Any:
        """Waits for up to `timeout` seconds; whether it is set. To be awaited where an event loop runs."""
        if _get_running_loop() is None:
            return self._in_thread(timeout)
        return self._in_loop(timeout)

    def _in_thread(self, timeout: float | None) -> bool:
        event = threading.Event()
        self._run.on_stop.append(event.set)
        try:
            # Looked at only now: what came before would not have told the event.
            return self.is_set() or event.wait(self._until_late(timeout)) or self.is_set()
        finally:
            self._run.on_stop.remove(event.set)

    def _in_loop(self, timeout: float | None) -> Coroutine[Any, Any, bool]:
        async def wait() -> bool:
            event = asyncio.Event()
            self._run.on_stop.append(event.set)
            try:
                if not self.is_set():
                    async with asyncio.timeout(self._until_late(timeout)):
                        await event.wait()
            except TimeoutError:
                pass
            finally:
                self._run.on_stop.remove(event.set)
            return self.is_set()

        return wait()

    def _until_late(self, timeout: float | None) -> float | None:
        """Nobody tells a thread that its attempt runs into its timeout."""
        late = self._run.deadline
        ends = [each for each in (timeout, None if late is None else late - time.monotonic()) if each is not None]
        return max(0.0, min(ends)) if ends else None
