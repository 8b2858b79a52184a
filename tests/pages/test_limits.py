"""Changing a limit and pausing, from the pages."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from queues import limits
from queues.models import Change, Queue

from .conftest import make_execution, make_queue, make_worker, running
from .test_list import body, text

HTMX = {"HX-Request": "true"}


def change(client: Client, queue: Queue, **values: Any) -> Any:
    values = {"choice": "number", "limit": 7, "reason": "quota", "expected_version": queue.version, **values}
    return client.post(f"/limits/{queue.name}", values, headers=HTMX)


def test_an_admin_changes_a_limit_and_the_trail_says_so(ana: Client) -> None:
    queue = make_queue("billing/eu")
    response = change(ana, queue)
    assert response.status_code == 204
    told = json.loads(response.headers["HX-Trigger"])["polos:done"]["text"]
    assert told == "The limit of billing/eu is now 7."
    row = Change.objects.get()
    assert (row.actor, row.before, row.after, row.reason, row.through) == ("ana", "none", "7", "quota", "page")


def test_without_javascript_it_leads_back_to_the_queue(ana: Client) -> None:
    queue = make_queue()
    response = ana.post(
        "/limits/api-calls", {"choice": "unlimited", "reason": "x", "expected_version": queue.version}
    )
    assert response.headers["Location"] == "/queues/api-calls"
    assert "The limit of api-calls is now unlimited." in body(ana, "/queues/api-calls")


def test_back_to_the_declared_limit(ana: Client) -> None:
    queue = make_queue(limit=5)
    limits.change_limit(queue=queue.name, limit=9, reason="x", actor="ana", through=Change.Through.PAGE)
    queue.refresh_from_db()
    assert change(ana, queue, choice="declared").status_code == 204
    queue.refresh_from_db()
    assert (queue.overridden, queue.effective_limit) == (False, 5)


def test_an_override_can_have_an_end(ana: Client) -> None:
    queue = make_queue()
    change(ana, queue, lasts="3600")
    queue.refresh_from_db()
    assert queue.override_until is not None


def test_a_reason_is_required_and_the_form_says_so_in_place(ana: Client) -> None:
    response = change(ana, make_queue(), reason=" ")
    assert response.status_code == 422
    assert "Say why" in response.content.decode()
    assert "<html" not in response.content.decode()
    assert not Change.objects.exists()


def test_limits_that_make_no_sense_are_refused_with_a_sentence(ana: Client) -> None:
    queue = make_queue()
    for limit, sentence in (
        ("-1", "cannot be below 0"),
        ("1.5", "whole number"),
        ("", "Enter a number"),
        ("9" * 9, "at most"),
    ):
        response = change(ana, queue, limit=limit)
        assert response.status_code == 422, limit
        assert sentence in response.content.decode()


def test_a_stale_view_is_refused_and_shows_what_changed(ana: Client) -> None:
    queue = make_queue()
    limits.change_limit(queue=queue.name, limit=4, reason="calm down", actor="oskar", through=Change.Through.REST)
    response = change(ana, queue)
    assert response.status_code == 409
    assert "oskar changed the override from none to 4 (“calm down”)" in response.content.decode()
    queue.refresh_from_db()
    assert queue.effective_limit == 4
    assert f'name="expected_version" value="{queue.version}"' in response.content.decode()


def test_the_preview_says_what_will_happen(ana: Client) -> None:
    queue = make_queue(limit=5)
    worker = make_worker(queue=queue)
    for slot in range(1, 6):
        running(queue, worker, slot)
    make_execution(queue)

    def preview(**values: Any) -> str:
        response = ana.get("/limits/api-calls", {"preview": 1, "choice": "number", **values}, headers=HTMX)
        return response.content.decode().strip()

    assert preview(limit=2) == (
        "3 are above the new limit and will finish, none is killed. Nothing starts until fewer than 2 are running."
    )
    assert preview(limit=9).startswith("1 waiting execution can start at once")
    assert preview(limit=0).startswith("0: nothing starts any more.")
    assert preview(limit=5).startswith("This is the limit already")
    assert preview(limit="x").startswith("Choose a new limit")


def test_the_dialog_is_the_form_without_the_page(ana: Client) -> None:
    make_queue()
    dialog = ana.get("/limits/api-calls", headers=HTMX).content.decode()
    assert "<form" in dialog
    assert "<html" not in dialog
    assert "<html" in body(ana, "/limits/api-calls")


def test_an_operator_pauses_and_resumes(jonas: Client) -> None:
    queue = make_queue()
    response = jonas.post(
        "/pauses/api-calls", {"reason": "failover", "expected_version": queue.version}, headers=HTMX
    )
    assert response.status_code == 204
    assert "paused by jonas" in text(body(jonas))
    assert "Resume…" in body(jonas)
    queue.refresh_from_db()
    response = jonas.post("/pauses/api-calls", {"resume": 1, "expected_version": queue.version}, headers=HTMX)
    assert response.status_code == 204
    queue.refresh_from_db()
    assert not queue.paused


def test_a_pause_needs_a_reason(jonas: Client) -> None:
    make_queue()
    assert jonas.post("/pauses/api-calls", {"reason": ""}, headers=HTMX).status_code == 422
