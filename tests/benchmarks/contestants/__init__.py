"""Who takes part. Each module says how its queue is set up, filled and worked on, at its best documented settings.

They run in processes of their own (`tests.benchmarks.process`), so that a library is imported only there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ..tape import Job

OURS = "polos"
RAW = "raw"
PEERS = ("pgqueuer", "dbos", "procrastinate")
CELERY = "celery"  # a note, not a peer: its store is Redis, which may forget
WITH = (*PEERS, CELERY)  # their modules are called with_…

# What counts the steps that a store keeps.
STEPS_KEPT = {OURS: "select count(*) from workflows_step", "dbos": "select count(*) from dbos.operation_outputs"}

IsUnfinished = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process of a contestant is to do."""

    contestant: str
    database_url: str
    name: str = "bench"  # of the queue and the workflow; only ours has others
    limit: int | None = None
    job_seconds: float = 0.0
    steps: int = 0
    jobs: int = 0
    queues: int = 1
    tape: Path = Path()
    api_url: str = ""
    api_key: str = ""
    max_concurrent: int | None = None
    seconds: float = 0.0  # that a churn goes on

    @property
    def claims_tape(self) -> Path:
        """Where a worker may write down its claims: how many it got, when it asked, when it had them."""
        return self.tape.with_suffix(".claims")

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"tape": str(self.tape)})

    @staticmethod
    def from_json(text: str) -> Task:
        fields = json.loads(text)
        return Task(**(fields | {"tape": Path(fields["tape"])}))


class Client(Protocol):
    async def enqueue(self, number: int) -> None: ...
    async def enqueue_many(self, numbers: Sequence[int]) -> None: ...


class Contestant(Protocol):
    def unfinished(self, url: str) -> AbstractContextManager[IsUnfinished]:
        """Whether the store at `url` has anything left to do."""

    async def set_up(self, task: Task) -> None:
        """Its schema, in an empty database."""

    async def work(self, task: Task, job: Job) -> None:
        """A worker process: until it is killed."""

    def client(self, task: Task, *, at_once: int) -> AbstractAsyncContextManager[Client]: ...


def load(name: str) -> Contestant:
    return cast(Contestant, import_module(f"{__name__}.{'with_' if name in WITH else ''}{name}"))


def by_sql(question: str) -> Callable[[str], AbstractContextManager[IsUnfinished]]:
    """`unfinished` of those whose store is PostgreSQL."""

    @contextmanager
    def unfinished(url: str) -> Iterator[IsUnfinished]:
        psycopg = import_module("psycopg")  # here, so that no worker pays for it
        with psycopg.connect(url, autocommit=True) as db:
            yield lambda: bool(db.execute(question).fetchone()[0])

    return unfinished
