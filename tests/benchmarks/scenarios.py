"""What is measured, and which ratios count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .contestants import CELERY, OURS, PEERS, RAW

Kind = Literal["drain", "latency", "small", "churn", "one", "eight", "batch", "rest", "in flight", "watched"]
Suite = Literal["drain", "limits", "latency", "enqueue", "scale", "hot", "churn", "rest", "watchers", "steps"]

# The slow ones get fewer jobs, so that a run takes seconds, not minutes.
SHARE_OF_JOBS = {"dbos": 0.2, "procrastinate": 0.05, CELERY: 0.2}
ALL = (OURS, *PEERS)
WITH_LIMITS = (OURS, "pgqueuer", "dbos")
WITH_STEPS = (OURS, "dbos")

HOT_LIMIT, HOT_SECONDS = 10, 0.01  # of the hot queue: at most 1,000 jobs a second, so the machine is not full
SMALL_QUEUES, SMALL_LIMIT = 50, 5
CHURN_RATE = 2_000  # jobs a second
LONG = 60_000  # jobs for several servers: 20,000 last 0.4 s, and four workers take 0.1 of them to come


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    suite: Suite
    kind: Kind
    jobs: int
    contestants: tuple[str, ...] = (OURS,)
    workers: int = 1
    servers: int = 1
    limit: int | None = None
    job_seconds: float = 0.0
    queues: int = 1
    first: int | None = None  # only so many are waited for
    max_concurrent: int | None = None
    beside: int = 0  # jobs that wait on the hot queue
    churn: float = 0.0  # seconds of it before the measurement
    steps: int = 0  # of each job, with a function that does nothing
    watchers: int = 0  # open pages; `jobs` is then how often something changes

    def jobs_of(self, contestant: str, scale: float) -> int:
        if self.first:
            return self.jobs
        share = 1.0 if self.kind == "latency" else SHARE_OF_JOBS.get(contestant, 1.0)
        least = 3 * (self.limit or 20)
        measured = max(least, int(self.jobs * share * scale))
        return measured + self.queues if self.kind == "small" else measured  # the first of each queue is not

    def scaled(self, scale: float) -> Scenario:
        """With so much more on the hot queue; of the jobs, `jobs_of` tells the number."""
        return replace(self, beside=int(self.beside * scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A ratio: ours ÷ theirs, or ÷ another scenario of ours. At least `must`, or at most when `at_most`."""

    name: str
    scenario: str
    measure: str = "rate"
    against: tuple[str, ...] = ()  # the best of these
    against_scenario: str = ""
    must: float
    reach: float
    at_most: bool = False


