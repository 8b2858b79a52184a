"""What running executions tell: lines for their logs, and how far they are.

A line is taken once, however often its request is repeated: the journal keeps the last `seq` of the claim that
told last. Of each execution the newest lines are kept, as many as `KEPT`; what is older is deleted in steps.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from msgspec import UNSET

from queues.engine import Engine
from queues.engine.arrays import numbers, texts, uuids
from queues.engine.combiner import Combiner
from queues.engine.database import Connection, Database
from queues.engine.statements import statement
from queues.requests import Level, NewLine, NewLog, NewProgress, SavedLog

from .following import followers

MAX_BATCH = 1_000  # lines
KEPT = 10_000  # lines of one execution
TRIMMED_AT_ONCE = 1_000  # so many more than `KEPT` may be there
MOST_FORGOTTEN = 10_000  # lines deleted by one statement
FORGET_SECONDS, FORGET_PAUSE = 60.0, 0.5  # between two looks: when nothing was to be deleted, when something was
LEVELS = ("debug", "info", "warning", "error")

Claim = tuple[UUID, UUID]  # execution and token
Saving = Combiner[list[NewLog], list[SavedLog]]
_combiners: WeakKeyDictionary[Engine, Saving] = WeakKeyDictionary()
_next_look: WeakKeyDictionary[Database, float] = WeakKeyDictionary()  # monotonic


@dataclass(slots=True)
class _Told:
    """What one claim tells in one transaction."""

    lines: dict[int, NewLine]  # by seq
    progress: NewProgress | None = None


class _Journal(NamedTuple):
    execution_id: UUID
    token: UUID
    lines: int
    first: int


class Line(NamedTuple):
    number: int
    attempt: int
    level: Level
    at: dt.datetime
    text: str
    fields: str  # JSON


class Standing(NamedTuple):
    """Where the log of an execution stands, and its progress."""

    lines: int = 0
    first: int = 1
    progress: float | None = None
    progress_text: str = ""
    progress_at: dt.datetime | None = None
    progress_attempt: int = 0


async def save_logs(engine: Engine, items: list[NewLog]) -> list[SavedLog]:
    """Saves what claims tell; one outcome each, in the same order."""
    combiner = _combiners.get(engine)
    if combiner is None:
        run = partial(_save_batches, engine.database)
        combiner = _combiners[engine] = Combiner(run, max_batch=MAX_BATCH, weight=_weight)
    saved = await combiner.submit(items)
    followers(engine).look_soon()
    return saved


async def read_lines(conn: Connection, id: UUID, *, after: int, level: str, most: int) -> tuple[list[Line], bool]:
    """Lines with larger numbers, oldest first, from this level upwards; and whether there are more."""
    values = {"id": id, "after": after, "levels": list(LEVELS[LEVELS.index(level) :]), "most": most}
    rows = await (await conn.execute(statement("list_lines", "workflows"), values)).fetchall()
    return [Line(*row) for row in rows[:most]], len(rows) > most


async def read_standing(conn: Connection, id: UUID) -> Standing:
    row = await (await conn.execute(statement("read_journal", "workflows"), {"id": id})).fetchone()
    return Standing(*row) if row else Standing()


async def prune_logs(conn: Connection, ids: list[UUID]) -> None:
    """They go with their executions: noted in the transaction that deletes those, done by `forget_logs`."""
    if ids:
        await conn.execute(statement("prune_logs", "workflows"), {"ids": uuids(ids)})


async def forget_logs(database: Database) -> float:
    """A duty: deletes what `prune_logs` noted, some at a time. Seconds until there may be more."""
    now = time.monotonic()
    if _next_look.get(database, now) > now:
        return _next_look[database] - now
    pause = FORGET_PAUSE if await forget_some(database) else FORGET_SECONDS
    _next_look[database] = now + pause
    return pause


async def forget_some(database: Database) -> int:
    """How many lines and journals it found to delete."""
    values = {"most": MOST_FORGOTTEN}
    async with database.connection() as conn:
        found = [
            await (await conn.execute(statement(name, "workflows"), values)).fetchone()
            for name in ("forget_lines", "forget_journals")
        ]
    return sum(row[0] for row in found if row)


def _weight(items: list[NewLog]) -> int:
    return sum(1 + len(item.lines) for item in items)


async def _save_batches(database: Database, batches: list[list[NewLog]]) -> list[list[SavedLog]]:
    told = _by_claim(chain.from_iterable(batches))
    live = await database.again(lambda: _save(database, told))
    return [[_outcome(item, live) for item in batch] for batch in batches]


def _by_claim(items: Iterable[NewLog]) -> dict[Claim, _Told]:
    """Requests that were combined, or repeated, may tell of one claim several times."""
    found: dict[Claim, _Told] = {}
    for item in items:
        told = found.setdefault((item.execution_id, item.token), _Told({}))
        for line in item.lines:
            told.lines.setdefault(line.seq, line)
        told.progress = item.progress or told.progress
    return found


async def _save(database: Database, told: dict[Claim, _Told]) -> set[Claim]:
    """The claims that still hold; nothing is written about the others."""
    claims = {
        "ids": uuids(execution for execution, _ in told),
        "tokens": uuids(token for _, token in told),
    }
    async with database.connection() as conn, conn.transaction():
        await conn.execute(statement("open_journals", "workflows"), claims)
        await conn.execute(statement("lock_journals", "workflows"), {"ids": claims["ids"]})
        cursor = await conn.execute(statement("write_logs", "workflows"), claims | _values(list(told.values())))
        journals = [_Journal(*row) for row in await cursor.fetchall()]
        await _trim(conn, journals)
    return {(journal.execution_id, journal.token) for journal in journals}


def _values(told: list[_Told]) -> dict[str, str]:
    lines = [each.lines[seq] for each in told for seq in sorted(each.lines)]
    ends = list(accumulate(len(each.lines) for each in told))
    progress = [each.progress for each in told]
    return {
        "firsts": numbers(end - len(each.lines) + 1 for end, each in zip(ends, told, strict=True)),
        "lasts": numbers(ends),
        "told": texts("true" if each else "false" for each in progress),
        "values": numbers(each.value if each else None for each in progress),
        "words": texts(each.text if each else "" for each in progress),
        "told_at": texts(_time(each.at) if each else None for each in progress),
        "seqs": numbers(line.seq for line in lines),
        "levels": texts(line.level for line in lines),
        "times": texts(_time(line.at) for line in lines),
        "texts": texts(line.text for line in lines),
        "fields": texts(None if line.fields is UNSET else bytes(line.fields).decode() for line in lines),
    }


async def _trim(conn: Connection, journals: list[_Journal]) -> None:
    long = [each for each in journals if each.lines - each.first >= KEPT + TRIMMED_AT_ONCE]
    if long:
        values = {
            "ids": uuids(each.execution_id for each in long),
            "froms": numbers(each.first for each in long),
            "uptos": numbers(each.lines - KEPT for each in long),
        }
        await conn.execute(statement("trim_lines", "workflows"), values)


def _outcome(item: NewLog, live: set[Claim]) -> SavedLog:
    if (item.execution_id, item.token) in live:
        return SavedLog(execution_id=item.execution_id, outcome="saved")
    return SavedLog(
        execution_id=item.execution_id, outcome="stale", detail="The execution does not run under this token."
    )


def _time(value: dt.datetime | None) -> str | None:
    return value.isoformat() if value else None
