"""Dead rows that vacuum may not remove yet: a claim must not walk over them.

An old transaction anywhere on the database server keeps vacuum from removing whatever died after it began, and
with it every index entry of it. Each claim and each result leaves two. While many have piled up, claims renew
their queue's generation of slots, and raise its floors, every couple of thousand claims: a claim then walks those
at most. Without, and 50,000 executions after a transaction was left open, a claim of 50 under a limit takes 35 ms,
and 2 with it; without a limit 5 and 2.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from functools import cache

from .database import Database
from .statements import statement

# Dead rows. Renewing costs a few per cent under a large limit, so it waits for a reason to believe that they stay.
MANY_DEAD = 100_000
MANY_KEPT = 10_000  # while a transaction is open that keeps them
CLAIMS = 2_000  # on one queue, from one renewal to the next
LOOK_SECONDS = 5.0
CHECK_SECONDS = 60.0

_PICK = re.compile(r"cross join lateral \( -- pick\n(.*)\) as e -- picked", re.DOTALL)
_COLUMNS = "x.ctid as at, x.place, x.id, x.released_at is not null as again"
_FROM_FLOORS = """left join lateral (
    select f.place from queues_floor f where f.queue_id = r.queue_id and f.workflow = p.workflow offset 0
) as f on true
cross join lateral (
    select * from (
        select {columns}
        from queues_execution x
        where x.queue_id = r.queue_id and x.workflow = p.workflow and x.status = 'queued'
            and x.place >= coalesce(f.place, '-infinity')
        order by x.place, x.id
        limit r.room
        for no key update skip locked
    ) as line
    union all
    select * from (
        select {columns}
        from queues_execution x
        where x.queue_id = r.queue_id and x.workflow = p.workflow and x.status = 'queued'
            and x.place < f.place and (x.attempt > 0 or x.place < x.enqueued_at or x.due_at is not null)
        order by x.place, x.id
        limit r.room
        for no key update skip locked
    ) as early
) as e"""


@cache
def claim_from_floors() -> str:
    """`claim`, picking from the floors on, and what came back to a place under them (`raise_floors`). It finds the
    same; looking for floors costs claims under a limit a few per cent, so it is left to when it helps."""
    return _PICK.sub(_FROM_FLOORS.format(columns=_COLUMNS), statement("claim"))


class Bloat:
    """What this process knows of it."""

    def __init__(self) -> None:
        self.is_high = False
        self._claims: Counter[int] = Counter()
        self._checked_at = 0.0

    def due(self, queues: Iterable[int]) -> list[int]:
        """Those of the queues to renew before the transaction that is about to claim on them."""
        if not self.is_high:
            return []
        return [queue_id for queue_id in dict.fromkeys(queues) if self._claims[queue_id] >= CLAIMS]

    def renewed(self, queues: Iterable[int]) -> None:
        for queue_id in queues:
            self._claims.pop(queue_id, None)

    def claimed(self, queue_id: int, count: int) -> None:
        if self.is_high:
            self._claims[queue_id] += count

    async def look(self, database: Database) -> float:
        """A background duty: is it high? Seconds until the next look."""
        async with database.connection() as conn:
            dead, kept = await (await conn.execute(statement("bloat"))).fetchone() or (0, False)
            self.is_high = dead >= (MANY_KEPT if kept else MANY_DEAD)
            if (now := time.monotonic()) > self._checked_at + CHECK_SECONDS:
                self._checked_at = now
                await conn.execute(statement("sink_floors"))
        return LOOK_SECONDS
