"""`polos cancel`: asks executions to stop."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .._client import PolosClient
from .._errors import RequestRefused
from .pages import SHORT_PATIENCE


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "cancel",
        help="cancel executions",
        description="Cancels executions. One that runs holds its slot until its worker has stopped it.",
    )
    parser.add_argument("ids", nargs="+", metavar="ID")
    return parser


async def main(options: argparse.Namespace) -> int:
    status = 0
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        for id in options.ids:
            try:
                print(f"{id} is {(await client.cancel_execution(id)).status}")
            except RequestRefused as error:
                print(f"{id}: {error.detail}", file=sys.stderr)
                status = 1
    return status
