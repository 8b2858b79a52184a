"""Purging a queue from its page: typed, in the background, only what waits."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from queues import bulk_acts, limits
from queues.models import BulkAct, Change, Execution, Status
from queues.search import finding

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago

HTMX = {"HX-Request": "true"}


def opened(client: Client, name: str = "mail") -> dict[str, str]:
    html = client.get(f"/purges/{name}", headers=HTMX).content.decode()
    return {
        field: re.findall(rf'name="{field}" value="([^"]*)"', html)[0]
        for field in ("expected_version", "at", "act")
    }


def work_through() -> None:
    for _ in range(20):
        if not bulk_acts.work():
            return


def statuses() -> list[str]:
    return sorted(Execution.objects.values_list("status", flat=True))


def test_what_waits_is_cancelled_and_nothing_else(jonas: Client) -> None:
    queue, other = make_queue("mail"), make_queue("mail/later")
    running(queue, make_worker(queue=queue), 1)
    for _ in range(3):
        make_execution(queue)
    make_execution(queue, Status.SCHEDULED, due_at=timezone.now())
    make_execution(queue, Status.WAITING)
    make_execution(other)
    html = jonas.get("/purges/mail", headers=HTMX).content.decode()
    assert "3 waiting executions are cancelled" in html and "1 is running and will finish" in html
    assert "Also the 1 scheduled for later" in html
    said = {**opened(jonas), "confirm": "mail", "reason": "wrong import"}
    late = make_execution(queue, waited=-1)  # after the dialog was opened
    reply = jonas.post("/purges/mail", said, headers=HTMX)
    act = BulkAct.objects.get()
    assert reply.headers["HX-Redirect"] == f"/bulk/{act.id}"
    jonas.post("/purges/mail", said, headers=HTMX)  # sent twice is done once
    assert BulkAct.objects.count() == 1
    work_through()
    assert statuses() == ["cancelled"] * 3 + ["queued"] * 2 + ["running", "scheduled", "waiting"]
    late.refresh_from_db()
    assert late.status == "queued"
    change = Change.objects.get()
    assert (change.kind, change.after, change.actor, change.reason) == (
        "purge", "3 executions", "jonas", "wrong import",
    )  # fmt: skip
    told = f'purged the queue: <a href="/bulk/{act.id}">3 executions</a>'
    assert told in jonas.get("/trail").content.decode()
    assert told in jonas.get("/queues/mail").content.decode()
    assert "3 executions cancelled" in jonas.get(f"/bulk/{act.id}").content.decode()


def test_what_is_scheduled_goes_too_if_said_so(jonas: Client) -> None:
    queue = make_queue("mail")
    make_execution(queue, Status.SCHEDULED, due_at=timezone.now())
    jonas.post("/purges/mail", {**opened(jonas), "confirm": "mail", "reason": "x", "scheduled": "1"}, headers=HTMX)
    work_through()
    assert statuses() == ["cancelled"]


@pytest.mark.parametrize("typed", ["", "Mail", "mail/later", "yes"])
def test_without_its_name_nothing_happens(jonas: Client, typed: str) -> None:
    make_execution(make_queue("mail"))
    reply = jonas.post("/purges/mail", {**opened(jonas), "confirm": typed, "reason": "x"}, headers=HTMX)
    assert reply.status_code == 422
    assert "type its name: mail" in reply.content.decode()
    assert not BulkAct.objects.exists()


def test_a_stale_view_is_refused(jonas: Client) -> None:
    make_execution(make_queue("mail"))
    said = opened(jonas)
    limits.pause(queue="mail", reason="calm", actor="oskar", through=Change.Through.REST)
    reply = jonas.post("/purges/mail", {**said, "confirm": "mail", "reason": "x"}, headers=HTMX)
    assert reply.status_code == 409
    assert "oskar changed the queue from running to paused" in reply.content.decode()
    assert not BulkAct.objects.exists()


def test_what_started_meanwhile_is_left_alone_and_said(jonas: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue("mail")
    begun = make_execution(queue)
    jonas.post("/purges/mail", {**opened(jonas), "confirm": "mail", "reason": "x"}, headers=HTMX)

    def found_then_claimed(*args: Any, **more: Any) -> Any:
        found = finding.find(*args, **more)
        claim = {"worker_id": uuid.uuid4(), "token": uuid.uuid4(), "claimed_at": seconds_ago(0), "slot": 1}
        Execution.objects.filter(id=begun.id).update(status="running", **claim)
        return found

    monkeypatch.setattr(bulk_acts, "find", found_then_claimed)
    work_through()
    assert statuses() == ["running"]
    assert "by now" in BulkAct.objects.get().lefts.get().why


def test_nothing_to_purge_is_said(jonas: Client) -> None:
    make_queue("mail")
    assert "there is nothing to purge" in jonas.get("/purges/mail").content.decode()


def test_the_generic_dialog_does_not_purge(jonas: Client) -> None:
    assert jonas.get("/bulk/new?verb=purge").status_code == 404
