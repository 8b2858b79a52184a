"""Charts and lanes, as somebody uses them."""

from __future__ import annotations

import re
import time
from typing import Any

from playwright.sync_api import Locator, Page, expect

from queues.models import Change, Queue, Rollup, RollupStretch
from queues.rollup import Figure
from tests.pages.conftest import finished, make_queue, make_worker, running, seconds_ago

from .conftest import OpenPage


def past(queue: Queue, minutes: int = 60) -> int:
    """An hour in which twelve waited and three ran; returns when it began."""
    now = int(time.time()) // 10 * 10
    begin = now - minutes * 60
    base = queue.id % 32 * 1024
    cells = [base + figure for figure in (Figure.COMPLETED, Figure.WAITING, Figure.RUNNING)]
    Rollup.objects.bulk_create(
        Rollup(seconds=10, start=start, shard=queue.id // 32, cells=cells, counts=[5, 12, 3])
        for start in range(begin, now - 20, 10)
    )
    RollupStretch.objects.create(since=begin, until=now - 20)
    return begin


def middle_of(page: Page, chart: str, share: float) -> dict[str, Any]:
    plot = page.locator(f".chart.{chart} .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    return {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}


def value(page: Page, key: str) -> Locator:
    return page.locator(f"[data-value={key}]")


def test_pointing_at_one_chart_says_what_was_then_in_all_of_them(open_page: OpenPage) -> None:
    past(make_queue())
    page = open_page("/queues/api-calls?range=1h", as_="vera")
    expect(page.locator("#scrub")).to_be_enabled()
    page.mouse.move(**middle_of(page, "waiting", 0.5))
    expect(value(page, "waiting")).to_have_text("12")
    expect(value(page, "running")).to_have_text("3")
    expect(page.locator("#moment")).to_have_text(re.compile(r"\d\d:\d\d:\d\d – \d\d:\d\d:\d\d"))
    assert page.locator(".cross[visibility=visible]").count() == 6
    page.mouse.move(5, 5)
    expect(page.locator("#moment")).to_have_text("up to now")


def test_the_keyboard_moves_selects_and_zooms(open_page: OpenPage) -> None:
    past(make_queue())
    page = open_page("/queues/api-calls?range=1h", as_="vera")
    slider = page.get_by_role("slider", name="Moment")
    expect(slider).to_be_enabled()
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"Waiting: waiting 12\."))
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("from="))


def test_charts_of_other_ranges_come_without_a_new_page(open_page: OpenPage) -> None:
    past(make_queue())
    page = open_page("/queues/api-calls", as_="vera")
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name="7 d").click()
    expect(page).to_have_url(re.compile(r"range=7d"))
    page.get_by_role("link", name="1 min", exact=True).click()
    expect(page).to_have_url(re.compile(r"lanes=1&range=7d"))
    expect(page.locator("#lanes .times")).to_contain_text("−1 min")
    assert page.evaluate("window.stayed")


def test_lanes_move_with_the_time_and_what_runs_grows(open_page: OpenPage) -> None:
    queue = make_queue(limit=2)
    worker = make_worker(queue=queue)
    running(queue, worker, 1, claimed_at=seconds_ago(20))
    finished(queue, worker, slot=2)
    page = open_page("/queues/api-calls?lanes=1", as_="vera")
    bar = page.locator("rect[data-open]")
    before = float(bar.get_attribute("width") or 0)
    page.wait_for_function(
        "before => document.querySelector('rect[data-open]').getAttribute('width') > before + 10", arg=before
    )
    finished(queue, worker, slot=2)
    expect(page.locator(".bars rect.completed")).to_have_count(2)


def test_lanes_hold_still_for_who_aims_but_not_for_a_pointer_that_lies_there(open_page: OpenPage) -> None:
    queue = make_queue(limit=2)
    worker = make_worker(queue=queue)
    running(queue, worker, 1, claimed_at=seconds_ago(40))
    page = open_page("/queues/api-calls?lanes=1", as_="vera")
    bar = page.locator("rect[data-open]")
    bar.hover()
    page.wait_for_timeout(300)
    before = bar.get_attribute("width")
    page.wait_for_timeout(700)
    assert bar.get_attribute("width") == before
    finished(queue, worker, slot=2)
    expect(page.locator(".bars rect.completed")).to_have_count(1)  # the pointer is still there


def test_the_page_works_on_a_phone_and_without_scripts(open_page: OpenPage) -> None:
    queue = make_queue()
    past(queue)
    Change.objects.create(
        queue=queue, at=seconds_ago(600), kind="override", before="none", after="5", actor="ana", through="page"
    )
    phone = open_page("/queues/api-calls", as_="vera", phone=True, dark=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    plain = open_page("/queues/api-calls", as_="vera", scripts=False)
    plain.get_by_role("link", name="Earlier").click()
    expect(plain).to_have_url(re.compile("from="))
    plain.get_by_role("link", name="As a table").click()
    expect(plain.get_by_role("columnheader", name="Waiting at most")).to_be_visible()
