"""Schedules over REST: what is read and answered; the verbs are those of `workflows.schedules`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.utils import timezone
from msgspec import UNSET, Raw

from queues.access import EVERYWHERE
from queues.keys import Principal
from queues.models import Change
from queues.problems import Invalid, NotFound
from workflows import listing, schedules
from workflows.listing import Ran, Row, Triggered
from workflows.models import Schedule
from workflows.schedules import Act, Spec

from .checks import time_problem
from .replies import (
    NewSchedule,
    ScheduleChange,
    SchedulePage,
    SchedulePause,
    ScheduleView,
    TickView,
    TriggerList,
    TriggerView,
)


def one(principal: Principal, schedule_id: UUID) -> ScheduleView:
    return _views([known(principal, schedule_id)])[0]


def page(principal: Principal, *, workflow: str | None, name: str | None, limit: int, cursor: str) -> SchedulePage:
    """By name; the cursor is the last name of the page before."""
    covers = principal.reaches if principal.patterns else None
    rows = listing.search("", workflow=workflow, name=name, after=cursor, most=limit + 1, covers=covers)
    more = len(rows) > limit
    return SchedulePage(schedules=_views(rows[:limit]), next_cursor=rows[limit - 1].name if more else None)


def known(principal: Principal, schedule_id: UUID) -> Schedule:
    """A schedule that exists, as far as this caller may know."""
    row = Schedule.objects.select_related("queue").filter(id=schedule_id).first()
    if row is None or not principal.reaches(listing.queue_of(row, listing.homes_of({row.workflow}))):
        raise NotFound(f"There is no schedule {schedule_id}.")
    return row


def create(principal: Principal, said: NewSchedule) -> tuple[ScheduleView, bool]:
    """And whether it was made now."""
    spec = Spec(
        name=said.name or said.workflow_id, workflow=said.workflow_id, cron=said.cron, timezone=said.timezone,
        every=said.every, at=said.at, queue=said.queue_name or "", payload=_text(said.payload),
        catch_up=said.catch_up, catch_up_most=said.catch_up_most, overlap=said.overlap,
    )  # fmt: skip
    _check_time(said.at)
    _check_reach(principal, spec)
    if said.id is not None and schedules.made_before(said.id, spec):
        return one(principal, said.id), False
    return one(principal, schedules.create(spec, act_of(principal), id=said.id).id), True


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
    queue = spec.queue or listing.homes_of({spec.workflow}).get(spec.workflow, "")
    if queue and not principal.reaches(queue):
        raise NotFound(f"There is no queue named {queue} for this API key.")


def triggers(principal: Principal) -> TriggerList:
    found = [row for row in listing.triggered(EVERYWHERE) if principal.reaches(row.queue)]
    return TriggerList(triggers=[_trigger(row) for row in found])


def _trigger(row: Triggered) -> TriggerView:
    trigger = row.trigger
    return TriggerView(
        workflow_id=trigger.workflow, queue=row.queue, topic=trigger.topic, batch_size=trigger.batch_size,
        batch_timeout=trigger.batch_timeout, waiting=row.waiting, declared_by=trigger.declared_by,
        place=trigger.place, declared_at=trigger.declared_at,
    )  # fmt: skip


# -- views -------------------------------------------------------------------------------------------


def _views(found: list[Schedule]) -> list[ScheduleView]:
    return [_view(row) for row in listing.rows(found, timezone.now())]


def _view(row: Row) -> ScheduleView:
    schedule = row.schedule
    return ScheduleView(
        id=schedule.id, name=schedule.name, workflow_id=schedule.workflow, queue=row.queue,
        cron=schedule.cron or None, timezone=schedule.timezone, every=schedule.every, at=schedule.at,
        payload=None if schedule.payload is None else Raw(schedule.payload.encode()),
        catch_up=schedule.catch_up, catch_up_most=schedule.catch_up_most, overlap=schedule.overlap,
        paused=_pause(schedule), declared=schedule.declared, place=schedule.place,
        created_by=schedule.created_by, created_at=schedule.created_at, next=row.next,
        ticks=[_tick(ran) for ran in row.last], version=schedule.version,
    )  # fmt: skip


def _pause(schedule: Schedule) -> SchedulePause | None:
    if not schedule.paused:
        return None
    return SchedulePause(reason=schedule.paused_reason, by=schedule.paused_by, at=schedule.paused_at)


def _tick(ran: Ran) -> TickView:
    return TickView(
        at=ran.at, outcome=ran.outcome, note=ran.note, by=ran.by, execution_id=ran.execution_id, status=ran.status
    )
