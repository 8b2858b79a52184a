"""Acts over REST: priority, run again, and one act on many executions."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from queues import bulk_acts
from queues.models import BulkAct, Change

from .asgi_client import Client
from .conftest import MakeKey, in_database


async def enqueue(client: Client, **more: Any) -> str:
    answer = await client.post("/api/v1/executions", {"workflow_id": "w", "queue_name": "billing/eu"} | more)
    assert answer.status in (200, 201), answer.body
    return str(answer.json["id"])


async def status(client: Client, id: str) -> str:
    return str((await client.get(f"/api/v1/executions/{id}")).json["status"])


async def work_through() -> None:
    open_ones = BulkAct.objects.filter(ended_at=None)
    while await in_database(open_ones.exists):  # the server of the test works on them too
        await in_database(bulk_acts.work)


async def test_a_search_line_finds_over_rest(client: Client) -> None:
    mine = await enqueue(client, payload={"user_id": 42})
    await enqueue(client, payload={"user_id": 43})
    for query in ("search=payload.user_id:42", "search=payload.user_id:42+queue:billing/*&status=queued"):
        page = (await client.get(f"/api/v1/executions?{query}")).json
        assert [one["id"] for one in page["executions"]] == [mine]
        assert (page["next_cursor"], page["searched_back_to"]) == (None, None)
    answer = await client.get("/api/v1/executions?search=status:dancing+user:1")
    assert answer.status == 422
    assert "“dancing” is not a status" in answer.json["detail"]
    for query in ("since=1h", "before=2020-01-01", "worker=nobody", "error=timeout"):
        assert (await client.get(f"/api/v1/executions?{query}")).status == 200
    assert (await client.get("/api/v1/executions?since=whenever")).status == 422


async def test_priority_is_changed_unless_it_is_not_as_expected(client: Client) -> None:
    await enqueue(client)
    id = await enqueue(client)
    path = f"/api/v1/executions/{id}/priority"
    answer = await client.call("PUT", path, {"priority": 60, "expected_status": "queued"})
    assert (answer.status, answer.json["priority"], answer.json["position"]) == (200, 60, None)
    assert (await client.get(f"/api/v1/executions/{id}")).json["position"] == 1
    stale = await client.call("PUT", path, {"priority": 1, "expected_status": "running"})
    assert (stale.status, "it was running, and is queued now" in stale.json["detail"]) == (409, True)
    for bad in ({}, {"priority": 10**7}, {"priority": "1"}, {"priority": 1, "other": 1}):
        assert (await client.call("PUT", path, bad)).status == 422
    assert (await client.call("PUT", f"/api/v1/executions/{uuid4()}/priority", {"priority": 1})).status == 404


async def test_cancel_and_retry_are_refused_when_the_status_is_not_as_expected(client: Client) -> None:
    id = await enqueue(client)
    path = f"/api/v1/executions/{id}"
    stale = await client.post(f"{path}/cancellation", {"expected_status": "running"})
    assert (stale.status, stale.json["execution_status"]) == (409, "queued")
    assert "it was running, and is queued now" in stale.json["detail"]
    stale = await client.post(f"{path}/cancellation", {"expected_status": "running", "children": "cancel"})
    assert (stale.status, await status(client, id)) == (409, "queued")
    for _ in range(2):  # a repeat is no conflict
        asked = {"expected_status": "queued", "reason": "wrong import"}
        done = await client.post(f"{path}/cancellation", asked)
        assert (done.status, done.json["status"]) == (200, "cancelled")
    stale = await client.post(f"{path}/retry", {"expected_status": "failed"})
    assert (stale.status, stale.json["execution_status"]) == (409, "cancelled")
    again = await client.post(f"{path}/retry", {"expected_status": "cancelled", "reason": "it is mended"})
    assert again.json["status"] == "queued"
    await client.post(f"{path}/cancellation", {"children": "cancel", "reason": "after all"})
    told = Change.objects.filter(subject=id).order_by("id").values_list("reason", flat=True)
    said = ["wrong import", "it is mended", "with all that it has started: after all"]
    assert await in_database(lambda: list(told)) == said
    for act in ("cancellation", "retry"):
        assert (await client.post(f"{path}/{act}", {"expected_status": "dancing"})).status == 422


async def test_an_execution_runs_again_with_another_payload_once(client: Client) -> None:
    old = await enqueue(client, payload={"n": 1})
    new_id = str(uuid4())
    path = f"/api/v1/executions/{old}/rerun"
    answer = await client.post(path, {"id": new_id, "payload": {"n": 2}})
    again = await client.post(path, {"id": new_id, "payload": {"n": 2}})
    other = await client.post(path, {"id": new_id, "payload": {"n": 3}})
    assert (answer.status, again.status, other.status) == (201, 200, 409)
    assert "Nothing new was started" in other.json["detail"]
    assert (answer.json["id"], answer.json["payload"], answer.json["status"]) == (new_id, {"n": 2}, "queued")
    same = await client.post(path)
    assert (same.status, same.json["payload"]) == (201, {"n": 1})
    assert (await client.post(path, {"id": old})).status == 409
    assert (await client.post(path, {"payload": 2**70})).status == 422
    assert (await client.post(f"/api/v1/executions/{uuid4()}/rerun")).status == 404


async def test_all_that_match_are_counted_then_acted_on_in_the_background(client: Client) -> None:
    ids = [await enqueue(client) for _ in range(3)]
    left = await enqueue(client, queue_name="mail")
    request = {"verb": "cancel", "search": "queue:billing/*"}
    counted = await client.post("/api/v1/bulk", request | {"dry_run": True})
    assert (counted.status, counted.json["executions"], counted.json["complete"]) == (200, 3, True)
    request["id"] = str(uuid4())
    asked = await client.post("/api/v1/bulk", request | {"reason": "release"})
    assert (asked.status, asked.json["counted"], asked.json["asked_by"]) == (202, 3, "key full")
    assert (await client.post("/api/v1/bulk", request | {"reason": "release"})).json["id"] == asked.json["id"]
    other = await client.post("/api/v1/bulk", request)
    assert (other.status, "with another reason" in other.json["detail"]) == (409, True)
    await work_through()
    done = (await client.get(f"/api/v1/bulk/{asked.json['id']}")).json
    assert (done["state"], done["changed"], done["lefts"]) == ("done", 3, [])
    assert [await status(client, id) for id in [*ids, left]] == ["cancelled"] * 3 + ["queued"]
    assert [one["id"] for one in (await client.get("/api/v1/bulk")).json["acts"]] == [asked.json["id"]]
    assert (await client.post(f"/api/v1/bulk/{asked.json['id']}/stop")).status == 409


async def test_chosen_ones_are_acted_on_and_it_can_be_stopped(client: Client) -> None:
    one, other = await enqueue(client), await enqueue(client)
    asked = await client.post("/api/v1/bulk", {"verb": "priority", "ids": [one], "priority": 5})
    await work_through()
    shown = [(await client.get(f"/api/v1/executions/{id}")).json["priority"] for id in (one, other)]
    assert (asked.json["search"], shown) == (None, [5, 0])
    late = await client.post("/api/v1/bulk", {"verb": "cancel", "search": ""})
    assert (await client.post(f"/api/v1/bulk/{late.json['id']}/stop")).json["state"] == "stopped"
    await work_through()
    assert await status(client, one) == "queued"


@pytest.mark.parametrize(
    "request_", [
        {}, {"verb": "cancel"}, {"verb": "cancel", "search": "", "ids": []}, {"verb": "cancel", "ids": []},
        {"verb": "explode", "search": ""}, {"verb": "priority", "search": ""},
        {"verb": "cancel", "search": "status:x"}, {"verb": "cancel", "search": "", "priority": 1},
    ],
)  # fmt: skip
async def test_an_act_that_makes_no_sense_is_refused(client: Client, request_: dict[str, Any]) -> None:
    answer = await client.post("/api/v1/bulk", request_)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_acts_on_its_own_queues_only(client: Client, make_key: MakeKey) -> None:
    mine, other = await enqueue(client), await enqueue(client, queue_name="mail")
    _, key = await make_key("narrow", "full", "billing/*")
    narrow = Client(key=key)
    everybodys = await client.post("/api/v1/bulk", {"verb": "retry", "search": ""})
    asked = await narrow.post("/api/v1/bulk", {"verb": "cancel", "search": ""})
    assert asked.json["counted"] == 1
    await work_through()
    assert [await status(client, id) for id in (mine, other)] == ["cancelled", "queued"]
    assert (await narrow.get(f"/api/v1/bulk/{everybodys.json['id']}")).status == 404
    assert [one["id"] for one in (await narrow.get("/api/v1/bulk")).json["acts"]] == [asked.json["id"]]
    for path in ("priority", "rerun"):
        method = "PUT" if path == "priority" else "POST"
        assert (await narrow.call(method, f"/api/v1/executions/{other}/{path}", {"priority": 1})).status == 404
    _, key = await make_key("enqueuer", "enqueue")
    assert (await Client(key=key).post("/api/v1/bulk", {"verb": "cancel", "search": ""})).status == 403
