"""What executions wait for: results of others, events, answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from uuid import UUID

import msgspec
from django.db import connection
from msgspec import Raw

from queues.engine import events, get_engine
from queues.engine.arrays import uuids
from queues.engine.statements import statement
from queues.keys import Principal
from queues.names import name_problem
from queues.problems import Conflicting, Invalid
from queues.rawjson import MAX_PAYLOAD_BYTES
from queues.requests import Answer, NewEvent, WantedResults

from .checks import decoded, raw_problem, topic_problem
from .handlers import Reply
from .replies import EventPage, EventView, PublishedView, Results, ResultView

MAX_BYTES = 8 * 1024 * 1024  # of results or payloads in one answer

_encode = msgspec.json.Encoder().encode
_wanted_results = msgspec.json.Decoder(WantedResults)
_new_event = msgspec.json.Decoder(NewEvent)
_answer = msgspec.json.Decoder(Answer)


async def results(principal: Principal, body: bytes) -> Reply:
    """What became of executions that are final: for whoever has waited for them."""
    ids = decoded(_wanted_results, body).ids
    values = {"ids": uuids(dict.fromkeys(ids)), "bytes": MAX_BYTES}
    async with get_engine().connection() as conn:
        cursor = await conn.execute(statement("final_results", "workflows"), values)
        rows = [row for row in await cursor.fetchall() if principal.reaches(row[1])]
    found = [
        ResultView(id=row[0], status=row[2], result=Raw(row[3].encode()), error=Raw(row[4].encode()))
        for row in rows
        if row[3] is not None
    ]
    return 200, _encode(Results(executions=found, left=[row[0] for row in rows if row[3] is None]))


def decoded_answer(body: bytes) -> Answer:
    item = decoded(_answer, body)
    if problem := raw_problem(item.data, "The data", MAX_PAYLOAD_BYTES):
        raise problem
    return item


# -- events ------------------------------------------------------------------------------------------


async def publish(principal: Principal, body: bytes) -> Reply:
    """A key that is narrowed to some names is so for topics, too."""
    item = decoded(_new_event, body)
    if problem := topic_problem(item.topic, principal.reaches):
        raise Invalid(problem[0].upper() + problem[1:])
    if wrong := raw_problem(item.payload, "The payload", MAX_PAYLOAD_BYTES):
        raise wrong
    event = await events.publish(
        get_engine(), topic=item.topic, payload=item.payload, id=item.id, actor=principal.actor
    )
    if isinstance(event, events.OtherEvent):
        raise Conflicting("Another event, with a different topic or payload, has this id.", id=event.id)
    view = PublishedView(id=event.id, topic=item.topic, published_at=event.published_at, woken=event.woken)
    return (201 if event.created else 200), _encode(view)


def event_page(principal: Principal, *, topic: str | None, limit: int, cursor: str) -> EventPage:
    """Newest first, on Django's connection. It ends early when its payloads grow over 8 MiB."""
    at, id = _event_place(cursor) if cursor else (None, None)
    if topic is not None and name_problem(topic):
        return EventPage(events=[], next_cursor=None)
    values = {
        "topic": topic, "topics": _likes(principal.patterns), "at": at, "id": id, "most": limit,
        "bytes": MAX_BYTES,
    }  # fmt: skip
    with connection.cursor() as db:
        db.execute(statement("list_events", "workflows"), values)
        rows = db.fetchall()
    views = [
        EventView(id=id, topic=topic, payload=Raw(payload.encode()), published_at=at, published_by=by)
        for id, topic, payload, at, by, _ in rows
    ]
    more = bool(rows) and rows[0][-1] > len(rows)
    last = f"{views[-1].published_at.timestamp():.6f}_{views[-1].id}" if more else None
    return EventPage(events=views, next_cursor=last)


def _event_place(cursor: str) -> tuple[dt.datetime, UUID]:
    at, _, id = cursor.partition("_")
    try:
        return dt.datetime.fromtimestamp(float(at), dt.UTC), UUID(id)
    except (ValueError, OverflowError, OSError):
        raise Invalid("cursor is what the page before said under next_cursor.") from None


def _likes(patterns: Iterable[str]) -> list[str] | None:
    """Patterns of names as those of LIKE; None for all names."""
    escaped = [pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") for pattern in patterns]
    return [pattern.replace("*", "%") for pattern in escaped] or None
