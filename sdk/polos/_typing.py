"""Annotations of payloads and results: found late, kept ready, applied to JSON values."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from ._errors import BadSignature, PayloadInvalid

EMPTY = inspect.Parameter.empty
_PLAIN = (EMPTY, Any, object, None, type(None))
_SCALARS = (int, float, str, bool)


def resolve(annotation: Any, *, function: Callable[..., Any], names: Mapping[str, Any] | None = None) -> Any:
    """What a textual annotation means; NameError while a name in it is not defined yet."""
    if not isinstance(annotation, str):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    found = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(holder, found, dict(names or {}), include_extras=True)["it"]


class Shape:
    """Turns JSON values into what an annotation asks for, and knows when there is nothing to do."""

    __slots__ = ("_adapter", "_is_dict", "_scalar", "annotation", "plain")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.plain = annotation in _PLAIN
        self._is_dict = annotation is dict
        self._scalar = annotation if annotation in _SCALARS else None
        self._adapter = None if self.plain or self._is_dict else _adapter(annotation)

    def load(self, value: Any, what: str) -> Any:
        """`value` as the annotation wants it, else PayloadInvalid."""
        if self.plain or type(value) is self._scalar:  # as nearly always: pydantic takes half a µs to agree
            return value
        if self._adapter is None:
            return _as_dict(value, what)
        return _validated(self._adapter, value, what)


UNTYPED = Shape(EMPTY)


def result_shape(function: Callable[..., Any]) -> Shape:
    """The shape of what `function` returns. Where nobody can tell, the JSON value stays as it is."""
    owner = getattr(function, "__func__", function)  # a bound method is made anew for each call
    try:
        return _shapes[owner]
    except (KeyError, TypeError):
        return _found_shape(function, owner)


# Kept for as long as the function lives: pydantic takes longer to understand an annotation than to use it.
_shapes: WeakKeyDictionary[Any, Shape] = WeakKeyDictionary()


def _found_shape(function: Callable[..., Any], owner: Any) -> Shape:
    inner = inspect.unwrap(function)
    if isinstance(inner, functools.partial):  # made anew for each call, often: what is in it is known
        return result_shape(inner.func)
    annotation = getattr(inner, "__annotations__", {}).get("return", EMPTY)
    try:
        shape = shape_or_untyped(resolve(annotation, function=inner))
    except (NameError, TypeError, AttributeError, SyntaxError):
        return UNTYPED  # not kept: a name may be defined later
    with suppress(TypeError):  # what cannot be hashed or referred to weakly
        _shapes[owner] = shape
    return shape


def shape_or_untyped(annotation: Any) -> Shape:
    """For results: what pydantic does not know stays the JSON value that it is."""
    try:
        return Shape(annotation)
    except BadSignature:
        return UNTYPED


def _adapter(annotation: Any) -> Any:
    """Imported here: a program without typed payloads never loads pydantic."""
    import pydantic

    try:
        return pydantic.TypeAdapter(annotation)
    except pydantic.PydanticUserError as error:
        raise BadSignature(f"pydantic cannot check values of type {annotation!r}: {error.message}") from error


def _as_dict(value: Any, what: str) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise PayloadInvalid(f"{what} is not valid: expected an object (a dict), got {type(value).__name__}")


def _validated(adapter: Any, value: Any, what: str) -> Any:
    import pydantic

    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:  # kept out of the traceback, which people read: it shows the values
        raise PayloadInvalid(f"{what} is not valid: {sentence(error)}") from None


def sentence(error: Any) -> str:
    """pydantic's findings in one line, without the values: they may be secret."""
    findings = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [".".join(map(str, each["loc"])) + ": " + each["msg"] for each in findings[:5]]
    more = f" (and {len(findings) - 5} more)" if len(findings) > 5 else ""
    return "; ".join(part.removeprefix(": ") for part in parts) + more
