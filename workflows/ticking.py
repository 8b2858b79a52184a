"""Ticks of schedules: a duty of every server, in which due ones start their executions.

One transaction locks the schedules that are due, starts what they start, notes the ticks and moves the schedules
on: a server that dies before the commit has done nothing, and after it everything. An execution's id is made from
its schedule and the time of the tick, so that a tick that would come again, for whatever reason, finds itself.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from queues.engine.arrays import texts, uuids
from queues.engine.database import Connection, Database
from queues.engine.enqueue import Placed, start
from queues.engine.locks import Lock, try_lock
from queues.engine.statements import statement
from queues.ids import derived
from queues.requests import NewExecution

from .models import Schedule, Tick
from .timing import BadTiming, Timing

MOST = 100  # schedules in one transaction
MOST_COUNTED = 1_000  # ticks of one schedule that are looked at after an outage
ON_TIME = dt.timedelta(seconds=60)  # a tick that is late by no more was not missed
MOMENT = dt.timedelta(microseconds=1)
LOOK = 1.0  # seconds: how often schedules that another server made are looked for

log = logging.getLogger(__name__)

Started, Skipped, Missed = Tick.Outcome.STARTED, Tick.Outcome.SKIPPED, Tick.Outcome.MISSED


class Due(NamedTuple):
    """A row of `due_schedules`."""

    id: UUID
    name: str
    workflow: str
    queue_id: int
    max_attempts: int
    cron: str
    timezone: str
    every: int | None
    at: dt.datetime | None
    anchor: dt.datetime
    payload: str | None
    catch_up: str
    catch_up_most: int
    overlap: str
    next_at: dt.datetime
    ticked_at: dt.datetime | None
    now: dt.datetime
    priority: int = 0
    queue_timeout: float | None = None
    execution_timeout: float | None = None
    draining: bool = False  # its queue takes nothing new

    @property
    def timing(self) -> Timing:
        return Timing(cron=self.cron, timezone=self.timezone, every=self.every, at=self.at, anchor=self.anchor)


class Note(NamedTuple):
    """What came of one tick."""

    at: dt.datetime
    outcome: Tick.Outcome
    note: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a schedule that is due does now."""

    notes: list[Note]
    next_at: dt.datetime | None
    cancels: bool = False  # what of it still waits or runs


@dataclass(slots=True)
class _Work:
    """What one transaction writes."""

    placed: list[Placed] = field(default_factory=list)
    notes: list[tuple[UUID, Note, UUID | None]] = field(default_factory=list)
    moved: list[tuple[UUID, dt.datetime | None, dt.datetime]] = field(default_factory=list)
    cancelled: list[tuple[UUID, str]] = field(default_factory=list)  # execution, by which schedule


# -- the duty ----------------------------------------------------------------------------------------


async def tick_schedules(database: Database) -> float:
    """Starts what is due. Returns the seconds until there may be more."""
    count, seconds = await database.again(lambda: _tick(database))
    return 0.0 if count == MOST else seconds


async def _tick(database: Database) -> tuple[int, float]:
    async with database.connection() as conn, conn.transaction():
        if not await try_lock(conn, Lock.SCHEDULES):
            return 0, LOOK
        due = await _due(conn)
        if due:
            await _deal_with(conn, due)
        row = await (await conn.execute(statement("next_schedule", "workflows"))).fetchone()
    if row is None or row[0] is None or (not due and row[0] <= 0):
        return len(due), LOOK
    return len(due), min(LOOK, max(0.02, float(row[0])))


async def _due(conn: Connection) -> list[Due]:
    cursor = await conn.execute(statement("due_schedules", "workflows"), {"most": MOST})
    return [Due(*row) for row in await cursor.fetchall()]


async def _deal_with(conn: Connection, due: Sequence[Due]) -> None:
    running = await _still_open(conn, [each.id for each in due if each.overlap != Schedule.Overlap.ALLOW])
    work = _Work()
    for each in due:
        try:
            _add(work, each, decide(each, bool(running[each.id])), running[each.id])
        except BadTiming as bad:
            await _give_up(conn, each, bad)
    await _write(conn, work)


async def _still_open(conn: Connection, schedules: list[UUID]) -> defaultdict[UUID, list[UUID]]:
    running: defaultdict[UUID, list[UUID]] = defaultdict(list)
    if schedules:
        values = {"schedules": uuids(schedules)}
        await conn.execute(statement("close_ticks", "workflows"), values)
        async for schedule_id, execution_id in await conn.execute(statement("open_ticks", "workflows"), values):
            running[schedule_id].append(execution_id)
    return running


async def _give_up(conn: Connection, due: Due, bad: BadTiming) -> None:
    """E.g. a time zone that the system does not know any more. The others must not wait for it."""
    log.error("the schedule %s is paused: %s", due.name, bad)
    values = {"id": due.id, "reason": f"it cannot be worked out: {bad}"[:500]}
    await conn.execute(statement("pause_broken_schedule", "workflows"), values)


# -- what a schedule does ----------------------------------------------------------------------------


def decide(due: Due, running: bool) -> Decision:
    """Which of the ticks that are due start. `running`: something that it started waits or runs."""
    # What was announced comes, also when time zones or code see it otherwise by now.
    later = due.timing.within(due.next_at + MOMENT, due.now, MOST_COUNTED)
    ticks = [due.next_at, *later]
    if due.draining:
        notes = [Note(tick, Skipped, "its queue is draining and takes nothing new") for tick in ticks[-1:]]
        return Decision(_missed(ticks[:-1], []) + notes, due.timing.next(due.now))
    starting = _starting(due, ticks)
    chosen = set(starting)
    notes = _missed([tick for tick in ticks if tick not in chosen], starting)
    if due.overlap == Schedule.Overlap.ALLOW:
        notes += [Note(tick, Started) for tick in starting]
    elif due.overlap == Schedule.Overlap.SKIP:
        first = [] if running else starting[:1]
        notes += [Note(tick, Started) for tick in first]
        notes += [Note(tick, Skipped, "the one before had not finished") for tick in starting[len(first) :]]
    else:
        notes += [Note(tick, Skipped, "a later one takes its place") for tick in starting[:-1]]
        notes += [Note(tick, Started) for tick in starting[-1:]]
    cancels = running and due.overlap == Schedule.Overlap.CANCEL and bool(starting)
    return Decision(notes, due.timing.next(due.now), cancels)


