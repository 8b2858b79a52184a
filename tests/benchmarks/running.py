"""One run: a fresh database, the contestant's processes, the measurement, the checks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests import servers
from tests.servers import Server

from .checks import Incorrect, check
from .cluster import Cluster, vacuum
from .contestants import OURS, Task, load
from .profiling import Profiler
from .scenarios import Scenario
from .tape import Reader, Run

TIMEOUT = 120.0
REST_SECONDS = 10.0
Figures = dict[str, float]


class Process:
    """A contestant's process, that has imported everything and waits for `go`."""

    def __init__(self, role: str, task: Task, folder: Path) -> None:
        self.task = task
        with tempfile.NamedTemporaryFile(dir=folder, suffix=f".{role}.log", delete=False) as log:
            self._log = Path(log.name)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.process", role, task.to_json()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=servers.ROOT,
                env=servers.environment(),
            )  # fmt: skip

    def go(self) -> None:
        assert self.process.stdin
        self._line()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        return json.loads(self._line())

    def ended(self) -> bool:
        return self.process.poll() is not None

    def trouble(self) -> str:
        return self._log.read_text()[-2_000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise Incorrect(f"a process of {self.task.contestant} ended:\n{self.trouble()}")
        return line


@dataclass(slots=True)
class Stage:
    """What a run has at its disposal."""

    cluster: Cluster
    folder: Path
    dsn: str
    task: Task
    scenario: Scenario
    stack: ExitStack
    servers: list[Server] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    profiler: Profiler | None = None

    def start(self, role: str, task: Task) -> Process:
        process = Process(role, task, self.folder)
        self.stack.callback(process.kill)
        return process

    def ask(self, role: str) -> Any:
        process = self.start(role, self.task)
        process.go()
        return process.answer()

    def start_workers(self) -> Reader:
        """Waits until all have imported what they need; then they connect, at the same time."""
        for index in range(self.scenario.workers):
            url = self.servers[index % len(self.servers)].url if self.servers else ""
            tape = self.folder / f"tape-{index}"
            self.workers.append(self.start("work", replace(self.task, tape=tape, api_url=url)))
        for worker in self.workers:
            worker.go()
        _until(lambda: all(_is_written(each.task.tape) for each in self.workers), 30, "the workers begin")
        return Reader(each.task.tape for each in self.workers)


class Bench:
    """Runs scenarios on one cluster. Each contestant's empty schema is made once and copied for every run."""

    def __init__(self, cluster: Cluster, *, asgi: str, scale: float = 1.0, profile: Path | None = None) -> None:
        self.cluster, self.asgi, self.scale, self.profile = cluster, asgi, scale, profile
        self._templates: dict[str, str] = {}
        self._api_key = ""

    def run(self, scenario: Scenario, contestant: str) -> Figures:
        """Raises Incorrect when a promise was broken or nothing came to an end."""
        with self.cluster.fresh(self._template(contestant)) as dsn, ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="polos-run-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            task = Task(
                contestant=contestant, database_url=servers.url_of(dsn), limit=scenario.limit,
                job_seconds=scenario.job_seconds, jobs=scenario.jobs_of(contestant, self.scale),
                queues=scenario.queues, tape=folder / "tape-0", api_key=self._api_key,
                max_concurrent=scenario.max_concurrent,
            )  # fmt: skip
            stage = Stage(self.cluster, folder, dsn, task, scenario, stack)
            if contestant == OURS:
                self._start_servers(stage)
            return _MEASURES[scenario.kind](stage)

    def _start_servers(self, stage: Stage) -> None:
        env = {"DATABASE_URL": stage.task.database_url}
        for index in range(stage.scenario.servers):
            server = servers.launch(stage.folder / f"server-{index}", "--asgi", self.asgi, env=env)
            stage.stack.callback(_kill, server)
            stage.servers.append(server)
        for server in stage.servers:
            server.wait_until_ready()
        stage.task = replace(stage.task, api_url=stage.servers[0].url)
        if self.profile:
            stage.profiler = Profiler(self.profile, stage.scenario.name, stage.servers[0].process.pid, stage.dsn)

    def _template(self, contestant: str) -> str:
        if contestant not in self._templates:
            name = f"template_{contestant}"
            self.cluster.drop(name)
            dsn = self.cluster.create(name)
            task = Task(contestant=contestant, database_url=servers.url_of(dsn))
            self._set_up(task)
            self._templates[contestant] = name
        return self._templates[contestant]

    def _set_up(self, task: Task) -> None:
        with tempfile.TemporaryDirectory(prefix="polos-setup-") as folder:
            if task.contestant == OURS:
                self._api_key = _migrate(task.database_url, folder)
                return
            process = Process("set_up", task, Path(folder))
            try:
                process.go()
                process.answer()
            finally:
                process.kill()


def _migrate(url: str, folder: str) -> str:
    """The server's own commands; returns a key."""
    env = {"DATABASE_URL": url, "POLOS_DATA_DIR": folder}
    migrated = servers.run(["migrate"], env=env)
    made = servers.run(["createkey", "benchmarks"], env=env)
    found = [word for word in made.stdout.split() if word.startswith("polos_")]
    if not found:
        raise RuntimeError(f"no key was made: {migrated.stdout}{migrated.stderr}{made.stdout}{made.stderr}")
    return found[0]


def _kill(server: Server) -> None:
    server.process.kill()
    server.wait_for_end()


# -- measurements ----------------------------------------------------------------------------------


