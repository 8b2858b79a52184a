"""What an execution waits for, on its page: said, linked, answered; and nowhere counted as work or as a slot."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from queues import gauges
from queues.models import Change, Execution, Holding, Queue, Status, Wait

from .conftest import SignIn, make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body, text


def waiting(queue: Queue, *waits: dict[str, Any], **columns: Any) -> Execution:
    """Claimed once, and waiting since."""
    ended = {"released_at": seconds_ago(4), "outcome": "waiting"}
    token = uuid.uuid4()
    mine = running(queue, make_worker(f"w{token}"), 1, Status.WAITING, token=token, **ended, **columns)
    for n, wait in enumerate(waits):
        Wait.objects.create(execution_id=mine.id, key=f"step {n}", token=token, since=seconds_ago(4 - n), **wait)
    return mine


def test_the_sentence_says_what_it_waits_for(vera: Client) -> None:
    queue = make_queue()
    child = make_execution(queue, workflow="a_child")
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"kind": "time", "until": seconds_ago(-60)}, "it waits until"),
        ({"kind": "event", "topic": "paid/eu"}, "for an event on the topic paid/eu"),
        ({"kind": "event", "topic": "t", "until": seconds_ago(-60)}, "at most"),
        ({"kind": "resume"}, "for an answer"),
        ({"kind": "executions", "executions": [child.id]}, "for a_child "),
        ({"kind": "executions", "executions": [child.id, uuid.uuid4()]}, "for 1 of 2 executions"),
    ]
    for wait, said in kinds:
        page = text(body(vera, f"/executions/{waiting(queue, wait).id}"))
        assert said in page, page


def test_what_is_over_and_what_an_earlier_claim_waited_for_is_not_said(vera: Client) -> None:
    queue = make_queue()
    mine = waiting(queue, {"kind": "event", "topic": "now"}, {"kind": "event", "topic": "over"})
    Wait.objects.filter(topic="over").update(over_at=seconds_ago(1))
    old = {"key": "old", "kind": "event", "topic": "old", "since": seconds_ago(9)}
    Wait.objects.create(execution_id=mine.id, token=uuid.uuid4(), **old)
    said = text(body(vera, f"/executions/{mine.id}"))
    assert "topic now" in said
    assert "topic over" not in said
    assert "topic old" not in said


def test_an_operator_answers_and_it_goes_on(sign_in: SignIn, clean_db: None) -> None:
    queue = make_queue()
    mine = waiting(queue, {"kind": "resume", "note": '{"amount": 12}'})
    page = body(sign_in("jonas"), f"/executions/{mine.id}")
    assert "&quot;amount&quot;: 12" in page
    assert f'action="/executions/{mine.id}/answer"' in page
    sign_in("jonas").post(f"/executions/{mine.id}/answer", {"key": "step 0", "data": "yes, do it"})
    mine.refresh_from_db()
    wait = Wait.objects.get()
    assert (mine.status, wait.answer, wait.answered_by) == ("queued", "yes, do it", "jonas")
    change = Change.objects.get()
    assert (change.kind, change.actor, change.subject) == ("answer", "jonas", str(mine.id))
    page = body(sign_in("vera"), "/trail")
    assert f'href="/executions/{mine.id}"' in page
    assert "which waited for step 0" in text(page)
    assert "yes, do it" in text(page)


@pytest.mark.parametrize("data", ["{", '{"a": 1e999}', "", "12 monkeys"])
def test_an_answer_that_is_no_json_is_told_so(sign_in: SignIn, data: str) -> None:
    mine = waiting(make_queue(), {"kind": "resume"})
    response = sign_in("jonas").post(f"/executions/{mine.id}/answer", {"key": "step 0", "data": data}, follow=True)
    assert "Nothing was sent" in response.content.decode()
    assert Wait.objects.get().over_at is None


def test_who_only_looks_is_told_who_may_answer(vera: Client) -> None:
    mine = waiting(make_queue(), {"kind": "resume"})
    page = body(vera, f"/executions/{mine.id}")
    assert "An operator can answer." in page
    assert "/answer" not in page


def test_a_wait_is_the_same_try(vera: Client) -> None:
    queue = make_queue()
    mine = waiting(queue, {"kind": "resume"}, resumes=1, attempt=3, max_attempts=3)
    for attempt, outcome in ((1, "failed"), (2, "waiting")):
        Holding.objects.create(
            execution_id=mine.id, queue=queue, attempt=attempt, worker_id=uuid.uuid4(), outcome=outcome,
            claimed_at=seconds_ago(90 - attempt), released_at=seconds_ago(80),
        )  # fmt: skip
    said = text(body(vera, f"/executions/{mine.id}"))
    happened = said[said.index("What happened") :]
    places = [happened.index(words) for words in ("Attempt 1", "Attempt 2", "Attempt 2 went on")]
    assert places == sorted(places)
    assert "Attempt 3" not in happened
    assert (mine.tries, mine.max_tries) == (2, 2)


def test_who_waits_for_something_else_is_neither_work_nor_in_a_slot(vera: Client) -> None:
    queue = make_queue(limit=1)
    waiting(queue, {"kind": "resume"})
    (gauge,) = gauges.snapshot()
    assert (gauge.held, gauge.waiting, gauge.scheduled) == (0, 0, 0)
    said = text(body(vera, "/queues/api-calls"))
    assert "1 wait for something else than a slot, and hold none" in said


def test_children_are_cancelled_with_it_on_request(sign_in: SignIn) -> None:
    queue = make_queue()
    mine = waiting(queue, {"kind": "resume"})
    child = make_execution(queue, parent_id=mine.id, root_id=mine.id)
    sign_in("jonas").post(f"/executions/{mine.id}/cancellation", {"children": "cancel"})
    child.refresh_from_db()
    assert child.status == "cancelled"
