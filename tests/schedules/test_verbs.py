"""What people and programs do to a schedule, and that the trail tells it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from queues import history, limits
from queues.models import Change, Execution, Queue
from queues.problems import Conflicting, NotFound
from workflows import schedules
from workflows.models import Schedule, Tick, Workflow
from workflows.schedules import Act, BadSchedule, Declared, DeclaredInCode, NameTaken, Spec, StaleSchedule

from .helpers import ANA, WORKFLOW, make, payload_of

pytestmark = pytest.mark.usefixtures("workflow")
HOURLY = Declared(WORKFLOW, Spec(name=WORKFLOW, workflow=WORKFLOW, cron="0 * * * *"), "jobs.py:7")


def trail() -> list[tuple[Any, ...]]:
    changes = Change.objects.filter(kind="schedule").order_by("id")
    return list(changes.values_list("subject", "before", "after", "actor", "through"))


def test_every_act_is_in_the_trail() -> None:
    schedule = make()
    schedules.change(schedule.id, replace(Spec.of(schedule), cron="0 4 * * *"), ANA)
    schedules.pause(schedule.id, ANA)
    schedules.resume(schedule.id, ANA)
    schedules.run_now(schedule.id, ANA)
    schedules.delete(schedule.id, ANA)
    assert [(before, after) for _, before, after, _, _ in trail()] == [
        ("none", "0 3 * * *"), ("0 3 * * *", "0 4 * * *"), ("running", "paused"), ("paused", "running"),
        ("", "run by hand"), ("0 4 * * *", "none"),
    ]  # fmt: skip
    assert {(subject, actor, through) for subject, _, _, actor, through in trail()} == {("nightly", "ana", "page")}


def test_the_trail_of_schedules_is_not_taken_for_a_change_of_the_queue(workflow: Workflow) -> None:
    make()
    queue = workflow.queue
    limits.change_limit(queue=queue.name, limit=3, reason="x", actor="ana", through=Change.Through.PAGE)
    schedules.pause(make("second").id, ANA)
    with pytest.raises(limits.StaleView, match="changed the override from none to 3"):
        limits.pause(
            queue=queue.name,
            reason="x",
            actor="jonas",
            through=Change.Through.PAGE,
            expected_version=queue.version,
        )
    now = timezone.now() + dt.timedelta(seconds=20)
    queue.refresh_from_db()
    series = history.read(queue, history.window("15m", "", "", now), now)
    assert series.pauses == [] and [step.limit for step in series.limits][-1] == 3


def test_a_pause_leaves_out_what_falls_into_it_and_says_who_and_why() -> None:
    schedule = make()
    paused = schedules.pause(schedule.id, Act("jonas", Change.Through.PAGE, "the report is wrong"))
    assert (paused.next_at, paused.paused_by, paused.paused_reason) == (None, "jonas", "the report is wrong")
    moved = schedules.change(schedule.id, replace(Spec.of(schedule), every=60, cron=""), ANA)
    assert moved.next_at is None
    resumed = schedules.resume(schedule.id, ANA)
    assert not resumed.paused and resumed.next_at is not None and resumed.next_at > timezone.now()


def test_run_now_starts_one_more_and_repeating_its_id_does_not() -> None:
    schedule = make(payload='{"day": 1}')
    schedules.pause(schedule.id, ANA)
    id = uuid4()
    assert schedules.run_now(schedule.id, ANA, execution_id=id) == id
    assert schedules.run_now(schedule.id, ANA, execution_id=id) == id
    execution = Execution.objects.get()
    assert (execution.id, payload_of(execution), execution.max_attempts) == (id, '{"day": 1}', 3)
    assert Tick.objects.get().by == "ana"
    with pytest.raises(Conflicting, match="Another execution has this id"):
        schedules.run_now(make("other").id, ANA, execution_id=id)


def test_a_queue_that_drains_takes_no_run_by_hand(workflow: Workflow) -> None:
    schedule = make()
    Queue.objects.filter(id=workflow.queue_id).update(draining=True, drain_at=timezone.now())
    with pytest.raises(Conflicting, match="draining"):
        schedules.run_now(schedule.id, ANA)
    assert not Execution.objects.exists() and not Tick.objects.exists()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"workflow": "unknown"}, "workflow"),
        ({"queue": "unknown"}, "queue"),
        ({"cron": "* *"}, "cron"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"cron": "", "at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, "at"),
        ({"payload": "{"}, "payload"),
        ({"catch_up": "some"}, "catch_up"),
        ({"catch_up_most": 0}, "catch_up_most"),
        ({"overlap": "never"}, "overlap"),
        ({"name": "a b"}, "name"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_field_named(said: dict[str, Any], field: str) -> None:
    spec = Spec(**{"name": "x", "workflow": WORKFLOW, "cron": "0 3 * * *", **said})
    with pytest.raises(BadSchedule) as bad:
        schedules.create(spec, ANA)
    assert bad.value.field == field
    assert not Schedule.objects.exists() and trail() == []


def test_names_are_taken_once_and_a_stale_view_is_refused() -> None:
    schedule = make()
    with pytest.raises(NameTaken):
        make()
    other = make("other")
    with pytest.raises(NameTaken):
        schedules.change(other.id, replace(Spec.of(other), name="nightly"), ANA)
    schedules.pause(schedule.id, ANA)
    with pytest.raises(StaleSchedule):
        schedules.change(schedule.id, Spec.of(schedule), ANA, expected_version=schedule.version)
    with pytest.raises(NotFound):
        schedules.pause(uuid4(), ANA)


def test_a_change_that_is_not_of_the_time_keeps_the_next_tick() -> None:
    schedule = make(every=3_600)
    changed = schedules.change(schedule.id, replace(Spec.of(schedule), overlap="skip"), ANA)
    assert (changed.next_at, changed.anchor) == (schedule.next_at, schedule.anchor)
    assert schedules.change(schedule.id, Spec.of(changed), ANA).version == changed.version


def test_code_declares_changes_and_removes_its_schedule() -> None:
    schedules.declare("worker-a", [HOURLY])
    row = Schedule.objects.get()
    assert (row.name, row.declared, row.declared_by, row.place) == (WORKFLOW, True, "worker-a", "jobs.py:7")
    schedules.pause(row.id, ANA)
    assert HOURLY.spec is not None
    schedules.declare("worker-b", [replace(HOURLY, spec=replace(HOURLY.spec, cron="30 * * * *"))])
    row = Schedule.objects.get()
    assert (row.cron, row.paused, row.declared_by) == ("30 * * * *", True, "worker-b")
    schedules.declare("worker-b", [Declared(WORKFLOW, None)])
    assert not Schedule.objects.exists()
    assert [(actor, through) for _, _, _, actor, through in trail() if through == "worker"] == [
        ("worker-a", "worker"), ("worker-b", "worker"), ("worker-b", "worker"),
    ]  # fmt: skip


def test_declaring_again_changes_nothing_and_another_worker_is_only_noted() -> None:
    schedules.declare("worker-a", [HOURLY])
    before: dict[str, Any] = {**Schedule.objects.values().get()}
    schedules.declare("worker-a", [HOURLY])
    assert Schedule.objects.values().get() == before
    schedules.declare("worker-b", [HOURLY])
    after: dict[str, Any] = {**Schedule.objects.values().get()}
    assert {name for name, value in before.items() if value != after[name]} == {"declared_by"}
    assert len(trail()) == 1


def test_what_code_declares_is_changed_and_deleted_there() -> None:
    schedules.declare("worker-a", [HOURLY])
    row = Schedule.objects.get()
    with pytest.raises(DeclaredInCode, match=r"jobs\.py:7"):
        schedules.change(row.id, replace(Spec.of(row), cron="1 * * * *"), ANA)
    with pytest.raises(DeclaredInCode):
        schedules.delete(row.id, ANA)


def test_a_name_that_a_person_used_is_left_to_them() -> None:
    make(WORKFLOW)
    schedules.declare("worker-a", [HOURLY])
    assert set(Schedule.objects.values_list("name", "declared")) == {(WORKFLOW, False), (f"{WORKFLOW}-2", True)}
    schedules.declare("worker-a", [HOURLY])
    assert Schedule.objects.count() == 2


def test_a_time_in_the_past_is_declared_but_never_comes() -> None:
    past = Spec(name=WORKFLOW, workflow=WORKFLOW, at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    assert "in the past" in schedules.declare("worker-a", [Declared(WORKFLOW, past)])[0]
    assert Schedule.objects.get().next_at is None
    assert Queue.objects.count() == 1
