"""axe finds nothing on any page: in the light, in the dark, and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect

from queues import limits
from queues.models import Change, Status
from tests.pages.conftest import (
    finished,
    make_bulk_act,
    make_execution,
    make_queue,
    make_schedule,
    make_worker,
    running,
    seconds_ago,
)
from tests.pages.test_access import MATRIX
from tests.pages.test_story import say_progress, tell
from workflows.models import Step

from .conftest import DESK, PHONE, OpenPage
from .test_history import past

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# The box to search in Django's admin has a label of its own, a picture. Colours that change slowly are brought to
# their end first.
RUN = """async ([within, options]) => {
    document.getAnimations().forEach(each => each.finish())
    const found = await axe.run({include: [within], exclude: ["#searchbar"]}, options)
    return found.violations.flatMap(each => each.nodes.map(node =>
        `${each.id}: ${node.html.slice(0, 150)} | ${node.failureSummary.replace(/\\s+/g, " ").slice(0, 250)}`))
}"""
GONE = "was answered with 4"  # what is not there, or makes no sense, has a page, too
WIDER = """within => Math.max(
    document.documentElement.scrollWidth, document.querySelector(within).scrollWidth) > innerWidth"""
OF_COLOURS = ["color-contrast", "link-in-text-block"]
JUST_COLOURS = {"runOnly": OF_COLOURS}
BUT_COLOURS = {"rules": {rule: {"enabled": False} for rule in OF_COLOURS}}
# What a page fetches into itself, and files: no pages of their own.
NO_PAGES = {
    "executions.csv", "executions.jsonl", "executions/suggestions", "executions/<uuid:id>/lines",
    "executions/<uuid:id>/log", "schedules/preview", "charts/<path:name>", "lanes/<path:name>",
    "progress/<path:name>",
}  # fmt: skip
NAME = "billing/api-calls"
TRACEBACK = 'Traceback (most recent call last):\n  File "jobs.py", line 3\n' * 20
ERROR = {"type": "ValueError", "message": "no", "traceback": TRACEBACK}
MORE = (
    "/?groups=1", "/?search=nothing", "/queues/mail", "/queues/billing/unlimited", "/queues/gone", "/go?q=api",
    "/executions?q=status:failed", "/executions?q=status:broken", "/bulk/new?verb=priority&q=status:queued",
    "/history/billing/api-calls?range=7d",
)  # fmt: skip
# What opens on a page, by the name of its link or button.
DIALOGS = {
    "/": ("Pause all…", "Resume all…"),
    f"/queues/{NAME}": ("Change limit…", "Pause…", "Drain…"),
    "/queues/mail": ("Resume…", "Purge what waits…"),
    "/executions/{executions}": ("Run again…",),
    "/executions/{queued}": ("Priority…", "Cancel execution…"),
    "/executions?q=status:failed": ("Retry all…",),
    "/workers": ("Drain…",),
    "/schedules": ("New schedule", "Pause"),
    "/schedules/{schedules}": ("Run now…", "Delete…"),
    "/people": ("Grants… of vera", "Role… of vera"),
}
ADMIN = ("/admin/", "/admin/queues/queue/", "/admin/queues/apikey/add/", "/admin/queues/execution/")


@pytest.fixture
def stage(people: dict[str, User]) -> Iterator[dict[str, str]]:
    """Whatever a page can show; gives what stands in addresses, by their first part."""
    queue = make_queue(NAME)
    worker = make_worker(queue=queue, lease_until=seconds_ago(-600))
    for slot in range(1, 6):
        running(queue, worker, slot)
    for waited in range(12):
        make_execution(queue, waited=waited)
    for status in (Status.COMPLETED, Status.CANCELLED):
        finished(queue, worker, status)
    failed = finished(queue, worker, Status.FAILED, error=json.dumps(ERROR))
    for level in ("debug", "info", "warning", "error"):
        tell(failed, "a line", level=level, fields='{"page": 4, "long": "' + 300 * "x" + '"}')
    tell(failed, "once more", attempt=2)
    say_progress(failed, 0.4, "page 4 of 10")
    make_execution(queue, parent_id=failed.id)
    Step.objects.create(
        execution_id=failed.id, key="fetch", result='{"id": 1}', attempt=1, started_at=seconds_ago(5),
        ended_at=seconds_ago(4),
    )  # fmt: skip
    past(queue)
    make_queue("billing/unlimited", None)
    queued = make_execution(make_queue("mail"))  # paused, so that it stays as it is
    by: dict[str, Any] = {"actor": "ana", "through": Change.Through.REST}
    limits.change_limit(queue=NAME, limit=8, reason="quota", **by)
    limits.pause(queue="mail", reason="failover", **by)
    act = make_bulk_act(search="queue:billing/*", state="running", counted=12, changed=4, left=1)
    act.lefts.create(execution_id=failed.id, why="The execution has completed already.")
    team = Group.objects.create(name="payments")
    yield {
        "executions": str(failed.id), "schedules": str(make_schedule(queue).id), "people": str(people["vera"].pk),
        "teams": str(team.pk), "bulk": str(act.id), "workers": str(worker.id), "queued": str(queued.id),
    }  # fmt: skip
    team.delete()  # groups are not emptied


def addresses(stage: dict[str, str]) -> list[str]:
    found = []
    for method, route in MATRIX:
        if method == "get" and route not in NO_PAGES:
            of = stage.get(route.partition("/")[0], "")
            holes = {"<path:name>": NAME, "<uuid:id>": of, "<int:id>": of, "<str:token>": "x" * 43}
            for hole, value in holes.items():
                route = route.replace(hole, value)
            found.append(f"/{route}")
    return [*found, *MORE]


def findings(page: Page, where: str, within: str = "html", options: dict[str, Any] | None = None) -> list[str]:
    said: list[str] = page.evaluate(RUN, [within, options or {}])
    return [f"{where}: {one}" for one in said]


def checked(page: Page, address: str) -> list[str]:
    page.goto(address, wait_until="load")
    return looked_at(page, address)


def looked_at(page: Page, what: str, within: str = "html") -> list[str]:
    """What is there now: with every rule in the light, by its colours in the dark, by its layout on a phone."""
    found = findings(page, what, within)
    page.emulate_media(color_scheme="dark")
    found += findings(page, f"{what} in the dark", within, JUST_COLOURS)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    found += findings(page, f"{what} on a phone", within, BUT_COLOURS)
    if page.evaluate(WIDER, within):
        found.append(f"{what} is wider than a phone")
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    return found


def test_axe_finds_nothing_on_any_page(open_page: OpenPage, stage: dict[str, str]) -> None:
    page = open_page("/", as_="ana", forgive=GONE)
    page.context.add_init_script(path=AXE)
    found = [one for address in addresses(stage) for one in checked(page, address)]
    assert found == [], "\n".join(found)


def test_axe_finds_nothing_in_the_dialogs(open_page: OpenPage, stage: dict[str, str]) -> None:
    page = open_page("/", as_="ana")
    page.context.add_init_script(path=AXE)
    found = []
    for address, names in DIALOGS.items():
        page.goto(address.format(**stage))
        for name in names:
            button = page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name))
            button.first.click()
            expect(page.locator("#dialog #dialog-title")).to_be_visible()
            found += looked_at(page, f"“{name}” on {address}", "#dialog")
            page.keyboard.press("Escape")
            expect(page.locator("#dialog")).not_to_be_visible()
    assert found == [], "\n".join(found)


def test_axe_finds_nothing_in_what_opens_beside_dialogs(open_page: OpenPage, stage: dict[str, str]) -> None:
    page = open_page("/", as_="ana")
    page.context.add_init_script(path=AXE)
    page.goto("/executions")
    page.get_by_role("combobox", name="Search executions").fill("status:")
    expect(page.get_by_role("option").first).to_be_visible()
    found = looked_at(page, "the suggestions", "#searching")
    page.keyboard.press("Control+k")
    page.keyboard.type("billing")
    expect(page.locator("#go-list").get_by_role("option").first).to_be_visible()
    found += looked_at(page, "the palette", "#palette")
    page.keyboard.press("Escape")
    page.locator("summary", has_text="ana").click()
    found += looked_at(page, "the menu", ".menu")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#dialog #dialog-title")).to_have_text("Keyboard shortcuts")
    found += looked_at(page, "the sheet of keys", "#dialog")
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("address", ["/signin", "/signin/" + "x" * 43, "/queues/gone"])
def test_axe_finds_nothing_before_somebody_has_signed_in(address: str, open_page: OpenPage) -> None:
    page = open_page(address, as_="", forgive=GONE)
    page.context.add_init_script(path=AXE)
    found = checked(page, address)
    assert found == [], "\n".join(found)


def test_axe_finds_nothing_in_the_admin(open_page: OpenPage, stage: dict[str, str]) -> None:
    page = open_page("/admin/", as_="ana", bypass_csp=True, forgive=GONE)  # here axe writes styles
    page.context.add_init_script(path=AXE)
    found = [one for address in ADMIN for one in checked(page, address)]
    assert found == [], "\n".join(found)
