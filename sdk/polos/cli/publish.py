"""`polos publish`: publishes an event."""

from __future__ import annotations

import argparse
from typing import Any

from .._client import PolosClient
from .pages import SHORT_PATIENCE
from .payloads import payload


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "publish",
        help="publish an event",
        description="Publishes an event: executions that wait for its topic go on, workflows that it triggers "
        "start. Prints its id.",
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "--payload", type=payload, metavar="JSON", help="JSON, @FILE that holds JSON, or - to read it from stdin"
    )
    parser.add_argument("--id", metavar="UUID", help="of your own: a second time it is not published again")
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        event = await client.publish_event(options.topic, options.payload, id=options.id)
    print(event.id)
    return 0
