"""What running executions tell, and who wants to hear it: log lines, progress, news."""

from __future__ import annotations

import time
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw

from queues.engine import Engine, get_engine
from queues.keys import Principal
from queues.models import FINAL, ApiKey, Status
from queues.problems import Conflicting, Invalid
from queues.rawjson import problem as raw_problem
from queues.requests import MAX_BATCH, NewLine, NewLog, NewLogs, SavedLogs
from workflows import logs
from workflows.following import Mark, followers
from workflows.logs import LEVELS, Line, Standing

from . import handlers
from .checks import decoded, time_problem
from .handlers import Reply
from .replies import ExecutionView, LineView, LogPage, News, ProgressView

MAX_FIELDS_BYTES = 16 * 1024
MOST_LINES = 1_000  # in one answer
PLACE_SECONDS = 1.0  # between two looks at the place in line of somebody who is followed
FULL, ENQUEUE, WORK = ApiKey.Scope.FULL, ApiKey.Scope.ENQUEUE, ApiKey.Scope.WORK

_encode = msgspec.json.Encoder().encode
_new_logs = msgspec.json.Decoder(NewLogs)


# -- telling -----------------------------------------------------------------------------------------


async def save_logs(principal: Principal, body: bytes) -> Reply:
    principal.needs(FULL, WORK)
    items = decoded(_new_logs, body).logs
    if sum(len(item.lines) for item in items) > MAX_BATCH:
        raise Invalid(f"A request has at most {MAX_BATCH:,} lines.")
    for index, item in enumerate(items):
        if problem := _log_problem(item):
            raise Invalid(f"Item {index}: {problem}", index=index)
    saved = await logs.save_logs(get_engine(), items)
    if all(outcome.outcome == "stale" for outcome in saved):
        raise Conflicting(
            "These executions do not run under these tokens any more; nothing was saved.", logs=saved
        )
    return 200, _encode(SavedLogs(logs=saved))


def _log_problem(item: NewLog) -> str | None:
    times = time_problem("at", item.progress.at) if item.progress else None
    return times or next(filter(None, map(_line_problem, item.lines)), None)


def _line_problem(line: NewLine) -> str | None:
    if line.fields is UNSET:
        return time_problem("at", line.at)
    if not bytes(line.fields).lstrip().startswith(b"{"):
        return "fields is a JSON object."
    found = raw_problem(line.fields, MAX_FIELDS_BYTES)
    return f"fields {found}." if found else time_problem("at", line.at)


# -- hearing -----------------------------------------------------------------------------------------


async def log_page(principal: Principal, id: UUID, *, after: str, level: str, limit: str, wait: float) -> Reply:
    """Lines after a number. With `wait`, once there is one or the time is over."""
    principal.needs(FULL, ENQUEUE)
    last, most, least = _whole(after or "0", "after"), _whole(limit or "1000", "limit"), level or LEVELS[0]
    if least not in LEVELS:
        raise Invalid(f"level is one of {', '.join(LEVELS)}.")
    if not 1 <= most <= MOST_LINES:
        raise Invalid(f"limit is a number from 1 to {MOST_LINES:,}.")
    engine, end = get_engine(), time.monotonic() + wait
    while True:
        row = await handlers.read_one(engine, principal, id)
        standing, lines, more = await _look(engine, id, last, least, most)
        left = end - time.monotonic()
        if lines or row[3] in FINAL or left <= 0 or engine.draining:
            break
        mark = Mark(row[3], row[7], standing.lines, standing.progress_at)
        await followers(engine).wait(engine, id, mark, left)
    # Lines of a lesser level are passed over, and need not be looked at again.
    passed = max([last if more else standing.lines, *(line.number for line in lines)])
    page = LogPage(lines=[_view(line) for line in lines], after=passed, more=more, first=standing.first)
    return 200, _encode(page)


async def news(principal: Principal, id: UUID, *, after: str, wait: float) -> Reply:
    """What is different since a cursor. With `wait`, once something is or the time is over."""
    principal.needs(FULL, ENQUEUE)
    seen = _Cursor.read(after) if after else _Cursor()
    engine, end = get_engine(), time.monotonic() + wait
    while True:
        row = await handlers.read_one(engine, principal, id)
        view = await handlers.viewed(engine, row)
        standing, lines, more = await _look(engine, id, seen.lines, LEVELS[0], MOST_LINES)
        found = _news(seen, view, standing, lines, more=more)
        left = end - time.monotonic()
        if found.cursor != after or found.end or left <= 0 or engine.draining:
            return 200, _encode(found)
        mark = Mark(view.status, view.attempt, standing.lines, standing.progress_at)
        slice_ = min(left, PLACE_SECONDS) if view.status == Status.QUEUED else left
        await followers(engine).wait(engine, id, mark, slice_)


class _Cursor(NamedTuple):
    """What a follower knows: the last line, the last progress, and the state."""

    lines: int = 0
    told: int = 0  # when it told its progress, in microseconds since 1970
    state: str = ""

    @classmethod
    def read(cls, text: str) -> _Cursor:
        lines, _, rest = text.partition(".")
        told, _, state = rest.partition(".")
        return cls(_whole(lines, "after"), _whole(told, "after"), state)

    def __str__(self) -> str:
        return f"{self.lines}.{self.told}.{self.state}"


def _news(seen: _Cursor, view: ExecutionView, standing: Standing, lines: list[Line], *, more: bool) -> News:
    told = round(standing.progress_at.timestamp() * 1_000_000) if standing.progress_at else 0
    now = _Cursor(lines[-1].number if lines else seen.lines, told, _state(view))
    return News(
        execution=view if now.state != seen.state else None,
        progress=_progress(standing) if told != seen.told else None,
        lines=[_view(line) for line in lines],
        cursor=str(now),
        end=view.status in FINAL and not more,
    )


def _state(view: ExecutionView) -> str:
    parts = (view.status, view.attempt, view.position, view.served)
    return "-".join("" if part is None else str(part) for part in parts)


def _progress(standing: Standing) -> ProgressView | None:
    if standing.progress_at is None:
        return None
    return ProgressView(
        value=standing.progress, text=standing.progress_text, at=standing.progress_at,
        attempt=standing.progress_attempt,
    )  # fmt: skip


async def _look(engine: Engine, id: UUID, after: int, level: str, most: int) -> tuple[Standing, list[Line], bool]:
    async with engine.connection() as conn:
        # First where it stands: a line that comes in between is then seen twice, and not never.
        standing = await logs.read_standing(conn, id)
        if standing.lines <= after:
            return standing, [], False
        lines, more = await logs.read_lines(conn, id, after=after, level=level, most=most)
    return standing, lines, more


def _view(line: Line) -> LineView:
    return LineView(
        number=line.number, attempt=line.attempt, level=line.level, at=line.at,
        text=line.text, fields=Raw(line.fields.encode()),
    )  # fmt: skip


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"{name} is not valid: give what the answer before said.")
    return int(text)
