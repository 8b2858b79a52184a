"""Queues as a client sees and tunes them: limit, pause, drain. What code declares is said with `queue`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ._caller import Caller
from ._errors import DefinitionError
from ._execution import read_time
from ._json import encode
from ._listing import pages
from ._names import check_limit, check_name
from ._queue import Limit, Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """A queue as it was when the server answered. A limit of None is unlimited, at 0 nothing starts."""

    name: str
    limit: int | None  # what counts: the override where there is one, else the declared one
    declared_limit: int | None  # what code says
    overridden: bool  # somebody set another limit
    override_reason: str
    override_by: str
    override_until: dt.datetime | None  # then the declared one counts again
    paused: bool  # nothing starts
    paused_reason: str
    paused_by: str
    paused_until: dt.datetime | None
    draining: bool  # nothing new is taken; what is there is finished
    draining_reason: str
    draining_by: str
    running: int
    cancelling: int  # asked to stop; they still hold their slots
    waiting: int  # in line
    scheduled: int  # for later
    oldest_wait_seconds: float | None
    state: str
    version: int
    workflows: tuple[str, ...]


class QueueCalls(Caller):
    """The part of a client that is about queues. They are named, or given as a `Queue`.

    Every call answers with the queue as it is then; NotFound where there is none. Reasons are shown to all who
    look at the queue, and kept in its trail.
    """

    async def get_queue(self, queue: Queue | str) -> QueueInfo:
        """Its limit, what runs and what waits."""
        return read_queue(await self._call("GET", _path("queues", queue)))

    async def list_queues(self, search: str = "") -> list[QueueInfo]:
        """All queues by name, or those that have `search` in their names."""
        query = {"search": search} if search else {}
        return [read_queue(each) async for page in pages(self, "queues", query) for each in page]

    async def set_limit(
        self, queue: Queue | str, limit: Limit, *, reason: str = "", until: dt.datetime | None = None
    ) -> QueueInfo:
        """Another limit than code declares, at once, also after restarts and deployments: a number, None for
        unlimited, 0 so that nothing starts. What runs is never stopped. It ends at `until` or by `clear_limit`."""
        check_limit(limit, what=f"queue {_name(queue)}", place="set_limit")
        body = {"limit": limit, "reason": reason, "until": _time(until)}
        return await self._put_on("limits", queue, body)

    async def clear_limit(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Back to the limit that code declares."""
        return await self._take_off("limits", queue, reason)

    async def pause_queue(
        self, queue: Queue | str, *, reason: str = "", until: dt.datetime | None = None
    ) -> QueueInfo:
        """Nothing starts until `until`, or until somebody resumes it. What runs goes on, what is new waits."""
        return await self._put_on("pauses", queue, {"reason": reason, "until": _time(until)})

    async def resume_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Ends a pause. A queue that is not paused stays as it is."""
        return await self._take_off("pauses", queue, reason)

    async def drain_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """It takes nothing new (QueueDraining for who starts something there) and finishes what is there."""
        return await self._put_on("drains", queue, {"reason": reason})

    async def accept_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Ends a drain: it takes new executions again. A queue that does not drain stays as it is."""
        return await self._take_off("drains", queue, reason)

    async def _put_on(self, kind: str, queue: Queue | str, body: dict[str, Any]) -> QueueInfo:
        return read_queue(await self._call("PUT", _path(kind, queue), encode(body, "The request")))

    async def _take_off(self, kind: str, queue: Queue | str, reason: str) -> QueueInfo:
        query = f"?{urlencode({'reason': reason})}" if reason else ""
        return read_queue(await self._call("DELETE", _path(kind, queue) + query))


def read_queue(data: Mapping[str, Any]) -> QueueInfo:
    """The server's JSON; fields that this version does not know are left out."""
    names = (
        "name", "declared_limit", "running", "cancelling", "waiting", "scheduled", "oldest_wait_seconds", "state",
        "version",
    )  # fmt: skip
    override, pause, drain = (data[each] or {} for each in ("override", "paused", "draining"))
    return QueueInfo(
        **{name: data[name] for name in names},
        limit=data["effective_limit"],
        workflows=tuple(data["workflows"]),
        overridden=bool(override),
        override_reason=override.get("reason", ""),
        override_by=override.get("by", ""),
        override_until=read_time(override.get("until")),
        paused=bool(pause),
        paused_reason=pause.get("reason", ""),
        paused_by=pause.get("by", ""),
        paused_until=read_time(pause.get("until")),
        draining=bool(drain),
        draining_reason=drain.get("reason", ""),
        draining_by=drain.get("by", ""),
    )


def _path(kind: str, queue: Queue | str) -> str:
    return f"/{kind}/{quote(_name(queue))}"


def _name(queue: Queue | str) -> str:
    return queue.name if isinstance(queue, Queue) else check_name(queue, what="queue", place="queue")


def _time(value: dt.datetime | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise DefinitionError(f"until is a datetime with a time zone, not {value!r}")
    return value.isoformat()
