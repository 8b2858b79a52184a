"""The history of a queue: its charts, and the same as a table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as some

from queues import charts, history, rollup
from queues.history import Series, Step, Window
from queues.models import Change, Queue, Rollup, RollupStretch
from queues.rollup import Figure

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body, text

ROOT = Path(__file__).parents[2]


def tick(ago: float = 0) -> int:
    return int(timezone.now().timestamp() - ago) // 10 * 10


def row(queue: Queue, start: int, seconds: int = 10, **figures: int) -> Rollup:
    base = queue.id % 32 * 1024
    cells = [base + Figure[name.upper()] for name in figures]
    return Rollup.objects.create(
        seconds=seconds, start=start, shard=queue.id // 32, cells=cells, counts=list(figures.values())
    )


def change(queue: Queue, ago: float, before: str, after: str, kind: str = "override", **more: Any) -> Change:
    more = {"actor": "ana", "reason": "quota", "through": "page", **more}
    return Change.objects.create(queue=queue, at=seconds_ago(ago), kind=kind, before=before, after=after, **more)


def read(queue: Queue, seconds: int = 900) -> Series:
    now = timezone.now()
    return history.read(queue, Window(tick(seconds), tick()), now)


# -- reading -----------------------------------------------------------------------------------------


def test_what_was_not_looked_at_is_a_gap_and_what_was_quiet_is_zero() -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(300), until=tick(100))
    row(queue, tick(200), completed=4, waiting=3)
    points = {p.start: p for p in read(queue).points if p}
    assert sorted(points) == list(range(tick(300), tick(100), 10))
    assert (points[tick(200)].per_minute, points[tick(200)].most_waiting) == (24, 3)
    assert (points[tick(150)].per_minute, points[tick(150)].most_waiting) == (0, 0)


def test_figures_of_neighbours_in_the_same_row_are_told_apart() -> None:
    one, two = make_queue("one"), make_queue("two")
    RollupStretch.objects.create(since=tick(300), until=tick(0))
    cells = [queue.id % 32 * 1024 + Figure.COMPLETED for queue in (one, two)]
    Rollup.objects.create(seconds=10, start=tick(200), shard=one.id // 32, cells=cells, counts=[4, 9])
    assert [sum(p.completed for p in read(queue).points if p) for queue in (one, two)] == [4, 9]


def test_long_ranges_are_read_from_coarse_rows_and_the_newest_from_fine_ones() -> None:
    queue = make_queue()
    now = tick()
    hour, minute = now // 3600 * 3600, now // 60 * 60
    RollupStretch.objects.create(since=now - 30 * 86400, until=now)
    row(queue, hour - 3600, 3600, completed=100, most_waiting=50)
    row(queue, hour - 60, 60, completed=100)  # in the hour already
    if minute > hour:
        row(queue, minute - 60, 60, completed=10)
    if now > minute:
        row(queue, now - 10, 10, completed=1)
    series = history.read(queue, Window(now - 7 * 86400, now), timezone.now())
    assert sum(p.completed for p in series.points if p) == 100 + 10 * (minute > hour) + (now > minute)
    assert max(p.most_waiting or 0 for p in series.points if p) == 50


def test_the_limit_is_worked_out_from_the_trail() -> None:
    queue = make_queue(limit=5, overridden=True, override_limit=8, override_at=seconds_ago(100))
    Queue.objects.filter(id=queue.id).update(created_at=seconds_ago(86400))
    queue.refresh_from_db()
    change(queue, 400, "3", "5", kind="declared")
    change(queue, 300, "none", "unlimited")
    change(queue, 250, "running", "paused", kind="pause")
    change(queue, 200, "unlimited", "none")
    change(queue, 100, "none", "8")
    steps = read(queue).limits
    assert [step.limit for step in steps] == [3, 5, None, 5, 8]


def test_before_a_queue_was_made_it_had_no_limit_to_draw() -> None:
    queue = make_queue(limit=5)
    (step,) = read(queue).limits
    assert step == Step(pytest.approx(queue.created_at.timestamp()), 5)  # type: ignore[arg-type]


def test_pauses_are_bands_and_end_now_while_it_is_paused() -> None:
    queue = make_queue(paused=True, paused_at=seconds_ago(60))
    change(queue, 500, "running", "paused", kind="pause")
    change(queue, 400, "paused", "running", kind="pause")
    change(queue, 60, "running", "paused", kind="pause")
    lengths = [round(end - start, -1) for start, end in read(queue).pauses]
    assert lengths == [100, pytest.approx(60, abs=15)]


@given(some.lists(some.floats(0.001, 1e6), min_size=1, max_size=200), some.sampled_from((0.5, 0.95, 0.99)))
def test_percentiles_are_within_five_percent(times: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for time in times:
        step = next(k for k in range(1, 256) if time <= rollup.FIRST * rollup.GROWTH**k * (1 + 1e-9))
        histogram[step] = histogram.get(step, 0) + 1
    rank = max(1, -(-share * len(times) // 1))
    exact = sorted(times)[int(rank) - 1]
    assert rollup.percentile(histogram, share) == pytest.approx(exact, rel=0.05)


def test_what_finished_while_nobody_looked_does_not_say_that_nothing_ran(vera: Client) -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(300), until=tick(200))
    RollupStretch.objects.create(since=tick(50), until=tick())
    row(queue, tick(250), completed=2)
    row(queue, tick(100), completed=4)
    seen = {p.start: (p.completed, p.running, p.most_waiting) for p in read(queue).points if p}
    assert seen[tick(250)] == (2, 0, 0)
    assert seen[tick(100)] == (4, None, None)
    assert "held work back" in body(vera, "/queues/api-calls")
    assert "None" not in text(body(vera, "/history/api-calls?range=15m"))


# -- which time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["", "?range=1h", "?range=nonsense", "?from=yesterday&to=2026", "?from=2026-11-24"]
)
def test_nonsense_in_the_address_is_the_last_hour(query: str, vera: Client) -> None:
    make_queue()
    html = body(vera, f"/queues/api-calls{query}")
    assert re.search(r'aria-current="true">1 h<', html)


@pytest.mark.parametrize(
    "moment", ["0001-01-01", "1970-01-01T00:00:00Z", "9999-12-31", "2026-11-24T12:00:00+14:00"]
)
def test_any_moment_can_be_asked_for(moment: str, vera: Client) -> None:
    make_queue()
    for other in (moment, "2026-01-01", "0001-01-01", "9999-12-31T23:59:59Z"):
        for path in ("queues", "charts", "history"):
            assert vera.get(f"/{path}/api-calls", {"from": moment, "to": other}).status_code == 200


def test_a_window_is_never_too_short_too_long_or_in_the_future() -> None:
    now = timezone.now()
    future = history.between(now.timestamp() - 60, now.timestamp() + 1e6, now)
    assert future.until <= now.timestamp() and future.seconds >= 60
    assert history.between(0, 1e9, now).seconds <= history.LONGEST
    assert history.between(1000, 1000, now).seconds == history.SHORTEST


@pytest.mark.parametrize(("name", "length"), [("15m", 10), ("1h", 20), ("6h", 120), ("1d", 600), ("30d", 10800)])
def test_every_range_has_at_most_240_points(name: str, length: int) -> None:
    now = timezone.now()
    window = history.window(name, "", "", now)
    assert history.point_length(window, now) == length
    assert window.seconds / length <= 240


def test_long_ago_only_hours_are_kept() -> None:
    now = timezone.now()
    past = int(now.timestamp()) - 20 * 86400
    assert history.point_length(Window(past, past + 3600), now) == 3600


# -- the page ----------------------------------------------------------------------------------------


def test_the_page_has_the_charts_their_words_and_the_changes(vera: Client) -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(600), until=tick())
    row(queue, tick(100), completed=4, failed=1, waiting=12, running=2)
    change(queue, 200, "none", "5", reason="<b>provider</b> raised quota")
    html = body(vera, "/queues/api-calls?range=15m")
    assert html.count('class="plot"') == 6
    assert "Waiting: 0 to 12, at the end 0." in html
    assert "none → 5 · ana · “&lt;b&gt;provider&lt;/b&gt; raised quota”" in html
    assert "1 change of limit or pause in this time" in text(html)
    data = json.loads(re.search(r'data-points="([^"]+)"', html)[1].replace("&quot;", '"'))  # type: ignore[index]
    assert max(value or 0 for value in data["columns"]["waiting"]) == 12


def test_charts_of_another_time_come_as_a_part_and_the_address_says_which(vera: Client) -> None:
    make_queue("billing/eu")
    page = "http://testserver/queues/billing/eu?lanes=30"
    reply = vera.get("/charts/billing/eu?range=7d", headers={"HX-Request": "true", "HX-Current-URL": page})
    assert reply.headers["HX-Push-Url"] == "/queues/billing/eu?range=7d&lanes=30"
    html = reply.content.decode()
    assert html.lstrip().startswith("<section") and "<html" not in html


def test_zooming_and_moving_are_links_so_that_they_work_by_keyboard_and_without_scripts(vera: Client) -> None:
    make_queue()
    window = "from=2026-11-01T10:00:00Z&to=2026-11-01T12:00:00Z"
    html = body(vera, f"/queues/api-calls?{window}")
    for name, since in (("Earlier", "09"), ("Later", "11"), ("Zoom out", "09"), ("Zoom in", "10")):
        (link,) = re.findall(rf'href="([^"]+)"[^>]*aria-label="{name}"', html)
        assert f"from=2026-11-01T{since}%3A" in link, name


def test_a_refresh_of_the_page_leaves_charts_and_lanes_to_their_own_requests(vera: Client) -> None:
    make_queue()
    html = vera.get("/queues/api-calls", headers={"HX-Request": "true", "Polos-Refresh": "1"}).content.decode()
    assert 'id="history"' not in html and 'id="lanes"' not in html and 'id="waiting"' in html


def test_the_table_says_every_point_and_a_gap_is_a_dash(vera: Client) -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(100), until=tick())
    row(queue, tick(50), completed=41, waiting=7)
    html = body(vera, "/history/api-calls?range=15m")
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html)
    assert len(rows) >= 90
    assert any(">41<" in one and ">7<" in one for one in rows)
    assert text(rows[-1]).count("–") == 12


def test_strangers_see_no_history(client: Client) -> None:
    make_queue()
    for path in ("/charts/api-calls", "/history/api-calls", "/lanes/api-calls"):
        assert "/signin" in client.get(path).headers["Location"]


def test_an_unknown_queue_has_no_history(vera: Client) -> None:
    for path in ("/charts/nobody", "/history/nobody", "/lanes/nobody"):
        assert vera.get(path).status_code == 404


def test_the_charts_take_as_many_queries_however_long_the_range_is(vera: Client) -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(30 * 86400), until=tick())
    row(queue, tick(100), completed=4)
    counts = []
    for name in history.RANGES:
        with CaptureQueriesContext(connection) as queries:
            vera.get(f"/charts/api-calls?range={name}")
        counts.append(len(queries))
    assert len(set(counts)) == 1 and counts[0] <= 10, counts


# -- drawing -----------------------------------------------------------------------------------------


def test_the_pen_is_lifted_over_a_gap() -> None:
    queue = make_queue()
    RollupStretch.objects.create(since=tick(800), until=tick(600))
    RollupStretch.objects.create(since=tick(300), until=tick())
    drawn = charts.charts(read(queue))
    running = drawn.charts[0].lines[0]
    assert running.path.count("M") == 2
    assert len(drawn.gaps) == 2  # before the first look, and between


def test_where_the_limit_held_work_back_is_told_apart() -> None:
    queue = make_queue(limit=2)
    Queue.objects.filter(id=queue.id).update(created_at=seconds_ago(86400))
    queue.refresh_from_db()
    RollupStretch.objects.create(since=tick(400), until=tick())
    row(queue, tick(300), running=2, waiting=5)
    row(queue, tick(200), running=2)  # full, but nothing waited
    row(queue, tick(100), running=1, waiting=5)  # waited, but there was room
    running, bound, _ = charts.charts(read(queue)).charts[0].lines
    assert (running.path.count("M"), bound.path.count("M")) == (1, 1)
    assert bound.now == "2 %"


def test_words_at_marks_do_not_lie_over_each_other() -> None:
    queue = make_queue()
    for ago in (300, 299, 298, 297, 296):
        change(queue, ago, "none", "5")
    marks = charts.charts(read(queue)).marks
    places = [(mark.y, mark.anchor) for mark in marks if mark.words]
    assert len(marks) == 5 and len(places) == len(set(places))


def test_a_month_without_data_is_drawn_too(vera: Client) -> None:
    make_queue(limit=None)
    assert "no data" in body(vera, "/queues/api-calls?range=30d")


def test_own_scripts_never_evaluate_text() -> None:
    for path in (ROOT / "static" / "js" / "queue").glob("*.js"):
        assert not re.search(
            r"\beval\(|new Function|insertAdjacentHTML|innerHTML|document\.write", path.read_text()
        )


def test_times_on_the_axis_are_within_the_window() -> None:
    queue = make_queue()
    for name in history.RANGES:
        now = timezone.now()
        series = history.read(queue, history.window(name, "", "", now), now)
        ticks = charts.charts(series).ticks
        assert 1 <= len(ticks) <= 7, name
        assert all(series.window.since <= t.at <= series.window.until for t in ticks)
        assert all(isinstance(t.label, str) and t.label for t in ticks)


def test_the_newest_figures_are_those_of_the_rest_of_the_page(vera: Client) -> None:
    queue = make_queue(limit=2)
    RollupStretch.objects.create(since=tick(900), until=tick())  # in which nothing ran and nothing waited
    worker = make_worker(queue=queue)
    running(queue, worker, 1)
    running(queue, worker, 2)
    for _ in range(3):
        make_execution(queue)
    for page in ("/queues/api-calls", "/charts/api-calls?range=15m"):
        html = body(vera, page)
        said = dict(re.findall(r'data-value="(running|waiting|limit)">(.*?)<', html))
        assert said == {"running": "2", "waiting": "3", "limit": "2"}, page
        assert "Waiting: 0 to 0, at the end 3." in html
    before = body(vera, "/charts/api-calls?from=2026-01-01T10:00&to=2026-01-01T11:00")
    assert dict(re.findall(r'data-value="(running|waiting)">(.*?)<', before)) == {"running": "–", "waiting": "–"}
