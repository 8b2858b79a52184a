"""`ctx`: what a running workflow knows about itself, and its steps."""

from __future__ import annotations

import datetime as dt
import time
from asyncio import _get_running_loop
from typing import Any

from ._cancelled import Cancelled
from ._client import PolosClient
from ._clock import CLOCK, Clock
from ._errors import StepError
from ._log import Log
from ._logs import mark_log_records
from ._reports import Reporter
from ._running import Run, current
from ._state import new_state
from ._step import Step
from ._steps import StepSaver
from ._threads import Threads
from ._waits import Parking


class Tools:
    """What all contexts of one worker share."""

    __slots__ = ("client", "clock", "parking", "reporter", "saver", "threads", "worker")

    def __init__(
        self, *, client: PolosClient, saver: StepSaver, threads: Threads, worker: str, clock: Clock = CLOCK
    ) -> None:
        mark_log_records()
        self.client = client
        self.clock = clock
        self.reporter = Reporter(client.http, clock)
        self.parking = Parking()
        self.saver = saver
        self.threads = threads
        self.worker = worker


class Context:
    """The first argument of every workflow."""

    __slots__ = ("_run", "_state", "_step", "_tools")

    def __init__(self, run: Run, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self._step: Step | None = None
        self._state: Any = None
        current.set(run)  # for this task alone: the records of its logs say where they come from

    def __repr__(self) -> str:
        return f"<Context of {self.workflow_id} {self.execution_id}, attempt {self._run.attempt}>"

    @property
    def workflow_id(self) -> str:
        return str(self._run.claim["workflow_id"])

    @property
    def execution_id(self) -> str:
        return self._run.id

    @property
    def attempt(self) -> int:
        """From 1."""
        self._run.attempt_was_read = True
        return self._run.attempt

    @property
    def max_attempts(self) -> int:
        return int(self._run.claim["max_attempts"])

    @property
    def queue(self) -> str:
        """The queue that it runs on: the workflow's, unless another was chosen when it was started."""
        return str(self._run.claim["queue"])

    @property
    def slot(self) -> int | None:
        """Which slot of the queue it holds, from 1; None on an unlimited queue."""
        slot: int | None = self._run.claim["slot"]
        return slot

    @property
    def worker(self) -> str:
        """The name of the worker that runs it."""
        return self._tools.worker

    @property
    def parent_id(self) -> str | None:
        parent: str | None = self._run.claim["parent_id"]
        return parent

    @property
    def root_id(self) -> str:
        """The execution that began it all: its own id when it has no parent."""
        return self._run.root_id

    @property
    def parent_execution_id(self) -> str | None:
        """`parent_id`, by its name in `polos-sdk`, as the next three."""
        return self.parent_id

    @property
    def root_execution_id(self) -> str:
        return self.root_id

    @property
    def retry_count(self) -> int:
        return self.attempt - 1

    @property
    def cancel_event(self) -> Cancelled:
        return self.cancelled

    @property
    def deadline(self) -> dt.datetime | None:
        """When this attempt runs into its workflow's `timeout`, or the whole execution into its
        `execution_timeout`, whatever is sooner, in UTC; None without either."""
        whole = self._run.claim.get("deadline")
        ends = [] if whole is None else [dt.datetime.fromisoformat(whole)]
        if self._run.deadline is not None:
            ends.append(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._run.deadline - time.monotonic()))
        return min(ends, default=None)

    @property
    def cancel_requested(self) -> bool:
        """True once it shall stop: somebody cancelled it, or its time is over. Async functions are cancelled; a
        sync one has to look here."""
        return self._run.ending is not None or self._run.is_late

    @property
    def cancelled(self) -> Cancelled:
        """The same as an event, to wait for: `ctx.cancelled.wait(5)` instead of `time.sleep(5)`."""
        return Cancelled(self._run)

    @property
    def state(self) -> Any:
        """An object of the model that `@workflow(state_schema=...)` names, with its defaults at first.

        A field that is set is checked: StateInvalid, with field and line, for what the model does not take. After
        a wait and in a later attempt it becomes what it was, as the function runs again from its top; so what
        differs from one attempt to the next comes from steps, and inside of a step it is not set (StepError).
        DefinitionError where the workflow names no model.
        """
        if self._state is None:
            self._state = new_state(self._run)
        return self._state

    @property
    def log(self) -> Log:
        """Lines for the execution's page: `ctx.log.info("sent", to=address)`."""
        return Log(self._run, self._tools.reporter)

    def heartbeat(self, progress: float | None = None, text: str | None = None) -> None:
        """Says how far it is: a number from 0 to 1, and a text of up to 500 characters. None leaves what was said.

        People see it at once, on the page and with `handle.stream()`. It is sent in the background and may be
        called as often as you like: only the latest is sent. It does not keep the execution alive, which the
        worker does by itself. ValueError for a number that is not from 0 to 1.
        """
        self._tools.reporter.progress(self._run, progress, text)

    @property
    def step(self) -> Step:
        """Its steps. StepError in a sync function, which could not await them."""
        if _get_running_loop() is None:
            raise StepError(
                f"{self.workflow_id} asks for a step in a thread, where nobody can await it: declare it with "
                "async def. What is slow and sync can be a step of that"
            )
        if self._step is None:
            self._step = self._new_step()
        return self._step

    def _new_step(self) -> Step:
        return Step(self._run, self._tools)
