"""Changing a limit, pausing and draining a queue: a dialog on the page, a page of its own without JavaScript."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from queues import limits, words
from queues.access import Action, needs
from queues.forms import (
    LASTS,
    LimitForm,
    PauseForm,
    ReasonForm,
    ResumeForm,
    consequence_of_accepting,
    consequence_of_drain,
    consequence_of_limit,
    consequence_of_pause,
    consequence_of_resume,
)
from queues.gauges import Gauge
from queues.models import Change, Queue

from .queues import get_gauge, get_queue
from .replies import actor, done, is_htmx

REFUSED = {"stale": 409, "invalid": 422, "": 200}


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.LIMIT)
def limit(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _limit_page(request, queue, LimitForm(request.GET) if "preview" in request.GET else None)
    form = LimitForm(request.POST)
    if not form.is_valid():
        return _limit_page(request, queue, form, "invalid")
    try:
        changed = _change(request, queue, form)
    except limits.StaleView as stale:
        form.add_error(None, stale.detail)
        return _limit_page(request, stale.queue, form, "stale")
    except limits.BadLimit as bad:
        form.add_error("limit", bad.detail)
        return _limit_page(request, queue, form, "invalid")
    return done(request, f"The limit of {name} is now {words.limit(changed.effective_limit)}.", "queue", name)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PAUSE)
def pause(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _pause_page(request, queue, None)
    form = ResumeForm(request.POST) if "resume" in request.POST else PauseForm(request.POST)
    if not form.is_valid():
        return _pause_page(request, queue, form, "invalid")
    try:
        changed = _pause(request, name, form) if isinstance(form, PauseForm) else _resume(request, name, form)
    except limits.StaleView as stale:
        form.add_error(None, stale.detail)
        return _pause_page(request, stale.queue, form, "stale")
    except limits.BadLimit as bad:
        form.add_error(None, bad.detail)
        return _pause_page(request, queue, form, "invalid")
    return done(request, f"{name} is {'paused' if changed.paused else 'running again'}.", "queue", name)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.DRAIN)
def drain(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _drain_page(request, queue, None)
    form = ResumeForm(request.POST) if "accept" in request.POST else ReasonForm(request.POST)
    if not form.is_valid():
        return _drain_page(request, queue, form, "invalid")
    verb = limits.accept if "accept" in request.POST else limits.drain
    said = form.cleaned_data
    try:
        changed = verb(
            queue=name,
            reason=said["reason"],
            actor=actor(request),
            through=Change.Through.PAGE,
            expected_version=said["expected_version"],
        )
    except limits.StaleView as stale:
        form.add_error(None, stale.detail)
        return _drain_page(request, stale.queue, form, "stale")
    said_so = "is draining: it takes nothing new" if changed.draining else "accepts executions again"
    return done(request, f"{name} {said_so}.", "queue", name)


# -- calling the verbs -----------------------------------------------------------------------------


def _change(request: HttpRequest, queue: Queue, form: LimitForm) -> Queue:
    seen = form.cleaned_data
    common: dict[str, Any] = {
        "queue": queue.name,
        "reason": seen["reason"],
        "actor": actor(request),
        "through": Change.Through.PAGE,
        "expected_version": seen["expected_version"],
    }
    if seen["choice"] == LimitForm.Choice.DECLARED:
        return limits.clear_override(**common)
    return limits.change_limit(limit=form.new_limit, until=form.until, **common)


def _pause(request: HttpRequest, name: str, form: PauseForm) -> Queue:
    return limits.pause(
        queue=name,
        reason=form.cleaned_data["reason"],
        actor=actor(request),
        through=Change.Through.PAGE,
        until=form.until,
        expected_version=form.cleaned_data["expected_version"],
    )


def _resume(request: HttpRequest, name: str, form: ResumeForm) -> Queue:
    return limits.resume(
        queue=name,
        reason=form.cleaned_data["reason"],
        actor=actor(request),
        through=Change.Through.PAGE,
        expected_version=form.cleaned_data["expected_version"],
    )


# -- showing the forms -----------------------------------------------------------------------------


def _limit_page(request: HttpRequest, queue: Queue, form: LimitForm | None, problem: str = "") -> HttpResponse:
    gauge = get_gauge(queue.name)
    choice = form.data.get("choice") if form else ("unlimited" if queue.effective_limit is None else "number")
    context = {
        "queue": queue,
        "gauge": gauge,
        "form": form,
        "problem": problem,
        "choice": choice,
        "value": form.data.get("limit", "") if form else queue.effective_limit,
        "lasts": LASTS,
        "consequence": _preview(gauge, queue, form),
    }
    return _render(request, "queues/limit.html", context, problem)


def _pause_page(request: HttpRequest, queue: Queue, form: forms.Form | None, problem: str = "") -> HttpResponse:
    gauge = get_gauge(queue.name)
    consequence = consequence_of_resume(gauge) if queue.paused else consequence_of_pause(gauge)
    context = {"queue": queue, "gauge": gauge, "form": form, "problem": problem, "lasts": LASTS}
    return _render(request, "queues/pause.html", {**context, "consequence": consequence}, problem)


def _drain_page(request: HttpRequest, queue: Queue, form: forms.Form | None, problem: str = "") -> HttpResponse:
    gauge = get_gauge(queue.name)
    consequence = consequence_of_accepting(gauge) if queue.draining else consequence_of_drain(gauge)
    context = {"queue": queue, "form": form, "problem": problem, "consequence": consequence}
    return _render(request, "queues/drain.html", context, problem)


def _preview(gauge: Gauge, queue: Queue, form: LimitForm | None) -> str:
    if form is None:
        return "Choose a new limit to see what it would do."
    form.is_valid()
    if "limit" in form.errors or "choice" in form.errors:
        return "Choose a new limit to see what it would do."
    declared = form.cleaned_data["choice"] == LimitForm.Choice.DECLARED
    wanted = queue.declared_limit if declared else form.new_limit
    if wanted == queue.effective_limit:
        return "This is the limit already; nothing that runs or waits is affected."
    return consequence_of_limit(gauge, wanted)


def _render(request: HttpRequest, template: str, context: dict[str, Any], problem: str) -> HttpResponse:
    """The whole page, only the form for the dialog, or only the sentence that previews the change."""
    if is_htmx(request):
        template += "#consequence" if "preview" in request.GET else "#dialog"
    return render(request, template, context, status=REFUSED[problem])
