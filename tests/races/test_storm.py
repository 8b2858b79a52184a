"""Two servers in a storm of everything at once, killed now and then: no claim over a limit, no deadlock, nothing
lost or doubled, and all of it comes to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.utils import timezone
from msgspec import Raw

from queues import limits
from queues.engine import Engine, events
from queues.models import Change, Queue
from tests.engine.crew import Crew, engine_on, in_django, query
from tests.races.storm import BY, LIMITS, WORKFLOWS
from tests.races.witness import account, witnessed
from tests.servers import url_of
from workflows import schedules
from workflows.models import Schedule, Trigger, Workflow
from workflows.schedules import Act, Spec

START = """
import sys, django
django.setup()
from tests.races.storm import main
main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
"""
ACT = Act("ana", Change.Through.REST)
TWICE_A_KEY = """
select count(*) from (
    select from queues_deduplication k
    join queues_execution e on e.id = k.execution_id
    where k.key not like 'debounced%' and k.after is null and e.finished_at is null
    group by k.queue_id, k.workflow, k.key
    having count(*) > 1
) as twice
"""
GAPS = """
select s.name, count(*)::int
from (
    select schedule_id, at, lag(at) over (partition by schedule_id order by at) as before from workflows_tick
) as t
join workflows_schedule s on s.id = t.schedule_id
where t.at - t.before <> interval '1 second'
group by s.name
"""
WITHOUT_EXECUTION = """
select count(*) from workflows_tick t
where t.outcome = 'started' and not exists (select from queues_execution e where e.id = t.execution_id)
"""
STARTED_BY_EVENTS = """
select e.workflow, coalesce(v.value ->> 'id', e.payload ->> 'id') from queues_execution e
left join lateral json_array_elements(e.payload -> 'events') as v (value) on true
where e.workflow in ('event', 'batch')
"""
# What a restart of PostgreSQL is to those who use it.
OUTAGE = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'observer'
"""
STILL_OPEN = "select workflow, status, count(*)::int from queues_execution where finished_at is null group by 1, 2"


async def test_in_a_storm_nothing_is_lost_doubled_or_stuck(dsn: str, long: bool, tmp_path: Path) -> None:
    seconds = 150.0 if long else 5.0
    await in_django(_set_the_stage)
    before = deadlocks(dsn)
    with witnessed(dsn):
        with observed(dsn) as seen:
            errors = run_servers(dsn, seconds, tmp_path, kills=6 if long else 1)
        await settle(dsn)
        checked, over = account(dsn)
    accepted = read_books(tmp_path)
    assert len(accepted) > 50 and seen["looks"] > 20, "the storm was too weak to count"
    assert deadlocks(dsn) == before, errors
    assert seen["twice"] == 0, "two executions with one key"
    assert checked > 50 and over == []
    check_what_is_left(dsn, accepted)


def _set_the_stage() -> None:
    now = timezone.now()
    for name, limit in LIMITS.items():
        Queue.objects.create(name=name, declared_limit=limit)
    two = Queue.objects.get(name="two")
    for name in WORKFLOWS:
        Workflow.objects.create(id=name, queue=two, max_attempts=2, registered_at=now, execution_timeout=3.0)
    for overlap in ("allow", "skip", "cancel"):
        spec = Spec(name=overlap, workflow="tick", every=1, overlap=overlap, catch_up="all", queue="five")
        schedules.create(spec, ACT)
    Trigger.objects.create(workflow="event", topic="news", declared_at=now)
    Trigger.objects.create(workflow="batch", topic="news", batch_size=3, batch_timeout=0.5, declared_at=now)


def deadlocks(dsn: str) -> int:
    query(dsn, "select pg_stat_clear_snapshot()")
    sql = "select deadlocks from pg_stat_database where datname = current_database()"
    return int(query(dsn, sql)[0][0])


@contextmanager
def observed(dsn: str) -> Iterator[Counter[str]]:
    """Looks from outside for keys with two executions."""
    seen: Counter[str] = Counter()
    done = threading.Event()

    def look() -> None:
        with psycopg.connect(dsn, autocommit=True, application_name="observer") as db:
            while not done.wait(0.02):
                seen["twice"] += (db.execute(TWICE_A_KEY).fetchone() or (0,))[0]
                seen["looks"] += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def run_servers(dsn: str, seconds: float, folder: Path, *, kills: int) -> str:
    """Two at a time. Now and then all connections end, and one server is killed and replaced. What they said."""
    until = time.monotonic() + seconds
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "polos_web.settings", "DATABASE_URL": url_of(dsn)}
    number = 0

    def start() -> subprocess.Popen[bytes]:
        nonlocal number
        number += 1
        left = str(max(1.0, until - time.monotonic()))
        arguments = [sys.executable, "-c", START, dsn, str(number), left, str(folder / f"book{number}")]
        with (folder / "said").open("ab") as said:
            return subprocess.Popen(arguments, stdout=said, stderr=said, env=env)

    servers = [start(), start()]
    for _ in range(kills):
        time.sleep(seconds / (kills + 1))
        query(dsn, OUTAGE)
        victim = servers.pop(0)
        victim.kill()
        victim.wait()
        servers.append(start())
    codes = [server.wait(seconds + 60) for server in servers]
    said = (folder / "said").read_text()
    assert codes == [0, 0], said
    return said


async def settle(dsn: str) -> None:
    """One server and one worker that completes everything are enough for the rest."""
    await in_django(_open_all)
    async with engine_on(dsn, duties=True, look=0.2, lease=2.0, sweep=0.3, max_losses=1_000) as engine:
        crew = await Crew(engine).join(*((w, q) for q in LIMITS for w in WORKFLOWS), **LIMITS)
        until = time.monotonic() + 60
        while query(dsn, STILL_OPEN) or query(dsn, "select 1 from workflows_arrival"):
            assert time.monotonic() < until, query(dsn, STILL_OPEN)
            await _round(engine, crew)


async def _round(engine: Engine, crew: Crew) -> None:
    await events.publish(engine, topic="news", payload=Raw(b"1"), id=None, actor="ana")
    reply = await crew.exchange(capacity=50, wait=0.1)
    await crew.end([claimed.id for claimed in reply.executions])


def _open_all() -> None:
    for schedule in Schedule.objects.all():
        schedules.pause(schedule.id, ACT)
    for name in LIMITS:
        limits.change_limit(queue=name, limit=10, reason="", **BY)
        limits.resume(queue=name, **BY)
        limits.accept(queue=name, **BY)


def read_books(folder: Path) -> list[str]:
    """What was accepted, and is to be kept."""
    return [line for path in folder.glob("book*") for line in path.read_text().split()]


def check_what_is_left(dsn: str, accepted: list[str]) -> None:
    kept = {str(id) for (id,) in query(dsn, "select id from queues_execution")}
    assert not set(accepted) - kept, "what was accepted is gone"
    assert query(dsn, "select count(*) from queues_holding where outcome = 'completed'") == [(0,)]
    assert query(dsn, GAPS) == [], "a schedule lost or doubled a tick"
    assert query(dsn, WITHOUT_EXECUTION) == [(0,)]
    published = [str(id) for (id,) in query(dsn, "select id from queues_event")]
    started = Counter(query(dsn, STARTED_BY_EVENTS))
    assert started == Counter((workflow, id) for id in published for workflow in ("event", "batch"))
