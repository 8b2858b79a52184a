"""heartbeat, release, expire: who still holds what it claimed.

A lease belongs to a worker, not to an execution: one row to renew, whatever runs. Time is the database's clock.
"""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from ..requests import Beat, Heartbeat
from .arrays import numbers, uuids
from .combiner import Combiner
from .database import Connection, Database, Row
from .errors import WorkerGone
from .statements import statement

_Heard = tuple[UUID, int, int]  # a worker, and the last seq that it heard the answer of, on each lane

MOST_LOST = 100  # workers found lost by one sweep


class Leases:
    """Renews leases in groups, and takes back what is held without one."""

    def __init__(self, database: Database, *, lease: float, max_losses: int) -> None:
        self._database = database
        self._lease = lease
        self._max_losses = max_losses
        self._beats: Combiner[_Heard, tuple[bool, list[UUID], list[UUID]]] = Combiner(self._beat_all)

    async def heartbeat(self, worker_id: UUID, request: Heartbeat) -> tuple[Beat, list[UUID]]:
        """The answer, and the tokens of claims that the worker never heard of. Raises `WorkerGone`."""
        drain, unheard, cancel = await self._beats.submit((worker_id, request.received, request.received_beside))
        return Beat(lease_seconds=self._lease, cancel=cancel, drain=drain), unheard

    async def _beat_all(self, beats: list[_Heard]) -> list[tuple[bool, list[UUID], list[UUID]] | Exception]:
        rows, requests = await self._database.again(lambda: self._beat(beats))
        renewed = {row[0]: row for row in rows}
        cancels = defaultdict(list)
        for worker_id, execution_id in requests:
            cancels[worker_id].append(execution_id)
        return [
            (renewed[worker][1], renewed[worker][2], cancels[worker]) if worker in renewed else WorkerGone(worker)
            for worker, _, _ in beats
        ]

    async def _beat(self, beats: list[_Heard]) -> tuple[list[Row], list[Row]]:
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                statement("heartbeat"),
                {
                    "ids": uuids(worker for worker, _, _ in beats),
                    "received": numbers(received for _, received, _ in beats),
                    "received_beside": numbers(beside for _, _, beside in beats),
                    "lease": self._lease,
                },
            )
            rows = await cursor.fetchall()
            cursor = await conn.execute(
                statement("cancel_requests"), {"workers": uuids(worker for worker, _, _ in beats)}
            )
            return rows, await cursor.fetchall()

    async def leave(self, worker_id: UUID) -> list[Row]:
        """A worker leaves in good order; what it still holds goes back to its place."""
        async with self._database.connection() as conn, conn.transaction():
            await conn.execute(statement("leave"), {"worker": worker_id})
            return await self._take_back(conn, [worker_id], outcome="released")

    async def release_unheard(self, worker_id: UUID, token: UUID, *, given_up: bool = False) -> list[Row]:
        """A claim whose reply was lost and never asked for again must not keep its slots.

        `given_up`: the worker has begun another one instead. Else it may have asked for this one again since the
        heartbeat that did not know of it, and run it by now.
        """
        async with self._database.connection() as conn, conn.transaction():
            row = await (await conn.execute(statement("lock_worker"), {"worker": worker_id})).fetchone()
            if not given_up and not self._is_still_unheard(row, token):
                return []
            return await self._take_back(conn, [worker_id], outcome="released", token=token)

    def _is_still_unheard(self, row: Row | None, token: UUID) -> bool:
        if row is None or token not in row[3]:
            return False
        return bool(row[4][row[3].index(token)].total_seconds() >= self._lease)

    async def expire(self) -> tuple[int, list[Row]]:
        """Workers without a lease are lost, and what is held without a live worker goes back to its place.

        Returns how many workers were lost, and (execution, queue, status) of what was taken back.
        """
        async with self._database.connection() as conn, conn.transaction():
            cursor = await conn.execute(statement("lost_workers"), {"most": MOST_LOST})
            lost = [row[0] for row in await cursor.fetchall()]
            # Committed before what they held is looked for: a claim that was in flight has then ended one way or
            # the other, because it held the worker's row.
        async with self._database.connection() as conn, conn.transaction():
            cursor = await conn.execute(statement("orphan_holders"), {"most": MOST_LOST})
            holders = [row[0] for row in await cursor.fetchall()]
            taken = await self._take_back(conn, holders, outcome="lost") if holders else []
        return len(lost), taken

    async def _take_back(
        self, conn: Connection, workers: list[UUID], *, outcome: str, token: UUID | None = None
    ) -> list[Row]:
        cursor = await conn.execute(
            statement("release_held"),
            {"workers": uuids(workers), "outcome": outcome, "token": token, "execution": None}
            | {"max_losses": self._max_losses},
        )
        rows: list[Row] = await cursor.fetchall()
        return rows
