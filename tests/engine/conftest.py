from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from queues.engine import Engine
from queues.engine.flight import Answers, Flight

from .crew import engine_on


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[Engine]:
    async with engine_on(dsn) as engine:
        yield engine


@pytest.fixture
def company(dsn: str) -> Iterator[None]:
    """Another server listens, so that there is somebody to be told."""
    with psycopg.connect(dsn, application_name="polos-listener"):
        yield


@pytest.fixture
def flights(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each transaction of the desk had."""
    counts: list[int] = []
    real = engine.database.fly

    async def fly(flight: Flight) -> Answers:
        text = flight.statements[0][0].text.decode()
        if "pg_notify" not in text and "pg_stat_activity" not in text:
            counts.append(len(flight.statements))
        return await real(flight)

    monkeypatch.setattr(engine.database, "fly", fly)
    return counts
