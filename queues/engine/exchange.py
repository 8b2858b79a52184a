"""exchange: «here is what I finished, give me more», in one commit.

The desk serves all exchanges of this process. Those that arrive while a transaction is in flight form the next
one; those that find nothing wait in the hall (the long poll) and join the transaction that makes room or brings
work, so that a freed slot is filled in the commit that frees it.

One transaction, in this order of locks: worker rows (begin_claims), execution rows (finish), queues without
waiting (lock_queues), then, under those locks, claim. A queue that somebody else held is claimed afterwards in a
transaction of its own that waits for the lock (`_claim_skipped`): PostgreSQL tells nobody when a lock is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec

from ..requests import Claimed, Exchange, Exchanged, Finished, Refused
from . import exchange_statements as statements
from .arrays import uuids
from .bloat import Bloat
from .board import MOST_CANDIDATES, Board, Member
from .database import RETRYABLE, Database, Row
from .errors import EngineUnavailable, WorkerGone
from .exchange_statements import Share, Taker, claimed, shares
from .flight import Flight
from .statements import statement

MOST_RESULTS = 2_000  # results in one transaction
MOST_CLAIMS = 4  # workers of the line that claim in one transaction; at least one of the hall does too
MOST_HELD = 100_000  # executions of one worker whose queue is remembered
SKIPPED_PATIENCE = 0.5  # seconds: lock_timeout of one try for a queue that was held by somebody else

log = logging.getLogger(__name__)


Place = tuple[UUID, int]  # a worker and a lane: one claiming exchange at a time


@dataclass(slots=True)
class Visit:
    """One exchange at the desk."""

    member: Member
    request: Exchange
    future: asyncio.Future[Exchanged]
    token: UUID
    deadline: float
    # Of each result; None if it was not given out here: what it frees is told after the commit.
    queues: list[int | None]
    parents: dict[UUID, UUID]  # of the children among them, likewise; those of others are woken after the commit
    begun: bool = False  # the claim is noted in the worker's row
    handed_in: bool = False  # the results are in
    busy: bool = False  # in a transaction: nobody else may answer it
    committed: bool = False  # its transaction is committed: running it again would claim twice under one token
    refused: list[Refused] = field(default_factory=list)

    @property
    def claims(self) -> bool:
        return self.request.capacity > 0

    @property
    def taker(self) -> Taker:
        return Taker(self.member, self.request.seq, self.token, self.request.capacity, self.request.lane)

    @property
    def place(self) -> Place:
        return self.member.id, self.request.lane

    def reply(self, executions: list[Claimed], **more: Any) -> None:
        if not self.future.done():
            seq, token = self.request.seq, self.token if executions else None
            self.future.set_result(
                Exchanged(seq=seq, token=token, executions=executions, refused=self.refused, **more)
            )

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class Arrival:
    """New executions, stored by the transaction in which a worker that waits for them claims them."""

    add: Callable[[Flight], int]
    future: asyncio.Future[list[Row]]


class Ended(NamedTuple):
    """A claim that ended in this transaction."""

    id: UUID
    queue_id: int
    status: str
    parent_id: UUID | None


@dataclass(slots=True)
class Party:
    """Exchanges that try the same queues, for the same workflows: one statement claims for all of them."""

    visits: list[Visit]
    served: dict[int, list[str]]  # the queues to try, and what all of them serve there: one may serve more by now


@dataclass(slots=True)
class Outcome:
    """What one transaction did."""

    begun: dict[UUID, tuple[int, UUID | None, int]]  # worker → its claim before this one; its row's generation
    ended: list[Ended]
    locked: set[int]
    unlimited: set[int]  # of those locked
    shares: list[Share]  # per party
    woken: list[Row]  # parents that go on


class Commit(NamedTuple):
    """What the engine is told of a transaction."""

    ended: list[Ended]
    claimed: set[int]  # the queues
    claims: int
    filled: Set[int] = frozenset()  # the queues that have no room left
    unlimited: Set[int] = frozenset()  # those that nobody waits for room of
    left: Set[int] = frozenset()  # those that others may have taken for empty meanwhile


class Settled(NamedTuple):
    """What a claim says of its queues."""

    filled: set[int]  # no room is left
    # It may have locked more than it gave. Without a limit others claim at the same time; they pass over what is
    # locked, and take the line for empty.
    left: set[int]


@dataclass(slots=True)
class Landed:
    """A transaction that is committed and not yet told of."""

    visits: list[Visit]
    claiming: list[Visit]
    handing_in: list[Visit]
    parties: list[Party]
    read: Callable[[], Outcome]
    since: int


class Desk:
    """Takes exchanges, forms transactions, answers. One per server process."""

    def __init__(
        self,
        database: Database,
        board: Board,
        *,
        lease: float,
        queue_name: Callable[[int], str],
        on_commit: Callable[[Commit], None],
        on_unheard: Callable[[UUID, UUID], None],
        on_stale: Callable[[int], None],
        on_woken: Callable[[set[tuple[int, str]]], None],
    ) -> None:
        self._database = database
        self._board = board
        self.bloat = Bloat()
        self._lease = lease
        self._queue_name = queue_name
        self._on_commit = on_commit
        self._on_unheard = on_unheard
        self._on_stale = on_stale
        self._on_woken = on_woken
        self._line: list[Visit] = []  # to be served by the next transaction
        self._arrivals: list[Arrival] = []
        self._hall: dict[Place, Visit] = {}  # long polls, in order of arrival
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._skipped: dict[int, asyncio.Task[None]] = {}
        self._newest: dict[Place, Visit] = {}  # the claiming exchange that somebody still listens to
        self._cancels: set[UUID] = set()  # workers that have something to cancel
        self.closing = False

    # -- in and out --------------------------------------------------------------------------------

    async def rehearse(self) -> None:
        """Exchanges of nobody, on all connections that fly: PostgreSQL reads its catalogues and plans the
        statements now. Otherwise the first worker waits for that, 10 ms and more."""
        nobody = Taker(Member(UUID(int=0), {}), seq=0, token=UUID(int=0), capacity=0, lane=0)
        flight = Flight()
        statements.begin(flight, [nobody], lease=0.0)
        statements.finish(flight, [])
        statements.lock(flight, [])
        no_line: dict[int, list[str]] = {}
        for takers, served in (([nobody], {0: [""]}), ([nobody], no_line), ([nobody, nobody], no_line)):
            statements.claim(flight, takers, served, from_floors=False)
        flights = [self._database.fly(flight) for _ in range(max(1, self._database.most_lines))]
        await asyncio.gather(*flights, return_exceptions=True)  # of what is wrong others tell

    async def exchange(self, member: Member, request: Exchange) -> Exchanged:
        loop = asyncio.get_running_loop()
        refused = self.closing and request.capacity > 0
        if refused:  # results are still taken, work is not given out any more
            request = msgspec.structs.replace(request, capacity=0)
        deadline = time.monotonic() + min(request.wait, self._lease / 2)
        ids = [result.id for result in request.results]
        visit = Visit(member, request, loop.create_future(), uuid4(), deadline, *member.takes_back(ids))
        if visit.claims:
            self._newest[visit.place] = visit
            self._send_home(visit.place)
        self._line.append(visit)
        self._serve()
        try:
            reply = await visit.future
            if refused:  # not «nothing for this seq»: it may be the repeat of one that handed out work
                raise EngineUnavailable("The server is stopping. Repeat the request.")
            return reply
        finally:
            if self._newest.get(visit.place) is visit:
                del self._newest[visit.place]
            self._leave(visit)
            if ids and not visit.handed_in:
                member.keeps(ids, visit.queues, visit.parents)

    def _send_home(self, place: Place) -> None:
        """On each lane one claiming exchange is in flight: a newer one ends the older."""
        older = self._hall.get(place)
        if older is not None and not older.busy:
            del self._hall[place]
            older.reply([])

    def awaits(self, pairs: Iterable[tuple[int, str]]) -> bool:
        """Whether a worker waits in the hall for one of these (queue, workflow) pairs, and may get it at once."""
        if self._hall and (self._task is None or self._task.done()):
            board = self._board
            for queue_id, workflow in pairs:
                if queue_id in board.full or queue_id in board.busy:
                    continue
                if any(workflow in visit.member.pairs.get(queue_id, ()) for visit in self._hall.values()):
                    return True
        return False

    def arrive(self, pairs: Iterable[tuple[int, str]], add: Callable[[Flight], int]) -> asyncio.Future[list[Row]]:
        """Stores what `add` adds to the flight, and gives it out in the same commit: an execution that somebody
        waits for starts a commit and two turns of the loop earlier. Only after `awaits` said yes."""
        for queue_id, workflow in pairs:
            self._board.say_work(queue_id, (workflow,))
        arrival = Arrival(add, asyncio.get_running_loop().create_future())
        self._arrivals.append(arrival)
        self._serve()
        return arrival.future

    def look_again(self) -> None:
        """Hints have come: whoever waits in the hall and may find something joins the next transaction."""
        if self._hall and any(self._board.has_candidate(visit.member) for visit in self._hall.values()):
            self._serve()

    def tell_cancels(self, worker_id: UUID) -> None:
        """A worker that waits here learns at once that something of its is to be cancelled."""
        self._cancels.add(worker_id)
        if (worker_id, 0) in self._hall or (worker_id, 1) in self._hall:
            self._serve()

    def keep(self, workers: Collection[UUID]) -> None:
        """Nothing is told to others any more."""
        self._cancels.intersection_update(workers)

    def close(self) -> None:
        """Nothing waits any longer; what is in line is still served."""
        self.closing = True
        for visit in list(self._hall.values()):
            self._time_over(visit)

    def _serve(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while True:
            visits = self._next()
            arrivals, self._arrivals = self._arrivals, []
            if not visits and not arrivals:
                return
            for visit in visits:
                visit.busy = True
            try:
                landed = await self._fly(visits, arrivals)
            except Exception as error:
                for arrival in arrivals:
                    if not arrival.future.done():
                        arrival.future.set_exception(error)
                await self._one_by_one(visits, error, alone=len(visits) == 1 and not arrivals)
                _let_go(visits)
                continue
            if self._line and not self._hall:
                # The next flight first: the database need not wait while these are answered (a twentieth of the
                # drain with two workers).
                # Who waits in the hall goes with what the answers tell, so nobody is overtaken there.
                self._answer_soon(landed)
            else:
                somebody_waits = bool(self._hall)
                await self._answer(landed)
                if somebody_waits:
                    # The answers leave before the next flight is built: two points of slot time (limit 5).
                    await asyncio.sleep(0)

    def _answer_soon(self, landed: Landed) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._answers.discard(task)
            self._serve()

        task = asyncio.create_task(self._answer(landed))
        self._answers.add(task)
        task.add_done_callback(done)

    async def _answer(self, landed: Landed) -> None:
        try:
            await self._tell(landed)
        except Exception as error:
            await self._one_by_one(landed.visits, error, alone=len(landed.visits) == 1)
        finally:
            _let_go(landed.visits)

    async def _one_by_one(self, visits: list[Visit], error: Exception, *, alone: bool) -> None:
        """A transaction failed. If it was more than one exchange, one bad one must not fail the rest."""
        if alone or isinstance(error, EngineUnavailable):
            if not isinstance(error, EngineUnavailable):
                log.error("an exchange failed", exc_info=error)
            for visit in visits:
                visit.fail(error)
            return
        for visit in visits:
            if visit.committed:  # the worker repeats it, and gets what it was given
                visit.fail(EngineUnavailable())
                continue
            try:
                await self._tell(await self._fly([visit]))
            except Exception as own:
                await self._one_by_one([visit], own, alone=True)

    def _next(self) -> list[Visit]:
        """The next transaction: whoever is in line, and from the hall whoever may find something."""
        visits: list[Visit] = []
        results = claims = 0
        claiming: set[UUID] = set()
        line, self._line = self._line, []
        for visit in line:
            if visit.future.done():
                continue
            full = results + len(visit.request.results) > MOST_RESULTS or claims >= MOST_CLAIMS
            if (visits and full) or (visit.claims and visit.member.id in claiming):
                self._line.append(visit)  # a worker's row takes one claim at a time
                continue
            visits.append(visit)
            if visit.claims:
                claiming.add(visit.member.id)
            results += len(visit.request.results)
            claims += visit.claims
        return visits + self._from_hall(_may_be_freed(visits), max(1, MOST_CLAIMS - claims), claiming)

    def _from_hall(self, freed: set[int], most: int, claiming: set[UUID]) -> list[Visit]:
        found: list[Visit] = []
        for place, visit in list(self._hall.items()):
            if visit.future.done():
                del self._hall[place]
            elif (
                len(found) < most and not visit.busy and place[0] not in claiming and self._may_gain(visit, freed)
            ):
                found.append(visit)
                claiming.add(place[0])
        return found

    def _may_gain(self, visit: Visit, freed: set[int]) -> bool:
        return (
            visit.member.id in self._cancels
            or self._board.has_candidate(visit.member)
            or any(q in self._board.ready and q in visit.member.pairs for q in freed)
        )

    # -- the transaction ---------------------------------------------------------------------------

    async def _fly(self, visits: list[Visit], arrivals: Sequence[Arrival] = ()) -> Landed:
        since = self._board.now()
        for visit in visits:
            visit.committed = False
        claiming = [visit for visit in visits if visit.claims and not visit.future.done()]
        handing_in = [visit for visit in visits if not visit.handed_in and visit.request.results]
        results = [result for visit in handing_in for result in visit.request.results]
        parties = self._parties(claiming, _may_be_freed(handing_in))
        parents = {parent for visit in handing_in for parent in visit.parents.values()}
        if due := self.bloat.due(queue_id for party in parties for queue_id in party.served):
            await self._database.again(lambda: self._renew(due))
            self.bloat.renewed(due)
        stored, read = await self._database.again(lambda: self._run(claiming, results, parties, arrivals, parents))
        for visit in visits:
            visit.committed = True
        for arrival, rows in zip(arrivals, stored, strict=True):
            if not arrival.future.done():
                arrival.future.set_result(rows)
        return Landed(visits, claiming, handing_in, parties, read, since)

    async def _renew(self, queues: list[int]) -> None:
        """Waits for what is handed in elsewhere; holds no result meanwhile, or two would wait for each other."""
        flight = Flight()
        statements.lock(flight, queues)
        statements.renew(flight, {queue_id: self._board.served[queue_id] for queue_id in queues})
        await self._database.fly(flight)

    async def _tell(self, landed: Landed) -> None:
        """What became of the transaction, to the board, the engine and whoever asked."""
        outcome, parties = landed.read(), landed.parties
        await self._answer_results(landed.handing_in, outcome)
        self._note_claims(landed.claiming, outcome)
        filled: set[int] = set()
        unlimited: set[int] = set()  # as the claim saw it, under the lock
        left: set[int] = set()
        for party, share in zip(parties, outcome.shares, strict=True):
            hints = self._settle(party, share, outcome, landed.since)
            filled |= hints.filled
            unlimited |= outcome.unlimited & share.room.keys()
            left |= hints.left
        claims = [row for share in outcome.shares for own in share.rows for row in own]
        claimed_on = {row[1] for row in claims}
        self._on_commit(Commit(outcome.ended, claimed_on, len(claims), filled, unlimited, left & unlimited))
        if outcome.woken:
            self._on_woken({(row[1], row[2]) for row in outcome.woken})
        for party, share in zip(parties, outcome.shares, strict=True):
            await self._answer_claims(party.visits, share, outcome)
        for visit in landed.visits:
            if not visit.claims:
                visit.reply([], cancel=await self._cancel_list(visit.member.id))

    def _parties(self, claiming: list[Visit], freed: set[int]) -> list[Party]:
        """One statement for several workers of the same kind costs what it costs for one; those that find the same
        queues in turn share them evenly."""
        parties: dict[object, Party] = {}
        for visit in claiming:
            served = {q: list(visit.member.pairs[q]) for q in self._candidates(visit, freed)}
            kind = frozenset((q, *sorted(workflows)) for q, workflows in served.items())
            parties.setdefault(kind, Party([], served)).visits.append(visit)
        return list(parties.values())

    def _candidates(self, visit: Visit, freed: set[int]) -> list[int]:
        """Queues to try: those hinted at, and those that this very transaction may free a slot of."""
        tries = self._board.candidates(visit.member, visit.request.capacity)
        tried, pairs, ready = set(tries), visit.member.pairs, self._board.ready
        # Not `freed.intersection(pairs, ready)`, which looks at each of 10,000 pairs.
        with_work = (q for q in freed if q in pairs and q in ready and q not in tried)
        return tries + list(islice(with_work, MOST_CANDIDATES))

    async def _run(
        self,
        claiming: list[Visit],
        results: list[Finished],
        parties: list[Party],
        arrivals: Sequence[Arrival],
        parents: set[UUID],
    ) -> tuple[list[list[Row]], Callable[[], Outcome]]:
        """The rows that each arrival stored, and what reads the rest of the answers."""
        flight = Flight()
        queues = sorted({queue_id for party in parties for queue_id in party.served})
        begun = statements.begin(flight, [v.taker for v in claiming], lease=self._lease) if claiming else None
        ended = statements.finish(flight, results) if results else None
        woken = statements.wake_parents(flight, parents) if parents else None
        stored = [arrival.add(flight) for arrival in arrivals]
        locked = statements.lock(flight, queues) if queues else None
        claims = [
            statements.claim(flight, [v.taker for v in party.visits], party.served, from_floors=self.bloat.is_high)
            if party.served
            else None
            for party in parties
        ]
        answers = await self._database.fly(flight)

        def rows(number: int | None) -> list[Row]:
            return [] if number is None else answers[number]

        def read() -> Outcome:
            limited, unlimited = _locked(rows(locked))
            return Outcome(
                begun={row[0]: (row[1], row[2], row[3]) for row in rows(begun)},
                ended=[Ended(*row) for row in rows(ended)],
                locked=limited | unlimited,
                unlimited=unlimited,
                shares=[
                    shares(rows(number), len(party.visits)) for number, party in zip(claims, parties, strict=True)
                ],
                woken=rows(woken),
            )

        return [answers[number] for number in stored], read

    # -- answers -----------------------------------------------------------------------------------

    async def _answer_results(self, handing_in: list[Visit], outcome: Outcome) -> None:
        for visit in handing_in:
            visit.handed_in = True
        if len(outcome.ended) == sum(len(visit.request.results) for visit in handing_in):
            return  # all were taken
        taken = {ended.id for ended in outcome.ended}
        missing = [r for visit in handing_in for r in visit.request.results if r.id not in taken]
        if missing:
            taken |= await self._repeated(missing)
        for visit in handing_in:
            stale = [result.id for result in visit.request.results if result.id not in taken]
            visit.refused += [Refused(id=id, reason="stale", detail=STALE) for id in stale]
            self._on_stale(len(stale))

    async def _repeated(self, results: list[Finished]) -> set[UUID]:
        async with self._database.connection() as conn:
            values = statements.claims_that_end(results)
            cursor = await conn.execute(statement("finish_known"), values)
            return {row[0] for row in await cursor.fetchall()}

    def _note_claims(self, claiming: list[Visit], outcome: Outcome) -> None:
        for visit in claiming:
            before = outcome.begun.get(visit.member.id)
            if before is None:
                continue
            seq, token, visit.member.generation = before
            if visit.begun:
                continue
            visit.begun = True
            if token is not None and visit.request.received < seq < visit.request.seq:
                self._on_unheard(visit.member.id, token)  # the worker gave up on that reply

    def _settle(self, party: Party, share: Share, outcome: Outcome, since: int) -> Settled:
        """Hints that proved wrong are taken back; a queue that somebody else held is waited for."""
        begun = [visit for visit in party.visits if visit.member.id in outcome.begun]
        if not begun:
            return Settled(set(), set())
        for queue_id in party.served:
            if queue_id not in outcome.locked:
                self._claim_skipped_soon(queue_id)
        return self._settle_hints(begun, share, since)

    def _settle_hints(self, begun: list[Visit], share: Share, since: int) -> Settled:
        picked = Counter(row[1] for own in share.rows for row in own)
        capacity, total = sum(visit.request.capacity for visit in begun), picked.total()
        self._board.note_found(len(share.room), sum(share.found.values()))
        if len(share.room) > 1:
            for visit in begun:
                self._board.had_turn(visit.member, picked)
        settled = Settled(set(), set())
        for queue_id, room in share.room.items():
            given = picked[queue_id]
            workflows = begun[0].member.pairs.get(queue_id, ())
            if given >= room and room < capacity:
                settled.filled.add(queue_id)
            self.bloat.claimed(queue_id, given)
            # None given: all were dealt before, or it was changed while it was picked.
            found = share.found.get(queue_id, int(queue_id in share.missed))
            more = found > given or (not given and total >= capacity)
            # Of each workflow a claim locks as many as there is room for.
            if found > given or (0 < room <= found and len(workflows) > 1):
                settled.left.add(queue_id)
            empty = given < room and not more
            self._board.settle(
                queue_id,
                since=since,
                full=queue_id in settled.filled,
                empty_for=workflows if empty else (),
            )
        return settled

    async def _answer_claims(self, visits: list[Visit], share: Share, outcome: Outcome) -> None:
        for visit, own in zip(visits, share.rows, strict=True):
            if visit.member.id not in outcome.begun:
                await self._repeat(visit)
                continue
            executions = self._given(visit, own)
            if share.timed:
                executions = await self._with_deadlines(executions)
            cancel = await self._cancel_list(visit.member.id)
            if executions or cancel or visit.refused or visit.request.results:
                self._leave(visit)
                visit.reply(executions, cancel=cancel)
            else:
                self._wait_in_hall(visit)

    def _given(self, visit: Visit, rows: Sequence[Row]) -> list[Claimed]:
        held = visit.member.held
        if len(held) > MOST_HELD:  # handed in elsewhere, or taken back
            held.clear()
            visit.member.parents.clear()
        held.update((row[0], row[1]) for row in rows)
        if children := [(row[0], row[8]) for row in rows if row[8] is not None]:
            visit.member.parents.update(children)
        return [claimed(row, self._queue_name(row[1])) for row in rows]

    async def _with_deadlines(self, executions: list[Claimed]) -> list[Claimed]:
        async with self._database.connection() as conn:
            values = {"ids": uuids(each.id for each in executions)}
            at = dict(await (await conn.execute(statement("deadlines_of"), values)).fetchall())
        return [
            msgspec.structs.replace(each, deadline=at[each.id]) if each.id in at else each for each in executions
        ]

    def _leave(self, visit: Visit) -> None:
        if self._hall.get(visit.place) is visit:
            del self._hall[visit.place]

    def _wait_in_hall(self, visit: Visit) -> None:
        left = visit.deadline - time.monotonic()
        if left <= 0.001 or self.closing or visit.future.done() or self._newest.get(visit.place) is not visit:
            self._leave(visit)
            visit.reply([])
        elif self._hall.get(visit.place) is not visit:
            self._send_home(visit.place)
            self._hall[visit.place] = visit
            asyncio.get_running_loop().call_later(left, self._time_over, visit)

    def _time_over(self, visit: Visit) -> None:
        """Unless a transaction has it, or it has left to go into the next one (`_repeat`): that answers it."""
        if not visit.busy and self._hall.get(visit.place) is visit:
            self._leave(visit)
            visit.reply([])

    async def _cancel_list(self, worker_id: UUID) -> list[UUID]:
        if worker_id not in self._cancels:
            return []
        self._cancels.discard(worker_id)
        async with self._database.connection() as conn:
            cursor = await conn.execute(statement("cancel_requests"), {"workers": uuids([worker_id])})
            return [row[1] for row in await cursor.fetchall()]

    # -- a repeated exchange, a worker that is gone ------------------------------------------------

    async def _repeat(self, visit: Visit) -> None:
        """The worker's row did not take the claim: gone, draining, or changed just then, or this is a repeat of an
        answered one."""
        self._leave(visit)
        worker = {"worker": visit.member.id}
        async with self._database.connection() as conn, conn.transaction():
            row = await (await conn.execute(statement("lock_worker"), worker)).fetchone()
            if row is None or row[0] not in ("alive", "draining") or not row[1]:
                return visit.fail(WorkerGone(visit.member.id))
            if row[0] == "draining":
                return visit.reply([], drain=True)
            lane = visit.request.lane
            seq, token = row[2][lane], row[3][lane]
            if seq < visit.request.seq:  # something else of the worker was written while this waited for the row
                visit.member.generation = 0  # or the row is another one, of a worker that is here again
                self._line.append(visit)
                return None
            if seq > visit.request.seq:
                return visit.reply([])
            cursor = await conn.execute(statement("claimed_before"), worker | {"token": token})
            rows = await cursor.fetchall()
            await conn.execute(
                statement("take_over_claim"),
                worker
                | {"token": token if rows else visit.token, "seq": seq, "old": token, "lease": self._lease}
                | {"lane": lane + 1},
            )
        if rows:
            visit.token = token
            return visit.reply(await self._with_deadlines(self._given(visit, rows)))
        visit.begun = True
        self._line.append(visit)  # goes on as a new one; the loop that called us serves it next
        return None

    # -- a queue that somebody else held -----------------------------------------------------------

    def _claim_skipped_soon(self, queue_id: int) -> None:
        if queue_id not in self._skipped:
            self._board.busy.add(queue_id)
            task = asyncio.create_task(self._claim_skipped(queue_id))
            self._skipped[queue_id] = task
            task.add_done_callback(lambda _: self._skipped_is_over(queue_id))

    def _skipped_is_over(self, queue_id: int) -> None:
        del self._skipped[queue_id]
        self._board.busy.discard(queue_id)
        self.look_again()

    async def _claim_skipped(self, queue_id: int) -> None:
        """Waits for the queue's lock as long as a worker waits for work on it, then claims for that worker."""
        while (visit := self._waiting_for(queue_id)) is not None:
            visit.busy = True  # nobody else may claim for it meanwhile
            try:
                await self._claim_waiting(visit, queue_id)
                return
            except RETRYABLE:
                continue
            except EngineUnavailable as error:  # it may be committed: the worker must repeat it
                self._leave(visit)
                visit.fail(error)
                return
            finally:
                visit.busy = False
                if not visit.future.done():
                    self._wait_in_hall(visit)

    def _waiting_for(self, queue_id: int) -> Visit | None:
        workflows = self._board.ready.get(queue_id)
        if not workflows or queue_id in self._board.full:
            return None
        for visit in self._hall.values():
            if (
                not visit.busy
                and not visit.future.done()
                and any(w in workflows for w in visit.member.pairs.get(queue_id, ()))
            ):
                return visit
        return None

    async def _claim_waiting(self, visit: Visit, queue_id: int) -> None:
        since = self._board.now()
        flight = Flight()
        begun = statements.begin(flight, [visit.taker], lease=self._lease)
        statements.lock_waiting(flight, queue_id, patience=SKIPPED_PATIENCE)
        served = {queue_id: visit.member.pairs[queue_id]}
        number = statements.claim(flight, [visit.taker], served, from_floors=self.bloat.is_high)
        answers = await self._database.fly(flight)
        if not answers[begun]:  # gone meanwhile: its next exchange or heartbeat learns it; or changed: tried again
            return
        share = shares(answers[number], 1)
        if not share.room:  # the limit is being changed right now: whoever does it says so afterwards
            self._board.settle(queue_id, since=since, empty_for=visit.member.pairs[queue_id])
        settled = self._settle_hints([visit], share, since)
        executions = self._given(visit, share.rows[0])
        if executions and share.timed:
            executions = await self._with_deadlines(executions)
        if executions:
            self._on_commit(Commit([], {queue_id}, len(executions), left=settled.left))
            self._leave(visit)
            visit.reply(executions)


STALE = "This claim is over: the execution was taken back or finished. Drop the result."


def _let_go(visits: Iterable[Visit]) -> None:
    for visit in visits:
        visit.busy = False


def _may_be_freed(visits: Iterable[Visit]) -> set[int]:
    return {
        queue_id for visit in visits if not visit.handed_in for queue_id in visit.queues if queue_id is not None
    }


def _locked(rows: list[Row]) -> tuple[set[int], set[int]]:
    """Of `lock_queues`: the limited queues and the unlimited ones."""
    if not rows:
        return set(), set()
    limited, unlimited = ({int(item) for item in column[1:-1].split(",") if item} for column in rows[0])
    return limited, unlimited
