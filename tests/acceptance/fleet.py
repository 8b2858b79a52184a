"""Worker processes made with the SDK, and what their bodies wrote down."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from queues import keys
from queues.models import ApiKey
from tests import servers

WORKERS = Path(__file__).parent / "workers"


def create_key() -> str:
    """An API key for servers on the test database; without one they would let nobody in."""
    return keys.create_key(name="acceptance", scope=ApiKey.Scope.FULL, patterns=(), created_by="tests")[1]


@dataclass
class WorkerProcess:
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> WorkerProcess:
        assert servers.eventually(lambda: " serves " in self.said, seconds=20), self.said
        return self

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()


@dataclass
class Fleet:
    """Starts workers that record; knows when those that it killed were dead."""

    folder: Path
    key: str = ""
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    dead_at: dict[int, float] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        return self.folder / "record.jsonl"

    @property
    def pids(self) -> set[int]:
        """Of those that are to be alive: the ones killed have been replaced."""
        return {worker.process.pid for worker in self.workers.values()}

    def start(self, name: str, url: str, serves: Iterable[str]) -> WorkerProcess:
        env = {"POLOS_API_URL": url, "POLOS_API_KEY": self.key, "POLOS_WORKER_NAME": name}
        arguments = [sys.executable, str(WORKERS / "recording.py"), str(self.record), *serves]
        self.workers[name] = launch(arguments, self.folder / f"{name}.log", env)
        return self.workers[name]

    def kill(self, name: str) -> None:
        process = self.workers[name].process
        process.kill()
        process.wait()
        self.dead_at[process.pid] = time.monotonic()

    def name_of(self, pid: int) -> str:
        return next(name for name, worker in self.workers.items() if worker.process.pid == pid)

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.process.terminate()
        for worker in self.workers.values():
            with suppress(subprocess.TimeoutExpired):  # killed then; one that a test froze must not spare the rest
                worker.stop()

    def lines(self) -> list[dict[str, Any]]:
        text = self.record.read_text() if self.record.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@contextmanager
def fleet(folder: Path, key: str = "") -> Iterator[Fleet]:
    made = Fleet(folder, key)
    try:
        yield made
    finally:
        made.stop()


def launch(arguments: Sequence[str], log: Path, env: dict[str, str], *, cwd: Path = servers.ROOT) -> WorkerProcess:
    with log.open("ab") as said:
        process = subprocess.Popen(
            arguments, cwd=cwd, env=servers.environment(env), stdout=said, stderr=subprocess.STDOUT
        )
    return WorkerProcess(process, log)


@dataclass(frozen=True, slots=True)
class Body:
    """One run of a workflow's function, seen from inside the worker; `end` may be the worker's death."""

    id: str
    attempt: int
    queue: str
    workflow: str
    pid: int
    begin: float
    end: float
    finished: bool


def bodies(lines: list[dict[str, Any]], dead_at: dict[int, float]) -> list[Body]:
    ends = {(line["id"], line["attempt"], line["pid"]): line for line in lines if line["what"] != "begin"}
    found = []
    for line in lines:
        if line["what"] == "begin":
            end = ends.get((line["id"], line["attempt"], line["pid"]))
            until = end["at"] if end else dead_at[line["pid"]]
            finished = end is not None and end["what"] == "end"
            found.append(
                Body(
                    line["id"], line["attempt"], line["queue"], line["workflow"], line["pid"], line["at"], until,
                    finished,
                )
            )  # fmt: skip
    return found


def most_at_once(intervals: Iterable[tuple[Any, Any]]) -> int:
    """The highest number of intervals that hold one moment; one may begin when another ends."""
    moments = [moment for begin, end in intervals for moment in ((begin, 1), (end, -1))]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def history(db: psycopg.Connection[Any]) -> list[tuple[str, str, int, Any, Any, str]]:
    """Every claim that ever was: (queue, execution, attempt, from, to, how it ended)."""
    return db.execute(
        """
        select q.name, h.execution_id::text, h.attempt, h.claimed_at, h.released_at, h.outcome
        from queues_holding h join queues_queue q on q.id = h.queue_id
        union all
        select q.name, e.id::text, e.attempt, e.claimed_at, e.released_at, e.outcome
        from queues_execution e join queues_queue q on q.id = e.queue_id
        where e.claimed_at is not null
        """
    ).fetchall()
