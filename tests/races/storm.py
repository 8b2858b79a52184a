"""One server process of the storm: an engine with all its duties, four workers that do all that a worker can, and
people who do all that a person can. Killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from msgspec import Raw

from queues import bulk_acts, limits
from queues.bulk_acts import Asked
from queues.engine import (
    Engine,
    EngineUnavailable,
    ExecutionNotFound,
    NotPossible,
    WorkerGone,
    bloat,
    events,
    operate,
)
from queues.engine.waits import load_waits
from queues.ids import uuid7
from queues.models import Change, Queue
from queues.requests import (
    Accepted,
    Claimed,
    Deduplication,
    Finished,
    Heartbeat,
    NewExecution,
    NewLine,
    NewLog,
    NewStep,
    NewWait,
    Parent,
)
from tests.engine.crew import Crew, engine_on
from workflows.logs import save_logs
from workflows.steps import save_steps

LIMITS: dict[str, int | None] = {"one": 1, "two": 2, "five": 5, "free": None}
WORKFLOWS = ("work", "parent", "keyed", "old", "tick", "event", "batch")
LEASE = 1.5
WORKERS = 4
KEYS = 6
BY: dict[str, Any] = {"actor": "ana", "through": Change.Through.REST}
EXPECTED = (NotPossible, ExecutionNotFound, EngineUnavailable, WorkerGone, limits.LimitsError, bulk_acts.BadAct)

chance = random.Random()  # noqa: S311


def main(dsn: str, seed: int, seconds: float, accepted: str) -> None:
    """`accepted` is a file: the id of each execution that was accepted and is not pruned, one a line."""
    chance.seed(seed)
    # As if a transaction somewhere kept vacuum from its work: claims renew slots and raise floors.
    bloat.MANY_DEAD = bloat.MANY_KEPT = 0
    bloat.CLAIMS = 50
    asyncio.run(_run(dsn, seconds, accepted))


async def _run(dsn: str, seconds: float, accepted: str) -> None:
    until = time.monotonic() + seconds
    people = threading.Thread(target=_people, args=(until,), daemon=True)
    people.start()
    async with engine_on(
        dsn, duties=True, look=0.2, lease=LEASE, sweep=0.3, max_losses=1_000, retention_days=1
    ) as engine:
        with open(accepted, "a", buffering=1) as book:  # noqa: ASYNC230
            workers = (_work(engine, until) for _ in range(WORKERS))
            callers = (_call(engine, until, book.write) for _ in range(3))
            await asyncio.gather(*workers, *callers, _prune(engine, until), _publish(engine, until))
        await sync_to_async(people.join, thread_sensitive=False)(10)


def pick(*choices: tuple[float, Any]) -> Any:
    weights, values = zip(*choices, strict=True)
    return chance.choices(values, weights)[0]


# -- callers -----------------------------------------------------------------------------------------


async def _call(engine: Engine, until: float, write: Callable[[str], object]) -> None:
    while time.monotonic() < until:
        batch = [_request() for _ in range(pick((5, 1), (2, 5), (1, 50)))]
        with contextlib.suppress(EngineUnavailable):
            answers = await engine.enqueue(batch, actor="ana")
            write("".join(f"{a.id}\n" for a in answers if isinstance(a, Accepted) and a.workflow_id != "old"))
        await asyncio.sleep(chance.random() * 0.05 * len(batch))


def _request(**more: Any) -> NewExecution:
    policy = pick((6, None), (1, "skip"), (1, "replace"), (1, "cancel_old"), (1, "debounce"))
    if policy:
        times = {"seconds": 0.2, "longest": 1.0} if policy == "debounce" else {}
        # One that is debounced does not wait for one that runs: its keys are its own.
        name = "debounced" if policy == "debounce" else "once"
        key = Deduplication(key=f"{name} {chance.randrange(KEYS)}", policy=policy, **times)
        more |= {"deduplication": key, "workflow_id": "keyed"}
    else:
        more |= {"delay": pick((8, None), (2, chance.random()))}
    more.setdefault("workflow_id", pick((6, "work"), (2, "parent"), (1, "old")))
    return NewExecution(
        queue_name=chance.choice(list(LIMITS)), payload=Raw(b"1"), max_attempts=3,
        priority=pick((5, 0), (1, 10), (1, -10)), queue_timeout=pick((8, None), (1, 5.0)),
        execution_timeout=pick((8, None), (1, 3.0)), **more,
    )  # fmt: skip


async def _publish(engine: Engine, until: float) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(EngineUnavailable):
            await events.publish(engine, topic="news", payload=Raw(b"1"), id=None, actor="ana")
        await asyncio.sleep(0.1)


async def _prune(engine: Engine, until: float) -> None:
    """What finished a second ago has grown old."""
    old = "update queues_execution set finished_at = finished_at - interval '1 month' where finished_at < now() - "
    old += "interval '1 second' and finished_at > now() - interval '10 days' and workflow = 'old'"
    while time.monotonic() < until:
        await asyncio.sleep(1)
        with contextlib.suppress(EngineUnavailable):
            async with engine.connection() as conn:
                await conn.execute(old)
                queues = await (await conn.execute("select id from queues_queue")).fetchall()
            await asyncio.gather(*(engine.duties._prune_queue(id) for (id,) in queues))


# -- workers -----------------------------------------------------------------------------------------


async def _work(engine: Engine, until: float) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(WorkerGone, EngineUnavailable):
            pairs = [(w, q) for q in LIMITS for w in WORKFLOWS]
            crew = await Crew(engine, f"w{chance.random()}").join(*pairs, **LIMITS)
            beating = asyncio.create_task(_beat(crew))
            try:
                await _live(crew, until)
            finally:
                beating.cancel()


async def _live(crew: Crew, until: float) -> None:
    results: list[Finished] = []
    while time.monotonic() < until:
        reply = await crew.exchange(capacity=5, wait=0.2, results=results)
        stopping = {*reply.cancel}
        results = []
        if chance.random() < 0.01:  # dies with what it holds, and hands it in much too late
            await asyncio.sleep(LEASE * 1.5)
        for claimed in reply.executions:
            results.append(await _do(crew, claimed))
        for id in stopping & set(crew.held):
            results.append(crew.finished(id, "cancelled"))
        if chance.random() < 0.01:
            await crew.engine.deregister(crew.id)
            return


async def _do(crew: Crew, claimed: Claimed) -> Finished:
    await asyncio.sleep(chance.random() * 0.01)
    for about in (_step, _log):
        if chance.random() < 0.3:
            await about(crew, claimed)
    if claimed.workflow_id == "parent" and (waits := await _family(crew, claimed)):
        return crew.finished(claimed.id, "waiting", waits=waits)
    outcome = pick((14, "completed"), (2, "failed"), (1, "released"))
    more: dict[str, Any] = {"retry_in": chance.choice([0.0, 0.1, None])} if outcome == "failed" else {}
    return crew.finished(claimed.id, outcome, **more)


async def _step(crew: Crew, claimed: Claimed) -> None:
    token = crew.held[claimed.id]
    await save_steps(
        crew.engine,
        [NewStep(execution_id=claimed.id, token=token, key=f"s{n}") for n in range(chance.randrange(1, 4))],
    )


async def _log(crew: Crew, claimed: Claimed) -> None:
    lines = [NewLine(seq=n, text="said") for n in range(1, chance.randrange(2, 9))]
    await save_logs(crew.engine, [NewLog(execution_id=claimed.id, token=crew.held[claimed.id], lines=lines)])


async def _family(crew: Crew, claimed: Claimed) -> list[NewWait]:
    """What a parent waits for; nothing when it has waited before."""
    async with crew.engine.connection() as conn:
        if (await load_waits(conn, [claimed.id])).get(claimed.id) is not None:
            return []
    parent = Parent(id=claimed.id, token=crew.held[claimed.id])
    children = [
        NewExecution(workflow_id="work", queue_name=chance.choice(list(LIMITS)), parent=parent, id=uuid7())
        for _ in range(chance.randrange(1, 4))
    ]
    answers = await crew.engine.enqueue(children, actor="ana")
    ids = [answer.id for answer in answers if isinstance(answer, Accepted)]
    kind = pick((4, "executions"), (1, "time"), (1, "event"), (1, "stranger"))
    if kind == "time":
        return [NewWait(key="nap", kind="time", seconds=0.2)]
    if kind == "event":
        return [NewWait(key="news", kind="event", topic="news", seconds=5)]
    if kind == "stranger":
        async with crew.engine.connection() as conn:
            some = "select id from queues_execution where workflow = 'work' order by random() limit 2"
            ids = [row[0] for row in await (await conn.execute(some)).fetchall()] or ids
    return [NewWait(key="children", kind="executions", executions=ids)]


async def _beat(crew: Crew) -> None:
    while True:
        await asyncio.sleep(LEASE / 4)
        with contextlib.suppress(EngineUnavailable):
            await crew.engine.heartbeat(crew.id, Heartbeat(received=crew.seq))


# -- people ------------------------------------------------------------------------------------------


def _people(until: float) -> None:
    acts = (_cancel, _cancel_tree, _retry, _priority, _bulk, _purge, _limit, _pause, _drain, _untime)
    while time.monotonic() < until:
        try:
            chance.choice(acts)()
        except EXPECTED:
            pass
        except DatabaseError as error:  # the outage
            sys.stderr.write(f"person: {error}\n")
            connection.close()
        time.sleep(chance.random() * 0.1)
    connection.close()


def _some(where: str) -> UUID:
    with connection.cursor() as cursor:
        cursor.execute(f"select id from queues_execution where {where} order by random() limit 1")
        row = cursor.fetchone()
    if row is None:
        raise NotPossible("none")
    id: UUID = row[0]
    return id


def _cancel() -> None:
    operate.cancel_execution(_some("finished_at is null"), **BY)


def _cancel_tree() -> None:
    operate.cancel_family(_some("workflow = 'parent'"), reaches=lambda _: True, **BY)


def _retry() -> None:
    operate.retry_execution(_some("status in ('failed', 'cancelled')"), **BY)


def _priority() -> None:
    operate.change_priority(_some("status in ('queued', 'scheduled')"), priority=chance.randrange(-50, 50), **BY)


def _bulk() -> None:
    verb = chance.choice(["cancel", "retry", "priority"])
    line = {"cancel": "status:waiting,queued queue:t*", "retry": "status:failed,cancelled", "priority": ""}[verb]
    asked = Asked(verb, line, priority=chance.randrange(50) if verb == "priority" else None)
    now = limits.database_now()
    bulk_acts.ask(asked, id=uuid7(), counted=bulk_acts.count(asked, now), at=now, **BY)


def _purge() -> None:
    if chance.random() < 0.2:
        now = limits.database_now()
        bulk_acts.purge(_queue(), scheduled=chance.random() < 0.5, id=uuid7(), at=now, reason="", **BY)


def _queue() -> str:
    return chance.choice(list(LIMITS))


def _limit() -> None:
    name = chance.choice(["one", "two", "five"])
    limits.change_limit(queue=name, limit=chance.choice([0, 1, 2, 3, 5, None]), reason="", **BY)


def _pause() -> None:
    name = _queue()
    limits.pause(queue=name, reason="", **BY)
    time.sleep(0.05)
    limits.resume(queue=name, **BY)


def _drain() -> None:
    name = _queue()
    limits.drain(queue=name, reason="", **BY)
    time.sleep(0.05)
    limits.accept(queue=name, **BY)


def _untime() -> None:
    """As if no execution with a deadline had come yet: ticks and enqueues mark the queue again."""
    Queue.objects.filter(name=_queue()).update(timed=False)
