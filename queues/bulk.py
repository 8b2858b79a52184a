"""Pausing and resuming many queues: each by the one verb, in a transaction of its own.

Never one transaction for all: it would wait for one queue's lock while it holds those of others, and claims on all
of them would wait with it. So it can end with some done and some left, and says which.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import limits
from .access import Sight
from .models import Change, Queue

MOST_QUEUES = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue as somebody saw it when they decided."""

    id: int
    version: int


@dataclass(slots=True)
class Outcome:
    done: list[str] = field(default_factory=list)  # names
    left: dict[int, str] = field(default_factory=dict)  # id of a queue → why nothing was changed


def pause(
    seen: Iterable[Seen],
    *,
    where: Sight,
    reason: str,
    actor: str,
    through: Change.Through,
    until: dt.datetime | None = None,
) -> Outcome:
    """Raises `BadLimit` when the end makes no sense. Those that changed since they were seen are left alone, and
    those that are not in `where` the actor may pause are as good as not there."""

    def one(name: str, version: int) -> None:
        limits.pause(
            queue=name, reason=reason, actor=actor, through=through, until=until, expected_version=version
        )

    return _each(seen, where, one)


def resume(seen: Iterable[Seen], *, where: Sight, reason: str, actor: str, through: Change.Through) -> Outcome:
    def one(name: str, version: int) -> None:
        limits.resume(queue=name, reason=reason, actor=actor, through=through, expected_version=version)

    return _each(seen, where, one)


def _each(seen: Iterable[Seen], where: Sight, one: Callable[[str, int], None]) -> Outcome:
    wanted = sorted(seen, key=lambda queue: queue.id)
    rows = Queue.objects.filter(id__in=[queue.id for queue in wanted]).values_list("id", "name")
    names = {id: name for id, name in rows if where.covers(name)}
    outcome = Outcome()
    for queue in wanted:
        try:
            one(names.get(queue.id, ""), queue.version)
        except (limits.StaleView, limits.QueueNotFound) as no:
            outcome.left[queue.id] = no.detail
        else:
            outcome.done.append(names[queue.id])
    return outcome


# -- as text, for the form that comes back -----------------------------------------------------------


def written(seen: Iterable[Seen]) -> str:
    """`12:3,15:1`: short, because there may be thousands."""
    return ",".join(f"{queue.id}:{queue.version}" for queue in seen)


def read(text: str) -> list[Seen] | None:
    """None for what `written` did not write."""
    try:
        pairs = [tuple(map(int, pair.split(":"))) for pair in text.split(",") if pair]
        found = [Seen(id, version) for id, version in pairs]
    except ValueError:
        return None
    return found if len(found) <= MOST_QUEUES and all(0 < queue.id < 2**63 for queue in found) else None
