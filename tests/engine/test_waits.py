"""Waits: who waits holds nothing, and goes on in its place as soon as one of its waits is over."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from queues.engine import Engine, NotPossible
from queues.engine.operate import cancel_execution, cancel_family
from queues.engine.waking import _Ended
from queues.ids import uuid7
from queues.models import Change
from queues.requests import NewWait, Parent

from .crew import Crew, engine_on, enqueue, ids, in_django, lose, query, status_of

REST = Change.Through.REST
HELD = "select count(*)::int from queues_execution where status in ('running', 'cancelling')"


def sleep(seconds: float = 3600, key: str = "nap") -> NewWait:
    return NewWait(key=key, kind="time", seconds=seconds)


def for_all(*executions: UUID, key: str = "children", **more: Any) -> NewWait:
    return NewWait(key=key, kind="executions", executions=list(executions), **more)


async def begin(engine: Engine, crew: Crew, count: int = 1, **more: Any) -> list[UUID]:
    await enqueue(engine, count, **more)
    return ids(await crew.take())


async def wait(crew: Crew, id: UUID, *waits: NewWait) -> None:
    await crew.end([id], "waiting", waits=list(waits))


async def child_of(engine: Engine, crew: Crew, id: UUID, count: int = 1, **more: Any) -> list[UUID]:
    return await enqueue(engine, count, parent=Parent(id=id, token=crew.held[id]), **more)


async def goes_on(dsn: str, id: UUID, seconds: float = 0.5) -> None:
    """Queued again, without anybody's duty: those are off here."""
    until = time.monotonic() + seconds
    while status_of(dsn, id) != "queued":
        assert time.monotonic() < until, status_of(dsn, id)
        await asyncio.sleep(0.005)


async def settled(engine: Engine) -> None:
    """What the commits so far have to say is said."""
    await engine.waits.idle()


# -- holding nothing -------------------------------------------------------------------------------


