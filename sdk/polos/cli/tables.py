"""Tables and times for the terminal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

Row = Sequence[object]


def table(head: Sequence[str], rows: Iterable[Row], *, right: Iterable[int] = ()) -> str:
    """Columns as wide as what they hold; those in `right` have numbers."""
    cells = [list(head), *([printable(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    numbers = set(right)
    return "\n".join(_line(row, widths, numbers) for row in cells)


def _line(row: list[str], widths: list[int], numbers: set[int]) -> str:
    parts = [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()


def printable(value: object, *, keep: str = "") -> str:
    """A text from elsewhere must not move the cursor of this terminal."""
    return "".join(
        each if each.isprintable() or each in keep else "\N{REPLACEMENT CHARACTER}" for each in str(value)
    )


def duration(seconds: float | None) -> str:
    """The two largest units of a time, for people: 3 d 4 h, 5 m 2 s, 12 s."""
    if seconds is None:
        return ""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count or len(parts) == 1)


def ago(time: str | None) -> str:
    if time is None:
        return ""
    passed = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(time)
    return f"{duration(max(0.0, passed.total_seconds()))} ago"
