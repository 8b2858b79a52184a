"""`polos worker --processes N`: the same worker several times, for Python code that keeps a core busy."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from .._worker import leave_signals

logger = logging.getLogger("polos")

YOUNG_SECONDS = 10.0  # what ends sooner would end again
RESTART_PAUSE = 1.0


async def run_processes(commands: Sequence[Sequence[str]]) -> int:
    """Runs all to their end, and those that die anew. Returns an exit status for the whole.

    Signals are passed on. One that fails soon after its start ends all of them: its reason is theirs too.
    """
    group = _Group()
    with leave_signals(group.pass_on):
        statuses = await asyncio.gather(*(group.keep_running(command) for command in commands))
    # Those that were told to stop while they were starting die of the signal: that is no failure.
    return group.failure or max(*statuses, 0)


class _Group:
    def __init__(self) -> None:
        self._stopping = False
        self.failure = 0
        self._processes: list[asyncio.subprocess.Process] = []

    def pass_on(self, number: int) -> None:
        self._stopping = True
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def keep_running(self, command: Sequence[str]) -> int:
        while True:
            began = time.monotonic()
            status = await self._run(command)
            if self._stopping or status == 0:
                return status
            if time.monotonic() - began < YOUNG_SECONDS:
                self.failure = status if status > 0 else 128 - status
                self.pass_on(signal.SIGTERM)
                return status
            logger.error("A worker process ended with %d; starting it again.", status)
            await asyncio.sleep(RESTART_PAUSE)
            if self._stopping:
                return status

    async def _run(self, command: Sequence[str]) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "polos", *command)
        self._processes.append(process)
        if self._stopping:  # told so while this one was starting
            process.terminate()
        try:
            return await process.wait()
        finally:
            self._processes.remove(process)
            if process.returncode is None:  # nobody waits for it any more
                process.terminate()
