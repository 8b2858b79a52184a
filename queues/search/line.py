"""A search line: `status:failed queue:billing/* error:"timed out" since:2h payload.user_id:42`.

Terms stand apart by spaces and all of them must hold. A term with several values (`status:failed,cancelled`, or
the same key again) wants one of them. `*` stands for any characters. Values with spaces or commas go into quotes.

id:        a whole id, its beginning, or as pages shorten it (`019a…c3f2aa`)
queue:     a name or a pattern          workflow:  a name or a pattern
status:    one of the eight             worker:    the name of the worker that has or had it
since:     `2h`, `7d`, `10:30`, `2026-01-31`, `2026-01-31T10:30`; before: the same. UTC unless it says otherwise;
           of the time when it was enqueued
error:     words in the type or the message of its error
parent:    the id of its parent
payload.…  a field of the payload, by its path: `payload.order.id:17`, `payload.email:*@example.com`
a word     in the name of the workflow or the queue, or the beginning of an id
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from ..models import Status

MOST_CHARACTERS, MOST_TERMS = 500, 20
KEYS = ("status", "queue", "workflow", "worker", "error", "since", "before", "id", "parent")
PAYLOAD = "payload."
LEAST_OF_AN_ID = 6  # hexadecimal digits
ID_DIGITS = 32

_TERM = re.compile(r'(?:(?P<key>[^\s":]+):)?(?P<value>(?:"(?:[^"\\]|\\.)*(?:"|$)|[^\s"])*)')
_PART = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|$)|([^",]+)')
_SPAN = re.compile(r"(\d{1,6})\s?(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_HEX = re.compile(r"[0-9a-f]*")
_PLAIN = re.compile(r'[^\s",:][^\s",]*')


class BadSearch(ValueError):
    """What is wrong with a line, a sentence for each term."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class IdPart:
    """Ids from `first` to `last` that end like `end`."""

    first: UUID
    last: UUID
    end: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    path: tuple[str, ...]
    value: str  # * stands for any characters


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. Empty = anything; of several values one, of several kinds all."""

    statuses: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()  # all of them
    payload: tuple[Field, ...] = ()  # all of them
    words: tuple[str, ...] = ()  # all of them
    id: IdPart | None = None
    parent: UUID | None = None
    since: dt.datetime | None = None
    before: dt.datetime | None = None

    @property
    def everything(self) -> bool:
        return self == Search()

    def only(self, statuses: Iterable[str]) -> Search | None:
        """The same among these statuses; None when nothing can be found then."""
        kept = tuple(status for status in statuses if not self.statuses or status in self.statuses)
        return replace(self, statuses=kept) if kept else None


# -- reading -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    key: str  # empty: a word
    value: str  # as it was typed
    start: int
    end: int


def terms(line: str) -> list[Term]:
    """The terms of a line with their places in it. A quote that nobody closed ends with the line."""
    matches = (match for match in _TERM.finditer(line) if match.group())
    return [Term(match["key"] or "", match["value"], match.start(), match.end()) for match in matches]


def parse(line: str, now: dt.datetime) -> Search:
    """Raises `BadSearch`. Lengths of time (`since:2h`) count back from `now`."""
    if len(line) > MOST_CHARACTERS:
        raise BadSearch([f"A search has at most {MOST_CHARACTERS} characters, this one has {len(line):,}."])
    found = terms(line.replace("\0", "\N{REPLACEMENT CHARACTER}"))
    if len(found) > MOST_TERMS:
        raise BadSearch([f"A search has at most {MOST_TERMS} terms, this one has {len(found)}."])
    reading, problems = _Reading(now), []
    for term in found:
        try:
            reading.take(term)
        except BadSearch as bad:
            problems += bad.problems
    if problems:
        raise BadSearch(problems)
    return reading.search


class _Reading:
    def __init__(self, now: dt.datetime) -> None:
        self.search = Search()
        self._now = now

    def take(self, term: Term) -> None:
        key = term.key.lower()
        values = [value for value in _values(term.value, split=key not in ("", "error")) if value]
        if not key:
            self._word(" ".join(values))
        elif key.startswith(PAYLOAD):
            self._payload(term.key[len(PAYLOAD) :], values, term)
        elif key not in KEYS:
            raise BadSearch([_unknown(term)])
        elif not values:
            raise BadSearch([f"“{key}:” needs a value right after the colon, for example {EXAMPLES[key]}."])
        else:
            take: Callable[[str], None] = getattr(self, f"_{key}")
            for value in values:
                take(value)

    def _add(self, name: str, value: Any) -> None:
        more: dict[str, Any] = {name: (*getattr(self.search, name), value)}
        self.search = replace(self.search, **more)

    def _once(self, name: str, value: Any, key: str) -> None:
        if getattr(self.search, name) is not None:
            raise BadSearch([f"“{key}:” can be said once only."])
        self.search = replace(self.search, **{name: value})

    def _status(self, value: str) -> None:
        if value.lower() not in Status.values:
            raise BadSearch([f"“{value}” is not a status. There are {', '.join(Status.values)}."])
        self._add("statuses", value.lower())

    def _queue(self, value: str) -> None:
        self._add("queues", value)

    def _workflow(self, value: str) -> None:
        self._add("workflows", value)

    def _worker(self, value: str) -> None:
        self._add("workers", value)

    def _error(self, value: str) -> None:
        self._add("errors", value)

    def _since(self, value: str) -> None:
        self._once("since", _time("since", value, self._now), "since")

    def _before(self, value: str) -> None:
        self._once("before", _time("before", value, self._now), "before")

    def _id(self, value: str) -> None:
        part = id_part(value)
        if part is None:
            size = f"{LEAST_OF_AN_ID} to {ID_DIGITS} digits and a to f"
            raise BadSearch([f"“{value}” is not an id or the beginning of one: {size}."])
        self._once("id", part, "id")

    def _parent(self, value: str) -> None:
        try:
            self._once("parent", UUID(value), "parent")
        except ValueError as bad:
            if isinstance(bad, BadSearch):
                raise
            raise BadSearch([f"“parent:” needs a whole id; “{value}” is none."]) from None

    def _payload(self, path: str, values: list[str], term: Term) -> None:
        parts = tuple(path.split("."))
        if not values or not all(parts):
            said = term.key if values else f"{term.key}:"
            raise BadSearch([f"“{said}” needs a field and a value, for example {EXAMPLES['payload']}."])
        if len(values) > 1:
            raise BadSearch([f"A field of the payload has one value: put “{term.value}” in quotes, or use *."])
        self._add("payload", Field(parts, values[0]))

    def _word(self, value: str) -> None:
        part = id_part(value) if _looks_like_an_id(value) else None
        if part and self.search.id is None:
            self._once("id", part, "id")
        elif value:
            self._add("words", value)


EXAMPLES = {
    "status": "status:failed",
    "queue": "queue:billing/*",
    "workflow": "workflow:send_mail",
    "worker": "worker:host-1",
    "error": 'error:"timed out"',
    "since": "since:2h",
    "before": "before:2026-01-31",
    "id": "id:019a5b3c",
    "parent": "parent: and a whole id",
    "payload": "payload.user_id:42",
}


def _values(text: str, *, split: bool) -> list[str]:
    """`a,"b c"` as its parts. Errors are looked for as they were typed, commas too."""
    if not split:
        return ["".join(_unquoted(match) for match in re.finditer(r'"((?:[^"\\]|\\.)*)(?:"|$)|([^"]+)', text))]
    return [_unquoted(match) for match in _PART.finditer(text)]


def _unquoted(match: re.Match[str]) -> str:
    return match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[1])


def _unknown(term: Term) -> str:
    whole = f"{term.key}:{term.value}"
    if term.key.lower() == "payload":
        return f"Say which field of the payload, for example {EXAMPLES['payload']}."
    keys = ", ".join(f"{key}:" for key in KEYS)
    return (
        f"There is no “{term.key}:”. One can search by {keys} and by fields of the payload "
        f'(payload.{term.key}:{term.value or "…"}). To look for a name with a colon, put it in quotes: "{whole}".'
    )


# -- ids ---------------------------------------------------------------------------------------------


def id_part(text: str) -> IdPart | None:
    """A whole id, the beginning of one (six digits and more), or both ends of one (`019a…c3f2aa`)."""
    begin, dots, end = text.lower().replace("...", "…").partition("…")
    digits = begin.replace("-", "")
    least = 0 if dots else LEAST_OF_AN_ID
    if not least <= len(digits) <= ID_DIGITS or not _HEX.fullmatch(digits) or not _HEX.fullmatch(end):
        return None
    if dots and not LEAST_OF_AN_ID <= len(end) <= 12:
        return None
    return IdPart(UUID(digits.ljust(ID_DIGITS, "0")), UUID(digits.ljust(ID_DIGITS, "f")), end)


def _looks_like_an_id(word: str) -> bool:
    """`decade` is a word, `019a5b3c` is not."""
    digits = len(word.replace("-", ""))
    return "…" in word or digits == ID_DIGITS or (digits >= 8 and word[:1].isdigit())


# -- times -------------------------------------------------------------------------------------------


def _time(key: str, text: str, now: dt.datetime) -> dt.datetime:
    try:
        found = _span(text, now) or _clock(text, now) or dt.datetime.fromisoformat(text)
        found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        found = found.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or not dt.datetime(2000, 1, 1, tzinfo=dt.UTC) <= found < dt.datetime(
        2200, 1, 1, tzinfo=dt.UTC
    ):
        raise BadSearch(
            [f"“{text}” is not a time for “{key}:”. Say 30m, 2h, 7d, 10:30 (UTC), 2026-01-31 or 2026-01-31T10:30."]
        )
    return found


def _span(text: str, now: dt.datetime) -> dt.datetime | None:
    match = _SPAN.fullmatch(text)
    return now - dt.timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None


def _clock(text: str, now: dt.datetime) -> dt.datetime | None:
    """The last time when a clock in UTC showed this."""
    match = _CLOCK.fullmatch(text)
    if not match:
        return None
    today = now.astimezone(dt.UTC).replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
    return today if today <= now else today - dt.timedelta(days=1)


# -- writing -----------------------------------------------------------------------------------------


def term(key: str, value: str) -> str:
    return f"{key}:{quoted(value)}"


def quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written(**values: str | None) -> str:
    """A line of terms: `written(status="failed", queue="billing/eu")`. Those that are None are left out."""
    return " ".join(term(key, value) for key, value in values.items() if value is not None)
