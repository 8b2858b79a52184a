"""Queues that a worker serves get its capacity in turn, however little it asks for at a time."""

from __future__ import annotations

from collections import Counter

import pytest

from queues.engine import Engine

from .crew import Crew, enqueue, ids


@pytest.mark.parametrize("queues", [2, 3, 12])
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_worker_with_one_free_place_serves_all_of_its_queues(
    engine: Engine, queues: int, workers: int
) -> None:
    names = [f"line-{n}" for n in range(queues)]
    pairs = [("work", name) for name in names]
    crews = [await Crew(engine, f"crew {n}").join(*pairs) for n in range(workers)]
    for name in names:
        await enqueue(engine, 20, queue=name)
    got: Counter[str] = Counter()
    for _ in range(4 * queues):
        for crew in crews:
            claims = await crew.take(1)
            got.update(each.queue for each in claims)
            await crew.end(ids(claims))
    assert sorted(got) == sorted(names)
    assert min(got.values()) >= 2 * workers
