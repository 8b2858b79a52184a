"""Until when a pause or an override lasts, as people write it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client

from queues.ends import BadEnd, end
from queues.models import Queue

from .conftest import make_queue

HTMX = {"HX-Request": "true"}
NOW = dt.datetime(2026, 3, 28, 13, 30, tzinfo=dt.UTC)  # 14:30 in Berlin, the day before its clocks change


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("30 min", "2026-03-28T14:00"),
        ("for 90 minutes", "2026-03-28T15:00"),
        ("1h 30m", "2026-03-28T15:00"),
        ("2 days", "2026-03-30T13:30"),
        ("15:00", "2026-03-28T14:00"),
        ("until 15:00", "2026-03-28T14:00"),
        ("14:00", "2026-03-29T12:00"),  # over for today; tomorrow Berlin is two hours ahead
        ("tomorrow 9:00", "2026-03-29T07:00"),
        ("2026-12-24 8:00", "2026-12-24T07:00"),
        ("2026-12-24T08:00", "2026-12-24T07:00"),
    ],
)
def test_what_people_write_is_understood_in_their_zone(said: str, wanted: str) -> None:
    assert end(said, "Europe/Berlin", NOW).isoformat()[:16] == wanted


@pytest.mark.parametrize("said", ["x", "25:00", "15", "30", "2026-02-30 8:00", "tomorrow", "1 h later", "9" * 30])
def test_what_is_not_understood_says_what_would_be(said: str) -> None:
    with pytest.raises(BadEnd, match="such as 30 min"):
        end(said, "Europe/Berlin", NOW)


@pytest.mark.parametrize(("said", "why"), [("2026-03-01 8:00", "past"), ("400 days", "a year"), ("0 min", "past")])
def test_an_end_that_makes_no_sense_is_refused(said: str, why: str) -> None:
    with pytest.raises(BadEnd, match=why):
        end(said, "UTC", NOW)


@pytest.mark.parametrize("zone", ["", "Nowhere/City", "../../etc/passwd", "x" * 60])
def test_a_zone_that_is_not_known_is_utc(zone: str) -> None:
    assert end("15:00", zone, NOW).isoformat()[:16] == "2026-03-28T15:00"


def test_a_pause_and_an_override_end_when_it_is_written(ana: Client) -> None:
    make_queue("mail")
    said = {"reason": "failover", "ends": "until tomorrow 9:00", "zone": "Asia/Tokyo", "lasts": "900"}
    assert ana.post("/pauses/mail", said, headers=HTMX).status_code == 204
    limit = said | {"choice": "number", "limit": "2"}
    assert ana.post("/limits/mail", limit, headers=HTMX).status_code == 204
    queue = Queue.objects.get()
    assert queue.paused_until is not None
    assert queue.paused_until == queue.override_until
    assert (queue.paused_until.hour, queue.paused_until.minute) == (0, 0)  # 9:00 in Tokyo
    assert "resumes <time" in ana.get("/").content.decode()


def test_an_end_that_is_not_understood_is_said_beside_it_and_nothing_is_lost(ana: Client) -> None:
    make_queue("mail")
    reply = ana.post("/pauses/mail", {"reason": "failover", "ends": "soon"}, headers=HTMX)
    html = reply.content.decode()
    assert reply.status_code == 422
    assert "“soon” is not understood" in html and 'value="failover"' in html and 'value="soon"' in html
    assert not Queue.objects.get().paused
