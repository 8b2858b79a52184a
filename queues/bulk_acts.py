"""One act on many executions: asked for once, done in the background, a batch at a time.

Each batch is a transaction: it locks the act's row, looks for the next executions by the search that was asked
(newest first, keyset through the ids), does to each what a person would do to one, by the same verb, and moves
`below`. A server that is killed leaves a whole batch undone, and another one goes on from there.

Locks: the act's row, passing over those that are worked on → execution rows by id.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.models import F

from . import askers, words
from .access import EVERYWHERE, Action, Sight, covers
from .engine import operate
from .engine.database import Database
from .engine.errors import ExecutionNotFound, NotPossible
from .limits import SERVER_ACTOR, clean, database_now
from .models import BulkAct, BulkLeft, Change, Deduplication, Execution, Queue, Status
from .search import line as lines
from .search.finding import find

log = logging.getLogger(__name__)

Verb, State = BulkAct.Verb, BulkAct.State

BATCH, BATCH_SECONDS = 200, 0.3  # executions of one transaction; looking for them
COUNT_SECONDS, COUNT_AT_ONCE = 2.0, 100_000
IDLE = 1.0  # seconds between two looks for a new act
MOST_CHOSEN = 10_000  # ids in one act
MOST_LEFTS = 1_000  # that are listed
MOST_LINES = 20  # queues that have a line of their own in the trail
PER_SECOND = 2_000  # for a guess of how long it takes; 3,000 were measured on two idle cores
KEPT, PRUNE_SECONDS = dt.timedelta(days=90), 3_600.0

PROGRESS = (
    "state", "began_at", "worked_at", "ended_at", "below", "back_to", "changed", "left", "by_queue", "stopped_by",
    "stop_reason",
)  # fmt: skip
OTHER = {"search": "search line", "chosen": "selection", "actor": "person or key"}
NEEDED = {
    Verb.CANCEL: Action.CANCEL,
    Verb.RETRY: Action.RETRY,
    Verb.PRIORITY: Action.PRIORITY,
    Verb.PURGE: Action.PURGE,
}

# To which status a verb can be done at all.
FITTING: dict[str, tuple[Status, ...]] = {
    Verb.CANCEL: (Status.SCHEDULED, Status.QUEUED, Status.WAITING, Status.RUNNING),
    Verb.RETRY: (Status.FAILED, Status.CANCELLED),
    Verb.PRIORITY: (Status.SCHEDULED, Status.QUEUED),
    Verb.PURGE: (Status.SCHEDULED, Status.QUEUED),
}
KINDS = {
    Verb.CANCEL: Change.Kind.CANCEL,
    Verb.RETRY: Change.Kind.RETRY,
    Verb.PRIORITY: Change.Kind.PRIORITY,
    Verb.PURGE: Change.Kind.PURGE,
}


_prune_from = 0.0  # monotonic time


class BadAct(ValueError):
    """Why it cannot be asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class AskedBefore(BadAct):
    """The id belongs to an act that was asked with something else."""


