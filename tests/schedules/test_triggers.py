"""Events start workflows: each event once for each workflow, whoever delivers it and whenever it is killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from msgspec import Raw

from queues.engine import Engine, events
from queues.models import Execution, Queue
from tests.engine.crew import engine_on, in_django, query
from workflows import triggers
from workflows.models import Arrival, Trigger, Workflow
from workflows.triggers import Arrived, Ready, batches

NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[Engine]:
    async with engine_on(dsn) as engine:
        yield engine


def declare(workflow: str = "ship", topic: str = "orders", **more: Any) -> None:
    queue = Queue.objects.create(name=workflow)
    Workflow.objects.create(id=workflow, queue=queue, max_attempts=2, registered_at=timezone.now())
    Trigger.objects.create(workflow=workflow, topic=topic, declared_at=timezone.now(), **more)


async def publish(engine: Engine, number: int = 1, topic: str = "orders", **more: Any) -> Any:
    payload = Raw(json.dumps({"n": number}).encode())
    return await events.publish(engine, topic=topic, payload=payload, id=more.get("id"), actor="test")


def payloads(dsn: str, workflow: str = "ship") -> list[Any]:
    found = query(dsn, "select payload from queues_execution where workflow = %s order by place, id", workflow)
    return [row[0] for row in found]


async def deliver(engine: Engine) -> None:
    """What the duty does, after what follows the events that were published here."""
    if (under_way := triggers.triggers._under_way.get(engine.database)) is not None:
        await under_way
    await triggers.deliver(engine.database)


async def until_started(dsn: str, count: int, workflow: str = "ship") -> list[Any]:
    for _ in range(100):
        if len(found := payloads(dsn, workflow)) >= count:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{len(found)} of {count} were started")


# -- batches -----------------------------------------------------------------------------------------


def arrived(count: int, age: float = 0.0, size: int = 2) -> list[Arrived]:
    return [Arrived(n, uuid4(), "orders", "1" * size, NOON, age) for n in range(count)]


def sizes(found: list[Arrived], batch_size: int = 1, timeout: float | None = None) -> list[int]:
    trigger = Ready(1, "ship", batch_size, timeout, 1, 1, 0, None, None)
    return [len(batch) for batch in batches(trigger, found)]


def test_a_batch_starts_when_it_is_full_or_has_waited_long_enough() -> None:
    assert sizes(arrived(3)) == [1, 1, 1]
    assert sizes(arrived(7), 3) == [3, 3]
    assert sizes(arrived(7, age=9.0), 3, timeout=10.0) == [3, 3]
    assert sizes(arrived(7, age=10.0), 3, timeout=10.0) == [3, 3, 1]


def test_a_batch_stays_small_enough_to_be_handed_out() -> None:
    assert sizes(arrived(9, size=300_000), 1_000) == [3, 3]
    assert sizes(arrived(9, age=1, size=300_000), 1_000, timeout=1) == [3, 3, 3]


# -- delivering --------------------------------------------------------------------------------------


async def test_an_event_starts_each_workflow_that_its_topic_triggers(engine: Engine, dsn: str) -> None:
    for workflow, topic in (("ship", "orders"), ("bill", "orders"), ("other", "others")):
        await in_django(declare, workflow, topic)
    event = await publish(engine, 7)
    (ship,) = await until_started(dsn, 1)
    await until_started(dsn, 1, "bill")
    assert (ship["id"], ship["topic"], ship["payload"]) == (str(event.id), "orders", {"n": 7})
    assert dt.datetime.fromisoformat(ship["published_at"]) == event.published_at
    assert payloads(dsn, "other") == []
    assert await in_django(Arrival.objects.count) == 0
    execution = await in_django(Execution.objects.get, workflow="ship")
    assert (execution.max_attempts, execution.status) == (2, "queued")


async def test_a_repeated_event_starts_nothing_more(engine: Engine, dsn: str) -> None:
    await in_django(declare)
    id = uuid4()
    for _ in range(3):
        await publish(engine, 1, id=id)
    await until_started(dsn, 1)
    await deliver(engine)
    assert len(payloads(dsn)) == 1


async def test_full_batches_start_at_once_and_the_rest_when_its_time_has_come(engine: Engine, dsn: str) -> None:
    await in_django(declare, batch_size=3, batch_timeout=60.0)
    for number in range(7):
        await publish(engine, number)
    await until_started(dsn, 2)
    await deliver(engine)
    numbers = [[event["payload"]["n"] for event in each["events"]] for each in payloads(dsn)]
    assert numbers == [[0, 1, 2], [3, 4, 5]]
    query(dsn, "update workflows_arrival set at = at - interval '61 seconds'")
    await deliver(engine)
    assert [event["payload"]["n"] for event in payloads(dsn)[2]["events"]] == [6]


async def test_many_servers_that_publish_and_deliver_at_once_start_each_event_once(
    engine: Engine, dsn: str
) -> None:
    await in_django(declare)
    async with engine_on(dsn, duties=True) as other:
        await asyncio.gather(*(publish(each, number) for number in range(100) for each in (engine, other)))
        found = await until_started(dsn, 200)
    assert Counter(each["payload"]["n"] for each in found) == dict.fromkeys(range(100), 2)
    assert len({each["id"] for each in found}) == 200


async def test_a_server_killed_while_it_delivers_loses_and_doubles_nothing(
    engine: Engine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_django(declare)
    real = triggers._store

    async def killed(conn: Any, *args: Any) -> None:
        await real(conn, *args)
        query(dsn, "select pg_terminate_backend(%s)", conn.info.backend_pid)
        await conn.execute("select 1")

    with monkeypatch.context() as patch:
        patch.setattr(triggers, "_store", killed)
        event = await publish(engine)
        await triggers.triggers._under_way[engine.database]
    assert payloads(dsn) == [] and await in_django(Arrival.objects.count) == 1
    await deliver(engine)
    await deliver(engine)
    assert [each["id"] for each in payloads(dsn)] == [str(event.id)]


async def test_the_duty_delivers_what_a_killed_server_left(engine: Engine, dsn: str) -> None:
    await in_django(declare)
    query(dsn, "insert into queues_event values (%s, 'orders', '{\"n\": 1}', now(), '')", id := uuid4())
    query(
        dsn,
        "insert into workflows_arrival (trigger_id, event_id, at) select id, %s, now() from workflows_trigger",
        id,
    )
    async with engine_on(dsn, duties=True):
        await until_started(dsn, 1)


async def test_what_arrives_for_a_draining_queue_waits(engine: Engine, dsn: str) -> None:
    await in_django(declare)
    query(dsn, "update queues_queue set draining = true, drain_at = now()")
    await publish(engine)
    await deliver(engine)
    assert payloads(dsn) == []
    query(dsn, "update queues_queue set draining = false, drain_at = null")
    await deliver(engine)
    assert len(payloads(dsn)) == 1
