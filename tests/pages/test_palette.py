"""The command palette, the sheet of keys, and how times are written."""

from __future__ import annotations

import re
import time
from pathlib import Path

from django.contrib.auth.models import User
from django.test import Client

from queues import favourites, palette
from queues.models import Execution, Queue

from .conftest import make_execution, make_queue, seconds_ago

HTMX = {"HX-Request": "true"}


def offered(client: Client, text: str, here: str = "") -> list[str]:
    response = client.get("/go", {"q": text, "here": here}, headers=HTMX)
    assert response.status_code == 200
    return re.findall(r'<span class="cut">(.*?)</span>', response.content.decode())


def test_a_queue_is_found_by_parts_of_its_name(vera: Client) -> None:
    for name in ("billing/eu", "billing/us", "mail"):
        make_queue(name)
    assert offered(vera, "eu bill") == ["billing/eu"]
    assert offered(vera, "billing") == ["billing/eu", "billing/us"]


def test_the_exact_name_and_favourites_come_first(vera: Client, people: dict[str, User]) -> None:
    for name in ("a-mail", "mail", "mail-later", "z-mail"):
        make_queue(name)
    favourites.keep(people["vera"].pk, Queue.objects.get(name="z-mail").id, True)
    assert offered(vera, "mail") == ["mail", "z-mail", "mail-later", "a-mail"]


def test_an_execution_is_found_by_the_beginning_of_its_id(vera: Client) -> None:
    execution: Execution = make_execution(make_queue())
    assert offered(vera, str(execution.id)) == [str(execution.id)]
    assert str(execution.id) in offered(vera, str(execution.id)[:13])
    assert offered(vera, "ffffffff-ffff-ffff-ffff-ffffffffffff") == []


def test_a_verb_lists_what_it_can_be_done_to(jonas: Client) -> None:
    make_queue("mail")
    make_queue("mail-paused", paused=True, paused_by="ana", paused_at=seconds_ago(9))
    assert offered(jonas, "pause mail") == ["Pause mail…", "Pause all queues that match “mail”…"]
    assert offered(jonas, "resume") == ["Resume mail-paused…", "Resume all queues…"]


def test_actions_on_this_pages_queue_come_first(ana: Client) -> None:
    for name in ("aaa", "mail"):
        make_queue(name)
    assert offered(ana, "", here="mail")[:2] == ["Pause mail…", "Change limit of mail…"]
    assert offered(ana, "pause", here="mail")[:2] == ["Pause mail…", "Pause aaa…"]


def test_nobody_is_offered_what_they_may_not_do(vera: Client, jonas: Client) -> None:
    make_queue("mail")
    assert offered(vera, "pause mail") == []
    assert not any("limit" in label for label in offered(jonas, "", here="mail"))
    assert "People" not in offered(jonas, "")


def test_pages_and_themes_are_found_too(ana: Client) -> None:
    make_queue("mail")
    assert offered(ana, "dark") == ["Theme: dark"]
    assert offered(ana, "failed") == ["Failed executions"]


def test_every_page_of_the_header_is_in_the_palette(ana: Client) -> None:
    html = ana.get("/help").content.decode()
    header = re.search(r'<nav class="places".*?</nav>', html, re.DOTALL)
    assert header
    places = re.findall(r'href="(.*?)"', header[0])
    assert "/trail" in places
    assert set(places) <= {
        entry.href for entry in palette.entries("", here="", user=User.objects.get(username="ana"))
    }


def test_the_keys_to_pages_are_on_the_sheet_and_lead_to_one(ana: Client) -> None:
    script = Path(__file__).parents[2] / "static/js/keys.js"
    (places,) = re.findall(r"const PLACES = {(.*)};", script.read_text())
    found = dict(re.findall(r'(\w): "(.*?)"', places))
    row = re.search(r"<kbd>g</kbd> then (.*?)</dt>", ana.get("/shortcuts").content.decode())
    assert row and re.findall(r"<kbd>(.)</kbd>", row[1]) == list(found)
    assert {ana.get(address).status_code for address in found.values()} == {200}


def test_the_palette_is_a_page_without_javascript(vera: Client) -> None:
    make_queue("a/b c")
    html = vera.get("/go", {"q": "a/b"}).content.decode()
    assert '<a href="/queues/a/b%20c">a/b c</a>' in html
    assert "Nothing matches “&lt;zzz”" in vera.get("/go", {"q": "<zzz"}).content.decode()


def test_two_thousand_queues_are_searched_in_a_moment(people: dict[str, User]) -> None:
    Queue.objects.bulk_create([Queue(name=f"team{n % 40}/queue-{n:04}") for n in range(2000)])
    started = time.process_time()
    found = palette.entries("team7 queue", here="", user=people["ana"])
    assert len(found) == palette.MOST_QUEUES
    assert time.process_time() - started < 0.1


def test_the_sheet_lists_every_key(vera: Client) -> None:
    html = vera.get("/shortcuts").content.decode()
    for key in ["/", "j", "k", "p", "l", "f", "x", "u", "g", "?"]:
        assert f"<kbd>{key}</kbd>" in html


def test_the_help_page_lists_the_keys_of_the_sheet(vera: Client) -> None:
    keys = [re.findall(r"<kbd>.*?</dt>", vera.get(page).content.decode()) for page in ("/help", "/shortcuts")]
    assert keys[0] and keys[0] == keys[1]


def test_how_times_are_written_is_remembered(vera: Client) -> None:
    vera.post("/times", {"times": "absolute"})
    vera.post("/times", {"zone": "Europe/Berlin"})
    html = vera.get("/account").content.decode()
    assert 'data-zone="Europe/Berlin" data-times="absolute"' in html
    assert '<button name="zone" value="Europe/Berlin" aria-pressed="true">' in html


def test_a_time_zone_that_does_not_exist_is_refused(vera: Client) -> None:
    reply = vera.post("/times", {"zone": "Europe/Atlantis", "next": "/account"}, follow=True)
    assert "There is no time zone named “Europe/Atlantis”" in reply.content.decode()
    assert "zone" not in vera.cookies


def test_a_made_up_cookie_is_only_text(vera: Client) -> None:
    vera.cookies["zone"] = '"><script>'
    assert "<script>" not in vera.get("/help").content.decode()
