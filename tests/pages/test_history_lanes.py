"""Slot lanes: what ran in which slot, and what waited meanwhile."""

from __future__ import annotations

import datetime as dt
import re
import uuid

import pytest
from django.test import Client
from django.utils import timezone

from queues import lanes
from queues.lanes import Layout
from queues.models import Change, Holding, Queue, Rollup, RollupStretch, Status

from .conftest import finished, make_queue, make_worker, running, seconds_ago
from .test_list import body


def test_lanes_show_who_held_a_slot_and_a_retry() -> None:
    queue = make_queue(limit=2)
    worker = make_worker(queue=queue)
    running(queue, worker, 1)
    finished(queue, worker, Status.FAILED, slot=2)
    Holding.objects.create(
        execution_id=worker.id, queue=queue, attempt=1, worker_id=worker.id, slot=2, claimed_at=seconds_ago(90),
        released_at=seconds_ago(80), outcome="failed",
    )  # fmt: skip
    drawn = lanes.lanes(queue, timezone.now())
    assert [label.text for label in drawn.labels] == ["1", "2"]
    assert sorted(bar.kind for bar in drawn.bars) == ["failed", "retried", "running"]
    assert [bar.kind for bar in drawn.bars if bar.open] == ["running"]


def test_lanes_of_an_unlimited_queue_are_packed() -> None:
    queue = make_queue(limit=None)
    worker = make_worker(queue=queue)
    for _ in range(3):
        running(queue, worker, None)
    drawn = lanes.lanes(queue, timezone.now())
    assert {bar.lane for bar in drawn.bars} == {1, 2, 3}
    assert not drawn.numbered and drawn.share is None


def test_lanes_end_at_the_edge_of_the_picture() -> None:
    queue = make_queue(limit=1)
    worker = make_worker(queue=queue)
    running(queue, worker, 1, claimed_at=timezone.now() - dt.timedelta(hours=1))
    (bar,) = lanes.lanes(queue, timezone.now()).bars
    assert (bar.left, bar.right) == (0, lanes.WIDTH)


def test_how_much_of_the_slots_was_used() -> None:
    queue = make_queue(limit=2)
    Queue.objects.update(created_at=seconds_ago(7200))
    queue.refresh_from_db()
    worker = make_worker(queue=queue)
    running(queue, worker, 1, claimed_at=timezone.now() - dt.timedelta(hours=1))
    finished(queue, worker, slot=2, claimed_at=seconds_ago(150), released_at=seconds_ago(0))
    assert lanes.lanes(queue, timezone.now(), 300).share == 75


def test_the_share_is_of_the_limit_that_held_at_each_moment() -> None:
    queue = make_queue(limit=2)
    Queue.objects.update(created_at=seconds_ago(900))
    queue.refresh_from_db()
    Change.objects.create(
        queue=queue, at=seconds_ago(150), kind="declared", before="5", after="2", actor="w", through="worker"
    )
    worker = make_worker(queue=queue)
    running(queue, worker, 1, claimed_at=seconds_ago(600))
    for slot in (2, 3, 4, 5):
        finished(queue, worker, slot=slot, claimed_at=seconds_ago(210), released_at=seconds_ago(90))
    # 150 s of five, then of two. In use: 90 s one, 60 s five, 60 s two while five ran on, 90 s one.
    assert lanes.lanes(queue, timezone.now(), 300).share == 57


def test_the_share_of_a_young_queue_is_of_the_time_that_it_has_existed() -> None:
    queue = make_queue(limit=1)
    Queue.objects.update(created_at=seconds_ago(30))
    queue.refresh_from_db()
    running(queue, make_worker(queue=queue), 1, claimed_at=seconds_ago(15))
    assert lanes.lanes(queue, timezone.now(), 300).share == 50


