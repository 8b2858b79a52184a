"""cancel, retry, answer: what people (and programs on their behalf) do to one execution.

Plain functions on Django's connection, each one transaction; page, admin, REST and command call the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from msgspec import Raw

from ..models import Change, Wait
from .arrays import uuids
from .errors import ExecutionNotFound, NotPossible
from .statements import statement
from .waking import wake, wake_after

MOST_CANCELLED = 1_000  # executions in one transaction
MOST_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    id: UUID
    status: str  # cancelled, or cancelling: it holds its slot until the worker has stopped it
    changed: bool


@dataclass(frozen=True, slots=True)
class RetryOutcome:
    id: UUID
    status: str


def cancel_execution(execution_id: UUID, *, actor: str, through: Change.Through) -> CancelOutcome:
    """What waits is cancelled at once; what runs is asked to stop. Asking twice changes nothing.

    Raises `ExecutionNotFound`, or `NotPossible` when it has completed or failed.
    """
    by = f"{actor} ({Change.Through(through).label})"[:200]
    row = _run("cancel", {"id": execution_id, "by": by})
    if row is None:
        status = _status(execution_id)
        if status in ("cancelled", "cancelling"):
            return CancelOutcome(execution_id, status, changed=False)
        raise NotPossible(f"The execution has {status} already; there is nothing left to cancel.")
    if row[0] == "cancelled":
        transaction.on_commit(lambda: wake_after([execution_id]))
    return CancelOutcome(execution_id, row[0], changed=True)


def cancel_family(
    execution_id: UUID, *, actor: str, through: Change.Through, reaches: Callable[[str], bool]
) -> int:
    """Cancels an execution and all that it has started, and those, on queues that the caller `reaches`; returns
    how many. What has started them may be final already.

    Raises `ExecutionNotFound`, or `NotPossible` when nothing is left to cancel.
    """
    cancelled = 0
    try:
        cancelled += cancel_execution(execution_id, actor=actor, through=through).changed
    except NotPossible:
        if not _family(execution_id, reaches):
            raise
    by = f"{actor} ({Change.Through(through).label})"[:200]
    for _ in range(MOST_ROUNDS):  # because one that runs may have started another one meanwhile
        found = _family(execution_id, reaches)
        if not found:
            break
        for start in range(0, len(found), MOST_CANCELLED):
            cancelled += _cancel_many(found[start : start + MOST_CANCELLED], by)
    return cancelled


def _family(execution_id: UUID, reaches: Callable[[str], bool]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(statement("descendants"), {"id": execution_id})
        return [id for id, queue in cursor.fetchall() if reaches(queue)]


def _cancel_many(ids: list[UUID], by: str) -> int:
    values = {"ids": uuids(ids), "by": by}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("lock_executions"), values)
        cursor.execute(statement("cancel_many"), values)
        rows = cursor.fetchall()
        for payload in {row[2] for row in rows}:
            cursor.execute(statement("tell"), {"payload": payload})
    ended = [row[0] for row in rows if row[1] == "cancelled"]
    transaction.on_commit(lambda: wake_after(ended))
    return len(rows)


def retry_execution(execution_id: UUID, *, actor: str, through: Change.Through) -> RetryOutcome:
    """A failed or cancelled execution is queued again, in a new place, with one more try.

    Raises `ExecutionNotFound`, or `NotPossible` when it is not failed or cancelled, or when another one has its
    deduplication key by now.
    """
    with transaction.atomic():
        _take_key_back(execution_id)
        row = _run("retry", {"id": execution_id})
        if row is None:
            status = _status(execution_id)
            raise NotPossible(f"Only a failed or cancelled execution can be retried; this one is {status}.")
    return RetryOutcome(execution_id, row[0])


def _take_key_back(execution_id: UUID) -> None:
    """Before the execution is locked: whoever enqueues locks in this order."""
    values = {"id": execution_id}
    with connection.cursor() as cursor:
        cursor.execute(statement("lock_key"), values)
        row = cursor.fetchone()
        if row is None or row[1] == execution_id:
            return
        key, holder, status = row
        if status is not None:
            raise NotPossible(
                f"One at a time: {holder} has the deduplication key {key} now, and is {status}. "
                "Cancel that one, or wait until it has ended."
            )
        cursor.execute(statement("hand_over_keys"), {"ids": uuids([holder])})
        cursor.execute(statement("take_key_back"), values)


def answer_wait(execution_id: UUID, *, key: str, data: Raw, actor: str, through: Change.Through) -> None:
    """Gives an execution the answer that it waits for under `key`, and lets it go on. The same answer again
    changes nothing. `data` is JSON, checked by the caller.

    Raises `ExecutionNotFound`, or `NotPossible` when nobody waits for this key, or got another answer.
    """
    text = bytes(data).decode()
    values: dict[str, str | UUID] = {"id": execution_id, "key": key, "data": text, "by": actor[:200]}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("answer_wait"), values)
        row = cursor.fetchone()
        if row is None:
            cursor.execute(statement("find_answer"), values)
            _check_answered(execution_id, key, cursor.fetchone())
            return
        Change.objects.create(
            queue_id=row[0], at=timezone.now(), kind=Change.Kind.ANSWER, subject=key, before="waiting",
            after="answered", actor=actor[:200], through=through, reason=f"{row[1]} {execution_id}: {text}"[:500],
        )  # fmt: skip
        transaction.on_commit(lambda: wake([execution_id]))


def _check_answered(execution_id: UUID, key: str, row: tuple[Any, ...] | None) -> None:
    if row is None:
        raise ExecutionNotFound(execution_id)
    status, kind, timed_out, by, same = row
    if kind != Wait.Kind.RESUME:
        raise NotPossible(f"The execution does not wait for an answer under the key {key}.")
    if same:
        return
    if by:
        raise NotPossible(f"This was answered already, by {by}, and differently.")
    if timed_out:
        raise NotPossible("The time for an answer is over.")
    raise NotPossible(f"The execution waits for no answer any more: it is {status}.")


def _run(name: str, values: dict[str, str | UUID]) -> tuple[str, ...] | None:
    """One statement and the wake-up for it. Its row is (status, payload of the wake-up)."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement(name), values)
        row: tuple[str, ...] | None = cursor.fetchone()
        if row is not None:
            cursor.execute("select pg_notify('polos_wake', %s)", (row[1],))
        return row


def _status(execution_id: UUID) -> str:
    with connection.cursor() as cursor:
        cursor.execute("select status from queues_execution where id = %s::uuid", (execution_id,))
        row = cursor.fetchone()
    if row is None:
        raise ExecutionNotFound(execution_id)
    return str(row[0])
