"""Who may open the live socket, what they may say there, and that it follows the database."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client

from queues import consumers, limits
from queues.consumers import sockets
from queues.engine import get_engine
from queues.live import get_sampler
from queues.models import Change, Grant
from queues.routing import websocket_urlpatterns

from .conftest import World

APPLICATION = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))


@pytest.fixture
async def engine(clean_db: None) -> AsyncIterator[None]:
    await get_engine().start()
    yield
    await sockets.close_all()
    await get_sampler().stop()
    await get_engine().stop()
    await sync_to_async(connections.close_all)()


def sign_in(name: str = "ana", role: str | None = "viewer", grant: str = "") -> Client:
    user = User.objects.create_user(name, password="a long secret")
    if grant:
        Grant.objects.create(user=user, pattern=grant, level="see", granted_by="ana")
    if role:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def socket(client: Client | None = None, origin: str | None = "http://localhost") -> WebsocketCommunicator:
    headers = [(b"host", b"localhost")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if client:
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    return WebsocketCommunicator(APPLICATION, "/live/", headers)


async def opened(client: Client | None) -> WebsocketCommunicator:
    page = socket(client)
    connected, _ = await page.connect()
    assert connected
    return page


async def closed_with(page: WebsocketCommunicator) -> int:
    async with asyncio.timeout(5):
        while True:
            message = await page.receive_output(5)
            if message["type"] == "websocket.close":
                return int(message["code"])


async def frame(page: WebsocketCommunicator, kind: str = "gauges") -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            said: dict[str, Any] = json.loads(await page.receive_from(5))
            if said["kind"] == "gauges":
                await page.send_to(json.dumps({"seen": said["version"]}))
            if said["kind"] == kind:
                return said


# -- who -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://localhost.evil.example"])
async def test_other_origins_are_refused(engine: None, origin: str | None) -> None:
    client = await sync_to_async(sign_in)()
    connected, _ = await socket(client, origin).connect()
    assert not connected


async def test_a_stranger_learns_that_signing_in_is_needed(engine: None) -> None:
    assert await closed_with(await opened(None)) == consumers.SIGNED_OUT


async def test_an_account_without_a_role_sees_nothing(engine: None) -> None:
    client = await sync_to_async(sign_in)(role=None)
    assert await closed_with(await opened(client)) == consumers.NO_ROLE


async def test_one_person_has_a_bounded_number_of_sockets(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "MOST_SOCKETS", 2)
    client = await sync_to_async(sign_in)()
    kept = [await opened(client) for _ in range(2)]
    while len(sockets) < len(kept):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await closed_with(await opened(client)) == consumers.TOO_MANY


def sign_out(client: Client) -> None:
    client.logout()


def deactivate(client: Client) -> None:
    User.objects.update(is_active=False)


def change_password(client: Client) -> None:
    user = User.objects.get()
    user.set_password("another long secret")
    user.save(update_fields=["password"])


def expire(client: Client) -> None:
    Session.objects.update(expire_date=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


def take_role(client: Client) -> None:
    User.objects.get().groups.clear()


def take_grant(client: Client) -> None:
    User.objects.get().groups.clear()
    Grant.objects.create(user=User.objects.get(), pattern="billing/*", level="see", granted_by="ana")


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (sign_out, consumers.SIGNED_OUT),
        (deactivate, consumers.SIGNED_OUT),
        (change_password, consumers.SIGNED_OUT),
        (expire, consumers.SIGNED_OUT),
        (take_role, consumers.NO_ROLE),
        (take_grant, consumers.OTHER_RIGHTS),  # less than before: the page comes back and gets only that
    ],
)
async def test_an_open_socket_is_closed_at_the_next_check(engine: None, act: Any, code: int) -> None:
    client = await sync_to_async(sign_in)()
    page = await opened(client)
    await sockets.check()
    await sync_to_async(act)(client)
    await sockets.check()
    assert await closed_with(page) == code


async def test_whoever_may_still_watch_stays(engine: None) -> None:
    client = await sync_to_async(sign_in)()
    page = await opened(client)
    await sockets.check()
    await page.send_to('{"watch": "queues"}')
    assert (await frame(page))["kind"] == "gauges"


# -- what they may say -----------------------------------------------------------------------------


TOO_LONG_A_LIST = json.dumps({"watch": "queues", "ids": [1] * (consumers.MOST_SHOWN + 1)})


@pytest.mark.parametrize("text", ["x" * 5_000, "not json", '{"watch": 7}', "[]", TOO_LONG_A_LIST])
async def test_nonsense_closes_the_socket(engine: None, text: str) -> None:
    page = await opened(await sync_to_async(sign_in)())
    await page.send_to(text)
    assert await closed_with(page) in (consumers.TOO_BIG, consumers.TOO_OFTEN)


async def test_chatter_closes_the_socket(engine: None) -> None:
    page = await opened(await sync_to_async(sign_in)())
    for _ in range(20):
        await page.send_to('{"seen": 1}')
    assert await closed_with(page) == consumers.TOO_OFTEN


# -- what they see ---------------------------------------------------------------------------------


async def test_a_changed_limit_reaches_an_open_page_within_a_second(engine: None, world: World) -> None:
    queue = await sync_to_async(world.queue)("billing/eu")
    page = await opened(await sync_to_async(sign_in)())
    await page.send_to('{"watch": "queue", "name": "billing/eu"}')
    first = await frame(page)
    assert f"q-{queue.id}-gauge" in first["fragments"]
    began = asyncio.get_running_loop().time()
    await sync_to_async(limits.change_limit)(
        queue="billing/eu", limit=3, reason="", actor="ana", through=Change.Through.ADMIN
    )
    shown = await frame(page)
    assert asyncio.get_running_loop().time() - began < 1.0
    assert "/3<" in shown["fragments"][f"q-{queue.id}-gauge"]
    assert (await frame(page, "changed"))["what"] == "queue:billing/eu"


async def test_a_list_is_sent_what_it_says_it_shows(engine: None, world: World) -> None:
    one, two = await sync_to_async(world.queue)("one"), await sync_to_async(world.queue)("two")
    page = await opened(await sync_to_async(sign_in)())
    await page.send_to(f'{{"watch": "queues", "ids": [{one.id}]}}')
    first = (await frame(page))["fragments"]
    assert f"q-{one.id}-gauge" in first and f"q-{two.id}-gauge" not in first
    await page.send_to(f'{{"watch": "queues", "ids": [{one.id}, {two.id}]}}')
    second = (await frame(page))["fragments"]
    assert f"q-{two.id}-gauge" in second and f"q-{one.id}-gauge" not in second


async def test_a_socket_tells_nothing_of_queues_that_are_not_granted(engine: None, world: World) -> None:
    mine, other = await sync_to_async(world.queue)("billing/eu"), await sync_to_async(world.queue)("mail")
    client = await sync_to_async(sign_in)(role=None, grant="billing/*")
    page = await opened(client)
    await page.send_to(f'{{"watch": "queues", "ids": [{mine.id}, {other.id}]}}')
    listed = (await frame(page))["fragments"]
    assert f"q-{mine.id}-gauge" in listed and f"q-{other.id}-gauge" not in listed
    assert listed["count-all"] == "1"
    await page.send_to('{"watch": "queue", "name": "mail"}')
    assert (await frame(page))["fragments"] == {}


async def test_names_and_reasons_arrive_escaped(engine: None, world: World) -> None:
    queue = await sync_to_async(world.queue)()
    await sync_to_async(limits.pause)(
        queue="q", reason="<script>alert(1)</script>", actor="<b>ana", through=Change.Through.PAGE
    )
    page = await opened(await sync_to_async(sign_in)())
    await page.send_to('{"watch": "queues"}')
    source = (await frame(page))["fragments"][f"q-{queue.id}-source"]
    assert "<script>" not in source
    assert "&lt;script&gt;" in source
