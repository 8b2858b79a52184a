"""All queues as they are now: one snapshot, read the same way for a page, the live sampler and the metrics.

One statement gives limits, holders, waiting lines and workers at one moment (`sql/gauges_now.sql`). What finished
lately is history: a `Memory` remembers it by buckets of 10 seconds and reads only what is new since.
Nothing here writes or locks.
"""

from __future__ import annotations

import datetime as dt
import enum
import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from psycopg import AsyncConnection

from .access import Sight
from .engine.statements import statement
from .reads import Totals

BUCKET = 10  # seconds
BUCKETS = 60  # of a sparkline: 10 minutes
HOUR_BUCKETS = 3600 // BUCKET
LATE = 3.0  # seconds that a row may need from its `finished_at` to its commit
VERY_LATE = 30.0  # the same, for the read every few seconds that catches stragglers
COUNT_CAP = 10_000
SLOW_SECONDS = 10.0  # how often what grows with the backlog is read
BACKLOGGED_AFTER = 60.0  # seconds of oldest wait
DETAILS_HOLD = 60.0  # seconds for which sums by queue are kept after somebody needed them
LOOK_HOLDS = 2.5  # seconds: the sampler looks at least every 2, and at once when something changes

# One plan for small and huge tables alike: through the indexes, and never compiled (that takes longer than this).
PLANNING = "set local enable_seqscan = off; set local enable_hashjoin = on; set local jit = off"

Rows = Sequence[tuple[Any, ...]]


class State(enum.StrEnum):
    IDLE = "idle"
    ACTIVE = "active"
    AT_LIMIT = "at limit"
    BACKLOGGED = "backlogged"
    PAUSED = "paused"
    NO_WORKER = "no worker"
    BLOCKED = "blocked"  # the limit is 0, and work waits
    DRAINING = "draining"  # refuses what is new, and something is left
    DRAINED = "drained"  # refuses what is new, and nothing is left


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One queue at one moment. `limit` is the effective one; None = unlimited. Waits are seconds."""

    id: int
    name: str
    limit: int | None
    declared_limit: int | None
    declared_from: str
    overridden: bool
    override_by: str
    override_reason: str
    override_until: dt.datetime | None
    paused: bool
    paused_by: str
    paused_reason: str
    paused_at: dt.datetime | None
    paused_until: dt.datetime | None
    running: int
    cancelling: int
    waiting: int
    waiting_is_capped: bool  # `waiting` is the last exact figure (or the cap), not older than 10 s
    scheduled: int
    oldest_wait: float | None  # of the first in line; with priorities another one may be older
    workers: int  # alive and serving it
    per_minute: float
    spark: tuple[int, ...]  # finished per 10 s, over 10 minutes, newest last
    state: State
    version: int
    disagree: bool  # workers declare different limits
    last_claimed_at: dt.datetime | None
    draining: bool = False
    drain_by: str = ""
    drain_reason: str = ""
    drain_at: dt.datetime | None = None

    @property
    def held(self) -> int:
        """What counts against the limit."""
        return self.running + self.cancelling


@dataclass(frozen=True, slots=True)
class Survey:
    """All queues by name, and the figures over all of them. `at` is the database's clock."""

    gauges: list[Gauge]
    totals: Totals
    at: dt.datetime
    details: Details | None = None

    def seen_by(self, sight: Sight) -> Survey:
        """What somebody sees who sees only some queues: nothing of the others is in it, not even in the sums."""
        if sight.everywhere:
            return self
        mine = [gauge for gauge in self.gauges if sight.covers(gauge.name)]
        totals = (self.details or Details()).totals({gauge.id for gauge in mine})
        return Survey(gauges=mine, totals=totals, at=self.at, details=self.details)


@dataclass(frozen=True, slots=True)
class Details:
    """What sums over some of the queues are made of. Read only when somebody does not see all of them."""

    hour: dict[int, tuple[int, int]] = field(default_factory=dict)  # queue → finished and failed, last hour
    fleet: Rows = ()  # worker, whether it takes work, how many at once, how many it runs, queue ids

    def totals(self, ids: set[int]) -> Totals:
        workers = [
            (takes, most, busy) for _, takes, most, busy, serves in self.fleet if not ids.isdisjoint(serves)
        ]
        counts = [self.hour[id] for id in ids if id in self.hour]
        return Totals(
            finished=sum(finished for finished, _ in counts),
            failed=sum(failed for _, failed in counts),
            workers=len(workers),
            draining=sum(not takes for takes, _, _ in workers),
            capacity=sum(most for takes, most, _ in workers if takes),
            free=sum(max(0, most - busy) for takes, most, busy in workers if takes),
        )


