"""cancel, retry, change of priority, answer: what people (and programs on their behalf) do to one execution.

Plain functions on Django's connection, each one transaction; page, admin, REST and command call the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from msgspec import Raw

from ..limits import clean, database_now
from ..models import Change, Wait
from .arrays import uuids
from .errors import ChangedSince, ExecutionNotFound, NotPossible
from .statements import statement
from .waking import wake, wake_after, wake_after_commit

MOST_CANCELLED = 1_000  # executions in one transaction
MOST_ROUNDS = 10
MOST_PRIORITY = 1_000_000  # seconds of head start, and of handicap


@dataclass(frozen=True, slots=True)
class Seen:
    """An execution as somebody saw it when they decided. In a form: `queued:0`."""

    status: str
    attempt: int | None = None  # claims so far; None: whichever

    def __str__(self) -> str:
        return f"{self.status}:{self.attempt}"

    @classmethod
    def read(cls, text: str) -> Seen | None:
        status, _, attempt = text.partition(":")
        return cls(status, int(attempt)) if attempt.isdecimal() and len(attempt) < 10 else None


@dataclass(frozen=True, slots=True)
class Locked:
    """An execution whose row is locked until the end of the transaction."""

    id: UUID
    status: str
    attempt: int
    queue_id: int
    priority: int
    workflow: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a verb made of an execution, and the wake-up to send with the commit; empty: none."""

    status: str
    wake: str


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    id: UUID
    status: str  # cancelled, or cancelling: it holds its slot until the worker has stopped it
    changed: bool


@dataclass(frozen=True, slots=True)
class RetryOutcome:
    id: UUID
    status: str


def cancel_execution(
    execution_id: UUID, *, actor: str, through: Change.Through, reason: str = "", seen: Seen | None = None
) -> CancelOutcome:
    """What waits is cancelled at once; what runs is asked to stop. Asking twice changes nothing.

    Raises `ExecutionNotFound`, `ChangedSince`, or `NotPossible` when it has completed or failed.
    """
    with transaction.atomic():
        row = lock(execution_id)
        if row.status in ("cancelled", "cancelling"):
            return CancelOutcome(execution_id, row.status, changed=False)
        check_seen(row, seen)
        done = cancel(row, by=signed(actor, through))
        note(row, Change.Kind.CANCEL, done.status, actor=actor, through=through, reason=reason)
        tell({done.wake})
    return CancelOutcome(execution_id, done.status, changed=True)


def retry_execution(
    execution_id: UUID, *, actor: str, through: Change.Through, reason: str = "", seen: Seen | None = None
) -> RetryOutcome:
    """A failed or cancelled execution is queued again, in a new place, with one more try.

    Raises `ExecutionNotFound`, `ChangedSince`, or `NotPossible` when it is not failed or cancelled, or when
    another one has its deduplication key by now.
    """
    with transaction.atomic():
        take_key_back(execution_id)
        row = lock(execution_id)
        check_seen(row, seen)
        done = retry(row)
        note(row, Change.Kind.RETRY, done.status, actor=actor, through=through, reason=reason)
        tell({done.wake})
    return RetryOutcome(execution_id, done.status)


def change_priority(
    execution_id: UUID,
    *,
    priority: int,
    actor: str,
    through: Change.Through,
    reason: str = "",
    seen: Seen | None = None,
) -> None:
    """Moves what waits for its start in its line: `priority` are seconds of head start, −1,000,000 to 1,000,000.

    Raises `ExecutionNotFound`, `ChangedSince`, or `NotPossible` when it is neither queued nor scheduled.
    """
    with transaction.atomic():
        row = lock(execution_id)
        check_seen(row, seen)
        done = prioritise(row, priority)
        before, after = str(row.priority), str(priority)
        note(row, Change.Kind.PRIORITY, after, before=before, actor=actor, through=through, reason=reason)
        tell({done.wake})


# -- the bodies, for one and for many: each on a row that is locked already --------------------------------


def cancel(row: Locked, *, by: str) -> Done:
    done = _run("cancel", {"id": row.id, "by": by})
    if done is None:
        raise NotPossible(f"The execution has {row.status} already; there is nothing left to cancel.")
    if done.status == "cancelled":
        wake_after_commit(row.id)
    return done


def retry(row: Locked) -> Done:
    done = _run("retry", {"id": row.id})
    if done is None:
        raise NotPossible(f"Only a failed or cancelled execution can be retried; this one is {row.status}.")
    return done


def prioritise(row: Locked, priority: int) -> Done:
    done = _run("set_priority", {"id": row.id, "priority": priority})
    if done is None:
        raise NotPossible(f"Only what is queued or scheduled has a place in a line; this one is {row.status}.")
    return done


