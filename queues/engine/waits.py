"""waits: who sleeps until a time, another execution, an event or a person, and who wakes them.

No wake-up is lost, whichever comes first: an execution that begins to wait commits that, and then looks whether it
is over already; whoever ends a wait commits that (a final status, an event, an answer), and then looks who waits
for it. Whoever looks second sees both. What a server that died left in between is found by the duty (`repair`),
which walks through all that wait.

A look is one transaction: lock the executions (`lock_waiting`), end their waits (`settle_waits`), queue those that
have one that is over (`wake`). What nobody waits for costs nothing but the parent in the rows of `finish`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from ..requests import ErrorInfo, Waited
from .arrays import uuids
from .cycles import Edge, cycle
from .database import Connection, Database, Row
from .errors import EngineUnavailable
from .flight import Flight
from .locks import Lock, take_lock
from .statements import statement

MOST_LOOKED = 1_000  # executions in one look
MOST_REPAIRED = 2_000

log = logging.getLogger(__name__)

Pair = tuple[int, str]  # queue id, workflow
NOWHERE = (0, UUID(int=0))


def _portions(ids: Iterable[UUID]) -> Iterator[list[UUID]]:
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), MOST_LOOKED):
        yield ordered[start : start + MOST_LOOKED]


async def load_waits(conn: Connection, ids: Iterable[UUID]) -> dict[UUID, Resumed]:
    """What executions that go on after a wait are told, by their id."""
    cursor = await conn.execute(statement("claimed_waits"), {"ids": uuids(ids)})
    found: dict[UUID, Resumed] = {}
    async for id, resumes, key, kind, timed_out, over_at, answer in cursor:
        resumed = found.setdefault(id, Resumed(resumes, {}))
        if key is not None:
            resumed.waits[key] = Waited(kind=kind, timed_out=timed_out, answer=Raw(answer.encode()), at=over_at)
    return found


class Resumed(NamedTuple):
    resumes: int  # claims that went on after a wait: no tries
    waits: dict[str, Waited]  # those that are over, by key


class Waits:
    """Wakes who waits, after the commits of others. One per server process."""

    def __init__(
        self,
        database: Database,
        *,
        on_woken: Callable[[set[Pair]], None],
        on_failed: Callable[[Sequence[Row]], None],
    ) -> None:
        self._database = database
        self._on_woken = on_woken
        self._on_failed = on_failed
        self.strangers = False  # whether some wait is for an execution that is not a child
        self._begun: set[UUID] = set()
        self._owners: set[UUID] = set()
        self._final: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None
        self._repaired: tuple[int, UUID] = NOWHERE
        self._repair_from = 0.0  # monotonic

    # -- what others have committed ----------------------------------------------------------------

    def begun(self, ids: Iterable[UUID]) -> None:
        """These wait from now on; what they wait for may be there already."""
        self._begun.update(ids)
        self._start()

    def ended(self, ids: Iterable[UUID], parents: Iterable[UUID]) -> None:
        """These are final; whoever waits for them is their parent, or a stranger."""
        self._owners.update(parents)
        if self.strangers:
            self._final.update(ids)
        self._start()

    def _start(self) -> None:
        if (self._begun or self._owners or self._final) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._drain())

    async def idle(self) -> None:
        """Returns when nothing is left to look at."""
        while self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    async def stop(self) -> None:
        """Lets a look that is under way finish; what it would have woken otherwise is left to the duty."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.idle()

    async def _drain(self) -> None:
        while self._begun or self._owners or self._final:
            begun, owners, final = self._begun, self._owners, self._final
            self._begun, self._owners, self._final = set(), set(), set()
            try:
                if final:
                    owners |= await self._waiting_for(final)
                if begun:
                    await self._note_strangers(begun)
                await self.look(begun | owners)
                if begun:
                    await self._fail_cycles(begun)
            except EngineUnavailable:
                log.warning("executions that may go on are left to the next look of the duty")
            except Exception:
                log.exception("a look at who may go on failed; the duty repeats it")

    # -- one look ----------------------------------------------------------------------------------

    async def look(self, owners: Iterable[UUID]) -> int:
        """Ends what is over of the waits of these executions, and wakes them; returns how many were woken."""
        woken = 0
        for ids in _portions(owners):
            rows = await self._database.again(lambda ids=ids: self._look(ids))  # type: ignore[misc]
            woken += len(rows)
            if rows:
                self._on_woken({(row[1], row[2]) for row in rows})
        return woken

    async def _look(self, ids: list[UUID]) -> list[Row]:
        flight = Flight()
        values = {"ids": uuids(ids)}
        flight.add(statement("lock_waiting"), values)
        flight.add(statement("settle_waits"), values)
        number = flight.add(statement("wake"), values)
        return (await self._database.fly(flight))[number]

    async def published(self, topic: str) -> None:
        """An event is committed. Who publishes does not wait until thousands are woken."""
        owners = [row[0] for row in await self._read("waits_on_topic", {"topic": topic})]
        await self.look(owners[:MOST_LOOKED])
        self._owners.update(owners[MOST_LOOKED:])
        self._start()

    async def _waiting_for(self, final: Iterable[UUID]) -> set[UUID]:
        return {row[0] for row in await self._read_of("waits_on_strangers", final)}

    async def _note_strangers(self, begun: Iterable[UUID]) -> None:
        if any(row[0] for row in await self._read_of("note_strangers", begun)):
            self.strangers = True

    async def _read_of(self, name: str, ids: Iterable[UUID]) -> list[Row]:
        rows: list[Row] = []
        for some in _portions(ids):
            rows += await self._database.again(lambda ids=some: self._read(name, {"ids": uuids(ids)}))  # type: ignore[misc]
        return rows

    async def _read(self, name: str, values: dict[str, object]) -> list[Row]:
        async with self._database.connection() as conn:
            return await (await conn.execute(statement(name), values)).fetchall()

    # -- waits that can never end ------------------------------------------------------------------

    async def _fail_cycles(self, begun: set[UUID]) -> None:
        for row in await self._read_of("wait_cycles", begun):
            self._on_failed(await self._database.again(lambda id=row[0]: self._fail_if_cycle(id)))  # type: ignore[misc]

    async def _fail_if_cycle(self, execution_id: UUID) -> list[Row]:
        async with self._database.connection() as conn, conn.transaction():
            await take_lock(conn, Lock.CIRCLES)
            cursor = await conn.execute(statement("wait_graph"), {"id": execution_id})
            path = cycle(execution_id, [Edge(*row) for row in await cursor.fetchall()])
            if not path:
                return []
            error = ErrorInfo(
                type="WaitCycle",
                message=f"This execution waits for itself: {' → '.join(path)}. None of them could ever go on. "
                "Wait for one of them elsewhere, or with a time-out.",
            )
            values = {"id": execution_id, "error": msgspec.json.encode(error).decode()}
            return await (await conn.execute(statement("fail_waiting"), values)).fetchall()

    # -- the duty ----------------------------------------------------------------------------------

    async def tick(self, due: Iterable[UUID]) -> None:
        """Wakes those whose time has come, and some of those that nobody woke: in a round, all of them."""
        await self.look(due)
        if time.monotonic() >= self._repair_from:
            await self.repair()

    async def repair(self) -> int:
        """Looks at the next of all that wait, for a fiftieth of the time at most; returns how many."""
        began = time.monotonic()
        queue_id, last = self._repaired
        rows = await self._read("waiting_after", {"queue": queue_id, "id": last, "most": MOST_REPAIRED})
        self._repaired = rows[-1] if len(rows) == MOST_REPAIRED else NOWHERE
        if rows:
            ids = {row[1] for row in rows}
            await self._note_strangers(ids)
            if woken := await self.look(ids):
                log.info("%d executions went on that nobody had woken", woken)
            await self._fail_cycles(ids)
        now = time.monotonic()
        self._repair_from = now + max(1.0, 50 * (now - began))
        return len(rows)
