"""Acts on one execution that need more than a button: run again, priority. A dialog, or a page of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods

from queues import reads
from queues.access import NO_EXECUTION, Action, needs, queue_of_execution
from queues.engine import operate
from queues.engine.errors import ChangedSince, ExecutionNotFound, NotPossible
from queues.engine.operate import Seen
from queues.engine.rerun import BadPayload, run_again
from queues.forms import PriorityForm, RerunForm
from queues.ids import uuid7
from queues.indent import indented
from queues.models import Change, Queue

from .replies import actor, done, gone_to, is_htmx

STARTED_BEFORE = "You had sent this already: it runs as this execution. Nothing new was started."


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.RERUN, of=queue_of_execution)
def rerun(request: HttpRequest, id: UUID) -> HttpResponse:
    execution = _execution(id)
    shown = indented(execution.payload_text or "null")
    if request.method != "POST":
        return _page(request, "rerun", execution, None, new_id=uuid7(), payload=shown)
    form = RerunForm(request.POST)
    new_id = _uuid(request.POST.get("id", "")) or uuid7()
    typed = request.POST.get("payload", "").replace("\r\n", "\n")
    if form.is_valid():
        try:
            outcome = run_again(
                id, new_id=new_id, payload=None if typed.strip() == shown.strip() else typed, actor=actor(request),
                through=Change.Through.PAGE, reason=form.cleaned_data["reason"],
            )  # fmt: skip
        except BadPayload as bad:
            form.add_error("payload", bad.detail)
        except NotPossible as no:
            form.add_error(None, no.detail)
        except ExecutionNotFound:
            raise Http404(NO_EXECUTION) from None
        else:
            said = "It runs again as this execution." if outcome.created else STARTED_BEFORE
            return gone_to(request, said, "execution", new_id)
    return _page(request, "rerun", execution, form, status=422, new_id=new_id, payload=typed)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PRIORITY, of=queue_of_execution)
def priority(request: HttpRequest, id: UUID) -> HttpResponse:
    if request.method != "POST":
        return _page(request, "priority", _execution(id), None)
    form, status = PriorityForm(request.POST), 422
    if form.is_valid():
        try:
            operate.change_priority(
                id, priority=form.cleaned_data["priority"], actor=actor(request), through=Change.Through.PAGE,
                reason=form.cleaned_data["reason"], seen=Seen.read(request.POST.get("seen", "")),
            )  # fmt: skip
        except ExecutionNotFound:
            raise Http404(NO_EXECUTION) from None
        except NotPossible as no:
            form.add_error(None, no.detail)
            status = 409 if isinstance(no, ChangedSince) else 422
        else:
            return done(request, "It has another place in its line now.", "execution", id)
    return _page(request, "priority", _execution(id), form, status=status)


def _page(
    request: HttpRequest, name: str, execution: Any, form: forms.Form | None, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "execution": execution,
        "queue": get_object_or_404(Queue, id=execution.queue_id),
        "seen": reads.seen(execution),
        "form": form,
        **more,
    }
    part = "#dialog" if is_htmx(request) else ""
    return render(request, f"executions/{name}.html{part}", context, status=status)


def _execution(id: UUID) -> Any:
    execution = reads.execution(id)
    if execution is None:
        raise Http404(NO_EXECUTION)
    return execution


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
