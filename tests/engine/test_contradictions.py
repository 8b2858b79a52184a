"""What the fixture `dsn` looks for after each test is found."""

from __future__ import annotations

import psycopg
import pytest

from queues.engine import Engine
from queues.engine.statements import statement

from .crew import Crew, enqueue

SPOILED = {
    "final without an end": "status = 'completed'",
    "ended without being final": "finished_at = now()",
    "held by nobody": "worker_id = null",
    "held by a claim that is over": "released_at = now()",
    "scheduled for no time": "status = 'scheduled', due_at = null",
}


@pytest.mark.parametrize("how", SPOILED)
async def test_an_execution_that_contradicts_itself_is_found(engine: Engine, dsn: str, how: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    with psycopg.connect(dsn, autocommit=True) as db:
        assert db.execute(statement("contradictions").encode()).fetchall() == []
        db.execute(f"update queues_execution set {SPOILED[how]}".encode())
        found = db.execute(statement("contradictions").encode()).fetchall()
        db.execute("truncate queues_execution")
    assert [row[0] for row in found] == [id]
