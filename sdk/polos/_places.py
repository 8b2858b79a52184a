"""Places in code: where something was declared, or asked for."""

from __future__ import annotations

import sys
from pathlib import Path

from ._names import MAX_PLACE_LENGTH

_PACKAGE = __name__.partition(".")[0]


def file_and_line(filename: str, line: int) -> str:
    """A place in code, relative to the current folder where that is shorter."""
    path = Path(filename)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{line}"[-MAX_PLACE_LENGTH:]


def caller() -> str:
    """The nearest place outside this package, and outside what its dataclasses made."""
    frame = sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return file_and_line(frame.f_code.co_filename, frame.f_lineno)
