"""`polos queues`: limits, what runs and what waits."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from .._client import PolosClient
from .pages import SHORT_PATIENCE, read_pages
from .tables import Shorten, duration, screen_width, table

HEAD = ("QUEUE", "LIMIT", "RUNNING", "WAITING", "SCHEDULED", "OLDEST", "STATE")
NUMBERS = (2, 3, 4)
SHORT: dict[int, Shorten] = {0: "middle", 1: "end"}
CLEAR = "\x1b[H\x1b[J"


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "queues",
        help="show the queues",
        description="Shows all queues with their limits, what runs and what waits.",
    )
    parser.add_argument("--search", default="", metavar="TEXT", help="only those that have this in their name")
    parser.add_argument(
        "--watch", type=_seconds, nargs="?", const=2.0, metavar="SECONDS",
        help="show them again and again, until Ctrl-C (default: every 2 s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="as the REST API gives them")
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        while True:
            found = await read_pages(client, "queues", {"search": options.search})
            text = json.dumps(found, ensure_ascii=False, indent=2) if options.json else _shown(found)
            print((CLEAR if options.watch and sys.stdout.isatty() else "") + text, flush=True)
            if not options.watch:
                return 0
            await asyncio.sleep(options.watch)


def _shown(queues: list[dict[str, Any]]) -> str:
    if not queues:
        return "There are no queues."
    return table(HEAD, map(_row, queues), right=NUMBERS, short=SHORT, width=screen_width())


def _row(queue: dict[str, Any]) -> tuple[object, ...]:
    return (
        queue["name"], _limit(queue), queue["running"] + queue.get("cancelling", 0), queue["waiting"],
        queue["scheduled"], duration(queue["oldest_wait_seconds"]), queue["state"],
    )  # fmt: skip


def _limit(queue: dict[str, Any]) -> str:
    """With what code says, where an admin says something else."""
    words = _number(queue["effective_limit"])
    return f"{words} (declared: {_number(queue['declared_limit'])})" if queue["override"] else words


def _number(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds from 0.1 to 3600")
    return seconds
