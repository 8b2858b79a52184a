"""Durations: numbers of seconds, or timedeltas."""

from __future__ import annotations

import datetime as dt
import math

LONGEST = 31_536_000.0  # a year: the longest that the server takes


def seconds_of(value: object, *, what: str) -> float:
    """A duration in seconds, from 0 to a year; else a ValueError that names it."""
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"{what} is a number of seconds or a timedelta, not {value!r}")
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:
        raise ValueError(f"{what} is between 0 and {LONGEST:,.0f} seconds, not {value!r}")
    return float(seconds)


def timeout_of(value: object, *, what: str) -> float:
    """The same, but more than none."""
    seconds = seconds_of(value, what=what)
    if seconds == 0:
        raise ValueError(f"{what} is more than 0 seconds, or None")
    return seconds
