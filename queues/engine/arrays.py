"""PostgreSQL array literals, built in one pass.

psycopg adapts a list element by element in Python, which took a third of the time of a batch of 500; the
server parses a literal in C.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw

T = TypeVar("T")
_json = msgspec.json.Encoder().encode
_SEAM = b"\x01"  # in JSON control characters are escaped
# The head of an array in PostgreSQL's binary format: dimensions, no nulls, type, length, lower bound.
_head = struct.Struct(">iiiii").pack
_UUID = 2950  # pg_type.oid
_SIXTEEN = b"\0\0\0\x10"  # the length of each element


def uuids(items: Iterable[UUID | None]) -> str:
    """By way of JSON, where a null is a null too: 0.09 µs each and not 0.25."""
    return "{" + _json(list(items)).decode()[1:-1].replace('"', "") + "}"


def binary_uuids(items: Sequence[UUID]) -> bytes:
    """For a `Flight`, in PostgreSQL's binary format: half the size, 0.05 µs each, and nothing for it to parse."""
    if not items:
        return _head(0, 0, _UUID, 0, 1)[:12]
    elements = _SIXTEEN.join([item.int.to_bytes(16, "big") for item in items])
    return _head(1, 0, _UUID, len(items), 1) + _SIXTEEN + elements


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
