"""What starts a workflow by itself, as the decorator takes it; what cannot work is refused where it is written."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

import polos
from polos import DefinitionError, EventPayload, SchedulePayload, workflow
from polos._workflow import Workflow


def made(**options: Any) -> Workflow[Any]:
    async def report(ctx: Any, tick: SchedulePayload | None = None) -> None: ...

    return Workflow(report, **options)


def test_a_text_is_a_cron_expression() -> None:
    of = made(schedule="0 3 * * MON-FRI")
    assert of.schedule == {"cron": "0 3 * * MON-FRI", "place": of.place}
    assert "test_schedule.py" in of.place


def test_a_dict_says_everything() -> None:
    said = {
        "every": dt.timedelta(minutes=5), "timezone": "Europe/Berlin", "payload": {"a": None}, "catch_up": "all",
        "catch_up_most": 5, "overlap": "cancel",
    }  # fmt: skip
    assert made(schedule=said).schedule == {**said, "every": 300, "place": made(schedule=said).place}
    at = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)
    assert made(schedule={"at": at}).schedule["at"] == "2030-01-31T12:00:00+00:00"  # type: ignore[index]


@pytest.mark.parametrize("none", [None, True, False])
def test_no_schedule_is_said_too(none: Any) -> None:
    assert made(schedule=none).schedule is None


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *", "*/5 0-6,22-23 1,15 JAN-MAR sun", "59 23 L 12 7", "0 0 LW * *", "0 0 * * MON#1,5L",
        "0/15 * * * *", "@Daily", "0 0 29 2 *", "0 0 31 4,5 *", "0 0 30-31 FEB MON", "0 0 31 2/3 *", "0 0 L 2 *",
    ],
)  # fmt: skip
def test_what_the_server_takes(cron: str) -> None:
    from workflows.timing import Timing

    Timing(cron=cron).check()
    assert made(schedule=cron).schedule is not None


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 30-31 FEB *", "0 0 31 4,JUN */2", "0 0 31 2/7 *"])
def test_a_day_that_never_comes_is_refused_with_the_servers_sentence(cron: str) -> None:
    from workflows.timing import BadTiming, Timing

    with pytest.raises(BadTiming) as by_the_server:
        Timing(cron=cron).check()
    with pytest.raises(DefinitionError) as refused:
        made(schedule=cron)
    assert str(refused.value).endswith(f"the schedule of report: {by_the_server.value}")


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("0 3 * *", "not a cron expression of five fields"),
        ("@reboot", "nor one of @yearly"),
        ("60 * * * *", "the minute of '60 * * * *' is not valid: 0 to 59"),
        ("* 24 * * *", "the hour"),
        ("* * 0 * *", "the day of the month"),
        ("* * * FOO *", "the month"),
        ("* * * * 8", "the day of the week"),
        ("5-3 * * * *", "the minute"),
        ("*/0 * * * *", "the minute"),
        ("1- * * * *", "the minute"),
        (5, "a cron expression or a dict, not int"),
        ({}, "one of cron, every and at"),
        ({"cron": "@daily", "every": 5}, "one of cron, every and at"),
        ({"every": 0.5}, "a whole number of seconds"),
        ({"every": "5"}, "a number of seconds or a timedelta"),
        ({"at": dt.datetime(2030, 1, 1)}, "with a time zone"),  # noqa: DTZ001
        ({"cron": "@daily", "timezone": "Berlin"}, "there is no time zone 'Berlin'"),
        ({"cron": "@daily", "overlap": "never"}, "overlap is one of allow, skip, cancel"),
        ({"cron": "@daily", "catch_up_most": 0}, "a whole number from 1 to 1,000"),
        ({"cron": "@daily", "payload": object()}, "its payload cannot be written as JSON"),
        ({"cron": "@daily", "key": "a b"}, "cannot name a schedule"),
        ({"cron": "@daily", "name": "x"}, "not name"),
    ],
)
def test_what_cannot_work_is_refused_with_the_place(schedule: Any, told: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        made(schedule=schedule)
    assert told in str(refused.value) and "test_schedule.py" in str(refused.value)


def test_a_trigger_is_a_topic_and_perhaps_a_batch() -> None:
    of = made(trigger_on_event="orders/new")
    assert of.trigger == {"topic": "orders/new", "batch_size": 1, "place": of.place}
    batch = made(trigger_on_event="orders", batch_size=10, batch_timeout_seconds=dt.timedelta(seconds=2))
    assert batch.trigger is not None and (batch.trigger["batch_size"], batch.trigger["batch_timeout"]) == (10, 2.0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"trigger_on_event": "a b"}, "cannot name a topic"),
        ({"trigger_on_event": "a", "batch_size": 0}, "batch_size is a whole number from 1 to 1,000"),
        ({"trigger_on_event": "a", "batch_timeout_seconds": -1}, "batch_timeout_seconds is between 0"),
        ({"batch_size": 5}, "say trigger_on_event"),
        ({"batch_timeout_seconds": 5}, "say trigger_on_event"),
    ],
)
def test_a_trigger_that_cannot_work_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        made(**said)


def test_the_decorator_takes_both() -> None:
    @workflow(id="on-both", schedule="@hourly", trigger_on_event="orders")
    async def on_both(ctx: Any, payload: Any) -> None: ...

    assert on_both.schedule and on_both.trigger


def test_a_tick_and_an_event_are_typed_when_the_function_says_so() -> None:
    async def report(ctx: Any, tick: SchedulePayload) -> None: ...
    async def ship(ctx: Any, event: EventPayload) -> None: ...
    async def many(ctx: Any, batch: polos.BatchEventPayload) -> None: ...

    event = {"id": "1", "topic": "orders", "payload": {"n": 1}, "published_at": "2030-01-01T00:00:00Z"}
    sent = {
        "schedule_id": "1", "key": "nightly", "timestamp": "2030-01-01T02:00:00Z", "last_timestamp": None,
        "upcoming": None, "timezone": "UTC",
    }  # fmt: skip
    (tick,) = Workflow(report).arguments(sent)
    assert tick.timestamp == dt.datetime(2030, 1, 1, 2, tzinfo=dt.UTC)
    (one,) = Workflow(ship).arguments(event)
    assert one.payload == {"n": 1} and one.published_at.year == 2030
    (batch,) = Workflow(many).arguments({"events": [event, event]})
    assert [each.topic for each in batch.events] == ["orders", "orders"]
