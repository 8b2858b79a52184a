"""Tables and times for the terminal."""

from __future__ import annotations

import datetime as dt
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from typing import Literal

Row = Sequence[object]
Shorten = Literal["id", "middle", "end"]  # how a cell gets shorter: 019a…c3f2aa, billing/…/eu, out of sto…
SHORT_ID = 11  # as pages shorten ids, and as commands and searches take them
LEAST = 10  # of a column that is shortened
DOTS = "…"


def table(
    head: Sequence[str],
    rows: Iterable[Row],
    *,
    right: Iterable[int] = (),
    short: Mapping[int, Shorten] | None = None,
    width: int | None = None,
) -> str:
    """Columns as wide as what they hold; those in `right` have numbers. Where the lines do not fit into `width`
    characters, the columns in `short` get narrower: ids at once, then whichever is the widest."""
    cells = [list(head), *([printable(each) for each in row] for row in rows)]
    widths = [max(breadth(row[column]) for row in cells) for column in range(len(head))]
    if width is not None and short:
        widths = _fitting(widths, short, width)
        cells = [_narrow(row, widths, short) for row in cells]
    lines = [_line(row, widths, set(right)) for row in cells]
    return "\n".join(lines if width is None else (shortened_end(line, width) for line in lines))


def screen_width() -> int | None:
    """Of the terminal that stdout is; None for a file or a pipe, which take everything."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def short_id(id: str) -> str:
    return f"{id[:4]}{DOTS}{id[-6:]}"


def shortened_middle(text: str, width: int) -> str:
    if breadth(text) <= width:
        return text
    begin = _cut(text, width // 2)
    return begin + DOTS + _cut(text[::-1], width - 1 - breadth(begin))[::-1]


def shortened_end(text: str, width: int) -> str:
    return text if breadth(text) <= width else _cut(text, width - 1) + DOTS


def breadth(text: str) -> int:
    """How many places it takes on a screen: a Chinese letter takes two, an accent of its own none."""
    return len(text) if text.isascii() else sum(map(_places, text))


def _places(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _fitting(widths: list[int], short: Mapping[int, Shorten], width: int) -> list[int]:
    found = list(widths)
    excess = sum(found) + 2 * (len(found) - 1) - width
    for column, kind in short.items():
        if kind == "id" and excess > 0 and found[column] > SHORT_ID:
            excess -= found[column] - SHORT_ID
            found[column] = SHORT_ID
    narrower = [column for column, kind in short.items() if kind != "id"]
    while excess > 0 and narrower:
        widest = max(narrower, key=found.__getitem__)
        if found[widest] <= LEAST:
            break
        found[widest] -= 1
        excess -= 1
    return found


def _narrow(row: list[str], widths: list[int], short: Mapping[int, Shorten]) -> list[str]:
    return [_shortened(cell, widths[column], short.get(column)) for column, cell in enumerate(row)]


def _shortened(cell: str, width: int, how: Shorten | None) -> str:
    if how is None or breadth(cell) <= width:
        return cell
    if how == "id":
        return short_id(cell)
    return shortened_middle(cell, width) if how == "middle" else shortened_end(cell, width)


def _cut(text: str, width: int) -> str:
    """As much of its beginning as fits."""
    if text.isascii():
        return text[:width]
    for index, letter in enumerate(text):
        width -= _places(letter)
        if width < 0:
            return text[:index]
    return text


def _line(row: list[str], widths: list[int], numbers: set[int]) -> str:
    parts = []
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - breadth(cell))
        parts.append(space + cell if column in numbers else cell + space)
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
