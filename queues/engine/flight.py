"""One flight: the statements of a transaction are sent together, run one after the other, and commit once.

Each statement has a snapshot of its own, which is what «lock in one statement, look in the next» needs. PostgreSQL
begins a transaction with the first statement and commits at the end of the flight; a statement that fails undoes
all of it and the rest is skipped.

This is psycopg's pipeline mode, driven directly: its general form costs 60 µs of Python per statement, this 10,
and a hot transaction has four.
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
from psycopg.adapt import Transformer

Row = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_FINE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)

_names = count(1)
_prepared: WeakKeyDictionary[AsyncConnection[Row], set[bytes]] = WeakKeyDictionary()


class _Plan(NamedTuple):
    name: bytes
    text: bytes  # with $1, $2, …
    parameters: tuple[str, ...]


@cache
def _plan(text: str) -> _Plan:
    parameters = tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))
    numbered = _PLACEHOLDER.sub(lambda found: f"${parameters.index(found[1]) + 1}", text)
    return _Plan(f"polos_{next(_names)}".encode(), numbered.encode(), parameters)


class Flight:
    """`add` the statements, then `fly` once; the answer of each is found at the number that `add` returned."""

    def __init__(self) -> None:
        self._statements: list[tuple[_Plan, list[bytes | None]]] = []

    def add(self, text: str, values: Mapping[str, object]) -> int:
        """A statement with named parameters, whose types its own casts tell."""
        plan = _plan(text)
        self._statements.append((plan, [_encoded(values[name]) for name in plan.parameters]))
        return len(self._statements) - 1

    async def fly(self, conn: AsyncConnection[Row]) -> list[list[Row]]:
        """The rows of each statement, after the commit. Raises what psycopg would; then nothing was done, unless
        the connection was lost, when nobody knows."""
        pgconn = conn.pgconn
        known = _prepared.setdefault(conn, set())
        try:
            pgconn.enter_pipeline_mode()
            new = self._send(pgconn, known)
            results = await _arrive(pgconn)
            pgconn.exit_pipeline_mode()
        except BaseException:
            await conn.close()  # in the middle of a conversation that nobody will end
            raise
        return self._read(conn, known, new, results)

    def _send(self, pgconn: Any, known: set[bytes]) -> list[bytes | None]:
        """What comes back: the name of a statement that is being prepared, None for one that runs."""
        order: list[bytes | None] = []
        sent = set(known)
        for plan, values in self._statements:
            if plan.name not in sent:
                pgconn.send_prepare(plan.name, plan.text)
                sent.add(plan.name)
                order.append(plan.name)
            pgconn.send_query_prepared(plan.name, values)
            order.append(None)
        pgconn.pipeline_sync()
        return order

    @staticmethod
    def _read(
        conn: AsyncConnection[Row], known: set[bytes], order: list[bytes | None], results: list[Any]
    ) -> list[list[Row]]:
        answers: list[list[Row]] = []
        transformer = Transformer.from_context(conn)
        failed = next((each for each in results if each.status == pq.ExecStatus.FATAL_ERROR), None)
        for name, result in zip(order, results, strict=False):
            if result.status not in _FINE:
                break
            if name is not None:
                known.add(name)
            elif failed is None:
                transformer.set_pgresult(result)
                answers.append(transformer.load_rows(0, result.ntuples, tuple))
        if failed is not None:
            raise errors.error_from_result(failed)
        return answers


def _encoded(value: object) -> bytes | None:
    return None if value is None else str(value).encode()


async def _arrive(pgconn: Any) -> list[Any]:
    """All results of the flight, up to its end."""
    results: list[Any] = []
    while True:
        unsent = pgconn.flush()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == pq.ConnStatus.BAD:
                    raise errors.OperationalError(pgconn.get_error_message())
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)
        await _wait(pgconn.socket, writing=bool(unsent))
        pgconn.consume_input()


async def _wait(socket: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, wake)
    if writing:
        loop.add_writer(socket, wake)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)
