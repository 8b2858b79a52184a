"""The list of queues, and one queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from queues import fragments, gauges, lanes, reads, sentences
from queues.access import Action, needs
from queues.gauges import Gauge, Survey
from queues.models import Queue

PAGE_SIZE = 500

SORTS: dict[str, tuple[str, Callable[[Gauge], Any]]] = {
    "attention": ("attention first", lambda g: (not gauges.needs_attention(g), g.name)),
    "name": ("name", lambda g: g.name),
    "running": ("most running", lambda g: (-g.held, g.name)),
    "waiting": ("most waiting", lambda g: (-g.waiting, g.name)),
    "oldest": ("oldest wait", lambda g: (-(g.oldest_wait or 0), g.name)),
    "rate": ("fastest", lambda g: (-g.per_minute, g.name)),
}


@dataclass(frozen=True, slots=True)
class Row:
    gauge: Gauge
    cells: dict[str, SafeString]


@dataclass(frozen=True, slots=True)
class View:
    """What the URL says about the list."""

    search: str
    show: str  # "all" or "attention"
    sort: str
    start: int

    @classmethod
    def of(cls, request: HttpRequest) -> View:
        sort = request.GET.get("sort", "")
        start = request.GET.get("start", "")
        return cls(
            search=request.GET.get("search", "").strip()[:200],
            show="attention" if request.GET.get("show") == "attention" else "all",
            sort=sort if sort in SORTS else "attention",
            start=int(start) if start.isdecimal() and len(start) < 7 else 0,
        )

    def pick(self, found: list[Gauge]) -> list[Gauge]:
        words = self.search.lower().split()
        picked = [g for g in found if all(word in g.name.lower() for word in words)]
        if self.show == "attention":
            picked = [g for g in picked if gauges.needs_attention(g)]
        return sorted(picked, key=SORTS[self.sort][1])


@require_safe
@needs(Action.SEE)
def list_queues(request: HttpRequest) -> HttpResponse:
    view, survey = View.of(request), gauges.survey()
    found = survey.gauges
    picked = view.pick(found)
    shown = picked[view.start : view.start + PAGE_SIZE]
    context = {
        "view": view,
        "sorts": [(key, label) for key, (label, _) in SORTS.items()],
        "rows": [Row(gauge, fragments.render_gauge(gauge)) for gauge in shown],
        "tiles": _tiles(survey),
        "total": len(found),
        "matching": len(picked),
        "next_start": view.start + PAGE_SIZE if view.start + PAGE_SIZE < len(picked) else None,
        "attention": gauges.attention(found),
    }
    return render(request, "queues/list.html", context)


def _tiles(survey: Survey) -> list[tuple[str, str, SafeString]]:
    rendered = fragments.render_tiles(survey.gauges, survey.totals)
    return [(id, label, rendered[id]) for id, label in fragments.TILES.items()]


@require_safe
@needs(Action.SEE)
def show_queue(request: HttpRequest, name: str) -> HttpResponse:
    queue, survey, now = get_queue(name), gauges.survey(), timezone.now()
    gauge = _found(name, survey)
    context = {
        "queue": queue,
        "gauge": gauge,
        "cells": fragments.render_gauge(gauge),
        "sentence": sentences.state_sentence(gauge, now),
        "origin": sentences.origin_sentence(gauge, queue, now),
        "lanes": lanes.lanes(queue, now),
        "slots": reads.slots(queue),
        "waiting": reads.waiting(queue),
        "finished": reads.finished(queue),
        "changes": reads.changes(queue),
        "declarations": reads.declarations(queue) if gauge.disagree else [],
        "attention": gauges.attention(survey.gauges),
    }
    return render(request, "queues/queue.html", context)


def get_queue(name: str) -> Queue:
    queue = Queue.objects.filter(name=name).first()
    if queue is None:
        raise Http404(f"There is no queue named “{name}”.")
    return queue


def get_gauge(name: str) -> Gauge:
    return _found(name, gauges.survey())


def _found(name: str, survey: Survey) -> Gauge:
    gauge = next((gauge for gauge in survey.gauges if gauge.name == name), None)
    if gauge is None:
        raise Http404(f"There is no queue named “{name}”.")
    return gauge
