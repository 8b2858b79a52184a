"""Pausing and resuming those that are ticked, a group, or all that match: a dialog each, or a page of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from queues import bulk, favourites, gauges, limits, words
from queues.access import Action, needs, sight
from queues.forms import LASTS, ManyPauseForm, ManyResumeForm, consequence_of_pauses, consequence_of_resumptions
from queues.gauges import Gauge
from queues.listing import View, prefix_of
from queues.models import Change

from .replies import actor, done, is_htmx

MOST_NAMED = 12  # queues that a dialog names without unfolding


@dataclass(frozen=True, slots=True)
class Scope:
    """What the address says: `queue` ids; or a `group`, or `all`, of what `search` and `show` match."""

    said: str
    queues: list[Gauge]

    @classmethod
    def of(cls, request: HttpRequest) -> Scope:
        query, found = request.GET, gauges.survey_for(sight(request.user, Action.PAUSE)).gauges
        ticked = {id for id in query.getlist("queue") if id}
        if "all" not in query and "group" not in query:
            chosen = [gauge for gauge in found if str(gauge.id) in ticked]
            return cls(words.counted(len(chosen), "queue"), chosen)
        view = View.of(query)
        chosen = view.pick(found, favourites.of(request.user.pk))
        if "group" in query:
            group = query["group"]
            chosen = [gauge for gauge in chosen if prefix_of(gauge.name) == group]
            return cls(f"{group}… ({words.counted(len(chosen), 'queue')})", chosen)
        whole = not view.search and view.show == "all"
        return cls(f"{'all ' if whole else ''}{words.counted(len(chosen), 'queue')}", chosen)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PAUSE)
def pauses(request: HttpRequest) -> HttpResponse:
    scope = Scope.of(request)
    if request.method != "POST":
        return _page(request, scope, pausing=True)
    form = ManyPauseForm(request.POST)
    if not form.is_valid():
        return _page(request, scope, pausing=True, form=form, status=422)
    cleaned = form.cleaned_data
    try:
        outcome = bulk.pause(
            cleaned["seen"],
            where=sight(request.user, Action.PAUSE),
            reason=cleaned["reason"],
            actor=actor(request),
            through=Change.Through.PAGE,
            until=form.until,
        )
    except limits.BadLimit as bad:
        form.add_error(None, bad.detail)
        return _page(request, scope, pausing=True, form=form, status=422)
    return _answer(request, scope, outcome, form, pausing=True)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PAUSE)
def resumptions(request: HttpRequest) -> HttpResponse:
    scope = Scope.of(request)
    if request.method != "POST":
        return _page(request, scope, pausing=False)
    form = ManyResumeForm(request.POST)
    if not form.is_valid():
        return _page(request, scope, pausing=False, form=form, status=422)
    outcome = bulk.resume(
        form.cleaned_data["seen"],
        where=sight(request.user, Action.PAUSE),
        reason=form.cleaned_data["reason"],
        actor=actor(request),
        through=Change.Through.PAGE,
    )
    return _answer(request, scope, outcome, form, pausing=False)


def _answer(
    request: HttpRequest, scope: Scope, outcome: bulk.Outcome, form: Any, *, pausing: bool
) -> HttpResponse:
    count = len(outcome.done)
    are = "is" if count == 1 else "are"
    said = f"{words.counted(count, 'queue')} {are} {'paused' if pausing else 'running again'}."
    if not outcome.left:
        return done(request, said, "queues")
    mine = gauges.survey_for(sight(request.user, Action.PAUSE)).gauges
    left = Scope(scope.said, [gauge for gauge in mine if gauge.id in outcome.left])
    why = list(outcome.left.values())
    return _page(request, left, pausing=pausing, form=form, status=409, done_so_far=said if count else "", why=why)


def _page(
    request: HttpRequest,
    scope: Scope,
    *,
    pausing: bool,
    form: Any = None,
    status: int = 200,
    done_so_far: str = "",
    why: list[str] | None = None,
) -> HttpResponse:
    """Acts only on those for which something would change: somebody else's pause keeps its reason and end."""
    affected = [gauge for gauge in scope.queues if gauge.paused is not pausing]
    seen = [bulk.Seen(gauge.id, gauge.version) for gauge in affected]
    if status == 422 and form.cleaned_data.get("seen"):  # what is corrected is still about what was seen
        seen = form.cleaned_data["seen"]
    consequence = consequence_of_pauses if pausing else consequence_of_resumptions
    context = {
        "pausing": pausing,
        "scope": scope.said,
        "affected": affected,
        "named": MOST_NAMED,
        "seen": bulk.written(seen),
        "consequence": consequence(affected, len(scope.queues) - len(affected)),
        "form": form,
        "lasts": LASTS,
        "done_so_far": done_so_far,
        "why": why,
    }
    template = "queues/bulk.html#dialog" if is_htmx(request) else "queues/bulk.html"
    return render(request, template, context, status=status)
