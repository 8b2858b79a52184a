"""The list of queues, as somebody uses it while it changes."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from queues import limits
from queues.models import Change, Favourite, Queue
from tests.pages.conftest import make_execution, make_queue

from .conftest import OpenPage
from .test_live import is_live


def shows(*queues: Queue) -> Callable[[str | bytes], bool]:
    """Whether a frame tells the server that the page shows these and no others."""
    return lambda frame: json.loads(frame).get("ids") == [queue.id for queue in queues]


def first_row(page: Page) -> str | None:
    return page.locator("tbody tr").first.get_attribute("id")


def test_a_frame_about_many_queues_arrives(open_page: OpenPage) -> None:
    for number in range(60):
        make_queue(f"q-{number:02}")
    page = open_page("about:blank")
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    page.goto("/")
    is_live(page)
    assert max(received) > 20_000


def test_rows_that_are_held_still_say_how_many_changes_wait_and_come_when_asked(open_page: OpenPage) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    page = open_page()
    is_live(page)
    page.locator(f"#q-{one.id}").hover()
    make_execution(two, waited=500)
    make_queue("ccc")
    button = page.get_by_role("button", name="2 changes waiting")  # bbb belongs first, and ccc is new
    expect(button).to_be_visible()
    assert first_row(page) == f"q-{one.id}"
    page.locator(f"#q-{one.id}").hover()
    page.keyboard.press("u")
    expect(page.locator("tbody tr").first).to_have_id(f"q-{two.id}")
    expect(button).not_to_be_visible()


def test_rows_move_by_themselves_when_nobody_uses_them_any_more(open_page: OpenPage) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    page = open_page()
    is_live(page)
    page.locator(f"#q-{one.id}").hover()
    make_execution(two, waited=500)
    expect(page.locator("#held")).to_have_text("1 change waiting")
    page.mouse.move(5, 5)
    expect(page.locator("tbody tr").first).to_have_id(f"q-{two.id}")
    expect(page.locator("#held")).not_to_be_visible()


def test_what_waits_never_undoes_a_search(open_page: OpenPage) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    page = open_page()
    is_live(page)
    page.locator(f"#q-{one.id}").hover()
    make_execution(two, waited=500)
    expect(page.locator("#held")).to_have_text("1 change waiting")
    page.keyboard.press("/")
    page.keyboard.type("aaa")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#held")).not_to_be_visible()
    page.mouse.move(5, 5)
    page.wait_for_timeout(1200)
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_dialog_holds_the_rows_below_it(open_page: OpenPage) -> None:
    one, two = make_queue("aaa"), make_queue("bbb")
    page = open_page()
    is_live(page)
    page.get_by_role("link", name="Pause… aaa").click()
    page.mouse.move(5, 5)
    make_execution(two, waited=500)
    expect(page.locator("#held")).to_have_text("1 change waiting")
    assert first_row(page) == f"q-{one.id}"
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    expect(page.locator("tbody tr").first).to_have_id(f"q-{two.id}")


def test_a_favourite_is_kept_with_one_click(open_page: OpenPage, people: dict[str, User]) -> None:
    make_queue("mail")
    page = open_page(as_="vera")
    page.evaluate("window.stayed = true")
    star = page.get_by_role("button", name="Favourite mail")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_be_focused()
    expect(page.locator("#count-favourites")).to_have_text("1")
    assert Favourite.objects.get().user == people["vera"]
    star.press("Enter")
    expect(star).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("window.stayed")


def test_what_was_just_swapped_in_answers_at_once(open_page: OpenPage) -> None:
    make_queue("mail")
    page = open_page(as_="vera")
    page.evaluate("window.stayed = true")
    # Pressed again in the moment in which the fresh button appears, sooner than any hand.
    page.evaluate("""() => new MutationObserver((_, observer) => {
        const star = document.querySelector("[aria-label='Favourite mail'][aria-pressed=true]");
        if (star) { observer.disconnect(); star.click(); }
    }).observe(document.body, { childList: true, subtree: true, attributes: true })""")
    star = page.get_by_role("button", name="Favourite mail")
    star.click()
    expect(page.locator("#count-favourites")).to_have_text("0")
    expect(star).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("window.stayed")


def test_groups_unfold_in_place_and_stay_so_in_the_address(open_page: OpenPage) -> None:
    for name in ("billing/eu", "billing/us", "mail"):
        make_queue(name)
    page = open_page(as_="vera")
    page.evaluate("window.stayed = true")
    page.get_by_label("groups").check()
    expect(page.locator("tbody tr")).to_have_count(2)
    fold = page.get_by_role("button", name="billing/…")
    fold.click()
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(fold).to_be_focused()
    assert page.evaluate("window.stayed")
    assert "groups=1" in page.url and "open=billing" in page.url
    page.get_by_label("Filter queues by name").press_sequentially("us")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    page.get_by_label("Filter queues by name").fill("")
    expect(page.locator("tbody tr")).to_have_count(4)


def test_a_groups_figures_follow_though_its_queues_are_folded(open_page: OpenPage) -> None:
    one = make_queue("billing/eu")
    make_queue("billing/us")
    page = open_page("about:blank", as_="vera")
    with page.expect_websocket() as opened:
        page.goto("/")
    is_live(page)
    with opened.value.expect_event("framesent", shows()):
        page.get_by_label("groups").check()
    group = page.locator("tr.group")
    expect(group.locator("[data-label=waiting]")).to_have_text("0")
    make_execution(one)
    page.mouse.move(5, 5)
    expect(group.locator("[data-label=waiting]")).to_have_text("1")
    expect(group.locator(".c-state")).to_have_text("1 attention")


def test_a_queue_that_a_search_brings_back_shows_what_happened_meanwhile(open_page: OpenPage) -> None:
    queue = make_queue("aaa", limit=5)
    other = make_queue("bbb", limit=5)
    page = open_page("about:blank", as_="vera")
    with page.expect_websocket() as opened:
        page.goto("/")
    is_live(page)
    search = page.get_by_label("Filter queues by name")
    with opened.value.expect_event("framesent", shows(other)):
        search.fill("bbb")
    for name in ("aaa", "bbb"):
        limits.change_limit(queue=name, limit=7, reason="x", actor="ana", through=Change.Through.REST)
    expect(page.locator(f"#q-{other.id}-gauge")).to_have_text("0/7")
    search.fill("")
    expect(page.locator(f"#q-{queue.id}-gauge")).to_have_text("0/7")
    limits.change_limit(queue="aaa", limit=8, reason="x", actor="ana", through=Change.Through.REST)
    expect(page.locator(f"#q-{queue.id}-gauge")).to_have_text("0/8")
    expect(page.locator("#live")).to_have_text(re.compile("^live"))


def test_a_selection_is_paused_and_stays_ticked_while_the_list_changes(open_page: OpenPage) -> None:
    one, two, three = (make_queue(name) for name in ("aaa", "bbb", "ccc"))
    page = open_page(as_="jonas")
    is_live(page)
    page.get_by_label("Tick aaa").check()
    page.get_by_label("Tick ccc").click(modifiers=["Shift"])
    expect(page.locator("#picked")).to_contain_text("3 ticked")
    page.get_by_label("Tick ccc").uncheck()
    make_execution(three, waited=500)  # ccc belongs first now, but somebody is choosing
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    expect(page.locator("#held")).to_have_text("1 change waiting")
    page.keyboard.press("u")
    expect(page.locator("tbody tr").first).to_have_id(f"q-{three.id}")
    expect(page.get_by_label("Tick bbb")).to_be_checked()
    page.keyboard.press("p")
    expect(page.get_by_role("heading", name="Pause 2 queues")).to_be_visible()
    page.get_by_label("Reason").fill("failover")
    page.get_by_role("button", name="Pause 2", exact=True).click()
    expect(page.locator("#toasts")).to_have_text("2 queues are paused.")
    expect(page.locator("#picked")).not_to_be_visible()
    expect(page.get_by_role("link", name="Resume… aaa")).to_be_visible()
    for queue in (one, two, three):
        queue.refresh_from_db()
    assert (one.paused, two.paused, three.paused) == (True, True, False)


def test_ticking_works_without_javascript(open_page: OpenPage) -> None:
    make_queue("aaa")
    make_queue("bbb")
    page = open_page(as_="jonas", scripts=False)
    page.get_by_label("Tick bbb").check()
    page.get_by_role("button", name="Pause ticked…").click()
    page.get_by_label("Reason").fill("failover")
    page.get_by_role("button", name="Pause 1").click()
    expect(page.get_by_text("1 queue is paused.")).to_be_visible()
    expect(page.get_by_text("paused by jonas: “failover”")).to_be_visible()
    assert "csrf" not in page.url


def test_the_tab_says_how_many_queues_need_attention(open_page: OpenPage) -> None:
    queue = make_queue("aaa")
    page = open_page("/?show=attention", as_="vera")
    is_live(page)
    expect(page).to_have_title("Queues · Polos")
    waits = make_execution(queue)  # nobody serves it
    expect(page).to_have_title("(1) Queues · Polos")
    expect(page.locator("#icon")).to_have_attribute("href", re.compile("attention"))
    expect(page.locator("#count-attention")).to_have_text("1")
    expect(page.get_by_role("link", name="aaa", exact=True)).to_be_visible()
    waits.delete()
    expect(page).to_have_title("Queues · Polos")
    expect(page.get_by_text("No queue needs attention.")).to_be_visible()


def test_nothing_of_the_list_is_wider_than_a_phone(open_page: OpenPage) -> None:
    for name in ("a-name/" + "x" * 190, "a-name/" + "y" * 190):
        make_queue(name)
    for path in ("/?groups=1", "/?groups=1&open=a-name/", "/go?q=name", "/shortcuts", "/pauses?all=1"):
        page = open_page(path, phone=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page = open_page("/", phone=True)
    page.get_by_role("link", name="Go to or do").click()
    expect(page.locator("#go-list [role=option]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_stay_text_in_groups_dialogs_and_the_palette(open_page: OpenPage) -> None:
    hostile = '"><img src=x onerror=alert(1)>/'
    for name in (hostile + "a", hostile + "b"):
        make_queue(name)
    page = open_page("/?groups=1")
    page.get_by_role("link", name=f"Pause… {hostile}").click()
    expect(page.get_by_role("heading", name=f"Pause {hostile}… (2 queues)")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="A queue, an id").press_sequentially("onerror")
    expect(page.get_by_role("option", name=hostile + "a")).to_be_visible()
    assert page.locator("img").count() == 0


def test_a_pause_that_ends_counts_down_on_its_row(open_page: OpenPage) -> None:
    queue = make_queue("aaa")
    until = timezone.now() + dt.timedelta(minutes=30, seconds=2)
    limits.pause(queue="aaa", reason="failover", actor="ana", through=Change.Through.REST, until=until)
    page = open_page(as_="vera")
    expect(page.locator(f"#q-{queue.id}-source")).to_have_text("resumes in 30 min · paused by ana: “failover”")
    limits.pause(queue="aaa", reason="failover", actor="ana", through=Change.Through.REST, until=until)
    is_live(page)
    expect(page.locator(f"#q-{queue.id}-source")).to_contain_text("resumes in 29 min")
