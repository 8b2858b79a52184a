"""Schedules as a client makes, sees, pauses and runs them. Those that code declares are said with `@workflow`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import quote, urlencode

from ._caller import Caller
from ._errors import NotFound
from ._execution import read_time
from ._ids import new_id
from ._invocation import id_of, unexpected
from ._json import encode
from ._listing import pages
from ._schedule import checked_change, checked_schedule
from ._workflow import Workflow

CatchUp = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip", "cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One time at which a schedule was due, or was run by hand, and what came of it."""

    at: dt.datetime
    outcome: str  # started, skipped, missed
    note: str
    by: str  # who ran it by hand; empty for the schedule itself
    execution_id: str | None
    status: str | None  # of the execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What starts a workflow by itself, as it was when the server answered. One of `cron`, `every` and `at`."""

    id: str
    name: str
    workflow_id: str
    queue: str  # where its executions go
    cron: str | None
    timezone: str
    every: int | None  # seconds
    at: dt.datetime | None
    payload: Any  # None: the tick itself, a `SchedulePayload`
    catch_up: str
    catch_up_most: int
    overlap: str
    paused: bool
    paused_by: str
    paused_reason: str
    declared: bool  # in code: changed and deleted there
    place: str  # file:line of that
    created_by: str
    created_at: dt.datetime
    next: tuple[dt.datetime, ...]  # the next five ticks; none while it is paused
    ticks: tuple[Tick, ...]  # the last five, the newest first
    version: int


class ScheduleOptions(TypedDict, total=False):
    """When a schedule ticks and what it starts. `cron` (five fields, or "@daily") is meant in `timezone`."""

    cron: str | None
    timezone: str
    every: float | dt.timedelta | None  # seconds
    at: dt.datetime | None  # once
    payload: Any
    queue_name: str | None  # another one than the workflow's
    catch_up: CatchUp  # ticks that were missed by more than a minute
    catch_up_most: int
    overlap: Overlap  # while the execution before is not finished


class ScheduleCalls(Caller):
    """The part of a client that is about schedules. They are named, or given as a `Schedule`."""

    async def create_schedule(
        self, workflow: Workflow[Any] | str, *, name: str | None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Makes a schedule, named after its workflow unless it has a `name`.

            await client.create_schedule(report, cron="30 3 * * MON-FRI", timezone="Europe/Berlin")

        One of `cron`, `every` (seconds or a timedelta) and `at` (a datetime) says when. Without a `payload` the
        workflow gets the tick, a `SchedulePayload`. `catch_up` is for ticks that were missed while no server ran:
        "latest" (the default) starts the last one, "all" up to `catch_up_most` (100), "skip" none. `overlap` is
        for a tick while the execution before is not finished: "allow" (the default), "skip", or "cancel" that one.

        DefinitionError for what makes no sense, Conflict for a name that is taken, Invalid when no worker has ever
        registered the workflow, or when there is no such queue.
        """
        said = _said("PolosClient.create_schedule", options)
        body = checked_schedule(said, workflow_id=id_of(workflow), place="create_schedule")
        body |= {"id": new_id(), "workflow_id": id_of(workflow)} | ({} if name is None else {"name": name})
        return read_schedule(await self._call("POST", "/schedules", encode(body, "The schedule")))

    async def list_schedules(self, *, workflow: Workflow[Any] | str | None = None) -> list[Schedule]:
        """All schedules by name, or those of a workflow: made by people, by clients, and in code."""
        query = {} if workflow is None else {"workflow": id_of(workflow)}
        return [read_schedule(each) async for page in pages(self, "schedules", query) for each in page]

    async def get_schedule(self, name: str) -> Schedule:
        """A schedule with its next ticks and its last ones; NotFound when there is none."""
        found = await self._call("GET", f"/schedules?{urlencode({'name': name})}")
        if not found["schedules"]:
            raise NotFound(404, f"There is no schedule named {name!r}.")
        return read_schedule(found["schedules"][0])

    async def change_schedule(
        self, schedule: Schedule | str, *, reason: str = "", **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Changes what is given; the rest stays. One of `cron`, `every` and `at` takes the place of the others.

        Conflict for one that code declares: it is changed there.
        """
        said = _said("PolosClient.change_schedule", options)
        body = checked_change(said, place="change_schedule") | ({"reason": reason} if reason else {})
        return await self._act("PATCH", schedule, "", body)

    async def pause_schedule(self, schedule: Schedule | str, *, reason: str = "") -> Schedule:
        """It does not tick until somebody resumes it. Ticks within the pause are left out."""
        return await self._act("PUT", schedule, "/pause", {"reason": reason})

    async def resume_schedule(self, schedule: Schedule | str) -> Schedule:
        """It ticks again, from now on. One that is not paused stays as it is."""
        return await self._act("DELETE", schedule, "/pause")

    async def delete_schedule(self, schedule: Schedule | str) -> None:
        """Deletes it; what it started goes on. Conflict for one that code declares, NotFound for a name that there
        is not."""
        path = await self._path(schedule)
        with suppress(NotFound):  # it is gone: by a request whose answer was lost, or by somebody else
            await self._call("DELETE", path)

    async def _act(
        self, method: str, schedule: Schedule | str, rest: str, body: dict[str, Any] | None = None
    ) -> Schedule:
        text = None if body is None else encode(body, "The request")
        return read_schedule(await self._call(method, await self._path(schedule) + rest, text))

    async def _path(self, schedule: Schedule | str) -> str:
        found = schedule if isinstance(schedule, Schedule) else await self.get_schedule(schedule)
        return f"/schedules/{quote(found.id, safe='')}"


def read_schedule(data: Mapping[str, Any]) -> Schedule:
    """The server's JSON; fields that this version does not know are left out."""
    names = (
        "id", "name", "workflow_id", "queue", "cron", "timezone", "every", "payload", "catch_up", "catch_up_most",
        "overlap", "declared", "place", "created_by", "version",
    )  # fmt: skip
    pause = data["paused"] or {}
    return Schedule(
        **{name: data[name] for name in names},
        at=read_time(data["at"]),
        paused=bool(pause),
        paused_by=pause.get("by", ""),
        paused_reason=pause.get("reason", ""),
        created_at=dt.datetime.fromisoformat(data["created_at"]),
        next=tuple(map(dt.datetime.fromisoformat, data["next"])),
        ticks=tuple(map(_tick, data["ticks"])),
    )


def _tick(data: Mapping[str, Any]) -> Tick:
    names = ("outcome", "note", "by", "execution_id", "status")
    return Tick(at=dt.datetime.fromisoformat(data["at"]), **{name: data[name] for name in names})


def _said(called: str, options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in ScheduleOptions.__annotations__:
            raise TypeError(unexpected(called, name, ScheduleOptions.__annotations__))
    return dict(options)
