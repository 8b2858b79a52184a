"""`polos executions`: the latest ones, or those of a queue, a workflow, a status."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import urlencode

from .._client import PolosClient
from .tables import SHORT_PATIENCE, ago, table

HEAD = ("ID", "WORKFLOW", "QUEUE", "STATUS", "ATTEMPT", "ENQUEUED", "ERROR")
STATUSES = ("scheduled", "queued", "running", "waiting", "cancelling", "completed", "failed", "cancelled")
LONGEST_ERROR = 60
PAGE = 200


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
    filters = {name: getattr(options, name) for name in ("queue", "workflow", "status", "parent")}
    async with PolosClient(options.api_url) as client:
        found = await _newest(client, options.limit, {name: value for name, value in filters.items() if value})
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print(table(HEAD, map(_row, found)) if found else "There are no such executions.")
    return 0


async def _newest(client: PolosClient, limit: int, filters: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        query = filters | {"limit": str(min(PAGE, limit - len(found)))} | ({"cursor": cursor} if cursor else {})
        page = await client.http.call(
            "GET", f"/executions?{urlencode(query)}", lane="client", patience=SHORT_PATIENCE
        )
        found += page["executions"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


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