def _starting(due: Due, ticks: list[dt.datetime]) -> list[dt.datetime]:
    """Those that are on time, and of those that were missed what the policy says."""
    missed = [tick for tick in ticks if tick < due.now - ON_TIME]
    on_time = ticks[len(missed) :]
    if due.catch_up == Schedule.CatchUp.ALL:
        return missed[-due.catch_up_most :] + on_time
    if due.catch_up == Schedule.CatchUp.LATEST and not on_time:
        return missed[-1:]
    return on_time


def _missed(ticks: list[dt.datetime], starting: Sequence[dt.datetime]) -> list[Note]:
    """One note for all of them."""
    if not ticks:
        return []
    count = f"more than {MOST_COUNTED:,}" if len(ticks) + len(starting) > MOST_COUNTED else f"{len(ticks):,}"
    told = "" if len(ticks) == 1 else f"{count} ticks until {ticks[-1]:%Y-%m-%d %H:%M:%S} UTC"
    return [Note(ticks[0], Missed, told)]


def _add(work: _Work, due: Due, decision: Decision, running: list[UUID]) -> None:
    last = due.ticked_at
    for note in decision.notes:
        execution_id = tick_id(due.id, note.at) if note.outcome == Started else None
        work.notes.append((due.id, note, execution_id))
        if execution_id is not None:
            work.placed.append(Placed(_execution(due, note.at, last, execution_id), due.queue_id))
        last = note.at
    work.moved.append((due.id, decision.next_at, max([note.at for note in decision.notes], default=due.next_at)))
    if decision.cancels:
        work.cancelled += [(execution_id, due.name) for execution_id in running]


def _execution(due: Due, at: dt.datetime, last: dt.datetime | None, id: UUID) -> NewExecution:
    payload = due.payload
    if payload is None:
        payload = tick_payload(
            id=due.id, name=due.name, timezone=due.timezone, at=at, last=last, next=due.timing.next(at)
        )
    return NewExecution(
        id=id, workflow_id=due.workflow, payload=Raw(payload.encode()), max_attempts=due.max_attempts,
        priority=due.priority, queue_timeout=due.queue_timeout, execution_timeout=due.execution_timeout,
    )  # fmt: skip


def tick_payload(
    *,
    id: UUID,
    name: str,
    timezone: str,
    at: dt.datetime,
    last: dt.datetime | None,
    next: dt.datetime | None,
) -> str:
    """What a workflow gets whose schedule says no payload (`polos.SchedulePayload`)."""
    payload: dict[str, Any] = {
        "schedule_id": id, "key": name, "timestamp": at, "last_timestamp": last, "upcoming": next,
        "timezone": timezone,
    }  # fmt: skip
    return msgspec.json.encode(payload).decode()


def tick_id(schedule_id: UUID, at: dt.datetime) -> UUID:
    """The execution of this tick, whoever starts it: a UUIDv7 of the tick's time."""
    return derived(at, schedule_id.bytes + at.astimezone(dt.UTC).isoformat().encode())


# -- writing it --------------------------------------------------------------------------------------


async def _write(conn: Connection, work: _Work) -> None:
    # What starts comes first: it may lock its queue (`mark_timed`), and whoever has locked a queue may wait for an
    # execution that is cancelled here (`renew_slots`).
    if work.placed:
        await start(conn, work.placed)
    hints = set()
    for execution_id, name in sorted(work.cancelled):
        by = {"id": execution_id, "by": f"{name} (schedule)"[:200]}
        row = await (await conn.execute(statement("cancel"), by)).fetchone()
        if row is not None:
            hints.add(row[1])
    await _note(conn, work)
    for hint in sorted(hints):
        await conn.execute(statement("tell"), {"payload": hint})


async def _note(conn: Connection, work: _Work) -> None:
    idle = {schedule_id for schedule_id, _, execution_id in work.notes if execution_id is None}
    if idle:  # before what is noted now: a tick that was missed may be older than what is kept
        await conn.execute(statement("prune_idle_ticks", "workflows"), {"schedules": uuids(idle)})
    values = {
        "schedules": uuids(schedule_id for schedule_id, _, _ in work.notes),
        "ats": texts(note.at.isoformat() for _, note, _ in work.notes),
        "outcomes": texts(note.outcome.value for _, note, _ in work.notes),
        "notes": texts(note.note for _, note, _ in work.notes),
        "executions": uuids(execution_id for _, _, execution_id in work.notes),
    }
    await conn.execute(statement("note_ticks", "workflows"), values)
    moved = {
        "schedules": uuids(schedule_id for schedule_id, _, _ in work.moved),
        "nexts": texts(next_at.isoformat() if next_at else None for _, next_at, _ in work.moved),
        "ticked": texts(ticked_at.isoformat() for _, _, ticked_at in work.moved),
    }
    await conn.execute(statement("advance_schedules", "workflows"), moved)


async def prune_ticks(conn: Connection, ids: list[UUID]) -> None:
    """Ticks go with the executions that they started."""
    if ids:
        await conn.execute(statement("prune_ticks", "workflows"), {"ids": uuids(ids)})
