"""What workers and clients send, and what they get back: one definition for REST, OpenAPI and engine.

Everything is decoded and checked in one go by msgspec. Values that belong to the user (payloads, results)
stay raw JSON: `queues.rawjson` checks them, nobody parses them. Times are UTC, durations are seconds.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from .names import MAX_NAME_LENGTH

MAX_BATCH = 1_000
MAX_LIMIT = 1_000_000
MAX_WAITS = 1_000  # of one execution at a time
MAX_AWAITED = 10_000  # executions that one wait is for
NULL = Raw(b"null")

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=0, le=MAX_LIMIT)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Timeout = Annotated[float, Meta(gt=0, le=31_536_000)]  # seconds
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]  # seconds of head start
Text = Annotated[str, Meta(max_length=500)]
Level = Literal["debug", "info", "warning", "error"]  # from the least


def _null() -> Raw:  # a factory, because msgspec cannot describe a raw default in JSON Schema
    return NULL


class _Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    pass


class _Reply(Struct, frozen=True, kw_only=True, gc=False):
    pass


# -- enqueue ---------------------------------------------------------------------------------------


class Parent(_Request, frozen=True, kw_only=True):
    """The running execution that starts a child; its token proves that it still runs."""

    id: UUID
    token: UUID


class Deduplication(_Request, frozen=True, kw_only=True):
    """One at a time: what happens when an execution of the workflow on the queue has this key and is not final.

    skip: nothing is added. replace: one that has not started gets the new payload, else as skip. cancel_old: it is
    cancelled, and the new one starts when it has stopped. debounce: one that has not started gets the new payload,
    and its start is pushed back; else a new one is added, which starts after `seconds`.
    """

    key: Key
    policy: Literal["skip", "replace", "cancel_old", "debounce"] = "skip"
    seconds: Timeout | None = None  # debounce: how long it has to be quiet before it starts
    longest: Timeout | None = None  # debounce: it is not pushed back further than this after the first one


class NewExecution(_Request, frozen=True, kw_only=True):
    workflow_id: Name
    payload: Raw = field(default_factory=_null)
    id: UUID | None = None  # chosen by the client (UUIDv7): repeating it has no second effect
    queue_name: Name | None = None  # default: the workflow's queue, else a queue named after it
    queue_concurrency_limit: Limit | UnsetType | None = UNSET  # for a queue that does not exist yet
    idempotency_key: Key | None = None
    priority: Priority | None = None  # default: the workflow's
    run_at: dt.datetime | None = None  # not before; with a time zone
    delay: Seconds | None = None  # not before now + delay
    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    # Counted from when it may start. Default: the workflow's; null = none, whatever the workflow says.
    queue_timeout: Timeout | UnsetType | None = UNSET  # to its first start, else it fails
    execution_timeout: Timeout | UnsetType | None = UNSET  # to its end, all attempts and pauses in it
    deduplication: Deduplication | None = None
    parent: Parent | None = None


class NewExecutions(_Request, frozen=True, kw_only=True):
    executions: Annotated[list[NewExecution], Meta(min_length=1, max_length=MAX_BATCH)]


class Accepted(_Reply, frozen=True, kw_only=True):
    """The answer to one enqueued execution, sent after the commit."""

    id: UUID
    workflow_id: str
    queue: str
    status: str
    created: bool  # false: it was there already, nothing was added
    enqueued_at: dt.datetime
    notes: list[str] = []  # e.g. that the queue keeps its own limit


class AcceptedBatch(_Reply, frozen=True, kw_only=True):
    executions: list[Accepted]


# -- workers ---------------------------------------------------------------------------------------


class QueueDeclaration(_Request, frozen=True, kw_only=True):
    name: Name
    concurrency_limit: Limit | UnsetType | None = UNSET  # null = unlimited; absent = declares no limit
    place: Annotated[str, Meta(max_length=300)] = ""  # file:line


class ScheduleDeclaration(_Request, frozen=True, kw_only=True):
    """When executions of a workflow start by themselves: one of `cron` (with its time zone), `every` and `at`."""

    cron: Annotated[str, Meta(max_length=200)] = ""
    timezone: Annotated[str, Meta(max_length=100)] = "UTC"
    every: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None  # seconds
    at: dt.datetime | None = None  # with a time zone
    payload: Raw | UnsetType = UNSET  # absent: the tick (schedule_id, key, timestamp, …)
    catch_up: Literal["skip", "latest", "all"] = "latest"  # ticks that were missed by more than a minute
    catch_up_most: Annotated[int, Meta(ge=1, le=1_000)] = 100
    overlap: Literal["allow", "skip", "cancel"] = "allow"  # while the one before is not finished
    key: Annotated[str, Meta(max_length=190)] = ""  # its name when it is made; empty: the workflow's
    place: Annotated[str, Meta(max_length=300)] = ""  # file:line


class TriggerDeclaration(_Request, frozen=True, kw_only=True):
    """Events that start executions of a workflow: one each, or one for a batch."""

    topic: Name
    batch_size: Annotated[int, Meta(ge=1, le=1_000)] = 1
    batch_timeout: Seconds | None = None  # after which a batch that is not full starts, too; null: never
    place: Annotated[str, Meta(max_length=300)] = ""  # file:line


class WorkflowDeclaration(_Request, frozen=True, kw_only=True):
    id: Name
    queue: Name
    description: Text = ""
    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 1
    schedule: ScheduleDeclaration | UnsetType | None = UNSET  # null: none any more; absent: nothing is said
    trigger: TriggerDeclaration | UnsetType | None = UNSET  # the same
    # Of its executions, where nobody says otherwise:
    priority: Priority = 0
    queue_timeout: Timeout | None = None
    execution_timeout: Timeout | None = None


class Register(_Request, frozen=True, kw_only=True):
    id: UUID  # of this process, chosen by it: a repeated registration is a reconnect
    name: Name  # stable over restarts
    host: Annotated[str, Meta(max_length=200)] = ""
    pid: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    sdk_version: Annotated[str, Meta(max_length=50)] = ""
    max_concurrent: Annotated[int, Meta(ge=1, le=100_000)] = 100
    queues: Annotated[list[QueueDeclaration], Meta(max_length=20_000)] = []
    workflows: Annotated[list[WorkflowDeclaration], Meta(min_length=1, max_length=20_000)]


class RegisteredQueue(_Reply, frozen=True, kw_only=True):
    name: str
    declared_limit: int | None
    effective_limit: int | None
    paused: bool


class Registered(_Reply, frozen=True, kw_only=True):
    worker_id: UUID
    lease_seconds: float
    heartbeat_seconds: float
    poll_seconds: float  # longest useful `wait` of an exchange
    queues: list[RegisteredQueue]
    warnings: list[str] = []  # sentences for the worker's log


class ErrorInfo(_Request, frozen=True, kw_only=True, omit_defaults=True):
    type: Annotated[str, Meta(max_length=200)] = "Error"
    message: Annotated[str, Meta(max_length=20_000)] = ""
    traceback: Annotated[str, Meta(max_length=100_000)] = ""
    reason: Annotated[str, Meta(max_length=50)] = ""  # a word for programs, e.g. attempt_timeout


class NewWait(_Request, frozen=True, kw_only=True):
    """What an execution waits for. Declaring the same key again keeps the wait that is stored."""

    key: Key
    kind: Literal["time", "executions", "event", "resume"]
    # time: when it is over, one of the two. Else after which it is over without an answer; neither: never.
    until: dt.datetime | None = None
    seconds: Seconds | None = None  # from when it began
    executions: Annotated[list[UUID], Meta(max_length=MAX_AWAITED)] | None = (
        None  # over when all of them are final
    )
    topic: Name | None = None  # over with the first event since it began,
    since: dt.datetime | None = None  # or after this: of topics only
    note: Raw = field(default_factory=_null)  # resume: what the person who answers is shown
    # So long before it is declared (first) it began: a worker declares it when nothing else of the execution runs.
    waited: Seconds = 0.0


class Finished(_Request, frozen=True, kw_only=True):
    """How one claim ended. `released`: not run to the end, goes back to its place. `waiting`: holds nothing until
    one of its `waits` is over, then goes back to its place."""

    id: UUID
    token: UUID
    outcome: Literal["completed", "failed", "cancelled", "released", "waiting"]
    result: Raw = field(default_factory=_null)
    error: ErrorInfo | None = None
    retry_in: Seconds | None = None  # failed: try again after this, if attempts are left
    waits: Annotated[list[NewWait], Meta(max_length=MAX_WAITS)] = []  # waiting: at least one


class Exchange(_Request, frozen=True, kw_only=True):
    """«Here is what I finished, give me more»: one request, one commit."""

    seq: Annotated[int, Meta(ge=0)] = 0  # of this claim, rising; repeated when the reply was lost
    received: Annotated[int, Meta(ge=0)] = 0  # the last seq whose reply arrived
    capacity: Annotated[int, Meta(ge=0, le=MAX_BATCH)] = 0  # 0: hand in only, returns at once
    # A worker may have one claim under way on each of two lanes, so that one is made while the other is run. `seq`
    # and `received` count on their lane.
    lane: Annotated[int, Meta(ge=0, le=1)] = 0
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0  # seconds to wait for work when there is none
    results: Annotated[list[Finished], Meta(max_length=MAX_BATCH)] = []


class Waited(_Reply, frozen=True, kw_only=True):
    """A wait that is over."""

    kind: str
    timed_out: bool
    answer: Raw  # event: {"id", "topic", "payload", "published_at"}; resume: what was answered; else null
    at: dt.datetime


class Claimed(_Reply, frozen=True, kw_only=True):
    id: UUID
    workflow_id: str
    queue: str
    payload: Raw
    attempt: int  # from 1
    max_attempts: int
    slot: int | None
    enqueued_at: dt.datetime
    parent_id: UUID | None
    root_id: UUID | None
    steps: dict[str, Raw] | UnsetType = UNSET  # results of finished steps, by key
    waits: dict[str, Waited] | UnsetType = UNSET  # those that are over, by key
    deadline: dt.datetime | UnsetType = UNSET  # when the whole execution has to be finished


class Refused(_Reply, frozen=True, kw_only=True):
    """A result that was not taken: `stale` (somebody else's now) or `invalid` (and why)."""

    id: UUID
    reason: Literal["stale", "invalid"]
    detail: str


class Exchanged(_Reply, frozen=True, kw_only=True):
    seq: int
    token: UUID | None  # of all executions of this reply
    executions: list[Claimed]
    refused: list[Refused] = []
    cancel: list[UUID] = []  # running here, to be cancelled
    drain: bool = False  # an operator asks this worker to finish and leave


class Heartbeat(_Request, frozen=True, kw_only=True):
    received: Annotated[int, Meta(ge=0)] = 0  # the last seq whose reply arrived, on lane 0
    received_beside: Annotated[int, Meta(ge=0)] = 0  # and on lane 1


class Beat(_Reply, frozen=True, kw_only=True):
    lease_seconds: float
    cancel: list[UUID] = []
    drain: bool = False


# -- steps -----------------------------------------------------------------------------------------


class NewStep(_Request, frozen=True, kw_only=True):
    execution_id: UUID
    token: UUID
    key: Key
    result: Raw = field(default_factory=_null)
    error: ErrorInfo | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    child_id: UUID | None = None


class NewSteps(_Request, frozen=True, kw_only=True):
    steps: Annotated[list[NewStep], Meta(min_length=1, max_length=MAX_BATCH)]


class SavedStep(_Reply, frozen=True, kw_only=True):
    execution_id: UUID
    key: str
    outcome: Literal["saved", "repeated", "stale", "invalid"]  # repeated: the stored one counts
    detail: str = ""


class SavedSteps(_Reply, frozen=True, kw_only=True):
    steps: list[SavedStep]


# -- waits -----------------------------------------------------------------------------------------


class WantedResults(_Request, frozen=True, kw_only=True):
    ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_BATCH)]


