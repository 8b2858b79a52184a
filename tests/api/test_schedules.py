"""Schedules over REST, and as workers declare them."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any
from uuid import uuid4

import pytest

from queues.engine import Engine
from tests.engine.crew import query
from workflows.declaring import forget_now
from workflows.models import Schedule, Trigger

from .asgi_client import Client
from .conftest import MakeKey, claim, in_database, join

CRON = {"workflow_id": "report", "name": "nightly", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
async def ready(client: Client) -> Client:
    await join(client, ("reports", "report"))
    return client


async def made(client: Client, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/schedules", CRON | more)
    assert answer.status == 201, answer.body
    return dict(answer.json)


async def test_a_schedule_from_its_making_to_its_end(ready: Client) -> None:
    schedule = await made(ready, payload={"day": "today"}, overlap="skip", catch_up="all", catch_up_most=3)
    assert (schedule["queue"], schedule["payload"], schedule["declared"]) == ("reports", {"day": "today"}, False)
    assert len(schedule["next"]) == 5 and schedule["ticks"] == []
    path = f"/api/v1/schedules/{schedule['id']}"

    changed = (await ready.patch(path, {"every": 300, "payload": None})).json
    assert (changed["cron"], changed["every"], changed["payload"], changed["overlap"]) == (None, 300, None, "skip")
    listed = (await ready.get("/api/v1/schedules?workflow=report")).json
    assert [each["name"] for each in listed["schedules"]] == ["nightly"] and listed["next_cursor"] is None

    paused = (await ready.put(f"{path}/pause", {"reason": "wrong numbers"})).json
    assert paused["paused"]["reason"] == "wrong numbers" and paused["next"] == []
    run = await ready.post(f"{path}/runs", {})
    assert (run.status, run.json["workflow_id"], run.json["queue"]) == (201, "report", "reports")
    resumed = (await ready.delete(f"{path}/pause")).json
    assert resumed["paused"] is None and len(resumed["next"]) == 5
    assert [(tick["outcome"], tick["execution_id"]) for tick in resumed["ticks"]] == [("started", run.json["id"])]

    assert (await ready.delete(path)).status == 204
    assert (await ready.get(path)).status == 404


async def test_a_schedule_may_be_made_again_with_its_id_and_is_found_by_its_name(ready: Client) -> None:
    named = {"id": str(uuid4())}
    answers = [await ready.post("/api/v1/schedules", CRON | named) for _ in range(2)]
    assert [(answer.status, answer.json["id"]) for answer in answers] == [(201, named["id"]), (200, named["id"])]
    other = await ready.post("/api/v1/schedules", CRON | named | {"name": "other"})
    assert other.status == 409 and "Another schedule has the id" in other.json["detail"]
    await made(ready, name="nightly-2")
    for name, found in (("nightly", [named["id"]]), ("night", []), ("%00", [])):
        answer = (await ready.get(f"/api/v1/schedules?name={name}")).json
        assert [each["id"] for each in answer["schedules"]] == found


async def test_a_run_may_be_repeated_with_its_id(ready: Client) -> None:
    path = f"/api/v1/schedules/{(await made(ready))['id']}"
    id = str(uuid4())
    answers = [await ready.post(f"{path}/runs", {"id": id}) for _ in range(2)]
    assert [answer.json["id"] for answer in answers] == [id, id]
    assert len((await ready.get(path)).json["ticks"]) == 1


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"cron": "61 * * * *"}, "The minute is not valid"),
        ({"cron": ""}, "Give one of cron, every and at"),
        ({"every": 60}, "Give one of cron, every and at"),
        ({"timezone": "Berlin"}, "There is no time zone 'Berlin'"),
        ({"workflow_id": "unknown"}, "No worker has registered a workflow named “unknown” yet"),
        ({"queue_name": "nowhere"}, "There is no queue named “nowhere”"),
        ({"name": "a b"}, "cannot name a schedule"),
        ({"cron": "", "at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"cron": "", "at": "2030-01-01T00:00:00"}, "not valid"),
        ({"cron": "", "at": "9999-01-01T00:00:00Z"}, "between the years"),
        ({"overlap": "maybe"}, "not valid"),
        ({"timezone": "a\0b"}, "U+0000"),
    ],
)
async def test_what_makes_no_sense_is_told(ready: Client, said: dict[str, Any], told: str) -> None:
    answer = await ready.post("/api/v1/schedules", CRON | said)
    assert (answer.status, told in answer.json["detail"]) == (422, True), answer.json


async def test_conflicts_are_told(ready: Client) -> None:
    schedule = await made(ready)
    again = await ready.post("/api/v1/schedules", CRON)
    assert again.status == 409 and "already" in again.json["detail"]
    path = f"/api/v1/schedules/{schedule['id']}"
    await ready.put(f"{path}/pause", {})
    stale = await ready.patch(path, {"cron": "0 1 * * *", "expected_version": schedule["version"]})
    assert stale.status == 409 and stale.json["version"] == schedule["version"] + 1


async def test_pages_go_by_name(ready: Client) -> None:
    for name in ("c", "a", "b"):
        await made(ready, name=name)
    first = (await ready.get("/api/v1/schedules?limit=2")).json
    assert [each["name"] for each in first["schedules"]] == ["a", "b"]
    second = (await ready.get(f"/api/v1/schedules?limit=2&cursor={first['next_cursor']}")).json
    assert [each["name"] for each in second["schedules"]] == ["c"] and second["next_cursor"] is None


@pytest.mark.parametrize("asked", ["cursor=a%00b", "workflow=%00"])
async def test_a_character_that_postgresql_refuses_finds_nothing(ready: Client, asked: str) -> None:
    await made(ready)

    answer = await ready.get(f"/api/v1/schedules?{asked}")

    assert (answer.status, answer.json["schedules"]) == (200, [])


async def test_a_key_for_some_queues_sees_and_changes_only_theirs(ready: Client, make_key: MakeKey) -> None:
    schedule = await made(ready)
    path = f"/api/v1/schedules/{schedule['id']}"
    narrow = Client(key=(await make_key("narrow", "full", "other/*"))[1])
    for answer in (
        await narrow.get(path),
        await narrow.delete(path),
        await narrow.patch(path, {}),
        await narrow.put(f"{path}/pause", {}),
        await narrow.post(f"{path}/runs", {}),
        await narrow.post("/api/v1/schedules", CRON | {"name": "mine"}),
    ):
        assert answer.status == 404
    assert (await narrow.get("/api/v1/schedules")).json["schedules"] == []


async def test_what_each_scope_may_do(ready: Client, make_key: MakeKey) -> None:
    path = f"/api/v1/schedules/{(await made(ready))['id']}"
    enqueue = Client(key=(await make_key("enqueue", "enqueue"))[1])
    work = Client(key=(await make_key("work", "work"))[1])
    assert (await enqueue.get(path)).status == 200
    assert (await enqueue.post(f"{path}/runs", {})).status == 201
    assert (await enqueue.delete(path)).status == (await enqueue.put(f"{path}/pause", {})).status == 403
    assert (await work.get(path)).status == (await work.post(f"{path}/runs", {})).status == 403


# -- declared by workers ---------------------------------------------------------------------------


async def register(client: Client, schedule: Any, *, name: str = "worker-a", id: Any = None) -> Any:
    workflow = {"id": "report", "queue": "reports"} | ({} if schedule is ... else {"schedule": schedule})
    body = {"id": str(id or uuid4()), "name": name, "workflows": [workflow]}
    return await client.post("/api/v1/workers", body)


async def stored() -> list[tuple[str, str, str]]:
    rows = Schedule.objects.filter(declared=True).values_list("workflow", "cron", "declared_by")
    return list(await in_database(list, rows))


async def test_a_worker_declares_changes_and_removes_a_schedule(both: Client) -> None:
    hourly = {"cron": "0 * * * *", "place": "jobs.py:3"}
    for _ in range(2):
        assert (await register(both, hourly)).status == 200
    assert await stored() == [("report", "0 * * * *", "worker-a")]
    await register(both, {"cron": "0 0 * * *", "timezone": "Europe/Berlin"})
    assert await stored() == [("report", "0 0 * * *", "worker-a")]
    await register(both, ...)  # an older SDK, which knows nothing of schedules
    assert len(await stored()) == 1
    await register(both, None)
    assert await stored() == []


async def test_many_workers_that_declare_the_same_make_one(client: Client) -> None:
    hourly = {"every": 3600, "payload": {"a": 1}}
    answers = await asyncio.gather(*(register(client, hourly, name=f"worker-{n}") for n in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len(await stored()) == 1


async def test_a_workflow_that_is_gone_from_the_code_takes_schedule_and_trigger_with_it(
    client: Client, engine: Engine, dsn: str
) -> None:
    async def kept() -> int:
        await forget_now(engine.database)
        return len(await stored()) + len(await triggers())

    first, second = uuid4(), uuid4()
    workflow = {"id": "report", "queue": "reports", "schedule": {"every": 60}, "trigger": {"topic": "orders"}}
    await client.post("/api/v1/workers", {"id": str(first), "name": "worker-a", "workflows": [workflow]})
    other = {"id": str(second), "name": "worker-a", "workflows": [{"id": "other", "queue": "others"}]}
    await client.post("/api/v1/workers", other)
    assert await kept() == 2  # somebody still serves it
    await client.delete(f"/api/v1/workers/{first}")
    assert await kept() == 2  # it may be starting again
    query(dsn, "update queues_worker set lease_until = now() - interval '11 minutes' where id = %s", first)
    query(dsn, "update queues_worker set name = 'worker-b' where id = %s", second)
    assert await kept() == 2  # another one has nothing to say about it
    query(dsn, "update queues_worker set name = 'worker-a' where id = %s", second)
    assert await kept() == 0


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"cron": "nonsense"}, "The schedule of report is not valid. A cron expression has five fields"),
        ({"every": 5, "cron": "0 0 * * *"}, "Give one of cron, every and at"),
        ({"at": "2030-01-01T00:00:00"}, "at needs a time zone"),
        ({"every": 5, "payload": {"a": "\0"}}, "The payload of the schedule of report has the character U+0000"),
    ],
)
async def test_a_schedule_that_makes_no_sense_refuses_the_registration(
    client: Client, schedule: dict[str, Any], told: str
) -> None:
    answer = await register(client, schedule)
    assert (answer.status, told in answer.json["detail"]) == (422, True), answer.json


async def test_a_key_names_the_schedule_that_is_made(client: Client) -> None:
    for _ in range(2):
        assert (await register(client, {"cron": "@daily", "key": "eu/daily"})).status == 200
    (schedule,) = (await client.get("/api/v1/schedules")).json["schedules"]
    assert (schedule["name"], schedule["workflow_id"]) == ("eu/daily", "report")
    refused = await register(client, {"cron": "@daily", "key": "a b"})
    assert refused.status == 422 and "cannot name a schedule" in refused.json["detail"]


async def test_a_time_in_the_past_is_a_warning(client: Client) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC).isoformat()
    answer = await register(client, {"at": past})
    assert answer.json["warnings"] == ["The schedule of report is in the past: it does not tick."]
    assert (await register(client, {"at": past})).json["warnings"] == []


# -- triggers --------------------------------------------------------------------------------------


async def triggers() -> list[tuple[str, str, int, float | None]]:
    rows = Trigger.objects.values_list("workflow", "topic", "batch_size", "batch_timeout")
    return list(await in_database(list, rows))


async def test_a_worker_declares_changes_and_removes_a_trigger(both: Client) -> None:
    async def say(trigger: Any) -> Any:
        workflow = {"id": "ship", "queue": "ships"} | ({} if trigger is ... else {"trigger": trigger})
        body = {"id": str(uuid4()), "name": "worker-a", "workflows": [workflow]}
        return await both.post("/api/v1/workers", body)

    for _ in range(2):
        assert (await say({"topic": "orders", "place": "ship.py:3"})).status == 200
    assert await triggers() == [("ship", "orders", 1, None)]
    await say({"topic": "orders", "batch_size": 10, "batch_timeout": 2.5})
    await say(...)
    assert await triggers() == [("ship", "orders", 10, 2.5)]
    await say(None)
    assert await triggers() == []
    refused = await say({"topic": "a b"})
    assert refused.status == 422 and "cannot name a topic" in refused.json["detail"]


async def test_an_event_starts_the_workflow_and_the_trigger_says_so(client: Client) -> None:
    worker = await join(client, ("ships", "ship"))
    body = {"id": str(worker), "name": "test-worker", "workflows": [{"id": "ship", "queue": "ships"}]}
    body["workflows"][0]["trigger"] = {"topic": "orders"}  # type: ignore[index]
    await client.post("/api/v1/workers", body)
    event = await client.post("/api/v1/events", {"topic": "orders", "payload": {"n": 1}})
    (execution,) = (await claim(client, worker))["executions"]
    assert execution["payload"]["id"] == event.json["id"]
    (trigger,) = (await client.get("/api/v1/triggers")).json["triggers"]
    assert (trigger["workflow_id"], trigger["topic"], trigger["waiting"]) == ("ship", "orders", 0)
