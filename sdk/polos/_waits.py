"""Waits of executions: what is declared to the server, and when an execution has nothing else to do but wait.

A step that waits parks its task. As soon as every task of the execution stands still, at a wait or at a task that
does, all its waits go to the server together: the claim is over, slot and worker are free. When one of them is
over, the execution is claimed again, and replay brings it back to where it stood.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable
from contextvars import Context as Variables
from contextvars import ContextVar
from typing import Any

from ._running import Run, current
from ._seconds import LONGEST

logger = logging.getLogger("polos")

MOST_WAITS = 1_000  # that one execution declares: when one of them is over, the next ones have their turn
TURNS = 10  # of the event loop between two looks, for what just ended to reach the tasks that it leads to
LOOKS = 2  # that find an execution standing still before it is believed
PATIENCE = 5.0  # seconds for what is neither a step nor a wait, before it is broken off to be begun anew
PAUSE = 0.02  # seconds between two looks at that

BROKEN_OFF = (
    "Execution %s of %s waits. What it did beside that was neither a step nor a wait for %g s: it is broken off, "
    "and begins anew when a wait is over."
)
LOST_SCOPE = (
    "Execution %s of %s waits inside of an asyncio.timeout, which ends with the task, as slot and worker are "
    "given back: use the timeout of the step."
)

# The step whose function runs here: it cannot be given back in the middle.
inside: ContextVar[str | None] = ContextVar("polos_step", default=None)


class Parked:
    """One wait, and the future that its task stands at. It is never fulfilled: the task is cancelled."""

    __slots__ = ("_began", "_fields", "_now", "future", "keep")

    def __init__(
        self,
        fields: str,
        *,
        now: Callable[[], float],
        keep: Callable[[], None] | None = None,
    ) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keep = keep  # stores when it is over, should it take long until it can be declared
        self._fields = fields  # JSON without its end
        self._now = now
        self._began = now()

    @property
    def json(self) -> str:
        """A `NewWait`, with how long it waits already."""
        waited = min(max(0, int((self._now() - self._began) * 1e6)) / 1e6, LONGEST)
        return f'{self._fields},"waited":{waited}}}'


class Parking:
    """Watches the executions of one worker in which something waits."""

    def __init__(self) -> None:
        self._runs: dict[Run, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._known: set[str] = set()  # workflows

    def look(self, run: Run) -> None:
        """Something of it waits now, or the last of its running steps ended."""
        run.looks = 0
        run.still_since = time.monotonic()
        self._runs[run] = None
        if self._task is None or self._task.done():
            # Without the variables of the execution that happens to come first.
            self._task = asyncio.create_task(self._watch(), context=Variables())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while self._runs:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            began = time.perf_counter()
            tasks = _tasks_of(self._runs)
            moved = [self._look(run, tasks[run]) for run in list(self._runs)]
            # Among thousands of tasks a look takes milliseconds: they are to have most of the time.
            await asyncio.sleep(4 * (time.perf_counter() - began) if any(moved) else PAUSE)

    def _look(self, run: Run, tasks: set[asyncio.Task[Any]]) -> bool:
        """Whether another look soon is worth while."""
        if not run.parked or run.ending is not None or run.busy:
            self._runs.pop(run)
            if run.busy:  # it is looked at again when that has ended
                _keep_ends(run)
            return True
        futures = {parked.future for parked in run.parked.values()}
        if all(_stands_still(task, tasks, futures) for task in tasks):
            run.looks += 1
        elif time.monotonic() - run.still_since < PATIENCE:
            run.looks = 0
            return False
        else:
            run.looks = LOOKS
            logger.info(BROKEN_OFF, run.id, run.claim["workflow_id"], PATIENCE)
        if run.looks >= LOOKS:
            self._runs.pop(run)
            self._warn_of_scopes(run, tasks)
            _give_back(run, tasks)
        return True

    def _warn_of_scopes(self, run: Run, tasks: set[asyncio.Task[Any]]) -> None:
        """Once for each workflow: an asyncio.timeout around a wait would never be over."""
        workflow_id = run.claim["workflow_id"]
        if workflow_id in self._known:
            return
        self._known.add(workflow_id)
        # What timers the loop has is its own matter; another kind of loop may keep them elsewhere.
        for handle in getattr(asyncio.get_running_loop(), "_scheduled", ()):
            scope: Any = getattr(getattr(handle, "_callback", None), "__self__", None)
            if not isinstance(scope, asyncio.Timeout) or scope.when() == run.deadline:
                continue
            if getattr(scope, "_task", None) in tasks:
                logger.warning(LOST_SCOPE, run.id, workflow_id)
                return


def _keep_ends(run: Run) -> None:
    for parked in run.parked.values():
        if parked.keep is not None:
            keep, parked.keep = parked.keep, None
            keep()


def _give_back(run: Run, tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Its waits are declared as they are now, and then nothing of it goes on here."""
    run.waits = ",".join([parked.json for parked in list(run.parked.values())[:MOST_WAITS]])
    run.stop("waiting")
    for task in tasks:
        if not task.cancelling():
            task.cancel()


