"""Searching executions: the line, what it finds, how far it looks, what it suggests."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queues import reads
from queues.engine.statements import statement
from queues.models import Execution, Status
from queues.search import export, finding, line, suggest
from queues.search.finding import Found, find, first_id
from queues.search.line import BadSearch, Search, parse

from .conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body
from .test_list import text as plain

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def look(text: str, *, most: int = 50, seconds: float = 5, **more: Any) -> Found:
    return find(parse(text, timezone.now()), most=most, seconds=seconds, **more)


def ids(text: str, **more: Any) -> set[uuid.UUID]:
    return set(look(text, **more).ids)


def at(seconds: float) -> uuid.UUID:
    """An id as an execution of so many seconds ago has it."""
    return uuid.UUID(int=first_id(seconds_ago(seconds)).int | int.from_bytes(os.urandom(8), "big") | 7 << 76)


# -- reading the line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Search()),
        ("status:failed,cancelled", Search(statuses=("failed", "cancelled"))),
        ("status:failed STATUS:Queued", Search(statuses=("failed", "queued"))),
        ("queue:billing/* workflow:a", Search(queues=("billing/*",), workflows=("a",))),
        ('worker:"my host",b', Search(workers=("my host", "b"))),
        ('error:"timed out, twice"', Search(errors=("timed out, twice",))),
        (r'error:"a \"quoted\" word"', Search(errors=('a "quoted" word',))),
        ('error:"not closed', Search(errors=("not closed",))),
        ("since:2h", Search(since=NOW - dt.timedelta(hours=2))),
        ("since:2026-01-31", Search(since=dt.datetime(2026, 1, 31, tzinfo=dt.UTC))),
        ("before:2026-01-31T10:30+01:00", Search(before=dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC))),
        ("since:10:30", Search(since=NOW.replace(hour=10, minute=30))),
        ("since:12:30", Search(since=(NOW - dt.timedelta(days=1)).replace(hour=12, minute=30))),
        ("payload.user_id:42", Search(payload=(line.Field(("user_id",), "42"),))),
        ("payload.Order.id:*7", Search(payload=(line.Field(("Order", "id"), "*7"),))),
        ("invoice 019a5b3c", Search(words=("invoice",), id=line.id_part("019a5b3c"))),
        ("decade", Search(words=("decade",))),
        ('"status:failed"', Search(words=("status:failed",))),
    ],
)
def test_a_line_is_understood(text: str, meant: Search) -> None:
    assert parse(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("status:broken", "“broken” is not a status. There are scheduled, queued"),
        ("user:42", "There is no “user:”"),
        ("user:42", "payload.user:42"),
        ("payload:42", "Say which field"),
        ("payload.user_id:", "needs a field and a value"),
        ("payload..x:1", "needs a field and a value"),
        ("error:", "needs a value right after the colon"),
        ("since:yesterday", "“yesterday” is not a time for “since:”"),
        ("since:9999999d", "is not a time"),
        ("since:0001-01-01T00:00+14:00", "is not a time"),
        ("since:1h since:2h", "can be said once only"),
        ("id:xyz", "not an id"),
        ("parent:019a", "needs a whole id"),
        ("x" * 501, "at most 500 characters"),
        ("a " * 21, "at most 20 terms"),
    ],
)
def test_what_a_line_does_not_mean_is_said_clearly(text: str, said: str) -> None:
    with pytest.raises(BadSearch) as bad:
        parse(text, NOW)
    assert said in str(bad.value)


def test_what_is_written_is_read_again() -> None:
    assert parse(line.written(queue="a,b", error='say "hi"\\'), NOW) == Search(
        queues=("a,b",), errors=('say "hi"\\',)
    )


# -- finding -----------------------------------------------------------------------------------------


def test_each_term_finds_its_executions_and_no_others() -> None:
    eu, mail = make_queue("billing/eu"), make_queue("mail")
    worker = make_worker("host-1", queue=eu)
    broken = finished(
        eu, worker, Status.FAILED, workflow="invoice", payload='{"user": {"id": 42}, "email": "ana@example.com"}',
        error='{"type": "TimeoutError", "message": "100% Timed_out"}',
    )  # fmt: skip
    parent = running(mail, worker, 1, workflow="send_mail", payload='{"user": {"id": "42"}, "flag": true}')
    child = make_execution(mail, workflow="send_mail", payload="[1, 42]", parent_id=parent.id)
    waiting = make_execution(eu, Status.WAITING, workflow="wait", payload=None)
    expected = {
        "status:failed": {broken},
        "status:running,queued": {parent, child},
        "status:waiting": {waiting},
        "queue:billing/*": {broken, waiting},
        "queue:billing/* status:failed": {broken},
        "queue:mail": {parent, child},
        "queue:nowhere": set(),
        "workflow:send*": {parent, child},
        "workflow:send": set(),
        "workflow:send_mail worker:host-1": {parent},
        "worker:host-*": {broken, parent},
        "worker:other": set(),
        "error:timeout": {broken},
        "error:TIMED_OUT": {broken},
        "error:100%": {broken},
        "error:10_%": set(),
        "payload.user.id:42": {broken, parent},
        "payload.user.id:4": set(),
        "payload.user:42": set(),
        "payload.email:*@example.com": {broken},
        "payload.email:*@example_com": set(),
        "payload.flag:true": {parent},
        "payload.1:42": {child},
        "send": {parent, child},
        "billing": {broken, waiting},
        f"parent:{parent.id}": {child},
        f"id:{broken.id}": {broken},
        str(broken.id): {broken},
        f"id:{str(broken.id)[:13]}": {broken},
        f"{str(broken.id)[:4]}…{str(broken.id)[-6:]}": {broken},
        "status:failed queue:mail": set(),
    }
    for text, found in expected.items():
        assert ids(text) == {one.id for one in found}, text


def test_time_is_that_of_enqueueing() -> None:
    queue = make_queue()
    old = make_execution(queue, waited=7_200, id=at(7_200))
    new = make_execution(queue, waited=60, id=at(60))
    assert ids("since:1h") == {new.id}
    assert ids("before:1h") == {old.id}
    assert ids("since:3h before:1m") == {old.id, new.id} - ids("since:1m")


def test_what_is_not_visible_is_never_found() -> None:
    seen, hidden = make_queue("seen"), make_queue("hidden")
    mine, _ = make_execution(seen), make_execution(hidden)
    for text in ("", "status:queued", "queue:*", "call", "queue:hidden,seen"):
        assert ids(text, within=[seen.id]) == {mine.id}, text
    assert ids("", within=[]) == set()


def test_pages_go_on_where_the_last_one_ended(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    made = sorted((make_execution(queue).id for _ in range(23)), reverse=True)
    monkeypatch.setattr(finding, "FIRST_STRETCH", 3)
    for text in ("", "queue:api*", "workflow:call_api", "status:queued"):
        found, seen = look(text, most=10), []
        for _ in range(3):
            seen += found.ids
            if found.next is None:
                break
            found = look(text, most=10, below=found.next)
        assert (seen, found.next) == (made, None), text


def test_a_search_that_takes_too_long_says_how_far_it_looked_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    rare = make_execution(queue, waited=9_000, id=at(9_000), workflow="rare")
    for n in range(20):
        make_execution(queue, waited=20 - n, id=at(20 - n))
    monkeypatch.setattr(finding, "FIRST_STRETCH", 8)
    monkeypatch.setattr(finding, "MOST_STRETCH", 8)
    found = look("workflow:rare", seconds=0)
    assert (found.ids, found.stopped) == ([], True)
    assert found.next and found.back_to and seconds_ago(12) < found.back_to < seconds_ago(6)
    further = look("workflow:rare", below=found.next)
    assert (further.ids, further.stopped, further.next) == ([rare.id], False, None)


def test_a_statement_that_hangs_ends_the_search_and_not_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    make_execution(make_queue())
    slow = "select null::uuid, null::timestamptz from pg_sleep(10) where %(size)s::int > 0"
    monkeypatch.setattr(finding, "statement", lambda name: slow if name == "search_edge" else statement(name))
    monkeypatch.setattr(finding, "GRACE", 0.05)
    found = look("workflow:rare", seconds=0)
    assert (found.ids, found.stopped, found.back_to) == ([], True, None)
    assert Execution.objects.count() == 1  # the connection is as good as before


@pytest.mark.parametrize(
    ("text", "most"),
    [("", 2), ("status:failed", 4), ("status:queued", 4), ("queue:api-calls", 5), ("payload.customer:7", 4)],
)
def test_a_search_takes_few_statements(text: str, most: int) -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    with CaptureQueriesContext(connection) as asked:
        look(text)
    statements = [one["sql"] for one in asked if "SAVEPOINT" not in one["sql"]]
    assert len(statements) <= most, statements


def test_statements_are_bounded_before_anything_is_compared() -> None:
    """The plan of a stretch walks the key between two ids; nothing reads the whole table."""
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    with CaptureQueriesContext(connection) as asked:
        look("payload.customer:8 error:x workflow:y")
    stretches = [one["sql"] for one in asked if "payload #>>" in one["sql"]]
    assert stretches
    with connection.cursor() as cursor:
        for sql in stretches:
            cursor.execute(f"explain {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on queues_execution" not in plan
            assert "Index Cond: ((id < " in plan or "id >= " in plan


# -- the page ----------------------------------------------------------------------------------------


def test_the_list_is_what_the_address_says(vera: Client) -> None:
    one, two = make_queue("one"), make_queue("two")
    mine, other = make_execution(one, workflow="a"), make_execution(two, workflow="b")
    for query in ("q=queue:one", "q=workflow:a", "queue=one", "workflow=a", "status=queued&queue=one"):
        html = body(vera, f"/executions?{query}")
        assert f"e-{mine.id}" in html
        assert f"e-{other.id}" not in html
    assert "No execution matches" in body(vera, "/executions?q=status:failed")
    assert 'value="status:queued queue:one"' in body(vera, "/executions?status=queued&queue=one")


def test_a_line_that_makes_no_sense_is_answered_beside_it(vera: Client) -> None:
    make_execution(make_queue())
    html = body(vera, "/executions?q=status:broken+user:%3Cb%3E")
    assert "“broken” is not a status" in html
    assert "There is no “user:”" in html
    assert 'aria-invalid="true"' in html
    assert "<b>" not in html.split('id="problems"')[1].split("</div>")[0]


@pytest.mark.parametrize("query", ["cursor=x", "q=%00", "cursor=%00&q=+", "far=x&cursor=", "q=error:%00%5C"])
def test_an_address_that_makes_no_sense_is_a_page(vera: Client, query: str) -> None:
    make_execution(make_queue())
    assert vera.get(f"/executions?{query}").status_code == 200


def test_the_next_page_keeps_the_search(vera: Client) -> None:
    queue = make_queue()
    for _ in range(reads.PAGE_SIZE + 1):
        make_execution(queue)
    html = body(vera, "/executions?q=status:queued")
    assert "?q=status%3Aqueued&amp;cursor=" in html
    assert ">Older<" in html


def test_the_page_offers_to_look_further_back(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Found([], next=at(60), stopped=True, back_to=seconds_ago(60))
    monkeypatch.setattr("queues.views.search.find", lambda *_, **__: stopped)
    html = body(vera, "/executions?q=payload.x:1")
    assert "None found so far." in html
    assert "Searched back to" in plain(html)
    assert f"cursor={stopped.next}&amp;far=1" in html
    assert 'data-refresh="30"' in html


def test_the_page_asks_few_queries_however_many_it_shows(vera: Client) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            body(vera, "/executions?q=status:completed+queue:api-calls")
        return len(queries)

    finished(queue, worker)
    one = asked()
    for _ in range(20):
        finished(queue, worker)
    assert asked() == one <= 16


# -- suggestions -------------------------------------------------------------------------------------


def suggested(line: str, at: int | None = None) -> list[str]:
    return [one.text for one in suggest.suggested(line, len(line) if at is None else at)]


def test_suggestions_follow_the_term_under_the_caret() -> None:
    eu = make_queue("billing/eu")
    make_queue("billing/us")
    make_queue("mail")
    make_worker("host-1", queue=eu)
    make_execution(eu, payload='{"user": {"id": 42}, "customer": 7}')
    assert suggested("")[:2] == ["status:", "queue:"]
    assert suggested("st") == ["status:"]
    assert suggested("status:c") == ["status:cancelling", "status:completed", "status:cancelled"]
    assert suggested("status:failed,c")[0] == "status:failed,cancelling"
    assert suggested("queue:bil") == ["queue:billing/*", "queue:billing/eu", "queue:billing/us"]
    assert suggested("workflow:") == ["workflow:call_api"]
    assert suggested("worker:h") == ["worker:host-1"]
    assert suggested("since:1") == ["since:15m", "since:1h"]
    assert suggested("payload.") == ["payload.customer:", "payload.user.id:"]
    assert "queue:mail" in suggested("mai")
    assert suggested("user:") == []
    one = suggest.suggested("status:f queue:mail", 8)[0]
    assert (one.text, one.start, one.end) == ("status:failed", 0, 8)


def test_suggestions_are_options_of_a_list_box(vera: Client) -> None:
    make_queue('billing/eu"')
    html = body(vera, "/executions/suggestions?q=queue:b&at=7")
    assert 'role="option"' in html
    assert 'id="s-0"' in html
    assert "&quot;" in html
    for query in ("q=%00&at=-1", "q=x&at=99999999999", "q=%22&at=x", ""):
        assert vera.get(f"/executions/suggestions?{query}").status_code == 200


# -- export ------------------------------------------------------------------------------------------


def exported(client: Client, address: str) -> bytes:
    response: Any = client.get(address)
    assert response.status_code == 200

    async def whole() -> bytes:
        return b"".join([part async for part in response.streaming_content])

    return bytes(async_to_sync(whole)())


def test_an_export_has_what_the_search_finds(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    failed = [finished(queue, worker, Status.FAILED, error='{"type": "E", "message": "no"}') for _ in range(7)]
    make_execution(queue)
    monkeypatch.setattr("queues.search.export.PART", 3)
    expected = sorted((str(one.id) for one in failed), reverse=True)
    rows = list(csv.DictReader(io.StringIO(exported(vera, "/executions.csv?q=status:failed").decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == expected
    assert (rows[0]["error_type"], rows[0]["worker"], rows[0]["payload"]) == ("E", "worker-a", '{"customer": 7}')
    lines = exported(vera, "/executions.jsonl?q=status:failed").splitlines()
    assert [json.loads(one)["id"] for one in lines] == expected
    assert json.loads(lines[0])["error"] == {"type": "E", "message": "no"}


def test_an_export_runs_no_formula_and_keeps_every_digit(vera: Client) -> None:
    queue = make_queue()
    for payload in ('"=1+1"', "-5", '{"n":\n1.00000000000000000001}'):
        make_execution(queue, payload=payload)
    finished(
        queue, make_worker("=cmd|' /C calc'!A0"), Status.FAILED, error='{"type": "@SUM(1)", "message": "+1-2 x"}'
    )
    text = exported(vera, "/executions.csv").decode()
    assert "'=cmd" in text
    assert "'@SUM" in text
    assert "'+1-2 x" in text
    assert ",-5," in text
    assert '""=1+1""' in text
    assert b'{"n": 1.00000000000000000001}' in exported(vera, "/executions.jsonl?q=payload.n:*")


def test_large_values_come_in_small_parts(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    for _ in range(4):
        make_execution(queue, payload=f'"{"x" * 600}"')
    monkeypatch.setattr("queues.search.export.PART_BYTES", 1_000)
    response: Any = vera.get("/executions.jsonl")

    async def parts() -> list[int]:
        return [part.count(b"\n") async for part in response.streaming_content]

    assert async_to_sync(parts)() == [0, 1, 1, 1, 1]


def test_an_export_that_cannot_be_made_says_why(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = vera.get("/executions.csv?q=status:x")
    assert (bad.status_code, "not a status" in bad.content.decode()) == (422, True)
    monkeypatch.setattr("queues.search.export._under_way", 4)
    busy = vera.get("/executions.csv")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "30")


def test_an_export_whose_reader_has_gone_makes_room_for_another() -> None:
    make_execution(make_queue())

    async def begin_and_leave() -> None:
        parts = export.stream(Search(), export.as_jsonl, None)
        await anext(parts)
        assert export._under_way == 1
        await parts.aclose()  # type: ignore[attr-defined]

    async_to_sync(begin_and_leave)()
    assert export._under_way == 0
