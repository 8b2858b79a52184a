"""The parts of a page that change while one looks: rendered once, for the page and for every watcher.

Each function gives the inner HTML of one element, whose id is `q-<queue id>-<part>` or `tile-<part>`.
Plain functions instead of templates, because a server renders thousands of them a second; everything that
is not a number goes through `format_html`, which escapes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from . import words

if TYPE_CHECKING:
    from .gauges import Gauge
    from .listing import Group
    from .reads import Totals

MAX_CELLS = 12
SPARK_HEIGHT, SPARK_STEP = 24, 2
FAILING = 0.05  # share of failed executions from which the tile is red
LONG_WAIT = 60.0  # seconds: an oldest wait beyond this is shown in amber when the limit or a worker binds

EMPTY = SafeString("")
ZERO = SafeString(" class=zero")
LONG = SafeString(" class=long")
DRAINING = SafeString("<small>draining</small>")
CLOSED = SafeString("<small>nothing starts</small>")
STATE_COLOURS = {
    "at limit": "amber",
    "backlogged": "amber",
    "paused": "violet",
    "draining": "violet",
    "drained": "violet",
    "no worker": "red",
    "blocked": "red",
}


def render_gauges(gauges: Iterable[Gauge]) -> dict[str, str]:
    """Every live part of these queues, by element id."""
    return {f"q-{gauge.id}-{part}": html for gauge in gauges for part, html in render_gauge(gauge).items()}


def render_gauge(gauge: Gauge) -> dict[str, SafeString]:
    return {
        "source": source(gauge),
        "gauge": occupancy(gauge),
        "waiting": waiting(gauge),
        "oldest": oldest(gauge),
        "rate": rate(gauge),
        "spark": spark(gauge.spark),
        "state": state(gauge),
    }


TILES = {
    "tile-running": "Running",
    "tile-waiting": "Waiting",
    "tile-oldest": "Oldest wait",
    "tile-failed": "Failed, last hour",
    "tile-workers": "Workers",
}
TILE_LINKS = {
    "tile-running": "/?sort=running",
    "tile-waiting": "/?sort=waiting",
    "tile-oldest": "/?sort=oldest",
    "tile-failed": "/executions?status=failed",
    "tile-workers": "/workers",
}


def render_tiles(gauges: Sequence[Gauge], totals: Totals) -> dict[str, SafeString]:
    """The five figures above the list, over all queues."""
    held = sum(gauge.held for gauge in gauges)
    waits = [gauge for gauge in gauges if gauge.waiting]
    longest = max(waits, key=lambda gauge: gauge.oldest_wait or 0, default=None)
    return {
        "tile-running": _tile(f"{held:,}", _in_queues(sum(1 for g in gauges if g.held))),
        "tile-waiting": _tile(f"{sum(g.waiting for g in waits):,}{_more(waits)}", _in_queues(len(waits))),
        "tile-oldest": _oldest_tile(longest),
        "tile-failed": _tile(
            f"{totals.failed:,}", _share(totals), "red" if totals.failed > FAILING * totals.finished else ""
        ),
        "tile-workers": _tile(f"{totals.workers:,}", _free(totals)),
    }


# -- one queue -------------------------------------------------------------------------------------


def source(gauge: Gauge) -> SafeString:
    """Where the limit comes from; when the queue is paused or drains, who wanted it and why."""
    if gauge.paused:
        return format_html(
            "{}paused by {}{}",
            _until("resumes", gauge.paused_until),
            gauge.paused_by,
            _because(gauge.paused_reason),
        )
    if gauge.draining:
        return format_html("drained by {}{}", gauge.drain_by, _because(gauge.drain_reason))
    if gauge.overridden:
        return format_html(
            "<span{}>{}override {} → <b>{}</b> by {}</span>",
            format_html(' title="{}"', gauge.override_reason) if gauge.override_reason else EMPTY,
            _until("ends", gauge.override_until),
            words.limit(gauge.declared_limit),
            words.limit(gauge.limit),
            gauge.override_by,
        )
    if gauge.disagree:
        return format_html("<span class=amber>{}</span>", "workers declare different limits")
    return format_html(
        "{}", "code" if gauge.declared_from or gauge.declared_limit is not None else "no limit declared"
    )


def occupancy(gauge: Gauge) -> SafeString:
    """The signature: running over the effective limit, as cells, a bar or a number."""
    held = gauge.held
    if gauge.limit is None:
        return format_html("<span class=of><b{}>{}</b> <small>no limit</small></span>", _zero(held), f"{held:,}")
    over = held > gauge.limit
    return format_html(
        "{}<span class=of><b{}>{}</b>/{}{}</span>",
        _picture(
            gauge.running, gauge.cancelling, gauge.limit, held >= gauge.limit and (over or gauge.waiting > 0)
        ),
        _zero(held),
        f"{held:,}",
        f"{gauge.limit:,}",
        DRAINING if over else CLOSED if gauge.limit == 0 else EMPTY,
    )


def waiting(gauge: Gauge) -> SafeString:
    later = format_html("<small>+{} later</small>", f"{gauge.scheduled:,}") if gauge.scheduled else EMPTY
    return format_html(
        "<span{}>{}{}</span>{}",
        _zero(gauge.waiting),
        f"{gauge.waiting:,}",
        "+" if gauge.waiting_is_capped else "",
        later,
    )


def oldest(gauge: Gauge) -> SafeString:
    if gauge.oldest_wait is None:
        return format_html("<span class=zero>{}</span>", "–")
    long = gauge.oldest_wait >= LONG_WAIT and not gauge.paused
    return format_html("<span{}>{}</span>", LONG if long else EMPTY, words.duration(gauge.oldest_wait, fine=False))


def rate(gauge: Gauge) -> SafeString:
    return rate_of(gauge.per_minute)


def rate_of(per_minute: float) -> SafeString:
    return format_html("<span{}>{}</span>", _zero(per_minute), words.rate(per_minute))


@lru_cache(maxsize=4096)
def spark(buckets: tuple[int, ...]) -> SafeString:
    """Finished executions per 10 s over the last 10 minutes: one path, newest at the right."""
    peak = max(buckets, default=0)
    top = max(peak, 4)  # one finished execution is not a full-height bar
    strokes = "".join(
        f"M{i * SPARK_STEP}.5 {SPARK_HEIGHT}V{SPARK_HEIGHT - max(2, round(count * (SPARK_HEIGHT - 1) / top))}"
        for i, count in enumerate(buckets)
        if count
    )
    return format_html(
        '<svg viewBox="0 0 {} {}" role=img><title>{}</title><path class=base d="M0 {}H{}"/><path d="{}"/></svg>',
        len(buckets) * SPARK_STEP,
        SPARK_HEIGHT,
        f"{sum(buckets):,} finished in 10 minutes, at most {peak:,} in 10 s" if peak else "nothing finished",
        SPARK_HEIGHT - 0.5,
        len(buckets) * SPARK_STEP,
        strokes,
    )


def state(gauge: Gauge) -> SafeString:
    return state_word(str(gauge.state))


@lru_cache(maxsize=64)
def state_word(word: str) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', STATE_COLOURS.get(word, "grey"), word)


@lru_cache(maxsize=4096)
def _picture(running: int, cancelling: int, limit: int, full: bool) -> SafeString:
    if limit == 0 and not running + cancelling:
        return EMPTY
    if limit > MAX_CELLS:
        return _bar(running + cancelling, limit, full)
    held = running + cancelling
    kinds = ["on"] * min(running, limit) + ["ending"] * max(0, min(held, limit) - running)
    kinds += [""] * (limit - len(kinds)) + ["over"] * min(held - limit, MAX_CELLS - limit)
    cells = format_html_join(
        "", "<i{}></i>", ((format_html(" class={}", kind) if kind else "",) for kind in kinds)
    )
    return format_html('<span class="cells{}" aria-hidden=true>{}</span>', " full" if full else "", cells)


def _bar(held: int, limit: int, full: bool) -> SafeString:
    width = min(100.0, 100 * held / limit)
    return format_html(
        '<svg class="bar{}" viewBox="0 0 100 10" preserveAspectRatio=none aria-hidden=true>'
        "<rect width=100 height=10 /><rect class=on width={} height=10 /></svg>",
        " full" if full else "",
        f"{max(width, 1.0) if held else 0:.1f}",
    )


# -- a group of queues -----------------------------------------------------------------------------


def render_group(group: Group) -> dict[str, SafeString]:
    """The same columns as of a queue, as sums. There is no limit over a group, so there is no gauge."""
    return {
        "count": format_html("{}", words.counted(len(group.members), "queue")),
        "held": format_html("<span class=of><b{}>{}</b> <small>running</small></span>", *_figure(group.held)),
        "waiting": format_html("<span{}>{}{}</span>", *_figure(group.waiting), _more(group.members)),
        "oldest": _duration(group.oldest_wait),
        "rate": rate_of(group.per_minute),
        "state": _group_state(group),
    }


def _figure(number: int) -> tuple[SafeString, str]:
    return _zero(number), f"{number:,}"


def _duration(seconds: float | None) -> SafeString:
    if seconds is None:
        return format_html("<span class=zero>{}</span>", "–")
    return format_html("{}", words.duration(seconds, fine=False))


def _group_state(group: Group) -> SafeString:
    if group.attention and group.paused < len(group.members):  # else somebody has just done this
        return format_html('<span class="pill amber">{} attention</span>', group.attention)
    if group.paused:
        return format_html('<span class="pill violet">{} paused</span>', group.paused)
    return format_html("<span class=zero>{}</span>", "–")


# -- tiles -----------------------------------------------------------------------------------------


def _tile(figure: str, note: str, colour: str = "") -> SafeString:
    return format_html('<b class="figure {}">{}</b><small>{}</small>', colour, figure, note)


def _oldest_tile(longest: Gauge | None) -> SafeString:
    if longest is None or longest.oldest_wait is None:
        return _tile("–", "nothing waits")
    note = f"{longest.name}, {longest.state}"
    return _tile(
        words.duration(longest.oldest_wait, fine=False), note, "amber" if longest.oldest_wait >= LONG_WAIT else ""
    )


def _in_queues(number: int) -> str:
    return f"in {words.counted(number, 'queue')}" if number else "nothing"


def _share(totals: Totals) -> str:
    if not totals.finished:
        return "of none finished"
    return f"{100 * totals.failed / totals.finished:.2g} % of {totals.finished:,}"


def _free(totals: Totals) -> str:
    if not totals.workers:
        return "none is alive"
    if totals.draining == totals.workers:
        return "draining: none takes work"
    draining = f", {totals.draining:,} draining" if totals.draining else ""
    return f"{totals.free:,} of {totals.capacity:,} slots free{draining}"


def _more(gauges: Iterable[Gauge]) -> str:
    return "+" if any(gauge.waiting_is_capped for gauge in gauges) else ""


# -- small parts -----------------------------------------------------------------------------------


def _zero(number: float) -> SafeString:
    return EMPTY if number else ZERO


def _because(reason: str) -> SafeString:
    return format_html(": “{}”", reason) if reason else EMPTY


def _until(verb: str, at: dt.datetime | None) -> SafeString:
    # First, because the rest is cut off in a narrow row.
    return format_html("{} {} · ", verb, countdown(at)) if at else EMPTY


def moment(at: dt.datetime) -> SafeString:
    """A time of day; `times.js` writes it in the reader's own time zone."""
    return format_html('<time datetime="{}" data-clock>{}</time>', at.isoformat(), words.clock(at))


def countdown(at: dt.datetime) -> SafeString:
    """A time of day; `times.js` makes it `in 12 min`, unless the reader prefers times of day."""
    return format_html('<time datetime="{}" data-left>{}</time>', at.isoformat(), words.clock(at))


def ago(at: dt.datetime, now: dt.datetime) -> SafeString:
    """`12 min ago`, counting on; who prefers times of day reads one instead (`times.js`)."""
    seconds = (now - at).total_seconds()
    return format_html(
        '<time datetime="{}" data-ago>{} ago</time>', at.isoformat(), words.duration(seconds, fine=False)
    )


def since(at: dt.datetime, now: dt.datetime) -> SafeString:
    """How long so far, counting on: `times.js` adds the seconds while the page is open."""
    seconds = (now - at).total_seconds()
    return format_html(
        '<time datetime="{}" data-since>{}</time>', at.isoformat(), words.duration(seconds, fine=False)
    )
