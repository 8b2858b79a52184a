"""The engine of one server process: its verbs, and the life of what they need.

enqueue → register → exchange (finish + claim) → heartbeat → deregister, and the duties in the background. Every
server runs all of it; what is shared is in PostgreSQL only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from ..models import FINAL
from ..requests import Accepted, Beat, Exchange, Exchanged, Heartbeat, NewExecution, Register, Registered
from .arrays import numbers, texts, uuids
from .board import Board, Member
from .database import Connection, Database, Row
from .dedup import Settled
from .duties import Duties
from .enqueue import AllNew, Answers, Enqueuer
from .errors import EngineTimeout, EngineUnavailable, WorkerGone
from .exchange import Commit, Desk, Ended
from .leases import Leases
from .register import Registrar
from .statements import statement
from .waits import Waits
from .wakes import Wakes

WATCH_SECONDS = 0.25  # how often executions that somebody waits for are looked up, if no hint comes

FAILED_SECONDS = 1.0  # until a background duty that failed is tried again
MOST_ASKED = 10_000
FIRST_ADOPTED = 500  # pairs; then twice as many each time
MEMBER_MEMORY, FORGET_SECONDS = 600.0, 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Config:
    """Times are seconds."""

    conninfo: str
    lease: float = 30.0
    heartbeat: float = 10.0
    sweep: float = 5.0
    poll: float = 20.0
    look: float = 1.0  # how often ready work is looked for, in case all hints were lost
    pool_size: int = 10
    default_limit: int | None = None
    max_losses: int = 10
    retention_days: int = 30
    duties: bool = True


@dataclass(slots=True)
class Stats:
    """Counters since this process started."""

    enqueued: int = 0
    claims: int = 0
    completions: int = 0
    failures: int = 0
    lease_expiries: int = 0
    stale_refused: int = 0
    limit_violations: int = 0


@dataclass(slots=True)
class _Waiter:
    event: asyncio.Event = field(default_factory=asyncio.Event)
    people: int = 0


class Engine:
    """`start` it on the loop that uses it, `stop` it there. Verbs raise what `queues.engine.errors` lists."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stats = Stats()
        self.listeners: list[Callable[[set[int]], None]] = []  # called after commits, with the queues' ids
        self.database = Database(config.conninfo, size=config.pool_size)
        self.board = Board()
        self._look = asyncio.Event()
        self.desk = Desk(
            self.database, self.board, lease=config.lease, queue_name=self._queue_name,
            on_commit=self._committed, on_unheard=self._given_up, on_stale=self._stale, on_woken=self.queued,
        )  # fmt: skip
        self.enqueuer = Enqueuer(
            self.database, default_limit=config.default_limit, desk=self.desk, on_enqueued=self._enqueued,
            on_settled=self._settled,
        )  # fmt: skip
        self.registrar = Registrar(
            self.database, self.enqueuer, lease=config.lease, heartbeat=config.heartbeat, poll=config.poll
        )
        self.leases = Leases(self.database, lease=config.lease, max_losses=config.max_losses)
        self.wakes = Wakes(
            self.database, on_queues=self._hinted, on_cancel=self._cancel, on_pairs=self._reload,
            on_drains=self._draining_changed, on_lost=self._look.set,
        )  # fmt: skip
        self.waits = Waits(self.database, on_woken=self.queued, on_failed=self.taken_back)
        self.duties = Duties(self)
        self.draining = False
        self._members: dict[UUID, Member] = {}
        self._forget_from = 0.0  # monotonic
        self._waiters: dict[UUID, _Waiter] = defaultdict(_Waiter)
        self._tasks: list[asyncio.Task[None]] = []
        self._small: set[asyncio.Task[None]] = set()
        # Pairs that nobody here serves, and when that was looked into.
        self._asked: dict[tuple[int, str], float] = {}

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the connections in the background: a database that is away delays answers, not the start."""
        await self.database.open()
        loops: list[Callable[[], Awaitable[None]]] = [
            self.wakes.listen, self._look_for_work, self._watch, self._look_at_bloat,
        ]  # fmt: skip
        if self.config.duties:
            loops += [self.duties.sweep, self.duties.tick, self.duties.deadlines]
            loops += [self.duties.prune, *self.duties.others()]
        outage = _Outage()
        self._tasks = [asyncio.create_task(_forever(loop, outage)) for loop in loops]
        self.soon(self.desk.rehearse())

    async def drain(self) -> None:
        """Answers every long poll and gives out no more work; what workers hand in is still taken."""
        self.draining = True
        self.desk.close()
        for waiter in self._waiters.values():
            waiter.event.set()

    async def stop(self) -> None:
        await self.drain()
        await self.waits.stop()
        await self.wakes.stop()
        pending = {*self._tasks, *self._small}
        while pending:
            # Again and again: psycopg's pool loses a cancellation that comes together with a free connection.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.1)
        await self.database.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the engine's pool (autocommit), for reads of others. Raises `EngineUnavailable`."""
        async with self.database.connection() as conn:
            yield conn

    # -- verbs -------------------------------------------------------------------------------------

    async def enqueue(self, items: Sequence[NewExecution], *, actor: str = "", alike: bool = False) -> Answers:
        """Accepts executions; answers come after the commit, in order. `queue_name` is filled in by the caller,
        who may also have seen that they are alike: in all but id and payload."""
        answers = await self.enqueuer.enqueue(items, actor=actor, alike=alike)
        created: Answers = answers
        if not isinstance(answers, AllNew):
            created = [each for each in answers if type(each) is Accepted and each.created]
        self.stats.enqueued += len(created)
        return answers

    async def register(self, request: Register, *, key_name: str = "") -> Registered:
        """A worker arrives, or comes back. Raises `WorkerGone` when its lease was over."""
        registered, member = await self.registrar.register(request, key_name=key_name)
        self._join(member)
        self._changed(set(member.pairs))
        self.duties.newcomer.set()
        self.soon(self._adopt_as_others(member))
        return registered

    async def exchange(self, worker_id: UUID, request: Exchange) -> Exchanged:
        """Takes results and gives work, in one commit; waits up to `request.wait` when there is none."""
        member = await self._member(worker_id)
        member.seen = time.monotonic()
        try:
            return await self.desk.exchange(member, request)
        except WorkerGone:
            self._members.pop(worker_id, None)
            raise

    async def heartbeat(self, worker_id: UUID, request: Heartbeat) -> Beat:
        """Renews the lease of everything the worker holds. Raises `WorkerGone`."""
        beat, unheard = await self.leases.heartbeat(worker_id, request)
        for token in unheard:
            self._unheard(worker_id, token)
        return beat

    async def deregister(self, worker_id: UUID) -> int:
        """The worker leaves; returns how many executions went back to their place."""
        taken = await self.database.again(lambda: self.leases.leave(worker_id))
        self._members.pop(worker_id, None)
        self.taken_back(taken)
        return len(taken)

    async def wait_final(self, execution_id: UUID, seconds: float) -> None:
        """Returns when the execution is final, or unknown, or the time is over. Look before and after."""
        if self.draining:
            return
        waiter = self._waiters[execution_id]
        waiter.people += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiter.event.wait()
        finally:
            waiter.people -= 1
            if not waiter.people:
                self._waiters.pop(execution_id, None)

    # -- what follows a commit ---------------------------------------------------------------------

    def _enqueued(self, pairs: set[tuple[int, str]], claimed: bool) -> None:
        """Hints follow, unless the desk has just looked for itself."""
        if claimed:
            self._changed({queue_id for queue_id, _ in pairs})
        else:
            self.queued(pairs)

    def _settled(self, settled: Settled) -> None:
        """Deduplication cancelled some, or has some wait until another one has stopped."""
        if settled.ended:
            self.taken_back(settled.ended)
        if settled.following:
            self.duties.hurry.set()

    def queued(self, pairs: set[tuple[int, str]]) -> None:
        """These have something that may start: enqueued just now, or due."""
        for queue_id, workflow in pairs:
            self.board.say_work(queue_id, (workflow,))
        unknown = [
            pair for pair in pairs if pair[1] not in self.board.served.get(pair[0], ()) and self._may_ask(pair)
        ]
        if unknown:
            self.soon(self._adopt(unknown))
        self._changed({queue_id for queue_id, _ in pairs})

    def _may_ask(self, pair: tuple[int, str]) -> bool:
        """Once a second for each pair: an enqueue must not pay for a workflow that nobody serves."""
        now = time.monotonic()
        if now - self._asked.get(pair, -1.0) < 1.0:
            return False
        if len(self._asked) > MOST_ASKED:
            self._asked.clear()
        self._asked[pair] = now
        return True

    async def _adopt(self, pairs: list[tuple[int, str]]) -> None:
        with suppress(EngineUnavailable):
            await self.adopt(pairs)

    async def adopt(self, pairs: Sequence[tuple[int, str]]) -> None:
        """Pairs that nobody registered (a queue chosen at invocation) go to the workers of the workflow. The first
        of them soon: thousands take PostgreSQL a fifth of a second, and workers need not wait for all of it."""
        start, many = 0, FIRST_ADOPTED
        while start < len(pairs):
            await self._adopt_some(pairs[start : start + many])
            start, many = start + many, 2 * many

    async def _adopt_some(self, pairs: Sequence[tuple[int, str]]) -> None:
        async with self.database.connection() as conn:
            values = {
                "queues": numbers(queue_id for queue_id, _ in pairs),
                "workflows": texts(name for _, name in pairs),
            }
            rows = await (await conn.execute(statement("adopt_pairs"), values)).fetchall()
            await self.wakes.tell_pairs(conn, {row[0] for row in rows})
        self._add_pairs(rows)

    def _add_pairs(self, rows: Iterable[Row]) -> None:
        """Worker, queue, workflow, and the name of the queue: what workers that are known here serve, too."""
        rows = [row for row in rows if row[0] in self._members]
        self.enqueuer.names.update((queue_id, name) for _, queue_id, _, name in rows)
        for worker_id, queue_id, workflow, _ in rows:
            self._serve(self._members[worker_id], ((queue_id, workflow),))
        if rows:
            self.desk.look_again()

    async def _adopt_as_others(self, member: Member) -> None:
        """A worker has come, maybe again: it serves what was adopted before, too."""

        async def share() -> None:
            async with self.database.connection() as conn:
                await conn.execute(statement("adopt_as_others"), {"worker": member.id})

        with suppress(EngineUnavailable):
            await self.database.again(share)
            await self._reload_pairs(member)

    def _reload(self, worker_id: UUID) -> None:
        """A worker that is known here serves more than it did."""
        if (known := self._members.get(worker_id)) is not None:
            self.soon(self._reload_pairs(known))

    async def _reload_pairs(self, known: Member) -> None:
        with suppress(EngineUnavailable, WorkerGone):
            found = await self.registrar.find(known.id)
            self._serve(known, ((queue_id, name) for queue_id, names in found.pairs.items() for name in names))
            self.desk.look_again()

    def _serve(self, known: Member, pairs: Iterable[tuple[int, str]]) -> None:
        """Adds to what it serves. What it has is kept: it may be newer than what was read."""
        for queue_id, workflow in pairs:
            names = known.pairs.setdefault(queue_id, [])
            if workflow not in names:
                names.append(workflow)
                self.board.served[queue_id].add(workflow)
                self.board.say_room(queue_id)
                self.board.say_work(queue_id, (workflow,))

    def _committed(self, commit: Commit) -> None:
        """What ended made room, unless the same transaction filled it: then nobody need try that queue. With jobs
        of 10 ms under a limit of 5 every third transaction found out just that. On an unlimited queue nobody waits
        for room: to tell four servers of it took them and PostgreSQL a fifteenth of their time. They are told of
        what they may have passed over there."""
        self.stats.claims += commit.claims
        freed: set[int] = set()
        queued: set[int] = set()
        for _, queue_id, status, _ in commit.ended:
            if queue_id not in freed:
                freed.add(queue_id)
                if queue_id not in commit.filled:
                    self.board.say_room(queue_id)
            if status == "queued":
                queued.add(queue_id)
                self.board.say_anything(queue_id)
        self._count(commit.ended)
        self.wakes.tell_others((freed - commit.filled - (commit.unlimited - queued)) | commit.left)
        if changed := freed | commit.claimed:
            self.wakes.tell_others_later(changed)
            self._show(changed)  # the desk looks again by itself after each of its transactions

    def _count(self, ended: Sequence[Ended]) -> None:
        begun: list[UUID] = []  # to wait
        parents: list[UUID] = []
        for execution_id, _, status, parent in ended:
            if status not in FINAL:
                if status == "waiting":
                    begun.append(execution_id)
                continue
            if parent is not None:
                parents.append(parent)
            self.stats.completions += status == "completed"
            self.stats.failures += status == "failed"
            if self._waiters and execution_id in self._waiters:
                self._waiters[execution_id].event.set()
        if begun:
            self.waits.begun(begun)
        if parents or self.waits.strangers:
            self.waits.ended((row.id for row in ended if row.status in FINAL), parents)

    def taken_back(self, rows: Sequence[Row]) -> None:
        """Executions that went back to their place (or ended) because their claim was over."""
        ended = [Ended(*row) for row in rows]
        for queue_id in {row.queue_id for row in ended}:
            self.board.say_anything(queue_id)
        self._count(ended)
        if ended:
            self._changed({row.queue_id for row in ended})

    async def ask_to_stop(self, workers: Iterable[UUID]) -> None:
        """These have something that is to be cancelled: wherever they wait, they learn it at once."""
        for worker_id in workers:
            async with self.database.connection() as conn:
                await conn.execute(statement("tell"), {"payload": f"cancel:{worker_id}"})

    def _changed(self, queue_ids: set[int]) -> None:
        self.wakes.tell_others(queue_ids)
        self._wake(queue_ids)

    def _wake(self, queue_ids: set[int]) -> None:
        self.desk.look_again()
        self._show(queue_ids)

    def _show(self, queue_ids: set[int]) -> None:
        for listener in self.listeners:
            listener(queue_ids)

    def _draining_changed(self) -> None:
        self.soon(self._read_draining())

    async def _read_draining(self) -> None:
        with suppress(EngineUnavailable):
            async with self.database.connection() as conn:
                rows = await (await conn.execute(statement("draining_queues"))).fetchall()
            self.enqueuer.draining = frozenset(row[0] for row in rows)

    def _hinted(self, queue_ids: list[int]) -> None:
        """Another server, or an operator, changed something on these queues."""
        for queue_id in queue_ids:
            self.board.say_anything(queue_id)
        self._wake(set(queue_ids))

    def _cancel(self, worker_id: UUID) -> None:
        if worker_id in self._members:  # others learn it where they are, or by their heartbeat
            self.desk.tell_cancels(worker_id)

    def _stale(self, count: int) -> None:
        self.stats.stale_refused += count

    def _given_up(self, worker_id: UUID, token: UUID) -> None:
        self._unheard(worker_id, token, given_up=True)

    def _unheard(self, worker_id: UUID, token: UUID, *, given_up: bool = False) -> None:
        async def release() -> None:
            with suppress(EngineUnavailable):
                rows = await self.database.again(
                    lambda: self.leases.release_unheard(worker_id, token, given_up=given_up)
                )
                self.taken_back(rows)

        self.soon(release())

    def soon(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._small.add(task)
        task.add_done_callback(self._small.discard)

    # -- who is here, what is ready ----------------------------------------------------------------

    async def _member(self, worker_id: UUID) -> Member:
        member = self._members.get(worker_id)
        if member is None:
            member = await self.registrar.find(worker_id)
            self._join(member)
        return member

    def _join(self, member: Member) -> None:
        self._members[member.id] = member
        self.board.serve(member)
        for queue_id in member.pairs:
            self.board.say_anything(queue_id)

    def _queue_name(self, queue_id: int) -> str:
        return self.enqueuer.names[queue_id]

    def _forget(self, now: float) -> None:
        """Workers that have not asked for anything in a long time, and queues that nobody uses here: whoever comes
        back is found again."""
        if now < self._forget_from:
            return
        self._forget_from = now + FORGET_SECONDS
        old = now - MEMBER_MEMORY
        self._members = {id: member for id, member in self._members.items() if member.seen >= old}
        self.board.keep(self._members.values())
        self.enqueuer.keep(self.board.served, read_after=old)
        self.desk.keep(self._members)

    async def _look_for_work(self) -> None:
        """The poll behind the hints: with every notification lost, work still starts."""
        began = time.monotonic()
        self._forget(began)
        if self._members:
            async with self.database.connection() as conn:
                rows = await (await conn.execute(statement("ready_pairs"))).fetchall()
                unknown = [row for row in rows if row[1] not in self.board.served.get(row[0], ())]
                if unknown:  # adopted, and the notification was lost, or who would have sent it was
                    self._add_pairs(await self._registered_among(conn, unknown))
            for queue_id, workflow in rows:
                self.board.say_room(queue_id)
                self.board.say_work(queue_id, (workflow,))
            if rows:
                self.desk.look_again()
        took = time.monotonic() - began
        with suppress(TimeoutError):
            # Not wait_for: it loses a cancellation that comes together with the event (Python 3.11).
            async with asyncio.timeout(max(self.config.look, 20 * took)):
                await self._look.wait()
        self._look.clear()

    async def _registered_among(self, conn: Connection, pairs: Sequence[Row]) -> list[Row]:
        values = {
            "queues": numbers(row[0] for row in pairs),
            "workflows": texts(row[1] for row in pairs),
            "workers": uuids(self._members),
        }
        return await (await conn.execute(statement("registered_among"), values)).fetchall()

    async def _look_at_bloat(self) -> None:
        await asyncio.sleep(await self.desk.bloat.look(self.database))

    async def _watch(self) -> None:
        """Executions that somebody waits for may be finished through another server."""
        await asyncio.sleep(WATCH_SECONDS)
        if not self._waiters:
            return
        async with self.database.connection() as conn:
            cursor = await conn.execute(statement("finished_among"), {"ids": uuids(self._waiters)})
            rows = await cursor.fetchall()
        for (execution_id,) in rows:
            if execution_id in self._waiters:
                self._waiters[execution_id].event.set()


class _Outage:
    """A database that is away is said once, however many loops meet it."""

    def __init__(self) -> None:
        self._is_said = False

    def met(self, error: EngineUnavailable) -> None:
        if not self._is_said:
            log.warning("%s Waiting for it.", error.detail)
        self._is_said = True

    def over(self) -> None:
        if self._is_said:
            log.info("the database answers again")
        self._is_said = False


async def _forever(step: Callable[[], Awaitable[None]], outage: _Outage) -> None:
    """Runs a background step again and again, whatever happens to one of them."""
    away = False
    while True:
        try:
            await step()
            if away:
                outage.over()
            away = False
        except EngineTimeout as error:
            log.warning("a background duty is tried again: %s", error.detail)
            await asyncio.sleep(FAILED_SECONDS)
        except EngineUnavailable as error:
            outage.met(error)
            away = True
            await asyncio.sleep(FAILED_SECONDS)
        except Exception:
            log.exception("a background duty failed; it is tried again")
            await asyncio.sleep(FAILED_SECONDS)
