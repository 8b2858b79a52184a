"""Who takes part. Each module says how its queue is set up, filled and worked on, at its best documented settings.

They run in processes of their own (`tests.benchmarks.process`), so that a library is imported only there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ..tape import Job

OURS = "polos"
RAW = "raw"
PEERS = ("pgqueuer", "dbos", "procrastinate")
MODULES = {"pgqueuer": "with_pgqueuer", "dbos": "with_dbos", "procrastinate": "with_procrastinate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process of a contestant is to do."""

    contestant: str
    database_url: str
    limit: int | None = None
    job_seconds: float = 0.0
    jobs: int = 0
    queues: int = 1
    tape: Path = Path()
    api_url: str = ""
    api_key: str = ""
    max_concurrent: int | None = None

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
    UNFINISHED: str  # SQL: whether the store has anything left to do

    async def set_up(self, task: Task) -> None:
        """Its schema, in an empty database."""

    async def work(self, task: Task, job: Job) -> None:
        """A worker process: until it is killed."""

    def client(self, task: Task, *, at_once: int) -> AbstractAsyncContextManager[Client]: ...


def load(name: str) -> Contestant:
    return cast(Contestant, import_module(f"{__name__}.{MODULES.get(name, name)}"))
