"""The trail: who changed which limit or pause, when, from what to what, why, and through what."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from queues import trail
from queues.access import Action, needs, sight
from queues.models import Change
from queues.trail import Filters, Place


@require_safe
@needs(Action.SEE)
def list_changes(request: HttpRequest) -> HttpResponse:
    filters = _filters(request)
    after = Place.parse(request.GET.get("after", ""))
    page, query = trail.changes(filters, after, sight(request.user)), filters.as_query()
    context = {
        "filters": filters,
        "kinds": Change.Kind.choices,
        "throughs": Change.Through.choices,
        "changes": page.changes,
        "filtered": bool(query),
        "paged": after is not None,
        "first_query": urlencode(query),
        "next_query": urlencode({**query, "after": str(page.next)}) if page.next else "",
    }
    return render(request, "trail.html", context)


def _filters(request: HttpRequest) -> Filters:
    kind, through = request.GET.get("kind", ""), request.GET.get("through", "")
    return Filters(
        search=_text(request, "search"),
        queue=_text(request, "queue"),
        kind=kind if kind in Change.Kind.values else "",
        through=through if through in Change.Through.values else "",
    )


def _text(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:200]
