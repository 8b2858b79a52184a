"""Watches the event loop of a worker and names what blocks it: meanwhile there are no heartbeats and no results.

A thread asks the loop for a sign of life. While none comes it looks which task the loop runs, and where.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

from ._places import file_and_line
from ._waits import run_of

logger = logging.getLogger("polos")

EVERY = 0.25  # seconds between two signs of life
MOST = 1.0  # seconds without one that are told; half a lease where that is shorter

STANDSTILLS = "C code that keeps the interpreter's lock, a suspended machine, too little CPU"
ADVICE = (
    "make the workflow a sync function (it runs in a thread), or await asyncio.to_thread(...) for what blocks, "
    "or start the worker with --processes for what computes"
)


class _Seen(NamedTuple):
    """What the loop runs at a moment."""

    task: asyncio.Task[Any] | None
    words: str


class LoopWatch:
    """A context manager, entered on the loop that is watched. `lease_seconds` is what a block endangers."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._most = min(MOST, lease_seconds / 2)
        self._over = threading.Event()
        self._answered = threading.Event()
        self._last: tuple[float, float] = (0.0, 0.0)  # the last block that was told: its end and its seconds

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        threading.Thread(target=self._watch, name="polos-watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._answered.set()

    def recent_block(self) -> float | None:
        """Seconds of a block that can have cost the lease just now."""
        ended, seconds = self._last
        is_recent = time.monotonic() - ended < self._lease_seconds
        return seconds if is_recent and seconds > self._lease_seconds / 2 else None

    # -- in the thread -----------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            asked = time.monotonic()
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answer, asked)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(self._most / 2):
                self._look_and_tell(asked)

    def _look_and_tell(self, asked: float) -> None:
        first = self._look()
        if self._answered.wait(self._most / 2):
            return
        second = self._look()
        if time.monotonic() - asked > self._most + EVERY:
            culprit = f"a standstill of the whole process ({STANDSTILLS}), in {second.words}"
        elif first.task is second.task:
            culprit = second.words
        else:
            culprit = f"many tasks in turn, such as {second.words}"
        left = asked + self._lease_seconds / 2 - time.monotonic()
        if not self._answered.wait(max(0.0, left)):
            logger.warning(
                "The event loop has been blocked for %.1f s by %s. No heartbeat is sent: when the lease of %g s "
                "is over, what runs here starts again elsewhere.",
                time.monotonic() - asked, culprit, self._lease_seconds,
            )  # fmt: skip
        self._answered.wait()
        if self._last[0] > asked:  # it went on, even if only to end this registration; else the loop has ended
            logger.warning(
                "The event loop was blocked for %.1f s by %s: %s.", time.monotonic() - asked, culprit, ADVICE
            )

    def _look(self) -> _Seen:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread)
        place = "" if frame is None else f" at {_place(frame)}"
        if task is None:
            return _Seen(None, f"a callback{place}")
        run = run_of(task)
        if run is None:
            return _Seen(task, f"the task {task.get_name()}{place}")
        return _Seen(task, f"{run.claim['workflow_id']} (execution {run.id}){place}")

    # -- on the loop -------------------------------------------------------------------------------

    def _answer(self, asked: float) -> None:
        now = time.monotonic()
        if now - asked >= self._most:
            self._last = (now, now - asked)
        self._answered.set()


def _place(frame: FrameType) -> str:
    """The innermost line that is not a library's, else the innermost one."""
    import sysconfig  # takes time, and is needed seldom

    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    found: FrameType | None = frame
    while found is not None and found.f_code.co_filename.startswith(libraries):
        found = found.f_back
    best = found or frame
    return file_and_line(best.f_code.co_filename, best.f_lineno)
