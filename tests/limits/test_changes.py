"""Every change goes through one function, is checked, and is recorded: who, when, from, to, why, through what."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest
from django.db import connection

from queues import limits
from queues.models import Change, Queue

BY: dict[str, Any] = {"actor": "ana", "through": Change.Through.PAGE}
IN_AN_HOUR = dt.timedelta(hours=1)


def told(queue: Queue) -> list[tuple[str, str, str, str, str, str]]:
    fields = ("kind", "before", "after", "actor", "reason", "through")
    return list(queue.changes.order_by("id").values_list(*fields))


def test_an_override_is_set_and_recorded(queue: Queue) -> None:
    changed = limits.change_limit(queue="billing/eu", limit=3, reason="  slow\nbank ", **BY)
    assert (changed.effective_limit, changed.overridden, changed.override_by) == (3, True, "ana")
    assert changed.version == queue.version + 1
    assert told(queue) == [("override", "none", "3", "ana", "slow bank", "page")]
    assert changed.override_at == queue.changes.get().at


def test_unlimited_and_zero_are_different_overrides(queue: Queue) -> None:
    assert limits.change_limit(queue="billing/eu", limit=None, reason="", **BY).effective_limit is None
    assert limits.change_limit(queue="billing/eu", limit=0, reason="", **BY).effective_limit == 0
    assert [change[1:3] for change in told(queue)] == [("none", "unlimited"), ("unlimited", "0")]


def test_clearing_an_override_goes_back_to_the_declared_limit(queue: Queue) -> None:
    limits.change_limit(queue="billing/eu", limit=1, reason="", **BY)
    cleared = limits.clear_override(queue="billing/eu", reason="over", **BY)
    assert (cleared.effective_limit, cleared.overridden, cleared.override_limit) == (5, False, None)
    assert told(queue)[-1] == ("override", "1", "none", "ana", "over", "page")


def test_clearing_nothing_records_nothing(queue: Queue) -> None:
    assert limits.clear_override(queue="billing/eu", reason="", **BY).version == queue.version
    assert told(queue) == []


def test_a_pause_and_its_end_are_recorded(queue: Queue) -> None:
    assert limits.pause(queue="billing/eu", reason="bank closed", **BY).paused
    resumed = limits.resume(queue="billing/eu", actor="ben", through=Change.Through.REST)
    assert (resumed.paused, resumed.paused_at, resumed.paused_reason) == (False, None, "")
    assert told(queue) == [
        ("pause", "running", "paused", "ana", "bank closed", "page"),
        ("pause", "paused", "running", "ben", "", "rest"),
    ]


def test_pausing_again_gives_another_reason_and_end_and_keeps_since_when(queue: Queue) -> None:
    first = limits.pause(queue="billing/eu", reason="bank closed", **BY)
    until = limits.database_now() + IN_AN_HOUR
    second = limits.pause(
        queue="billing/eu", reason="till noon", actor="ben", through=Change.Through.ADMIN, until=until
    )
    assert (second.paused_at, second.paused_until) == (first.paused_at, until)
    assert (second.paused_by, second.paused_reason) == ("ben", "till noon")
    assert told(queue)[-1] == ("pause", "paused", "paused", "ben", "till noon", "admin")


def test_resuming_what_runs_is_an_answer_without_effect(queue: Queue) -> None:
    assert limits.resume(queue="billing/eu", expected_version=99, **BY).version == queue.version
    assert told(queue) == []


@pytest.mark.parametrize("limit", [-1, 1_000_001, True, 2.5, "3"])
def test_a_limit_that_makes_no_sense_is_refused(queue: Queue, limit: Any) -> None:
    with pytest.raises(limits.BadLimit):
        limits.change_limit(queue="billing/eu", limit=limit, reason="", **BY)
    assert told(queue) == []


def test_an_end_is_in_the_future_and_has_a_time_zone(queue: Queue) -> None:
    now = limits.database_now()
    for until in (now, now - IN_AN_HOUR, (now + IN_AN_HOUR).replace(tzinfo=None)):
        with pytest.raises(limits.BadLimit):
            limits.pause(queue="billing/eu", reason="", until=until, **BY)
    assert told(queue) == []


def test_an_unknown_queue_is_named(clean_db: None) -> None:
    with pytest.raises(limits.QueueNotFound) as refused:
        limits.pause(queue="nowhere", reason="", **BY)
    assert refused.value.detail == "There is no queue named 'nowhere'."


def test_a_change_needs_an_actor(queue: Queue) -> None:
    with pytest.raises(ValueError, match="actor"):
        limits.pause(queue="billing/eu", reason="", actor=" ", through=Change.Through.PAGE)


def test_text_that_postgresql_cannot_hold_is_cleaned(queue: Queue) -> None:
    limits.pause(queue="billing/eu", reason="a\0b \ud800" + "x" * 900, **BY)
    reason = queue.changes.get().reason
    assert reason.startswith("a b x")
    assert len(reason) <= 500


# -- stale views -----------------------------------------------------------------------------------


def test_a_stale_view_is_refused_and_told_what_changed(queue: Queue) -> None:
    limits.change_limit(queue="billing/eu", limit=3, reason="slow bank", **BY)
    with pytest.raises(limits.StaleView) as refused:
        limits.pause(
            queue="billing/eu",
            reason="",
            actor="ben",
            through=Change.Through.PAGE,
            expected_version=queue.version,
        )
    assert refused.value.detail == (
        "ana changed the override from none to 3 (“slow bank”) since you opened this. "
        "Nothing was changed: look again, then decide."
    )
    assert refused.value.queue.version == queue.version + 1
    assert len(told(queue)) == 1


def test_the_version_that_one_saw_is_accepted(queue: Queue) -> None:
    changed = limits.change_limit(queue="billing/eu", limit=3, reason="", expected_version=queue.version, **BY)
    limits.pause(queue="billing/eu", reason="", expected_version=changed.version, **BY)


# -- ends ------------------------------------------------------------------------------------------


def test_what_is_over_ends_by_itself_and_says_so(queue: Queue) -> None:
    until = limits.database_now() + IN_AN_HOUR
    limits.change_limit(queue="billing/eu", limit=1, reason="", until=until, **BY)
    limits.pause(queue="billing/eu", reason="", until=until, **BY)
    assert limits.end_due() == 0
    assert limits.end_due(until) == 2
    assert limits.end_due(until) == 0
    queue.refresh_from_db()
    assert (queue.overridden, queue.paused, queue.effective_limit) == (False, False, 5)
    assert [change[0:4] + change[5:] for change in told(queue)[2:]] == [
        ("override", "1", "none", "polos", "server"),
        ("pause", "paused", "running", "polos", "server"),
    ]


def test_an_end_that_was_moved_meanwhile_counts(queue: Queue) -> None:
    until = limits.database_now() + IN_AN_HOUR
    limits.pause(queue="billing/eu", reason="", until=until, **BY)
    limits.pause(queue="billing/eu", reason="", until=until + IN_AN_HOUR, **BY)
    assert limits.end_due(until) == 0


# -- waking ----------------------------------------------------------------------------------------


def test_every_server_hears_of_a_change_with_its_commit(queue: Queue, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute("listen polos_wake")
        limits.change_limit(queue="billing/eu", limit=2, reason="", **BY)
        heard = next(server.notifies(timeout=5))
    assert heard.payload == f"limits:{queue.id}"


def test_a_change_writes_only_its_own_columns(queue: Queue) -> None:
    with connection.execute_wrapper(_no_declared_columns):
        limits.change_limit(queue="billing/eu", limit=2, reason="", **BY)
        limits.pause(queue="billing/eu", reason="", **BY)


def _no_declared_columns(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("UPDATE"):
        written = sql.partition(" WHERE ")[0]
        assert "declared" not in written
        assert '"name"' not in written
    return execute(sql, params, many, context)
