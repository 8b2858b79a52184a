"""enqueue: accepts executions, many at once, and answers after the commit.

A batch of the combiner is one INSERT. What it did not insert was there already (a repeat, answered as such, or a
different request under the same id or key: a conflict), or its parent does not run any more.

Executions that ask for nothing but to be run are expected to be new: `enqueue_new` inserts all of them or fails,
and then `enqueue` looks at each. One alone is stored by `enqueue_one`. What items have in common is made once
(`_Kind`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from psycopg.errors import UniqueViolation

from .. import words
from ..ids import uuid7
from ..models import Status
from ..requests import Accepted, Deduplication, NewExecution
from .arrays import binary_uuids, numbers, of_few, quoted, raws, texts, uuids
from .combiner import Combiner
from .database import Connection, Database, Row
from .dedup import Decision, Keyed, Settled, rounds, settle, take, to_be_added
from .errors import EngineUnavailable
from .flight import Flight
from .statements import statement

MOST_AT_ONCE = 1_000  # executions in one statement
HAND_OVER_SECONDS = 0.5  # a flight takes milliseconds, unless somebody holds a row that it needs
MOST_HANDED_OVER = 100  # executions stored and claimed in one commit; more would delay whoever waits
QUEUE_MEMORY = 1.0  # seconds that a queue's declared limit is remembered (for notes only)

log = logging.getLogger(__name__)


class Desk(Protocol):
    """Where workers wait (`exchange.Desk`)."""

    def awaits(self, pairs: Iterable[tuple[int, str]]) -> bool: ...

    def arrive(
        self, pairs: Iterable[tuple[int, str]], add: Callable[[Flight], int]
    ) -> asyncio.Future[list[Row]]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Conflict:
    """Something else has this id or idempotency key, or the parent's claim is over. Nothing was added."""

    id: UUID
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Draining(Conflict):
    """The queue takes nothing new. Nothing was added."""

    queue: str


@dataclasses.dataclass(slots=True)
class KnownQueue:
    id: int
    name: str
    declared_limit: int | None
    read_at: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """What executions of a batch have in common: made once, however many they are."""

    queue: KnownQueue
    workflow: str
    priority: int
    max_attempts: int
    notes: list[str]
    timeouts: list[tuple[str, float]]  # kind of deadline, and seconds

    @property
    def is_timed(self) -> bool:
        return any(kind == "execution" for kind, _ in self.timeouts)


class _Batch(NamedTuple):
    requests: Sequence[NewExecution]
    ids: list[UUID]
    kinds: list[_Kind]
    is_plain: bool  # nothing in it has particulars

    def cut(self, start: int, end: int) -> _Batch:
        return _Batch(self.requests[start:end], self.ids[start:end], self.kinds[start:end], self.is_plain)

    def pick(self, which: Collection[int]) -> _Batch:
        requests, ids, kinds, is_plain = self
        return _Batch([requests[n] for n in which], [ids[n] for n in which], [kinds[n] for n in which], is_plain)


@dataclasses.dataclass(frozen=True, slots=True)
class AllNew(Sequence[Accepted]):
    """The answers to a batch of which all were added, and of all but the id the same is said."""

    ids: list[UUID]
    first: Accepted

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Accepted]:
        return (replace(self.first, id=id) for id in self.ids)

    def __getitem__(self, which: Any) -> Any:
        return list(self)[which]


Answers = Sequence[Accepted | Conflict]
_Timeout = float | UnsetType | None
_Asked = tuple[
    str | None, str, int | UnsetType | None, int | None, int | None, _Timeout, _Timeout, Deduplication | None
]
_asked: Callable[[NewExecution], _Asked] = attrgetter(
    "queue_name", "workflow_id", "queue_concurrency_limit", "priority", "max_attempts", "queue_timeout",
    "execution_timeout", "deduplication",
)  # fmt: skip
_Add = Callable[[_Batch], Awaitable[Answers]]
_particulars: Callable[[NewExecution], tuple[object, ...]] = attrgetter(
    "idempotency_key", "parent", "run_at", "delay"
)
_NO_PARTICULARS = {(None, None, None, None)}


class Placed(NamedTuple):
    """An execution with an id of its own, and where it goes."""

    request: NewExecution
    queue_id: int


