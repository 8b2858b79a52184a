"""Events that a program publishes and follows: `await events.publish(client, "orders", EventData(data={…}))`.

They have a type here, which workflows see as `event.event_type`. It is kept in the payload, as its `event_type`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._events import Event, read_event, typed_payload, workflow_topic
from ._ids import new_id
from ._schedule import BatchEventPayload, EventPayload

if TYPE_CHECKING:
    from ._client import PolosClient

__all__ = [
    "BatchEventPayload",
    "EventData",
    "EventPayload",
    "batch_publish",
    "publish",
    "stream_topic",
    "stream_workflow",
]

LOOK_SECONDS = 0.5
OVERLAP = dt.timedelta(seconds=10)  # what is committed later than its time says is still found
PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EventData:
    """What is published: data, and if wanted its type."""

    data: Any = None
    event_type: str | None = None


async def publish(client: PolosClient, topic: str, event_data: EventData) -> int:
    """Publishes an event under a topic; gives back its `sequence_id`."""
    event = await client.publish_event(topic, typed_payload(event_data.data, event_data.event_type))
    return event.sequence_id


async def batch_publish(client: PolosClient, topic: str, events: Iterable[EventData]) -> list[int]:
    """Publishes several events, one after the other; their `sequence_id`s."""
    return [await publish(client, topic, each) for each in events]


async def stream_topic(
    client: PolosClient, topic: str, *, last_timestamp: dt.datetime | None = None
) -> AsyncIterator[Event[Any]]:
    """The events of a topic as they come, without end; with `last_timestamp`, those since then first.

    Looks twice a second: for what is to be quick, `wait_for_event` of a workflow is told at once.
    """
    seen: dict[str, dt.datetime] = {}
    if last_timestamp is None:
        seen = {each.id: each.published_at for each in await _page(client, topic, 1)}
    since = last_timestamp or max(seen.values(), default=dt.datetime.min.replace(tzinfo=dt.UTC))
    while True:
        for event in await _newer(client, topic, since, seen):
            seen[event.id] = event.published_at
            yield event
        since = max([since, *(at - OVERLAP for at in seen.values())])
        seen = {id: at for id, at in seen.items() if at >= since}
        await asyncio.sleep(LOOK_SECONDS)


async def stream_workflow(
    client: PolosClient, workflow_id: str | None, workflow_run_id: str
) -> AsyncIterator[Event[Any]]:
    """What one execution tells: `suspend_KEY` when it asks somebody (the data is what it shows), what it publishes
    with `ctx.step.publish_workflow_event`, and `workflow_finish` at the end.

    `client.stream(execution_id)` tells more, and sooner.
    """
    topic, told = workflow_topic(workflow_run_id), set[tuple[str, Any]]()
    began = dt.datetime.min.replace(tzinfo=dt.UTC)
    seen: dict[str, dt.datetime] = {}
    while True:
        execution = await client.get_execution(workflow_run_id)
        for event in await _newer(client, topic, began, seen):
            seen[event.id] = event.published_at
            yield event
        for wait in execution.waits:
            if wait.kind == "resume" and (wait.key, wait.since) not in told:
                told.add((wait.key, wait.since))
                yield _told(topic, f"suspend_{wait.key}", wait.note, wait.since)
        if execution.is_final:
            ended = {"status": execution.status, "result": execution.result}
            yield _told(topic, "workflow_finish", ended, execution.finished_at)
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _newer(
    client: PolosClient, topic: str, since: dt.datetime, seen: dict[str, dt.datetime]
) -> list[Event[Any]]:
    """Those that are not seen yet, the oldest first."""
    found = [each for each in await _page(client, topic, PAGE, since) if each.id not in seen]
    return found[::-1]


async def _page(client: PolosClient, topic: str, most: int, since: dt.datetime | None = None) -> list[Event[Any]]:
    """The newest `most`; with `since`, all that came since then. The newest first."""
    found: list[Event[Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        path = f"/events?topic={quote(topic, safe='')}&limit={most}&cursor={quote(cursor, safe='')}"
        page = await client.http.call("GET", path, lane="client")
        events = [read_event(each, each["payload"]) for each in page["events"]]
        found += [each for each in events if since is None or each.published_at >= since]
        cursor = page["next_cursor"]
        if since is None or len(found) < len(events) or (events and events[-1].published_at < since):
            break
    return found


def _told(topic: str, kind: str, data: Any, at: dt.datetime | None) -> Event[Any]:
    payload = typed_payload(data, kind) if isinstance(data, dict) else {"data": data, "event_type": kind}
    return Event(id=new_id(), topic=topic, payload=payload, published_at=at or dt.datetime.now(dt.UTC))
