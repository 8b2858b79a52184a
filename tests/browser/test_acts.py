"""Acts, pressed as people press: twice, impatiently, too late, and when the server says no."""

from __future__ import annotations

from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from queues.models import Change, Queue
from tests.pages.conftest import make_queue
from tests.servers import Server

from .conftest import OFFLINE, PASSWORD, REFUSED, OpenPage


def sent(page: Page) -> list[str]:
    """Addresses of what is sent from now on."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url) if request.method == "POST" else None)
    return addresses


def open_pause(page: Page, reason: str = "failover") -> None:
    page.get_by_role("link", name="Pause…").click()
    page.get_by_label("Reason").fill(reason)


def test_a_form_is_sent_once_however_it_is_pressed(open_page: OpenPage) -> None:
    make_queue()
    page = open_page("/queues/api-calls", as_="jonas")
    posts = sent(page)
    open_pause(page)
    page.get_by_role("button", name="Pause", exact=True).dblclick()
    expect(page.locator("#toasts")).to_have_text("api-calls is paused.")
    expect(page.locator("#dialog")).not_to_be_visible()

    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume").evaluate("button => { for (let i = 0; i < 3; i++) button.click() }")
    expect(page.locator("#toasts")).to_contain_text("is running again.")

    open_pause(page)
    for _ in range(4):  # held down: all but the first are repeats
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.locator("#acts")).to_contain_text("Resume…")
    expect(page.locator("#dialog")).not_to_be_visible()
    assert len(posts) == Change.objects.count() == 3


def test_a_plain_form_is_sent_once_too(open_page: OpenPage) -> None:
    page = open_page("/people")
    posts = sent(page)
    page.get_by_label("Name").fill("mia")
    button = page.get_by_role("button", name="Make a link")
    button.evaluate("button => { button.click(); button.click() }")
    expect(page.get_by_label("One-time link")).to_be_visible()
    assert len(posts) == 1


def test_a_refusal_is_said_in_the_dialog_and_what_was_typed_stays(
    open_page: OpenPage, people: dict[str, User]
) -> None:
    make_queue()
    page = open_page("/queues/api-calls", as_="jonas", forgive=f"{OFFLINE}|{REFUSED}")
    open_pause(page, "a long story")
    alert = page.locator("#dialog").get_by_role("alert")
    page.context.set_offline(True)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(alert).to_have_text("The server does not answer; nothing was carried out.")
    expect(alert).to_be_focused()
    page.context.set_offline(False)
    people["jonas"].groups.set([Group.objects.get(name="viewer")])
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(alert).to_contain_text("Your role is viewer, and it may not pause or resume a queue.")
    expect(alert).to_be_focused()
    expect(page.get_by_label("Reason")).to_have_value("a long story")
    expect(page.locator(".toast")).to_have_count(0)
    people["jonas"].groups.set([Group.objects.get(name="operator")])
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator("#toasts")).to_have_text("api-calls is paused.")
    assert Queue.objects.get().paused_reason == "a long story"


def test_whose_session_ended_is_told_that_it_was_not_carried_out(site: Server, open_page: OpenPage) -> None:
    make_queue("billing/eu")
    page = open_page("/queues/billing/eu", as_="jonas", forgive=REFUSED)
    open_pause(page)
    Session.objects.all().delete()
    # The page's own requests may have led to the sign-in page already: then this goes into its empty field.
    page.get_by_role("button", name="Pause", exact=True).or_(page.get_by_label("Password")).click()
    expect(page.get_by_role("alert")).to_contain_text("not carried out")
    page.get_by_label("Name").fill("jonas")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.url}/queues/billing/eu")
    expect(page.locator("#toasts")).to_contain_text("it was not carried out. Nothing was changed; do it again.")
    assert not Queue.objects.get().paused
