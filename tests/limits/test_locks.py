"""A change waits for the claims under way, and for the change before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from queues import limits
from queues.models import Change, Queue

from .conftest import Db

BY: dict[str, Any] = {"actor": "ana", "through": Change.Through.PAGE}


class Doing(threading.Thread):
    """Runs a verb on a connection of its own and keeps its answer."""

    def __init__(self, verb: Callable[[], Queue]) -> None:
        super().__init__(daemon=True)
        self.verb = verb
        self.answer: Queue | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.verb()
        except Exception as error:
            self.error = error
        finally:
            connection.close()

    def result(self) -> Queue:
        self.join(10)
        if self.error:
            raise self.error
        assert self.answer is not None
        return self.answer


def wait_until_blocked(db: Db) -> None:
    """Until some other connection waits for a lock that `db` holds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = db.execute(
            "select count(*) from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))"
        ).fetchone()
        if found and found[0]:
            return
        time.sleep(0.01)
    pytest.fail("nobody waits for the lock")


def test_a_claim_on_an_unlimited_queue_holds_back_a_change_of_its_limit(queue: Queue, other: Db) -> None:
    other.execute("select pg_advisory_xact_lock_shared(7105, %s::int)", [queue.id])
    change = Doing(lambda: limits.change_limit(queue="billing/eu", limit=1, reason="", **BY))
    wait_until_blocked(other)
    other.commit()
    assert change.result().effective_limit == 1


def test_a_claim_on_a_limited_queue_holds_back_a_pause(queue: Queue, other: Db) -> None:
    other.execute("select from queues_queue where id = %s for no key update", [queue.id])
    pause = Doing(lambda: limits.pause(queue="billing/eu", reason="", **BY))
    wait_until_blocked(other)
    other.commit()
    assert pause.result().paused


def test_claims_that_begin_while_a_change_is_open_are_skipped(queue: Queue, other: Db) -> None:
    other.execute("select pg_advisory_xact_lock(7105, %s::int)", [queue.id])
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock_shared(7105, %s::int)", [queue.id])
        assert cursor.fetchone() == (False,)


def test_two_changes_serialise_and_the_second_learns_of_the_first(queue: Queue, other: Db) -> None:
    other.execute("select pg_advisory_xact_lock(7105, %s::int)", [queue.id])
    other.execute("update queues_queue set version = version + 1 where id = %s", [queue.id])
    late = Doing(
        lambda: limits.change_limit(queue="billing/eu", limit=1, reason="", expected_version=queue.version, **BY)
    )
    wait_until_blocked(other)
    other.commit()
    with pytest.raises(limits.StaleView):
        late.result()


def test_of_two_people_who_saw_the_same_one_wins(queue: Queue) -> None:
    people = [
        Doing(
            lambda limit=limit: limits.change_limit(  # type: ignore[misc]
                queue="billing/eu", limit=limit, reason="", expected_version=queue.version, **BY
            )
        )
        for limit in (1, 2)
    ]
    for person in people:
        person.join(10)
    assert sorted(isinstance(person.error, limits.StaleView) for person in people) == [False, True]
    assert queue.changes.count() == 1