# -- reading ---------------------------------------------------------------------------------------


def snapshot() -> list[Gauge]:
    """All queues now, for a page."""
    return survey(_shared or Memory(span=BUCKETS)).gauges


def survey_for(sight: Sight) -> Survey:
    """One look at what somebody sees, on Django's connection."""
    if sight.everywhere:
        return survey()
    memory = _shared or Memory()
    memory.want_details()
    return survey(memory).seen_by(sight)


def survey(memory: Memory | None = None) -> Survey:
    """One look at everything, on Django's connection. Without a memory the hour before is read, too."""
    memory = memory or _shared or Memory()
    fleet: Rows = ()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PLANNING)
        cursor.execute(statement("gauges_now"))
        now = cursor.fetchall()
        at = _moment(now)
        reading = memory.plan(at)
        cursor.execute(statement("gauges_finished"), {"since": reading.since})
        memory.learn_finished(reading, cursor.fetchall())
        if reading.slow:
            cursor.execute(statement("gauges_slow"), {"capped": _capped(now)})
            memory.learn_slow(at, cursor.fetchall())
        if memory.detailed:
            cursor.execute(statement("gauges_fleet"))
            fleet = cursor.fetchall()
    return _survey(now, at, memory, fleet)


async def survey_async(conn: AsyncConnection[Any], memory: Memory) -> Survey:
    """The same on a connection of the engine's pool. Three to five statements, however many watch."""
    fleet: Rows = ()
    async with conn.transaction():
        await conn.execute(PLANNING, prepare=False)
        now = await (await conn.execute(statement("gauges_now"))).fetchall()
        at = _moment(now)
        reading = memory.plan(at)
        cursor = await conn.execute(statement("gauges_finished"), {"since": reading.since})
        memory.learn_finished(reading, await cursor.fetchall())
        if reading.slow:
            cursor = await conn.execute(statement("gauges_slow"), {"capped": _capped(now)})
            memory.learn_slow(at, await cursor.fetchall())
        if memory.detailed:
            fleet = await (await conn.execute(statement("gauges_fleet"))).fetchall()
    return _survey(now, at, memory, fleet)


def share(memory: Memory | None, looked: Survey | None = None) -> None:
    """Lets the pages of this process use what the sampler keeps up to date, while it does."""
    global _shared, _last
    _shared, _last = memory, (looked, time.monotonic()) if looked else None


def last_look() -> Survey | None:
    """What the sampler saw last, for a page that follows it. None when that is too long ago to be the latest."""
    looked, at = _last or (None, 0.0)
    return looked if time.monotonic() - at < LOOK_HOLDS else None


# -- deciding --------------------------------------------------------------------------------------


def state_of(
    *,
    paused: bool,
    limit: int | None,
    held: int,
    waiting: int,
    workers: int,
    oldest_wait: float | None,
    draining: bool = False,
    left: int = 0,
) -> State:
    """The one word for a queue, by what a claim would decide: pause, limit and holders in that order.

    `left` is what a draining queue has still to finish, what is scheduled for later among it.
    """
    if paused:
        return State.PAUSED
    if waiting and limit == 0:
        return State.BLOCKED
    if waiting and not workers:
        return State.NO_WORKER
    if draining:
        return State.DRAINING if left else State.DRAINED
    if not waiting:
        return State.ACTIVE if held else State.IDLE
    if oldest_wait is not None and oldest_wait > BACKLOGGED_AFTER:
        return State.BACKLOGGED
    if limit is not None and held >= limit:
        return State.AT_LIMIT
    return State.ACTIVE


def needs_attention(gauge: Gauge) -> bool:
    """Whether somebody should look: work is refused, or waits for a person, a worker or more than a minute."""
    if gauge.draining:
        return True
    if gauge.state is State.PAUSED:
        return gauge.waiting > 0
    return gauge.state in (State.BACKLOGGED, State.BLOCKED, State.NO_WORKER)


def attention(gauges: Iterable[Gauge]) -> int:
    return sum(map(needs_attention, gauges))


# -- what is remembered ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read now: rows finished since a time (seconds since 1970), and whether the slow figures too."""

    since: float
    slow: bool


