"""The list of executions, one execution, and its actions."""

from __future__ import annotations

import uuid

from django.test import Client

from queues.models import Deadline, Deduplication, Execution, Holding, Queue, Status, Worker
from workflows.models import Step

from .conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body, text


def test_an_execution_shows_payload_attempts_steps_and_family(vera: Client) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    parent = running(queue, worker, 1, workflow="orchestrator")
    mine = finished(
        queue, worker, Status.FAILED, attempt=2, max_attempts=2, parent_id=parent.id, root_id=parent.id,
        error='{"type": "ValueError", "message": "no such customer", "traceback": "Traceback…"}',
    )  # fmt: skip
    child = make_execution(queue, parent_id=mine.id, workflow="a_child")
    Holding.objects.create(
        execution_id=mine.id, queue=queue, attempt=1, worker_id=worker.id, slot=1, claimed_at=seconds_ago(90),
        released_at=seconds_ago(80), outcome="lost",
    )  # fmt: skip
    Step.objects.create(
        execution_id=mine.id,
        key="fetch",
        result='{"id": 1}',
        attempt=1,
        started_at=seconds_ago(5),
        ended_at=seconds_ago(4),
    )
    said = text(body(vera, f"/executions/{mine.id}"))
    for part in (
        "&quot;customer&quot;: 7",
        "ValueError",
        "no such customer",
        "Attempt 1",
        "lost",
        "Attempt 2",
        "fetch",
        "orchestrator",
        "a_child",
    ):
        assert part in said, part
    assert f"/executions/{child.id}" in body(vera, f"/executions/{mine.id}")


def test_a_queued_execution_says_why_it_does_not_start(vera: Client) -> None:
    queue = make_queue(limit=1)
    mine = make_execution(queue, waited=200)

    def said() -> str:
        return text(body(vera, f"/executions/{mine.id}"))

    assert "No worker serves call_api here. Start one that registers it." in said()
    worker = make_worker("worker-a", queue, max_concurrent=1, state="lost", heartbeat_at=seconds_ago(180))
    assert "No worker serves call_api here; the last one, worker-a, was heard of 3 min" in said()
    Worker.objects.update(state="draining")
    assert "No worker takes call_api here: worker-a is draining." in said()
    Worker.objects.update(state="alive")
    assert "The queue has room: a worker takes it in its turn." in said()
    elsewhere = running(make_queue("mail"), worker, 1)
    assert "The queue has room, but its worker is full: 1 of 1 slots taken." in said()
    elsewhere.delete()
    holder = running(queue, worker, 1, workflow="hog", claimed_at=seconds_ago(240))
    Execution.objects.filter(id=mine.id).update(enqueued_at=seconds_ago(200))  # the pages before took some, too
    assert "next in line, for 3 min 20 s. Full: 1 of 1 running. Held longest by hog (4 min" in said()
    assert f'href="/executions/{holder.id}"' in body(vera, f"/executions/{mine.id}")
    running(queue, worker, 2)
    assert "Full: 2 of 1 running (it was lowered)." in said()
    Queue.objects.filter(id=queue.id).update(overridden=True, override_limit=0)
    assert "The limit is 0, so nothing starts." in said()
    Queue.objects.filter(id=queue.id).update(
        paused=True, paused_by="ana", paused_at=seconds_ago(720), paused_reason="DB failover"
    )
    assert "Paused 12 min ago by ana: “DB failover”; nothing starts until someone resumes it." in said()
    assert "Paused" not in text(body(vera, f"/executions/{holder.id}"))


def test_an_execution_tells_its_deadlines(vera: Client) -> None:
    queue = make_queue()
    mine = make_execution(queue)
    for kind, seconds in (("queue", 90), ("execution", 7200)):
        at = seconds_ago(-seconds)
        Deadline.objects.create(execution_id=mine.id, kind=kind, seconds=seconds, at=at)
    said = text(body(vera, f"/executions/{mine.id}"))
    assert "Has to start within 1 min 30 s, until" in said
    assert "Has to be finished within 2 h" in said


def test_what_has_killed_its_workers_is_shown_with_all_of_them(vera: Client) -> None:
    queue = make_queue()
    workers = [make_worker(name, queue=queue) for name in ("first", "second", "third")]
    error = '{"type": "WorkerLost", "message": "The worker stopped answering and its lease ended."}'
    lost = {"outcome": "lost", "error": error}
    mine = finished(queue, workers[2], Status.FAILED, attempt=3, max_attempts=4, losses=3, **lost)
    for number, worker in enumerate(workers[:2], 1):
        Holding.objects.create(
            execution_id=mine.id, queue=queue, attempt=number, worker_id=worker.id, slot=1,
            claimed_at=seconds_ago(90 - 10 * number), released_at=seconds_ago(85 - 10 * number), **lost,
        )  # fmt: skip
    said = text(body(vera, f"/executions/{mine.id}"))
    story = said[said.index("What happened") :]
    assert [story.index(f"on {name}") for name in ("first", "second", "third")] == sorted(
        story.index(f"on {name}") for name in ("first", "second", "third")
    )
    assert story.count("WorkerLost") == 3


