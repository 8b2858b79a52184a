"""Waits that can never end: a pure decision over who waits for whom.

An execution goes on when any of its waits is over; a wait for executions is over when all of them are final. So an
execution is stuck if every wait of it is for executions, without a time-out, and for one that is stuck.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID


class Edge(NamedTuple):
    """One wait: whose, and those that it is for among the executions that are looked at."""

    id: UUID
    workflow: str
    endless: bool  # for executions, without a time-out
    awaited: list[UUID]


def cycle(start: UUID, edges: Sequence[Edge]) -> list[str]:
    """The way from an execution that can never go on back to itself, in words; empty when there is none."""
    waits = defaultdict(list)
    for edge in edges:
        waits[edge.id].append(edge)
    way = _way_back(start, waits, _stuck(waits))
    names = {edge.id: f"{edge.workflow} ({edge.id})" for edge in edges}
    return [names[id] for id in way]


def _way_back(start: UUID, waits: dict[UUID, list[Edge]], stuck: set[UUID]) -> list[UUID]:
    """The shortest one, over executions that are stuck."""
    ways = [[start]] if start in stuck else []
    seen = set()
    while ways:
        way = ways.pop(0)
        for id in (id for edge in waits[way[-1]] for id in edge.awaited if id in stuck):
            if id == start:
                return [*way, start]
            if id not in seen:
                seen.add(id)
                ways.append([*way, id])
    return []


def _stuck(waits: dict[UUID, list[Edge]]) -> set[UUID]:
    stuck = set(waits)
    while True:
        free = {id for id in stuck if not all(e.endless and stuck.intersection(e.awaited) for e in waits[id])}
        if not free:
            return stuck
        stuck -= free
