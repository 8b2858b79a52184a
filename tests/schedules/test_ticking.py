"""Due schedules start their executions: each tick once, whoever does it and whenever it is killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from itertools import pairwise
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.utils import timezone

from queues.engine.database import Database
from queues.models import Deadline, Execution, Queue
from queues.requests import NewExecution
from tests.engine.crew import engine_on, in_django, query
from workflows import schedules, ticking
from workflows.models import Tick, Workflow
from workflows.ticking import Due, decide, tick_id, tick_schedules

from .helpers import ANA, due, finish, make, outcomes, payload_of, row, started, times, write

HOUR = dt.timedelta(hours=1)
NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def hourly(late: dt.timedelta, **more: Any) -> Due:
    """An hourly schedule that was due at noon and is looked at so much later."""
    said: dict[str, Any] = {"catch_up": "latest", "catch_up_most": 100, "overlap": "allow", **more}
    return Due(
        id=uuid4(), name="hourly", workflow="report", queue_id=1, max_attempts=1, cron="0 * * * *", timezone="UTC",
        every=None, at=None, anchor=NOON, payload=None, next_at=NOON, ticked_at=None, now=NOON + late, **said,
    )  # fmt: skip


def said(due: Due, running: bool = False) -> list[tuple[int, str]]:
    return [(note.at.hour, note.outcome.value) for note in decide(due, running).notes]


# -- the decision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["skip", "latest", "all"])
def test_a_tick_that_is_a_little_late_starts_under_every_policy(policy: str) -> None:
    decision = decide(hourly(dt.timedelta(seconds=50), catch_up=policy), False)
    assert [note.outcome for note in decision.notes] == ["started"]
    assert decision.next_at == NOON + HOUR


def test_a_queue_that_drains_gets_no_tick() -> None:
    assert said(hourly(HOUR, draining=True, catch_up="all")) == [(12, "missed"), (13, "skipped")]


def test_missed_ticks_are_skipped_or_caught_up_as_the_policy_says() -> None:
    late = 3 * HOUR + dt.timedelta(minutes=30)
    assert said(hourly(late, catch_up="skip")) == [(12, "missed")]
    assert said(hourly(late, catch_up="latest")) == [(12, "missed"), (15, "started")]
    assert said(hourly(late, catch_up="all")) == [(hour, "started") for hour in (12, 13, 14, 15)]
    assert said(hourly(late, catch_up="all", catch_up_most=2)) == [
        (12, "missed"), (14, "started"), (15, "started"),
    ]  # fmt: skip
    assert "4 ticks until 2026-06-01 15:00:00" in decide(hourly(late, catch_up="skip"), False).notes[0].note


def test_only_the_latest_means_the_one_on_time_when_there_is_one() -> None:
    late = 3 * HOUR + dt.timedelta(seconds=5)
    assert said(hourly(late, catch_up="latest")) == [(12, "missed"), (15, "started")]
    assert said(hourly(late, catch_up="skip")) == [(12, "missed"), (15, "started")]


def test_while_one_runs_the_tick_starts_beside_it_or_not_or_in_its_place() -> None:
    on_time = dt.timedelta(seconds=1)
    assert said(hourly(on_time, overlap="allow"), running=True) == [(12, "started")]
    assert said(hourly(on_time, overlap="skip"), running=True) == [(12, "skipped")]
    assert said(hourly(on_time, overlap="skip"), running=False) == [(12, "started")]
    assert decide(hourly(on_time, overlap="cancel"), True).cancels
    assert not decide(hourly(on_time, overlap="cancel"), False).cancels


def test_of_several_that_are_caught_up_at_once_one_starts_when_they_must_not_overlap() -> None:
    late = 2 * HOUR + dt.timedelta(minutes=5)
    assert said(hourly(late, catch_up="all", overlap="skip")) == [
        (12, "started"),
        (13, "skipped"),
        (14, "skipped"),
    ]
    assert said(hourly(late, catch_up="all", overlap="cancel")) == [
        (12, "skipped"), (13, "skipped"), (14, "started"),
    ]  # fmt: skip


def test_the_id_of_a_tick_is_a_uuid7_of_its_time_and_always_the_same() -> None:
    schedule = uuid4()
    id = tick_id(schedule, NOON)
    assert id.version == 7 and id.int >> 80 == int(NOON.timestamp() * 1000)
    assert id == tick_id(schedule, NOON.astimezone(dt.timezone(HOUR)))
    assert len({id, tick_id(uuid4(), NOON), tick_id(schedule, NOON + dt.timedelta(microseconds=1))}) == 3


# -- the duty --------------------------------------------------------------------------------------


async def test_a_due_schedule_starts_its_workflow_with_the_tick(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make, timezone="Europe/Berlin")
    at = await in_django(due, schedule)
    await tick_schedules(database)
    (execution,) = await in_django(started, schedule)
    assert (execution.workflow, execution.status, execution.max_attempts) == ("report", "queued", 3)
    assert execution.id == tick_id(schedule.id, at)
    payload = json.loads(await in_django(payload_of, execution))
    assert dt.datetime.fromisoformat(payload["timestamp"]) == at
    assert (payload["key"], payload["timezone"]) == ("nightly", "Europe/Berlin")
    moved = await in_django(row, schedule)
    assert moved.next_at is not None and moved.next_at > timezone.now() and moved.ticked_at == at
    assert moved.version == schedule.version
    await tick_schedules(database)
    assert await in_django(Execution.objects.count) == 1


async def test_the_options_of_the_workflow_count(database: Database, workflow: Workflow) -> None:
    options = {"priority": 7, "queue_timeout": 60, "execution_timeout": 90}
    await in_django(Workflow.objects.update, **options)
    schedule = await in_django(make)
    await in_django(due, schedule)
    await tick_schedules(database)
    await in_django(schedules.run_now, schedule.id, ANA)
    executions: list[Execution] = await in_django(list, Execution.objects.all())
    assert [each.priority for each in executions] == [7, 7]
    assert await in_django(list, Deadline.objects.values_list("seconds", flat=True).order_by("seconds")) == [
        60, 60, 90, 90,
    ]  # fmt: skip


async def test_a_payload_goes_as_it_was_given(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make, payload='{"b": 1, "a": null}')
    await in_django(due, schedule)
    await tick_schedules(database)
    (execution,) = await in_django(started, schedule)
    assert await in_django(payload_of, execution) == '{"b": 1, "a": null}'


async def test_an_execution_goes_to_the_queue_that_the_schedule_names(
    database: Database, workflow: Workflow
) -> None:
    other = await in_django(Queue.objects.create, name="other")
    schedule = await in_django(make, queue="other")
    await in_django(due, schedule)
    await tick_schedules(database)
    (execution,) = await in_django(started, schedule)
    assert execution.queue_id == other.id


async def test_what_was_missed_long_ago_is_told_until_something_else_is(
    database: Database, workflow: Workflow, dsn: str
) -> None:
    schedule = await in_django(make, cron="* * * * *", overlap="skip")
    await in_django(due, schedule, 40 * 86_400)
    await tick_schedules(database)
    assert await in_django(outcomes, schedule) == ["missed", "started"]
    ((note,),) = query(dsn, "select note from workflows_tick where outcome = 'missed'")
    assert note.startswith("more than 1,000 ticks until 20")
    await in_django(due, schedule)
    await tick_schedules(database)
    assert await in_django(outcomes, schedule) == ["started", "skipped"]


async def test_a_single_time_comes_once_and_is_over(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make, at=timezone.now() + HOUR)
    at = timezone.now() - dt.timedelta(seconds=1)
    await in_django(write, schedule, at=at, next_at=at)
    for _ in range(2):
        await tick_schedules(database)
    assert await in_django(outcomes, schedule) == ["started"]
    assert (await in_django(row, schedule)).next_at is None


async def test_two_servers_that_tick_at_once_start_each_tick_once(
    database: Database, dsn: str, workflow: Workflow
) -> None:
    other = Database(dsn, size=4)
    await other.open()
    many = [await in_django(make, f"every-{n}", every=1, catch_up="all") for n in range(5)]
    for schedule in many:
        await in_django(due, schedule, 20)
    until = asyncio.get_running_loop().time() + 2.2

    async def server(database: Database) -> None:
        while asyncio.get_running_loop().time() < until:
            await tick_schedules(database)
            await asyncio.sleep(0.01)

    await asyncio.gather(server(database), server(other))
    await other.close()
    for schedule in many:
        ticks = await in_django(times, schedule)
        assert len(ticks) >= 22
        assert {later - earlier for earlier, later in pairwise(ticks)} == {dt.timedelta(seconds=1)}
        assert {execution.id for execution in await in_django(started, schedule)} == {
            tick_id(schedule.id, at) for at in ticks
        }


async def test_a_server_killed_within_a_tick_loses_and_doubles_nothing(
    database: Database, dsn: str, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await in_django(make)
    at = await in_django(due, schedule)
    real = ticking._note

    async def killed(conn: psycopg.AsyncConnection[tuple[object, ...]], work: ticking._Work) -> None:
        await real(conn, work)
        query(dsn, "select pg_terminate_backend(%s)", conn.info.backend_pid)
        await conn.execute("select 1")

    with monkeypatch.context() as patch:
        patch.setattr(ticking, "_note", killed)
        with pytest.raises(Exception, match="database"):
            await tick_schedules(database)
    assert await in_django(Execution.objects.count) == await in_django(Tick.objects.count) == 0
    await tick_schedules(database)
    assert [execution.id for execution in await in_django(started, schedule)] == [tick_id(schedule.id, at)]


async def test_a_tick_that_comes_again_finds_itself_there(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make)
    at = await in_django(due, schedule)
    for _ in range(2):
        await in_django(write, schedule, next_at=at)
        await tick_schedules(database)
    assert await in_django(Execution.objects.count) == await in_django(Tick.objects.count) == 1


async def test_a_tick_is_skipped_while_the_one_before_is_not_finished(
    database: Database, workflow: Workflow
) -> None:
    schedule = await in_django(make, overlap="skip")
    await in_django(due, schedule, 3)
    await tick_schedules(database)
    await in_django(due, schedule, 2)
    await tick_schedules(database)
    (first,) = await in_django(started, schedule)
    await in_django(finish, first)
    await in_django(due, schedule, 1)
    await tick_schedules(database)
    assert await in_django(outcomes, schedule) == ["started", "skipped", "started"]


async def test_the_one_before_is_cancelled_when_the_policy_says_so(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make, overlap="cancel")
    for seconds in (3, 2):
        await in_django(due, schedule, seconds)
        await tick_schedules(database)
    first, second = await in_django(started, schedule)
    assert (first.status, second.status) == ("cancelled", "queued")
    assert first.cancel_by == "nightly (schedule)"


async def test_what_was_run_by_hand_counts_as_running(database: Database, workflow: Workflow) -> None:
    schedule = await in_django(make, overlap="skip")
    await in_django(schedules.run_now, schedule.id, ANA)
    await in_django(due, schedule, 0.001)
    await asyncio.sleep(0.01)
    await tick_schedules(database)
    assert sorted(await in_django(outcomes, schedule)) == ["skipped", "started"]


async def test_one_that_cannot_be_worked_out_is_paused_and_holds_up_no_other(
    database: Database, workflow: Workflow
) -> None:
    broken = await in_django(make, "broken")
    good = await in_django(make, "good")
    await in_django(due, broken, timezone="Gone/Away")
    await in_django(due, good)
    await tick_schedules(database)
    broken = await in_django(row, broken)
    assert broken.paused and "Gone/Away" in broken.paused_reason
    assert len(await in_django(started, good)) == 1


async def test_the_duty_runs_in_every_server_and_wakes_the_worker(dsn: str, workflow: Workflow) -> None:
    schedule = await in_django(make)
    async with engine_on(dsn, duties=True) as engine:
        await asyncio.sleep(0.1)
        await engine.enqueue([NewExecution(workflow_id="other", queue_name="other")])
        await in_django(due, schedule)
        for _ in range(100):
            if await in_django(Tick.objects.exists):
                break
            await asyncio.sleep(0.05)
    assert len(await in_django(started, schedule)) == 1
