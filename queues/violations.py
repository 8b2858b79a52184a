"""Promise 1, watched from outside the claim: nothing starts on a queue that is at its limit.

More than the limit may run only because the limit was lowered. So a queue over its limit whose newest claim is
younger than the last change of its limit is a violation: a claim went through that should not have.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection

from .engine.statements import statement
from .gauges import Gauge, Survey

MOST_KEPT = 10_000

log = logging.getLogger(__name__)
_told: set[tuple[int, dt.datetime | None]] = set()  # one violation is counted once, however often it is looked at


async def count_violations(conn: AsyncConnection[Any], survey: Survey) -> int:
    """How many violations this look finds that none before has found. Asks the database only when one may be."""
    over = [gauge for gauge in survey.gauges if gauge.limit is not None and gauge.held > gauge.limit]
    if not over:
        return 0
    cursor = await conn.execute(statement("gauges_limit_changes"), {"queues": [gauge.id for gauge in over]})
    return _tell(violations(over, dict(await cursor.fetchall())))


def violations(over: list[Gauge], changed_at: Mapping[int, dt.datetime]) -> list[Gauge]:
    """Those of the queues over their limit that claimed after the limit had become what it is."""
    return [
        gauge
        for gauge in over
        if gauge.last_claimed_at is not None
        and (gauge.id not in changed_at or gauge.last_claimed_at > changed_at[gauge.id])
    ]


def _tell(found: list[Gauge]) -> int:
    new = [gauge for gauge in found if (gauge.id, gauge.last_claimed_at) not in _told]
    if len(_told) > MOST_KEPT:
        _told.clear()
    for gauge in new:
        _told.add((gauge.id, gauge.last_claimed_at))
        log.error("queue %s runs %d with a limit of %s", gauge.name, gauge.held, gauge.limit)
    return len(new)
