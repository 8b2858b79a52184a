"""When a schedule ticks: by cron in a time zone, every so many seconds, or once. Pure: no clock, no database.

Daylight saving time, for a cron that names hours (`0 3 * * *`, `*/30 2-4 * * *`): each time of day that it names
comes once a day. In the night in which an hour is skipped, what falls into it ticks when that hour is over, once,
together with what is due then anyway. In the night in which an hour comes twice, it ticks in the first of the two.
A cron whose hours are `*` means "all the time", so it goes on as time does: through both of the two hours, and
with nothing to make up for the one that is skipped. Intervals know no time zone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from queues import words

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_CRON = 200
MAX_EVERY = 31_536_000  # seconds: a year
FIELDS = 5
ALL_HOURS = set(range(24))
SECOND = dt.timedelta(seconds=1)
NAIVE_START = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - only to have something to parse with
# How far back the last ticks before a moment are looked for, one after the other.
LOOKS_BACK = (*(dt.timedelta(hours=hours) for hours in (1, 24)), *(dt.timedelta(days=days) for days in (32, 367)))


class BadTiming(ValueError):
    """The text says in a sentence what is wrong; `field` is cron, timezone, every or at."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One of `cron` (with its time zone), `every` (seconds, counted from `anchor`) and `at`."""

    cron: str = ""
    timezone: str = "UTC"
    every: int | None = None
    at: dt.datetime | None = None
    anchor: dt.datetime = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

    def check(self) -> None:
        """Raises BadTiming."""
        if bool(self.cron) + (self.every is not None) + (self.at is not None) != 1:
            raise BadTiming("cron", "Give one of cron, every and at.")
        zone_of(self.timezone)
        if self.cron:
            _parsed(self.cron)
        elif self.every is not None and not 1 <= self.every <= MAX_EVERY:
            raise BadTiming("every", f"An interval is between 1 and {MAX_EVERY:,} seconds.")

    def after(self, moment: dt.datetime) -> Iterator[dt.datetime]:
        """All ticks after a moment, rising, in UTC."""
        if self.at is not None:
            return iter([self.at] if self.at > moment else [])
        if self.every is not None:
            return _every(self.anchor, dt.timedelta(seconds=self.every), moment)
        return _by_cron(self.cron, zone_of(self.timezone), moment)

    def next(self, moment: dt.datetime) -> dt.datetime | None:
        """The first tick after a moment; None when there is none."""
        return next(self.after(moment), None)

    def within(self, since: dt.datetime, until: dt.datetime, most: int) -> list[dt.datetime]:
        """The last ticks, at most `most`, from `since` to `until`, both included."""
        for back in LOOKS_BACK:
            start = max(since, until - back)
            found = self._between(start, until, most)
            if len(found) >= most or start == since:
                return found[-most:]
        return self._between(since, until, most)[-most:]

    def _between(self, since: dt.datetime, until: dt.datetime, most: int) -> list[dt.datetime]:
        if self.every is not None:  # of an interval of seconds there may be millions
            since = max(since, until - dt.timedelta(seconds=self.every) * most)
        found = []
        for tick in self.after(since - dt.timedelta(microseconds=1)):
            if tick > until:
                break
            found.append(tick)
        return found

    def in_words(self) -> str:
        """`0 3 * * * Europe/Berlin`, `every 5 min`, `once at 2030-01-31 12:00 UTC`."""
        if self.cron:
            return self.cron if self.timezone == "UTC" else f"{self.cron} {self.timezone}"
        if self.every is not None:
            return f"every {words.duration(self.every, fine=False)}"
        return f"once at {self.at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC" if self.at else ""

    def explained(self) -> str:
        """A cron expression in English, for whoever types one."""
        return str(_parsed(self.cron).explain()) if self.cron else ""


def upcoming(timing: Timing, moment: dt.datetime, count: int) -> list[dt.datetime]:
    return list(islice(timing.after(moment), count))


def zone_of(name: str) -> dt.tzinfo:
    if name == "UTC":
        return dt.UTC  # needs no data of the system
    try:
        return _zone(name)
    except (KeyError, ValueError, OSError):
        raise BadTiming(
            "timezone", f"There is no time zone {name[:100]!r}. Names are like Europe/Berlin, Asia/Tokyo or UTC."
        ) from None


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


