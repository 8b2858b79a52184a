"""One queue does not feel another, a wake-up is quick, and what a client repeats is done once."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from polos import PolosClient
from queues.ids import uuid7
from tests import servers
from tests.acceptance.fleet import WORKERS, Fleet, create_key, fleet, launch
from tests.servers import StartServer

ALL = ["two", "five", "quick"]
DEEP = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    dsn: str
    url: str
    key: str
    crew: Fleet


@pytest.fixture
def place(dsn: str, server: StartServer, tmp_path: Path) -> Iterator[Place]:
    """One server and one worker that has nothing to do."""
    one = server(dsn=dsn)
    key = create_key()
    with fleet(tmp_path, key) as crew:
        crew.start("w1", one.url, ALL).wait_until_ready()
        yield Place(dsn, one.url, key, crew)


@pytest.mark.alone
async def test_a_hundred_thousand_in_one_queue_do_not_slow_down_another(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = await start_times(place, times=30)
    fill(place.dsn, "limit-2", "two", DEEP)
    async with PolosClient(place.url, place.key) as client:
        await client.invoke("two", {"seconds": 0.05}, queue_name="limit-2")  # wakes its line
    assert servers.eventually(lambda: begun(place)["two"] > 0, seconds=20), "the deep queue is not served"
    beside = await start_times(place, times=30)
    before, after = statistics.median(alone), statistics.median(beside)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n  enqueue to start: {before * 1000:.1f} ms in an empty database, "
            f"{after * 1000:.1f} ms beside {DEEP:,} waiting"
        )
    assert waiting(place.dsn, "limit-2") > DEEP * 0.9
    assert after <= 3 * before + 0.020


@pytest.mark.alone
async def test_an_idle_worker_starts_what_comes_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    times = await start_times(place, times=100)
    median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    with capsys.disabled():
        print(f"\n  enqueue to start, idle: median {median * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms")  # noqa: T201
    assert p95 < 0.250


def test_a_client_that_dies_and_repeats_itself_does_everything_once(place: Place, tmp_path: Path) -> None:
    ids = [str(uuid7()) for _ in range(300)]
    given = tmp_path / "ids"
    given.write_text("\n".join(ids))
    env = {"POLOS_API_URL": place.url, "POLOS_API_KEY": place.key}
    poster = [sys.executable, str(WORKERS / "poster.py"), str(given)]

    killed = launch(poster, tmp_path / "killed.log", env)
    assert servers.eventually(lambda: killed.said.count("\n") >= 20, seconds=20), killed.said
    killed.process.kill()
    killed.process.wait()
    assert killed.said.count("\n") < len(ids), "it was killed too late: this proves nothing"

    again = launch(poster, tmp_path / "again.log", env)
    assert again.process.wait(60) == 0, again.said
    answers = Counter(line.split()[1] for line in again.said.splitlines())
    assert answers["False"] >= 20, "those that the first one had started were there already"
    assert answers.total() == len(ids)
    assert servers.eventually(lambda: begun(place)["five"] >= len(ids) and all_final(place.dsn), seconds=30)
    assert Counter(line["id"] for line in place.crew.lines() if line["what"] == "begin") == dict.fromkeys(ids, 1)
    with psycopg.connect(place.dsn) as db:
        assert db.execute("select count(*) from queues_execution").fetchone() == (len(ids),)


async def start_times(place: Place, *, times: int) -> list[float]:
    """Seconds from sending a request to the first line of the body, one after the other."""
    sent: dict[str, float] = {}
    async with PolosClient(place.url, place.key) as client:
        await client.run("quick", {}, queue_name="quick", timeout=20)  # connections are open from here on
        for _ in range(times):
            now = time.monotonic()
            handle = await client.invoke("quick", {}, queue_name="quick")
            sent[handle.id] = now
            await handle.result(20)
            await asyncio.sleep(0.02)
    began = {line["id"]: line["at"] for line in place.crew.lines() if line["what"] == "begin"}
    return [began[id] - at for id, at in sent.items()]


def fill(dsn: str, queue: str, workflow: str, count: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            """
            insert into queues_execution (
                id, queue_id, workflow, status, place, priority, enqueued_at, payload, attempt, max_attempts,
                losses, outcome, cancel_by
            )
            select gen_random_uuid(), q.id, %s, 'queued', now() + n * interval '1 microsecond', 0, now(),
                '{"seconds": 0.05}', 0, 1, 0, '', ''
            from queues_queue q, generate_series(1, %s) n where q.name = %s
            """,
            (workflow, count, queue),
        )


def begun(place: Place) -> Counter[str]:
    return Counter(line["workflow"] for line in place.crew.lines() if line["what"] == "begin")


def waiting(dsn: str, queue: str) -> int:
    with psycopg.connect(dsn) as db:
        found = db.execute(
            """
            select count(*) from queues_execution e join queues_queue q on q.id = e.queue_id
            where q.name = %s and e.status = 'queued'
            """,
            (queue,),
        ).fetchone()
    return int(found[0]) if found else 0


def all_final(dsn: str) -> bool:
    with psycopg.connect(dsn) as db:
        return db.execute("select count(*) from queues_execution where finished_at is null").fetchone() == (0,)
