"""What a queue did over time: its charts and lanes (parts of its page), and the charts as a table."""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from queues import history, lanes, reads
from queues.access import Action, needs

from .panels import history_panel, lanes_panel, query_of, window_of
from .queues import get_queue


@require_safe
@needs(Action.SEE)
def show_charts(request: HttpRequest, name: str) -> HttpResponse:
    """The part of the page, again or for another time."""
    queue = get_queue(name)
    found = history_panel(request, queue, reads.now(queue))
    response = render(request, "queues/charts.html", {"queue": queue, "history": found})
    return _at(response, request, name, found.query)


@require_safe
@needs(Action.SEE)
def show_table(request: HttpRequest, name: str) -> HttpResponse:
    """Every point of the charts in words, for those who do not see them and for copying."""
    queue, now = get_queue(name), timezone.now()
    window = window_of(request, now)
    series = history.read(queue, window, now)
    rows = [
        (dt.datetime.fromtimestamp(series.window.since + i * series.step, dt.UTC), point)
        for i, point in reversed(list(enumerate(series.points)))
    ]
    context = {"queue": queue, "rows": rows, "series": series, "query": urlencode(query_of(window))}
    return render(request, "queues/history.html", context)


@require_safe
@needs(Action.SEE)
def show_lanes(request: HttpRequest, name: str) -> HttpResponse:
    queue, panel = get_queue(name), lanes_panel(request)
    waiting = reads.count_waiting(queue, lanes.MOST_WAITING)
    drawn = lanes.lanes(queue, timezone.now(), panel.seconds, waiting)
    response = render(request, "queues/lanes.html", {"queue": queue, "lanes": drawn, "lanes_panel": panel})
    return _at(response, request, name, panel.query)


def _at(response: HttpResponse, request: HttpRequest, name: str, query: str) -> HttpResponse:
    """Somebody went to another time: the URL of the page says so."""
    if "Polos-Refresh" not in request.headers:
        response["HX-Push-Url"] = f"{reverse('queue', args=[name])}?{query}"
    return response
