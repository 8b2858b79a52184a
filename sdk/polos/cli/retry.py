"""`polos retry`: queues failed or cancelled executions again."""

from __future__ import annotations

import argparse
from typing import Any

from .._client import PolosClient
from .ids import execution_id, for_each


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "retry",
        help="try failed or cancelled executions again",
        description="Queues failed or cancelled executions again, in a new place and with one more attempt. Steps "
        "that are finished are not done again. `polos rerun` begins anew, as another execution.",
    )
    parser.add_argument("ids", nargs="+", type=execution_id, metavar="ID")
    return parser


async def main(options: argparse.Namespace) -> int:
    async def retry(client: PolosClient, id: str) -> str:
        return f"{id} is {(await client.retry_execution(id)).status}"

    return await for_each(options, retry)