def _drain(stage: Stage) -> Figures:
    """The clock runs from the first job's start until the store says that all is done."""
    task, scenario = stage.task, stage.scenario
    stage.ask("batch")
    vacuum(stage.dsn)
    with _profiled(stage), _cpu(stage) as used:
        reader = stage.start_workers()
        wanted = scenario.first or task.jobs
        _until_run(stage, reader, wanted)
        end = time.monotonic_ns() if scenario.first else _until_stored(stage)
    runs = reader.runs()
    for worker in stage.workers:
        worker.kill()
    check(runs, jobs=task.jobs, limit=task.limit, queues=task.queues, all_of_them=not scenario.first)
    return _drain_figures(scenario, runs, end) | used


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


def _latency(stage: Stage) -> Figures:
    reader = stage.start_workers()
    time.sleep(1.0)  # let everybody connect and listen
    seconds = sorted(stage.ask("latency"))
    check(reader.runs(), jobs=stage.task.jobs, limit=None)
    return {
        "p50": seconds[len(seconds) // 2] * 1e3,
        "p95": seconds[int(len(seconds) * 0.95)] * 1e3,
        "max": seconds[-1] * 1e3,
    }


def _enqueue(stage: Stage) -> Figures:
    """Afterwards a worker runs all of them: what was accepted is there, once."""
    with _profiled(stage), _cpu(stage) as used:
        seconds = stage.ask(stage.scenario.kind)
    reader = stage.start_workers()
    _until_run(stage, reader, stage.task.jobs)
    check(reader.runs(), jobs=stage.task.jobs, limit=None)
    return {"rate": stage.task.jobs / seconds} | used


def _rest(stage: Stage) -> Figures:
    stage.start_workers()
    time.sleep(3)
    server, worker = psutil.Process(stage.servers[0].process.pid), psutil.Process(stage.workers[0].process.pid)
    before = _cpu_of([server]), _cpu_of([worker])
    time.sleep(REST_SECONDS)
    after = _cpu_of([server]), _cpu_of([worker])
    return {
        "server_cpu_percent": (after[0] - before[0]) / REST_SECONDS * 100,
        "worker_cpu_percent": (after[1] - before[1]) / REST_SECONDS * 100,
        "server_mb": _megabytes(server),
        "worker_mb": _megabytes(worker),
    }


def _in_flight(stage: Stage) -> Figures:
    stage.ask("batch")
    stage.start_workers()
    held = "select count(*) = %s from queues_execution where status = 'running'"
    with psycopg.connect(stage.dsn, autocommit=True) as db:
        _until(lambda: _truth(db, held, stage.task.jobs), 15, "all are in flight", pause=0.1)
    time.sleep(1)
    server, worker = psutil.Process(stage.servers[0].process.pid), psutil.Process(stage.workers[0].process.pid)
    return {"server_mb": _megabytes(server), "worker_mb": _megabytes(worker)}


_MEASURES: dict[str, Callable[[Stage], Figures]] = {
    "drain": _drain,
    "latency": _latency,
    "one": _enqueue,
    "eight": _enqueue,
    "batch": _enqueue,
    "rest": _rest,
    "in flight": _in_flight,
}


# -- waiting and accounting ------------------------------------------------------------------------


def _until_run(stage: Stage, reader: Reader, wanted: int) -> None:
    """By the tapes: asking the database all the time would be part of the load."""
    deadline = time.monotonic() + TIMEOUT
    while reader.count() < wanted:
        if time.monotonic() > deadline or all(worker.ended() for worker in stage.workers):
            trouble = "".join(worker.trouble() for worker in stage.workers)
            raise Incorrect(f"only {reader.count()} of {wanted} jobs ran. {trouble}")
        time.sleep(0.002)


def _until_stored(stage: Stage) -> int:
    unfinished = load(stage.task.contestant).UNFINISHED
    with psycopg.connect(stage.dsn, autocommit=True) as db:
        _until(lambda: not _truth(db, unfinished), 30, "the store says that all is done")
    return time.monotonic_ns()


def _truth(db: psycopg.Connection, question: str, *values: object) -> bool:
    row = db.execute(question.encode(), values or None).fetchone()
    return bool(row and row[0])


def _until(condition: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.002) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Incorrect(f"it took longer than {seconds:g} s until {what}")
        time.sleep(pause)


def _is_written(tape: Path) -> bool:
    return tape.exists() and tape.stat().st_size > 0


@contextmanager
def _cpu(stage: Stage) -> Iterator[Figures]:
    """Seconds of processor time: of our servers, of PostgreSQL under them, of the workers since their start."""
    used: Figures = {}
    ours, theirs = [psutil.Process(each.process.pid) for each in stage.servers], stage.cluster.processes
    before = _cpu_of(ours), _cpu_of(theirs())
    yield used
    if ours:  # whose connections stay open; the time of ended ones would be missing
        used["postgres_cpu"] = _cpu_of(theirs()) - before[1]
        used["server_cpu"] = _cpu_of(ours) - before[0]
    if stage.workers:
        used["worker_cpu"] = _cpu_of(psutil.Process(each.process.pid) for each in stage.workers)


@contextmanager
def _profiled(stage: Stage) -> Iterator[None]:
    if stage.profiler is None:
        yield
        return
    with stage.profiler:
        yield


def _cpu_of(processes: Iterable[Any]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended, or it is about to
            continue
        total += times.user + times.system
    return total


def _megabytes(process: Any) -> float:
    return float(process.memory_info().rss / 1e6)
