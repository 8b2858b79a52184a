"""Schedules in tests: made by the verbs, and made due by writing the past into their rows."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from queues.models import Change, Execution, Status
from workflows import schedules
from workflows.models import Schedule, Tick
from workflows.schedules import Act, Spec

WORKFLOW = "report"
ANA = Act("ana", Change.Through.PAGE, "because")


def make(name: str = "nightly", **said: Any) -> Schedule:
    timing = {} if {"every", "at"} & set(said) else {"cron": "0 3 * * *"}
    return schedules.create(Spec(name=name, workflow=WORKFLOW, **{**timing, **said}), ANA)


def due(schedule: Schedule, seconds: float = 1, **columns: Any) -> dt.datetime:
    """The schedule is due since so many seconds; returns the time of the tick."""
    at = timezone.now() - dt.timedelta(seconds=seconds)
    Schedule.objects.filter(id=schedule.id).update(next_at=at, anchor=at, **columns)
    return at


def row(schedule: Schedule) -> Schedule:
    return Schedule.objects.get(id=schedule.id)


def write(schedule: Schedule, **columns: Any) -> None:
    Schedule.objects.filter(id=schedule.id).update(**columns)


def finish(execution: Execution) -> None:
    Execution.objects.filter(id=execution.id).update(status=Status.COMPLETED, finished_at=timezone.now())


def payload_of(execution: Execution) -> str:
    """As it is stored."""
    with connection.cursor() as cursor:
        cursor.execute("select payload::text from queues_execution where id = %s", [execution.id])
        return str(cursor.fetchone()[0])


def times(schedule: Schedule) -> list[dt.datetime]:
    return list(Tick.objects.filter(schedule=schedule).order_by("at").values_list("at", flat=True))


def started(schedule: Schedule) -> list[Execution]:
    return list(Execution.objects.filter(id__in=ids_of(schedule)).order_by("id"))


def ids_of(schedule: Schedule) -> list[UUID]:
    ids = Tick.objects.filter(schedule=schedule, execution_id__isnull=False).values_list("execution_id", flat=True)
    return [id for id in ids if id is not None]


def outcomes(schedule: Schedule) -> list[str]:
    return list(Tick.objects.filter(schedule=schedule).order_by("at").values_list("outcome", flat=True))
