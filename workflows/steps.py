"""Checkpoints: what an execution's steps returned, so that a later attempt does not run them again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import partial
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Raw

from queues.engine import Engine
from queues.engine.arrays import numbers, texts, uuids
from queues.engine.combiner import Combiner
from queues.engine.database import Connection, Database
from queues.engine.statements import statement
from queues.requests import NewStep, SavedStep

MAX_BATCH = 1_000

Saving = Combiner[list[NewStep], list[SavedStep]]
Attempts = dict[tuple[UUID, UUID], int]  # by execution and token, of what still runs
_combiners: WeakKeyDictionary[Engine, Saving] = WeakKeyDictionary()


async def save_steps(engine: Engine, items: list[NewStep]) -> list[SavedStep]:
    """Saves steps under the tokens of their claims; one outcome each, in the same order."""
    combiner = _combiners.get(engine)
    if combiner is None:
        run = partial(_save_batches, engine.database)
        combiner = _combiners[engine] = Combiner(run, max_batch=MAX_BATCH, weight=len)
    return await combiner.submit(items)


async def load_steps(conn: Connection, ids: Iterable[UUID]) -> dict[UUID, dict[str, Raw]]:
    """Results of finished steps, by execution and key."""
    cursor = await conn.execute(statement("load_steps", "workflows"), {"ids": uuids(ids)})
    found: dict[UUID, dict[str, Raw]] = {}
    async for execution_id, key, result in cursor:
        found.setdefault(execution_id, {})[key] = Raw(result.encode())
    return found


async def prune_steps(conn: Connection, ids: list[UUID]) -> None:
    """Steps go with their executions, in the transaction that deletes those."""
    if ids:
        await conn.execute(statement("prune_steps", "workflows"), {"ids": uuids(ids)})


async def _save_batches(database: Database, batches: list[list[NewStep]]) -> list[list[SavedStep]]:
    items = [item for batch in batches for item in batch]
    outcomes = iter(await database.again(lambda: _save(database, items)))
    return [[next(outcomes) for _ in batch] for batch in batches]


async def _save(database: Database, items: list[NewStep]) -> list[SavedStep]:
    async with database.connection() as conn, conn.transaction():
        attempts = await _lock(conn, items)
        chosen = _one_per_key([item for item in items if (item.execution_id, item.token) in attempts])
        saved = await _insert(conn, list(chosen.values()), attempts)
    return [_outcome(item, attempts, chosen, saved) for item in items]


async def _lock(conn: Connection, items: list[NewStep]) -> Attempts:
    claims = dict.fromkeys((item.execution_id, item.token) for item in items)
    cursor = await conn.execute(
        statement("lock_for_steps", "workflows"),
        {"ids": uuids(execution for execution, _ in claims), "tokens": uuids(token for _, token in claims)},
    )
    return {(execution, token): attempt async for execution, token, attempt in cursor}


def _one_per_key(items: list[NewStep]) -> dict[tuple[UUID, str], NewStep]:
    """One step per execution and key, as the insert needs it: the first with a result, else the last failure."""
    chosen: dict[tuple[UUID, str], NewStep] = {}
    for item in items:
        before = chosen.get((item.execution_id, item.key))
        if before is None or before.error is not None:
            chosen[item.execution_id, item.key] = item
    return chosen


async def _insert(conn: Connection, items: list[NewStep], attempts: Attempts) -> set[tuple[UUID, str]]:
    if not items:
        return set()
    values = {
        "ids": uuids(item.execution_id for item in items),
        "keys": texts(item.key for item in items),
        "results": texts(bytes(item.result).decode() if item.error is None else None for item in items),
        "errors": texts(msgspec.json.encode(item.error).decode() if item.error else None for item in items),
        "attempts": numbers(attempts[item.execution_id, item.token] for item in items),
        "started": texts(_time(item.started_at) for item in items),
        "ended": texts(_time(item.ended_at) for item in items),
        "children": uuids(item.child_id for item in items),
    }
    cursor = await conn.execute(statement("save_steps", "workflows"), values)
    return {(execution, key) async for execution, key in cursor}


def _outcome(
    item: NewStep, attempts: Attempts, chosen: dict[tuple[UUID, str], NewStep], saved: set[tuple[UUID, str]]
) -> SavedStep:
    place = (item.execution_id, item.key)
    if (item.execution_id, item.token) not in attempts:
        return SavedStep(
            execution_id=item.execution_id,
            key=item.key,
            outcome="stale",
            detail="The execution is somebody else's now.",
        )
    first = chosen[place] is item and place in saved
    return SavedStep(execution_id=item.execution_id, key=item.key, outcome="saved" if first else "repeated")


def _time(value: dt.datetime | None) -> str | None:
    return value.isoformat() if value else None
