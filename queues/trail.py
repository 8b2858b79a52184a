"""The trail: every change of a limit, a pause or a schedule, newest first, searchable. Nothing here writes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import Q
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .access import EVERYWHERE, Sight
from .models import Change

PAGE_SIZE = 50
ON_EXECUTIONS = {
    Change.Kind.ANSWER: "answered",
    Change.Kind.CANCEL: "cancelled",
    Change.Kind.RETRY: "retried",
    Change.Kind.PRIORITY: "changed the priority of",
    Change.Kind.PURGE: "purged the queue:",  # always many
    Change.Kind.RERUN: "ran again",
}
ACTS = (Change.Kind.DRAIN, Change.Kind.PURGE, Change.Kind.SLOT, Change.Kind.WORKER)  # said by `of_act`
MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Filters:
    """Empty = all. Every word of `search` is in a name, in who or in why; `queue` is a whole name."""

    search: str = ""
    queue: str = ""
    kind: str = ""
    through: str = ""

    def as_query(self) -> dict[str, str]:
        said = {"search": self.search, "queue": self.queue, "kind": self.kind, "through": self.through}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the list begins: after this change."""

    at: dt.datetime
    id: int

    def __str__(self) -> str:
        return f"{self.at.timestamp():.6f}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        seconds, _, id = text.partition("-")
        try:
            return cls(dt.datetime.fromtimestamp(float(seconds), dt.UTC), int(id[:18]))
        except (ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class Page:
    changes: list[Change]
    next: Place | None


def changes(filters: Filters, after: Place | None = None, sight: Sight = EVERYWHERE) -> Page:
    """Of the queues that somebody sees."""
    found = Change.objects.select_related("queue").filter(_matching(filters))
    if (mine := sight.queue_ids()) is not None:
        found = found.filter(queue__in=mine)
    if after:
        found = found.filter(Q(at__lt=after.at) | Q(at=after.at, id__lt=after.id))
    some = list(found[: PAGE_SIZE + 1])
    last = some[PAGE_SIZE - 1] if len(some) > PAGE_SIZE else None
    return Page(some[:PAGE_SIZE], Place(last.at, last.id) if last else None)


def _matching(filters: Filters) -> Q:
    wanted = Q()
    for word in filters.search.split()[:MOST_WORDS]:
        in_name = Q(queue__name__icontains=word) | Q(subject__icontains=word)
        wanted &= in_name | Q(actor__icontains=word) | Q(reason__icontains=word)
    if filters.queue:
        wanted &= Q(queue__name=filters.queue)
    if filters.kind:
        wanted &= Q(kind=filters.kind)
    if filters.through:
        wanted &= Q(through=filters.through)
    return wanted


def of_act(change: Change) -> str:
    """What was done to a queue beside its limit and pause: `drained the queue`, `released slot 2`."""
    if change.kind == Change.Kind.DRAIN:
        return "drained the queue" if change.after == "draining" else "let the queue accept again"
    if change.kind == Change.Kind.PURGE:
        return f"purged the queue: {change.after}"
    if change.kind == Change.Kind.WORKER:
        return f"{'drained' if change.after == 'draining' else 'stopped draining'} the worker {change.subject}"
    return f"released {change.before}"


def on_executions(change: Change) -> SafeString:
    """`cancelled 019a…c3f2aa, which was queued`, `retried 1,204 executions`; empty for other changes."""
    if change.kind not in ON_EXECUTIONS:
        return SafeString("")
    did = ON_EXECUTIONS[Change.Kind(change.kind)]
    if not change.before:
        return format_html('{} <a href="{}">{}</a>', did, reverse("bulk", args=[change.subject]), change.after)
    return format_html("{} {}{}", did, _execution(change.subject), _after(change))


def _after(change: Change) -> SafeString:
    if change.kind == Change.Kind.RERUN:
        return format_html(" as {}", _execution(change.after))
    if change.kind == Change.Kind.PRIORITY:
        return format_html(' <span class="nowrap">{} → <b>{}</b></span>', change.before, change.after)
    if change.kind == Change.Kind.ANSWER:
        return format_html(', which waited for <span class="mono">{}</span>', change.after)
    return format_html(", which was {}", change.before)


def _execution(id: str) -> SafeString:
    address = reverse("execution", args=[id])
    return format_html('<a class="mono" href="{}">{}…{}</a>', address, id[:4], id[-6:])
