"""Local mode: without keys, for programs on this machine, and for no web page."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pytest_django import Settings

from queues import keys
from queues.engine import Engine
from queues.keys import create_key, local_mode_on, revoke_key

from .asgi_client import Client
from .conftest import MakeKey, in_database

ENQUEUE = ("POST", "/api/v1/executions", {"workflow_id": "w"})


@pytest.fixture
def local(engine: Engine, settings: Settings) -> None:
    settings.POLOS_LOCAL_MODE_ALLOWED = True


async def status(hot_first: bool, method: str, path: str, body: Any = None, **client: Any) -> int:
    headers = client.pop("more", {})
    caller = Client(hot_first=hot_first, **client)
    return (await caller.call(method, path, body, headers=headers)).status


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080"])
async def test_programs_here_need_no_key(local: None, hot_first: bool, host: str) -> None:
    assert await status(hot_first, *ENQUEUE, host=host) == 201
    assert await status(hot_first, *ENQUEUE, host=host, address="::1") == 201
    assert await status(hot_first, "GET", "/api/v1/executions", host=host) == 200


async def test_our_own_pages_may(local: None, hot_first: bool) -> None:
    headers = {"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    assert await status(hot_first, *ENQUEUE, more=headers) == 201


@pytest.mark.parametrize("address", ["192.168.1.5", "8.8.8.8", "::ffff:10.0.0.1", "", "unix"])
async def test_other_machines_may_not(local: None, hot_first: bool, address: str) -> None:
    assert await status(hot_first, *ENQUEUE, address=address) == 401


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "localhost", "localhost:80", "127.0.0.1.nip.io:8080", "a@localhost:8080"]
)
async def test_names_that_point_here_may_not(local: None, hot_first: bool, host: str) -> None:
    """Against DNS rebinding: the browser says which name it resolved."""
    assert await status(hot_first, *ENQUEUE, host=host) in (400, 401)
    assert await status(hot_first, "GET", "/api/v1/executions", host=host) in (400, 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "https://localhost:8080"},
        {"origin": "http://localhost:8080.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=application/json"},
        {"content-type": ""},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-host": "localhost:8080"},
        {"x-forwarded-proto": "http"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
    ],
    ids=str,
)
async def test_web_pages_and_proxies_may_not(local: None, hot_first: bool, headers: dict[str, str]) -> None:
    assert await status(hot_first, *ENQUEUE, more=headers) == 401


async def test_a_body_of_unknown_length_needs_its_type_too(local: None, hot_first: bool) -> None:
    headers = {"content-length": "", "content-type": "", "transfer-encoding": "chunked"}
    assert await status(hot_first, *ENQUEUE, more=headers) == 401


async def test_a_wrong_key_does_not_fall_back_to_local_mode(local: None, hot_first: bool) -> None:
    assert await status(hot_first, *ENQUEUE, key="polos_x_y") == 401


async def test_it_is_off_where_the_server_is_open_to_others(
    engine: Engine, settings: Settings, hot_first: bool
) -> None:
    settings.POLOS_LOCAL_MODE_ALLOWED = False
    assert await status(hot_first, *ENQUEUE) == 401
    assert await in_database(local_mode_on) is False


async def test_the_first_key_ends_it_for_good(local: None, hot_first: bool) -> None:
    assert await status(hot_first, *ENQUEUE) == 201
    assert await in_database(local_mode_on) is True
    key, _ = await in_database(create_key, name="k", scope="full", patterns=[], created_by="ada")
    assert await status(hot_first, *ENQUEUE) == 401
    await in_database(revoke_key, key, actor="ada")
    assert await status(hot_first, *ENQUEUE) == 401
    assert await in_database(local_mode_on) is False


async def test_the_first_key_ends_it_on_other_servers_soon(
    local: None, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await status(True, *ENQUEUE) == 201
    monkeypatch.setattr(keys, "forget", lambda: None)  # made by another server
    await make_key()
    monkeypatch.setattr(keys, "monotonic", lambda: time.monotonic() + keys.KEPT_SECONDS + 0.1)
    assert await status(True, *ENQUEUE) == 401


async def test_the_key_of_the_demo_does_not_end_it(local: None, make_key: MakeKey, hot_first: bool) -> None:
    _, key = await make_key("demo", demo=True)
    assert await status(hot_first, *ENQUEUE) == 201
    assert await status(hot_first, *ENQUEUE, key=key) == 201
