"""The workers' page, draining one from it, and the slots of dead ones."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from queues import gauges
from queues.engine.errors import NotPossible
from queues.engine.workers import release_slot
from queues.gauges import State
from queues.models import Change, Execution, Grant, Holding, Queue, Status, Worker

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago

HTMX = {"HX-Request": "true"}
PAGE = Change.Through.PAGE


def text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_a_worker_is_drained_and_kept_with_reason_and_trail(jonas: Client) -> None:
    worker = make_worker(queue=make_queue("mail"), max_concurrent=4)
    address = f"/workers/{worker.id}/drain"
    assert "takes nothing new from now on, and then its process ends" in text(jonas, address)
    assert jonas.post(address, headers=HTMX).status_code == 422
    assert jonas.post(address, {"reason": "new host"}, headers=HTMX).status_code == 204
    worker.refresh_from_db()
    assert (worker.state, worker.drain_by, worker.drain_reason) == ("draining", "jonas", "new host")
    page = text(jonas, "/workers")
    assert "drained the worker worker-a" in page and "Stop draining…" in page
    assert jonas.post(address, {"keep": "1"}, headers=HTMX).status_code == 204
    worker.refresh_from_db()
    assert (worker.state, worker.drain_by) == ("alive", "")
    told = Change.objects.order_by("id").values_list("kind", "subject", "before", "after", "actor", "reason")
    assert list(told) == [
        ("worker", "worker-a", "alive", "draining", "jonas", "new host"),
        ("worker", "worker-a", "draining", "alive", "jonas", ""),
    ]
    assert "stopped draining the worker worker-a" in text(jonas, "/trail?kind=worker")


def test_a_drain_on_a_stale_view_is_refused(jonas: Client) -> None:
    worker = make_worker(queue=make_queue("mail"))
    Worker.objects.update(state="left", left_at=timezone.now())
    reply = jonas.post(f"/workers/{worker.id}/drain", {"reason": "x"}, headers=HTMX)
    assert reply.status_code == 409
    assert "is not alive any more" in reply.content.decode()
    assert not Change.objects.exists()


def test_whoever_operates_only_some_of_its_queues_does_not_drain_it(
    jonas: Client, sign_in: Any, people: Any
) -> None:
    mine, other = make_queue("billing/eu"), make_queue("mail")
    worker = make_worker(queue=mine)
    worker.registrations.create(queue=other, workflow="send")
    people["otto"] = User.objects.create_user("otto")
    Grant.objects.create(user=people["otto"], pattern="billing/*", level="operate", granted_by="ana")
    otto = sign_in("otto")
    assert "Drain…" not in text(otto, "/workers") and ">mail<" not in text(otto, f"/workers/{worker.id}")
    assert otto.post(f"/workers/{worker.id}/drain", {"reason": "x"}).status_code == 403
    assert "Drain…" in text(jonas, "/workers")


def test_a_draining_worker_has_no_free_slots_and_serves_nothing(db: None) -> None:
    queue = make_queue("mail")
    make_worker("a", queue=queue, max_concurrent=4, state="draining")
    make_execution(queue)
    survey = gauges.survey()
    assert (survey.totals.workers, survey.totals.draining, survey.totals.free, survey.totals.capacity) == (
        1,
        1,
        0,
        0,
    )
    assert survey.gauges[0].state is State.NO_WORKER  # a claim gives it nothing
    busy = make_worker("b", queue=queue, max_concurrent=3)
    running(queue, busy, 1)
    totals = gauges.survey().totals
    assert (totals.free, totals.capacity) == (2, 3)


def test_the_workers_page_says_what_is_free_and_what_became_of_the_lost(vera: Client) -> None:
    queue = make_queue("mail")
    alive = make_worker("a", queue=queue, max_concurrent=4)
    running(queue, alive, 1)
    lost = make_worker("b", queue=queue, state="lost", left_at=seconds_ago(60), lease_until=seconds_ago(60))
    again = make_execution(queue, workflow="again")
    Holding.objects.create(
        execution_id=again.id, queue=queue, attempt=1, worker_id=lost.id, claimed_at=seconds_ago(90),
        released_at=seconds_ago(60), outcome="lost",
    )  # fmt: skip
    waits = make_execution(queue, workflow="waits", attempt=1, worker_id=lost.id, outcome="lost")
    ended = make_execution(
        queue, Status.FAILED, workflow="ended", worker_id=lost.id, outcome="lost", finished_at=seconds_ago(58)
    )
    other = make_execution(queue, workflow="other")
    page = text(vera, "/workers")
    assert "3 free" in page and "what it held" in page
    html = text(vera, f"/workers/{lost.id}")
    assert "Lost: its last heartbeat was" in html
    assert all(f"/executions/{execution.id}" in html for execution in (again, waits, ended))
    assert str(other.id) not in html


def test_a_worker_that_is_not_there_is_404(vera: Client) -> None:
    assert vera.get(f"/workers/{uuid.uuid4()}").status_code == 404


# -- slots of the dead -----------------------------------------------------------------------------


def dead_holder() -> tuple[Queue, Worker, Execution]:
    queue = make_queue("mail")
    worker = make_worker(queue=queue, lease_until=seconds_ago(3))
    return queue, worker, running(queue, worker, 2)


def test_a_slot_of_a_dead_worker_is_released_and_nothing_else(jonas: Client) -> None:
    queue, worker, held = dead_holder()
    beside = running(queue, worker, 1, token=held.token)  # of the same claim
    page = text(jonas, "/queues/mail")
    assert page.count(">Release…<") == 2
    asked = text(jonas, f"/executions/{held.id}/release")
    assert "goes back to its place and counts as lost" in asked
    assert f'name="claim" value="{held.claimed_at.isoformat()}"' in asked  # type: ignore[union-attr]
    reply = jonas.post(f"/executions/{held.id}/release", {"claim": held.claimed_at.isoformat()}, headers=HTMX)  # type: ignore[union-attr]
    assert "The slot is free, and it is back in its place." in reply.headers["HX-Trigger"]
    held.refresh_from_db()
    assert (held.status, held.outcome, held.losses) == ("queued", "lost", 1)
    beside.refresh_from_db()
    assert beside.status == "running"
    worker.refresh_from_db()
    assert worker.state == "lost"
    change = Change.objects.get()
    assert (change.kind, change.before, change.after, change.actor) == ("slot", "slot 2", "free", "jonas")
    assert "released slot 2" in text(jonas, "/trail")


def test_a_living_worker_keeps_its_slot(jonas: Client) -> None:
    queue = make_queue("mail")
    held = running(queue, make_worker(queue=queue), 1)
    assert ">Release…<" not in text(jonas, "/queues/mail")
    assert ">Release</button>" not in text(jonas, f"/executions/{held.id}/release")
    with pytest.raises(NotPossible, match="alive"):
        release_slot(held.id, claimed_at=held.claimed_at, actor="ana", through=PAGE)
    held.refresh_from_db()
    assert held.status == "running" and not Change.objects.exists()


def test_another_claim_than_the_one_looked_at_is_not_touched(db: None) -> None:
    _, _, held = dead_holder()
    before = (held.claimed_at or timezone.now()) - dt.timedelta(seconds=1)
    with pytest.raises(NotPossible, match="since you looked"):
        release_slot(held.id, claimed_at=before, actor="ana", through=PAGE)
    release_slot(held.id, claimed_at=held.claimed_at, actor="ana", through=PAGE)
    with pytest.raises(NotPossible, match="since you looked"):
        release_slot(held.id, claimed_at=held.claimed_at, actor="ana", through=PAGE)
    assert Change.objects.count() == 1


def test_what_was_to_be_cancelled_is_cancelled_by_the_release(db: None) -> None:
    queue, worker, _ = dead_holder()
    ending = running(queue, worker, 3, Status.CANCELLING)
    assert release_slot(ending.id, claimed_at=None, actor="ana", through=PAGE) == "cancelled"
