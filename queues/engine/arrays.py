"""PostgreSQL array literals, built in one pass.

psycopg adapts a list element by element in Python, which took a third of the time of a batch of 500; the
server parses a literal in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw

T = TypeVar("T")
_json = msgspec.json.Encoder().encode
_SEAM = b"\x01"  # in JSON control characters are escaped


def uuids(items: Iterable[UUID | None]) -> str:
    """By way of JSON, where a null is a null too: 0.09 µs each and not 0.25."""
    return "{" + _json(list(items)).decode()[1:-1].replace('"', "") + "}"


def numbers(items: Iterable[float | None]) -> str:
    return "{" + ",".join([repr(item) if item is not None else "NULL" for item in items]) + "}"


def texts(items: Iterable[str | None]) -> str:
    return "{" + ",".join([quoted(item) if item is not None else "NULL" for item in items]) + "}"


def of_few(items: Sequence[T], text: Callable[[T], str]) -> str:
    """What many references to few objects say. Each object is asked once: 0.05 µs a reference and not 0.12."""
    known = {item: text(item) for item in set(items)}
    return "{" + ",".join(map(known.__getitem__, items)) + "}"


def raws(items: Sequence[Raw]) -> str:
    """Raw JSON as texts, all quoted in one go: 0.07 µs each and not 0.25."""
    joined = _SEAM.join(items)
    if joined.count(_SEAM) != len(items) - 1:  # not JSON
        return texts(bytes(item).decode() for item in items)
    row = joined.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(_SEAM, b'","')
    return '{"' + row.decode() + '"}'


def quoted(item: str) -> str:
    if "\\" in item:
        item = item.replace("\\", "\\\\")
    return '"' + item.replace('"', '\\"') + '"'
