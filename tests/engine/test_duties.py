"""What servers do in the background."""

from __future__ import annotations

import pytest

from queues.engine import Engine, duties
from queues.engine.database import Database


async def test_a_duty_that_fails_keeps_no_other_from_its_work(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = []

    async def breaks(_: Database) -> float:
        raise RuntimeError("one bad row")

    async def works(_: Database) -> float:
        worked.append(1)
        return 0.0

    monkeypatch.setattr(duties, "also_do", [breaks, works])
    for _ in range(2):
        await engine.duties.others()
    assert worked == [1, 1]