SCENARIOS = (
    Scenario(name="drain, 1 worker", suite="drain", kind="drain", jobs=30_000, contestants=(*ALL, CELERY, RAW)),
    Scenario(
        name="drain, 2 workers", suite="drain", kind="drain", jobs=30_000, workers=2,
        contestants=(*ALL, CELERY, RAW),
    ),
    Scenario(
        name="limit 5, no-op", suite="limits", kind="drain", jobs=3_000, workers=2, limit=5,
        contestants=WITH_LIMITS,
    ),
    Scenario(
        name="limit 100, no-op", suite="limits", kind="drain", jobs=12_000, workers=2, limit=100,
        contestants=WITH_LIMITS,
    ),
    Scenario(
        name="limit 5, 10 ms", suite="limits", kind="drain", jobs=1_000, workers=2, limit=5, job_seconds=0.01,
        contestants=WITH_LIMITS,
    ),
    Scenario(
        name="limit 100, 10 ms", suite="limits", kind="drain", jobs=8_000, workers=2, limit=100, job_seconds=0.01,
        contestants=WITH_LIMITS,
    ),
    Scenario(name="latency", suite="latency", kind="latency", jobs=100, contestants=(*ALL, CELERY)),
    Scenario(
        name="enqueue one by one", suite="enqueue", kind="one", jobs=1_500, contestants=(*ALL, CELERY, RAW)
    ),
    Scenario(name="enqueue, 8 at once", suite="enqueue", kind="eight", jobs=4_000, contestants=(*ALL, RAW)),
    Scenario(name="enqueue, batches", suite="enqueue", kind="batch", jobs=40_000, contestants=(*ALL, RAW)),
    Scenario(name="first 5,000 of 10,000", suite="scale", kind="drain", jobs=10_000, first=5_000),
    Scenario(name="first 5,000 of 1,000,000", suite="scale", kind="drain", jobs=1_000_000, first=5_000),
    Scenario(name="1 queue", suite="scale", kind="drain", jobs=20_000, workers=2),
    Scenario(name="10,000 queues", suite="scale", kind="drain", jobs=20_000, workers=2, queues=10_000, limit=5),
    Scenario(name="2 servers", suite="scale", kind="drain", jobs=LONG, workers=2, servers=2),
    Scenario(name="2 workers, 1 server", suite="scale", kind="drain", jobs=LONG, workers=2),
    Scenario(name="4 servers", suite="scale", kind="drain", jobs=LONG, workers=4, servers=4),
    Scenario(name="4 workers, 1 server", suite="scale", kind="drain", jobs=LONG, workers=4),
    Scenario(
        name="50 small queues alone", suite="hot", kind="small", jobs=300, queues=SMALL_QUEUES, limit=SMALL_LIMIT
    ),
    Scenario(
        name="50 small queues beside a hot one", suite="hot", kind="small", jobs=300, queues=SMALL_QUEUES,
        limit=SMALL_LIMIT, beside=1_000_000,
    ),
    Scenario(name="fresh", suite="churn", kind="drain", jobs=30_000),
    Scenario(name="after churn", suite="churn", kind="churn", jobs=30_000, churn=60),
    Scenario(name="fresh, limit 100", suite="churn", kind="drain", jobs=12_000, limit=100),
    Scenario(name="after churn, limit 100", suite="churn", kind="churn", jobs=12_000, limit=100, churn=60),
    Scenario(name="at rest", suite="rest", kind="rest", jobs=0),
    Scenario(
        name="10,000 in flight", suite="rest", kind="in flight", jobs=10_000, job_seconds=20,
        max_concurrent=10_000,
    ),
    Scenario(name="500 watchers", suite="watchers", kind="watched", jobs=20, watchers=500),
    Scenario(name="20 steps", suite="steps", kind="drain", jobs=1_000, steps=20, contestants=WITH_STEPS),
    Scenario(
        name="20 steps, one job at a time", suite="steps", kind="drain", jobs=100, steps=20, limit=1,
        contestants=WITH_STEPS,
    ),
)  # fmt: skip

