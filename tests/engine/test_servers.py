"""Two servers on one database. The slow poll is far away, so only what one tells the other can wake anybody."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psycopg
import pytest

from queues.engine import Engine
from queues.engine.operate import cancel_execution
from queues.limits import change_limit, pause, resume
from queues.models import Change
from queues.requests import Exchange, Heartbeat
from tests.pace import lately, soon

from .crew import Crew, engine_on, enqueue, ids, in_django, query, status_of

Servers = tuple[Engine, Engine]

OPEN = """
select pid, application_name, state, query from pg_stat_activity
where application_name in ('polos-listener', 'polos-engine') and datname = current_database()
"""
LISTENING = """
select count(*)::int from pg_stat_activity
where application_name = 'polos-listener' and query like '%pg_notify%' and state = 'idle'
"""  # it has greeted, and so listens
ADOPTED = """
insert into queues_registration (worker_id, queue_id, workflow)
select '{worker}', id, 'work' from queues_queue where name = 'elsewhere'
"""
HOLD = "select id from queues_queue where name = %s for no key update"
BY: dict[str, Any] = {"actor": "ana", "through": Change.Through.REST}


@pytest.fixture
async def servers(dsn: str) -> AsyncIterator[Servers]:
    async with engine_on(dsn) as one, engine_on(dsn) as other:
        await until_listening(dsn, 2)
        yield one, other


async def until_listening(dsn: str, count: int) -> None:
    deadline = time.monotonic() + 5
    while query(dsn, LISTENING) != [(count,)]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_enqueue_at_one_server_starts_at_another(servers: Servers) -> None:
    one, other = servers
    crew = await Crew(other).join(("work", "line"), line=5)
    await crew.take()
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.05)
    wanted = await enqueue(one, 2)
    claims = await soon(waiting)
    assert ids(claims) == wanted


async def test_a_slot_that_one_server_frees_is_filled_by_another(servers: Servers) -> None:
    one, other = servers
    holder = await Crew(one, "holder").join(("work", "line"), line=1)
    waiter = await Crew(other, "waiter").join(("work", "line"))
    first, second = await enqueue(one, 2)
    assert ids(await holder.take()) == [first]
    waiting = asyncio.create_task(waiter.take(wait=5))
    await asyncio.sleep(0.05)
    await holder.end([first])
    assert ids(await soon(waiting)) == [second]


async def test_a_pair_that_nobody_told_of_is_found_by_the_poll(dsn: str) -> None:
    """The server that adopted it died before it said so, or nobody listened."""
    async with engine_on(dsn, look=0.1) as engine:
        await Crew(engine, "host").join(("play", "elsewhere"))
        crew = await Crew(engine).join(("work", "line"))
        waiting = asyncio.create_task(crew.take(wait=5))
        await asyncio.sleep(0.2)
        query(dsn, ADOPTED.format(worker=crew.id))
        wanted = await enqueue(engine, 1, queue="elsewhere")
        assert ids(await soon(waiting)) == wanted


async def test_servers_of_the_version_before_tell_of_pairs_and_are_told(servers: Servers, dsn: str) -> None:
    """While servers are replaced one by one: nobody looks for these pairs again."""
    one, other = servers
    await Crew(one, "host").join(("play", "elsewhere"))
    crew = await Crew(other).join(("work", "line"))
    waiting = asyncio.create_task(crew.take(wait=5))
    await asyncio.sleep(0.2)  # it has looked for what others serve
    query(dsn, ADOPTED.format(worker=crew.id))
    query(dsn, "select pg_notify('polos_wake', %s)", f"pairs:{crew.id}")
    wanted = await enqueue(one, 1, queue="elsewhere")
    assert ids(await soon(waiting)) == wanted
    with psycopg.connect(dsn, autocommit=True) as old:
        old.execute("listen polos_wake")
        await enqueue(one, 1, queue="nowhere")
        told = await asyncio.to_thread(lambda: [each.payload for each in old.notifies(timeout=1)])
    assert f"pairs:{crew.id}" in told


@pytest.mark.alone
@pytest.mark.parametrize("act", ["enqueue", "release", "limit", "resume"])
async def test_nineteen_of_twenty_wake_ups_take_less_than_a_tenth_of_a_second(servers: Servers, act: str) -> None:
    """From the commit at one server to the claim at the other."""
    one, other = servers
    waiter = await Crew(other, "waiter").join(("work", "line"), line=1)
    holder = await Crew(one, "holder").join(("work", "line"))
    for _ in range(3):  # the machine may be busy, but not three times
        took = sorted([await WAYS[act](one, holder, waiter) for _ in range(20)])
        if took[18] < 0.1 * lately():
            return
    raise AssertionError(took)


async def _enqueued(one: Engine, holder: Crew, waiter: Crew) -> float:
    return await _seconds(waiter, enqueue(one, 1))


async def _released(one: Engine, holder: Crew, waiter: Crew) -> float:
    first, _ = await enqueue(one, 2)
    assert ids(await holder.take(1)) == [first]
    return await _seconds(waiter, holder.end([first]))


async def _raised(one: Engine, holder: Crew, waiter: Crew) -> float:
    await in_django(change_limit, queue="line", limit=0, reason="", **BY)
    await enqueue(one, 1)
    return await _seconds(waiter, in_django(change_limit, queue="line", limit=1, reason="", **BY))


async def _resumed(one: Engine, holder: Crew, waiter: Crew) -> float:
    await in_django(pause, queue="line", reason="", **BY)
    await enqueue(one, 1)
    return await _seconds(waiter, in_django(resume, queue="line", **BY))


async def _seconds(waiter: Crew, act: Coroutine[Any, Any, object]) -> float:
    """From the end of the act until the waiter has work, which it ends."""
    waiting = asyncio.create_task(waiter.take(wait=5))
    await asyncio.sleep(0.02)
    await act
    began = time.monotonic()
    claims = await waiting
    took = time.monotonic() - began
    await waiter.end(ids(claims))
    return took


WAYS: dict[str, Callable[[Engine, Crew, Crew], Coroutine[Any, Any, float]]] = {
    "enqueue": _enqueued, "release": _released, "limit": _raised, "resume": _resumed,
}  # fmt: skip


async def test_a_queue_that_somebody_holds_is_claimed_when_it_is_free(servers: Servers, dsn: str) -> None:
    """PostgreSQL tells nobody that a lock is free: the server waits for it, in a transaction of its own."""
    one, _ = servers
    crew = await Crew(one).join(("work", "line"), line=5)
    wanted = await enqueue(one, 2)
    with psycopg.connect(dsn) as rival:
        rival.execute(HOLD, ("line",))
        waiting = asyncio.create_task(crew.take(wait=5))
        await until_blocked(dsn)
        rival.commit()
    assert ids(await soon(waiting)) == wanted


async def test_a_queue_that_somebody_holds_for_long_does_not_hold_up_another(servers: Servers, dsn: str) -> None:
    one, _ = servers
    crew = await Crew(one).join(("work", "held"), ("work", "free"), held=5, free=5)
    held = await enqueue(one, 1, queue="held")
    free = await enqueue(one, 1, queue="free")
    with psycopg.connect(dsn) as rival:
        rival.execute(HOLD, ("held",))
        assert ids(await soon(crew.take(wait=5))) == free
        assert await crew.take() == []
        rival.commit()
    assert ids(await soon(crew.take(wait=5), 2)) == held


async def until_blocked(dsn: str) -> None:
    deadline = time.monotonic() + 5
    sql = (
        "select count(*)::int from pg_stat_activity"
        " where application_name = 'polos-engine' and wait_event_type = 'Lock'"
    )
    while query(dsn, sql) == [(0,)]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_worker_that_changes_servers_repeats_its_exchange_there(servers: Servers, dsn: str) -> None:
    one, other = servers
    crew = await Crew(one).join(("work", "line"), line=2)
    wanted = await enqueue(one, 5)
    request = Exchange(seq=1, capacity=5)
    first, again = await one.exchange(crew.id, request), await other.exchange(crew.id, request)
    assert ids(first.executions) == ids(again.executions) == wanted[:2] and first.token == again.token
    crew.note(again)
    crew.engine = other
    assert (await crew.end(wanted[:2])).refused == []
    assert status_of(dsn, wanted[0]) == "completed"
    assert not (await other.heartbeat(crew.id, Heartbeat(received=1))).cancel


async def test_whoever_waits_at_one_server_learns_the_end_at_another(servers: Servers) -> None:
    one, other = servers
    crew = await Crew(other).join(("work", "line"), line=1)
    (id,) = await enqueue(other, 1)
    await crew.take()
    waiting = asyncio.create_task(one.wait_final(id, 5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await crew.end([id])
    await soon(waiting)


async def test_a_cancel_reaches_the_worker_through_whatever_server_it_waits_at(servers: Servers) -> None:
    for number, server in enumerate(servers):
        queue = f"line{number}"
        crew = await Crew(server, queue).join(("work", queue), **{queue: 1})
        (id,) = await enqueue(servers[0], 1, queue=queue)
        assert ids(await crew.take(wait=2)) == [id]
        waiting = asyncio.create_task(crew.exchange(capacity=1, wait=5))
        await asyncio.sleep(0.05)
        await in_django(cancel_execution, id, actor="ana", through=Change.Through.REST)
        assert (await soon(waiting)).cancel == [id]


async def test_a_server_does_not_keep_cancels_of_workers_that_it_never_met(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=1)
    (first,) = await enqueue(engine, 1)
    await crew.take()
    async with engine_on(dsn) as other:
        await asyncio.sleep(0.2)  # it listens
        await in_django(cancel_execution, first, actor="ana", through=Change.Through.REST)
        reply = await crew.exchange(capacity=1, wait=2)
        assert reply.cancel == [first]
        await asyncio.sleep(0.2)
        assert not other.desk._cancels


@pytest.mark.parametrize("after", [0.0, 0.002, 0.004, 0.006, 0.01, 0.02])
async def test_an_engine_that_is_stopped_early_leaves_no_connection_open(dsn: str, after: float) -> None:
    kept = []
    others = {row[0] for row in query(dsn, OPEN)}
    gc.disable()  # what is forgotten must not be found by luck
    try:
        for _ in range(5):
            async with engine_on(dsn) as engine:
                kept.append(engine)
                await asyncio.sleep(after)
        deadline = time.monotonic() + 5
        while left := [row for row in query(dsn, OPEN) if row[0] not in others]:
            assert time.monotonic() < deadline, f"a stopped engine still has connections: {left}"
            await asyncio.sleep(0.05)
    finally:
        gc.enable()
