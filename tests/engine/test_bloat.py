"""An old transaction keeps vacuum from removing what died: claims stay quick, and decide as they always do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from queues.engine import Engine, bloat, operate
from queues.engine.arrays import numbers, texts, uuids
from queues.engine.database import SESSION
from queues.engine.statements import statement
from queues.ids import uuid7
from queues.models import Change
from tests.races.interleavings import FROM_FLOORS, Second, Stage, begin, claim, finish, token_of

from .crew import Crew, engine_on, enqueue, ids, in_django, query

BLOCKS = "heap_blks_hit + heap_blks_read from pg_statio_user_tables"
UPDATES = "n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"  # and how many of those changed no index
PASSED = "update queues_floor set candidate = now()"  # as if the second had gone by


@pytest.fixture(autouse=True)
def every_claim_renews(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bloat, "CLAIMS", 1)
    monkeypatch.setattr(bloat, "MANY_DEAD", 0)
    engine.desk.bloat.is_high = True


async def drain(crew: Crew, dsn: str, at_once: int = 1) -> list[UUID]:
    order = []
    while claims := await crew.take(at_once):
        order += ids(claims)
        await crew.end(ids(claims))
        query_none(dsn, PASSED)
    return order


def query_none(dsn: str, text: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(text.encode())


@pytest.mark.parametrize("limit", [3, None])
async def test_floors_rise_and_the_order_stays(engine: Engine, dsn: str, limit: int | None) -> None:
    crew = await Crew(engine).join(("work", "line"), line=limit)
    given = await enqueue(engine, 12)
    assert await drain(crew, dsn) == given
    assert query(dsn, "select place > now() - interval '1 minute' from queues_floor") == [(True,)]
    later = await enqueue(engine, 5)
    assert await drain(crew, dsn, 2) == later


async def test_what_comes_back_to_a_place_under_the_floor_is_found_first(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (kept,) = await enqueue(engine, 1, max_attempts=2)
    (due,) = await enqueue(engine, 1, delay=60.0)
    assert ids(await crew.take(1)) == [kept]
    await enqueue(engine, 6)
    await drain(crew, dsn)
    fresh = await enqueue(engine, 2)
    (first,) = await enqueue(engine, 1, priority=3600)
    query_none(dsn, "update queues_execution set due_at = now() where status = 'scheduled'")
    query_none(dsn, statement("promote_due") % {"most": 10})
    await crew.end([kept], "failed", retry_in=0.0)
    floor = (
        "select count(*) from queues_execution e, queues_floor f where e.status = 'queued' and e.place < f.place"
    )
    assert query(dsn, floor) == [(3,)]
    assert await drain(crew, dsn) == [first, kept, due, *fresh]


async def test_what_lies_under_the_floor_by_a_fault_is_found_by_the_check(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    await enqueue(engine, 4)
    await drain(crew, dsn)
    (lost,) = await enqueue(engine, 1)
    query_none(dsn, "update queues_floor set place = now() + interval '1 hour'")
    assert await crew.take(1) == []
    engine.desk.bloat._checked_at = float("-inf")
    await engine.desk.bloat.look(engine.database)
    engine._hinted(await queue_ids(dsn))
    assert ids(await crew.take(1)) == [lost]


BEFORE = (
    "update queues_execution set place = place - interval '1 hour', enqueued_at = enqueued_at - interval '1 hour'"
)
ACT: dict[str, Any] = {"actor": "test", "through": Change.Through.PAGE}


async def test_a_handicap_that_is_made_smaller_moves_under_the_floor_and_is_found(
    engine: Engine, dsn: str
) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (given,) = await enqueue(engine, 1, priority=-1800)
    query_none(dsn, BEFORE)
    query_none(
        dsn,
        "insert into queues_floor (queue_id, workflow, place, candidate, candidate_xid) "
        "select queue_id, workflow, place, place, '0' from queues_execution",
    )
    await in_django(operate.change_priority, given, priority=-900, **ACT)
    assert ids(await crew.take(1)) == [given]


async def test_what_never_started_and_is_tried_again_with_a_head_start_is_found(engine: Engine, dsn: str) -> None:
    crew = await Crew(engine).join(("work", "line"), line=2)
    (given,) = await enqueue(engine, 1, priority=60)
    await in_django(operate.cancel_execution, given, **ACT)
    query_none(dsn, BEFORE)
    await enqueue(engine, 4)
    await drain(crew, dsn)
    assert query(dsn, "select place > now() - interval '50 seconds' from queues_floor") == [(True,)]
    await in_django(operate.retry_execution, given, **ACT)
    assert ids(await crew.take(1, wait=5)) == [given]


async def queue_ids(dsn: str) -> list[int]:
    return [row[0] for row in query(dsn, "select id from queues_queue")]


async def test_two_servers_that_renew_hold_the_limit(engine: Engine, dsn: str) -> None:
    async with engine_on(dsn) as other:
        other.desk.bloat.is_high = True
        busy: set[UUID] = set()
        most = done = 0

        async def work(crew: Crew, dice: random.Random) -> None:
            nonlocal most, done
            while done < 150:
                got = set(ids(await crew.take(dice.randint(1, 3), wait=0.05)))
                busy.update(got)
                most = max(most, len(busy))
                await asyncio.sleep(dice.uniform(0, 0.004))
                busy.difference_update(got)
                await crew.end(got)
                done += len(got)

        crews = [
            await Crew(each, f"crew {n}").join(("work", "line"), line=3) for n, each in enumerate((engine, other))
        ]
        await enqueue(engine, 150)
        async with asyncio.timeout(30):
            await asyncio.gather(*(work(crew, random.Random(n)) for n, crew in enumerate(crews)))  # noqa: S311
        assert (done, most) == (150, 3)
        assert query(dsn, "select slot_generation > 20 from queues_queue") == [(True,)]


async def test_who_renews_holds_no_result_that_somebody_else_waits_for(engine: Engine, dsn: str) -> None:
    """Two servers would hold each other's: a renewal waits for what is held on its queue."""
    crew = await Crew(engine).join(("work", "line"), ("work", "other"), line=5, other=5)
    held = [*await enqueue(engine, 2), *await enqueue(engine, 1, queue="other")]
    assert set(ids(await crew.take())) == set(held)
    kept, _, ended = held
    engine.desk.bloat.claimed((await queue_ids(dsn))[0], 1)
    await enqueue(engine, 1)
    lock = b"select from queues_execution where id = %s for no key update nowait"
    with psycopg.connect(dsn) as rival:
        rival.execute(lock, (kept,))
        handing_in = asyncio.create_task(crew.exchange(results=[crew.finished(ended)], capacity=1))
        await asyncio.sleep(0.3)
        assert not handing_in.done()
        rival.execute(lock, (ended,))
    async with asyncio.timeout(5):
        assert len((await handing_in).executions) == 1


