"""Workers over REST: register, exchange, heartbeat, steps, leave."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from queues.engine import Engine
from tests.pace import lately
from workflows.api import hot

from .asgi_client import Client
from .conftest import claim, join

EXECUTIONS = "/api/v1/executions"


def finished(claimed: dict[str, Any], outcome: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": claimed["executions"][0]["id"], "token": claimed["token"], "outcome": outcome} | more


async def test_work_goes_out_and_comes_back(both: Client) -> None:
    worker = await join(both, ("billing/eu", "billing/pause"))
    made = await both.post(EXECUTIONS, {"workflow_id": "billing/pause", "payload": {"a": [1]}})
    claimed = await claim(both, worker)
    execution = claimed["executions"][0]
    assert (execution["id"], execution["payload"], execution["attempt"]) == (made.json["id"], {"a": [1]}, 1)
    assert "steps" not in execution
    done = await both.post(
        f"/api/v1/workers/{worker}/exchange", {"results": [finished(claimed, result={"sum": 3})]}
    )
    assert (done.status, done.json["refused"]) == (200, [])
    shown = (await both.get(f"{EXECUTIONS}/{made.json['id']}")).json
    assert (shown["status"], shown["result"], shown["worker_id"]) == ("completed", {"sum": 3}, str(worker))


async def test_a_stale_result_is_refused_and_says_so(both: Client) -> None:
    worker = await join(both, ("q", "w"))
    await both.post(EXECUTIONS, {"workflow_id": "w"})
    claimed = await claim(both, worker)
    stale = finished(claimed) | {"token": str(uuid4())}
    answer = await both.post(f"/api/v1/workers/{worker}/exchange", {"results": [stale]})
    assert [item["reason"] for item in answer.json["refused"]] == ["stale"]


@pytest.mark.parametrize(
    "result",
    ["1e400", "1" * 30, '"\\u0000"', '"' + "x" * 1_100_000 + '"', "[" * 65 + "]" * 65],
    ids=["float", "integer", "null character", "large", "deep"],
)
async def test_a_result_that_cannot_be_stored_does_not_fail_the_others(both: Client, result: str) -> None:
    worker = await join(both, ("q", "w"))
    for _ in range(2):
        await both.post(EXECUTIONS, {"workflow_id": "w"})
    claimed = await claim(both, worker)
    first, second = (execution["id"] for execution in claimed["executions"])
    body = (
        f'{{"results":[{{"id":"{first}","token":"{claimed["token"]}","outcome":"completed","result":{result}}},'
        f'{{"id":"{second}","token":"{claimed["token"]}","outcome":"completed","result":2}}]}}'
    )
    answer = await both.post(f"/api/v1/workers/{worker}/exchange", body=body.encode())
    assert answer.status == 200
    assert [(item["id"], item["reason"]) for item in answer.json["refused"]] == [(first, "invalid")]
    statuses = [(await both.get(f"{EXECUTIONS}/{id_}")).json["status"] for id_ in (first, second)]
    assert statuses == ["running", "completed"]


async def test_an_error_is_kept_whatever_characters_it_has(both: Client) -> None:
    worker = await join(both, ("q", "w"))
    made = await both.post(EXECUTIONS, {"workflow_id": "w"})
    claimed = await claim(both, worker)
    error = {"type": "ValueError", "message": "a\0b", "traceback": "line\n\0"}
    await both.post(f"/api/v1/workers/{worker}/exchange", {"results": [finished(claimed, "failed", error=error)]})
    shown = (await both.get(f"{EXECUTIONS}/{made.json['id']}")).json
    assert (shown["status"], shown["error"]["message"]) == ("failed", "a\N{REPLACEMENT CHARACTER}b")


async def test_a_long_poll_ends_when_work_arrives(client: Client) -> None:
    worker = await join(client, ("q", "w"))
    waiting = asyncio.create_task(claim(client, worker))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await client.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q"})
    assert (await waiting)["executions"]
    assert time.monotonic() - began < 0.5 * lately()


async def test_a_worker_that_goes_away_gets_nothing(client: Client, engine: Engine) -> None:
    worker = await join(client, ("q", "w"))
    gone = asyncio.Event()
    body = {"seq": 1, "capacity": 5, "wait": 30}
    call = asyncio.create_task(client.post(f"/api/v1/workers/{worker}/exchange", body, gone=gone))
    await asyncio.sleep(hot.LOOK_AFTER + 0.1)
    gone.set()
    assert (await asyncio.wait_for(call, 3)).status == 0
    made = await client.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q"})
    await asyncio.sleep(0.2)
    assert (await client.get(f"{EXECUTIONS}/{made.json['id']}")).json["status"] == "queued"
    again = await claim(client, worker)  # the same seq: its reply was never read
    assert again["executions"][0]["id"] == made.json["id"]


async def test_a_repeated_exchange_returns_the_same_claims(both: Client) -> None:
    worker = await join(both, ("q", "w"))
    await both.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q"})
    assert await claim(both, worker) == await claim(both, worker)


async def test_an_unknown_worker_is_gone(both: Client) -> None:
    for path, body in (("exchange", {"seq": 1, "capacity": 1}), ("heartbeat", {})):
        answer = await both.post(f"/api/v1/workers/{uuid4()}/{path}", body)
        assert answer.status == 410
        assert "Register again" in answer.json["detail"]
    assert (await both.delete(f"/api/v1/workers/{uuid4()}")).status == 204


async def test_a_worker_that_leaves_gives_everything_back(both: Client) -> None:
    worker = await join(both, ("q", "w"))
    made = await both.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q"})
    await claim(both, worker)
    beat = await both.post(f"/api/v1/workers/{worker}/heartbeat", {"received": 1})
    assert (beat.status, beat.json["lease_seconds"]) == (200, 30)
    left = await both.delete(f"/api/v1/workers/{worker}")
    assert (left.status, left.body) == (204, b"")
    assert (await both.get(f"{EXECUTIONS}/{made.json['id']}")).json["status"] == "queued"
    assert (await both.post(f"/api/v1/workers/{worker}/heartbeat")).status == 410


async def test_a_workflow_that_moves_is_told(both: Client) -> None:
    await join(both, ("old", "w"))
    answer = await both.post(
        "/api/v1/workers", {"id": str(uuid4()), "name": "b", "workflows": [{"id": "w", "queue": "new"}]}
    )
    assert any("old" in warning and "new" in warning for warning in answer.json["warnings"])
    assert (await both.post(EXECUTIONS, {"workflow_id": "w"})).json["queue"] == "new"


async def test_declared_limits_are_taken_over(both: Client) -> None:
    queues = [
        {"name": "billing/eu", "concurrency_limit": 5, "place": "a.py:1"},
        {"name": "free", "concurrency_limit": None},
    ]
    await join(both, ("billing/eu", "w"), ("free", "v"), queues=queues)
    shown = (await both.get("/api/v1/queues/billing/eu")).json
    assert (shown["declared_limit"], shown["effective_limit"], shown["workflows"]) == (5, 5, ["w"])
    workers = (await both.get("/api/v1/workers")).json["workers"]
    assert [(worker["queues"], worker["workflows"]) for worker in workers] == [
        (["billing/eu", "free"], ["v", "w"])
    ]


# -- steps -------------------------------------------------------------------------------------------


def step(claimed: dict[str, Any], key: str = "k", **more: Any) -> dict[str, Any]:
    return {"execution_id": claimed["executions"][0]["id"], "token": claimed["token"], "key": key} | more


async def save(client: Client, *steps: dict[str, Any]) -> list[str]:
    answer = await client.post("/api/v1/steps", {"steps": list(steps)})
    assert answer.status == 200, answer.body
    return [item["outcome"] for item in answer.json["steps"]]


@pytest.fixture
async def claimed(both: Client) -> dict[str, Any]:
    worker = await join(both, ("q", "w"))
    await both.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q", "max_attempts": 5})
    return await claim(both, worker) | {"worker": worker}


async def test_a_step_is_saved_once_and_the_first_result_counts(both: Client, claimed: dict[str, Any]) -> None:
    assert await save(both, step(claimed, result=1), step(claimed, "other", result=[2])) == ["saved", "saved"]
    assert await save(both, step(claimed, result=99)) == ["repeated"]
    assert await save(both, step(claimed, "c", result=1), step(claimed, "c", result=2)) == ["saved", "repeated"]
    shown = (await both.get(f"{EXECUTIONS}/{claimed['executions'][0]['id']}/steps")).json["steps"]
    assert {item["key"]: item["result"] for item in shown} == {"k": 1, "other": [2], "c": 1}
    assert {item["attempt"] for item in shown} == {1}


async def test_a_failed_step_may_succeed_later(both: Client, claimed: dict[str, Any]) -> None:
    failed = step(claimed, error={"type": "E", "message": "a\0"})
    assert await save(both, failed) == ["saved"]
    assert await save(both, step(claimed, result=1)) == ["saved"]
    assert await save(both, failed) == ["repeated"]
    assert await save(both, step(claimed, "x", error={}), step(claimed, "x", result=2)) == ["repeated", "saved"]


async def test_a_stale_token_saves_nothing(both: Client, claimed: dict[str, Any]) -> None:
    stale = step(claimed, "stale", result=1) | {"token": str(uuid4())}
    unknown = step(claimed, "unknown") | {"execution_id": str(uuid4())}
    answer = await both.post("/api/v1/steps", {"steps": [stale, unknown]})
    assert (answer.status, [item["outcome"] for item in answer.json["steps"]]) == (409, ["stale", "stale"])
    assert await save(both, stale, step(claimed, "good")) == ["stale", "saved"]


async def test_the_next_attempt_gets_the_finished_steps(both: Client, claimed: dict[str, Any]) -> None:
    await save(both, step(claimed, "done", result={"a": 1}), step(claimed, "bad", error={}), step(claimed, "none"))
    failed = finished(claimed, "failed", retry_in=0)
    await both.post(f"/api/v1/workers/{claimed['worker']}/exchange", {"results": [failed]})
    again = await claim(both, claimed["worker"], seq=2)
    execution = again["executions"][0]
    assert (execution["attempt"], execution["steps"]) == (2, {"done": {"a": 1}, "none": None})
    assert await save(both, step(again, "bad", result=1)) == ["saved"]
    answer = await both.post("/api/v1/steps", {"steps": [step(claimed, "late")]})
    assert answer.status == 409


async def test_a_step_that_cannot_be_stored_does_not_fail_the_others(
    both: Client, claimed: dict[str, Any]
) -> None:
    steps = [
        step(claimed, "large", result="x" * 1_100_000),
        step(claimed, "null", result="\0"),
        step(claimed, "time", started_at="2020-01-01T00:00:00"),
        step(claimed, "good", result=1, started_at="2026-01-01T00:00:00+02:00", child_id=str(uuid4())),
    ]
    assert await save(both, *steps) == ["invalid", "invalid", "invalid", "saved"]


async def test_many_steps_at_once_share_commits_and_keep_their_answers(
    both: Client, claimed: dict[str, Any]
) -> None:
    if not both.hot_first:
        pytest.skip("the same handler")
    outcomes = await asyncio.gather(*(save(both, step(claimed, f"k{n % 20}", result=n)) for n in range(60)))
    flat = [outcome for (outcome,) in outcomes]
    assert (flat.count("saved"), flat.count("repeated")) == (20, 40)


async def test_steps_of_what_is_over_are_stale(both: Client, claimed: dict[str, Any]) -> None:
    await both.post(f"/api/v1/workers/{UUID(str(claimed['worker']))}/exchange", {"results": [finished(claimed)]})
    assert (await both.post("/api/v1/steps", {"steps": [step(claimed)]})).status == 409
