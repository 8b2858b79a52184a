"""Each thing that one server at a time does has a lock of its own: none waits for another."""

from __future__ import annotations

import psycopg

from queues.engine import Engine
from queues.engine.locks import LOCK_CLASS, TAKE, Lock
from queues.rollup import roll_up

from .crew import enqueue, status_of
from .test_deadlines import passed


def hold_all_but(own: Lock, db: psycopg.Connection[tuple[object, ...]]) -> None:
    for lock in set(Lock) - {own}:
        db.execute(TAKE.encode(), (LOCK_CLASS, lock.value))


async def test_deadlines_end_while_all_else_is_at_work(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, queue_timeout=60)
    passed(dsn)
    with psycopg.connect(dsn) as other:
        hold_all_but(Lock.DEADLINES, other)
        await engine.duties.deadlines()
    assert status_of(dsn, id) == "failed"


async def test_the_history_goes_on_while_all_else_is_at_work(engine: Engine, dsn: str) -> None:
    with psycopg.connect(dsn) as other:
        hold_all_but(Lock.ROLL_UP, other)
        free = await roll_up(engine.database)
        other.execute(TAKE.encode(), (LOCK_CLASS, Lock.ROLL_UP.value))
        assert await roll_up(engine.database) == 1.0 != free
