"""Connections that fly: given back and taken again, lost while they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest
from psycopg import errors

from queues.engine.arrays import binary_uuids
from queues.engine.claims import claim_statement
from queues.engine.database import Database
from queues.engine.errors import EngineUnavailable
from queues.engine.flight import Flight, _plan
from queues.engine.statements import statement
from queues.ids import uuid7

from .crew import engine_on, query

PID = "select pg_backend_pid(), %(name)s::text"
NAP = "select pg_backend_pid(), pg_sleep(%(name)s::float8)"
END_NAPS = """
select pg_terminate_backend(pid) from pg_stat_activity
where query like 'select pg_backend_pid(), pg_sleep(%' and pid <> pg_backend_pid()
"""


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, size=3)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def fly(database: Database, text: str = PID, name: object = "x") -> int:
    flight = Flight()
    number = flight.add(text, {"name": name})
    return int((await database.fly(flight))[number][0][0])


async def test_a_connection_that_was_given_back_flies_again(database: Database) -> None:
    for _ in range(3):
        await asyncio.gather(*(fly(database, NAP, 0.05) for _ in range(3)))
        await asyncio.gather(*(fly(database) for _ in range(3)))


@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_lost_connections_are_replaced(database: Database, dsn: str, pause: float) -> None:
    for _ in range(8):
        try:
            pid = await asyncio.wait_for(fly(database), 5)
        except EngineUnavailable:
            continue
        query(dsn, "select pg_terminate_backend(%s)", pid)
        await asyncio.sleep(pause)
    await asyncio.sleep(0.5)
    for _ in range(2):
        with suppress(EngineUnavailable):
            await asyncio.wait_for(fly(database), 5)
    await asyncio.wait_for(asyncio.gather(*(fly(database, NAP, 0.3) for _ in range(3))), 5)


async def test_connections_lost_in_flight_are_replaced(database: Database, dsn: str) -> None:
    for _ in range(6):
        flying = asyncio.create_task(fly(database, NAP, 5))
        async with asyncio.timeout(4):
            while not flying.done():  # at first it has not even arrived there
                query(dsn, END_NAPS)
                await asyncio.wait({flying}, timeout=0.05)
        with pytest.raises(EngineUnavailable):
            await flying
    await asyncio.sleep(0.5)
    await asyncio.wait_for(asyncio.gather(*(fly(database, NAP, 0.3) for _ in range(3))), 5)


async def test_cancelled_flights_leave_nothing(database: Database) -> None:
    for _ in range(6):
        flying = asyncio.create_task(fly(database, NAP, 5))
        await asyncio.sleep(0.05)
        flying.cancel()
        await asyncio.wait([flying])
    await asyncio.sleep(0.3)
    await asyncio.wait_for(asyncio.gather(*(fly(database, NAP, 0.3) for _ in range(3))), 5)


async def test_a_statement_that_fails_leaves_the_others_usable(database: Database) -> None:
    for _ in range(2):
        flight = Flight()
        flight.add(PID, {"name": "1"})
        flight.add("select 1 / %(name)s::int", {"name": 0})
        flight.add("select nonsense, %(name)s::int", {"name": 0})
        with pytest.raises(errors.DivisionByZero):
            await database.fly(flight)
        flight = Flight()
        flight.add("select nonsense, %(name)s::int", {"name": 0})
        flight.add(PID + " as other", {"name": "1"})
        with pytest.raises(errors.UndefinedColumn):
            await database.fly(flight)
        await fly(database, PID + " as other")


@pytest.mark.parametrize("ids", [[], [UUID(int=0)], [UUID(int=2**128 - 1), uuid7(), UUID(int=0)]])
async def test_ids_arrive_in_the_binary_format_beside_text(database: Database, ids: list[UUID]) -> None:
    flight = Flight()
    number = flight.add(
        "select %(ids)s::uuid[], cardinality(%(ids)s::uuid[]), %(name)s::text",
        {"ids": binary_uuids(ids), "name": "x"},
    )
    assert (await database.fly(flight))[number] == [(ids, len(ids), "x")]


async def test_the_first_exchange_finds_its_statements_planned(dsn: str) -> None:
    forms = ((True, True), (True, False), (False, False))
    texts = {
        *map(statement, ("begin_claims", "finish_completed", "lock_queues")),
        *(claim_statement(alone=alone, one_line=one_line, from_floors=False) for alone, one_line in forms),
    }
    async with engine_on(dsn) as engine:
        await engine.desk.rehearse()
        lines = engine.database._lines
        assert len(lines) == engine.database.most_lines
        for line in lines:
            assert {_plan(text).name for text in texts} <= line._prepared
