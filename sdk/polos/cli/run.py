"""`polos run`: starts an execution and waits for its result, showing its place in line meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

from .._client import PolosClient
from .._errors import ExecutionError, ExecutionTimeout
from .._execution import Execution, ExecutionHandle, result_of
from .._invocation import Invocation
from .._typing import UNTYPED

LOOK_SECONDS = 1.0  # between two looks at its place
TIMED_OUT = 124  # as timeout(1) says it


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="start an execution and wait for its result",
        description="Starts an execution and waits. Its result goes to stdout as JSON, its state to stderr. "
        f"Exit status: 0 completed, 1 failed or cancelled, {TIMED_OUT} not finished in time.",
    )
    parser.add_argument("workflow", metavar="WORKFLOW", help="its id")
    parser.add_argument(
        "--payload", type=_payload, metavar="JSON", help="JSON, @FILE that holds JSON, or - to read it from stdin"
    )
    parser.add_argument("--queue", metavar="NAME", help="another queue than the workflow's")
    parser.add_argument("--priority", type=int, default=0, metavar="SECONDS", help="head start in line")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--delay", type=float, metavar="SECONDS", help="not before so many seconds")
    start.add_argument(
        "--at",
        type=_time,
        metavar="TIME",
        help="not before this time, e.g. 2030-01-31T12:00; yours without an offset",
    )
    parser.add_argument("--key", help="idempotency key: a second execution with it is not started")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer; the execution goes on")
    parser.add_argument("--no-wait", action="store_true", help="print its id and leave")
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url) as client:
        handle = await client.start(
            Invocation(
                workflow=options.workflow,
                payload=options.payload,
                queue_name=options.queue,
                idempotency_key=options.key,
                priority=options.priority,
                delay=options.delay,
                run_at=options.at,
            )
        )
        if options.no_wait:
            print(handle.id)
            return 0
        try:
            return await _wait(client, handle, options.timeout)
        except asyncio.CancelledError:
            _tell(f"nobody waits any more; it goes on, and `polos cancel {handle.id}` stops it")
            raise


async def _wait(client: PolosClient, handle: ExecutionHandle[Any], timeout: float | None) -> int:
    _tell(f"{handle.id} {'started' if handle.created else 'was there already'}")
    told, left = "", timeout
    while True:
        turn = LOOK_SECONDS if left is None else min(LOOK_SECONDS, left)
        try:
            return _end(await client.wait(handle.id, timeout=turn))
        except ExecutionTimeout as waited:
            if waited.execution is not None and (words := in_words(waited.execution)) != told:
                _tell(told := words)
        if left is not None and (left := left - turn) <= 0:
            _tell(f"not finished after {timeout:g} s; it goes on, and `polos cancel {handle.id}` stops it")
            return TIMED_OUT


def in_words(execution: Execution) -> str:
    """What keeps it, for somebody who waits for it."""
    if execution.status == "queued":
        place = "" if execution.position is None else f", place {execution.position} in line"
        return f"queued on {execution.queue}{place}"
    if execution.status == "running":
        slot = "" if execution.slot is None else f" in slot {execution.slot} of {execution.queue}"
        return f"running{slot}, attempt {execution.attempt} of {execution.max_attempts}"
    if execution.status == "scheduled" and execution.due_at is not None:
        return f"scheduled for {execution.due_at:%Y-%m-%d %H:%M:%S %Z}"
    return execution.status


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
    print(text, file=sys.stderr, flush=True)


def _time(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time like 2030-01-31T12:00 or 2030-01-31T12:00Z"
        ) from error


def _payload(text: str) -> Any:
    try:
        if text == "-":
            return json.load(sys.stdin)
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        hint = """a text needs its quotes too: '"text"'"""
        raise argparse.ArgumentTypeError(f"this is not JSON ({error}); {hint}") from error
