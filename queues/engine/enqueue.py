"""enqueue: accepts executions, many at once, and answers after the commit.

A batch of the combiner is one INSERT. What it did not insert was there already (a repeat, answered as such, or a
different request under the same id or key: a conflict), or its parent does not run any more.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from msgspec import UNSET

from .. import words
from ..ids import uuid7
from ..requests import Accepted, NewExecution
from .arrays import numbers, texts, uuids
from .combiner import Combiner
from .database import Connection, Database, Row
from .errors import EngineUnavailable
from .flight import Flight
from .statements import statement

MOST_HANDED_OVER = 100  # executions stored and claimed in one commit; more would delay whoever waits
QUEUE_MEMORY = 1.0  # seconds that a queue's declared limit is remembered (for notes only)

log = logging.getLogger(__name__)


class Desk(Protocol):
    """Where workers wait (`exchange.Desk`)."""

    def awaits(self, pairs: Iterable[tuple[int, str]]) -> bool: ...

    async def arrive(self, pairs: Iterable[tuple[int, str]], add: Callable[[Flight], int]) -> list[Row]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Conflict:
    """Something else has this id or idempotency key, or the parent's claim is over. Nothing was added."""

    id: UUID
    detail: str


@dataclasses.dataclass(slots=True)
class KnownQueue:
    id: int
    name: str
    declared_limit: int | None
    read_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    id: UUID
    queue: KnownQueue
    request: NewExecution
    created_queue: bool


class Enqueuer:
    """Knows the queues by name, and groups what is to be inserted."""

    def __init__(
        self,
        database: Database,
        *,
        default_limit: int | None,
        desk: Desk,
        on_enqueued: Callable[[set[tuple[int, str]], bool], None],
    ) -> None:
        self._database = database
        self._desk = desk
        self.default_limit = default_limit
        self._on_enqueued = on_enqueued
        self._queues: dict[str, KnownQueue] = {}
        self.names: dict[int, str] = {}
        self._inserts: Combiner[list[_Item], list[Accepted | Conflict]] = Combiner(
            self._insert, max_batch=2_000, weight=len
        )

    async def enqueue(self, requests: Sequence[NewExecution]) -> list[Accepted | Conflict]:
        """One answer per request, in their order."""
        created = await self._ensure_queues(requests)
        items = [_Item(r.id or uuid7(), self._queues[queue_of(r)], r, queue_of(r) in created) for r in requests]
        answers: list[Accepted | Conflict] = []
        for start in range(0, len(items), 1_000):
            answers += await self._inserts.submit(items[start : start + 1_000])
        return answers

    # -- queues by name ----------------------------------------------------------------------------

    async def _ensure_queues(self, requests: Sequence[NewExecution]) -> set[str]:
        """Makes the queues that do not exist yet; returns the names of those."""
        old = time.monotonic() - QUEUE_MEMORY
        wanted: dict[str, int | None] = {}
        for request in requests:
            name = queue_of(request)
            known = self._queues.get(name)
            stale = known is not None and request.queue_concurrency_limit is not UNSET and known.read_at < old
            if known is None or stale:
                limit = request.queue_concurrency_limit
                wanted.setdefault(name, self.default_limit if limit is UNSET else limit)
        if not wanted:
            return set()
        async with self._database.connection() as conn:
            return await self.load_queues(conn, wanted, declared_by="chosen when an execution was enqueued")

    async def load_queues(self, conn: Connection, wanted: dict[str, int | None], *, declared_by: str) -> set[str]:
        """Reads these queues, making those that are missing with the limit given; returns the new names."""
        names = sorted(wanted)
        cursor = await conn.execute(statement("find_queues"), {"names": texts(names)})
        rows = await cursor.fetchall()
        missing = sorted(set(names).difference(row[1] for row in rows))
        created: list[Row] = []
        if missing:
            values = {
                "names": texts(missing),
                "limits": numbers(wanted[name] for name in missing),
                "declared_by": declared_by,
            }
            created = await (await conn.execute(statement("create_queues"), values)).fetchall()
            cursor = await conn.execute(statement("find_queues"), {"names": texts(missing)})
            rows += await cursor.fetchall()
        now = time.monotonic()
        for queue_id, name, limit in rows:
            self._queues[name] = KnownQueue(queue_id, name, limit, now)
            self.names[queue_id] = name
        return {row[0] for row in created}

    def id_of(self, name: str) -> int:
        return self._queues[name].id

    # -- the insert --------------------------------------------------------------------------------

    async def _insert(self, batches: list[list[_Item]]) -> list[list[Accepted | Conflict]]:
        items = [item for batch in batches for item in batch]
        # One row per id, the first: of two, the database would keep the one with the lesser key, and the first
        # caller would be told that its own was accepted.
        first: dict[UUID, _Item] = {}
        for item in items:
            first.setdefault(item.id, item)
        pairs = {(item.queue.id, item.request.workflow_id) for item in items}
        rows, claimed = await self._store(list(first.values()), pairs)
        inserted = {row[0]: row for row in rows}
        answers: dict[int, Accepted | Conflict] = {}
        others: list[tuple[int, _Item]] = []
        for n, item in enumerate(items):
            row = inserted.pop(item.id, None)  # popped: a second one of the same id is a repeat
            if row is None:
                others.append((n, item))
            else:
                answers[n] = _accepted(item, row[1], row[2], created=True)
        self._on_enqueued(pairs, claimed)
        if others:
            answers |= await self._known(others)
        flat = iter([answers[n] for n in range(len(items))])
        return [[next(flat) for _ in batch] for batch in batches]

    async def _store(self, items: list[_Item], pairs: set[tuple[int, str]]) -> tuple[list[Row], bool]:
        """The rows inserted, and whether the workers that wait for them were served in the same commit."""

        def add(flight: Flight) -> int:
            return flight.add(statement("enqueue"), _values(items))

        if len(items) <= MOST_HANDED_OVER and self._desk.awaits(pairs):
            try:
                return await self._desk.arrive(pairs, add), True
            except EngineUnavailable:
                raise
            except Exception:
                log.exception("executions could not be handed over; they are stored on their own")

        async def alone() -> list[Row]:
            flight = Flight()
            number = add(flight)
            return (await self._database.fly(flight))[number]

        return await self._database.again(alone), False

    async def _known(self, others: list[tuple[int, _Item]]) -> dict[int, Accepted | Conflict]:
        items = [item for _, item in others]
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                statement("enqueue_known"),
                {
                    "ids": uuids(item.id for item in items),
                    "queues": numbers(item.queue.id for item in items),
                    "workflows": texts(item.request.workflow_id for item in items),
                    "payloads": texts(bytes(item.request.payload).decode() for item in items),
                    "keys": texts(item.request.idempotency_key for item in items),
                },
            )
            found = {row[0] - 1: row for row in await cursor.fetchall()}
        return {n: _answer_known(item, found.get(index)) for index, (n, item) in enumerate(others)}


