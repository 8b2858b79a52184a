"""Enqueue, read, list, cancel and retry executions over REST."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from queues.engine import Engine

from .asgi_client import Client
from .conftest import MakeKey, claim, join


async def test_an_execution_is_accepted_once(both: Client) -> None:
    request = {"workflow_id": "billing/pause", "payload": {"n": 1}, "id": str(uuid4())}
    first = await both.post("/api/v1/executions", request)
    again = await both.post("/api/v1/executions", request)
    assert (first.status, again.status) == (201, 200)
    assert first.headers["content-type"] == "application/json"
    assert first.json["queue"] == "billing/pause"
    assert [first.json["created"], again.json["created"]] == [True, False]


async def test_the_same_id_for_something_else_is_a_conflict(both: Client) -> None:
    request: dict[str, Any] = {"workflow_id": "mail", "payload": 1, "idempotency_key": "k"}
    await both.post("/api/v1/executions", request)
    answer = await both.post("/api/v1/executions", request | {"payload": 2})
    assert answer.status == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json) >= {"type", "title", "status", "detail"}


async def test_a_batch_is_accepted_in_order(both: Client) -> None:
    batch = {"executions": [{"workflow_id": "w", "payload": n, "queue_name": "billing/eu"} for n in range(50)]}
    answer = await both.post("/api/v1/executions/batch", batch)
    assert answer.status == 200
    ids = [item["id"] for item in answer.json["executions"]]
    page = await both.get("/api/v1/executions?limit=50&queue=billing/eu")
    assert [item["id"] for item in page.json["executions"]] == ids[::-1]
    assert [item["payload"] for item in page.json["executions"]] == list(range(50))[::-1]


async def test_a_batch_of_equals_is_answered_like_any_other(both: Client) -> None:
    await both.post("/api/v1/executions", {"workflow_id": "w", "queue_concurrency_limit": 3})
    limited = {"workflow_id": "w", "queue_concurrency_limit": 4}
    ids = [str(uuid4()) for _ in range(9)]
    equal = await both.post("/api/v1/executions/batch", {"executions": [limited | {"id": id} for id in ids[:5]]})
    mixed = [{"workflow_id": "w2", "id": ids[5]}, *(limited | {"id": id} for id in ids[6:])]
    other = await both.post("/api/v1/executions/batch", {"executions": mixed})
    one, *_ = other.json["executions"][1:]
    assert "keeps its own limit" in one["notes"][0] and one["created"]
    moment = equal.json["executions"][0]["enqueued_at"]
    assert equal.json["executions"] == [one | {"id": id, "enqueued_at": moment} for id in ids[:5]]
    assert equal.headers["content-type"] == other.headers["content-type"]


async def test_an_id_twice_in_a_batch_of_equals_is_one_execution(both: Client) -> None:
    first, second = ({"workflow_id": "w", "id": str(uuid4())} for _ in range(2))
    answer = await both.post("/api/v1/executions/batch", {"executions": [first, second, first]})
    assert [item["id"] for item in answer.json["executions"]] == [first["id"], second["id"], first["id"]]
    assert [item["created"] for item in answer.json["executions"]] == [True, True, False]


async def test_one_bad_item_stores_nothing_of_its_batch(both: Client) -> None:
    items: list[dict[str, Any]] = [{"workflow_id": "w"}, {"workflow_id": "w", "queue_name": "a b"}]
    answer = await both.post("/api/v1/executions/batch", {"executions": items})
    assert (answer.status, answer.json["index"]) == (422, 1)
    big = await both.post(
        "/api/v1/executions/batch", {"executions": [items[0], {"workflow_id": "w", "payload": "x" * 300_000}]}
    )
    assert (big.status, big.json["index"]) == (413, 1)
    fine: list[dict[str, Any]] = [{"workflow_id": "w", "payload": {"n": n}} for n in range(100)]
    for bad in (
        {"workflow_id": "w", "payload": 2**64},
        {"workflow_id": "w", "payload": "\0"},
        {"workflow_id": "a b"},
        {"workflow_id": "w", "run_at": "2030-01-01T00:00:00Z", "delay": 1},
        {"workflow_id": "w", "run_at": "1930-01-01T00:00:00Z"},
    ):
        answer = await both.post("/api/v1/executions/batch", {"executions": [*fine[:70], bad, *fine[70:]]})
        assert (answer.status, answer.json["index"]) == (422, 70)
    assert (await both.get("/api/v1/executions")).json["executions"] == []


async def test_an_execution_is_shown_with_everything_it_was_sent(both: Client) -> None:
    payload = {"text": "žluťoučký 🐎", "big": 2**64 - 1, "nested": [[1.5, None]]}
    made = await both.post("/api/v1/executions", {"workflow_id": "w", "payload": payload, "priority": 5})
    shown = await both.get(f"/api/v1/executions/{made.json['id']}")
    assert shown.status == 200
    assert shown.json["payload"] == payload
    assert shown.json["result"] is None
    assert (shown.json["status"], shown.json["position"], shown.json["attempt"]) == ("queued", 1, 0)


async def test_the_place_in_line_counts_all_workflows_of_the_queue(client: Client) -> None:
    ids = []
    for n in range(4):
        answer = await client.post("/api/v1/executions", {"workflow_id": f"w{n % 3}", "queue_name": "q"})
        ids.append(answer.json["id"])
    first = await client.post("/api/v1/executions", {"workflow_id": "w1", "queue_name": "q", "priority": 60})
    shown = [(await client.get(f"/api/v1/executions/{id_}")).json["position"] for id_ in [first.json["id"], *ids]]
    assert shown == [1, 2, 3, 4, 5]


async def test_waiting_ends_when_the_execution_is_final(client: Client) -> None:
    made = await client.post("/api/v1/executions", {"workflow_id": "w", "queue_name": "q"})
    worker = await join(client, ("q", "w"))
    claimed = await claim(client, worker)
    waiting = asyncio.create_task(client.get(f"/api/v1/executions/{made.json['id']}?wait=20"))
    await asyncio.sleep(0.05)
    result = {"id": made.json["id"], "token": claimed["token"], "outcome": "completed", "result": {"ok": True}}
    await client.post(f"/api/v1/workers/{worker}/exchange", {"results": [result]})
    answer = await asyncio.wait_for(waiting, 5)
    assert (answer.json["status"], answer.json["result"]) == ("completed", {"ok": True})


async def test_waiting_ends_when_the_time_is_over(both: Client) -> None:
    made = await both.post("/api/v1/executions", {"workflow_id": "w"})
    began = time.monotonic()
    answer = await both.get(f"/api/v1/executions/{made.json['id']}?wait=0.2")
    assert answer.json["status"] == "queued"
    assert 0.15 < time.monotonic() - began < 2


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x"])
async def test_a_wait_that_makes_no_sense_is_refused(both: Client, wait: str) -> None:
    made = await both.post("/api/v1/executions", {"workflow_id": "w"})
    assert (await both.get(f"/api/v1/executions/{made.json['id']}?wait={wait}")).status == 422


async def test_a_client_that_goes_away_ends_its_wait(client: Client) -> None:
    made = await client.post("/api/v1/executions", {"workflow_id": "w"})
    gone = asyncio.Event()
    call = asyncio.create_task(client.get(f"/api/v1/executions/{made.json['id']}?wait=30", gone=gone))
    await asyncio.sleep(0.1)
    gone.set()
    answer = await asyncio.wait_for(call, 3)
    assert answer.status == 0
    assert not call.cancelled()


async def test_pages_of_executions_follow_each_other(client: Client) -> None:
    batch = {"executions": [{"workflow_id": "w", "payload": n} for n in range(25)]}
    await client.post("/api/v1/executions/batch", batch)
    seen: list[int] = []
    cursor = ""
    for size in (10, 10, 5):
        page = (await client.get(f"/api/v1/executions?limit=10{cursor}")).json
        assert len(page["executions"]) == size
        seen += [item["payload"] for item in page["executions"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == list(range(25))[::-1]


async def test_a_page_ends_early_when_it_grows_too_large(client: Client) -> None:
    batch = {"executions": [{"workflow_id": "w", "payload": "x" * 250_000} for _ in range(40)]}
    assert (await client.post("/api/v1/executions/batch", batch)).status == 200
    first = await client.get("/api/v1/executions?limit=100")
    assert len(first.body) < 9_000_000
    second = await client.get(f"/api/v1/executions?limit=100&cursor={first.json['next_cursor']}")
    assert len(first.json["executions"]) + len(second.json["executions"]) == 40
    assert second.json["next_cursor"] is None


async def test_executions_are_filtered(client: Client) -> None:
    for queue, workflow in (("a", "w"), ("a", "v"), ("b", "w")):
        await client.post("/api/v1/executions", {"workflow_id": workflow, "queue_name": queue})

    async def count(query: str) -> int:
        return len((await client.get(f"/api/v1/executions?{query}")).json["executions"])

    assert await count("queue=a") == 2
    assert await count("workflow=w") == 2
    assert await count("queue=a&workflow=w&status=queued") == 1
    assert await count("status=running") == 0
    assert await count("queue=nowhere") == 0
    assert await count(f"parent={uuid4()}") == 0


@pytest.mark.parametrize(
    "query", ["status=dancing", "limit=0", "limit=201", "limit=x", "cursor=5", "parent=5", "cursor=%00"]
)
async def test_a_filter_that_makes_no_sense_is_refused(client: Client, query: str) -> None:
    answer = await client.get(f"/api/v1/executions?{query}")
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["queue=%00", "workflow=%00", "queue=%ff", "workflow=%ed%a0%80"])
async def test_a_filter_that_nothing_can_match_finds_nothing(client: Client, query: str) -> None:
    answer = await client.get(f"/api/v1/executions?{query}")
    assert (answer.status, answer.json["executions"]) == (200, [])


async def test_what_waits_is_cancelled_and_retried(client: Client) -> None:
    made = await client.post("/api/v1/executions", {"workflow_id": "w"})
    path = f"/api/v1/executions/{made.json['id']}"
    cancelled = await client.post(f"{path}/cancellation")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert (await client.post(f"{path}/cancellation")).status == 200
    retried = await client.post(f"{path}/retry")
    assert (retried.status, retried.json["status"]) == (200, "queued")
    assert (await client.post(f"{path}/retry")).status == 409


async def test_what_is_final_is_not_cancelled(client: Client) -> None:
    made = await client.post("/api/v1/executions", {"workflow_id": "w", "queue_name": "q"})
    worker = await join(client, ("q", "w"))
    claimed = await claim(client, worker)
    result = {"id": made.json["id"], "token": claimed["token"], "outcome": "completed", "result": 1}
    await client.post(f"/api/v1/workers/{worker}/exchange", {"results": [result]})
    answer = await client.post(f"/api/v1/executions/{made.json['id']}/cancellation")
    assert answer.status == 409
    assert "completed" in answer.json["detail"]


@pytest.mark.parametrize("path", ["", "/cancellation", "/retry", "/steps", "/logs", "/stream"])
async def test_an_unknown_execution_is_not_found(both: Client, path: str) -> None:
    method = "POST" if path in ("/cancellation", "/retry") else "GET"
    for name in (str(uuid4()), "nonsense"):
        answer = await both.call(method, f"/api/v1/executions/{name}{path}")
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_workflow_goes_where_it_is_registered(client: Client) -> None:
    await join(client, ("billing/eu", "invoice"), max_concurrent=1)
    made = await client.post("/api/v1/executions", {"workflow_id": "invoice"})
    assert made.json["queue"] == "billing/eu"


async def test_the_tries_of_a_workflow_count_where_a_request_names_none(client: Client) -> None:
    workflows = [{"id": "invoice", "queue": "billing", "max_attempts": 7}]
    await client.post("/api/v1/workers", {"id": str(uuid4()), "name": "w", "workflows": workflows})
    made = await client.post("/api/v1/executions", {"workflow_id": "invoice", "queue_name": "elsewhere"})
    shown = await client.get(f"/api/v1/executions/{made.json['id']}")
    assert shown.json["max_attempts"] == 7


async def test_what_a_workflow_says_counts_for_all_of_a_batch_of_equals(client: Client) -> None:
    workflows = [{"id": "invoice", "queue": "billing", "max_attempts": 7, "priority": 5}]
    await client.post("/api/v1/workers", {"id": str(uuid4()), "name": "w", "workflows": workflows})
    batch = {"executions": [{"workflow_id": "invoice", "payload": n} for n in range(5)]}
    made = await client.post("/api/v1/executions/batch", batch)
    shown = [(await client.get(f"/api/v1/executions/{each['id']}")).json for each in made.json["executions"]]
    assert {(each["queue"], each["max_attempts"], each["priority"]) for each in shown} == {("billing", 7, 5)}
    assert [each["payload"] for each in shown] == list(range(5))


async def test_the_options_of_a_workflow_count_where_a_request_says_nothing(client: Client, dsn: str) -> None:
    workflows = [
        {"id": "invoice", "queue": "billing", "priority": 5, "queue_timeout": 60, "execution_timeout": 90}
    ]
    await client.post("/api/v1/workers", {"id": str(uuid4()), "name": "w", "workflows": workflows})
    own = {"workflow_id": "invoice", "priority": -1, "queue_timeout": None, "execution_timeout": 7}
    one = await client.post("/api/v1/executions", {"workflow_id": "invoice", "queue_name": "x", "max_attempts": 2})
    two = await client.post("/api/v1/executions", own)
    batch = await client.post("/api/v1/executions/batch", {"executions": [{"workflow_id": "invoice"}, own]})
    three, four = batch.json["executions"]
    with psycopg.connect(dsn) as db:
        for made, priority, seconds in (
            (one.json, 5, [90, 60]), (two.json, -1, [7]), (three, 5, [90, 60]), (four, -1, [7]),
        ):  # fmt: skip
            shown = await client.get(f"/api/v1/executions/{made['id']}")
            assert shown.json["priority"] == priority
            found = db.execute(
                "select seconds from queues_deadline where execution_id = %s order by kind", (made["id"],)
            )
            assert [row[0] for row in found] == seconds


@pytest.mark.parametrize("option", [{"queue_timeout": 0}, {"execution_timeout": -1}, {"queue_timeout": "1"}])
async def test_a_timeout_is_a_time(both: Client, option: dict[str, Any]) -> None:
    answer = await both.post("/api/v1/executions", {"workflow_id": "w", **option})
    assert (answer.status, next(iter(option)) in answer.json["detail"]) == (422, True)


async def test_a_reason_is_kept_with_its_error(client: Client) -> None:
    worker = await join(client, ("billing/eu", "invoice"))
    made = await client.post("/api/v1/executions", {"workflow_id": "invoice"})
    given = await claim(client, worker, 1)
    error = {"type": "AttemptTimeout", "message": "late", "reason": "attempt_timeout"}
    result = {"id": made.json["id"], "token": given["token"], "outcome": "failed", "error": error}
    await client.post(f"/api/v1/workers/{worker}/exchange", {"results": [result]})
    assert (await client.get(f"/api/v1/executions/{made.json['id']}")).json["error"] == error


# -- deduplication -----------------------------------------------------------------------------------


async def test_one_at_a_time_is_asked_for_by_a_key(both: Client) -> None:
    once = {"workflow_id": "sync", "payload": 1, "deduplication": {"key": "customer-7"}}
    first = await both.post("/api/v1/executions", once)
    again = await both.post("/api/v1/executions", once | {"payload": 2})
    assert (first.status, again.status) == (201, 200)
    assert (again.json["id"], again.json["created"]) == (first.json["id"], False)
    newest = once | {"payload": 3, "deduplication": {"key": "customer-7", "policy": "cancel_old"}}
    batch = await both.post("/api/v1/executions/batch", {"executions": [once, newest, {"workflow_id": "sync"}]})
    assert [item["created"] for item in batch.json["executions"]] == [False, True, True]
    assert (await both.get(f"/api/v1/executions/{first.json['id']}")).json["status"] == "cancelled"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"key": ""}, "length >= 1"),
        ({"policy": "skip"}, "key"),
        ({"key": "k", "policy": "latest"}, "latest"),
        ({"key": "k", "seconds": 1}, "for its policy debounce"),
        ({"key": "k", "policy": "debounce"}, "needs seconds"),
        ({"key": "k", "policy": "debounce", "seconds": 5, "longest": 4}, "less than its seconds"),
        ({"key": "a\0b"}, "U+0000"),
    ],
)
async def test_a_deduplication_that_cannot_be_is_refused(both: Client, asked: dict[str, Any], words: str) -> None:
    item = {"workflow_id": "w", "deduplication": asked}
    answer = await both.post("/api/v1/executions", item)
    assert answer.status == 422 and words in answer.json["detail"], answer.json
    answer = await both.post("/api/v1/executions/batch", {"executions": [{"workflow_id": "w"}, item]})
    assert answer.status == 422


async def test_a_debounce_says_itself_when_it_starts(both: Client) -> None:
    asked = {"key": "k", "policy": "debounce", "seconds": 60}
    answer = await both.post("/api/v1/executions", {"workflow_id": "w", "delay": 5, "deduplication": asked})
    assert answer.status == 422 and "no delay" in answer.json["detail"]
    made = await both.post("/api/v1/executions", {"workflow_id": "w", "deduplication": asked})
    assert (made.status, made.json["status"]) == (201, "scheduled")


async def test_a_retry_is_refused_while_another_one_has_its_key(client: Client) -> None:
    once = {"workflow_id": "sync", "deduplication": {"key": "k"}}
    first = (await client.post("/api/v1/executions", once)).json["id"]
    await client.post(f"/api/v1/executions/{first}/cancellation", {})
    second = (await client.post("/api/v1/executions", once)).json["id"]
    answer = await client.post(f"/api/v1/executions/{first}/retry", {})
    assert answer.status == 409 and second in answer.json["detail"]


async def test_a_key_that_may_not_cancel_does_not_by_deduplication(engine: Engine, make_key: MakeKey) -> None:
    _, key = await make_key(scope="enqueue")
    client = Client(key=key)
    for policy, status in (("replace", 201), ("cancel_old", 403)):
        item = {"workflow_id": "w", "deduplication": {"key": policy, "policy": policy}}
        assert (await client.post("/api/v1/executions", item)).status == status
        answer = await client.post("/api/v1/executions/batch", {"executions": [item]})
        assert answer.status == (200 if status == 201 else 403)