@dataclass(slots=True)
class Memory:
    """What finished lately, and the figures that are read every few seconds only. Safe between threads.

    `span` is how many buckets the totals go back; sparklines need 60 of them, an hour is 360.
    """

    span: int = HOUR_BUCKETS
    _details_until: float = 0.0  # monotonic time
    _by_queue: _Hours | None = None
    _finished: dict[int, dict[int, int]] = field(default_factory=dict)  # bucket → queue → finished
    _hour: dict[int, tuple[int, int]] = field(default_factory=dict)  # bucket → finished, failed
    _read_at: float | None = None
    _slow_at: float | None = None
    _exact: dict[int, int] = field(default_factory=dict)  # queue → waiting, beyond the cap
    _scheduled: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def detailed(self) -> bool:
        """Whether the hour is kept by queue, too."""
        return time.monotonic() < self._details_until

    def want_details(self) -> None:
        """From the next look on, and for a minute."""
        self._details_until = time.monotonic() + DETAILS_HOLD

    def plan(self, at: dt.datetime) -> Reading:
        now = at.timestamp()
        slow = self._slow_at is None or now - self._slow_at >= SLOW_SECONDS
        oldest = _bucket(now) - self.span + 1
        first = oldest
        if not self.detailed:
            self._by_queue = None
        elif self._by_queue is None:
            self._by_queue, self._read_at = _Hours(), None
        if self._read_at is not None:
            first = max(oldest, _bucket(self._read_at - (VERY_LATE if slow else LATE)))
        if self._by_queue:  # before new counts take the places of old ones
            with self._lock:
                self._by_queue.forget(_bucket(now) - HOUR_BUCKETS)
        return Reading(since=float(first * BUCKET), slow=slow)

    def learn_finished(self, reading: Reading, rows: Rows) -> None:
        """Replaces every bucket from `reading.since` on by what the database says."""
        first = _bucket(reading.since)
        with self._lock:
            for kept in (self._finished, self._hour):
                for bucket in [bucket for bucket in kept if bucket >= first]:
                    del kept[bucket]
            if self._by_queue:
                self._by_queue.learn(first, rows)
            for queue_id, bucket, finished, failed in rows:
                self._finished.setdefault(bucket, {})[queue_id] = finished
                done, lost = self._hour.get(bucket, (0, 0))
                self._hour[bucket] = (done + finished, lost + failed)

    def learn_slow(self, at: dt.datetime, rows: Rows) -> None:
        self._exact = {queue_id: waiting for queue_id, _, waiting in rows if waiting}
        self._scheduled = {queue_id: scheduled for queue_id, scheduled, _ in rows if scheduled}
        self._slow_at = at.timestamp()

    def read(self, at: dt.datetime) -> tuple[dict[int, list[int]], int, int]:
        """Sparklines by queue, and what finished and failed within the hour that ends at `at`."""
        last = _bucket(at.timestamp())
        sparks: dict[int, list[int]] = {}
        with self._lock:
            self._forget(last)
            self._read_at = at.timestamp()
            for bucket, counts in self._finished.items():
                place = BUCKETS - 1 - (last - bucket)
                if not 0 <= place < BUCKETS:
                    continue
                for queue_id, count in counts.items():
                    if queue_id not in sparks:
                        sparks[queue_id] = [0] * BUCKETS
                    sparks[queue_id][place] = count
            return sparks, sum(d for d, _ in self._hour.values()), sum(f for _, f in self._hour.values())

    def hour_by_queue(self) -> dict[int, tuple[int, int]]:
        """Finished and failed within the hour, as `detailed` asks for."""
        with self._lock:
            return self._by_queue.sums() if self._by_queue else {}

    def waiting(self, queue_id: int, counted: int) -> int:
        return max(self._exact.get(queue_id, 0), COUNT_CAP) if counted > COUNT_CAP else counted

    def scheduled(self, queue_id: int) -> int:
        return self._scheduled.get(queue_id, 0)

    def _forget(self, last: int) -> None:
        for bucket in [bucket for bucket in self._finished if bucket <= last - BUCKETS]:
            del self._finished[bucket]
        for bucket in [bucket for bucket in self._hour if bucket <= last - self.span]:
            del self._hour[bucket]


