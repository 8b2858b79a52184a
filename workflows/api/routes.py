"""All of the REST API as django-ninja operations, from which the OpenAPI document and its page come.

The hot endpoints are served by `hot` before a request gets here; they are listed, and work, here too.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query
from ninja.errors import HttpError, ValidationError
from ninja.security import HttpBearer

from queues import limits, problems
from queues.engine.operate import answer_wait, cancel_execution, cancel_family, retry_execution
from queues.engine.workers import drain_worker, keep_worker, release_slot
from queues.keys import Principal, authenticate, authenticate_request, scope_of
from queues.models import ApiKey, Change, Status
from queues.problems import Invalid, NotFound, Problem, TooLarge, as_problem
from queues.requests import (
    Accepted,
    AcceptedBatch,
    Answer,
    Beat,
    Exchange,
    Exchanged,
    Heartbeat,
    NewEvent,
    NewExecution,
    NewExecutions,
    NewLogs,
    NewSteps,
    Register,
    Registered,
    SavedLogs,
    SavedSteps,
    WantedResults,
)

from .. import schedules as verbs
from . import acts, handlers, reads, schedules, telling, waiting
from .checks import MAX_REQUEST_BYTES, decoded, searched, time_problem
from .openapi import API, described
from .replies import (
    Cancellation,
    DrainChange,
    EventPage,
    ExecutionPage,
    ExecutionView,
    LimitChange,
    LogPage,
    News,
    NewSchedule,
    PauseChange,
    PublishedView,
    QueuePage,
    QueueView,
    Results,
    ScheduleChange,
    SchedulePage,
    SchedulePauseChange,
    ScheduleRun,
    ScheduleView,
    StepList,
    TriggerList,
    WorkerDrain,
    WorkerList,
    WorkerView,
)

FULL, ENQUEUE = ApiKey.Scope.FULL, ApiKey.Scope.ENQUEUE
REST = Change.Through.REST
MAX_QUEUES = 1_000

AnyChange = TypeVar("AnyChange", LimitChange, PauseChange)
Page = Annotated[int, Query(ge=1, le=reads.MAX_PAGE)]
_limit_change = msgspec.json.Decoder(LimitChange)
_worker_drain = msgspec.json.Decoder(WorkerDrain)
_drain_change = msgspec.json.Decoder(DrainChange)
_cancellation = msgspec.json.Decoder(Cancellation)
_pause_change = msgspec.json.Decoder(PauseChange)
_new_schedule = msgspec.json.Decoder(NewSchedule)
_schedule_change = msgspec.json.Decoder(ScheduleChange)
_schedule_pause = msgspec.json.Decoder(SchedulePauseChange)
_schedule_run = msgspec.json.Decoder(ScheduleRun)


_priority_change = msgspec.json.Decoder(acts.PriorityChange)
_retry = msgspec.json.Decoder(acts.Retry)
_new_rerun = msgspec.json.Decoder(acts.NewRerun)
_new_purge = msgspec.json.Decoder(acts.NewPurge)
_new_bulk_act = msgspec.json.Decoder(acts.NewBulkAct)


class Request(HttpRequest):
    auth: Principal


# -- who is calling ----------------------------------------------------------------------------------


class ApiKeyAuth(HttpBearer):
    """`Authorization: Bearer polos_…`; on a developer's own machine none is needed (local mode)."""

    def __call__(self, request: HttpRequest) -> Principal:
        return authenticate_request(request)

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        raise NotImplementedError


class _AsyncApiKeyAuth(ApiKeyAuth):
    async def __call__(self, request: HttpRequest) -> Principal:  # type: ignore[override]
        return await authenticate(scope_of(request))


_AsyncApiKeyAuth.__name__ = ApiKeyAuth.__name__  # one security scheme in the document

api = API(
    title="Polos",
    version="1",
    description="Executions on queues with shared limits. Errors are application/problem+json.",
    auth=ApiKeyAuth(),
    urls_namespace="api",
)
hot: Any = {"auth": _AsyncApiKeyAuth()}