class NotThere(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done, to all that `search` finds, or to those `chosen`."""

    verb: str
    search: str = ""
    chosen: tuple[UUID, ...] | None = None
    priority: int | None = None
    where: Sight = EVERYWHERE

    @property
    def patterns(self) -> list[str] | None:
        return None if self.where.patterns is None else list(self.where.patterns)


@dataclass(frozen=True, slots=True)
class Count:
    """How many executions; `all` False: at least so many, counting took too long."""

    number: int
    all: bool

    def __str__(self) -> str:
        return f"{'' if self.all else 'at least '}{words.counted(self.number, 'execution')}"

    @property
    def seconds(self) -> float:
        return self.number / PER_SECOND


# -- asking ------------------------------------------------------------------------------------------


def count(asked: Asked, at: dt.datetime, *, seconds: float = COUNT_SECONDS) -> Count:
    """Raises `BadAct`. Looks for about `seconds`."""
    _check(asked)
    search = lines.parse(asked.search, at).only(FITTING[asked.verb])
    if search is None:
        return Count(0, True)
    within, end = asked.where.queue_ids(), time.monotonic() + seconds
    number, below = 0, None
    while True:
        left = max(0.05, end - time.monotonic())
        found = find(
            search, most=COUNT_AT_ONCE, few=COUNT_AT_ONCE, seconds=left, below=below, within=within,
            among=asked.chosen, as_of=at,
        )  # fmt: skip
        number, below = number + len(found.ids), found.next
        if below is None or time.monotonic() >= end:
            return Count(number, below is None)


def ask(
    asked: Asked,
    *,
    id: UUID,
    counted: Count,
    at: dt.datetime,
    actor: str,
    through: Change.Through,
    reason: str = "",
) -> BulkAct:
    """Begins soon, on any server. The same `id` again is the same act. Raises `BadAct`, `AskedBefore`."""
    _check(asked)
    said = {
        "verb": asked.verb, "priority": asked.priority, "search": asked.search, "actor": clean(actor, 150),
        "chosen": sorted(asked.chosen, reverse=True) if asked.chosen is not None else None,
        "reason": clean(reason, 500),
    }  # fmt: skip
    act, _ = BulkAct.objects.get_or_create(
        id=id,
        defaults={
            "patterns": asked.patterns, "of_chosen": asked.chosen is not None, "counted": counted.number,
            "counted_all": counted.all, "asked_at": min(at, database_now()), "through": through, **said,
        },
    )  # fmt: skip
    other = [OTHER.get(name, name) for name, value in said.items() if getattr(act, name) != value]
    if other:
        raise AskedBefore(f"This id was used before, with another {' and '.join(other)}. Nothing new was begun.")
    return act


def purge(
    queue: str,
    *,
    scheduled: bool,
    id: UUID,
    at: dt.datetime,
    actor: str,
    through: Change.Through,
    reason: str,
    where: Sight = EVERYWHERE,
) -> BulkAct:
    """Cancels all that waits on a queue, also what is scheduled for later if said so; nothing that runs or gave
    its slot back to wait. What is enqueued after `at` stays."""
    asked = Asked(Verb.PURGE, purged(queue, scheduled), where=where)
    return ask(asked, id=id, counted=count(asked, at), at=at, actor=actor, through=through, reason=reason)


def purged(queue: str, scheduled: bool) -> str:
    """As a search line."""
    return f"queue:{lines.quoted(queue)} status:{'queued,scheduled' if scheduled else 'queued'}"


def stop(id: UUID, *, actor: str) -> BulkAct:
    """What was done stays done. After a batch that is under way. Raises `NotThere`."""
    with transaction.atomic():
        act = BulkAct.objects.select_for_update().filter(id=id).first()
        if act is None:
            raise NotThere
        if act.is_open:
            act.stopped_by = clean(actor, 150)
            _end(act, State.STOPPED)
            act.save(update_fields=["state", "ended_at", "stopped_by"])
    return act


def _check(asked: Asked) -> None:
    if asked.verb not in Verb.values:
        raise BadAct(f"There is no act “{asked.verb}”: {', '.join(Verb.values)}.")
    if (asked.verb == Verb.PRIORITY) != (asked.priority is not None):
        raise BadAct("A change of priority needs a priority, and nothing else does.")
    if asked.priority is not None and abs(asked.priority) > operate.MOST_PRIORITY:
        raise BadAct(
            f"A priority is a number of seconds from -{operate.MOST_PRIORITY:,} to {operate.MOST_PRIORITY:,}."
        )
    if asked.chosen is not None and not 0 < len(asked.chosen) <= MOST_CHOSEN:
        raise BadAct(f"One act is about 1 to {MOST_CHOSEN:,} chosen executions, or about a search.")
    try:
        lines.parse(asked.search, database_now())
    except lines.BadSearch as bad:
        raise BadAct(str(bad)) from None


# -- doing -------------------------------------------------------------------------------------------


async def work_on_bulk_acts(database: Database) -> float:
    """A duty of every server. Returns the seconds until it should be asked again."""
    return await sync_to_async(_work)()


def _work() -> float:
    close_old_connections()
    try:
        began = time.monotonic()
        worked = work()
        if not worked:
            _prune(began)
        # Two thirds of the time at most: a bulk act is never why others wait.
        return (time.monotonic() - began) / 2 if worked else IDLE
    except OperationalError as error:  # an outage: nothing happened
        log.warning("bulk acts wait for the database: %s", _first_line(error))
        return IDLE
    finally:
        close_old_connections()


def work() -> bool:
    """One batch of the act that was not worked on for longest. False: there is none."""
    with transaction.atomic():
        act = (
            BulkAct.objects.select_for_update(skip_locked=True)
            .filter(state__in=(State.WAITING, State.RUNNING))
            .order_by(F("worked_at").asc(nulls_first=True))
            .first()
        )
        if act is None:
            return False
        now = database_now()
        act.state, act.began_at, act.worked_at = State.RUNNING, act.began_at or now, now
        if _worked(act):
            act.save(update_fields=PROGRESS)
        else:
            BulkAct.objects.filter(id=act.id).update(worked_at=now)
    return True


def _worked(act: BulkAct) -> bool:
    """Whether the batch is done. One that fails is undone, and its act goes behind the others."""
    try:
        with transaction.atomic():
            _batch(act)
    except OperationalError as error:
        if connection.needs_rollback or connection.closed_in_transaction:  # an outage
            raise
        # Somebody holds one of them for long, or a deadlock.
        log.warning("a batch of a bulk act is done later, after those of others: %s", _first_line(error))
        return False
    except Exception:
        log.exception("a batch of a bulk act failed; others go first, then it is tried again")
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _batch(act: BulkAct) -> None:
    search = lines.parse(act.search, act.asked_at).only(FITTING[act.verb])
    if search is None:
        _end(act, State.DONE)
        return
    if why := _not_allowed(act, search):
        act.stopped_by, act.stop_reason = SERVER_ACTOR, why[:300]
        _end(act, State.STOPPED)
        return
    within = Sight(None if act.patterns is None else tuple(act.patterns)).queue_ids()
    found = find(
        search, most=BATCH, seconds=BATCH_SECONDS, below=act.below, within=within, among=act.chosen,
        as_of=act.asked_at,
    )  # fmt: skip
    _act(act, found.ids)
    act.below = found.next
    act.back_to = found.back_to or act.back_to
    if found.next is None:
        _end(act, State.DONE)


def _not_allowed(act: BulkAct, search: lines.Search) -> str:
    """In a sentence, when whoever asked may not do it any more on a queue that the act is about."""
    now = askers.reach(act.actor, act.through, NEEDED[Verb(act.verb)])
    if now.everywhere:
        return ""
    then = Sight(None if act.patterns is None else tuple(act.patterns))
    lost = [name for name in _touched(act, search) if then.covers(name) and not now.covers(name)]
    if not lost:
        return ""
    some = "" if now.nowhere else f" on {lost[0]}" + (f" and {len(lost) - 1:,} more" if len(lost) > 1 else "")
    return f"{act.actor} may not {NEEDED[Verb(act.verb)]}{some} any more"


def _touched(act: BulkAct, search: lines.Search) -> list[str]:
    """The names of the queues that it is about: those of the chosen executions, or that the search may mean."""
    queues = Queue.objects.order_by("name")
    if act.chosen is not None:
        queues = queues.filter(id__in=Execution.objects.filter(id__in=act.chosen).values("queue_id"))
    names = queues.values_list("name", flat=True)
    return [name for name in names if not search.queues or covers(search.queues, name)]


def _act(act: BulkAct, ids: Sequence[UUID]) -> None:
    by_queue: Counter[str] = Counter(act.by_queue)
    whys: dict[UUID, str] = {}
    wakes = set()
    for row in _locked(act, ids, whys):
        try:
            wakes.add(_one(act, row).wake)
            by_queue[str(row.queue_id)] += 1
        except NotPossible as no:
            whys[row.id] = no.detail
    operate.tell(wakes)
    lefts = [BulkLeft(act=act, execution_id=id, why=why[:300]) for id, why in sorted(whys.items())]
    BulkLeft.objects.bulk_create(lefts[: max(0, MOST_LEFTS - act.left)])
    act.changed += len(ids) - len(lefts)
    act.left += len(lefts)
    act.by_queue = dict(by_queue)


def _locked(act: BulkAct, ids: Sequence[UUID], whys: dict[UUID, str]) -> list[operate.Locked]:
    """Each of them, locked; in `whys` goes why one is not. All keys come before all executions, and those by id:
    results are handed in meanwhile, and lock in that order."""
    if act.verb == Verb.RETRY:
        whys |= _take_keys_back(ids)
    rows = operate.lock_all(set(ids).difference(whys))
    whys |= {id: str(ExecutionNotFound(id)) for id in set(ids).difference(whys, (row.id for row in rows))}
    return rows


def _take_keys_back(ids: Sequence[UUID]) -> dict[UUID, str]:
    """In the order in which enqueues lock keys. Of those that cannot have their deduplication key again: why."""
    keyed = Deduplication.objects.filter(execution_id__in=ids).order_by(
        "queue_id", "workflow", "key", "execution_id"
    )
    whys: dict[UUID, str] = {}
    taken: dict[tuple[int, str, str], UUID] = {}
    for id, queue_id, workflow, key in keyed.values_list("execution_id", "queue_id", "workflow", "key"):
        try:
            if holder := taken.get((queue_id, workflow, key)):  # of two with the same key one is retried
                raise operate.one_at_a_time(key, holder=holder, status="queued")
            operate.take_key_back(id)
            taken[queue_id, workflow, key] = id
        except NotPossible as no:
            whys[id] = no.detail
    return whys


def _one(act: BulkAct, row: operate.Locked) -> operate.Done:
    if act.verb == Verb.PURGE and row.status not in FITTING[Verb.PURGE]:
        raise NotPossible(f"It is {row.status} by now; a purge takes only what waits.")
    if act.verb in (Verb.CANCEL, Verb.PURGE):
        return operate.cancel(row, by=operate.signed(act.actor, Change.Through(act.through)))
    if act.verb == Verb.RETRY:
        return operate.retry(row)
    return operate.prioritise(row, act.priority or 0)


def _end(act: BulkAct, state: BulkAct.State) -> None:
    """With a line in the trail of each queue on which something changed; one for all when they are many."""
    act.state, act.ended_at = state, database_now()
    if len(act.by_queue) > MOST_LINES:
        queues = words.counted(len(act.by_queue), "queue")
        made = [_line(act, None, f"{words.counted(act.changed, 'execution')} on {queues}")]
    else:
        made = [_line(act, int(id), words.counted(n, "execution")) for id, n in act.by_queue.items()]
    Change.objects.bulk_create(made)


def _line(act: BulkAct, queue_id: int | None, after: str) -> Change:
    which = "" if act.of_chosen else f"all that match {act.search or 'everything'}"
    return Change(
        queue_id=queue_id, at=act.ended_at or database_now(), kind=KINDS[Verb(act.verb)], subject=str(act.id),
        before="", after=after[:40], actor=act.actor, through=act.through, reason=act.reason or which[:500],
    )  # fmt: skip


# -- reading -----------------------------------------------------------------------------------------


def recent(where: Sight, actor: str, *, most: int = 50) -> list[BulkAct]:
    """The newest. Who does not see every queue sees their own acts only."""
    found = BulkAct.objects.defer("chosen")
    return list((found if where.everywhere else found.filter(actor=actor))[:most])


def get(id: UUID, where: Sight, actor: str) -> BulkAct:
    """Raises `NotThere`."""
    act = BulkAct.objects.defer("chosen").filter(id=id).first()
    if act is None or not (where.everywhere or act.actor == actor):
        raise NotThere
    return act


def share(act: BulkAct) -> float | None:
    """How much of it is done, 0 to 1; None when nobody knows."""
    if not act.is_open:
        return 1.0
    if not act.counted_all or not act.counted:
        return None
    return min(1.0, (act.changed + act.left) / act.counted)


def _prune(now: float) -> None:
    global _prune_from
    if now >= _prune_from:
        _prune_from = now + PRUNE_SECONDS
        BulkAct.objects.filter(ended_at__lt=database_now() - KEPT).delete()
