"""`polos cancel`: asks executions to stop."""

from __future__ import annotations

import argparse
from typing import Any

from .._client import PolosClient
from .ids import execution_id, for_each


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "cancel",
        help="cancel executions",
        description="Cancels executions. One that runs holds its slot until its worker has stopped it.",
    )
    parser.add_argument("ids", nargs="+", type=execution_id, metavar="ID")
    parser.add_argument(
        "--children",
        choices=("cancel", "leave"),
        default="leave",
        help="what becomes of what they have started (default: %(default)s)",
    )
    return parser


async def main(options: argparse.Namespace) -> int:
    async def cancel(client: PolosClient, id: str) -> str:
        return f"{id} is {(await client.cancel_execution(id, children=options.children)).status}"

    return await for_each(options, cancel)
