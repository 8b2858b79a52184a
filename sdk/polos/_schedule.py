"""What starts a workflow by itself: `@workflow(schedule=..., trigger_on_event=...)`, checked where it is said."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ._errors import BadName, DefinitionError, NotSerializable
from ._events import EventNames
from ._json import encode
from ._names import check_name
from ._seconds import seconds_of

ScheduleOption = str | bool | Mapping[str, Any] | None

KEYS = ("cron", "timezone", "every", "at", "payload", "catch_up", "catch_up_most", "overlap", "key")
CHOICES = {"catch_up": ("skip", "latest", "all"), "overlap": ("allow", "skip", "cancel")}
MOST_EVERY, MOST_CATCH_UP, MOST_BATCH = 31_536_000, 1_000, 1_000
NICKNAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
LONGEST = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]  # days of each month, in a leap year
DAYS_OF_MONTH: tuple[int, int, list[str]] = (1, 31, [])
MONTHS_OF_YEAR: tuple[int, int, list[str]] = (1, 12, MONTHS)
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
FIELDS: tuple[tuple[str, int, int, list[str], str], ...] = (
    ("minute", 0, 59, [], ""),
    ("hour", 0, 23, [], ""),
    ("day of the month", 1, 31, [], r"LW?"),
    ("month", 1, 12, MONTHS, ""),
    ("day of the week", 0, 7, DAYS, r"[0-7]L|(?:[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)#[1-5]"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePayload:
    """What a workflow gets from a schedule that says no payload. Annotate it: `async def report(ctx, tick:
    SchedulePayload)`; without it, the payload is a dict with these names and the times as text."""

    schedule_id: str
    key: str  # the schedule's name
    timestamp: dt.datetime  # of this tick: when it was due, not when it started
    last_timestamp: dt.datetime | None = None  # of the tick before
    upcoming: dt.datetime | None = None  # the next one
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPayload(EventNames):
    """What a workflow gets that an event starts."""

    id: str
    topic: str
    payload: Any
    published_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEventPayload:
    """What it gets when it takes several at once (`batch_size`, `batch_timeout_seconds`): the oldest first."""

    events: list[EventPayload]


def is_start(payload: Any) -> bool:
    """Whether a schedule or an event made it: it has the names of one of these three."""
    made = (SchedulePayload, EventPayload, BatchEventPayload)
    return isinstance(payload, dict) and any(payload.keys() == {each.name for each in fields(of)} for of in made)


# -- schedules ---------------------------------------------------------------------------------------


def read_schedule(option: ScheduleOption, *, workflow_id: str, place: str) -> dict[str, Any] | None:
    """As a registration says it; None without one. Raises DefinitionError."""
    if option is None or isinstance(option, bool):  # True: others may make one
        return None
    said = {"cron": option} if isinstance(option, str) else option
    try:
        return _checked(said, place) | {"place": place}
    except BadName:
        raise
    except (ValueError, NotSerializable) as error:
        raise DefinitionError(f"{place}: the schedule of {workflow_id}: {error}") from error


def checked_schedule(said: Mapping[str, Any], *, workflow_id: str, place: str) -> dict[str, Any]:
    """What a client says of one, as JSON will hold it. Raises DefinitionError."""
    own, queue = _without_queue(said, place)
    return _definition(_checked, own, f"{place}: the schedule of {workflow_id}") | queue


def checked_change(said: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """The same of what shall be different; what is None was not said, but for payload and queue."""
    own, queue = _without_queue(said, place)
    return _definition(_checked_fields, own, f"{place}: the change of a schedule") | queue


def _without_queue(said: Mapping[str, Any], place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    own = dict(said)
    if "queue_name" not in own:
        return own, {}
    queue = own.pop("queue_name")
    return own, {"queue_name": None if queue is None else check_name(queue, what="queue", place=place)}


def _definition(
    check: Callable[[Mapping[str, Any]], dict[str, Any]], said: Mapping[str, Any], what: str
) -> dict[str, Any]:
    try:
        return check(said)
    except (ValueError, NotSerializable) as error:
        raise DefinitionError(f"{what}: {error}") from error


def _checked(said: object, place: str = "") -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise ValueError(f"schedule= is a cron expression or a dict, not {type(said).__name__}")
    if unknown := sorted(str(key) for key in said if key not in KEYS):
        raise ValueError(f"it takes {', '.join(KEYS)}, not {', '.join(unknown)}")
    if len([each for each in ("cron", "every", "at") if said.get(each) is not None]) != 1:
        raise ValueError("give one of cron, every and at")
    if said.get("key") is not None:
        check_name(said["key"], what="schedule", place=place)
    return _checked_fields(said)


def _checked_fields(said: Mapping[str, Any]) -> dict[str, Any]:
    _check_rules(said)
    checks = {"cron": _cron, "every": _every, "at": _at, "timezone": _zone}
    read = {name: check(said[name]) for name, check in checks.items() if said.get(name) is not None}
    return {name: value for name, value in said.items() if value is not None or name == "payload"} | read


def _check_rules(said: Mapping[str, Any]) -> None:
    for name, choices in CHOICES.items():
        if name in said and said[name] not in choices:
            raise ValueError(f"{name} is one of {', '.join(choices)}, not {said[name]!r}")
    if "catch_up_most" in said:
        _whole(said["catch_up_most"], "catch_up_most", MOST_CATCH_UP)
    if "payload" in said:
        encode(said["payload"], "its payload")


def _cron(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError(f"cron is a text, not {text!r}")
    if text.strip().lower() in NICKNAMES:
        return text.strip().lower()
    parts = text.upper().split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"{text!r} is not a cron expression of five fields, nor one of {', '.join(NICKNAMES)}")
    for field, (name, low, high, names, special) in zip(parts, FIELDS, strict=True):
        if not all(_is_item(item, low, high, names, special) for item in field.split(",")):
            raise ValueError(f"the {name} of {text!r} is not valid: {low} to {high}, e.g. {low}-{high}, */2")
    _check_day_exists(*parts[2:])
    return text


def _check_day_exists(days: str, months: str, weekdays: str) -> None:
    """30 February never comes. Days of the week are enough by themselves, unless they begin with a star."""
    if "L" in days or not weekdays.startswith("*"):
        return
    first = min(_numbers(item, DAYS_OF_MONTH)[0] for item in days.split(","))
    longest = max(LONGEST[month - 1] for item in months.split(",") for month in _numbers(item, MONTHS_OF_YEAR))
    if first > longest:
        raise ValueError(
            "The day of the month is not valid: 1 to 31, or L for the last, and the day has to exist, "
            "as a number, a range (1-5), a list (1,3) or a step (*/2)."
        )


def _numbers(item: str, field: tuple[int, int, list[str]]) -> range:
    """The numbers that an item of a field stands for; it is known to be valid."""
    low, high, names = field
    base, slash, step = item.partition("/")
    if base == "*":
        ends = [low, high]
    else:
        ends = [names.index(end) + low if end in names else int(end) for end in base.split("-")]
    # One number with a step goes on to the end of the field.
    last = high if slash and len(ends) == 1 else ends[-1]
    return range(ends[0], last + 1, int(step) if slash else 1)


def _is_item(item: str, low: int, high: int, names: list[str], special: str) -> bool:
    if special and re.fullmatch(special, item):
        return True
    base, slash, step = item.partition("/")
    if slash and not (step.isdigit() and int(step)):
        return False
    if base == "*":
        return True
    ends = [names.index(end) + low if end in names else _number(end) for end in base.split("-")]
    return len(ends) <= 2 and low <= ends[0] <= ends[-1] <= high


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


def _every(value: object) -> int:
    seconds = seconds_of(value, what="every")
    if not 1 <= seconds <= MOST_EVERY or seconds != int(seconds):
        raise ValueError(f"every is a whole number of seconds from 1 to {MOST_EVERY:,}, or a timedelta")
    return int(seconds)


def _at(value: object) -> str:
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise ValueError(f"at is a datetime with a time zone, not {value!r}")
    return value.isoformat()


def _zone(name: object) -> str:
    from zoneinfo import ZoneInfo  # imported only where it is used

    if not isinstance(name, str):
        raise ValueError(f"timezone is a name like Europe/Berlin, not {name!r}")
    try:
        ZoneInfo("UTC")
    except KeyError:  # a machine without time zones: the server knows them
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}; names are like Europe/Berlin, Asia/Tokyo, UTC"
        ) from None
    return name


# -- events ------------------------------------------------------------------------------------------


def read_trigger(
    topic: str | None,
    batch_size: int,
    batch_timeout: float | dt.timedelta | None,
    *,
    workflow_id: str,
    place: str,
) -> dict[str, Any] | None:
    """As a registration says it; None without one. Raises DefinitionError."""
    try:
        _whole(batch_size, "batch_size", MOST_BATCH)
        timeout = None if batch_timeout is None else seconds_of(batch_timeout, what="batch_timeout_seconds")
    except ValueError as error:
        raise DefinitionError(f"{place}: workflow {workflow_id}: {error}") from error
    if topic is None:
        if batch_size != 1 or timeout is not None:
            raise DefinitionError(f"{place}: workflow {workflow_id}: a batch is of events: say trigger_on_event")
        return None
    check_name(topic, what="topic", place=place)
    declared = {"topic": topic, "batch_size": batch_size, "place": place}
    return declared if timeout is None else {**declared, "batch_timeout": timeout}


def _whole(value: object, what: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{what} is a whole number from 1 to {most:,}, not {value!r}")
