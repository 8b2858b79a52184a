"""Health, readiness, metrics: what load balancers and monitoring ask."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from asgiref.sync import sync_to_async
from channels.testing import HttpCommunicator
from django.contrib.auth.models import Group, User
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.test import Client
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from queues import limits
from queues.engine import get_engine
from queues.keys import create_key, forget
from queues.models import Change, Execution
from tests import servers

from .conftest import World


@pytest.fixture
async def engine(clean_db: None) -> AsyncIterator[None]:
    forget()
    await get_engine().start()
    yield
    await get_engine().stop()
    await sync_to_async(connections.close_all)()
    forget()


def make_key(name: str = "prometheus", scope: str = "full", patterns: tuple[str, ...] = ()) -> str:
    return create_key(name=name, scope=scope, patterns=patterns, created_by="ana")[1]


async def get(path: str, **headers: str) -> tuple[int, str]:
    """Through the real handler: it gives the database connections of its threads back."""
    sent = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
    asked = HttpCommunicator(ASGIHandler(), "GET", path, headers=sent)
    reply = await asked.get_response(timeout=10)
    await asked.wait(timeout=10)
    return reply["status"], reply["body"].decode()


async def scrape(key: str) -> str:
    status, text = await get("/metrics", authorization=f"Bearer {key}")
    assert status == 200, text
    return text


async def test_a_process_is_healthy_without_a_database(settings: Any) -> None:
    settings.POLOS_DSN = "host=127.0.0.1 port=1 dbname=none"
    assert await get("/healthz") == (200, "ok\n")


async def test_a_server_is_ready_when_the_database_answers_and_is_migrated(engine: None) -> None:
    assert await get("/readyz") == (200, "ok\n")


async def test_a_draining_server_is_not_ready(engine: None) -> None:
    await get_engine().drain()
    assert await get("/readyz") == (503, "This server is stopping.\n")


async def test_a_server_without_its_database_is_not_ready(engine: None, settings: Any) -> None:
    settings.POLOS_DSN = "host=127.0.0.1 port=1 dbname=none"
    assert await get("/readyz") == (503, "The database does not answer.\n")


async def test_a_database_that_lacks_migrations_is_not_ready(engine: None, settings: Any) -> None:
    settings.POLOS_DSN = make_conninfo(settings.POLOS_DSN, options="-c search_path=pg_temp")
    assert (await get("/readyz"))[0] == 503


async def test_metrics_want_a_key_or_a_person(engine: None) -> None:
    key = await sync_to_async(make_key)()
    narrow = await sync_to_async(make_key)("narrow", "full", ("billing/*",))
    enqueue = await sync_to_async(make_key)("enqueue", "enqueue")
    for credentials, status in (("polos_wrong", 401), (narrow, 403), (enqueue, 403), (key, 200)):
        assert (await get("/metrics", authorization=f"Bearer {credentials}"))[0] == status
    assert (await get("/metrics"))[0] == 401


async def test_a_signed_in_person_with_a_role_may_read_the_metrics(engine: None) -> None:
    await sync_to_async(make_key)()
    client = Client()
    user = await User.objects.acreate_user("ana")
    await sync_to_async(client.force_login)(user, backend="django.contrib.auth.backends.ModelBackend")
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    assert (await get("/metrics", cookie=cookie))[0] == 401
    await user.groups.aadd(await Group.objects.aget(name="viewer"))
    assert (await get("/metrics", cookie=cookie))[0] == 200


async def test_metrics_tell_what_the_pages_tell(engine: None, world: World) -> None:
    key = await sync_to_async(make_key)()

    def fill() -> None:
        queue = world.queue(limit=2)
        world.execution(queue, "running", slot=1)
        world.execution(queue, "queued", ago=30)

    await sync_to_async(fill)()
    text = await scrape(key)
    assert 'polos_queue_running{queue="q"} 1.0' in text
    assert 'polos_queue_limit{queue="q"} 2.0' in text
    assert 'polos_queue_waiting{queue="q"} 1.0' in text
    assert 'polos_queue_oldest_wait_seconds{queue="q"} 3' in text
    names = (
        "claims_total", "completions_total", "failures_total", "lease_expiries_total",
        "stale_writes_refused_total", "limit_violations_total", "db_pool_size", "live_delay_seconds_count",
    )  # fmt: skip
    for name in names:
        assert f"\npolos_{name} " in text


# -- promise 1, watched from outside ---------------------------------------------------------------


async def violations() -> int:
    from queues.live import read_now

    await read_now()
    return get_engine().stats.limit_violations


async def test_a_claim_over_the_limit_is_counted_once(engine: None, world: World) -> None:
    queue = await sync_to_async(world.queue)(limit=1)
    for slot in (1, 2):
        await sync_to_async(world.execution)(queue, "running", slot=slot)
    assert await violations() == 1
    assert await violations() == 1
    await Execution.objects.filter(slot=2).aupdate(claimed_at=timezone.now())
    assert await violations() == 2


async def test_a_lowered_limit_is_no_violation_until_something_starts(engine: None, world: World) -> None:
    queue = await sync_to_async(world.queue)(limit=3)
    for slot in (1, 2, 3):
        await sync_to_async(world.execution)(queue, "running", slot=slot)
    await sync_to_async(limits.change_limit)(
        queue="q", limit=1, reason="", actor="ana", through=Change.Through.PAGE
    )
    assert await violations() == 0
    await sync_to_async(world.execution)(queue, "cancelling", slot=4)
    assert await violations() == 1


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "grafana-dashboard.json", "monitoring.md"])
async def test_rules_and_dashboard_ask_for_metrics_that_exist(name: str, engine: None, world: World) -> None:
    await sync_to_async(world.queue)("q")
    told = await scrape(await sync_to_async(make_key)())
    exposed = set(re.findall(r"^(polos_\w+)", told, re.MULTILINE)) | {"polos_live_delay_seconds"}
    asked = set(re.findall(r"\bpolos_[a-z_]+", (servers.ROOT / "docs" / name).read_text()))
    assert asked and asked <= exposed, asked - exposed


def test_rules_and_dashboard_can_be_read() -> None:
    rules = yaml.safe_load((servers.ROOT / "docs/prometheus-alerts.yml").read_text())
    assert all({"alert", "expr", "labels", "annotations"} <= rule.keys() for rule in rules["groups"][0]["rules"])
    dashboard = json.loads((servers.ROOT / "docs/grafana-dashboard.json").read_text())
    assert all(panel["targets"] for panel in dashboard["panels"])
