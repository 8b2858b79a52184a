"""Texts and fields of people, made into what the server keeps, whatever they are."""

from __future__ import annotations

from typing import Any

from ._errors import NotSerializable
from ._json import encode

MAX_FIELDS_BYTES = 16 * 1024
_NULL = "\\u0000"


def cut(text: str, most: int) -> str:
    text = clean(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clean(text: str) -> str:
    """What PostgreSQL or JSON cannot hold is spelled out."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def fields_json(fields: dict[str, Any]) -> str:
    """As JSON, whatever it takes: a line in a log must not fail what it tells of."""
    try:
        text = encode(fields, "A field")
    except NotSerializable:
        text = _NULL
    if _NULL in text:
        text = encode({clean(name): _as_text(value) for name, value in fields.items()}, "A field")
    if len(text) <= MAX_FIELDS_BYTES // 4 or len(text.encode()) <= MAX_FIELDS_BYTES:
        return text
    return encode({cut(name, 100): cut(_as_text(value), 100) for name, value in [*fields.items()][:15]}, "A field")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return clean(value)
    try:
        return clean(repr(value))
    except Exception as error:
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"
