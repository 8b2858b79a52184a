"""What executions of `polos.testing` wait for, and who wakes them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ._clock import Clock
from ._errors import refused
from ._execution import FINAL
from ._ids import new_id
from ._json import decode, encode

TICK = 0.00001  # seconds between two events, where the clock of the test stands still
LOOK_SECONDS = 0.01  # of real time, between two looks whether anybody can wake one that waits
WAKER = {"event": "publishes one: say in events= what comes", "resume": "does: say in answers= what is answered"}


@dataclass(kw_only=True)
class StoredWait:
    kind: str
    key: str
    topic: str | None
    note: Any
    executions: list[str]
    since: float | None  # events from then on count; None: from the `first` on
    first: int
    until: float | None
    over: dict[str, Any] | None = None


class Waiting:
    """The waits of all executions of one test, and the events that were published."""

    def __init__(
        self,
        clock: Clock,
        events: Mapping[str, Iterable[Any]],
        answers: Mapping[str, Any],
        status_of: Callable[[str], str | None],
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.published: list[dict[str, Any]] = []  # those of the events that no test did
        self.asked: dict[str, Any] = {}  # what was shown, by key of the step
        self._clock = clock
        self._staged = {topic: list(payloads) for topic, payloads in events.items()}
        self._answers = answers
        self._status_of = status_of
        self._waits: dict[str, dict[str, StoredWait]] = {}  # by execution and key
        self._declared: dict[str, list[str]] = {}  # of those that wait now
        self._listeners: set[asyncio.Event] = set()

    # -- what is declared ----------------------------------------------------------------------------

    def declare(self, id: str, waits: list[dict[str, Any]]) -> None:
        own = self._waits.setdefault(id, {})
        for each in waits:
            own.setdefault(each["key"], self._stored(each))
        self._declared[id] = [each["key"] for each in waits]
        for each in waits:
            self._stage(own[each["key"]])

    def over(self, id: str) -> dict[str, Any]:
        """What the next claim is told."""
        return {key: wait.over for key, wait in self._waits.get(id, {}).items() if wait.over}

    def _stored(self, new: dict[str, Any]) -> StoredWait:
        began = self._clock.now() - new["waited"]
        after = dt.datetime.fromisoformat(new["since"]).timestamp() + TICK / 2 if "since" in new else None
        until = dt.datetime.fromisoformat(new["until"]).timestamp() if "until" in new else None
        return StoredWait(
            kind=new["kind"],
            key=new["key"],
            topic=new.get("topic"),
            note=new.get("note"),
            executions=new.get("executions", []),
            since=after if after or not new["waited"] else began,
            first=len(self.events),
            until=began + new["seconds"] if "seconds" in new else until,
        )

    def _stage(self, wait: StoredWait) -> None:
        """What the test has for it comes as soon as it is waited for."""
        if wait.kind == "event":
            self._end_with_earlier(wait)
        if wait.over:
            return
        if wait.kind == "resume":
            self.asked[wait.key] = wait.note
            if wait.key in self._answers:
                given = self._answers[wait.key]
                self._end(wait, given(wait.note) if callable(given) else given)
        elif wait.kind == "event" and (staged := self._staged.get(wait.topic or "")):
            self._add(new_id(), wait.topic or "", staged.pop(0))

    # -- what ends them ------------------------------------------------------------------------------

    def publish(self, id: str, topic: str, payload: Any) -> dict[str, Any]:
        for known in self.events:
            if known["id"] == id:
                if (known["topic"], known["payload"]) != (topic, payload):
                    raise refused(409, f"Another event has the id {id}.")
                return known
        event = self._add(id, topic, payload)
        self.published.append(event)
        return event

    def resume(self, id: str, key: str, data: Any) -> None:
        wait = self._waits.get(id, {}).get(key)
        if wait is None or wait.kind != "resume" or (wait.over and wait.over["answer"] != data):
            raise refused(409, f"Execution {id} does not wait for {key}.")
        self._end(wait, data)

    def look(self) -> None:
        """An execution has ended: somebody may have waited for it."""
        for wait in self._open():
            if wait.kind == "executions" and all(self._is_final(id) for id in wait.executions):
                self._end(wait, None)

    def _add(self, id: str, topic: str, payload: Any) -> dict[str, Any]:
        last = self.events[-1]["published_at"] if self.events else None
        earliest = dt.datetime.fromisoformat(last).timestamp() + TICK if last else 0.0
        at = dt.datetime.fromtimestamp(max(self._clock.now() + TICK, earliest), dt.UTC).isoformat()
        event = {"id": id, "topic": topic, "payload": decode(encode(payload, "A payload")), "published_at": at}
        self.events.append(event)
        for wait in self._open():
            if wait.kind == "event" and wait.topic == topic:
                self._end(wait, event)
        return event

    def _end_with_earlier(self, wait: StoredWait) -> None:
        for number, event in enumerate(self.events):
            at = dt.datetime.fromisoformat(event["published_at"]).timestamp()
            counts = number >= wait.first if wait.since is None else at >= wait.since
            if event["topic"] == wait.topic and counts:
                self._end(wait, event)

    def _end(self, wait: StoredWait, answer: Any, *, timed_out: bool = False) -> None:
        if wait.over is None:
            at = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC).isoformat()
            wait.over = {
                "kind": wait.kind, "timed_out": timed_out, "answer": decode(encode(answer, "An answer")), "at": at
            }  # fmt: skip
        for each in self._listeners:
            each.set()

    def _open(self) -> list[StoredWait]:
        return [wait for own in self._waits.values() for wait in own.values() if wait.over is None]

    def _is_final(self, id: str) -> bool:
        status = self._status_of(id)
        return status is None or status in FINAL

    # -- until one is over ---------------------------------------------------------------------------

    async def until_over(self, id: str, stuck: Callable[[], bool]) -> None:
        """Returns when a wait of this execution is over; AssertionError when nothing could end one."""
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            self.look()
            while not any(wait.over for wait in self._current(id)):
                changed.clear()
                await self._until(changed, [wait.until for wait in self._current(id) if wait.until is not None])
                self._end_late(id)
                if stuck():
                    self._complain(id)
        finally:
            self._listeners.remove(changed)
        del self._declared[id]

    def can_wake(self, id: str) -> bool:
        """Whether time wakes this one, or something has."""
        return id not in self._declared or any(wait.over or wait.until is not None for wait in self._current(id))

    def _current(self, id: str) -> list[StoredWait]:
        return [self._waits[id][key] for key in self._declared[id]]

    async def _until(self, changed: asyncio.Event, ends: list[float]) -> None:
        """Until something changed, or the first of these times has come."""
        if not ends:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            return
        timer = asyncio.create_task(self._clock.sleep(min(ends) - self._clock.now()))
        change = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait((timer, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            change.cancel()

    def _end_late(self, id: str) -> None:
        for wait in self._current(id):
            if wait.over is None and wait.until is not None and wait.until <= self._clock.now():
                self._end(wait, None, timed_out=wait.kind != "time")

    def _complain(self, id: str) -> None:
        for wait in self._current(id):
            if wait.kind in WAKER:
                what = f"an event under {wait.topic!r}" if wait.kind == "event" else "an answer"
                raise AssertionError(f"Step {wait.key!r} waits for {what}, and nobody {WAKER[wait.kind]}")
