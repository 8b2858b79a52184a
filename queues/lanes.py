"""Slot lanes: one lane per slot, time to the right, the present at the right edge. Drawn as SVG."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from .models import HELD, Execution, Holding, Queue, Status

MAX_LANES, MAX_PACKED = 16, 8  # of slots; of a queue without
MAX_SPANS = 1_500
WIDTH, LEFT, LANE, GAP = 1_000, 34, 20, 6
CLICKABLE = 4.0  # narrower bars are drawn, but are no links


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
    x: str
    y: int
    width: str
    kind: str  # CSS class
    title: str
    execution_id: UUID | None  # None: too narrow for a link


@dataclass(frozen=True, slots=True)
class Lane:
    number: int
    y: int
    text_y: int


@dataclass(frozen=True, slots=True)
class Tick:
    x: int
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Lanes:
    lanes: list[Lane]
    bars: list[Bar]
    ticks: list[Tick]
    width: int
    height: int
    floor: int  # y of the lower end of the grid
    hidden: int  # slots that are not drawn
    unknown: int  # width of the past of which nothing is drawn, because too much happened since
    numbered: bool  # false: an unlimited queue has no slots, its lanes are only packed


def lanes(queue: Queue, now: dt.datetime, seconds: int = 300) -> Lanes:
    since = now - dt.timedelta(seconds=seconds)
    spans, complete_from = _spans(queue, since)
    numbered = queue.effective_limit is not None
    placed = _by_slot(spans) if numbered else _packed(spans)
    used = max((lane for lane, _ in placed), default=0)
    wanted = max(used, queue.effective_limit or 0, 1)
    count = min(wanted, MAX_LANES if numbered else MAX_PACKED)
    floor = count * (LANE + GAP)
    return Lanes(
        lanes=[Lane(n, _top(n), _top(n) + LANE - 6) for n in range(1, count + 1)],
        bars=[_bar(span, lane, since, now, seconds) for lane, span in placed if lane <= count],
        ticks=_ticks(seconds),
        width=WIDTH,
        height=floor + 22,
        floor=floor,
        hidden=wanted - count,
        unknown=round((complete_from - since).total_seconds() * (WIDTH - LEFT) / seconds),
        numbered=numbered,
    )


def _spans(queue: Queue, since: dt.datetime) -> tuple[list[Span], dt.datetime]:
    """Claims that ended since then or still run, and from when on they are complete.

    One that backs off is drawn once its next try begins.
    """
    own = Execution.objects.filter(queue=queue, claimed_at__isnull=False)
    columns = ("id", "workflow", "slot", "claimed_at", "released_at", "outcome", "status")
    held = own.filter(status__in=HELD).values_list(*columns)[:MAX_SPANS]
    done = own.filter(finished_at__gte=since).order_by("-finished_at").values_list(*columns)[:MAX_SPANS]
    earlier = Holding.objects.filter(queue=queue, released_at__gte=since).order_by("-released_at")[:MAX_SPANS]
    spans = [
        Span(i, flow, slot, start, end, outcome if end else status)
        for i, flow, slot, start, end, outcome, status in (*held, *done)
    ]
    spans += [Span(h.execution_id, "", h.slot, h.claimed_at, h.released_at, _retried(h.outcome)) for h in earlier]
    ends = [[row[4] for row in done], [row.released_at for row in earlier]]
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
    scale = (WIDTH - LEFT) / seconds
    start = max(0.0, (span.start - since).total_seconds())
    end = min(float(seconds), ((span.end or now) - since).total_seconds())
    width = max(1.5, (end - start) * scale - 1)
    length = ((span.end or now) - span.start).total_seconds()
    name = f"{span.workflow} " if span.workflow else ""
    return Bar(
        x=f"{LEFT + start * scale:.1f}",
        y=_top(lane),
        width=f"{width:.1f}",
        kind=_kind(span.outcome),
        title=f"{name}{span.outcome}, {length:.1f} s",
        execution_id=span.execution_id if width >= CLICKABLE else None,
    )


def _kind(outcome: str) -> str:
    if outcome in (Status.RUNNING, Status.CANCELLING, Status.COMPLETED, Status.FAILED):
        return outcome
    return "retried" if outcome in ("retried", "lost") else "other"


def _ticks(seconds: int) -> list[Tick]:
    minutes = seconds // 60
    step = (WIDTH - LEFT) / minutes
    ticks = [
        Tick(round(LEFT + i * step), f"−{minutes - i} min", "middle" if i else "start") for i in range(minutes)
    ]
    return [*ticks, Tick(WIDTH, "now", "end")]


def _top(lane: int) -> int:
    return (lane - 1) * (LANE + GAP) + GAP // 2
