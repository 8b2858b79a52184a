"""Executions that wait or run for longer than they may."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from queues.engine import Engine
from queues.engine.claims import claim_statement
from queues.engine.flight import _plan
from queues.engine.operate import retry_execution
from queues.engine.rerun import run_again
from queues.engine.statements import statement
from queues.ids import uuid7
from queues.models import Change
from queues.requests import Heartbeat, NewWait, Parent
from tests.pace import soon

from .crew import Crew, engine_on, enqueue, ids, in_django, lose, query, status_of

PAST = "update queues_deadline set at = at - interval '1 hour'"


def passed(dsn: str) -> None:
    """An hour has passed, as far as deadlines go; what began before has begun before."""
    query(dsn, PAST)
    query(dsn, "update queues_execution set claimed_at = claimed_at - interval '1 hour'")


def reason(dsn: str, id: UUID) -> Any:
    (text,) = query(dsn, "select error::text from queues_execution where id = %s", id)[0]
    return text and json.loads(text).get("reason")


def deadlines(dsn: str) -> int:
    return int(query(dsn, "select count(*) from queues_deadline where at is not null")[0][0])


# -- in the queue ----------------------------------------------------------------------------------


async def test_what_waits_for_too_long_fails_and_says_why(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    late, patient = *await enqueue(engine, 1, queue_timeout=60), *await enqueue(engine, 1, queue_timeout=7200)
    await engine.duties.deadlines()
    assert status_of(dsn, late) == "queued"
    passed(dsn)
    await engine.duties.deadlines()
    assert (status_of(dsn, late), reason(dsn, late)) == ("failed", "queue_timeout")
    assert ids(await crew.take()) == [patient]
    assert engine.stats.failures == 1


async def test_whoever_waits_for_it_learns_it_at_once(engine: Engine, dsn: str) -> None:
    (late,) = await enqueue(engine, 1, queue_timeout=60)
    waiting = asyncio.create_task(engine.wait_final(late, 5))
    await asyncio.sleep(0)
    passed(dsn)
    await engine.duties.deadlines()
    await soon(waiting, 0.2)


async def test_the_first_start_keeps_the_deadline_of_the_queue(engine: Engine, dsn: str) -> None:
    """Also when it comes back to its place later."""
    crew = await Crew(engine).join(("work", "line"), line=2)
    runs, comes_back = await enqueue(engine, 2, queue_timeout=7200)
    await crew.take()
    await crew.end([comes_back], "released")
    query(dsn, "update queues_deadline set seconds = 60, at = now() - interval '1 second'")
    await engine.duties.deadlines()
    assert (status_of(dsn, runs), status_of(dsn, comes_back)) == ("running", "queued")
    assert deadlines(dsn) == 0


async def test_a_delayed_start_counts_from_when_it_is_due(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, delay=3600, queue_timeout=60, execution_timeout=120)
    assert query(
        dsn,
        "select extract(epoch from d.at - e.due_at)::int from queues_deadline d"
        " join queues_execution e on e.id = d.execution_id order by d.kind",
    ) == [(120,), (60,)]
    assert status_of(dsn, id) == "scheduled"


# -- as a whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "scheduled"])
async def test_what_is_not_running_when_its_time_is_over_fails_at_once(
    engine: Engine, dsn: str, status: str
) -> None:
    """Its last attempt is kept with the error that it had."""
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, max_attempts=5, execution_timeout=60)
    await crew.take()
    await crew.end([id], "failed", retry_in=0 if status == "queued" else 900)
    assert status_of(dsn, id) == status
    passed(dsn)
    await engine.duties.deadlines()
    assert (status_of(dsn, id), reason(dsn, id)) == ("failed", "execution_timeout")
    assert query(dsn, "select attempt, outcome, error::json ->> 'message' from queues_holding") == [
        (1, "failed", "broken")
    ]
    assert await crew.take() == []


async def test_who_waits_for_too_long_fails_and_its_parent_goes_on(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (parent,) = await enqueue(engine, 1)
    await crew.take()
    mine = Parent(id=parent, token=crew.held[parent])
    (child,) = await enqueue(engine, 1, parent=mine, execution_timeout=60)
    await crew.end([parent], "waiting", waits=[NewWait(key="it", kind="executions", executions=[child])])
    assert ids(await crew.take()) == [child]
    await crew.end([child], "waiting", waits=[NewWait(key="nap", kind="time", seconds=7200)])
    await engine.waits.idle()  # it looks whether the wait is over already, and holds the row meanwhile
    passed(dsn)
    await engine.duties.deadlines()
    await engine.waits.idle()
    assert (status_of(dsn, child), reason(dsn, child)) == ("failed", "execution_timeout")
    assert ids(await crew.take()) == [parent]


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "released"])
async def test_what_runs_is_asked_to_stop_and_holds_its_slot_until_it_has(
    engine: Engine, dsn: str, outcome: Any
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    other = await Crew(engine, "other").join(("work", "line"))
    (id,) = await enqueue(engine, 1, max_attempts=5, execution_timeout=60)
    (after,) = await enqueue(engine, 1)
    await crew.take()
    passed(dsn)
    await engine.duties.deadlines()
    assert status_of(dsn, id) == "cancelling"
    assert (await engine.heartbeat(crew.id, Heartbeat(received=1))).cancel == [id]
    assert await other.take() == []
    await crew.end([id], outcome, **({"retry_in": 0} if outcome == "failed" else {}))  # type: ignore[arg-type]
    assert (status_of(dsn, id), reason(dsn, id)) == ("failed", "execution_timeout")
    assert ids(await other.take()) == [after]


async def test_what_finishes_after_its_time_but_before_it_is_stopped_has_finished(
    engine: Engine, dsn: str
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, execution_timeout=60)
    await crew.take()
    passed(dsn)
    await engine.duties.deadlines()
    await crew.end([id])
    assert (status_of(dsn, id), reason(dsn, id)) == ("completed", None)


async def test_a_worker_that_is_lost_while_it_is_to_stop_leaves_the_reason(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, execution_timeout=60)
    await crew.take()
    passed(dsn)
    await engine.duties.deadlines()
    await lose(engine, dsn, crew.id)
    assert (status_of(dsn, id), reason(dsn, id)) == ("failed", "execution_timeout")


async def test_a_worker_that_waits_for_work_is_asked_at_once_through_any_server(dsn: str) -> None:
    async with engine_on(dsn) as here, engine_on(dsn) as there:
        crew = await Crew(here).join(("work", "line"), line=1)
        (id,) = await enqueue(here, 1, execution_timeout=60)
        await crew.take()
        waiting = asyncio.create_task(crew.exchange(capacity=1, wait=5))
        await asyncio.sleep(0.1)
        passed(dsn)
        await there.duties.deadlines()
        assert (await soon(waiting)).cancel == [id]


async def test_a_cancelled_one_that_is_still_stopping_ends_cancelled(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, execution_timeout=60)
    await crew.take()
    query(dsn, "update queues_execution set status = 'cancelling', cancel_by = 'ana'")
    passed(dsn)
    await engine.duties.deadlines()
    await crew.end([id], "cancelled")
    assert (status_of(dsn, id), reason(dsn, id)) == ("cancelled", None)


# -- who knows of it -------------------------------------------------------------------------------


async def test_a_worker_is_told_the_deadline_of_what_it_gets(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), ("plain", "other"), line=5)
    (plain,), (timed,) = await enqueue(engine, 1), await enqueue(engine, 1, execution_timeout=60, queue_timeout=9)
    ((at,),) = query(dsn, "select at from queues_deadline where kind = 'execution'")
    first, second = sorted(await crew.take(), key=lambda each: each.id == timed)
    assert (first.id, second.id, second.deadline) == (plain, timed, at)
    assert not isinstance(first.deadline, dt.datetime)
    crew.seq -= 1  # the reply was lost
    again = await crew.take()
    assert {each.id: each.deadline for each in again}[timed] == at


async def test_a_repeated_request_gives_no_deadline_to_what_has_none(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, idempotency_key="once")
    assert await enqueue(engine, 1, execution_timeout=60, id=id, idempotency_key="once") == [id]
    assert query(dsn, "select * from queues_deadline") == []


async def test_a_repeated_request_does_not_move_the_deadline(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, execution_timeout=60, idempotency_key="once")
    before = query(dsn, "select * from queues_deadline")
    assert await enqueue(engine, 1, execution_timeout=60, idempotency_key="once") == [id]
    assert await enqueue(engine, 1, execution_timeout=90, id=id, idempotency_key="once") == [id]
    assert query(dsn, "select * from queues_deadline") == before


async def test_an_execution_that_is_handed_over_has_its_deadline(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.1)
    await enqueue(engine, 1, execution_timeout=60)
    (claimed,) = await waiting
    assert isinstance(claimed.deadline, dt.datetime)


# -- afterwards ------------------------------------------------------------------------------------


async def test_a_retry_by_hand_begins_a_new_time(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, queue_timeout=60, execution_timeout=90)
    await crew.take()
    await crew.end([id], "failed")
    for _ in range(2):
        passed(dsn)
        await engine.duties.deadlines()
        assert status_of(dsn, id) == "failed"
        await in_django(retry_execution, id, actor="ana", through=Change.Through.REST)
        await engine.duties.deadlines()
        assert status_of(dsn, id) == "queued"
        assert deadlines(dsn) == 2
    passed(dsn)
    await engine.duties.deadlines()
    assert (status_of(dsn, id), reason(dsn, id)) == ("failed", "queue_timeout")


async def test_what_has_ended_in_time_is_not_looked_at_again(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    done, gone = await enqueue(engine, 2, queue_timeout=60, execution_timeout=90)
    await crew.take()
    await crew.end([done])
    query(dsn, "delete from queues_execution where id = %s", gone)
    passed(dsn)
    await engine.duties.deadlines()
    assert query(dsn, "select execution_id, at from queues_deadline") == 2 * [(done, None)]
    assert status_of(dsn, done) == "completed"


async def test_who_runs_it_again_takes_its_timeouts_over(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, queue_timeout=60, execution_timeout=90)
    act = {"actor": "ana", "through": Change.Through.REST}
    new = await in_django(run_again, id, new_id=uuid7(), payload=None, **act)
    sql = "select kind, seconds, at > now() from queues_deadline where execution_id = %s order by kind"
    assert query(dsn, sql, new.id) == [("execution", 90, True), ("queue", 60, True)]
    assert not (await in_django(run_again, id, new_id=new.id, payload=None, **act)).created


async def test_deadlines_go_with_their_executions(engine: Engine, dsn: str) -> None:
    (id,) = await enqueue(engine, 1, queue_timeout=60)
    passed(dsn)
    await engine.duties.deadlines()
    assert query(dsn, "select at from queues_deadline") == [(None,)]
    query(dsn, "update queues_execution set finished_at = now() - interval '31 days' where id = %s", id)
    await engine.duties._prune_queue(int(query(dsn, "select id from queues_queue")[0][0]))
    assert query(dsn, "select count(*) from queues_deadline") == [(0,)]


async def test_what_somebody_holds_is_ended_by_the_next_look(engine: Engine, dsn: str) -> None:
    held, free = await enqueue(engine, 2, queue_timeout=60)
    passed(dsn)
    with psycopg.connect(dsn) as other:
        other.execute("select from queues_execution where id = %s for update", (held,))
        await engine.duties.deadlines()
        assert (status_of(dsn, held), status_of(dsn, free)) == ("queued", "failed")
    await engine.duties.deadlines()
    assert status_of(dsn, held) == "failed"


async def test_plain_executions_take_the_same_statements_as_ever(engine: Engine, dsn: str) -> None:
    """One for an enqueue, once the queue is known; and when they start nobody looks for deadlines."""
    crew = await Crew(engine).join(("work", "line"), line=None)
    await enqueue(engine, 1)
    await asyncio.sleep(0.3)  # what a newcomer and a new queue set off is over
    assert not engine._small
    flown: list[str] = []
    fly, lend = engine.database.fly, engine.database.connection
    names = {_plan(statement(name)).name: name for name in ("enqueue_new", "begin_claims", "lock_queues")}
    names[_plan(claim_statement(alone=True, one_line=True, from_floors=False)).name] = "claim"

    async def noted(flight: Any) -> Any:
        flown.extend(names[plan.name] for plan, *_ in flight.statements if b"pg_notify" not in plan.text)
        return await fly(flight)

    def lent() -> Any:
        if asyncio.current_task() not in engine._tasks:  # what goes on in the background takes some, too
            flown.append("a connection")
        return lend()

    engine.database.fly, engine.database.connection = noted, lent  # type: ignore[method-assign]
    await enqueue(engine, 100)
    assert flown == ["enqueue_new"]
    flown.clear()
    assert len(await crew.take()) == 100
    assert flown == ["begin_claims", "lock_queues", "claim"]
