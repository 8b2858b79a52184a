"""`polos executions`: the latest ones, or those of a queue, a workflow, a status."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .._client import PolosClient
from .pages import read_pages
from .tables import ago, table

HEAD = ("ID", "WORKFLOW", "QUEUE", "STATUS", "ATTEMPT", "ENQUEUED", "ERROR")
STATUSES = ("scheduled", "queued", "running", "waiting", "cancelling", "completed", "failed", "cancelled")
FILTERS = ("queue", "workflow", "status", "parent")
LONGEST_ERROR = 60


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "executions", help="show executions", description="Shows executions, the newest first."
    )
    parser.add_argument("--queue", metavar="NAME")
    parser.add_argument("--workflow", metavar="ID")
    parser.add_argument("--status", choices=STATUSES)
    parser.add_argument("--parent", metavar="ID", help="the children of this one")
    parser.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="at most so many (default: %(default)s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="as the REST API gives them, with payloads and results"
    )
    return parser


async def main(options: argparse.Namespace) -> int:
    filters = {name: value for name in FILTERS if (value := getattr(options, name))}
    async with PolosClient(options.api_url) as client:
        found = await read_pages(client, "executions", filters, most=options.limit)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print(table(HEAD, map(_row, found)) if found else "There are no such executions.")
    return 0


def _row(execution: dict[str, Any]) -> tuple[object, ...]:
    return (
        execution["id"], execution["workflow_id"], execution["queue"], execution["status"],
        f"{execution['attempt']} of {execution['max_attempts']}", ago(execution["enqueued_at"]),
        _error(execution["error"]),
    )  # fmt: skip


def _error(error: dict[str, str] | None) -> str:
    if not error:
        return ""
    text = f"{error['type']}: {error['message']}".splitlines()[0]
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 1] + "…"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 10,000")
    return int(text)
