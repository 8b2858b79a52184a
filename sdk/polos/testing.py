"""Tests of workflows without a server.

    from polos.testing import run

    async def test_an_order_is_paid_once():
        ran = await run(order, {"id": 7}, fail={"ship": [ConnectionError()]}, die_after=["charge"])
        assert ran.result == "shipped"
        assert ran.calls("charge") == 1

The workflow, its steps and its children run in the event loop of the test, attempt after attempt, as a worker
would run them. Pauses and waits take no time: see `Clock`. Limits, priorities and leases are the server's: for
those the pytest plugin `polos.pytest_plugin` has the fixture `polos_server`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import _clock
from ._events import Event, read_event
from ._inline import Inline, Staged, Stored
from ._workflow import Workflow

__all__ = ["Child", "Clock", "Line", "Ran", "StepRan", "run"]

R = TypeVar("R")
TURNS = 60  # of the event loop, for whatever else can go on before time does


class Clock(_clock.Clock):
    """Time that passes only when everybody waits for it: the pauses of steps, of retries and of delayed children.

    It begins at `start` (default: 2030-01-01, UTC), and `ctx.step.now` and `ctx.step.sleep` go by it. What does
    not ask it takes its real time: `asyncio.sleep`, `timeout`, `step_timeout`.
    """

    __slots__ = ("_begun", "_now", "_sleepers")

    def __init__(self, start: dt.datetime = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError("start needs a time zone, for example tzinfo=datetime.UTC")
        self._begun = self._now = start.timestamp()
        self._sleepers: list[float] = []

    def now(self) -> float:
        """Seconds since 1970."""
        return self._now

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return self._now - self._begun

    async def sleep(self, seconds: float) -> None:
        """Ends when that much time has passed, which is at once when nobody else has something to do before."""
        wake = self._now + max(0.0, seconds)
        self._sleepers.append(wake)
        try:
            while self._now < wake:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                if wake == min(self._sleepers):
                    self._now = max(self._now, wake)
        finally:
            self._sleepers.remove(wake)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRan:
    """One step, as it is stored at the end."""

    key: str
    result: Any  # as JSON
    error: str | None  # type and message, when its last try failed
    attempt: int  # of the execution, in which it was stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An execution that the workflow started."""

    workflow_id: str
    payload: Any
    queue: str
    status: str
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the workflow logged with `ctx.log`."""

    level: str  # debug, info, warning, error
    text: str
    fields: dict[str, Any]  # as JSON
    attempt: int


@dataclass(frozen=True, slots=True)
class Ran(Generic[R]):
    """How a workflow ran."""

    status: str  # completed, failed
    error: BaseException | None  # what the last attempt raised
    attempts: int
    pauses: list[float]  # before the second attempt, the third, ..., in seconds
    steps: list[StepRan]  # in the order in which they were stored first
    children: list[Child]
    lines: list[Line]  # of its log
    progress: tuple[float | None, str]  # what it said last with `ctx.heartbeat`
    events: list[Event[Any]]  # that it, or a child, published
    asked: dict[str, Any]  # what was shown to whom was asked, by key of the step
    clock: Clock
    _result: Any
    _called: list[str]

    @property
    def result(self) -> R:
        """What a client would get; what the last attempt raised is raised here again."""
        if self.error is not None:
            raise self.error
        result: R = self._result
        return result

    def step(self, key: str) -> StepRan:
        """The step with this key; AssertionError with the keys that there are."""
        for step in self.steps:
            if step.key == key:
                return step
        raise AssertionError(f"There is no step {key!r}, but {', '.join(repr(each.key) for each in self.steps)}")

    def calls(self, key: str) -> int:
        """How often the function of a step was called, over all tries and attempts."""
        return self._called.count(key)


async def run(
    workflow: Workflow[R],
    payload: Any = None,
    *,
    replace: Mapping[str, Callable[..., Any]] | None = None,
    fail: Mapping[str, BaseException | Iterable[BaseException | None]] | None = None,
    die_after: Iterable[str] = (),
    children: Mapping[str, Any] | None = None,
    events: Mapping[str, Iterable[Any]] | None = None,
    answers: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> Ran[R]:
    """Runs a workflow to its end, in memory, with all its attempts.

    `replace` has functions to call in place of those of the steps with these keys. `fail` has the errors that
    steps raise instead of being called: one error for always, or a list with one for each call (None: this call is
    real), and real calls when it is used up. After each step in `die_after` the worker dies, once: the step is
    stored, the attempt is lost, and the next one begins. These three go for the steps of children as well.

    `children` has, by workflow id, what a child gives back: a value, an error, or a function of its payload. Other
    children run too, when their workflow is declared in this process.

    `events` has, by topic, payloads of events: each comes when the topic is waited for, one after the other.
    `answers` has, by key of `ctx.step.suspend`, what is answered: a value, or a function of what is shown.
    Without them, a wait ends when its timeout is over, as one for a time does: at once, by the clock of the test.
    One that nobody ends is an AssertionError.

    What the workflow raises is in `Ran.error`, also the DefinitionError for a child that nobody knows. Raised here
    is NotSerializable, for a payload that JSON cannot hold.
    """
    clock = clock or Clock()
    staged = Staged(
        clock=clock,
        replaced=replace or {},
        failing={key: _planned(errors) for key, errors in (fail or {}).items()},
        deaths=set(die_after),
        children=children or {},
        events=events or {},
        answers=answers or {},
    )
    inline = Inline(staged)
    stored = await inline.run(workflow, payload)
    return _ran(workflow, inline, stored, clock)


def _planned(errors: BaseException | Iterable[BaseException | None]) -> list[BaseException | None] | BaseException:
    return errors if isinstance(errors, BaseException) else list(errors)


def _ran(workflow: Workflow[R], inline: Inline, stored: Stored, clock: Clock) -> Ran[R]:
    completed = stored.status == "completed"
    return Ran(
        status=stored.status,
        error=None if completed else stored.raised,
        attempts=stored.attempt,
        pauses=stored.pauses,
        steps=[_step(step) for step in stored.steps.values()],
        children=[_child(each) for each in inline.executions.values() if each.parent_id == stored.id],
        lines=[Line(**line) for line in stored.lines],
        progress=stored.progress,
        events=[read_event(each, each["payload"]) for each in inline.waiting.published],
        asked=inline.waiting.asked,
        clock=clock,
        _result=workflow.result_shape.load(stored.result, f"The result of {workflow.id}") if completed else None,
        _called=inline.calls,
    )


def _step(step: dict[str, Any]) -> StepRan:
    error = step["error"]
    told = f"{error['type']}: {error['message']}" if error else None
    return StepRan(key=step["key"], result=step["result"], error=told, attempt=step["attempt"])


def _child(stored: Stored) -> Child:
    return Child(
        workflow_id=stored.body["workflow_id"],
        payload=stored.body.get("payload"),
        queue=stored.queue,
        status=stored.status,
        result=stored.result,
    )
