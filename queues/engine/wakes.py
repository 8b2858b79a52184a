"""Wake-ups between server processes: NOTIFY as a hint, debounced, on a connection of its own.

Commits that notify serialise on one lock of the whole instance, so nothing is notified inside the hot
transactions. Rare acts of operators (limits, pauses, cancels, retries) notify in their own transaction.
Payloads: `queues:<server>:<ids>`, `hello:<server>`, `limits:<queue id>`, `cancel:<worker id>`,
`pairs:<worker id>`, `drains:`. While servers are replaced, those of the version before read and send them, too.

A server that is alone tells nobody of queues: with one enqueue after the other, a tenth of its time went into
hints that nobody heard. It gathers them and asks once a second who listens. Whoever comes connects, listens,
greets, and then looks for itself, so that
- its own look finds what was committed before a question that did not find it;
- it is told what was gathered after that as soon as it has greeted;
- a server that cannot hear a greeting, because its own listener is down, does not take itself for alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable
from uuid import UUID
from weakref import WeakSet

import psycopg

from .arrays import numbers
from .database import Connection, Database
from .errors import EngineUnavailable
from .flight import Flight
from .statements import statement

CHANNEL = "polos_wake"
DEBOUNCE = 0.02  # seconds: how long a hint to other servers may wait for company
CALM = 0.1  # and one that only their pages need: under a limit every claim has one
STEADY = 0.25  # between two of those: a page looks no more often
KNOWN = 1.0  # seconds for which the answer to who listens is taken for true
MOST_IDS = 500  # ids in one payload; 8,000 bytes are allowed

log = logging.getLogger(__name__)


class Wakes:
    """Sends and receives the hints of one server process."""

    def __init__(
        self,
        database: Database,
        *,
        on_queues: Callable[[list[int]], None],
        on_cancel: Callable[[UUID], None],
        on_pairs: Callable[[UUID], None],
        on_drains: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.server = f"{os.getpid():x}-{secrets.token_hex(4)}"
        self._database = database
        self._on_queues = on_queues
        self._on_cancel = on_cancel
        self._on_pairs = on_pairs
        self._on_drains = on_drains
        self._on_lost = on_lost
        self._touched: set[int] = set()
        self._hurry = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._sent = 0.0  # monotonic: when nothing was left to send
        self._tellers: WeakSet[Connection] = WeakSet()  # that told of pairs
        self._listener: int | None = None  # the backend that hears for us
        self._greeters: set[int] = set()  # those that have greeted us: a pooler may hide the name of some
        self._alone = False
        self._known_until = 0.0  # monotonic
        self._company = asyncio.Event()  # somebody was heard, or might not have been

    def tell_others(self, queue_ids: set[int]) -> None:
        """Other servers learn soon that something changed on these queues: they may find work or room there."""
        if queue_ids:
            self._hurry.set()
            self.tell_others_later(queue_ids)

    def tell_others_later(self, queue_ids: set[int]) -> None:
        """There is nothing for them to find, only to show."""
        self._touched |= queue_ids
        if self._touched and (self._sender is None or self._sender.done()):
            self._sender = asyncio.create_task(self._send())

    async def tell_pairs(self, conn: Connection, workers: Iterable[UUID]) -> None:
        """Whoever knows these workers learns that they serve more."""
        self._tellers.add(conn)
        for worker_id in workers:
            await conn.execute(statement("tell"), {"payload": f"pairs:{worker_id}"})

    async def _send(self) -> None:
        while self._touched:
            await self._gather()
            if time.monotonic() >= self._known_until:
                await self._ask_who_listens()
            if not self._alone:
                await self._say()

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            if self._alone:
                async with asyncio.timeout(self._known_until - time.monotonic()):
                    await self._company.wait()
            else:
                async with asyncio.timeout(max(CALM, self._sent + STEADY - time.monotonic())):
                    await self._hurry.wait()
                    await asyncio.sleep(DEBOUNCE)

    async def _ask_who_listens(self) -> None:
        """Who is alone forgets what was committed before the question."""
        before, self._touched, greeters = self._touched, set(), set(self._greeters)
        self._alone = False
        self._company.clear()
        try:
            if self._listener is not None:
                flight = Flight()
                number = flight.add(statement("listeners"), {"greeters": numbers(greeters)})
                found = {row[0] for row in (await self._database.fly(flight))[number]}
                self._greeters -= greeters - found
                self._alone = found == {self._listener} and not self._company.is_set()
        except (EngineUnavailable, psycopg.Error) as error:
            log.debug("who listens is not known: %s", error)
        finally:
            self._known_until = time.monotonic() + KNOWN
            if not self._alone:
                self._touched |= before

    async def _say(self) -> None:
        ids = [self._touched.pop() for _ in range(min(MOST_IDS, len(self._touched)))]
        if not self._touched:
            self._hurry.clear()
            self._sent = time.monotonic()
        payload = f"queues:{self.server}:{','.join(map(str, ids))}"
        with contextlib.suppress(EngineUnavailable):  # a lost hint: the poll finds it
            flight = Flight()
            flight.add(statement("tell"), {"payload": payload})
            await self._database.fly(flight)

    def _expect_others(self) -> None:
        self._alone = False
        self._company.set()

    async def stop(self) -> None:
        """Lets the last hints go. Who is alone has none."""
        if self._sender is not None and not self._sender.done():
            if not self._alone:
                self._hurry.set()
                await asyncio.wait((self._sender,), timeout=1)
            self._sender.cancel()

    async def listen(self) -> None:
        """Receives hints until cancelled; after every (re)connect the poll has to look for itself."""
        delay = 0.1
        while True:
            try:
                async with self._database.listen(CHANNEL) as conn:
                    delay = 0.1
                    await conn.execute(statement("tell"), {"payload": f"hello:{self.server}"})
                    self._listener = conn.info.backend_pid
                    self._on_lost()
                    async for notification in conn.notifies():
                        self._receive(notification.payload, notification.pid)
            except (psycopg.Error, OSError) as error:
                log.warning("wake-ups are interrupted, polling until they are back: %s", error)
                self._expect_others()
            finally:
                self._listener = None
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    def _is_own(self, pid: int) -> bool:
        """Whether this process said it: as long as a connection is open, nobody else's has its number."""
        return any(not conn.closed and conn.info.backend_pid == pid for conn in self._tellers)

    def _receive(self, payload: str, pid: int) -> None:
        kind, _, rest = payload.partition(":")
        try:
            if kind == "queues":
                server, _, ids = rest.partition(":")
                if server != self.server:
                    self._expect_others()
                    self._on_queues([int(item) for item in ids.split(",")])
            elif kind == "hello":
                if rest != self.server:
                    self._greeters.add(pid)
                    self._expect_others()
            elif kind == "limits":
                self._on_queues([int(rest)])
            elif kind == "drains":
                self._on_drains()
            elif kind == "cancel":
                self._on_cancel(UUID(rest))
            elif kind == "pairs" and not self._is_own(pid):
                self._on_pairs(UUID(rest))
        except ValueError:
            log.warning("a wake-up that makes no sense was ignored: %.100s", payload)
