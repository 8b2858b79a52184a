"""The list of queues, and what a person keeps at hand there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from queues import favourites, fragments, gauges, vacuum
from queues.access import Action, Sight, may, needs, sight
from queues.gauges import Gauge, Survey
from queues.listing import PAGE_SIZE, SORTS, Group, Line, View

from .queues import get_queue
from .replies import is_htmx

# Orders and groups that live figures decide: the page looks again while they change. Seconds.
REFRESH_ORDER, REFRESH_GROUPS = 10, 5
CALM_ORDERS = ("attention", "name")  # the server says when these change


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a queue with its cells, or a group."""

    gauge: Gauge | None
    cells: dict[str, SafeString]
    kept: bool
    group: Group | None
    toggle: str = ""  # the query that folds or unfolds the group
    scope: str = ""  # the query that says which queues are in it
    may_pause: bool = False
    may_limit: bool = False

    @property
    def id(self) -> str:
        """Of the queue, as text: a template takes a while to format a number, and a row has a dozen of them."""
        return str(self.gauge.id) if self.gauge else ""


@require_safe
@needs(Action.SEE)
def list_queues(request: HttpRequest) -> HttpResponse:
    view, survey = View.of(request.GET), _survey(request)
    may_pause, may_limit = sight(request.user, Action.PAUSE), sight(request.user, Action.LIMIT)
    kept = favourites.of(request.user.pk)
    picked = view.pick(survey.gauges, kept)
    lines = view.lines(picked)
    end = view.start + PAGE_SIZE
    context = {
        "view": view,
        "sorts": [(key, label) for key, (label, _) in SORTS.items()],
        "rows": [_row(request, view, line, kept, may_pause, may_limit) for line in lines[view.start : end]],
        "tiles": _tiles(survey),
        "total": len(survey.gauges),
        "kept": sum(gauge.id in kept for gauge in survey.gauges),
        "matching": len(picked),
        "lines": len(lines),
        "first": view.start + 1,
        "last": min(end, len(lines)),
        "next_start": end if end < len(lines) else None,
        "earlier_start": max(0, view.start - PAGE_SIZE) or "",
        "attention": gauges.attention(survey.gauges),
        "refresh": _refresh(view),
        "granted": sight(request.user).patterns,
        "pins": vacuum.pins() if may(request.user, Action.PEOPLE) else [],
    }
    return render(request, "queues/list.html", context)


def _survey(request: HttpRequest) -> Survey:
    """A page that looks again because the sampler saw a change needs no other look: many may do so at once."""
    mine = sight(request.user)
    looked = gauges.last_look() if request.headers.get("Polos-Refresh") == "follows" else None
    if looked is None or (looked.details is None and not mine.everywhere):
        return gauges.survey_for(mine)
    return looked.seen_by(mine)


@require_POST
@needs(Action.SEE)
def favourite(request: HttpRequest, name: str) -> HttpResponse:
    """`keep=1` keeps the queue at hand, anything else does not."""
    queue = get_queue(name)
    kept = request.POST.get("keep") == "1"
    favourites.keep(request.user.pk, queue.id, kept)
    if not is_htmx(request):
        return redirect("queues")
    mine = sight(request.user).queue_ids()
    favoured = favourites.of(request.user.pk)
    count = len(favoured if mine is None else favoured.intersection(mine))
    return render(request, "queues/star.html", {"id": queue.id, "name": name, "kept": kept, "count": count})


def _row(
    request: HttpRequest, view: View, line: Line, kept: Collection[int], may_pause: Sight, may_limit: Sight
) -> Row:
    if not isinstance(line, Group):
        return Row(
            line,
            fragments.render_gauge(line),
            line.id in kept,
            None,
            may_pause=may_pause.covers(line.name),
            may_limit=may_limit.covers(line.name),
        )
    scope = urlencode(
        {"group": line.prefix, **({"search": view.search} if view.search else {}), "show": view.show}
    )
    return Row(None, fragments.render_group(line), False, line, _toggled(request, view, line), scope)


def _toggled(request: HttpRequest, view: View, group: Group) -> str:
    """The address of this list with one group folded or unfolded."""
    query = request.GET.copy()
    query.pop("start", None)
    query.setlist("open", sorted(view.open ^ {group.prefix}))
    return urlencode(list(query.lists()), doseq=True)


def _tiles(survey: Survey) -> list[tuple[str, str, str, SafeString]]:
    rendered = fragments.render_tiles(survey.gauges, survey.totals)
    return [(id, label, fragments.TILE_LINKS[id], rendered[id]) for id, label in fragments.TILES.items()]


def _refresh(view: View) -> int | None:
    if view.grouped:
        return REFRESH_GROUPS
    return None if view.sort in CALM_ORDERS else REFRESH_ORDER