# -- executions --------------------------------------------------------------------------------------


@api.post(
    "/executions", tags=["executions"], **hot, **described((201, Accepted), (200, Accepted), body=NewExecution)
)
async def enqueue(request: Request) -> HttpResponse:
    """Enqueue one execution: 201 when it was added, 200 when it was there already."""
    return await _reply(handlers.enqueue(request.auth, _body(request)))


@api.post("/executions/batch", tags=["executions"], **hot, **described((200, AcceptedBatch), body=NewExecutions))
async def enqueue_batch(request: Request) -> HttpResponse:
    """Enqueue up to 1,000 executions. When one of them is not valid, none is stored."""
    return await _reply(handlers.enqueue_batch(request.auth, _body(request)))


@api.get("/executions", tags=["executions"], **described((200, ExecutionPage)))
def list_executions(
    request: Request,
    search: str = "",
    queue: str | None = None,
    workflow: str | None = None,
    status: Status | None = None,
    worker: str | None = None,
    error: str | None = None,
    since: str | None = None,
    before: str | None = None,
    parent: UUID | None = None,
    limit: Page = 50,
    cursor: UUID | None = None,
) -> HttpResponse:
    """Executions, newest first, a page at a time. `search` is a search line (`status:failed payload.user_id:42`).

    A page that says `searched_back_to` is shorter because the search took too long: go on with its `next_cursor`.
    """
    request.auth.needs(FULL, ENQUEUE)
    asked = searched(
        search, queue=queue, workflow=workflow, status=status and status.value, worker=worker, error=error,
        since=since, before=before, parent=str(parent) if parent else None,
    )  # fmt: skip
    return _json(reads.executions(request.auth, asked, limit=limit, cursor=cursor))


@api.get("/executions/{uuid:execution_id}", tags=["executions"], **hot, **described((200, ExecutionView)))
async def get_execution(request: Request, execution_id: UUID, wait: str = "0") -> HttpResponse:
    """One execution. With `wait` (seconds, at most 60) the answer comes when it is final or the time is over."""
    return await _reply(handlers.execution(request.auth, execution_id, handlers.wait_seconds(wait)))


@api.post(
    "/executions/{uuid:execution_id}/cancellation",
    tags=["executions"],
    **described((200, ExecutionView), body=Cancellation),
)
def cancel(request: Request, execution_id: UUID) -> HttpResponse:
    """Cancel an execution. One that runs is asked to stop, and holds its slot until it has. Its children are left
    alone, or with `children` "cancel" cancelled with it, and theirs, as far as this key reaches their queues. 409
    when it has another status than the one expected; asking again changes nothing."""
    request.auth.needs(FULL)
    reads.execution(request.auth, execution_id)
    said = decoded(_cancellation, _body(request) or b"{}")
    who: dict[str, Any] = {
        "actor": request.auth.actor,
        "through": REST,
        "seen": acts.expected(said.expected_status),
        "reason": said.reason,
    }
    if said.children == "cancel":
        cancel_family(execution_id, reaches=request.auth.reaches, **who)
    else:
        cancel_execution(execution_id, **who)
    return _json(reads.execution(request.auth, execution_id))


@api.post("/executions/{uuid:execution_id}/release", tags=["executions"], **described((200, ExecutionView)))
def release(request: Request, execution_id: UUID) -> HttpResponse:
    """Take an execution back from a worker whose lease is over, and free its slot; 409 while it is alive."""
    request.auth.needs(FULL)
    reads.execution(request.auth, execution_id)
    release_slot(execution_id, claimed_at=None, actor=request.auth.actor, through=REST)
    return _json(reads.execution(request.auth, execution_id))


