"""What a run has at its disposal: its database, its servers, and the contestant's processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from tests import servers
from tests.servers import Server

from .checks import Incorrect
from .cluster import Cluster
from .contestants import Task, load
from .profiling import Profiler
from .scenarios import Scenario
from .tape import Reader

TIMEOUT = 120.0  # seconds for all jobs of a run


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

    def leave(self) -> None:
        """As on a deployment: it hands in what it has and signs off."""
        self.process.terminate()
        self.process.communicate(timeout=20)

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

    def ask(self, role: str, task: Task | None = None) -> Any:
        process = self.start(role, task or self.task)
        process.go()
        return process.answer()

    def start_workers(self, task: Task | None = None, *, count: int | None = None) -> Reader:
        """Waits until all have imported what they need; then they connect, at the same time."""
        task, count = task or self.task, count or self.scenario.workers
        started = []
        for index in range(count):
            url = self.servers[index % len(self.servers)].url if self.servers else ""
            tape = task.tape.with_name(f"{task.name}-{index}")
            tape.unlink(missing_ok=True)  # of workers that have left; whoever reads it keeps it
            started.append(self.start("work", replace(task, tape=tape, api_url=url)))
        for worker in started:
            worker.go()
        self.workers += started
        until(lambda: all(_is_written(each.task.tape) for each in started), 30, "the workers begin")
        return Reader(each.task.tape for each in started)

    def claims(self) -> Reader:
        """How long the workers' claims took, for those contestants that write it down."""
        return Reader(path for each in self.workers if (path := each.task.claims_tape).exists())

    def dismiss_workers(self) -> None:
        for worker in self.workers:
            worker.leave()
        self.workers.clear()

    # -- waiting -----------------------------------------------------------------------------------

    def until_run(self, reader: Reader, wanted: int) -> None:
        """By the tapes: asking the database all the time would be part of the load."""
        deadline = (
            time.monotonic() + TIMEOUT + 2 * self.scenario.churn
        )  # after which all may be slow: that is a figure
        while reader.count() < wanted:
            if time.monotonic() > deadline or all(worker.ended() for worker in self.workers):
                trouble = "".join(worker.trouble() for worker in self.workers)
                raise Incorrect(f"only {reader.count()} of {wanted} jobs ran. {trouble}")
            time.sleep(0.002)

    def until_stored(self) -> int:
        """The moment, in nanoseconds, when the store says that nothing is left to do."""
        with load(self.task.contestant).unfinished(self.task.database_url) as is_unfinished:
            until(lambda: not is_unfinished(), 30, "the store says that all is done")
        return time.monotonic_ns()

    def until_true(self, question: str, *values: object, seconds: float, what: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as db:
            until(lambda: _truth(db, question, *values), seconds, what, pause=0.1)


def until(condition: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.002) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Incorrect(f"it took longer than {seconds:g} s until {what}")
        time.sleep(pause)


def _truth(db: psycopg.Connection, question: str, *values: object) -> bool:
    row = db.execute(question.encode(), values or None).fetchone()
    return bool(row and row[0])


def _is_written(tape: Path) -> bool:
    return tape.exists() and tape.stat().st_size > 0
