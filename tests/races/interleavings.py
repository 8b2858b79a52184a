"""Checks that raise AssertionError when a guard is missing. The tests run them as they are and with mutants.

A rival is held still in the middle of its transaction, or waited for until PostgreSQL says that it is blocked:
nothing here depends on luck or on sleeping.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar
from uuid import UUID

import psycopg

from queues.engine.arrays import numbers, texts, uuids
from queues.engine.claims import in_form
from queues.engine.statements import statement
from queues.ids import uuid7

Text = Callable[[str], str]
Connection = psycopg.Connection[tuple[object, ...]]

WORKER = """
insert into queues_worker (
    id, name, host, sdk_version, max_concurrent, state, key_name, registered_at, heartbeat_at, lease_until,
    claim_seq, claim_token
) values (
    %s, 'w', '', '', 100, 'alive', '', now(), now(), now() + interval '1 minute', '{1,0}', array[%s, null]::uuid[]
)
"""


class Stage:
    """A database with one queue, some work, and connections for the rivals."""

    opened: ClassVar[list[Connection]] = []  # closed after each test

    def __init__(self, dsn: str, *, limit: int | None, waiting: int = 3) -> None:
        self.dsn = dsn
        self.main = psycopg.connect(dsn, autocommit=True)
        self.opened.append(self.main)
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

    def somebody_is_blocked(self) -> bool:
        row = self.main.execute(
            "select count(*) from pg_stat_activity where application_name = 'rival' and wait_event_type = 'Lock'"
        ).fetchone()
        return row is not None and row[0] != 0

    def wait_until_blocked(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.somebody_is_blocked():
                return
            time.sleep(0.01)
        raise AssertionError("nobody is blocked: the lock that should hold the rival is missing")


Form = dict[str, bool]  # of a claim, as `claim_statement` takes it
ONE_LINE: Form = {"alone": True, "one_line": True, "from_floors": False}
FORMS = (ONE_LINE, ONE_LINE | {"one_line": False}, ONE_LINE | {"one_line": False, "alone": False})
FROM_FLOORS: Form = ONE_LINE | {"from_floors": True}

usual_form = ONE_LINE  # what the engine takes for these claims, of one worker on one queue's one workflow


def claim(
    stage: Stage, db: Connection, text: Text = statement, *,
    capacity: int = 10, lock: str = "lock_queues", form: Form | None = None,
) -> list[UUID]:  # fmt: skip
    """The two statements of a claim in an open transaction, as `exchange` runs them."""
    rows = claimed_rows(stage, db, text, capacity=capacity, lock=lock, form=form)
    return [UUID(str(row[0])) for row in rows if row[0] is not None]


def claimed_rows(
    stage: Stage, db: Connection, text: Text = statement, *,
    capacity: int = 10, lock: str = "lock_queues", form: Form | None = None,
) -> list[tuple[object, ...]]:  # fmt: skip
    worker, token = stage.worker()
    values = {"queues": numbers([stage.queue])} if lock == "lock_queues" else {"queue": stage.queue}
    db.execute(b"select set_config('polos.begun', %s, true)", (str(worker),))
    db.execute(text(lock).encode(), values)
    return db.execute(
        in_form(text("claim"), **(form or usual_form)).encode(),
        {
            "queues": numbers([stage.queue]), "firsts": "{1}", "lasts": "{1}",
            "workflows": texts(["work"]), "workers": uuids([worker]),
            "tokens": uuids([token]), "capacities": numbers([capacity]),
        },
    ).fetchall()  # fmt: skip


OUTCOMES = ("completed", "failed")  # one for each statement


def finish(
    db: Connection, text: Text, id: UUID, token: UUID, outcome: str = "completed", retry_in: float | None = None
) -> int:
    """With the statement that the engine takes for this outcome."""
    return db.execute(
        text("finish_completed" if outcome == "completed" else "finish").encode(),
        {
            "ids": uuids([id]), "tokens": uuids([token]), "outcomes": texts([outcome]),
            "results": texts(["1" if outcome == "completed" else None]), "errors": texts([None]),
            "retry_ins": numbers([retry_in]),
        },
    ).rowcount  # fmt: skip


def cancel(db: Connection, text: Text, id: UUID) -> int:
    return db.execute(text("cancel").encode(), {"id": id, "by": "test"}).rowcount


def take_back(db: Connection, text: Text, worker: UUID) -> int:
    """What the sweep does with a worker that it has found lost."""
    values = {"workers": uuids([worker]), "outcome": "lost", "token": None, "execution": None, "max_losses": 10}
    return db.execute(text("release_held").encode(), values).rowcount


def token_of(stage: Stage, id: UUID) -> UUID:
    row = stage.main.execute("select token from queues_execution where id = %s", (id,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def mutant(**cuts: tuple[tuple[str, str], ...]) -> Text:
    """The statements, some of them with a guard taken out: `mutant(finish=(("guard", ""),))`."""
    texts = {name: statement(name) for name in cuts}
    for name, replaced in cuts.items():
        for old, new in replaced:
            assert old in texts[name], f"{name} has changed: the mutant no longer cuts anything"
            texts[name] = texts[name].replace(old, new)
    return lambda name: texts.get(name) or statement(name)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def status_of(stage: Stage, id: UUID) -> str:
    row = stage.main.execute("select status from queues_execution where id = %s", (id,)).fetchone()
    assert row is not None
    return str(row[0])


def worker_of(stage: Stage, id: UUID) -> UUID:
    row = stage.main.execute("select worker_id from queues_execution where id = %s", (id,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def claimed_one(stage: Stage, db: Connection) -> tuple[UUID, UUID]:
    """A committed claim of one execution: its id and token."""
    (id,) = claim(stage, db, capacity=1)
    db.commit()
    return id, token_of(stage, id)


class Second:
    """The rival's move, begun while the first one's transaction is open, and committed when it gets through.

    `after` raises what PostgreSQL had against it.
    """

    def __init__(self, stage: Stage, db: Connection, move: Callable[[Connection], object]) -> None:
        self._stage = stage
        self._db = db
        self._move = move
        self.answer: object = None
        self._thread = in_thread(self._run)

    def _run(self) -> None:
        try:
            self.answer = self._move(self._db)
            self._db.commit()
        except psycopg.Error as error:
            self.answer = error
            self._db.rollback()

    def is_blocked(self) -> bool:
        """Once it is clear which of the two: through already, or waiting for a lock."""
        deadline = time.monotonic() + 10
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self._stage.somebody_is_blocked():
                return True
            time.sleep(0.005)
        assert not self._thread.is_alive(), "the rival is neither through nor blocked"
        return False

    def after(self, first: Connection) -> object:
        """What it came to, once the first one has committed."""
        first.commit()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if isinstance(self.answer, psycopg.Error):  # a mutant must be found by what it did, not by a fault
            raise self.answer
        return self.answer


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


def renewed_slots_are_still_counted(dsn: str, text: Text) -> None:
    """What is held takes the new generation along, also what is being handed in and then is not."""
    stage = Stage(dsn, limit=2, waiting=6)
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        finish(a, text, id, token)

        def renew_and_claim(db: Connection) -> object:
            queues = {"queues": numbers([stage.queue])}
            db.execute(text("lock_queues").encode(), queues)
            db.execute(text("renew_slots").encode(), queues)
            return claim(stage, db, text)

        second = Second(stage, b, renew_and_claim)
        second.is_blocked()
        a.rollback()
        second.after(a)
        assert stage.running() == 2, f"{stage.running()} run under a limit of 2"


def a_claim_that_waited_sees_what_was_claimed(dsn: str, text: Text) -> None:
    """B waits for the queue that A holds, and must count what A committed meanwhile."""
    stage = Stage(dsn, limit=2, waiting=6)
    with stage.rival() as a, stage.rival() as b:
        assert len(claim(stage, a, text, capacity=1)) == 1
        waiting = Second(stage, b, lambda db: claim(stage, db, text, lock="lock_queue_waiting"))
        waiting.is_blocked()
        claims = waiting.after(a)
        assert isinstance(claims, list)
        assert len(claims) == 1, f"the waiting claim got {len(claims)}: it did not see the committed one"
    assert stage.running() == 2


def a_stale_token_changes_nothing(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a:
        (id,) = claim(stage, a, text)
        a.commit()
        for outcome in OUTCOMES:
            assert finish(a, text, id, uuid7(), outcome) == 0, "a result without the claim's token was taken"
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
        for outcome in OUTCOMES:
            assert finish(a, text, id, token, outcome) == 0, "a result was taken for a claim that had ended"
        a.commit()


def a_sweep_does_not_overwrite_what_moved_on(dsn: str, text: Text) -> None:
    """The result is being written while the sweep looks: whoever is first wins, once."""
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        worker = worker_of(stage, id)
        assert finish(a, text, id, token) == 1  # not committed yet
        sweep = Second(stage, b, lambda db: take_back(db, text, worker))
        sweep.is_blocked()  # it skips the locked row; a mutant waits for it
        sweep.after(a)
    assert status_of(stage, id) == "completed", "a sweep took back what had been completed"


def a_result_that_waited_for_the_sweep_is_refused(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        assert take_back(a, text, worker_of(stage, id)) == 1
        result = Second(stage, b, lambda db: sum(finish(db, text, id, token, outcome) for outcome in OUTCOMES))
        result.is_blocked()
        assert result.after(a) == 0, "a result was taken after the claim had been taken back"
    assert status_of(stage, id) == "queued"


def a_cancel_that_waited_for_a_result_changes_nothing(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        assert finish(a, text, id, token) == 1
        late = Second(stage, b, lambda db: cancel(db, text, id))
        assert late.is_blocked()
        assert late.after(a) == 0, "what had completed was cancelled"
    assert status_of(stage, id) == "completed"


def a_failure_that_waited_for_a_cancel_does_not_come_back(dsn: str, text: Text) -> None:
    """It has tries left; it would be queued again, if the cancel was not seen."""
    stage = Stage(dsn, limit=1)
    stage.main.execute("update queues_execution set max_attempts = 5")
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        assert cancel(a, text, id) == 1
        result = Second(stage, b, lambda db: finish(db, text, id, token, "failed", 0.0))
        result.is_blocked()
        assert result.after(a) == 1
    assert status_of(stage, id) == "cancelled", "what was to be cancelled went on"


def a_result_that_waited_for_a_cancel_counts(dsn: str, text: Text) -> None:
    """The work was done before the worker could be told."""
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        id, token = claimed_one(stage, a)
        assert cancel(a, text, id) == 1
        result = Second(stage, b, lambda db: finish(db, text, id, token))
        assert result.is_blocked()
        assert result.after(a) == 1
    assert status_of(stage, id) == "completed"


def a_cancel_that_waited_for_a_claim_holds_the_slot(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        (id,) = claim(stage, a, text)
        late = Second(stage, b, lambda db: cancel(db, text, id))
        assert late.is_blocked()
        answer = late.after(a)
        assert answer == 1, answer
    assert status_of(stage, id) == "cancelling", "a running execution was cancelled under its worker's feet"
    assert stage.running() == 1


def a_claim_passes_over_what_is_being_cancelled(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        assert cancel(a, text, stage.work[0]) == 1
        taking = Second(stage, b, lambda db: claim(stage, db, text))
        taking.is_blocked()
        taken = taking.after(a)
        assert taken == [stage.work[1]], f"the claim gave {taken} instead of what is next"
    assert status_of(stage, stage.work[0]) == "cancelled", "a cancelled execution was started"


def a_sweep_spares_a_worker_that_renews_in_time(dsn: str, text: Text, renew: str = "heartbeat") -> None:
    """The renewal came before the end of the lease and is not committed when the sweep reads."""
    stage = Stage(dsn, limit=1)
    worker, _ = stage.worker()
    soon = "update queues_worker set lease_until = clock_timestamp() + interval '0.2 seconds' where id = %s"
    with stage.rival() as a, stage.rival() as b:
        stage.main.execute(soon, (worker,))
        values = {"ids": uuids([worker]), "received": numbers([1]), "received_beside": numbers([0]), "lease": 60.0}
        values |= {"seqs": numbers([2]), "tokens": uuids([uuid7()]), "lanes": numbers([1])}
        values |= {"generations": numbers([0])}
        used = {name: value for name, value in values.items() if f"%({name})s" in text(renew)}
        assert a.execute(text(renew).encode(), used).rowcount == 1
        # until the moment that the committed row names has passed
        stage.main.execute(
            "select pg_sleep(extract(epoch from lease_until - clock_timestamp()) + 0.001) from queues_worker"
        )
        sweep = Second(stage, b, lambda db: db.execute(text("lost_workers").encode(), {"most": 10}).rowcount)
        sweep.is_blocked()
        assert sweep.after(a) == 0, "a worker was lost whose renewal was in time"


def begin(db: Connection, text: Text, worker: UUID, seq: int, *, lane: int = 1, generation: int = 0) -> int:
    values = {"ids": uuids([worker]), "seqs": numbers([seq]), "tokens": uuids([uuid7()]), "lanes": numbers([lane])}
    values |= {"generations": numbers([generation])}
    return db.execute(text("begin_claims").encode(), values | {"lease": 60.0}).rowcount


def what_is_cancelled_is_not_promoted(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=1, waiting=1)
    (id,) = stage.work
    stage.main.execute("update queues_execution set status = 'scheduled', due_at = now() - interval '1 second'")
    with stage.rival() as a, stage.rival() as b:
        assert cancel(a, text, id) == 1
        tick = Second(stage, b, lambda db: db.execute(text("promote_due").encode(), {"most": 10}).rowcount)
        tick.is_blocked()
        assert tick.after(a) == 0, "a cancelled execution was queued"
    assert status_of(stage, id) == "cancelled"


def a_changed_limit_is_seen_by_the_next_claim(dsn: str, text: Text, before: int | None = None) -> None:
    """The limit becomes 1 while a claim asks: it gets nothing, or what is right after the change."""
    stage = Stage(dsn, limit=before)
    with stage.rival() as a, stage.rival() as b:
        a.execute(text("lock_limit").encode(), {"queue": stage.queue})
        a.execute(text("set_declared_limit").encode(), {"queue": stage.queue, "limit": 1, "declared_by": "test"})
        taking = Second(stage, b, lambda db: claim(stage, db, text))
        taking.is_blocked()
        claims = taking.after(a)
        assert isinstance(claims, list) and len(claims) <= 1, "a claim went by the limit before the change"
        second = claim(stage, b, text)
        b.commit()
        assert len(claims) + len(second) == 1
    assert stage.running() == 1
