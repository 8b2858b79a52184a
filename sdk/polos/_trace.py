"""`ctx.step.trace`: how long a part of the code took, as a line of the execution's log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ._log import Log


class Span:
    """What `with ctx.step.trace(…) as span` gives: attributes can be added until it ends."""

    __slots__ = ("attributes",)

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value


@contextmanager
def traced(log: Log, name: str, attributes: Mapping[str, Any] | None) -> Iterator[Span]:
    """Nothing is told of what is cancelled, a wait that gives back the slot for example: it begins anew."""
    span, began = Span(dict(attributes or {})), time.perf_counter()

    def fields() -> dict[str, Any]:
        return {**span.attributes, "seconds": round(time.perf_counter() - began, 6)}

    try:
        yield span
    except Exception as error:
        log.warning(f"{name} failed: {type(error).__name__}: {error}", **fields())
        raise
    log.debug(name, **fields())