# -- cron --------------------------------------------------------------------------------------------


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> CronSim:
    """Never iterated over: only asked for its fields."""
    expression = NICKNAMES.get(text.strip().lower(), text)
    if len(text) > MAX_CRON:
        raise BadTiming("cron", f"A cron expression has at most {MAX_CRON} characters.")
    if text.startswith("@") and expression is text:
        raise BadTiming("cron", f"{text} is not known. Those that are: {', '.join(NICKNAMES)}.")
    if len(expression.split()) != FIELDS:
        raise BadTiming(
            "cron",
            "A cron expression has five fields: minute, hour, day of the month, month, day of the week. "
            "For example 30 3 * * MON-FRI.",
        )
    try:
        cron = CronSim(expression, NAIVE_START)
        next(cron)
    except StopIteration:
        raise BadTiming("cron", "This never comes: no such day exists within 50 years.") from None
    except (CronSimError, ValueError, AssertionError) as error:
        raise BadTiming("cron", _told(str(error))) from None
    return CronSim(expression, NAIVE_START)


def _told(problem: str) -> str:
    field = problem.removeprefix("Bad ").replace("day-of-", "day of the ")
    ranges = {
        "minute": "0 to 59",
        "hour": "0 to 23",
        "day of the month": "1 to 31, or L for the last, and the day has to exist",
        "month": "1 to 12, or JAN to DEC",
        "day of the week": "0 to 7 (0 and 7 are Sunday), or SUN to SAT",
    }
    if field not in ranges:
        return f"This cannot be read as a cron expression: {problem}."
    return f"The {field} is not valid: {ranges[field]}, as a number, a range (1-5), a list (1,3) or a step (*/2)."


def _by_cron(text: str, zone: dt.tzinfo, moment: dt.datetime) -> Iterator[dt.datetime]:
    cron = _parsed(text)
    if cron.hours == ALL_HOURS or zone is dt.UTC:
        return _in_real_time(cron, zone, moment)
    return _by_the_clock(cron, zone, moment)


def _in_real_time(cron: CronSim, zone: dt.tzinfo, moment: dt.datetime) -> Iterator[dt.datetime]:
    second, minute, _, *days = cron.parts
    hour = "*" if cron.hours == ALL_HOURS else cron.parts[2]
    # With a star for the hours cronsim goes on as time does only if the minutes begin with one, too.
    everywhere = " ".join((second, minute, hour, *days))
    for tick in CronSim(everywhere, moment.astimezone(zone)):
        yield tick.astimezone(dt.UTC)


def _by_the_clock(cron: CronSim, zone: dt.tzinfo, moment: dt.datetime) -> Iterator[dt.datetime]:
    """Times on the wall, each turned into a moment; several that are skipped together are one."""
    last = moment
    wall = moment.astimezone(zone).replace(tzinfo=None)
    for time in CronSim(" ".join(cron.parts[1:]), wall):
        tick = _moment_of(time.replace(tzinfo=zone, fold=0))
        if tick > last:
            yield tick
            last = tick


def _moment_of(wall: dt.datetime) -> dt.datetime:
    """The first of two moments with this time on the wall; of none, the one in which the clock jumped over it."""
    tick = wall.astimezone(dt.UTC)
    if tick.astimezone(wall.tzinfo).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return tick
    return _end_of_the_gap(wall)


def _end_of_the_gap(wall: dt.datetime) -> dt.datetime:
    # Read with the offset after the jump it lies before the jump, and the other way round.
    before, after = wall.replace(fold=1).astimezone(dt.UTC), wall.astimezone(dt.UTC)
    offset = before.astimezone(wall.tzinfo).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) / 2
        if middle.astimezone(wall.tzinfo).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


# -- intervals ---------------------------------------------------------------------------------------


def _every(anchor: dt.datetime, step: dt.timedelta, moment: dt.datetime) -> Iterator[dt.datetime]:
    number = max(0, (moment - anchor) // step + 1)
    while True:
        yield anchor + number * step
        number += 1
