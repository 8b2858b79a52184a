"""`polos run`: starts an execution and waits for its result, showing its place in line and its progress."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from shutil import get_terminal_size
from typing import Any

from .._client import PolosClient
from .._errors import ExecutionError, PolosError
from .._execution import Execution, ExecutionHandle, Wait, result_of
from .._invocation import Invocation, there_already
from .._queue import NOT_GIVEN
from .._stream import Progress
from .._typing import UNTYPED
from .lines import shown_line, shown_progress
from .payloads import payload
from .payloads import time as time_of

PROGRESS_SECONDS = 1.0  # between two lines of progress, where they cannot replace each other
MOST_WAITS = 3  # in one line
TIMED_OUT = 124  # as timeout(1) says it


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="start an execution and wait for its result",
        description="Starts an execution and waits. Its result goes to stdout as JSON; its place in line, its "
        "state and its progress go to stderr. "
        f"Exit status: 0 completed, 1 failed or cancelled, {TIMED_OUT} not finished in time.",
    )
    parser.add_argument("workflow", metavar="WORKFLOW", help="its id")
    parser.add_argument(
        "--payload", type=payload, metavar="JSON", help="JSON, @FILE that holds JSON, or - to read it from stdin"
    )
    parser.add_argument("--queue", metavar="NAME", help="another queue than the workflow's")
    parser.add_argument("--priority", type=int, metavar="SECONDS", help="head start in line")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--delay", type=float, metavar="SECONDS", help="not before so many seconds")
    start.add_argument(
        "--at",
        type=time_of,
        metavar="TIME",
        help="not before this time, e.g. 2030-01-31T12:00; yours without an offset",
    )
    parser.add_argument("--key", help="idempotency key: a second execution with it is not started")
    parser.add_argument(
        "--dedup-key", metavar="KEY", help="one at a time: no second one while one with it is there"
    )
    parser.add_argument(
        "--dedup-policy",
        choices=("skip", "replace", "cancel_old"),
        default="skip",
        help="what happens to the second",
    )
    parser.add_argument("--queue-timeout", type=float, metavar="SECONDS", help="it fails unless started by then")
    parser.add_argument(
        "--execution-timeout", type=float, metavar="SECONDS", help="it fails unless finished by then"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer; the execution goes on")
    parser.add_argument("--logs", action="store_true", help="show on stderr what it logs, too")
    parser.add_argument("--no-wait", action="store_true", help="print its id and leave")
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url) as client:
        item = _invocation(options)
        handle = await client.start(item)
        if not options.no_wait:
            _tell(f"{handle.id} {'started' if handle.created else 'was there already'}")
        if not handle.created:
            _write("".join(f"{note}\n" for note in there_already(item)))
        if options.no_wait:
            print(handle.id, flush=True)
            await _warn(handle)
            return 0
        try:
            return await _wait(handle, options)
        except asyncio.CancelledError:
            _tell(f"nobody waits any more; it goes on, and `polos cancel {handle.id}` stops it")
            raise


def _invocation(options: argparse.Namespace) -> Invocation:
    return Invocation(
        workflow=options.workflow,
        payload=options.payload,
        queue_name=options.queue,
        idempotency_key=options.key,
        priority=options.priority,
        delay=options.delay,
        run_at=options.at,
        dedup_key=options.dedup_key,
        dedup_policy=options.dedup_policy,
        queue_timeout=NOT_GIVEN if options.queue_timeout is None else options.queue_timeout,
        execution_timeout=NOT_GIVEN if options.execution_timeout is None else options.execution_timeout,
    )


async def _warn(handle: ExecutionHandle[Any]) -> None:
    """It is started, whatever else is wrong."""
    with suppress(PolosError):
        if (execution := await handle.get()).served is False:
            _tell(in_words(execution))


async def _wait(handle: ExecutionHandle[Any], options: argparse.Namespace) -> int:
    screen = _Screen(with_logs=options.logs)
    try:
        async with asyncio.timeout(options.timeout):
            last = await _follow(handle, screen)
    except TimeoutError:
        screen.end()
        _tell(f"not finished after {options.timeout:g} s; it goes on, and `polos cancel {handle.id}` stops it")
        return TIMED_OUT
    finally:
        screen.end()
    return _end(last)


async def _follow(handle: ExecutionHandle[Any], screen: _Screen) -> Execution:
    last: Execution | None = None
    async for update in handle.stream():
        if isinstance(update, Execution):
            last = update
            if not update.is_final:
                screen.state(in_words(update))
        elif isinstance(update, Progress):
            screen.progress(shown_progress(update))
        elif screen.with_logs:
            screen.line(shown_line(update))
    return last or await handle.get()


class _Screen:
    """Stderr. On a terminal the latest progress stands in the last line; elsewhere it is said once a second."""

    def __init__(self, *, with_logs: bool) -> None:
        self.with_logs = with_logs
        self._is_terminal = sys.stderr.isatty()
        self._told = self._progress = ""
        self._said_at = -PROGRESS_SECONDS

    def state(self, words: str) -> None:
        if words != self._told:
            self.line(words)
        self._told = words

    def line(self, text: str) -> None:
        if self._progress:
            _write(f"\r\x1b[K{text}\n{self._progress}")
        else:
            _tell(text)

    def progress(self, text: str) -> None:
        if self._is_terminal:
            self._progress = text[: max(20, get_terminal_size().columns - 1)]
            _write(f"\r\x1b[K{self._progress}")
        elif (now := time.monotonic()) - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            _tell(text)

    def end(self) -> None:
        if self._progress:
            self._progress = ""
            _write("\n")


def in_words(execution: Execution) -> str:
    """What keeps it, for somebody who waits for it."""
    if execution.status == "queued":
        return f"queued on {execution.queue}{_in_line(execution)}"
    if execution.status == "running":
        slot = "" if execution.slot is None else f" in slot {execution.slot} of {execution.queue}"
        return f"running{slot}, attempt {execution.attempt} of {execution.max_attempts}"
    if execution.status == "scheduled" and execution.due_at is not None:
        return f"scheduled for {execution.due_at:%Y-%m-%d %H:%M:%S %Z}"
    if execution.waits:
        return "waits for " + " and ".join(map(_wait_in_words, execution.waits[:MOST_WAITS]))
    return execution.status


def _in_line(execution: Execution) -> str:
    if execution.served is False:
        return (
            f"; no worker serves {execution.workflow_id} there, so it waits until one does: `polos worker MODULE` "
            "starts one"
        )
    return "" if execution.position is None else f", place {execution.position} in line"


def _wait_in_words(wait: Wait) -> str:
    until = "" if wait.until is None else f", until {wait.until:%Y-%m-%d %H:%M:%S %Z}"
    match wait.kind:
        case "time":
            return f"its time in {wait.key}{until}"
        case "executions":
            return f"{wait.executions} other executions{until}"
        case "event":
            return f"an event under {wait.topic}{until}"
        case _:
            return f"an answer to {wait.key}{until}"


def _end(execution: Execution) -> int:
    try:
        result = result_of(execution, UNTYPED)
    except ExecutionError as error:
        if execution.error is not None and execution.error.traceback:
            _tell(execution.error.traceback.rstrip())
        _tell(str(error))
        return 1
    print(json.dumps(result, ensure_ascii=False, indent=2))
    return 0


def _tell(text: str) -> None:
    _write(f"{text}\n")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
