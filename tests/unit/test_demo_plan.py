from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from polos_web.demo import plan

queues = sorted({work.queue for work in plan.WORKS})


def started(second: int, waiting: dict[str, int]) -> Counter[str]:
    count: Counter[str] = Counter()
    for work, times in plan.due(second, waiting):
        count[work.queue] += times
    return count


@given(st.integers(0, 10_000), st.dictionaries(st.sampled_from(queues), st.integers(0, 1_000)))
def test_no_backlog_grows_past_its_bound(second: int, waiting: dict[str, int]) -> None:
    for queue, count in started(second, waiting).items():
        assert waiting.get(queue, 0) + count <= plan.MAX_WAITING


def test_bursts_repeat_with_lulls_between_them() -> None:
    cycle = [started(second, {})["heavy-processing"] for second in range(2 * plan.CYCLE_SECONDS)]
    assert cycle[: plan.CYCLE_SECONDS] == cycle[plan.CYCLE_SECONDS :]
    assert cycle.count(0) > plan.CYCLE_SECONDS


def test_a_cycle_is_less_than_the_queues_can_do() -> None:
    total: Counter[str] = Counter()
    for second in range(plan.CYCLE_SECONDS):
        total += started(second, {})
    assert total["api-calls"] < 10 * plan.CYCLE_SECONDS  # 5 at once, half a second each
    assert total["database-ops"] < 33 * plan.CYCLE_SECONDS  # 10 at once, 0.3 seconds each
    assert total["heavy-processing"] < 1.6 * plan.CYCLE_SECONDS  # 2 at once, 1.2 seconds each