def take_key_back(execution_id: UUID) -> None:
    """Before the execution is locked: whoever enqueues locks in this order."""
    values = {"id": execution_id}
    found = _locked_key(values)
    if found is None:
        return
    if found.stopping_status is not None:
        raise one_at_a_time(found.key, holder=found.stopping, status=found.stopping_status)
    if found.holder == execution_id:
        return
    if found.status is not None:
        raise one_at_a_time(found.key, holder=found.holder, status=found.status)
    with connection.cursor() as cursor:
        if found.holder is not None:
            cursor.execute(statement("hand_over_keys"), {"ids": uuids([found.holder])})
        cursor.execute(statement("take_key_back"), values)


def one_at_a_time(key: str, *, holder: UUID | None, status: str) -> NotPossible:
    return NotPossible(
        f"One at a time: {holder} has the deduplication key {key} now, and is {status}. "
        "Cancel that one, or wait until it has ended."
    )


class _Key(NamedTuple):
    """A row of `key_of`: who has the key of an execution."""

    key: str
    holder: UUID | None
    status: str | None  # None: it is final
    stopping: UUID | None  # an older one that it waits for, or waited for when it was cancelled
    stopping_status: str | None


def _locked_key(values: dict[str, UUID]) -> _Key | None:
    """Locked first, then looked at: while one waits for the lock, the key may change hands, and its holder may be
    queued again."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement("lock_key"), values)
            locked = cursor.fetchone()
            cursor.execute(statement("key_of"), values)
            row = cursor.fetchone()
            found = _Key(*row) if row else None
            if found is None or found.holder == (locked and locked[0]):
                return found


def lock(execution_id: UUID) -> Locked:
    """Raises `ExecutionNotFound`."""
    found = lock_all([execution_id])
    if not found:
        raise ExecutionNotFound(execution_id)
    return found[0]


def lock_all(ids: Iterable[UUID]) -> list[Locked]:
    """Those that are still there, by id."""
    with connection.cursor() as cursor:
        cursor.execute(statement("lock_execution"), {"ids": uuids(sorted(ids))})
        return [Locked(*row) for row in cursor.fetchall()]


def check_seen(row: Locked, seen: Seen | None) -> None:
    """Raises `ChangedSince`: who decided by what is no longer so decides again."""
    if seen is None or (row.status == seen.status and seen.attempt in (None, row.attempt)):
        return
    if row.status == seen.status:
        what = f"it is {row.status} again, in another attempt"
    else:
        what = f"it was {seen.status}, and is {row.status} now"
    raise ChangedSince(f"This changed since you looked: {what}.", status=row.status)


def note(
    row: Locked,
    kind: Change.Kind,
    after: str,
    *,
    actor: str,
    through: Change.Through,
    reason: str,
    before: str = "",
) -> None:
    """In the trail, with the act."""
    Change.objects.create(
        queue_id=row.queue_id, at=database_now(), kind=kind, subject=str(row.id), before=before or row.status,
        after=after, actor=actor[:200], through=through, reason=clean(reason, 500),
    )  # fmt: skip


def tell(wakes: Iterable[str]) -> None:
    """Wake-ups for all servers, sent with the commit."""
    with connection.cursor() as cursor:
        for wake in sorted(set(wakes) - {""}):
            cursor.execute(statement("tell"), {"payload": wake})


def signed(actor: str, through: Change.Through) -> str:
    return f"{actor} ({Change.Through(through).label})"[:200]


# -- a whole family --------------------------------------------------------------------------------------


def cancel_family(
    execution_id: UUID,
    *,
    actor: str,
    through: Change.Through,
    reaches: Callable[[str], bool],
    reason: str = "",
    seen: Seen | None = None,
) -> int:
    """Cancels an execution and all that it has started, and those, on queues that the caller `reaches`; returns
    how many. What has started them may be final already.

    Raises `ExecutionNotFound`, or `NotPossible` when nothing is left to cancel.
    """
    cancelled = 0
    try:
        told = "with all that it has started" + (f": {reason}" if reason else "")
        cancelled += cancel_execution(execution_id, actor=actor, through=through, reason=told, seen=seen).changed
    except ChangedSince:
        raise
    except NotPossible:
        if not _family(execution_id, reaches):
            raise
    by = signed(actor, through)
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
        tell(row[2] for row in rows)
    ended = [row[0] for row in rows if row[1] == "cancelled"]
    transaction.on_commit(lambda: wake_after(ended))
    return len(rows)


# -- answers -----------------------------------------------------------------------------------------------


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
            queue_id=row[0], at=database_now(), kind=Change.Kind.ANSWER, subject=str(execution_id),
            before="waiting", after=key[:40], actor=actor[:200], through=through, reason=text[:500],
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


def _run(name: str, values: dict[str, Any]) -> Done | None:
    """One statement, which says the expected state: no row, and nothing was done."""
    with connection.cursor() as cursor:
        cursor.execute(statement(name), values)
        row = cursor.fetchone()
    return Done(*row) if row else None