def test_who_waits_for_another_one_to_stop_names_it(vera: Client) -> None:
    queue = make_queue()
    old = running(
        queue, make_worker(queue=queue), 1, Status.CANCELLING, cancel_by="a newer one with the key k (ana)"
    )
    new = make_execution(queue, Status.WAITING)
    for execution, after in ((old, None), (new, old.id)):
        Deduplication.objects.create(
            execution_id=execution.id, queue=queue, workflow="call_api", key="customer-7", holds=after is not None,
            after=after,
        )  # fmt: skip
    html = body(vera, f"/executions/{new.id}")
    assert "one at a time with the key customer-7" in text(html)
    assert "has the same deduplication key, has stopped" in text(html)
    assert f"/executions/{old.id}" in html
    assert "Cancelled by a newer one with the key k (ana)" in text(body(vera, f"/executions/{old.id}"))


def test_what_failed_for_its_deadline_says_so_after_its_tries(vera: Client) -> None:
    queue = make_queue()
    error = '{"type": "ExecutionTimeout", "message": "It was not finished after 60 s"}'
    mine = make_execution(queue, Status.FAILED, attempt=1, finished_at=seconds_ago(1), error=error)
    Holding.objects.create(
        execution_id=mine.id, queue=queue, attempt=1, worker_id=uuid.uuid4(), claimed_at=seconds_ago(90),
        released_at=seconds_ago(80), outcome="failed", error='{"type": "ValueError", "message": "broken"}',
    )  # fmt: skip
    said = text(body(vera, f"/executions/{mine.id}"))
    assert (
        said.index("ValueError") < said.index("Failed without another attempt") < said.rindex("ExecutionTimeout")
    )
    late = running(queue, make_worker(queue=queue), 1, Status.CANCELLING, error=error)
    assert "Asked to stop, because its time is over" in text(body(vera, f"/executions/{late.id}"))


def test_numbers_keep_their_digits_and_long_values_are_folded(vera: Client) -> None:
    queue = make_queue()
    execution = make_execution(queue, payload=f'{{"n": 1.00000000000000000001, "l": [{",".join("1" * 40)}]}}')
    html = body(vera, f"/executions/{execution.id}")
    assert "1.00000000000000000001" in html
    assert '<details class="fold">' in html


def test_a_waiting_execution_tells_its_place_in_line(vera: Client) -> None:
    queue = make_queue()
    make_execution(queue, waited=50)
    second = make_execution(queue, waited=20)
    assert "place 2 in line" in text(body(vera, f"/executions/{second.id}"))


def test_an_operator_cancels_and_retries(jonas: Client) -> None:
    execution = make_execution(make_queue())
    address = f"/executions/{execution.id}"
    assert "Cancel execution" in body(jonas, address)
    assert "It is cancelled at once" in body(jonas, f"{address}/cancellation")
    assert Execution.objects.get().status == Status.QUEUED
    jonas.post(f"{address}/cancellation", {"reason": "wrong import"})
    assert "wrong import" in body(jonas, "/trail")
    assert Execution.objects.get().status == Status.CANCELLED
    assert "Retry" in body(jonas, address)
    jonas.post(f"{address}/retry")
    assert Execution.objects.get().status == Status.QUEUED


def test_what_cannot_be_cancelled_is_refused_with_a_sentence(jonas: Client) -> None:
    queue = make_queue()
    execution = finished(queue, make_worker(queue=queue))
    response = jonas.post(f"/executions/{execution.id}/cancellation", headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert "completed already" in response.content.decode()
    assert "<button" not in response.content.decode()


def test_a_viewer_sees_no_buttons(vera: Client) -> None:
    execution = make_execution(make_queue())
    assert "Cancel execution" not in body(vera, f"/executions/{execution.id}")


def test_an_unknown_execution_is_not_found(vera: Client, jonas: Client) -> None:
    unknown = uuid.uuid4()
    assert vera.get(f"/executions/{unknown}").status_code == 404
    assert jonas.post(f"/executions/{unknown}/cancellation").status_code == 404
    assert jonas.post(f"/executions/{unknown}/retry").status_code == 404


def test_workers_alive_lost_and_left(vera: Client) -> None:
    queue = make_queue()
    running(queue, make_worker("worker-a", queue, max_concurrent=8), 1)
    make_worker("worker-b", state="left", left_at=seconds_ago(5))
    make_worker("worker-c", lease_until=seconds_ago(5))
    said = text(body(vera, "/workers"))
    assert "worker-a alive 1/8" in said
    assert "worker-b left" in said
    assert "worker-c lost" in said


def test_without_a_worker_the_page_says_what_to_do(vera: Client) -> None:
    assert "No worker is alive" in body(vera, "/workers")