def _values(items: Sequence[_Item]) -> dict[str, str]:
    requests = [item.request for item in items]
    return {
        "ids": uuids(item.id for item in items),
        "queues": numbers(item.queue.id for item in items),
        "workflows": texts(r.workflow_id for r in requests),
        "priorities": numbers(r.priority for r in requests),
        "payloads": texts(bytes(r.payload).decode() for r in requests),
        "max_attempts": numbers(r.max_attempts or 1 for r in requests),
        "keys": texts(r.idempotency_key for r in requests),
        "parents": uuids(r.parent.id if r.parent else None for r in requests),
        "parent_tokens": uuids(r.parent.token if r.parent else None for r in requests),
        "run_ats": texts(_utc(r.run_at) for r in requests),
        "delays": numbers(r.delay for r in requests),
    }


def queue_of(request: NewExecution) -> str:
    return request.queue_name or request.workflow_id


def _utc(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat()


def _accepted(item: _Item, status: str, enqueued_at: dt.datetime, *, created: bool) -> Accepted:
    request, queue = item.request, item.queue
    limit = request.queue_concurrency_limit
    notes = []
    if limit is not UNSET and not item.created_queue and limit != queue.declared_limit:
        notes.append(
            f"The queue {queue.name} exists already and keeps its own limit of "
            f"{words.limit(queue.declared_limit)}; the {words.limit(limit)} of this request was not used."
        )
    return Accepted(
        id=item.id, workflow_id=request.workflow_id, queue=queue.name, status=status, created=created,
        enqueued_at=enqueued_at, notes=notes,
    )  # fmt: skip


def _answer_known(item: _Item, row: Row | None) -> Accepted | Conflict:
    if row is None:
        return Conflict(
            item.id, "The parent execution does not run under this token any more; nothing was started."
        )
    _, found_id, workflow, queue, status, enqueued_at, same = row
    if not same:
        named = "id" if found_id == item.id else "idempotency key"
        return Conflict(
            found_id, f"Another execution, with a different workflow, queue or payload, has this {named}."
        )
    return Accepted(
        id=found_id, workflow_id=workflow, queue=queue, status=status, created=False, enqueued_at=enqueued_at
    )
