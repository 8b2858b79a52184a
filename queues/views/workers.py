"""The workers: alive, and gone within the last day; one of them; and draining one."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from queues import reads
from queues.access import Action, needs, sight
from queues.engine.errors import NotPossible
from queues.engine.workers import drain_worker, keep_worker
from queues.forms import ReasonForm, ResumeForm
from queues.models import Change
from queues.reads import WorkerRow

from .replies import actor, done, is_htmx

NO_WORKER = "There is no such worker. Those that are gone are kept for some time, then deleted."


@require_safe
@needs(Action.SEE)
def list_workers(request: HttpRequest) -> HttpResponse:
    now, mine = timezone.now(), sight(request.user)
    alive, gone = reads.workers(now, mine, sight(request.user, Action.WORKER))
    changes = reads.worker_changes() if mine.everywhere else []
    context = {"alive": alive, "gone": gone, "now": now, "changes": changes}
    return render(request, "workers/list.html", context)


@require_safe
@needs(Action.SEE)
def show_worker(request: HttpRequest, id: UUID) -> HttpResponse:
    row, mine, now = _found(request, id), sight(request.user), timezone.now()
    context = {
        "row": row,
        "rows": [row],
        "now": now,
        "alive": row.alive_at(now),
        "held": reads.held_by(row.worker, mine),
        "lost": reads.lost_with(row.worker, mine) if row.worker.state == "lost" else [],
        "changes": reads.worker_changes(row.worker.name),
    }
    return render(request, "workers/worker.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.WORKER)
def drain(request: HttpRequest, id: UUID) -> HttpResponse:
    """`keep` in the form: stop draining."""
    row = _found(request, id)
    if not row.may_drain:
        raise PermissionDenied(f"To {Action.WORKER} you need to be allowed to on every queue that it serves.")
    if request.method != "POST":
        return _drain_page(request, row)
    form = ResumeForm(request.POST) if "keep" in request.POST else ReasonForm(request.POST)
    if not form.is_valid():
        return _drain_page(request, row, form, status=422)
    verb = keep_worker if "keep" in request.POST else drain_worker
    try:
        name = verb(id, reason=form.cleaned_data["reason"], actor=actor(request), through=Change.Through.PAGE)
    except NotPossible as no:
        form.add_error(None, no.detail)
        return _drain_page(request, _found(request, id), form, status=409)
    return done(request, f"{name} {'takes work again' if 'keep' in request.POST else 'is draining'}.", "workers")


def _found(request: HttpRequest, id: UUID) -> WorkerRow:
    row = reads.worker(id, sight(request.user), sight(request.user, Action.WORKER))
    if row is None:
        raise Http404(NO_WORKER)
    return row


def _drain_page(
    request: HttpRequest, row: WorkerRow, form: ReasonForm | ResumeForm | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "row": row,
        "worker": row.worker,
        "form": form,
        "problem": "stale" if status == 409 else "",
        "possible": row.alive_at(timezone.now()),
    }
    template = "workers/drain.html#dialog" if is_htmx(request) else "workers/drain.html"
    return render(request, template, context, status=status)
