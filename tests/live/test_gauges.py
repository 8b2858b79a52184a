"""What a gauge says is what the rows say, and what a claim would decide."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queues import gauges, limits
from queues.gauges import Gauge, Memory, State, state_of
from queues.models import Change, Declaration, Execution, Queue

from .conftest import World, gauge

STATUSES = ("queued", "running", "cancelling", "scheduled", "waiting", "completed", "failed", "cancelled")


def only(found: list[Gauge]) -> Gauge:
    assert len(found) == 1
    return found[0]


def test_a_gauge_counts_what_holds_waits_and_is_scheduled(world: World) -> None:
    queue = world.queue()
    world.worker(queue)
    for slot, status in enumerate(("running", "running", "cancelling"), start=1):
        world.execution(queue, status, slot=slot)
    for status in ("queued", "scheduled", "scheduled", "waiting", "completed"):
        world.execution(queue, status, ago=20)
    shown = only(gauges.snapshot())
    assert (shown.running, shown.cancelling, shown.held, shown.waiting, shown.scheduled) == (2, 1, 3, 1, 2)
    assert (shown.workers, shown.limit, shown.state) == (1, 5, State.ACTIVE)
    assert shown.oldest_wait == pytest.approx(20, abs=5)


def test_an_override_and_a_pause_show(world: World) -> None:
    world.queue()
    limits.change_limit(queue="q", limit=None, reason="fast", actor="ana", through=Change.Through.PAGE)
    limits.pause(queue="q", reason="stop", actor="ben", through=Change.Through.PAGE)
    shown = only(gauges.snapshot())
    assert (shown.limit, shown.declared_limit, shown.overridden, shown.override_by) == (None, 5, True, "ana")
    assert (shown.paused, shown.paused_by, shown.state) == (True, "ben", State.PAUSED)


def test_a_worker_without_a_lease_serves_nothing(world: World) -> None:
    queue = world.queue()
    world.worker(queue, lease=-1)
    world.execution(queue, "queued")
    assert only(gauges.snapshot()).state is State.NO_WORKER


def test_disagreeing_declarations_show(world: World) -> None:
    queue, now = world.queue(), dt.datetime.now(dt.UTC)
    for name, limit in (("a", 5), ("b", None)):
        Declaration.objects.create(queue=queue, worker_name=name, limit=limit, changed_at=now, seen_at=now)
    assert only(gauges.snapshot()).disagree


def test_finished_executions_make_the_sparkline_and_the_totals(world: World) -> None:
    queue = world.queue()
    for ago in (1, 1, 100, 1_000, 4_000):
        world.execution(queue, "completed", ago=ago)
    world.execution(queue, "failed", ago=2)
    survey = gauges.survey(Memory())
    shown = only(survey.gauges)
    assert (len(shown.spark), sum(shown.spark), shown.per_minute) == (60, 4, 3.0)
    assert (survey.totals.finished, survey.totals.failed) == (5, 1)


def test_what_finished_is_read_once(world: World) -> None:
    queue, memory = world.queue(), Memory()
    for ago in (100, 1_000):
        world.execution(queue, "completed", ago=ago)
    gauges.survey(memory)
    Execution.objects.all().delete()  # what was read is remembered, not read again
    world.execution(queue, "completed")
    survey = gauges.survey(memory)
    assert (sum(only(survey.gauges).spark), survey.totals.finished) == (2, 3)


def test_more_than_ten_thousand_waiting_are_counted_now_and_then(world: World) -> None:
    queue, memory = world.queue(), Memory()
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into queues_execution (id, queue_id, workflow, status, place, priority, enqueued_at, attempt, "
            "max_attempts, losses, outcome, cancel_by) select gen_random_uuid(), %s, 'wf', 'queued', now(), 0, "
            "now(), 0, 1, 0, '', '' from generate_series(1, 10500)",
            [queue.id],
        )
    shown = only(gauges.survey(memory).gauges)
    assert (shown.waiting, shown.waiting_is_capped) == (10_500, True)
    world.execution(queue, "queued")
    assert only(gauges.survey(memory).gauges).waiting == 10_500  # not older than ten seconds
    memory._slow_at = 0.0
    assert only(gauges.survey(memory).gauges).waiting == 10_501


def test_the_number_of_statements_does_not_grow_with_the_queues(world: World) -> None:
    counts = []
    for number in range(1, 4):
        for extra in range(number):
            world.execution(world.queue(f"q{number}-{extra}"), "queued")
        with CaptureQueriesContext(
            connection,
        ) as seen:
            gauges.survey(Memory())
        counts.append(len(seen))
    assert len(set(counts)) == 1


def test_no_queues_are_no_gauges_but_workers_count(world: World) -> None:
    world.worker()
    survey = gauges.survey(Memory())
    assert (survey.gauges, survey.totals.workers, survey.totals.capacity) == ([], 1, 10)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 3)),
            st.booleans(),
            st.lists(st.sampled_from(STATUSES), max_size=6),
        ),
        max_size=4,
    )
)
def test_gauges_say_what_the_rows_say(world: World, queues: list[tuple[int | None, bool, list[str]]]) -> None:
    Execution.objects.all().delete()
    Queue.objects.all().delete()
    for number, (limit, overridden, statuses) in enumerate(queues):
        queue = world.queue(f"q{number}", 7, overridden=overridden, override_limit=limit if overridden else None)
        for slot, status in enumerate(statuses, start=1):
            world.execution(queue, status, slot=slot)
    with connection.cursor() as cursor:
        cursor.execute(
            "select name, case when overridden then override_limit else declared_limit end, "
            "(select count(*) from queues_execution where queue_id = q.id and status = 'running'), "
            "(select count(*) from queues_execution where queue_id = q.id and status = 'cancelling'), "
            "(select count(*) from queues_execution where queue_id = q.id and status = 'queued'), "
            "(select count(*) from queues_execution where queue_id = q.id and status = 'scheduled') "
            "from queues_queue q order by name"
        )
        truth = cursor.fetchall()
    shown = [(g.name, g.limit, g.running, g.cancelling, g.waiting, g.scheduled) for g in gauges.snapshot()]
    assert shown == truth


# -- the word --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({}, "idle"),
        ({"limit": 0}, "idle"),
        ({"held": 1}, "active"),
        ({"held": 5}, "active"),
        ({"held": 5, "waiting": 1}, "at limit"),
        ({"held": 5, "waiting": 1, "oldest_wait": 61.0}, "backlogged"),
        ({"held": 2, "waiting": 1}, "active"),
        ({"limit": None, "held": 99, "waiting": 1}, "active"),
        ({"limit": None, "held": 99, "waiting": 1, "oldest_wait": 61.0}, "backlogged"),
        ({"limit": 0, "waiting": 1}, "blocked"),
        ({"limit": 0, "waiting": 1, "workers": 0}, "blocked"),
        ({"held": 5, "waiting": 1, "workers": 0}, "no worker"),
        ({"paused": True, "waiting": 1, "limit": 0}, "paused"),
    ],
)
def test_a_state_has_one_word(said: dict[str, object], word: str) -> None:
    plain = {"paused": False, "limit": 5, "held": 0, "waiting": 0, "workers": 1, "oldest_wait": None}
    assert state_of(**plain | said) == word  # type: ignore[arg-type]


def test_attention_counts_what_waits_for_somebody() -> None:
    quiet = [gauge(state=State.IDLE), gauge(state=State.AT_LIMIT, waiting=3), gauge(state=State.PAUSED)]
    loud = [
        gauge(state=State.BACKLOGGED),
        gauge(state=State.BLOCKED),
        gauge(state=State.NO_WORKER),
        gauge(state=State.PAUSED, waiting=1),
    ]
    assert gauges.attention([*quiet, *loud]) == len(loud)
