"""Executions that a worker waits for are stored and claimed in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import DeadlockDetected

from queues.engine import Engine, EngineUnavailable, WorkerGone, exchange_statements
from queues.engine.claims import claim_statement
from queues.engine.flight import Answers, Flight
from queues.engine.statements import statement
from queues.requests import Accepted, Exchange, Exchanged, Finished, NewExecution
from tests.pace import soon

from .crew import Crew, enqueue, ids, query


def new(id: UUID | None = None) -> NewExecution:
    return NewExecution(workflow_id="work", queue_name="line", id=id)


async def waiting(crew: Crew, capacity: int = 10) -> asyncio.Task[Exchanged]:
    poll = asyncio.create_task(crew.engine.exchange(crew.id, Exchange(seq=1, capacity=capacity, wait=5)))
    await asyncio.sleep(0.1)
    return poll


async def test_it_is_stored_and_claimed_in_one_flight(engine: Engine, flights: list[int]) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=5)
    poll = await waiting(crew)
    flights.clear()
    await enqueue(engine, 1)
    assert len((await poll).executions) == 1
    assert flights[0] == 4  # begin_claims, enqueue, lock_queues, claim


async def test_what_one_worker_comes_to_serve_meanwhile_is_not_given_to_another(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement claims for both. It is run again, or waits; meanwhile one of them adopts a pair."""
    await enqueue(engine, 2, "play")
    await enqueue(engine, 2)
    [(queue_id,)] = query(dsn, "select id from queues_queue")
    both = await Crew(engine, "both").join(("work", "line"))
    one = await Crew(engine, "one").join(("work", "line"))
    await asyncio.sleep(0.2)  # they have looked for what others serve
    fly = engine.database.fly
    lost: list[Flight] = []

    async def lose_first(flight: Flight) -> Answers:
        if not lost:
            lost.append(flight)
            engine._serve(engine._members[both.id], [(queue_id, "play")])
            raise DeadlockDetected
        return await fly(flight)

    monkeypatch.setattr(engine.database, "fly", lose_first)
    claims = await asyncio.gather(both.take(2), one.take(2))
    assert lost and {claimed.workflow_id for claimed in claims[1]} == {"work"}


async def test_what_changes_while_it_is_picked_is_claimed_soon(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new version is not in the claim's snapshot. Nobody is told of the change; the poll is far away."""

    def gated(name: str) -> str:
        return statement(name).replace("as shared\n", "as shared from pg_advisory_xact_lock(77)\n")

    monkeypatch.setattr(exchange_statements, "statement", gated)
    crew = await Crew(engine).join(("work", "line"), line=5)
    wanted = await enqueue(engine, 1)
    with psycopg.connect(dsn, autocommit=True) as rival:
        rival.execute("select pg_advisory_lock(77)")
        waiting = asyncio.create_task(crew.take(wait=5))
        await asyncio.sleep(0.3)
        rival.execute("update queues_execution set priority = 1")
        rival.execute("select pg_advisory_unlock(77)")
    assert ids(await soon(waiting)) == wanted


async def test_without_anybody_who_waits_it_is_stored_alone(engine: Engine, flights: list[int]) -> None:
    await Crew(engine, "a").join(("work", "line"), line=5)
    await enqueue(engine, 1)
    assert 1 in flights and 4 not in flights


async def test_more_than_there_is_room_for_stays_in_line(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=2)
    poll = await waiting(crew)
    await enqueue(engine, 5)
    assert [claimed.slot for claimed in (await poll).executions] == [1, 2]
    assert query(dsn, "select count(*) from queues_execution where status = 'queued'") == [(3,)]


async def test_a_repeat_beside_new_ones_has_no_second_effect(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=5)
    (first,) = await engine.enqueue([new()])
    assert isinstance(first, Accepted)
    await engine.exchange(crew.id, Exchange(seq=1, capacity=1))
    poll = asyncio.create_task(engine.exchange(crew.id, Exchange(seq=2, received=1, capacity=5, wait=5)))
    await asyncio.sleep(0.1)
    answers = await engine.enqueue([new(id=first.id), new()])
    assert [answer.created for answer in answers if isinstance(answer, Accepted)] == [False, True]
    assert len((await poll).executions) == 1
    assert query(dsn, "select count(*) from queues_execution") == [(2,)]


async def test_a_claim_that_fails_does_not_fail_what_arrives(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=5)
    poll = await waiting(crew)
    broken: list[str] = []

    def once(**form: bool) -> str:
        if not broken:
            broken.append("claim")
            return claim_statement(**form).replace("queues_queue", "no_such_table")
        return claim_statement(**form)

    monkeypatch.setattr(exchange_statements, "claim_statement", once)
    answers = await enqueue(engine, 1)
    assert len(answers) == 1 and broken
    ((id,),) = query(dsn, "select id from queues_execution")
    assert UUID(str(id)) in [claimed.id for claimed in (await poll).executions]


async def test_results_that_come_again_after_a_failure_fill_their_slot_in_the_same_commit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=1)
    await enqueue(engine, 2)
    first = await engine.exchange(crew.id, Exchange(seq=1, capacity=5))
    (claimed,) = first.executions
    finish, broken = exchange_statements.finish, [EngineUnavailable()]

    def once(flight: Flight, results: Sequence[Finished]) -> int:
        if broken:
            raise broken.pop()
        return finish(flight, results)

    monkeypatch.setattr(exchange_statements, "finish", once)
    assert first.token
    result = Finished(id=claimed.id, token=first.token, outcome="completed")
    request = Exchange(seq=2, received=1, capacity=5, results=[result])
    with pytest.raises(EngineUnavailable):
        await engine.exchange(crew.id, request)
    assert len((await engine.exchange(crew.id, request)).executions) == 1


async def test_a_worker_that_is_gone_gets_nothing_and_nothing_is_lost(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=5)
    poll = await waiting(crew)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("update queues_worker set lease_until = now() - interval '1 second'")
    assert len(await enqueue(engine, 1)) == 1
    with pytest.raises(WorkerGone):
        await poll
    assert query(dsn, "select status from queues_execution") == [("queued",)]


async def test_an_enqueue_does_not_wait_for_somebody_who_holds_the_workers_row(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine, "a").join(("work", "line"), line=5)
    poll = await waiting(crew)
    with psycopg.connect(dsn) as db:
        db.execute("select id from queues_worker for update")
        answers = await asyncio.wait_for(enqueue(engine, 2), 3)
        assert query(dsn, "select count(*) from queues_execution") == [(2,)]
        db.rollback()
    assert sorted(claimed.id for claimed in (await poll).executions) == sorted(answers)
    assert query(dsn, "select count(*) from queues_execution") == [(2,)]