def test_a_renewal_locks_what_is_held_in_the_order_of_its_id(dsn: str) -> None:
    """As whoever hands in does, or two would wait for each other."""
    stage = Stage(dsn, limit=2, waiting=3)
    lock = b"select from queues_execution where id = %s for no key update nowait"
    with stage.rival() as a, stage.rival() as b:
        one, two = claim(stage, a, capacity=2)
        a.commit()
        finish(a, statement, one, token_of(stage, one))
        a.commit()
        (three,) = claim(stage, a)
        a.commit()
        held = "select id from queues_execution where status = 'running' order by slot"
        assert query(dsn, held) == [(three,), (two,)]
        a.execute(lock, (two,))
        renewal = Second(stage, b, lambda db: renew(stage, db))
        renewal.is_blocked()
        a.execute(lock, (three,))
        renewal.after(a)


def add_one(stage: Stage, db: psycopg.Connection[Any], name: str) -> None:
    values: dict[str, object] = {
        "ids": uuids([uuid7()]), "queues": numbers([stage.queue]), "workflows": texts(["work"]),
        "priorities": numbers([0]), "payloads": texts(["null"]), "max_attempts": numbers([1]),
        "keys": "{null}", "run_ats": "{null}", "delays": "{null}", "parents": "{null}", "parent_tokens": "{null}",
    }  # fmt: skip
    if name == "enqueue_one":
        values = {
            "id": uuid7(), "queue": stage.queue, "workflow": "work", "priority": 0, "payload": "null",
            "max_attempts": 1,
        }  # fmt: skip
    db.execute(statement(name).encode(), values)


@pytest.mark.parametrize("name", ["enqueue_one", "enqueue_new", "enqueue", "enqueue_children"])
@pytest.mark.parametrize("inserted", ["before the candidate", "after the candidate"])
def test_what_a_transaction_adds_that_began_before_the_candidate_is_found(
    dsn: str, name: str, inserted: str
) -> None:
    stage = Stage(dsn, limit=5, waiting=0)
    with stage.rival() as slow, stage.rival() as db:
        slow.execute("select now()")
        if inserted == "before the candidate":
            add_one(stage, slow, name)
        for _ in range(3):  # each takes the last one's candidate for its floor, unless something may lie under it
            renew(stage, db)
            db.commit()
            stage.main.execute(PASSED)
        if inserted == "after the candidate":
            assert query(dsn, "select place > now() - interval '5 seconds' from queues_floor") == [(True,)]
            add_one(stage, slow, name)
        slow.commit()
        assert len(claim(stage, db, form=FROM_FLOORS)) == 1


