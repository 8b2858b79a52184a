from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from pytest_django import Settings

from queues import keys
from queues.engine import Engine, get_engine
from queues.keys import create_key
from queues.models import ApiKey
from workflows import registry
from workflows.api import handlers

from .asgi_client import Client

MakeKey = Callable[..., Awaitable[tuple[ApiKey, str]]]


@pytest.fixture
def fresh(clean_db: None, settings: Settings) -> None:
    """An empty database, and a process that remembers nothing."""
    settings.POLOS_LOCAL_MODE_ALLOWED = False
    for forget in (keys.forget, registry.forget, handlers._owners.clear):
        forget()


@pytest.fixture
async def engine(fresh: None) -> AsyncIterator[Engine]:
    engine = get_engine()
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def make_key(fresh: None) -> MakeKey:
    async def make(
        name: str = "full", scope: str = ApiKey.Scope.FULL, *patterns: str, **more: Any
    ) -> tuple[ApiKey, str]:
        made: tuple[ApiKey, str] = await in_database(
            create_key, name=name, scope=scope, patterns=patterns, created_by="tests", **more
        )
        return made

    return make


@pytest.fixture(params=["hot", "django"])
def hot_first(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "hot")


@pytest.fixture
async def client(engine: Engine, make_key: MakeKey) -> Client:
    """A caller with a key for everything."""
    _, key = await make_key()
    return Client(key=key)


@pytest.fixture
async def both(client: Client, hot_first: bool) -> Client:
    """The same caller, once through the hot application and once through Django."""
    client.hot_first = hot_first
    return client


async def in_database(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Runs what uses Django's connection."""

    def run() -> Any:
        try:
            return function(*args, **options)
        finally:
            connection.close()

    return await sync_to_async(run)()


async def join(client: Client, *pairs: tuple[str, str], **more: Any) -> UUID:
    """A worker that serves these (queue, workflow) pairs."""
    worker_id = uuid4()
    workflows = [{"id": workflow, "queue": queue} for queue, workflow in pairs]
    answer = await client.post(
        "/api/v1/workers", {"id": str(worker_id), "name": "test-worker", "workflows": workflows} | more
    )
    assert answer.status == 200, answer.body
    return worker_id


async def claim(client: Client, worker_id: UUID, seq: int = 1, **more: Any) -> dict[str, Any]:
    """An exchange that is expected to be answered with at least one execution."""
    answer = await client.post(
        f"/api/v1/workers/{worker_id}/exchange",
        {"seq": seq, "received": seq - 1, "capacity": 10, "wait": 5} | more,
    )
    assert answer.status == 200, answer.body
    assert answer.json["executions"], answer.body
    return dict(answer.json)
