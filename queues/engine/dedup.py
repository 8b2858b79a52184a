"""Deduplication: of the executions of a workflow on a queue with the same key, one at a time.

Who has a key is a row of `queues_deduplication`; a request with the key locks that row first, so that of several
at once, on any server, one after the other decides. One whose execution is final has the key in name only.

    policy       the one that has the key                what becomes of the request
    skip         is not final                            nothing: the one that is there is its answer
    replace      has not started                         the one that is there gets its payload
                 has started                             nothing
    cancel_old   has not started                         is added; the old one is cancelled
                 has started                             is added; starts when the old one has stopped
    debounce     has not started                         as replace, and the start is pushed back
                 has started                             is added, to start after a while
    any          is final, or there is none              is added
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from ..models import FINAL, Status
from ..requests import Deduplication, NewExecution
from .arrays import numbers, texts, uuids
from .database import Connection, Row
from .statements import statement

Act = Literal["add", "keep", "replace", "cancel"]
KeyOf = tuple[int, str, str]  # queue, workflow, key


STARTED = "The execution with this deduplication key has started already; it goes on with the payload that it has."


class Holder(NamedTuple):
    """An execution that has a key: a row of `key_holders`."""

    id: UUID
    status: str
    started: bool
    enqueued_at: dt.datetime
    parent_id: UUID | None
    after: UUID | None  # which it waits for, to stop


class Keyed(NamedTuple):
    """A request with a key."""

    id: UUID
    queue_id: int
    request: NewExecution
    asked: Deduplication

    @property
    def key(self) -> KeyOf:
        return self.queue_id, self.request.workflow_id, self.asked.key


class Decision(NamedTuple):
    act: Act
    had: UUID  # who had the key: the request itself, when nobody did
    holder: Holder | None
    note: str = ""


@dataclasses.dataclass(slots=True)
class Settled:
    ended: list[Row]  # execution, queue, status, parent
    following: set[UUID]  # added, and waiting for another one to stop


def decide(policy: str, holder: Holder | None) -> Act:
    """What becomes of a request when `holder` has its key."""
    if holder is None or holder.status in FINAL:
        return "add"
    if policy == "cancel_old":
        return "cancel"
    if policy in ("replace", "debounce") and not holder.started:
        return "replace"
    return "add" if policy == "debounce" else "keep"


def rounds(items: Mapping[int, Keyed]) -> list[list[int]]:
    """The numbers of those that are dealt with together: of each key one, in their order."""
    found: list[list[int]] = []
    seen: dict[KeyOf, int] = {}
    for n, item in items.items():
        turn = seen.get(item.key, 0)
        seen[item.key] = turn + 1
        if turn == len(found):
            found.append([])
        found[turn].append(n)
    return found


def to_be_added(item: Keyed) -> NewExecution:
    """A debounced one starts when it has been quiet for so long."""
    delay = item.asked.seconds if item.asked.policy == "debounce" else item.request.delay
    return msgspec.structs.replace(item.request, delay=delay)


async def take(conn: Connection, items: Sequence[Keyed]) -> list[Decision]:
    """Takes the keys of these, which are all different, and decides. In a transaction that `settle` follows in."""
    cursor = await conn.execute(statement("take_keys"), _keys(items))
    having = {(row[0], row[1], row[2]): row[3] for row in await cursor.fetchall()}
    changing = [having[item.key] for item in items if item.asked.policy != "skip"]
    if changing:
        await conn.execute(statement("lock_unfinished"), {"ids": uuids(changing)})
    cursor = await conn.execute(statement("key_holders"), {"ids": uuids(having.values())})
    holders = {row[0]: Holder(*row) for row in await cursor.fetchall()}
    return [_decision(item, having[item.key], holders.get(having[item.key])) for item in items]


def _decision(item: Keyed, had: UUID, holder: Holder | None) -> Decision:
    # Its own execution is there by now: the same request went through another server at the same time.
    if holder is not None and holder.id == item.id:
        return Decision("keep", had, holder)
    act = decide(item.asked.policy, holder)
    late = act == "keep" and item.asked.policy == "replace"
    return Decision(act, had, holder, STARTED if late else "")


async def settle(
    conn: Connection, items: Sequence[Keyed], decisions: Sequence[Decision], *, added: Collection[UUID], by: str
) -> Settled:
    """After those were added that could be: the keys change hands, old ones stop, payloads are replaced."""
    settled = Settled([], set())
    pairs = list(zip(items, decisions, strict=True))
    await _pass_on(conn, [(item, decision.had) for item, decision in pairs if item.id in added])
    for item, decision in pairs:
        if decision.act == "replace" and decision.holder is not None:
            await _replace(conn, item, decision.holder)
        elif decision.act == "cancel" and decision.holder is not None and item.id in added:
            await _cancel(conn, item, decision.holder, by, settled)
        elif decision.holder is not None and decision.holder.after is not None and item.id in added:
            # Whoever had the key was cancelled while it waited for an older one to stop, which still has not.
            await _follow(conn, item, decision.holder.after, settled)
    missing = [item.id for item, decision in pairs if decision.had == item.id and item.id not in added]
    if missing:  # children whose parent is gone
        await conn.execute(statement("drop_keys"), {"ids": uuids(missing)})
    return settled


async def _pass_on(conn: Connection, pairs: Sequence[tuple[Keyed, UUID]]) -> None:
    late = [(item, had) for item, had in pairs if had != item.id]
    if late:
        await conn.execute(statement("hand_over_keys"), {"ids": uuids(had for _, had in late)})
        await conn.execute(statement("take_keys"), _keys([item for item, _ in late]))


def _keys(items: Sequence[Keyed]) -> dict[str, str]:
    return {
        "ids": uuids(item.id for item in items),
        "queues": numbers(item.queue_id for item in items),
        "workflows": texts(item.request.workflow_id for item in items),
        "keys": texts(item.asked.key for item in items),
    }


async def _replace(conn: Connection, item: Keyed, holder: Holder) -> None:
    pushes = item.asked.policy == "debounce"
    values = {
        "id": holder.id,
        "payload": bytes(item.request.payload).decode(),
        "quiet": item.asked.seconds if pushes else None,
        "longest": item.asked.longest if pushes else None,
    }
    await conn.execute(statement("replace_payload"), values)


async def _cancel(conn: Connection, item: Keyed, old: Holder, by: str, settled: Settled) -> None:
    words = f"a newer one with the key {item.asked.key} ({by})"[:200]
    row = await (await conn.execute(statement("cancel"), {"id": old.id, "by": words})).fetchone()
    stopping = row is None or row[0] == Status.CANCELLING  # none: it was asked to stop before
    if row is not None:
        await conn.execute(statement("tell"), {"payload": row[1]})
        if not stopping:
            settled.ended.append((old.id, item.queue_id, row[0], old.parent_id))
    if (after := old.id if stopping else old.after) is not None:
        await _follow(conn, item, after, settled)


async def _follow(conn: Connection, item: Keyed, after: UUID, settled: Settled) -> None:
    await conn.execute(statement("follow"), {"id": item.id, "after": after})
    settled.following.add(item.id)
