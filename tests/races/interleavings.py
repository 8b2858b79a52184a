"""Checks that raise AssertionError when a guard is missing. The tests run them as they are and with mutants.

A rival is held still in the middle of its transaction, or waited for until PostgreSQL says that it is blocked:
nothing here depends on luck or on sleeping.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import psycopg

from queues.engine.arrays import numbers, texts, uuids
from queues.engine.statements import statement
from queues.ids import uuid7

Text = Callable[[str], str]
Connection = psycopg.Connection[tuple[object, ...]]

WORKER = """
insert into queues_worker (
    id, name, host, sdk_version, max_concurrent, state, key_name, registered_at, heartbeat_at, lease_until,
    claim_seq, claim_token
) values (%s, 'w', '', '', 100, 'alive', '', now(), now(), now() + interval '1 minute', 1, %s)
"""


class Stage:
    """A database with one queue, some work, and connections for the rivals."""

    def __init__(self, dsn: str, *, limit: int | None, waiting: int = 3) -> None:
        self.dsn = dsn
        self.main = psycopg.connect(dsn, autocommit=True)
        values = {"names": texts(["line"]), "limits": numbers([limit]), "declared_by": "test"}
        self.main.execute(statement("create_queues").encode(), values)
        row = self.main.execute("select id from queues_queue").fetchone()
        assert row is not None
        self.queue = int(row[0])
        self.work = [uuid7() for _ in range(waiting)]
        self.enqueue(self.work)

    def enqueue(self, ids: list[UUID], db: Connection | None = None, keys: list[str] | None = None) -> None:
        count = len(ids)
        (db or self.main).execute(
            statement("enqueue").encode(),
            {
                "ids": uuids(ids), "queues": numbers([self.queue] * count), "workflows": texts(["work"] * count),
                "priorities": numbers([0] * count), "payloads": texts(["null"] * count),
                "max_attempts": numbers([1] * count), "keys": texts(keys or [None] * count),
                "parents": uuids([None] * count), "parent_tokens": uuids([None] * count),
                "run_ats": texts([None] * count), "delays": numbers([None] * count),
            },
        )  # fmt: skip

    def worker(self) -> tuple[UUID, UUID]:
        worker, token = uuid7(), uuid7()
        self.main.execute(WORKER, (worker, token))
        return worker, token

    @contextlib.contextmanager
    def rival(self) -> Iterator[Connection]:
        db = psycopg.connect(self.dsn, application_name="rival")
        try:
            yield db
        finally:
            db.rollback()
            db.close()

    def running(self) -> int:
        row = self.main.execute(
            "select count(*) from queues_execution where status in ('running', 'cancelling')"
        ).fetchone()
        assert row is not None
        return int(str(row[0]))

    def wait_until_blocked(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            row = self.main.execute(
                "select count(*) from pg_stat_activity"
                " where application_name = 'rival' and wait_event_type = 'Lock'"
            ).fetchone()
            if row and row[0]:
                return
            time.sleep(0.01)
        raise AssertionError("nobody is blocked: the lock that should hold the rival is missing")


def claim(stage: Stage, db: Connection, text: Text = statement, *, capacity: int = 10) -> list[UUID]:
    """The two statements of a claim in an open transaction, as `exchange` runs them."""
    worker, token = stage.worker()
    db.execute(text("lock_queues").encode(), {"queues": numbers([stage.queue])})
    rows = db.execute(
        text("claim").encode(),
        {
            "queues": numbers([stage.queue]), "workflows": texts(["work"]), "worker": worker, "token": token,
            "capacity": capacity,
        },
    ).fetchall()  # fmt: skip
    return [UUID(str(row[0])) for row in rows if row[0] is not None]


def finish(db: Connection, text: Text, id: UUID, token: UUID) -> int:
    return db.execute(
        text("finish").encode(),
        {
            "ids": uuids([id]), "tokens": uuids([token]), "outcomes": texts(["completed"]),
            "results": texts(["1"]), "errors": texts([None]), "retry_ins": numbers([None]),
        },
    ).rowcount  # fmt: skip


def token_of(stage: Stage, id: UUID) -> UUID:
    row = stage.main.execute("select token from queues_execution where id = %s", (id,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# -- the checks ------------------------------------------------------------------------------------


def a_claim_in_flight_keeps_others_out(dsn: str, text: Text) -> None:
    """A's claim is not committed; B must find the queue taken, not the same free slot."""
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        first = claim(stage, a, text)
        assert len(first) == 1
        b.execute("set local lock_timeout = '300ms'")
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            assert claim(stage, b, text) == [], "two claims saw the same free slot"
            b.commit()
        a.commit()
    assert stage.running() == 1


def a_claim_that_waited_sees_what_was_claimed(dsn: str, text: Text) -> None:
    """B waits for the queue that A holds, and must count what A committed meanwhile."""
    stage = Stage(dsn, limit=2, waiting=6)
    found: list[list[UUID]] = []
    with stage.rival() as a, stage.rival() as b:
        claim(stage, a, text, capacity=1)

        def wait_and_claim() -> None:
            worker, token = stage.worker()
            b.execute(text("lock_queue_waiting").encode(), {"queue": stage.queue})
            rows = b.execute(
                text("claim").encode(),
                {
                    "queues": numbers([stage.queue]), "workflows": texts(["work"]), "worker": worker,
                    "token": token, "capacity": 10,
                },
            ).fetchall()  # fmt: skip
            found.append([UUID(str(row[0])) for row in rows if row[0] is not None])
            b.commit()

        thread = in_thread(wait_and_claim)
        stage.wait_until_blocked()
        a.commit()
        thread.join(10)
    assert [len(claims) for claims in found] == [1], "the waiting claim did not see the committed one"
    assert stage.running() == 2


def a_stale_token_changes_nothing(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a:
        (id,) = claim(stage, a, text)
        a.commit()
        assert finish(a, text, id, uuid7()) == 0, "a result without the claim's token was taken"
        a.commit()
    assert stage.running() == 1


def a_result_after_the_end_changes_nothing(dsn: str, text: Text) -> None:
    """The token is right, but the execution is final, or waits for its next try: the status says so."""
    stage = Stage(dsn, limit=1)
    with stage.rival() as a:
        (id,) = claim(stage, a, text)
        a.commit()
        token = token_of(stage, id)
        stage.main.execute(
            "update queues_execution set status = 'queued', released_at = now(), outcome = 'lost' where id = %s",
            (id,),
        )
        assert finish(a, text, id, token) == 0, "a result was taken for a claim that had ended"
        a.commit()


def a_sweep_does_not_overwrite_what_moved_on(dsn: str, text: Text) -> None:
    """The result is being written while the sweep looks: whoever is first wins, once."""
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        (id,) = claim(stage, a, text)
        a.commit()
        assert finish(a, text, id, token_of(stage, id)) == 1  # not committed yet
        row = stage.main.execute("select worker_id from queues_execution where id = %s", (id,)).fetchone()
        assert row is not None
        values = {"workers": uuids([UUID(str(row[0]))]), "outcome": "lost", "token": None, "max_losses": 10}

        def sweep() -> None:
            b.execute(text("release_held").encode(), values)
            b.commit()

        thread = in_thread(sweep)
        thread.join(0.5)  # skips the locked row at once; a mutant waits for it
        a.commit()
        thread.join(10)
    row = stage.main.execute("select status from queues_execution where id = %s", (id,)).fetchone()
    assert row == ("completed",), "a sweep took back what had been completed"
