"""`polos rerun`: runs executions again as new ones."""

from __future__ import annotations

import argparse
from typing import Any

from .._client import PolosClient
from .._queue import NOT_GIVEN
from .ids import execution_id, for_each
from .payloads import payload


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "rerun",
        help="run executions again, as new ones",
        description="Starts a new execution like each of these: same workflow, queue and payload, from the "
        "beginning. Keys of the old one (--key, --dedup-key) do not hold it back. Prints the ids of the new ones.",
    )
    parser.add_argument("ids", nargs="+", type=execution_id, metavar="ID")
    parser.add_argument(
        "--payload", type=payload, default=NOT_GIVEN, metavar="JSON",
        help="another payload: JSON, @FILE that holds JSON, or - to read it from stdin",
    )  # fmt: skip
    return parser


async def main(options: argparse.Namespace) -> int:
    async def rerun(client: PolosClient, id: str) -> str:
        return (await client.rerun_execution(id, payload=options.payload)).id

    return await for_each(options, rerun)
