"""A worker may have a claim under way on each of two lanes; each lane keeps the promises of one."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg

from queues.engine import Engine
from queues.requests import Exchange, Heartbeat
from tests.pace import soon

from .crew import Crew, enqueue, ids, query


def ask(seq: int, lane: int, capacity: int = 2, wait: float = 0.0) -> Exchange:
    return Exchange(seq=seq, received=seq - 1, lane=lane, capacity=capacity, wait=wait)


async def test_both_lanes_claim_and_both_answers_can_be_asked_for_again(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=10)
    work = await enqueue(engine, 6)
    first, second = await asyncio.gather(engine.exchange(crew.id, ask(1, 0)), engine.exchange(crew.id, ask(1, 1)))
    assert sorted(ids(first.executions) + ids(second.executions)) == sorted(work[:4])
    assert first.token != second.token
    for lane, reply in enumerate((first, second)):  # both replies were lost
        again = await engine.exchange(crew.id, ask(1, lane))
        assert (ids(again.executions), again.token) == (ids(reply.executions), reply.token)


async def test_the_next_claim_of_a_lane_gives_up_only_what_that_lane_never_heard_of(
    engine: Engine, dsn: str
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=10)
    await enqueue(engine, 6)
    kept = await engine.exchange(crew.id, ask(1, 0))
    lost = await engine.exchange(crew.id, ask(1, 1))
    assert lost.executions
    await engine.exchange(crew.id, Exchange(seq=2, received=0, lane=1, capacity=1))
    await asyncio.sleep(0.3)
    held = [UUID(str(row[0])) for row in query(dsn, "select id from queues_execution where status = 'running'")]
    assert set(ids(kept.executions)) <= set(held)
    assert not set(ids(lost.executions)) & set(held)


async def test_a_claim_that_waited_while_the_workers_row_changed_is_begun_again(engine: Engine, dsn: str) -> None:
    """A heartbeat through another server, or the other lane there."""
    crew = await Crew(engine).join(("work", "line"), line=10)
    await enqueue(engine, 1)
    with psycopg.connect(dsn) as rival:
        rival.execute("update queues_worker set heartbeat_at = clock_timestamp()")
        taking = asyncio.create_task(crew.take())
        while not query(dsn, "select 1 from pg_stat_activity where wait_event_type = 'Lock'"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(await soon(taking)) == 1


async def test_who_has_left_the_hall_is_not_told_that_its_time_is_over(engine: Engine) -> None:
    """It is begun again, maybe at this very moment: told «nothing», it would never hear of what it got."""
    crew = await Crew(engine).join(("work", "line"), line=10)
    poll = asyncio.create_task(crew.take(wait=0.3))
    while not engine.desk._hall:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    (visit,) = engine.desk._hall.values()
    engine.desk._leave(visit)
    await asyncio.sleep(0.6)
    assert not poll.done()
    visit.reply([])
    assert await poll == []


async def test_a_heartbeat_names_what_each_lane_heard_of(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=10)
    await enqueue(engine, 6)
    first = await engine.exchange(crew.id, ask(1, 0))
    second = await engine.exchange(crew.id, ask(1, 1))
    query(dsn, "update queues_worker set claim_at = array_fill(now() - interval '1 hour', '{2}')")
    _, unheard = await engine.leases.heartbeat(crew.id, Heartbeat(received=1, received_beside=0))
    assert unheard == [second.token]
    _, unheard = await engine.leases.heartbeat(crew.id, Heartbeat(received=0, received_beside=1))
    assert unheard == [first.token]
    _, unheard = await engine.leases.heartbeat(crew.id, Heartbeat(received=1, received_beside=1))
    assert unheard == []


async def test_a_poll_on_one_lane_does_not_end_a_poll_on_the_other(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=10)
    polls = [asyncio.create_task(engine.exchange(crew.id, ask(1, lane, wait=5))) for lane in (0, 1)]
    await asyncio.sleep(0.2)
    assert not any(poll.done() for poll in polls)
    await enqueue(engine, 4)
    replies = await asyncio.wait_for(asyncio.gather(*polls), 3)
    assert [len(reply.executions) for reply in replies] == [2, 2]
