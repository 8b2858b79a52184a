"""What the REST API reads beside the hot endpoints, on Django's connection, for one caller."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection
from msgspec import Raw

from queues import gauges
from queues.engine.statements import statement
from queues.gauges import Gauge
from queues.keys import Principal
from queues.models import Queue, Registration, Status, Worker
from queues.names import name_problem
from queues.problems import NotFound
from queues.search.finding import find
from queues.search.line import Search
from workflows.models import Workflow

from .replies import (
    Drain,
    ExecutionPage,
    ExecutionView,
    Override,
    Pause,
    QueuePage,
    QueueView,
    StepView,
    WorkerView,
    execution_view,
    wait_view,
)

MAX_PAGE = 200
MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_WORKERS = 1_000
SEARCH_SECONDS = 1.0


# -- executions --------------------------------------------------------------------------------------


def execution(principal: Principal, execution_id: UUID) -> ExecutionView:
    rows = _rows("read_execution", id=execution_id)
    if not rows or not principal.reaches(rows[0][2]):
        raise NotFound(f"There is no execution {execution_id}.")
    if rows[0][3] != Status.WAITING:
        return execution_view(rows[0])
    waits = _rows("open_waits", "queues", id=execution_id)
    return execution_view(rows[0], waits=[wait_view(row) for row in waits])


def executions(principal: Principal, search: Search, *, limit: int, cursor: UUID | None) -> ExecutionPage:
    """One page, newest first. It ends early when its payloads and results grow over 8 MiB, or its time is over."""
    found = find(search, most=limit, seconds=SEARCH_SECONDS, below=cursor, within=reach(principal))
    rows = _rows("list_executions", ids=found.ids, bytes=MAX_PAGE_BYTES)
    views = [execution_view(row) for row in rows]
    if len(views) < len(
        found.ids
    ):  # or some were deleted meanwhile: then the last one is still the place to go on
        return ExecutionPage(executions=views, next_cursor=str(views[-1].id if views else found.ids[-1]))
    return ExecutionPage(
        executions=views, next_cursor=str(found.next) if found.next else None, searched_back_to=found.back_to
    )


def reach(principal: Principal) -> list[int] | None:
    """The queues that this caller may know of; None for all of them."""
    if not principal.patterns:
        return None
    return [id for id, name in Queue.objects.values_list("id", "name") if principal.reaches(name)]


def steps(principal: Principal, execution_id: UUID) -> list[StepView]:
    execution(principal, execution_id)
    return [
        StepView(
            key=key, result=Raw(result.encode()), error=Raw(error.encode()), started_at=started, ended_at=ended,
            attempt=attempt, child_id=child,
        )
        for key, result, error, started, ended, attempt, child in _rows("list_steps", id=execution_id)
    ]  # fmt: skip


# -- queues ------------------------------------------------------------------------------------------


def queue(principal: Principal, name: str) -> QueueView:
    known_queue(principal, name)
    return _queue_views([gauge for gauge in gauges.snapshot() if gauge.name == name])[0]


def queues(principal: Principal, *, search: str, limit: int, cursor: str) -> QueuePage:
    """One page by name; the cursor is the last name of the page before."""
    wanted = search.casefold()
    found = sorted(
        (
            gauge
            for gauge in gauges.snapshot()
            if gauge.name > cursor and wanted in gauge.name.casefold() and principal.reaches(gauge.name)
        ),
        key=lambda gauge: gauge.name,
    )
    more = len(found) > limit
    return QueuePage(queues=_queue_views(found[:limit]), next_cursor=found[limit - 1].name if more else None)


def _queue_views(found: list[Gauge]) -> list[QueueView]:
    ids = [gauge.id for gauge in found]
    workflows: defaultdict[int, list[str]] = defaultdict(list)
    for queue_id, workflow in Workflow.objects.filter(queue__in=ids).order_by("id").values_list("queue", "id"):
        workflows[queue_id].append(workflow)
    overridden_at = dict(Queue.objects.filter(id__in=ids, overridden=True).values_list("id", "override_at"))
    return [_queue_view(gauge, overridden_at.get(gauge.id), workflows[gauge.id]) for gauge in found]


def _queue_view(gauge: Gauge, overridden_at: dt.datetime | None, workflows: list[str]) -> QueueView:
    override = Override(
        limit=gauge.limit, reason=gauge.override_reason, by=gauge.override_by, at=overridden_at,
        until=gauge.override_until,
    )  # fmt: skip
    paused = Pause(reason=gauge.paused_reason, by=gauge.paused_by, at=gauge.paused_at, until=gauge.paused_until)
    drain = Drain(reason=gauge.drain_reason, by=gauge.drain_by, at=gauge.drain_at)
    return QueueView(
        name=gauge.name,
        declared_limit=gauge.declared_limit,
        override=override if gauge.overridden else None,
        effective_limit=gauge.limit,
        paused=paused if gauge.paused else None,
        draining=drain if gauge.draining else None,
        running=gauge.running,
        cancelling=gauge.cancelling,
        waiting=gauge.waiting,
        scheduled=gauge.scheduled,
        oldest_wait_seconds=gauge.oldest_wait,
        state=gauge.state,
        version=gauge.version,
        workflows=workflows,
    )


def known_queue(principal: Principal, name: str) -> str:
    """The name of a queue that exists, as far as this caller may know."""
    if name_problem(name) or not principal.reaches(name) or not Queue.objects.filter(name=name).exists():
        raise NotFound(f"There is no queue named {name[:200]!r}.")
    return name


# -- workers -----------------------------------------------------------------------------------------


def workers(principal: Principal) -> list[WorkerView]:
    """The newest first, with those of their queues and workflows that the caller may know of."""
    found = list(Worker.objects.order_by("-registered_at")[:MAX_WORKERS])
    served = _served(principal, (worker.id for worker in found))
    return [
        _worker_view(worker, served[worker.id])
        for worker in found
        if worker.id in served or not principal.patterns
    ]


def own_worker(principal: Principal, worker_id: UUID) -> WorkerView:
    """A worker that serves nothing beyond what this key is for: others are as if they were not there."""
    found = Worker.objects.filter(id=worker_id).first()
    pairs = Registration.objects.filter(worker=worker_id).values_list("queue__name", "workflow")
    served = [(queue, workflow) for queue, workflow in pairs]
    if found is None or not all(principal.reaches(queue) for queue, _ in served):
        raise NotFound(f"There is no worker {worker_id}.")
    return _worker_view(found, served)


def _served(principal: Principal, workers: Iterable[UUID]) -> defaultdict[UUID, list[tuple[str, str]]]:
    served: defaultdict[UUID, list[tuple[str, str]]] = defaultdict(list)
    pairs = Registration.objects.filter(worker__in=list(workers)).values_list("worker", "queue__name", "workflow")
    for worker, queue, workflow in pairs:
        if principal.reaches(queue):
            served[worker].append((queue, workflow))
    return served


def _worker_view(worker: Worker, pairs: list[tuple[str, str]]) -> WorkerView:
    fields = {name: getattr(worker, name) for name in WorkerView.__struct_fields__ if hasattr(worker, name)}
    return WorkerView(
        **fields, queues=sorted({queue for queue, _ in pairs}), workflows=sorted({name for _, name in pairs})
    )


def _rows(name: str, package: str = "workflows", **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement(name, package), values)
        return list(cursor.fetchall())
