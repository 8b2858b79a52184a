"""What `DESIGN` promises of the engine, on real PostgreSQL, one sentence a test."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from queues.engine import Conflict, Engine, WorkerGone, duties
from queues.engine.operate import cancel_execution, retry_execution
from queues.ids import uuid7
from queues.limits import change_limit, pause, resume
from queues.models import Change
from queues.requests import Accepted, Exchange, Heartbeat, NewExecution
from tests.pace import soon

from .crew import Crew, end_lease, engine_on, enqueue, ids, in_django, query, status_of

REST = Change.Through.REST

INSERTED_BEHIND_THE_BACK = """
insert into queues_execution (
    id, queue_id, workflow, status, place, priority, enqueued_at, payload, attempt, max_attempts, losses, outcome,
    cancel_by
)
select gen_random_uuid(), id, 'work', 'queued', now(), 0, now(), 'null', 0, 1, 0, '', '' from queues_queue
"""


# -- enqueue ---------------------------------------------------------------------------------------


async def test_a_repeated_enqueue_has_no_second_effect(engine: Engine, dsn: str) -> None:
    request = NewExecution(id=uuid7(), workflow_id="work", queue_name="line", payload=Raw(b'{"a": 1}'))
    first, second = await engine.enqueue([request]), await engine.enqueue([request])
    assert isinstance(first[0], Accepted) and first[0].created
    assert isinstance(second[0], Accepted) and not second[0].created and second[0].id == first[0].id
    assert query(dsn, "select count(*) from queues_execution") == [(1,)]


async def test_repeats_among_new_ones_are_told_from_them(engine: Engine, dsn: str) -> None:
    ids = [uuid7() for _ in range(4)]

    def request(n: int, payload: bytes = b'{"a": "\\"\\\\"}') -> NewExecution:
        return NewExecution(id=ids[n], workflow_id="work", queue_name="line", payload=Raw(payload))

    await engine.enqueue([request(1), request(2)])
    answers = await engine.enqueue([request(0), request(1), request(3), request(2, b"9"), request(3), request(0)])
    assert [answer.created if isinstance(answer, Accepted) else None for answer in answers] == [
        True, False, True, None, False, False,
    ]  # fmt: skip
    assert [answer.id for answer in answers] == [ids[0], ids[1], ids[3], ids[2], ids[3], ids[0]]
    assert query(dsn, "select payload::text from queues_execution") == [('{"a": "\\"\\\\"}',)] * 4


async def test_callers_that_are_answered_together_get_their_own_answers(engine: Engine, dsn: str) -> None:
    requests = [
        [
            NewExecution(id=uuid7(), workflow_id=f"w{n % 3}", queue_name=f"q{n % 2}", priority=n)
            for n in range(size)
        ]
        for size in (3, 1, 5)
    ]
    requests.append([requests[0][0]])
    given = await asyncio.gather(*map(engine.enqueue, requests))
    for own, answers in zip(requests, given, strict=True):
        assert [
            (answer.id, answer.workflow_id, answer.queue) for answer in answers if isinstance(answer, Accepted)
        ] == [(each.id, each.workflow_id, each.queue_name) for each in own]
    assert [answer.created for answers in given for answer in answers if isinstance(answer, Accepted)].count(
        False
    ) == 1
    stored = query(dsn, "select id, workflow, priority from queues_execution order by id")
    assert stored == sorted((each.id, each.workflow_id, each.priority) for own in requests[:3] for each in own)


async def test_the_same_key_with_another_payload_is_a_conflict(engine: Engine, dsn: str) -> None:
    one, other = (
        NewExecution(workflow_id="work", queue_name="line", idempotency_key="k", payload=Raw(p))
        for p in (b"1", b"2")
    )
    (first,), (again,), (conflict,) = [await engine.enqueue([r]) for r in (one, one, other)]
    assert isinstance(first, Accepted) and isinstance(again, Accepted) and again.id == first.id
    assert isinstance(conflict, Conflict) and conflict.id == first.id
    assert query(dsn, "select count(*) from queues_execution") == [(1,)]


async def test_a_queue_that_exists_keeps_its_limit_and_the_reply_says_so(engine: Engine, dsn: str) -> None:
    for limit, notes in ((3, 0), (3, 0), (7, 1)):
        (answer,) = await engine.enqueue(
            [NewExecution(workflow_id="work", queue_name="line", queue_concurrency_limit=limit)]
        )
        assert isinstance(answer, Accepted) and len(answer.notes) == notes
    assert query(dsn, "select declared_limit from queues_queue") == [(3,)]


# -- claim -----------------------------------------------------------------------------------------


async def test_never_more_than_the_limit_and_the_lowest_slots_first(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=3)
    await enqueue(engine, 5)
    first = await crew.take()
    assert [claimed.slot for claimed in first] == [1, 2, 3]
    assert await crew.take() == []
    await crew.end([first[1].id])
    assert [claimed.slot for claimed in await crew.take()] == [2]


async def test_order_is_enqueue_time_less_priority_seconds(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    plain = await enqueue(engine, 2)
    urgent = await enqueue(engine, 1, priority=60)
    order = []
    for _ in range(3):
        (claimed,) = await crew.take()
        order.append(claimed.id)
        await crew.end([claimed.id])
    assert order == [*urgent, *plain]


async def test_a_worker_gets_only_what_it_registered(engine: Engine) -> None:
    a = await Crew(engine, "a").join(("one", "line"), line=5)
    b = await Crew(engine, "b").join(("two", "line"))
    first = await enqueue(engine, 2, workflow="one")
    second = await enqueue(engine, 2, workflow="two")
    assert ids(await b.take()) == second  # the head that it cannot run is passed over
    assert ids(await a.take()) == first


async def test_two_workflows_share_one_limit(engine: Engine) -> None:
    a = await Crew(engine, "a").join(("one", "line"), line=3)
    b = await Crew(engine, "b").join(("two", "line"))
    await enqueue(engine, 2, workflow="one")
    await enqueue(engine, 2, workflow="two")
    assert len(await a.take()) + len(await b.take()) == 3


async def test_a_saturated_queue_does_not_hold_up_another(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "full"), ("work", "free"), full=1, free=5)
    await enqueue(engine, 50, queue="full")
    await crew.take()
    wanted = await enqueue(engine, 2, queue="free")
    assert ids(await crew.take()) == wanted


async def test_an_unlimited_queue_gives_what_the_worker_can_take(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=None)
    await enqueue(engine, 30)
    assert len(await crew.take(20)) == 20
    assert all(claimed.slot is None for claimed in await crew.take(20))


async def test_a_queue_chosen_at_invocation_is_served_by_the_workers_of_its_workflow(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=5)
    waiting = asyncio.create_task(crew.take(wait=3))
    await asyncio.sleep(0.1)
    wanted = await enqueue(engine, 1, queue="elsewhere", queue_concurrency_limit=1)
    assert ids(await waiting) == wanted


async def test_what_waits_on_chosen_queues_starts_as_soon_as_a_worker_comes(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def seldom(_: object) -> tuple[float, bool, frozenset[int]]:
        return 60.0, False, frozenset()

    monkeypatch.setattr(duties, "_until_due", seldom)
    async with engine_on(dsn, duties=True) as engine:
        wanted = [id for number in range(3) for id in await enqueue(engine, 1, queue=f"elsewhere-{number}")]
        await asyncio.sleep(0.1)  # a look for them has just been in vain
        crew = await Crew(engine).join(("work", "line"))
        got: list[object] = []
        while len(got) < 3:
            got += ids(await soon(crew.take(wait=5)))
    assert sorted(map(str, got)) == sorted(map(str, wanted))
    pairs = query(
        dsn, "select q.name, r.adopted from queues_registration r join queues_queue q on q.id = r.queue_id"
    )
    assert sorted(pairs) == [*((f"elsewhere-{number}", True) for number in range(3)), ("line", False)]


async def test_a_worker_that_comes_later_serves_the_chosen_queues_too(engine: Engine) -> None:
    first = await Crew(engine, "first").join(("work", "line"))
    [id] = await enqueue(engine, 1, queue="elsewhere")
    assert ids(await first.take(wait=3)) == [id]
    second = await Crew(engine, "second").join(("work", "line"))
    other = await Crew(engine, "other").join(("play", "line"))
    await asyncio.sleep(0.3)
    [id] = await enqueue(engine, 1, queue="elsewhere")
    assert ids(await other.take()) == []
    assert ids(await second.take(wait=3)) == [id]


async def test_limit_0_and_a_pause_start_nothing(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "zero"), ("work", "still"), zero=0, still=5)
    await in_django(pause, queue="still", reason="test", actor="ana", through=REST)
    await enqueue(engine, 1, queue="zero")
    await enqueue(engine, 1, queue="still")
    assert await crew.take(wait=0.3) == []


@pytest.mark.parametrize("act", ["raise", "resume"])
async def test_a_raised_limit_and_a_resume_wake_who_waits(engine: Engine, act: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=0 if act == "raise" else 5)
    if act == "resume":
        await in_django(pause, queue="line", reason="test", actor="ana", through=REST)
    await enqueue(engine, 1)
    assert await crew.take() == []
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.1)
    if act == "raise":
        await in_django(change_limit, queue="line", limit=1, reason="test", actor="ana", through=REST)
    else:
        await in_django(resume, queue="line", actor="ana", through=REST)
    assert len(await soon(waiting)) == 1


async def test_an_enqueue_and_a_release_wake_who_waits(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.05)
    first = await enqueue(engine, 2)
    assert ids(await waiting) == first[:1]
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.05)
    await crew.end(first[:1])
    assert ids(await soon(waiting)) == first[1:]


async def test_a_lowered_limit_kills_nothing_and_starts_nothing_until_under_it(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=4)
    await enqueue(engine, 10)
    running = ids(await crew.take())
    await in_django(change_limit, queue="line", limit=2, reason="test", actor="ana", through=REST)
    for left in (3, 2):
        await crew.end([running.pop()])
        assert await crew.take() == []
        assert query(dsn, "select count(*) from queues_execution where status = 'running'") == [(left,)]
    await crew.end([running.pop()])
    assert len(await crew.take()) == 1


# -- repeats and tokens ----------------------------------------------------------------------------


async def test_a_repeated_exchange_returns_the_same_claims(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    await enqueue(engine, 5)
    request = Exchange(seq=1, capacity=10)
    first, again = await engine.exchange(crew.id, request), await engine.exchange(crew.id, request)
    assert ids(first.executions) == ids(again.executions) and first.token == again.token


async def test_a_repeated_exchange_that_found_nothing_goes_on(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    request = Exchange(seq=1, capacity=10)
    assert (await engine.exchange(crew.id, request)).executions == []
    wanted = await enqueue(engine, 1)
    assert ids((await engine.exchange(crew.id, request)).executions) == wanted


async def test_a_repeated_completion_is_taken_once(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    replies = [await crew.end([id], result=b"42") for _ in range(2)]
    assert [reply.refused for reply in replies] == [[], []]
    assert engine.stats.completions == 1
    assert query(dsn, "select status, result::text from queues_execution") == [("completed", "42")]


async def a_stale_token_is_refused(engine: Engine, dsn: str) -> None:
    """Raises AssertionError when it is not. Also run against mutants."""
    old, new = (
        await Crew(engine, "old").join(("work", "line"), line=1),
        await Crew(engine, "new").join(("work", "line")),
    )
    (id,) = await enqueue(engine, 1)
    await old.take()
    end_lease(dsn, old.id)
    engine.taken_back((await engine.leases.expire())[1])
    assert ids(await new.take()) == [id]
    reply = await old.end([id], result=b'"late"')
    assert [refused.reason for refused in reply.refused] == ["stale"]
    assert status_of(dsn, id) == "running"
    assert (await new.end([id], result=b'"mine"')).refused == []
    assert query(dsn, "select result::text, attempt from queues_execution") == [('"mine"', 2)]


async def test_a_stale_token_is_refused_and_changes_nothing(engine: Engine, dsn: str) -> None:
    await a_stale_token_is_refused(engine, dsn)


async def a_late_result_does_not_change_what_is_final(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    await crew.end([id], result=b"1")
    reply = await crew.end([id], "failed")
    assert [refused.reason for refused in reply.refused] == ["stale"]
    assert status_of(dsn, id) == "completed"


async def test_a_late_result_does_not_change_what_is_final(engine: Engine, dsn: str) -> None:
    await a_late_result_does_not_change_what_is_final(engine, dsn)


# -- leases ----------------------------------------------------------------------------------------


async def test_what_a_lost_worker_held_comes_back_in_its_place(engine: Engine, dsn: str) -> None:
    lost = await Crew(engine, "lost").join(("work", "line"), line=2)
    order = await enqueue(engine, 4)
    await lost.take()
    end_lease(dsn, lost.id)
    count, taken = await engine.leases.expire()
    engine.taken_back(taken)
    assert (count, len(taken)) == (1, 2)
    again = await (await Crew(engine, "next").join(("work", "line"))).take()
    assert ids(again) == order[:2] and [claimed.attempt for claimed in again] == [2, 2]
    assert query(dsn, "select outcome, attempt from queues_holding") == [("lost", 1), ("lost", 1)]


async def test_a_lost_worker_is_told_to_register_again(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    end_lease(dsn, crew.id)
    with pytest.raises(WorkerGone):
        await engine.heartbeat(crew.id, Heartbeat())
    with pytest.raises(WorkerGone):
        await crew.take()
    with pytest.raises(WorkerGone):
        await engine.exchange(uuid7(), Exchange(seq=1, capacity=1))


async def test_an_execution_that_loses_its_workers_too_often_fails(dsn: str) -> None:
    async with engine_on(dsn, max_losses=2) as engine:
        (id,) = await enqueue(engine, 1)
        for name in ("a", "b"):
            crew = await Crew(engine, name).join(("work", "line"), line=1)
            assert ids(await crew.take()) == [id]
            end_lease(dsn, crew.id)
            engine.taken_back((await engine.leases.expire())[1])
        assert status_of(dsn, id) == "failed"
    ((error,),) = query(dsn, "select error::text from queues_execution")
    assert '"reason" : "worker_lost"' in error
    assert "happened 2 times" in error
    assert query(dsn, "select attempt, outcome, error::text like '%times%' from queues_holding") == [
        (1, "lost", False)
    ]


async def test_a_claim_that_the_worker_never_heard_of_is_released(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await engine.exchange(crew.id, Exchange(seq=1, capacity=1))  # the reply is lost, and never asked for again
    reply = await engine.exchange(crew.id, Exchange(seq=2, received=0, capacity=1, wait=3))
    assert ids(reply.executions) == [id] and reply.executions[0].attempt == 2


async def test_a_worker_that_leaves_gives_everything_back(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=3)
    wanted = await enqueue(engine, 3)
    await crew.take()
    assert await engine.deregister(crew.id) == 3
    other = await (await Crew(engine, "other").join(("work", "line"))).take()
    assert ids(other) == wanted


# -- failures, cancels, retries --------------------------------------------------------------------


async def test_a_failure_with_tries_left_is_scheduled_and_keeps_its_place(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second = await enqueue(engine, 2, max_attempts=2)
    await crew.take(1)
    await crew.end([first], "failed", retry_in=0.05)
    assert status_of(dsn, first) == "scheduled"
    assert ids(await crew.take(1)) == [second]  # what backs off holds nobody up
    (third,) = await enqueue(engine, 1)
    await asyncio.sleep(0.1)
    await asyncio.wait_for(engine.duties.tick(), 5)
    await crew.end([second])
    (again,) = await crew.take(1)
    assert (again.id, again.attempt) == (first, 2)  # before the third, which came later
    await crew.end([first], "failed", retry_in=0.05)
    assert status_of(dsn, first) == "failed"
    assert ids(await crew.take(1)) == [third]


async def test_cancelling_holds_the_slot_until_the_worker_has_stopped(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second = await enqueue(engine, 2)
    await crew.take()
    waiting = asyncio.create_task(crew.exchange(capacity=1, wait=5))
    await asyncio.sleep(0.1)
    outcome = await in_django(cancel_execution, first, actor="ana", through=REST)
    assert outcome.status == "cancelling"
    reply = await soon(waiting)
    assert reply.cancel == [first] and reply.executions == []
    assert await crew.take() == []  # still full
    await crew.end([first], "cancelled")
    assert status_of(dsn, first) == "cancelled"
    assert ids(await crew.take()) == [second]


async def test_what_is_cancelled_after_it_finished_stays_completed(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    await crew.take()
    await in_django(cancel_execution, id, actor="ana", through=REST)
    await crew.end([id], "completed")
    assert status_of(dsn, id) == "completed"


async def test_a_retry_by_hand_takes_a_new_place(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (first,) = await enqueue(engine, 1)
    await in_django(cancel_execution, first, actor="ana", through=REST)
    (second,) = await enqueue(engine, 1)
    await in_django(retry_execution, first, actor="ana", through=REST)
    order = []
    for _ in range(2):
        (claimed,) = await crew.take(wait=2)
        order.append(claimed.id)
        await crew.end([claimed.id])
    assert order == [second, first]


# -- declarations ----------------------------------------------------------------------------------


async def test_the_newest_changed_declaration_counts_and_a_reconnect_changes_nothing(
    engine: Engine, dsn: str
) -> None:
    def limit() -> int:
        return int(query(dsn, "select declared_limit from queues_queue")[0][0])

    await Crew(engine, "old").join(("work", "line"), line=5)
    await Crew(engine, "new").join(("work", "line"), line=8)
    assert limit() == 8
    await Crew(engine, "old").join(("work", "line"), line=5)  # restarted
    await Crew(engine, "old 2").join(("work", "line"), line=5)  # one more of the same version
    assert limit() == 8
    await Crew(engine, "old").join(("work", "line"), line=6)
    assert limit() == 6
    changes = query(dsn, "select before, after from queues_change order by id")
    assert changes == [("5", "8"), ("8", "6")]


async def test_a_limit_chosen_by_the_first_execution_is_declared_by_the_worker_that_comes_later(
    engine: Engine, dsn: str
) -> None:
    await enqueue(engine, 1, queue_concurrency_limit=5)
    before = query(dsn, "select version, declared_by like 'chosen %' from queues_queue")
    await Crew(engine, "a").join(("work", "line"), line=5)
    after = query(dsn, "select version, declared_by like 'worker a%' from queues_queue")
    assert before == after == [(before[0][0], True)]  # an open dialog is not out of date
    assert query(dsn, "select before, after from queues_change") == []


async def test_a_worker_that_only_names_a_queue_declares_nothing(engine: Engine, dsn: str) -> None:
    await Crew(engine, "a").join(("work", "line"), line=5)
    await Crew(engine, "b").join(("work", "line"))
    assert query(dsn, "select declared_limit from queues_queue") == [(5,)]


async def test_the_default_limit_is_for_queues_that_nobody_declares(dsn: str) -> None:
    async with engine_on(dsn, default_limit=7) as engine:
        await Crew(engine, "b").join(("work", "line"))
        assert query(dsn, "select effective_limit from queues_queue") == [(7,)]


# -- the rest --------------------------------------------------------------------------------------


async def test_whoever_waits_for_an_execution_learns_its_end(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (id,) = await enqueue(engine, 1)
    waiting = asyncio.create_task(engine.wait_final(id, 5))
    await crew.take()
    await crew.end([id])
    await soon(waiting)


async def test_work_starts_with_all_notifications_lost(dsn: str) -> None:
    async with engine_on(dsn, look=0.2) as engine:
        crew = await Crew(engine).join(("work", "line"), line=1)
        waiting = asyncio.create_task(crew.take(wait=5))
        await asyncio.sleep(0.1)
        query(dsn, INSERTED_BEHIND_THE_BACK)
        assert len(await soon(waiting)) == 1
