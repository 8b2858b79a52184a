"""Schedules as pages and REST show them: where they go, when they tick next, and what came of the last ticks."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q

from queues.access import Sight
from queues.engine.arrays import uuids
from queues.engine.statements import statement
from queues.models import Registration, Worker
from queues.names import name_problem

from .models import Schedule, Trigger, Workflow
from .schedules import timing_of
from .timing import BadTiming, upcoming

SHOWN = 5  # of the next ticks, and of the last ones
MOST_WORDS = 8


class Ran(NamedTuple):
    """A tick, and the status of its execution (empty when nothing was started, or it is deleted)."""

    at: dt.datetime
    outcome: str
    note: str
    by: str
    execution_id: UUID | None
    status: str | None

    @property
    def word(self) -> str:
        return self.status or self.outcome


@dataclass(frozen=True, slots=True)
class Row:
    schedule: Schedule
    queue: str
    served: bool  # a worker that is alive runs the workflow
    next: list[dt.datetime]
    last: list[Ran]
    timing: str
    explained: str  # a cron in English, else empty

    @property
    def state(self) -> str:
        if self.schedule.paused:
            return "paused"
        if self.schedule.next_at is None:
            return "over"
        return "on" if self.served else "no worker"


def rows(found: Sequence[Schedule], now: dt.datetime, *, ticks: int = SHOWN) -> list[Row]:
    """The schedules with all that is shown about them; `queue` should be selected with them."""
    names = {schedule.workflow for schedule in found}
    homes = homes_of(names)
    served, last = _served(names), last_ticks([schedule.id for schedule in found], ticks)
    return [
        Row(
            schedule=schedule,
            queue=queue_of(schedule, homes),
            served=schedule.workflow in served,
            next=next_ticks(schedule, now),
            last=last[schedule.id],
            timing=timing_of(schedule).in_words(),
            explained=_explained(schedule),
        )
        for schedule in found
    ]


class Triggered(NamedTuple):
    """A trigger, and how many events wait for their batch to be full or its time to come."""

    trigger: Trigger
    queue: str
    waiting: int


def triggered(sight: Sight) -> list[Triggered]:
    """The triggers of workflows whose queues are within sight, by workflow."""
    homes = homes_of()
    found = Trigger.objects.annotate(waiting=Count("arrival"))
    rows = [Triggered(each, homes.get(each.workflow, each.workflow), each.waiting) for each in found]
    return [row for row in rows if sight.covers(row.queue)]


def search(
    text: str,
    *,
    after: str,
    most: int,
    covers: Callable[[str], bool] | None,
    workflow: str | None = None,
    name: str | None = None,
) -> list[Schedule]:
    """Those with every word of a text in the name of the schedule or its workflow, by name, from `after` on.

    `covers` says which queues somebody sees; None: all of them.
    """
    if "\0" in after or any(given is not None and name_problem(given) for given in (workflow, name)):
        return []  # PostgreSQL cannot even be asked
    wanted = Q()
    for word in text.split()[:MOST_WORDS]:
        wanted &= Q(name__icontains=word) | Q(workflow__icontains=word)
    if workflow is not None:
        wanted &= Q(workflow=workflow)
    if name is not None:
        wanted &= Q(name=name)
    found = Schedule.objects.select_related("queue").filter(wanted, name__gt=after)
    if covers is None:
        return list(found[:most])
    homes = homes_of()
    return list(islice((schedule for schedule in found if covers(queue_of(schedule, homes))), most))


def homes_of(workflows: set[str] | None = None) -> dict[str, str]:
    """Workflow → the queue that its executions go to."""
    found = Workflow.objects.order_by("id") if workflows is None else Workflow.objects.filter(id__in=workflows)
    return dict(found.values_list("id", "queue__name"))


def queue_of(schedule: Schedule, homes: dict[str, str]) -> str:
    return schedule.queue.name if schedule.queue else homes.get(schedule.workflow, schedule.workflow)


def next_ticks(schedule: Schedule, now: dt.datetime) -> list[dt.datetime]:
    """From the one that is announced on, also when it is a moment late."""
    if schedule.paused or schedule.next_at is None:
        return []
    try:
        later = upcoming(timing_of(schedule), max(schedule.next_at, now), SHOWN - 1)
    except BadTiming:
        return []
    return [schedule.next_at, *later]


def last_ticks(schedules: Sequence[UUID], most: int = SHOWN) -> defaultdict[UUID, list[Ran]]:
    found: defaultdict[UUID, list[Ran]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement("last_ticks", "workflows"), {"schedules": uuids(schedules), "most": most})
        for schedule_id, *ran in cursor.fetchall():
            found[schedule_id].append(Ran(*ran))
    return found


def _served(workflows: set[str]) -> set[str]:
    alive = Registration.objects.filter(workflow__in=workflows, worker__state=Worker.State.ALIVE)
    return set(alive.values_list("workflow", flat=True).distinct())


def _explained(schedule: Schedule) -> str:
    try:
        return timing_of(schedule).explained()
    except BadTiming:
        return ""