@dataclass(slots=True)
class _Hours:
    """What each queue finished and failed, by buckets in rings: 3 KB a queue, a thirtieth of what dicts take."""

    _rings: dict[int, tuple[array[int], array[int]]] = field(default_factory=dict)
    _sums: dict[int, list[int]] = field(default_factory=dict)
    _from: int | None = None  # the oldest bucket that may hold anything
    _to: int = 0  # the newest

    def learn(self, first: int, rows: Rows) -> None:
        self._clear(first, self._to)
        for queue_id, bucket, finished, failed in rows:
            if queue_id not in self._rings:
                zeros = bytes(4 * HOUR_BUCKETS)
                self._rings[queue_id] = array("I", zeros), array("I", zeros)
                self._sums[queue_id] = [0, 0]
            for n, count in enumerate((finished, failed)):
                self._rings[queue_id][n][bucket % HOUR_BUCKETS] = count
                self._sums[queue_id][n] += count
            self._to = max(self._to, bucket)
        self._from = first if self._from is None else min(self._from, first)

    def forget(self, last: int) -> None:
        """All up to and including this bucket."""
        if self._from is not None and self._from <= last:
            self._clear(self._from, last)
            self._from = last + 1

    def sums(self) -> dict[int, tuple[int, int]]:
        return {queue_id: (finished, failed) for queue_id, (finished, failed) in self._sums.items()}

    def _clear(self, first: int, last: int) -> None:
        for bucket in range(max(first, last - HOUR_BUCKETS + 1), last + 1):
            place = bucket % HOUR_BUCKETS
            for queue_id, rings in self._rings.items():
                for n, ring in enumerate(rings):
                    self._sums[queue_id][n] -= ring[place]
                    ring[place] = 0


_shared: Memory | None = None
_last: tuple[Survey, float] | None = None  # and when, on the monotonic clock


# -- from rows to gauges ---------------------------------------------------------------------------

_NO_SPARK = (0,) * BUCKETS


def _survey(rows: Rows, at: dt.datetime, memory: Memory, fleet: Rows) -> Survey:
    sparks, finished, failed = memory.read(at)
    gauges = [_gauge(row, at, memory, sparks.get(row[0])) for row in rows if row[0] is not None]
    workers, draining, capacity, free = map(int, rows[0][-5:-1])
    totals = Totals(
        failed=failed, finished=finished, workers=workers, capacity=capacity, free=free, draining=draining
    )
    details = Details(memory.hour_by_queue(), fleet) if memory.detailed else None
    return Survey(gauges=gauges, totals=totals, at=at, details=details)


def _gauge(row: tuple[Any, ...], at: dt.datetime, memory: Memory, spark: list[int] | None) -> Gauge:
    (
        queue_id, name, limit, declared_limit, overridden, override_by, override_reason, override_until,
        declared_by, paused, paused_by, paused_reason, paused_at, paused_until, version, disagree, running,
        cancelling, last_claimed_at, counted, oldest_at, workers, draining, drain_by, drain_reason, drain_at, *_,
    ) = row  # fmt: skip
    oldest_wait = max(0.0, (at - oldest_at).total_seconds()) if oldest_at else None
    return Gauge(
        id=queue_id,
        name=name,
        limit=limit,
        declared_limit=declared_limit,
        declared_from=declared_by,
        overridden=overridden,
        override_by=override_by,
        override_reason=override_reason,
        override_until=override_until,
        paused=paused,
        paused_by=paused_by,
        paused_reason=paused_reason,
        paused_at=paused_at,
        paused_until=paused_until,
        running=running,
        cancelling=cancelling,
        waiting=memory.waiting(queue_id, counted),
        waiting_is_capped=counted > COUNT_CAP,
        scheduled=memory.scheduled(queue_id),
        oldest_wait=oldest_wait,
        workers=workers,
        per_minute=_per_minute(spark),
        spark=tuple(spark) if spark else _NO_SPARK,
        state=state_of(
            paused=paused,
            limit=limit,
            held=running + cancelling,
            waiting=counted,
            workers=workers,
            oldest_wait=oldest_wait,
            draining=draining,
            left=running + cancelling + counted + memory.scheduled(queue_id),
        ),
        version=version,
        disagree=disagree,
        last_claimed_at=last_claimed_at,
        draining=draining,
        drain_by=drain_by,
        drain_reason=drain_reason,
        drain_at=drain_at,
    )


def _per_minute(spark: list[int] | None) -> float:
    """Finished in the last six whole buckets, or in five and the open one if that is more: figures that
    change when something finishes or a bucket ends, not with every look."""
    if spark is None:
        return 0.0
    return float(max(sum(spark[-7:-1]), sum(spark[-6:])))


def _bucket(seconds: float) -> int:
    return int(seconds // BUCKET)


def _moment(rows: Rows) -> dt.datetime:
    moment: dt.datetime = rows[0][-1]
    return moment


def _capped(rows: Rows) -> list[int]:
    return [row[0] for row in rows if row[19] > COUNT_CAP]
