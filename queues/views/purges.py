"""Purging a queue: everything that waits is cancelled, after its name was typed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from queues import bulk_acts, limits
from queues.access import Action, needs, sight
from queues.forms import PurgeForm, consequence_of_purge
from queues.ids import uuid7
from queues.models import Change, Queue

from .queues import get_gauge, get_queue
from .replies import actor, gone_to, is_htmx


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PURGE)
def purge(request: HttpRequest, name: str) -> HttpResponse:
    queue = get_queue(name)
    if request.method != "POST":
        return _page(request, queue, None)
    form = PurgeForm(request.POST, queue=name)
    if not form.is_valid():
        return _page(request, queue, form, 422)
    said = form.cleaned_data
    try:
        limits.check_version(queue, said["expected_version"])
        act = bulk_acts.purge(
            name, scheduled=said["scheduled"], id=said["act"], at=said["at"], actor=actor(request),
            through=Change.Through.PAGE, reason=said["reason"], where=sight(request.user, Action.PURGE),
        )  # fmt: skip
    except limits.StaleView as stale:
        form.add_error(None, stale.detail)
        return _page(request, queue, form, 409)
    except bulk_acts.BadAct as bad:
        form.add_error(None, bad.detail)
        return _page(request, queue, form, 422)
    return gone_to(request, f"{name} is being purged.", "bulk", act.id)


def _page(request: HttpRequest, queue: Queue, form: PurgeForm | None, status: int = 200) -> HttpResponse:
    gauge = get_gauge(queue.name)
    context = {
        "queue": queue,
        "gauge": gauge,
        "form": form,
        "problem": "stale" if status == 409 else "",
        "consequence": consequence_of_purge(gauge),
        "nothing": not (gauge.waiting or gauge.scheduled),
        "at": limits.database_now().isoformat(),
        "act": uuid7(),
    }
    template = "queues/purge.html#dialog" if is_htmx(request) else "queues/purge.html"
    return render(request, template, context, status=status)
