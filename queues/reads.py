"""What the pages read, each in a few queries of bounded size. Nothing here writes or locks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection
from django.db.models import Count, F, Q, QuerySet, TextField
from django.db.models.functions import Cast, Left, Length

from .access import EVERYWHERE, NOWHERE, Sight
from .engine.operate import Seen
from .engine.statements import statement
from .limits import database_now
from .models import (
    FINAL,
    HELD,
    Change,
    Deadline,
    Declaration,
    Deduplication,
    Execution,
    Holding,
    Queue,
    Registration,
    Rerun,
    Status,
    Worker,
)

GONE_FOR = dt.timedelta(days=1)  # how long a worker that left is still listed
PAGE_SIZE = 50
MAX_RUNNING = 200
MAX_SLOTS = 12  # a larger limit is listed by what runs only
MAX_WAITING = 20
MOST_COUNTED = 100_000
MAX_RECENT = 12
MAX_STEPS = 200
MAX_SHOWN = 4_000  # characters of a step's result
MAX_GONE = 50


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all queues: executions of the last hour, and what the living workers can run at once.

    `capacity` and `free` are of those workers that take work: one that drains takes none.
    """

    failed: int
    finished: int
    workers: int
    capacity: int
    free: int = 0
    draining: int = 0  # workers


@dataclass(frozen=True, slots=True)
class Now:
    """One queue at this moment, as far as its charts say it. `limit` None = unlimited."""

    running: int
    waiting: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """An execution in a list, with the name of its queue and of the worker that has or had it."""

    execution: Execution
    queue: str
    worker: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution said it is. `value` from 0 to 1, None: it gave a text only."""

    value: float | None
    text: str
    at: dt.datetime
    attempt: int

    @property
    def percent(self) -> int:
        return int(100 * (self.value or 0.0) + 1e-6)  # 100 only when it is


@dataclass(frozen=True, slots=True)
class Slot:
    number: int | None  # empty on an unlimited queue
    row: Row | None  # empty: free
    dead: bool = False  # its worker is proven dead: the lease is over
    progress: Progress | None = None  # how far it said it is, if it did


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim of an execution: which worker, which slot, from when to when, how it ended."""

    attempt: int
    worker: str
    worker_id: UUID
    slot: int | None
    started: dt.datetime
    ended: dt.datetime | None
    outcome: str
    error: str | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    worker: Worker
    serves: list[tuple[str, list[str]]]  # queue, workflows
    running: int
    all_queues: tuple[str, ...] = ()  # that it serves, whoever asks: to decide, not to show
    may_drain: bool = False

    @property
    def free(self) -> int:
        """Slots that it can still take."""
        return max(0, self.worker.max_concurrent - self.running)

    def alive_at(self, now: dt.datetime) -> bool:
        living = self.worker.state in (Worker.State.ALIVE, Worker.State.DRAINING)
        return living and self.worker.lease_until > now


# -- one queue -------------------------------------------------------------------------------------


def running(queue: Queue) -> list[Row]:
    """Who holds which slot, lowest slot first."""
    held = Execution.objects.filter(queue=queue, status__in=HELD).order_by(
        F("slot").asc(nulls_last=True), "claimed_at"
    )
    return _rows(held.defer("payload", "result", "error")[:MAX_RUNNING])


def slots(queue: Queue) -> list[Slot]:
    """Every slot of a small limit, taken or free, so that a page has a row for each; else what runs."""
    rows = running(queue)
    alive = set(
        _alive(database_now())
        .filter(id__in={row.execution.worker_id for row in rows})
        .values_list("id", flat=True)
    )
    dead = {row.execution.id for row in rows if row.execution.worker_id not in alive}
    if queue.effective_limit is None or queue.effective_limit > MAX_SLOTS:
        return [Slot(row.execution.slot, row, row.execution.id in dead) for row in rows]
    holders = {row.execution.slot: row for row in rows}
    free = [number for number in range(1, queue.effective_limit + 1) if number not in holders]
    everything = [
        *(Slot(number, None) for number in free),
        *(Slot(number, row, row.execution.id in dead) for number, row in holders.items()),
    ]
    return sorted(everything, key=lambda slot: slot.number or 0)


def has_dead_holder(execution: Execution) -> bool:
    """It holds a slot, and its worker's lease is over."""
    return execution.status in HELD and not _alive(database_now()).filter(id=execution.worker_id).exists()


def now(queue: Queue) -> Now:
    held = Execution.objects.filter(queue=queue, status__in=HELD).count()
    return Now(held, count_waiting(queue, MOST_COUNTED), queue.effective_limit)


def count_waiting(queue: Queue, at_most: int) -> int:
    line = Execution.objects.filter(queue=queue, status=Status.QUEUED).order_by()
    return line.values("id")[:at_most].count()


def count_asleep(queue: Queue) -> int:
    """How many wait for something else than a slot, as far as they are counted."""
    asleep = Execution.objects.filter(queue=queue, status=Status.WAITING).order_by()
    return asleep.values("id")[:MOST_COUNTED].count()


