"""The verbs that change a limit, a pause or a drain, for every page, admin, REST call and command.

Each is one transaction: lock, look, write the columns that it means, record the change, wake all servers.

Locks, in this order: the queue's advisory lock (7105, id) exclusively, then the queue's row. Claims on a
limited queue take the row; claims on an unlimited one take the same advisory lock, shared. So whatever a
claim read about limit and pause still holds when that claim commits. Time is the database's clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q

from . import words
from .models import Change, Queue
from .requests import MAX_LIMIT

CLAIM_LOCK = 7105  # first key of the advisory lock that claims on unlimited queues share
MAX_REASON, MAX_ACTOR = 500, 150
SERVER_ACTOR = "polos"
_VERSIONED = (Change.Kind.DECLARED, Change.Kind.OVERRIDE, Change.Kind.PAUSE, Change.Kind.DRAIN)


class LimitsError(Exception):
    """Nothing was changed; `detail` says why in a sentence.

    LimitsError
    ├── QueueNotFound
    ├── BadLimit       the limit or its end makes no sense
    └── StaleView      somebody changed the queue since the caller looked
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class QueueNotFound(LimitsError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no queue named {clean(name, 200)!r}.")


class BadLimit(LimitsError):
    pass


class StaleView(LimitsError):
    def __init__(self, queue: Queue, detail: str) -> None:
        super().__init__(detail)
        self.queue = queue


# -- the verbs -------------------------------------------------------------------------------------


def change_limit(
    *,
    queue: str,
    limit: int | None,
    reason: str,
    actor: str,
    through: Change.Through,
    until: dt.datetime | None = None,
    expected_version: int | None = None,
) -> Queue:
    """Sets an override: `None` is unlimited, 0 means that nothing starts. What runs is never stopped."""
    _check_limit(limit)
    why = _Why.of(actor=actor, through=through, reason=reason, until=until)
    with transaction.atomic():
        row, now = _lock(queue)
        check_version(row, expected_version)
        _check_until(until, now)
        return _write(
            row,
            now,
            why,
            kind=Change.Kind.OVERRIDE,
            before=_override_word(row),
            after=words.limit(limit),
            overridden=True,
            override_limit=limit,
            override_reason=why.reason,
            override_by=why.actor,
            override_at=now,
            override_until=until,
        )


def clear_override(
    *, queue: str, reason: str, actor: str, through: Change.Through, expected_version: int | None = None
) -> Queue:
    """Back to the declared limit. Without an override there is nothing to do, and nothing is recorded."""
    why = _Why.of(actor=actor, through=through, reason=reason)
    with transaction.atomic():
        row, now = _lock(queue)
        if not row.overridden:
            return row
        check_version(row, expected_version)
        return _end_override(row, now, why)


def pause(
    *,
    queue: str,
    reason: str,
    actor: str,
    through: Change.Through,
    until: dt.datetime | None = None,
    expected_version: int | None = None,
) -> Queue:
    """Nothing starts until somebody resumes. Pausing again gives the pause another reason and end."""
    why = _Why.of(actor=actor, through=through, reason=reason, until=until)
    with transaction.atomic():
        row, now = _lock(queue)
        check_version(row, expected_version)
        _check_until(until, now)
        return _write(
            row,
            now,
            why,
            kind=Change.Kind.PAUSE,
            before=_pause_word(row),
            after="paused",
            paused=True,
            paused_reason=why.reason,
            paused_by=why.actor,
            paused_at=row.paused_at if row.paused else now,
            paused_until=until,
        )


def resume(
    *,
    queue: str,
    reason: str = "",
    actor: str,
    through: Change.Through,
    expected_version: int | None = None,
) -> Queue:
    """Ends a pause. A queue that is not paused stays as it is, and nothing is recorded."""
    why = _Why.of(actor=actor, through=through, reason=reason)
    with transaction.atomic():
        row, now = _lock(queue)
        if not row.paused:
            return row
        check_version(row, expected_version)
        return _end_pause(row, now, why)


def drain(
    *, queue: str, reason: str, actor: str, through: Change.Through, expected_version: int | None = None
) -> Queue:
    """Refuses what is new and finishes what is there, also children of what runs. Again: another reason.

    Where it was asked for it counts at once, on other servers within a second.
    """
    why = _Why.of(actor=actor, through=through, reason=reason)
    with transaction.atomic():
        row, now = _lock(queue)
        check_version(row, expected_version)
        return _write(
            row,
            now,
            why,
            kind=Change.Kind.DRAIN,
            before=_drain_word(row),
            after="draining",
            also="drains:",
            draining=True,
            drain_reason=why.reason,
            drain_by=why.actor,
            drain_at=row.drain_at if row.draining else now,
        )


def accept(
    *,
    queue: str,
    reason: str = "",
    actor: str,
    through: Change.Through,
    expected_version: int | None = None,
) -> Queue:
    """Takes new executions again. A queue that does not drain stays as it is, and nothing is recorded."""
    why = _Why.of(actor=actor, through=through, reason=reason)
    with transaction.atomic():
        row, now = _lock(queue)
        if not row.draining:
            return row
        check_version(row, expected_version)
        return _write(
            row,
            now,
            why,
            kind=Change.Kind.DRAIN,
            before="draining",
            after="accepting",
            also="drains:",
            draining=False,
            drain_reason="",
            drain_by="",
            drain_at=None,
        )


def end_due(now: dt.datetime | None = None) -> int:
    """Ends the overrides and pauses whose time is over; returns how many. Every server may call it.

    `now` is the database's clock unless a test says otherwise.
    """
    now = now or database_now()
    due = Queue.objects.filter(_due(now)).order_by("id").values_list("id", flat=True)
    return sum(_end_one(queue_id, now) for queue_id in list(due))


# -- one change ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Why:
    actor: str
    through: Change.Through
    reason: str
    until: dt.datetime | None

    @classmethod
    def of(cls, *, actor: str, through: Change.Through, reason: str, until: dt.datetime | None = None) -> _Why:
        actor = clean(actor, MAX_ACTOR)
        if not actor:
            raise ValueError("a change needs an actor")
        return cls(actor=actor, through=through, reason=clean(reason, MAX_REASON), until=until)


def _lock(name: str) -> tuple[Queue, dt.datetime]:
    """The queue as it is once nobody else can claim on it or change it, and the time of that."""
    queue_id = Queue.objects.filter(name=name).values_list("id", flat=True).first()
    if queue_id is None:
        raise QueueNotFound(name)
    _lock_claims(queue_id)
    row = Queue.objects.select_for_update(no_key=True).filter(id=queue_id).first()
    if row is None:
        raise QueueNotFound(name)
    return row, database_now()


def _lock_claims(queue_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s::int, %s::int)", [CLAIM_LOCK, queue_id])


def _write(
    row: Queue,
    now: dt.datetime,
    why: _Why,
    *,
    kind: Change.Kind,
    before: str,
    after: str,
    also: str = "",
    **columns: Any,
) -> Queue:
    """`also` is another hint to the servers, see `engine/wakes.py`."""
    Queue.objects.filter(id=row.id).update(version=F("version") + 1, **columns)
    Change.objects.create(
        queue=row,
        at=now,
        kind=kind,
        before=before,
        after=after,
        actor=why.actor,
        reason=why.reason,
        through=why.through,
        until=why.until,
    )
    # Inside the transaction: delivered with its commit, and operators change limits rarely.
    with connection.cursor() as cursor:
        for hint in filter(None, (f"limits:{row.id}", also)):
            cursor.execute("select pg_notify('polos_wake', %s::text)", [hint])
    row.refresh_from_db()
    return row


def _end_override(row: Queue, now: dt.datetime, why: _Why) -> Queue:
    return _write(
        row,
        now,
        why,
        kind=Change.Kind.OVERRIDE,
        before=_override_word(row),
        after="none",
        overridden=False,
        override_limit=None,
        override_reason="",
        override_by="",
        override_at=None,
        override_until=None,
    )


def _end_pause(row: Queue, now: dt.datetime, why: _Why) -> Queue:
    return _write(
        row,
        now,
        why,
        kind=Change.Kind.PAUSE,
        before="paused",
        after="running",
        paused=False,
        paused_reason="",
        paused_by="",
        paused_at=None,
        paused_until=None,
    )


def _end_one(queue_id: int, now: dt.datetime) -> int:
    with transaction.atomic():
        _lock_claims(queue_id)
        # Looked at again under the lock: another server may have ended it, a person may have extended it.
        rows = Queue.objects.select_for_update(no_key=True, skip_locked=True)
        row = rows.filter(_due(now), id=queue_id).first()
        if row is None:
            return 0
        ended = 0
        if row.override_until and row.override_until <= now:
            row, ended = _end_override(row, now, _its_time_is_over(row.override_by)), ended + 1
        if row.paused_until and row.paused_until <= now:
            row, ended = _end_pause(row, now, _its_time_is_over(row.paused_by)), ended + 1
        return ended


def _due(now: dt.datetime) -> Q:
    return Q(overridden=True, override_until__lte=now) | Q(paused=True, paused_until__lte=now)


def _its_time_is_over(set_by: str) -> _Why:
    return _Why.of(actor=SERVER_ACTOR, through=Change.Through.SERVER, reason=f"it ended when {set_by} had said")


# -- checks ----------------------------------------------------------------------------------------


def _check_limit(limit: int | None) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
        raise BadLimit(f"A limit is a whole number from 0 to {MAX_LIMIT:,}, or unlimited.")


def _check_until(until: dt.datetime | None, now: dt.datetime) -> None:
    if until is None:
        return
    if until.tzinfo is None:
        raise BadLimit("The end needs a time zone.")
    if until <= now:
        raise BadLimit("The end is in the past: choose a later one, or none.")


def check_version(row: Queue, expected: int | None) -> None:
    if expected is None or expected == row.version:
        return
    missed = row.changes.filter(kind__in=_VERSIONED)[: min(max(row.version - expected, 1), 3)]
    told = " and ".join(_sentence(change) for change in missed) or "It was changed"
    raise StaleView(row, f"{told} since you opened this. Nothing was changed: look again, then decide.")


def _sentence(change: Change) -> str:
    what = {Change.Kind.DECLARED: "the declared limit", Change.Kind.OVERRIDE: "the override"}
    subject = what.get(Change.Kind(change.kind), "the queue")
    because = f" (“{change.reason}”)" if change.reason else ""
    return f"{change.actor} changed {subject} from {change.before} to {change.after}{because}"


def database_now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now: dt.datetime = cursor.fetchone()[0]
    return now


# -- words -----------------------------------------------------------------------------------------


def _override_word(row: Queue) -> str:
    return words.limit(row.override_limit) if row.overridden else "none"


def _pause_word(row: Queue) -> str:
    return "paused" if row.paused else "running"


def _drain_word(row: Queue) -> str:
    return "draining" if row.draining else "accepting"


def clean(text: str, length: int) -> str:
    """Without what PostgreSQL or a page cannot hold (U+0000, lone surrogates, controls), and not too long."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:length].strip()
