"""What a search finds as a file, CSV or JSON lines, written while it is looked for.

No cursor is held open: a transaction of minutes would keep vacuum away from the hot table. Each part is a search
of its own that goes on where the last one ended; ids fall from part to part, so nothing comes twice, and memory
holds one part. When the browser goes away, the part under way is the last.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import sync_to_async
from django.db import connection
from msgspec import Raw

from ..engine.statements import statement
from .finding import Found, find
from .line import Search

PART, PART_BYTES, PART_SECONDS = 1_000, 4 * 1024 * 1024, 1.0
MOST_AT_ONCE = 4  # exports of one server process

COLUMNS = (
    "id", "status", "workflow", "queue", "priority", "enqueued_at", "due_at", "started_at", "ended_at",
    "finished_at", "attempts", "worker", "parent_id", "error_type", "error_message", "payload", "result", "error",
)  # fmt: skip
_JSON = ("payload", "result", "error")
_TEXTS_OF_ERROR = ("error_type", "error_message")  # JSON lines have the error itself

Row = tuple[Any, ...]
Writer = Callable[[Sequence[Row]], bytes]

_under_way = 0


def full() -> bool:
    """Whether this process makes as many exports as it may."""
    return _under_way >= MOST_AT_ONCE


async def stream(search: Search, written: Writer, within: Sequence[int] | None) -> AsyncIterator[bytes]:
    global _under_way
    _under_way += 1
    try:
        below: UUID | None = None
        yield written(())
        while True:
            rows, below = await sync_to_async(_part)(search, below, within)
            if rows:
                yield written(rows)
            if below is None:
                return
    finally:
        _under_way -= 1


def _part(search: Search, below: UUID | None, within: Sequence[int] | None) -> tuple[list[Row], UUID | None]:
    """Rows, and below which id to go on; None at the end."""
    found = find(search, most=PART, seconds=PART_SECONDS, below=below, within=within)
    rows = _rows(found)
    if rows and len(rows) < len(found.ids):
        return rows, UUID(rows[-1][0])
    return rows, found.next


def _rows(found: Found) -> list[Row]:
    if not found.ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(statement("export_executions"), {"ids": found.ids, "bytes": PART_BYTES})
        return list(cursor.fetchall())


# -- the two forms -----------------------------------------------------------------------------------


def as_csv(rows: Sequence[Row]) -> bytes:
    """Without rows, the header, after the mark of its encoding that Excel needs."""
    text = io.StringIO()
    writer = csv.writer(text)
    if not rows:
        text.write("\ufeff")
        writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """Spreadsheets run what begins like a formula: an apostrophe before it says that it is text."""
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if (
        isinstance(value, str)
        and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        and not _is_number(value)
    ):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_jsonl(rows: Sequence[Row]) -> bytes:
    """One object a line; payload, result and error as they are, digit by digit."""
    return b"".join(msgspec.json.encode(_object(row)) + b"\n" for row in rows)


def _object(row: Row) -> dict[str, Any]:
    named = dict(zip(COLUMNS, row, strict=True))
    for name in _TEXTS_OF_ERROR:
        del named[name]
    for name in _JSON:
        # A value that was sent over several lines would break the lines.
        named[name] = Raw(_on_one_line(named[name]).encode()) if named[name] is not None else None
    return named


def _on_one_line(text: str) -> str:
    # Within texts JSON escapes these two. Not `splitlines`: that would also change U+2028 and its like, in texts.
    return text.replace("\r", " ").replace("\n", " ")


FORMS: dict[str, tuple[Writer, str]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_jsonl, "application/jsonl"),
}
