"""One execution, and what one can do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from queues import details, reads
from queues.access import NO_EXECUTION, Action, needs, queue_of_execution, sight
from queues.again import again
from queues.engine import operate
from queues.engine.errors import ExecutionNotFound, NotPossible
from queues.engine.workers import release_slot
from queues.models import FINAL, Change, Queue
from queues.story import story

from .replies import actor, done, refused


@require_safe
@needs(Action.SEE, of=queue_of_execution)
def show_execution(request: HttpRequest, id: UUID) -> HttpResponse:
    execution = get_execution(id)
    queue = get_object_or_404(Queue, id=execution.queue_id)
    context = {
        "execution": execution,
        "queue": queue,
        "final": execution.status in FINAL,
        "place": reads.place_in_line(execution),
        "now": timezone.now(),
        **told_about(request, execution, queue.name),
    }
    return render(request, "executions/execution.html", context)


def told_about(request: HttpRequest, execution: Any, queue: str) -> dict[str, Any]:
    """What the parts of its page show."""
    log = details.log(execution.id)
    server = settings.POLOS_PUBLIC_URL or request.build_absolute_uri("/")
    recipes = again(execution, execution.payload_text, queue, server)
    return {
        "story": story(execution, reads.attempts(execution), details.waits(execution), timezone.now()),
        "log": log,
        "progress": log.progress,
        "deadlines": reads.deadlines(execution),
        "deduplication": reads.deduplication(execution),
        "steps": reads.steps(execution),
        "family": details.family(execution, sight(request.user)),
        "again": [
            ("again-command", "With the command", recipes.command),
            ("again-rest", "With the REST API", recipes.rest),
            ("again-python", "In Python", recipes.python),
        ],
    }


@require_POST
@needs(Action.CANCEL, of=queue_of_execution)
def cancellation(request: HttpRequest, id: UUID) -> HttpResponse:
    said = "Cancelled. A running one keeps its slot until its worker has stopped it."
    return _act(request, id, operate.cancel_execution, said)


@require_POST
@needs(Action.RETRY, of=queue_of_execution)
def retry(request: HttpRequest, id: UUID) -> HttpResponse:
    return _act(request, id, operate.retry_execution, "Queued again, at the end of the line.")


@require_POST
@needs(Action.RELEASE, of=queue_of_execution)
def release(request: HttpRequest, id: UUID) -> HttpResponse:
    """`claim` is when the claim that was looked at began: another one is not touched."""
    claimed_at = parse_datetime(request.POST.get("claim", ""))
    if claimed_at is None:
        return refused(
            request, "The form does not say which claim it means: load the page again.", "execution", id
        )
    try:
        status = release_slot(id, claimed_at=claimed_at, actor=actor(request), through=Change.Through.PAGE)
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return refused(request, str(no), "execution", id)
    said = "it is back in its place" if status == "queued" else f"it is {status}"
    return done(request, f"The slot is free, and {said}.", "execution", id)


def _act(request: HttpRequest, id: UUID, verb: Callable[..., object], said: str) -> HttpResponse:
    try:
        verb(id, actor=actor(request), through=Change.Through.PAGE)
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return refused(request, str(no), "execution", id)
    return done(request, said, "execution", id)


def get_execution(id: UUID) -> Any:
    execution = reads.execution(id)
    if execution is None:
        raise Http404(NO_EXECUTION)
    return execution
