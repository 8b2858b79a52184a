"""A server in memory for one execution and its children: what `polos.testing` runs workflows on.

The code of the SDK is the real one, down to the requests that it would send; they are answered here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import Any

from ._client import PolosClient
from ._clock import Clock
from ._context import Context, Tools
from ._errors import DefinitionError, refused
from ._execution import FINAL
from ._http import Http
from ._ids import new_id
from ._inline_waits import Waiting
from ._invocation import Invocation, execution_body
from ._json import decode, encode
from ._log import tell_unbegun
from ._replay import Place
from ._reports import Level, Reporter
from ._running import Done, Run, completed, error_info, failed, result_json, stopped
from ._step import Step
from ._stepbase import StepBase
from ._steps import StepSaver
from ._texts import fields_json
from ._threads import Threads
from ._tries import Tries
from ._workflow import Workflow, registered_workflows

Function = Callable[..., Any]
THREADS = 50


@dataclass
class Stored:
    """One execution, as the server would have it, and what a test wants to know about it."""

    body: dict[str, Any]
    status: str = "queued"
    result: Any = None
    error: dict[str, str] | None = None
    raised: BaseException | None = None
    attempt: int = 0
    pauses: list[float] = field(default_factory=list)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    progress: tuple[float | None, str] = (None, "")
    run: Run | None = None
    task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def queue(self) -> str:
        return str(self.body.get("queue_name") or self.body["workflow_id"])

    @property
    def max_attempts(self) -> int:
        return int(self.body.get("max_attempts", 1))

    @property
    def parent_id(self) -> str | None:
        parent = self.body.get("parent")
        return parent and str(parent["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What a test put in place of the world."""

    clock: Clock
    replaced: Mapping[str, Function]
    failing: dict[str, list[BaseException | None] | BaseException]
    deaths: set[str]
    children: Mapping[str, Any]
    events: Mapping[str, Iterable[Any]]
    answers: Mapping[str, Any]


