"""What the REST API answers beside the replies in `queues.requests`, and what it takes for limits and pauses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from queues.requests import Level, Limit, Name, Text

Time = Annotated[dt.datetime, Meta(tz=True)]


class AwaitedView(Struct, frozen=True, kw_only=True):
    count: int
    first: list[UUID]  # ten of them at most


class WaitView(Struct, frozen=True, kw_only=True):
    """What an execution waits for right now."""

    key: str
    kind: str  # time, executions, event, resume
    since: Time
    until: Time | None  # time: when it is over; else when it times out
    topic: str | None
    executions: AwaitedView | None
    note: Raw


def wait_view(row: Sequence[Any]) -> WaitView:
    """From a row of `open_waits`."""
    key, kind, since, until, topic, count, first, note = row
    awaited = None if count is None else AwaitedView(count=count, first=first)
    return WaitView(
        key=key, kind=kind, since=since, until=until, topic=topic, executions=awaited, note=Raw(note.encode())
    )


class ExecutionView(Struct, frozen=True, kw_only=True):
    id: UUID
    workflow_id: str
    queue: str
    status: str
    payload: Raw
    result: Raw
    error: Raw
    attempt: int  # tries begun
    max_attempts: int
    priority: int
    enqueued_at: Time
    due_at: Time | None
    claimed_at: Time | None
    finished_at: Time | None
    worker_id: UUID | None
    slot: int | None
    parent_id: UUID | None
    root_id: UUID | None
    position: int | None = None  # place in line, 1 = next; null when not waiting or far back
    served: bool | None = None  # queued: whether a living worker serves it. Told by the addresses of one execution
    waits: list[WaitView] | UnsetType = UNSET  # waiting: for what. Told by the addresses of one execution


EXECUTION_FIELDS = ExecutionView.__struct_fields__[:-3]
_RAW_FIELDS = ("payload", "result", "error")


def execution_view(
    row: Sequence[Any],
    position: int | None = None,
    served: bool | None = None,
    *,
    waits: list[WaitView] | UnsetType = UNSET,
) -> ExecutionView:
    """From a row of `read_execution` or `list_executions`."""
    fields = dict(zip(EXECUTION_FIELDS, row, strict=True))
    fields |= {name: Raw(fields[name].encode()) for name in _RAW_FIELDS}
    return ExecutionView(position=position, served=served, waits=waits, **fields)


class ExecutionPage(Struct, frozen=True, kw_only=True):
    executions: list[ExecutionView]
    next_cursor: str | None  # for `cursor`; null on the last page
    searched_back_to: Time | None = None  # the search took too long and ended here: go on with `next_cursor`


class ResultView(Struct, frozen=True, kw_only=True):
    id: UUID
    status: str  # completed, failed, cancelled
    result: Raw
    error: Raw


class Results(Struct, frozen=True, kw_only=True):
    executions: list[ResultView]  # those that are final, in the order asked for
    left: list[UUID] = []  # final, and left out because the answer would be too large: ask again for these


class EventView(Struct, frozen=True, kw_only=True):
    id: UUID
    topic: str
    payload: Raw
    published_at: Time
    published_by: str


class EventPage(Struct, frozen=True, kw_only=True):
    events: list[EventView]
    next_cursor: str | None  # for `cursor`; null on the last page


class PublishedView(Struct, frozen=True, kw_only=True):
    id: UUID
    topic: str
    published_at: Time
    woken: int  # executions that waited for it; none for a repeat


class Override(Struct, frozen=True, kw_only=True):
    limit: int | None  # null = unlimited
    reason: str
    by: str
    at: Time | None
    until: Time | None


class Pause(Struct, frozen=True, kw_only=True):
    reason: str
    by: str
    at: Time | None
    until: Time | None


class Drain(Struct, frozen=True, kw_only=True):
    """It takes nothing new, and finishes what is there."""

    reason: str
    by: str
    at: Time | None


class QueueView(Struct, frozen=True, kw_only=True):
    name: str
    declared_limit: int | None
    override: Override | None
    effective_limit: int | None  # null = unlimited, 0 = nothing starts
    paused: Pause | None
    draining: Drain | None
    running: int
    cancelling: int  # asked to stop; still hold their slots
    waiting: int
    scheduled: int
    oldest_wait_seconds: float | None
    state: str
    version: int  # for `expected_version`
    workflows: list[str]


class QueuePage(Struct, frozen=True, kw_only=True):
    queues: list[QueueView]
    next_cursor: str | None


class WorkerView(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    host: str
    pid: int | None
    sdk_version: str
    max_concurrent: int
    state: str
    registered_at: Time
    heartbeat_at: Time
    lease_until: Time
    left_at: Time | None
    queues: list[str]
    workflows: list[str]


class WorkerList(Struct, frozen=True, kw_only=True):
    workers: list[WorkerView]


class StepView(Struct, frozen=True, kw_only=True):
    key: str
    result: Raw
    error: Raw
    started_at: Time
    ended_at: Time
    attempt: int
    child_id: UUID | None


class StepList(Struct, frozen=True, kw_only=True):
    steps: list[StepView]


class LineView(Struct, frozen=True, kw_only=True):
    """One line of an execution's log."""

    number: int  # from 1 without a gap, over all attempts
    attempt: int
    level: Level
    at: Time  # on the worker's clock
    text: str
    fields: Raw  # a JSON object, or null


