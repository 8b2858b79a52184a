"""The page of one queue."""

from __future__ import annotations

import pytest
from django.test import Client

from queues import reads
from queues.models import Change, Queue

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body, text


def test_a_name_with_slashes_has_its_page(vera: Client) -> None:
    make_queue("billing/pause")
    assert "billing/pause" in body(vera, "/queues/billing/pause")


def test_an_unknown_queue_is_not_found(vera: Client) -> None:
    response = vera.get("/queues/nobody")
    assert response.status_code == 404
    assert "There is no queue named “nobody”." in response.content.decode()


def test_who_holds_which_slot(vera: Client) -> None:
    queue = make_queue()
    execution = running(queue, make_worker("worker-b", queue), 3)
    html = body(vera, "/queues/api-calls")
    row = html[html.index(f'id="r-{execution.id}"') :].split("</tr>")[0]
    assert text(row.split(">", 1)[1]).startswith("3")
    assert "worker-b" in row
    assert f"/executions/{execution.id}" in row


def test_waiting_ones_are_in_the_order_in_which_they_start(vera: Client) -> None:
    queue = make_queue()
    late, early = make_execution(queue, waited=5), make_execution(queue, waited=50)
    first = make_execution(queue, waited=1, priority=100, place=seconds_ago(101))
    html = body(vera, "/queues/api-calls")
    places = [html.index(f'id="w-{execution.id}"') for execution in (first, early, late)]
    assert places == sorted(places)


def test_the_sentence_says_full(vera: Client) -> None:
    queue = make_queue(limit=1)
    running(queue, make_worker(queue=queue), 1)
    make_execution(queue, waited=72)
    assert "Full: 1 of 1 running, 1 waiting, oldest 1 min 1" in text(body(vera, "/queues/api-calls"))


def test_the_sentence_says_that_nobody_serves_it(vera: Client) -> None:
    make_execution(make_queue())
    assert "No worker serves this queue: 1 waiting" in text(body(vera, "/queues/api-calls"))


def test_the_sentence_says_when_it_is_not_the_limit_that_binds(vera: Client) -> None:
    queue = make_queue(limit=5)
    make_worker(queue=queue)
    make_execution(queue, waited=30)
    assert "The limit leaves room" in text(body(vera, "/queues/api-calls"))


def test_the_sentence_says_that_zero_lets_nothing_start(vera: Client) -> None:
    make_execution(make_queue(limit=0))
    assert "The limit is 0, so nothing starts" in text(body(vera, "/queues/api-calls"))


def test_the_second_line_says_who_changed_the_limit_and_why(vera: Client) -> None:
    make_queue(
        limit=3,
        overridden=True,
        override_limit=5,
        override_by="ana",
        override_at=seconds_ago(1900),
        override_reason="provider raised quota",
    )
    said = text(body(vera, "/queues/api-calls"))
    assert "Limit 5, set 31 min ago by ana: “provider raised quota” · declared 3 by worker-a" in said


@pytest.mark.parametrize(("limit", "said"), [(5, "limit 5, chosen when"), (None, "no limit was chosen when")])
def test_a_limit_that_came_with_an_execution_is_declared_by_nobody(
    vera: Client, limit: int | None, said: str
) -> None:
    make_queue(limit=limit)
    Queue.objects.update(declared_by="chosen when an execution was enqueued")  # as `engine/enqueue.py` says it
    assert f"{said} an execution was enqueued" in text(body(vera, "/queues/api-calls"))


def test_the_trail_names_who_when_from_to_why_and_through_what(vera: Client) -> None:
    Change.objects.create(
        queue=make_queue(), at=seconds_ago(60), kind="override", before="none", after="5", actor="ana",
        reason="quota", through="rest",
    )  # fmt: skip
    said = text(body(vera, "/queues/api-calls"))
    assert "ana changed the override none → 5" in said
    assert "“quota”" in said
    assert "through REST" in said


def test_free_slots_have_their_rows_so_that_nothing_moves(vera: Client) -> None:
    queue = make_queue(limit=3)
    running(queue, make_worker(queue=queue), 2)
    slots = reads.slots(queue)
    assert [(slot.number, slot.row is None) for slot in slots] == [(1, True), (2, False), (3, True)]
    assert body(vera, "/queues/api-calls").count('<tr class="free">') == 2


def test_slots_above_a_lowered_limit_are_still_listed() -> None:
    queue = make_queue(limit=1)
    running(queue, make_worker(queue=queue), 4)
    assert [slot.number for slot in reads.slots(queue)] == [1, 4]
