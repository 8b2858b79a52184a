"""What a queue did over time, for its charts: points of equal length, out of the rows that `rollup.py` writes.

A point without data is None: a gap, not a zero. The limit is not sampled but worked out from the trail, so its
steps are exact. Nothing here writes or locks; the rows read are bounded by the number of points, not by what ran.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from .engine.statements import statement
from .models import Change, Queue, RollupStretch
from .rollup import FIGURES, KEPT, SHARD, STEPS, TICK, Figure, percentile

MINUTE, HOUR, DAY = 60, 3_600, 86_400
RANGES = {"15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
DEFAULT_RANGE = "1h"
SHORTEST, LONGEST = 2 * MINUTE, 31 * DAY
EARLIEST = 365 * DAY  # since 1970
POINTS = 240  # at most
POINT_LENGTHS = (10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
MOST_CHANGES = 300
CLOSED_AFTER = 2.0  # seconds after its end in which a tick is usually rolled up

SHARES = (0.5, 0.95, 0.99)

Percentiles = tuple[float, float, float]  # p50, p95, p99, in seconds


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, in seconds since 1970. `name` is a key of RANGES when it ends now, else empty."""

    since: int
    until: int
    name: str = ""

    @property
    def seconds(self) -> int:
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Point:
    """Rates are per minute, times are of what finished; `waiting` and `running` are means over the looks, None
    without any: what finished while nobody looked is counted later."""

    start: int
    completed: int
    failed: int
    cancelled: int
    per_minute: float
    failed_per_minute: float
    waiting: float | None
    most_waiting: int | None
    running: float | None
    most_running: int | None
    wait: Percentiles | None
    run: Percentiles | None

    @property
    def finished(self) -> int:
        return self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Step:
    """A limit from a moment on; None = unlimited."""

    at: float
    limit: int | None


@dataclass(frozen=True, slots=True)
class Series:
    window: Window
    step: int  # seconds of a point
    points: list[Point | None]
    limits: list[Step]  # the first one holds at the beginning of the window, or begins with the queue
    pauses: list[tuple[float, float]]
    changes: list[Change]  # within the window, oldest first


# -- which time --------------------------------------------------------------------------------------


def window(name: str, since: str, until: str, now: dt.datetime) -> Window:
    """From what a URL says: a range that ends now, or two moments. Nonsense is the default range."""
    chosen = _moment(since), _moment(until)
    if chosen[0] is not None and chosen[1] is not None:
        return between(chosen[0], chosen[1], now)
    name = name if name in RANGES else DEFAULT_RANGE
    # To the end of the last tick, once it has been closed.
    end = int(now.timestamp() - CLOSED_AFTER) // TICK * TICK
    return Window(end - RANGES[name], end, name)


def between(since: float, until: float, now: dt.datetime) -> Window:
    """Not shorter than two minutes, not longer than a month, not in the future, and not before 1971."""
    latest = int(now.timestamp()) // TICK * TICK
    since, until = max(since, EARLIEST), min(max(since, until, EARLIEST), latest)
    middle, length = (since + until) / 2, min(max(abs(until - since), SHORTEST), LONGEST)
    end = min(int(middle + length / 2), latest)
    return Window(int(end - length), end)


def _moment(text: str) -> float | None:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def point_length(window: Window, now: dt.datetime) -> int:
    """The shortest that gives no more than 240 points, of rows that are still kept."""
    age = now.timestamp() - window.since
    finest = next((step for step in STEPS if age <= KEPT[step]), STEPS[-1])
    fitting = (n for n in POINT_LENGTHS if n >= finest and window.seconds <= n * POINTS)
    return next(fitting, POINT_LENGTHS[-1])


# -- reading -----------------------------------------------------------------------------------------


