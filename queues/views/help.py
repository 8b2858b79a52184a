"""How to use it, in one page: the SDK's basics, the words, what the states mean."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from queues.access import Action, needs


@require_safe
@needs(Action.SEE)
def help(request: HttpRequest) -> HttpResponse:
    return render(request, "help.html")
