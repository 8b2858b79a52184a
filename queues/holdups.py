"""Why an execution that is queued does not start, in one sentence for its page. Nothing here writes or locks.

It goes through what a claim looks at (`sql/claim.sql`), in the order in which one would mend it: pause, a limit
of 0, whether a living worker serves the workflow on this queue, how many hold against the limit, and what those
workers can still take.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from .fragments import EMPTY, ago, moment, since
from .models import HELD, Execution, Queue, Registration, Status, Worker

MOST_NAMED = 2  # holders


@dataclass(frozen=True, slots=True)
class Fleet:
    """Living workers that take work and serve the workflow on the queue: how many, and their slots."""

    workers: int
    slots: int
    taken: int


def why(execution: Execution, queue: Queue, now: dt.datetime) -> SafeString:
    """Empty for what is not queued."""
    if execution.status != Status.QUEUED:
        return EMPTY
    if queue.paused:
        return _paused(queue, now)
    if queue.effective_limit == 0:
        return format_html("{}", "The limit is 0, so nothing starts.")
    fleet = _fleet(queue, execution.workflow, now)
    if not fleet.workers:
        return _nobody(queue, execution.workflow, now)
    held = Execution.objects.filter(queue=queue, status__in=HELD)
    count = held.count()
    if queue.effective_limit is not None and count >= queue.effective_limit:
        longest = list(held.order_by("claimed_at").values_list("id", "workflow", "claimed_at")[:MOST_NAMED])
        return _full(count, queue.effective_limit, longest, now)
    return _room(fleet)


def _fleet(queue: Queue, workflow: str, now: dt.datetime) -> Fleet:
    serving = Worker.objects.filter(
        registrations__queue=queue,
        registrations__workflow=workflow,
        state=Worker.State.ALIVE,
        lease_until__gt=now,
    )
    slots = dict(serving.values_list("id", "max_concurrent"))
    taken = Execution.objects.filter(worker_id__in=slots, status__in=HELD).count()
    return Fleet(len(slots), sum(slots.values()), taken)


def _paused(queue: Queue, now: dt.datetime) -> SafeString:
    return format_html(
        "Paused{} by {}{}; {}.",
        format_html(" {}", ago(queue.paused_at, now)) if queue.paused_at else EMPTY,
        queue.paused_by or "somebody",
        format_html(": “{}”", queue.paused_reason) if queue.paused_reason else EMPTY,
        format_html("resumes at {}", moment(queue.paused_until))
        if queue.paused_until
        else "nothing starts until someone resumes it",
    )


def _nobody(queue: Queue, workflow: str, now: dt.datetime) -> SafeString:
    gone = (
        Registration.objects.filter(queue=queue, workflow=workflow)
        .order_by("-worker__heartbeat_at")
        .select_related("worker")
        .first()
    )
    if gone is None:
        return format_html("No worker serves {} here. Start one that registers it.", workflow)
    address = reverse("worker", args=[gone.worker_id])
    if gone.worker.state == Worker.State.DRAINING and gone.worker.lease_until > now:
        return format_html(
            'No worker takes {} here: <a class=mono href="{}">{}</a> is draining.',
            workflow,
            address,
            gone.worker.name,
        )
    return format_html(
        'No worker serves {} here; the last one, <a class=mono href="{}">{}</a>, was heard of {}.',
        workflow,
        address,
        gone.worker.name,
        ago(gone.worker.heartbeat_at, now),
    )


def _full(
    held: int, limit: int, longest: list[tuple[UUID, str, dt.datetime | None]], now: dt.datetime
) -> SafeString:
    named = format_html_join(
        ", ",
        '<a href="{}">{}</a> ({})',
        ((reverse("execution", args=[id]), workflow, since(at, now)) for id, workflow, at in longest if at),
    )
    lowered = " (it was lowered)" if held > limit else ""
    return format_html("Full: {} of {} running{}. Held longest by {}.", held, limit, lowered, named)


def _room(fleet: Fleet) -> SafeString:
    if fleet.taken < fleet.slots:
        return format_html("{}", "The queue has room: a worker takes it in its turn.")
    full = "its worker is full" if fleet.workers == 1 else f"its {fleet.workers:,} workers are full"
    return format_html(
        "The queue has room, but {}: {} of {} slots taken.",
        full,
        f"{fleet.taken:,}",
        f"{fleet.slots:,}",
    )
