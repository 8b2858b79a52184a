"""What is measured, by kind of scenario. Figures: rates per second, latencies in ms, the rest as named."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil
import psycopg

from tests import servers

from . import watchers
from .accounting import Figures, cpu, cpu_of, megabytes, profiled
from .checks import Incorrect, check
from .cluster import settle
from .contestants import STEPS_KEPT, Task
from .scenarios import CHURN_RATE, HOT_LIMIT, HOT_SECONDS, Scenario
from .stage import Stage, until
from .tape import Reader, Run

REST_SECONDS = 10.0
HOT_START = 2 * HOT_LIMIT  # jobs of the hot queue that ran before the small ones are measured


def drain(stage: Stage) -> Figures:
    """The clock runs from the first job's start until the store says that all is done."""
    return _drained(stage, stage.until_stored)


def _drained(stage: Stage, until_stored: Callable[[], int]) -> Figures:
    task, scenario = stage.task, stage.scenario
    stage.ask("batch")
    settle(stage.dsn)
    kept = _kept_steps(stage)
    with profiled(stage), cpu(stage) as used:
        reader = stage.start_workers()
        stage.until_run(reader, scenario.first or task.jobs)
        end = time.monotonic_ns() if scenario.first else until_stored()
    runs, claims = reader.runs(), stage.claims().runs()
    for worker in stage.workers:
        worker.kill()
    check(runs, jobs=task.jobs, limit=task.limit, queues=task.queues, all_of_them=not scenario.first)
    steps = step_figures(runs, steps=scenario.steps, kept=_kept_steps(stage) - kept)
    return _drain_figures(scenario, runs, end) | steps | _claim_figures(claims) | used


def _kept_steps(stage: Stage) -> int:
    if not stage.task.steps:
        return 0
    with psycopg.connect(stage.dsn) as db:
        ((count,),) = db.execute(STEPS_KEPT[stage.task.contestant].encode()).fetchall()
    return int(count)


def step_figures(runs: list[Run], *, steps: int, kept: int) -> Figures:
    """Milliseconds; a job is over after all of its steps. Incorrect unless each of them is kept, once."""
    if not steps:
        return {}
    if kept != steps * len(runs):
        raise Incorrect(f"{kept} steps are kept of {steps * len(runs)}")
    return {"step_ms": _quantile([(run.end - run.start) / 1e9 for run in runs], 0.5) / steps}


def _drain_figures(scenario: Scenario, runs: list[Run], end: int) -> Figures:
    began = min(run.start for run in runs)
    if scenario.first:
        end = sorted(run.end for run in runs)[scenario.first - 1]
    seconds = (end - began) / 1e9
    figures = {"rate": (scenario.first or len(runs)) / seconds, "seconds": seconds}
    if scenario.job_seconds and scenario.limit:
        working = (max(run.end for run in runs) - began) / 1e9
        figures["use"] = len(runs) * scenario.job_seconds / (scenario.limit * working)
    return figures


def _claim_figures(claims: list[Run]) -> Figures:
    """Claims that brought something, as the worker saw them: from asking to having the answer."""
    if not claims:
        return {}
    seconds = [(claim.end - claim.start) / 1e9 for claim in claims]
    return {"claim_p50": _quantile(seconds, 0.5), "claim_p99": _quantile(seconds, 0.99)}


def latency(stage: Stage) -> Figures:
    reader = stage.start_workers()
    time.sleep(1.0)  # let everybody connect and listen
    figures = _latency_figures(stage.ask("latency"))
    check(reader.runs(), jobs=stage.task.jobs, limit=None)
    return figures


def _latency_figures(seconds: list[float]) -> Figures:
    return {"p50": _quantile(seconds, 0.5), "p95": _quantile(seconds, 0.95), "max": _quantile(seconds, 1.0)}


def _quantile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    place = min(int(len(seconds) * share), len(seconds) - 1)
    return sorted(seconds)[place] * 1e3


def small(stage: Stage) -> Figures:
    """Latency on small queues, while the hot queue's own worker drains it, or waits at it in vain (alone)."""
    task = stage.task
    hot = replace(task, name="hot", queues=1, limit=HOT_LIMIT, job_seconds=HOT_SECONDS, jobs=stage.scenario.beside)
    client = stage.start("latency", task)
    if hot.jobs:
        stage.ask("batch", hot)
    settle(stage.dsn)
    hot_reader = stage.start_workers(hot, count=1)
    reader = stage.start_workers(task, count=1)
    until(lambda: hot_reader.count() >= min(HOT_START, hot.jobs), 30, "the hot queue is worked on")
    with profiled(stage):
        began, before = time.monotonic(), hot_reader.count()
        client.go()
        figures = _latency_figures(client.answer())
        hot_rate = (hot_reader.count() - before) / (time.monotonic() - began)
    _check_small(task, hot, reader, hot_reader)
    return figures | {"hot_rate": hot_rate}


