"""What must hold in every run: each job once, and never more at once than the limit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from .tape import Run


class Incorrect(Exception):
    """A run that broke a promise; it has no figure."""


def check(runs: list[Run], *, jobs: int, limit: int | None, queues: int = 1, all_of_them: bool = True) -> None:
    _check_once(runs, jobs=jobs, all_of_them=all_of_them)
    if limit is None:
        return
    by_queue: defaultdict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_queue[run.number % queues].append(run)
    for queue, own in by_queue.items():
        if (most := most_at_once(own)) > limit:
            raise Incorrect(f"{most} jobs at once on queue {queue}, whose limit is {limit}")


def most_at_once(runs: Iterable[Run]) -> int:
    """An end at the very nanosecond of a start comes first."""
    events = sorted([(run.start, 1) for run in runs] + [(run.end, -1) for run in runs])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


def _check_once(runs: list[Run], *, jobs: int, all_of_them: bool) -> None:
    times = Counter(run.number for run in runs)
    twice = [number for number, count in times.items() if count > 1]
    if twice:
        raise Incorrect(f"{len(twice)} jobs ran more than once, such as number {twice[0]}")
    strange = [number for number in times if not 0 <= number < jobs]
    if strange:
        raise Incorrect(f"{len(strange)} jobs ran that nobody enqueued, such as number {strange[0]}")
    if all_of_them and len(times) != jobs:
        raise Incorrect(f"{jobs - len(times)} of {jobs} jobs did not run")
