"""`polos executions`: the latest ones, or those that a search finds."""

from __future__ import annotations

import argparse
import json
from typing import Any, get_args

from .._client import PolosClient
from .._listing import Status, search_query
from .ids import execution_id, whole_id
from .pages import SHORT_PATIENCE, count, read_pages
from .tables import Shorten, ago, screen_width, table

HEAD = ("ID", "WORKFLOW", "QUEUE", "STATUS", "ATTEMPT", "ENQUEUED", "ERROR")
FILTERS = ("queue", "workflow", "status", "since", "before")
SHORT: dict[int, Shorten] = {0: "id", 1: "middle", 2: "middle", 6: "end"}


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "executions",
        help="show executions",
        description="Shows executions, the newest first. On a terminal ids, names and errors are shortened to "
        "fit; in pipes they are whole.",
    )
    parser.add_argument(
        "--search", default="", metavar="LINE",
        help="a search as on the page, e.g. 'status:failed error:\"timed out\" payload.user_id:42'",
    )  # fmt: skip
    parser.add_argument("--queue", metavar="NAME")
    parser.add_argument("--workflow", metavar="ID")
    parser.add_argument("--status", choices=get_args(Status))
    parser.add_argument("--since", metavar="TIME", help="enqueued since then: 2h, 7d, 10:30, 2026-01-31; in UTC")
    parser.add_argument("--before", metavar="TIME", help="enqueued before then")
    parser.add_argument("--parent", type=execution_id, metavar="ID", help="the children of this one")
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="at most so many (default: %(default)s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="as the REST API gives them, with payloads and results"
    )
    return parser


async def main(options: argparse.Namespace) -> int:
    filters = {name: value for name in FILTERS if (value := getattr(options, name))}
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        if options.parent:
            filters["parent"] = await whole_id(client, options.parent)
        query = search_query(options.search, filters)
        found = await read_pages(client, "executions", query, most=options.limit)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    elif found:
        print(table(HEAD, map(_row, found), short=SHORT, width=screen_width()))
    else:
        print("There are no such executions.")
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
    return f"{error['type']}: {error['message']}".splitlines()[0]