class Inline:
    """Runs executions, attempt after attempt, and answers their requests."""

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        self.calls: list[str] = []  # keys of the steps whose functions were called
        self.executions: dict[str, Stored] = {}
        self._known: dict[str, Workflow[Any]] = {}
        self._threads = Threads(THREADS)
        client = PolosClient("http://127.0.0.1:1")
        client.http = _Answers(client.http, self)
        self._saver = StepSaver(client.http)
        self.waiting = Waiting(staged.clock, staged.events, staged.answers, self._status_of)
        self._tools = Tools(
            client=client, saver=self._saver, threads=self._threads, worker="testing", clock=staged.clock
        )
        self._tools.reporter = _Hearer(client.http, staged.clock, self.executions)

    async def run(self, workflow: Workflow[Any], payload: Any) -> Stored:
        """The first execution, to its end. Children that still run then are cancelled."""
        body = execution_body(Invocation(workflow=workflow, payload=payload), new_id())
        self._known = {each.id: each for each in registered_workflows()} | {workflow.id: workflow}
        try:
            first, task = self._begin(decode(body), children={})
            await task
        finally:
            await self._close()
        return first

    async def _close(self) -> None:
        tasks = [each.task for each in self.executions.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tools.parking.close()
        self._saver.close()
        self._threads.close()

    # -- executions ----------------------------------------------------------------------------------

    def _begin(self, body: dict[str, Any], *, children: Mapping[str, Any]) -> tuple[Stored, asyncio.Task[None]]:
        id, stored = body["workflow_id"], Stored(body)
        if id in children:
            work = self._staged_child(stored, children[id])
        elif id in self._known:
            work = self._attempts(stored, self._known[id])
        else:
            raise DefinitionError(
                f"The workflow {id} is not declared in this process: import its module, or say in children= what "
                "it gives back"
            )
        self.executions[stored.id] = stored
        stored.task = asyncio.create_task(work, context=Variables())  # not a task of the parent's execution
        return stored, stored.task

    async def _staged_child(self, stored: Stored, given: Any) -> None:
        if isinstance(given, BaseException):
            stored.status, stored.error = "failed", {"type": type(given).__name__, "message": str(given)}
            self.waiting.look()
            return
        value = given(stored.body.get("payload")) if callable(given) else given
        stored.status, stored.result = "completed", decode(encode(value, "The result of a child"))
        self.waiting.look()

    async def _attempts(self, stored: Stored, workflow: Workflow[Any]) -> None:
        await self.staged.clock.sleep(self._pause_before(stored.body))
        while stored.status not in FINAL:
            stored.attempt += 1
            stored.status = "running"
            run = stored.run = Run(self._claim(stored), str(uuid.uuid4()), is_async=workflow.is_async)
            run.begun = True
            run.task = asyncio.create_task(self._attempt(stored, run, workflow))
            try:
                await asyncio.wait((run.task,))
            except asyncio.CancelledError:
                run.stop("cancelled")
                await asyncio.wait((run.task,))
                raise
            run.task.result()
            if stored.status == "waiting":
                await self._until_over(stored)
        self.waiting.look()

    async def _until_over(self, stored: Stored) -> None:
        try:
            await self.waiting.until_over(stored.id, self._is_stuck)
        except AssertionError as error:
            stored.status, stored.raised = "failed", error
            stored.error = error_info(error)
        except asyncio.CancelledError:
            stored.status = "cancelled"
            raise

    def _is_stuck(self) -> bool:
        """Whether all wait for something that neither time nor one of them brings."""
        left = [each for each in self.executions.values() if each.status not in FINAL]
        return all(each.status == "waiting" and not self.waiting.can_wake(each.id) for each in left)

    def _status_of(self, id: str) -> str | None:
        return self.executions[id].status if id in self.executions else None

    def _pause_before(self, body: dict[str, Any]) -> float:
        if "run_at" in body:
            return max(0.0, dt.datetime.fromisoformat(body["run_at"]).timestamp() - self.staged.clock.now())
        asked = body.get("deduplication") or {}
        return float(body.get("delay") or asked.get("seconds") or 0.0)

    def _claim(self, stored: Stored) -> dict[str, Any]:
        finished = {key: step["result"] for key, step in stored.steps.items() if not step["error"]}
        return {
            "id": stored.id, "workflow_id": stored.body["workflow_id"], "queue": stored.queue,
            "payload": stored.body.get("payload"), "attempt": stored.attempt, "max_attempts": stored.max_attempts,
            "slot": None, "parent_id": stored.parent_id, "root_id": next(iter(self.executions)), "steps": finished,
            "waits": self.waiting.over(stored.id),
        }  # fmt: skip

    async def _attempt(self, stored: Stored, run: Run, workflow: Workflow[Any]) -> None:
        try:
            done = await self._outcome(run, workflow)
            if run.ending in ("dropped", "waiting"):
                raise asyncio.CancelledError
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if run.ending == "dropped":  # its worker died: nobody reports anything
                stored.status = "queued"
                return
            stored.raised = error
            if run.ending is None and run.replay is not None:
                await StepBase(run, self._tools).note_end(error)
            done = failed(run, error) if run.ending is None else stopped(run, run.ending)
        finally:
            run.close()
        await self._finish(stored, decode(done.json))

    async def _outcome(self, run: Run, workflow: Workflow[Any]) -> Done:
        arguments = workflow.arguments(run.claim["payload"])
        run.state_schema = workflow.state_schema
        context = _Context(run, self._tools, self)
        result = await self._threads.call(workflow.function, context, *arguments)
        tell_unbegun(run, self._tools.reporter)
        return completed(run, result_json(result, workflow.id))

    async def _finish(self, stored: Stored, done: dict[str, Any]) -> None:
        stored.error = done.get("error")
        if "retry_in" in done:
            stored.status = "scheduled"
            stored.pauses.append(done["retry_in"])
            await self.staged.clock.sleep(done["retry_in"])
            return
        if done["outcome"] == "waiting":
            stored.status, stored.attempt = "waiting", stored.attempt - 1
            self.waiting.declare(stored.id, done["waits"])
            return
        stored.status, stored.result = done["outcome"], done.get("result")

    # -- answers to requests ---------------------------------------------------------------------------

    async def answer(self, method: str, path: str, body: Any) -> Any:
        path, _, query = path.partition("?")
        match (method, path.strip("/").split("/")):
            case ("POST", ["steps"]):
                return {"steps": [self._save(step) for step in body["steps"]]}
            case ("POST", ["executions"]):
                return await self._accept_one(body)
            case ("POST", ["executions", "batch"]):
                return {"executions": [self._accept(each) for each in body["executions"]]}
            case ("POST", ["executions", "results"]):
                return {"executions": [self._end_of(id) for id in body["ids"] if self._status_of(id) in FINAL]}
            case ("POST", ["executions", id, "resume"]):
                self.waiting.resume(self._find(id).id, body["key"], body["data"])
                return await self._state(id)
            case ("POST", ["events"]):
                return self.waiting.publish(body["id"], body["topic"], body["payload"])
            case ("GET", ["executions", id, "steps"]):
                return {"steps": list(self._find(id).steps.values())}
            case ("GET", ["executions", id]):
                return await self._state(id, wait=float(query.removeprefix("wait=") or 0))
            case ("POST", ["executions", id, "cancellation"]):
                return await self._cancel(id)
        raise NotImplementedError(f"{method} {path} needs a server: see the fixture polos_server")

    def _save(self, step: dict[str, Any]) -> dict[str, Any]:
        stored, key = self._find(step["execution_id"]), step["key"]
        answer = {"execution_id": stored.id, "key": key, "outcome": "saved", "detail": ""}
        if stored.run is None or stored.run.token != step["token"] or stored.run.ending == "dropped":
            return {**answer, "outcome": "stale"}
        known = {"result": None, "error": None, "child_id": None} | step | {"attempt": stored.attempt}
        stored.steps[key] = known
        if not known["error"] and key in self.staged.deaths:
            self.staged.deaths.discard(key)
            stored.run.stop("dropped")
            answer["outcome"] = "stale"
        return answer

    async def _accept_one(self, body: dict[str, Any]) -> dict[str, Any]:
        """With a deduplication key as the server does, but that repeats do not push the start back."""
        asked = body.get("deduplication") or {}
        old = self._with_key(body, asked["key"]) if asked and body["id"] not in self.executions else None
        if old is None:
            return self._accept(body)
        if asked["policy"] == "cancel_old":
            await self._cancel(old.id)
            return self._accept(body)
        if asked["policy"] == "debounce" and old.attempt:
            return self._accept(body)
        if asked["policy"] != "skip" and not old.attempt:
            old.body["payload"] = body.get("payload")
        return self._accept(old.body)

    def _with_key(self, body: dict[str, Any], key: str) -> Stored | None:
        """The last one that has this key, unless it is final."""
        found = [
            each
            for each in self.executions.values()
            if (each.body["workflow_id"], each.queue) == (body["workflow_id"], Stored(body).queue)
            and (each.body.get("deduplication") or {}).get("key") == key
        ]
        return found[-1] if found and found[-1].status not in FINAL else None

    def _accept(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self.executions.get(body["id"])
        stored = known or self._begin(body, children=self.staged.children)[0]
        return {
            "id": stored.id, "workflow_id": body["workflow_id"], "queue": stored.queue, "created": known is None,
            "notes": [],
        }  # fmt: skip

    def _end_of(self, id: str) -> dict[str, Any]:
        stored = self._find(id)
        return {"id": id, "status": stored.status, "result": stored.result, "error": stored.error}

    async def _state(self, id: str, *, wait: float = 0.0) -> dict[str, Any]:
        stored = self._find(id)
        if wait and stored.task is not None:
            await asyncio.wait((stored.task,), timeout=wait)
        return {
            "id": id, "workflow_id": stored.body["workflow_id"], "queue": stored.queue, "status": stored.status,
            "payload": stored.body.get("payload"), "result": stored.result, "error": stored.error,
            "attempt": stored.attempt, "max_attempts": stored.max_attempts, "parent_id": stored.parent_id,
        }  # fmt: skip

    async def _cancel(self, id: str) -> dict[str, Any]:
        stored = self._find(id)
        if stored.task is not None and stored.status not in FINAL:
            stored.task.cancel()
            await asyncio.wait((stored.task,))
            if stored.status not in FINAL:  # it had not begun
                stored.status = "cancelled"
        return await self._state(id)

    def _find(self, id: str) -> Stored:
        if id not in self.executions:
            raise refused(404, f"There is no execution {id}.")
        return self.executions[id]

    # -- what stands in for steps ------------------------------------------------------------------------

    def stand_in(self, key: str, function: Function) -> Function:
        """The step's function, or what the test put in its place; noted when it is called."""
        real = self.staged.replaced.get(key, function)

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(key)
            error = self._next_failure(key)
            if error is not None:
                raise error
            return await self._threads.call(real, *args, **kwargs)

        return call

    def _next_failure(self, key: str) -> BaseException | None:
        planned = self.staged.failing.get(key)
        if isinstance(planned, list):
            return planned.pop(0) if planned else None
        return planned


class _Answers(Http):
    """What would go to a server is answered in memory; it has been through JSON all the same."""

    def __init__(self, real: Http, inline: Inline) -> None:
        self.api_url = real.api_url
        self.outages = real.outages
        self._inline = inline

    async def close(self) -> None:
        """Nothing was opened."""

    async def call(self, method: str, path: str, body: str | None = None, **options: Any) -> Any:
        answer = await self._inline.answer(method, path, None if body is None else decode(body))
        return decode(encode(answer, "An answer"))


class _Hearer(Reporter):
    """Writes down what executions tell, at once: what a worker said before it died counts as heard."""

    def __init__(self, http: Http, clock: Clock, executions: Mapping[str, Stored]) -> None:
        super().__init__(http, clock)
        self._executions = executions

    def line(self, run: Run, level: Level, text: object, fields: dict[str, Any]) -> None:
        if not run.is_replaying:
            said = {
                "level": level,
                "text": str(text),
                "fields": decode(fields_json(fields)),
                "attempt": run.attempt,
            }
            self._executions[run.id].lines.append(said)

    def say_progress(self, run: Run, words: tuple[float | None, str]) -> None:
        self._executions[run.id].progress = words


class _Context(Context):
    __slots__ = ("_inline",)

    def __init__(self, run: Run, tools: Tools, inline: Inline) -> None:
        super().__init__(run, tools)
        self._inline = inline

    def _new_step(self) -> Step:
        return _Step(self._run, self._tools, self._inline)


class _Step(Step):
    __slots__ = ("_inline",)

    def __init__(self, run: Run, tools: Tools, inline: Inline) -> None:
        super().__init__(run, tools)
        self._inline = inline

    def _run_function(
        self,
        key: str,
        place: Place,
        tries: Tries,
        function: Function,
        args: Any,
        kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        return super()._run_function(key, place, tries, self._inline.stand_in(key, function), args, kwargs)
