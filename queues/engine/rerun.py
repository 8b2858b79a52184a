"""Run again: a new execution of the same workflow on the same queue, with the same payload or an edited one.

The old one stays as it is, whatever became of it; `models.Rerun` links the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from msgspec import Raw

from ..models import Change, Deadline, Execution, Queue, Rerun
from ..rawjson import MAX_PAYLOAD_BYTES, problem
from ..requests import NewExecution
from .arrays import uuids
from .database import Connection
from .enqueue import Placed, insertions
from .errors import EngineError, ExecutionNotFound, NotPossible
from .operate import Locked, note, tell
from .statements import statement


class BadPayload(EngineError):
    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RerunOutcome:
    id: UUID
    created: bool  # false: it was there already, nothing was added


def run_again(
    execution_id: UUID, *, new_id: UUID, payload: str | None, actor: str, through: Change.Through, reason: str = ""
) -> RerunOutcome:
    """`payload` is JSON; None for that of the old one. The same `new_id` again has no second effect.

    Raises `ExecutionNotFound`, `BadPayload`, or `NotPossible` when the queue drains or the id is taken, also when
    that was done with another payload.
    """
    edited = payload is not None
    text = _checked(payload) if payload is not None else _payload(execution_id)
    with transaction.atomic():
        old = (
            Execution.objects.select_related("queue")
            .defer("payload", "result", "error")
            .filter(id=execution_id)
            .first()
        )
        if old is None:
            raise ExecutionNotFound(execution_id)
        if Rerun.objects.filter(execution_id=new_id, of=execution_id).exists():
            _check_same(new_id, text)
            return RerunOutcome(new_id, created=False)
        if old.queue.draining:
            raise NotPossible(
                f"{old.queue.name} is draining: it takes nothing new until somebody lets it accept again."
            )
        _insert(old, new_id, text)
        Rerun.objects.create(execution_id=new_id, of=execution_id, edited=edited)
        row = Locked(old.id, old.status, old.attempt, old.queue_id, old.priority, old.workflow)
        note(row, Change.Kind.RERUN, str(new_id), actor=actor, through=through, reason=reason)
        tell({f"limits:{old.queue_id}"})
    return RerunOutcome(new_id, created=True)


def _checked(payload: str) -> str:
    try:
        found = problem(payload.encode(), MAX_PAYLOAD_BYTES)
    except UnicodeEncodeError:
        found = "is not valid UTF-8"
    if found:
        raise BadPayload(f"The payload {found}.")
    return payload


def _payload(execution_id: UUID) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement("read_payload"), {"id": execution_id})
        row = cursor.fetchone()
    if row is None:
        raise ExecutionNotFound(execution_id)
    return str(row[0])


def _check_same(new_id: UUID, payload: str) -> None:
    if _payload(new_id) != payload:
        raise NotPossible(
            f"This was sent before, with another payload: it runs as {new_id}. Nothing new was started. To run it "
            "with this payload, too, begin anew."
        )


def _insert(old: Execution, new_id: UUID, payload: str) -> None:
    queue: Queue = old.queue
    timeouts = dict(Deadline.objects.filter(execution_id=old.id).values_list("kind", "seconds"))
    request = NewExecution(
        workflow_id=old.workflow, queue_name=queue.name, id=new_id, payload=Raw(payload.encode()),
        priority=old.priority, max_attempts=old.max_attempts - (old.resumes or 0),
        queue_timeout=timeouts.get(Deadline.Kind.QUEUE), execution_timeout=timeouts.get(Deadline.Kind.EXECUTION),
    )  # fmt: skip
    with connection.cursor() as cursor:
        for name, values in insertions([Placed(request, old.queue_id)]):
            cursor.execute(statement(name), values)
            if name == "enqueue" and not cursor.fetchall():
                raise NotPossible(f"There is an execution {new_id} already.")


async def prune_reruns(conn: Connection, ids: list[UUID]) -> None:
    """Links go with the executions that they lead from, in the transaction that deletes those."""
    if ids:
        await conn.execute(statement("prune_reruns"), {"ids": uuids(ids)})
