"""A server that is alone keeps its hints to itself, and whoever comes misses none. The slow poll is far away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from queues.engine import Config, Engine
from queues.engine.errors import EngineUnavailable
from queues.engine.flight import Answers, Flight
from queues.engine.wakes import KNOWN
from tests.pace import soon, until

from .crew import NO_POLL, Crew, engine_on, enqueue, ids, query

Fly = Callable[[Flight], Awaitable[Answers]]

NOBODY = 1  # no queue's number: a hint that only makes it ask

END_LISTENERS = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = 'polos-listener' and datname = current_database() and pid <> %s
"""


class Ear:
    """Hears of which queues somebody is told, and is not seen."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self._conn = conn

    async def hears_nothing(self, seconds: float) -> bool:
        return not await self._hears(set(), seconds)

    async def hears(self, queue_ids: set[int]) -> bool:
        """Of just these, and soon."""
        return await self._hears(queue_ids, 10) == queue_ids

    async def _hears(self, enough: set[int], seconds: float) -> set[int]:
        heard: set[int] = set()
        async for said in self._conn.notifies(timeout=seconds):
            if said.payload.startswith("queues:"):
                heard |= {int(item) for item in said.payload.split(":")[2].split(",")} - {NOBODY}
            if enough and heard >= enough:
                break
        return heard


@pytest.fixture
async def ear(dsn: str) -> AsyncIterator[Ear]:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("listen polos_wake")
        yield Ear(conn)


@pytest.fixture
async def single(engine: Engine) -> Engine:
    """It knows that nobody else is there."""
    await until_alone(engine)
    return engine


async def until_alone(engine: Engine) -> None:
    """It asks until it is: who has gone is seen for a moment longer."""
    async with asyncio.timeout(20):
        while not engine.wakes._alone:
            engine.wakes._known_until = 0.0
            engine.wakes.tell_others({NOBODY})
            await asyncio.sleep(0.05)


def hearing(engine: Engine) -> set[int]:
    """What this one is told from now on."""
    heard: set[int] = set()
    engine.wakes._on_queues = heard.update
    return heard


async def test_a_server_that_is_alone_says_nothing(single: Engine, ear: Ear) -> None:
    crew = await Crew(single).join(("work", "line"), line=1)
    for _ in range(3):
        first, second = await enqueue(single, 2)
        for id in (first, second):
            assert ids(await crew.take()) == [id]
            await crew.end([id])
        await asyncio.sleep(KNOWN / 2)
    single.wakes.tell_others({5})
    single.wakes.tell_others_later({6})
    assert await ear.hears_nothing(1.5 * KNOWN)


async def test_who_comes_is_told_what_was_kept(single: Engine, dsn: str) -> None:
    single.wakes.tell_others({5, 6})
    async with engine_on(dsn) as second:
        heard = hearing(second)
        await until(lambda: heard >= {5, 6})
        single.wakes.tell_others({7})
        await until(lambda: 7 in heard)


async def test_what_happens_while_another_server_comes_starts_there(single: Engine, dsn: str) -> None:
    """Before it listens it has not looked yet, and afterwards it is told."""
    await Crew(single, "host").join(("work", "line"), line=None)
    for turn in range(12):
        async with engine_on(dsn) as second:
            crew = await Crew(second).join(("work", "line"))
            waiting = asyncio.create_task(crew.take(wait=10))
            await asyncio.sleep(turn / 400)
            wanted = await enqueue(single, 1)
            assert ids(await soon(waiting)) == wanted
            await crew.end(wanted)
        await until_alone(single)


@pytest.mark.parametrize("name", ["polos-listener", "polos-listener - 10.0.0.7:51234"])
async def test_who_does_not_greet_is_seen(single: Engine, ear: Ear, dsn: str, name: str) -> None:
    """A server of the version before, and one behind a pooler that adds to names."""
    with psycopg.connect(dsn, application_name=name):
        single.wakes.tell_others({5})
        assert await ear.hears({5})


async def test_who_is_not_seen_has_greeted(single: Engine, ear: Ear, dsn: str) -> None:
    """A pooler took its name away."""
    with psycopg.connect(dsn, autocommit=True) as hidden:
        hidden.execute("select pg_notify('polos_wake', 'hello:another')")
        await until(lambda: not single.wakes._alone)
        single.wakes._known_until = 0.0
        for id in (5, 6):
            single.wakes.tell_others({id})
            assert await ear.hears({id})
            await asyncio.sleep(KNOWN)
    await until_alone(single)
    assert not single.wakes._greeters


async def test_who_says_something_is_there(single: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the version before tells of itself, before it is asked for."""
    monkeypatch.setattr(single.wakes, "_known_until", time.monotonic() + 60)
    single.wakes.tell_others({5})
    single.wakes._receive("queues:another:7", 0)
    assert await ear.hears({5})


