"""What a form, an address or a pattern can say that nobody would type: refused, and it harms nobody else."""

from __future__ import annotations

import time
import uuid

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from queues import bulk_acts
from queues.models import BulkAct, Change, Grant, Status
from queues.names import pattern_regex
from queues.search import line as lines
from queues.search.export import COLUMNS, as_jsonl
from queues.search.finding import find

from .conftest import SignIn, make_bulk_act, make_execution, make_queue, make_schedule, make_worker, running

FAR = ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize("at", FAR)
def test_a_bulk_act_of_another_millennium_is_refused_and_the_others_go_on(jonas: Client, at: str) -> None:
    """A row that nobody can read again would stop the list of acts, and every act, for good."""
    queue = make_queue("billing/eu")
    make_execution(queue)
    said = {"verb": "cancel", "q": "since:2h", "reason": "x", "at": at, "act": str(uuid.uuid4())}
    purge = {"confirm": queue.name, "reason": "x", "at": at, "act": str(uuid.uuid4())}

    assert jonas.post("/bulk/new", said).status_code == 422
    assert jonas.post(f"/purges/{queue.name}", purge).status_code == 422
    assert not BulkAct.objects.exists()
    assert jonas.get("/bulk").status_code == 200
    assert not bulk_acts.work()


def test_a_note_with_what_no_database_keeps_is_noted_without_it(jonas: Client) -> None:
    execution = make_execution(make_queue())

    for act in ("cancellation", "retry"):
        assert jonas.post(f"/executions/{execution.id}/{act}", {"reason": "a\0b"}).status_code == 302

    assert list(Change.objects.values_list("reason", flat=True)) == ["a b", "a b"]


@pytest.mark.parametrize("claim", ["2026-02-30T10:00", "2026-13-45T00:00:00", "soon"])
def test_a_claim_of_no_day_is_refused(jonas: Client, claim: str) -> None:
    queue = make_queue()
    held = running(queue, make_worker(queue=queue), 1)

    jonas.post(f"/executions/{held.id}/release", {"claim": claim})

    held.refresh_from_db()
    assert held.status == Status.RUNNING


@pytest.mark.parametrize(
    ("at", "zone"), [("9999-12-31T23:59", "America/New_York"), ("0001-01-01T00:00", "Asia/Tokyo")]
)
def test_a_schedule_at_the_end_of_time_is_told_so(jonas: Client, at: str, zone: str) -> None:
    make_schedule(make_queue())
    said = {"kind": "at", "at": at, "timezone": zone, "workflow": "call_api", "name": "late"}

    assert "between the years" in jonas.get("/schedules/preview", said).content.decode()
    assert jonas.post("/schedules/new", said).status_code == 422


def test_a_pattern_of_many_stars_is_matched_in_a_moment() -> None:
    make_execution(make_queue("a" * 200))
    began = time.monotonic()

    found = find(lines.parse("queue:" + "*a" * 40 + "b", timezone.now()), most=5, seconds=1)

    assert not found.ids
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "a", True),
        ("a*b*c", "aXbYbZc", True),
        ("a*b*c", "aXbYcZ", False),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abab", True),
        ("billing/*", "billing/", True),
        ("billing/*", "billing", False),
        ("*aab", "aaab", True),
        ("a.b", "axb", False),
        ("", "a", False),
    ],
)
def test_stars_stand_for_any_characters(pattern: str, name: str, fits: bool) -> None:
    assert (pattern_regex((pattern, "other")).fullmatch(name) is not None) is fits


def test_separators_of_lines_in_a_payload_are_exported_as_they_are() -> None:
    text = "a\u2028b\u0085c\u2029d"
    row = tuple(f'{{"text":\r\n"{text}"}}' if name == "payload" else None for name in COLUMNS)

    (line,) = as_jsonl([row]).decode().strip("\n").split("\n")

    assert msgspec.json.decode(line)["payload"] == {"text": text}


def test_a_grant_on_some_queue_does_not_stop_the_acts_of_others(
    vera: Client, sign_in: SignIn, people: dict[str, User]
) -> None:
    """vera sees everything, and may operate one queue that the act is not about."""
    Grant.objects.create(user=people["vera"], pattern="mail", level="operate", granted_by="ana")
    act = make_bulk_act(search="queue:billing/*")

    assert vera.post(f"/bulk/{act.id}/stop").status_code == 403
    assert f"/bulk/{act.id}/stop" not in vera.get(f"/bulk/{act.id}").content.decode()
    act.refresh_from_db()
    assert act.is_open
    ana = sign_in("ana")
    assert "What was done stays done" in ana.get(f"/bulk/{act.id}/stop").content.decode()
    act.refresh_from_db()
    assert act.is_open
    assert ana.post(f"/bulk/{act.id}/stop").status_code == 302