def insertions(items: Sequence[Placed]) -> list[tuple[str, dict[str, str]]]:
    """Statements and their values, for those who start executions in a transaction of their own: together with
    what they note about it. Ids that are there already are left alone. `tell` wakes the workers."""
    requests = [item.request for item in items]
    ids = [request.id or uuid7() for request in requests]
    batch = _Batch(requests, ids, [_placed(item) for item in items], is_plain=False)
    statements = [("enqueue", _values(batch))]
    if any(kind.timeouts for kind in batch.kinds):
        timed = {kind.queue.id for kind in batch.kinds if kind.is_timed}
        statements = [
            ("mark_timed", {"queues": numbers(timed)}),
            *statements,
            ("add_deadlines", _deadlines(batch)),
        ]
    return statements


async def start(conn: Connection, items: Sequence[Placed]) -> None:
    """Starts executions in the caller's transaction; workers are woken by its commit. For what is rare: commits
    with a NOTIFY come one after the other."""
    for name, values in insertions(items):
        await conn.execute(statement(name), values)
    for queue_id in sorted({item.queue_id for item in items}):
        await conn.execute(statement("tell"), {"payload": f"limits:{queue_id}"})


def _placed(item: Placed) -> _Kind:
    request = item.request
    queue = KnownQueue(item.queue_id, request.queue_name or "", None, 0.0)
    return _Kind(
        queue, request.workflow_id, request.priority or 0, request.max_attempts or 1, [],
        _timeouts(request.queue_timeout, request.execution_timeout),
    )  # fmt: skip


def _timeouts(queue: _Timeout, execution: _Timeout) -> list[tuple[str, float]]:
    both = (("queue", queue), ("execution", execution))
    return [(kind, seconds) for kind, seconds in both if isinstance(seconds, int | float)]


