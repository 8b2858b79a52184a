"""What holds whatever one does: signing in, keyboard, themes, phones, no scripts, hostile texts."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from queues import limits, words
from queues.models import Change, Execution, Status
from tests.pages.conftest import finished, make_execution, make_queue, make_worker, running
from tests.servers import Server

from .conftest import PASSWORD, REFUSED, OpenPage


def test_signing_in_and_out(site: Server, open_page: OpenPage) -> None:
    make_queue()
    page = open_page("/queues/api-calls", as_="")
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.url}/queues/api-calls")
    page.locator("summary", has_text="vera").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_an_expired_session_leads_to_signing_in_and_back(site: Server, open_page: OpenPage) -> None:
    make_queue("billing/eu")
    page = open_page("/queues/billing/eu", forgive=REFUSED)
    Session.objects.all().delete()
    # The page's own requests may have led there already.
    page.get_by_role("link", name="Change limit…").or_(page.get_by_label("Name")).click()
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.url}/queues/billing/eu")


def test_a_dialog_that_is_out_of_date_is_refused(open_page: OpenPage) -> None:
    queue = make_queue()
    page = open_page("/queues/api-calls")
    page.get_by_role("link", name="Change limit…").click()
    page.get_by_label("Executions at once").fill("9")
    page.get_by_label("Reason").fill("hurry")
    limits.change_limit(queue=queue.name, limit=2, reason="calm", actor="oskar", through=Change.Through.REST)
    page.get_by_role("button", name="Change limit", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("oskar changed the override from none to 2 (“calm”)")
    expect(page.get_by_label("Reason")).to_have_value("hurry")
    page.get_by_role("button", name="Change limit", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("is now 9")


def test_cancelling_asks_first(open_page: OpenPage) -> None:
    execution = make_execution(make_queue())
    page = open_page(f"/executions/{execution.id}", as_="jonas")
    page.get_by_role("link", name="Cancel execution…").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("It is cancelled at once")
    dialog.get_by_role("link", name="Back").click()
    assert Execution.objects.get().status == Status.QUEUED
    page.get_by_role("link", name="Cancel execution…").click()
    dialog.get_by_role("button", name="Cancel execution").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    expect(page.get_by_role("link", name="Retry…")).to_be_visible()


def test_everything_works_without_javascript(open_page: OpenPage) -> None:
    make_queue("billing/eu")
    waits = make_execution(make_queue("mail"))
    page = open_page(scripts=False)
    page.get_by_label("Filter queues by name").fill("bill")
    page.get_by_label("Filter queues by name").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Change limit… of billing/eu").click()
    page.get_by_label("Unlimited").check()
    page.get_by_label("Reason").fill("no reason to wait")
    page.get_by_role("button", name="Change limit").click()
    expect(page.get_by_text("The limit of billing/eu is now unlimited.")).to_be_visible()
    expect(page.get_by_role("heading", name="billing/eu")).to_be_visible()
    page.goto(f"/executions/{waits.id}")
    page.get_by_role("link", name="Cancel execution…").click()
    assert Execution.objects.get().status == Status.QUEUED
    page.get_by_role("button", name="Cancel execution").click()
    expect(page.locator("#status")).to_have_text("cancelled")


def test_the_keyboard_is_enough(open_page: OpenPage) -> None:
    make_queue()
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Filter queues by name")).to_be_focused()
    link = page.get_by_role("link", name="Change limit… of api-calls")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Executions at once")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).not_to_be_visible()
    expect(link).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page).to_have_url(re.compile(r"/workers$"))


def test_search_shows_while_typing_and_stays_in_the_address(open_page: OpenPage) -> None:
    for name in ("billing/eu", "billing/us", "mail"):
        make_queue(name)
    page = open_page()
    page.get_by_label("Filter queues by name").press_sequentially("bill")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_label("Filter queues by name")).to_be_focused()
    assert "search=bill" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(2)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_theme_that_was_chosen_is_there_from_the_first_paint(open_page: OpenPage, theme: str) -> None:
    page = open_page("/help", dark=theme == "Light")
    page.locator("summary", has_text="ana").click()
    page.get_by_role("button", name=theme).click()
    expect(page.locator("html")).to_have_attribute("data-theme", theme.lower())
    lightness = page.evaluate("Number(/oklch\\(([\\d.]+)/.exec(getComputedStyle(document.body).color)[1])")
    assert (lightness > 0.5) is (theme == "Dark")


@pytest.mark.parametrize(
    "path", ["/", "/queues/api-calls", "/executions", "/workers", "/people", "/help", "/account"]
)
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, path: str) -> None:
    queue = make_queue()
    long = make_queue("a-name/" + "x" * 190)
    worker = make_worker("worker-" + "y" * 150, queue, host="h" * 150)
    for slot in range(1, 6):
        running(queue, worker, slot, workflow="w" * 180)
    finished(long, worker, workflow="w" * 180)
    page = open_page(path, phone=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_texts_stay_text_in_the_browser(open_page: OpenPage, people: dict[str, User]) -> None:
    text = '"><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>'
    queue = make_queue(
        overridden=True,
        override_limit=1,
        override_by=text,
        override_reason=text,
        override_at=people["ana"].date_joined,
    )
    worker = make_worker(text, queue, host=text)
    execution = running(queue, worker, 1, workflow=text)
    for path in ("/", "/queues/api-calls", "/executions", f"/executions/{execution.id}", "/workers"):
        page = open_page(path)
        page.wait_for_timeout(200)
        assert page.locator("img").count() == 0
        _stays_here(page)


def _stays_here(page: Page) -> None:
    addresses = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {address.split("/")[2] for address in addresses} == {page.url.split("/")[2]}


def test_the_browser_says_durations_as_the_server_does(open_page: OpenPage) -> None:
    page = open_page("/help")
    seconds = [0, 9, 59, 60, 72, 599, 600, 3599, 3600, 11100, 86399, 86400, 187200]
    said = page.evaluate(
        "seconds => import('/static/js/times.js').then(times => seconds.map(times.duration))", seconds
    )
    assert said == [words.duration(length, fine=False) for length in seconds]
