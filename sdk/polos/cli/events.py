"""`polos events`: what was published; `polos publish`: publishes an event."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .._client import PolosClient
from .._events import Event
from .pages import SHORT_PATIENCE, count
from .tables import Shorten, ago, screen_width, table

HEAD = ("ID", "TOPIC", "PUBLISHED", "PAYLOAD")
SHORT: dict[int, Shorten] = {0: "id", 1: "middle", 3: "end"}


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "events", help="show events", description="Shows events, the newest first."
    )
    parser.add_argument("--topic", metavar="NAME", help="only those under this topic")
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="at most so many (default: %(default)s)"
    )
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        found = await client.list_events(options.topic, limit=options.limit)
    if found:
        print(table(HEAD, map(_row, found), short=SHORT, width=screen_width()))
    else:
        print("There are no such events.")
    return 0


def _row(event: Event[Any]) -> tuple[object, ...]:
    payload = json.dumps(event.payload, ensure_ascii=False)
    return (event.id, event.topic, ago(event.published_at.isoformat()), payload)
