"""Wake-ups from page, admin and REST: what `engine/waits.py` does, on Django's connection."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from .arrays import uuids
from .statements import statement
from .waits import MOST_LOOKED

log = logging.getLogger(__name__)


def wake_after(final: Sequence[UUID]) -> None:
    """Wakes who waits for executions that are final. After that is committed; what fails here, the duty does."""
    try:
        wake({row[0] for row in _rows("waiting_for", {"ids": uuids(final)})})
    except DatabaseError:
        log.exception("executions that may go on are left to the duty")


class _Ended:
    """What one transaction has ended: looked at once, however many they are."""

    def __init__(self, id: UUID) -> None:
        self.ids = [id]

    def __call__(self) -> None:
        for start in range(0, len(self.ids), MOST_LOOKED):
            wake_after(self.ids[start : start + MOST_LOOKED])


def wake_after_commit(final: UUID) -> None:
    """The same for one of many that a transaction ends, once it is committed."""
    last = connection.run_on_commit[-1][1] if connection.run_on_commit else None
    if isinstance(last, _Ended):  # undone with its savepoint, and this one would be, too
        last.ids.append(final)
    else:
        transaction.on_commit(_Ended(final))


def wake(owners: Collection[UUID]) -> None:
    """Lets these go on if a wait of theirs is over. After that is committed; what fails here, the duty does."""
    try:
        if owners:
            _look(owners)
    except DatabaseError:
        log.exception("executions that may go on are left to the duty")


def _look(owners: Collection[UUID]) -> None:
    values = {"ids": uuids(sorted(owners))}
    with transaction.atomic():
        _rows("lock_waiting", values)
        _rows("settle_waits", values)
        for queue_id in {row[1] for row in _rows("wake", values)}:
            _rows("tell", {"payload": f"limits:{queue_id}"})


def _rows(name: str, values: dict[str, str]) -> list[tuple[UUID, int, str]]:
    with connection.cursor() as cursor:
        cursor.execute(statement(name), values)
        return list(cursor.fetchall()) if cursor.description else []
