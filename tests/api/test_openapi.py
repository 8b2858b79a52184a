"""The OpenAPI document says what the handlers take and give; its page works under our security policy."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from workflows.api import hot

from .asgi_client import Client

SAMPLES: dict[tuple[str, str], Any] = {
    ("post", "/api/v1/executions"): {"workflow_id": "w", "queue_name": "q", "payload": {"a": 1}, "delay": 1},
    ("post", "/api/v1/executions/batch"): {"executions": [{"workflow_id": "w"}]},
    ("post", "/api/v1/workers"): {
        "id": str(uuid4()),
        "name": "n",
        "workflows": [{"id": "w", "queue": "q"}],
        "queues": [{"name": "q", "concurrency_limit": 2}],
    },
    ("post", "/api/v1/steps"): {"steps": [{"execution_id": str(uuid4()), "token": str(uuid4()), "key": "k"}]},
    ("post", "/api/v1/logs"): {
        "logs": [
            {
                "execution_id": str(uuid4()),
                "token": str(uuid4()),
                "lines": [{"seq": 1, "level": "warning", "text": "slow", "fields": {"page": 4}}],
                "progress": {"value": 0.4, "text": "page 4 of 10"},
            }
        ]
    },
    ("post", "/api/v1/executions/results"): {"ids": [str(uuid4())]},
    ("post", "/api/v1/events"): {"topic": "t", "payload": {"a": 1}},
    ("put", "/api/v1/limits/{name}"): {"limit": 3, "reason": "r"},
    ("put", "/api/v1/pauses/{name}"): {"reason": "r"},
    ("put", "/api/v1/drains/{name}"): {"reason": "r"},
    ("post", "/api/v1/purges/{name}"): {"confirm": "q", "reason": "r"},
    ("put", "/api/v1/workers/{worker_id}/drain"): {"reason": "r"},
    ("post", "/api/v1/workers/{worker_id}/exchange"): {"seq": 1, "capacity": 1},
    ("post", "/api/v1/workers/{worker_id}/heartbeat"): {"received": 0},
}


@pytest.fixture
async def document(client: Client) -> dict[str, Any]:
    answer = await Client().get("/api/v1/openapi.json")  # open to all: it holds no secret
    assert answer.status == 200
    return dict(answer.json)


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    return schema


def mismatches(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "") -> list[str]:
    """What a value has that its schema does not know, or lacks; enough of JSON Schema for our document."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        tries = [mismatches(document, option, value, at) for option in schema["anyOf"]]
        return [] if [] in tries else tries[0]
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    kind = schema.get("type")
    if kind == "null":
        return [] if value is None else [f"{at}: not null"]
    if kind and not isinstance(value, kinds[kind]):
        return [f"{at}: not {kind}"]
    if kind == "array":
        return [
            found
            for n, item in enumerate(value)
            for found in mismatches(document, schema["items"], item, f"{at}[{n}]")
        ]
    if kind != "object" or "properties" not in schema:
        return []
    known = schema["properties"]
    found = [f"{at}.{name}: missing" for name in schema.get("required", []) if name not in value]
    found += [f"{at}.{name}: unknown" for name in value if name not in known]
    return found + [
        problem
        for name in value
        if name in known
        for problem in mismatches(document, known[name], value[name], f"{at}.{name}")
    ]


def test_every_hot_endpoint_is_described() -> None:
    from workflows.api.routes import api

    described = {
        (method.upper(), re.sub(r"\{.*?\}", str(uuid4()), path))
        for path, operations in api.get_openapi_schema()["paths"].items()
        for method in operations
    }
    hot_ones = {(m, p) for m, p in described if hot.handles({"type": "http", "method": m, "path": p})}
    assert len(hot_ones) == len(hot._PLAIN) + len(hot._OF_WORKER) + len(hot._OF_EXECUTION)


def test_every_operation_says_how_it_fails(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path
            assert operation["description"], path
            assert operation["security"] == [{"ApiKeyAuth": []}], (path, method)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])


@pytest.mark.parametrize("path", SAMPLES, ids=str)
async def test_what_is_described_is_taken_and_given(
    client: Client, document: dict[str, Any], path: tuple[str, str]
) -> None:
    method, address = path
    operation = document["paths"][address][method]
    sample = SAMPLES[path]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert mismatches(document, body, sample) == []
    register = SAMPLES["post", "/api/v1/workers"]
    assert (await client.post("/api/v1/workers", register)).status == 200
    answer = await client.call(
        method.upper(), address.replace("{name}", "q").replace("{worker_id}", register["id"]), sample
    )
    described = operation["responses"].get(str(answer.status), operation["responses"]["default"])
    (content,) = described["content"].items()
    assert answer.headers["content-type"] == content[0]
    allowed = {"steps", "logs"} if answer.status >= 400 else set()
    found = mismatches(document, content[1]["schema"], answer.json)
    assert [item for item in found if item.split(":")[0].lstrip(".") not in allowed] == []


@pytest.mark.parametrize(
    "path",
    [
        "executions",
        "queues",
        "workers",
        "executions/{id}",
        "queues/q",
        "executions/{id}/steps",
        "executions/{id}/logs",
        "executions/{id}/stream",
        "events",
    ],
)
async def test_what_is_read_is_as_described(client: Client, document: dict[str, Any], path: str) -> None:
    await client.post("/api/v1/workers", SAMPLES["post", "/api/v1/workers"])
    made = await client.post("/api/v1/executions", SAMPLES["post", "/api/v1/executions"])
    await client.post("/api/v1/events", SAMPLES["post", "/api/v1/events"])
    operation = document["paths"][
        "/api/v1/" + path.replace("{id}", "{execution_id}").replace("queues/q", "queues/{name}")
    ]["get"]
    answer = await client.get("/api/v1/" + path.replace("{id}", made.json["id"]))
    assert answer.status == 200
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert mismatches(document, schema, answer.json) == []


async def test_the_page_of_the_document_uses_our_own_files_only(client: Client) -> None:
    answer = await Client().get("/api/v1/docs")
    assert answer.status == 200
    page = answer.body.decode()
    assert re.findall(r"https?://", page) == []
    scripts = re.findall(r"<script([^>]*)>", page)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)
    assert "<style" not in page
    assert "style=" not in page
    assert "script-src 'self'" in answer.headers["content-security-policy"]
