"""publish: an event is stored, and wakes every execution that has waited for its topic since before."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Raw

from ..ids import uuid7
from .database import Connection, Database
from .statements import statement

if TYPE_CHECKING:
    from .engine import Engine


@dataclass(frozen=True, slots=True)
class Published:
    id: UUID
    published_at: dt.datetime
    created: bool  # false: it was there already, nothing was added
    woken: int  # executions that waited for it; none for a repeat


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """Another event, with a different topic or payload, has this id. Nothing was added."""

    id: UUID


class Subscriber(Protocol):
    """Whoever does something for events, too: notes it in the transaction of the event, and does it after it."""

    async def note(self, conn: Connection, event_id: UUID, topic: str) -> bool:
        """Whether there is something to do."""

    def deliver_soon(self, database: Database) -> None: ...


subscribers: list[Subscriber] = []


async def publish(
    engine: Engine, *, topic: str, payload: Raw, id: UUID | None, actor: str
) -> Published | OtherEvent:
    """The answer comes after the commit and after the look at who waits: also for a repeat, whose first try may
    have died in between."""
    event_id = id or uuid7()
    values = {"id": event_id, "topic": topic, "payload": bytes(payload).decode(), "by": actor[:200]}
    async with engine.connection() as conn, conn.transaction():
        row = await (await conn.execute(statement("publish_event"), values)).fetchone()
        created = row is not None
        if row is None:
            row = await (await conn.execute(statement("find_event"), values)).fetchone()
        noted = [each for each in subscribers if created and await each.note(conn, event_id, topic)]
    if row is None or not (created or row[1]):
        return OtherEvent(event_id)
    for each in noted:
        each.deliver_soon(engine.database)
    await engine.waits.published(topic)
    return Published(event_id, row[0], created, row[1] if created else 0)
