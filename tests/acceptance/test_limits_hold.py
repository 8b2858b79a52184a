"""Promises about limits, with real processes: two servers on one database, four workers, and workers that die.

Three witnesses: the bodies themselves write down when they run, an observer outside samples the database, and
the recorded history of claims is read afterwards. `--long` takes 5,000 executions instead of 600.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psycopg
import pytest

from polos import Invocation, PolosClient
from tests import servers
from tests.acceptance.fleet import Body, Fleet, bodies, create_key, fleet, history, most_at_once
from tests.servers import Server, StartServer

LIMITS = {"limit-1": 1, "limit-2": 2, "limit-5": 5}
HOME = {"one": "limit-1", "two": "limit-2", "five": "limit-5", "five_too": "limit-5"}
# In the proportion of the limits, so that all queues are busy to the end.
MIX = ["one", "two", "two", "five", "five_too", "five", "five_too", "five"]
QUICK_TO_NOTICE = {"POLOS_LEASE_SECONDS": "3", "POLOS_HEARTBEAT_SECONDS": "1", "POLOS_SWEEP_SECONDS": "1"}


@dataclass
class Observer:
    """Looks from outside, many times a second, at how many hold a slot."""

    dsn: str
    samples: int = 0
    peak: Counter[str] = field(default_factory=Counter)
    over: list[tuple[str, int]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _watch(self, stop: threading.Event) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as db:
            while not stop.wait(0.02):
                for name, limit, held in db.execute(HELD).fetchall():
                    self.peak[name] = max(self.peak[name], held)
                    if limit is not None and held > limit:
                        self.over.append((name, held))
                self.samples += 1


HELD = """
    select q.name, q.effective_limit, count(*)
    from queues_execution e join queues_queue q on q.id = e.queue_id
    where e.status in ('running', 'cancelling') group by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    dsn: str
    servers: list[Server]
    key: str
    crew: Fleet
    observer: Observer

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.servers]


@pytest.fixture
def cluster(dsn: str, server: StartServer, tmp_path: Path) -> Iterator[Cluster]:
    first = server(dsn=dsn, env=QUICK_TO_NOTICE)
    key = create_key()
    both = [first, server(dsn=dsn, env=QUICK_TO_NOTICE)]
    observer = Observer(dsn)
    with fleet(tmp_path, key) as crew, observer.watching():
        yield Cluster(dsn, both, key, crew, observer)