async def test_who_waits_holds_no_slot_and_comes_back_first(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (first,) = await begin(engine, crew)
    (second, third) = await enqueue(engine, 2)
    await wait(crew, first, sleep(0.2))
    assert ids(await crew.take()) == [second]
    assert status_of(dsn, first) == "waiting"
    await asyncio.sleep(0.25)
    await engine.waits.look([first])
    await crew.end([second])
    assert ids(await crew.take()) == [first]  # before the third: its place is the original one
    await crew.end([first])
    assert ids(await crew.take()) == [third]


async def test_a_wait_is_no_try(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await begin(engine, crew)
    for turn in range(3):
        await wait(crew, id, sleep(0, key=f"nap {turn}"))
        await goes_on(dsn, id)
        assert ids(await crew.take(wait=1)) == [id]
    assert query(dsn, "select attempt - resumes, max_attempts - resumes, resumes from queues_execution") == [
        (1, 1, 3)
    ]
    await crew.end([id], "failed", retry_in=0)
    assert status_of(dsn, id) == "failed"


@pytest.mark.parametrize("duties", [True])
async def test_a_time_is_awaited_to_the_tenth_of_a_second(dsn: str, duties: bool) -> None:
    async with engine_on(dsn, duties=duties) as engine:
        crew = await Crew(engine).join(("work", "line"), line=1)
        (id,) = await begin(engine, crew)
        late = []
        for turn in range(3):  # the machine may be busy, but not three times
            await wait(crew, id, sleep(1, key=f"nap {turn}"))
            began = time.monotonic()
            assert ids(await crew.take(wait=5)) == [id]
            late.append(time.monotonic() - began - 1)
            if late[-1] < 0.3:
                break
        assert min(late) > -0.1 and late[-1] < 0.3, late


# -- children --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
async def test_a_parent_on_a_limit_of_one_awaits_its_child(engine: Engine, dsn: str, outcome: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (parent,) = await begin(engine, crew)
    (child,) = await child_of(engine, crew, parent)
    await wait(crew, parent, for_all(child))
    assert ids(await crew.take()) == [child]
    await crew.end([child], outcome)  # type: ignore[arg-type]
    await goes_on(dsn, parent)
    assert ids(await crew.take(wait=1)) == [parent]


async def test_a_child_that_ended_before_the_wait_ends_it(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (parent,) = await begin(engine, crew)
    (child,) = await child_of(engine, crew, parent)
    await crew.take()
    await crew.end([child])
    await settled(engine)
    await wait(crew, parent, for_all(child, uuid7()))  # and nobody knows the other one
    await goes_on(dsn, parent)


async def test_a_child_that_is_cancelled_or_lost_wakes_its_parent(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    other = await Crew(engine, "other").join(("work", "line"))
    parents = await begin(engine, crew, 2)
    children = [(await child_of(engine, crew, parent))[0] for parent in parents]
    for parent, child in zip(parents, children, strict=True):
        await wait(crew, parent, for_all(child))
    await in_django(cancel_execution, children[0], actor="ana", through=REST)
    await goes_on(dsn, parents[0])
    assert set(ids(await other.take(wait=1))) == {parents[0], children[1]}
    await in_django(cancel_execution, children[1], actor="ana", through=REST)
    await lose(engine, dsn, other.id)
    assert status_of(dsn, children[1]) == "cancelled"
    await goes_on(dsn, parents[1])


async def test_children_that_one_transaction_cancels_are_looked_at_together(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    parents = await begin(engine, crew, 2)
    children = [(await child_of(engine, crew, parent))[0] for parent in parents]
    for parent, child in zip(parents, children, strict=True):
        await wait(crew, parent, for_all(child))
    await settled(engine)

    def cancel_all() -> int:
        with transaction.atomic():
            for id in children:
                cancel_execution(id, actor="ana", through=REST)
            return sum(isinstance(call[1], _Ended) for call in connection.run_on_commit)

    assert await in_django(cancel_all) == 1
    for parent in parents:
        await goes_on(dsn, parent)


async def test_a_thousand_children_join_once(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), ("child", "wide"), line=1, wide=None)
    (parent,) = await begin(engine, crew)
    children = await child_of(engine, crew, parent, 1000, workflow="child", queue="wide")
    await wait(crew, parent, for_all(*children))
    while begun := ids(await crew.take(capacity=100)):
        assert parent not in begun
        for third, outcome in enumerate(("completed", "failed", "cancelled")):
            await crew.end(begun[third::3], outcome)  # type: ignore[arg-type]
        if set(begun) & set(children[-1:]):
            break
    await goes_on(dsn, parent)
    assert ids(await crew.take(wait=1)) == [parent]
    await settled(engine)
    assert query(dsn, "select resumes, attempt from queues_execution where id = %s", parent) == [(1, 2)]


async def test_an_execution_that_is_no_child_wakes_who_waits_for_it(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    waiting, stranger = await begin(engine, crew, 2)
    await wait(crew, waiting, for_all(stranger))
    await settled(engine)
    assert status_of(dsn, waiting) == "waiting"
    await crew.end([stranger])
    await goes_on(dsn, waiting)


async def test_fifty_generations_on_a_limit_of_one_end(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    line = await begin(engine, crew)
    (other,) = await enqueue(engine, 1)  # in line before all the children
    for _ in range(49):
        (child,) = await child_of(engine, crew, line[-1])
        await wait(crew, line[-1], for_all(child))
        assert ids(await crew.take(wait=1)) == [child]
        line.append(child)
    await settled(engine)  # a parent that is looked at just then is passed over, and woken a moment later
    for id in reversed(line):
        await crew.end([id])
        expected = [line[line.index(id) - 1]] if id != line[0] else [other]
        assert ids(await crew.take(wait=1)) == expected


# -- order -----------------------------------------------------------------------------------------


async def test_what_has_begun_is_finished_before_something_new_starts_the_deepest_first(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (root,) = await begin(engine, crew)
    (new,) = await enqueue(engine, 1)
    first, second = await child_of(engine, crew, root, 2)
    await wait(crew, root, for_all(first, second))
    assert ids(await crew.take(wait=1)) == [first]
    (deep,) = await child_of(engine, crew, first)
    await wait(crew, first, for_all(deep))
    assert ids(await crew.take(wait=1)) == [deep]
    await settled(engine)  # a parent that is looked at just then is passed over, and woken a moment later
    for ends, starts in ((deep, first), (first, second), (second, root), (root, new)):
        await crew.end([ends])
        assert ids(await crew.take(wait=1)) == [starts]


async def test_a_child_takes_the_place_of_its_nearest_ancestor_on_the_queue(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), ("work", "side"), line=5, side=5)
    (root,) = await begin(engine, crew)
    (aside,) = await child_of(engine, crew, root, queue="side")
    await crew.take(wait=1)
    (deep,) = await child_of(engine, crew, aside)
    places = dict(query(dsn, "select id, place from queues_execution"))
    assert places[deep] == places[root] - dt.timedelta(microseconds=2)
    assert places[aside] > places[root]


async def test_a_child_with_priority_starts_before_its_brothers(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (root,) = await begin(engine, crew)
    (plain,) = await child_of(engine, crew, root)
    (prior,) = await child_of(engine, crew, root, priority=5)
    await wait(crew, root, for_all(plain, prior))
    assert ids(await crew.take(wait=1)) == [prior]


# -- several waits, and again ----------------------------------------------------------------------


async def test_one_of_several_waits_wakes_and_the_others_are_kept(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (parent,) = await begin(engine, crew)
    one, two = await child_of(engine, crew, parent, 2)
    await wait(crew, parent, for_all(one, key="one"), for_all(two, key="two", seconds=3600), sleep())
    before = query(dsn, "select key, since, until from queues_wait order by key")
    await crew.take()
    await crew.end([one])
    await goes_on(dsn, parent)
    assert ids(await crew.take(wait=1)) == [parent]
    await wait(crew, parent, for_all(two, key="two", seconds=3600), sleep())
    await settled(engine)
    assert status_of(dsn, parent) == "waiting"  # the one that is over is none of this claim
    assert query(dsn, "select key, since, until from queues_wait order by key") == before
    await crew.end([two])
    await goes_on(dsn, parent)


async def test_a_wait_times_out(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (id,) = await begin(engine, crew)
    await wait(crew, id, for_all(id_of_nobody(), id, seconds=0))
    await goes_on(dsn, id)
    assert query(dsn, "select timed_out, over_at is not null, answer from queues_wait") == [(True, True, None)]


def id_of_nobody() -> UUID:
    return uuid7()


# -- fencing, cancels, repeats ---------------------------------------------------------------------


async def test_a_stale_token_cannot_wait(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await begin(engine, crew)
    await lose(engine, dsn, crew.id)
    other = await Crew(engine, "other").join(("work", "line"))
    assert ids(await other.take()) == [id]
    reply = await crew.end([id], "waiting", waits=[sleep()])
    assert [refused.reason for refused in reply.refused] == ["stale"]
    assert status_of(dsn, id) == "running"
    assert query(dsn, "select * from queues_wait") == []


async def test_a_wait_that_is_handed_in_twice_is_taken_once(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await begin(engine, crew)
    for _ in range(2):
        reply = await crew.end([id, id], "waiting", waits=[sleep(0)])
        assert reply.refused == []
        await goes_on(dsn, id)
    assert query(dsn, "select count(*)::int from queues_wait") == [(1,)]


async def test_who_waits_is_cancelled_at_once_and_stays_so(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await begin(engine, crew)
    await wait(crew, id, sleep(0.1))
    outcome = await in_django(cancel_execution, id, actor="ana", through=REST)
    assert outcome.status == "cancelled"
    await asyncio.sleep(0.15)
    assert await engine.waits.look([id]) == 0
    assert status_of(dsn, id) == "cancelled"


async def test_what_is_being_cancelled_does_not_wait(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await begin(engine, crew)
    await in_django(cancel_execution, id, actor="ana", through=REST)
    await wait(crew, id, sleep())
    assert status_of(dsn, id) == "cancelled"
    assert query(dsn, "select * from queues_wait") == []


# -- what is lost is found -------------------------------------------------------------------------


async def test_the_duty_finds_what_a_dead_server_left(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (parent,) = await begin(engine, crew)
    (child,) = await child_of(engine, crew, parent)
    await crew.take()
    await crew.end([child])
    await settled(engine)
    engine.waits.begun = lambda ids: None  # type: ignore[method-assign]  # it dies after the commit
    await wait(crew, parent, for_all(child))
    assert status_of(dsn, parent) == "waiting"
    async with engine_on(dsn, duties=True):
        await goes_on(dsn, parent, seconds=3)


async def test_waits_are_deleted_with_their_execution(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (id,) = await begin(engine, crew)
    await wait(crew, id, sleep())
    await in_django(cancel_execution, id, actor="ana", through=REST)
    query(dsn, "update queues_execution set finished_at = now() - interval '31 days'")
    ((queue,),) = query(dsn, "select id from queues_queue")
    await engine.duties._prune_queue(queue)
    assert query(dsn, "select count(*)::int from queues_wait") == [(0,)]


# -- circles ---------------------------------------------------------------------------------------


async def test_who_waits_for_itself_fails_and_is_told_why(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (grand,) = await begin(engine, crew)
    (parent,) = await child_of(engine, crew, grand)
    await crew.take()
    (child,) = await child_of(engine, crew, parent)
    await crew.take()
    await wait(crew, grand, for_all(parent))
    await wait(crew, parent, for_all(child))
    await settled(engine)  # else it may be the parent that closes the circle
    await wait(crew, child, for_all(grand))
    await goes_on(dsn, parent)  # its child has failed
    ((status, error),) = query(dsn, "select status, error from queues_execution where id = %s", child)
    assert status == "failed"
    assert error["type"] == "WaitCycle"
    assert " → ".join(f"work ({id})" for id in (child, grand, parent, child)) in error["message"]


async def test_a_circle_that_something_else_may_end_is_none(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    (parent,) = await begin(engine, crew)
    (child,) = await child_of(engine, crew, parent)
    await crew.take()
    await wait(crew, parent, for_all(child, seconds=3600))
    await wait(crew, child, for_all(parent))
    await settled(engine)
    assert (status_of(dsn, parent), status_of(dsn, child)) == ("waiting", "waiting")


# -- under a limit -------------------------------------------------------------------------------------


async def test_the_limit_holds_while_parents_go_on_on_two_servers(engine: Engine, dsn: str) -> None:
    async with engine_on(dsn, duties=True) as other:
        crews = [await Crew(engine).join(("work", "line"), line=2), await Crew(other, "b").join(("work", "line"))]
        await enqueue(engine, 12)
        most = 0
        work = [asyncio.create_task(all_with_two_children(crew, dsn)) for crew in crews]
        while not all(task.done() for task in work):
            most = max(most, query(dsn, HELD)[0][0])
            await asyncio.sleep(0.001)
        await asyncio.gather(*work)
    assert most == 2
    ended = "select parent_id is null, status, resumes, count(*)::int from queues_execution group by 1, 2, 3"
    assert set(query(dsn, ended)) == {(False, "completed", None, 24), (True, "completed", 1, 12)}


async def all_with_two_children(crew: Crew, dsn: str) -> None:
    while query(dsn, "select count(*) from queues_execution where finished_at is null") != [(0,)]:
        for claimed in await crew.take(1, wait=0.1):
            if claimed.parent_id is None and claimed.attempt == 1:
                children = await child_of(crew.engine, crew, claimed.id, 2)
                await wait(crew, claimed.id, for_all(*children))
            else:
                await crew.end([claimed.id])


# -- with all that it started ----------------------------------------------------------------------


async def test_a_family_is_cancelled_in_one_go(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), ("work", "secret"), line=9, secret=9)
    (root,) = await begin(engine, crew)
    (running, final) = await child_of(engine, crew, root, 2)
    await crew.take(wait=1)
    (queued,) = await child_of(engine, crew, running, delay=60)
    (grandchild,) = await child_of(engine, crew, final, delay=60)
    (hidden,) = await child_of(engine, crew, root, queue="secret", delay=60)
    await crew.end([final])
    await wait(crew, root, for_all(running))
    family = {"actor": "ana", "through": REST, "reaches": lambda queue: queue != "secret"}
    assert await in_django(cancel_family, root, **family) == 4
    statuses = {id: status_of(dsn, id) for id in (root, running, queued, grandchild, final, hidden)}
    assert list(statuses.values()) == [
        "cancelled", "cancelling", "cancelled", "cancelled", "completed", "scheduled",
    ]  # fmt: skip
    with pytest.raises(NotPossible):
        await in_django(cancel_family, final, **family)
