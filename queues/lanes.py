"""Slot lanes: one lane per slot, time to the right, the present at the right edge. Drawn as SVG.

Above the lanes stands what waited, from the history: a gap in a lane under it is a slot that idled while work
waited. Many slots get thin lanes, named in groups. Where too much happened to draw every execution, the past is
drawn as how much of the limit was used, from the history too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from uuid import UUID

from . import history, words
from .history import Series, Step, Window
from .models import HELD, Execution, Holding, Queue, Status
from .rollup import TICK

SPANS = {"1": 60, "5": 300, "30": 1_800}  # minutes, as the URL says them → seconds
DEFAULT_SPAN = "5"
MAX_SPANS = 3_000
MOST_WAITING = 10_000
WIDTH = 1_000.0  # of the drawing, which is stretched to its place
SPACE, PITCH, GAP, BETWEEN = 416.0, 26.0, 6.0, 5.0  # pixels: all lanes, one of few with its gap, between groups
GROUPED_BEYOND = 16
GROUPS = (5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 500, 1_000)
MAX_LANES = 1_000
CLICKABLE = 4.0  # narrower bars are drawn, but are no links
THIN = 1.2  # narrower ones are put together
LINE = 18.0  # height of what waited


@dataclass(frozen=True, slots=True)
class Span:
    """One claim on screen; `end` is None while it runs."""

    execution_id: UUID
    workflow: str
    slot: int | None
    start: dt.datetime
    end: dt.datetime | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Bar:
    lane: int
    left: float
    right: float
    kind: str  # CSS class
    title: str
    execution_id: UUID | None  # None: too narrow for a link
    open: bool  # still runs: grows with the time
    y: str = ""
    height: str = ""

    @property
    def x(self) -> str:
        return f"{self.left:.1f}"

    @property
    def width(self) -> str:
        return f"{self.right - self.left:.1f}"


@dataclass(frozen=True, slots=True)
class Label:
    """Of a lane or of a group of them."""

    text: str
    y: str
    line: str  # y of its upper end


@dataclass(frozen=True, slots=True)
class Tick:
    x: str
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Lanes:
    labels: list[Label]
    bars: list[Bar]
    ticks: list[Tick]
    height: int
    seconds: int
    at: dt.datetime
    hidden: int  # slots that are not drawn
    unknown: str  # width of the past in which not every execution is drawn, because too much happened since
    used: str  # path of how much of the limit was used then
    waited: str  # path of what waited
    most_waiting: int
    pauses: list[tuple[str, str]]  # x, width
    share: int | None  # percent of the time of all slots that was used
    numbered: bool  # false: an unlimited queue has no slots, its lanes are only packed

    @property
    def step(self) -> float:
        """How far the drawing moves in a second."""
        return WIDTH / self.seconds

    @property
    def minutes(self) -> int:
        return self.seconds // 60


def lanes(queue: Queue, now: dt.datetime, seconds: int = 300, waiting: int = 0) -> Lanes:
    """`waiting`: how many wait now, which the history knows only seconds later."""
    since = now - dt.timedelta(seconds=seconds)
    spans, complete_from = _spans(queue, since)
    numbered = queue.effective_limit is not None
    placed = _by_slot(spans) if numbered else _packed(spans)
    wanted = max(max((lane for lane, _ in placed), default=0), queue.effective_limit or 0, 1)
    layout = Layout(min(wanted, MAX_LANES))
    bars = [_bar(span, lane, since, now, seconds) for lane, span in placed if lane <= layout.count]
    past = history.read(queue, _window(since, now), now)
    unknown = (complete_from - since).total_seconds()
    return Lanes(
        labels=layout.labels(numbered=numbered),
        bars=[layout.place(bar) for bar in _together(bars)],
        ticks=_ticks(seconds),
        height=round(layout.height),
        seconds=seconds,
        at=now,
        hidden=wanted - layout.count,
        unknown=f"{unknown * WIDTH / seconds:.1f}" if unknown > 0 else "",
        used=_used(past, since, complete_from, seconds, layout),
        waited=_waited(past, since, now, seconds, waiting),
        most_waiting=max([waiting, *(point.most_waiting or 0 for point in past.points if point)]),
        pauses=_pauses(past, since, seconds),
        share=_share(spans, past.limits, since, now) if numbered and unknown <= 0 else None,
        numbered=numbered,
    )


# -- where lanes are ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """A few lanes are tall, many are thin, and all fit the same height."""

    count: int

    @property
    def pitch(self) -> float:
        return PITCH if self.count <= GROUPED_BEYOND else SPACE / self.count

    @property
    def group(self) -> int:
        if self.count <= GROUPED_BEYOND:
            return 1
        return next((size for size in GROUPS if size * GROUPED_BEYOND >= self.count), GROUPS[-1])

    @property
    def height(self) -> float:
        return self.top(self.count) + self.pitch

    def top(self, lane: int) -> float:
        between = 0.0 if self.group == 1 else (lane - 1) // self.group * BETWEEN
        return (lane - 1) * self.pitch + between

    def place(self, bar: Bar) -> Bar:
        gap = min(GAP, self.pitch / 4)
        return replace(bar, y=f"{self.top(bar.lane) + gap / 2:.2f}", height=f"{self.pitch - gap:.2f}")

    def labels(self, *, numbered: bool) -> list[Label]:
        firsts = range(1, self.count + 1, self.group)
        return [self._label(first, min(first + self.group - 1, self.count), numbered) for first in firsts]

    def _label(self, first: int, last: int, numbered: bool) -> Label:
        middle = (self.top(first) + self.top(last) + self.pitch) / 2
        text = str(first) if first == last else f"{first}–{last}"
        return Label(text if numbered else "", f"{middle + 4:.1f}", f"{self.top(first) - self._gap() / 2:.1f}")

    def _gap(self) -> float:
        return 0.0 if self.group == 1 else BETWEEN


# -- what happened -----------------------------------------------------------------------------------


def _spans(queue: Queue, since: dt.datetime) -> tuple[list[Span], dt.datetime]:
    """Claims that ended since then or still run, and from when on they are complete.

    One that backs off is drawn once its next try begins.
    """
    own = Execution.objects.filter(queue=queue, claimed_at__isnull=False)
    columns = ("id", "workflow", "slot", "claimed_at", "released_at", "outcome", "status")
    held = own.filter(status__in=HELD).values_list(*columns)[:MAX_SPANS]
    done = own.filter(finished_at__gte=since).order_by("-finished_at").values_list(*columns)[:MAX_SPANS]
    tried = Holding.objects.filter(queue=queue, released_at__gte=since).order_by("-released_at")
    earlier = tried.values_list("execution_id", "slot", "claimed_at", "released_at", "outcome")[:MAX_SPANS]
    spans = [
        Span(i, flow, slot, start, end, outcome if end else status)
        for i, flow, slot, start, end, outcome, status in (*held, *done)
    ]
    spans += [Span(i, "", slot, start, end, _retried(outcome)) for i, slot, start, end, outcome in earlier]
    ends = [[row[4] for row in done], [row[3] for row in earlier]]
    return sorted(spans, key=lambda span: span.start), max(_complete_from(each, since) for each in ends)


def _complete_from(ends: Sequence[dt.datetime | None], since: dt.datetime) -> dt.datetime:
    """The newest come first; as many as we read at most may mean that there were more before."""
    oldest = ends[-1] if len(ends) == MAX_SPANS else None
    return max(since, oldest) if oldest else since


def _retried(outcome: str) -> str:
    # A failure that was followed by another try is told apart from the last word.
    return "retried" if outcome == "failed" else outcome


def _by_slot(spans: Iterable[Span]) -> list[tuple[int, Span]]:
    return [(span.slot, span) for span in spans if span.slot]


def _packed(spans: Iterable[Span]) -> list[tuple[int, Span]]:
    """First fit, so that lanes show how many ran at once."""
    ends: list[dt.datetime | None] = []
    placed = []
    for span in spans:
        free = next((i for i, end in enumerate(ends) if end is not None and end <= span.start), len(ends))
        if free == len(ends):
            ends.append(span.end)
        ends[free] = span.end
        placed.append((free + 1, span))
    return placed


def _bar(span: Span, lane: int, since: dt.datetime, now: dt.datetime, seconds: int) -> Bar:
    scale = WIDTH / seconds
    end = span.end or now
    left = max(0.0, (span.start - since).total_seconds() * scale)
    right = min(WIDTH, (end - since).total_seconds() * scale)
    right = max(right - (0.8 if span.end and right - left > 3 else 0), left + 0.8)
    name = f"{span.workflow} " if span.workflow else ""
    return Bar(
        lane=lane,
        left=min(left, WIDTH - 0.8),
        right=min(right, WIDTH),
        kind=_kind(span.outcome),
        title=f"{name}{span.outcome}, {words.duration((end - span.start).total_seconds())}",
        execution_id=span.execution_id if right - left >= CLICKABLE else None,
        open=span.end is None,
    )


def _together(bars: Iterable[Bar]) -> list[Bar]:
    """Bars of one kind that are too thin to be told apart become one: a bounded number of them is drawn."""
    drawn: list[Bar] = []
    last: dict[int, int] = {}  # lane → place of its last bar
    for bar in bars:
        place = last.get(bar.lane)
        before = drawn[place] if place is not None else None
        if before and _alike(before, bar) and place is not None:
            drawn[place] = replace(before, right=bar.right, title=f"several, {bar.kind}", execution_id=None)
        else:
            last[bar.lane] = len(drawn)
            drawn.append(bar)
    return drawn


def _alike(before: Bar, bar: Bar) -> bool:
    thin = bar.right - bar.left < THIN and (before.execution_id is None)
    return thin and before.kind == bar.kind and not bar.open and bar.left - before.right < THIN / 2


def _kind(outcome: str) -> str:
    if outcome in (Status.RUNNING, Status.CANCELLING, Status.COMPLETED, Status.FAILED):
        return outcome
    return "retried" if outcome in ("retried", "lost") else "other"


def _share(spans: Iterable[Span], limits: Iterable[Step], since: dt.datetime, now: dt.datetime) -> int | None:
    """Of the slots that there were, by the limit of each moment, from when on it is known; None without any."""
    begin, end = since.timestamp(), now.timestamp()
    turns = [(step.at, "limit", step.limit or 0) for step in limits]
    for span in spans:
        turns.append((span.start.timestamp(), "held", 1))
        if span.end:
            turns.append((span.end.timestamp(), "held", -1))
    turns = sorted((min(max(at, begin), end), what, value) for at, what, value in turns)
    held = limit = 0
    used = there = 0.0
    for (at, what, value), (until, *_) in pairwise([*turns, (end, "", 0)]):
        if what == "limit":
            limit = value
        else:
            held += value
        used += (until - at) * min(held, limit)  # what runs on above a lowered limit has no slot of it
        there += (until - at) * limit
    return round(100 * used / there) if there else None


# -- what the history adds ---------------------------------------------------------------------------


def _window(since: dt.datetime, now: dt.datetime) -> Window:
    return Window(int(since.timestamp()) // TICK * TICK, int(now.timestamp()))


def _waited(past: Series, since: dt.datetime, now: dt.datetime, seconds: int, waiting: int) -> str:
    """Steps as high as the share of the longest line; what is not known yet is as now."""
    counts: list[int | None] = [point.most_waiting if point else None for point in past.points]
    while counts and counts[-1] is None:
        counts.pop()
    known_until = past.window.since + len(counts) * past.step
    top = max([waiting, *(count or 0 for count in counts)])
    if not top:
        return ""
    steps: list[tuple[int, float, int]] = [
        (past.window.since + i * past.step, past.step, count or 0) for i, count in enumerate(counts)
    ]
    steps.append((known_until, max(0.0, now.timestamp() - known_until), waiting))
    begin, scale = since.timestamp(), WIDTH / seconds
    return "".join(
        f"M{(at - begin) * scale:.1f} {LINE:.0f}v-{_height(count, top):.1f}h{length * scale:.1f}V{LINE:.0f}Z"
        for at, length, count in steps
        if count
    )


def _height(count: int, top: int) -> float:
    return max(2.5, (LINE - 2) * count / top)  # one is to be seen beside a thousand


def _used(past: Series, since: dt.datetime, complete_from: dt.datetime, seconds: int, layout: Layout) -> str:
    begin, end, scale = since.timestamp(), complete_from.timestamp(), WIDTH / seconds
    path = []
    for i, point in enumerate(past.points):
        left = past.window.since + i * past.step
        right = min(left + past.step, end)
        if point and point.running is not None and right > left:
            limit = history.limit_at(past, left + past.step) or layout.count
            height = layout.height * min(1.0, point.running / limit)
            x, width = (left - begin) * scale, (right - left) * scale
            path.append(f"M{x:.1f} {layout.height:.1f}v-{height:.1f}h{width:.1f}V{layout.height:.1f}Z")
    return "".join(path)


def _pauses(past: Series, since: dt.datetime, seconds: int) -> list[tuple[str, str]]:
    begin, scale = since.timestamp(), WIDTH / seconds
    return [(f"{(start - begin) * scale:.1f}", f"{(end - start) * scale:.1f}") for start, end in past.pauses]


# -- time --------------------------------------------------------------------------------------------


def _ticks(seconds: int) -> list[Tick]:
    """From the present backwards; at the left edge nothing, it would be cut."""
    parts = {60: (15, 4), 300: (60, 5), 1_800: (300, 6)}[seconds]
    step, count = parts
    ticks = [
        Tick(f"{100 - 100 * i * step / seconds:.2f}%", _ago(i * step), "middle") for i in range(count - 1, 0, -1)
    ]
    return [Tick("0%", _ago(seconds), "start"), *ticks, Tick("100%", "now", "end")]


def _ago(seconds: int) -> str:
    return f"−{seconds} s" if seconds < 60 else f"−{seconds // 60} min"
