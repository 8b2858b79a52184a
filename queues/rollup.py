"""History, made in the background from what finished and from looks at the lines: a duty of every server.

Every 10 seconds one server (an advisory lock says which) closes the 10 seconds that ended: it counts what finished
in them, looks at what waits and runs, and writes one row per 32 queues that did anything (`models.Rollup`). Whole
minutes are added up from those rows, whole hours from minutes. All of it is one transaction with the mark of how
far it got (`models.RollupStretch`): nothing is counted twice or lost, whoever does it and whenever it is killed.

Figures are kept by number. Those below 256 are counts; the others are two histograms, of waiting and of running
times, in steps that grow by a tenth each: a percentile of any number of rows put together is off by at most 5 % of
its value (4.8 % for the middle of a step; below a millisecond it is half of one). Times are of what finished in
the stretch, and waits of first attempts only: the row of a later one no longer says when it began to wait.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from .engine.database import Connection, Database
from .engine.locks import Lock, try_lock
from .engine.statements import statement

SHARD, FIGURES = 32, 1_024  # queues in a row; numbers that each has in it

STEPS = (10, 60, 3_600)  # seconds of a row
KEPT = {10: 6 * 3_600, 60: 3 * 86_400, 3_600: 31 * 86_400}  # seconds
TICK = STEPS[0]

MOST = 60  # seconds that are closed in one transaction, after an outage
LATE = 30  # a look serves for the seconds before it when it comes at most so late; beyond that there is a gap
SETTLE = 0.5  # seconds after its end in which a stretch is closed
OPEN_FOR = 30  # seconds for which open transactions are waited for

GROWTH = 1.1  # of a step of the histograms
FIRST = 0.001  # seconds: where the first step begins


class Figure(enum.IntEnum):
    """`WAITING` and `RUNNING` are sums over the looks, one each 10 s; `MOST_…` the highest of them."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    WAITING = 3
    RUNNING = 4
    MOST_WAITING = 5
    MOST_RUNNING = 6
    WAITS = 256  # and the 255 after it: a histogram
    RUNS = 512


# -- the duty ----------------------------------------------------------------------------------------


async def roll_up(database: Database) -> float:
    """Closes what has ended. Returns the seconds until there is more to close."""
    async with database.connection() as conn, conn.transaction():
        if not await try_lock(conn, Lock.ROLL_UP):
            return 1.0
        return await _close(conn)


async def _close(conn: Connection) -> float:
    cursor = await conn.execute(statement("rollup_due"), {"tick": TICK, "settle": SETTLE})
    due = Due(*(await cursor.fetchone() or ()))
    since, until = due.stretch()
    if until <= since:
        return _until_next(due.now)
    if due.may_grow(until):
        return SETTLE
    await _write(conn, since, until, looked=due.now - until < LATE)
    return 0.0 if until < due.ended else _until_next(due.now)


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to close. Seconds since 1970."""

    now: float
    mark: int | None  # how far the roll-up got
    ended: int  # the end of the last tick that is over
    open_since: float | None  # the oldest transaction

    def stretch(self) -> tuple[int, int]:
        since = self.ended - TICK if self.mark is None else self.mark
        return since, min(self.ended, since + MOST)

    def may_grow(self, until: int) -> bool:
        """Whether a transaction may still commit what finished before `until`. Not waited for without end."""
        return self.open_since is not None and self.open_since < until and self.now - until < OPEN_FOR


async def _write(conn: Connection, since: int, until: int, *, looked: bool) -> None:
    looks_from = max(since, until - LATE) if looked else until
    values = {"since": since, "until": until, "looks_from": looks_from}
    await conn.execute(statement("rollup_close"), values)
    await conn.execute(statement("rollup_mark"), values)
    for finer, coarser in pairwise(STEPS):
        first, last = since // coarser * coarser, until // coarser * coarser
        if first < last:
            stretch = {"finer": finer, "coarser": coarser, "since": first, "until": last}
            await conn.execute(statement("rollup_add_up"), stretch)
            await conn.execute(statement("rollup_prune"), {"seconds": finer, "before": until - KEPT[finer]})
    if since // STEPS[-1] < until // STEPS[-1]:
        before = until - KEPT[STEPS[-1]]
        await conn.execute(statement("rollup_prune"), {"seconds": STEPS[-1], "before": before})
        await conn.execute(statement("rollup_forget"), {"before": before})


def _until_next(now: float) -> float:
    return (now // TICK + 1) * TICK + SETTLE + 0.05 - now


# -- histograms --------------------------------------------------------------------------------------


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """Seconds that `share` of the counted times do not exceed, within 5 %; None when nothing was counted.

    Keys are steps, as `rollup_close.sql` counts them: 0 is below a millisecond, k ends at 1 ms * 1.1^k.
    """
    rank = share * sum(histogram.values())
    counted = 0
    for step in sorted(histogram):
        counted += histogram[step]
        if counted >= rank:
            return middle(step)
    return None


def middle(step: int) -> float:
    """The value from which nothing in this step is farther than 4.8 % of itself."""
    if step == 0:
        return FIRST / 2
    return 2 * FIRST * GROWTH**step / (1 + GROWTH)
