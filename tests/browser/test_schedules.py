"""A schedule, made by keyboard: what it would do is shown while one types."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.pages.conftest import make_queue, make_schedule, make_worker
from workflows.models import Schedule

from .conftest import OpenPage


def test_making_and_pausing_a_schedule_without_leaving_the_list(open_page: OpenPage) -> None:
    queue = make_queue()
    make_worker(queue=queue)
    make_schedule(queue, "first")
    page = open_page("/schedules")
    page.evaluate("window.stayed = true")
    page.keyboard.press("n")
    expect(page.get_by_label("Workflow", exact=True)).to_be_focused()
    expect(page.get_by_label("Time zone")).not_to_have_value("")
    page.keyboard.type("call_api")
    page.get_by_label("Name (optional)").fill("second")
    page.get_by_label("Minute, hour").fill("30 3 * *")
    expect(page.locator("#preview")).to_contain_text("five fields")
    page.get_by_label("Minute, hour").press_sequentially(" MON-FRI")
    expect(page.locator("#preview li")).to_have_count(5)
    expect(page.locator("#preview")).to_contain_text("At 03:30 on Monday through Friday")
    page.get_by_label("How many").fill("5")
    expect(page.locator("#preview")).not_to_contain_text("Monday")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_have_text("The schedule second is made.")
    assert Schedule.objects.get(name="second").every == 300
    row = page.get_by_role("row", name="second")
    expect(row).to_contain_text("every 5 min")
    row.get_by_role("link", name="second", exact=True).focus()
    page.keyboard.press("p")
    page.get_by_label("Reason").fill("not yet")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("by ana: “not yet”")
    assert page.evaluate("window.stayed")

    row.get_by_role("link", name="second", exact=True).click()
    page.get_by_role("link", name="Edit…").click()
    page.get_by_label("How many").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#timing")).to_have_text("every 7 min")
