"""Events that start workflows.

An event is noted for its triggers with the event itself, in one transaction; what it starts is stored in another,
together with the end of the note: a server that dies in between loses and doubles nothing. Whoever has published
delivers at once; a duty of every server delivers what was left, and batches whose time has come.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from msgspec import UNSET, Raw
from msgspec.json import encode

from queues.engine.arrays import numbers
from queues.engine.database import Connection, Database
from queues.engine.enqueue import Placed, start
from queues.engine.errors import EngineUnavailable
from queues.engine.locks import Lock, take_lock, try_lock
from queues.engine.statements import statement
from queues.ids import derived
from queues.requests import NewExecution

MOST = 1_000  # events of one trigger in one transaction
MOST_BYTES = 1024 * 1024  # of the payloads of one batch: what is over begins the next
LOOK = 1.0  # seconds

log = logging.getLogger(__name__)


class Ready(NamedTuple):
    """A row of `ready_triggers`."""

    id: int
    workflow: str
    batch_size: int
    batch_timeout: float | None
    queue_id: int
    max_attempts: int
    priority: int
    queue_timeout: float | None
    execution_timeout: float | None

    @property
    def is_batch(self) -> bool:
        return self.batch_size > 1 or self.batch_timeout is not None


class Arrived(NamedTuple):
    """A row of `arrivals`."""

    id: int
    event_id: UUID
    topic: str
    payload: str
    published_at: dt.datetime
    age: float  # seconds


# -- with an event -----------------------------------------------------------------------------------


class Triggers:
    """What follows events (`queues.engine.events.Subscriber`)."""

    def __init__(self) -> None:
        self._under_way: WeakKeyDictionary[Database, asyncio.Task[None]] = WeakKeyDictionary()
        self._wanted: set[int] = set()  # ids of databases for which one more round is wanted

    async def note(self, conn: Connection, event_id: UUID, topic: str) -> bool:
        values = {"event": event_id, "topic": topic}
        cursor = await conn.execute(statement("note_arrivals", "workflows"), values)
        return cursor.rowcount > 0

    def deliver_soon(self, database: Database) -> None:
        """One round serves all events that come while the one before it is under way."""
        self._wanted.add(id(database))
        task = self._under_way.get(database)
        if task is None or task.done():
            self._under_way[database] = asyncio.create_task(self._rounds(database))

    async def _rounds(self, database: Database) -> None:
        while id(database) in self._wanted:
            self._wanted.discard(id(database))
            try:
                await database.again(lambda: _deliver(database, wait=True))
            except EngineUnavailable:
                log.warning("what events start is left to the next look of the duty")
            except Exception:
                log.exception("what events start could not be stored; the duty repeats it")


triggers = Triggers()


# -- the duty ----------------------------------------------------------------------------------------


async def deliver(database: Database) -> float:
    """Starts what events start. Returns the seconds until there may be more."""
    more = await database.again(lambda: _deliver(database, wait=False))
    return 0.0 if more else LOOK


async def _deliver(database: Database, *, wait: bool) -> bool:
    """Whether there is more to deliver at once."""
    async with database.connection() as conn, conn.transaction():
        if not await _locked(conn, wait=wait):
            return False
        ready = [Ready(*row) for row in await _rows(conn, "ready_triggers")]
        placed: list[Placed] = []
        taken: list[int] = []
        full = False
        for trigger in ready:
            arrived = [Arrived(*row) for row in await _rows(conn, "arrivals", trigger=trigger.id, most=MOST)]
            full = full or len(arrived) == MOST
            for batch in batches(trigger, arrived):
                placed.append(Placed(_execution(trigger, batch), trigger.queue_id))
                taken += [each.id for each in batch]
        await _store(conn, placed, taken)
    return full and bool(placed)


async def _locked(conn: Connection, *, wait: bool) -> bool:
    if wait:
        await take_lock(conn, Lock.TRIGGERS)
        return True
    return await try_lock(conn, Lock.TRIGGERS)


async def _rows(conn: Connection, name: str, **values: int) -> Sequence[tuple[Any, ...]]:
    return await (await conn.execute(statement(name, "workflows"), values or None)).fetchall()


async def _store(conn: Connection, placed: list[Placed], taken: list[int]) -> None:
    if not placed:
        return
    await start(conn, placed)
    await conn.execute(statement("take_arrivals", "workflows"), {"ids": numbers(taken)})


# -- what they start ---------------------------------------------------------------------------------


def batches(trigger: Ready, arrived: Sequence[Arrived]) -> Iterator[list[Arrived]]:
    """Those that start now, the oldest first: full ones, and one that has waited long enough."""
    batch: list[Arrived] = []
    size = 0
    for each in arrived:
        if batch and size + len(each.payload) > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.payload)
        if len(batch) == trigger.batch_size:
            yield batch
            batch, size = [], 0
    if batch and trigger.batch_timeout is not None and batch[0].age >= trigger.batch_timeout:
        yield batch


def _execution(trigger: Ready, batch: list[Arrived]) -> NewExecution:
    first = batch[0]
    return NewExecution(
        id=derived(first.published_at, f"{trigger.workflow}\n{first.event_id}".encode()),
        workflow_id=trigger.workflow,
        payload=_payload(trigger, batch),
        max_attempts=trigger.max_attempts,
        priority=trigger.priority,
        queue_timeout=trigger.queue_timeout or UNSET,
        execution_timeout=trigger.execution_timeout or UNSET,
    )


def _payload(trigger: Ready, batch: list[Arrived]) -> Raw:
    events = [
        {
            "id": each.event_id,
            "topic": each.topic,
            "payload": Raw(each.payload.encode()),
            "published_at": each.published_at,
        }
        for each in batch
    ]
    return Raw(encode({"events": events} if trigger.is_batch else events[0]))


async def prune_arrivals(conn: Connection, ids: list[UUID]) -> None:
    """Of events that are gone; beside executions, because both grow old together."""
    if ids:
        await conn.execute(statement("prune_arrivals", "workflows"))