class Enqueuer:
    """Knows the queues by name, and groups what is to be inserted."""

    def __init__(
        self,
        database: Database,
        *,
        default_limit: int | None,
        desk: Desk,
        on_enqueued: Callable[[set[tuple[int, str]], bool], None],
        on_settled: Callable[[Settled], None],
    ) -> None:
        self._database = database
        self._desk = desk
        self.default_limit = default_limit
        self._on_enqueued = on_enqueued
        self._on_settled = on_settled
        self._queues: dict[str, KnownQueue] = {}
        self._timed: set[int] = set()  # queues that are marked as such
        self.names: dict[int, str] = {}
        self.draining: frozenset[int] = frozenset()  # ids of queues; as a rule empty, then it costs nothing
        self._inserts: Combiner[_Batch, Answers] = Combiner(
            self._insert, max_batch=2_000, weight=lambda batch: len(batch.ids)
        )

    async def enqueue(self, requests: Sequence[NewExecution], *, actor: str, alike: bool) -> Answers:
        """One answer per request, in their order. Of those that are alike in all but id and payload, only the
        first is looked at: 0.4 µs less for each."""
        looked_at = requests[:1] if alike else requests
        asked = list(map(_asked, looked_at))
        different = dict.fromkeys(asked)
        created = await self._ensure_queues(different)
        kinds = {each: self._kind(each, created) for each in different}
        await self._mark_timed(kinds.values())
        batch = _Batch(
            requests,
            [r.id or uuid7() for r in requests],
            list(map(kinds.__getitem__, asked)) * (len(requests) if alike else 1),
            is_plain=set(map(_particulars, looked_at)) == _NO_PARTICULARS,
        )
        add = self._enqueue_all
        if any(each[-1] is not None for each in different):
            add = partial(self._enqueue_some_keyed, actor=actor)
        if self.draining and not self.draining.isdisjoint(kind.queue.id for kind in kinds.values()):
            return await self._enqueue_some(batch, add)
        return await add(batch)

    async def _enqueue_some(self, batch: _Batch, add: _Add) -> Answers:
        """A queue that drains takes children of what runs, and tells what it took before; the rest is refused."""
        stays = [
            n
            for n, (request, kind) in enumerate(zip(batch.requests, batch.kinds, strict=True))
            if kind.queue.id in self.draining and request.parent is None
        ]
        goes = sorted(set(range(len(batch.ids))).difference(stays))
        if not stays:
            return await add(batch)
        answers = dict(zip(goes, await add(batch.pick(goes)), strict=True))
        for n, known in zip(stays, await self._known(batch.pick(stays)), strict=True):
            answers[n] = _refused(batch.ids[n], batch.kinds[n].queue.name) if known is None else known
        return [answers[n] for n in range(len(batch.ids))]

    async def _enqueue_all(self, batch: _Batch) -> Answers:
        if 0 < len(batch.ids) <= MOST_AT_ONCE:
            return await self._inserts.submit(batch)
        starts = range(0, len(batch.ids), MOST_AT_ONCE)
        answers = [await self._inserts.submit(batch.cut(start, start + MOST_AT_ONCE)) for start in starts]
        return list(chain.from_iterable(answers))

    def _kind(self, asked: _Asked, created: set[str]) -> _Kind:
        queue_name, workflow, limit, priority, max_attempts, queue_timeout, execution_timeout, _ = asked
        queue = self._queues[queue_name or workflow]
        notes = []
        if limit is not UNSET and queue.name not in created and limit != queue.declared_limit:
            notes.append(
                f"The queue {queue.name} exists already and keeps its own limit of "
                f"{words.limit(queue.declared_limit)}; the {words.limit(limit)} of this request was not used."
            )
        timeouts = _timeouts(queue_timeout, execution_timeout)
        return _Kind(queue, workflow, priority or 0, max_attempts or 1, notes, timeouts)

    # -- queues by name ----------------------------------------------------------------------------

    async def _ensure_queues(self, asked: Collection[_Asked]) -> set[str]:
        """Makes the queues that do not exist yet; returns the names of those."""
        created: set[str] = set()
        while wanted := self._unknown(asked):  # again: meanwhile some may have been forgotten (`keep`)
            async with self._database.connection() as conn:
                created |= await self.load_queues(
                    conn, wanted, declared_by="chosen when an execution was enqueued"
                )
        return created

    def _unknown(self, asked: Iterable[_Asked]) -> dict[str, int | None]:
        """Queues to be read, or made with this limit."""
        old = time.monotonic() - QUEUE_MEMORY
        wanted: dict[str, int | None] = {}
        for queue_name, workflow, limit, *_ in asked:
            name = queue_name or workflow
            known = self._queues.get(name)
            stale = known is not None and limit is not UNSET and known.read_at < old
            if known is None or stale:
                wanted.setdefault(name, self.default_limit if limit is UNSET else limit)
        return wanted

    def keep(self, served: Collection[int], *, read_after: float) -> None:
        """Forgets queues that nobody serves here and that were read before that (monotonic) time."""
        self._queues = {
            name: known
            for name, known in self._queues.items()
            if known.id in served or known.read_at >= read_after
        }
        known = {queue.id for queue in self._queues.values()}
        self.names = {id: name for id, name in self.names.items() if id in known or id in served}
        self._timed.intersection_update(known)

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

    async def _mark_timed(self, kinds: Iterable[_Kind]) -> None:
        """Before the first execution with a deadline: the claims of all servers look for it from then on."""
        new = {kind.queue.id for kind in kinds if kind.is_timed and kind.queue.id not in self._timed}
        if new:
            async with self._database.connection() as conn:
                await conn.execute(statement("mark_timed"), {"queues": numbers(new)})
            self._timed |= new

    def id_of(self, name: str) -> int:
        return self._queues[name].id

    # -- the insert --------------------------------------------------------------------------------

    async def _insert(self, batches: list[_Batch]) -> list[Answers]:
        batch = batches[0] if len(batches) == 1 else _joined(batches)
        kinds = set(batch.kinds)
        pairs = {(kind.queue.id, kind.workflow) for kind in kinds}
        timed = any(kind.timeouts for kind in kinds)
        awaited = len(batch.ids) <= MOST_HANDED_OVER and self._desk.awaits(pairs)
        several_new = batch.is_plain and not awaited and not timed and len(batch.ids) > 1
        if several_new and (enqueued_at := await self._insert_new(batch)):
            self._on_enqueued(pairs, False)
            return [_all_new(each, enqueued_at) for each in batches]
        rows, claimed = await self._store(_first_of_each(batch), pairs, awaited=awaited, timed=timed)
        self._on_enqueued(pairs, claimed)
        flat = iter(await self._answers(batch, rows))
        return [list(islice(flat, len(each.ids))) for each in batches]

    async def _insert_new(self, batch: _Batch) -> dt.datetime | None:
        """When all were enqueued; None when none was, because `enqueue` has to look at each: one is there already,
        or twice in the batch."""
        kinds = set(batch.kinds)
        shared = batch if len(kinds) > 1 else batch._replace(kinds=list(kinds))
        values: dict[str, object] = {**_shared_values(shared), "ids": binary_uuids(batch.ids)}

        async def at_once() -> dt.datetime | None:
            flight = Flight()
            number = flight.add(statement("enqueue_new"), values)
            try:
                answers = await self._database.fly(flight)
            except UniqueViolation:
                return None
            enqueued_at: dt.datetime = answers[number][0][0]
            return enqueued_at

        return await self._database.again(at_once)

    async def _store(
        self, batch: _Batch, pairs: set[tuple[int, str]], *, awaited: bool, timed: bool
    ) -> tuple[list[Row], bool]:
        """The rows inserted, and whether the workers that wait for them were served in the same commit."""

        def add(flight: Flight) -> int:
            number = flight.add(*_insertion(batch))
            if timed:
                flight.add(statement("add_deadlines"), _deadlines(batch))
            return number

        if awaited:
            arriving = self._desk.arrive(pairs, add)
            # A worker's trouble is not the caller's: stored twice has no second effect, because ids conflict.
            await asyncio.wait((arriving,), timeout=HAND_OVER_SECONDS)
            try:
                if arriving.done():
                    return arriving.result(), True
                log.warning("executions wait for a worker's row that somebody holds; they are stored on their own")
                arriving.add_done_callback(_forget)
            except EngineUnavailable:
                raise
            except Exception:
                log.exception("executions could not be handed over; they are stored on their own")

        async def alone() -> list[Row]:
            flight = Flight()
            number = add(flight)
            return (await self._database.fly(flight))[number]

        return await self._database.again(alone), False

    async def _answers(self, batch: _Batch, rows: list[Row]) -> list[Accepted | Conflict]:
        inserted = {row[0]: row for row in rows}
        answers: dict[int, Accepted | Conflict] = {}
        others: list[int] = []
        for n, (id, kind) in enumerate(zip(batch.ids, batch.kinds, strict=True)):
            row = inserted.pop(id, None)  # popped: a second one of the same id is a repeat
            if row is None:
                others.append(n)
            else:
                answers[n] = _accepted(id, kind, row[1], row[2])
        if others:
            picked = batch.pick(others)
            known = zip(picked.ids, await self._known(picked), strict=True)
            answers.update(zip(others, (answer or _orphaned(id) for id, answer in known), strict=True))
        return [answers[n] for n in range(len(batch.ids))]

    async def _known(self, batch: _Batch) -> list[Accepted | Conflict | None]:
        """What is said of those that are there already; None of the others."""
        async with self._database.connection() as conn:
            found = await _find_known(conn, batch)
        return [_answer_known(id, found[n]) if n in found else None for n, id in enumerate(batch.ids)]

    # -- with deduplication keys -------------------------------------------------------------------

    async def _enqueue_some_keyed(self, batch: _Batch, actor: str) -> list[Accepted | Conflict]:
        """Those with a key apart from the others, and of each key one after the other."""
        items = {
            n: Keyed(batch.ids[n], batch.kinds[n].queue.id, request, request.deduplication)
            for n, request in enumerate(batch.requests)
            if request.deduplication is not None
        }
        plain = [n for n in range(len(batch.ids)) if n not in items]
        answers: dict[int, Accepted | Conflict] = {}
        answers.update(zip(plain, await self._enqueue_all(batch.pick(plain)), strict=True))
        for which in rounds(items):
            own = [items[n] for n in which]
            answers.update(zip(which, await self._enqueue_keyed(batch.pick(which), own, actor), strict=True))
        return [answers[n] for n in range(len(batch.ids))]

    async def _enqueue_keyed(self, batch: _Batch, items: list[Keyed], by: str) -> list[Accepted | Conflict]:
        outcome = await self._database.again(lambda: self._decide_keyed(batch, items, by))
        if outcome.startable:
            kinds = [kind for id, kind in zip(batch.ids, batch.kinds, strict=True) if id in outcome.startable]
            self._on_enqueued({(kind.queue.id, kind.workflow) for kind in kinds}, False)
        self._on_settled(outcome.settled)
        others = [n for n, id in enumerate(batch.ids) if id not in outcome.answers]
        known = await self._known(batch.pick(others)) if others else []
        for n, answer in zip(others, known, strict=True):
            outcome.answers[batch.ids[n]] = answer or _orphaned(batch.ids[n])
        return [outcome.answers[id] for id in batch.ids]

    async def _decide_keyed(self, batch: _Batch, items: list[Keyed], by: str) -> _Outcome:
        """One transaction: who has the keys, what is added, what becomes of those that were there."""
        outcome = _Outcome({}, {}, Settled([], set()))
        async with self._database.connection() as conn, conn.transaction():
            known = await _find_known(conn, batch)
            for n, row in known.items():
                outcome.answers[batch.ids[n]] = _answer_repeat(batch.ids[n], batch.kinds[n], row)
            fresh = [n for n in range(len(items)) if n not in known]
            if not fresh:
                return outcome
            own = [items[n] for n in fresh]
            decisions = await take(conn, own)
            adding = [n for n, each in zip(fresh, decisions, strict=True) if each.act in ("add", "cancel")]
            outcome.added = await _add(conn, batch, {n: to_be_added(items[n]) for n in adding})
            outcome.settled = await settle(conn, own, decisions, added=outcome.added, by=by)
            outcome.startable = {
                item.id for item, each in zip(own, decisions, strict=True) if _was_locked(item, each)
            }
            outcome.startable.update(outcome.added)
        for n, decision in zip(fresh, decisions, strict=True):
            if (answer := _answer_keyed(batch.ids[n], batch.kinds[n], decision, outcome)) is not None:
                outcome.answers[batch.ids[n]] = answer
        return outcome


