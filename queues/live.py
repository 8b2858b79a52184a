"""The live page: one sampler per server process reads all queues, renders what changed once, and hands it to all.

    engine commits ──poke──► Sampler ──one survey, one rendering──► Watcher ──its writer──► a browser

While somebody watches, the sampler looks at most four times a second when something changed, else every two
seconds. A watcher has one latest-value place, not a queue: what a slow browser has not taken yet is merged, so it
skips frames, holds a bounded amount of memory, and delays nobody. A watcher is registered first and gets its first
frame from a look that began after that: nothing is lost in between. The server's frames:

    {"kind": "gauges", "version": 7, "age_ms": 41, "attention": 2, "fragments": {element id: inner HTML}}
    {"kind": "changed", "what": "queue:<name>" or "queues"}    lists differ by person, so the page fetches its own
    {"kind": "still", "version": 7}                            nothing changed, and that is known

The browser says what it looks at, `{"watch": "queues", "ids": [what its list shows]}` or `{"watch": "queue",
"name": …}`, and answers each `gauges` frame by `{"seen": version}`: Daphne buffers without bound, so only this
tells who cannot keep up. Only what somebody looks at is rendered and sent: of 2,000 queues, a page of the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import psycopg
from prometheus_client import Histogram

from . import fragments, gauges, sentences
from .access import EVERYWHERE, Sight
from .engine import EngineUnavailable, get_engine
from .gauges import Gauge, Memory, Survey
from .violations import count_violations

FAST, CALM = 0.25, 2.0  # seconds between looks: when something changed, when nothing did
LINGER = 30.0  # how long the sampler goes on after the last watcher, who may only be changing pages
SENTENCE = "-sentence"  # how the id of a queue's sentence ends
STILL_EVERY = 5.0  # a page takes 15 silent seconds for a broken connection
CHANGED_EVERY = 0.5  # least time between two `changed` frames to one watcher
MOST_UNSEEN = 4  # frames on their way to one browser
READS_WITHIN = 60.0  # a browser that has seen nothing for so long is let go

log = logging.getLogger(__name__)

delay_seconds = Histogram(
    "polos_live_delay_seconds",
    "From a commit to the frame that shows it being sent.",
    registry=None,
    buckets=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5),
)

Ids = frozenset[int]
Send = Callable[[str], Awaitable[None]]
Read = Callable[[bool], Awaitable[Survey]]  # whether sums over some of the queues are needed


# -- what is handed out ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """What one look found, for some watchers. `since`: when the oldest change in it was committed."""

    version: int
    since: float
    attention: int
    parts: dict[str, str]

    @cached_property
    def encoded_parts(self) -> str:
        # Shared by all watchers that get this frame: encoded once.
        return json.dumps(self.parts, ensure_ascii=False, separators=(",", ":"))

    def over(self, earlier: Frame | None) -> Frame:
        """This frame with what `earlier` said about other elements."""
        if earlier is None:
            return self
        return Frame(self.version, self.since, self.attention, {**earlier.parts, **self.parts})

    def text(self, now: float) -> str:
        age = max(0, round(1000 * (now - self.since)))
        return (
            f'{{"kind":"gauges","version":{self.version},"age_ms":{age},'
            f'"attention":{self.attention},"fragments":{self.encoded_parts}}}'
        )


@dataclass(slots=True)
class Stats:
    looks: int = 0
    look_seconds: float = 0.0  # of the last look
    frames_sent: int = 0
    frames_skipped: int = 0


# -- one browser -----------------------------------------------------------------------------------


class Watcher:
    """One open page: what it looks at, and the latest that it has not been sent. `write` is its writer task."""

    def __init__(
        self,
        send: Send,
        *,
        queue: str | None = None,
        ids: Ids | None = None,
        sight: Sight = EVERYWHERE,
        stats: Stats | None = None,
    ) -> None:
        self.sight = sight  # what this person may see, whatever the page says that it shows
        self.queue = queue  # name; None: the list
        self.ids = ids  # of the queues that the list shows; None: all of them
        self.fresh = True  # has had no frame yet, so the next one is complete
        self.owed: Ids = frozenset()  # shown since the last frame, so the next one is complete about them
        self._send = send
        self._stats = stats or Stats()
        self._frame: Frame | None = None
        self._still: int | None = None
        self._changed = False
        self._changed_at = self._sent_at = 0.0
        self._unseen: deque[tuple[int, float]] = deque()  # version, when it was sent
        self._wake = asyncio.Event()

    @property
    def what(self) -> str:
        return "queues" if self.queue is None else f"queue:{self.queue}"

    def show(self, ids: Ids | None) -> None:
        """Another page of the list, or another order of it."""
        if self.ids is not None and ids is not None:
            self.owed = (self.owed | (ids - self.ids)) & ids
        else:
            self.fresh = True
        self.ids = ids

    def offer(self, frame: Frame) -> None:
        if self._frame is not None:
            self._stats.frames_skipped += 1
        self._frame = frame.over(self._frame)
        self._wake.set()

    def say_changed(self) -> None:
        self._changed = True
        self._wake.set()

    def say_still(self, version: int) -> None:
        if time.monotonic() - self._sent_at >= STILL_EVERY:
            self._still = version
            self._wake.set()

    def seen(self, version: int) -> None:
        while self._unseen and self._unseen[0][0] <= version:
            self._unseen.popleft()
        self._wake.set()

    def reads(self) -> bool:
        """False when this browser has not answered for a long time."""
        return not self._unseen or time.monotonic() - self._unseen[0][1] < READS_WITHIN

    async def write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_frame()
            await self._write_changed()
            if self._still is not None:
                version, self._still = self._still, None
                await self._say({"kind": "still", "version": version})

    async def _write_frame(self) -> None:
        frame = self._frame
        if frame is None or len(self._unseen) >= MOST_UNSEEN:
            return
        self._frame, now = None, time.monotonic()
        self._unseen.append((frame.version, now))
        self._sent_at = now
        self._still = None
        self._stats.frames_sent += 1
        delay_seconds.observe(max(0.0, now - frame.since))
        await self._send(frame.text(now))

    async def _write_changed(self) -> None:
        wait = self._changed_at + CHANGED_EVERY - time.monotonic()
        if not self._changed:
            return
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._wake.set)
            return
        self._changed, self._changed_at = False, time.monotonic()
        await self._say({"kind": "changed", "what": self.what})

    async def _say(self, message: dict[str, object]) -> None:
        self._sent_at = time.monotonic()
        await self._send(json.dumps(message))


# -- the sampler -----------------------------------------------------------------------------------


class Sampler:
    """Looks while somebody watches. Lives on one event loop; publishing never awaits, so that a watcher who
    joins is either before a look or after it."""

    def __init__(self, read: Read, *, fast: float = FAST, calm: float = CALM, linger: float = LINGER) -> None:
        self.version = 0
        self.stats = Stats()
        self._read = read
        self._fast, self._calm, self._linger = fast, calm, linger
        self._watchers: set[Watcher] = set()
        self._seen = _Seen()
        self._touched: set[int] = set()
        self._poked_at: float | None = None
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    def join(self, watcher: Watcher) -> None:
        watcher.fresh = True
        self._watchers.add(watcher)
        self._poked.set()  # a look that begins after this, for its first frame
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def show(self, watcher: Watcher, ids: Ids | None) -> None:
        """This list shows these queues now; what is new to it is in its next frame."""
        watcher.show(ids)
        if watcher.fresh or watcher.owed:
            self._poked.set()

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def poke(self, queue_ids: Iterable[int] = ()) -> None:
        """Something was committed on these queues just now, here or on another server."""
        if self._watchers:
            self._touched.update(queue_ids)
            self._poked_at = self._poked_at or time.monotonic()
            self._poked.set()

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- looking -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        watched_at = time.monotonic()
        try:
            while self._watchers or time.monotonic() - watched_at < self._linger:
                began = time.monotonic()
                await self._look()
                if self._watchers:
                    watched_at = time.monotonic()
                await self._rest(began)
        finally:
            self._seen = _Seen()
            gauges.share(None)

    async def _look(self) -> None:
        self._poked.clear()
        began = time.monotonic()
        since, self._poked_at = self._poked_at or began, None
        touched, self._touched = self._touched, set()
        # Who is told everything about what: only what they asked for before this look began.
        asked = {watcher: watcher.owed for watcher in self._watchers}
        try:
            survey = await self._read(any(not watcher.sight.everywhere for watcher in self._watchers))
        except (EngineUnavailable, psycopg.Error, OSError) as error:
            self._touched |= touched
            self._say_away(error)
            return
        self._away = False
        self.stats.looks += 1
        self.stats.look_seconds = time.monotonic() - began
        self._publish(survey, since, touched, asked)

    async def _rest(self, began: float) -> None:
        """Until something changed, but never more than half of the time at work; or until the calm look."""
        least = max(self._fast, 2 * (time.monotonic() - began), 1.0 if self._away else 0.0)
        await asyncio.sleep(max(0.0, began + least - time.monotonic()))
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, began + self._calm - time.monotonic())):
                await self._poked.wait()

    def _say_away(self, error: Exception) -> None:
        if not self._away:
            log.warning("the live pages get nothing new: %s", error)
        self._away = True

    # -- telling -----------------------------------------------------------------------------------

    def _publish(self, survey: Survey, since: float, touched: set[int], asked: dict[Watcher, Ids]) -> None:
        self.version += 1
        news = self._seen.learn(survey, self._watched(), {watcher.sight for watcher in self._watchers})
        ready = self._watchers & asked.keys()
        fresh = {watcher for watcher in ready if watcher.fresh}
        self._greet(fresh, since)
        frames: dict[tuple[Sight, Ids | None, Ids], Frame] = {}
        for watcher in ready - fresh:
            if watcher.queue is None:
                self._tell_list(watcher, news, since, asked[watcher], frames)
                continue
            queue_id = self._seen.id_of(watcher.queue, watcher.sight)
            parts = news.queues.get(queue_id, {})
            attention = news.views[watcher.sight].attention
            frame = self._frame(watcher.sight, parts, since) if parts or attention else None
            self._tell(watcher, frame, queue_id in touched or queue_id in news.moved)

    def _watched(self) -> Ids | None:
        """The queues that somebody looks at; None: all of them."""
        found: set[int] = set()
        for watcher in self._watchers:
            if watcher.queue is not None:
                found.add(self._seen.id_of(watcher.queue, watcher.sight))
            elif watcher.ids is None:
                return None
            else:
                found |= watcher.ids
        return frozenset(found)

    def _greet(self, fresh: set[Watcher], since: float) -> None:
        """Complete frames for those who have seen nothing yet, one for each thing that is watched."""
        frames: dict[tuple[Sight, str | None, Ids | None], Frame] = {}
        for watcher in fresh:
            watcher.fresh, watcher.owed = False, frozenset()
            key = watcher.sight, watcher.queue, watcher.ids
            if key not in frames:
                frames[key] = self._frame(watcher.sight, self._seen.everything(*key), since)
            watcher.offer(frames[key])

    def _tell_list(
        self,
        watcher: Watcher,
        news: _News,
        since: float,
        asked: Ids,
        frames: dict[tuple[Sight, Ids | None, Ids], Frame],
    ) -> None:
        """Lists that show the same share one frame."""
        owed = asked & watcher.owed
        watcher.owed -= owed
        key = watcher.sight, watcher.ids, owed
        if key not in frames:
            frames[key] = self._frame(watcher.sight, self._seen.listed(news, *key), since)
        self._tell(watcher, frames[key] if frames[key].parts else None, news.views[watcher.sight].listing)

    def _tell(self, watcher: Watcher, frame: Frame | None, changed: bool) -> None:
        if frame is not None:
            watcher.offer(frame)
        else:
            watcher.say_still(self.version)
        if changed:
            watcher.say_changed()

    def _frame(self, sight: Sight, parts: dict[str, str], since: float) -> Frame:
        return Frame(self.version, since, self._seen.views[sight].attention, parts)


@dataclass(frozen=True, slots=True)
class _ViewNews:
    """For those who see the same queues."""

    common: dict[str, str]  # tiles and counts that look different now
    listing: bool  # queues came or went, or their limit or pause was changed, or others need attention
    attention: bool


@dataclass(frozen=True, slots=True)
class _News:
    views: dict[Sight, _ViewNews]
    queues: dict[int, dict[str, str]]  # what looks different of the queues that somebody looks at, sentences too
    moved: set[int]  # in which more than time has passed


@dataclass(slots=True)
class _View:
    """What is the same for all who see the same queues: sums, counts, and which queues there are."""

    attention: int = 0
    common: dict[str, str] = field(default_factory=dict)
    order: object = None  # what the rows of the list and their default order depend on
    ids: Ids | None = None  # None: all of them

    def learn(self, sight: Sight, survey: Survey) -> _ViewNews:
        mine = survey.seen_by(sight)
        self.ids = None if sight.everywhere else frozenset(gauge.id for gauge in mine.gauges)
        attention = gauges.attention(mine.gauges)
        common: dict[str, str] = dict(fragments.render_tiles(mine.gauges, mine.totals))
        common |= {"count-all": str(len(mine.gauges)), "count-attention": str(attention)}
        order = [(gauge.id, gauge.version, gauges.needs_attention(gauge)) for gauge in mine.gauges]
        news = _ViewNews(_difference(common, self.common), order != self.order, attention != self.attention)
        self.attention, self.common, self.order = attention, common, order
        return news


@dataclass(slots=True)
class _Seen:
    """How everything was last time, and how what somebody looks at looked: the same to all who see it."""

    views: dict[Sight, _View] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _survey: Survey | None = None
    _gauges: dict[int, Gauge] = field(default_factory=dict)
    _looks: dict[int, dict[str, str]] = field(default_factory=dict)

    def learn(self, survey: Survey, watched: Ids | None, sights: set[Sight]) -> _News:
        before, self._survey = self._gauges, survey
        self._gauges = {gauge.id: gauge for gauge in survey.gauges}
        self._names = {gauge.name: gauge.id for gauge in survey.gauges}
        different = [gauge for gauge in survey.gauges if not _same(gauge, before.get(gauge.id))]
        self.views = {sight: self.views.get(sight) or _View() for sight in sights}
        return _News(
            views={sight: view.learn(sight, survey) for sight, view in self.views.items()},
            queues=self._learn_looks(different, watched),
            moved={gauge.id for gauge in different if _moved(gauge, before.get(gauge.id))},
        )

    def id_of(self, name: str, sight: Sight) -> int:
        """0 for a queue that is not there, or not for those eyes."""
        return self._names.get(name, 0) if sight.covers(name) else 0

    def everything(self, sight: Sight, queue: str | None, ids: Ids | None) -> dict[str, str]:
        """Of one queue's page, or of a list that shows these queues."""
        if queue is not None:
            return self._look(self.id_of(queue, sight))
        view = self.views[sight]
        parts = dict(view.common)
        for queue_id in _both(view.ids, ids, self._gauges):
            parts |= _without_sentence(self._look(queue_id))
        return parts

    def listed(self, news: _News, sight: Sight, ids: Ids | None, owed: Ids) -> dict[str, str]:
        """What looks different on a list, and everything of the queues that are owed."""
        seen = self.views[sight].ids
        parts = dict(news.views[sight].common)
        for queue_id in _both(seen, ids, news.queues):
            parts |= _without_sentence(news.queues.get(queue_id, {}))
        for queue_id in owed if seen is None else owed & seen:
            parts |= _without_sentence(self._look(queue_id))
        return parts

    def _learn_looks(self, different: list[Gauge], watched: Ids | None) -> dict[int, dict[str, str]]:
        looks, news = self._looks, {}
        self._looks = {id: look for id, look in looks.items() if id in self._gauges}
        for gauge in different:
            before = self._looks.pop(gauge.id, {})
            if watched is None or gauge.id in watched:
                news[gauge.id] = _difference(self._look(gauge.id), before)
        return {id: parts for id, parts in news.items() if parts}

    def _look(self, queue_id: int) -> dict[str, str]:
        gauge = self._gauges.get(queue_id)
        if gauge is None or self._survey is None:
            return {}
        if queue_id not in self._looks:
            look = fragments.render_gauges([gauge])
            look[f"q-{queue_id}{SENTENCE}"] = sentences.state_sentence(gauge, self._survey.at)
            self._looks[queue_id] = look
        return self._looks[queue_id]


