"""The page of an execution follows what it tells."""

from __future__ import annotations

from playwright.sync_api import expect

from queues.models import Execution, Status
from tests.pages.conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago
from tests.pages.test_story import say_progress, tell

from .conftest import OpenPage


def test_lines_and_progress_appear_by_themselves_and_the_end_stays_in_sight(open_page: OpenPage) -> None:
    queue = make_queue()
    one = running(queue, make_worker(queue=queue), 1)
    page = open_page(f"/executions/{one.id}", as_="vera")
    expect(page.get_by_text("Nothing logged yet")).to_be_visible()
    tell(one, *(f"line {n}" for n in range(60)))
    tell(one, "careful", level="warning", fields='{"page": 4}')
    say_progress(one, 0.4, "page 4 of 10")
    expect(page.locator("#lines .line")).to_have_count(61)
    assert page.evaluate("lines.scrollHeight - lines.scrollTop - lines.clientHeight") < 5
    expect(page.locator("#progress progress")).to_have_js_property("value", 0.4)
    page.locator("#log-level").select_option("warning")
    expect(page.locator("#lines .line:visible")).to_have_count(1)
    # Whoever reads further up is left there.
    page.locator("#log-level").select_option("debug")
    page.evaluate("lines.scrollTop = 0")
    Execution.objects.filter(id=one.id).update(
        status=Status.COMPLETED, finished_at=seconds_ago(0), released_at=seconds_ago(0), outcome="completed"
    )
    tell(one, "the last")
    expect(page.locator("#lines")).to_have_attribute("data-state", "final")
    expect(page.locator("#lines .line")).to_have_count(62)
    assert page.evaluate("lines.scrollTop") == 0


def test_who_holds_a_slot_shows_how_far_it_is_though_nothing_else_happens(open_page: OpenPage) -> None:
    queue = make_queue()
    one = running(queue, make_worker(queue=queue), 1)
    page = open_page("/queues/api-calls", as_="vera")
    for value in (0.4, 0.6):
        say_progress(one, value, "page")
        expect(page.locator(f"#p-{one.id} progress")).to_have_js_property("value", value)


def test_what_is_there_to_be_copied_is_copied(open_page: OpenPage) -> None:
    queue = make_queue()
    one = finished(
        queue, make_worker(queue=queue), Status.FAILED,
        error='{"type": "ValueError", "message": "no", "traceback": "line 1\\nline 2"}',
    )  # fmt: skip
    make_execution(queue, parent_id=one.id)
    page = open_page(f"/executions/{one.id}", as_="vera")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#outcome summary").click()
    page.locator("#outcome [data-copy]").click()
    expect(page.locator("#outcome [data-copy]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "line 1\nline 2"
    page.locator("[data-copy=again-command]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-copy=again-command]")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == """polos run call_api --queue api-calls --payload '{"customer": 7}'"""
