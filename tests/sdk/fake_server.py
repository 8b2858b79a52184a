"""A server in memory that keeps the contract of the SDK: claims under limits, tokens, repeats, long polls.

It exists to make things happen that a real server does seldom: lost replies, refusals, a lost worker.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

FINAL = ("completed", "failed", "cancelled")
HELD = ("running", "cancelling")


@dataclass
class FakeWorker:
    id: str
    registration: dict[str, Any]
    claim_seq: list[int] = field(default_factory=lambda: [0, 0])  # per lane
    claim_reply: list[dict[str, Any] | None] = field(default_factory=lambda: [None, None])
    gone: bool = False
    left: bool = False
    cancel: set[str] = field(default_factory=set)


@dataclass
class Fault:
    """What happens instead of an answer, to requests whose path ends so."""

    path_end: str
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    detail: str = "busy"
    times: int = 1
    after: bool = False  # do the work, then lose the reply
    with_results: bool = False  # only to exchanges that hand something in


class FakeServer:
    def __init__(self) -> None:
        self.limits: dict[str, int | None] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.waiting: defaultdict[str, list[str]] = defaultdict(list)
        self.workers: dict[str, FakeWorker] = {}
        self.steps: dict[tuple[str, str], dict[str, Any]] = {}
        self.waits: dict[tuple[str, str], dict[str, Any]] = {}  # by execution and key
        self.events: dict[str, dict[str, Any]] = {}
        self.retried: dict[str, Any] = {"status": "queued"}
        self.schedules = [_schedule("s1", "nightly")]
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: list[Fault] = []
        self.lease_seconds = 30.0
        self.heartbeat_seconds = 10.0
        self.poll_seconds = 5.0
        self.drain = False
        self.record = True
        self.peak: defaultdict[str, int] = defaultdict(int)
        self.changed = asyncio.Condition()
        self.url = ""

    # -- for tests ---------------------------------------------------------------------------------

    def fail(self, path_end: str, **fault: Any) -> None:
        self.faults.append(Fault(path_end, **fault))

    def bodies(self, path_end: str) -> list[Any]:
        return [body for _, path, body in self.requests if path.endswith(path_end)]

    async def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # what is waited for is in memory of many owners
                await asyncio.sleep(0.005)

    def by_status(self, status: str) -> list[dict[str, Any]]:
        return [each for each in self.executions.values() if each["status"] == status]

    async def add(self, workflow_id: str, payload: Any = None, **more: Any) -> dict[str, Any]:
        queue = more.pop("queue", workflow_id)
        body = {
            "id": str(uuid.uuid4()),
            "workflow_id": workflow_id,
            "payload": payload,
            "queue_name": queue,
            **more,
        }
        self._enqueue(body)
        await self._announce()
        return self.executions[body["id"]]

    async def lose_workers(self) -> None:
        """As if every lease had ended: what they hold goes back to its place."""
        for worker in self.workers.values():
            worker.gone = True
            self._give_back(worker.id)
        await self._announce()

    async def steal(self, execution_id: str) -> None:
        """Somebody else has it now: the token that its worker knows is stale."""
        self.executions[execution_id]["_token"] = str(uuid.uuid4())

    async def retry(self, execution_id: str) -> None:
        """As somebody does by hand."""
        execution = self.executions[execution_id]
        assert execution["status"] in ("failed", "cancelled")
        execution |= {"status": "queued", "_token": None, "max_attempts": execution["attempt"] + 1}
        self.waiting[execution["queue"]].append(execution_id)
        await self._announce()

    async def ask_cancel(self, execution_id: str) -> None:
        execution = self.executions[execution_id]
        if execution["status"] == "running":
            execution["status"] = "cancelling"
            self.workers[execution["worker_id"]].cancel.add(execution_id)
        elif execution["status"] in ("queued", "waiting"):
            if execution["status"] == "queued":
                self.waiting[execution["queue"]].remove(execution_id)
            self._end(execution, "cancelled")
        await self._announce()

    # -- enqueue -----------------------------------------------------------------------------------

    def _enqueue(self, body: dict[str, Any]) -> dict[str, Any]:
        workflow, id = body["workflow_id"], body.get("id") or str(uuid.uuid4())
        queue = body.get("queue_name") or workflow
        notes = self._ensure_queue(queue, body)
        known = self.executions.get(id) or self._by_key(body.get("idempotency_key"))
        if known is not None:
            if known["_body"] != {**body, "id": known["id"]}:
                raise _problem(409, "Another request has this id.")
            return self._accepted(known, False, notes)
        parent = body.get("parent")
        if parent and self.executions[parent["id"]]["_token"] != parent["token"]:
            raise _problem(409, "The parent's claim is over.")
        execution = self.executions[id] = {
            "id": id, "workflow_id": workflow, "queue": queue, "status": "queued", "payload": body.get("payload"),
            "result": None, "error": None, "attempt": 0, "max_attempts": body.get("max_attempts", 1),
            "priority": body.get("priority", 0), "enqueued_at": dt.datetime.now(dt.UTC).isoformat(),
            "due_at": None, "claimed_at": None, "finished_at": None, "worker_id": None, "slot": None,
            "parent_id": (body.get("parent") or {}).get("id"), "root_id": None, "position": None,
            "_token": None, "_body": dict(body), "_lines": [], "_progress": [],
        }  # fmt: skip
        self.waiting[queue].append(id)
        return self._accepted(execution, True, notes)

    def _ensure_queue(self, queue: str, body: dict[str, Any]) -> list[str]:
        if "queue_concurrency_limit" not in body:
            self.limits.setdefault(queue, None)
            return []
        wanted = body["queue_concurrency_limit"]
        if self.limits.setdefault(queue, wanted) == wanted:
            return []
        return [f"The queue {queue} exists with limit {self.limits[queue]} and keeps it."]

    def _by_key(self, key: str | None) -> dict[str, Any] | None:
        if key is None:
            return None
        return next((e for e in self.executions.values() if e["_body"].get("idempotency_key") == key), None)

    def _accepted(self, execution: dict[str, Any], created: bool, notes: list[str]) -> dict[str, Any]:
        return {
            **{name: execution[name] for name in ("id", "workflow_id", "queue", "status", "enqueued_at")},
            "created": created, "notes": notes,
        }  # fmt: skip

    # -- claims ------------------------------------------------------------------------------------

    def _held(self, queue: str) -> list[dict[str, Any]]:
        held = ("running", "cancelling")
        return [e for e in self.executions.values() if e["queue"] == queue and e["status"] in held]

    def _claim(self, worker: FakeWorker, capacity: int) -> dict[str, Any] | None:
        served = {each["id"] for each in worker.registration["workflows"]}
        token = str(uuid.uuid4())
        claims: list[dict[str, Any]] = []
        for queue, ids in self.waiting.items():
            if not ids:
                continue
            limit = self.limits.get(queue)
            room = capacity - len(claims)
            if limit is not None:
                room = min(room, limit - len(self._held(queue)))
            mine = [id for id in ids[: room + 50] if self.executions[id]["workflow_id"] in served][: max(0, room)]
            taken = set(mine)
            self.waiting[queue] = [id for id in ids[: room + 50] if id not in taken] + ids[room + 50 :]
            claims += [self._begin(self.executions[id], worker, token) for id in mine]
            if limit is not None and mine:
                self.peak[queue] = max(self.peak[queue], len(self._held(queue)))
        return {"token": token, "executions": claims} if claims else None

    def _begin(self, execution: dict[str, Any], worker: FakeWorker, token: str) -> dict[str, Any]:
        execution |= {"status": "running", "worker_id": worker.id, "_token": token}
        execution["attempt"] += 1
        names = "id workflow_id queue payload attempt max_attempts slot enqueued_at parent_id root_id"
        claim = {name: execution[name] for name in names.split()}
        steps = {
            key: step.get("result")
            for (id, key), step in self.steps.items()
            if id == execution["id"] and not step.get("error")
        }
        if "deadline" in execution["_body"]:
            claim["deadline"] = execution["_body"]["deadline"]
        over = {key: w["_over"] for (id, key), w in self.waits.items() if id == execution["id"] and w["_over"]}
        return claim | ({"steps": steps} if steps else {}) | ({"waits": over} if over else {})

    def _finish(self, result: dict[str, Any]) -> dict[str, Any] | None:
        execution = self.executions[result["id"]]
        if execution["_token"] != result["token"]:
            return {"id": result["id"], "reason": "stale", "detail": "It is somebody else's now."}
        if execution["status"] in FINAL:
            return None
        if json.dumps([result.get("result"), result.get("waits")]).count("\\u0000"):
            return {"id": result["id"], "reason": "invalid", "detail": "U+0000 cannot be stored."}
        outcome = result["outcome"]
        if outcome == "released" or (outcome == "failed" and "retry_in" in result):
            execution |= {"status": "queued", "_token": None, "error": result.get("error")}
            execution["_retry_in"] = result.get("retry_in")
            self.waiting[execution["queue"]].insert(0, execution["id"])
            return None
        if outcome == "waiting":
            self._wait(execution, result["waits"])
            return None
        execution |= {"result": result.get("result"), "error": result.get("error")}
        self._end(execution, outcome)
        return None

    def _end(self, execution: dict[str, Any], status: str) -> None:
        execution |= {"status": status, "finished_at": _now().isoformat()}
        self._look_at_waits()

    # -- waits -------------------------------------------------------------------------------------

    def _wait(self, execution: dict[str, Any], waits: list[dict[str, Any]]) -> None:
        if execution["status"] == "cancelling":
            self._end(execution, "cancelled")
            return
        assert 1 <= len(waits) <= 1_000
        execution |= {"status": "waiting", "_token": None, "attempt": execution["attempt"] - 1}
        for wait in waits:
            seconds, until = wait.get("seconds"), wait.get("until")
            assert wait["kind"] != "time" or (seconds is None) != (until is None)
            since = _now() - dt.timedelta(seconds=wait["waited"])
            end = dt.datetime.fromisoformat(until) if until else None
            end = since + dt.timedelta(seconds=seconds) if seconds is not None else end
            after = dt.datetime.fromisoformat(wait["since"]) if "since" in wait else None
            since = after + dt.timedelta(microseconds=1) if after else since
            new = {**wait, "_since": since, "_end": end, "_over": None}
            self.waits.setdefault((execution["id"], wait["key"]), new)
            if end is not None:
                left = (end - _now()).total_seconds()
                asyncio.get_running_loop().call_later(max(0.0, left), self._look_at_waits)
        execution["_waits"] = [wait["key"] for wait in waits]
        self._look_at_waits()

    def _look_at_waits(self) -> None:
        for (id, key), wait in self.waits.items():
            wait["_over"] = wait["_over"] or self._over(wait)
            execution = self.executions[id]
            if wait["_over"] and execution["status"] == "waiting" and key in execution["_waits"]:
                execution["status"] = "queued"
                self.waiting[execution["queue"]].insert(0, id)
                asyncio.get_running_loop().create_task(self._announce())

    def _over(self, wait: dict[str, Any]) -> dict[str, Any] | None:
        over = {"kind": wait["kind"], "timed_out": False, "answer": None, "at": _now().isoformat()}
        if wait["kind"] == "executions":
            states = [self.executions[id]["status"] for id in wait["executions"] if id in self.executions]
            if all(state in FINAL for state in states):
                return over
        if wait["kind"] == "event":
            for event in self.events.values():
                if event["topic"] == wait["topic"] and event["_at"] >= wait["_since"]:
                    return over | {"answer": {name: event[name] for name in event if name != "_at"}}
        if wait["_end"] is not None and wait["_end"] <= _now():
            return over | {"timed_out": wait["kind"] != "time"}
        return None

    async def _publish(self, request: web.Request, body: Any) -> web.Response:
        id = body.get("id") or str(uuid.uuid4())
        event = {"id": id, "topic": body["topic"], "payload": body.get("payload")}
        known = self.events.get(id)
        if known is not None and {**known, **event} != known:
            raise _problem(409, "Another event has this id.")
        if known is None:
            now = _now()
            self.events[id] = {**event, "published_at": now.isoformat(), "_at": now}
            self._look_at_waits()
        answer = {"id": id, "topic": body["topic"], "published_at": self.events[id]["published_at"], "woken": 0}
        return _json(answer, 200 if known else 201)

    async def _resume(self, request: web.Request, body: Any) -> web.Response:
        execution = self._find(request)
        wait = self.waits.get((execution["id"], body["key"]))
        if wait is None or wait["kind"] != "resume" or (wait["_over"] and wait["_over"]["answer"] != body["data"]):
            raise _problem(409, f"Nobody waits for {body['key']}.")
        answer = {"kind": "resume", "timed_out": False, "answer": body["data"], "at": _now().isoformat()}
        wait["_over"] = wait["_over"] or answer
        self._look_at_waits()
        return _json(_public(execution))

    async def _results(self, request: web.Request, body: Any) -> web.Response:
        assert 1 <= len(body["ids"]) <= 1_000
        found = [self.executions[id] for id in body["ids"] if id in self.executions]
        names = ("id", "status", "result", "error")
        return _json({"executions": [{n: e[n] for n in names} for e in found if e["status"] in FINAL]})

    def _give_back(self, worker_id: str) -> None:
        for execution in self.executions.values():
            if execution["worker_id"] == worker_id and execution["status"] in ("running", "cancelling"):
                execution |= {"status": "queued", "_token": None}
                self.waiting[execution["queue"]].insert(0, execution["id"])

    async def _announce(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    # -- HTTP --------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, body: Any) -> web.Response:
        accepted = self._enqueue(body)
        await self._announce()
        return _json(accepted, 201 if accepted["created"] else 200)

    async def _create_many(self, request: web.Request, body: Any) -> web.Response:
        accepted = [self._enqueue(each) for each in body["executions"]]
        await self._announce()
        return _json({"executions": accepted})

    async def _get(self, request: web.Request, body: Any) -> web.Response:
        execution = self._find(request)
        try:
            async with asyncio.timeout(float(request.query.get("wait", 0))), self.changed:
                await self.changed.wait_for(lambda: execution["status"] in FINAL)
        except TimeoutError:
            pass
        return _json(_public(execution) | {"waits": self._open_waits(execution)})

    def _open_waits(self, execution: dict[str, Any]) -> list[dict[str, Any]]:
        if execution["status"] != "waiting":
            return []
        waits = [self.waits[execution["id"], key] for key in execution["_waits"]]
        return [
            {
                "key": wait["key"], "kind": wait["kind"], "since": wait["_since"].isoformat(),
                "until": wait["_end"] and wait["_end"].isoformat(), "topic": wait.get("topic"),
                "note": wait.get("note"),
                "executions": {"count": len(wait["executions"]), "first": []} if "executions" in wait else None,
            }
            for wait in waits
        ]  # fmt: skip

    async def _cancel(self, request: web.Request, body: Any) -> web.Response:
        execution = self._find(request)
        if execution["status"] in FINAL and execution["status"] != "cancelled":
            raise _problem(409, f"It is {execution['status']} already.")
        await self.ask_cancel(execution["id"])
        return _json(_public(execution))

    def _find(self, request: web.Request) -> dict[str, Any]:
        execution = self.executions.get(request.match_info["id"])
        if execution is None:
            raise _problem(404, "There is no such execution.")
        return execution

    async def _register(self, request: web.Request, body: Any) -> web.Response:
        self.workers.setdefault(body["id"], FakeWorker(body["id"], body))
        for queue in body["queues"]:
            if "concurrency_limit" in queue:
                self.limits[queue["name"]] = queue["concurrency_limit"]
            self.limits.setdefault(queue["name"], None)
        return _json({
            "worker_id": body["id"], "lease_seconds": self.lease_seconds,
            "heartbeat_seconds": self.heartbeat_seconds, "poll_seconds": self.poll_seconds,
            "queues": [], "warnings": ["A sentence for the log."],
        })  # fmt: skip

    def _worker(self, request: web.Request) -> FakeWorker:
        worker = self.workers.get(request.match_info["id"])
        if worker is None or worker.gone or worker.left:
            raise _problem(410, "The server does not know this worker.")
        return worker

    async def _exchange(self, request: web.Request, body: Any) -> web.Response:
        worker = self._worker(request)
        refused = [found for result in body.get("results", ()) if (found := self._finish(result))]
        if body.get("results"):
            await self._announce()
        reply: dict[str, Any] | None = {"token": None, "executions": []}
        if capacity := body.get("capacity", 0):
            reply = await self._claim_once(worker, body, capacity)
        cancel = [id for id in worker.cancel if self.executions[id]["status"] == "cancelling"]
        worker.cancel.clear()
        return _json(
            {"seq": body.get("seq", 0), **(reply or {}), "refused": refused, "cancel": cancel, "drain": self.drain}
        )

    async def _claim_once(self, worker: FakeWorker, body: dict[str, Any], capacity: int) -> dict[str, Any]:
        seq, lane, wait = body["seq"], body.get("lane", 0), body.get("wait", 0)
        reply: dict[str, Any] | None = worker.claim_reply[lane]
        if seq == worker.claim_seq[lane] and reply is not None:
            return reply
        found: dict[str, Any] | None = None

        def look() -> bool:
            nonlocal found
            if worker.gone:
                raise _problem(410, "The server lost this worker.")
            found = self._claim(worker, capacity)
            return found is not None or bool(worker.cancel) or self.drain

        try:
            async with asyncio.timeout(wait), self.changed:
                await self.changed.wait_for(look)
        except TimeoutError:
            pass
        worker.claim_seq[lane] = seq
        answer: dict[str, Any] = found or {"token": None, "executions": []}
        worker.claim_reply[lane] = answer
        return answer

    async def _heartbeat(self, request: web.Request, body: Any) -> web.Response:
        worker = self._worker(request)
        return _json({"lease_seconds": self.lease_seconds, "cancel": list(worker.cancel), "drain": self.drain})

    async def _leave(self, request: web.Request, body: Any) -> web.Response:
        worker = self._worker(request)
        worker.left = True
        self._give_back(worker.id)
        await self._announce()
        return web.Response(status=204)

    async def _retry(self, request: web.Request, body: Any) -> web.Response:
        execution = self._find(request)
        seen = (body.get("expected_status", "failed"), body.get("expected_attempt", execution["attempt"]))
        if (execution["status"], execution["attempt"]) != seen:
            raise _problem(409, "Only a failed or cancelled execution can be retried.")
        execution |= self.retried
        return _json(_public(execution))

    async def _schedules(self, request: web.Request, body: Any) -> web.Response:
        return _json({"schedules": [each for each in self.schedules if each["name"] == request.query["name"]]})

    async def _delete_schedule(self, request: web.Request, body: Any) -> web.Response:
        left = [each for each in self.schedules if each["id"] != request.match_info["id"]]
        if len(left) == len(self.schedules):
            raise _problem(404, "There is no such schedule.")
        self.schedules = left
        return web.Response(status=204)

    async def _save_steps(self, request: web.Request, body: Any) -> web.Response:
        return _json({"steps": [self._save_step(step) for step in body["steps"]]})

    def _save_step(self, step: dict[str, Any]) -> dict[str, Any]:
        answer = {"execution_id": step["execution_id"], "key": step["key"], "detail": ""}
        if self.executions[step["execution_id"]]["_token"] != step["token"]:
            return {**answer, "outcome": "stale", "detail": "It is somebody else's now."}
        known = self.steps.get((step["execution_id"], step["key"]))
        if known is not None and not known.get("error"):
            return {**answer, "outcome": "repeated"}
        self.steps[step["execution_id"], step["key"]] = step
        return {**answer, "outcome": "saved"}

    async def _save_logs(self, request: web.Request, body: Any) -> web.Response:
        answers = [self._save_log(log) for log in body["logs"]]
        await self._announce()
        if all(answer["outcome"] == "stale" for answer in answers):
            raise _problem(409, "These executions are somebody else's now.")
        return _json({"logs": answers})

    def _save_log(self, log: dict[str, Any]) -> dict[str, Any]:
        execution = self.executions[log["execution_id"]]
        outcome = "saved" if execution["_token"] == log["token"] and execution["status"] in HELD else "stale"
        if outcome == "saved":
            known = {(token, line["seq"]) for token, line in execution["_lines"]}
            execution["_lines"] += [
                (log["token"], line) for line in log["lines"] if (log["token"], line["seq"]) not in known
            ]
            execution["_progress"] += [log["progress"]] if log.get("progress") else []
        return {"execution_id": log["execution_id"], "outcome": outcome, "detail": ""}

    def lines(self, execution: dict[str, Any]) -> list[str]:
        return [line["text"] for _, line in execution["_lines"]]

    async def _stream(self, request: web.Request, body: Any) -> web.Response:
        execution, after = self._find(request), request.query.get("after", "")
        try:
            async with asyncio.timeout(float(request.query.get("wait", 0))), self.changed:
                await self.changed.wait_for(lambda: self._news(execution, after)["cursor"] != after)
        except TimeoutError:
            pass
        return _json(self._news(execution, after))

    def _news(self, execution: dict[str, Any], after: str) -> dict[str, Any]:
        seen = after.split(".") if after else ["0", "0", ""]
        lines = [
            {"number": n, "attempt": execution["attempt"], "fields": None} | line
            for n, (_, line) in enumerate(execution["_lines"], start=1)
        ]
        told = execution["_progress"]
        progress = {**told[-1], "attempt": execution["attempt"]} if len(told) > int(seen[1]) else None
        return {
            "execution": _public(execution) if execution["status"] != seen[2] else None,
            "progress": progress, "lines": lines[int(seen[0]) :], "end": execution["status"] in FINAL,
            "cursor": f"{len(lines)}.{len(told)}.{execution['status']}",
        }  # fmt: skip

    async def _get_steps(self, request: web.Request, body: Any) -> web.Response:
        id = request.match_info["id"]
        found = [
            {
                "key": key,
                "result": step.get("result"),
                "error": step.get("error"),
                "ended_at": step.get("ended_at"),
            }
            for (owner, key), step in self.steps.items()
            if owner == id
        ]
        return _json({"steps": found})

    def app(self) -> web.Application:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        for method, path, handler in (
            ("POST", "/executions", self._create),
            ("POST", "/executions/batch", self._create_many),
            ("POST", "/executions/results", self._results),
            ("POST", "/executions/{id}/resume", self._resume),
            ("POST", "/executions/{id}/retry", self._retry),
            ("GET", "/schedules", self._schedules),
            ("DELETE", "/schedules/{id}", self._delete_schedule),
            ("POST", "/events", self._publish),
            ("GET", "/executions/{id}", self._get),
            ("POST", "/executions/{id}/cancellation", self._cancel),
            ("GET", "/executions/{id}/steps", self._get_steps),
            ("GET", "/executions/{id}/stream", self._stream),
            ("POST", "/workers", self._register),
            ("POST", "/workers/{id}/exchange", self._exchange),
            ("POST", "/workers/{id}/heartbeat", self._heartbeat),
            ("DELETE", "/workers/{id}", self._leave),
            ("POST", "/steps", self._save_steps),
            ("POST", "/logs", self._save_logs),
        ):
            app.router.add_route(method, "/api/v1" + path, self._wrapped(handler))
        return app

    def _wrapped(
        self, handler: Callable[[web.Request, Any], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            content = await request.read()
            body = json.loads(content) if content else None
            if self.record:
                self.requests.append((request.method, request.path, body))
            fault = self._fault(request.path, body)
            if fault is not None and not fault.after:
                return _json({"detail": fault.detail}, fault.status, fault.headers)
            response = await handler(request, body)
            if fault is not None and request.transport is not None:
                request.transport.abort()
            return response

        return handle

    def _fault(self, path: str, body: Any) -> Fault | None:
        for fault in self.faults:
            fits = path.endswith(fault.path_end) and (not fault.with_results or body.get("results"))
            if fits and fault.times > 0:
                fault.times -= 1
                return fault
        return None


@asynccontextmanager
async def serving(server: FakeServer | None = None, *, port: int = 0) -> AsyncIterator[FakeServer]:
    server = server or FakeServer()
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def _schedule(id: str, name: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("cron", "every", "at", "payload", "paused"))
    words = dict.fromkeys(("place", "created_by", "workflow_id", "queue", "timezone", "overlap", "catch_up"), "")
    numbers = {"catch_up_most": 1, "version": 1, "declared": False, "next": [], "ticks": []}
    return {"id": id, "name": name, "created_at": _now().isoformat(), **nothing, **words, **numbers}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _public(execution: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in execution.items() if not name.startswith("_")}


def _json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=json.dumps(data), status=status, headers=headers, content_type="application/json")


_ERRORS = {
    404: web.HTTPNotFound, 409: web.HTTPConflict, 410: web.HTTPGone, 422: web.HTTPUnprocessableEntity
}  # fmt: skip


def _problem(status: int, detail: str) -> web.HTTPException:
    return _ERRORS[status](
        text=json.dumps({"status": status, "detail": detail}), content_type="application/problem+json"
    )
