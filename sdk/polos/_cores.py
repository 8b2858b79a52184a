"""Whether a core is free for this thread when it has something to do.

Linux counts for each thread how long it ran, and how long it was ready and waited for a core («run delay», in
`/proc/<pid>/schedstat`, nanoseconds). One that waits longer than it runs, and for more than a moment, shares
full cores with others.
"""

from __future__ import annotations

import time
from pathlib import Path

COUNTS = Path("/proc/thread-self/schedstat")
WINDOW = 0.1  # seconds over which it is judged
LEAST = 0.1  # of that time: less is a moment's bad luck of one that does little
HOLD = 1.0  # seconds for which full cores are taken to stay full


class Cores:
    """Asked on the thread that it is about, every now and then while there is work. Where the system does not
    count, the cores are never full."""

    def __init__(self) -> None:
        self._ran, self._waited = _schedule()
        self._since = time.monotonic()
        self._full_until = 0.0

    def are_full(self) -> bool:
        """What follows may change what is seen, so it is judged anew only after a while, and then from nothing."""
        now = time.monotonic()
        if now < self._full_until:
            return True
        if (since := now - self._since) < WINDOW:
            return False
        ran, waited = _schedule()
        full = (
            since < 2 * WINDOW  # not over a time in which nobody asked
            and self._ran > 0
            and waited - self._waited > max(ran - self._ran, LEAST * since * 1e9)
        )
        self._ran, self._waited, self._since = ran, waited, now
        if full:
            self._full_until = now + HOLD
        return full


def _schedule() -> tuple[int, int]:
    """Nanoseconds since the thread's start."""
    try:
        ran, waited, _ = map(int, COUNTS.read_text().split())
    except (OSError, ValueError):
        return 0, 0
    return ran, waited
