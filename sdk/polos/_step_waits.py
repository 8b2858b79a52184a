"""Steps that wait: for a time, an event, or an answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar, overload

from ._batches import MAX_RESULT_BYTES, check_request
from ._caller import path_of
from ._errors import Conflict, NotSerializable, StepError, WaitTimeout
from ._events import Event, event_body, read_event, typed_payload, workflow_topic
from ._ids import child_id
from ._json import encode
from ._names import check_name
from ._replay import Place, shown
from ._seconds import LONGEST, seconds_of
from ._stepbase import StepBase, called_from, iso, kept
from ._typing import EMPTY, UNTYPED, Shape

T = TypeVar("T")
Seconds = float | dt.timedelta
Moment = dt.datetime | int  # with a time zone, or milliseconds since 1970
MAX_NOTE_BYTES = 16 * 1024
IN_MEMORY = 5.0  # seconds: shorter waits for a time keep slot and worker, longer ones give them back


class WaitSteps(StepBase):
    __slots__ = ()

    def sleep(self, key: str, seconds: Seconds) -> Coroutine[Any, Any, None]:
        """Waits so long, once, however often the execution is tried: up to a year.

        Up to 5 s it waits in memory: the execution keeps its slot and its place in the worker. Longer, it gives
        both back and goes on in its original place when the time is over, on any worker.

        StepError for a time that is none.
        """
        return self._counted(self._sleep(key, called_from(), seconds))

    def wait_for(
        self,
        key: str,
        seconds: Seconds = 0.0,
        *,
        minutes: float = 0.0,
        hours: float = 0.0,
        days: float = 0.0,
        weeks: float = 0.0,
    ) -> Coroutine[Any, Any, None]:
        """`sleep`, with the time in other units too: `wait_for("trial", days=14)`. They are added up."""
        place = called_from()
        try:
            more = dt.timedelta(minutes=minutes, hours=hours, days=days, weeks=weeks).total_seconds()
            total = seconds_of(seconds, what=_time_of(key)) + more
        except (TypeError, ValueError, OverflowError) as error:
            raise StepError(str(error)) from error
        return self._counted(self._sleep(key, place, total))

    def wait_until(self, key: str, when: dt.datetime) -> Coroutine[Any, Any, None]:
        """Waits for a moment, as `sleep` does; not at all when it has passed.

        StepError for one without a time zone, or more than a year away.
        """
        return self._counted(self._wait_until(key, called_from(), when))

    @overload
    def wait_for_event(
        self, key: str, topic: str, timeout: Seconds | None = None, *, since: Moment | None = None
    ) -> Coroutine[Any, Any, Event[Any]]: ...
    @overload
    def wait_for_event(
        self,
        key: str,
        topic: str,
        timeout: Seconds | None = None,
        *,
        since: Moment | None = None,
        payload_type: type[T],
    ) -> Coroutine[Any, Any, Event[T]]: ...
    def wait_for_event(
        self,
        key: str,
        topic: str,
        timeout: Seconds | None = None,
        *,
        since: Moment | None = None,
        payload_type: Any = EMPTY,
    ) -> Coroutine[Any, Any, Event[Any]]:
        """Waits for the next event under a topic, with slot and worker given back meanwhile.

        The first one counts that was published after the wait began, or after `since`: a datetime, for example the
        `published_at` of the event before, or milliseconds as `now` gives them. For what a step of yours leads to,
        take the time before that step, lest the event is there before the wait:

            begun = await ctx.step.now("begun")
            await ctx.step.run("start", start_job, id)
            done = await ctx.step.wait_for_event("done", f"jobs/{id}", since=begun)

        `payload_type` says what the payload is (a pydantic model, for example); without it, it is JSON.

        WaitTimeout when there was none after `timeout` (seconds or a timedelta; None: waits for ever); StepError
        for a payload that is not of its type.
        """
        place = called_from()
        return self._counted(self._wait_for_event(key, place, topic, timeout, since, payload_type))

    def publish_event(
        self, key: str, topic: str, payload: Any = None, *, data: Any = None, event_type: str | None = None
    ) -> Coroutine[Any, Any, str]:
        """Publishes an event, once, and gives back its id. Whoever waits for the topic goes on.

        A later attempt does not publish it again: the id is made from execution and key. `data` is another name of
        the payload; `event_type` is kept in it, under this name.

        BadName for a topic that cannot be one (the rules are those of queues), NotSerializable for a payload that
        JSON cannot hold.
        """
        place, payload = called_from(), data if payload is None else payload
        return self._counted(self._publish_event(key, place, topic, payload, event_type))

    def publish_workflow_event(
        self, key: str, data: Any = None, event_type: str | None = None
    ) -> Coroutine[Any, Any, str]:
        """Publishes an event for those who follow this execution or its root with `events.stream_workflow`."""
        topic = workflow_topic(self._run.root_id)
        return self._counted(self._publish_event(key, called_from(), topic, data, event_type))

    @overload
    def suspend(self, key: str, data: Any = None, timeout: Seconds | None = None) -> Coroutine[Any, Any, Any]: ...
    @overload
    def suspend(
        self, key: str, data: Any = None, timeout: Seconds | None = None, *, answer_type: type[T]
    ) -> Coroutine[Any, Any, T]: ...
    def suspend(
        self, key: str, data: Any = None, timeout: Seconds | None = None, *, answer_type: Any = EMPTY
    ) -> Coroutine[Any, Any, Any]:
        """Waits until a person or a program answers, and gives back the answer.

        `data` is shown to whom is asked (16 KiB of JSON at most). The answer comes on the execution's page, by
        `polos resume`, `PolosClient.resume`, `ctx.step.resume` of another workflow, or REST; the first one counts.
        (A dict that has no `data` of its own gives itself under this name, where other systems keep the answer.)
        Slot and worker are given back meanwhile. `answer_type` says what the answer is; without it, it is JSON.

        WaitTimeout when there was none after `timeout` (seconds or a timedelta; None: waits for ever); StepError
        for an answer that is not of its type, NotSerializable for data that JSON cannot hold, or too much of it.
        """
        return self._counted(self._suspend(key, called_from(), data, timeout, answer_type))

    def resume(
        self,
        key: str,
        execution_id: str = "",
        suspend_key: str = "",
        data: Any = None,
        *,
        suspend_execution_id: str = "",
        suspend_step_key: str = "",
        suspend_workflow_id: str | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Answers another execution that is suspended under `suspend_key`, once.

        Both have the names `suspend_execution_id` and `suspend_step_key`, too; the workflow need not be said.

        NotFound when there is none that this worker may see, Conflict when nobody waits for it (any more).
        """
        id, asked = execution_id or suspend_execution_id, suspend_key or suspend_step_key
        return self._counted(self._resume(key, called_from(), id, asked, data))

    # -- times -------------------------------------------------------------------------------------

    async def _sleep(self, key: str, place: Place, seconds: Seconds) -> None:
        try:
            wanted = seconds_of(seconds, what=_time_of(key))
        except ValueError as error:
            raise StepError(str(error)) from error
        await self._pass_time(key, place, wanted, until=None)

    async def _wait_until(self, key: str, place: Place, when: dt.datetime) -> None:
        if not isinstance(when, dt.datetime) or when.tzinfo is None:
            raise StepError(f"{_time_of(key)} is a datetime with a time zone, not {when!r}")
        wanted = when.timestamp() - self._tools.clock.now()
        if wanted > LONGEST:
            raise StepError(f"{_time_of(key)} is at most a year away, not {when.isoformat()}")
        await self._pass_time(key, place, max(0.0, wanted), until=when.timestamp())

    async def _pass_time(self, key: str, place: Place, wanted: float, until: float | None) -> None:
        """What is stored is when it is over: before a wait in memory, after one that gave all back."""
        clock, stored = self._tools.clock, await self._is_stored(key, place)
        if (over := self._over(key, "time")) is not None:
            if not stored:
                await self._save_end(key, dt.datetime.fromisoformat(over["at"]).timestamp())
            return
        if stored:
            until = self._until(key)
        elif wanted <= IN_MEMORY:
            until = clock.now() + wanted if until is None else until
            await self._save_end(key, until)
        # Never longer than it says: the clocks of two workers may differ.
        left = wanted if until is None else min(until - clock.now(), wanted)
        if left > IN_MEMORY:
            await self._give_back_until(key, left, until, stored=stored)
        if left > 0:
            await clock.sleep(left)

    async def _give_back_until(self, key: str, left: float, until: float | None, *, stored: bool) -> None:
        end = self._tools.clock.now() + left if until is None else until

        def keep() -> None:
            self._tools.saver.submit(self._end_body(key, end))

        # Seconds count on the server's clock, where it is to be woken.
        more: dict[str, Any] = {"seconds": left} if until is None else {"until": iso(until)}
        await self._park(key, "time", more, keep=None if stored else keep)

    async def _save_end(self, key: str, until: float) -> None:
        end = iso(until)
        await self._save(key, self._now(), result=f'"{end}"', ended=end)

    def _end_body(self, key: str, until: float) -> str:
        end = iso(until)
        return self._body(key, self._now(), result=f'"{end}"', ended=end)

    def _until(self, key: str) -> float:
        try:
            return dt.datetime.fromisoformat(self._replay.stored[key]).timestamp()
        except (TypeError, ValueError):
            raise self._another_kind(key, "step.sleep") from None

    # -- events and answers ------------------------------------------------------------------------

    async def _wait_for_event(
        self,
        key: str,
        place: Place,
        topic: str,
        timeout: Seconds | None,
        since: Moment | None,
        payload_type: Any,
    ) -> Event[Any]:
        check_name(topic, what="topic", place=shown(place))
        key = self._turn(key)
        after = {} if since is None else {"since": _moment(key, since)}
        found = await self._answer(key, place, "event", {"topic": topic, **after}, timeout)
        if "event" not in found:
            words = f"No event came under {topic} within {_told(timeout)}: step {key!r} at {shown(place)}"
            raise kept(WaitTimeout(words), key)
        event = found["event"]
        payload = self._typed(event.get("payload"), _shape(payload_type), key, "The payload of the event of step")
        return read_event(event, payload)

    async def _suspend(self, key: str, place: Place, data: Any, timeout: Seconds | None, answer_type: Any) -> Any:
        key = self._turn(key)
        size = len(encode(data, f"What step {key} shows to whom is asked").encode())
        if size > MAX_NOTE_BYTES:
            raise NotSerializable(
                f"What step {key} shows has {size:,} bytes as JSON; the most is {MAX_NOTE_BYTES:,}"
            )
        found = await self._answer(key, place, "resume", {"note": data}, timeout)
        if "answer" not in found:
            words = f"Nobody answered within {_told(timeout)}: step {key!r} at {shown(place)}"
            raise kept(WaitTimeout(words), key)
        shape = _shape(answer_type)
        answer = self._typed(found["answer"], shape, key, "The answer to step")
        return Answer(answer) if shape.plain and isinstance(answer, dict) else answer

    async def _answer(
        self,
        key: str,
        place: Place,
        kind: str,
        more: dict[str, Any],
        timeout: Seconds | None,
    ) -> dict[str, Any]:
        """`{"event": …}` or `{"answer": …}`, or what says that the time is over."""
        try:
            seconds = None if timeout is None else seconds_of(timeout, what=f"The timeout of step {key!r}")
        except ValueError as error:
            raise StepError(str(error)) from error
        name = "event" if kind == "event" else "answer"
        if await self._is_stored(key, place):
            return self._stored_answer(key, kind, name)
        over = self._over(key, kind)
        if over is None:
            await self._park(key, kind, more if seconds is None else {**more, "seconds": seconds})
        found = {"timed_out": True} if over["timed_out"] else {name: over["answer"]}
        stored: dict[str, Any] = await self._keep(key, self._now(), encode(found, f"The answer to step {key}"))
        return stored

    def _stored_answer(self, key: str, kind: str, name: str) -> dict[str, Any]:
        known = self._replay.stored[key]
        if not isinstance(known, dict) or not ({name, "timed_out"} & known.keys()):
            raise self._another_kind(key, "step.wait_for_event" if kind == "event" else "step.suspend")
        return known

    async def _publish_event(
        self, key: str, place: Place, topic: str, payload: Any, event_type: str | None
    ) -> str:
        id = child_id(self._run.id, key)
        if await self._is_stored(key, place):
            if self._replay.stored[key] != {"event_id": id}:
                raise self._another_kind(key, "step.publish_event")
            return id
        started, http = self._now(), self._tools.client.http
        try:
            body = event_body(topic, typed_payload(payload, event_type), id, place=shown(place))
            await http.call("POST", "/events", body, lane="steps", patience=None)
        except Conflict:
            pass  # an earlier attempt published it with another payload, and was lost before it could save that
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        await self._save(key, started, result=f'{{"event_id":"{id}"}}')
        return id

    async def _resume(self, key: str, place: Place, execution_id: str, suspend_key: str, data: Any) -> None:
        if await self._is_stored(key, place):
            if self._replay.stored[key] != {"resumed": execution_id}:
                raise self._another_kind(key, f"step.resume of {execution_id}")
            return
        started, path = self._now(), path_of(execution_id, "/resume")
        try:
            what = f"The answer that step {key} gives"
            body = check_request(encode({"key": suspend_key, "data": data}, what), what, MAX_RESULT_BYTES)
            await self._tools.client.http.call("POST", path, body, lane="steps", patience=None)
        except Exception as error:
            await self._save_error(key, started, error)
            raise
        await self._save(key, started, result=encode({"resumed": execution_id}, f"Step {key}"))


class Answer(dict[str, Any]):
    """The dict that somebody answered. `answer["data"]` is the answer itself, unless it has such a field."""

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        if name == "data":
            return self
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self if name == "data" and name not in self else super().get(name, default)


def _time_of(key: object) -> str:
    return f"The time of step {key!r}"


def _moment(key: str, since: Moment) -> str:
    if isinstance(since, dt.datetime) and since.tzinfo is not None:
        return since.isoformat()
    if isinstance(since, int) and not isinstance(since, bool):
        return iso(since / 1000)
    raise StepError(f"since of step {key!r} is a datetime with a time zone, or milliseconds, not {since!r}")


def _told(timeout: Seconds | None) -> str:
    return "its time" if timeout is None else f"{seconds_of(timeout, what='timeout'):g} s"


def _shape(annotation: Any) -> Shape:
    if annotation is EMPTY:
        return UNTYPED
    try:
        return _known_shape(annotation)
    except TypeError:  # cannot be hashed
        return Shape(annotation)


# pydantic takes longer to understand an annotation than to use it.
_known_shape = lru_cache(maxsize=1_000)(Shape)