class NewEvent(_Request, frozen=True, kw_only=True):
    topic: Name
    payload: Raw = field(default_factory=_null)
    id: UUID | None = None  # chosen by the publisher: repeating it has no second effect


class Answer(_Request, frozen=True, kw_only=True):
    """What a person or a program answers to an execution that waits for it under `key`."""

    key: Key
    data: Raw = field(default_factory=_null)


# -- what a running execution tells ----------------------------------------------------------------


class NewLine(_Request, frozen=True, kw_only=True):
    seq: Annotated[int, Meta(ge=1, le=2**62)]  # of this claim, rising: a line that was taken is not taken twice
    level: Level = "info"
    at: dt.datetime | None = None
    text: Annotated[str, Meta(max_length=10_000)] = ""
    fields: Raw | UnsetType = UNSET  # a JSON object of at most 16 KiB


class NewProgress(_Request, frozen=True, kw_only=True):
    value: Annotated[float, Meta(ge=0, le=1)] | None = None  # from 0 to 1; null: not known in numbers
    text: Text = ""
    at: dt.datetime | None = None


class NewLog(_Request, frozen=True, kw_only=True):
    """What one claim has to tell: lines for the log, and how far it is. One request after the other: lines with a
    smaller `seq` than those that were taken are passed over."""

    execution_id: UUID
    token: UUID
    lines: Annotated[list[NewLine], Meta(max_length=MAX_BATCH)] = []
    progress: NewProgress | None = None


class NewLogs(_Request, frozen=True, kw_only=True):
    """At most 1,000 lines, over all its executions."""

    logs: Annotated[list[NewLog], Meta(min_length=1, max_length=MAX_BATCH)]


class SavedLog(_Reply, frozen=True, kw_only=True):
    execution_id: UUID
    outcome: Literal["saved", "stale"]
    detail: str = ""


class SavedLogs(_Reply, frozen=True, kw_only=True):
    logs: list[SavedLog]


def decode_problem(error: msgspec.ValidationError | msgspec.DecodeError) -> str:
    """msgspec's message as a sentence for whoever sent the request."""
    return f"The request body is not valid: {str(error).replace('`', '')}."
