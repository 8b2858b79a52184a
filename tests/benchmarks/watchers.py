"""Many open pages on one server: how late updates are, what the database is asked, what a silent page costs.

`python -m tests.benchmarks.watchers people` makes people who may watch, and prints their cookies;
`… crowd` opens the pages. Both take what they need as JSON in the second argument.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from websockets.asyncio.client import ClientConnection, connect

from polos import Invocation, PolosClient
from tests import servers

PER_PERSON = 20  # sockets; the server lets one person have 30
QUEUES = 20  # on the list that everybody watches
AT_ONCE = 25  # pages that are opened together: each waits for the next look of the sampler
SILENT = 10  # pages that never read
ROUND_SECONDS = 0.7  # between two changes: more than the sampler's shortest pause
LATE = 10.0  # seconds after which an update counts as lost
TRANSACTIONS = "select xact_commit from pg_stat_database where datname = current_database()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What the process with the pages is told."""

    url: str
    key: str
    dsn: str
    server: int  # its process id
    cookies: list[str]
    watchers: int
    rounds: int


def run(crowd: Crowd) -> dict[str, float]:
    return dict(json.loads(_in_a_process("crowd", asdict(crowd), servers.environment())))


def people(number: int, env: dict[str, str]) -> list[str]:
    """Session cookies of so many viewers, for the server with these settings."""
    return list(json.loads(_in_a_process("people", number, servers.environment(env))))


def _in_a_process(what: str, told: Any, env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.watchers", what, json.dumps(told)]
    done = subprocess.run(command, cwd=servers.ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1]


# -- in the processes ------------------------------------------------------------------------------


def _make_people(number: int) -> list[str]:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "polos_web.settings"
    django.setup()
    from django.contrib.auth.models import Group, User
    from django.test import Client

    cookies = []
    for n in range(number):
        user = User.objects.create_user(f"watcher-{n}")
        user.groups.add(Group.objects.get(name="viewer"))
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        cookies.append(f"sessionid={client.cookies['sessionid'].value}")
    return cookies


@dataclass(slots=True)
class Page:
    """An open list that says what it has seen, as the page does, and knows when the last update came."""

    line: ClientConnection
    shows: str  # the cell that it waits for
    came: asyncio.Event
    at: float = 0.0

    async def read(self) -> None:
        async for text in self.line:
            now = time.monotonic()
            frame = json.loads(text)
            if frame["kind"] != "gauges":
                continue
            if self.shows in frame["fragments"]:
                self.at = now
                self.came.set()
            await self.line.send(json.dumps({"seen": frame["version"]}))


async def _crowd(crowd: Crowd) -> dict[str, float]:
    async with PolosClient(crowd.url, crowd.key) as client, AsyncExitStack() as stack:
        ids = await _queues(client, crowd.dsn)
        pages = [await _page(crowd, 0, ids, stack)]
        figures = await _measured("one", client, crowd, pages)
        for first in range(1, crowd.watchers, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, crowd.watchers))
            pages += await asyncio.gather(*(_page(crowd, number, ids, stack) for number in numbers))
        figures |= await _measured("all", client, crowd, pages)
        return figures | await _beside_silent_ones(client, crowd, pages, ids)


async def _queues(client: PolosClient, dsn: str) -> list[int]:
    await _change(client)
    with psycopg.connect(dsn) as db:
        return [id for (id,) in db.execute("select id from queues_queue order by name").fetchall()]


async def _change(client: PolosClient) -> float:
    """One commit that shows on every row; returns when it was asked for, which is a little before it."""
    began = time.monotonic()
    await client.batch_invoke(
        [Invocation(workflow="w", queue_name=f"watched-{n:02}", queue_concurrency_limit=5) for n in range(QUEUES)]
    )
    return began


