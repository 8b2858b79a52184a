from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from queues.engine import Engine

from .crew import engine_on


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[Engine]:
    async with engine_on(dsn) as engine:
        yield engine
