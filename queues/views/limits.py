"""Changing a limit, pausing and draining a queue: a dialog on the page, a page of its own without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

DRAINS = {True: "is draining: it takes nothing new", False: "accepts executions again"}
REFUSED = {"stale": 409, "invalid": 422, "": 200}


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.LIMIT)
def limit(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _limit_page(request, queue, LimitForm(request.GET) if "preview" in request.GET else None)
    sent = _Sent(request, queue, LimitForm(request.POST), _limit_page, wrong="limit")
    return sent.done(_change, lambda now: f"The limit of {name} is now {words.limit(now.effective_limit)}.")


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PAUSE)
def pause(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _pause_page(request, queue, None)
    resuming = "resume" in request.POST
    form = ResumeForm(request.POST) if resuming else PauseForm(request.POST)
    sent = _Sent(request, queue, form, _pause_page)
    return sent.done(
        _resume if resuming else _pause, lambda now: f"{name} is {'paused' if now.paused else 'running again'}."
    )


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.DRAIN)
def drain(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _drain_page(request, queue, None)
    accepting = "accept" in request.POST
    form = ResumeForm(request.POST) if accepting else ReasonForm(request.POST)
    sent = _Sent(request, queue, form, _drain_page)
    return sent.done(_accept if accepting else _drain, lambda now: f"{name} {DRAINS[now.draining]}.")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A form about a queue that somebody sent, and the page that shows it again when it is refused."""

    request: HttpRequest
    queue: Queue
    form: Any
    page: Callable[[HttpRequest, Queue, Any, str], HttpResponse]
    wrong: str | None = None  # the field beside which a bad limit is told

    def done(self, verb: Callable[[Any, dict[str, Any]], Queue], said: Callable[[Queue], str]) -> HttpResponse:
        """`said` of the queue as it is then. A stale view is shown with what changed, what was typed stays."""
        if not self.form.is_valid():
            return self._refused(self.queue, "invalid")
        try:
            changed = verb(self.form, self._who_and_why())
        except limits.StaleView as stale:
            self.form.add_error(None, stale.detail)
            return self._refused(stale.queue, "stale")
        except limits.BadLimit as bad:
            self.form.add_error(self.wrong, bad.detail)
            return self._refused(self.queue, "invalid")
        return done(self.request, said(changed), "queue", self.queue.name)

    def _refused(self, queue: Queue, problem: str) -> HttpResponse:
        return self.page(self.request, queue, self.form, problem)

    def _who_and_why(self) -> dict[str, Any]:
        seen = self.form.cleaned_data
        return {
            "queue": self.queue.name,
            "reason": seen["reason"],
            "actor": actor(self.request),
            "through": Change.Through.PAGE,
            "expected_version": seen["expected_version"],
        }


# -- calling the verbs -----------------------------------------------------------------------------


def _change(form: LimitForm, why: dict[str, Any]) -> Queue:
    if form.cleaned_data["choice"] == LimitForm.Choice.DECLARED:
        return limits.clear_override(**why)
    return limits.change_limit(limit=form.new_limit, until=form.until, **why)


def _pause(form: PauseForm, why: dict[str, Any]) -> Queue:
    return limits.pause(until=form.until, **why)


def _resume(form: ResumeForm, why: dict[str, Any]) -> Queue:
    return limits.resume(**why)


def _drain(form: ReasonForm, why: dict[str, Any]) -> Queue:
    return limits.drain(**why)


def _accept(form: ResumeForm, why: dict[str, Any]) -> Queue:
    return limits.accept(**why)


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
