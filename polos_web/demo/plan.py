"""What the demo starts in each second: bursts that fill the queues, then a lull in which they drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CYCLE_SECONDS = 36


@dataclass(frozen=True, slots=True)
class Work:
    workflow: str
    queue: str
    payload: dict[str, Any]
    every: int  # seconds
    offset: int
    count: int


# Rates that the example's queues hold: api-calls about 12 a second, database-ops 40, heavy-processing 1.6.
WORKS = (
    Work("call_api", "api-calls", {"path": "/users/7"}, CYCLE_SECONDS, 0, 70),
    Work("send_webhook", "api-calls", {"event": "order.paid"}, CYCLE_SECONDS, 3, 40),
    Work("call_api", "api-calls", {"path": "/users/8"}, CYCLE_SECONDS, 21, 50),
    Work("read_record", "database-ops", {"key": "user-7"}, CYCLE_SECONDS, 7, 240),
    Work("write_record", "database-ops", {"key": "user-7", "value": 7}, CYCLE_SECONDS, 10, 150),
    Work("write_record", "database-ops", {"key": "user-8", "value": 8}, CYCLE_SECONDS, 27, 120),
    Work("process_video", "heavy-processing", {"seconds": 8}, CYCLE_SECONDS, 2, 24),
    Work("process_video", "heavy-processing", {"seconds": 9}, CYCLE_SECONDS, 24, 8),
    Work("make_thumbnail", "make_thumbnail", {"image": "cat"}, CYCLE_SECONDS, 12, 20),
    Work("orchestrator", "unlimited", {"key": "order-7"}, CYCLE_SECONDS, 15, 2),
    Work("batch_processor", "unlimited", {"items": [1, 2, 3, 4, 5]}, CYCLE_SECONDS, 20, 1),
    Work("read_record", "database-ops", {"value": 7}, CYCLE_SECONDS, 22, 1),  # no key: fails, on purpose
    Work("call_api", "api-calls", {"path": "/health"}, 1, 0, 1),
    Work("read_record", "database-ops", {"key": "config"}, 1, 0, 3),
    Work("send_mail", "mail", {"to": "someone@example.org"}, 2, 0, 1),
    Work("count_words", "unlimited", {"text": "one two three"}, 3, 0, 2),
)
MAX_WAITING = 400  # for each queue: whoever pauses one finds a backlog, not a flood


def due(second: int, waiting: Mapping[str, int]) -> list[tuple[Work, int]]:
    """What to start in this second, and how often, without letting any queue's backlog grow past its bound."""
    room = {work.queue: MAX_WAITING - waiting.get(work.queue, 0) for work in WORKS}
    chosen = []
    for work in WORKS:
        if second % work.every != work.offset % work.every:
            continue
        count = min(work.count, max(0, room[work.queue]))
        room[work.queue] -= count
        if count:
            chosen.append((work, count))
    return chosen
