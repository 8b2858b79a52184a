"""JSON laid out for reading. Numbers keep the digits that were sent: they are never parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

STEP = "  "
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_EMPTY = {"{}", "[]"}


def indented(raw: str) -> str:
    """Two spaces a level; what is not JSON comes back more or less as it was."""
    return "".join(_laid_out(_TOKEN.findall(raw)))


def _laid_out(parts: list[str]) -> Iterator[str]:
    depth = 0
    for at, part in enumerate(parts):
        following = parts[at + 1] if at + 1 < len(parts) else ""
        if part in "{[":
            depth += 1
            yield part if part + following in _EMPTY else part + _line(depth)
        elif part in "}]":
            depth -= 1
            previous = parts[at - 1] if at else ""
            yield part if previous + part in _EMPTY else _line(depth) + part
        elif part == ",":
            yield part + _line(depth)
        elif part == ":":
            yield ": "
        else:
            yield _readable(part) if part[0] == '"' else part


def _line(depth: int) -> str:
    return "\n" + STEP * max(0, depth)


def _readable(text: str) -> str:
    """A string with its letters instead of escapes for them."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text
