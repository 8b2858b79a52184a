"""Wake-ups from page, admin and REST: what `engine/waits.py` does, on Django's connection."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from .arrays import uuids
from .statements import statement

log = logging.getLogger(__name__)


def wake_after(final: Sequence[UUID]) -> None:
    """Wakes who waits for executions that are final. After that is committed; what fails here, the duty does."""
    try:
        wake({row[0] for row in _rows("waiting_for", {"ids": uuids(final)})})
    except DatabaseError:
        log.exception("executions that may go on are left to the duty")


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
