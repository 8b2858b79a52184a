"""The interleavings that break the peers, one by one, and mutants that show that the tests can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection

from queues.engine.statements import statement
from queues.ids import uuid7
from queues.limits import change_limit, pause
from queues.models import Change

from . import interleavings as check
from .interleavings import FORMS, FROM_FLOORS, Form, Second, Stage, Text, claim, claimed_rows, in_thread

CHECKS = (
    check.a_claim_in_flight_keeps_others_out,
    check.a_claim_that_waited_sees_what_was_claimed,
    check.renewed_slots_are_still_counted,
    check.a_stale_token_changes_nothing,
    check.a_result_after_the_end_changes_nothing,
    check.a_sweep_does_not_overwrite_what_moved_on,
    check.a_result_that_waited_for_the_sweep_is_refused,
    check.a_cancel_that_waited_for_a_result_changes_nothing,
    check.a_failure_that_waited_for_a_cancel_does_not_come_back,
    check.a_result_that_waited_for_a_cancel_counts,
    check.a_cancel_that_waited_for_a_claim_holds_the_slot,
    check.a_claim_passes_over_what_is_being_cancelled,
    check.what_is_cancelled_is_not_promoted,
)


@pytest.mark.parametrize("holds", CHECKS, ids=lambda one: one.__name__)
def test_it_holds(holds: Callable[[str, Text], None], dsn: str) -> None:
    holds(dsn, statement)


CLAIMS = (
    check.a_claim_in_flight_keeps_others_out,
    check.a_claim_that_waited_sees_what_was_claimed,
    check.renewed_slots_are_still_counted,
    check.a_claim_passes_over_what_is_being_cancelled,
    check.a_changed_limit_is_seen_by_the_next_claim,
)


@pytest.mark.parametrize("form", FORMS[1:], ids=("one worker", "several"))
@pytest.mark.parametrize("holds", CLAIMS, ids=lambda one: one.__name__)
def test_it_holds_in_every_form_of_a_claim(
    holds: Callable[[str, Text], None], form: Form, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "usual_form", form)
    holds(dsn, statement)


HELD_WITH_GAPS = """
update queues_execution e
set status = 'running', slot = h.slot, slot_generation = q.slot_generation, claimed_at = now(), token = e.id,
    worker_id = e.id, attempt = 1
