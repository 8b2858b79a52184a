"""Numbers and times as an operator reads them. `static/js/times.js` says durations the same way."""

from __future__ import annotations

import datetime as dt

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def duration(seconds: float | None, *, fine: bool = True) -> str:
    """A length of time: `6 ms`, `0.4 s`, `22 s`, `1 min 12 s`, `3 h 5 min`, `2 d 4 h`. Not fine: whole seconds."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if fine and seconds < 0.05:
        return f"{round(1000 * seconds)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s" if fine else f"{int(seconds)} s"
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, "min", 1, "s")
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def rate(per_minute: float) -> str:
    """A throughput in three figures or fewer: `0`, `0.4`, `31`, `612`, `1.9k`."""
    if per_minute < 0.05:
        return "0"
    if per_minute < 9.95:
        return f"{per_minute:.1f}"
    if per_minute < 999.5:
        return f"{per_minute:.0f}"
    thousands = per_minute / 1000
    return f"{thousands:.1f}k" if thousands < 99.5 else f"{thousands:.0f}k"


def limit(value: int | None) -> str:
    return "unlimited" if value is None else str(value)


def clock(at: dt.datetime | None) -> str:
    """A time of day in UTC, with the date when it is not today; the page turns it into local time."""
    if at is None:
        return ""
    at = at.astimezone(dt.UTC)
    if at.date() == dt.datetime.now(dt.UTC).date():
        return at.strftime("%H:%M UTC")
    return at.strftime("%Y-%m-%d %H:%M UTC")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 execution`, `3 executions`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _two(whole: int, big: int, big_word: str, small: int, small_word: str) -> str:
    rest = whole % big // small
    return f"{whole // big} {big_word} {rest} {small_word}" if rest else f"{whole // big} {big_word}"
