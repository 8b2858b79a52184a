"""Lines of logs and progress, for the terminal."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from .._stream import LogLine, Progress
from .tables import printable

LEVELS = ("debug", "info", "warning", "error")
WIDTH = 20  # of the bar


def shown_line(line: LogLine) -> str:
    """`12:04:05.123 WARNING slow page=4`, with the attempt from the second on; in this machine's time zone."""
    at = line.at.astimezone()
    day = "" if at.date() == dt.date.today() else f"{at:%Y-%m-%d} "  # noqa: DTZ011  # as people here date it
    attempt = f" [attempt {line.attempt}]" if line.attempt > 1 else ""
    fields = "".join(f" {name}={_value(value)}" for name, value in line.fields.items())
    words = f"{printable(line.text, keep=chr(10))}{printable(fields)}"
    return f"{day}{at:%H:%M:%S}.{at.microsecond // 1000:03d} {line.level.upper():7}{attempt} {words}"


def shown_progress(progress: Progress) -> str:
    """`[████████            ] 40 % page 4 of 10`"""
    if progress.value is None:
        return printable(progress.text)
    full = round(progress.value * WIDTH)
    bar = f"[{'█' * full}{' ' * (WIDTH - full)}] {int(progress.value * 100 + 1e-6)} %"
    return f"{bar} {printable(progress.text)}".rstrip()


def at_least(level: str) -> tuple[str, ...]:
    return LEVELS[LEVELS.index(level) :]


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not any(each.isspace() or each in '"=' for each in value):
        return value
    return json.dumps(value, ensure_ascii=False)
