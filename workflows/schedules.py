"""The verbs that change a schedule, for page, REST and workers' declarations. Each is one transaction: lock, look,
write, note it in the trail. What is due is started by `ticking`.

Ticks that fall into a pause are left out, whatever the catch-up policy says; resuming and changing count from now.
Locks: the schedule's row; for what code declares the lock of declarations before it, so that many workers that
declare the same thing at once make one schedule.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from msgspec import Raw

from queues.engine.enqueue import Placed, insertions
from queues.engine.locks import LOCK_CLASS, TAKE, Lock
from queues.engine.operate import tell
from queues.engine.statements import statement
from queues.ids import uuid7
from queues.limits import clean, database_now
from queues.models import Change, Queue
from queues.names import name_problem
from queues.problems import Conflicting, Invalid, NotFound
from queues.rawjson import MAX_PAYLOAD_BYTES
from queues.rawjson import problem as json_problem
from queues.requests import NewExecution

from .models import Schedule, Tick, Workflow
from .ticking import tick_payload
from .timing import BadTiming, Timing

MAX_CATCH_UP = 1_000
RUN_BY_HAND = "run by hand"
MAX_ACTOR, MAX_REASON, MAX_WORD = 150, 500, 40


class BadSchedule(Invalid):
    """`field` is the one that is wrong."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail, field=field)
        self.field = field


class NameTaken(Conflicting):
    pass


class IdTaken(Conflicting):
    pass


class DeclaredInCode(Conflicting):
    pass


class StaleSchedule(Conflicting):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What somebody says about a schedule. `queue` empty: its workflow's; `payload` None: the tick."""

    name: str
    workflow: str
    cron: str = ""
    timezone: str = "UTC"
    every: int | None = None
    at: dt.datetime | None = None
    queue: str = ""
    payload: str | None = None
    catch_up: str = Schedule.CatchUp.LATEST.value
    catch_up_most: int = 100
    overlap: str = Schedule.Overlap.ALLOW.value

    @classmethod
    def of(cls, row: Schedule) -> Spec:
        return cls(
            name=row.name, workflow=row.workflow, cron=row.cron, timezone=row.timezone, every=row.every, at=row.at,
            queue=row.queue.name if row.queue else "", payload=row.payload, catch_up=row.catch_up,
            catch_up_most=row.catch_up_most, overlap=row.overlap,
        )  # fmt: skip

    @property
    def timing(self) -> tuple[str, str, int | None, dt.datetime | None]:
        return self.cron, self.timezone, self.every, self.at


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something, and through what."""

    actor: str
    through: Change.Through
    reason: str = ""


# -- the verbs -------------------------------------------------------------------------------------


def create(spec: Spec, act: Act, *, id: UUID | None = None) -> Schedule:
    """Raises BadSchedule, NameTaken."""
    with transaction.atomic():
        now = database_now()
        home = _checked(spec, now)
        _check_name(spec.name)
        return _insert(spec, act, now, home, id=id or uuid7())


def made_before(id: UUID, spec: Spec) -> bool:
    """Whether this request was carried out already. Raises IdTaken when another schedule has its id."""
    found = Schedule.objects.filter(id=id).values_list("name", "workflow").first()
    if found not in (None, (spec.name, spec.workflow)):
        raise IdTaken(f"Another schedule has the id {id}.")
    return found is not None


def change(schedule_id: UUID, spec: Spec, act: Act, *, expected_version: int | None = None) -> Schedule:
    """Raises BadSchedule, NameTaken, NotFound, DeclaredInCode, StaleSchedule."""
    with transaction.atomic():
        row, now = _lock(schedule_id), database_now()
        _check_free(row, "changed")
        _check_version(row, expected_version)
        home = _checked(spec, now if spec.timing != Spec.of(row).timing else None)
        if spec.name != row.name:
            _check_name(spec.name)
        return _update(row, spec, act, now, home)


def delete(schedule_id: UUID, act: Act, *, expected_version: int | None = None) -> None:
    """What it started goes on. Raises NotFound, DeclaredInCode, StaleSchedule."""
    with transaction.atomic():
        row = _lock(schedule_id)
        _check_free(row, "deleted")
        _check_version(row, expected_version)
        _remove(row, act, database_now())


def pause(schedule_id: UUID, act: Act, *, expected_version: int | None = None) -> Schedule:
    """It does not tick until somebody resumes it. Pausing again gives the pause another reason."""
    with transaction.atomic():
        row, now = _lock(schedule_id), database_now()
        _check_version(row, expected_version)
        _note(row, act, now, "paused" if row.paused else "running", "paused")
        return _write(
            row, paused=True, paused_by=clean(act.actor, MAX_ACTOR), paused_reason=clean(act.reason, MAX_REASON),
            paused_at=row.paused_at or now, next_at=None,
        )  # fmt: skip


def resume(schedule_id: UUID, act: Act, *, expected_version: int | None = None) -> Schedule:
    """It ticks from now on. One that is not paused stays as it is."""
    with transaction.atomic():
        row, now = _lock(schedule_id), database_now()
        if not row.paused:
            return row
        _check_version(row, expected_version)
        _note(row, act, now, "paused", "running")
        return _write(row, next_at=timing_of(row).next(now), **_NOT_PAUSED)


def run_now(schedule_id: UUID, act: Act, *, execution_id: UUID | None = None) -> UUID:
    """Starts one execution, whatever pause and policies say; returns its id. Repeating it has no second effect.

    Raises NotFound, and Conflicting when something else has this id or the queue is draining.
    """
    with transaction.atomic():
        row, now = _lock(schedule_id), database_now()
        if execution_id is not None and (known := _known_run(row, execution_id)):
            return known
        queue, workflow = _home(row)
        if queue.draining:
            raise Conflicting(f"The queue {queue.name} is draining: it takes nothing new until somebody lets it.")
        new_id = execution_id or uuid7()
        item = _execution(row, now, new_id, workflow)
        _enqueue(Placed(item, queue.id))
        Tick.objects.create(
            schedule=row, at=now, outcome=Tick.Outcome.STARTED, by=clean(act.actor, MAX_ACTOR),
            execution_id=new_id, open=True,
        )  # fmt: skip
        _note(row, act, now, "", RUN_BY_HAND)
    return new_id


# -- what code declares ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as a worker declares it; `spec` None: the workflow has none (any more)."""

    workflow: str
    spec: Spec | None
    place: str = ""