def read(queue: Queue, window: Window, now: dt.datetime) -> Series:
    """Four queries."""
    step = point_length(window, now)
    since, until = window.since // step * step, -(-window.until // step) * step
    stretches = list(RollupStretch.objects.filter(until__gt=since, since__lt=until).values_list("since", "until"))
    newest = max((end for _, end in stretches), default=since)
    figures = _figures(queue, since, until, step, newest)
    covered = _covered(stretches, since, step, (until - since) // step)
    points = [_point(since + i * step, step, figures.get(i), seconds) for i, seconds in enumerate(covered)]
    kinds = (Change.Kind.DECLARED, Change.Kind.OVERRIDE, Change.Kind.PAUSE)
    found = Change.objects.filter(queue=queue, kind__in=kinds, at__gte=_time(since))
    changes = list(found[:MOST_CHANGES])
    edge = Window(since, until, window.name)
    return Series(
        window=edge,
        step=step,
        points=points,
        limits=limit_steps(queue, changes, edge),
        pauses=pauses(queue, changes, edge),
        changes=[change for change in reversed(changes) if change.at.timestamp() < until],
    )


def _figures(
    queue: Queue, since: int, until: int, step: int, newest: int
) -> Mapping[int, dict[int, tuple[int, int, int]]]:
    """Per point and figure: sum, highest, highest of the rows of 10 s."""
    parts = _parts(since, until, step, newest)
    values: dict[str, Any] = {
        "since": since, "step": step, "shard": queue.id // SHARD, "first": queue.id % SHARD * FIGURES,
        "seconds": [part[0] for part in parts], "froms": [part[1] for part in parts],
        "untils": [part[2] for part in parts],
    }  # fmt: skip
    found: dict[int, dict[int, tuple[int, int, int]]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(statement("history"), values)
        for point, figure, total, highest, looked in cursor.fetchall():
            found[point][figure] = (total, highest, looked)
    return found


def _parts(since: int, until: int, step: int, newest: int) -> list[tuple[int, int, int]]:
    """(row length, from, until): coarse rows as far as they are added up, then finer ones."""
    parts, begin = [], since
    for length in reversed([length for length in STEPS if step % length == 0]):
        end = max(begin, min(until, newest // length * length))
        parts.append((length, begin, end))
        begin = end
    return parts


def _covered(stretches: Iterable[tuple[int, int]], since: int, step: int, count: int) -> list[int]:
    """Seconds of each point that were looked at as they passed."""
    covered = [0] * count
    for begin, end in stretches:
        first, last = max(0, (begin - since) // step), min(count - 1, (end - 1 - since) // step)
        for i in range(first, last + 1):
            start = since + i * step
            covered[i] += max(0, min(end, start + step) - max(begin, start))
    return covered


def _point(
    start: int, step: int, figures: Mapping[int, tuple[int, int, int]] | None, covered: int
) -> Point | None:
    if figures is None and not covered:
        return None
    figures = figures or {}
    nothing = (0, 0, 0)
    completed, failed, cancelled, waiting, running = (figures.get(figure, nothing) for figure in range(5))
    minutes, looks = (covered or step) / MINUTE, covered / TICK
    return Point(
        start=start,
        completed=completed[0],
        failed=failed[0],
        cancelled=cancelled[0],
        per_minute=(completed[0] + failed[0] + cancelled[0]) / minutes,
        failed_per_minute=failed[0] / minutes,
        waiting=waiting[0] / looks if looks else None,
        most_waiting=max(figures.get(Figure.MOST_WAITING, nothing)[1], waiting[2]) if looks else None,
        running=running[0] / looks if looks else None,
        most_running=max(figures.get(Figure.MOST_RUNNING, nothing)[1], running[2]) if looks else None,
        wait=_percentiles(figures, Figure.WAITS),
        run=_percentiles(figures, Figure.RUNS),
    )


def _percentiles(figures: Mapping[int, tuple[int, int, int]], first: int) -> Percentiles | None:
    histogram = {figure - first: n for figure, (n, _, _) in figures.items() if first <= figure < first + 256}
    found = [percentile(histogram, share) for share in SHARES]
    p50, p95, p99 = found
    return None if p50 is None or p95 is None or p99 is None else (p50, p95, p99)


# -- limits and pauses, from the trail ---------------------------------------------------------------


def limit_steps(queue: Queue, changes: Sequence[Change], window: Window) -> list[Step]:
    """The effective limit over the window, oldest step first. `changes` since its beginning, newest first.

    From what holds now the changes are undone one by one. What is older than the oldest known one is left out.
    """
    declared, override = queue.declared_limit, (queue.override_limit,) if queue.overridden else None
    steps: list[Step] = []
    for change in changes:
        if change.kind not in (Change.Kind.DECLARED, Change.Kind.OVERRIDE):
            continue
        steps.append(Step(change.at.timestamp(), override[0] if override else declared))
        if change.kind == Change.Kind.DECLARED:
            declared = _limit(change.before)
        else:
            override = None if change.before == "none" else (_limit(change.before),)
    if len(changes) < MOST_CHANGES:
        created = queue.created_at.timestamp()
        steps.append(Step(max(created, float(window.since)), override[0] if override else declared))
    steps.sort(key=lambda step: step.at)
    # A queue that is seconds old has its limit, too.
    return [step for step in steps if step.at < window.until] or steps[:1]


def limit_at(series: Series, at: float) -> int | None:
    """The one that held just before. None also where it is not known."""
    return next((step.limit for step in reversed(series.limits) if step.at < at), None)


def pauses(queue: Queue, changes: Sequence[Change], window: Window) -> list[tuple[float, float]]:
    """Stretches in which the queue was paused, oldest first."""
    found = []
    paused, end = queue.paused, float(window.until)
    for change in changes:
        if change.kind != Change.Kind.PAUSE:
            continue
        at = change.at.timestamp()
        if paused:
            found.append((at, end))
        paused, end = change.before == "paused", at
    if paused:
        found.append((float(window.since), end))
    inside = [(max(start, window.since), min(end, window.until)) for start, end in reversed(found)]
    return [(start, end) for start, end in inside if start < end]


def _limit(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
