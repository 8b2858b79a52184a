"""What people do to workers and to slots that dead ones hold: drain, keep, release.

Plain functions on Django's connection, each one transaction; page and REST call the same ones.
Locks, in this order: the worker's row, then the execution's.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from ..limits import clean, database_now
from ..models import FINAL, Change, Execution, Worker
from .arrays import uuids
from .errors import ExecutionNotFound, NotPossible
from .operate import tell
from .statements import statement
from .waking import wake_after

OTHER_CLAIM = "The slot was released or given to somebody else since you looked. Nothing was changed."


def drain_worker(worker_id: UUID, *, reason: str, actor: str, through: Change.Through) -> str:
    """The worker finishes what it runs, takes nothing new, and leaves; it learns so within a heartbeat. Its name.

    Raises `NotPossible` when it is not alive any more, or drains already.
    """
    return _set_worker(worker_id, "alive", "draining", reason=reason, actor=actor, through=through)


def keep_worker(worker_id: UUID, *, reason: str = "", actor: str, through: Change.Through) -> str:
    """It takes work again, unless it has heard of the drain before: then it leaves all the same. Its name."""
    return _set_worker(worker_id, "draining", "alive", reason=reason, actor=actor, through=through)


def _set_worker(
    worker_id: UUID, before: str, after: str, *, reason: str, actor: str, through: Change.Through
) -> str:
    reason = clean(reason, 500)
    by, why = (actor, reason) if after == "draining" else ("", "")
    values: dict[str, Any] = {
        "worker": worker_id,
        "from": before,
        "to": after,
        "by": by[:150],
        "reason": why,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("drain_worker"), values)
        row = cursor.fetchone()
        if row is None:
            raise NotPossible(
                f"This worker is not {before} any more. Nothing was changed: look again, then decide."
            )
        Change.objects.create(
            queue=None, at=database_now(), kind=Change.Kind.WORKER, subject=row[0], before=before, after=after,
            actor=actor[:200], reason=reason, through=through,
        )  # fmt: skip
    return str(row[0])


def release_slot(
    execution_id: UUID, *, claimed_at: dt.datetime | None, actor: str, through: Change.Through
) -> str:
    """Takes one execution back from a worker that is proven dead: its lease is over. Returns the new status.

    What the sweep does every few seconds, for one and at once. `claimed_at` says which claim was looked at; that
    claim's token fences it: when anything happened since, nothing is changed. None: the claim of this moment.
    Raises `ExecutionNotFound` and `NotPossible`.
    """
    execution = Execution.objects.filter(id=execution_id).defer("payload", "result", "error").first()
    if execution is None:
        raise ExecutionNotFound(execution_id)
    if execution.token is None or execution.worker_id is None or claimed_at not in (None, execution.claimed_at):
        raise NotPossible(OTHER_CLAIM)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("lose_worker"), {"worker": execution.worker_id})
        cursor.execute(statement("living_worker"), {"worker": execution.worker_id})
        if cursor.fetchone() == (True,):
            raise NotPossible("Its worker is alive: the slot is in use, and nothing was released.")
        values: dict[str, Any] = {"workers": uuids([execution.worker_id]), "token": execution.token}
        values |= {"outcome": "lost", "execution": execution_id, "max_losses": settings.POLOS_MAX_LOSSES}
        cursor.execute(statement("release_held"), values)
        row = cursor.fetchone()
        if row is None:
            raise NotPossible(OTHER_CLAIM)
        _note_release(execution, execution.worker_id, actor, through)
        tell([f"limits:{execution.queue_id}"])
    if row[2] in FINAL:
        wake_after([execution_id])
    return str(row[2])


def _note_release(execution: Execution, worker_id: UUID, actor: str, through: Change.Through) -> None:
    worker = Worker.objects.filter(id=worker_id).values_list("name", flat=True).first()
    Change.objects.create(
        queue_id=execution.queue_id, at=database_now(), kind=Change.Kind.SLOT, subject=str(execution.id),
        before=f"slot {execution.slot}" if execution.slot else "an execution", after="free",
        actor=actor[:200], reason=f"its worker {worker or worker_id} is gone"[:500], through=through,
    )  # fmt: skip
