"""Processor time and memory of processes, while something is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from .stage import Stage

Figures = dict[str, float]


@contextmanager
def cpu(stage: Stage) -> Iterator[Figures]:
    """Seconds of processor time: of our servers, of PostgreSQL under them, of the workers since their start."""
    used: Figures = {}
    ours, theirs = [psutil.Process(each.process.pid) for each in stage.servers], stage.cluster.processes
    before = cpu_of(ours), cpu_of(theirs())
    yield used
    if ours:  # whose connections stay open; the time of ended ones would be missing
        used["postgres_cpu"] = cpu_of(theirs()) - before[1]
        used["server_cpu"] = cpu_of(ours) - before[0]
    if stage.workers:
        used["worker_cpu"] = cpu_of(psutil.Process(each.process.pid) for each in stage.workers)


@contextmanager
def profiled(stage: Stage) -> Iterator[None]:
    if stage.profiler is None:
        yield
        return
    with stage.profiler:
        yield


def cpu_of(processes: Iterable[Any]) -> float:
    """Seconds since they started."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended, or it is about to
            continue
        total += times.user + times.system
    return total


def megabytes(process: Any) -> float:
    return float(process.memory_info().rss / 1e6)
