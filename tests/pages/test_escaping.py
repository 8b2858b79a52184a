"""Texts of other people are text, in pages and in what is pushed to them."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from queues import fragments, gauges
from queues.models import Change, Declaration, Execution, Holding, Queue, Status, Worker
from workflows.models import Step

from .conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</title><script>alert(1)</script>",
    "</pre><iframe src=javascript:alert(1)>",
    "javascript:alert(1)//<b>",
    "<a hx-get=/ hx-trigger=load>",
    "{{ request.user }}{% debug %}<u>",
    "<!--<b>-->",
    "&lt;b&gt;<b>",
    "\u202e<b>\u2066",
)
PAGES = ("/", "/queues/{name}", "/executions", "/executions/{id}", "/workers", "/limits/{name}", "/pauses/{name}")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(text: str, ana: Client) -> None:
    queue = _queue(text)
    worker = make_worker(text, queue, host=text, sdk_version=text[:50], key_name=text)
    error = json.dumps({"type": text, "message": text, "traceback": text})
    mine = finished(queue, worker, Status.FAILED, workflow=text, payload=json.dumps({text: text}), error=error)
    running(queue, worker, 1, workflow=text)
    make_execution(queue, workflow=text, parent_id=mine.id)
    _history(queue, worker, mine, text)
    pages = [page.format(name=queue.name, id=mine.id) for page in PAGES]
    shown = {}
    for page in pages:
        response = ana.get(page)
        assert response.status_code == 200, page
        shown[page] = response.content.decode()
    shown["pushed"] = "".join(fragments.render_gauges(gauges.snapshot()).values())
    for page, html in shown.items():
        assert text not in html, page
        assert "<script>alert" not in html, page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_filters_are_shown_as_text(text: str, ana: Client) -> None:
    make_queue()
    for query in ({"search": text}, {"queue": text, "workflow": text, "status": text, "cursor": text}):
        for page in ("/", "/executions"):
            assert text not in ana.get(page, query).content.decode()


def _queue(text: str) -> Queue:
    return make_queue(
        "q-1", 2, overridden=True, override_limit=1, override_by=text, override_reason=text,
        override_at=seconds_ago(5), paused=True, paused_by=text, paused_reason=text, paused_at=seconds_ago(5),
    )  # fmt: skip


def _history(queue: Queue, worker: Worker, execution: Execution, text: str) -> None:
    Change.objects.create(
        queue=queue,
        at=seconds_ago(5),
        kind="override",
        before=text,
        after=text,
        actor=text,
        reason=text,
        through="rest",
    )
    for name in (text, "another"):
        Declaration.objects.create(
            queue=queue,
            worker_name=name,
            limit=len(name),
            place=text,
            changed_at=seconds_ago(5),
            seen_at=seconds_ago(1),
        )
    Holding.objects.create(
        execution_id=execution.id, queue=queue, attempt=1, worker_id=worker.id, slot=1, claimed_at=seconds_ago(90),
        released_at=seconds_ago(80), outcome="failed", error=json.dumps({"type": text, "message": text}),
    )  # fmt: skip
    Step.objects.create(
        execution_id=execution.id, key=text, result=json.dumps(text), attempt=1, started_at=seconds_ago(5),
        ended_at=seconds_ago(4),
    )  # fmt: skip
