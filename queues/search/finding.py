"""Looking for executions, newest first, and never for long.

There is no index for most of what one can ask, and there will not be: each would cost a write per status change.
So a search walks the ids downwards (they are UUIDv7: their order is the order of time) in stretches bounded
before anything is compared, and stops when it has enough, or when its time is over; then it says how far back it
looked, and goes on from there when asked to. What is rare and known to a partial index (what waits or runs, what a
small queue ever finished) is fetched from there first and searched whole.

Ids that somebody else made, in another way than by time, are found by everything but `since` and `before`.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from ..engine.statements import statement
from ..models import FINAL, HELD, Queue, Status, Worker
from ..names import pattern_regex
from .line import IdPart, Search

FEW = 2_500  # so many candidates are searched whole, from the partial indexes
FIRST_STRETCH, MOST_STRETCH = 2_000, 200_000  # executions
STRETCH_SECONDS = 0.05  # which a stretch should take
GRACE = 2.0  # seconds that one statement may take longer than the search should
SLACK = dt.timedelta(minutes=10)  # by which the clock that made an id may be wrong
MOST_WORKERS = 1_000
LOWEST, HIGHEST = UUID(int=0), UUID(int=2**128 - 1)

# Plans must not depend on statistics that a burst has made stale: every statement here has an index to go by.
SESSION = "set local statement_timeout = {}; set local enable_seqscan = off; set local jit = off"

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """`next`: look on below this id; None when everything was looked at."""

    ids: list[UUID]
    next: UUID | None = None
    stopped: bool = False  # time ran out before there were enough
    back_to: dt.datetime | None = None  # if it did: everything enqueued since then was looked at


def find(
    search: Search,
    *,
    most: int,
    seconds: float,
    below: UUID | None = None,
    within: Sequence[int] | None = None,
    among: Sequence[UUID] | None = None,
    as_of: dt.datetime | None = None,
    few: int = FEW,
) -> Found:
    """Up to `most` ids that match, newest first, of those below `below`, in the queues `within`, `among` these
    ids, enqueued before `as_of` (None: all).

    When there are at most `few` candidates, they are known from partial indexes and searched whole. Else it takes
    about `seconds`: then it returns what it found, and says how far back it looked.
    """
    asked = _asked(search, within, as_of)
    if asked is None:
        return Found([])
    walk = _Walk(asked, below or HIGHEST, most, time.monotonic() + seconds, few, among)
    try:
        with _reading(seconds + GRACE):
            walk.go(search)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        walk.stopped = True
    return walk.found()


# -- what is asked, as the statements take it ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    values: dict[str, Any]
    lowest: UUID  # nothing below is looked at
    highest: UUID  # nor from here on
    filtered: bool  # by more than ids


def _asked(search: Search, within: Sequence[int] | None, as_of: dt.datetime | None) -> _Asked | None:
    """None when nothing can match."""
    names = dict(Queue.objects.values_list("id", "name")) if search.queues or search.words else {}
    queues = list(within) if within is not None else None
    if search.queues:
        found = [id for id, name in names.items() if _named(name, search.queues)]
        queues = found if queues is None else sorted({*found} & {*queues})
    workers = _workers(search.workers) if search.workers else None
    if queues == [] or workers == []:
        return None
    values: dict[str, Any] = {
        "ids": None,
        "statuses": list(search.statuses) or None,
        "queues": queues,
        "workers": workers,
        "parent": search.parent,
        "since": search.since,
        "until": min(filter(None, (search.before, as_of)), default=None),
        "workflows": [_like(name) for name in search.workflows] or None,
        "id_end": f"%{search.id.end}" if search.id and search.id.end else None,
        "words": [f"%{_escaped(word)}%" for word in search.words] or None,
        "word_queues": [id for id, name in names.items() if all(w.lower() in name.lower() for w in search.words)],
        "errors": [f"%{_escaped(text)}%" for text in search.errors] or None,
        "paths": [_path(one.path) for one in search.payload] or None,
        "values": [_like(one.value) for one in search.payload] or None,
    }
    filtered = any(value is not None for name, value in values.items() if name != "word_queues")
    return _Asked(values, *_between(search), filtered)


def _between(search: Search) -> tuple[UUID, UUID]:
    ids = search.id or IdPart(LOWEST, HIGHEST)
    low = max(ids.first, first_id(search.since - SLACK)) if search.since else ids.first
    after_last = UUID(int=min(ids.last.int + 1, HIGHEST.int))
    return low, min(after_last, first_id(search.before + SLACK)) if search.before else after_last


def first_id(at: dt.datetime) -> UUID:
    """The lowest UUIDv7 of a millisecond."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)


