"""The workers: alive, and gone within the last day."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from queues import reads
from queues.access import Action, needs, sight


@require_safe
@needs(Action.SEE)
def list_workers(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    alive, gone = reads.workers(now, sight(request.user))
    return render(request, "workers.html", {"alive": alive, "gone": gone, "now": now})
