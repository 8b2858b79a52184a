"""Calls of a client without `await`: its event loop in a thread of its own, and what is about schedules."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from ._caller import PATIENCE
from ._client import PolosClient
from ._schedules import Schedule, ScheduleOptions
from ._workflow import Workflow

T = TypeVar("T")


class SyncCaller:
    """A `PolosClient` in a thread of its own, so that it works where an event loop runs already."""

    def __init__(
        self, api_url: str | None = None, api_key: str | None = None, *, patience: float = PATIENCE
    ) -> None:
        self._client = PolosClient(api_url, api_key, patience=patience)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="polos-client", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._client.settings.api_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections and its thread; a second time it does nothing."""
        if self._loop.is_closed():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _each(self, found: AsyncIterator[T]) -> Iterator[T]:
        while (one := self._wait(_next(found))) is not None:
            yield one

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("This client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: nobody waits for the answer any more
            future.cancel()
            raise


class SyncScheduleCalls(SyncCaller):
    """See `PolosClient` for what each does, gives and raises."""

    def create_schedule(
        self, workflow: Workflow[Any] | str, *, name: str | None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Makes a schedule: `client.create_schedule(report, cron="30 3 * * *", timezone="Europe/Berlin")`."""
        return self._wait(self._client.create_schedule(workflow, name=name, **options))

    def list_schedules(self, *, workflow: Workflow[Any] | str | None = None) -> list[Schedule]:
        """All schedules by name, or those of a workflow."""
        return self._wait(self._client.list_schedules(workflow=workflow))

    def get_schedule(self, name: str) -> Schedule:
        """A schedule with its next ticks and its last ones; NotFound when there is none."""
        return self._wait(self._client.get_schedule(name))

    def change_schedule(
        self, schedule: Schedule | str, *, reason: str = "", **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Changes what is given; the rest stays."""
        return self._wait(self._client.change_schedule(schedule, reason=reason, **options))

    def pause_schedule(self, schedule: Schedule | str, *, reason: str = "") -> Schedule:
        """It does not tick until somebody resumes it."""
        return self._wait(self._client.pause_schedule(schedule, reason=reason))

    def resume_schedule(self, schedule: Schedule | str) -> Schedule:
        """It ticks again, from now on."""
        return self._wait(self._client.resume_schedule(schedule))

    def delete_schedule(self, schedule: Schedule | str) -> None:
        """Deletes it; what it started goes on."""
        return self._wait(self._client.delete_schedule(schedule))


async def _next(found: AsyncIterator[T]) -> T | None:
    return await anext(found, None)