_PEER = ("pgqueuer",)
GOALS = (
    Goal(name="drain, 1 worker ÷ pgqueuer", scenario="drain, 1 worker", against=_PEER, must=1.3, reach=2),
    Goal(name="drain, 1 worker ÷ raw", scenario="drain, 1 worker", against=(RAW,), must=0, reach=0.75),
    Goal(name="drain, 2 workers ÷ pgqueuer", scenario="drain, 2 workers", against=_PEER, must=1, reach=1.5),
    Goal(name="drain, 1 worker ÷ dbos", scenario="drain, 1 worker", against=("dbos",), must=10, reach=20),
    Goal(name="limit 5, no-op ÷ best peer", scenario="limit 5, no-op", against=PEERS, must=2, reach=3),
    Goal(name="limit 5, no-op ÷ dbos", scenario="limit 5, no-op", against=("dbos",), must=10, reach=15),
    Goal(name="limit 100, no-op ÷ best peer", scenario="limit 100, no-op", against=PEERS, must=2.5, reach=4),
    Goal(name="slot time in use, limit 5", scenario="limit 5, 10 ms", measure="use", must=0.8, reach=0.9),
    Goal(name="slot time in use, limit 100", scenario="limit 100, 10 ms", measure="use", must=0.65, reach=0.85),
    Goal(
        name="latency p50 ÷ pgqueuer", scenario="latency", measure="p50", against=_PEER, must=1, reach=0.8,
        at_most=True,
    ),
    Goal(
        name="latency p95 ÷ pgqueuer", scenario="latency", measure="p95", against=_PEER, must=1, reach=0.7,
        at_most=True,
    ),
    Goal(name="one by one ÷ pgqueuer", scenario="enqueue one by one", against=_PEER, must=0.5, reach=1),
    Goal(name="8 at once ÷ pgqueuer", scenario="enqueue, 8 at once", against=_PEER, must=1.5, reach=2.5),
    Goal(name="batches ÷ pgqueuer", scenario="enqueue, batches", against=_PEER, must=1.5, reach=2.5),
    Goal(
        name="backlog 1,000,000 ÷ 10,000", scenario="first 5,000 of 1,000,000",
        against_scenario="first 5,000 of 10,000", must=0.9, reach=0.98,
    ),
    Goal(name="10,000 queues ÷ 1", scenario="10,000 queues", against_scenario="1 queue", must=0.5, reach=0.8),
    Goal(
        name="10,000 queues ÷ 1, claim p99", scenario="10,000 queues", measure="claim_p99",
        against_scenario="1 queue", must=0, reach=3, at_most=True,
    ),
    Goal(
        name="beside a hot queue ÷ alone, p50", scenario="50 small queues beside a hot one", measure="p50",
        against_scenario="50 small queues alone", must=1.5, reach=1.1, at_most=True,
    ),
    Goal(
        name="beside a hot queue ÷ alone, p95", scenario="50 small queues beside a hot one", measure="p95",
        against_scenario="50 small queues alone", must=1.5, reach=1.1, at_most=True,
    ),
    Goal(name="after churn ÷ fresh", scenario="after churn", against_scenario="fresh", must=0.5, reach=0.8),
    Goal(
        name="after churn ÷ fresh, limit 100", scenario="after churn, limit 100",
        against_scenario="fresh, limit 100", must=0.5, reach=0.8,
    ),
    Goal(name="2 servers ÷ 1", scenario="2 servers", against_scenario="2 workers, 1 server", must=0.9, reach=1),
    Goal(name="4 servers ÷ 1", scenario="4 servers", against_scenario="4 workers, 1 server", must=0.9, reach=1),
    Goal(
        name="server at rest, % of a core", scenario="at rest", measure="server_cpu_percent", must=2, reach=1,
        at_most=True,
    ),
    Goal(name="server at rest, MB", scenario="at rest", measure="server_mb", must=200, reach=120, at_most=True),
    Goal(name="worker at rest, MB", scenario="at rest", measure="worker_mb", must=80, reach=50, at_most=True),
    Goal(
        name="worker, 10,000 in flight, MB", scenario="10,000 in flight", measure="worker_mb", must=250, reach=150,
        at_most=True,
    ),
    Goal(
        name="500 watchers, update p95, ms", scenario="500 watchers", measure="all_p95", must=500, reach=400,
        at_most=True,
    ),
    Goal(
        name="… beside pages that never read, ms", scenario="500 watchers", measure="beside_silent_p95", must=500,
        reach=400, at_most=True,
    ),
    Goal(
        name="a page that never reads, MB", scenario="500 watchers", measure="silent_mb_each", must=5, reach=1,
        at_most=True,
    ),
    Goal(name="20 steps ÷ dbos", scenario="20 steps", against=("dbos",), must=0, reach=5),
    Goal(
        name="ms per step, one job at a time ÷ dbos", scenario="20 steps, one job at a time", measure="step_ms",
        against=("dbos",), must=0, reach=1, at_most=True,
    ),
)  # fmt: skip

# Few, since most of the time goes into starting servers; between them they drain, hold limits and time latencies.
SMOKE = (
    Scenario(
        name="small queues beside a hot one", suite="hot", kind="small", jobs=15, queues=5, limit=SMALL_LIMIT,
        beside=10_000,
    ),
    Scenario(name="after churn, limit 5", suite="churn", kind="churn", jobs=100, limit=5, churn=0.5, steps=2),
)  # fmt: skip
SUITES: tuple[Suite, ...] = (
    "drain",
    "limits",
    "latency",
    "enqueue",
    "scale",
    "hot",
    "churn",
    "rest",
    "watchers",
    "steps",
)
USUAL: tuple[Suite, ...] = ("drain", "limits", "latency", "enqueue")
