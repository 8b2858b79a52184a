"""Three server processes hammer queues with limits 1, 2 and 5 while workers die: no moment is over a limit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from django.db import connection

from queues.engine import NotPossible
from queues.engine.operate import cancel_execution
from queues.limits import change_limit
from queues.models import Change
from queues.requests import NewExecution
from tests.engine.crew import engine_on, in_django, query
from tests.races.hammer import LIMITS
from tests.races.witness import account, witnessed

START = """
import sys, django
django.setup()
from tests.races.hammer import main
main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
"""
OVER_NOW = """
select count(*) from (
    select q.id from queues_queue q join queues_execution e on e.queue_id = q.id
    where e.status in ('running', 'cancelling') group by q.id, q.effective_limit
    having count(*) > q.effective_limit
) as over_limit
"""
OVER_IN_HISTORY = """
with held as (
    select queue_id, claimed_at, released_at from queues_execution where claimed_at is not null
    union all
    select queue_id, claimed_at, released_at from queues_holding
),
moment as (
    select queue_id, claimed_at as at, 1 as step from held
    union all
    select queue_id, released_at, -1 from held where released_at is not null
),
level as (
    select queue_id, sum(step) over (partition by queue_id order by at, step rows unbounded preceding) as running
    from moment
)
select q.name, max(level.running), q.effective_limit
from level join queues_queue q on q.id = level.queue_id
group by q.name, q.effective_limit
"""

SOME = (
    "select id from queues_execution where status in ('queued', 'running') order by status desc, random() limit 1"
)


@contextmanager
def disturbed(dsn: str) -> Iterator[Counter[str]]:
    """Changes limits and cancels executions until the end; counts what came of it."""
    counts: Counter[str] = Counter()
    done = threading.Event()

    def disturb() -> None:
        chance = random.Random(1)  # noqa: S311
        while not done.wait(0.02):
            limit = chance.choice([0, 1, 2, 3, 5, None])
            name = chance.choice(list(LIMITS))
            change_limit(queue=name, limit=limit, reason="test", actor="ana", through=Change.Through.REST)
            counts["changes"] += 1
            if chance.random() < 0.7:  # cancelling all that runs would leave nothing to lose
                continue
            for (id,) in query(dsn, SOME):
                with suppress(NotPossible):
                    counts[cancel_execution(id, actor="ana", through=Change.Through.REST).status] += 1
        connection.close()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield counts
    finally:
        done.set()
        thread.join()


@contextmanager
def observed(dsn: str) -> Iterator[list[int]]:
    """Looks from outside, in one statement a sample; the list holds how many queues were over their limit."""
    samples: list[int] = []
    done = threading.Event()

    def look() -> None:
        with psycopg.connect(dsn, autocommit=True) as db:
            while not done.is_set():
                row = db.execute(OVER_NOW).fetchone()
                samples.append(row[0] if row else -1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def run_servers(dsn: str, seconds: float, mode: str = "plain") -> int:
    """Runs three and returns how many stale results they refused."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "polos_web.settings"}
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", START, dsn, str(n), str(seconds), mode],
            stdout=subprocess.PIPE, text=True, env=env,
        )
        for n in range(3)
    ]  # fmt: skip
    outputs = [server.communicate(timeout=seconds + 60)[0] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0]
    return sum(int(output.split()[-1]) for output in outputs)


async def fill(dsn: str, each: int) -> None:
    async with engine_on(dsn) as engine:
        for name, limit in LIMITS.items():
            await engine.enqueue(
                [
                    NewExecution(workflow_id="work", queue_name=name, queue_concurrency_limit=limit)
                    for _ in range(each)
                ]
            )


async def settle(dsn: str) -> None:
    """What the last workers held when the servers stopped comes back, after their leases."""
    query(dsn, "update queues_worker set lease_until = now() - interval '1 second'")
    async with engine_on(dsn) as engine:
        await engine.leases.expire()


def over_in_history(dsn: str) -> list[str]:
    return [
        f"{name}: {most} at once, over its limit of {limit}"
        for name, most, limit in query(dsn, OVER_IN_HISTORY)
        if most > limit
    ]


def check_what_is_left(dsn: str, enqueued: int) -> None:
    """None lost, none invented, none held for ever, none completed and then run again."""
    assert query(dsn, "select count(*) from queues_execution") == [(enqueued,)]
    assert query(dsn, "select count(*) from queues_execution where status in ('running', 'cancelling')") == [(0,)]
    assert query(dsn, "select count(*) from queues_holding where outcome = 'completed'") == [(0,)]


def seen(dsn: str) -> tuple[int, int]:
    """How many claims there were, and how many ended with their worker's lease."""
    ((claims, lost),) = query(
        dsn,
        "select sum(attempt)::int, (count(*) filter (where outcome = 'lost'))::int"
        " + (select count(*)::int from queues_holding where outcome = 'lost') from queues_execution",
    )
    return claims, lost


async def test_no_moment_is_over_a_limit(dsn: str, long: bool) -> None:
    seconds, each = (60.0, 4_000) if long else (8.0, 400)
    await fill(dsn, each)
    with observed(dsn) as samples, witnessed(dsn):
        stale = run_servers(dsn, seconds)
        checked, over = account(dsn)
    claims, lost = seen(dsn)
    assert len(samples) > 100 and claims > each / 2 and lost > 0 and stale > 0, "the run saw too little to count"
    assert not any(samples), "an observer saw a queue over its limit"
    assert checked == claims and over == []
    assert over_in_history(dsn) == []
    await settle(dsn)
    check_what_is_left(dsn, each * len(LIMITS))


async def test_claims_go_by_the_limit_of_their_moment(dsn: str, long: bool) -> None:
    """Limits change and executions are cancelled all the time; claims end in every way."""
    seconds, each = (60.0, 8_000) if long else (6.0, 800)
    await fill(dsn, each)
    with witnessed(dsn):
        with disturbed(dsn) as disturbances:
            stale = run_servers(dsn, seconds, "rough")
        checked, over = account(dsn)
    claims, lost = seen(dsn)
    assert claims > each / 4 and checked > each / 8 and lost > 0 and stale > 0, "the run saw too little to count"
    assert disturbances["changes"] > 20 and disturbances["cancelling"] > 5, "the run saw too little to count"
    assert over == []
    await settle(dsn)
    check_what_is_left(dsn, each * len(LIMITS))


async def test_the_witnesses_find_claims_that_lock_nothing(without_backstops: str) -> None:
    """Else their silence about the real claims would say nothing."""
    dsn = without_backstops
    await fill(dsn, 400)
    for name, limit in LIMITS.items():
        await in_django(change_limit, queue=name, limit=limit, reason="", actor="ana", through=Change.Through.REST)
    with observed(dsn) as samples, witnessed(dsn):
        run_servers(dsn, 3.0, "unlocked")
        _, over = account(dsn)
    assert any(samples)
    assert over_in_history(dsn) != []
    assert over != []
