"""JSON in and out. One place, so that a faster library can be put here."""

from __future__ import annotations

import json
from typing import Any

from ._errors import NotSerializable

decode = json.loads


def encode(value: Any, what: str) -> str:
    """`value` as JSON, pydantic models and dataclasses included; NotSerializable when that cannot be."""
    try:
        text = _encode(value)
        if not text.isascii():
            text.encode()  # a lone surrogate fails here, where its owner is known, and not in a batch
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSerializable(f"{what} cannot be written as JSON: {_reason(error)}") from error
    return text


def _by_pydantic(value: Any) -> Any:
    """What JSON does not know itself: models, dataclasses, times, UUIDs. Imported only when one turns up."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except PydanticSerializationError:
        raise TypeError(f"an object of type {type(value).__name__} is not JSON") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half of a surrogate pair"
    return str(error)


# Made once: json.dumps with options makes an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_by_pydantic).encode