def declare(worker: str, declared: Sequence[Declared]) -> list[str]:
    """Makes the schedules of code be what this worker says; returns sentences for its log. Raises BadSchedule."""
    with transaction.atomic():
        _lock_declarations()
        now = database_now()
        rows = Schedule.objects.select_for_update(no_key=True).filter(
            declared=True, workflow__in=[each.workflow for each in declared]
        )
        known = {row.workflow: row for row in rows.order_by("id")}
        told = [_declare(known.get(each.workflow), each, worker, now) for each in declared]
        return [sentence for sentence in told if sentence]


def forget(workflows: Sequence[str]) -> None:
    """The schedules that code declared for these workflows, which it has no more, go."""
    with transaction.atomic():
        _lock_declarations()
        now = database_now()
        rows = Schedule.objects.select_for_update(no_key=True).filter(declared=True, workflow__in=workflows)
        for row in rows.order_by("id"):
            _remove(
                row, Act(row.declared_by, Change.Through.WORKER, "its code has no such workflow any more"), now
            )


def _declare(row: Schedule | None, declared: Declared, worker: str, now: dt.datetime) -> str:
    act = Act(worker, Change.Through.WORKER, declared.place)
    if declared.spec is None:
        if row is not None:
            _remove(row, act, now)
        return ""
    spec = declared.spec
    if row is not None and is_as_declared(row, declared, worker):
        return ""
    past = spec.at is not None and spec.at <= now
    home = _checked(spec, None)
    if row is None:
        _insert(_with_a_free_name(spec), act, now, home, declared=True, declared_by=worker, place=declared.place)
    else:
        _update(row, replace(spec, name=row.name), act, now, home, declared_by=worker, place=declared.place)
    return f"The schedule of {spec.workflow} is in the past: it does not tick." if past else ""


def is_as_declared(row: Schedule, declared: Declared, worker: str) -> bool:
    if declared.spec is None:
        return False
    same = replace(declared.spec, name=row.name) == Spec.of(row)
    return same and (row.declared_by, row.place) == (worker, declared.place)