async def test_no_limit_is_broken_and_nothing_is_lost_while_workers_die(
    cluster: Cluster, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    long = bool(pytestconfig.getoption("--long"))
    total, body_seconds = (5_000, 0.05) if long else (600, 0.1)
    began = time.monotonic()
    for name, url in zip(("w1", "w2", "w3", "w4"), cycle(cluster.urls), strict=False):
        cluster.crew.start(name, url, HOME)
    accepted = await enqueue(cluster, total, body_seconds)
    async with deaths(cluster, every=3.0 if long else 2.5) as killed:
        await until_final(cluster.dsn, total, seconds=240 if long else 90)
    took = time.monotonic() - began
    cluster.crew.stop()

    ran = bodies(cluster.crew.lines(), cluster.crew.dead_at)
    with psycopg.connect(cluster.dsn) as db:
        claims = history(db)
        ended: dict[str, str] = dict(db.execute("select id::text, status from queues_execution").fetchall())
    report(capsys, ran, claims, cluster, killed, took)

    assert ended == dict.fromkeys(accepted, "completed")
    assert_never_over(ran, claims, cluster.observer)
    assert_each_once(accepted, ran, claims)
    assert len(killed) >= 3
    assert any(body.attempt > 1 for body in ran), "no worker died with work in its hands: this proves nothing"


async def test_two_workflows_of_one_queue_on_different_workers_share_its_limit(cluster: Cluster) -> None:
    serves = {"a": "five", "b": "five_too"}
    started = {
        name: cluster.crew.start(name, url, [serves[name]]) for name, url in zip(serves, cluster.urls, strict=True)
    }
    work = [
        Invocation(workflow=name, payload={"seconds": 0.05}, **home(name))
        for name in islice(cycle(("five", "five_too")), 100)
    ]
    async with PolosClient(cluster.urls[0], cluster.key) as client:
        for worker in started.values():
            worker.wait_until_ready()
        handles = await client.batch_invoke(work)
        await asyncio.gather(*(handle.result(60) for handle in handles))
    ran = bodies(cluster.crew.lines(), {})
    of = {worker.process.pid: serves[name] for name, worker in started.items()}
    assert all(of[body.pid] == body.workflow for body in ran)
    assert Counter(body.workflow for body in ran) == {"five": 50, "five_too": 50}
    assert most_at_once((body.begin, body.end) for body in ran) == 5
    assert cluster.observer.over == []


async def test_a_server_that_dies_takes_no_limit_and_no_work_with_it(cluster: Cluster) -> None:
    cluster.crew.start("w1", cluster.urls[1], HOME)
    accepted = await enqueue(cluster, 100, 0.1)
    await until_final(cluster.dsn, 10, seconds=20)
    cluster.servers[1].process.kill()
    # What runs on its worker is stopped there before the lease is over, and only then begins on the other one.
    cluster.crew.start("w2", cluster.urls[0], HOME)
    await until_final(cluster.dsn, 100, seconds=40)
    cluster.crew.kill("w1")  # it would try to say goodbye
    ran = bodies(cluster.crew.lines(), cluster.crew.dead_at)
    for queue, limit in LIMITS.items():
        assert most_at_once((body.begin, body.end) for body in ran if body.queue == queue) == limit
    with psycopg.connect(cluster.dsn) as db:
        claims = history(db)
    assert_each_once(accepted, ran, claims)
    assert sum(outcome == "lost" for *_, outcome in claims) > 0
    assert cluster.observer.over == []


async def test_a_worker_that_was_frozen_has_no_say_afterwards(cluster: Cluster) -> None:
    frozen = cluster.crew.start("w1", cluster.urls[0], ["one"]).wait_until_ready()
    async with PolosClient(cluster.urls[1], cluster.key) as client:
        handle = await client.invoke("one", {"seconds": 1}, **home("one"))
        assert await seen(lambda: len(cluster.crew.lines()) == 1)
        frozen.process.send_signal(signal.SIGSTOP)
        cluster.crew.start("w2", cluster.urls[1], ["one"])
        await handle.result(30)
        frozen.process.send_signal(signal.SIGCONT)
        assert await seen(lambda: "Registering again" in frozen.said)
        execution = await handle.get()
    assert (execution.status, execution.attempt) == ("completed", 2)
    assert await seen(lambda: frozen.said.count(" serves ") == 2)
    with psycopg.connect(cluster.dsn) as db:
        assert [outcome for *_, outcome in sorted(history(db))] == ["lost", "completed"]


async def seen(condition: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(servers.eventually, condition, seconds=20)


def home(workflow: str) -> dict[str, Any]:
    """Its queue, for whoever enqueues before a worker has declared it."""
    return {"queue_name": HOME[workflow], "queue_concurrency_limit": LIMITS[HOME[workflow]]}


async def enqueue(cluster: Cluster, total: int, seconds: float) -> list[str]:
    """Through both servers in turn. What is accepted is what this returns."""
    work = [
        Invocation(workflow=name, payload={"seconds": seconds}, **home(name)) for name in islice(cycle(MIX), total)
    ]
    accepted: list[str] = []
    async with PolosClient(cluster.urls[0], cluster.key) as one, PolosClient(cluster.urls[1], cluster.key) as two:
        for client, first in zip(cycle((one, two)), range(0, total, 100), strict=False):
            accepted += [handle.id for handle in await client.batch_invoke(work[first : first + 100])]
    assert len(set(accepted)) == total
    return accepted


@asynccontextmanager
async def deaths(cluster: Cluster, *, every: float) -> AsyncIterator[list[int]]:
    """Kills a worker that holds something, again and again, and starts another one in its place."""
    killed: list[int] = []
    task = asyncio.create_task(_kill_again_and_again(cluster, every, killed))
    try:
        yield killed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _kill_again_and_again(cluster: Cluster, every: float, killed: list[int]) -> None:
    for turn in cycle(range(4)):
        await asyncio.sleep(every)
        pid = await asyncio.to_thread(_busiest, cluster, turn)
        if pid is not None:
            name = cluster.crew.name_of(pid)
            cluster.crew.kill(name)
            killed.append(pid)
            cluster.crew.start(name, cluster.urls[turn % 2], HOME)


def _busiest(cluster: Cluster, turn: int) -> int | None:
    """The process that holds most; every fourth time the one that holds the single slot of limit-1."""
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        held = db.execute(
            """
            select w.pid, q.name from queues_execution e
            join queues_worker w on w.id = e.worker_id
            join queues_queue q on q.id = e.queue_id
            where e.status = 'running'
            """
        ).fetchall()
    living = [(pid, queue) for pid, queue in held if pid in cluster.crew.pids]
    wanted = [pid for pid, queue in living if queue == "limit-1" or turn] or [pid for pid, _ in living]
    return Counter(wanted).most_common(1)[0][0] if wanted else None


async def until_final(dsn: str, total: int, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        done = 0
        while done < total:
            assert time.monotonic() < deadline, f"{done} of {total} after {seconds} s"
            await asyncio.sleep(0.1)
            cursor = await db.execute("select count(*) from queues_execution where finished_at is not null")
            (done,) = await cursor.fetchone() or (0,)


def assert_never_over(ran: list[Body], claims: list[Any], observer: Observer) -> None:
    assert observer.over == []
    assert observer.samples > 50
    for queue, limit in LIMITS.items():
        seen = most_at_once((body.begin, body.end) for body in ran if body.queue == queue)
        held = most_at_once((begin, end) for name, _, _, begin, end, _ in claims if name == queue)
        # Equal, not only below: limits that are never reached would prove nothing.
        assert (seen, held, observer.peak[queue]) == (limit, limit, limit), queue


def assert_each_once(accepted: list[str], ran: list[Body], claims: list[Any]) -> None:
    completed = Counter(id for _, id, _, _, _, outcome in claims if outcome == "completed")
    assert completed == dict.fromkeys(accepted, 1)
    assert {outcome for *_, outcome in claims} <= {"completed", "lost", "released"}
    begun = Counter((body.id, body.attempt) for body in ran)
    assert set(begun.values()) == {1}, "one claim was run twice"
    last = {(id, attempt) for _, id, attempt, _, _, outcome in claims if outcome == "completed"}
    finished = {(body.id, body.attempt) for body in ran if body.finished}
    assert last <= finished, "completed without having been run to its end"
    # A body may have ended just before its worker died, unreported; its claim is then recorded as lost.
    given_up = {(id, attempt) for _, id, attempt, _, _, outcome in claims if outcome != "completed"}
    assert finished - last <= given_up


def report(
    capsys: pytest.CaptureFixture[str],
    ran: list[Body],
    claims: list[Any],
    cluster: Cluster,
    killed: list[int],
    took: float,
) -> None:
    lost = sum(outcome == "lost" for *_, outcome in claims)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n  {len({body.id for body in ran}):,} executions in {took:.1f} s, {len(killed)} workers killed, "
            f"{lost} claims lost and taken again, {len(ran):,} bodies begun, "
            f"{cluster.observer.samples:,} samples, most at once {dict(cluster.observer.peak)}"
        )
