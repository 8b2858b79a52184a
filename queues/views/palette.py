"""The command palette, and the sheet of its keys. Both are pages, too."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from queues import palette
from queues.access import Action, needs

from .replies import is_htmx


@require_safe
@needs(Action.SEE)
def go(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").replace("\0", "")[:200]
    here = request.GET.get("here", "")[:200]
    context = {"text": text, "entries": palette.entries(text, here=here, user=request.user)}
    return render(request, "palette.html#results" if is_htmx(request) else "palette.html", context)


@require_safe
@needs(Action.SEE)
def shortcuts(request: HttpRequest) -> HttpResponse:
    return render(request, "shortcuts.html#sheet" if is_htmx(request) else "shortcuts.html")
