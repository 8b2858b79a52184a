"""Schedules over REST: what is read and answered; the verbs are those of `workflows.schedules`."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.utils import timezone
from msgspec import UNSET, Raw

from queues.keys import Principal
from queues.models import Change
from queues.problems import Invalid, NotFound
from workflows import schedules
from workflows.models import Schedule, Tick, Workflow
from workflows.schedules import Act, Spec, timing_of
from workflows.timing import BadTiming, upcoming

from .checks import time_problem
from .replies import NewSchedule, ScheduleChange, SchedulePage, SchedulePause, ScheduleView, TickView

SHOWN = 5  # of the next ticks, and of the last ones


def one(principal: Principal, schedule_id: UUID) -> ScheduleView:
    return _views([known(principal, schedule_id)])[0]


def page(principal: Principal, *, workflow: str | None, limit: int, cursor: str) -> SchedulePage:
    """By name; the cursor is the last name of the page before."""
    found = Schedule.objects.select_related("queue").filter(name__gt=cursor)
    if workflow is not None:
        found = found.filter(workflow=workflow)
    homes = _homes()
    rows = [row for row in found if principal.reaches(_queue_of(row, homes))][: limit + 1]
    more = len(rows) > limit
    return SchedulePage(schedules=_views(rows[:limit]), next_cursor=rows[limit - 1].name if more else None)


def known(principal: Principal, schedule_id: UUID) -> Schedule:
    """A schedule that exists, as far as this caller may know."""
    row = Schedule.objects.select_related("queue").filter(id=schedule_id).first()
    if row is None or not principal.reaches(_queue_of(row, _homes(row.workflow))):
        raise NotFound(f"There is no schedule {schedule_id}.")
    return row


def create(principal: Principal, said: NewSchedule) -> ScheduleView:
    spec = Spec(
        name=said.name or said.workflow_id, workflow=said.workflow_id, cron=said.cron, timezone=said.timezone,
        every=said.every, at=said.at, queue=said.queue_name or "", payload=_text(said.payload),
        catch_up=said.catch_up, catch_up_most=said.catch_up_most, overlap=said.overlap,
    )  # fmt: skip
    _check_time(said.at)
    _check_reach(principal, spec)
    row = schedules.create(spec, act_of(principal))
    return one(principal, row.id)


def change(principal: Principal, schedule_id: UUID, said: ScheduleChange) -> ScheduleView:
    row = known(principal, schedule_id)
    spec = _changed(Spec.of(row), said)
    _check_time(None if said.at is UNSET else said.at)
    _check_reach(principal, spec)
    schedules.change(schedule_id, spec, act_of(principal, said.reason), expected_version=said.expected_version)
    return one(principal, schedule_id)


def act_of(principal: Principal, reason: str = "") -> Act:
    return Act(principal.actor, Change.Through.REST, reason)


def _changed(spec: Spec, said: ScheduleChange) -> Spec:
    renamed = {"workflow_id": "workflow", "queue_name": "queue"}
    fields: dict[str, Any] = {
        renamed.get(name, name): getattr(said, name)
        for name in said.__struct_fields__
        if name not in ("reason", "expected_version") and getattr(said, name) is not UNSET
    }
    if given := {"cron", "every", "at"} & set(fields):
        others: dict[str, Any] = {"cron": "", "every": None, "at": None}
        fields |= {name: value for name, value in others.items() if name not in given}
    if "payload" in fields:
        fields["payload"] = _text(fields["payload"])
    if fields.get("queue", "") is None:
        fields["queue"] = ""
    return replace(spec, **fields)


def _text(raw: Any) -> str | None:
    return bytes(raw).decode() if isinstance(raw, Raw) else None


def _check_time(at: Any) -> None:
    if problem := time_problem("at", at):
        raise Invalid(problem)


def _check_reach(principal: Principal, spec: Spec) -> None:
    """A key for some queues must not put work on others."""
    queue = spec.queue or _homes(spec.workflow).get(spec.workflow, "")
    if queue and not principal.reaches(queue):
        raise NotFound(f"There is no queue named {queue} for this API key.")


# -- views -------------------------------------------------------------------------------------------


def _views(rows: list[Schedule]) -> list[ScheduleView]:
    homes, now = _homes(), timezone.now()
    ticks = last_ticks([row.id for row in rows])
    return [_view(row, _queue_of(row, homes), ticks[row.id], now) for row in rows]


def _view(row: Schedule, queue: str, ticks: list[Tick], now: dt.datetime) -> ScheduleView:
    paused = SchedulePause(reason=row.paused_reason, by=row.paused_by, at=row.paused_at) if row.paused else None
    return ScheduleView(
        id=row.id, name=row.name, workflow_id=row.workflow, queue=queue, cron=row.cron or None,
        timezone=row.timezone, every=row.every, at=row.at,
        payload=None if row.payload is None else Raw(row.payload.encode()),
        catch_up=row.catch_up, catch_up_most=row.catch_up_most, overlap=row.overlap, paused=paused,
        declared=row.declared, place=row.place, created_by=row.created_by, created_at=row.created_at,
        next=next_ticks(row, now), ticks=[_tick(tick) for tick in ticks], version=row.version,
    )  # fmt: skip


def next_ticks(row: Schedule, now: dt.datetime) -> list[dt.datetime]:
    if row.paused or row.next_at is None:
        return []
    try:
        return upcoming(timing_of(row), now, SHOWN)
    except BadTiming:
        return []


def last_ticks(ids: list[UUID]) -> defaultdict[UUID, list[Tick]]:
    """The newest first. One look at the index for each schedule: of one that ticks often there are many."""
    found: defaultdict[UUID, list[Tick]] = defaultdict(list)
    for schedule_id in ids:
        found[schedule_id] = list(Tick.objects.filter(schedule=schedule_id)[:SHOWN])
    return found


def _tick(tick: Tick) -> TickView:
    return TickView(at=tick.at, outcome=tick.outcome, note=tick.note, by=tick.by, execution_id=tick.execution_id)


def _homes(workflow: str | None = None) -> dict[str, str]:
    """Workflow → the queue that its executions go to."""
    found = Workflow.objects.all() if workflow is None else Workflow.objects.filter(id=workflow)
    return dict(found.values_list("id", "queue__name"))


def _queue_of(row: Schedule, homes: dict[str, str]) -> str:
    return row.queue.name if row.queue else homes.get(row.workflow, row.workflow)
