"""Pausing and resuming those that are ticked, a group, or all that match: a dialog each, or a page of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
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
AT_ONCE = 100  # queues in one request: about half a second; the page goes on with the next ones
MOST_WHYS = 5
ROUNDING = dt.timedelta(seconds=59)


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
            cleaned["seen"][:AT_ONCE],
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
        form.cleaned_data["seen"][:AT_ONCE],
        where=sight(request.user, Action.PAUSE),
        reason=form.cleaned_data["reason"],
        actor=actor(request),
        through=Change.Through.PAGE,
    )
    return _answer(request, scope, outcome, form, pausing=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """What earlier requests of the same act did; the page hands it on, and it decides nothing."""

    done: int
    left: tuple[int, ...]  # ids
    whys: tuple[str, ...]
    rest: list[bulk.Seen]

    @classmethod
    def of(cls, request: HttpRequest, outcome: bulk.Outcome, seen: list[bulk.Seen]) -> Progress:
        said = request.POST
        before = tuple(int(id) for id in said.get("left", "").split(",") if id.isdecimal())[: bulk.MOST_QUEUES]
        done = said.get("done", "")
        return cls(
            done=len(outcome.done) + (int(done) if done.isdecimal() and len(done) < 7 else 0),
            left=(*before, *outcome.left),
            whys=(*said.getlist("why")[:MOST_WHYS], *outcome.left.values())[:MOST_WHYS],
            rest=seen[AT_ONCE:],
        )

    @property
    def total(self) -> int:
        return self.done + len(self.left) + len(self.rest)

    @property
    def dealt(self) -> int:
        return self.done + len(self.left)


def _answer(
    request: HttpRequest, scope: Scope, outcome: bulk.Outcome, form: Any, *, pausing: bool
) -> HttpResponse:
    progress = Progress.of(request, outcome, form.cleaned_data["seen"])
    if progress.rest:
        return _go_on(request, scope, progress, form, pausing=pausing)
    are = "is" if progress.done == 1 else "are"
    said = f"{words.counted(progress.done, 'queue')} {are} {'paused' if pausing else 'running again'}."
    if not progress.left:
        return done(request, said, "queues")
    mine = gauges.survey_for(sight(request.user, Action.PAUSE)).gauges
    left = Scope(scope.said, [gauge for gauge in mine if gauge.id in progress.left])
    return _page(
        request, left, pausing=pausing, form=form, status=409, done_so_far=said if progress.done else "",
        why=progress.whys, left=len(progress.left),
    )  # fmt: skip


def _go_on(request: HttpRequest, scope: Scope, progress: Progress, form: Any, *, pausing: bool) -> HttpResponse:
    """The same form again with what is left to do: it sends itself, and can be stopped by closing it."""
    until = form.until if pausing else None
    context = {
        "pausing": pausing,
        "scope": scope.said,
        "progress": progress,
        "left": ",".join(map(str, progress.left)),
        "seen": bulk.written(progress.rest),
        "reason": form.cleaned_data["reason"],
        # To the minute, so that all of them end together.
        "ends": (until + ROUNDING).strftime("%Y-%m-%d %H:%M") if until else "",
    }
    template = "queues/bulk_progress.html#dialog" if is_htmx(request) else "queues/bulk_progress.html"
    return render(request, template, context)


def _page(
    request: HttpRequest,
    scope: Scope,
    *,
    pausing: bool,
    form: Any = None,
    status: int = 200,
    done_so_far: str = "",
    why: Sequence[str] = (),
    left: int = 0,
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
        "left": left,
    }
    template = "queues/bulk.html#dialog" if is_htmx(request) else "queues/bulk.html"
    return render(request, template, context, status=status)
