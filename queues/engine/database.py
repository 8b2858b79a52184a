"""The engine's own connections: a bounded pool of psycopg connections, apart from Django's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from .errors import EngineTimeout, EngineUnavailable
from .flight import Answers, Flight, Line
from .flight import Row as Row

R = TypeVar("R")
Connection = AsyncConnection[Row]

# A transaction that met one of these did nothing and may be run again.
RETRYABLE = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation, errors.LockNotAvailable)

# Plans must not depend on statistics that a burst has made stale: every statement of the engine reaches its rows
# through an index, so plans that read whole tables are ruled out, and so is compiling them. For the same reason a
# plan is made once and kept: planning a claim takes as long as running it (a fifth of the drain at limit 5).
SESSION = """
set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;
set plan_cache_mode = force_generic_plan; set default_transaction_isolation = 'read committed';
set statement_timeout = '10s'; set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'
"""

PATIENCE = 3.0  # seconds: how long one waits for a connection


class Database:
    """Opens, lends and closes connections; maps their failures to `EngineUnavailable`."""

    def __init__(self, conninfo: str, *, size: int, patience: float = PATIENCE) -> None:
        self.conninfo = conninfo
        self._lines: list[Line] = []  # not in use right now
        self.most_lines = size // 3
        self._closing = False
        self._half_open: set[asyncio.Future[Connection]] = set()
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            max_waiting=1_000,
            timeout=patience,
            open=False,
            name="polos-engine",
            # A server that vanishes without a word is given up after a while: nobody waits for it for ever.
            kwargs={
                "autocommit": True,
                "application_name": "polos-engine",
                "keepalives_idle": 10,
                "tcp_user_timeout": 15_000,
            },
            configure=_configure,
        )

    async def open(self) -> None:
        await self.pool.open(wait=False)

    async def close(self) -> None:
        self._closing = True
        await self._close_half_open()
        while self._lines:
            await self.pool.putconn(self._lines.pop().release())
        await self.pool.close(timeout=5)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. A lost database surfaces as `EngineUnavailable`."""
        try:
            async with self.pool.connection() as conn:
                yield conn
        except _FAILURES as error:
            if isinstance(error, RETRYABLE):
                raise
            raise _unavailable(error) from error

    async def fly(self, flight: Flight) -> Answers:
        """The answers of one flight. The connections used last are kept for the next: taking one from the pool and
        registering it costs as much as all the rest of a small flight."""
        try:
            line = self._lines.pop() if self._lines else Line(await self.pool.getconn())
            try:
                return await line.fly(flight)
            finally:
                if line.conn.closed or len(self._lines) >= self.most_lines or self._closing:
                    await self.pool.putconn(line.release())
                else:
                    self._lines.append(line)
        except _FAILURES as error:
            if isinstance(error, RETRYABLE):
                raise
            raise _unavailable(error) from error

    async def again(self, work: Callable[[], Awaitable[R]], *, tries: int = 5) -> R:
        """Runs one transaction, again when it lost a race for a lock."""
        for tried in range(1, tries + 1):
            try:
                return await work()
            except RETRYABLE as error:
                if tried == tries:
                    raise EngineUnavailable("The database is too busy right now.") from error
                await asyncio.sleep(0.01 * tried)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Connection]:
        """A connection of its own, outside the pool, that listens; closed however this ends."""
        opening = asyncio.ensure_future(
            AsyncConnection.connect(
                self.conninfo, autocommit=True, application_name="polos-listener", keepalives_idle=10
            )
        )
        try:
            conn = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # psycopg leaves a connection open that is cancelled while it is being made: `close` sees to it.
            self._half_open.add(opening)
            raise
        try:
            await conn.execute(f"listen {channel}".encode())
            yield conn
        finally:
            await conn.close()

    async def _close_half_open(self) -> None:
        if not self._half_open:
            return
        done, late = await asyncio.wait(self._half_open, timeout=PATIENCE)
        for opening in late:
            opening.cancel()
        for opening in done:
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
        self._half_open.clear()


_NO_CONNECTION = (PoolTimeout, TooManyRequests, PoolClosed)
# The last two: a primary that became a standby, and a transaction that was ended because this process stood still.
_FAILURES = (
    *_NO_CONNECTION, psycopg.InterfaceError, psycopg.OperationalError, errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)  # fmt: skip


def _unavailable(error: Exception) -> EngineUnavailable:
    if isinstance(error, _NO_CONNECTION):
        return EngineUnavailable("The server has no free database connection right now.")
    match error:
        case errors.QueryCanceled():
            return EngineTimeout("The database took too long for a statement.")
        case errors.DiskFull():
            return EngineUnavailable("The disk of the database is full.")
        case errors.ReadOnlySqlTransaction():
            return EngineUnavailable("The database takes no changes right now: it is a standby, or read-only.")
        case _:
            return EngineUnavailable()


async def _configure(conn: Connection) -> None:
    await conn.execute(SESSION, prepare=False)
    conn.prepare_threshold = 1
