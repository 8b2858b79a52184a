"""What servers do in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from queues.engine import Engine, EngineUnavailable, duties
from queues.engine.database import Database

from .crew import engine_on, enqueue, query

FAULTS = {
    "57014": "took too long",  # statement_timeout
    "53100": "disk of the database is full",
    "25006": "takes no changes",  # a primary that became a standby
    "25P03": "does not answer",  # a transaction that stood still, because this process did
}


async def test_a_duty_that_fails_or_waits_keeps_no_other_from_its_work(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = asyncio.Event()

    async def breaks(_: Database) -> float:
        raise RuntimeError("one bad row")

    async def waits(_: Database) -> float:
        await asyncio.Event().wait()
        return 0.0

    async def is_refused(database: Database) -> float:
        async with database.connection():
            raise psycopg.errors.QueryCanceled

    async def works(_: Database) -> float:
        worked.set()
        return 1.0

    monkeypatch.setattr(duties, "also_do", [breaks, waits, is_refused, works])
    async with engine_on(dsn, duties=True):
        await asyncio.wait_for(worked.wait(), 5)


async def test_a_database_that_is_away_is_said_once_and_so_is_its_return(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    away = True
    answered = [asyncio.Event() for _ in range(3)]

    def duty(mine: asyncio.Event) -> Callable[[Database], Awaitable[float]]:
        async def asks(_: Database) -> float:
            if away:
                raise EngineUnavailable
            mine.set()
            return 0.01

        return asks

    monkeypatch.setattr(duties, "also_do", [duty(each) for each in answered])
    async with engine_on(dsn, duties=True):
        while "Waiting for it" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        away = False
        await asyncio.wait_for(asyncio.gather(*(each.wait() for each in answered)), 5)
        while "answers again" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (caplog.text.count("Waiting for it"), caplog.text.count("answers again")) == (1, 1)


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_the_database_cannot_do_right_now_is_to_be_repeated(
    engine: Engine, dsn: str, fault: str
) -> None:
    """Whatever kind of error it is to psycopg: nobody gets a 500, and nothing is half done."""
    await enqueue(engine, 1)
    query(
        dsn,
        "create function refuse() returns trigger language plpgsql as $$ begin "
        f"raise exception 'no' using errcode = '{fault}'; end $$; "
        "create trigger refuse before insert on queues_execution for each row execute function refuse()",
    )
    try:
        with pytest.raises(EngineUnavailable, match=FAULTS[fault]):
            await enqueue(engine, 1)
    finally:
        query(dsn, "drop function refuse cascade")
    await enqueue(engine, 1)
    assert query(dsn, "select count(*) from queues_execution") == [(2,)]
