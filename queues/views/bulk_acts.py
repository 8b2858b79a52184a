"""Acts on many executions: what would happen and what it costs, then the page that shows how far it is."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from queues import bulk_acts, words
from queues.access import Action, check, needs, sight
from queues.bulk_acts import NEEDED, Asked, BadAct, Count, NotThere, Verb
from queues.forms import BulkForm
from queues.ids import uuid7
from queues.limits import database_now
from queues.models import BulkAct, Change

from .confirming import Confirmation, confirm
from .replies import actor, done, gone_to, is_htmx

TITLES = {Verb.CANCEL: "Cancel", Verb.RETRY: "Retry", Verb.PRIORITY: "Change priority of", Verb.PURGE: "Purge"}
CAN = {
    Verb.CANCEL: "can be cancelled",
    Verb.RETRY: "can be retried",
    Verb.PRIORITY: "can be moved in line",
}
CONSEQUENCES = {
    Verb.CANCEL: (
        "What waits is cancelled at once; what runs is asked to stop, and keeps its slot until its worker has "
        "stopped it. It can be undone as far as retrying goes: what was cancelled can be queued again, in a new "
        "place."
    ),
    Verb.RETRY: (
        "Each is queued again at the end of its line, with one more attempt; steps that it has done are not run "
        "again. Those that wait can be cancelled again."
    ),
    Verb.PRIORITY: (
        "Each stands in its queue's line as if it had been enqueued so many seconds earlier. Nothing that runs is "
        "touched. It can be undone by setting another head start."
    ),
}
DID = {
    Verb.CANCEL: "cancelled or asked to stop",
    Verb.RETRY: "queued again",
    Verb.PRIORITY: "moved",
    Verb.PURGE: "cancelled",
}
MOST_LISTED = 200


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.CANCEL)
def new(request: HttpRequest) -> HttpResponse:
    asked = _asked(request)
    if request.method != "POST":
        return _dialog(request, asked, None, at=database_now())
    form = BulkForm(request.POST)
    if not form.is_valid():
        return _dialog(request, asked, form, at=form.cleaned_data.get("at") or database_now(), status=422)
    cleaned = form.cleaned_data
    try:
        act = bulk_acts.ask(
            Asked(asked.verb, asked.search, asked.chosen, cleaned["priority"], asked.where),
            id=cleaned["act"] or uuid7(), counted=Count(cleaned["counted"] or 0, cleaned["all"]), at=cleaned["at"],
            actor=actor(request), through=Change.Through.PAGE, reason=cleaned["reason"],
        )  # fmt: skip
    except BadAct as bad:
        form.add_error("priority" if "priority" in bad.detail else None, bad.detail)
        return _dialog(request, asked, form, at=cleaned["at"], status=422)
    return gone_to(request, "Noted. It runs in the background, and this page shows how far it is.", "bulk", act.id)


@require_safe
@needs(Action.SEE)
def list_acts(request: HttpRequest) -> HttpResponse:
    acts = bulk_acts.recent(sight(request.user), actor(request))
    return render(
        request, "executions/bulk_list.html", {"acts": [(act, _title(act), f"{act.changed:,}") for act in acts]}
    )


@require_safe
@needs(Action.SEE)
def show(request: HttpRequest, id: UUID) -> HttpResponse:
    act = _get(request, id)
    share = bulk_acts.share(act)
    context = {
        "act": act,
        "title": _title(act),
        "query": urlencode({"q": act.search}),
        "did": f"{words.counted(act.changed, 'execution')} {DID[Verb(act.verb)]}",
        "not_possible": act.left and f"{act.left:,} {'was' if act.left == 1 else 'were'} not possible any more",
        "of": f"{'' if act.counted_all else 'at least '}{act.counted:,}",
        "fewer": act.state == BulkAct.State.DONE and act.changed + act.left < act.counted,
        "share": share,
        "percent": round(100 * share) if share is not None else None,
        "lefts": list(act.lefts.order_by("id")[:MOST_LISTED]),
        "may_stop": _may_stop(request, act),
    }
    return render(request, "executions/bulk.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.CANCEL)
def stop(request: HttpRequest, id: UUID) -> HttpResponse:
    act = _get(request, id)
    check(request.user, NEEDED[Verb(act.verb)])
    if not _may_stop(request, act):
        raise PermissionDenied("You may stop what you asked for yourself; the acts of others need a role.")
    if request.method != "POST":
        return _stop_page(request, act)
    act = bulk_acts.stop(id, actor=actor(request))
    if act.state == BulkAct.State.DONE:
        return _stop_page(request, act, "It was done before it could be stopped.", 409)
    return done(request, "Stopped. What was done stays done.", "bulk", id)


def _stop_page(request: HttpRequest, act: BulkAct, problem: str = "", status: int = 200) -> HttpResponse:
    consequence = (
        f"What was done stays done: {words.counted(act.changed, 'execution')} {DID[Verb(act.verb)]} so far. The "
        "others are left as they are. It cannot be taken up again; ask anew for those that are left."
    )
    asked = Confirmation(
        title=f"Stop: {_title(act)}", subject="", button="Stop" if act.is_open else "", danger=True,
        consequence=consequence if act.is_open else f"It is {act.state}: nothing is to stop.",
        back=reverse("bulk", args=[act.id]),
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


def _may_stop(request: HttpRequest, act: BulkAct) -> bool:
    """An act of somebody else is about queues of theirs: a grant on some others is not enough."""
    where = sight(request.user, NEEDED[Verb(act.verb)])
    return where.everywhere or (act.actor == actor(request) and not where.nowhere)


def _dialog(
    request: HttpRequest, asked: Asked, form: BulkForm | None, *, at: dt.datetime, status: int = 200
) -> HttpResponse:
    problem = ""
    try:
        counted = bulk_acts.count(asked, at)
    except BadAct as bad:
        problem, counted = bad.detail, Count(0, True)
    verb = Verb(asked.verb)
    context = {
        "asked": asked,
        "title": f"{TITLES[verb]} {'ticked executions' if asked.chosen is not None else 'all that match'}",
        "button": f"{TITLES[verb]} {'' if counted.all else 'all, '}{counted}",
        "counted": counted,
        "can": CAN[verb],
        "nothing": counted == Count(0, True),
        "consequence": CONSEQUENCES[verb],
        "cost": _cost(counted),
        "id": (form and form.data.get("act")) or uuid7(),
        "at": at.isoformat(),
        "form": form,
        "problem_said": problem,
    }
    part = "#dialog" if is_htmx(request) else ""
    return render(request, f"executions/bulk_new.html{part}", context, status=422 if problem else status)


def _cost(counted: Count) -> str:
    about = words.duration(max(1.0, counted.seconds), fine=False)
    more = "" if counted.all else " or more"
    return (
        f"It takes about {about}{more}, in batches of {bulk_acts.BATCH}, newest first, with pauses in between. It "
        "goes on when a server restarts. You can stop it at any time; what was done by then stays done."
    )


def _asked(request: HttpRequest) -> Asked:
    """What the address or the form asks; 404 for a verb that there is not, 403 for one that is not allowed."""
    said = request.POST if "verb" in request.POST else request.GET
    if said.get("verb") not in CAN:  # a purge has a dialog of its own, on the queue's page
        raise Http404("There is no such act.")
    verb = Verb(said["verb"])
    check(request.user, NEEDED[verb])
    chosen = tuple({UUID(text) for text in said.getlist("id") if _is_uuid(text)}) if "id" in said else None
    # Counting needs no priority, so any will do until it is given.
    priority = 0 if verb is Verb.PRIORITY else None
    return Asked(verb, said.get("q", "").strip(), chosen, priority, sight(request.user, NEEDED[verb]))


def _get(request: HttpRequest, id: UUID) -> Any:
    try:
        return bulk_acts.get(id, sight(request.user), actor(request))
    except NotThere:
        raise Http404("There is no such bulk act.") from None


def _title(act: BulkAct) -> str:
    some = f"{'' if act.counted_all else 'at least '}{words.counted(act.counted, 'execution')}"
    return f"{TITLES[Verb(act.verb)]} {some}"


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