@dataclasses.dataclass(slots=True)
class _Outcome:
    """Of a transaction for executions with keys. Those without an answer could not be added."""

    answers: dict[UUID, Accepted | Conflict]
    added: dict[UUID, Row]  # id, status, time
    settled: Settled
    startable: set[UUID] = dataclasses.field(default_factory=set)  # that were added, or whose holder may start


def _was_locked(item: Keyed, decision: Decision) -> bool:
    """Claims passed over who has the key, and took the line for empty."""
    return item.asked.policy != "skip" and decision.holder is not None and decision.holder.status == Status.QUEUED


async def _add(conn: Connection, batch: _Batch, requests: dict[int, NewExecution]) -> dict[UUID, Row]:
    if not requests:
        return {}
    adding = batch.pick(requests)._replace(requests=list(requests.values()), is_plain=False)
    rows = await (await conn.execute(*_insertion(adding))).fetchall()
    if any(kind.timeouts for kind in adding.kinds):
        await conn.execute(statement("add_deadlines"), _deadlines(adding))
    return {row[0]: row for row in rows}


async def _find_known(conn: Connection, batch: _Batch) -> dict[int, Row]:
    """What is there already under the ids and idempotency keys of a batch, by its number there."""
    values = {"ids": uuids(batch.ids), "keys": texts(r.idempotency_key for r in batch.requests)}
    cursor = await conn.execute(statement("enqueue_known"), _shared_values(batch) | values)
    return {row[0] - 1: row for row in await cursor.fetchall()}


