"""What the page of one execution reads beside its row: its family, its waits, its log, its progress."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.db import connection
from django.db.models import TextField
from django.db.models.functions import Cast

from . import reads
from .access import EVERYWHERE, Sight
from .engine.statements import statement
from .models import Execution, Wait
from .reads import Progress

MAX_FAMILY = 200
MAX_LINES = 200  # on a page when it opens
MAX_NEW_LINES = 500  # at once, while it is open


@dataclass(frozen=True, slots=True)
class Relative:
    row: reads.Row
    depth: int  # 0: the root
    is_self: bool


@dataclass(frozen=True, slots=True)
class Family:
    members: list[Relative]  # as a tree, from the root
    more: bool  # there are more than are shown


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    attempt: int
    level: str
    at: dt.datetime
    text: str
    fields: list[tuple[str, str]]  # name, value as JSON, texts without their quotes
    turns: bool = False  # the first of its attempt that is shown after another one


@dataclass(frozen=True, slots=True)
class Log:
    """Lines, oldest first. `last` is the newest that there is, `first` the oldest that is kept."""

    lines: list[Line]
    first: int
    last: int
    progress: Progress | None

    @property
    def next(self) -> int:
        """The last one that is shown."""
        return self.lines[-1].number if self.lines else self.last

    @property
    def hidden(self) -> int:
        """How many older ones are kept."""
        return self.lines[0].number - self.first if self.lines else 0


def family(execution: Execution, sight: Sight = EVERYWHERE) -> Family:
    """As far as one may see it."""
    with connection.cursor() as cursor:
        cursor.execute(statement("family"), {"id": execution.id, "most": MAX_FAMILY})
        found = cursor.fetchall()
    above = -min((n for _, n, _ in found), default=0)
    kept = [(id, n) for id, n, _ in found][: above + MAX_FAMILY]
    seen = reads.executions([id for id, _ in kept], sight) if len(kept) > 1 else []
    rows = {row.execution.id: row for row in seen}
    members = [Relative(rows[id], above + n, id == execution.id) for id, n in kept if id in rows]
    return Family(members, more=len(found) > len(kept))


def waits(execution: Execution) -> list[Wait]:
    if execution.resumes is None and execution.status != "waiting":
        return []
    found = Wait.objects.filter(execution_id=execution.id).defer("note", "answer")
    return list(found.order_by("since", "id")[:MAX_FAMILY])


def log(id: UUID, *, after: int | None = None, attempt: int = 1) -> Log:
    """The newest lines; with `after`, those with a larger number, which follow one of that attempt."""
    journal = _journals([id]).get(id)
    if journal is None:
        return Log([], 1, 0, None)
    lines = _lines(id, journal.lines, after) if journal.lines > (after or 0) else []
    return Log(_with_turns(lines, attempt), journal.first, journal.lines, _progress(journal))


def lines_after(id: UUID, after: int) -> list[Line]:
    """Some lines with a larger number, oldest first; none at the end."""
    rows = _line_rows().filter(execution_id=id, number__gt=after).order_by("number")
    return [_line(row) for row in rows[:MAX_NEW_LINES]]


def progress_of(ids: Iterable[UUID]) -> dict[UUID, Progress]:
    """Of those that said something about it."""
    found = {id: _progress(journal) for id, journal in _journals(list(ids)).items()}
    return {id: progress for id, progress in found.items() if progress is not None}


# They belong to the app above, so it is asked by name: imports point down.


def _journals(ids: list[UUID]) -> dict[UUID, Any]:
    journal = apps.get_model("workflows", "Journal")
    return dict(journal._default_manager.in_bulk(ids)) if ids else {}


def _line_rows() -> Any:
    lines = apps.get_model("workflows", "LogLine")._default_manager
    return lines.defer("fields").annotate(fields_text=Cast("fields", TextField()))


def _lines(id: UUID, last: int, after: int | None) -> list[Line]:
    return lines_after(id, last - MAX_LINES if after is None else after)


def _with_turns(lines: list[Line], attempt: int) -> list[Line]:
    before = [attempt, *(line.attempt for line in lines)]
    return [
        replace(line, turns=True) if line.attempt != earlier else line
        for line, earlier in zip(lines, before, strict=False)
    ]


def _line(row: Any) -> Line:
    return Line(row.number, row.attempt, row.level, row.at, row.text, _fields(row.fields_text))


def _fields(raw: str | None) -> list[tuple[str, str]]:
    if not raw or raw == "null":
        return []
    try:
        # Each value stays as it was sent: parsing it would lose digits.
        found = msgspec.json.decode(raw.encode(), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return [("fields", raw)]
    return [(name, _readable(bytes(value).decode())) for name, value in found.items()]


def _readable(value: str) -> str:
    """Without the quotes of a text that needs none."""
    bare = value[1:-1]
    plain = value.startswith('"') and bare and not any(each in '\\" =' for each in bare)
    return bare if plain else value


def _progress(journal: Any) -> Progress | None:
    if journal.progress_at is None:
        return None
    return Progress(journal.progress, journal.progress_text, journal.progress_at, journal.progress_attempt)
