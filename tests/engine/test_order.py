"""What is accepted, and in which order it starts."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from msgspec import Raw
from msgspec.structs import replace

from queues.engine import Conflict, Engine
from queues.engine.board import MOST_CANDIDATES
from queues.ids import uuid7
from queues.requests import Accepted, NewExecution, Parent

from .crew import Crew, enqueue, ids, lose, query, status_of

MAKE_DUE = "update queues_execution set due_at = now() - interval '1 second' where status = 'scheduled'"


async def drain_one_by_one(crew: Crew) -> list[UUID]:
    order = []
    while claims := await crew.take(1):
        order += ids(claims)
        await crew.end(ids(claims))
    return order


# -- what is accepted ------------------------------------------------------------------------------


async def test_the_same_id_twice_in_a_batch_with_other_payloads_accepts_the_first(
    engine: Engine, dsn: str
) -> None:
    """Rows are inserted in the order of their keys; the answer must still be about the row that is there."""
    id = uuid7()
    first, second = await engine.enqueue(
        [
            NewExecution(id=id, workflow_id="work", queue_name="line", idempotency_key=key, payload=Raw(payload))
            for key, payload in (("z", b'"first"'), ("a", b'"second"'))
        ]
    )
    assert isinstance(first, Accepted) and first.created
    assert isinstance(second, Conflict)
    assert query(dsn, "select payload::text from queues_execution") == [('"first"',)]


async def test_the_same_id_for_another_queue_or_workflow_is_a_conflict(engine: Engine, dsn: str) -> None:
    id = uuid7()
    for workflow, queue, wanted in (("work", "line", Accepted), ("work", "b", Conflict), ("x", "line", Conflict)):
        (answer,) = await engine.enqueue([NewExecution(id=id, workflow_id=workflow, queue_name=queue)])
        assert isinstance(answer, wanted)
    assert query(dsn, "select count(*) from queues_execution") == [(1,)]


async def test_the_same_key_of_another_workflow_is_another_execution(engine: Engine, dsn: str) -> None:
    for workflow in ("one", "two"):
        await enqueue(engine, 1, workflow=workflow, idempotency_key="k")
    assert query(dsn, "select count(*) from queues_execution") == [(2,)]


@pytest.mark.parametrize("limit", [0, 4, None])
async def test_an_enqueue_creates_its_queue_with_the_limit_it_names(
    engine: Engine, dsn: str, limit: int | None
) -> None:
    await enqueue(engine, 1, queue_concurrency_limit=limit)
    assert query(dsn, "select name, effective_limit from queues_queue") == [("line", limit)]


async def test_a_child_is_accepted_only_while_its_parent_runs_under_that_token(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (parent,) = await enqueue(engine, 1)
    await crew.take()
    token = crew.held[parent]
    child = NewExecution(workflow_id="work", queue_name="children", parent=Parent(id=parent, token=token))
    stray = NewExecution(workflow_id="work", queue_name="children", parent=Parent(id=parent, token=uuid7()))
    taken, refused = await engine.enqueue([child, stray])
    assert isinstance(taken, Accepted) and isinstance(refused, Conflict)
    await crew.end([parent])
    (late,) = await engine.enqueue([child])
    assert isinstance(late, Conflict)
    assert query(dsn, "select parent_id, root_id from queues_execution where parent_id is not null") == [
        (parent, parent)
    ]


# -- the order in which it starts ------------------------------------------------------------------


async def test_a_batch_keeps_its_order_whatever_its_keys_are(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    answers = await engine.enqueue(
        [
            NewExecution(workflow_id="work", queue_name="line", id=id, idempotency_key=f"key {9 - n}")
            for n, id in enumerate(sorted((uuid7() for _ in range(9)), reverse=True))
        ]
    )
    assert await drain_one_by_one(crew) == [answer.id for answer in answers]


async def test_a_second_of_priority_is_worth_a_second_of_waiting(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (old,) = await enqueue(engine, 1)
    query(dsn, "update queues_execution set place = place - interval '10 seconds'")
    (little,) = await enqueue(engine, 1, priority=5)
    (much,) = await enqueue(engine, 1, priority=20)
    (less,) = await enqueue(engine, 1, priority=-5)
    assert await drain_one_by_one(crew) == [much, old, little, less]


async def test_what_is_released_keeps_its_place_and_its_try(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second = await enqueue(engine, 2, max_attempts=1)
    await crew.take(1)
    await crew.end([first], "released")
    (again,) = await crew.take(1)
    assert (again.id, again.attempt, again.max_attempts) == (first, 2, 2)
    await crew.end([first])
    assert await drain_one_by_one(crew) == [second]


async def test_a_retry_at_once_goes_before_what_came_later(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    first, second = await enqueue(engine, 2, max_attempts=2)
    await crew.take(1)
    await crew.end([first], "failed", retry_in=0)
    assert await drain_one_by_one(crew) == [first, second]


async def test_what_a_lost_worker_held_goes_before_what_came_later(engine: Engine, dsn: str) -> None:
    lost = await Crew(engine, "lost").join(("work", "line"), line=1)
    order = await enqueue(engine, 3)
    await lost.take()
    await lose(engine, dsn, lost.id)
    assert await drain_one_by_one(await Crew(engine, "next").join(("work", "line"))) == order


async def test_what_is_not_due_does_not_start_and_then_starts_in_its_place(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (delayed,) = await enqueue(engine, 1, delay=60)
    plain = await enqueue(engine, 2)
    assert status_of(dsn, delayed) == "scheduled"
    claims = ids(await crew.take(1))
    assert claims == plain[:1]
    query(dsn, MAKE_DUE)
    await engine.duties.tick()
    await crew.end(claims)
    assert await drain_one_by_one(crew) == [delayed, *plain[1:]]


# -- over several queues ---------------------------------------------------------------------------


async def test_capacity_is_dealt_in_turn_over_the_queues(engine: Engine) -> None:
    names = ("a", "b", "c")
    crew = await Crew(engine).join(*(("work", name) for name in names), a=10, b=10, c=None)
    for name in names:
        await enqueue(engine, 10, queue=name)
    dealt = Counter(claimed.queue for claimed in await crew.take(7))
    assert sorted(dealt.values()) == [2, 2, 3]


async def test_all_workflows_of_a_queue_are_looked_at(engine: Engine) -> None:
    crew = await Crew(engine).join(("other", "line"), ("work", "line"), line=5)
    work = await enqueue(engine, 3)
    assert ids(await crew.take(2)) == work[:2]
    others = await enqueue(engine, 2, workflow="other")
    assert ids(await crew.take()) == [work[2], *others]


async def test_what_a_full_queue_cannot_take_goes_to_the_others(engine: Engine) -> None:
    crew = await Crew(engine).join(("work", "small"), ("work", "big"), small=1, big=100)
    for name in ("small", "big"):
        await enqueue(engine, 10, queue=name)
    assert Counter(claimed.queue for claimed in await crew.take(6)) == {"small": 1, "big": 5}


async def test_more_queues_than_one_claim_tries_all_get_their_turn(engine: Engine) -> None:
    names = [f"q{n}" for n in range(MOST_CANDIDATES * 2)]
    crew = await Crew(engine).join(*(("work", name) for name in names))
    for name in names:
        await enqueue(engine, 3, queue=name)
    taken = [await crew.take(MOST_CANDIDATES) for _ in range(4)]
    assert {claimed.queue for claims in taken for claimed in claims} == set(names)


async def test_a_claim_tries_no_more_queues_than_fill_its_capacity(engine: Engine) -> None:
    """And learns how many those are."""
    names = [f"q{n}" for n in range(100)]
    crew = await Crew(engine).join(*(("work", name) for name in names))
    for name in names:
        await enqueue(engine, 4, queue=name)
    tried = [len({claimed.queue for claimed in await crew.take(32)}) for _ in range(12)]
    assert tried[0] == 32 and tried[-1] < 20


STORED = """
select e.queue_id, e.workflow, e.status, round(extract(epoch from e.enqueued_at - e.place), 3), e.priority,
    e.due_at, e.payload::text, e.attempt, e.max_attempts, e.losses, e.outcome, e.cancel_by, e.slot_generation,
    e.parent_id