class LogPage(Struct, frozen=True, kw_only=True):
    lines: list[LineView]  # oldest first
    after: int  # for the next page, and for what comes later
    more: bool  # there is a next page already
    first: int  # number of the oldest line that is kept


class ProgressView(Struct, frozen=True, kw_only=True):
    """How far an execution said it is, last."""

    value: float | None  # from 0 to 1; null: it gave a text only
    text: str
    at: Time
    attempt: int


class News(Struct, frozen=True, kw_only=True):
    """What happened to an execution after a cursor."""

    execution: ExecutionView | None  # when its status, attempt or place in line is another one
    progress: ProgressView | None  # when it told another one
    lines: list[LineView]  # oldest first, without a gap as far as they are kept
    cursor: str  # for `after`
    end: bool  # it is final, and this was all


StatusName = Literal["scheduled", "queued", "running", "waiting", "cancelling", "completed", "failed", "cancelled"]


class Cancellation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    children: Literal["cancel", "leave"] = "leave"  # and theirs
    expected_status: StatusName | None = None  # refused when it has another one
    reason: Text = ""


class LimitChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit | None  # null = unlimited, 0 = nothing starts
    reason: Text = ""
    until: Time | None = None
    expected_version: int | None = None


class PauseChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Text = ""
    until: Time | None = None
    expected_version: int | None = None


class TickView(Struct, frozen=True, kw_only=True):
    at: Time  # when it was due, or was run by hand
    outcome: str  # started, skipped, missed
    note: str
    by: str  # who ran it by hand; empty for the schedule itself
    execution_id: UUID | None
    status: str | None  # of the execution


class SchedulePause(Struct, frozen=True, kw_only=True):
    reason: str
    by: str
    at: Time | None


class ScheduleView(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    workflow_id: str
    queue: str  # where its executions go
    cron: str | None
    timezone: str
    every: int | None  # seconds
    at: Time | None
    payload: Raw | None  # null: the tick itself
    catch_up: str
    catch_up_most: int
    overlap: str
    paused: SchedulePause | None
    declared: bool  # in code: changed and deleted there
    place: str
    created_by: str
    created_at: Time
    next: list[Time]  # the next five ticks; none while it is paused
    ticks: list[TickView]  # the last five, newest first
    version: int  # for `expected_version`


class SchedulePage(Struct, frozen=True, kw_only=True):
    schedules: list[ScheduleView]
    next_cursor: str | None


class TriggerView(Struct, frozen=True, kw_only=True):
    workflow_id: str
    queue: str
    topic: str
    batch_size: int
    batch_timeout: float | None  # seconds
    waiting: int  # events, for their batch to be full or its time to come
    declared_by: str
    place: str
    declared_at: Time


class TriggerList(Struct, frozen=True, kw_only=True):
    triggers: list[TriggerView]


class NewSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `cron`, `every` (seconds) and `at`. `payload`: absent, the tick itself."""

    workflow_id: Name
    id: UUID | None = None  # chosen by the client: repeating the request has no second effect
    name: Name | None = None  # default: the workflow's
    cron: Annotated[str, Meta(max_length=200)] = ""
    timezone: Annotated[str, Meta(max_length=100)] = "UTC"
    every: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None
    at: Time | None = None
    queue_name: Name | None = None  # default: the workflow's
    payload: Raw | UnsetType = UNSET
    catch_up: Literal["skip", "latest", "all"] = "latest"
    catch_up_most: Annotated[int, Meta(ge=1, le=1_000)] = 100
    overlap: Literal["allow", "skip", "cancel"] = "allow"


class ScheduleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent stays as it is. Whoever gives one of `cron`, `every` and `at` replaces the others."""

    name: Name | UnsetType = UNSET
    workflow_id: Name | UnsetType = UNSET
    cron: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    timezone: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET
    every: Annotated[int, Meta(ge=1, le=31_536_000)] | UnsetType = UNSET
    at: Time | UnsetType = UNSET
    queue_name: Name | UnsetType | None = UNSET  # null: the workflow's
    payload: Raw | UnsetType = UNSET
    catch_up: Literal["skip", "latest", "all"] | UnsetType = UNSET
    catch_up_most: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    overlap: Literal["allow", "skip", "cancel"] | UnsetType = UNSET
    reason: Text = ""
    expected_version: int | None = None


class SchedulePauseChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Text = ""
    expected_version: int | None = None


class ScheduleRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: UUID | None = None  # chosen by the client (UUIDv7): repeating it has no second effect


class WorkerDrain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Text = ""


class DrainChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Text = ""
    expected_version: int | None = None


class ProblemView(Struct, frozen=True, kw_only=True):
    """`application/problem+json`, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    index: Annotated[int, Meta(ge=0)] | UnsetType = UNSET  # of the bad item in a batch
    request_id: str | UnsetType = UNSET  # of an unexpected error, to be found in the server's log