def _workers(names: Iterable[str]) -> list[UUID]:
    known = Worker.objects.order_by("-registered_at").values_list("id", "name")
    exact = [name for name in names if "*" not in name]
    found = list(known.filter(name__in=exact)[:MOST_WORKERS]) if exact else []
    if patterns := [name for name in names if "*" in name]:
        found += [(id, name) for id, name in known if _named(name, patterns)][:MOST_WORKERS]
    return sorted({id for id, _ in found})


def _named(name: str, patterns: Iterable[str]) -> bool:
    return pattern_regex(tuple(patterns)).fullmatch(name) is not None


def _like(pattern: str) -> str:
    return _escaped(pattern).replace("*", "%")


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _path(parts: Sequence[str]) -> str:
    """As PostgreSQL writes an array of texts."""
    return "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", part) + '"' for part in parts) + "}"


# -- walking -------------------------------------------------------------------------------------------


@contextmanager
def _reading(seconds: float) -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SESSION.format(int(1000 * seconds)))
        yield


@dataclass(slots=True)
class _Walk:
    """Goes down from `at`; `ids` are those that it found on its way."""

    asked: _Asked
    at: UUID
    most: int
    end: float  # monotonic time
    few: int
    among: Sequence[UUID] | None
    ids: list[UUID] = field(default_factory=list)
    back_to: dt.datetime | None = None
    stopped: bool = False  # before there were enough
    finished: bool = False  # nothing is left below

    def go(self, search: Search) -> None:
        self.at = min(self.at, self.asked.highest)
        few = self.among
        if few is None and self.asked.filtered:
            few = self._few(search)
        if few is not None:
            self.asked = replace(self.asked, values=self.asked.values | {"ids": list(few)})
        if few is not None or not self.asked.filtered:
            self._look(self.asked.lowest)
        else:
            self._walk()

    def _walk(self) -> None:
        size = FIRST_STRETCH
        while not (self.finished or self.stopped or len(self.ids) >= self.most):
            began = time.monotonic()
            if self.back_to and began >= self.end:
                self.stopped = True
                return
            edge = _rows("search_edge", before=self.at, after=self.asked.lowest, size=size)
            self._look(edge[0][0] if edge else self.asked.lowest)
            if edge and not self.finished:
                self.back_to = edge[0][1]
            now = time.monotonic()
            wanted = min(STRETCH_SECONDS, max(0.01, self.end - now))
            size = int(min(MOST_STRETCH, 8 * size, max(FIRST_STRETCH, size * wanted / (now - began))))

    def _look(self, after: UUID) -> None:
        """At everything from `after` up to where the walk is."""
        wanted = self.most - len(self.ids)
        rows = _rows("search_stretch", before=self.at, after=after, most=wanted + 1, **self.asked.values)
        self.ids += [id for (id,) in rows[:wanted]]
        if len(rows) > wanted:
            self.at = self.ids[-1]
        else:
            self.at, self.finished = after, after == self.asked.lowest

    def _few(self, search: Search) -> list[UUID] | None:
        """All that can match, if a partial index knows them and they are few."""
        wanted = {str(status) for status in search.statuses or Status.values}
        queues = self.asked.values["queues"]
        finished = bool(wanted & {*FINAL})
        if finished and queues is None:
            return None
        rows = _rows(
            "search_few", queues=queues, few=self.few, finished=finished, since=search.since,
            queued=Status.QUEUED in wanted, held=bool(wanted & {*HELD}), scheduled=Status.SCHEDULED in wanted,
            waiting=Status.WAITING in wanted,
        )  # fmt: skip
        ids: list[UUID] | None = rows[0][0]
        return ids

    def found(self) -> Found:
        if self.finished:
            return Found(self.ids)
        return Found(self.ids, self.at, self.stopped, self.back_to if self.stopped else None)


def _rows(name: str, **values: Any) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement(name), values)
        return list(cursor.fetchall())


__all__ = ["Found", "find", "first_id"]