def _with_a_free_name(spec: Spec) -> Spec:
    """A person may have used the workflow's name already."""
    taken = set(Schedule.objects.filter(name__startswith=spec.name[:190]).values_list("name", flat=True))
    name, number = spec.name, 1
    while name in taken:
        number += 1
        name = f"{spec.name[:190]}-{number}"
    return replace(spec, name=name)


def _lock_declarations() -> None:
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [LOCK_CLASS, Lock.DECLARATIONS.value])


# -- one change ------------------------------------------------------------------------------------

_NOT_PAUSED = {"paused": False, "paused_by": "", "paused_reason": "", "paused_at": None}


def _lock(schedule_id: UUID) -> Schedule:
    row = Schedule.objects.select_for_update(no_key=True, of=("self",)).filter(id=schedule_id).first()
    if row is None:
        raise NotFound(f"There is no schedule {schedule_id}.")
    return row


def _insert(
    spec: Spec, act: Act, now: dt.datetime, home: Queue, *, declared: bool = False, **columns: str | UUID
) -> Schedule:
    row = Schedule(
        anchor=now, declared=declared, created_by=clean(act.actor, MAX_ACTOR), created_at=now,
        **columns, **_columns(spec),
    )  # fmt: skip
    row.next_at = timing_of(row).next(now)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise _taken(spec.name) from None
    _note(row, act, now, "none", timing_of(row).in_words(), home)
    return row


def _update(row: Schedule, spec: Spec, act: Act, now: dt.datetime, home: Queue, **columns: str) -> Schedule:
    before = timing_of(row).in_words()
    same = Spec.of(row)
    if spec == same:  # at most another worker declares it: nobody has a stale view for that
        if columns:
            Schedule.objects.filter(id=row.id).update(**columns)
        return row
    if spec.timing != same.timing:
        timing = Timing(cron=spec.cron, timezone=spec.timezone, every=spec.every, at=spec.at, anchor=now)
        moved = {"anchor": now, "next_at": None if row.paused else timing.next(now)}
    else:
        moved = {}
    changed = _write(row, **_columns(spec), **moved, **columns)
    _note(changed, act, now, before, timing_of(changed).in_words(), home)
    return changed


def _remove(row: Schedule, act: Act, now: dt.datetime) -> None:
    _note(row, act, now, timing_of(row).in_words(), "none")
    row.delete()


def _write(row: Schedule, **columns: object) -> Schedule:
    try:
        with transaction.atomic():
            Schedule.objects.filter(id=row.id).update(version=F("version") + 1, **columns)
    except IntegrityError:
        raise _taken(str(columns.get("name", row.name))) from None
    row.refresh_from_db()
    return row


def _columns(spec: Spec) -> dict[str, object]:
    return {
        "name": spec.name, "workflow": spec.workflow, "cron": spec.cron, "timezone": spec.timezone,
        "every": spec.every, "at": spec.at, "payload": spec.payload, "catch_up": spec.catch_up,
        "catch_up_most": spec.catch_up_most, "overlap": spec.overlap,
        "queue": Queue.objects.get(name=spec.queue) if spec.queue else None,
    }  # fmt: skip


def _note(row: Schedule, act: Act, now: dt.datetime, before: str, after: str, queue: Queue | None = None) -> None:
    Change.objects.create(
        queue=queue or _home(row)[0], at=now, kind=Change.Kind.SCHEDULE, subject=row.name, before=_short(before),
        after=_short(after), actor=clean(act.actor, MAX_ACTOR), reason=clean(act.reason, MAX_REASON),
        through=act.through,
    )  # fmt: skip


def _short(word: str) -> str:
    return word if len(word) <= MAX_WORD else word[: MAX_WORD - 1] + "…"


def timing_of(row: Schedule) -> Timing:
    return Timing(cron=row.cron, timezone=row.timezone, every=row.every, at=row.at, anchor=row.anchor)


# -- checks ----------------------------------------------------------------------------------------


