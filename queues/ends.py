"""When something ends, as people write it: `30 min`, `1 h 30 min`, `until 15:00`, `2026-12-24 8:00`.

Times of day are in the person's time zone, and mean the next such time.
"""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

LONGEST = dt.timedelta(days=366)
HINT = "Write how long, such as 30 min or 2 h, or until when, such as 15:00, tomorrow 9:00 or 2026-12-24 8:00."

_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_LENGTH = re.compile(r"(\d{1,6})\s*(minutes?|mins?|m|hours?|h|days?|d)", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[ tT]+(.+)")


class BadEnd(ValueError):
    """What is wrong, in a sentence."""


def end(text: str, zone: str, now: dt.datetime) -> dt.datetime:
    """Raises `BadEnd`. `zone` is a name such as Europe/Berlin; one that is not known means UTC."""
    said = re.sub(r"^(until|for|in)\s+", "", text.strip(), flags=re.IGNORECASE).lower()
    try:
        found = _length(said, now) or _moment(said, now.astimezone(_zone(zone)))
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise BadEnd(f"“{text.strip()[:40]}” is not understood. {HINT}")
    if found <= now:
        raise BadEnd("The end is in the past: choose a later one, or none.")
    if found > now + LONGEST:
        raise BadEnd("The end is more than a year away: choose an earlier one, or none.")
    return found


def _length(said: str, now: dt.datetime) -> dt.datetime | None:
    parts = _LENGTH.findall(said)
    if not parts or _LENGTH.sub("", said).replace("and", "").strip(" ,"):
        return None
    return now + dt.timedelta(seconds=sum(int(count) * _SECONDS[unit[0]] for count, unit in parts))


def _moment(said: str, here: dt.datetime) -> dt.datetime | None:
    """`here` is now, in the person's zone: times of day are made in it, to be right when clocks change."""
    if day := _DAY.fullmatch(said):
        return _at(here, dt.date(int(day[1]), int(day[2]), int(day[3])), day[4])
    if said.startswith("tomorrow"):
        return _at(here, here.date() + dt.timedelta(days=1), said.removeprefix("tomorrow"))
    today = _at(here, here.date(), said)
    if today is None or today > here:
        return today
    return _at(here, here.date() + dt.timedelta(days=1), said)


def _at(here: dt.datetime, day: dt.date, said: str) -> dt.datetime | None:
    time = _TIME.fullmatch(said.strip())
    if time is None:
        return None
    there = dt.datetime.combine(day, dt.time(int(time[1]), int(time[2])), here.tzinfo)
    return there.astimezone(dt.UTC)


def _zone(name: str) -> dt.tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return dt.UTC
