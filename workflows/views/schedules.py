"""Schedules: the list, one of them, and what people do to them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from queues.access import Action, needs, sight
from queues.forms import ReasonForm, ResumeForm
from queues.ids import uuid7
from queues.models import Change, Queue
from queues.problems import Conflicting, Invalid, NotFound, Problem
from queues.views.confirming import Confirmation, confirm
from queues.views.replies import actor, done, gone_to, is_htmx
from workflows import listing, schedules
from workflows.forms import UNITS, ScheduleForm, initial, zones
from workflows.models import Schedule
from workflows.schedules import Act, Spec, StaleSchedule, timing_of
from workflows.timing import BadTiming, Timing, upcoming

NO_SCHEDULE = "There is no such schedule. Somebody may have deleted it: the trail tells who."
NO_ID = "This form does not say what it would start. Nothing was started: open it again."
PAGE_SIZE = 100
TICKS_OF_ONE = 50
PREVIEWED = 5
REFUSED = {"stale": 409, "invalid": 422, "": 200}


def queue_of_schedule(id: UUID) -> str:
    return listing.queue_of(get_schedule(id), listing.homes_of())


sees = needs(Action.SEE, of=queue_of_schedule, missing=NO_SCHEDULE)
manages = needs(Action.SCHEDULE, of=queue_of_schedule, missing=NO_SCHEDULE)


@require_safe
@needs(Action.SEE)
def list_schedules(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("search", "").replace("\0", "").strip()[:200]
    after = request.GET.get("after", "").replace("\0", "")[:200]
    mine = sight(request.user)
    covers = None if mine.everywhere else mine.covers
    some = listing.search(search, after=after, most=PAGE_SIZE + 1, covers=covers)
    context = {
        "rows": listing.rows(some[:PAGE_SIZE], timezone.now()),
        "search": search,
        "paged": bool(after),
        "after": some[PAGE_SIZE - 1].name if len(some) > PAGE_SIZE else "",
        "filtered": bool(search),
        "triggers": listing.triggered(mine),
    }
    return render(request, "schedules/list.html", context)


@require_safe
@sees
def show_schedule(request: HttpRequest, id: UUID) -> HttpResponse:
    (row,) = listing.rows([get_schedule(id)], timezone.now(), ticks=TICKS_OF_ONE)
    changes = Change.objects.filter(kind=Change.Kind.SCHEDULE, subject=row.schedule.name)
    if (mine := sight(request.user).queue_ids()) is not None:
        changes = changes.filter(queue__in=mine)
    context = {"row": row, "schedule": row.schedule, "changes": changes[:10]}
    return render(request, "schedules/schedule.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.SCHEDULE)
def new_schedule(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        zone = request.COOKIES.get("zone", "")
        first = {"kind": "cron", "timezone": zone if zone in zones() else "", "catch_up_most": 100}
        return _form_page(request, ScheduleForm(initial={**first, "workflow": request.GET.get("workflow", "")}))
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        return _form_page(request, form, problem="invalid")
    try:
        row = schedules.create(_granted(request, form.spec()), _act(request))
    except Problem as problem:
        _told(form, problem)
        return _form_page(request, form, problem="invalid")
    return done(request, f"The schedule {row.name} is made.", "schedule", row.id)


@require_http_methods(["GET", "HEAD", "POST"])
@manages
def change(request: HttpRequest, id: UUID) -> HttpResponse:
    row = get_schedule(id)
    if request.method != "POST":
        return _form_page(request, ScheduleForm(initial=initial(row)), row)
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        return _form_page(request, form, row, problem="invalid")
    try:
        spec, expected = _granted(request, form.spec()), form.cleaned_data["expected_version"]
        schedules.change(id, spec, _act(request), expected_version=expected)
    except Problem as problem:
        _told(form, problem)
        return _form_page(request, form, row, problem=_kind(problem))
    return done(request, f"The schedule {form.spec().name} is changed.", "schedule", id)


@require_safe
@needs(Action.SEE)
def preview(request: HttpRequest) -> HttpResponse:
    """The next ticks of what somebody types."""
    form = ScheduleForm(request.GET)
    form.is_valid()
    return render(request, "schedules/form.html#preview", {"preview": _preview(form)})


@require_http_methods(["GET", "HEAD", "POST"])
@manages
def pause(request: HttpRequest, id: UUID) -> HttpResponse:
    row = get_schedule(id)
    if request.method != "POST":
        return _pause_page(request, row, None)
    resuming = "resume" in request.POST
    form = ResumeForm(request.POST) if resuming else ReasonForm(request.POST)
    if not form.is_valid():
        return _pause_page(request, row, form, "invalid")
    said, verb = form.cleaned_data, schedules.resume if resuming else schedules.pause
    try:
        verb(id, _act(request, said["reason"]), expected_version=said["expected_version"])
    except Problem as problem:
        form.add_error(None, problem.detail)
        return _pause_page(request, get_schedule(id), form, _kind(problem))
    return done(request, f"{row.name} {'ticks again' if resuming else 'is paused'}.", "schedule", id)


@require_http_methods(["GET", "HEAD", "POST"])
@manages
def runs(request: HttpRequest, id: UUID) -> HttpResponse:
    """`execution` is the id of what will be started: sent twice, it starts once."""
    row = get_schedule(id)
    if request.method != "POST":
        return _run_page(request, row)
    said = forms.UUIDField(required=False)
    try:
        schedules.run_now(
            id,
            _act(request, request.POST.get("reason", "")),
            execution_id=said.clean(request.POST.get("execution")),
        )
    except (Conflicting, forms.ValidationError) as no:
        return _run_page(request, row, str(getattr(no, "detail", NO_ID)))
    return done(request, f"{row.name} has started an execution.", "schedule", id)


@require_http_methods(["GET", "HEAD", "POST"])
@manages
def deletion(request: HttpRequest, id: UUID) -> HttpResponse:
    row = get_schedule(id)
    if request.method != "POST":
        return _deletion_page(request, row)
    seen = request.POST.get("expected_version", "")
    try:
        expected = int(seen[:18]) if seen.isdecimal() else None
        schedules.delete(id, _act(request, request.POST.get("reason", "")), expected_version=expected)
    except Conflicting as problem:
        return _deletion_page(request, get_schedule(id), problem.detail)
    except NotFound as problem:
        raise Http404(problem.detail) from None
    said = f"The schedule {row.name} is deleted. What it started goes on."
    if f"/schedules/{id}" in request.headers.get("HX-Current-URL", ""):
        return gone_to(request, said, "schedules")
    return done(request, said, "schedules")


def get_schedule(id: UUID) -> Schedule:
    row = Schedule.objects.select_related("queue").filter(id=id).first()
    if row is None:
        raise Http404(NO_SCHEDULE)
    return row


# -- showing the forms -----------------------------------------------------------------------------


def _act(request: HttpRequest, reason: str = "") -> Act:
    return Act(actor(request), Change.Through.PAGE, reason)


def _granted(request: HttpRequest, spec: Spec) -> Spec:
    """Whoever may not put work on a queue gets the answer that one gets whose queue or workflow is not there."""
    mine = sight(request.user, Action.SCHEDULE)
    home = listing.homes_of({spec.workflow}).get(spec.workflow)
    if home is not None and not mine.covers(home):
        raise schedules.no_workflow(spec.workflow)
    if spec.queue and not mine.covers(spec.queue):
        raise schedules.no_queue(spec.queue)
    return spec


def _told(form: ScheduleForm, problem: Problem) -> None:
    if not isinstance(problem, Conflicting | Invalid | NotFound):
        raise problem
    form.refuse(str(problem.extra.get("field", "")), problem.detail)


def _kind(problem: Problem) -> str:
    return "stale" if isinstance(problem, StaleSchedule) else "invalid"


def _form_page(
    request: HttpRequest, form: ScheduleForm, row: Schedule | None = None, problem: str = ""
) -> HttpResponse:
    mine = sight(request.user, Action.SCHEDULE)
    context = {
        "form": form,
        "typed": form.data if form.is_bound else form.initial,
        "schedule": row,
        "problem": problem,
        "workflows": [workflow for workflow, queue in listing.homes_of().items() if mine.covers(queue)],
        "queues": [name for name in Queue.objects.values_list("name", flat=True) if mine.covers(name)],
        "zones": zones(),
        "units": UNITS,
        "catch_ups": Schedule.CatchUp.choices,
        "overlaps": Schedule.Overlap.choices,
        "preview": _preview(form) if form.is_bound else _of_row(row),
    }
    return _render(request, "schedules/form.html", context, problem)


def _pause_page(request: HttpRequest, row: Schedule, form: forms.Form | None, problem: str = "") -> HttpResponse:
    context = {"schedule": row, "form": form, "problem": problem}
    return _render(request, "schedules/pause.html", context, problem)


def _run_page(request: HttpRequest, row: Schedule, problem: str = "") -> HttpResponse:
    (shown,) = listing.rows([row], timezone.now())
    asked = Confirmation(
        title="Run now", subject=row.name, button="Run now", noted=True,
        consequence=(
            f"Starts one execution of {row.workflow} on {shown.queue} at once, also while the schedule is paused "
            "or one before is not finished. Its ticks stay as they are. It can be undone until it starts: cancel "
            "that execution."
        ),
        back=reverse("schedule", args=[row.id]), hidden={"execution": uuid7()},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=409 if problem else 200)


def _deletion_page(request: HttpRequest, row: Schedule, problem: str = "") -> HttpResponse:
    consequence = (
        "It never ticks again. What it started goes on. It cannot be undone: it would have to be made anew."
    )
    in_code = "It is declared in code: it is removed there."
    asked = Confirmation(
        title="Delete the schedule", subject=row.name, button="" if row.declared else "Delete", danger=True,
        noted=True, consequence=in_code if row.declared else consequence,
        back=reverse("schedule", args=[row.id]), hidden={"expected_version": row.version},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=409 if problem else 200)


def _preview(form: ScheduleForm) -> dict[str, Any]:
    """`problem`, or the next `ticks` with what a cron says in English."""
    for field in ("kind", "cron", "every", "at"):
        if field in form.errors:
            return {"problem": form.errors[field][0]}
    said = {
        "workflow": "",
        "queue": "",
        "name": "",
        "payload": "",
        "timezone": "",
        "unit": "",
        **form.cleaned_data,
    }
    form.cleaned_data = {**dict.fromkeys(("catch_up", "catch_up_most", "overlap")), **said}
    spec, now = form.spec(), timezone.now()
    return _ticks(Timing(cron=spec.cron, timezone=spec.timezone, every=spec.every, at=spec.at, anchor=now))


def _of_row(row: Schedule | None) -> dict[str, Any]:
    return {"ask": True} if row is None else _ticks(timing_of(row))


def _ticks(timing: Timing) -> dict[str, Any]:
    try:
        timing.check()
        ticks = upcoming(timing, timezone.now(), PREVIEWED)
    except BadTiming as bad:
        return {"problem": str(bad)}
    if not ticks:
        return {"problem": "This time is in the past: choose a later one."}
    return {"explained": timing.explained(), "ticks": ticks, "zone": timing.timezone}


def _render(request: HttpRequest, template: str, context: dict[str, Any], problem: str) -> HttpResponse:
    """The whole page, or only the form for the dialog."""
    name = f"{template}#dialog" if is_htmx(request) else template
    return render(request, name, context, status=REFUSED[problem])
