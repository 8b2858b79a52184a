"""Replies that are lost at the worst moment, and who waits while others are busy: no claim is ever forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest

from queues.engine import Engine, EngineUnavailable
from queues.engine.exchange import Visit
from queues.engine.flight import Answers, Flight
from queues.requests import Exchange, Finished
from tests.pace import soon

from .crew import Crew, engine_on, enqueue, ids, query
from .test_servers import until_blocked


def held(dsn: str, worker: UUID) -> int:
    sql = "select count(*) from queues_execution where worker_id = %s and status = 'running'"
    return int(query(dsn, sql, worker)[0][0])


@pytest.mark.parametrize("seq", [1, 2])
async def test_of_two_claims_of_one_worker_the_newer_gets_the_work(engine: Engine, dsn: str, seq: int) -> None:
    for i in range(4):
        crew = await Crew(engine, f"c{i}").join(("work", f"line{i}"), **{f"line{i}": 5})
        await enqueue(engine, 5, queue=f"line{i}")
        a = asyncio.create_task(engine.exchange(crew.id, Exchange(seq=1, capacity=10, wait=5)))
        b = asyncio.create_task(engine.exchange(crew.id, Exchange(seq=seq, capacity=10, wait=0)))
        heard = len((await b).executions)
        await asyncio.sleep(0.2)
        a.cancel()
        r = await engine.exchange(crew.id, Exchange(seq=seq + 1, received=seq, capacity=10, wait=0))
        assert held(dsn, crew.id) == heard + len(r.executions) == 5


async def test_a_server_that_stops_asks_for_a_repeat_elsewhere(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine, "c").join(("work", "line"), line=5)
    await enqueue(engine, 5)
    await engine.exchange(crew.id, Exchange(seq=1, capacity=10))
    async with engine_on(dsn) as other:
        await other.drain()
        with pytest.raises(EngineUnavailable):
            await other.exchange(crew.id, Exchange(seq=1, capacity=10))
    assert len((await engine.exchange(crew.id, Exchange(seq=1, capacity=10))).executions) == 5


async def test_a_claim_whose_commit_is_unknown_is_repeated(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = await Crew(engine, "c").join(("work", "line"), line=5)
    poll = asyncio.create_task(engine.exchange(crew.id, Exchange(seq=1, capacity=5, wait=2)))
    await asyncio.sleep(0.1)
    real, orig = engine.database.fly, engine.desk._claim_waiting
    mine: list[Any] = []

    async def lossy(flight: Flight) -> Answers:
        answers = await real(flight)
        if asyncio.current_task() in mine:
            mine.clear()
            raise EngineUnavailable
        return answers

    async def claim_waiting(visit: Visit, queue_id: int) -> None:
        mine.append(asyncio.current_task())
        await orig(visit, queue_id)

    monkeypatch.setattr(engine.database, "fly", lossy)
    monkeypatch.setattr(engine.desk, "_claim_waiting", claim_waiting)
    with psycopg.connect(dsn) as db:
        db.execute("select id from queues_queue for update")
        await enqueue(engine, 3)
        await until_blocked(dsn)
        db.rollback()
    with pytest.raises(EngineUnavailable):
        await poll
    assert len((await engine.exchange(crew.id, Exchange(seq=1, capacity=5))).executions) == 3


async def test_a_failure_after_the_commit_does_not_claim_again(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await Crew(engine, "a").join(("work", "line"), line=5)
    b = await Crew(engine, "b").join(("work", "line"), line=5)
    await engine.exchange(b.id, Exchange(seq=1, capacity=1))
    await enqueue(engine, 5)
    orig = engine.desk._repeat
    failed: list[int] = []

    async def once(visit: Visit) -> None:
        if not failed:
            failed.append(1)
            raise psycopg.errors.LockNotAvailable("lock timeout on the worker's row")
        await orig(visit)

    monkeypatch.setattr(engine.desk, "_repeat", once)
    await asyncio.gather(
        engine.exchange(b.id, Exchange(seq=1, capacity=1)),
        engine.exchange(a.id, Exchange(seq=1, capacity=2)),
        return_exceptions=True,
    )
    r = await engine.exchange(a.id, Exchange(seq=1, capacity=2))
    assert held(dsn, a.id) == len(r.executions) == 2


async def test_who_waits_is_served_beside_busy_ones(engine: Engine, dsn: str) -> None:
    quiet = await Crew(engine, "quiet").join(("calm", "quiet"))
    crews = [await Crew(engine, f"c{i}").join(("work", "line")) for i in range(40)]
    for _ in range(5):
        await enqueue(engine, 1000)
    stop = False

    async def work(c: Crew) -> None:
        results: list[Finished] = []
        while not stop:
            c.seq += 1
            r = await engine.exchange(c.id, Exchange(seq=c.seq, received=c.seq - 1, capacity=1, results=results))
            c.note(r)
            results = [c.finished(x.id) for x in r.executions]
            if not r.executions:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(work(c)) for c in crews]
    poll = asyncio.create_task(quiet.take(wait=20.0))
    await asyncio.sleep(0.5)
    await enqueue(engine, 1, "calm", "quiet")
    await asyncio.wait({poll}, timeout=5)
    left = query(dsn, "select count(*) from queues_execution where workflow = 'work' and status = 'queued'")[0][0]
    stop = True
    await asyncio.gather(*tasks, poll)
    assert left > 0, "it was served only after the others had nothing more to do"


async def test_a_repeat_that_would_wait_gets_what_its_first_try_was_given(engine: Engine) -> None:
    """Else the worker believes that it got nothing, and its heartbeats keep the slot for ever."""
    crew = await Crew(engine).join(("work", "line"), line=1)
    await enqueue(engine, 2)
    ask = Exchange(seq=1, capacity=5, wait=5)
    first = await engine.exchange(crew.id, ask)  # fills the queue; the reply is lost
    assert len(first.executions) == 1
    again = await soon(engine.exchange(crew.id, ask))
    assert (ids(again.executions), again.token) == (ids(first.executions), first.token)


async def test_a_repeat_is_not_told_nothing_by_a_server_that_stops(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    await enqueue(engine, 1)
    ask = Exchange(seq=1, capacity=5, wait=5)
    first = await engine.exchange(crew.id, ask)
    repeat = asyncio.create_task(engine.exchange(crew.id, ask))
    await engine.drain()
    with suppress(EngineUnavailable):
        assert ids((await soon(repeat)).executions) == ids(first.executions)


async def test_the_next_claim_gives_up_at_once_what_was_never_heard_of(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await engine.exchange(crew.id, Exchange(seq=1, capacity=5, wait=5))  # the reply is lost
    following = await soon(engine.exchange(crew.id, Exchange(seq=2, capacity=5, wait=5)))
    assert ids(following.executions) == [id]
