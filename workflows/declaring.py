"""Schedules and triggers as workers declare them.

Schedules are compared without a lock first, because almost always nothing has changed.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from msgspec import UNSET, Raw

from queues.engine import Engine
from queues.engine.arrays import numbers, texts
from queues.engine.database import Database
from queues.engine.statements import statement
from queues.names import name_problem
from queues.rawjson import MAX_PAYLOAD_BYTES
from queues.rawjson import problem as json_problem
from queues.requests import Register, ScheduleDeclaration, TriggerDeclaration, WorkflowDeclaration

from . import schedules
from .schedules import Declared, Spec
from .timing import BadTiming, Timing

GONE_FOR = 600.0  # seconds for which nobody has served a workflow that the code has no more
LOOK = 60.0  # seconds
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def start_problem(workflow: WorkflowDeclaration) -> str | None:
    """Why a workflow's schedule or trigger cannot be taken over."""
    trigger = workflow.trigger
    if isinstance(trigger, TriggerDeclaration) and (found := name_problem(trigger.topic)):
        return f"“{trigger.topic}” cannot name a topic: {found}."
    return _schedule_problem(workflow)


def _schedule_problem(workflow: WorkflowDeclaration) -> str | None:
    said = workflow.schedule
    if not isinstance(said, ScheduleDeclaration):
        return None
    if said.key and (found := name_problem(said.key)):
        return f"“{said.key}” cannot name a schedule: {found}."
    try:
        Timing(cron=said.cron, timezone=said.timezone, every=said.every, at=said.at).check()
    except BadTiming as bad:
        return f"The schedule of {workflow.id} is not valid. {bad}"
    if said.at is not None and said.at.tzinfo is None:
        return f"The schedule of {workflow.id} is not valid. at needs a time zone, e.g. 2030-01-31T12:00:00Z."
    found = json_problem(said.payload, MAX_PAYLOAD_BYTES) if isinstance(said.payload, Raw) else None
    return found and f"The payload of the schedule of {workflow.id} {found}."


async def declare_schedules(engine: Engine, request: Register) -> list[str]:
    """Makes the schedules of code be what this worker says; returns sentences for its log."""
    declared = [_declared(each) for each in request.workflows if each.schedule is not UNSET]
    values = {"workflows": texts(each.workflow for each in declared)}
    async with engine.connection() as conn:
        cursor = await conn.execute(statement("declared_schedules", "workflows"), values)
        known = {row[0]: row[1] for row in await cursor.fetchall()}
    changed = [each for each in declared if _differs(each, request.name, known.get(each.workflow))]
    if not changed:
        return []
    told: list[str] = await sync_to_async(_in_thread)(schedules.declare, request.name, changed)
    return told


async def declare_triggers(engine: Engine, request: Register) -> None:
    """Makes the triggers of code be what this worker says."""
    said = {each.id: each.trigger for each in request.workflows if each.trigger is not UNSET}
    declared = {id: each for id, each in said.items() if isinstance(each, TriggerDeclaration)}
    values = {
        "worker": request.name,
        "workflows": texts(id for id, each in said.items() if each is None),
        "ids": texts(declared),
        "topics": texts(each.topic for each in declared.values()),
        "batch_sizes": numbers(each.batch_size for each in declared.values()),
        "batch_timeouts": numbers(each.batch_timeout for each in declared.values()),
        "places": texts(each.place for each in declared.values()),
    }

    async def write() -> None:
        async with engine.connection() as conn, conn.transaction():
            await conn.execute(statement("forget_triggers", "workflows"), values)
            if declared:
                await conn.execute(statement("declare_triggers", "workflows"), values)

    await engine.database.again(write)


_next_look: WeakKeyDictionary[Database, float] = WeakKeyDictionary()  # monotonic


async def forget_gone(database: Database) -> float:
    """A duty: schedules and triggers of workflows that are gone from the code go, too.

    Not as soon as a worker comes back without them: of two that have one name, the other may be starting again.
    """
    now = time.monotonic()
    if _next_look.get(database, now) <= now:
        _next_look[database] = now + LOOK
        await forget_now(database)
    return LOOK


async def forget_now(database: Database) -> None:
    async with database.connection() as conn:
        cursor = await conn.execute(statement("gone_workflows", "workflows"), {"seconds": GONE_FOR})
        gone = [row[0] for row in await cursor.fetchall()]
    if gone:
        await sync_to_async(_in_thread)(schedules.forget, gone)
        async with database.connection() as conn:
            await conn.execute(statement("forget_triggers", "workflows"), {"workflows": texts(gone)})


def _declared(workflow: WorkflowDeclaration) -> Declared:
    said = workflow.schedule
    if not isinstance(said, ScheduleDeclaration):
        return Declared(workflow.id, None)
    spec = Spec(
        name=said.key or workflow.id, workflow=workflow.id, cron=said.cron, timezone=said.timezone,
        every=said.every, at=said.at,
        payload=bytes(said.payload).decode() if isinstance(said.payload, Raw) else None,
        catch_up=said.catch_up, catch_up_most=said.catch_up_most, overlap=said.overlap,
    )  # fmt: skip
    return Declared(workflow.id, spec, said.place)


def _differs(declared: Declared, worker: str, known: list[Any] | None) -> bool:
    if known is None or declared.spec is None:
        return (known is None) != (declared.spec is None)
    return known != _told(declared, worker)


def _told(declared: Declared, worker: str) -> list[Any]:
    """As `declared_schedules` says it."""
    spec = declared.spec
    if spec is None:
        return []
    return [
        spec.cron, spec.timezone, None if spec.every is None else str(spec.every), _microseconds(spec.at),
        spec.payload, spec.catch_up, str(spec.catch_up_most), spec.overlap, worker, declared.place,
    ]  # fmt: skip


def _microseconds(at: dt.datetime | None) -> str | None:
    return None if at is None else str((at - EPOCH) // dt.timedelta(microseconds=1))


def _in_thread(verb: Any, *args: Any) -> Any:
    # Outside of a request nobody else drops a connection that the database has ended.
    close_old_connections()
    try:
        return verb(*args)
    finally:
        close_old_connections()