def _checked(spec: Spec, now: dt.datetime | None) -> Queue:
    """The queue that its executions go to. With `now`, a single time has to be in the future."""
    try:
        Timing(cron=spec.cron, timezone=spec.timezone, every=spec.every, at=spec.at).check()
    except BadTiming as bad:
        raise BadSchedule(bad.field, str(bad)) from None
    if now is not None and spec.at is not None and spec.at <= now:
        raise BadSchedule("at", "This time is in the past: choose a later one.")
    if spec.catch_up not in Schedule.CatchUp.values:
        raise BadSchedule("catch_up", f"catch_up is one of {', '.join(Schedule.CatchUp.values)}.")
    if spec.overlap not in Schedule.Overlap.values:
        raise BadSchedule("overlap", f"overlap is one of {', '.join(Schedule.Overlap.values)}.")
    if not 1 <= spec.catch_up_most <= MAX_CATCH_UP:
        raise BadSchedule("catch_up_most", f"At most so many are caught up: a number from 1 to {MAX_CATCH_UP:,}.")
    if spec.payload is not None and (found := json_problem(spec.payload.encode(), MAX_PAYLOAD_BYTES)):
        raise BadSchedule("payload", f"The payload {found}.")
    return _checked_home(spec)


def _checked_home(spec: Spec) -> Queue:
    workflow = Workflow.objects.select_related("queue").filter(id=spec.workflow).first()
    if workflow is None:
        raise no_workflow(spec.workflow)
    if not spec.queue:
        return workflow.queue
    queue = Queue.objects.filter(name=spec.queue).first()
    if queue is None:
        raise no_queue(spec.queue)
    return queue


def no_workflow(name: str) -> BadSchedule:
    told = f"No worker has registered a workflow named “{name}” yet: start one that declares it."
    return BadSchedule("workflow", told)


def no_queue(name: str) -> BadSchedule:
    return BadSchedule("queue", f"There is no queue named “{name}”.")


def _check_name(name: str) -> None:
    if found := name_problem(name):
        raise BadSchedule("name", f"“{name}” cannot name a schedule: {found}.")
    if Schedule.objects.filter(name=name).exists():
        raise _taken(name)


def _taken(name: str) -> NameTaken:
    return NameTaken(f"There is a schedule named “{name}” already.", field="name")


def _check_free(row: Schedule, done: str) -> None:
    if row.declared:
        raise DeclaredInCode(
            f"This schedule is declared in code ({row.place or row.workflow}): it can be paused here, but only be "
            f"{done} there."
        )


def _check_version(row: Schedule, expected: int | None) -> None:
    if expected is None or expected == row.version:
        return
    changes = Change.objects.filter(kind=Change.Kind.SCHEDULE, subject=row.name).exclude(after=RUN_BY_HAND)
    missed = changes[: min(max(row.version - expected, 1), 3)]
    told = " and ".join(f"{one.actor} changed it from {one.before} to {one.after}" for one in missed)
    told = told or "Somebody changed this schedule"
    raise StaleSchedule(
        f"{told} since you opened this. Nothing was changed: look again, then decide.", version=row.version
    )


# -- running by hand -------------------------------------------------------------------------------


def _home(row: Schedule) -> tuple[Queue, Workflow]:
    workflow = Workflow.objects.select_related("queue").get(id=row.workflow)
    return row.queue or workflow.queue, workflow


def _known_run(row: Schedule, execution_id: UUID) -> UUID | None:
    if Tick.objects.filter(schedule=row, execution_id=execution_id).exists():
        return execution_id
    with connection.cursor() as cursor:
        cursor.execute("select 1 from queues_execution where id = %s::uuid", [execution_id])
        if cursor.fetchone():
            raise Conflicting("Another execution has this id.")
    return None


def _execution(row: Schedule, now: dt.datetime, id: UUID, workflow: Workflow) -> NewExecution:
    payload = row.payload
    if payload is None:
        payload = tick_payload(
            id=row.id, name=row.name, timezone=row.timezone, at=now, last=row.ticked_at,
            next=timing_of(row).next(now),
        )  # fmt: skip
    return NewExecution(
        id=id, workflow_id=row.workflow, payload=Raw(payload.encode()), max_attempts=workflow.max_attempts,
        priority=workflow.priority, queue_timeout=workflow.queue_timeout,
        execution_timeout=workflow.execution_timeout,
    )  # fmt: skip


def _enqueue(placed: Placed) -> None:
    with connection.cursor() as cursor:
        for name, values in insertions([placed]):
            cursor.execute(statement(name), values)
    tell([f"limits:{placed.queue_id}"])
