"""Queues over REST: what they show, their limits and their pauses."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest

from queues.engine import get_engine
from queues.models import Change, Queue

from .asgi_client import Client
from .conftest import claim, in_database, join

NAMES = ("billing/eu", "billing/pause", "a:b@c~d", "executions", "limits/x")


@pytest.fixture
async def queues(client: Client) -> Client:
    for name in NAMES:
        await client.post(
            "/api/v1/executions", {"workflow_id": "w", "queue_name": name, "queue_concurrency_limit": 5}
        )
    return client


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_works_in_every_address(queues: Client, name: str) -> None:
    assert (await queues.get(f"/api/v1/queues/{name}")).json["name"] == name
    for path, body in ((f"/api/v1/limits/{name}", {"limit": 3}), (f"/api/v1/pauses/{name}", {})):
        assert (await queues.put(path, body)).json["name"] == name
        assert (await queues.delete(path)).json["name"] == name
    assert len((await queues.get(f"/api/v1/executions?queue={name}")).json["executions"]) == 1


async def test_a_queue_shows_what_runs_and_what_waits(queues: Client) -> None:
    worker = await join(queues, ("billing/eu", "w"))
    await claim(queues, worker)
    await queues.post("/api/v1/executions", {"workflow_id": "other", "queue_name": "billing/eu"})
    shown = (await queues.get("/api/v1/queues/billing/eu")).json
    assert (shown["running"], shown["waiting"], shown["effective_limit"]) == (1, 1, 5)
    assert shown["oldest_wait_seconds"] >= 0
    assert (shown["override"], shown["paused"]) == (None, None)


@pytest.mark.parametrize("limit", [0, 3, 1_000_000, None])
async def test_a_limit_is_overridden_and_given_back(queues: Client, limit: int | None) -> None:
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    changed = await queues.put("/api/v1/limits/billing/eu", {"limit": limit, "reason": "test", "until": until})
    assert changed.status == 200
    assert (changed.json["declared_limit"], changed.json["effective_limit"]) == (5, limit)
    override = changed.json["override"]
    assert (override["limit"], override["by"], override["reason"]) == (limit, "key full", "test")
    back = await queues.delete("/api/v1/limits/billing/eu?reason=enough")
    assert (back.json["effective_limit"], back.json["override"]) == (5, None)
    changes = await in_database(lambda: list(Change.objects.order_by("id").values("actor", "through", "reason")))
    assert changes == [{"actor": "key full", "through": "rest", "reason": reason} for reason in ("test", "enough")]


async def test_a_queue_is_paused_and_resumed(queues: Client) -> None:
    paused = await queues.put("/api/v1/pauses/billing/pause", {"reason": "deploy"})
    assert (paused.json["state"], paused.json["paused"]["by"]) == ("paused", "key full")
    assert (await queues.delete("/api/v1/pauses/billing/pause")).json["paused"] is None


async def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten(queues: Client) -> None:
    version = (await queues.get("/api/v1/queues/billing/eu")).json["version"]
    for method, path in (("PUT", "limits"), ("PUT", "pauses")):
        body: dict[str, Any] = {"expected_version": version} | ({"limit": 1} if path == "limits" else {})
        assert (await queues.call(method, f"/api/v1/{path}/billing/eu", body)).status == 200
        stale = await queues.call(method, f"/api/v1/{path}/billing/eu", body)
        assert stale.status == 409
        version = stale.json["version"]
    stale = await queues.delete("/api/v1/limits/billing/eu?expected_version=1")
    assert stale.status == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"limit": -1},
        {"limit": 1.5},
        {"limit": "5"},
        {"limit": True},
        {"limit": 10**30},
        {"limit": 1_000_001},
        {"limit": 1, "reason": "x" * 501},
        {"limit": 1, "reason": "\0"},
        {"limit": 1, "until": "2030-01-01T00:00:00"},
        {"limit": 1, "until": "2001-01-01T00:00:00Z"},
        {"limit": 1, "until": "9999-12-31T23:59:59-12:00"},
        {"limit": 1, "expected_version": 2**70},
        {"limit": 1, "extra": 1},
    ],
    ids=str,
)
async def test_a_limit_that_makes_no_sense_is_refused(queues: Client, body: dict[str, Any]) -> None:
    answer = await queues.put("/api/v1/limits/billing/eu", body)
    assert answer.status in (409, 422), answer.body
    assert (await queues.get("/api/v1/queues/billing/eu")).json["override"] is None


@pytest.mark.parametrize("name", ["absent", "a%20b", "%00", "x" * 300])
async def test_an_unknown_queue_is_not_found(client: Client, name: str) -> None:
    for method, path, body in (
        ("GET", "queues", None),
        ("PUT", "limits", {"limit": 1}),
        ("DELETE", "limits", None),
        ("PUT", "pauses", {}),
        ("DELETE", "pauses", None),
    ):
        assert (await client.call(method, f"/api/v1/{path}/{name}", body)).status == 404


async def test_pages_of_queues_follow_each_other(queues: Client) -> None:
    first = (await queues.get("/api/v1/queues?limit=3")).json
    second = (await queues.get(f"/api/v1/queues?limit=3&cursor={first['next_cursor']}")).json
    assert [queue["name"] for queue in first["queues"] + second["queues"]] == sorted(NAMES)
    assert second["next_cursor"] is None
    found = (await queues.get("/api/v1/queues?search=BILLING")).json["queues"]
    assert [queue["name"] for queue in found] == ["billing/eu", "billing/pause"]


async def test_reasons_with_null_characters_in_the_address_do_no_harm(queues: Client) -> None:
    await queues.put("/api/v1/limits/billing/eu", {"limit": 1})
    answer = await queues.delete("/api/v1/limits/billing/eu?reason=a%00b")
    assert answer.status in (200, 422)


async def test_a_queue_that_drains_refuses_what_is_new_and_says_so(queues: Client) -> None:
    known = {"id": str(uuid4()), "workflow_id": "w", "queue_name": "billing/eu"}
    await queues.post("/api/v1/executions", known)
    shown = await queues.put("/api/v1/drains/billing/eu", {"reason": "moving"})
    assert (shown.json["draining"]["by"], shown.json["draining"]["reason"]) == ("key full", "moving")
    assert shown.json["state"] == "no worker"  # it could not be finished: that matters more
    get_engine().enqueuer.draining = frozenset(await in_database(_draining))  # as the hint does a moment later
    refused = await queues.post("/api/v1/executions", {"workflow_id": "w", "queue_name": "billing/eu"})
    assert (refused.status, refused.json["type"]) == (409, "urn:polos:problem:queue-draining")
    assert refused.json["queue"] == "billing/eu"
    assert "billing/eu is draining" in refused.json["detail"]
    assert (await queues.post("/api/v1/executions", known)).status == 200  # a repeat of what was accepted
    other = {"workflow_id": "w", "queue_name": "executions"}
    batch = await queues.post("/api/v1/executions/batch", {"executions": [other, known | {"id": str(uuid4())}]})
    assert (batch.status, batch.json["index"], batch.json["type"]) == (409, 1, "urn:polos:problem:queue-draining")
    assert (await queues.get("/api/v1/queues/executions")).json["waiting"] == 2  # the other one was accepted
    assert (await queues.delete("/api/v1/drains/billing/eu?reason=over")).json["draining"] is None
    changes = await in_database(
        lambda: list(Change.objects.order_by("id").values_list("before", "after", "reason"))
    )
    assert changes == [("accepting", "draining", "moving"), ("draining", "accepting", "over")]


def _draining() -> list[int]:
    return list(Queue.objects.filter(draining=True).values_list("id", flat=True))


async def test_a_purge_needs_the_name_and_can_be_repeated(queues: Client) -> None:
    refused = await queues.post("/api/v1/purges/billing/eu", {"confirm": "billing", "reason": "x"})
    assert refused.status == 422
    body = {"confirm": "billing/eu", "reason": "wrong import", "id": str(uuid4())}
    asked = await queues.post("/api/v1/purges/billing/eu", body)
    assert (asked.status, asked.json["verb"], asked.json["counted"]) == (202, "purge", 1)
    assert (await queues.post("/api/v1/purges/billing/eu", body)).json["id"] == body["id"]
    assert (await queues.get(f"/api/v1/bulk/{body['id']}")).json["search"] == "queue:billing/eu status:queued"
    assert (await queues.post("/api/v1/bulk", {"verb": "purge", "search": ""})).status == 422
    assert (await queues.post("/api/v1/purges/nothing", {"confirm": "nothing"})).status == 404