async def _page(crowd: Crowd, number: int, ids: list[int], stack: AsyncExitStack) -> Page:
    cookie = crowd.cookies[number // PER_PERSON]
    line = await stack.enter_async_context(
        connect(
            crowd.url.replace("http", "ws", 1) + "/live/", origin=crowd.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookie}, max_size=None, ping_interval=None, close_timeout=0.1,
            compression=None,
        )
    )  # fmt: skip
    await line.send(json.dumps({"watch": "queues", "ids": ids}))
    page = Page(line, f"q-{ids[0]}-waiting", asyncio.Event())
    stack.push_async_callback(_ended, asyncio.create_task(page.read()))
    await asyncio.wait_for(page.came.wait(), 30)  # its first frame is complete
    return page


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _measured(name: str, client: PolosClient, crowd: Crowd, pages: list[Page]) -> dict[str, float]:
    """Milliseconds from a commit to the message, and how much the database was asked meanwhile."""
    await asyncio.sleep(2)
    seconds: list[float] = []
    before, cpu = _transactions(crowd.dsn), psutil.Process(crowd.server).cpu_times()
    for _ in range(crowd.rounds):
        for page in pages:
            page.came.clear()
        began = await _change(client)
        async with asyncio.timeout(LATE):
            await asyncio.gather(*(page.came.wait() for page in pages))
        seconds += [page.at - began for page in pages]
        await asyncio.sleep(max(0.0, began + ROUND_SECONDS - time.monotonic()))
    used = psutil.Process(crowd.server).cpu_times()
    seconds.sort()
    return {
        f"{name}_p50": seconds[len(seconds) // 2] * 1e3,
        f"{name}_p95": seconds[int(len(seconds) * 0.95)] * 1e3,
        f"{name}_max": seconds[-1] * 1e3,
        f"{name}_transactions": (_transactions(crowd.dsn) - before) / crowd.rounds,
        f"{name}_server_cpu_ms": (used.user + used.system - cpu.user - cpu.system) * 1e3 / crowd.rounds,
    }


def _transactions(dsn: str) -> int:
    """What PostgreSQL has counted; sessions tell it with a delay of up to a second."""
    time.sleep(1.2)
    with psycopg.connect(dsn) as db:
        row = db.execute(TRANSACTIONS).fetchone()
        return int(row[0]) if row else 0


# -- pages that never read -------------------------------------------------------------------------


async def _beside_silent_ones(
    client: PolosClient, crowd: Crowd, pages: list[Page], ids: list[int]
) -> dict[str, float]:
    server = psutil.Process(crowd.server)
    before = server.memory_info().rss
    async with AsyncExitStack() as stack:
        for _ in range(SILENT):
            await stack.enter_async_context(_silent(crowd, ids))
        figures = await _measured("beside_silent", client, crowd, pages)
        figures["silent_mb_each"] = (server.memory_info().rss - before) / 1e6 / SILENT
    return figures


@asynccontextmanager
async def _silent(crowd: Crowd, ids: list[int]) -> AsyncIterator[None]:
    """Says what it watches and takes nothing of what it is sent, not even out of its own buffer."""
    parts = urlsplit(crowd.url)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect((parts.hostname, parts.port))
        line.settimeout(10)
        key = base64.b64encode(os.urandom(16)).decode()
        line.sendall(
            f"GET /live/ HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nOrigin: {crowd.url}\r\n"
            f"Cookie: {crowd.cookies[-1]}\r\n\r\n".encode()
        )
        if b" 101 " not in line.recv(20):
            raise RuntimeError("a page that never reads was not let in")
        line.sendall(_masked(json.dumps({"watch": "queues", "ids": ids}).encode()))
        yield


def _masked(text: bytes) -> bytes:
    """One frame of a client, with a mask that changes nothing; up to 65,535 bytes."""
    return b"\x81" + bytes([0x80 | 126]) + len(text).to_bytes(2, "big") + bytes(4) + text


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    made: Any = _make_people(given) if sys.argv[1] == "people" else asyncio.run(_crowd(Crowd(**given)))
    print(json.dumps(made))  # noqa: T201