HOLD = """
create function hold() returns trigger language plpgsql as $$
begin perform pg_advisory_xact_lock(4711); return new; end $$;
create trigger hold before insert on queues_execution for each row execute function hold()
"""
RELEASE = "drop trigger hold on queues_execution; drop function hold()"


@pytest.mark.parametrize("name", ["enqueue_one", "enqueue_new", "enqueue", "enqueue_children"])
def test_a_transaction_has_its_number_before_the_moment_of_its_place(dsn: str, name: str) -> None:
    """Held still between the two: whoever raises a floor meanwhile sees the number."""
    stage = Stage(dsn, limit=5, waiting=0)
    stage.main.execute(HOLD)
    try:
        with stage.rival() as slow, stage.rival() as db, stage.rival() as gate:
            gate.execute("select pg_advisory_xact_lock(4711)")
            adding = Second(stage, slow, lambda slow: add_one(stage, slow, name))
            assert adding.is_blocked()
            for _ in range(3):
                renew(stage, db)
                db.commit()
                stage.main.execute(PASSED)
            adding.after(gate)
            assert len(claim(stage, db, form=FROM_FLOORS)) == 1
    finally:
        stage.main.execute(RELEASE)


def test_a_candidate_lies_a_second_back_for_clocks_that_are_set(dsn: str) -> None:
    stage = Stage(dsn, limit=5, waiting=0)
    late = "select count(*) from queues_floor where candidate > now() - interval '1 second'"
    with stage.rival() as db:
        for _ in range(2):
            renew(stage, db)
            db.commit()
            assert query(dsn, late) == [(0,)]


# -- what a claim walks ------------------------------------------------------------------------------


READS, WRITES = "select 1", "select pg_current_xact_id()"  # which is what writing comes to