def _check_small(task: Task, hot: Task, reader: Reader, hot_reader: Reader) -> None:
    check(reader.runs(), jobs=task.jobs, limit=task.limit, queues=task.queues)
    check(hot_reader.runs(), jobs=hot.jobs, limit=hot.limit, all_of_them=False)
    if hot.jobs and hot_reader.count() >= hot.jobs:
        raise Incorrect("the hot queue ran empty before the small ones were measured")


def churn(stage: Stage) -> Figures:
    """A drain in a database that has seen much, with a transaction that keeps vacuum from removing any of it."""
    task = stage.task
    with _pinned(stage):
        stage.task = replace(task, jobs=int(CHURN_RATE * stage.scenario.churn), seconds=stage.scenario.churn)
        done = _churned(stage)
        stage.task = task
        with psycopg.connect(stage.dsn, autocommit=True) as db:
            ((since,),) = db.execute("select clock_timestamp()").fetchall()
            return _drained(stage, lambda: _until_finished(db, since, task.jobs)) | done


def _until_finished(db: psycopg.Connection[Any], since: dt.datetime, jobs: int) -> int:
    """As `until_stored`, by what has finished: to look for what has not is to walk all that the churn left behind,
    half a second after ten minutes, and nobody but the harness would ask for that."""
    question = (
        "select count(*) >= %s from queues_queue q join queues_execution e on e.queue_id = q.id "
        "where e.finished_at > %s"
    )
    until(lambda: db.execute(question, (jobs, since)).fetchall() == [(True,)], 30, "all is finished")
    return time.monotonic_ns()


@contextmanager
def _pinned(stage: Stage) -> Iterator[None]:
    """An open snapshot: what dies after it stays in the tables and indexes."""
    with psycopg.connect(stage.dsn) as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        db.execute("select 1")
        yield
        db.execute("select 1")  # it is still open


def _churned(stage: Stage) -> Figures:
    reader = stage.start_workers()
    began = time.monotonic()
    count = stage.ask("churn")
    stage.until_run(reader, count)
    seconds = time.monotonic() - began
    stage.until_stored()
    stage.dismiss_workers()
    check(reader.runs(), jobs=count, limit=stage.task.limit)
    return {"churned": count, "churn_rate": count / seconds}


def enqueue(stage: Stage) -> Figures:
    """Afterwards a worker runs all of them: what was accepted is there, once."""
    with profiled(stage), cpu(stage) as used:
        seconds = stage.ask(stage.scenario.kind)
    reader = stage.start_workers()
    stage.until_run(reader, stage.task.jobs)
    check(reader.runs(), jobs=stage.task.jobs, limit=None)
    return {"rate": stage.task.jobs / seconds} | used


def rest(stage: Stage) -> Figures:
    stage.start_workers()
    time.sleep(3)
    server, worker = _first(stage)
    before = cpu_of([server]), cpu_of([worker])
    time.sleep(REST_SECONDS)
    after = cpu_of([server]), cpu_of([worker])
    return {
        "server_cpu_percent": (after[0] - before[0]) / REST_SECONDS * 100,
        "worker_cpu_percent": (after[1] - before[1]) / REST_SECONDS * 100,
        "server_mb": megabytes(server),
        "worker_mb": megabytes(worker),
    }


def in_flight(stage: Stage) -> Figures:
    stage.ask("batch")
    stage.start_workers()
    held = "select count(*) = %s from queues_execution where status = 'running'"
    stage.until_true(held, stage.task.jobs, seconds=15, what="all are in flight")
    time.sleep(1)
    server, worker = _first(stage)
    return {"server_mb": megabytes(server), "worker_mb": megabytes(worker)}


def watched(stage: Stage) -> Figures:
    """Milliseconds from a commit to the message: for one page, for all, and beside pages that never read."""
    count, (server,) = stage.scenario.watchers, stage.servers
    env = {"DATABASE_URL": servers.url_of(stage.dsn), "POLOS_DATA_DIR": str(server.data_dir)}
    cookies = watchers.people(count // watchers.PER_PERSON + 2, env)
    crowd = watchers.Crowd(
        url=server.url, key=stage.task.api_key, dsn=stage.dsn, server=server.process.pid, cookies=cookies,
        watchers=count, rounds=stage.scenario.jobs,
    )  # fmt: skip
    with profiled(stage):
        return watchers.run(crowd)


def _first(stage: Stage) -> tuple[psutil.Process, psutil.Process]:
    """A server and a worker."""
    return psutil.Process(stage.servers[0].process.pid), psutil.Process(stage.workers[0].process.pid)


MEASURES: dict[str, Callable[[Stage], Figures]] = {
    "drain": drain,
    "latency": latency,
    "small": small,
    "churn": churn,
    "one": enqueue,
    "eight": enqueue,
    "batch": enqueue,
    "rest": rest,
    "in flight": in_flight,
    "watched": watched,
}
