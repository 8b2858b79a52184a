"""The pages of schedules: what they show, and what people do there."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from queues.models import Change, Execution, Grant, Queue, Status
from workflows.models import Arrival, Schedule, Tick, Trigger, Workflow

from .conftest import SignIn, finished, make_queue, make_schedule, make_worker

HTMX = {"HX-Request": "true"}
CRON = {"workflow": "call_api", "name": "", "kind": "cron", "cron": "30 3 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def schedule() -> Schedule:
    queue = make_queue()
    make_worker(queue=queue)
    return make_schedule(queue)


def body(client: Client, path: str, **query: str) -> str:
    response = client.get(path, query)
    assert response.status_code == 200
    return response.content.decode()


def said(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def post(client: Client, path: str, **fields: Any) -> Any:
    return client.post(path, {name: value for name, value in fields.items() if value is not None})


def announced(response: Any) -> str:
    assert response.status_code == 204, response.content.decode()
    return str(json.loads(response.headers["HX-Trigger"])["polos:done"]["text"])


def tick(schedule: Schedule, **columns: Any) -> Tick:
    return Tick.objects.create(schedule=schedule, **{"at": timezone.now(), "outcome": "started", **columns})


def test_an_empty_page_teaches(vera: Client, jonas: Client) -> None:
    assert "@workflow(schedule={" in body(vera, "/schedules") and "as an operator" in body(vera, "/schedules")
    assert 'href="/schedules/new"' in body(jonas, "/schedules")
    assert "No schedule matches." in body(vera, "/schedules", search="x")


def test_the_list_shows_when_what_and_what_came_of_it(schedule: Schedule, vera: Client) -> None:
    queue = make_queue("other")
    execution: Execution = finished(queue, make_worker("w"), Status.FAILED)
    tick(schedule, execution_id=execution.id)
    tick(schedule, outcome="skipped", note="the one before had not finished")
    html = body(vera, "/schedules")
    text = said(html)
    assert "nightly" in text and "30 3 * * *" in text and "At 03:30 every day" in text
    assert f'href="/executions/{execution.id}" title="failed"' in html
    assert 'title="skipped: the one before had not finished"' in html
    assert f'<time datetime="{schedule.next_at.isoformat() if schedule.next_at else ""}" data-clock>' in html
    assert "Run now" not in text and "Pause" not in text


def test_a_paused_one_says_by_whom_and_why_and_one_without_a_worker_that(
    schedule: Schedule, jonas: Client
) -> None:
    post(jonas, f"/schedules/{schedule.id}/pause", reason="wrong numbers")
    assert "paused by jonas: “wrong numbers”" in said(body(jonas, "/schedules"))
    queue = make_queue("lonely")
    Schedule.objects.filter(id=make_schedule(queue, "lonely").id).update(workflow="nobody")
    assert "no worker" in said(body(jonas, "/schedules", search="lonely"))
    assert "No worker serves this workflow now" in said(
        body(jonas, f"/schedules/{Schedule.objects.get(name='lonely').id}")
    )


def test_one_schedule_has_a_page_with_its_next_and_last_ticks_and_its_trail(
    schedule: Schedule, vera: Client
) -> None:
    tick(schedule, outcome="missed", note="4 ticks until then")
    text = said(body(vera, f"/schedules/{schedule.id}"))
    assert "Starts call_api on api-calls" in text and "4 ticks until then" in text
    assert "ana made the schedule nightly" in text and "only the latest" in text
    assert vera.get(f"/schedules/{uuid4()}").status_code == 404


def test_a_schedule_is_made_on_the_page(schedule: Schedule, jonas: Client) -> None:
    path = "/schedules/new"
    response = jonas.post(path, CRON | {"name": "morning", "payload": '{"a": 1}', "overlap": "skip"}, headers=HTMX)
    assert announced(response) == "The schedule morning is made."
    made = Schedule.objects.get(name="morning")
    assert (made.cron, made.timezone, made.payload, made.overlap) == (
        "30 3 * * *",
        "Europe/Berlin",
        '{"a": 1}',
        "skip",
    )
    assert Change.objects.get(subject="morning").actor == "jonas"
    without = post(jonas, path, **CRON | {"kind": "every", "every": "5", "unit": "60"})
    assert without.headers["Location"] == f"/schedules/{Schedule.objects.get(every=300).id}"


def test_a_single_time_is_meant_in_the_time_zone(schedule: Schedule, jonas: Client) -> None:
    post(jonas, "/schedules/new", **CRON | {"kind": "at", "at": "2031-07-01T12:00", "name": "once"})
    assert Schedule.objects.get(name="once").at == dt.datetime(2031, 7, 1, 10, tzinfo=dt.UTC)
    assert 'value="2031-07-01T12:00"' in body(jonas, f"/schedules/{Schedule.objects.get(name='once').id}/change")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cron": "61 * * * *"}, "The minute is not valid"),
        ({"cron": ""}, "When should it tick?"),
        ({"kind": "every", "every": ""}, "How often should it tick?"),
        ({"kind": "at", "at": "tomorrow"}, "Choose a day and a time of day"),
        ({"kind": "at", "at": "2020-01-01T00:00"}, "This time is in the past"),
        ({"timezone": "Berlin"}, "There is no time zone"),
        ({"workflow": "unknown"}, "No worker has registered a workflow named “unknown” yet"),
        ({"workflow": ""}, "Which workflow should start?"),
        ({"queue": "nowhere"}, "There is no queue named “nowhere”"),
        ({"payload": "{"}, "The payload is not valid JSON"),
        ({"name": "nightly"}, "There is a schedule named “nightly” already"),
    ],
)
def test_what_makes_no_sense_is_told_beside_what_was_typed(
    schedule: Schedule, jonas: Client, fields: dict[str, str], told: str
) -> None:
    response = jonas.post("/schedules/new", CRON | fields, headers=HTMX)
    assert response.status_code == 422
    assert told in said(response.content.decode())
    assert Schedule.objects.count() == 1


def test_the_next_five_ticks_are_shown_while_one_types(vera: Client) -> None:
    html = body(vera, "/schedules/preview", **CRON)
    assert html.count("<li>") == 5 and "At 03:30 every day, Europe/Berlin." in said(html)
    assert "five fields" in body(vera, "/schedules/preview", kind="cron", cron="30 3")
    assert body(vera, "/schedules/preview", kind="every", every="90", unit="1").count("<li>") == 5
    assert "in the past" in body(vera, "/schedules/preview", kind="at", at="2020-01-01T00:00")
    assert "How often" in body(vera, "/schedules/preview", kind="every", every="")
    assert vera.get("/schedules/preview").status_code == 200


def test_it_is_changed_paused_resumed_run_and_deleted(schedule: Schedule, jonas: Client) -> None:
    path = f"/schedules/{schedule.id}"
    changed = CRON | {"cron": "0 5 * * *", "name": "nightly", "expected_version": "1"}
    assert announced(jonas.post(f"{path}/change", changed, headers=HTMX)) == "The schedule nightly is changed."
    stale = jonas.post(f"{path}/change", changed, headers=HTMX)
    assert stale.status_code == 409
    told = "jonas changed it from 30 3 * * * to 0 5 * * * Europe/Berlin since you opened this"
    assert told in said(stale.content.decode())
    assert jonas.post(f"{path}/pause", {"reason": ""}, headers=HTMX).status_code == 422
    assert announced(jonas.post(f"{path}/pause", {"reason": "x"}, headers=HTMX)) == "nightly is paused."
    assert "Paused" in said(body(jonas, f"{path}/pause"))
    assert announced(jonas.post(f"{path}/pause", {"resume": "1"}, headers=HTMX)) == "nightly ticks again."
    asked = body(jonas, f"{path}/runs")
    assert "one execution of call_api on" in said(asked)
    run = {"execution": re.findall(r'name="execution" value="([^"]+)"', asked)[0]}
    for _ in range(2):  # pressed twice it starts once
        assert announced(jonas.post(f"{path}/runs", run, headers=HTMX)) == "nightly has started an execution."
    assert Execution.objects.count() == 1
    assert "run by jonas" in said(body(jonas, path))
    assert "jonas changed the schedule nightly 30 3 * * * → 0 5 * * *" in said(body(jonas, path))
    assert "What it started goes on" in said(body(jonas, f"{path}/deletion"))
    assert jonas.post(f"{path}/deletion", {"expected_version": "1"}, headers=HTMX).status_code == 409
    assert Schedule.objects.exists()
    assert jonas.post(f"{path}/deletion", headers=HTMX).status_code == 204
    assert not Schedule.objects.exists()
    trail = said(body(jonas, "/trail", kind="schedule"))
    for act in ("made", "changed 30 3 * * * → 0 5 * * *", "paused", "resumed", "nightly ran", "deleted"):
        assert act in trail


def test_what_code_declares_is_not_edited_here(schedule: Schedule, jonas: Client) -> None:
    Schedule.objects.filter(id=schedule.id).update(declared=True, place="jobs.py:3")
    assert "Edit" not in said(body(jonas, "/schedules")) and "in code" in said(body(jonas, "/schedules"))
    refused = jonas.post(f"/schedules/{schedule.id}/change", CRON | {"name": "nightly"}, headers=HTMX)
    assert refused.status_code == 422 and "declared in code (jobs.py:3)" in said(refused.content.decode())
    jonas.post(f"/schedules/{schedule.id}/deletion")
    assert Schedule.objects.exists()


def test_hostile_text_is_shown_as_text(schedule: Schedule, ana: Client) -> None:
    text = "<script>alert(1)</script>"
    Schedule.objects.filter(id=schedule.id).update(
        paused=True, paused_at=timezone.now(), next_at=None, paused_by=text, paused_reason=text,
        payload=json.dumps(text), place=text, declared_by=text, declared=True,
    )  # fmt: skip
    tick(schedule, note=text, by=text, outcome="missed")
    for path in ("/schedules", f"/schedules/{schedule.id}", f"/schedules/{schedule.id}/change", "/trail"):
        assert text not in body(ana, path)


def test_a_long_list_goes_by_pages(schedule: Schedule, vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.views.schedules.PAGE_SIZE", 2)
    for name in ("a", "b", "c"):
        make_schedule(Queue.objects.get(name="api-calls"), name)
    first = body(vera, "/schedules")
    assert re.findall(r'<th scope="row"><a [^>]*>(\w+)', first) == ["a", "b"]
    assert re.findall(r'<th scope="row"><a [^>]*>(\w+)', body(vera, "/schedules", after="b")) == ["c", "nightly"]


def test_it_is_reached_from_nav_palette_and_keys(jonas: Client, vera: Client) -> None:
    assert 'href="/schedules"' in body(vera, "/help")
    assert "New schedule…" in jonas.get("/go", {"q": "schedule"}, headers=HTMX).content.decode()
    found = vera.get("/go", {"q": "schedule"}, headers=HTMX).content.decode()
    assert "Schedules" in found and "New schedule…" not in found


def test_a_grant_shows_and_lets_manage_only_what_is_on_its_queues(
    sign_in: SignIn, people: dict[str, User]
) -> None:
    people["otto"] = User.objects.create_user("otto")
    Grant.objects.create(user=people["otto"], pattern="billing/*", level="operate", granted_by="ana")
    make_schedule(make_queue("mail"), "mails")
    queue = make_queue("billing/eu")
    Workflow.objects.create(id="bill", queue=queue, registered_at=timezone.now())
    Schedule.objects.filter(id=make_schedule(queue, "bills").id).update(workflow="bill")
    otto = sign_in("otto")
    assert "bills" in said(body(otto, "/schedules")) and "mails" not in said(body(otto, "/schedules"))
    form = body(otto, "/schedules/new")
    assert '<option value="bill">' in form and "call_api" not in form and '<option value="mail">' not in form
    hidden = otto.post("/schedules/new", CRON | {"name": "x"}, headers=HTMX)
    assert "No worker has registered a workflow named “call_api” yet" in said(hidden.content.decode())
    hidden = otto.post("/schedules/new", CRON | {"workflow": "bill", "queue": "mail"}, headers=HTMX)
    assert "There is no queue named “mail”" in said(hidden.content.decode())
    assert announced(otto.post("/schedules/new", CRON | {"workflow": "bill"}, headers=HTMX)) == (
        "The schedule bill is made."
    )


def test_an_execution_says_which_schedule_started_it(schedule: Schedule, vera: Client) -> None:
    execution: Execution = finished(Queue.objects.get(name="api-calls"), make_worker("w"))
    started = tick(schedule, execution_id=execution.id)
    assert "Started by the schedule nightly , due" in said(body(vera, f"/executions/{execution.id}"))
    Tick.objects.filter(id=started.id).update(by="jonas")
    assert "Run by jonas from the schedule nightly" in said(body(vera, f"/executions/{execution.id}"))


def test_triggers_are_listed_with_what_waits(vera: Client, sign_in: SignIn, people: dict[str, User]) -> None:
    assert "trigger_on_event" in body(vera, "/schedules")
    queue = make_queue("mail")
    Workflow.objects.create(id="ship", queue=queue, registered_at=timezone.now())
    trigger = Trigger.objects.create(
        workflow="ship", topic="orders/new", batch_size=5, batch_timeout=90, declared_at=timezone.now()
    )
    Arrival.objects.create(trigger=trigger, event_id=uuid4(), at=timezone.now())
    text = said(body(vera, "/schedules"))
    assert "orders/new ship on mail batches of 5, or fewer after 1 min 30 s 1" in text
    people["otto"] = User.objects.create_user("otto")
    Grant.objects.create(user=people["otto"], pattern="billing/*", level="operate", granted_by="ana")
    assert "orders/new" not in body(sign_in("otto"), "/schedules")
