"""Background duties. Every server runs them; an advisory lock lets one at a time do each tick.

sweep      workers without a lease are lost, what they held goes back to its place
tick       what is due becomes queued, and waits whose time has come end; waits that nobody ended are found; what
           nobody registered for goes to the workers of its workflow; overrides and pauses that have an end, end
deadlines  what has waited or run for longer than it may fails, or is asked to stop; what takes the place of
           another one with its deduplication key starts once that has stopped
prune      finished executions, events, workers that are gone, what they declared, and sessions that are over, are
           deleted after the retention time
others     what other parts of the server do in the background, each in a loop of its own
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from ..limits import end_due
from .database import Connection, Database, Row
from .locks import Lock, try_lock
from .statements import statement

if TYPE_CHECKING:
    from .engine import Engine

MOST_DUE = 1_000
MOST_PRUNED = 1_000
PRUNE_SECONDS = 60.0
FOLLOW_SECONDS = 0.1  # how often one looks whether those have stopped for which others wait
MOST_OVER = 1_000  # deadlines that one look ends

log = logging.getLogger(__name__)

Pair = tuple[int, str]  # queue id, workflow

# What others keep about executions goes with them, in the same transaction: they add their part here.
also_prune: list[Callable[[Connection, list[UUID]], Awaitable[None]]] = []

# What others do in the background, each in a loop of its own: it works, and says in how many seconds to ask again.
also_do: list[Callable[[Database], Awaitable[float]]] = []


class Found(NamedTuple):
    """What a tick finds."""

    queued: list[Pair]  # became queued
    waits: list[UUID]  # executions with a wait whose time has come
    unserved: list[Pair]  # queued, and nobody registered for them
    ends: bool  # an override or a pause


class Duties:
    """The steps of the background loops of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hurry = asyncio.Event()  # an execution waits for another one to stop
        self.newcomer = asyncio.Event()  # a worker has come: it may serve what nobody serves
        self._looked = (0.0, 0.0)  # monotonic time of the last look for pairs that nobody serves, and what it took
        self.swept_at = 0.0  # monotonic time of the last sweep that worked, for the metrics

    async def sweep(self) -> None:
        engine = self._engine
        lost, taken = await engine.database.again(engine.leases.expire)
        engine.stats.lease_expiries += lost
        if lost or taken:
            log.warning("%d workers were lost; %d executions went back to their place", lost, len(taken))
        engine.taken_back(taken)
        self.swept_at = time.monotonic()
        await asyncio.sleep(engine.config.sweep)

    async def tick(self) -> None:
        engine = self._engine
        async with engine.database.connection() as conn:
            async with conn.transaction():
                found = await self._what_is_due(conn)
            seconds, engine.waits.strangers, engine.enqueuer.draining = await _until_due(conn)
        if found is not None:
            await self._do(found)
            if MOST_DUE in (len(found.queued), len(found.waits)):
                seconds = 0.0
        else:
            await asyncio.sleep(0.05)
        await self._until_newcomer(seconds)

    async def _until_newcomer(self, seconds: float) -> None:
        """Rests, until there is reason to look for pairs that nobody serves, and time for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.newcomer.wait()
                await asyncio.sleep(self._looks_from() - time.monotonic())

    def _looks_from(self) -> float:
        """A look at 10,000 queues takes 30 ms: a twentieth of the time at most, a third while workers come."""
        at, took = self._looked
        return at + (2 if self.newcomer.is_set() else 20) * took

    async def _do(self, found: Found) -> None:
        engine = self._engine
        if found.queued:
            engine.queued(set(found.queued))
        await engine.waits.tick(found.waits)
        if found.unserved:
            await engine.adopt(found.unserved)
        if found.ends:
            await sync_to_async(_end_due)()

    async def _what_is_due(self, conn: Connection) -> Found | None:
        """None when another server is at it."""
        if not await try_lock(conn, Lock.TICK):
            return None
        due = await (await conn.execute(statement("promote_due"), {"most": MOST_DUE})).fetchall()
        waits = await (await conn.execute(statement("waits_due"), {"most": MOST_DUE})).fetchall()
        ends = await (await conn.execute(statement("ends_due"))).fetchone() == (True,)
        return Found(
            [(row[0], row[1]) for row in due], [row[0] for row in waits], await self._unserved(conn), ends
        )

    async def _unserved(self, conn: Connection) -> list[Pair]:
        began = time.monotonic()
        if began < self._looks_from():
            return []
        self.newcomer.clear()
        rows = await (await conn.execute(statement("unserved_pairs"))).fetchall()
        self._looked = (time.monotonic(), time.monotonic() - began)
        return [(row[0], row[1]) for row in rows]

    async def deadlines(self) -> None:
        engine = self._engine
        async with engine.database.connection() as conn:
            row = await (await conn.execute(statement("next_deadline"))).fetchone()
            left, following = row or (None, False)
            started = await self._start_followers(conn) if following else []
        if started:
            engine.queued(set(started))
        if left is None or left > 0:
            await self._rest(1.0 if left is None else left, FOLLOW_SECONDS if following else 1.0)
            return
        ended, stopping, full = await engine.database.again(self._end_what_is_over)
        engine.taken_back(ended)
        await engine.ask_to_stop(stopping)
        await asyncio.sleep(0 if full else 0.05)  # what was locked is looked at again

    async def _start_followers(self, conn: Connection) -> list[Pair]:
        rows = await (await conn.execute(statement("start_followers"), {"most": MOST_DUE})).fetchall()
        return [(row[0], row[1]) for row in rows]

    async def _rest(self, seconds: float, most: float) -> None:
        """Until the next deadline, or until something is to be looked at sooner."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(most, max(0.05, seconds))):
                await self.hurry.wait()
        self.hurry.clear()

    async def _end_what_is_over(self) -> tuple[list[Row], set[UUID], bool]:
        """What failed for its deadline (execution, queue, status, parent), the workers that are to stop something,
        and whether there may be more. Nothing when another server is at it."""
        ended: list[Row] = []
        stopping: set[UUID] = set()
        async with self._engine.database.connection() as conn, conn.transaction():
            if not await try_lock(conn, Lock.DEADLINES):
                return ended, stopping, False
            for kind in ("queue", "execution"):
                cursor = await conn.execute(statement("time_out"), {"kind": kind, "most": MOST_OVER})
                for *row, worker_id in await cursor.fetchall():
                    if row[2] == "cancelling":
                        stopping.add(worker_id)
                    else:
                        ended.append(tuple(row))
            cursor = await conn.execute(statement("settle_deadlines"), {"most": 2 * MOST_OVER})
            settled = await cursor.fetchone()
        return ended, stopping, settled == (2 * MOST_OVER,)

    async def prune(self) -> None:
        engine = self._engine
        async with engine.database.connection() as conn:
            values = {"days": engine.config.retention_days}
            queues = await (await conn.execute(statement("prunable_queues"), values)).fetchall()
        for (queue_id,) in queues:
            await self._prune_queue(queue_id)
        async with engine.database.connection() as conn:
            values = {"days": engine.config.retention_days, "most": MOST_PRUNED}
            for name in ("prune_workers", "prune_declarations", "prune_events", "prune_signins"):
                await conn.execute(statement(name), values)
        await asyncio.sleep(PRUNE_SECONDS)

    def others(self) -> list[Callable[[], Awaitable[None]]]:
        """A step each: one that fails, or waits for a lock, keeps none of the others from theirs."""
        return [partial(self._other, duty) for duty in also_do]

    async def _other(self, duty: Callable[[Database], Awaitable[float]]) -> None:
        await asyncio.sleep(await duty(self._engine.database))

    async def _prune_queue(self, queue_id: int) -> None:
        engine = self._engine
        values = {"queue": queue_id, "days": engine.config.retention_days, "most": MOST_PRUNED}
        while True:
            async with engine.database.connection() as conn, conn.transaction():
                cursor = await conn.execute(statement("prune_executions"), values)
                gone = [row[0] for row in await cursor.fetchall()]
                for prune in also_prune:
                    await prune(conn, gone)
            if len(gone) < MOST_PRUNED:
                return
            await asyncio.sleep(0.05)


async def _until_due(conn: Connection) -> tuple[float, bool, frozenset[int]]:
    """Seconds to the next tick: sooner than a second when something is due sooner; whether an execution waits for
    one that is not its child; and which queues drain."""
    row = await (await conn.execute(statement("next_due"))).fetchone()
    seconds = 1.0 if row is None or row[0] is None else float(row[0])
    strangers, draining = (bool(row[1]), frozenset(row[2])) if row else (False, frozenset[int]())
    return min(1.0, max(0.05, seconds)), strangers, draining


def _end_due() -> None:
    # Outside of a request nobody else drops a connection that the database has ended.
    close_old_connections()
    try:
        end_due()
    finally:
        close_old_connections()
