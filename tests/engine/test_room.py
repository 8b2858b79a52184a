"""What a transaction frees and fills again is no room for anybody; what it leaves is, on every server."""

from __future__ import annotations

import asyncio

import pytest

from queues.engine import Engine
from queues.requests import Exchanged
from tests.pace import soon

from .crew import Crew, engine_on, enqueue, ids


async def waits(crew: Crew, capacity: int = 10) -> asyncio.Task[Exchanged]:
    poll = asyncio.create_task(crew.exchange(capacity=capacity, wait=5))
    await asyncio.sleep(0.1)
    assert not poll.done()
    return poll


async def handed_in_for_another(crew: Crew) -> None:
    """Ends one of a full queue, in a transaction that fills its place: the queue is as full as before."""
    done = crew.finished(next(iter(crew.held)))
    reply = await crew.exchange(capacity=5, results=[done])
    assert len(reply.executions) == 1
    del crew.held[done.id]


async def test_a_full_queue_is_not_tried_again_after_a_place_was_filled_at_once(
    engine: Engine, flights: list[int]
) -> None:
    one, other = [await Crew(engine, name).join(("work", "line"), line=2) for name in ("one", "other")]
    await enqueue(engine, 9)
    assert len(await one.take(5)) == 2
    await other.take(5)
    flights.clear()
    poll = await waits(other)
    assert flights == [1]  # its row takes the claim
    await handed_in_for_another(one)
    await asyncio.sleep(0.1)
    assert flights == [1, 4]  # and none that tries the queue once more for the one that waits
    await one.end([next(iter(one.held))])
    assert len((await soon(poll)).executions) == 1
    assert flights == [1, 4, 4]


async def test_room_that_a_claim_leaves_is_found_by_another_worker(engine: Engine) -> None:
    """Whoever hands in takes no more than it asks for: what it leaves is room."""
    one, other = [await Crew(engine, name).join(("work", "line"), line=3) for name in ("one", "other")]
    await enqueue(engine, 9)
    first = await one.take(5)
    assert len(first) == 3
    assert len((await one.exchange(capacity=1, results=[one.finished(id) for id in ids(first)])).executions) == 1
    assert len(await other.take(5)) == 2


async def test_another_server_learns_at_once_of_room_that_nobody_here_took(engine: Engine, dsn: str) -> None:
    """What was filled at once is told later: there is nothing to find. What was not must not wait for that."""
    async with engine_on(dsn) as second:
        one = await Crew(engine, "one").join(("work", "line"), line=1)
        other = await Crew(second, "other").join(("work", "line"), line=1)
        await enqueue(engine, 3)
        await one.take(1)
        await other.take(1)
        poll = await waits(other)
        hurries = engine.wakes._hurry
        await asyncio.sleep(0.3)
        await handed_in_for_another(one)
        assert not hurries.is_set()
        await one.end([next(iter(one.held))])
        assert hurries.is_set()
        assert len((await soon(poll)).executions) == 1


async def test_other_servers_are_told_of_work_on_an_unlimited_queue_and_not_of_room(
    engine: Engine, company: None
) -> None:
    one = await Crew(engine).join(("work", "line"), line=None)
    done, given_back, *_ = await enqueue(engine, 5)
    assert len(await one.take(2)) == 2
    hurries = engine.wakes._hurry
    await asyncio.sleep(0.3)
    await one.exchange(capacity=1, results=[one.finished(done)])
    assert not hurries.is_set()
    await one.exchange(capacity=1, results=[one.finished(given_back, "released")])
    assert hurries.is_set()


@pytest.mark.parametrize(
    "pairs",
    [
        [("work", "line"), ("play", "line")],
        [("work", "line"), ("work", "side-line")],
        [("work", "line"), ("play", "line"), ("work", "side-line")],
    ],
)
async def test_other_servers_are_told_of_what_a_claim_locked_and_left(
    engine: Engine, company: None, pairs: list[tuple[str, str]]
) -> None:
    """Whoever claims there at the same time passes over it, and takes the line for empty."""
    one = await Crew(engine).join(*pairs, line=None, side_line=None)
    hurries = engine.wakes._hurry
    for workflow, queue in pairs:
        await enqueue(engine, 1, workflow=workflow, queue=queue)
    for left in range(len(pairs) - 1, 0, -1):
        await asyncio.sleep(0.3)
        assert not hurries.is_set()
        assert len(await one.take(1)) == 1
        assert hurries.is_set(), left
    await asyncio.sleep(0.3)
    assert len(await one.take(10)) == 1
    assert not hurries.is_set()


async def test_many_queues_are_told_without_a_pause_between(engine: Engine, dsn: str) -> None:
    many = set(range(1_000_000, 1_010_000))
    heard: set[int] = set()
    async with engine_on(dsn) as second:
        await asyncio.sleep(0.3)  # it listens
        all_heard = asyncio.Event()

        def hear(queue_ids: list[int]) -> None:
            heard.update(queue_ids)
            if heard >= many:
                all_heard.set()

        second.wakes._on_queues = hear
        engine.wakes.tell_others(many)
        await soon(all_heard.wait())
