from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from queues.engine import Engine
from queues.engine.flight import Answers, Flight

from .crew import engine_on


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[Engine]:
    async with engine_on(dsn) as engine:
        yield engine


@pytest.fixture
def flights(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each transaction of the desk had."""
    counts: list[int] = []
    real = engine.database.fly

    async def fly(flight: Flight) -> Answers:
        if "pg_notify" not in flight.statements[0][0].text.decode():
            counts.append(len(flight.statements))
        return await real(flight)

    monkeypatch.setattr(engine.database, "fly", fly)
    return counts
