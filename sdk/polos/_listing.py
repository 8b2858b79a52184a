"""Lists that the REST API gives page by page, and what executions can be looked for by."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlencode

from ._invocation import id_of
from ._workflow import Workflow

if TYPE_CHECKING:
    from ._caller import Caller

Status = Literal["scheduled", "queued", "running", "waiting", "cancelling", "completed", "failed", "cancelled"]
PAGE = 200


class Filters(TypedDict, total=False):
    """What executions are looked for by, beside a search line. All must hold; in names `*` stands for any
    characters."""

    queue: str
    workflow: Workflow[Any] | str
    status: Status
    worker: str  # the name of the one that has it or had it last
    error: str  # words in the type or the message of its error
    since: str | dt.datetime  # enqueued then: "2h", "2026-01-31", a datetime with a time zone
    before: str | dt.datetime
    parent: str  # an id: its children


def search_query(search: str, filters: Mapping[str, Any]) -> dict[str, str]:
    """As parameters of a request. TypeError for a filter that there is not."""
    if unknown := sorted(filters.keys() - Filters.__annotations__.keys()):
        known = ", ".join(Filters.__annotations__)
        raise TypeError(f"Executions are looked for by {known}, not by {', '.join(unknown)}")
    given = {name: _text(name, value) for name, value in filters.items() if value is not None}
    return ({"search": search} if search else {}) | given


async def pages(
    client: Caller, kind: str, query: Mapping[str, str], *, most: int | None = None
) -> AsyncIterator[list[dict[str, Any]]]:
    """What fits, in the server's order, a page at a time: `most` of them, or all."""
    cursor: str | None = None
    left = most
    while left is None or left > 0:
        asked = {**query, "limit": str(PAGE if left is None else min(PAGE, left))}
        page = await client._call("GET", f"/{kind}?{urlencode(asked | ({'cursor': cursor} if cursor else {}))}")
        found: list[dict[str, Any]] = page[kind]
        yield found
        left = None if left is None else left - len(found)
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _text(name: str, value: Any) -> str:
    if name == "workflow" and isinstance(value, Workflow):
        return id_of(value)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} is a datetime with a time zone, not {value!r}")
        return value.isoformat()
    return str(value)
