"""The admin: limits through the same verbs as the pages, keys shown once, executions only to look at."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queues import limits
from queues.models import ApiKey, Change, Execution, Grant, PersonChange, Queue, Worker

pytestmark = pytest.mark.django_db(transaction=True)
BACKEND = "django.contrib.auth.backends.ModelBackend"


def person(name: str, role: str | None, **more: Any) -> Client:
    user = User.objects.create_user(name, **more)
    if role:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


@pytest.fixture
def ana() -> Client:
    return person("ana", "admin", is_staff=True)


@pytest.fixture
def queue() -> Queue:
    row = Queue.objects.create(name="billing/eu", declared_limit=5, declared_by="w: a.py:1")
    row.refresh_from_db()
    return row


def page(queue: Queue) -> str:
    return f"/admin/queues/queue/{queue.pk}/change/"


def post(client: Client, queue: Queue, **said: Any) -> Any:
    data = {
        "override_limit": "", "override_reason": "", "override_until_0": "", "override_until_1": "",
        "paused_reason": "", "paused_until_0": "", "paused_until_1": "", "expected_version": queue.version,
        "changes-TOTAL_FORMS": 0, "changes-INITIAL_FORMS": 0,
    }  # fmt: skip
    return client.post(page(queue), data | said, follow=True)


def post_list(client: Client, limit: str, version: int, queue: Queue) -> Any:
    data = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": queue.pk,
        "form-0-override_limit": limit,
        "form-0-override_limit_version": version,
        "_save": "Save",
    }
    return client.post("/admin/queues/queue/", data, follow=True)


def told(queue: Queue) -> list[tuple[str, ...]]:
    return list(queue.changes.order_by("id").values_list("kind", "before", "after", "actor", "reason", "through"))


# -- who -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "operator", None])
def test_only_admins_may_do_anything(queue: Queue, role: str | None) -> None:
    ben = person("ben", role, is_staff=True)
    assert ben.get(page(queue)).status_code == 403
    assert post(ben, queue, override_limit="1").status_code == 403
    assert ben.get("/admin/queues/apikey/add/").status_code == 403
    assert told(queue) == []


def test_an_admin_who_is_no_superuser_gets_every_page(ana: Client, queue: Queue) -> None:
    for place in ("", "queues/queue/", "queues/execution/", "queues/worker/", "queues/apikey/", "auth/user/"):
        assert ana.get(f"/admin/{place}").status_code == 200, place


def test_the_roles_stay_as_they_are_and_teams_are_made(ana: Client) -> None:
    viewer = Group.objects.get(name="viewer")
    ana.post(f"/admin/auth/group/{viewer.pk}/change/", {"name": "boss"})
    ana.post(f"/admin/auth/group/{viewer.pk}/delete/", {"post": "yes"})
    ana.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": viewer.pk, "post": "yes"})
    assert set(Group.objects.values_list("name", flat=True)) == {"viewer", "operator", "admin"}
    ana.post("/admin/auth/group/add/", {"name": "payments"})
    team = Group.objects.get(name="payments")
    ana.post(f"/admin/auth/group/{team.pk}/change/", {"name": "billing team"})
    assert PersonChange.objects.filter(kind="team").count() == 2
    team.delete()


def test_an_admin_who_is_no_superuser_makes_none_and_touches_none(ana: Client) -> None:
    root, ben = User.objects.create_superuser("root"), User.objects.create_user("ben")
    assert ana.post(f"/admin/auth/user/{root.pk}/change/", {"username": "root"}).status_code == 403
    assert ana.post(f"/admin/auth/user/{root.pk}/password/", {"password1": "x"}).status_code == 403
    assert ana.post(f"/admin/auth/user/{root.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {
        "username": "ben",
        "is_active": "on",
        "is_superuser": "on",
        "groups": Group.objects.get(name="viewer").pk,
    }
    assert ana.post(f"/admin/auth/user/{ben.pk}/change/", form).status_code == 302
    ben.refresh_from_db()
    assert not ben.is_superuser
    assert PersonChange.objects.filter(about="ben", kind="role", subject="viewer", after="member").exists()


def test_grants_are_given_and_taken_by_the_same_verbs(ana: Client) -> None:
    ben = User.objects.create_user("ben")
    ana.post("/admin/queues/grant/add/", {"user": ben.pk, "pattern": "billing/*", "level": "see"})
    grant = Grant.objects.get()
    ana.post(f"/admin/queues/grant/{grant.pk}/change/", {"level": "tune"})
    ana.post(f"/admin/queues/grant/{grant.pk}/delete/", {"post": "yes"})
    assert not Grant.objects.exists()
    told = PersonChange.objects.order_by("id").values_list("before", "after", "through")
    assert list(told) == [("", "see", "admin"), ("see", "tune", "admin"), ("tune", "", "admin")]


def test_a_grant_to_tune_opens_those_queues_and_no_others(queue: Queue) -> None:
    other = Queue.objects.create(name="mail")
    tim = person("tim", None, is_staff=True)
    Grant.objects.create(user=User.objects.get(username="tim"), pattern="billing/*", level="tune", granted_by="a")
    listed = tim.get("/admin/queues/queue/").content.decode()
    assert "billing/eu" in listed and "mail" not in listed
    assert tim.get(page(queue)).status_code == 200
    assert tim.get(page(other)).status_code == 302  # Django's answer for what is not there
    post(tim, other, override_limit="1")
    assert told(other) == []
    post(tim, queue, override_limit="1")
    assert len(told(queue)) == 1
    assert tim.get("/admin/auth/user/").status_code == 403


# -- the form --------------------------------------------------------------------------------------


def test_an_override_is_set_with_a_reason_and_recorded(ana: Client, queue: Queue) -> None:
    reply = post(ana, queue, override_limit="3", override_reason="slow bank")
    assert reply.status_code == 200
    assert told(queue) == [("override", "none", "3", "ana", "slow bank", "admin")]


def test_zero_means_that_nothing_starts_and_says_so(ana: Client, queue: Queue) -> None:
    post(ana, queue, override_limit="0")
    assert told(queue)[0][2] == "0"
    assert "0: nothing starts" in ana.get(page(queue)).content.decode()


def test_unlimited_is_an_override_and_empty_ends_it(ana: Client, queue: Queue) -> None:
    post(ana, queue, unlimited="on")
    queue.refresh_from_db()
    assert queue.effective_limit is None
    post(ana, queue)
    assert [change[1:3] for change in told(queue)] == [("none", "unlimited"), ("unlimited", "none")]


def test_a_pause_with_an_end_is_set_and_ended(ana: Client, queue: Queue) -> None:
    until = timezone.now() + dt.timedelta(days=1)
    post(
        ana, queue, paused="on", paused_reason="bank closed",
        paused_until_0=until.strftime("%Y-%m-%d"), paused_until_1="12:00:00",
    )  # fmt: skip
    queue.refresh_from_db()
    assert (queue.paused, queue.paused_by, queue.paused_reason) == (True, "ana", "bank closed")
    assert queue.paused_until is not None
    post(ana, queue)
    assert [change[1:3] for change in told(queue)] == [("running", "paused"), ("paused", "running")]


def test_limit_and_pause_change_together(ana: Client, queue: Queue) -> None:
    post(ana, queue, override_limit="1", paused="on")
    assert [change[0] for change in told(queue)] == ["override", "pause"]


def test_saving_without_a_change_records_nothing(ana: Client, queue: Queue) -> None:
    post(ana, queue)
    assert told(queue) == []


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"override_limit": "-1"}, "greater than or equal to 0"),
        ({"override_limit": "1000001"}, "less than or equal to 1000000"),
        ({"override_limit": "1.5"}, "whole number"),
        ({"override_limit": "3", "unlimited": "on"}, "not both"),
        ({"override_limit": "3", "override_until_0": "2020-01-01", "override_until_1": "12:00"}, "in the past"),
        ({"override_until_0": "2099-01-01", "override_until_1": "12:00"}, "nothing to end"),
        ({"expected_version": "0"}, "Somebody changed this queue"),
    ],
)
def test_what_makes_no_sense_is_said_in_the_form(
    ana: Client, queue: Queue, said: dict[str, str], sentence: str
) -> None:
    assert sentence in post(ana, queue, **said).content.decode()
    assert told(queue) == []


def test_a_race_that_only_the_lock_sees_is_refused_too(
    ana: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = limits.change_limit

    def late(**said: Any) -> Queue:
        real(queue=queue.name, limit=9, reason="", actor="ben", through=Change.Through.PAGE)
        return real(**said)

    monkeypatch.setattr(limits, "change_limit", late)
    assert "changed the override from none to 9" in post(ana, queue, override_limit="3").content.decode()
    queue.refresh_from_db()
    assert queue.override_limit != 3


def test_the_history_and_the_declared_limit_are_only_shown(ana: Client, queue: Queue) -> None:
    post(ana, queue, override_limit="3", override_reason="slow bank")
    queue.refresh_from_db()
    post(ana, queue, override_limit="3", override_reason="slow bank", declared_limit="99", effective_limit="99")
    queue.refresh_from_db()
    assert queue.declared_limit == 5
    shown = ana.get(page(queue)).content.decode()
    assert "slow bank" in shown
    assert 'name="declared_limit"' not in shown
    assert "changes-0-reason" not in shown


# -- the list --------------------------------------------------------------------------------------


def test_a_limit_is_edited_in_the_list(ana: Client, queue: Queue) -> None:
    shown = ana.get("/admin/queues/queue/").content.decode()
    assert 'name="form-0-override_limit"' in shown
    assert f'name="form-0-override_limit_version" value="{queue.version}"' in shown
    post_list(ana, "2", queue.version, queue)
    queue.refresh_from_db()
    assert queue.effective_limit == 2
    post_list(ana, "", queue.version, queue)
    queue.refresh_from_db()
    assert (queue.overridden, queue.effective_limit) == (False, 5)
    assert [change[1:] for change in told(queue)] == [
        ("none", "2", "ana", "", "admin"),
        ("2", "none", "ana", "", "admin"),
    ]


def test_a_stale_list_is_refused(ana: Client, queue: Queue) -> None:
    limits.change_limit(queue=queue.name, limit=4, reason="", actor="ben", through=Change.Through.PAGE)
    assert "Somebody changed this queue" in post_list(ana, "2", queue.version, queue).content.decode()
    assert len(told(queue)) == 1


def test_a_row_that_was_not_edited_is_left_alone(ana: Client, queue: Queue) -> None:
    limits.change_limit(queue=queue.name, limit=None, reason="", actor="ben", through=Change.Through.PAGE)
    post_list(ana, "", queue.version, queue)
    queue.refresh_from_db()
    assert (queue.overridden, queue.override_limit) == (True, None)


def test_queues_are_neither_made_nor_deleted_here(ana: Client, queue: Queue) -> None:
    assert ana.get("/admin/queues/queue/add/").status_code == 403
    assert ana.post(f"/admin/queues/queue/{queue.pk}/delete/", {"post": "yes"}).status_code == 403


# -- executions and workers ------------------------------------------------------------------------


def execution(queue: Queue, workflow: str = "charge", **more: Any) -> Execution:
    now = timezone.now()
    return Execution.objects.create(
        queue=queue, workflow=workflow, status="queued", place=now, enqueued_at=now, **more
    )


def test_executions_are_found_and_filtered_but_never_changed(ana: Client, queue: Queue) -> None:
    one, other = execution(queue), execution(Queue.objects.create(name="mail"), "send")
    for asked in (f"q={one.id}", "q=char", "queue=billing/eu"):
        shown = ana.get(f"/admin/queues/execution/?{asked}").content.decode()
        assert str(one.id) in shown
        assert str(other.id) not in shown
    assert "1 execution" not in ana.get("/admin/queues/execution/?status=failed").content.decode()
    place = f"/admin/queues/execution/{one.id}/change/"
    assert ana.get(place).status_code == 200
    assert ana.post(place, {"status": "completed"}).status_code == 403
    assert ana.get("/admin/queues/execution/add/").status_code == 403


def test_chosen_executions_are_acted_on_through_the_dialog_of_the_pages(ana: Client, queue: Queue) -> None:
    one = execution(queue)
    chosen = {"action": "cancel", "_selected_action": [str(one.id)]}
    reply = ana.post("/admin/queues/execution/", chosen)
    assert reply.headers["Location"] == f"/bulk/new?verb=cancel&id={one.id}"
    assert "1 execution</b> can be cancelled" in ana.get(reply.headers["Location"]).content.decode()


def test_the_big_table_is_never_counted_whole(ana: Client, queue: Queue) -> None:
    execution(queue)
    with CaptureQueriesContext(connection) as seen:
        ana.get("/admin/queues/execution/")
    about = [query["sql"] for query in seen if 'FROM "queues_execution"' in query["sql"]]
    assert "LIMIT 10000" in about[0]
    assert not any("COUNT(" in sql for sql in about)


def test_payloads_are_escaped_and_tokens_stay_secret(ana: Client, queue: Queue) -> None:
    token = uuid.uuid4()
    row = execution(queue, payload='{"x": "<script>alert(1)</script>"}', token=token)
    shown = ana.get(f"/admin/queues/execution/{row.id}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown
    assert str(token) not in shown


def test_workers_are_only_shown(ana: Client) -> None:
    now = timezone.now()
    worker = Worker.objects.create(name="w1", registered_at=now, heartbeat_at=now, lease_until=now)
    assert "w1" in ana.get("/admin/queues/worker/").content.decode()
    place = f"/admin/queues/worker/{worker.id}/change/"
    assert ana.get(place).status_code == 200
    assert ana.post(place, {"name": "w2"}).status_code == 403


# -- keys ------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_never_again(ana: Client) -> None:
    made = ana.post(
        "/admin/queues/apikey/add/", {"name": "jobs", "scope": "work", "queue_patterns": "billing/*\nmail"}
    )
    secret = re.search(r"polos_[0-9a-f]+_[0-9a-f]+", made.content.decode())
    key = ApiKey.objects.get()
    assert secret is not None
    assert (key.name, key.scope, key.queue_patterns, key.created_by) == (
        "jobs", "work", ["billing/*", "mail"], "ana",
    )  # fmt: skip
    for place in ("/admin/queues/apikey/", f"/admin/queues/apikey/{key.id}/change/", "/admin/"):
        shown = ana.get(place).content.decode()
        assert secret[0] not in shown
        assert key.secret_hash not in shown


def test_the_first_key_warns_which_workers_lose_access(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queues.keys.warn_on_first_key", lambda: ["laptop"])
    assert "laptop" in ana.get("/admin/queues/apikey/add/").content.decode()
    made = ana.post("/admin/queues/apikey/add/", {"name": "jobs", "scope": "full", "queue_patterns": ""})
    assert "laptop" in made.content.decode()


@pytest.mark.parametrize(
    ("name", "patterns", "sentence"), [("jobs", "", "already exists"), ("new", "<b>", "is not a pattern")]
)
def test_a_bad_key_is_refused_in_the_form(ana: Client, name: str, patterns: str, sentence: str) -> None:
    ana.post("/admin/queues/apikey/add/", {"name": "jobs", "scope": "full", "queue_patterns": ""})
    again = ana.post("/admin/queues/apikey/add/", {"name": name, "scope": "full", "queue_patterns": patterns})
    assert sentence in again.content.decode()
    assert ApiKey.objects.count() == 1


def test_a_key_is_revoked_and_cannot_be_edited(ana: Client) -> None:
    ana.post("/admin/queues/apikey/add/", {"name": "jobs", "scope": "full", "queue_patterns": ""})
    key = ApiKey.objects.get()
    assert ana.post(f"/admin/queues/apikey/{key.id}/change/", {"name": "x"}).status_code == 403
    reply = ana.post("/admin/queues/apikey/", {"action": "revoke", "_selected_action": key.id}, follow=True)
    assert "Revoked: jobs" in reply.content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None


# -- the look --------------------------------------------------------------------------------------


def test_the_policy_against_inline_code_holds_on_every_page(ana: Client, queue: Queue) -> None:
    row = execution(queue)
    for place in (
        "", "queues/queue/", f"queues/queue/{queue.pk}/change/", "queues/execution/",
        f"queues/execution/{row.id}/change/", "queues/worker/", "queues/apikey/", "queues/apikey/add/",
        "auth/user/",
    ):  # fmt: skip
        reply = ana.get(f"/admin/{place}")
        html = reply.content.decode()
        assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
        assert "style=" not in html, place
        assert not re.search(r"<style|\son[a-z]+=|<script(?![^>]*(?:src=|application/json))", html), place
        assert "admin-polos/admin.css" in html