@api.post(
    "/executions/{uuid:execution_id}/retry",
    tags=["executions"],
    **described((200, ExecutionView), body=acts.Retry),
)
def retry(request: Request, execution_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled execution again, in a new place. 409 when its status is not the expected one."""
    request.auth.needs(FULL)
    reads.execution(request.auth, execution_id)
    said = decoded(_retry, _body(request) or b"{}")
    seen = acts.expected(said.expected_status, said.expected_attempt)
    retry_execution(execution_id, actor=request.auth.actor, through=REST, reason=said.reason, seen=seen)
    return _json(reads.execution(request.auth, execution_id))


@api.put(
    "/executions/{uuid:execution_id}/priority",
    tags=["executions"],
    **described((200, ExecutionView), body=acts.PriorityChange),
)
def change_priority(request: Request, execution_id: UUID) -> HttpResponse:
    """Give what is queued or scheduled another head start, in seconds: its place in line moves accordingly."""
    request.auth.needs(FULL)
    said = decoded(_priority_change, _body(request))
    found = reads.execution(request.auth, execution_id)
    acts.prioritise(request.auth, found.id, said)
    return _json(reads.execution(request.auth, execution_id))


@api.post(
    "/executions/{uuid:execution_id}/rerun",
    tags=["executions"],
    **described((201, ExecutionView), (200, ExecutionView), body=acts.NewRerun),
)
def rerun(request: Request, execution_id: UUID) -> HttpResponse:
    """Run an execution again as a new one, with the same payload or another. 200: it was there already."""
    request.auth.needs(FULL)
    reads.execution(request.auth, execution_id)
    new_id, created = acts.rerun(request.auth, execution_id, decoded(_new_rerun, _body(request) or b"{}"))
    return _json(reads.execution(request.auth, new_id), 201 if created else 200)


@api.post(
    "/executions/{uuid:execution_id}/resume", tags=["executions"], **described((200, ExecutionView), body=Answer)
)
def answer(request: Request, execution_id: UUID) -> HttpResponse:
    """Answer an execution that waits for a person or a program, under the key of its wait. It goes on at once."""
    request.auth.needs(FULL)
    item = waiting.decoded_answer(_body(request))
    reads.execution(request.auth, execution_id)
    answer_wait(execution_id, key=item.key, data=item.data, actor=request.auth.actor, through=REST)
    return _json(reads.execution(request.auth, execution_id))


@api.post("/executions/results", tags=["executions"], **hot, **described((200, Results), body=WantedResults))
async def results(request: Request) -> HttpResponse:
    """Results of up to 1,000 executions. Those that are not final, or not visible, are left out."""
    return await _reply(waiting.results(request.auth, _body(request)))


@api.get("/executions/{uuid:execution_id}/steps", tags=["executions"], **described((200, StepList)))
def list_steps(request: Request, execution_id: UUID) -> HttpResponse:
    """What the steps of an execution returned."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(StepList(steps=reads.steps(request.auth, execution_id)))


@api.get("/executions/{uuid:execution_id}/logs", tags=["executions"], **hot, **described((200, LogPage)))
async def list_lines(
    request: Request, execution_id: UUID, after: str = "", level: str = "", limit: str = "", wait: str = "0"
) -> HttpResponse:
    """What an execution logged, oldest first, from `level` upwards. `after` is that of the page before. With
    `wait` (seconds, at most 60) the answer comes when there is a line, or it is final, or the time is over."""
    seconds = handlers.wait_seconds(wait)
    page = telling.log_page(request.auth, execution_id, after=after, level=level, limit=limit, wait=seconds)
    return await _reply(page)


@api.get("/executions/{uuid:execution_id}/stream", tags=["executions"], **hot, **described((200, News)))
async def follow(request: Request, execution_id: UUID, after: str = "", wait: str = "0") -> HttpResponse:
    """News of an execution: status, place in line, progress, log lines. Begin without `after`, then give the
    `cursor` of the answer before, until `end`; asking again with the same one leaves nothing out. With `wait`
    (seconds, at most 60) the answer comes when there is news or the time is over. Of states that follow each other
    quickly the last one is told; log lines are all told."""
    return await _reply(telling.news(request.auth, execution_id, after=after, wait=handlers.wait_seconds(wait)))


# -- events ------------------------------------------------------------------------------------------


@api.post(
    "/events", tags=["events"], **hot, **described((201, PublishedView), (200, PublishedView), body=NewEvent)
)
async def publish(request: Request) -> HttpResponse:
    """Publish an event: every execution that waits for its topic goes on. 200 when it was there already."""
    return await _reply(waiting.publish(request.auth, _body(request)))


@api.get("/events", tags=["events"], **described((200, EventPage)))
def list_events(request: Request, topic: str | None = None, limit: Page = 50, cursor: str = "") -> HttpResponse:
    """Events, newest first, a page at a time; of one topic or of all."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(waiting.event_page(request.auth, topic=topic, limit=limit, cursor=cursor))


# -- many executions ---------------------------------------------------------------------------------


@api.post("/bulk", tags=["bulk"], **described((202, acts.BulkView), (200, acts.BulkCount), body=acts.NewBulkAct))
def ask_bulk_act(request: Request) -> HttpResponse:
    """Cancel, retry or move all executions that a search finds, or those in `ids`, in the background. `dry_run`
    only counts (200). What is enqueued after the request is left alone, and each is acted on at most once."""
    request.auth.needs(FULL)
    reply = acts.ask(request.auth, decoded(_new_bulk_act, _body(request)))
    return _json(reply, 202 if isinstance(reply, acts.BulkView) else 200)


@api.get("/bulk", tags=["bulk"], **described((200, acts.BulkList)))
def list_bulk_acts(request: Request) -> HttpResponse:
    """The newest bulk acts. A key for some queues sees its own."""
    request.auth.needs(FULL)
    return _json(acts.listed(request.auth))


@api.get("/bulk/{uuid:act_id}", tags=["bulk"], **described((200, acts.BulkView)))
def get_bulk_act(request: Request, act_id: UUID) -> HttpResponse:
    """How far a bulk act is, and what it left alone and why."""
    request.auth.needs(FULL)
    return _json(acts.one(request.auth, act_id))


@api.post("/bulk/{uuid:act_id}/stop", tags=["bulk"], **described((200, acts.BulkView)))
def stop_bulk_act(request: Request, act_id: UUID) -> HttpResponse:
    """Stop a bulk act after the batch that is under way. What was done stays done."""
    request.auth.needs(FULL)
    return _json(acts.stop(request.auth, act_id))


# -- queues ------------------------------------------------------------------------------------------


@api.get("/queues", tags=["queues"], **described((200, QueuePage)))
def list_queues(
    request: Request, search: str = "", limit: Annotated[int, Query(ge=1, le=MAX_QUEUES)] = 200, cursor: str = ""
) -> HttpResponse:
    """Queues by name, a page at a time."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(reads.queues(request.auth, search=search, limit=limit, cursor=cursor))


@api.get("/queues/{path:name}", tags=["queues"], **described((200, QueueView)))
def get_queue(request: Request, name: str) -> HttpResponse:
    """One queue: its limit, what runs and what waits."""
    request.auth.needs(FULL, ENQUEUE)
    return _queue(request, name)


@api.put("/limits/{path:name}", tags=["queues"], **described((200, QueueView), body=LimitChange))
def change_limit(request: Request, name: str) -> HttpResponse:
    """Set an override: a number, null for unlimited, 0 so that nothing starts. What runs is never stopped."""
    request.auth.needs(FULL)
    change = _changed(decoded(_limit_change, _body(request)))
    limits.change_limit(
        queue=reads.known_queue(request.auth, name), limit=change.limit, reason=change.reason, until=change.until,
        expected_version=change.expected_version, actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


@api.delete("/limits/{path:name}", tags=["queues"], **described((200, QueueView)))
def clear_override(
    request: Request, name: str, reason: str = "", expected_version: int | None = None
) -> HttpResponse:
    """Back to the limit that code declares."""
    request.auth.needs(FULL)
    limits.clear_override(
        queue=reads.known_queue(request.auth, name), reason=reason, expected_version=expected_version,
        actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


@api.put("/pauses/{path:name}", tags=["queues"], **described((200, QueueView), body=PauseChange))
def pause(request: Request, name: str) -> HttpResponse:
    """Pause a queue: nothing starts until somebody resumes it, or until `until`."""
    request.auth.needs(FULL)
    change = _changed(decoded(_pause_change, _body(request) or b"{}"))
    limits.pause(
        queue=reads.known_queue(request.auth, name), reason=change.reason, until=change.until,
        expected_version=change.expected_version, actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


@api.delete("/pauses/{path:name}", tags=["queues"], **described((200, QueueView)))
def resume(request: Request, name: str, reason: str = "", expected_version: int | None = None) -> HttpResponse:
    """Resume a queue."""
    request.auth.needs(FULL)
    limits.resume(
        queue=reads.known_queue(request.auth, name), reason=reason, expected_version=expected_version,
        actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


# -- schedules ---------------------------------------------------------------------------------------


@api.get("/schedules", tags=["schedules"], **described((200, SchedulePage)))
def list_schedules(
    request: Request, workflow: str | None = None, name: str | None = None, limit: Page = 50, cursor: str = ""
) -> HttpResponse:
    """Schedules by name, a page at a time; of a workflow, or the one of a name."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(schedules.page(request.auth, workflow=workflow, name=name, limit=limit, cursor=cursor))


@api.post(
    "/schedules", tags=["schedules"], **described((201, ScheduleView), (200, ScheduleView), body=NewSchedule)
)
def create_schedule(request: Request) -> HttpResponse:
    """Make a schedule. 409 when there is one of this name. 200: it was there already, under this `id`."""
    request.auth.needs(FULL)
    made, is_new = schedules.create(request.auth, decoded(_new_schedule, _body(request)))
    return _json(made, 201 if is_new else 200)


@api.get("/schedules/{uuid:schedule_id}", tags=["schedules"], **described((200, ScheduleView)))
def get_schedule(request: Request, schedule_id: UUID) -> HttpResponse:
    """One schedule, with its next ticks and its last ones."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(schedules.one(request.auth, schedule_id))


@api.patch(
    "/schedules/{uuid:schedule_id}", tags=["schedules"], **described((200, ScheduleView), body=ScheduleChange)
)
def change_schedule(request: Request, schedule_id: UUID) -> HttpResponse:
    """Change a schedule. 409 for one that code declares."""
    request.auth.needs(FULL)
    return _json(schedules.change(request.auth, schedule_id, decoded(_schedule_change, _body(request))))


@api.delete("/schedules/{uuid:schedule_id}", tags=["schedules"], **described((204, None)))
def delete_schedule(request: Request, schedule_id: UUID, reason: str = "") -> HttpResponse:
    """Delete a schedule. What it started goes on. 409 for one that code declares."""
    request.auth.needs(FULL)
    schedules.known(request.auth, schedule_id)
    verbs.delete(schedule_id, schedules.act_of(request.auth, reason))
    return HttpResponse(status=204)


@api.put(
    "/schedules/{uuid:schedule_id}/pause",
    tags=["schedules"],
    **described((200, ScheduleView), body=SchedulePauseChange),
)
def pause_schedule(request: Request, schedule_id: UUID) -> HttpResponse:
    """Pause a schedule: it does not tick until somebody resumes it. Ticks within the pause are left out."""
    request.auth.needs(FULL)
    schedules.known(request.auth, schedule_id)
    said = decoded(_schedule_pause, _body(request) or b"{}")
    act = schedules.act_of(request.auth, said.reason)
    verbs.pause(schedule_id, act, expected_version=said.expected_version)
    return _json(schedules.one(request.auth, schedule_id))


@api.delete("/schedules/{uuid:schedule_id}/pause", tags=["schedules"], **described((200, ScheduleView)))
def resume_schedule(
    request: Request, schedule_id: UUID, reason: str = "", expected_version: int | None = None
) -> HttpResponse:
    """Resume a schedule."""
    request.auth.needs(FULL)
    schedules.known(request.auth, schedule_id)
    verbs.resume(schedule_id, schedules.act_of(request.auth, reason), expected_version=expected_version)
    return _json(schedules.one(request.auth, schedule_id))


@api.post(
    "/schedules/{uuid:schedule_id}/runs",
    tags=["schedules"],
    **described((201, ExecutionView), body=ScheduleRun),
)
def run_schedule(request: Request, schedule_id: UUID) -> HttpResponse:
    """Start one execution now, whatever pause and policies say. With an `id` of your own it may be repeated."""
    request.auth.needs(FULL, ENQUEUE)
    schedules.known(request.auth, schedule_id)
    said = decoded(_schedule_run, _body(request) or b"{}")
    execution_id = verbs.run_now(schedule_id, schedules.act_of(request.auth), execution_id=said.id)
    return _json(reads.execution(request.auth, execution_id), 201)


@api.put("/drains/{path:name}", tags=["queues"], **described((200, QueueView), body=DrainChange))
def drain(request: Request, name: str) -> HttpResponse:
    """Drain a queue: new executions are refused with 409 (`queue-draining`), what is there is finished."""
    request.auth.needs(FULL)
    change = decoded(_drain_change, _body(request) or b"{}")
    limits.drain(
        queue=reads.known_queue(request.auth, name), reason=change.reason,
        expected_version=change.expected_version, actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


@api.post("/purges/{path:name}", tags=["queues"], **described((202, acts.BulkView), body=acts.NewPurge))
def purge(request: Request, name: str) -> HttpResponse:
    """Cancel all that waits on a queue, in the background; what runs and what arrives later stays."""
    request.auth.needs(FULL)
    said = decoded(_new_purge, _body(request))
    return _json(acts.purge(request.auth, reads.known_queue(request.auth, name), said), 202)


@api.delete("/drains/{path:name}", tags=["queues"], **described((200, QueueView)))
def accept(request: Request, name: str, reason: str = "", expected_version: int | None = None) -> HttpResponse:
    """Let a queue accept executions again."""
    request.auth.needs(FULL)
    limits.accept(
        queue=reads.known_queue(request.auth, name), reason=reason, expected_version=expected_version,
        actor=request.auth.actor, through=REST,
    )  # fmt: skip
    return _queue(request, name)


@api.get("/triggers", tags=["schedules"], **described((200, TriggerList)))
def list_triggers(request: Request) -> HttpResponse:
    """Which workflows are started by events on which topics, as code declares it."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(schedules.triggers(request.auth))


# -- workers -----------------------------------------------------------------------------------------


@api.get("/workers", tags=["workers"], **described((200, WorkerList)))
def list_workers(request: Request) -> HttpResponse:
    """Workers, the newest first, with what they serve."""
    request.auth.needs(FULL, ENQUEUE)
    return _json(WorkerList(workers=reads.workers(request.auth)))


@api.put("/workers/{uuid:worker_id}/drain", tags=["workers"], **described((200, WorkerView), body=WorkerDrain))
def drain_a_worker(request: Request, worker_id: UUID) -> HttpResponse:
    """Ask a worker to take nothing new, finish what it runs and leave; it learns so within a heartbeat."""
    request.auth.needs(FULL)
    change = decoded(_worker_drain, _body(request) or b"{}")
    reads.own_worker(request.auth, worker_id)
    drain_worker(worker_id, reason=change.reason, actor=request.auth.actor, through=REST)
    return _json(reads.own_worker(request.auth, worker_id))


@api.delete("/workers/{uuid:worker_id}/drain", tags=["workers"], **described((200, WorkerView)))
def keep_a_worker(request: Request, worker_id: UUID, reason: str = "") -> HttpResponse:
    """Let it take work again, unless it has heard of the drain before."""
    request.auth.needs(FULL)
    reads.own_worker(request.auth, worker_id)
    keep_worker(worker_id, reason=reason, actor=request.auth.actor, through=REST)
    return _json(reads.own_worker(request.auth, worker_id))


@api.post("/workers", tags=["workers"], **hot, **described((200, Registered), body=Register))
async def register(request: Request) -> HttpResponse:
    """A worker says who it is and what it serves. Repeating it is a reconnect."""
    return await _reply(handlers.register(request.auth, _body(request)))


@api.post(
    "/workers/{uuid:worker_id}/exchange", tags=["workers"], **hot, **described((200, Exchanged), body=Exchange)
)
async def exchange(request: Request, worker_id: UUID) -> HttpResponse:
    """Hand in results and take new work, in one commit. 410: register again under a new id."""
    return await _reply(handlers.exchange(request.auth, worker_id, _body(request)))


@api.post("/workers/{uuid:worker_id}/heartbeat", tags=["workers"], **hot, **described((200, Beat), body=Heartbeat))
async def heartbeat(request: Request, worker_id: UUID) -> HttpResponse:
    """Renew the lease of everything that the worker holds."""
    return await _reply(handlers.heartbeat(request.auth, worker_id, _body(request)))


@api.delete("/workers/{uuid:worker_id}", tags=["workers"], **hot, **described((204, None)))
async def deregister(request: Request, worker_id: UUID) -> HttpResponse:
    """The worker leaves; what it still holds goes back to its place."""
    return await _reply(handlers.deregister(request.auth, worker_id))


@api.post("/steps", tags=["workers"], **hot, **described((200, SavedSteps), body=NewSteps))
async def save_steps(request: Request) -> HttpResponse:
    """Save what steps returned, so that a later attempt does not run them again."""
    return await _reply(handlers.save_steps(request.auth, _body(request)))


@api.post("/logs", tags=["workers"], **hot, **described((200, SavedLogs), body=NewLogs))
async def save_logs(request: Request) -> HttpResponse:
    """Log lines and progress of running executions: at most 1,000 lines, each with its claim's `seq`, so that a
    repeated request adds none twice. Of each execution the newest 10,000 are kept."""
    return await _reply(telling.save_logs(request.auth, _body(request)))


# -- requests and replies ----------------------------------------------------------------------------


def _body(request: HttpRequest) -> bytes:
    """Read past Django's own limit, which is lower than ours."""
    body: bytes = request.read(MAX_REQUEST_BYTES + 1)
    if len(body) > MAX_REQUEST_BYTES:
        raise TooLarge(f"A request has at most {MAX_REQUEST_BYTES:,} bytes.")
    return body


def _changed(change: AnyChange) -> AnyChange:
    if problem := time_problem("until", change.until):
        raise Invalid(problem)
    return change


def _queue(request: Request, name: str) -> HttpResponse:
    return _json(reads.queue(request.auth, name))


def _json(value: msgspec.Struct, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), status=status, content_type="application/json")


async def _reply(handler: Coroutine[Any, Any, handlers.Reply]) -> HttpResponse:
    status, body = await handler
    return HttpResponse(body, status=status, content_type="application/json")


# -- errors ------------------------------------------------------------------------------------------


def problem_response(problem: Problem) -> HttpResponse:
    return HttpResponse(
        problems.body(problem), status=problem.status, content_type=problems.CONTENT_TYPE, headers=problem.headers
    )


@api.exception_handler(Exception)
def _on_error(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem_response(as_problem(error, where=f"{request.method} {request.path}"))


@api.exception_handler(Http404)
def _on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem_response(NotFound("There is nothing at this address."))


@api.exception_handler(ValidationError)
def _on_bad_parameters(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return problem_response(Invalid(f"The parameter {where} is not valid: {first['msg']}."))


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem_response(Invalid(str(error)))
