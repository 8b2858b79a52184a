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

YOUNG_SECONDS = 10.0  # what ends sooner, as the first of all, would end again
RESTART_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_CRASHES = 3  # of a process that never lived so long


async def run_processes(commands: Sequence[Sequence[str]]) -> int:
    """Runs all to their end, and those that die anew. Returns an exit status for the whole.

    Signals are passed on. One that fails soon after the first start ends all of them: its reason is theirs too.
    Once one of them has lived for a while, those that die are started again for ever, after growing pauses: it is
    an execution that kills them, or code that was changed meanwhile, and the others still work.
    """
    group = _Group()
    with leave_signals(group.pass_on):
        statuses = await asyncio.gather(*(group.keep_running(command) for command in commands))
    # Those that were told to stop while they were starting die of the signal: that is no failure.
    return group.failure or max(*statuses, 0)


class _Group:
    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self.proved = False  # one of them has lived for a while
        self.failure = 0
        self._processes: dict[asyncio.subprocess.Process, float] = {}  # and when they began

    def pass_on(self, number: int) -> None:
        self._stopping.set()
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def keep_running(self, command: Sequence[str]) -> int:
        young_deaths = 0
        while True:
            status, seconds = await self._run(command)
            if self._stopping.is_set() or status == 0:
                return status
            young_deaths = young_deaths + 1 if seconds < YOUNG_SECONDS else 0
            self.proved = self.proved or max(seconds, self._longest_life()) >= YOUNG_SECONDS
            if not self.proved and (status > 0 or young_deaths > MOST_CRASHES):
                self.failure = status if status > 0 else 128 - status
                self.pass_on(signal.SIGTERM)
                return status
            pause = min(LONGEST_PAUSE, RESTART_PAUSE * 2 ** min(young_deaths, 10))
            logger.error("A worker process %s; starting it again in %g s.", _ended(status), pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return 0

    def _longest_life(self) -> float:
        return max((time.monotonic() - began for began in self._processes.values()), default=0.0)

    async def _run(self, command: Sequence[str]) -> tuple[int, float]:
        """Its exit status, and how many seconds it has lived."""
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "polos", *command)
        began = self._processes[process] = time.monotonic()
        if self._stopping.is_set():  # told so while this one was starting
            process.terminate()
        try:
            return await process.wait(), time.monotonic() - began
        finally:
            del self._processes[process]
            if process.returncode is None:  # nobody waits for it any more
                process.terminate()


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
