"""The ten things that an operator comes for, each from finding it to seeing that it is done."""

from __future__ import annotations

import json
import re

import psycopg
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from queues import access
from queues.models import Change, Execution, Grant, Queue, Status, Worker
from tests.pages.conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago
from tests.servers import eventually

from .conftest import OpenPage
from .test_history import middle_of, past


def test_1_why_something_waits_is_found_down_to_who_holds_the_slot(open_page: OpenPage) -> None:
    queue = make_queue(limit=1)
    holder = running(queue, make_worker(queue=queue), 1, workflow="hog", claimed_at=seconds_ago(240))
    for waited in (90, 80):
        mine = make_execution(queue, waited=waited)
    page = open_page(as_="vera")
    row = page.get_by_role("row", name="api-calls")
    expect(row).to_contain_text("backlogged")
    row.get_by_role("link", name="api-calls", exact=True).click()
    expect(page.locator(".sentence")).to_contain_text("Full: 1 of 1 running, 2 waiting")
    page.locator(f"#w-{mine.id} a").click()
    sentence = page.locator("#sentence")
    expect(sentence).to_contain_text("place 2 in line")
    expect(sentence).to_contain_text("Full: 1 of 1 running. Held longest by hog (4 min")
    sentence.get_by_role("link", name="hog").click()
    expect(page).to_have_url(re.compile(str(holder.id)))
    expect(page.locator("#sentence")).to_contain_text("in slot 1")


def test_2_a_limit_is_changed_on_the_list_without_leaving_it(open_page: OpenPage) -> None:
    queue = make_queue()
    page = open_page()
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name="Change limit… of api-calls").click()
    page.get_by_label("Executions at once").fill("8")
    expect(page.locator("#consequence")).to_have_text("Nothing waits, so nothing starts at once.")
    page.get_by_role("button", name="Change limit", exact=True).click()
    expect(page.get_by_text("Say why, in a few words")).to_be_visible()
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_label("Reason").fill("provider raised quota")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_have_text("The limit of api-calls is now 8.")
    expect(page.locator("#dialog")).not_to_be_visible()
    expect(page.locator(f"#q-{queue.id}-gauge")).to_have_text("0/8")
    assert page.evaluate("window.stayed")


def test_3_a_queue_is_paused_for_half_an_hour_on_a_phone_and_resumed(open_page: OpenPage) -> None:
    make_queue()
    page = open_page(as_="jonas", phone=True)
    page.get_by_role("link", name="Pause… api-calls").click()
    page.get_by_label("Reason").fill("failover")
    page.get_by_label("Paused").select_option("for 30 minutes")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text(re.compile(r"resumes in (30|29) min.* · paused by jonas: “failover”"))).to_be_visible()
    page.get_by_role("link", name="Resume… api-calls").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#toasts")).to_contain_text("api-calls is running again.")
    assert not Queue.objects.get().paused


