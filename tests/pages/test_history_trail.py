"""The trail of all changes, as one page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from queues import limits
from queues.models import Change, Queue
from queues.trail import PAGE_SIZE, Place

from .conftest import make_queue, seconds_ago
from .test_list import body, text


def change(queue: Queue, ago: float = 60, **more: Any) -> Change:
    plain = {
        "kind": "override",
        "before": "none",
        "after": "5",
        "actor": "ana",
        "reason": "quota",
        "through": "page",
    }
    return Change.objects.create(queue=queue, at=seconds_ago(ago), **plain | more)


def found(client: Client, query: str = "") -> list[str]:
    return [text(row) for row in re.findall(r'<tr id="c-\d+">.*?</tr>', body(client, f"/trail{query}"))]


def test_it_says_who_what_from_to_why_and_through_what(vera: Client) -> None:
    change(make_queue(), reason="provider <raised> quota", through="rest")
    (row,) = found(vera)
    for part in ("api-calls", "ana", "override none → 5", "provider &lt;raised&gt; quota", "REST"):
        assert part in row


def test_a_change_is_in_it_whatever_it_came_through(vera: Client) -> None:
    make_queue()
    for through in (Change.Through.PAGE, Change.Through.ADMIN, Change.Through.REST, Change.Through.COMMAND):
        limits.change_limit(queue="api-calls", limit=7, reason="x", actor="ana", through=through)
    newest_first = ("command line", "REST", "admin", "page")
    assert all(row.endswith(through) for row, through in zip(found(vera), newest_first, strict=True))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?search=failover", ["mail"]),
        ("?search=JONAS", ["mail"]),
        ("?search=api+ana", ["api-calls"]),
        ("?search=api+jonas", []),
        ("?queue=mail", ["mail"]),
        ("?queue=mai", []),
        ("?kind=override", ["api-calls"]),
        ("?through=worker", []),
        ("?kind=nonsense&through=nonsense", ["api-calls", "mail"]),
        ("?search=%25", []),
        ("?search=%00", ["api-calls", "mail"]),
    ],
)
def test_it_is_searched_and_filtered(query: str, names: list[str], vera: Client) -> None:
    change(make_queue("api-calls"), 10)
    change(
        make_queue("mail"), 20, kind="pause", before="running", after="paused", actor="jonas", reason="DB failover"
    )
    rows = found(vera, query)
    assert [name for row in rows for name in ("api-calls", "mail") if name in row] == names


def test_older_ones_are_on_the_next_page_and_none_is_twice(vera: Client) -> None:
    queue = make_queue()
    at = seconds_ago(60)
    rows = [Change(queue=queue, at=at, kind="override", before="1", after=str(i), actor="a") for i in range(130)]
    Change.objects.bulk_create(rows)
    seen, path = [], "/trail"
    while path:
        html = body(vera, path)
        seen += re.findall(r'id="c-(\d+)"', html)
        older = re.search(r'href="(\?[^"]+)">Older', html)
        path = f"/trail{older[1].replace('&amp;', '&')}" if older else ""
    assert len(seen) == len(set(seen)) == 130
    assert [int(id) for id in seen] == sorted((int(id) for id in seen), reverse=True)


@pytest.mark.parametrize("after", ["", "x", "1", "1-x", "nan-1", "1e99-1", "inf-2", f"1-{'9' * 30}"])
def test_nonsense_in_the_address_is_the_first_page_or_nothing(after: str, vera: Client) -> None:
    change(make_queue())
    assert vera.get("/trail", {"after": after}).status_code == 200


def test_a_place_survives_the_address() -> None:
    place = Place(seconds_ago(1.234567), 42)
    assert Place.parse(str(place)) == place


def test_it_takes_as_many_queries_for_one_change_as_for_a_page_full(vera: Client) -> None:
    queue = make_queue()
    counts = []
    for number in (1, PAGE_SIZE):
        for _ in range(number):
            change(queue)
        with CaptureQueriesContext(connection) as queries:
            vera.get("/trail")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_queue_links_to_its_part_of_the_trail(vera: Client) -> None:
    change(make_queue("billing/eu & co"))
    html = body(vera, "/queues/billing/eu%20&%20co")
    assert '/trail?queue=billing/eu%20%26%20co"' in html


def test_empty_and_nothing_found_look_different(vera: Client) -> None:
    assert "Nobody has changed anything yet." in body(vera, "/trail")
    assert "No change matches." in body(vera, "/trail?search=x")


def test_strangers_do_not_see_it(client: Client) -> None:
    assert "/signin" in client.get("/trail").headers["Location"]
