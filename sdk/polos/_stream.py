"""What happens to an execution, as it happens: its states, its progress, the lines of its log."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._caller import path_of
from ._execution import Execution, read_execution

if TYPE_CHECKING:
    from ._client import PolosClient

IDLE_PAUSE = 0.25  # a server that is about to stop answers at once: it must not be asked in a busy loop


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that the workflow sent with `ctx.log`."""

    number: int  # from 1 without a gap, over all attempts
    attempt: int
    level: str  # debug, info, warning, error
    at: dt.datetime  # on the worker's clock
    text: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is, as the workflow said with `ctx.heartbeat`."""

    value: float | None  # from 0 to 1; None: it gave a text only
    text: str
    at: dt.datetime  # on the worker's clock
    attempt: int


Update = Execution | Progress | LogLine


async def follow(client: PolosClient, execution_id: str) -> AsyncIterator[Update]:
    """See `PolosClient.stream`. The cursor makes a repeated request harmless: it gets the same answer."""
    cursor, last = "", None
    while True:
        began = time.monotonic()
        path = path_of(execution_id, f"/stream?after={quote(cursor, safe='')}")
        news = await client.long_poll(path)
        for update in _in_order(news):
            if isinstance(update, Execution):
                last = update
            if not (isinstance(update, Execution) and update.is_final):
                yield update
        if news["end"]:
            if last is not None:
                yield last
            return
        if news["cursor"] == cursor and time.monotonic() - began < IDLE_PAUSE:
            await asyncio.sleep(IDLE_PAUSE)
        cursor = news["cursor"]


def _in_order(news: dict[str, Any]) -> list[Update]:
    """What was told belongs to the claim that holds now, or to the one that has just ended."""
    told: list[Update] = [read_line(line) for line in news["lines"]]
    if news["progress"] is not None:
        told.append(_progress(news["progress"]))
    if news["execution"] is None:
        return told
    state = read_execution(news["execution"])
    return [state, *told] if state.status in ("running", "cancelling") else [*told, state]


def read_line(data: dict[str, Any]) -> LogLine:
    return LogLine(
        number=data["number"],
        attempt=data["attempt"],
        level=data["level"],
        at=dt.datetime.fromisoformat(data["at"]),
        text=data["text"],
        fields=data["fields"] or {},
    )


def _progress(data: dict[str, Any]) -> Progress:
    return Progress(
        value=data["value"],
        text=data["text"],
        at=dt.datetime.fromisoformat(data["at"]),
        attempt=data["attempt"],
    )