def waiting(queue: Queue) -> list[Row]:
    """The next in line, in the order in which they start."""
    with connection.cursor() as cursor:
        cursor.execute(statement("next_in_line"), {"queue_id": queue.id, "limit": MAX_WAITING})
        ids = [id for (id,) in cursor.fetchall()]
    # Those that were claimed since are left out: they are not waiting any more.
    line = Execution.objects.filter(id__in=ids, status=Status.QUEUED).order_by("place", "id")
    return _rows(line.defer("payload", "result", "error"))


def finished(queue: Queue) -> list[Row]:
    done = Execution.objects.filter(queue=queue, finished_at__isnull=False).order_by("-finished_at")
    return _rows(done.defer("payload", "result", "error")[:MAX_RECENT])


def changes(queue: Queue) -> list[Change]:
    found = Change.objects.filter(queue=queue).exclude(kind=Change.Kind.ANSWER)
    return list(found[:MAX_RECENT])


def declarations(queue: Queue) -> list[Declaration]:
    return list(Declaration.objects.filter(queue=queue).order_by("-changed_at", "worker_name")[:MAX_RECENT])


# -- executions ------------------------------------------------------------------------------------


def executions(ids: Sequence[UUID], sight: Sight = EVERYWHERE) -> list[Row]:
    """Those that are still there, newest first: ids are UUIDv7, so their order is the order of their making."""
    found = Execution.objects.filter(id__in=ids).defer("payload", "result", "error").order_by("-id")
    return _rows(_seen(found, sight)) if ids else []


def execution(id: UUID) -> Any:
    """One execution with `payload_text`, `result_text` and `error_text`; None when there is none."""
    return _as_text(Execution.objects.filter(id=id), "payload", "result", "error").first()


def seen(execution: Execution) -> Seen:
    """As who looks at it decides; what is no longer so refuses the act."""
    return Seen(execution.status, execution.attempt)


def rerun_of(execution: Execution) -> Rerun | None:
    return Rerun.objects.filter(execution_id=execution.id).first()


def reruns(execution: Execution) -> list[Rerun]:
    return list(Rerun.objects.filter(of=execution.id).order_by("-execution_id")[:MAX_RECENT])


def attempts(execution: Any) -> list[Attempt]:
    """Every claim so far, oldest first: the earlier ones from the holdings, the last one from the row."""
    earlier = list(
        _as_text(Holding.objects.filter(execution_id=execution.id), "error").order_by("claimed_at", "id")
    )
    names = _worker_names({h.worker_id for h in earlier} | {execution.worker_id})
    tries = [
        Attempt(
            h.attempt,
            names.get(h.worker_id, ""),
            h.worker_id,
            h.slot,
            h.claimed_at,
            h.released_at,
            h.outcome,
            h.error_text,
        )
        for h in earlier
    ]
    last = _last_claim(execution, names)
    # A row that went back to its place keeps its last claim until the next begins; by then it is a holding.
    if last and all(attempt.started != last.started for attempt in tries):
        tries.append(last)
    return tries


def deadlines(execution: Execution) -> list[Deadline]:
    """When it has to have started, and to have finished, as far as it has timeouts."""
    return list(Deadline.objects.filter(execution_id=execution.id).order_by("-kind"))


def deduplication(execution: Execution) -> Deduplication | None:
    return Deduplication.objects.filter(execution_id=execution.id).first()


def steps(execution: Execution) -> list[Any]:
    """The first checkpoints of this execution, and one more; of long results the beginning.

    They belong to the app above, so it is asked by name: imports point down.
    """
    step = apps.get_model("workflows", "Step")
    found = step._default_manager.filter(execution_id=execution.id).order_by("started_at", "id")
    found = found.defer("result", "error").annotate(error_text=Cast("error", TextField()))
    whole = Cast("result", TextField())
    return list(found.annotate(result_text=Left(whole, MAX_SHOWN), result_size=Length(whole))[: MAX_STEPS + 1])


def place_in_line(execution: Execution, *, at_most: int = 1_000) -> int | None:
    """1 = next; None when it does not wait or stands too far back to be counted cheaply."""
    if execution.status != Status.QUEUED:
        return None
    before = Q(place__lt=execution.place) | Q(place=execution.place, id__lt=execution.id)
    ahead = Execution.objects.filter(before, queue_id=execution.queue_id, status=Status.QUEUED).order_by()
    count = ahead.values("id")[:at_most].count()
    return count + 1 if count < at_most else None


# -- workers ---------------------------------------------------------------------------------------


