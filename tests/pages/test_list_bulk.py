"""Pausing and resuming many queues at once."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from queues import bulk, favourites, limits
from queues.models import Change, Queue

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago

HTMX = {"HX-Request": "true"}


def dialog(client: Client, address: str) -> str:
    response = client.get(address, headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def seen(html: str) -> str:
    found = re.search(r'name="seen" value="([^"]*)"', html)
    assert found
    return found[1]


def paused() -> list[str]:
    return list(Queue.objects.filter(paused=True).values_list("name", flat=True))


def post(client: Client, address: str, **fields: Any) -> Any:
    return client.post(address, fields, headers=HTMX)


def test_a_selection_is_paused_with_a_reason_and_an_end(jonas: Client) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    make_queue("ccc")
    address = f"/pauses?queue={one.id}&queue={two.id}"
    reply = post(jonas, address, seen=seen(dialog(jonas, address)), reason="failover", lasts="1800")
    assert reply.status_code == 204
    assert "2 queues are paused." in reply.headers["HX-Trigger"]
    assert paused() == ["aaa", "bbb"]
    one.refresh_from_db()
    assert (
        one.paused_until and abs(one.paused_until - timezone.now() - dt.timedelta(minutes=30)).total_seconds() < 60
    )
    trail = Change.objects.filter(queue=two).get()
    assert (trail.actor, trail.reason, trail.through) == ("jonas", "failover", Change.Through.PAGE)


def test_a_group_is_paused_and_nothing_beside_it(jonas: Client) -> None:
    for name in ("billing/eu", "billing/us", "billing.eu", "mail"):
        make_queue(name)
    html = dialog(jonas, "/pauses?group=billing/")
    assert "billing/… (2 queues)" in html
    post(jonas, "/pauses?group=billing/", seen=seen(html), reason="x")
    assert paused() == ["billing/eu", "billing/us"]
    make_execution(Queue.objects.get(name="billing/eu"))  # needs attention, but what was done is told first
    assert ">2 paused<" in jonas.get("/?groups=1").content.decode()


def test_all_means_all_that_match(jonas: Client, people: dict[str, User]) -> None:
    for name in ("billing/eu", "mail", "mail-later"):
        make_queue(name)
    assert "all 3 queues" in dialog(jonas, "/pauses?all=1")
    assert ">2 queues<" in dialog(jonas, "/pauses?all=1&search=mail")
    favourites.keep(people["jonas"].pk, Queue.objects.get(name="mail").id, True)
    assert ">1 queue<" in dialog(jonas, "/pauses?all=1&show=favourites")


@pytest.mark.parametrize("address", ["/pauses", "/pauses?queue=", "/pauses?queue=x&queue=99999999999999999999999"])
def test_nothing_chosen_never_means_everything(jonas: Client, address: str) -> None:
    make_queue()
    html = dialog(jonas, address)
    assert "No queue is chosen." in html
    assert 'name="seen"' not in html
    assert post(jonas, address, reason="x").status_code == 422
    assert paused() == []


def test_the_dialog_says_what_will_happen(jonas: Client) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    make_queue("ccc", paused=True, paused_by="ana", paused_at=seconds_ago(9))
    worker = make_worker(queue=one)
    running(one, worker, 1)
    make_execution(two)
    make_execution(two)
    html = dialog(jonas, "/pauses?all=1")
    assert "1 is running and will finish, none is killed. 2 executions wait until they are resumed" in html
    assert "1 is paused already and keeps reason and end." in html
    resume = dialog(jonas, "/resumptions?all=1")
    assert "2 are not paused, and nothing changes there. It can be undone" in resume
    make_execution(Queue.objects.get(name="ccc"))  # nobody serves it
    assert "1 execution waits; none can start at once" in dialog(jonas, "/resumptions?all=1")


def test_somebody_elses_pause_keeps_its_reason_and_end(jonas: Client) -> None:
    make_queue("aaa")
    make_queue("bbb", paused=True, paused_by="ana", paused_reason="migration", paused_at=seconds_ago(9))
    post(jonas, "/pauses?all=1", seen=seen(dialog(jonas, "/pauses?all=1")), reason="failover", lasts="900")
    other = Queue.objects.get(name="bbb")
    assert (other.paused_by, other.paused_reason, other.paused_until) == ("ana", "migration", None)


def test_what_changed_since_it_was_seen_is_left_alone_and_shown(jonas: Client) -> None:
    make_queue("aaa")
    make_queue("bbb")
    html = dialog(jonas, "/pauses?all=1")
    limits.change_limit(queue="bbb", limit=1, reason="calm", actor="oskar", through=Change.Through.REST)
    reply = post(jonas, "/pauses?all=1", seen=seen(html), reason="failover")
    assert reply.status_code == 409
    text = reply.content.decode()
    assert "1 queue is paused." in text
    assert "oskar changed the override from none to 1 (“calm”)" in text
    assert paused() == ["aaa"]
    assert post(jonas, "/pauses?all=1", seen=seen(text), reason="failover").status_code == 204
    assert paused() == ["aaa", "bbb"]


def test_a_missing_reason_is_asked_for_and_what_was_seen_stays(jonas: Client) -> None:
    queue = make_queue("aaa")
    before = seen(dialog(jonas, "/pauses?all=1"))
    limits.change_limit(queue="aaa", limit=1, reason="calm", actor="oskar", through=Change.Through.REST)
    reply = post(jonas, "/pauses?all=1", seen=before, reason="")
    assert reply.status_code == 422
    assert "Say why" in reply.content.decode()
    assert seen(reply.content.decode()) == before == f"{queue.id}:1"


def test_resuming_a_selection(jonas: Client) -> None:
    for name in ("aaa", "bbb"):
        make_queue(name, paused=True, paused_by="ana", paused_at=seconds_ago(9))
    address = "/resumptions?all=1"
    reply = post(jonas, address, seen=seen(dialog(jonas, address)), reason="over")
    assert "2 queues are running again." in reply.headers["HX-Trigger"]
    assert paused() == []


def test_it_works_without_javascript(jonas: Client) -> None:
    make_queue("aaa")
    html = jonas.get("/pauses?all=1").content.decode()
    reply = jonas.post("/pauses?all=1", {"seen": seen(html), "reason": "x"}, follow=True)
    assert "1 queue is paused." in reply.content.decode()


@pytest.mark.parametrize("text", ["", "x", "1", "1:2:3", "1:x", "-1:1", "9" * 40 + ":1", "1:1," * 10_001])
def test_a_made_up_form_changes_nothing(jonas: Client, text: str) -> None:
    make_queue()
    assert post(jonas, "/pauses?all=1", seen=text, reason="x").status_code == 422
    assert paused() == []


def test_what_is_written_can_be_read() -> None:
    queues = [bulk.Seen(12, 3), bulk.Seen(15, 1)]
    assert bulk.read(bulk.written(queues)) == queues


def test_only_who_may_pause_sees_boxes_and_buttons(vera: Client, jonas: Client) -> None:
    make_queue("billing/eu")
    make_queue("billing/us")
    for html, there in (
        (vera.get("/?groups=1").content.decode(), False),
        (jonas.get("/?groups=1").content.decode(), True),
    ):
        assert ("Pause all…" in html) is there
        assert ('href="/pauses?group=billing%2F&amp;show=all"' in html) is there
        assert ('id="tick-all"' in html) is there


def test_many_queues_are_dealt_with_in_turn_and_the_page_shows_how_far_it_is(
    jonas: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queues.views.bulk.AT_ONCE", 2)
    for number in range(5):
        make_queue(f"q{number}")
    address = "/pauses?all=1"
    html = dialog(jonas, address)
    limits.change_limit(queue="q1", limit=1, reason="calm", actor="oskar", through=Change.Through.REST)
    fields: dict[str, Any] = {"seen": seen(html), "reason": "failover", "ends": "30 min"}
    reply = post(jonas, address, **fields)
    assert '<progress max="5" value="2"' in reply.content.decode()
    assert paused() == ["q0"]
    while reply.status_code == 200:
        text = reply.content.decode()
        fields = {name: re.findall(rf'name="{name}" value="([^"]*)"', text) for name in (
            "seen", "reason", "ends", "zone", "done", "left", "why")}  # fmt: skip
        reply = post(jonas, address, **fields)
    assert reply.status_code == 409
    text = reply.content.decode()
    assert "4 queues are paused." in text and "1 changed since you opened this" in text
    assert "oskar changed the override" in text
    assert paused() == ["q0", "q2", "q3", "q4"]
    assert len(set(Queue.objects.filter(paused=True).values_list("paused_until", flat=True))) <= 2


def test_made_up_progress_decides_nothing(jonas: Client) -> None:
    queue = make_queue()
    said = {"seen": f"{queue.id}:{queue.version}", "reason": "x", "done": "9" * 30, "left": "x,-1", "why": "<b>"}
    assert post(jonas, "/pauses?all=1", **said).status_code == 204
    assert paused() == ["api-calls"]