from (select * from unnest(%s::uuid[], %s::int[])) as h (id, slot), queues_queue q
where e.id = h.id and q.id = e.queue_id
"""
CAME_BACK = """
update queues_execution
set attempt = 1, claimed_at = now(), released_at = now(), outcome = 'failed', worker_id = id where id = any(%s)
"""
HOLDINGS = "select execution_id, attempt, worker_id, outcome from queues_holding order by execution_id"


@pytest.mark.parametrize("capacity", [1, 3, 100])
@pytest.mark.parametrize("limit", [None, 0, 2, 5, 9])
def test_all_forms_of_a_claim_give_the_same(dsn: str, limit: int | None, capacity: int) -> None:
    stage = Stage(dsn, limit=limit, waiting=12)
    held, again = stage.work[:2], [stage.work[3], stage.work[8]]
    if limit:
        stage.main.execute(HELD_WITH_GAPS, (held, [1, 3]))
    stage.main.execute(CAME_BACK, (again,))
    stage.main.execute("update queues_execution set place = place - interval '1 hour' where id = %s", (again[1],))
    seen = []
    for form in FORMS:
        with stage.rival() as db:
            rows = claimed_rows(stage, db, capacity=capacity, form=form)
            rows.sort(key=lambda row: (row[0] is None, row[10]))  # as in the line
            seen.append((rows, db.execute(HOLDINGS).fetchall()))
    assert seen[0] == seen[1] == seen[2]
    given = [row for row in seen[0][0] if row[0] is not None]
    room = 12 if limit is None else max(0, limit - 2)
    assert len(given) == min(room, capacity, 12 if not limit else 10)
    assert not given or given[0][0] == again[1]
    assert len(seen[0][1]) == sum(row[0] in again for row in given)


@pytest.mark.parametrize("form", [*FORMS, FROM_FLOORS])
@pytest.mark.parametrize("limit", [None, 5])
def test_the_lock_of_an_unlimited_queue_is_none_when_it_has_got_a_limit(
    dsn: str, limit: int | None, form: Form
) -> None:
    """In between: whoever looked for the lock saw no limit, and others share it."""
    shared = "select set_config('polos.locked', '{}', true), set_config('polos.shared', %(queues)s, true)"
    stage = Stage(dsn, limit=limit, waiting=3)
    with stage.rival() as db:
        claims = claim(stage, db, lambda name: shared if name == "lock_queues" else statement(name), form=form)
    assert len(claims) == (3 if limit is None else 0)


@pytest.mark.parametrize("renew", ["heartbeat", "begin_claims"])
def test_a_worker_that_renews_in_time_is_spared(dsn: str, renew: str) -> None:
    check.a_sweep_spares_a_worker_that_renews_in_time(dsn, statement, renew)


@pytest.mark.parametrize("before", [None, 3])
def test_a_claim_goes_by_the_changed_limit(dsn: str, before: int | None) -> None:
    check.a_changed_limit_is_seen_by_the_next_claim(dsn, statement, before)


def test_looking_in_the_statement_that_locks_admits_too_many(dsn: str) -> None:
    """Why a claim is two statements: a lock does not refresh the snapshot of the statement that takes it."""
    together = """
        with queue as (select id, effective_limit from queues_queue where id = %(queue)s for no key update),
        free as (
            select queue.id, effective_limit - (
                select count(*) from queues_execution e where e.queue_id = queue.id and e.status = 'running'
            ) as room
            from queue
        ),
        chosen as (
            select e.id from queues_execution e, free
            where e.queue_id = free.id and e.status = 'queued' and free.room > 0
            order by e.place, e.id limit 1 for no key update of e skip locked
        )
        update queues_execution e
        set status = 'running', worker_id = gen_random_uuid(), token = gen_random_uuid(), claimed_at = now(),
            released_at = null
        from chosen where e.id = chosen.id
    """
    stage = Stage(dsn, limit=1)
    with stage.rival() as a, stage.rival() as b:
        a.execute(together, {"queue": stage.queue})

        def second() -> None:
            b.execute(together, {"queue": stage.queue})
            b.commit()

        thread = in_thread(second)
        stage.wait_until_blocked()
        a.commit()
        thread.join(10)
    assert stage.running() == 2  # the fault that the two statements avoid


@pytest.mark.parametrize("verb", ["limit", "pause"])
@pytest.mark.parametrize("before", [None, 3])
def test_a_change_waits_for_a_claim_in_flight(dsn: str, before: int | None, verb: str) -> None:
    """It is answered when nothing can start any more by what was before, not earlier."""
    stage = Stage(dsn, limit=before)
    with stage.rival() as a:
        assert len(claim(stage, a)) == 3
        changed = threading.Event()

        def change() -> None:
            with connection.cursor() as cursor:
                cursor.execute("set application_name = 'rival'")
            if verb == "limit":
                change_limit(queue="line", limit=1, reason="test", actor="ana", through=Change.Through.REST)
            else:
                pause(queue="line", reason="test", actor="ana", through=Change.Through.REST)
            connection.close()
            changed.set()

        thread = in_thread(change)
        stage.wait_until_blocked()
        assert not changed.is_set()
        a.commit()
        thread.join(10)
        assert changed.is_set()
    with stage.rival() as b:
        stage.enqueue([uuid7()])
        assert claim(stage, b) == []


def test_claims_on_an_unlimited_queue_run_side_by_side_on_different_rows(dsn: str) -> None:
    stage = Stage(dsn, limit=None, waiting=4)
    with stage.rival() as a, stage.rival() as b:
        first, second = claim(stage, a, capacity=2), claim(stage, b, capacity=2)
        assert len(first) == len(second) == 2 and not set(first) & set(second)


def test_batches_with_the_same_keys_in_opposite_order_do_not_deadlock(dsn: str) -> None:
    stage = Stage(dsn, limit=1, waiting=0)
    keys = [f"key {n}" for n in range(50)]
    faults: list[Exception] = []

    def enqueue(order: list[str]) -> None:
        try:
            with psycopg.connect(dsn) as db:
                for _ in range(20):
                    stage.enqueue([uuid7() for _ in order], db, order)
                    db.commit()
        except psycopg.Error as error:
            faults.append(error)

    threads = [in_thread(lambda order=order: enqueue(order)) for order in (keys, keys[::-1])]  # type: ignore[misc]
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert stage.main.execute("select count(*) from queues_execution").fetchone() == (50,)


def test_of_two_enqueues_with_one_key_at_once_one_is_there(dsn: str) -> None:
    stage = Stage(dsn, limit=1, waiting=0)
    first, second = uuid7(), uuid7()
    with stage.rival() as a, stage.rival() as b:
        stage.enqueue([first], a, ["key"])
        late = Second(stage, b, lambda db: stage.enqueue([second], db, ["key"]))
        assert late.is_blocked()
        late.after(a)
    assert stage.main.execute("select id from queues_execution").fetchall() == [(first,)]
