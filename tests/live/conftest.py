from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from queues.gauges import Gauge, State, Survey
from queues.models import Execution, Queue, Registration, Worker
from queues.reads import Totals

AT = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


def gauge(number: int = 1, **said: Any) -> Gauge:
    """A quiet queue; say what is different."""
    plain: dict[str, Any] = {
        "id": number, "name": f"q{number}", "limit": 5, "declared_limit": 5, "declared_from": "w: a.py:1",
        "overridden": False, "override_by": "", "override_reason": "", "override_until": None, "paused": False,
        "paused_by": "", "paused_reason": "", "paused_at": None, "paused_until": None, "running": 0,
        "cancelling": 0, "waiting": 0, "waiting_is_capped": False, "scheduled": 0, "oldest_wait": None,
        "workers": 1, "per_minute": 0.0, "spark": (0,) * 60, "state": State.IDLE, "version": 1,
        "disagree": False, "last_claimed_at": None,
    }  # fmt: skip
    return Gauge(**plain | said)


def survey(*gauges: Gauge, workers: int = 1) -> Survey:
    return Survey(gauges=list(gauges), totals=Totals(failed=0, finished=0, workers=workers, capacity=100), at=AT)


@dataclass
class World:
    """Rows as the engine writes them, and the past where a test needs one."""

    def queue(self, name: str = "q", limit: int | None = 5, **more: Any) -> Queue:
        return Queue.objects.create(name=name, declared_limit=limit, **more)

    def worker(self, *queues: Queue, lease: float = 60.0) -> Worker:
        now = timezone.now()
        until = now + dt.timedelta(seconds=lease)
        worker = Worker.objects.create(
            name="w", registered_at=now, heartbeat_at=now, lease_until=until, max_concurrent=10
        )
        for queue in queues:
            Registration.objects.create(worker=worker, queue=queue, workflow="wf")
        return worker

    def holder(self) -> Worker:
        return Worker.objects.filter(name="w", lease_until__gt=timezone.now()).first() or self.worker()

    def execution(self, queue: Queue, status: str, *, ago: float = 0.0, slot: int | None = None) -> Execution:
        then = timezone.now() - dt.timedelta(seconds=ago)
        more: dict[str, Any] = {}
        if status in ("running", "cancelling"):
            # Of a living worker, else a sweep takes it back.
            more = {"worker_id": self.holder().id, "token": uuid.uuid4(), "claimed_at": then, "slot": slot}
        elif status == "scheduled":
            more = {"due_at": then + dt.timedelta(hours=1)}
        elif status in ("completed", "failed", "cancelled"):
            more = {"finished_at": then}
        return Execution.objects.create(
            queue=queue, workflow="wf", status=status, place=then, enqueued_at=then, **more
        )


@pytest.fixture
def world(clean_db: None) -> World:
    return World()
