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


def _laid_out(tokens: list[str]) -> Iterator[str]:
    depth = 0
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if token in "{[":
            depth += 1
            yield token if token + following in _EMPTY else token + _line(depth)
        elif token in "}]":
            depth -= 1
            previous = tokens[at - 1] if at else ""
            yield token if previous + token in _EMPTY else _line(depth) + token
        elif token == ",":
            yield token + _line(depth)
        elif token == ":":
            yield ": "
        else:
            yield _readable(token) if token[0] == '"' else token


def _line(depth: int) -> str:
    return "\n" + STEP * max(0, depth)


def _readable(text: str) -> str:
    """A string with its letters instead of escapes for them."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text
