"""What keeps PostgreSQL from cleaning up, told to admins: an old transaction, a prepared one, a replication slot.

Dead rows pile up as long as it lasts, in every table of the database server; claims are kept fast meanwhile
(`engine/bloat.py`), disk and other reads are not. A duty of every server looks once a minute; pages and
metrics tell what it saw.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .engine.database import Database
from .engine.statements import statement

LOOK_SECONDS = 60.0
LONG = 600.0  # seconds

REMEDIES = {
    "transaction": "End it where it was begun, or with pg_terminate_backend and the number of the process.",
    "prepared transaction": "Commit or roll back it: COMMIT PREPARED or ROLLBACK PREPARED, with its name.",
    "replication slot": "Let its replica catch up, or drop it with pg_drop_replication_slot when nobody needs it.",
}

log = logging.getLogger(__name__)

_next_look = 0.0  # monotonic time
_pins: list[Pin] = []
_slots: dict[str, tuple[str, dt.datetime]] = {}  # who → its pin, and since when we know it


@dataclass(frozen=True, slots=True)
class Pin:
    """`who` names a process, a prepared transaction or a slot. `since` is when it began, or was first seen."""

    kind: str
    who: str
    since: dt.datetime

    @property
    def remedy(self) -> str:
        return REMEDIES[self.kind]


def pins() -> list[Pin]:
    """What this server saw when it looked last, the oldest first."""
    return _pins


async def look_for_pins(database: Database) -> float:
    """A background duty. Seconds until the next look."""
    global _next_look
    left = _next_look - time.monotonic()
    if left > 0:
        return left
    _next_look = time.monotonic() + LOOK_SECONDS
    async with database.connection() as conn:
        cursor = await conn.execute(statement("vacuum_pins"), {"seconds": LONG})
        rows = [(row[0], row[1], row[2], row[3]) for row in await cursor.fetchall()]
    learn(rows, dt.datetime.now(dt.UTC))
    return LOOK_SECONDS


def learn(rows: Sequence[tuple[str, str, dt.datetime | None, str]], now: dt.datetime) -> None:
    """Rows are kind, who, since (None: not known) and the pinned transaction."""
    global _pins, _slots
    known = {who: (pin, since or _first_seen(who, pin, now)) for _, who, since, pin in rows}
    _slots = {who: known[who] for _, who, since, _ in rows if since is None}
    old = now - dt.timedelta(seconds=LONG)
    found = [Pin(kind, who, known[who][1]) for kind, who, _, _ in rows if known[who][1] <= old]
    for pin in found:
        if pin.who not in {before.who for before in _pins}:
            log.warning("vacuum cannot remove dead rows since %s: %s %s", pin.since, pin.kind, pin.who)
    _pins = sorted(found, key=lambda pin: pin.since)


def _first_seen(who: str, pin: str, now: dt.datetime) -> dt.datetime:
    before = _slots.get(who)
    return before[1] if before and before[0] == pin else now