# -- who stands still ------------------------------------------------------------------------------


def _tasks_of(runs: Iterable[Run]) -> dict[Run, set[asyncio.Task[Any]]]:
    found: dict[Run, set[asyncio.Task[Any]]] = {run: set() for run in runs}
    for task in asyncio.all_tasks():
        run = run_of(task)
        if run in found:
            found[run].add(task)
    return found


def run_of(task: asyncio.Task[Any]) -> Run | None:
    """The execution that a task belongs to: its variables are a copy of those of the task that began it."""
    if sys.version_info >= (3, 12):
        return task.get_context().get(current)
    found = (each.get(current) for each in gc.get_referents(task) if isinstance(each, Variables))
    return next(found, None)


def _stands_still(
    task: asyncio.Task[Any], tasks: set[asyncio.Task[Any]], futures: set[asyncio.Future[None]]
) -> bool:
    """Whether only other tasks of the execution, or the end of one of its waits, can move this one."""
    waiter: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    if waiter is None or waiter.done():
        return False
    return _is_own(waiter, tasks, futures) or _waits_for_own(task, tasks, futures)


def _is_own(future: Any, tasks: set[asyncio.Task[Any]], futures: set[asyncio.Future[None]]) -> bool:
    if future.done():
        return False
    if future in tasks or future in futures:
        return True
    gathered = getattr(future, "_children", None)
    return gathered is not None and _all_own(gathered, tasks, futures)


def _waits_for_own(
    task: asyncio.Task[Any], tasks: set[asyncio.Task[Any]], futures: set[asyncio.Future[None]]
) -> bool:
    """The waiters of asyncio.wait, as_completed and TaskGroup do not tell for whom they wait; their frames do."""
    for code, names in _coroutines(task.get_coro()):
        if code == "_wait":
            return names.get("timeout") is None and _all_own(names.get("fs", ()), tasks, futures)
        if code in ("TaskGroup.__aexit__", "TaskGroup._aexit"):
            return _all_own(getattr(names.get("self"), "_tasks", ()), tasks, futures)
        if code in ("as_completed.<locals>._wait_for_one", "_AsCompletedIterator._wait_for_one"):
            return True
    return False


def _all_own(waited: Iterable[Any], tasks: set[asyncio.Task[Any]], futures: set[asyncio.Future[None]]) -> bool:
    pending = [each for each in waited if not each.done()]
    return bool(pending) and all(_is_own(each, tasks, futures) for each in pending)


def _coroutines(coroutine: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    """Those of asyncio that a task is in: what they are called, and their variables."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and str(frame.f_globals.get("__name__")).startswith("asyncio."):
            yield frame.f_code.co_qualname, frame.f_locals
        coroutine = getattr(coroutine, "cr_await", None)
