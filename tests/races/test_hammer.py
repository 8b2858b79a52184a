"""Three server processes hammer queues with limits 1, 2 and 5 while workers die: no moment is over a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from queues.requests import NewExecution
from tests.engine.crew import engine_on, query
from tests.races.hammer import LIMITS

START = """
import sys, django
django.setup()
from tests.races.hammer import main
main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
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


def run_servers(dsn: str, seconds: float) -> int:
    """Runs three and returns how many stale results they refused."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "polos_web.settings"}
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", START, dsn, str(n), str(seconds)], stdout=subprocess.PIPE, text=True, env=env
        )
        for n in range(3)
    ]
    outputs = [server.communicate(timeout=seconds + 60)[0] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0]
    return sum(int(output.split()[-1]) for output in outputs)


async def test_no_moment_is_over_a_limit(dsn: str, long: bool) -> None:
    seconds, each = (60.0, 4_000) if long else (8.0, 400)
    async with engine_on(dsn) as engine:
        for name, limit in LIMITS.items():
            await engine.enqueue(
                [
                    NewExecution(workflow_id="work", queue_name=name, queue_concurrency_limit=limit)
                    for _ in range(each)
                ]
            )
    with observed(dsn) as samples:
        stale = run_servers(dsn, seconds)
    claims, lost = query(
        dsn,
        "select sum(attempt)::int, (select count(*)::int from queues_holding where outcome = 'lost')"
        " from queues_execution",
    )[0]
    assert len(samples) > 100 and claims > each / 2 and lost > 0 and stale > 0, "the run saw too little to count"
    assert not any(samples), "an observer saw a queue over its limit"
    for name, most, limit in query(dsn, OVER_IN_HISTORY):
        assert most <= limit, f"the history of {name} shows {most} at once, over its limit of {limit}"
    doubled = query(
        dsn, "select count(*) from queues_execution where status = 'completed' and finished_at is null"
    )
    assert doubled == [(0,)]
