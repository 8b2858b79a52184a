"""What may stand where the caret is in a search line: keys, then values of the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from ..access import EVERYWHERE, Sight
from ..listing import prefix_of
from ..models import Execution, Queue, Registration, Status, Worker
from . import line as lines
from .line import PAYLOAD, Term

MOST = 8
LOOKED_AT = 30  # executions in whose payloads names of fields are looked for
MOST_PAYLOAD = 20_000  # characters of one that is looked at
SPANS = (("15m", "15 minutes"), ("1h", "an hour"), ("24h", "a day"), ("7d", "7 days"), ("30d", "30 days"))

KINDS = (
    ("status:", "failed", "scheduled, queued, running, cancelling, waiting, completed, failed or cancelled"),
    ("queue:", "billing/*", "a queue’s name; * stands for any characters"),
    ("workflow:", "send_mail", "a workflow’s name; * stands for any characters"),
    ("worker:", "host-1", "the name of the worker that has it, or had it last"),
    ("since:", "2h", "enqueued in the last 30m, 2h, 7d; since 10:30 (UTC) or 2026-01-31"),
    ("before:", "2026-01-31", "enqueued before that"),
    ("error:", '"timed out"', "words in the type or the message of the error"),
    (
        PAYLOAD,
        "user_id:42",
        "a field of the payload by its path, such as payload.order.id:17; * for any characters",
    ),
    ("id:", "019a5b3c", "a whole id, or its beginning"),
    ("parent:", "019a…", "the children of an execution: its whole id"),
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`text` for the characters from `start` to `end` of the line. Not `whole`: a value has to follow."""

    text: str
    start: int
    end: int
    hint: str = ""

    @property
    def whole(self) -> bool:
        return not self.text.endswith((":", "."))


def suggested(line: str, at: int, sight: Sight = EVERYWHERE) -> list[Suggestion]:
    """Of the queues that somebody sees, and of what is on them."""
    term = next((term for term in lines.terms(line) if term.start <= at <= term.end), Term("", "", at, at))
    return [Suggestion(text, term.start, term.end, hint) for text, hint in _offers(term, sight)][:MOST]


def _offers(term: Term, sight: Sight) -> Iterator[tuple[str, str]]:
    key = term.key.lower()
    if not key:
        yield from _keys(term.value.lower(), sight)
        return
    if key.startswith(PAYLOAD) or key not in _VALUES:
        return
    # Of `a,b` the last one is being typed.
    before, comma, typed = term.value.rpartition(",")
    for value, hint in _VALUES[key](typed.strip('"'), sight):
        yield f"{key}:{before}{comma}{lines.quoted(value)}", hint


def _keys(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    if typed.startswith(PAYLOAD):
        yield from (
            (f"{PAYLOAD}{name}:", f"for example {value}") for name, value in _fields(typed[len(PAYLOAD) :], sight)
        )
        return
    yield from ((key, hint) for key, _, hint in KINDS if key.startswith(typed))
    if typed:
        yield from ((f"status:{value}", "") for value in Status.values if value.startswith(typed))
        yield from ((f"queue:{lines.quoted(name)}", hint) for name, hint in _queues(typed, sight))
        yield from ((f"workflow:{lines.quoted(name)}", hint) for name, hint in _workflows(typed, sight))


# -- values ------------------------------------------------------------------------------------------


def _statuses(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    yield from ((value, "") for value in Status.values if value.startswith(typed.lower()))


def _queues(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    """Names, and the groups that several of them are in."""
    known = Queue.objects.order_by("name").values_list("name", flat=True)
    names = _fitting(filter(sight.covers, known), typed)
    groups: dict[str, int] = {}
    for name in names:
        if prefix := prefix_of(name):
            groups[prefix] = groups.get(prefix, 0) + 1
    yield from ((f"{prefix}*", f"{count} queues") for prefix, count in groups.items() if count > 1)
    yield from ((name, "queue") for name in names[:MOST])


def _workflows(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    known = (
        _of(Registration.objects.order_by("workflow"), "queue", sight)
        .values_list("workflow", flat=True)
        .distinct()
    )
    yield from ((name, "workflow") for name in _fitting(known, typed)[:MOST])


def _workers(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    known = _of(Worker.objects.order_by("name", "state"), "registrations__queue", sight)
    states = dict(known.values_list("name", "state"))
    yield from ((name, states[name]) for name in _fitting(states, typed)[:MOST])


def _times(typed: str, sight: Sight) -> Iterator[tuple[str, str]]:
    yield from ((value, f"{said} ago") for value, said in SPANS if value.startswith(typed))


def _of(found: QuerySet[Any], queue: str, sight: Sight) -> QuerySet[Any]:
    mine = sight.queue_ids()
    return found if mine is None else found.filter(**{f"{queue}__in": mine})


def _fitting(names: Iterable[str], typed: str) -> list[str]:
    """Those with the text in them, those that begin with it first."""
    wanted = typed.lower().rstrip("*")
    found = [name for name in names if wanted in name.lower()]
    return sorted(found, key=lambda name: not name.lower().startswith(wanted))


def _fields(typed: str, sight: Sight) -> list[tuple[str, str]]:
    """Paths in the payloads of the newest executions, with a value that one of them has."""
    text = Cast("payload", TextField())
    seen = _of(Execution.objects.order_by("-id"), "queue", sight)
    newest = seen.annotate(text=text).values_list("text", flat=True)[:LOOKED_AT]
    found: dict[str, str] = {}
    for payload in newest:
        if payload and len(payload) <= MOST_PAYLOAD:
            for path, value in _leaves(json.loads(payload)):
                found.setdefault(path, value)
    return [(path, value) for path, value in sorted(found.items()) if path.lower().startswith(typed)]


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict) or depth > 3:
        if path and not isinstance(value, (dict, list)):
            yield path, (value if isinstance(value, str) else json.dumps(value))[:40]
        return
    for name, inner in value.items():
        if name and not set(name) & set(' ".:,'):
            yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)


_VALUES: dict[str, Callable[[str, Sight], Iterator[tuple[str, str]]]] = {
    "status": _statuses,
    "queue": _queues,
    "workflow": _workflows,
    "worker": _workers,
    "since": _times,
    "before": _times,
}