from queues_execution e
"""


@pytest.mark.parametrize("priority", [0, 90, -1_000_000])
@pytest.mark.parametrize("payload", ["null", '{"a": "\\"\\\\{},\\u0000é "}', "[1.0, 2e400]", '""'])
async def test_one_is_stored_like_one_of_many(engine: Engine, dsn: str, priority: int, payload: str) -> None:
    """By a statement of its own (`enqueue_one`)."""
    new = NewExecution(
        workflow_id="wörk\\", queue_name="line", payload=Raw(payload.encode()), priority=priority, max_attempts=3
    )
    for count in (1, 2):  # the first makes the queue
        await engine.enqueue([new] * count, actor="test")
    first, *others = query(dsn, f"{STORED} order by e.id")
    assert others == [first, first]
    assert first[3:5] == (priority, priority)
    assert first[6] == payload


async def test_one_that_is_there_already_is_answered_as_a_repeat(engine: Engine, dsn: str) -> None:
    new = NewExecution(id=uuid7(), workflow_id="work", queue_name="line", payload=Raw(b"1"))
    answers = [(await engine.enqueue([new], actor="test"))[0] for _ in range(3)]
    assert [getattr(answer, "created", None) for answer in answers] == [True, False, False]
    (other,) = await engine.enqueue([replace(new, payload=Raw(b"2"))], actor="test")
    assert isinstance(other, Conflict)
    assert query(dsn, "select payload::text from queues_execution") == [("1",)]
