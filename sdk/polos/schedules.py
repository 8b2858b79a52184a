"""Schedules that a program makes: `await schedules.create(client, workflow="report", cron="0 8 * * *")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import Conflict
from ._invocation import id_of
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
    the workflow's id is. Conflict when a schedule of another workflow has the name; DefinitionError for a cron
    expression or a time zone that is none. `client.create_schedule` and its sisters can do more.
    """
    id = id_of(workflow)
    name = id if key == GLOBAL else key
    try:
        made = await client.create_schedule(id, name=name, cron=cron, timezone=timezone)
    except Conflict:
        known = await client.get_schedule(name)
        if known.workflow_id != id:
            raise
        made = await client.change_schedule(known, cron=cron, timezone=timezone)
    return made.id
