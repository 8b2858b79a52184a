"""Deduplication keys: of the executions of a workflow on a queue with the same key, one at a time."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, Literal
from uuid import UUID

import psycopg
import pytest
from msgspec import Raw

from queues.engine import Engine, NotPossible
from queues.engine.operate import cancel_execution, change_priority, retry_execution
from queues.ids import uuid7
from queues.models import Change
from queues.requests import Accepted, Deduplication, NewExecution, NewWait, Parent
from tests.pace import soon

from .crew import Crew, engine_on, enqueue, ids, in_django, lose, query, status_of

# A claim looks from here on, and for what came back (`raise_floors`).
LATER_FLOOR = """
insert into queues_floor (queue_id, workflow, place, candidate, candidate_xid)
select id, 'work', now() + interval '1 minute', now(), pg_current_xact_id() from queues_queue
on conflict (queue_id, workflow) do update set place = excluded.place
"""
LOCKED = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
Policy = Literal["skip", "replace", "cancel_old", "debounce"]


def request(policy: Policy = "skip", payload: int = 1, key: str = "k", **more: Any) -> NewExecution:
    times = {name: more.pop(name) for name in ("seconds", "longest") if name in more}
    return NewExecution(
        workflow_id=more.pop("workflow", "work"), queue_name=more.pop("queue", "line"),
        payload=Raw(str(payload).encode()), deduplication=Deduplication(key=key, policy=policy, **times), **more,
    )  # fmt: skip


async def add(engine: Engine, *requests: NewExecution) -> list[Accepted]:
    answers = await engine.enqueue(list(requests), actor="ana")
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return answers  # type: ignore[return-value]


async def one(engine: Engine, policy: Policy = "skip", payload: int = 1, **more: Any) -> Accepted:
    (answer,) = await add(engine, request(policy, payload, **more))
    return answer


def payload_of(dsn: str, id: UUID) -> int:
    return int(query(dsn, "select payload::text from queues_execution where id = %s", id)[0][0])


def unfinished(dsn: str) -> int:
    sql = "select count(*) from queues_execution where status not in ('completed', 'failed', 'cancelled')"
    return int(query(dsn, sql)[0][0])


async def joined(engine: Engine, limit: int = 5) -> Crew:
    return await Crew(engine).join(("work", "line"), line=limit)


# -- skip ------------------------------------------------------------------------------------------


async def test_while_one_is_there_a_second_is_not_added(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine)
    assert (first.created, first.status) == (True, "queued")
    for status in ("queued", "running", "waiting"):
        if status == "running":
            await crew.take()
        if status == "waiting":
            await crew.end([first.id], "waiting", waits=[NewWait(key="nap", kind="time", seconds=60)])
        again = await one(engine, payload=2)
        assert (again.id, again.created, again.status) == (first.id, False, status)
        assert again.enqueued_at == first.enqueued_at
    assert payload_of(dsn, first.id) == 1


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_when_it_has_ended_the_next_is_added(engine: Engine, dsn: str, end: Any) -> None:
    crew = await joined(engine)
    first = await one(engine)
    await crew.take()
    await crew.end([first.id], end)
    second, third = await one(engine, payload=2), await one(engine, payload=3)
    assert (second.created, third.id, third.created) == (True, second.id, False)
    assert ids(await crew.take()) == [second.id]


async def test_another_key_workflow_or_queue_is_another_matter(engine: Engine) -> None:
    answers = await add(
        engine, request(), request(key="other"), request(workflow="more"), request(queue="elsewhere"), request()
    )
    assert [answer.created for answer in answers] == [True, True, True, True, False]
    assert answers[4].id == answers[0].id


async def test_a_batch_may_hold_some_with_keys_and_the_same_key_several_times(engine: Engine, dsn: str) -> None:
    plain = [NewExecution(workflow_id="work", queue_name="line") for _ in range(3)]
    answers = await add(
        engine, plain[0], request("replace", 1), plain[1], request("replace", 2), request("replace", 3), plain[2]
    )
    assert [answer.created for answer in answers] == [True, True, True, False, False, True]
    assert payload_of(dsn, answers[1].id) == 3
    assert unfinished(dsn) == 4


async def test_a_request_that_is_repeated_has_no_second_effect(engine: Engine, dsn: str) -> None:
    """Also when its payload was replaced, or its execution has ended since."""
    crew = await joined(engine)
    first = request("replace", 1, id=uuid7())
    (made,) = await add(engine, first)
    await one(engine, "replace", 2)
    (again,) = await add(engine, first)
    assert (again.id, again.created, payload_of(dsn, made.id)) == (made.id, False, 2)
    await crew.take()
    await crew.end([made.id])
    (again,) = await add(engine, first)
    assert (again.id, again.status, unfinished(dsn)) == (made.id, "completed", 0)


async def test_an_idempotency_key_counts_first(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine, idempotency_key="once")
    await crew.take()
    await crew.end([first.id])
    again = await one(engine, idempotency_key="once")
    assert (again.id, again.created) == (first.id, False)


async def test_a_child_of_a_parent_that_is_gone_takes_no_key(engine: Engine, dsn: str) -> None:
    gone = Parent(id=uuid7(), token=uuid7())
    (refused,) = await engine.enqueue([request(parent=gone)], actor="ana")
    assert not isinstance(refused, Accepted)
    assert query(dsn, "select * from queues_deduplication") == []
    first = await one(engine)
    (refused,) = await engine.enqueue([request("cancel_old", parent=gone)], actor="ana")
    assert not isinstance(refused, Accepted)
    assert status_of(dsn, first.id) == "queued"
    assert (await one(engine)).id == first.id


# -- replace ---------------------------------------------------------------------------------------


async def test_one_that_has_not_started_gets_the_new_payload_in_its_old_place(engine: Engine, dsn: str) -> None:
    crew = await joined(engine, 1)
    first = await one(engine, "replace")
    await enqueue(engine, 1)
    again = await one(engine, "replace", 2)
    assert (again.id, again.created, again.notes) == (first.id, False, [])
    (claimed,) = await crew.take()
    assert (claimed.id, bytes(claimed.payload)) == (first.id, b"2")


async def test_one_that_has_started_goes_on_as_it_is_and_the_caller_is_told(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine, "replace")
    await crew.take()
    for _ in range(2):
        again = await one(engine, "replace", 2)
        assert (again.id, again.created, payload_of(dsn, first.id)) == (first.id, False, 1)
        assert "has started already" in "".join(again.notes)
        await crew.end([first.id], "released")  # in its place again, but its steps are those of the old payload


# -- cancel_old ------------------------------------------------------------------------------------


async def test_one_that_waits_is_cancelled_and_the_new_one_is_queued(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine, "cancel_old")
    second = await one(engine, "cancel_old", 2)
    assert (second.created, second.status, status_of(dsn, first.id)) == (True, "queued", "cancelled")
    assert ids(await crew.take()) == [second.id]
    by = query(dsn, "select cancel_by from queues_execution where id = %s", first.id)
    assert by == [("a newer one with the key k (ana)",)]


async def test_the_new_one_starts_when_the_old_one_has_stopped(engine: Engine, dsn: str) -> None:
    """Although there are free slots. A third one takes the place of the second, and waits for the first, too."""
    crew = await joined(engine)
    first = await one(engine, "cancel_old")
    await crew.take()
    second = await one(engine, "cancel_old", 2)
    assert (second.created, second.status, status_of(dsn, first.id)) == (True, "waiting", "cancelling")
    third = await one(engine, "cancel_old", 3)
    assert (third.status, status_of(dsn, second.id)) == ("waiting", "cancelled")
    assert (await one(engine, "skip")).id == third.id
    await engine.duties.deadlines()
    assert await crew.take() == []
    await crew.end([first.id], "cancelled")
    query(dsn, LATER_FLOOR)
    engine.desk.bloat.is_high = True  # claims look for floors
    await engine.duties.deadlines()
    assert ids(await crew.take()) == [third.id]


@pytest.mark.parametrize("policy", ["skip", "replace", "cancel_old"])
async def test_one_that_comes_when_the_second_was_cancelled_still_waits_for_the_first(
    engine: Engine, dsn: str, policy: Policy
) -> None:
    crew = await joined(engine)
    first = await one(engine, "cancel_old")
    await crew.take()
    second = await one(engine, "cancel_old", 2)
    await in_django(cancel_execution, second.id, actor="ana", through=Change.Through.REST)
    with pytest.raises(NotPossible, match=f"One at a time: {first.id} .* is cancelling"):
        await in_django(retry_execution, second.id, actor="ana", through=Change.Through.REST)
    third = await one(engine, policy, 3)
    assert (third.created, third.status) == (True, "waiting")
    await engine.duties.deadlines()
    assert await crew.take() == []
    await crew.end([first.id], "cancelled")
    await engine.duties.deadlines()
    assert ids(await crew.take()) == [third.id]


async def test_an_old_one_whose_worker_is_lost_has_stopped(engine: Engine, dsn: str) -> None:
    crew, other = await joined(engine), await Crew(engine, "other").join(("work", "line"))
    await one(engine, "cancel_old")
    await crew.take()
    second = await one(engine, "cancel_old", 2)
    await lose(engine, dsn, crew.id)
    await engine.duties.deadlines()
    assert ids(await other.take()) == [second.id]


async def test_what_waits_for_another_to_stop_can_be_cancelled_and_delayed(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine, "cancel_old")
    await crew.take()
    second = await one(engine, "cancel_old", 2, delay=60)
    assert second.status == "waiting"
    await crew.end([first.id], "completed")
    await engine.duties.deadlines()
    assert status_of(dsn, second.id) == "scheduled"
    third = await one(engine, "cancel_old", 3)
    assert (third.status, status_of(dsn, second.id)) == ("queued", "cancelled")


async def test_a_follower_starts_soon_without_anybody_looking(dsn: str) -> None:
    async with engine_on(dsn, duties=True) as engine:
        crew = await joined(engine)
        first = await one(engine, "cancel_old")
        await crew.take()
        second = await one(engine, "cancel_old", 2)
        await crew.end([first.id], "cancelled")
        assert ids(await soon(crew.take(wait=5))) == [second.id]


# -- debounce --------------------------------------------------------------------------------------


def due_in(dsn: str, id: UUID) -> float:
    sql = "select extract(epoch from due_at - now())::float8 from queues_execution where id = %s"
    return float(query(dsn, sql, id)[0][0])


async def test_repeats_push_the_start_back_and_the_last_payload_counts(engine: Engine, dsn: str) -> None:
    first = await one(engine, "debounce", 1, seconds=60, execution_timeout=10)
    assert (first.status, first.created) == ("scheduled", True)
    query(dsn, "update queues_execution set due_at = now() + interval '1 second'")
    again = await one(engine, "debounce", 2, seconds=60)
    assert (again.id, again.created, payload_of(dsn, first.id)) == (first.id, False, 2)
    assert 55 < due_in(dsn, first.id) <= 60
    sql = "select extract(epoch from d.at - e.due_at)::int from queues_deadline d cross join queues_execution e"
    assert query(dsn, sql) == [(10,)]


async def test_a_start_is_not_pushed_back_for_ever(engine: Engine, dsn: str) -> None:
    first = await one(engine, "debounce", 1, seconds=60, longest=600)
    query(dsn, "update queues_execution set enqueued_at = enqueued_at - interval '570 seconds'")
    await one(engine, "debounce", 2, seconds=60, longest=600)
    assert 25 < due_in(dsn, first.id) <= 30
    assert payload_of(dsn, first.id) == 2


async def test_once_it_has_started_the_next_one_is_another(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine, "debounce", 1, seconds=60)
    query(dsn, "update queues_execution set status = 'queued', due_at = now()")
    in_line = await one(engine, "debounce", 2, seconds=60)  # still only one, with the last payload
    assert (in_line.id, in_line.status, status_of(dsn, first.id)) == (first.id, "queued", "queued")
    await crew.take()
    second = await one(engine, "debounce", 3, seconds=60)
    assert (second.created, second.status, payload_of(dsn, first.id)) == (True, "scheduled", 2)


# -- by hand, and in the end -----------------------------------------------------------------------


async def retry(id: UUID) -> None:
    await in_django(retry_execution, id, actor="ana", through=Change.Through.REST)


async def test_a_retry_by_hand_waits_for_its_key(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine)
    await crew.take()
    await crew.end([first.id], "failed")
    second = await one(engine)
    with pytest.raises(NotPossible, match=rf"{second.id} has the deduplication key k now, and is queued"):
        await retry(first.id)
    assert status_of(dsn, first.id) == "failed"
    await crew.take()
    await crew.end([second.id])
    await retry(first.id)
    third = await one(engine)
    assert (third.id, third.created) == (first.id, False)
    await crew.take(wait=1)
    await crew.end([first.id], "failed")
    await retry(first.id)  # nobody has taken it since


async def test_keys_go_with_their_executions(engine: Engine, dsn: str) -> None:
    crew = await joined(engine)
    first = await one(engine)
    await crew.take()
    await crew.end([first.id])
    query(dsn, "update queues_execution set finished_at = now() - interval '31 days'")
    await engine.duties._prune_queue(int(query(dsn, "select id from queues_queue")[0][0]))
    assert query(dsn, "select * from queues_deduplication") == []
    assert (await one(engine)).created


# -- at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["skip", "replace", "cancel_old", "debounce"])
async def test_of_many_at_once_through_two_servers_one_is_left(dsn: str, policy: Policy) -> None:
    times = {"seconds": 60} if policy == "debounce" else {}
    async with engine_on(dsn) as here, engine_on(dsn) as there:
        tasks = [one((here, there)[n % 2], policy, n, key=f"k{n % 3}", **times) for n in range(60)]
        answers = await asyncio.gather(*tasks)
    assert unfinished(dsn) == 3
    made = {answer.id for answer in answers if answer.created}
    assert len(made) == (60 if policy == "cancel_old" else 3)
    assert {answer.id for answer in answers} == made


async def test_while_work_goes_on_never_two_with_a_key_run(dsn: str) -> None:
    """Ten enqueue, one works; the database is asked in between."""
    seen: list[int] = []
    async with engine_on(dsn, duties=True) as here, engine_on(dsn) as there:
        crew = await joined(here, 10)
        working = True

        async def enqueuing(engine: Engine, policy: Policy) -> None:
            for n in range(15):
                await one(engine, policy, n)

        async def work() -> None:
            while working or unfinished(dsn):
                cancelled = {*(reply := await crew.exchange(capacity=10, wait=0.02)).cancel}
                seen.append(len(crew.held))
                for claimed in reply.executions:
                    assert len(reply.executions) == 1, claimed
                for id in list(crew.held):
                    await crew.end([id], "cancelled" if id in cancelled else "completed")
                    del crew.held[id]

        worker = asyncio.create_task(work())
        await asyncio.gather(
            *(enqueuing(e, p) for e in (here, there) for p in ("skip", "replace", "cancel_old", "cancel_old"))
        )
        working = False
        await asyncio.wait_for(worker, 20)
    assert max(seen) == 1


async def test_who_decides_about_a_key_is_waited_for(dsn: str) -> None:
    async with engine_on(dsn) as engine:
        first = await one(engine)
        with psycopg.connect(dsn) as other:
            other.execute("select from queues_deduplication where execution_id = %s for update", (first.id,))
            waiting = asyncio.create_task(one(engine, "replace", 2))
            while not query(dsn, LOCKED):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            other.execute("update queues_execution set status = 'completed', finished_at = now()")
        second = await waiting
    assert (second.created, second.id != first.id) == (True, True)
    assert isinstance(second.enqueued_at, dt.datetime)


@pytest.mark.parametrize("act", ["another payload", "another priority"])
async def test_who_was_passed_over_while_it_was_locked_is_found_once_it_is_not(dsn: str, act: str) -> None:
    """The claim finds nothing else in the line, and forgets that there was work."""
    async with engine_on(dsn) as engine:
        crew = await joined(engine)
        first = await one(engine)
        with psycopg.connect(dsn) as other:
            other.execute("select from queues_execution for update")
            assert await crew.take() == []
            changing = one(engine, "replace", 2) if act == "another payload" else more_important(first.id)
            waiting = asyncio.create_task(changing)
            while not query(dsn, LOCKED):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        taking = asyncio.create_task(crew.take(wait=30))
        await waiting
        assert ids(await soon(taking)) == [first.id]


async def more_important(id: UUID) -> None:
    await in_django(change_priority, id, priority=60, actor="ana", through=Change.Through.PAGE)


@pytest.mark.parametrize("meanwhile", ["is queued again", "gets the key"])
async def test_a_retry_looks_at_the_key_once_it_has_it(dsn: str, meanwhile: str) -> None:
    """While it waits for the key's lock, the holder is retried, or the key changes hands: two with the same key
    would run at once."""
    async with engine_on(dsn) as engine:
        crew = await joined(engine)
        first, second = [await ended(crew) for _ in range(2)]
        if meanwhile == "gets the key":
            query(dsn, "update queues_deduplication set holds = false")
            query(dsn, "update queues_deduplication set holds = true where execution_id = %s", first)
        with psycopg.connect(dsn) as other:
            other.execute("select from queues_deduplication where holds for update")
            waiting = asyncio.create_task(retry(first))
            while not query(dsn, LOCKED):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            queued = "update queues_execution set status = 'queued', finished_at = null where id = %s"
            other.execute(queued, (second,))
            if meanwhile == "gets the key":
                other.execute("update queues_deduplication set holds = false")
                other.execute("update queues_deduplication set holds = true where execution_id = %s", (second,))
        with pytest.raises(NotPossible, match=rf"{second} has the deduplication key k now, and is queued"):
            await waiting
    assert unfinished(dsn) == 1


async def ended(crew: Crew) -> UUID:
    made = await one(crew.engine)
    await crew.take()
    await crew.end([made.id], "failed")
    return made.id
