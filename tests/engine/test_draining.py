"""A queue that drains takes nothing new, finishes what is there, and nobody else notices."""

from __future__ import annotations

import asyncio

from queues import limits
from queues.engine import Engine
from queues.engine.enqueue import Draining
from queues.models import Change
from queues.requests import Accepted, NewExecution, Parent

from .crew import Crew, engine_on, enqueue, in_django, query

PAGE = Change.Through.PAGE


async def drain(engine: Engine, queue: str = "line") -> None:
    await in_django(limits.drain, queue=queue, reason="moving", actor="ana", through=PAGE)
    async with asyncio.timeout(5):
        while not engine.enqueuer.draining:  # noqa: ASYNC110  (the hint comes from PostgreSQL)
            await asyncio.sleep(0.01)


def new(queue: str = "line", **more: object) -> NewExecution:
    return NewExecution(workflow_id="work", queue_name=queue, **more)  # type: ignore[arg-type]


async def test_what_is_there_is_finished_and_what_is_new_is_refused(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second = await enqueue(engine, 2)
    await drain(engine)
    (refused,) = await engine.enqueue([new()])
    assert isinstance(refused, Draining) and refused.queue == "line"
    for wanted in (first, second):
        assert [claimed.id for claimed in await crew.take(1)] == [wanted]
        await crew.end([wanted])
    assert query(dsn, "select count(*) from queues_execution") == [(2,)]


async def test_children_of_what_runs_are_taken_and_so_are_other_queues(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (parent,) = await enqueue(engine, 1)
    await crew.take(1)
    await drain(engine)
    child = new(parent=Parent(id=parent, token=crew.held[parent]))
    answers = await engine.enqueue([new(), child, new("other")])
    assert [type(answer) for answer in answers] == [Draining, Accepted, Accepted]


async def test_a_repeat_of_what_was_accepted_is_answered_as_before(engine: Engine) -> None:
    await engine.enqueue([new(idempotency_key="one")])
    await drain(engine)
    (repeated,) = await engine.enqueue([new(idempotency_key="one")])
    assert isinstance(repeated, Accepted) and not repeated.created


async def test_it_accepts_again_when_somebody_says_so(engine: Engine) -> None:
    await enqueue(engine, 1)
    await drain(engine)
    await in_django(limits.accept, queue="line", actor="ana", through=PAGE)
    async with asyncio.timeout(5):
        while engine.enqueuer.draining:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await enqueue(engine, 1)


async def test_with_every_hint_lost_the_next_tick_knows(dsn: str) -> None:
    async with engine_on(dsn) as engine:
        await enqueue(engine, 1)
        query(dsn, "update queues_queue set draining = true, drain_at = now()")
        assert not engine.enqueuer.draining
        ticking = asyncio.create_task(engine.duties.tick())
        async with asyncio.timeout(5):
            while not engine.enqueuer.draining:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        ticking.cancel()
        assert isinstance((await engine.enqueue([new()]))[0], Draining)
