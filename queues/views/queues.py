"""One queue."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from queues import details, fragments, gauges, lanes, reads, sentences
from queues.access import Action, needs, no_queue, sight
from queues.gauges import Gauge, Survey
from queues.models import Queue
from queues.reads import Slot

from .panels import history_panel, lanes_panel


@require_safe
@needs(Action.SEE)
def show_queue(request: HttpRequest, name: str) -> HttpResponse:
    queue, survey, now = get_queue(name), gauges.survey_for(sight(request.user)), timezone.now()
    gauge = _found(name, survey)
    context = {
        "queue": queue,
        "gauge": gauge,
        "cells": fragments.render_gauge(gauge),
        "sentence": sentences.state_sentence(gauge, now),
        "origin": sentences.origin_sentence(gauge, queue, now),
        "slots": _slots(queue),
        "waiting": reads.waiting(queue),
        "asleep": reads.count_asleep(queue),
        "most_asleep": reads.MOST_COUNTED,
        "finished": reads.finished(queue),
        "changes": reads.changes(queue),
        "declarations": reads.declarations(queue) if gauge.disagree else [],
        "attention": gauges.attention(survey.gauges),
    }
    # Those two ask for themselves, each as often as it needs.
    if "Polos-Refresh" not in request.headers:
        panel = lanes_panel(request)
        context["lanes_panel"] = panel
        context["lanes"] = lanes.lanes(queue, now, panel.seconds, gauge.waiting)
        present = reads.Now(gauge.held, gauge.waiting, gauge.limit)
        context["history"] = history_panel(request, queue, present)
    return render(request, "queues/queue.html", context)


@require_safe
@needs(Action.SEE)
def show_progress(request: HttpRequest, name: str) -> HttpResponse:
    """How far those are that hold its slots: a part of the page, which asks again and again."""
    return render(request, "queues/holders.html", {"slots": _slots(get_queue(name))})


def _slots(queue: Queue) -> list[Slot]:
    """What holds the slots, with how far it is."""
    slots = reads.slots(queue)
    progress = details.progress_of(slot.row.execution.id for slot in slots if slot.row)
    return [replace(slot, progress=progress.get(slot.row.execution.id)) if slot.row else slot for slot in slots]


def get_queue(name: str) -> Queue:
    queue = Queue.objects.filter(name=name).first()
    if queue is None:
        raise no_queue(name)
    return queue


def get_gauge(name: str) -> Gauge:
    return _found(name, gauges.survey())


def _found(name: str, survey: Survey) -> Gauge:
    gauge = next((gauge for gauge in survey.gauges if gauge.name == name), None)
    if gauge is None:
        raise no_queue(name)
    return gauge
