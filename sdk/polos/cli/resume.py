"""`polos resume`: answers an execution that asks."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .._client import PolosClient
from .._errors import RequestRefused
from .._execution import Execution, Wait
from .ids import execution_id, whole_id
from .pages import SHORT_PATIENCE
from .payloads import payload


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "resume",
        help="answer an execution that asks",
        description="Answers an execution that is suspended, and it goes on. Without --data: shows what it asks.",
    )
    parser.add_argument("id", type=execution_id, metavar="ID", help="the execution")
    parser.add_argument(
        "key", nargs="?", metavar="KEY", help="of its step; needed when it asks for several answers"
    )
    parser.add_argument(
        "--data", type=payload, default=argparse.SUPPRESS, metavar="JSON",
        help="the answer: JSON, @FILE that holds JSON, or - to read it from stdin",
    )  # fmt: skip
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        try:
            options.id = await whole_id(client, options.id)
            return await _resume(client, options)
        except RequestRefused as error:
            return _complain(f"{options.id}: {error.detail}")


async def _resume(client: PolosClient, options: argparse.Namespace) -> int:
    key: str | None = options.key
    if key is None or "data" not in options:
        execution = await client.get_execution(options.id)
        asked = [wait for wait in execution.waits if wait.kind == "resume" and key in (None, wait.key)]
        if not asked:
            return _complain(_nobody(execution, key))
        if "data" not in options:
            return _show(asked)
        if len(asked) > 1:
            return _complain(f"{options.id} asks in {', '.join(wait.key for wait in asked)}: say in which KEY")
        key = asked[0].key
    await client.resume(options.id, key, options.data)
    print(f"{options.id} goes on from {key}")
    return 0


def _show(asked: list[Wait]) -> int:
    for wait in asked:
        print(f"{wait.key} {json.dumps(wait.note, ensure_ascii=False)}")
    print("Answer with --data.", file=sys.stderr)
    return 0


def _nobody(execution: Execution, key: str | None) -> str:
    where = "" if key is None else f" in {key}"
    return f"{execution.id} is {execution.status} and asks nothing{where}"


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
