"""`polos logs`: what an execution logged, and what it logs from now on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from .._caller import path_of
from .._client import PolosClient
from .._execution import Execution
from .._stream import LogLine, read_line
from .ids import execution_id, whole_id
from .lines import LEVELS, at_least, shown_line
from .pages import SHORT_PATIENCE


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "logs",
        help="show what an execution logged",
        description="Shows the lines that a workflow sent with ctx.log, oldest first. Exit status with --follow: "
        "0 completed, 1 failed or cancelled.",
    )
    parser.add_argument("id", type=execution_id, metavar="EXECUTION", help="its id")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the execution has ended")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="only those, and what is more serious")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url) as client:
        options.id = await whole_id(client, options.id)
        return await (_follow if options.follow else _show)(client, options)


async def _show(client: PolosClient, options: argparse.Namespace) -> int:
    after, more, count = 0, True, 0
    while more:
        path = path_of(options.id, f"/logs?after={after}&level={options.level}")
        page = await client.http.call("GET", path, lane="client", patience=SHORT_PATIENCE)
        if not after and page["first"] > 1:
            _tell(f"{page['first'] - 1:,} older lines are not kept")
        for line in page["lines"]:
            _print(read_line(line), options)
        count += len(page["lines"])
        after, more = page["after"], page["more"]
    if not count:
        _tell("it has logged nothing" + (f" of level {options.level}" if options.level != LEVELS[0] else ""))
    return 0


async def _follow(client: PolosClient, options: argparse.Namespace) -> int:
    last: Execution | None = None
    async for update in client.stream(options.id):
        if isinstance(update, LogLine):
            _print(update, options)
        elif isinstance(update, Execution):
            last = update
    if last is None:
        return 1
    _tell(f"{last.id} is {last.status}" + (f": {last.error.type}: {last.error.message}" if last.error else ""))
    return 0 if last.status == "completed" else 1


def _print(line: LogLine, options: argparse.Namespace) -> None:
    if line.level not in at_least(options.level):
        return
    if options.json:
        text = json.dumps(dataclasses.asdict(line) | {"at": line.at.isoformat()}, ensure_ascii=False)
    else:
        text = shown_line(line)
    print(text, flush=True)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
