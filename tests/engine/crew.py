"""A worker for tests: it speaks the exchange protocol to an engine in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar
from uuid import UUID

import psycopg
from asgiref.sync import sync_to_async
from django.db import connection
from msgspec import UNSET, Raw

from queues.engine import Config, Engine
from queues.ids import uuid7
from queues.requests import (
    Accepted,
    Claimed,
    ErrorInfo,
    Exchange,
    Exchanged,
    Finished,
    NewExecution,
    QueueDeclaration,
    Register,
    WorkflowDeclaration,
)

NO_LIMIT = "no limit declared"
NO_POLL = 60.0
Outcome = Literal["completed", "failed", "cancelled", "released", "waiting"]
T = TypeVar("T")


@asynccontextmanager
async def engine_on(dsn: str, **config: Any) -> AsyncIterator[Engine]:
    """Without duties and without the poll, unless a test asks for them: whoever is woken was told."""
    engine = Engine(Config(conninfo=dsn, **{"duties": False, "look": NO_POLL, **config}))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


class Crew:
    """One worker; `take` claims, `end` hands in."""

    def __init__(self, engine: Engine, name: str = "crew") -> None:
        self.engine = engine
        self.name = name
        self.id = uuid7()
        self.seq = 0
        self.held: dict[UUID, UUID] = {}  # execution → token

    async def join(self, *pairs: tuple[str, str], **limits: int | str | None) -> Crew:
        """`join(("workflow", "queue"), queue=5)`; a queue without a limit here declares none."""
        queues = {queue: limits.get(queue.replace("-", "_"), NO_LIMIT) for _, queue in pairs}
        await self.engine.register(
            Register(
                id=self.id,
                name=self.name,
                queues=[
                    QueueDeclaration(name=q, concurrency_limit=UNSET if n == NO_LIMIT else n)  # type: ignore[arg-type]
                    for q, n in queues.items()
                ],
                workflows=[WorkflowDeclaration(id=workflow, queue=queue) for workflow, queue in pairs],
            )
        )
        return self

    async def exchange(self, **fields: Any) -> Exchanged:
        self.seq += 1
        reply = await self.engine.exchange(self.id, Exchange(seq=self.seq, received=self.seq - 1, **fields))
        self.note(reply)
        return reply

    def note(self, reply: Exchanged) -> None:
        for claimed in reply.executions:
            assert reply.token is not None
            self.held[claimed.id] = reply.token

    async def take(self, capacity: int = 100, wait: float = 0.0) -> list[Claimed]:
        return (await self.exchange(capacity=capacity, wait=wait)).executions

    async def end(
        self, ids: Iterable[UUID], outcome: Outcome = "completed", *, result: bytes = b"null", **more: Any
    ) -> Exchanged:
        return await self.engine.exchange(
            self.id, Exchange(results=[self.finished(i, outcome, result, **more) for i in ids])
        )

    def finished(self, id: UUID, outcome: Outcome = "completed", result: bytes = b"null", **more: Any) -> Finished:
        error = ErrorInfo(message="broken") if outcome == "failed" else None
        return Finished(id=id, token=self.held[id], outcome=outcome, result=Raw(result), error=error, **more)


async def in_django(verb: Callable[..., T], *args: Any, **more: Any) -> T:
    """Runs a verb of Django's connection in a thread of its own, as a page does."""

    def run() -> T:
        try:
            return verb(*args, **more)
        finally:
            connection.close()

    return await sync_to_async(run, thread_sensitive=False)()


async def enqueue(
    engine: Engine, count: int, workflow: str = "work", queue: str = "line", **more: Any
) -> list[UUID]:
    answers = await engine.enqueue(
        [NewExecution(workflow_id=workflow, queue_name=queue, **more) for _ in range(count)], actor="test"
    )
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [answer.id for answer in answers]


def ids(claims: Iterable[Claimed]) -> list[UUID]:
    return [claimed.id for claimed in claims]


def query(dsn: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as db:
        cursor = db.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def status_of(dsn: str, id: UUID) -> str:
    return str(query(dsn, "select status from queues_execution where id = %s", id)[0][0])


def end_lease(dsn: str, worker: UUID) -> None:
    query(dsn, "update queues_worker set lease_until = now() - interval '1 second' where id = %s", worker)


async def lose(engine: Engine, dsn: str, worker: UUID) -> None:
    """The worker's lease ends, and the sweep finds it."""
    end_lease(dsn, worker)
    engine.taken_back((await engine.leases.expire())[1])
