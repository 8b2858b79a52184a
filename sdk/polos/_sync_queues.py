"""Calls of a client without `await` that are about queues."""

from __future__ import annotations

import datetime as dt

from ._queue import Limit, Queue
from ._queues import QueueInfo
from ._sync_calls import SyncCaller


class SyncQueueCalls(SyncCaller):
    """See `PolosClient` for what each does, gives and raises."""

    def get_queue(self, queue: Queue | str) -> QueueInfo:
        """Its limit, what runs and what waits."""
        return self._wait(self._client.get_queue(queue))

    def list_queues(self, search: str = "") -> list[QueueInfo]:
        """All queues by name, or those that have `search` in their names."""
        return self._wait(self._client.list_queues(search))

    def set_limit(
        self, queue: Queue | str, limit: Limit, *, reason: str = "", until: dt.datetime | None = None
    ) -> QueueInfo:
        """Another limit than code declares: a number, None for unlimited, 0 so that nothing starts."""
        return self._wait(self._client.set_limit(queue, limit, reason=reason, until=until))

    def clear_limit(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Back to the limit that code declares."""
        return self._wait(self._client.clear_limit(queue, reason=reason))

    def pause_queue(self, queue: Queue | str, *, reason: str = "", until: dt.datetime | None = None) -> QueueInfo:
        """Nothing starts until `until`, or until somebody resumes it."""
        return self._wait(self._client.pause_queue(queue, reason=reason, until=until))

    def resume_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Ends a pause."""
        return self._wait(self._client.resume_queue(queue, reason=reason))

    def drain_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """It takes nothing new, and finishes what is there."""
        return self._wait(self._client.drain_queue(queue, reason=reason))

    def accept_queue(self, queue: Queue | str, *, reason: str = "") -> QueueInfo:
        """Ends a drain: it takes new executions again."""
        return self._wait(self._client.accept_queue(queue, reason=reason))
