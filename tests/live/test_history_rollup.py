"""The roll-up of history: nothing is counted twice or lost, and what was not looked at is a gap."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import psycopg
import pytest
from django.utils import timezone

from queues import history, rollup
from queues.engine import Engine
from queues.engine.database import Database
from queues.engine.statements import statement
from queues.history import Point, Series, Window
from queues.models import Execution, Queue, Rollup, RollupStretch, Status
from queues.rollup import Figure
from tests.engine.crew import Crew, engine_on, enqueue, ids, in_django

from .conftest import World

HOUR = int(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC).timestamp())


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, size=4)
    await database.open()
    yield database
    await database.close()


async def write(database: Database, since: int, until: int, *, looked: bool = True) -> None:
    async with database.connection() as conn, conn.transaction():
        await rollup._write(conn, since, until, looked=looked)


def ended(
    queue: Queue, at: float, *, waited: float = 1.0, ran: float = 2.0, status: str = "completed", attempt: int = 1
) -> Execution:
    end = dt.datetime.fromtimestamp(at, dt.UTC)
    begun = end - dt.timedelta(seconds=ran)
    asked = begun - dt.timedelta(seconds=waited)
    return Execution.objects.create(
        queue=queue, workflow="wf", status=status, place=asked, enqueued_at=asked, claimed_at=begun,
        released_at=end, finished_at=end, outcome=status, worker_id=uuid.uuid4(), attempt=attempt,
    )  # fmt: skip


def figures(seconds: int = 10) -> dict[tuple[int, int], int]:
    """(start, figure of the first queue of its shard) → count."""
    counted: dict[tuple[int, int], int] = defaultdict(int)
    for row in Rollup.objects.filter(seconds=seconds):
        for cell, n in (*zip(row.cells, row.counts, strict=True), *((cell, 1) for cell in row.once)):
            counted[row.start, cell % 1024] += n
    return dict(counted)


def mark(until: float) -> None:
    RollupStretch.objects.create(since=int(until) - 600, until=int(until))


def tick(seconds_ago: float = 0) -> int:
    return int(time.time() - seconds_ago) // 10 * 10


def of(series: Series, start: int) -> Point | None:
    return series.points[(start - series.window.since) // series.step]


def known(points: Iterable[Point | None]) -> list[Point]:
    return [point for point in points if point is not None]


async def test_what_finished_is_counted_by_outcome_in_its_ten_seconds(world: World, database: Database) -> None:
    def past() -> None:
        queue = world.queue()
        for at, status in ((1, "completed"), (2, "failed"), (9.99, "cancelled"), (10, "completed")):
            ended(queue, HOUR + at, status=status)

    await in_django(past)
    await write(database, HOUR, HOUR + 20, looked=False)
    counted = await in_django(figures)
    outcomes = {(start - HOUR, figure): n for (start, figure), n in counted.items() if figure < 3}
    assert outcomes == {(0, Figure.COMPLETED): 1, (0, Figure.FAILED): 1, (0, Figure.CANCELLED): 1, (10, 0): 1}


async def test_servers_that_roll_up_at_the_same_time_count_everything_once(
    world: World, database: Database
) -> None:
    begin = tick(60)

    def past() -> None:
        queue = world.queue()
        mark(begin)
        for i in range(40):
            ended(queue, begin + i)

    await in_django(past)
    for _ in range(3):
        await asyncio.gather(*(rollup.roll_up(database) for _ in range(4)))
    counted = await in_django(figures)
    assert sum(n for (_, figure), n in counted.items() if figure == Figure.COMPLETED) == 40
    assert await in_django(RollupStretch.objects.count) == 2  # a minute passed that nobody looked at: a gap


async def test_a_server_that_is_killed_in_the_middle_leaves_nothing_half_done(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = tick(70)

    def past() -> None:
        queue = world.queue()
        mark(begin)
        ended(queue, begin + 5)

    await in_django(past)

    async def killed(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        write_all = rollup._write

        async def half(*args: object, **more: object) -> None:
            await write_all(*args, **more)  # type: ignore[arg-type]
            await killed()

        patch.setattr(rollup, "_write", half)
        with pytest.raises(asyncio.CancelledError):
            await rollup.roll_up(database)
    assert await in_django(figures) == {}
    await rollup.roll_up(database)
    counted = await in_django(figures)
    assert counted[begin, Figure.COMPLETED] == 1


async def test_what_commits_late_is_waited_for_but_not_for_ever(dsn: str, database: Database) -> None:
    with psycopg.connect(dsn) as late:
        opened = late.execute("select extract(epoch from now())::float8").fetchone()
        assert opened is not None
        async with database.connection() as conn:
            cursor = await conn.execute(statement("rollup_due"), {"tick": 10, "settle": 0.0})
            due = rollup.Due(*(await cursor.fetchone() or ()))
    assert due.open_since == pytest.approx(opened[0], abs=0.001)
    assert due.may_grow(int(opened[0]) + 1)
    assert not due.may_grow(int(opened[0]) - 1)
    assert not replace(due, now=due.now + rollup.OPEN_FOR).may_grow(int(opened[0]))


def test_after_an_outage_the_past_is_closed_a_minute_at_a_time() -> None:
    due = rollup.Due(now=HOUR + 605.0, mark=HOUR, ended=HOUR + 600, open_since=None)
    assert due.stretch() == (HOUR, HOUR + 60)
    assert replace(due, mark=None).stretch() == (HOUR + 590, HOUR + 600)


async def test_what_waits_and_runs_is_looked_at(world: World, database: Database) -> None:
    def now() -> None:
        queue = world.queue()
        for _ in range(3):
            world.execution(queue, "queued")
        world.execution(queue, "running", slot=1)
        world.execution(queue, "cancelling", slot=2)

    await in_django(now)
    await write(database, HOUR, HOUR + 10)
    assert await in_django(figures) == {(HOUR, Figure.WAITING): 3, (HOUR, Figure.RUNNING): 2}


async def test_a_queue_that_does_nothing_is_not_written(world: World, database: Database) -> None:
    await in_django(world.queue)
    await write(database, HOUR, HOUR + 60)
    assert await in_django(Rollup.objects.count) == 0
    assert await in_django(RollupStretch.objects.get) == RollupStretch(since=HOUR + 30, until=HOUR + 60)


async def test_minutes_and_hours_are_the_sum_of_their_parts(world: World, database: Database) -> None:
    def past() -> None:
        queue = world.queue()
        world.execution(queue, "queued")
        for i in range(0, 3600, 7):
            ended(queue, HOUR + i, status="failed" if i % 5 == 0 else "completed")

    await in_django(past)
    for begin in range(HOUR, HOUR + 3600, 20):
        await write(database, begin, begin + 20)
    # The tens of an hour are gone by then only in production; here all three lengths can be compared.
    tens, minutes, hours = [await in_django(figures, seconds) for seconds in (10, 60, 3600)]
    for figure in (Figure.COMPLETED, Figure.FAILED, Figure.WAITING):
        sums = [sum(n for (_, f), n in some.items() if f == figure) for some in (tens, minutes, hours)]
        assert sums[0] == sums[1] == sums[2] > 0
    assert hours[HOUR, Figure.WAITING] == 360
    assert hours[HOUR, Figure.MOST_WAITING] == 1
    assert len({start for start, _ in minutes}) == 60
    assert sum(n for (_, f), n in hours.items() if f >= Figure.RUNS) == len(range(0, 3600, 7))


async def test_a_pause_of_the_servers_is_a_gap_and_what_finished_before_it_is_kept(
    world: World, database: Database
) -> None:
    queue = await in_django(world.queue)
    await in_django(lambda: [ended(queue, at) for at in (HOUR + 5, HOUR + 612)])
    await write(database, HOUR, HOUR + 10)
    await write(database, HOUR + 10, HOUR + 300, looked=False)
    await write(database, HOUR + 300, HOUR + 600, looked=False)
    await write(database, HOUR + 600, HOUR + 620)
    now = dt.datetime.fromtimestamp(HOUR + 620, dt.UTC)
    series = await in_django(history.read, queue, Window(HOUR, HOUR + 620), now)
    assert [i * 10 for i, point in enumerate(series.points) if point] == [0, 600, 610]
    assert [point.completed for point in known(series.points)] == [1, 0, 1]


async def test_a_restart_within_half_a_minute_leaves_no_gap(world: World, database: Database) -> None:
    await in_django(world.queue)
    await write(database, HOUR, HOUR + 10)
    await write(database, HOUR + 10, HOUR + 40)
    assert await in_django(RollupStretch.objects.get) == RollupStretch(since=HOUR, until=HOUR + 40)


async def test_old_rows_go(world: World, database: Database) -> None:
    old = HOUR - 7 * 3600
    kept = [(10, HOUR - 60), (60, old), (3600, old)]
    rows = [
        Rollup(seconds=seconds, start=start, shard=0, cells=[0], counts=[1])
        for seconds, start in (*kept, (10, old), (60, HOUR - 4 * 86400))
    ]
    await in_django(Rollup.objects.bulk_create, rows)
    await in_django(RollupStretch.objects.create, since=1, until=2)
    await write(database, HOUR - 10, HOUR)
    left = await in_django(lambda: set(Rollup.objects.values_list("seconds", "start")))
    assert left == {*kept, (60, HOUR - 60), (3600, HOUR - 3600)}
    assert (await in_django(RollupStretch.objects.get)).since == HOUR - 10


async def test_percentiles_of_the_database_are_within_five_percent(world: World, database: Database) -> None:
    waits = [0.0004, 0.003, 0.02, 0.5, 0.5, 1.0, 4.2, 61.0, 900.0, 86_400.0]

    def past() -> Queue:
        queue = world.queue()
        for wait in waits:
            ended(queue, HOUR + 1, waited=wait, ran=wait)
        ended(queue, HOUR + 1, waited=5000, attempt=2)  # its wait is not known
        return queue

    queue = await in_django(past)
    await write(database, HOUR, HOUR + 10, looked=False)
    now = dt.datetime.fromtimestamp(HOUR + 10, dt.UTC)
    series = await in_django(history.read, queue, Window(HOUR, HOUR + 120), now)
    point = series.points[0]
    assert point is not None and point.wait is not None
    assert point.wait == pytest.approx((0.5, 86_400.0, 86_400.0), rel=0.05)
    counted = await in_django(figures)
    for wait in waits[1:]:
        steps = [f - Figure.WAITS for (_, f) in counted if Figure.WAITS <= f < Figure.RUNS]
        assert any(rollup.middle(step) == pytest.approx(wait, rel=0.05) for step in steps), wait


async def test_the_server_does_it_by_itself(world: World, dsn: str, database: Database) -> None:
    begin = tick(15)
    queue = await in_django(world.queue)
    await in_django(mark, begin)
    await in_django(ended, queue, begin + 1)
    async with engine_on(dsn, duties=True):
        async with asyncio.timeout(5):
            while not await in_django(Rollup.objects.exists):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    series = await in_django(history.read, queue, Window(begin - 60, begin + 10), timezone.now())
    point = of(series, begin)
    assert point is not None and point.completed == 1


async def test_history_writes_less_than_a_hundredth_of_what_executions_write(dsn: str, database: Database) -> None:
    """In a queue that finishes 500 in these two minutes; the more, the smaller the share."""
    async with engine_on(dsn) as engine:
        crew = await Crew(engine).join(("work", "line"))
        before = _written(dsn)
        for _ in range(50):
            await enqueue(engine, 10)
            claims = await crew.take(10)
            await crew.end(ids(claims))
        executions = _written(dsn) - before
    begin = tick(0)
    assert await in_django(Execution.objects.filter(status=Status.COMPLETED).count) == 500
    before = _written(dsn)
    await write(database, begin - 60, begin + 60)
    history_bytes = _written(dsn) - before
    assert history_bytes < executions / 100


def _written(dsn: str) -> int:
    with psycopg.connect(dsn) as db:
        row = db.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])


async def test_two_servers_and_a_kill_neither_double_nor_lose_anything(
    world: World, dsn: str, request: pytest.FixtureRequest
) -> None:
    """Over an end of ten seconds (several in the long form), while executions finish; one server is gone first."""
    both, alone = (30, 30) if request.config.getoption("--long") else (3, 2)
    began = time.time()
    done = 0
    async with engine_on(dsn, duties=True) as stays:
        crew = await Crew(stays).join(("work", "line"))
        async with engine_on(dsn, duties=True):
            done += await _work(stays, crew, until=began + both)
        done += await _work(stays, crew, until=began + both + alone)
        worked_until = time.time()
        async with asyncio.timeout(20):
            while not await in_django(RollupStretch.objects.filter(until__gte=worked_until).exists):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert done
    counted = await in_django(figures)
    assert sum(n for (_, figure), n in counted.items() if figure == Figure.COMPLETED) == done
    assert sum(n for (_, figure), n in counted.items() if figure >= Figure.RUNS) == done
    assert await in_django(RollupStretch.objects.count) == 1


async def _work(engine: Engine, crew: Crew, *, until: float) -> int:
    done = 0
    while time.time() < until:
        await enqueue(engine, 5)
        await crew.end(ids(await crew.take(5)))
        done += 5
        await asyncio.sleep(0.02)
    return done
