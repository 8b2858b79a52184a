"""The statements of an exchange, with the values that they take: what one transaction of the desk is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from ..requests import Claimed, Finished
from .arrays import binary_uuids, numbers, raws, texts, uuids
from .board import Member
from .claims import claim_statement
from .database import Row
from .flight import Flight
from .statements import statement


class Taker(NamedTuple):
    """A worker in the moment of a claim."""

    member: Member
    seq: int
    token: UUID
    capacity: int
    lane: int


def begin(flight: Flight, takers: Sequence[Taker], *, lease: float) -> int:
    values = {
        "ids": binary_uuids([taker.member.id for taker in takers]),
        "seqs": numbers(taker.seq for taker in takers),
        "tokens": binary_uuids([taker.token for taker in takers]),
        "lanes": numbers(taker.lane + 1 for taker in takers),
        "generations": numbers(taker.member.generation for taker in takers),
        "lease": lease,
    }
    return flight.add(statement("begin_claims"), values)


def finish(flight: Flight, results: Sequence[Finished]) -> int:
    claims: dict[str, object] = {
        "ids": binary_uuids([result.id for result in results]),
        "tokens": binary_uuids([result.token for result in results]),
    }
    completed = [r.result for r in results if r.outcome == "completed" and r.error is None]
    if len(completed) == len(results):
        return flight.add(statement("finish_completed"), claims | {"results": raws(completed)})
    values = claims | {
        "outcomes": texts(r.outcome for r in results),
        "results": texts(_result_text(r) for r in results),
        "errors": texts(msgspec.json.encode(r.error).decode() if r.error else None for r in results),
        "retry_ins": numbers(r.retry_in for r in results),
    }
    number = flight.add(statement("finish"), values)
    if any(result.outcome == "waiting" for result in results):
        declare_waits(flight, results)
    return number


def declare_waits(flight: Flight, results: Sequence[Finished]) -> None:
    waits = [(result, wait) for result in results for wait in result.waits]
    flight.add(
        statement("declare_waits"),
        {
            "ids": uuids(result.id for result, _ in waits),
            "tokens": uuids(result.token for result, _ in waits),
            "keys": texts(wait.key for _, wait in waits),
            "kinds": texts(wait.kind for _, wait in waits),
            "untils": texts(wait.until.isoformat() if wait.until else None for _, wait in waits),
            "seconds": numbers(wait.seconds for _, wait in waits),
            "waited": numbers(wait.waited for _, wait in waits),
            "sinces": texts(wait.since.isoformat() if wait.since else None for _, wait in waits),
            "executions": texts(None if wait.executions is None else uuids(wait.executions) for _, wait in waits),
            "topics": texts(wait.topic for _, wait in waits),
            "notes": texts(bytes(wait.note).decode() for _, wait in waits),
        },
    )


def _result_text(result: Finished) -> str | None:
    return bytes(result.result).decode() if result.outcome == "completed" else None


def wake_parents(flight: Flight, parents: Iterable[UUID]) -> int:
    """In the transaction that ends their children, so that the slot goes to what has begun, not to what is new."""
    values = {"ids": uuids(sorted(parents))}
    flight.add(statement("lock_parents"), values)
    flight.add(statement("settle_waits"), values)
    return flight.add(statement("wake"), values)


def lock(flight: Flight, queues: Iterable[int]) -> int:
    return flight.add(statement("lock_queues"), {"queues": numbers(queues)})


def renew(flight: Flight, served: Mapping[int, Iterable[str]]) -> None:
    """Before a claim on these queues: the workflows that are served on each."""
    pairs = [(queue_id, workflow) for queue_id, workflows in served.items() for workflow in sorted(workflows)]
    flight.add(statement("renew_slots"), {"queues": numbers(served)})
    values = {"queues": numbers(pair[0] for pair in pairs), "workflows": texts(pair[1] for pair in pairs)}
    flight.add(statement("raise_floors"), values)


def lock_waiting(flight: Flight, queue_id: int, *, patience: float) -> int:
    flight.add("select set_config('lock_timeout', %(patience)s, true)", {"patience": f"{patience}s"})
    return flight.add(statement("lock_queue_waiting"), {"queue": queue_id})


def claim(
    flight: Flight, takers: Sequence[Taker], served: Mapping[int, Sequence[str]], *, from_floors: bool
) -> int:
    """For workers that all serve these workflows of each queue."""
    lasts = list(accumulate(map(len, served.values())))
    values = {
        "queues": numbers(served),
        "firsts": numbers(last - len(own) + 1 for own, last in zip(served.values(), lasts, strict=True)),
        "lasts": numbers(lasts),
        "workflows": texts(workflow for own in served.values() for workflow in own),
        "workers": binary_uuids([taker.member.id for taker in takers]),
        "tokens": binary_uuids([taker.token for taker in takers]),
        "capacities": numbers(taker.capacity for taker in takers),
    }
    form = claim_statement(alone=len(takers) == 1, one_line=lasts == [1], from_floors=from_floors)
    return flight.add(form, values)


def claims_that_end(results: Sequence[Finished]) -> dict[str, str]:
    """Which claims end, and how."""
    return {
        "ids": uuids(result.id for result in results),
        "tokens": uuids(result.token for result in results),
        "outcomes": texts(result.outcome for result in results),
    }


def claimed(row: Row, queue: str) -> Claimed:
    return Claimed(
        id=row[0], workflow_id=row[2], queue=queue, payload=Raw((row[3] or "null").encode()), attempt=row[4],
        max_attempts=row[5], slot=row[6], enqueued_at=row[7], parent_id=row[8], root_id=row[9],
    )  # fmt: skip


class Share(NamedTuple):
    """What a claim gave, and what it saw."""

    rows: list[list[Row]]  # of each taker, in the order of the line
    room: dict[int, int]  # of each queue that was locked
    found: dict[int, int]  # on each queue that gave something, up to its room: what may be more than it gave
    missed: set[int]  # queues where something was found, if they gave nothing
    timed: set[int]  # queues whose executions may have deadlines


def shares(rows: Iterable[Row], takers: int) -> Share:
    share = Share([[] for _ in range(takers)], {}, {}, set(), set())
    for row in rows:
        if row[0] is None:
            share.room[row[1]] = row[13]
            if row[12]:
                share.missed.add(row[1])
            if row[4]:
                share.timed.add(row[1])
        else:
            share.rows[row[11] - 1].append(row)
            share.found[row[1]] = row[12]
    for own in share.rows:
        own.sort(key=lambda row: row[10])
    return share
