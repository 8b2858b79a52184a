"""Nobody who uses the list loses anything to an update: two changes a second, for ten minutes with `--long`."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from playwright.sync_api import Page, expect

from queues import limits
from queues.models import Change, Execution, Queue
from tests.pages.conftest import make_execution, make_queue, make_worker, running

from .conftest import OpenPage
from .test_live import is_live

PAUSE = 0.5  # seconds between changes
# What must be as it was: scroll, focus, selection, text in the dialog, ticks, the element itself.
LOOK = """() => [
  Math.round(scrollY), document.activeElement?.id || document.activeElement?.getAttribute("href"),
  String(getSelection()), document.querySelector("dialog[open] [name=reason]")?.value ?? null,
  [...document.querySelectorAll("input[name=queue]:checked")].map((box) => box.id).join(),
  document.activeElement === window.used && window.used.isConnected]"""


def focus_a_row(page: Page) -> None:
    page.get_by_role("link", name="q-17", exact=True).focus()


def select_a_text(page: Page) -> None:
    page.evaluate("getSelection().selectAllChildren(document.querySelector('a[title=\"q-15\"]'))")


def type_in_a_dialog(page: Page) -> None:
    page.get_by_role("link", name="Pause… q-16").click()
    page.get_by_label("Reason").fill("half a sente")


def tick_some_rows(page: Page) -> None:
    page.get_by_label("Tick q-14").check()
    page.get_by_label("Tick q-18").check()


def type_a_search(page: Page) -> None:
    page.get_by_label("Filter queues by name").fill("q-")
    expect(page).to_have_url(re.compile("search=q-"))


def point_at_a_row(page: Page) -> None:
    page.get_by_role("link", name="q-17", exact=True).hover()


USES = [focus_a_row, select_a_text, type_in_a_dialog, tick_some_rows, type_a_search, point_at_a_row]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_an_update_takes_nothing_away(
    open_page: OpenPage, request: pytest.FixtureRequest, use: Callable[[Page], None]
) -> None:
    seconds = 600 / len(USES) if request.config.getoption("--long") else 2
    changes = changing([make_queue(f"q-{number:02}", limit=5) for number in range(40)])
    page = open_page()
    is_live(page)
    page.evaluate("scrollTo(0, 600)")
    use(page)
    page.evaluate("window.used = document.activeElement")
    before = page.evaluate(LOOK)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        said = next(changes)
        page.wait_for_timeout(1000 * PAUSE)
        assert page.evaluate(LOOK) == before, said
    expect(page.locator("#live")).to_contain_text("live")


def changing(queues: list[Queue]) -> Iterator[str]:
    """Makes one change after another, of every kind that the list shows."""
    chance = random.Random(4)  # noqa: S311
    worker = make_worker(queue=queues[0])
    for number in count():
        queue = chance.choice(queues)
        kind = number % 5
        if kind == 0:
            limit = chance.randint(1, 12)
            limits.change_limit(
                queue=queue.name, limit=limit, reason="x", actor="ana", through=Change.Through.REST
            )
        elif kind == 1:
            make_execution(queue, waited=500)  # needs attention now, and belongs first
        elif kind == 2:
            Execution.objects.filter(queue=queue, slot=1).delete()
            running(queue, worker, 1)
        elif kind == 3:
            make_queue(f"new-{number}")
        else:
            Execution.objects.filter(queue=queue).delete()
        yield f"change {number} of {queue.name}, kind {kind}"