@pytest.fixture(params=[READS])
def pinned(dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with psycopg.connect(dsn) as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        db.execute(request.param)
        yield request.param


def renew(stage: Stage, db: psycopg.Connection[Any], *, forgotten: str = "1 minute") -> None:
    """`forgotten`: who has done nothing for so long is known not to have enqueued anything."""
    queues = {"queues": numbers([stage.queue])}
    db.execute(statement("lock_queues"), queues)
    db.execute(statement("renew_slots"), queues)
    of_others = "a.state_change < now() - interval "
    text = statement("raise_floors")
    assert text.count(f"{of_others}'1 minute'") == 1
    text = text.replace(f"{of_others}'1 minute'", f"{of_others}'{forgotten}'")
    db.execute(text.encode(), queues | {"workflows": texts(["work"])})


def entries_of_a_claim(stage: Stage, db: psycopg.Connection[Any]) -> int:
    """Index entries that a claim of one execution reads, dead or alive."""
    db.execute("set enable_seqscan = off")
    before = entries_read(db)
    assert len(claim(stage, db, form=FROM_FLOORS, capacity=1)) == 1
    db.commit()
    return entries_read(db) - before


def entries_read(db: psycopg.Connection[Any], table: str = "queues_execution") -> int:
    return counted(db, "sum(idx_tup_read) from pg_stat_user_indexes", table)[0]


def counted(db: psycopg.Connection[Any], what: str, table: str = "queues_worker") -> list[int]:
    """By PostgreSQL, so far."""
    db.execute("select pg_stat_force_next_flush()")
    db.commit()
    row = db.execute(f"select {what} where relname = %s".encode(), (table,)).fetchone()
    db.commit()
    assert row is not None
    return [int(each) for each in row]


@pytest.mark.parametrize("pinned", [READS, WRITES], indirect=True)
@pytest.mark.parametrize("limit", [5, None])
def test_a_claim_does_not_walk_over_what_died_before(dsn: str, limit: int | None, pinned: str) -> None:
    stage = Stage(dsn, limit=limit, waiting=300)
    with stage.rival() as db:
        while done := claim(stage, db):
            for id in done:
                finish(db, statement, id, token_of_claim(db, id))
            db.commit()
        stage.enqueue([uuid7() for _ in range(20)])
        before = entries_of_a_claim(stage, db)
        for _ in range(3):
            renew(stage, db, forgotten="0 seconds" if pinned == WRITES else "1 minute")
            db.commit()
            stage.main.execute(PASSED)
        after = entries_of_a_claim(stage, db)
    assert after < 20 < 300 <= before


def test_a_transaction_that_did_something_within_the_minute_may_have_enqueued(dsn: str) -> None:
    stage = Stage(dsn, limit=5, waiting=0)
    with stage.rival() as busy, stage.rival() as db:
        busy.execute(WRITES)
        time.sleep(1.5)
        for _ in range(3):
            busy.execute("select 1")
            renew(stage, db, forgotten="1.4 seconds")
            db.commit()
            stage.main.execute(PASSED)
    assert query(dsn, "select place = '-infinity' from queues_floor") == [(True,)]


async def test_a_transaction_that_wrote_and_was_forgotten_keeps_dead_rows_too(engine: Engine, dsn: str) -> None:
    with psycopg.connect(dsn) as db:
        db.execute(WRITES)
        text = statement("bloat").replace("interval '10 seconds'", "interval '0 seconds'")
        assert [row[1] for row in query(dsn, text)] == [True]


def test_a_renewal_does_not_walk_over_what_was_held_before(dsn: str, pinned: str) -> None:
    stage = Stage(dsn, limit=5, waiting=700)
    read = []
    with stage.rival() as db:
        db.execute(f"{SESSION}; analyze".encode())  # nothing is held: its index looks empty from now on
        db.commit()
        for _ in range(6):
            for _ in range(20):
                for id in claim(stage, db):
                    finish(db, statement, id, token_of_claim(db, id))
                db.commit()
            held = claim(stage, db)
            db.commit()
            assert len(held) == 5
            before = entries_read(db)
            renew(stage, db)
            db.commit()
            read.append(entries_read(db) - before)
            stage.main.execute(PASSED)
            for id in held:
                finish(db, statement, id, token_of_claim(db, id))
            db.commit()
    assert max(read[2:]) < 300, read


def test_beginning_does_not_walk_over_what_the_workers_rows_were(dsn: str, pinned: str) -> None:
    """Nor when it is planned with what is known of a table that has become large."""
    stage = Stage(dsn, limit=1)
    workers = [stage.worker()[0] for _ in range(3)]
    with stage.rival() as db:
        db.execute(SESSION.encode())
        for seq in range(2, 1_500):
            for worker in workers:
                assert begin(db, statement, worker, seq, generation=(seq - 1) // 128) == 1
            db.commit()
            if seq % 500 == 0:
                stage.main.execute("analyze queues_worker")
        entries = entries_read(db, "queues_worker")
        (blocks,) = counted(db, BLOCKS)
        assert begin(db, statement, workers[0], 1_500, generation=1_499 // 128) == 1
        db.commit()
        assert 0 < entries_read(db, "queues_worker") - entries < 30
        assert 0 < counted(db, BLOCKS)[0] - blocks < 40


async def test_a_generation_that_the_row_does_not_have_is_found_out(engine: Engine, dsn: str) -> None:
    """The worker left and came back with the same id, through another server."""
    crew = await Crew(engine).join(("work", "line"), line=2)
    (first, second) = await enqueue(engine, 2)
    assert ids(await crew.take(1)) == [first]
    engine._members[crew.id].generation = 7
    assert ids(await crew.take(1)) == [second]
    assert engine._members[crew.id].generation == 0


def test_beginning_changes_no_index(dsn: str) -> None:
    """Of those that hold nothing back: the lease is in none."""
    stage = Stage(dsn, limit=1)
    worker, _ = stage.worker()
    with stage.rival() as db:
        before = counted(db, UPDATES)
        for seq in range(2, 102):
            begin(db, statement, worker, seq)
            db.commit()
        assert [after - was for after, was in zip(counted(db, UPDATES), before, strict=True)] == [100, 100]


def token_of_claim(db: psycopg.Connection[Any], id: UUID) -> UUID:
    row = db.execute("select token from queues_execution where id = %s", (id,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def test_a_result_that_is_being_handed_in_is_waited_for(dsn: str) -> None:
    """Else what is held would not be of one generation, and a claim would not count it."""
    stage = Stage(dsn, limit=3, waiting=6)
    with stage.rival() as a, stage.rival() as b:
        one, two = claim(stage, a, capacity=2)
        a.commit()
        finish(a, statement, one, token_of(stage, one))
        b.execute("set lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            renew(stage, b)
        b.rollback()
        a.rollback()
        renew(stage, b)
        assert len(claim(stage, b)) == 1
        b.commit()
        assert finish(a, statement, two, token_of(stage, two)) == 1
        a.commit()
        assert len(claim(stage, b)) == 1
