"""The advisory locks of what one server at a time does: each key stands here once, so that no two share one.

Claims on unlimited queues have a class of their own (`limits.CLAIM_LOCK`, with the queue's id).
"""

from __future__ import annotations

from enum import IntEnum, unique

from .database import Connection

LOCK_CLASS = 7106
TAKE = "select pg_advisory_xact_lock(%s::int, %s::int)"
TRY = "select pg_try_advisory_xact_lock(%s::int, %s::int)"


@unique
class Lock(IntEnum):
    TICK = 1
    ROLL_UP = 2
    SCHEDULES = 3
    DECLARATIONS = 4  # of schedules
    DEADLINES = 5
    CIRCLES = 6  # of two that close a circle of waits at once, one fails
    TRIGGERS = 7


async def try_lock(conn: Connection, lock: Lock) -> bool:
    """Whether nobody else has it, until the end of this transaction."""
    return await (await conn.execute(TRY, (LOCK_CLASS, lock.value))).fetchone() == (True,)


async def take_lock(conn: Connection, lock: Lock) -> None:
    """Waits for it; it is held until the end of this transaction."""
    await conn.execute(TAKE, (LOCK_CLASS, lock.value))