def _joined(batches: Sequence[_Batch]) -> _Batch:
    return _Batch(
        list(chain.from_iterable(batch.requests for batch in batches)),
        list(chain.from_iterable(batch.ids for batch in batches)),
        list(chain.from_iterable(batch.kinds for batch in batches)),
        is_plain=all(batch.is_plain for batch in batches),
    )


def _first_of_each(batch: _Batch) -> _Batch:
    """One row per id, the first: of two, the database would keep the one with the lesser key, and the first
    caller would be told that its own was accepted."""
    first: dict[UUID, int] = {}
    for n, id in enumerate(batch.ids):
        first.setdefault(id, n)
    return batch if len(first) == len(batch.ids) else batch.pick(first.values())


def _insertion(batch: _Batch) -> tuple[str, Mapping[str, object]]:
    """The statement that inserts one, or what has any particulars, and its values."""
    if batch.is_plain and len(batch.ids) == 1 and not batch.kinds[0].timeouts:
        return statement("enqueue_one"), _of_one(batch.ids[0], batch.kinds[0], batch.requests[0])
    if any(request.parent for request in batch.requests):
        return statement("enqueue_children"), _values(batch) | _parents(batch)
    return statement("enqueue"), _values(batch)


def _of_one(id: UUID, kind: _Kind, request: NewExecution) -> dict[str, object]:
    return {
        "id": id, "queue": kind.queue.id, "workflow": kind.workflow, "priority": kind.priority,
        "max_attempts": kind.max_attempts, "payload": bytes(request.payload).decode(),
    }  # fmt: skip