def workers(
    now: dt.datetime, sight: Sight = EVERYWHERE, may_drain: Sight = NOWHERE
) -> tuple[list[WorkerRow], list[WorkerRow]]:
    """Those that are alive, and those that left or were lost within the last day; of each, what somebody sees."""
    alive = list(_alive(now).order_by("name", "registered_at"))
    gone = list(
        Worker.objects.exclude(id__in=[worker.id for worker in alive])
        .filter(heartbeat_at__gte=now - GONE_FOR)
        .order_by("-heartbeat_at")[:MAX_GONE]
    )
    serves = _served([worker.id for worker in (*alive, *gone)])
    held = _seen(Execution.objects.filter(status__in=HELD), sight)
    counts = dict(held.values_list("worker_id").annotate(n=Count("id")).order_by())
    rows = [
        [_worker_row(w, serves.get(w.id, []), counts.get(w.id, 0), sight, may_drain) for w in some]
        for some in (alive, gone)
    ]
    shown = [[row for row in some if sight.everywhere or row.serves] for some in rows]
    return shown[0], shown[1]


def worker(id: UUID, sight: Sight = EVERYWHERE, may_drain: Sight = NOWHERE) -> WorkerRow | None:
    """None for one that is not there, or that serves nothing that somebody sees."""
    found = Worker.objects.filter(id=id).first()
    if found is None:
        return None
    held = _seen(Execution.objects.filter(status__in=HELD, worker_id=id), sight)
    row = _worker_row(found, _served([id]).get(id, []), held.count(), sight, may_drain)
    return row if sight.everywhere or row.serves else None


def _worker_row(
    worker: Worker, serves: list[tuple[str, list[str]]], running: int, sight: Sight, may_drain: Sight
) -> WorkerRow:
    return WorkerRow(
        worker,
        [(queue, workflows) for queue, workflows in serves if sight.covers(queue)],
        running,
        tuple(queue for queue, _ in serves),
        may_drain.everywhere or (bool(serves) and all(may_drain.covers(queue) for queue, _ in serves)),
    )


def held_by(worker: Worker, sight: Sight = EVERYWHERE) -> list[Row]:
    held = _seen(Execution.objects.filter(status__in=HELD, worker_id=worker.id), sight).order_by("claimed_at")
    return _rows(held.defer("payload", "result", "error")[:MAX_RUNNING])


def lost_with(worker: Worker, sight: Sight = EVERYWHERE) -> list[Row]:
    """What it held when it was lost, as it is now, newest first."""
    values: dict[str, Any] = {
        "worker": worker.id,
        "left_at": worker.left_at or worker.lease_until,
        "most": MAX_RUNNING,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("lost_of_worker"), values)
        ids = [id for (id,) in cursor.fetchall()]
    found = _seen(Execution.objects.filter(id__in=ids).order_by("-id"), sight)
    return _rows(found.defer("payload", "result", "error"))


def worker_changes(name: str = "") -> list[Change]:
    """Of workers, or of those with this name."""
    found = Change.objects.filter(kind=Change.Kind.WORKER)
    return list((found.filter(subject=name) if name else found)[:MAX_RECENT])


# -- parts -----------------------------------------------------------------------------------------


def _as_text(found: QuerySet[Any], *columns: str) -> QuerySet[Any]:
    """JSON as it was sent: parsing it would lose digits, and a text `"1"` would look like a number."""
    texts = {f"{column}_text": Cast(column, TextField()) for column in columns}
    annotated: QuerySet[Any] = found.defer(*columns).annotate(**texts)
    return annotated


def _seen(found: QuerySet[Execution], sight: Sight) -> QuerySet[Execution]:
    mine = sight.queue_ids()
    return found if mine is None else found.filter(queue_id__in=mine)


def _alive(now: dt.datetime) -> Any:
    return Worker.objects.filter(state__in=(Worker.State.ALIVE, Worker.State.DRAINING), lease_until__gt=now)


def _rows(found: Iterable[Execution]) -> list[Row]:
    rows = list(found)
    names = _worker_names({row.worker_id for row in rows})
    queues = dict(Queue.objects.filter(id__in={row.queue_id for row in rows}).values_list("id", "name"))
    return [Row(row, queues.get(row.queue_id, ""), names.get(row.worker_id, "")) for row in rows]


def _worker_names(ids: set[UUID | None]) -> Mapping[UUID | None, str]:
    known = [id for id in ids if id]
    return dict(Worker.objects.filter(id__in=known).values_list("id", "name")) if known else {}


def _served(ids: list[UUID]) -> dict[UUID, list[tuple[str, list[str]]]]:
    pairs = Registration.objects.filter(worker_id__in=ids).order_by("queue__name", "workflow")
    found: dict[UUID, dict[str, list[str]]] = {}
    for worker_id, queue, workflow in pairs.values_list("worker_id", "queue__name", "workflow"):
        found.setdefault(worker_id, {}).setdefault(queue, []).append(workflow)
    return {worker_id: list(queues.items()) for worker_id, queues in found.items()}


def _last_claim(execution: Any, names: Mapping[UUID | None, str]) -> Attempt | None:
    if execution.claimed_at is None or execution.worker_id is None:
        return None
    ended = execution.released_at
    return Attempt(
        execution.attempt,
        names.get(execution.worker_id, ""),
        execution.worker_id,
        execution.slot,
        execution.claimed_at,
        ended,
        execution.outcome if ended else execution.status,
        execution.error_text if execution.status in FINAL else None,
    )
