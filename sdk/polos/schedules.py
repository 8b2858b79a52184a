"""Schedules that a program makes: `await schedules.create(client, workflow="report", cron="0 8 * * *")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._errors import Conflict
from ._invocation import id_of
from ._json import encode
from ._schedule import SchedulePayload
from ._workflow import Workflow

if TYPE_CHECKING:
    from ._client import PolosClient

__all__ = ["SchedulePayload", "create"]

GLOBAL = "global"


async def create(
    client: PolosClient,
    workflow: Workflow[Any] | str,
    cron: str,
    timezone: str = "UTC",
    key: str = GLOBAL,
) -> str:
    """Makes a schedule, or changes the one that is there under `key`; gives back its id.

    `key` is the schedule's name, one for each customer for example, and in the payload of its ticks. Without it
    the workflow's id is. Conflict when a schedule of another workflow has the name; Invalid for a cron expression
    or a time zone that is none.
    """
    id, http = id_of(workflow), client.http
    name = id if key == GLOBAL else key
    times = {"cron": cron, "timezone": timezone}
    body = encode({"workflow_id": id, "name": name, **times}, "A schedule")
    try:
        made = await http.call("POST", "/schedules", body, lane="client")
    except Conflict:
        known = await _known(client, id, name)
        if known is None:
            raise
        made = await http.call("PATCH", f"/schedules/{known}", encode(times, "A schedule"), lane="client")
    return str(made["id"])


async def _known(client: PolosClient, workflow_id: str, name: str) -> str | None:
    cursor: str | None = ""
    while cursor is not None:
        path = f"/schedules?workflow={quote(workflow_id, safe='')}&cursor={quote(cursor, safe='')}"
        page = await client.http.call("GET", path, lane="client")
        for each in page["schedules"]:
            if each["name"] == name:
                return str(each["id"])
        cursor = page["next_cursor"]
    return None
