"""One execution, and what one can do with it."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from msgspec import Raw

from queues import awaited, details, holdups, reads, words
from queues.access import NO_EXECUTION, Action, needs, queue_of_execution, sight
from queues.again import again
from queues.engine import operate
from queues.engine.errors import ExecutionNotFound, NotPossible
from queues.engine.operate import Seen
from queues.engine.workers import release_slot
from queues.models import FINAL, Change, Queue, Status
from queues.rawjson import MAX_PAYLOAD_BYTES, problem
from queues.story import story
from queues.templatetags.page import short

from .confirming import Confirmation, confirm
from .replies import actor, done, refused

CANCELLED = {
    "cancelled": "It is cancelled.",
    "cancelling": "It is asked to stop. It keeps its slot until its worker has stopped it.",
}


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
        "why": holdups.why(execution, queue, timezone.now()),
        "rerun_of": reads.rerun_of(execution),
        "reruns": reads.reruns(execution),
        "now": timezone.now(),
        **told_about(request, execution, queue.name),
    }
    return render(request, "executions/execution.html", context)


def told_about(request: HttpRequest, execution: Any, queue: str) -> dict[str, Any]:
    """What the parts of its page show. Log and recipes are not fetched again: the log goes on by itself."""
    steps = reads.steps(execution)
    family = details.family(execution, sight(request.user))
    parts = {
        "story": story(execution, reads.attempts(execution), details.waits(execution), timezone.now()),
        "deadlines": reads.deadlines(execution),
        "deduplication": reads.deduplication(execution),
        "steps": steps[: reads.MAX_STEPS],
        "more_steps": len(steps) > reads.MAX_STEPS,
        "family": family,
        "has_children": any(member.row.execution.parent_id == execution.id for member in family.members),
        "waits": awaited.waits(execution, sight(request.user)),
    }
    if "Polos-Refresh" in request.headers:
        return parts | {"progress": details.progress_of([execution.id]).get(execution.id)}
    server = settings.POLOS_PUBLIC_URL or request.build_absolute_uri("/")
    log, recipes = details.log(execution.id), again(execution, execution.payload_text, queue, server)
    return parts | {
        "log": log,
        "progress": log.progress,
        "again": [
            ("again-command", "With the command", recipes.command),
            ("again-rest", "With the REST API", recipes.rest),
            ("again-python", "In Python", recipes.python),
        ],
        "again_needs_file": recipes.needs_file,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.CANCEL, of=queue_of_execution)
def cancellation(request: HttpRequest, id: UUID) -> HttpResponse:
    """`children=cancel`, in the address or the form: also everything that it has started."""
    family = (request.POST or request.GET).get("children") == "cancel"
    if request.method != "POST":
        return _cancel_page(request, id, family)
    said: dict[str, Any] = {
        "actor": actor(request), "through": Change.Through.PAGE, "reason": request.POST.get("reason", ""),
        "seen": Seen.read(request.POST.get("seen", "")),
    }  # fmt: skip
    try:
        if family:
            number = operate.cancel_family(id, reaches=sight(request.user, Action.CANCEL).covers, **said)
            told = f"{words.counted(number, 'execution')} cancelled, or asked to stop."
        else:
            told = CANCELLED[operate.cancel_execution(id, **said).status]
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return _cancel_page(request, id, family, problem=no.detail, status=409)
    return done(request, told, "execution", id)


def _cancel_page(
    request: HttpRequest, id: UUID, family: bool, *, problem: str = "", status: int = 200
) -> HttpResponse:
    execution = get_execution(id)
    possible = family or execution.status not in (*FINAL, Status.CANCELLING)
    if family:
        consequence = (
            "It is cancelled, and everything that it has started, and what those have started. What waits is "
            "cancelled at once; what runs keeps its slot until its worker has stopped it."
        )
    elif execution.status == Status.RUNNING:
        consequence = "Its worker is asked to stop it. It keeps its slot until its worker has stopped it."
    else:
        consequence = "It is cancelled at once, and whoever waits for it learns it."
    undone = "It can be undone as far as retrying goes: Retry queues it again, in a new place."
    asked = Confirmation(
        title="Cancel with children" if family else "Cancel", subject=short(execution.id),
        consequence=f"{consequence} {undone}" if possible else f"It is {execution.status}: nothing is to cancel.",
        button=("Cancel all of them" if family else "Cancel execution") if possible else "", danger=True,
        noted=True, back=reverse("execution", args=[id]),
        hidden={"seen": reads.seen(execution), **({"children": "cancel"} if family else {})},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.RETRY, of=queue_of_execution)
def retry(request: HttpRequest, id: UUID) -> HttpResponse:
    if request.method != "POST":
        return _retry_page(request, id)
    try:
        operate.retry_execution(
            id, actor=actor(request), through=Change.Through.PAGE, reason=request.POST.get("reason", ""),
            seen=Seen.read(request.POST.get("seen", "")),
        )  # fmt: skip
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return _retry_page(request, id, problem=no.detail, status=409)
    return done(request, "Queued again, at the end of the line.", "execution", id)


def _retry_page(request: HttpRequest, id: UUID, *, problem: str = "", status: int = 200) -> HttpResponse:
    execution = get_execution(id)
    queue = get_object_or_404(Queue, id=execution.queue_id)
    possible = execution.status in (Status.FAILED, Status.CANCELLED)
    paused = " The queue is paused: it starts once somebody resumes it." if queue.paused else ""
    consequence = (
        f"It is queued again on {queue.name}, at the end of the line, with one more attempt; steps that it has "
        f"done are not run again. Whoever waited for it was told of its end and is not told again.{paused} It can "
        "be undone until it starts: cancel it."
    )
    asked = Confirmation(
        title="Retry", subject=short(execution.id), button="Retry" if possible else "", noted=True,
        consequence=consequence if possible else f"It is {execution.status}: there is nothing to retry.",
        back=reverse("execution", args=[id]), hidden={"seen": reads.seen(execution)},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.RELEASE, of=queue_of_execution)
def release(request: HttpRequest, id: UUID) -> HttpResponse:
    """`claim` is when the claim that was looked at began: another one is not touched."""
    if request.method != "POST":
        return _release_page(request, id)
    claimed_at = _moment(request.POST.get("claim", ""))
    if claimed_at is None:
        return _release_page(request, id, problem="The form did not say which claim it meant.", status=422)
    try:
        status = release_slot(id, claimed_at=claimed_at, actor=actor(request), through=Change.Through.PAGE)
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return _release_page(request, id, problem=no.detail, status=409)
    said = "it is back in its place" if status == "queued" else f"it is {status}"
    return done(request, f"The slot is free, and {said}.", "execution", id)


def _release_page(request: HttpRequest, id: UUID, *, problem: str = "", status: int = 200) -> HttpResponse:
    execution = get_execution(id)
    queue, possible = get_object_or_404(Queue, id=execution.queue_id), reads.has_dead_holder(execution)
    consequence = (
        "Its worker’s lease is over, so it cannot finish this any more: the execution goes back to its place and "
        "counts as lost once more. It cannot be undone."
    )
    asked = Confirmation(
        title=f"Release slot {execution.slot} of" if execution.slot else "Release", subject=short(execution.id),
        consequence=consequence if possible else "No dead worker holds it: nothing is to release.",
        button="Release" if possible else "", danger=True, back=reverse("queue", args=[queue.name]),
        hidden={"claim": execution.claimed_at.isoformat()} if possible else {},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


def _moment(text: str) -> dt.datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:  # 31 February
        return None


@require_POST
@needs(Action.ANSWER, of=queue_of_execution)
def answer(request: HttpRequest, id: UUID) -> HttpResponse:
    data = _as_json(request.POST.get("data", ""))
    if wrong := problem(data, MAX_PAYLOAD_BYTES):
        return refused(request, f"Nothing was sent: the answer {wrong}.", "execution", id)
    key = request.POST.get("key", "")[:200].replace("\0", "")
    try:
        operate.answer_wait(id, key=key, data=Raw(data), actor=actor(request), through=Change.Through.PAGE)
    except ExecutionNotFound:
        raise Http404(NO_EXECUTION) from None
    except NotPossible as no:
        return refused(request, no.detail, "execution", id)
    return done(request, "Answered. It goes on as soon as a slot is free.", "execution", id)


def _as_json(text: str) -> bytes:
    """What looks like JSON is taken as such, so that a slip in it is told; words are a text."""
    text = text.strip()
    if not text or text[0] in '{["-0123456789' or text in ("true", "false", "null"):
        return text.encode(errors="replace")
    return msgspec.json.encode(text)


def get_execution(id: UUID) -> Any:
    execution = reads.execution(id)
    if execution is None:
        raise Http404(NO_EXECUTION)
    return execution