def test_4_failures_are_found_by_their_error_and_all_retried(open_page: OpenPage) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    for message in ("421 too many connections", "421 too many connections", "no such customer"):
        error = json.dumps({"type": "SMTPError", "message": message})
        finished(queue, worker, Status.FAILED, error=error, finished_at=seconds_ago(2))
    page = open_page("/executions", as_="jonas")
    page.keyboard.press("/")
    page.keyboard.type('status:failed error:"too many connections"')
    page.keyboard.press("Enter")
    expect(page.locator("#list tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Retry all…").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 executions can be retried")
    page.get_by_label("Reason").fill("the provider is back")
    page.get_by_role("button", name="Retry 2 executions").click()
    expect(page).to_have_url(re.compile("/bulk/"))
    expect(page.locator("#progress")).to_contain_text("2 executions")
    expect(page.locator("#progress")).to_contain_text("Done")
    assert Execution.objects.filter(status=Status.QUEUED).count() == 2


def test_5_an_execution_is_looked_into_and_run_again_with_another_payload(open_page: OpenPage) -> None:
    queue = make_queue()
    error = {"type": "ValueError", "message": "no such customer", "traceback": "Traceback: line 3"}
    failed = finished(queue, make_worker(queue=queue), Status.FAILED, error=json.dumps(error))
    page = open_page(f"/executions/{failed.id}", as_="jonas")
    outcome = page.locator("#outcome")
    expect(outcome).to_contain_text("no such customer")
    outcome.get_by_text("Traceback", exact=True).click()
    expect(outcome.get_by_text("line 3")).to_be_visible()
    page.get_by_role("link", name="Run again…").click()
    payload = page.get_by_role("textbox", name="Payload")
    payload.fill('{"customer": ')
    page.get_by_role("button", name="Run again").click()
    expect(payload).to_have_attribute("aria-invalid", "true")
    payload.fill('{"customer": 8}')
    page.get_by_role("button", name="Run again").click()
    expect(page.locator("#payload")).to_contain_text('"customer": 8')
    expect(page.locator("#status")).to_have_text("queued")
    assert str(failed.id) not in page.url


def test_6_the_slot_of_a_dead_worker_is_released(open_page: OpenPage) -> None:
    queue = make_queue(limit=1)
    dead = make_worker("worker-a", queue, lease_until=seconds_ago(-1))
    held = running(queue, dead, 1, max_attempts=3)
    with psycopg.connect(
        str(settings.POLOS_DSN)
    ) as sweep:  # keeps the server's own off, which passes over locked rows
        sweep.execute("select from queues_worker for no key update")
        assert eventually(lambda: dead.lease_until < timezone.now(), seconds=5)
        page = open_page("/queues/api-calls", as_="jonas")
        page.get_by_role("link", name="Release… slot 1").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("lease is over")
        dialog.get_by_role("button", name="Release").click()
        waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
        assert eventually(lambda: sweep.execute(waits).fetchone() == (True,), seconds=20)
    expect(page.locator("#toasts")).to_contain_text("The slot is free")
    expect(page.locator(f"#w-{held.id}")).to_be_visible()
    assert Execution.objects.get().status == Status.QUEUED


def test_7_a_worker_is_drained(open_page: OpenPage) -> None:
    queue = make_queue()
    running(queue, make_worker(queue=queue), 1)
    page = open_page("/workers", as_="jonas")
    page.get_by_role("link", name="Drain… worker-a").click()
    expect(page.get_by_role("dialog")).to_contain_text("finishes the 1 that it runs")
    page.get_by_label("Reason").fill("new kernel")
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(page.get_by_role("row", name="worker-a")).to_contain_text("draining")
    expect(page.locator("#worker-changes")).to_contain_text("“new kernel”")
    assert Worker.objects.get().state == Worker.State.DRAINING


def test_8_a_queue_is_drained_and_what_waits_on_it_purged(open_page: OpenPage) -> None:
    queue = make_queue()
    for _ in range(3):
        make_execution(queue)
    page = open_page("/queues/api-calls", as_="jonas")
    page.get_by_role("link", name="Drain…").click()
    page.get_by_label("Reason").fill("moves to another cluster")
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator(".sentence")).to_contain_text("new executions are refused")
    page.get_by_role("link", name="Purge what waits…").click()
    page.get_by_label("Reason").fill("sent elsewhere")
    page.get_by_label("Type api-calls to confirm").fill("api-call")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_label("Type api-calls to confirm")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Type api-calls to confirm").fill("api-calls")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text("3 executions cancelled").first).to_be_visible(timeout=10_000)
    assert Execution.objects.filter(status=Status.CANCELLED).count() == 3
    assert Queue.objects.get().draining


def test_9_the_history_is_zoomed_to_an_incident_and_tells_the_change_behind_it(open_page: OpenPage) -> None:
    queue = make_queue()
    past(queue)
    for minutes, after, reason in ((40, "2", "be gentle"), (5, "5", "calm again")):
        Change.objects.create(
            queue=queue, at=seconds_ago(minutes * 60), kind=Change.Kind.OVERRIDE, before="none", after=after,
            actor="oskar", reason=reason, through=Change.Through.REST,
        )  # fmt: skip
    page = open_page("/queues/api-calls?range=1h&lanes=30", as_="vera")
    expect(page.locator("#scrub")).to_be_enabled()
    page.mouse.move(**middle_of(page, "waiting", 0.3))
    page.mouse.down()
    page.mouse.move(**middle_of(page, "waiting", 0.5), steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=.*&to=.*&lanes=30"))
    time = r"(\d\d? \w{3}, )?\d\d:\d\d:\d\d"  # with its day where that is not today, as in the hour after midnight
    expect(page.locator("#moment")).to_have_text(re.compile(f"^{time} to {time}$"))
    page.get_by_text("1 change of limit or pause in this time").click()
    expect(page.locator(".marks")).to_contain_text("oskar changed the override none → 2")
    expect(page.locator(".marks")).to_contain_text("“be gentle”")
    other = open_page(page.url, as_="jonas")  # the address can be sent to somebody
    assert other.locator("#history [aria-current]").count() == 0
    expect(other.locator(".marks")).to_contain_text("be gentle")
    page.go_back()
    expect(page.locator("#history [aria-current]")).to_have_text("1 h")


def test_10_a_teammate_is_given_a_grant_and_has_it(open_page: OpenPage, people: dict[str, User]) -> None:
    make_queue("billing/eu")
    page = open_page("/people", as_="ana")
    page.get_by_role("link", name="Grants… of vera").click()
    page.get_by_label("What").select_option("operate")
    page.get_by_label("Queues: a name, or a pattern with *").fill("billing/*")
    page.get_by_role("button", name="Grant", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Granted: operate billing/*.")
    expect(page.get_by_role("row", name="vera")).to_contain_text("operate billing/*")
    assert Grant.objects.get().user == people["vera"]
    theirs = open_page("/queues/billing/eu", as_="vera")
    expect(theirs.get_by_role("link", name="Pause…")).to_be_visible()
    expect(theirs.get_by_role("link", name="Change limit…")).not_to_be_visible()
    assert access.may(people["vera"], access.Action.PAUSE, "billing/eu")
