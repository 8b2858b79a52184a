"""The state of one queue in words: a sentence for its page, and a softer one about its limit."""

from __future__ import annotations

import datetime as dt

from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import words
from .fragments import EMPTY, ago, moment
from .gauges import Gauge
from .models import Queue

CHOSEN = "chosen "  # how the origin begins when it says when, not who: `engine/enqueue.py` made the queue
NOTICED = 5.0  # seconds of waiting beside free slots that are worth a word


def state_sentence(gauge: Gauge, now: dt.datetime) -> SafeString:
    """Full or free, how many wait, how old; and what would have to happen, when nothing starts."""
    later = format_html(" {} scheduled for later.", _are(gauge.scheduled)) if gauge.scheduled else EMPTY
    return format_html("{}{}", _state(gauge, now), later)


def _state(gauge: Gauge, now: dt.datetime) -> SafeString:
    held = gauge.held
    if gauge.paused:
        return _paused(gauge, held, now)
    if gauge.draining:
        return _draining(gauge, held, now)
    if gauge.limit is not None and held > gauge.limit:
        return format_html(
            "The limit was lowered: {} of {} running, and nothing starts until {} finished; {}.",
            held,
            gauge.limit,
            _have(held - gauge.limit + 1),
            _line(gauge),
        )
    if gauge.limit == 0:
        return format_html("The limit is 0, so nothing starts; {}.", _line(gauge))
    if gauge.waiting and not gauge.workers:
        return format_html("No worker serves this queue: {}. Start one that declares it.", _line(gauge))
    if gauge.limit is not None and held >= gauge.limit:
        return format_html("Full: {} of {} running, {}.", held, gauge.limit, _line(gauge))
    if gauge.limit is None:
        if not held and not gauge.waiting:
            return _idle(gauge)
        return format_html("{} running, {}.{}", held, _line(gauge), _why_with_room(gauge))
    if held or gauge.waiting:
        return format_html("{} of {} running, {}.{}", held, gauge.limit, _line(gauge), _why_with_room(gauge))
    return _idle(gauge)


def origin_sentence(gauge: Gauge, queue: Queue, now: dt.datetime) -> SafeString:
    """Where the effective limit comes from, and who changed it why."""
    declared = _declared(gauge)
    if not gauge.overridden:
        return declared
    return format_html(
        "{}, set {} by {}{}{} · {}",
        _limit(gauge.limit),
        _ago(queue.override_at, now),
        gauge.override_by,
        format_html(": “{}”", gauge.override_reason) if gauge.override_reason else EMPTY,
        format_html(" · ends {}", moment(gauge.override_until)) if gauge.override_until else EMPTY,
        declared,
    )


def _declared(gauge: Gauge) -> SafeString:
    if not gauge.declared_from:
        return format_html("no code declares a limit{}", "" if gauge.overridden else ", so there is none")
    if gauge.declared_from.startswith(CHOSEN):
        chosen = "no limit was" if gauge.declared_limit is None else f"limit {gauge.declared_limit:,},"
        return format_html("{} {}", chosen, gauge.declared_from)
    return format_html("declared {} by {}", words.limit(gauge.declared_limit), gauge.declared_from)


def _paused(gauge: Gauge, held: int, now: dt.datetime) -> SafeString:
    return format_html(
        "Paused {} by {}{}: {} still running, {}. Resumes {}.",
        _ago(gauge.paused_at, now),
        gauge.paused_by,
        format_html(" (“{}”)", gauge.paused_reason) if gauge.paused_reason else EMPTY,
        held or "none",
        _line(gauge),
        format_html("at {}", moment(gauge.paused_until)) if gauge.paused_until else "when someone resumes it",
    )


def _draining(gauge: Gauge, held: int, now: dt.datetime) -> SafeString:
    left = held or gauge.waiting or gauge.scheduled
    return format_html(
        "Drained {} by {}{}: new executions are refused; {}.",
        _ago(gauge.drain_at, now),
        gauge.drain_by,
        format_html(" (“{}”)", gauge.drain_reason) if gauge.drain_reason else EMPTY,
        format_html("{} running, {}", held or "none", _line(gauge)) if left else "nothing is left",
    )


def _why_with_room(gauge: Gauge) -> str:
    """The limit does not bind; what waits for long waits for a worker."""
    if gauge.oldest_wait is None or gauge.oldest_wait < NOTICED:
        return ""
    return " The limit leaves room: its workers are full, or do not run what is next in line."


def _idle(gauge: Gauge) -> SafeString:
    return format_html(
        "Nothing runs and nothing waits{}.", "" if gauge.workers else "; no worker serves this queue"
    )


def _line(gauge: Gauge) -> SafeString:
    if not gauge.waiting:
        return format_html("{} waits", "nothing")
    more = "+" if gauge.waiting_is_capped else ""
    return format_html(
        "<b>{}{} waiting</b>, oldest {}", f"{gauge.waiting:,}", more, words.duration(gauge.oldest_wait, fine=False)
    )


def _limit(limit: int | None) -> str:
    return "No limit" if limit is None else f"Limit {limit:,}"


def _ago(at: dt.datetime | None, now: dt.datetime) -> SafeString:
    if at is None:
        return format_html("{}", "some time ago")
    return ago(at, now)


def _are(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}"


def _have(number: int) -> str:
    return f"{number:,} {'has' if number == 1 else 'have'}"