def _values(batch: _Batch) -> dict[str, str]:
    requests = batch.requests
    return _shared_values(batch) | {
        "ids": uuids(batch.ids),
        "keys": texts(r.idempotency_key for r in requests),
        "run_ats": texts(_utc(r.run_at) for r in requests),
        "delays": numbers(r.delay for r in requests),
    }


def _parents(batch: _Batch) -> dict[str, str]:
    parents = [request.parent for request in batch.requests]
    return {
        "parents": uuids(parent.id if parent else None for parent in parents),
        "parent_tokens": uuids(parent.token if parent else None for parent in parents),
    }


def _shared_values(batch: _Batch) -> dict[str, str]:
    kinds = batch.kinds
    return {
        "queues": of_few(kinds, lambda kind: str(kind.queue.id)),
        "workflows": of_few(kinds, lambda kind: quoted(kind.workflow)),
        "priorities": of_few(kinds, lambda kind: str(kind.priority)),
        "max_attempts": of_few(kinds, lambda kind: str(kind.max_attempts)),
        "payloads": raws([r.payload for r in batch.requests]),
    }


def _deadlines(batch: _Batch) -> dict[str, str]:
    rows = [
        (id, kind, seconds) for id, of in zip(batch.ids, batch.kinds, strict=True) for kind, seconds in of.timeouts
    ]
    return {
        "ids": uuids(id for id, _, _ in rows),
        "kinds": texts(kind for _, kind, _ in rows),
        "seconds": numbers(seconds for _, _, seconds in rows),
    }


def _utc(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat()


def _accepted(id: UUID, kind: _Kind, status: str, enqueued_at: dt.datetime) -> Accepted:
    return Accepted(
        id=id, workflow_id=kind.workflow, queue=kind.queue.name, status=status, created=True,
        enqueued_at=enqueued_at, notes=kind.notes,
    )  # fmt: skip


def _all_new(batch: _Batch, enqueued_at: dt.datetime) -> Answers:
    queued = Status.QUEUED.value  # an enum's value costs a call
    if len(batch.ids) > 1 and len(set(batch.kinds)) == 1:
        return AllNew(batch.ids, _accepted(batch.ids[0], batch.kinds[0], queued, enqueued_at))
    return [_accepted(id, kind, queued, enqueued_at) for id, kind in zip(batch.ids, batch.kinds, strict=True)]


def _orphaned(id: UUID) -> Conflict:
    return Conflict(id, "The parent execution does not run under this token any more; nothing was started.")


def _refused(id: UUID, queue: str) -> Draining:
    said = f"The queue {queue} is draining: it takes nothing new until somebody lets it accept again."
    return Draining(id, said, queue)


def _answer_known(id: UUID, row: Row) -> Accepted | Conflict:
    _, found_id, workflow, queue, status, enqueued_at, same = row
    if not same:
        named = "id" if found_id == id else "idempotency key"
        return Conflict(
            found_id, f"Another execution, with a different workflow, queue or payload, has this {named}."
        )
    return Accepted(
        id=found_id, workflow_id=workflow, queue=queue, status=status, created=False, enqueued_at=enqueued_at
    )


def _answer_repeat(id: UUID, kind: _Kind, row: Row) -> Accepted | Conflict:
    """The id counts, whatever the payload: it may have been replaced since."""
    n, found_id, workflow, queue, status, enqueued_at, same = row
    same = same or (found_id == id and (workflow, queue) == (kind.workflow, kind.queue.name))
    return _answer_known(id, (n, found_id, workflow, queue, status, enqueued_at, same))


def _answer_keyed(id: UUID, kind: _Kind, decision: Decision, outcome: _Outcome) -> Accepted | None:
    if id in outcome.added:
        _, status, enqueued_at = outcome.added[id]
        status = Status.WAITING.value if id in outcome.settled.following else status
        return _accepted(id, kind, status, enqueued_at)
    if decision.act in ("add", "cancel") or decision.holder is None:
        return None
    holder, notes = decision.holder, list(kind.notes)
    if decision.note:
        notes.append(decision.note)
    return Accepted(
        id=holder.id, workflow_id=kind.workflow, queue=kind.queue.name, status=holder.status, created=False,
        enqueued_at=holder.enqueued_at, notes=notes,
    )  # fmt: skip


def _forget(future: asyncio.Future[list[Row]]) -> None:
    if not future.cancelled():
        future.exception()  # looked at, so that nobody complains of it