@pytest.mark.parametrize(
    ("count", "labels"),
    [(5, ["1", "2", "3", "4", "5"]), (40, ["1–5", "6–10"]), (100, ["1–8", "9–16"]), (1000, ["1–64", "65–128"])],
)
def test_many_slots_are_named_in_groups_and_take_no_more_room(count: int, labels: list[str]) -> None:
    layout = Layout(count)
    assert [label.text for label in layout.labels(numbered=True)][: len(labels)] == labels
    assert layout.height <= 500
    assert layout.top(count) > layout.top(count - 1)


def test_bars_too_thin_to_be_told_apart_are_drawn_as_one() -> None:
    queue = make_queue(limit=1)
    worker = make_worker(queue=queue)
    for i in range(200):
        end = seconds_ago(60 + i * 0.1)
        finished(
            queue, worker, slot=1, claimed_at=end - dt.timedelta(seconds=0.09), released_at=end, finished_at=end
        )
    drawn = lanes.lanes(queue, timezone.now(), 1800)
    assert len(drawn.bars) < 10


def test_a_past_that_is_not_drawn_does_not_look_idle(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue(limit=1)
    worker = make_worker(queue=queue)
    for _ in range(2):
        finished(queue, worker, slot=1)
    assert not lanes.lanes(queue, timezone.now()).unknown
    monkeypatch.setattr(lanes, "MAX_SPANS", 2)
    now = int(timezone.now().timestamp()) // 10 * 10
    RollupStretch.objects.create(since=now - 600, until=now)
    cell = queue.id % 32 * 1024 + 4  # running
    Rollup.objects.create(seconds=10, start=now - 100, shard=queue.id // 32, cells=[cell], counts=[1])
    drawn = lanes.lanes(queue, timezone.now())
    assert float(drawn.unknown) > 800
    assert drawn.used
    assert "More happened than can be drawn one by one" in body(vera, "/queues/api-calls")


def test_what_waited_stands_above_the_lanes() -> None:
    queue = make_queue()
    assert lanes.lanes(queue, timezone.now()).waited == ""
    now = int(timezone.now().timestamp()) // 10 * 10
    RollupStretch.objects.create(since=now - 600, until=now)
    cell = queue.id % 32 * 1024 + 3  # waiting
    Rollup.objects.create(seconds=10, start=now - 100, shard=queue.id // 32, cells=[cell], counts=[7])
    drawn = lanes.lanes(queue, timezone.now(), waiting=3)
    assert drawn.most_waiting == 7
    assert drawn.waited.count("M") == 2  # then, and now


def test_a_pause_is_behind_the_lanes() -> None:
    queue = make_queue(paused=True, paused_at=seconds_ago(60))
    Change.objects.create(
        queue=queue,
        at=seconds_ago(60),
        kind="pause",
        before="running",
        after="paused",
        actor="ana",
        through="page",
    )
    ((x, width),) = lanes.lanes(queue, timezone.now(), 300).pauses
    assert float(x) == pytest.approx(800, abs=5)
    assert float(width) == pytest.approx(200, abs=45)


def test_lanes_go_to_another_time_and_the_address_says_so(vera: Client) -> None:
    make_queue("billing/eu")
    page = "http://testserver/queues/billing/eu?range=7d"
    reply = vera.get("/lanes/billing/eu?lanes=30", headers={"HX-Request": "true", "HX-Current-URL": page})
    assert reply.headers["HX-Push-Url"] == "/queues/billing/eu?lanes=30&range=7d"
    assert "−30 min" in reply.content.decode()
    again = vera.get("/lanes/billing/eu?lanes=30", headers={"HX-Request": "true", "Polos-Refresh": "1"})
    assert "HX-Push-Url" not in again.headers


def test_every_bar_that_is_a_link_leads_to_its_execution(vera: Client) -> None:
    queue = make_queue(limit=1)
    execution = running(queue, make_worker(queue=queue), 1, claimed_at=seconds_ago(100))
    html = body(vera, "/queues/api-calls")
    links = re.findall(r'<a href="/executions/([0-9a-f-]+)" tabindex="-1"><rect', html)
    assert [uuid.UUID(id) for id in links] == [execution.id]
