"""What all kinds of steps share: keys, replay, saving, and standing still."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ._batches import MAX_RESULT_BYTES, size_over
from ._errors import ExecutionFailed, Forbidden, PayloadInvalid, PolosError, StepError, StepRefused, StepsChanged
from ._json import decode, encode
from ._replay import Place, Replay, shown
from ._running import Run, error_info
from ._typing import Shape
from ._waits import Parked, inside, run_of

if TYPE_CHECKING:
    from ._context import Tools

T = TypeVar("T")
E = TypeVar("E", bound=PolosError)
LAST_SAVE_SECONDS = 3.0  # for what is done to be saved when its execution is being stopped; under STOP_SECONDS


class StepBase:
    __slots__ = ("_replay", "_run", "_tools")

    def __init__(self, run: Run, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self._replay: Replay = run.steps()

    def _counted(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """A step, until it is awaited only asked for."""
        self._run.unbegun += 1
        return self._under_way(work)

    async def _under_way(self, work: Coroutine[Any, Any, T]) -> T:
        """What waits beside it is declared when the last of them has ended."""
        run = self._run
        run.unbegun -= 1
        run.busy += 1
        try:
            return await work
        except StepsChanged as error:
            # Code that catches errors, to undo what it did for example, is not to do that because of this one.
            self._replay.changed = self._replay.changed or error
            raise
        finally:
            run.busy -= 1
            if run.parked and not run.busy:
                self._tools.parking.look(run)

    # -- what is stored ----------------------------------------------------------------------------

    async def _is_stored(self, key: str, place: Place) -> bool:
        if self._run.ending == "waiting":  # this runs again from its top when a wait is over
            raise asyncio.CancelledError(f"step {key!r} is not begun: execution {self._run.id} waits")
        if self._replay.ask(key, place, self._run.id):
            return True
        if self._replay.unused and key not in self._replay.over:
            await self._replay.check_new(key, alone=self._is_alone, listing=self._listing)
        return False

    def _is_alone(self) -> bool:
        """Whether nothing else of this execution runs, so that what comes next is what this task does next."""
        if self._run.attempt_was_read:
            return False
        mine = asyncio.current_task()
        return not any(run_of(task) is self._run for task in asyncio.all_tasks() if task is not mine)

    async def _listing(self) -> list[dict[str, Any]] | None:
        """All steps that are on record, failed ones too; None when this worker's key may not read them."""
        path = f"/executions/{self._run.id}/steps"
        try:
            reply = await self._tools.client.http.call("GET", path, lane="steps", patience=None)
        except Forbidden:
            return None
        found: list[dict[str, Any]] = reply["steps"]
        return found

    def _another_kind(self, key: str, kind: str) -> StepsChanged:
        return StepsChanged(
            f"The step {key!r} at {shown(self._replay.asked[key])} is a {kind}, which is not what an earlier "
            "attempt stored under this key: give the new step a key of its own"
        )

    def _typed(self, value: Any, shape: Shape, key: str, what: str = "The result of step") -> Any:
        try:
            return shape.load(value, f"{what} {key}, asked for at {shown(self._replay.asked[key])},")
        except PayloadInvalid as error:
            raise StepError(str(error)) from error

    # -- saving ------------------------------------------------------------------------------------

    async def _keep(self, key: str, started: str, result: str) -> Any:
        """The value that counts: this one, or the one that was saved before, unknown to us."""
        outcome = await self._save(key, started, result=result)
        if outcome != "repeated":
            return decode(result)
        known = await self._listing() or ()
        return next((step["result"] for step in known if step["key"] == key), decode(result))

    async def _save(
        self, key: str, started: str, *, result: str, child: str | None = None, ended: str | None = None
    ) -> str:
        if size := size_over(result, MAX_RESULT_BYTES):
            detail = f"The result has {size:,} bytes, at most {MAX_RESULT_BYTES:,} are allowed."
            saved: dict[str, Any] = {"outcome": "invalid", "detail": detail}
        else:
            saved = await self._submit(self._body(key, started, child=child, ended=ended, result=result))
        if saved["outcome"] == "invalid":
            error = StepRefused(f"The result of step {key} was not taken: {saved.get('detail', '')}")
            await self._save_error(key, started, error)
            raise error
        return str(saved["outcome"])

    async def _save_error(self, key: str, started: str, error: Exception) -> None:
        await self._submit(self._body(key, started, error=error_info(error)))

    async def _submit(self, step: str) -> dict[str, Any]:
        """Waits until it is saved; for a moment even when the execution is being stopped: it was done."""
        future = self._tools.saver.submit(step)
        try:
            saved = await asyncio.shield(future)
        except asyncio.CancelledError:
            if self._run.ending != "dropped":
                await asyncio.wait((future,), timeout=LAST_SAVE_SECONDS)
            raise
        if saved["outcome"] == "stale":
            self._abandon()
        return saved

    def _body(
        self,
        key: str,
        started: str,
        *,
        result: str | None = None,
        error: dict[str, str] | None = None,
        child: str | None = None,
        ended: str | None = None,
    ) -> str:
        body: dict[str, Any] = {
            "execution_id": self._run.id, "token": self._run.token, "key": key,
            "started_at": started, "ended_at": ended or self._now(),
        }  # fmt: skip
        if error is not None:
            body["error"] = error
        if child is not None:
            body["child_id"] = child
        text = encode(body, f"Step {key}")
        return text if result is None else f'{text[:-1]},"result":{result}}}'

    def _now(self) -> str:
        return iso(self._tools.clock.now())

    # -- ends that are kept ------------------------------------------------------------------------

    def _turn(self, key: str) -> str:
        """The key under which it is waited now: when an attempt ended with the end of a wait, the next one begins
        that anew, under a key of its own. (An attempt that caught it finds it as it was.)"""
        name, turn = key, 1
        while f"{name}.again" in self._replay.stored:
            self._replay.unused -= {name, f"{name}.again"}
            turn += 1
            name = f"{key}@{turn}"
        return name

    async def note_end(self, error: BaseException) -> None:
        """The attempt ends with this error."""
        chain: BaseException | None = error
        while chain is not None:
            if isinstance(chain, PolosError) and chain.step_key is not None:
                why = "failed" if isinstance(chain, ExecutionFailed) else "ended otherwise"
                body = self._body(f"{chain.step_key}.again", self._now(), result=encode(why, "An end"))
                await self._tools.saver.submit(body)
            chain = chain.__cause__

    # -- standing still ----------------------------------------------------------------------------

    def _over(self, key: str, kind: str) -> dict[str, Any] | None:
        """What the server says of a wait that is over; None while it is not."""
        found: dict[str, Any] | None = self._replay.over.get(key)
        if found is not None and found["kind"] != kind:
            raise self._another_kind(key, f"wait for {_FOR[kind]}")
        return found

    async def _park(
        self,
        key: str,
        kind: str,
        more: dict[str, Any],
        *,
        keep: Callable[[], None] | None = None,
    ) -> NoReturn:
        """Stands still until the execution is given back. `more` is for the server."""
        if (step := inside.get()) is not None:
            raise StepError(
                f"{key!r} at {shown(self._replay.asked[key])} waits inside of the step {step!r}, where neither "
                "slot nor worker could be given back: wait outside of steps"
            )
        run, fields = self._run, encode({"key": key, "kind": kind, **more}, f"What step {key} waits for")[:-1]
        parked = run.parked[key] = Parked(fields, now=self._tools.clock.now, keep=keep)
        run.busy -= 1
        self._tools.parking.look(run)
        try:
            await parked.future
        finally:
            run.busy += 1
            del run.parked[key]
        raise AssertionError("a wait is over in another claim, not here")

    def _abandon(self) -> NoReturn:
        """Somebody else has this execution now. Nothing more is done for it, and nothing reported."""
        self._run.ending = "dropped"
        raise asyncio.CancelledError(f"execution {self._run.id} is somebody else's now")


_FOR = {"time": "a time", "executions": "executions", "event": "an event", "resume": "an answer"}


def kept(error: E, key: str) -> E:
    """The error with which a wait ended: the same in every attempt, until one ends with it."""
    error.step_key = key
    return error


def called_from() -> Place:
    """Where the code asks for a step. Taken at the call: a task of its own has no caller to be seen."""
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


def iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