def _both(seen: Ids | None, shown: Ids | None, everything: Iterable[int]) -> Iterable[int]:
    """What may be seen of what is shown."""
    if shown is None:
        return everything if seen is None else [id for id in everything if id in seen]
    return shown if seen is None else shown & seen


def _difference(now: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    return {id: html for id, html in now.items() if before.get(id) != html}


def _without_sentence(parts: dict[str, str]) -> dict[str, str]:
    """The list shows everything but the sentences, which only the queues' own pages have."""
    return {id: html for id, html in parts.items() if not id.endswith(SENTENCE)}


def _same(gauge: Gauge, before: Gauge | None) -> bool:
    return before is not None and _key(gauge) == _key(before)


def _moved(gauge: Gauge, before: Gauge | None) -> bool:
    """Whether more than time has passed: executions started, ended or arrived, or the limit changed."""
    return before is None or _key(gauge)[3:] != _key(before)[3:]


def _key(gauge: Gauge) -> tuple[object, ...]:
    """What a change of the picture depends on. Ages first, so that `_moved` can leave them out."""
    return (
        _age_step(gauge.oldest_wait), gauge.spark, gauge.per_minute,
        gauge.state, gauge.running, gauge.cancelling, gauge.waiting, gauge.scheduled, gauge.version, gauge.workers,
        gauge.limit, gauge.declared_limit, gauge.disagree, gauge.last_claimed_at, gauge.declared_from,
    )  # fmt: skip


def _age_step(seconds: float | None) -> int | None:
    """Steps in which a growing wait is worth a frame: every second, later every 5 s, then every minute."""
    if seconds is None:
        return None
    step = 1 if seconds < 60 else 5 if seconds < 600 else 60
    return int(seconds // step) * step


# -- the sampler of this process -------------------------------------------------------------------

_samplers: WeakKeyDictionary[asyncio.AbstractEventLoop, Sampler] = WeakKeyDictionary()
_memories: WeakKeyDictionary[asyncio.AbstractEventLoop, Memory] = WeakKeyDictionary()


def get_sampler() -> Sampler:
    """The sampler of the running event loop, fed by the engine of that loop."""
    loop = asyncio.get_running_loop()
    sampler = _samplers.get(loop)
    if sampler is None:
        sampler = _samplers[loop] = Sampler(_read_and_share)
        get_engine().listeners.append(sampler.poke)
    return sampler


async def read_now(detailed: bool = False) -> Survey:
    """One look through the engine's pool, which also counts violations of limits. Raises `EngineUnavailable`."""
    memory = _memories.setdefault(asyncio.get_running_loop(), Memory())
    if detailed:
        memory.want_details()
    engine = get_engine()
    async with engine.connection() as conn:
        survey = await gauges.survey_async(conn, memory)
        engine.stats.limit_violations += await count_violations(conn, survey)
    return survey


async def _read_and_share(detailed: bool) -> Survey:
    survey = await read_now(detailed)
    gauges.share(_memories[asyncio.get_running_loop()], survey)
    return survey


def stats_now() -> Stats:
    sampler = _samplers.get(asyncio.get_running_loop())
    return sampler.stats if sampler else Stats()
