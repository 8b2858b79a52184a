"""One claimed execution while it runs here, and what is told about it afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _retrying
from ._batches import MAX_RESULT_BYTES, size_over
from ._errors import AttemptTimeout, NotSerializable
from ._json import encode
from ._replay import Replay
from ._retrying import RetryPolicy

if TYPE_CHECKING:
    from ._waits import Parked

logger = logging.getLogger("polos")

Ending = Literal["cancelled", "released", "dropped", "waiting"]

MAX_MESSAGE = 4_000
MAX_TRACEBACK = 20_000
MAX_FRAMES = 20
MAX_CAUSES = 5
_HERE = str(Path(__file__).parent)


class Done(NamedTuple):
    """How a claim ended, ready to be sent."""

    id: str
    token: str
    json: str
    replaced: bool = False  # it says that the server refused the real one


class Run:
    """A claim and the task that works on it. `ending` says why it is being stopped, if it is."""

    __slots__ = (
        "attempt_was_read", "begun", "busy", "claim", "deadline", "ending", "id", "is_async", "looks", "on_stop",
        "parked", "policy", "progress", "replay", "report", "state_schema", "still_since", "task", "token",
        "unbegun", "waits",
    )  # fmt: skip

    def __init__(self, claim: dict[str, Any], token: str, *, is_async: bool) -> None:
        self.id: str = claim["id"]
        self.token = token
        self.claim = claim
        self.is_async = is_async
        self.begun = False
        self.ending: Ending | None = None
        self.on_stop: list[Callable[[], None]] = []  # who waits for it to be stopped
        self.task: asyncio.Task[None] | None = None
        self.policy = _retrying.DEFAULT
        self.deadline: float | None = None  # of this attempt, on the monotonic clock
        self.attempt_was_read = False  # what looks at its number may do something else in each attempt
        self.replay: Replay | None = None  # once it uses steps
        self.progress: tuple[float | None, str] = (None, "")  # as it was said last
        self.report: Any = None  # once it tells something
        self.state_schema: type[Any] | None = None
        self.unbegun = 0  # steps that were asked for and not awaited, so far
        self.busy = 0  # steps that are under way and do not wait
        self.parked: dict[str, Parked] = {}  # steps that wait, by key
        self.looks, self.still_since = 0, 0.0  # of `Parking`
        self.waits = ""  # when it ends with them: JSON

    @property
    def root_id(self) -> str:
        """The execution that began it all: its own id when it has no parent."""
        return str(self.claim["root_id"] or self.id)

    @property
    def attempt(self) -> int:
        return int(self.claim["attempt"])

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def is_replaying(self) -> bool:
        """Whether it still goes over what earlier attempts have finished."""
        return bool(self.claim.get("steps") or self.claim.get("waits")) and self.steps().goes_over

    def steps(self) -> Replay:
        if self.replay is None:
            self.replay = Replay(self.claim.get("steps") or {}, self.claim.get("waits") or {})
        return self.replay

    def stop(self, ending: Ending) -> None:
        """Cancels the task, once. A sync function runs on: nobody can stop a thread."""
        if self.ending == "dropped" or (self.ending == "waiting" and ending == "released"):
            return
        first = self.ending is None
        self.ending = ending
        for tell in [*self.on_stop]:  # others may leave meanwhile, in threads of theirs
            tell()
        # A task that is cancelled before it begins never runs at all, not even its clean-up: it looks by itself.
        if first and self.begun and self.is_async and self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        """It has ended: tasks of it that nobody waited for do not wait for ever."""
        for parked in list(self.parked.values()):
            parked.future.cancel()


def result_json(value: Any, workflow_id: str) -> str:
    """A workflow's result as JSON, NotSerializable when it cannot be kept."""
    if value is None:
        return "null"
    what = f"The result of {workflow_id}"
    text = encode(value, what)
    if size := size_over(text, MAX_RESULT_BYTES):
        raise NotSerializable(f"{what} has {size:,} bytes as JSON; the most is {MAX_RESULT_BYTES:,}")
    return text


# What runs in this task, and in the threads that it uses.
current: ContextVar[Run | None] = ContextVar("polos_execution", default=None)


def completed(run: Run, result: str) -> Done:
    if run.replay is not None and run.replay.changed is not None:
        return failed(run, run.replay.changed)  # the code caught it, and went on as if nothing were wrong
    if run.claim.get("steps") or run.claim.get("waits"):
        _tell_unused(run)
    if result == "null":
        return Done(run.id, run.token, f'{{"id":"{run.id}","token":"{run.token}","outcome":"completed"}}')
    return Done(
        run.id, run.token, f'{{"id":"{run.id}","token":"{run.token}","outcome":"completed","result":{result}}}'
    )


def stopped(run: Run, ending: Ending) -> Done:
    waits = f',"waits":[{run.waits}]' if ending == "waiting" else ""
    return Done(run.id, run.token, f'{{"id":"{run.id}","token":"{run.token}","outcome":"{ending}"{waits}}}')


def failed(run: Run, error: BaseException) -> Done:
    """A failed attempt: another one follows if attempts are left and it could end differently."""
    pause = retry_in(run.attempt, run.claim["max_attempts"], error, run.policy)
    body: dict[str, Any] = {"id": run.id, "token": run.token, "outcome": "failed", "error": error_info(error)}
    if pause is not None:
        body["retry_in"] = pause
    return Done(run.id, run.token, encode(body, "An error"))


def not_taken(done: Done, detail: str) -> Done:
    """The server does not take a result: then the execution has failed, and says why."""
    error = {"type": "ResultRefused", "message": _clean(detail, MAX_MESSAGE)}
    body = {"id": done.id, "token": done.token, "outcome": "failed", "error": error}
    return Done(done.id, done.token, encode(body, "An error"), replaced=True)


def retry_in(
    attempt: int,
    max_attempts: int,
    error: BaseException | None = None,
    policy: RetryPolicy = _retrying.DEFAULT,
) -> float | None:
    """Seconds until the next attempt; None after the last one, and after an error that would come again."""
    if attempt >= max_attempts:
        return None
    return policy.pause(attempt) if error is None else policy.pause_after(error, attempt)


def error_info(error: BaseException) -> dict[str, str]:
    """Type, message and traceback, cut to what the server takes and without this package's own frames."""
    lines = [line for each in _with_causes(error) for line in _own_lines(each)]
    reason = {"reason": error.reason} if isinstance(error, AttemptTimeout) else {}
    return reason | {
        "type": _clean(type(error).__name__, 200),
        "message": _clean(str(error), MAX_MESSAGE),
        "traceback": _clean("".join(lines), MAX_TRACEBACK),
    }


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error after what it was raised from, as Python shows them."""
    chain = [error]
    while (cause := chain[0].__cause__) is not None and len(chain) < MAX_CAUSES and cause not in chain:
        chain.insert(0, cause)
    return chain


def _own_lines(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    while frames and frames[0].filename.startswith(_HERE):
        del frames[0]
    return traceback.format_list(frames[-MAX_FRAMES:]) + traceback.format_exception_only(error)


def _tell_unused(run: Run) -> None:
    if words := run.steps().unused_in_words():
        logger.warning("Execution %s of %s %s", run.id, run.claim["workflow_id"], words)


def _clean(text: str, most: int) -> str:
    """The end of a text is what explains; what PostgreSQL or JSON cannot hold is spelled out."""
    text = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else "…" + text[1 - most :]