async def test_who_listens_to_another_database_is_not_there(single: Engine, ear: Ear, dsn: str) -> None:
    with psycopg.connect(dsn, dbname="postgres", application_name="polos-listener"):
        await asyncio.sleep(KNOWN)
        single.wakes.tell_others({5})
        assert await ear.hears_nothing(1.5 * KNOWN)


async def test_who_cannot_hear_a_greeting_tells_everything(
    single: Engine, ear: Ear, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single.wakes, "_known_until", time.monotonic() + 60)
    single.wakes.tell_others({5})
    monkeypatch.setattr(single.database, "conninfo", f"{dsn} connect_timeout=1 port=1")
    query(dsn, END_LISTENERS, 0)
    assert await ear.hears({5})
    monkeypatch.setattr(single.wakes, "_known_until", 0.0)
    for id in (6, 7):
        single.wakes.tell_others({id})
        assert await ear.hears({id})
        await asyncio.sleep(KNOWN)


async def test_an_ear_that_is_dead_is_not_its_own(
    single: Engine, ear: Ear, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end of the connection fails while the backend stays for some time."""
    with psycopg.connect(dsn, application_name="polos-listener") as ghost:
        query(dsn, END_LISTENERS, ghost.info.backend_pid)
        monkeypatch.setattr(single.database, "conninfo", f"{dsn} connect_timeout=1 port=1")
        single.wakes._listener = ghost.info.backend_pid
        await until(lambda: single.wakes._listener is None)
        single.wakes._known_until = 0.0
        single.wakes.tell_others({5})
        assert await ear.hears({5})


async def test_when_the_others_have_gone_nothing_is_said(engine: Engine, ear: Ear, dsn: str) -> None:
    async with engine_on(dsn) as second:
        await until(lambda: engine.wakes._listener is not None and second.wakes._listener is not None)
        engine.wakes.tell_others({5})
        assert await ear.hears({5})
    await until_alone(engine)
    engine.wakes.tell_others({6})
    assert await ear.hears_nothing(1.5 * KNOWN)


async def test_a_server_that_stops_says_its_last(engine: Engine, ear: Ear, company: None) -> None:
    engine.wakes.tell_others({5})
    engine.wakes.tell_others_later({6})
    await engine.stop()
    assert await ear.hears({5, 6})


async def test_a_server_that_stops_alone_leaves_nothing_behind(single: Engine, ear: Ear) -> None:
    single.wakes.tell_others({5})
    await single.stop()
    assert single.wakes._sender is not None
    await asyncio.wait((single.wakes._sender,), timeout=0.2)
    assert single.wakes._sender.cancelled()


# -- while it asks ---------------------------------------------------------------------------------


async def asked(engine: Engine, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """The answer to who listens is old when it comes: meanwhile something happened."""
    fly: Fly = engine.database.fly

    async def slowly(flight: Flight) -> Answers:
        answers = await fly(flight)
        assert "pg_stat_activity" in flight.statements[0][0].text.decode()
        monkeypatch.setattr(engine.database, "fly", fly)
        meanwhile()
        return answers

    monkeypatch.setattr(engine.database, "fly", slowly)
    engine.wakes._known_until, engine.wakes._alone = 0.0, False
    engine.wakes.tell_others({5})
    await until(lambda: engine.database.fly == fly)


async def test_a_greeting_counts_that_comes_while_it_asks(
    single: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked(single, monkeypatch, lambda: single.wakes._receive("hello:another", 0))
    assert await ear.hears({5})


async def test_what_happens_while_it_asks_is_kept(
    single: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked(single, monkeypatch, lambda: single.wakes.tell_others({6}))
    assert await ear.hears_nothing(0.5)
    single.wakes._receive("hello:another", 0)
    assert await ear.hears({6})  # and not what was over before it asked: who comes then has looked


async def test_a_greeting_of_its_own_is_none(single: Engine) -> None:
    single.wakes._receive(f"hello:{single.wakes.server}", 0)
    assert single.wakes._alone


@pytest.mark.parametrize("trouble", [errors.InsufficientPrivilege(), EngineUnavailable()])
async def test_where_it_gets_no_answer_it_tells(
    single: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def refuse() -> None:
        raise trouble

    await asked(single, monkeypatch, refuse)
    assert await ear.hears({5})


async def test_who_comes_listens_then_greets_and_then_looks(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("listen polos_wake")
        engine = Engine(Config(conninfo=dsn, duties=False, look=NO_POLL))
        monkeypatch.setattr(engine.wakes, "_on_lost", lambda: order.append("look"))
        monkeypatch.setattr(engine.wakes, "_receive", lambda payload, pid: order.append("heard itself"))
        await engine.start()
        try:
            async for said in conn.notifies(timeout=10):
                assert said.payload == f"hello:{engine.wakes.server}"
                order.insert(0, "hello")
                break
            await until(lambda: len(order) == 3)
        finally:
            await engine.stop()
    assert order == ["hello", "look", "heard itself"]
