"""Acts over REST, on one execution and on many in the background. The verbs are those of the pages."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Raw, Struct, UnsetType

from queues import bulk_acts
from queues.access import EVERYWHERE, Sight
from queues.bulk_acts import Asked, AskedBefore, BadAct, Count, NotThere
from queues.engine.operate import Seen, change_priority
from queues.engine.rerun import BadPayload, run_again
from queues.ids import uuid7
from queues.keys import Principal
from queues.limits import database_now
from queues.models import BulkAct, Change
from queues.problems import Conflicting, Invalid, NotFound
from queues.requests import Priority, Text

from .replies import StatusName, Time

REST = Change.Through.REST
MOST_LISTED, MOST_LEFTS = 100, 200


class PriorityChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    priority: Priority  # seconds of head start
    expected_status: StatusName | None = None  # refused when it has another one
    reason: Text = ""


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    expected_status: StatusName | None = None  # refused when it has another one
    expected_attempt: int | None = None  # beside a status: refused when it is in another attempt
    reason: Text = ""


class NewRerun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: UUID | None = (
        None  # of the new execution, chosen by the client (UUIDv7): repeating it has no second effect
    )
    payload: Raw | UnsetType = UNSET  # default: that of the old one
    reason: Text = ""


class NewBulkAct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On all that `search` finds (empty: everything), or on the executions in `ids`."""

    verb: Literal["cancel", "retry", "priority"]
    search: Text | None = None
    ids: list[UUID] | None = None
    priority: Priority | None = None  # for the verb of that name
    reason: Text = ""
    id: UUID | None = None  # chosen by the client: repeating the request has no second effect
    dry_run: bool = False  # only count


class NewPurge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that waits on one queue is cancelled; `confirm` repeats the queue's name."""

    confirm: Text
    scheduled: bool = False  # also what is scheduled for later
    reason: Text = ""
    id: UUID | None = None  # chosen by the client: repeating the request has no second effect


class BulkCount(Struct, frozen=True, kw_only=True):
    executions: int
    complete: bool  # false: at least so many
    about_seconds: float


class Left(Struct, frozen=True, kw_only=True):
    execution_id: UUID
    why: str


class BulkView(Struct, frozen=True, kw_only=True):
    id: UUID
    verb: str
    search: str | None  # null: of chosen executions
    priority: int | None
    reason: str
    state: str  # waiting, running, done, stopped
    counted: int  # executions when it was asked
    counted_all: bool  # false: at least so many
    changed: int
    left: int  # that were not possible any more
    lefts: list[Left]  # the first 200 of them; empty in a list
    asked_at: Time
    asked_by: str
    ended_at: Time | None
    stopped_by: str
    stop_reason: str  # when the server stopped it


class BulkList(Struct, frozen=True, kw_only=True):
    acts: list[BulkView]  # the newest 100


# -- one execution -----------------------------------------------------------------------------------


def prioritise(principal: Principal, execution_id: UUID, said: PriorityChange) -> None:
    change_priority(
        execution_id, priority=said.priority, actor=principal.actor, through=REST, reason=said.reason,
        seen=expected(said.expected_status),
    )  # fmt: skip


def expected(status: StatusName | None, attempt: int | None = None) -> Seen | None:
    return Seen(status, attempt) if status else None


def rerun(principal: Principal, execution_id: UUID, said: NewRerun) -> tuple[UUID, bool]:
    """The id of the new execution, and whether it was added now."""
    payload = None if said.payload is UNSET else bytes(said.payload).decode()
    try:
        outcome = run_again(
            execution_id, new_id=said.id or uuid7(), payload=payload, actor=principal.actor, through=REST,
            reason=said.reason,
        )  # fmt: skip
    except BadPayload as bad:
        raise Invalid(bad.detail) from None
    return outcome.id, outcome.created


# -- many --------------------------------------------------------------------------------------------


def reach(principal: Principal) -> Sight:
    return Sight(principal.patterns) if principal.patterns else EVERYWHERE


def ask(principal: Principal, said: NewBulkAct) -> BulkCount | BulkView:
    if (said.search is None) == (said.ids is None):
        raise Invalid("Give search or ids. An empty search means everything.")
    now = database_now()
    asked = Asked(
        said.verb, said.search or "", tuple(said.ids) if said.ids is not None else None, said.priority,
        reach(principal),
    )  # fmt: skip
    try:
        counted = bulk_acts.count(asked, now)
        if said.dry_run:
            return _count(counted)
        act = _begin(principal, asked, counted, now, said)
    except AskedBefore as other:
        raise Conflicting(other.detail) from None
    except BadAct as bad:
        raise Invalid(bad.detail) from None
    return view(act)


def _begin(principal: Principal, asked: Asked, counted: Count, now: dt.datetime, said: NewBulkAct) -> BulkAct:
    return bulk_acts.ask(
        asked, id=said.id or uuid7(), counted=counted, at=now, actor=principal.actor, through=REST,
        reason=said.reason,
    )  # fmt: skip


def listed(principal: Principal) -> BulkList:
    return BulkList(
        acts=[view(act) for act in bulk_acts.recent(reach(principal), principal.actor, most=MOST_LISTED)]
    )


def one(principal: Principal, id: UUID) -> BulkView:
    return view(_known(principal, id), lefts=True)


def stop(principal: Principal, id: UUID) -> BulkView:
    if not _known(principal, id).is_open:
        raise Conflicting("It has ended already: there is nothing left to stop.")
    return view(bulk_acts.stop(id, actor=principal.actor))


def _known(principal: Principal, id: UUID) -> Any:
    try:
        return bulk_acts.get(id, reach(principal), principal.actor)
    except NotThere:
        raise NotFound(f"There is no bulk act {id}.") from None


def _count(counted: Count) -> BulkCount:
    return BulkCount(executions=counted.number, complete=counted.all, about_seconds=counted.seconds)


def view(act: BulkAct, *, lefts: bool = False) -> BulkView:
    found = act.lefts.order_by("id")[:MOST_LEFTS] if lefts else []
    return BulkView(
        id=act.id, verb=act.verb, search=None if act.of_chosen else act.search, priority=act.priority,
        reason=act.reason, state=act.state, counted=act.counted, counted_all=act.counted_all, changed=act.changed,
        left=act.left, lefts=[Left(execution_id=each.execution_id, why=each.why) for each in found],
        asked_at=act.asked_at, asked_by=act.actor, ended_at=act.ended_at, stopped_by=act.stopped_by,
        stop_reason=act.stop_reason,
    )  # fmt: skip


# -- purging a queue ---------------------------------------------------------------------------------


def purge(principal: Principal, queue: str, said: NewPurge) -> BulkView:
    """Begins soon, in the background."""
    if said.confirm != queue:
        raise Invalid("To purge a queue, repeat its name as `confirm`.")
    try:
        act = bulk_acts.purge(
            queue, scheduled=said.scheduled, id=said.id or uuid7(), at=database_now(), actor=principal.actor,
            through=REST, reason=said.reason, where=reach(principal),
        )  # fmt: skip
    except BadAct as bad:
        raise Conflicting(bad.detail) from None
    return one(principal, act.id)
