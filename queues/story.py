"""What happened to one execution, as stretches of time: it stood in line, ran, waited, backed off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .models import Execution, Status, Wait
from .reads import Attempt

WIDTH = 1000.0  # of the picture
LEAST_WIDTH = 2.0  # of a stretch that is there at all
MOST = 100  # stretches, the newest
SAME_TIME = dt.timedelta(seconds=2)  # within which a claim ends and its waits begin


LEGEND = {
    "line": "in line",
    "running": "runs",
    "cancelling": "is being cancelled",
    "completed": "ran, completed",
    "failed": "ran, failed",
    "waiting": "ran, then waited",
    "lost": "ran, lost",
    "released": "ran, released",
    "cancelled": "ran, cancelled",
    "waited": "waited without a slot",
    "backoff": "between two attempts",
}


class Kind(StrEnum):
    LINE = "line"
    RAN = "ran"
    WAITED = "waited"
    BACKOFF = "backoff"


@dataclass(frozen=True, slots=True)
class Stretch:
    kind: Kind
    start: dt.datetime
    end: dt.datetime | None  # empty: still going on
    attempt: Attempt | None = None  # ran
    number: int = 0  # ran: which try it was or went on with, from 1
    resumed: bool = False  # ran: it went on after a wait
    waits: tuple[Wait, ...] = ()  # waited: for what
    again: bool = False  # line: it had run before


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch in the picture; `x` and `width` of `WIDTH`."""

    kind: str  # of the stretch; for what ran, how it ended
    x: str
    width: str
    open: bool
    title: str


@dataclass(frozen=True, slots=True)
class Story:
    stretches: list[Stretch]
    bars: list[Bar]
    start: dt.datetime
    end: dt.datetime | None  # empty: still going on
    legend: list[tuple[str, str]]  # kinds of the bars that are there, in words
    hidden: int  # earlier stretches that are left out


def story(execution: Execution, attempts: Sequence[Attempt], waits: Sequence[Wait], now: dt.datetime) -> Story:
    """From what its row, its claims and its waits tell. What nobody wrote down, as who retried it, is not told."""
    every = _stretches(execution, attempts, waits)
    stretches = every[-MOST:]
    end = execution.finished_at
    start = stretches[0].start if stretches else execution.enqueued_at
    bars = _bars(stretches, start, end or now)
    kinds = {bar.kind for bar in bars}
    legend = [(kind, words) for kind, words in LEGEND.items() if kind in kinds]
    return Story(
        stretches=stretches, bars=bars, start=start, end=end, legend=legend, hidden=len(every) - len(stretches)
    )


def _stretches(execution: Execution, attempts: Sequence[Attempt], waits: Sequence[Wait]) -> list[Stretch]:
    found: list[Stretch] = []
    cursor = min([execution.enqueued_at, *(each.started for each in attempts[:1])])
    before: Attempt | None = None
    number = 0
    for attempt in attempts:
        found += _between(execution, before, cursor, attempt.started, waits)
        resumed = before is not None and before.outcome == "waiting"
        number += not resumed
        found.append(
            Stretch(Kind.RAN, attempt.started, attempt.ended, attempt=attempt, number=number, resumed=resumed)
        )
        before, cursor = attempt, attempt.ended or attempt.started
    if before is None or before.ended is not None:
        found += _since(execution, before, cursor, waits)
    return found


def _between(
    execution: Execution, before: Attempt | None, start: dt.datetime, end: dt.datetime, waits: Sequence[Wait]
) -> list[Stretch]:
    """Between two claims, or before the first."""
    first, kind, its_waits = _first_part(execution, before, start, waits)
    if first is None and before is not None and before.outcome == "failed":
        first, kind = end, Kind.BACKOFF  # until when it backed off is not kept
    turn = min(first, end) if first is not None else start
    parts = []
    if turn > start:
        parts.append(Stretch(kind, start, turn, waits=its_waits))
    if end > turn:
        parts.append(Stretch(Kind.LINE, turn, end, again=before is not None))
    return parts


def _since(
    execution: Execution, before: Attempt | None, start: dt.datetime, waits: Sequence[Wait]
) -> list[Stretch]:
    """After the last claim, up to now or to the end."""
    first, kind, its_waits = _first_part(execution, before, start, waits)
    end = execution.finished_at
    if end is not None:
        return _between(execution, before, start, end, waits) if end > start + SAME_TIME else []
    if execution.status == Status.WAITING:
        return [Stretch(Kind.WAITED, start, None, waits=its_waits)]
    if execution.status == Status.SCHEDULED:
        return [Stretch(Kind.BACKOFF, start, None)]
    parts = [Stretch(kind, start, first, waits=its_waits)] if first is not None and first > start else []
    return [*parts, Stretch(Kind.LINE, first or start, None, again=before is not None)]


def _first_part(
    execution: Execution, before: Attempt | None, start: dt.datetime, waits: Sequence[Wait]
) -> tuple[dt.datetime | None, Kind, tuple[Wait, ...]]:
    """What kept it out of the line first, and until when (None: nothing did, or nobody knows)."""
    if before is not None and before.outcome == "waiting":
        mine = tuple(
            wait
            for wait in waits
            if wait.since <= start + SAME_TIME and (wait.over_at is None or wait.over_at >= start)
        )
        ends = [wait.over_at for wait in mine if wait.over_at is not None]
        return min(ends, default=None), Kind.WAITED, mine
    due = execution.due_at
    if due is not None and due > start and (before is None or before.outcome == "failed"):
        return due, Kind.BACKOFF, ()
    return None, Kind.LINE, ()


# -- the picture -----------------------------------------------------------------------------------


def _bars(stretches: Sequence[Stretch], start: dt.datetime, end: dt.datetime) -> list[Bar]:
    whole = max((end - start).total_seconds(), 0.001)
    return [_bar(stretch, start, end, whole) for stretch in stretches]


def _bar(stretch: Stretch, start: dt.datetime, end: dt.datetime, whole: float) -> Bar:
    x = WIDTH * (stretch.start - start).total_seconds() / whole
    width = WIDTH * ((stretch.end or end) - stretch.start).total_seconds() / whole
    x = min(max(x, 0.0), WIDTH - LEAST_WIDTH)
    return Bar(
        kind=stretch.attempt.outcome if stretch.attempt else stretch.kind,
        x=f"{x:.1f}",
        width=f"{max(width, LEAST_WIDTH):.1f}",
        open=stretch.end is None,
        title=_title(stretch),
    )


def _title(stretch: Stretch) -> str:
    if stretch.attempt is not None:
        return f"attempt {stretch.number}: {stretch.attempt.outcome}"
    return {Kind.LINE: "in line", Kind.WAITED: "waited", Kind.BACKOFF: "not due"}[stretch.kind]
