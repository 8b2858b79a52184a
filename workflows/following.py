"""Who follows executions as they run: one look at all that are followed, instead of one for each follower."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections import defaultdict
from typing import NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from queues.engine import Engine, EngineUnavailable
from queues.engine.arrays import uuids
from queues.engine.statements import statement

SOON, CALM = 0.1, 0.5  # seconds between looks: when something was committed here, when nothing was

log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """What is different when there is news of an execution."""

    status: str
    attempt: int
    lines: int
    progress_at: dt.datetime | None


class Followers:
    """Of one engine. It looks only while somebody follows; commits of other servers are found within `CALM`."""

    def __init__(self) -> None:
        self._waiting: defaultdict[UUID, set[_Follower]] = defaultdict(set)
        self._soon = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def look_soon(self, _: object = None) -> None:
        if self._waiting:
            self._soon.set()

    async def wait(self, engine: Engine, id: UUID, mark: Mark, seconds: float) -> None:
        """Returns when the execution is not as `mark` says, or the time is over, or the server drains."""
        follower = _Follower(mark)
        self._waiting[id].add(follower)
        self._soon.set()  # it may have changed since the caller looked
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_again_and_again(engine))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await follower.news.wait()
        finally:
            self._waiting[id].discard(follower)
            if not self._waiting[id]:
                del self._waiting[id]

    async def _look_again_and_again(self, engine: Engine) -> None:
        # Only while somebody follows: commits must not cost anything otherwise.
        engine.listeners.append(self.look_soon)
        try:
            while self._waiting:
                self._soon.clear()
                if engine.draining:
                    self._tell_all()
                else:
                    await self._look(engine)
                await asyncio.sleep(SOON)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CALM - SOON):
                        await self._soon.wait()
        finally:
            engine.listeners.remove(self.look_soon)

    async def _look(self, engine: Engine) -> None:
        try:
            async with engine.connection() as conn:
                values = {"ids": uuids(self._waiting)}
                rows = await (await conn.execute(statement("watched_states", "workflows"), values)).fetchall()
        except EngineUnavailable as error:
            log.info("those who follow executions get nothing new: %s", error.detail)
            self._tell_all()  # they look themselves, and are told that it is away
            return
        for id, *mark in rows:
            for follower in self._waiting.get(id, ()):
                if follower.mark != Mark(*mark):
                    follower.news.set()

    def _tell_all(self) -> None:
        for followers in self._waiting.values():
            for follower in followers:
                follower.news.set()


class _Follower:
    __slots__ = ("mark", "news")

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.news = asyncio.Event()


_followers: WeakKeyDictionary[Engine, Followers] = WeakKeyDictionary()


def followers(engine: Engine) -> Followers:
    known = _followers.get(engine)
    if known is None:
        known = _followers[engine] = Followers()
    return known
