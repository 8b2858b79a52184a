"""How executions end, or come back: cancels, retries, leases, limits that change, and what is deleted at last."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from msgspec.structs import replace

from queues.engine import Engine, ExecutionNotFound, NotPossible, WorkerGone
from queues.engine.operate import cancel_execution, retry_execution
from queues.ids import uuid7
from queues.limits import change_limit, clear_override, pause
from queues.models import Change
from queues.requests import ErrorInfo, Exchange, Heartbeat

from .crew import Crew, engine_on, enqueue, ids, in_django, lose, query, status_of

REST = Change.Through.REST
HELD = "select count(*)::int from queues_execution where status in ('running', 'cancelling')"
STEPS = """
insert into workflows_step (execution_id, key, attempt, started_at, ended_at)
select id, 'step', 1, now(), now() from queues_execution
"""
LONG_AGO = "update queues_execution set finished_at = now() - interval '31 days' where id = %s"
CLAIMED_LONG_AGO = "update queues_worker set claim_at = array[now() - interval '1 hour', null]"


async def cancel(id: UUID) -> tuple[str, bool]:
    outcome = await in_django(cancel_execution, id, actor="ana", through=REST)
    return outcome.status, outcome.changed


# -- cancels ---------------------------------------------------------------------------------------


async def test_what_waits_is_cancelled_at_once_and_never_starts(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    first, second = await enqueue(engine, 2)
    (delayed,) = await enqueue(engine, 1, delay=60)
    assert await cancel(first) == ("cancelled", True)
    assert await cancel(delayed) == ("cancelled", True)
    assert await cancel(first) == ("cancelled", False)
    assert ids(await crew.take()) == [second]
    by = query(dsn, "select distinct cancel_by from queues_execution where status = 'cancelled'")
    assert by == [("ana (REST)",)]


async def test_cancelling_holds_the_slot_until_the_lease_ends(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    other = await Crew(engine, "other").join(("work", "line"))
    first, second = await enqueue(engine, 2)
    await crew.take()
    assert await cancel(first) == ("cancelling", True)
    assert await cancel(first) == ("cancelling", False)
    assert await other.take() == []
    await lose(engine, dsn, crew.id)
    assert status_of(dsn, first) == "cancelled"
    assert ids(await other.take()) == [second]


async def test_what_is_kept_of_a_result_does_not_depend_on_what_comes_with_it(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    first, second, third = await enqueue(engine, 3)
    await crew.take()
    said = ErrorInfo(message="a warning")
    odd = [replace(crew.finished(id), error=said) for id in (first, second)]
    await engine.exchange(crew.id, Exchange(results=odd[:1]))
    await engine.exchange(crew.id, Exchange(results=[odd[1], crew.finished(third, "failed")]))
    [one, other] = query(dsn, "select error from queues_execution where status = 'completed' order by place")
    assert one == other != (None,)


@pytest.mark.parametrize("outcome", ["failed", "released", "cancelled"])
async def test_what_is_being_cancelled_does_not_come_back(engine: Engine, dsn: str, outcome: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1, max_attempts=5)
    await crew.take()
    await cancel(id)
    await crew.end([id], outcome, **({"retry_in": 0} if outcome == "failed" else {}))  # type: ignore[arg-type]
    assert status_of(dsn, id) == "cancelled"
    assert await crew.take() == []


async def test_what_has_ended_cannot_be_cancelled_and_what_does_not_exist_neither(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    await crew.end([id])
    with pytest.raises(NotPossible):
        await cancel(id)
    with pytest.raises(ExecutionNotFound):
        await cancel(uuid7())


async def test_a_heartbeat_names_what_is_to_be_cancelled(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    first, _ = await enqueue(engine, 2)
    await crew.take()
    await cancel(first)
    assert (await engine.heartbeat(crew.id, Heartbeat(received=1))).cancel == [first]


# -- retries ---------------------------------------------------------------------------------------


async def test_a_retry_by_hand_counts_its_attempt_and_clears_the_end(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    await crew.end([id], "failed")
    assert status_of(dsn, id) == "failed"
    await in_django(retry_execution, id, actor="ana", through=REST)
    assert query(dsn, "select status, finished_at from queues_execution") == [("queued", None)]
    (again,) = await crew.take(wait=2)
    assert (again.id, again.attempt, again.max_attempts) == (id, 2, 2)


async def test_only_what_failed_or_was_cancelled_is_retried(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    for end in (crew.take, lambda: crew.end([id])):
        with pytest.raises(NotPossible):
            await in_django(retry_execution, id, actor="ana", through=REST)
        await end()
    with pytest.raises(NotPossible):
        await in_django(retry_execution, id, actor="ana", through=REST)
    assert status_of(dsn, id) == "completed"


# -- leases ----------------------------------------------------------------------------------------


async def test_a_stale_result_does_not_free_the_slot_either(engine: Engine, dsn: str) -> None:
    old = await Crew(engine, "old").join(("work", "line"), line=1)
    new = await Crew(engine, "new").join(("work", "line"))
    first, _ = await enqueue(engine, 2)
    await old.take()
    await lose(engine, dsn, old.id)
    assert ids(await new.take()) == [first]
    for outcome in ("completed", "failed", "cancelled", "released"):
        assert (await old.end([first], outcome)).refused[0].reason == "stale"
    assert engine.stats.stale_refused == 4
    assert await new.take() == []
    held = query(dsn, "select id, worker_id, slot from queues_execution where status = 'running'")
    assert held == [(first, new.id, 1)]


async def test_a_sweep_leaves_live_workers_alone(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    await enqueue(engine, 2)
    await crew.take()
    assert await engine.leases.expire() == (0, [])
    assert query(dsn, HELD) == [(2,)]


async def test_what_is_held_by_a_worker_without_a_row_comes_back(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    query(dsn, "delete from queues_registration")
    query(dsn, "delete from queues_worker")
    assert await engine.leases.expire() == (0, [(id, queue_id(dsn), "queued", None)])


def queue_id(dsn: str) -> int:
    return int(query(dsn, "select id from queues_queue")[0][0])


async def test_a_lost_worker_stays_lost_under_its_id(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    await lose(engine, dsn, crew.id)
    with pytest.raises(WorkerGone):
        await crew.join(("work", "line"))


async def test_a_heartbeat_releases_a_claim_that_was_not_heard_of_for_a_whole_lease(
    engine: Engine, dsn: str
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    other = await Crew(engine, "other").join(("work", "line"))
    (id,) = await enqueue(engine, 1)
    await engine.exchange(crew.id, Exchange(seq=1, capacity=1))  # the reply is lost
    await engine.heartbeat(crew.id, Heartbeat(received=0))
    assert status_of(dsn, id) == "running"  # it may still be on its way
    query(dsn, CLAIMED_LONG_AGO)
    waiting = asyncio.create_task(other.take(wait=3))
    await engine.heartbeat(crew.id, Heartbeat(received=0))
    assert ids(await waiting) == [id]


async def test_a_claim_that_is_asked_for_again_is_not_released_by_a_heartbeat_from_before(
    engine: Engine, dsn: str
) -> None:
    """The heartbeat left the worker before the second reply came; the worker runs what that reply gave it."""
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    lost_reply = Exchange(seq=1, capacity=1)
    await engine.exchange(crew.id, lost_reply)
    query(dsn, CLAIMED_LONG_AGO)
    crew.note(await engine.exchange(crew.id, lost_reply))
    await engine.heartbeat(crew.id, Heartbeat(received=0))
    await quiet(engine)
    assert status_of(dsn, id) == "running"
    assert (await crew.end([id])).refused == []


async def test_a_claim_that_is_asked_for_again_while_it_is_being_released_is_kept(
    engine: Engine, dsn: str
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    lost_reply = Exchange(seq=1, capacity=1)
    token = (await engine.exchange(crew.id, lost_reply)).token
    assert token is not None
    query(dsn, CLAIMED_LONG_AGO)
    _, unheard = await engine.leases.heartbeat(crew.id, Heartbeat(received=0))
    assert unheard == [token]
    await engine.exchange(crew.id, lost_reply)  # after the heartbeat, before the release that it led to
    assert await engine.leases.release_unheard(crew.id, token) == []
    assert status_of(dsn, id) == "running"


async def quiet(engine: Engine) -> None:
    """What an answer left to be done in the background is done."""
    while engine._small:
        await asyncio.gather(*engine._small)


async def test_a_heartbeat_keeps_a_claim_that_was_heard_of(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    query(dsn, CLAIMED_LONG_AGO)
    await engine.heartbeat(crew.id, Heartbeat(received=1))
    await quiet(engine)
    assert status_of(dsn, id) == "running"


async def test_a_draining_worker_is_told_so_gets_nothing_and_may_hand_in(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, _ = await enqueue(engine, 2)
    await crew.take()
    query(dsn, "update queues_worker set state = 'draining'")
    assert (await engine.heartbeat(crew.id, Heartbeat(received=1))).drain
    assert (await crew.end([first])).refused == []
    reply = await crew.exchange(capacity=1, wait=3)
    assert reply.drain and reply.executions == []


async def test_a_worker_that_left_gets_nothing_more(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    await engine.deregister(crew.id)
    assert await engine.deregister(crew.id) == 0
    with pytest.raises(WorkerGone):
        await engine.heartbeat(crew.id, Heartbeat())
    with pytest.raises(WorkerGone):
        await crew.take()


# -- limits that change ----------------------------------------------------------------------------


async def test_a_declaration_does_not_touch_an_override(engine: Engine, dsn: str) -> None:
    def limits() -> list[tuple[int, int]]:
        return query(dsn, "select declared_limit, effective_limit from queues_queue")

    await Crew(engine, "a").join(("work", "line"), line=5)
    await in_django(change_limit, queue="line", limit=2, reason="slow", actor="ana", through=REST)
    await Crew(engine, "a").join(("work", "line"), line=7)
    assert limits() == [(7, 2)]
    await in_django(clear_override, queue="line", reason="", actor="ana", through=REST)
    assert limits() == [(7, 7)]


async def test_a_limit_on_an_unlimited_queue_counts_what_runs_without_a_slot(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=None)
    await enqueue(engine, 6)
    running = ids(await crew.take(3))
    await in_django(change_limit, queue="line", limit=4, reason="", actor="ana", through=REST)
    assert [claimed.slot for claimed in await crew.take(3, wait=1)] == [1]
    await crew.end(running[:1])
    assert [claimed.slot for claimed in await crew.take(3)] == [2]
    assert query(dsn, HELD) == [(4,)]


async def test_a_pause_lets_finish_what_runs_and_starts_nothing(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    await enqueue(engine, 4)
    running = ids(await crew.take())
    await in_django(pause, queue="line", reason="", actor="ana", through=REST)
    assert (await crew.end(running)).refused == []
    assert await crew.take() == []
    assert query(dsn, HELD) == [(0,)]


async def test_a_repeated_exchange_with_results_claims_once_and_ends_once(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second, _ = await enqueue(engine, 3)
    await crew.take()
    both = Exchange(seq=2, received=1, capacity=5, results=[crew.finished(first)])
    replies = [await engine.exchange(crew.id, both) for _ in range(3)]
    assert [ids(reply.executions) for reply in replies] == [[second]] * 3
    assert [reply.refused for reply in replies] == [[]] * 3
    assert engine.stats.completions == 1 and query(dsn, HELD) == [(1,)]


# -- what is deleted at last -----------------------------------------------------------------------


async def test_pruning_deletes_what_finished_long_ago_and_nothing_else(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queues.engine.duties.PRUNE_SECONDS", 0)
    async with engine_on(dsn, retention_days=30) as engine:
        lost = await Crew(engine, "lost").join(("work", "line"), line=1)
        old, recent, running, waiting = await enqueue(engine, 4)
        await lost.take()
        await lose(engine, dsn, lost.id)  # leaves an earlier claim of the old one behind
        crew = await Crew(engine).join(("work", "line"))
        for id in (old, recent):
            assert ids(await crew.take()) == [id]
            await crew.end([id])
        await crew.take()
        query(dsn, LONG_AGO, old)
        assert query(dsn, "select count(*) from queues_holding") == [(1,)]
        query(dsn, STEPS)
        query(dsn, "update queues_worker set left_at = now() - interval '31 days' where state = 'lost'")
        await engine.duties.prune()
    left = {row[0] for row in query(dsn, "select id from queues_execution")}
    assert left == {recent, running, waiting}
    assert query(dsn, "select count(*) from queues_holding") == [(0,)]
    assert old not in {row[0] for row in query(dsn, "select execution_id from workflows_step")}
    assert query(dsn, "select count(*) from workflows_step") == [(3,)]
    assert query(dsn, "select name from queues_worker") == [("crew",)]
