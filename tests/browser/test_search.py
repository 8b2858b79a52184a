"""Searching executions, and acting on what was found, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from queues.models import Execution, Status
from tests.pages.conftest import finished, make_execution, make_queue, make_worker

from .conftest import OpenPage


def test_a_search_is_put_together_with_the_keyboard_alone(open_page: OpenPage) -> None:
    eu, mail = make_queue("billing/eu"), make_queue("mail")
    mine = finished(eu, make_worker(queue=eu), Status.FAILED)
    make_execution(eu)
    make_execution(mail)
    page = open_page("/executions", as_="vera")
    line = page.get_by_role("combobox", name="Search executions")
    page.keyboard.press("/")
    expect(line).to_have_attribute("aria-expanded", "true")
    page.keyboard.type("status:fa")
    expect(page.get_by_role("option")).to_have_text(["status:failed"])
    page.keyboard.press("ArrowDown")
    expect(line).to_have_attribute("aria-activedescendant", "s-0")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=status%3Afailed"))
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.locator(f"#e-{mine.id}")).to_be_visible()
    page.keyboard.type("queue:ma")
    expect(page.get_by_role("option", name="queue:mail")).to_be_visible()
    page.keyboard.press("Enter")  # without a choice: the line as it is
    expect(page.locator("#list")).to_contain_text("No execution matches")
    expect(line).to_be_focused()


def test_suggestions_that_come_late_keep_the_chosen_one(open_page: OpenPage) -> None:
    page = open_page("/executions", as_="vera")
    page.keyboard.press("/")
    page.keyboard.type("status:")
    expect(page.get_by_role("option", name="status:failed")).to_be_visible()
    late: list[Route] = []
    page.route("**/suggestions?*", lambda route: late.append(route))
    with page.expect_request("**/suggestions?*"):
        page.keyboard.type("f")
    while page.get_by_role("option", selected=True).all_text_contents() != ["status:failed"]:
        page.keyboard.press("ArrowDown")
    with page.expect_response("**/suggestions?*"):
        late[0].continue_()
    expect(page.get_by_role("option")).to_have_text(["status:failed"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=status%3Afailed"))


def test_a_line_that_makes_no_sense_is_told_and_mended(open_page: OpenPage) -> None:
    make_execution(make_queue())
    page = open_page("/executions", as_="vera")
    line = page.get_by_role("combobox", name="Search executions")
    line.fill("status:broken")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("is not a status")
    expect(line).to_have_attribute("aria-invalid", "true")
    line.fill("status:queued")
    line.press("Enter")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(line).not_to_have_attribute("aria-invalid", "true")


def test_ticked_executions_are_cancelled_in_the_background(open_page: OpenPage) -> None:
    queue = make_queue()
    for _ in range(3):
        make_execution(queue)
    page = open_page("/executions", as_="jonas")
    for row in (0, 2):
        page.locator("#list tbody input[type=checkbox]").nth(row).check()
    page.get_by_role("region", name="Ticked executions").get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 executions can be cancelled")
    page.get_by_label("Reason").fill("broken release")
    page.get_by_role("button", name="Cancel 2 executions").click()
    expect(page).to_have_url(re.compile("/bulk/"))
    expect(page.locator("#progress")).to_contain_text("2 executions cancelled")
    assert Execution.objects.filter(status=Status.CANCELLED).count() == 2
