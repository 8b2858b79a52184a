"""One flight: the statements of a transaction are sent together, run one after the other, and commit once.

Each statement has a snapshot of its own, which is what «lock in one statement, look in the next» needs. PostgreSQL
begins a transaction with the first statement and commits at the end of the flight; a statement that fails undoes
all of it and the rest is skipped.

This is psycopg's pipeline mode, driven directly: an exchange of five executions, its four statements and all,
costs 0.16 ms of Python, and 0.46 with the general form and its pool.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, errors, pq
from psycopg.abc import Transformer as Reader
from psycopg.adapt import Transformer

Row = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_TEXT, _BINARY = int(pq.Format.TEXT), int(pq.Format.BINARY)
_FINE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
_names = count(1)

# What is prepared on a connection, however often it goes back to the pool and flies again.
_prepared: WeakKeyDictionary[AsyncConnection[Row], set[bytes]] = WeakKeyDictionary()


class Plan(NamedTuple):
    name: bytes
    text: bytes  # with $1, $2, …
    parameters: tuple[str, ...]


@cache
def _plan(text: str) -> Plan:
    parameters = tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))
    numbered = _PLACEHOLDER.sub(lambda found: f"${parameters.index(found[1]) + 1}", text)
    return Plan(f"polos_{next(_names)}".encode(), numbered.encode(), parameters)


class Flight:
    """`add` the statements; the answer of each is found at the number that `add` returned."""

    def __init__(self) -> None:
        self.statements: list[tuple[Plan, list[bytes | None], list[int]]] = []

    def add(self, text: str, values: Mapping[str, object]) -> int:
        """A statement with named parameters, whose types its own casts tell. Bytes are in that type's binary
        format, all else is text."""
        plan = _plan(text)
        given = [values[name] for name in plan.parameters]
        formats = [_BINARY if isinstance(value, bytes) else _TEXT for value in given]
        self.statements.append((plan, [_encoded(value) for value in given], formats))
        return len(self.statements) - 1


def _encoded(value: object) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()


class Answers:
    """The rows of each statement, read when they are asked for: the next flight need not wait for that."""

    def __init__(self, results: list[Any], reader: Reader) -> None:
        self._results = results
        self._reader = reader

    def __getitem__(self, number: int) -> list[Row]:
        result = self._results[number]
        self._reader.set_pgresult(result)
        return self._reader.load_rows(0, result.ntuples, tuple)


class Line:
    """A connection that does nothing but flights, one at a time: it knows what is prepared on it, and stays
    registered with the event loop, which costs more than a flight otherwise."""

    def __init__(self, conn: AsyncConnection[Row]) -> None:
        self.conn = conn
        self._pgconn = conn.pgconn
        self._prepared = _prepared.setdefault(conn, set())
        self._reader: Reader = Transformer.from_context(conn)
        self._waiter: asyncio.Future[None] | None = None
        self._registered: int | None = None  # the socket's number: a lost connection does not tell it any more
        self._unexpected = 0  # wake-ups in a row that nobody waited for

    async def fly(self, flight: Flight) -> Answers:
        """The rows of each statement, after the commit. Raises what psycopg would; then nothing was done, unless
        the connection was lost, when nobody knows."""
        try:
            self._pgconn.enter_pipeline_mode()
            order = self._send(flight)
            results = await self._arrive()
            self._pgconn.exit_pipeline_mode()
        except BaseException:
            await self.close()  # in the middle of a conversation that nobody will end
            raise
        return self._read(order, results)

    def release(self) -> AsyncConnection[Row]:
        """The connection, for anything else again."""
        if self._registered is not None:
            socket, self._registered = self._registered, None
            asyncio.get_running_loop().remove_reader(socket)
        return self.conn

    async def close(self) -> None:
        conn = self.release()
        if not conn.closed:
            await conn.close()

    def _send(self, flight: Flight) -> list[bytes | None]:
        """What will come back: the name of a statement that is prepared, None for one that runs."""
        order: list[bytes | None] = []
        for plan, values, formats in flight.statements:
            if plan.name not in self._prepared and plan.name not in order:
                self._pgconn.send_prepare(plan.name, plan.text)
                order.append(plan.name)
            self._pgconn.send_query_prepared(plan.name, values, formats, _BINARY)
            order.append(None)
        self._pgconn.pipeline_sync()
        return order

    async def _arrive(self) -> list[Any]:
        """All results of the flight, up to its end."""
        pgconn = self._pgconn
        results: list[Any] = []
        while True:
            unsent = pgconn.flush()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # the end of one statement
                    if pgconn.status == pq.ConnStatus.BAD:
                        raise errors.OperationalError(pgconn.get_error_message())
                elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                else:
                    results.append(result)
            await self._wait(writing=bool(unsent))
            pgconn.consume_input()

    async def _wait(self, *, writing: bool) -> None:
        loop, socket = asyncio.get_running_loop(), self._pgconn.socket
        self._waiter = loop.create_future()
        self._unexpected = 0
        if self._registered is None:
            loop.add_reader(socket, self._wake)
            self._registered = socket
        if writing:
            loop.add_writer(socket, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if writing:
                loop.remove_writer(socket)

    def _wake(self) -> None:
        if self._waiter is None:
            self._unexpected += 1  # the first is a late word of what the last flight has read already
            if self._unexpected > 1:  # the server says something of its own: the next flight learns it
                self.release()
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def _read(self, order: list[bytes | None], results: list[Any]) -> Answers:
        failed = next((each for each in results if each.status == pq.ExecStatus.FATAL_ERROR), None)
        answers: list[Any] = []
        for name, result in zip(order, results, strict=False):
            if result.status not in _FINE:
                break
            if name is not None:
                self._prepared.add(name)
            else:
                answers.append(result)
        if failed is not None:
            raise errors.error_from_result(failed)
        return Answers(answers, self._reader)
