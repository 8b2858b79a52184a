"""register: a worker says who it is, which queues it declares, and which workflows it serves.

Three kinds of transactions: queues that do not exist yet are made; the worker, its pairs and its declarations are
noted together; then each queue whose declared limit changes is changed in a transaction of its own, because
nobody waits for one queue's lock while holding another's.
"""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from msgspec import UNSET

from .. import words
from ..requests import QueueDeclaration, Register, Registered, RegisteredQueue
from .arrays import numbers, texts
from .board import Member
from .database import Connection, Database
from .enqueue import Enqueuer
from .errors import WorkerGone
from .statements import statement


class Registrar:
    """Registers workers and remembers what they serve."""

    def __init__(
        self, database: Database, enqueuer: Enqueuer, *, lease: float, heartbeat: float, poll: float
    ) -> None:
        self._database = database
        self._enqueuer = enqueuer
        self._lease = lease
        self._heartbeat = heartbeat
        self._poll = poll

    async def register(self, request: Register, *, key_name: str) -> tuple[Registered, Member]:
        """Raises `WorkerGone` when the id is known and its lease is over."""
        wanted = _limits_wanted(request, self._enqueuer.default_limit)
        place = f"worker {request.name}"
        async with self._database.connection() as conn:
            new = await self._enqueuer.load_queues(conn, wanted, declared_by=place)
        pairs = defaultdict(list)
        for declared in request.workflows:
            pairs[self._enqueuer.id_of(declared.queue)].append(declared.id)
        member = Member(request.id, dict(pairs))
        news = await self._database.again(lambda: self._note(request, member, key_name))
        for queue_id, limit in news:
            await self._database.again(lambda q=queue_id, n=limit: self._declare(q, n, request))  # type: ignore[misc]
        return await self._registered(request, member, new), member

    async def find(self, worker_id: UUID) -> Member:
        """A worker that registered elsewhere. Raises `WorkerGone` when it is unknown."""
        async with self._database.connection() as conn:
            cursor = await conn.execute(statement("pairs_of_worker"), {"worker": worker_id})
            rows = await cursor.fetchall()
        if not rows:
            raise WorkerGone(worker_id)
        pairs = defaultdict(list)
        for queue_id, name, workflow in rows:
            pairs[queue_id].append(workflow)
            self._enqueuer.names[queue_id] = name
        return Member(worker_id, dict(pairs))

    async def _note(self, request: Register, member: Member, key_name: str) -> list[tuple[int, int | None]]:
        async with self._database.connection() as conn, conn.transaction():
            values = {
                "id": request.id, "name": request.name, "host": request.host, "pid": request.pid,
                "sdk_version": request.sdk_version, "max_concurrent": request.max_concurrent,
                "key_name": key_name, "lease": self._lease,
            }  # fmt: skip
            row = await (await conn.execute(statement("register_worker"), values)).fetchone()
            if row is None:
                raise WorkerGone(request.id)
            pairs = [(queue_id, workflow) for queue_id, names in member.pairs.items() for workflow in names]
            await conn.execute(
                statement("register_pairs"),
                {
                    "worker": request.id,
                    "queues": numbers(queue_id for queue_id, _ in pairs),
                    "workflows": texts(workflow for _, workflow in pairs),
                },
            )
            return await self._note_declarations(conn, request)

    async def _note_declarations(self, conn: Connection, request: Register) -> list[tuple[int, int | None]]:
        declared = [queue for queue in request.queues if queue.concurrency_limit is not UNSET]
        if not declared:
            return []
        cursor = await conn.execute(
            statement("declare"),
            {
                "queues": numbers(self._enqueuer.id_of(queue.name) for queue in declared),
                "limits": numbers(_limit(queue) for queue in declared),
                "places": texts(queue.place for queue in declared),
                "worker_name": request.name,
            },
        )
        return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def _declare(self, queue_id: int, limit: int | None, request: Register) -> None:
        """The newest changed declaration counts."""
        async with self._database.connection() as conn, conn.transaction():
            await conn.execute(statement("lock_limit"), {"queue": queue_id})
            place = next((q.place for q in request.queues if self._enqueuer.id_of(q.name) == queue_id), "")
            declared_by = f"worker {request.name}" + (f", {place}" if place else "")
            cursor = await conn.execute(
                statement("set_declared_limit"),
                {"queue": queue_id, "limit": limit, "declared_by": declared_by[:300]},
            )
            row = await cursor.fetchone()
            if row is None or row[0] == limit:
                return
            await conn.execute(
                statement("note_change"),
                {
                    "queue": queue_id, "before": words.limit(row[0]), "after": words.limit(limit),
                    "actor": f"worker {request.name}"[:200], "reason": f"declared in code: {place}"[:500],
                },
            )  # fmt: skip
            await conn.execute(statement("tell"), {"payload": f"limits:{queue_id}"})

    async def _registered(self, request: Register, member: Member, new: set[str]) -> Registered:
        ids = set(member.pairs) | {self._enqueuer.id_of(queue.name) for queue in request.queues}
        async with self._database.connection() as conn:
            cursor = await conn.execute(statement("queue_limits"), {"queues": numbers(ids)})
            rows = await cursor.fetchall()
        queues = [RegisteredQueue(name=r[0], declared_limit=r[1], effective_limit=r[2], paused=r[3]) for r in rows]
        return Registered(
            worker_id=request.id, lease_seconds=self._lease, heartbeat_seconds=self._heartbeat,
            poll_seconds=self._poll, queues=queues, warnings=_warnings(request, queues),
        )  # fmt: skip


def _limit(queue: QueueDeclaration) -> int | None:
    return None if queue.concurrency_limit is UNSET else queue.concurrency_limit


def _limits_wanted(request: Register, default: int | None) -> dict[str, int | None]:
    """The limit that each queue gets if it is new: what is declared, else the default of the server."""
    wanted: dict[str, int | None] = {workflow.queue: default for workflow in request.workflows}
    for queue in request.queues:
        wanted[queue.name] = default if queue.concurrency_limit is UNSET else _limit(queue)
    return wanted


def _warnings(request: Register, queues: list[RegisteredQueue]) -> list[str]:
    """Where the server's limit is not what this worker declares, in a sentence for its log."""
    declared = {q.name: _limit(q) for q in request.queues if q.concurrency_limit is not UNSET}
    found = []
    for queue in queues:
        if queue.name in declared and queue.effective_limit != declared[queue.name]:
            found.append(
                f"The queue {queue.name} runs with limit {words.limit(queue.effective_limit)}; "
                f"this worker declares {words.limit(declared[queue.name])}."
            )
        if queue.paused:
            found.append(f"The queue {queue.name} is paused: nothing starts there until somebody resumes it.")
    return found
