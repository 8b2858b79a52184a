"""Whatever arrives, the answer is a problem that helps, never a 500, and nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from queues.engine import Engine, EngineUnavailable
from workflows.api import handlers, hot
from workflows.api.checks import MAX_REQUEST_BYTES

from .asgi_client import Client
from .conftest import join

EXECUTION = {"workflow_id": "w"}
DEEP = b"[" * 100_000
# Not made anew: they are part of names of tests, which are the same in every process.
U, V = "6aabfbd2-ba77-4a9b-9acc-59c53125b4f3", "3505c489-45c2-46e5-8f4f-e7e821fc03a6"

BODIES: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"{}",
    b"\xff\xfe",
    b"{'a':1}",
    DEEP,
    b'{"a":' * 5_000,
    b"NaN",
    b'{"workflow_id":"w","payload":' + DEEP + b"}",
    b'{"workflow_id":"w","extra":1}',
    b'{"workflow_id":"\xff"}',
    b'{"workflow_id":"\\ud800"}',
    b'{"workflow_id":"w","payload":NaN}',
    b'{"workflow_id":"w","payload":1e400}',
    b'{"workflow_id":"w","payload":"\\u0000"}',
    b'{"workflow_id":"w","payload":"\xff"}',
    b'{"workflow_id":"w","payload":' + b"9" * 5_000 + b"}",
    b'{"workflow_id":"w","payload":' + b"[" * 65 + b"]" * 65 + b"}",
    b'{"workflow_id":"w","idempotency_key":"a\\u0000"}',
]
WRONG: list[dict[str, Any]] = [
    {"workflow_id": ""},
    {"workflow_id": "x" * 201},
    {"workflow_id": "a b"},
    {"workflow_id": "/a"},
    {"workflow_id": "a//b"},
    {"workflow_id": "a/../b"},
    {"workflow_id": "."},
    {"workflow_id": "ž"},
    {"workflow_id": 5},
    {"workflow_id": None},
    {"queue_name": "a?b"},
    {"queue_name": "a\nb"},
    {"queue_name": ""},
    {"queue_name": "a%2fb"},
    {"queue_concurrency_limit": -1},
    {"queue_concurrency_limit": 1.5},
    {"queue_concurrency_limit": True},
    {"queue_concurrency_limit": 10**30},
    {"id": "5"},
    {"id": 5},
    {"priority": 10**9},
    {"priority": "1"},
    {"delay": -1},
    {"delay": 10**12},
    {"delay": 1, "run_at": "2030-01-01T00:00:00Z"},
    {"run_at": "2030-01-01T00:00:00"},
    {"run_at": "tomorrow"},
    {"run_at": "9999-12-31T23:59:59-12:00"},
    {"run_at": "0001-01-01T00:00:00+12:00"},
    {"max_attempts": 0},
    {"max_attempts": 10**6},
    {"parent": {}},
    {"parent": {"id": U}},
    {"idempotency_key": ""},
    {"idempotency_key": "x" * 201},
]
BODIES += [json.dumps(EXECUTION | more).encode() for more in WRONG]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:60]))
async def test_an_execution_that_makes_no_sense_is_refused(both: Client, dsn: str, body: bytes) -> None:
    answer = await both.post("/api/v1/executions", body=body)
    assert answer.status == 422, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["detail"].endswith(".")
    batch = await both.post("/api/v1/executions/batch", body=b'{"executions":[{"workflow_id":"w"},' + body + b"]}")
    assert batch.status == 422, batch.body
    with psycopg.connect(dsn) as db:
        assert db.execute("select count(*) from queues_execution").fetchone() == (0,)


async def test_too_large_is_413(both: Client) -> None:
    payload = "x" * (256 * 1024 - 1)
    assert (await both.post("/api/v1/executions", EXECUTION | {"payload": payload[:-1]})).status == 201
    assert (await both.post("/api/v1/executions", EXECUTION | {"payload": payload})).status == 413
    many = {"executions": [EXECUTION] * 1_001}
    assert (await both.post("/api/v1/executions/batch", many)).status == 422
    assert (await both.post("/api/v1/executions/batch", {"executions": []})).status == 422


async def test_a_request_of_more_than_16_mib_is_refused(both: Client) -> None:
    chunk = b"x" * (1 << 20)
    answer = await both.post("/api/v1/executions", body=[chunk] * 17, headers={"content-length": ""})
    assert answer.status == 413
    full = json.dumps({"executions": [EXECUTION | {"payload": "x" * 200_000}] * 80}).encode()
    assert 15_900_000 < len(full) < MAX_REQUEST_BYTES
    assert (await both.post("/api/v1/executions/batch", body=full)).status == 200


async def test_what_is_announced_too_large_is_not_read(client: Client) -> None:
    parts = [b"x"] * 5
    answer = await client.post("/api/v1/executions", body=parts, headers={"content-length": "300000000"})
    assert answer.status == 413
    stranger = await Client().post("/api/v1/executions", body=[b"x" * 100] * 5)
    assert stranger.status == 401


async def test_a_client_that_stops_sending_gets_no_answer(client: Client) -> None:
    scope = client._scope("POST", "/api/v1/executions", [b"x"], {})
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    await hot.application(scope, receive, send)


REGISTER: dict[str, Any] = {"id": U, "name": "n", "workflows": [{"id": "w", "queue": "q"}]}


@pytest.mark.parametrize(
    "more",
    [
        {"workflows": []},
        {"workflows": [{"id": "w"}]},
        {"workflows": [{"id": "a b", "queue": "q"}]},
        {"workflows": [{"id": "w", "queue": "a b"}]},
        {"workflows": [{"id": "w", "queue": "q"}] * 2},
        {"queues": [{"name": "a b"}]},
        {"queues": [{"name": "q"}, {"name": "q"}]},
        {"name": ""},
        {"name": "a\0"},
        {"name": "a\nb"},
        {"host": "a\0"},
        {"id": "x"},
        {"pid": -1},
        {"max_concurrent": 0},
        {"queues": [{"name": "q", "concurrency_limit": -1}]},
        {"queues": [{"name": "q", "place": "\0"}]},
        {"workflows": [{"id": "w", "queue": "q", "description": "\0"}]},
    ],
    ids=str,
)
async def test_a_registration_that_makes_no_sense_is_refused(both: Client, more: dict[str, Any]) -> None:
    answer = await both.post("/api/v1/workers", REGISTER | more)
    assert answer.status == 422, answer.body
    assert (await both.get("/api/v1/workers")).json["workers"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"seq": -1},
        {"seq": 2**70},
        {"received": 2**63},
        {"capacity": 1_001},
        {"capacity": -1},
        {"wait": 61},
        {"wait": "x"},
        {"results": [{}]},
        {"results": [{"id": U, "token": V, "outcome": "dancing"}]},
        {"results": [{"id": U, "token": V, "outcome": "failed", "retry_in": -1}]},
        {"results": [{"id": U, "token": V, "outcome": "completed"}] * 1_001},
    ],
    ids=lambda body: str(body)[:60],
)
async def test_an_exchange_that_makes_no_sense_is_refused(both: Client, body: dict[str, Any]) -> None:
    worker = await join(both, ("q", "w"))
    assert (await both.post(f"/api/v1/workers/{worker}/exchange", body)).status == 422


@pytest.mark.parametrize(
    "more",
    [{"key": ""}, {"key": "x" * 201}, {"key": "\0"}, {"token": "x"}, {"child_id": 5}, {"started_at": "x"}],
    ids=str,
)
async def test_a_step_that_makes_no_sense_is_refused(both: Client, more: dict[str, Any]) -> None:
    step = {"execution_id": U, "token": V, "key": "k"} | more
    assert (await both.post("/api/v1/steps", {"steps": [step]})).status == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/executions", 404),
        ("GET", "/api/", 404),
        ("POST", "/api/v1/executions/", 404),
        ("PATCH", "/api/v1/executions", 405),
        ("PUT", "/api/v1/queues/a", 405),
        ("GET", "/api/v1/workers/x/exchange", 404),
        ("POST", "/api/v1/workers/x/exchange", 404),
        ("GET", f"/api/v1/workers/{U}/exchange", 405),
        ("GET", "/api/v1/queues/%00", 404),
        ("GET", "/api/v1/queues/\0", 404),
        ("GET", "/api/v1/queues/a//b", 404),
        ("GET", "/api/v1/queues?cursor=%00&search=%00", 200),
        ("GET", "/api/v1/queues?limit=0", 422),
        ("DELETE", "/api/v1/limits/q?expected_version=x", 422),
    ],
)
async def test_addresses_answer_in_json(both: Client, method: str, path: str, status: int) -> None:
    answer = await both.call(method, path)
    assert answer.status == status
    assert answer.headers["content-type"] in ("application/problem+json", "application/json")


async def test_an_unexpected_error_tells_nothing_but_a_number(
    both: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("select secret from table")

    monkeypatch.setattr(handlers, "execution_problem", broken)
    answer = await both.post("/api/v1/executions", EXECUTION)
    assert answer.status == 500
    assert len(answer.json["request_id"]) == 32
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body


async def test_a_database_that_is_away_is_503(
    both: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise EngineUnavailable

    monkeypatch.setattr(engine, "enqueue", away)
    answer = await both.post("/api/v1/executions", EXECUTION)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
