"""Charts of one queue's history: what is drawn where. The template puts it into SVG.

A chart is as wide as its place: lines are drawn in a box of 1,000 x 100 that is stretched, words and marks stand
at percentages. Every chart of a page has the same time axis.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from . import words
from .history import DAY, HOUR, MINUTE, Percentiles, Point, Series, limit_at
from .models import Change
from .reads import Now
from .trail import ACTS, of_act

WIDTH, HEIGHT = 1_000.0, 100.0
TICKS = (MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR,
         12 * HOUR, DAY, 2 * DAY, 5 * DAY)  # fmt: skip
MOST_TICKS = 6
TIME_LINES = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0, 86_400.0, 864_000.0)
LETTER = 0.6  # percent of the width that a letter of the words at a mark takes
LABEL_ROWS, LONG = 3, 40
PER_MINUTE = "per minute"
USED = 0.95  # share of a limit from which it counts as used

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    kind: str  # CSS class
    label: str
    key: str  # name of its values in the data for the crosshair
    path: str
    now: str  # the last known value, in words


@dataclass(frozen=True, slots=True)
class Level:
    """A line across, at `y` percent from above."""

    y: str
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    key: str
    title: str
    unit: str
    lines: list[Line]
    levels: list[Level]
    summary: str  # what a screen reader says instead


@dataclass(frozen=True, slots=True)
class Tick:
    x: str  # percent
    at: int
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time, in percent: without data, or paused."""

    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of limit or pause. `words` is empty where there is no room for them."""

    x: str
    change: Change
    words: str
    anchor: str
    y: int


@dataclass(frozen=True, slots=True)
class Charts:
    charts: list[Chart]
    ticks: list[Tick]
    gaps: list[Band]
    pauses: list[Band]
    marks: list[Mark]
    data: str  # JSON for the crosshair
    count: int  # points


def charts(series: Series, now: Now | None = None) -> Charts:
    """`now`: for charts that end now. The history is some seconds behind what the rest of the page says."""
    axis = Axis(series)
    marks = _marks(series, axis)
    return Charts(
        charts=[
            _running(series, axis, now), _waiting(series, axis, now),
            _throughput(series, axis), _failures(series, axis),
            _times(series, axis, "wait", "Wait before the start"), _times(series, axis, "run", "Run time"),
        ],
        ticks=_ticks(series, axis),
        gaps=list(_gaps(series, axis)),
        pauses=[axis.band(start, end) for start, end in series.pauses],
        marks=marks,
        data=_data(series),
        count=len(series.points),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Axis:
    """From seconds to places."""

    series: Series

    def x(self, at: float) -> float:
        window = self.series.window
        return WIDTH * (at - window.since) / window.seconds

    def percent(self, at: float) -> float:
        return 100 * self.x(at) / WIDTH

    def band(self, start: float, end: float) -> Band:
        return Band(f"{self.percent(start):.2f}%", f"{self.percent(end) - self.percent(start):.2f}%")

    def edges(self, index: int) -> tuple[float, float]:
        start = self.series.window.since + index * self.series.step
        return self.x(start), self.x(start + self.series.step)


# -- the charts --------------------------------------------------------------------------------------


def _running(series: Series, axis: Axis, now: Now | None) -> Chart:
    running = _values(series, lambda point: point.running)
    limits = [step.limit for step in series.limits if step.limit is not None]
    top = _nice(max([*_known(running), *limits], default=0))
    bound = _bound(series)
    held_back = [value if binds else None for value, binds in zip(running, bound, strict=True)]
    share = _share_of_time(bound)
    last = _count(now.running) if now else _last(running, _count)
    limit = words.limit(now.limit) if now else _last_limit(series)
    lines = [
        Line("running", "running", "running", _curve(running, axis, _linear(top)), last),
        Line("bound", "held work back", "bound", _curve(held_back, axis, _linear(top)), share),
        Line("limit", "limit", "limit", _steps(series, axis, top), limit),
    ]
    said = f"Running: {_between(running, _count, last)}. Limit: {limit}, held work back {share} of the time."
    return Chart("running", "Running and limit", "", lines, _levels(top), said)


def _bound(series: Series) -> list[bool | None]:
    """Where the limit was used (nearly, on average) while work waited; None where there are no data."""
    limits = [limit_at(series, series.window.since + (i + 1) * series.step) for i in range(len(series.points))]
    return [_binds(point, limit) for point, limit in zip(series.points, limits, strict=True)]


def _binds(point: Point | None, limit: int | None) -> bool | None:
    if point is None or point.running is None or point.waiting is None:
        return None
    return limit is not None and point.running >= USED * limit and point.waiting >= 0.5


def _share_of_time(bound: Sequence[bool | None]) -> str:
    known = [binds for binds in bound if binds is not None]
    return f"{100 * sum(known) / len(known):.0f} %" if known else "–"


def _waiting(series: Series, axis: Axis, now: Now | None) -> Chart:
    waiting = _values(series, lambda point: point.most_waiting)
    top = _nice(max(_known(waiting), default=0))
    path = _area(waiting, axis, _linear(top))
    last = _count(now.waiting) if now else _last(waiting, _count)
    line = Line("waiting", "waiting", "waiting", path, last)
    return Chart("waiting", "Waiting", "", [line], _levels(top), f"Waiting: {_between(waiting, _count, last)}.")


def _throughput(series: Series, axis: Axis) -> Chart:
    values = _values(series, lambda point: point.per_minute)
    top = _nice(max(_known(values), default=0))
    line = Line("completed", "finished", "finished", _bars(values, axis, _linear(top)), _last(values, words.rate))
    said = f"Finished per minute: {_between(values, words.rate)}."
    return Chart("throughput", "Throughput", PER_MINUTE, [line], _levels(top), said)


def _failures(series: Series, axis: Axis) -> Chart:
    values = _values(series, lambda point: point.failed_per_minute)
    top = _nice(max(_known(values), default=0))
    line = Line("failed", "failed", "failed", _bars(values, axis, _linear(top)), _last(values, words.rate))
    total = sum(point.failed for point in series.points if point)
    said = f"{words.counted(total, 'execution')} failed. Per minute: {_between(values, words.rate)}."
    return Chart("failures", "Failures", PER_MINUTE, [line], _levels(top), said)


def _times(series: Series, axis: Axis, name: str, title: str) -> Chart:
    values = [_values(series, _share_of(name, share)) for share in range(3)]
    every = [value for some in values for value in _known(some)]
    scale, levels = _logarithmic(every)
    labels = ("p50", "p95", "p99")
    lines = [
        Line(label, label, f"{name}_{label}", _curve(some, axis, scale), _last(some, words.duration))
        for label, some in zip(labels, values, strict=True)
    ]
    said = "; ".join(
        f"{label}: {_between(some, words.duration)}" for label, some in zip(labels, values, strict=True)
    )
    return Chart(name, title, "", lines, levels, f"{title}, {said}.")


def _share_of(name: str, share: int) -> Callable[[Point], float | None]:
    def value(point: Point) -> float | None:
        found: Percentiles | None = point.wait if name == "wait" else point.run
        return found[share] if found else None

    return value


# -- paths -------------------------------------------------------------------------------------------


def _curve(values: Values, axis: Axis, y: Callable[[float], float]) -> str:
    """Through the middles of the points; where data are missing the pen is lifted."""
    return "".join(
        f"M{_pairs(middles)}" if len(middles) > 1 else _dash(axis.edges(first), middles[0][1])
        for first, middles in _stretches(values, axis, y)
    )


def _area(values: Values, axis: Axis, y: Callable[[float], float]) -> str:
    """A curve, filled down to zero."""
    paths = []
    for first, middles in _stretches(values, axis, y):
        left, right = axis.edges(first)[0], axis.edges(first + len(middles) - 1)[1]
        ends = [(left, middles[0][1]), *middles, (right, middles[-1][1])]
        paths.append(f"M{left:.1f} {HEIGHT:.0f}L{_pairs(ends)}L{right:.1f} {HEIGHT:.0f}Z")
    return "".join(paths)


def _bars(values: Values, axis: Axis, y: Callable[[float], float]) -> str:
    bars = []
    for index, value in enumerate(values):
        if value:
            left, right = axis.edges(index)
            gap = min(1.0, (right - left) * 0.15)
            top = min(y(value), HEIGHT - 1.5)  # something is not nothing
            bars.append(f"M{left:.1f} {HEIGHT:.0f}V{top:.1f}H{right - gap:.1f}V{HEIGHT:.0f}Z")
    return "".join(bars)


def _steps(series: Series, axis: Axis, top: float) -> str:
    """The limit; unlimited is no line."""
    y, path = _linear(top), []
    ends = [step.at for step in series.limits[1:]] + [float(series.window.until)]
    drawn = False
    for step, end in zip(series.limits, ends, strict=False):
        if step.limit is not None and step.at < end:
            left, right = axis.x(max(step.at, series.window.since)), axis.x(end)
            path.append(f"{'L' if drawn else 'M'}{left:.1f} {y(step.limit):.1f}H{right:.1f}")
        drawn = step.limit is not None
    return "".join(path)


def _stretches(
    values: Values, axis: Axis, y: Callable[[float], float]
) -> Iterator[tuple[int, list[tuple[float, float]]]]:
    for known, some in groupby(enumerate(values), key=lambda pair: pair[1] is not None):
        if known:
            pairs = [(index, value) for index, value in some if value is not None]
            yield pairs[0][0], [(sum(axis.edges(index)) / 2, y(value)) for index, value in pairs]


def _pairs(places: Iterable[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _dash(edges: tuple[float, float], y: float) -> str:
    return f"M{edges[0]:.1f} {y:.1f}H{edges[1]:.1f}"


# -- scales ------------------------------------------------------------------------------------------


def _linear(top: float) -> Callable[[float], float]:
    return lambda value: HEIGHT * (1 - value / top)


def _levels(top: float) -> list[Level]:
    return [Level(f"{100 - 100 * part:.0f}%", _count(top * part)) for part in (1, 0.5)]


def _logarithmic(values: Sequence[float]) -> tuple[Callable[[float], float], list[Level]]:
    """Times differ by powers of ten, and what is short matters as well as what is long."""
    if not values:
        return _linear(1.0), []
    low = max((line for line in TIME_LINES if line <= min(values)), default=TIME_LINES[0])
    high = min((line for line in TIME_LINES if line >= max(values) and line > low), default=TIME_LINES[-1] * 10)
    span = math.log(high / low)

    def y(value: float) -> float:
        return min(HEIGHT, max(0.0, HEIGHT * (1 - math.log(max(value, low) / low) / span)))

    lines = [line for line in TIME_LINES if low < line <= high]
    every = -(-len(lines) // 4)
    return y, [Level(f"{y(line):.1f}%", words.duration(line, fine=line < 1)) for line in lines[::-every]]


def _nice(highest: float) -> float:
    """The next of 1, 2, 5, 10, 20, … above, with a little room."""
    if highest <= 1:
        return 1.0 if highest <= 0.9 else 2.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(power * part for part in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if power * part >= highest * 1.04)


# -- time --------------------------------------------------------------------------------------------


def _ticks(series: Series, axis: Axis) -> list[Tick]:
    window = series.window
    step = next((tick for tick in TICKS if window.seconds / tick <= MOST_TICKS), TICKS[-1])
    first = -(-window.since // step) * step
    long = window.seconds > 2 * DAY
    return [
        Tick(f"{axis.percent(at):.2f}%", at, _label(at, long=long))
        for at in range(first, window.until, step)
        if 3 <= axis.percent(at) <= 97
    ]


def _label(at: int, *, long: bool) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return moment.strftime("%-d %b") if long else moment.strftime("%H:%M")


def _gaps(series: Series, axis: Axis) -> Iterator[Band]:
    for missing, some in groupby(enumerate(series.points), key=lambda pair: pair[1] is None):
        indexes = [index for index, _ in some]
        # The last point is often still to be written: no reason to point at it.
        if missing and indexes != [len(series.points) - 1]:
            start = series.window.since + indexes[0] * series.step
            yield axis.band(start, start + len(indexes) * series.step)


def _marks(series: Series, axis: Axis) -> list[Mark]:
    """The newest ones first get words where there is room for them, right or left of the mark."""
    rows: list[list[tuple[float, float]]] = [[] for _ in range(LABEL_ROWS)]
    marks = [_mark(axis.percent(change.at.timestamp()), change, rows) for change in reversed(series.changes)]
    return marks[::-1]


def _mark(x: float, change: Change, rows: list[list[tuple[float, float]]]) -> Mark:
    said = change_words(change)
    width = len(said) * LETTER
    for row, taken in enumerate(rows):
        for anchor, place in (("start", (x, x + width)), ("end", (x - width, x))):
            free = all(place[1] <= left or place[0] >= right for left, right in taken)
            if free and place[0] >= 0 and place[1] <= 100:
                taken.append(place)
                return Mark(f"{x:.2f}%", change, said, anchor, 11 + 14 * row)
    return Mark(f"{x:.2f}%", change, "", "start", 0)


def change_words(change: Change) -> str:
    """`3 → 5 · ana · “provider raised quota”`"""
    what = f"{change.before} → {change.after}"
    if change.kind == Change.Kind.PAUSE:
        what = "paused" if change.after == "paused" else "resumed"
    elif change.kind in ACTS:
        what = of_act(change)
    reason = change.reason if len(change.reason) <= LONG else f"{change.reason[: LONG - 1]}…"
    return " · ".join(part for part in (what, change.actor, f"“{reason}”" if reason else "") if part)


# -- words -------------------------------------------------------------------------------------------


def _values(series: Series, value: Callable[[Point], float | None]) -> Values:
    return [value(point) if point else None for point in series.points]


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _last(values: Values, say: Callable[[float], str]) -> str:
    known = _known(values)
    return say(known[-1]) if known else "–"


def _between(values: Values, say: Callable[[float], str], last: str = "") -> str:
    known = _known(values)
    if not known:
        return "no data"
    return f"{say(min(known))} to {say(max(known))}, at the end {last or say(known[-1])}"


def _count(value: float) -> str:
    if value >= 100_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _last_limit(series: Series) -> str:
    return words.limit(series.limits[-1].limit) if series.limits else "not known"


# -- data for the crosshair --------------------------------------------------------------------------


def _data(series: Series) -> str:
    columns: dict[str, list[float | None]] = {
        "running": _rounded(_values(series, lambda point: point.running)),
        "waiting": _rounded(_values(series, lambda point: point.most_waiting)),
        "finished": _rounded(_values(series, lambda point: point.per_minute)),
        "failed": _rounded(_values(series, lambda point: point.failed_per_minute)),
    }
    for name in ("wait", "run"):
        for share, label in enumerate(("p50", "p95", "p99")):
            columns[f"{name}_{label}"] = _rounded(_values(series, _share_of(name, share)))
    columns["bound"] = [None if binds is None else int(binds) for binds in _bound(series)]
    data = {
        "since": series.window.since,
        "step": series.step,
        "limits": [(round(step.at), step.limit) for step in series.limits],
        "columns": columns,
    }
    return json.dumps(data, separators=(",", ":"))


def _rounded(values: Values) -> list[float | None]:
    return [None if value is None else float(f"{value:.3g}") for value in values]
