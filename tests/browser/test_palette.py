"""The command palette, single keys, and how times are written, in a real browser."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, Route, expect

from queues.models import Favourite, Worker
from tests.pages.conftest import make_queue, make_worker, seconds_ago

from .conftest import OpenPage


def look_for(page: Page, text: str) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="A queue, an id").press_sequentially(text)


def two_found(open_page: OpenPage, text: str) -> Page:
    make_queue("billing/eu")
    make_queue("billing/us")
    page = open_page("/workers", as_="vera")
    look_for(page, text)
    expect(page.get_by_role("option")).to_have_count(2)
    return page


def test_the_palette_goes_to_a_queue_with_the_keyboard_alone(open_page: OpenPage) -> None:
    page = two_found(open_page, "bill")
    expect(page.get_by_role("option", name="billing/eu")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("combobox")).to_have_attribute("aria-activedescendant", "go-1")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/queues/billing/us$"))


def test_an_answer_that_comes_late_keeps_what_an_arrow_went_to(open_page: OpenPage) -> None:
    page = two_found(open_page, "bil")
    late: list[Route] = []
    page.route("**/go?*q=bill*", lambda route: late.append(route))
    with page.expect_request("**/go?*q=bill*"):
        page.keyboard.type("l")
    page.keyboard.press("ArrowDown")
    with page.expect_response("**/go?*q=bill*"):
        late[0].continue_()
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
    expect(page.get_by_role("option", name="billing/us")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/queues/billing/us$"))


def test_enter_after_an_arrow_needs_no_answer(open_page: OpenPage) -> None:
    page = two_found(open_page, "bil")
    page.route("**/go?*q=bill*", lambda route: None)
    page.keyboard.type("l")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/queues/billing/us$"))


def test_enter_pressed_before_the_answer_goes_to_what_was_typed(open_page: OpenPage) -> None:
    make_queue("mail")
    make_queue("billing")
    page = open_page(as_="vera")
    look_for(page, "mail")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/queues/mail$"))


def test_pausing_from_the_palette_without_leaving_the_page(open_page: OpenPage) -> None:
    queue = make_queue("mail")
    page = open_page(as_="jonas")
    page.evaluate("window.stayed = true")
    look_for(page, "pause mail")
    expect(page.get_by_role("option", name="Pause mail…")).to_be_visible()
    page.keyboard.press("Enter")
    page.get_by_label("Reason").fill("failover")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_have_text("mail is paused.")
    queue.refresh_from_db()
    assert queue.paused
    assert page.evaluate("window.stayed")


def test_the_palette_closes_with_escape_and_gives_the_focus_back(open_page: OpenPage) -> None:
    make_queue()
    page = open_page()
    link = page.get_by_role("link", name="api-calls", exact=True)
    link.focus()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="A queue, an id")).to_be_focused()
    page.keyboard.press("Escape")
    expect(link).to_be_focused()


def test_g_p_goes_to_people_for_those_who_may(open_page: OpenPage) -> None:
    for name, may in (("ana", True), ("jonas", False)):
        page = open_page("/trail", as_=name)
        page.keyboard.press("g")
        page.keyboard.press("p")
        if may:
            expect(page).to_have_url(re.compile(r"/people$"))
        page.keyboard.press("?")
        sheet = page.locator("#dialog .keys")
        expect(sheet).to_contain_text("trail, people, help" if may else "trail, help")


def test_the_theme_is_changed_from_the_palette(open_page: OpenPage) -> None:
    page = open_page("/help")
    look_for(page, "dark")
    expect(page.get_by_role("option", name="Theme: dark")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page).to_have_url(re.compile(r"/help$"))


def test_single_keys_work_on_the_row_with_the_focus(open_page: OpenPage) -> None:
    make_queue("aaa")
    make_queue("bbb")
    page = open_page()
    for key in "jj":
        page.keyboard.press(key)
    expect(page.get_by_role("link", name="bbb", exact=True)).to_be_focused()
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Favourite bbb")).to_have_attribute("aria-pressed", "true")
    assert Favourite.objects.get().queue.name == "bbb"
    page.keyboard.press("k")
    page.keyboard.press("p")
    expect(page.get_by_role("heading", name="Pause aaa")).to_be_visible()


def test_single_keys_can_be_turned_off(open_page: OpenPage) -> None:
    make_queue()
    page = open_page()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.get_by_label("Single keys do something").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_timeout(300)
    expect(page.locator("#dialog")).not_to_be_visible()
    page.locator("summary", has_text="ana").click()
    page.get_by_role("link", name="Keyboard shortcuts").click()
    expect(page.get_by_label("Single keys do something")).not_to_be_checked()


def test_times_are_written_as_somebody_likes_them(open_page: OpenPage) -> None:
    at = seconds_ago(3 * 3600)
    worker = make_worker(heartbeat_at=at, lease_until=at, left_at=at, state=Worker.State.LEFT)
    page = open_page("/workers", as_="vera")
    heartbeat = page.locator(f"#worker-{worker.id} [data-label=heartbeat]")
    expect(heartbeat).to_have_text("3 h ago")
    page.locator("summary", has_text="vera").click()
    page.get_by_role("button", name="14:05:00").click()
    page.locator("summary", has_text="vera").click()
    page.get_by_role("button", name="UTC").click()
    expect(heartbeat).to_contain_text(f"{at:%H:%M:%S}")
    page.goto("/account")
    page.get_by_label("Another time zone").fill("Asia/Kathmandu")
    page.get_by_role("button", name="Use it").click()
    page.goto("/workers")
    there = at.astimezone(ZoneInfo("Asia/Kathmandu"))
    expect(heartbeat).to_contain_text(f"{there:%H:%M:%S}")
