"""Draining a queue from its page, and how it shows."""

from __future__ import annotations

from django.test import Client

from queues import gauges, limits
from queues.gauges import State, needs_attention, state_of
from queues.models import Change, Queue

from .conftest import make_execution, make_queue, make_worker, running

HTMX = {"HX-Request": "true"}


def test_a_drain_says_what_it_does_needs_a_reason_and_can_be_undone(jonas: Client) -> None:
    queue = make_queue("billing/eu")
    running(queue, make_worker(queue=queue), 1)
    make_execution(queue)
    html = jonas.get("/drains/billing/eu", headers=HTMX).content.decode()
    assert "error 409" in html and "What is there is finished: 1 running, 1 waiting." in html
    refused = jonas.post("/drains/billing/eu", {"expected_version": queue.version}, headers=HTMX)
    assert refused.status_code == 422 and "Say why" in refused.content.decode()
    reply = jonas.post("/drains/billing/eu", {"expected_version": queue.version, "reason": "moving"}, headers=HTMX)
    assert "takes nothing new" in reply.headers["HX-Trigger"]
    page = jonas.get("/queues/billing/eu").content.decode()
    assert "(“moving”): new executions are refused; 1 running" in page
    assert "Accept again…" in page and "drained the queue" in page
    assert "drained by jonas: “moving”" in jonas.get("/").content.decode()
    queue.refresh_from_db()
    jonas.post("/drains/billing/eu", {"expected_version": queue.version, "accept": "1"}, headers=HTMX)
    assert not Queue.objects.get().draining
    told = Change.objects.order_by("id").values_list("kind", "before", "after", "actor", "reason")
    assert list(told) == [
        ("drain", "accepting", "draining", "jonas", "moving"),
        ("drain", "draining", "accepting", "jonas", ""),
    ]
    assert "let the queue accept again" in jonas.get("/trail?kind=drain").content.decode()


def test_a_stale_view_is_refused_and_shows_what_changed(jonas: Client) -> None:
    queue = make_queue("mail")
    limits.pause(queue="mail", reason="calm", actor="oskar", through=Change.Through.REST)
    reply = jonas.post("/drains/mail", {"expected_version": queue.version, "reason": "x"}, headers=HTMX)
    assert reply.status_code == 409
    assert "oskar changed the queue from running to paused (“calm”)" in reply.content.decode()
    assert not Queue.objects.get().draining


def test_a_draining_queue_is_a_state_and_needs_attention() -> None:
    quiet = {"paused": False, "limit": 5, "oldest_wait": None, "draining": True, "workers": 1}
    assert state_of(**quiet, held=1, waiting=0, left=1) is State.DRAINING  # type: ignore[arg-type]
    assert state_of(**quiet, held=0, waiting=0, left=0) is State.DRAINED  # type: ignore[arg-type]
    assert state_of(**quiet | {"workers": 0}, held=0, waiting=1, left=1) is State.NO_WORKER  # type: ignore[arg-type]
    make_queue("mail", draining=True, drain_at=gauges.survey().at)
    (gauge,) = gauges.snapshot()
    assert needs_attention(gauge)


def test_the_palette_drains(jonas: Client) -> None:
    make_queue("mail")
    assert "Drain mail…" in jonas.get("/go?q=drain ma").content.decode()
