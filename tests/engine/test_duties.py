"""What servers do in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
import pytest

from queues.engine import Engine, EngineUnavailable, duties
from queues.engine.database import Database
from queues.engine.engine import MEMBER_MEMORY

from .crew import Crew, engine_on, enqueue, query

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


async def test_what_nobody_uses_is_forgotten_and_found_again(engine: Engine, dsn: str) -> None:
    """A server that runs for months has seen many queues and workers."""
    crew = await Crew(engine).join(("work", "line"))
    for n in range(20):
        await enqueue(engine, 1, "other", f"user-{n}", execution_timeout=60.0)
    engine._forget_from = 0.0
    engine._forget(time.monotonic())
    assert set(engine.board.ready) | set(engine.board.served) == {queue_id(dsn, "line")}
    engine._forget_from = 0.0
    engine._forget(time.monotonic() + MEMBER_MEMORY + 1)
    known = (engine.enqueuer._queues, engine.enqueuer.names, engine.enqueuer._timed, engine._members)
    assert not any((*known, engine.board.ready, engine.board.served, engine.board._room_said, engine.board.full))
    await enqueue(engine, 1, queue="line")
    assert len(await crew.take()) == 1


def queue_id(dsn: str, name: str) -> int:
    return int(query(dsn, "select id from queues_queue where name = %s", name)[0][0])


async def test_what_is_left_of_those_who_are_long_gone_is_deleted(engine: Engine, dsn: str) -> None:
    for name in ("pod-1", "pod-2"):
        await Crew(engine, name).join(("work", "line"), line=5)
    query(dsn, "update queues_declaration set seen_at = now() - interval '31 days'")
    query(dsn, "update queues_worker set state = 'left' where name = 'pod-1'")
    query(dsn, "insert into django_session values ('over', '', now()), ('open', '', now() + interval '1 hour')")
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await engine.duties.prune()
    assert query(dsn, "select worker_name from queues_declaration") == [("pod-2",)]
    assert query(dsn, "select session_key from django_session") == [("open",)]
