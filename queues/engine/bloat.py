"""Dead rows that vacuum may not remove yet: a claim must not walk over them.

An old transaction anywhere on the database server keeps vacuum from removing whatever died after it began, and
with it every index entry of it. Each claim and each result leaves two. While many have piled up, claims renew
their queue's generation of slots, and raise its floors, every couple of thousand claims: a claim then walks those
at most. Without, and 50,000 executions after a transaction was left open, a claim of 50 under a limit takes 35 ms,
and 2 with it; without a limit 5 and 2.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from .database import Database
from .statements import statement

# Dead rows. Renewing costs a few per cent under a large limit, so it waits for a reason to believe that they stay.
MANY_DEAD = 100_000
MANY_KEPT = 10_000  # while a transaction is open that keeps them
CLAIMS = 2_000  # on one queue, from one renewal to the next
LOOK_SECONDS = 5.0
CHECK_SECONDS = 60.0


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
