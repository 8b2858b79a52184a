from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from polos import Polos, PolosClient, _workflow

from .fake_server import FakeServer, serving


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test declares its own workflows and reads no settings but its own."""
    for name in (
        "POLOS_API_URL",
        "POLOS_API_KEY",
        "POLOS_WORKER_NAME",
        "POLOS_MAX_CONCURRENT",
        "POLOS_ALLOW_HTTP",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_workflow, "_registry", {})


@pytest_asyncio.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    async with serving() as server:
        monkeypatch.setenv("POLOS_API_URL", server.url)
        yield server


@pytest_asyncio.fixture
async def client(server: FakeServer) -> AsyncIterator[PolosClient]:
    async with PolosClient() as client:
        yield client


@pytest.fixture
def polos(server: FakeServer) -> type[Polos]:
    """Client and worker on the fake server; the address is in the environment."""
    return Polos
