"""What one does to one execution: refused on a stale view, linked, and in the trail."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from queues.engine import operate
from queues.engine.errors import ChangedSince, NotPossible
from queues.engine.operate import Seen
from queues.engine.rerun import BadPayload, run_again
from queues.models import Change, Execution, Rerun, Status

from .conftest import finished, make_execution, make_queue, make_worker, running
from .test_list import body
from .test_list import text as plain

HTMX = {"HX-Request": "true"}
PAGE = Change.Through.PAGE


def said(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found
    return found[1]


def test_an_act_on_what_changed_since_is_refused_and_says_what(jonas: Client) -> None:
    queue = make_queue()
    execution = make_execution(queue)
    seen = said(body(jonas, f"/executions/{execution.id}/cancellation"), "seen")
    assert seen == "queued:0"
    worker = make_worker(queue=queue)
    Execution.objects.filter(id=execution.id).update(
        status="running",
        attempt=1,
        worker_id=worker.id,
        token=uuid.uuid4(),
        claimed_at=execution.enqueued_at,
        slot=1,
    )
    reply = jonas.post(f"/executions/{execution.id}/cancellation", {"seen": seen}, headers=HTMX)
    assert reply.status_code == 409
    assert "it was queued, and is running now. Nothing was done" in plain(reply.content.decode())
    assert said(reply.content.decode(), "seen") == "running:1"
    execution.refresh_from_db()
    assert execution.status == Status.RUNNING
    assert not Change.objects.exists()


def test_another_try_counts_as_a_change() -> None:
    queue = make_queue()
    execution = running(queue, make_worker(queue=queue), 1, attempt=2)
    with pytest.raises(ChangedSince, match="running again, in another attempt"):
        operate.cancel_execution(execution.id, actor="ana", through=PAGE, seen=Seen("running", 1))


@pytest.mark.parametrize("text", ["", "queued", "queued:x", ":", "queued:99999999999"])
def test_a_form_that_says_nothing_of_what_was_seen_acts_on_what_is(text: str) -> None:
    assert Seen.read(text) is None
    assert Seen.read(str(Seen("queued", 3))) == Seen("queued", 3)


def test_acts_are_in_the_trail(jonas: Client, vera: Client) -> None:
    queue = make_queue()
    execution = make_execution(queue)
    jonas.post(f"/executions/{execution.id}/cancellation")
    jonas.post(f"/executions/{execution.id}/cancellation")
    jonas.post(f"/executions/{execution.id}/retry")
    found = Change.objects.filter(subject=str(execution.id)).order_by("id")
    expected = [("cancel", "queued", "cancelled"), ("retry", "cancelled", "queued")]
    assert [(one.kind, one.before, one.after) for one in found] == expected
    trail = body(vera, "/trail")
    assert f'cancelled <a class="mono" href="/executions/{execution.id}">' in trail
    assert ", which was queued" in trail
    assert "retried" in plain(body(vera, f"/queues/{queue.name}"))


def test_an_act_on_an_execution_is_no_change_of_its_queue(ana: Client) -> None:
    """The form of a limit refuses what is stale; acts on executions do not make it so."""
    queue = make_queue()
    execution = make_execution(queue)
    operate.cancel_execution(execution.id, actor="ana", through=PAGE)
    queue.refresh_from_db()
    assert queue.version == 1
    assert ana.get(f"/queues/{queue.name}").status_code == 200


# -- priority ----------------------------------------------------------------------------------------


def test_a_head_start_moves_it_in_its_line(jonas: Client) -> None:
    queue = make_queue()
    first, second = make_execution(queue, waited=50), make_execution(queue, waited=20)
    html = jonas.get(f"/executions/{second.id}/priority", headers=HTMX).content.decode()
    reply = jonas.post(
        f"/executions/{second.id}/priority",
        {"priority": "60", "seen": said(html, "seen"), "reason": "vip"},
        headers=HTMX,
    )
    assert reply.status_code == 204
    order = list(Execution.objects.order_by("place").values_list("id", flat=True))
    assert order == [second.id, first.id]
    change = Change.objects.get()
    assert (change.kind, change.before, change.after, change.reason) == ("priority", "0", "60", "vip")


@pytest.mark.parametrize("priority", ["", "x", "1000001", "-1000001", "1.5"])
def test_a_head_start_that_makes_no_sense_is_refused(jonas: Client, priority: str) -> None:
    execution = make_execution(make_queue())
    reply = jonas.post(f"/executions/{execution.id}/priority", {"priority": priority}, headers=HTMX)
    assert reply.status_code == 422
    assert 'aria-invalid="true"' in reply.content.decode()


def test_what_runs_has_no_place_to_change(jonas: Client) -> None:
    queue = make_queue()
    execution = running(queue, make_worker(queue=queue), 1)
    reply = jonas.post(f"/executions/{execution.id}/priority", {"priority": "5"}, headers=HTMX)
    assert (reply.status_code, "has a place in a line" in reply.content.decode()) == (422, True)
    stale = jonas.post(f"/executions/{execution.id}/priority", {"priority": "5", "seen": "queued:0"}, headers=HTMX)
    assert (stale.status_code, "it was queued" in stale.content.decode()) == (409, True)


# -- run again ---------------------------------------------------------------------------------------


def rerun(client: Client, execution: Execution, **fields: Any) -> Any:
    html = client.get(f"/executions/{execution.id}/rerun", headers=HTMX).content.decode()
    return client.post(f"/executions/{execution.id}/rerun", {"id": said(html, "id"), **fields}, headers=HTMX)


def test_an_edited_payload_runs_as_a_new_execution_linked_to_the_old_one(jonas: Client) -> None:
    queue = make_queue()
    old = finished(queue, make_worker(queue=queue), Status.FAILED, priority=7)
    reply = rerun(jonas, old, payload='{"customer": 8}', reason="wrong customer")
    new = Execution.objects.exclude(id=old.id).get()
    assert reply.headers["HX-Redirect"] == f"/executions/{new.id}"
    assert (new.status, new.workflow, new.queue_id, new.priority) == ("queued", "call_api", queue.id, 7)
    assert "customer&quot;: 8" in body(jonas, f"/executions/{new.id}")
    old.refresh_from_db()
    assert old.status == Status.FAILED
    assert "again, with an edited payload" in plain(body(jonas, f"/executions/{new.id}"))
    assert f'href="/executions/{new.id}"' in body(jonas, f"/executions/{old.id}")
    change = Change.objects.get()
    assert (change.kind, change.subject, change.after) == ("rerun", str(old.id), str(new.id))


def test_the_same_payload_is_kept_to_the_last_digit(jonas: Client) -> None:
    queue = make_queue()
    old = make_execution(queue, payload='{"n":1.00000000000000000001,   "t":"\\u00e9"}')
    html = jonas.get(f"/executions/{old.id}/rerun").content.decode()
    shown = re.search(r"<textarea[^>]*>(.*?)</textarea>", html, re.DOTALL)
    assert shown
    payload = shown[1].replace("&quot;", '"').replace("\n", "\r\n")
    jonas.post(f"/executions/{old.id}/rerun", {"id": said(html, "id"), "payload": payload})
    link = Rerun.objects.get()
    text = Execution.objects.extra(select={"text": "payload::text"}).get(id=link.execution_id).text
    assert (link.edited, text) == (False, '{"n":1.00000000000000000001,   "t":"\\u00e9"}')


@pytest.mark.parametrize(
    "payload",
    ["", "{", "{'a': 1}", "18446744073709551616", '"\\u0000"', "[" * 70 + "]" * 70, '"' + "x" * 300_000 + '"'],
)
def test_a_payload_that_cannot_be_stored_is_shown_again_with_why(jonas: Client, payload: str) -> None:
    execution = make_execution(make_queue())
    reply = rerun(jonas, execution, payload=payload)
    assert reply.status_code == 422
    assert 'id="e-payload"' in reply.content.decode()
    assert Execution.objects.count() == 1


def test_pressed_twice_it_runs_once(jonas: Client) -> None:
    execution = make_execution(make_queue())
    id = uuid.uuid4()
    first = run_again(execution.id, new_id=id, payload="1", actor="ana", through=PAGE)
    again = run_again(execution.id, new_id=id, payload="1", actor="ana", through=PAGE)
    assert (first.created, again.created, Execution.objects.count()) == (True, False, 2)


def test_retry_says_what_it_does_and_is_refused_on_a_stale_view(jonas: Client) -> None:
    queue = make_queue()
    execution = finished(queue, make_worker(queue=queue), Status.FAILED)
    address = f"/executions/{execution.id}/retry"
    html = body(jonas, address)
    for sentence in ("at the end of the line", "steps that it has done are not run again", "It can be undone"):
        assert sentence in html
    form = {"seen": said(html, "seen"), "reason": "network is back"}
    assert jonas.post(address, form, headers=HTMX).status_code == 204
    again = jonas.post(address, form, headers=HTMX)
    assert again.status_code == 409
    assert "it was failed, and is queued now" in again.content.decode()
    assert "there is nothing to retry" in again.content.decode()
    assert list(Change.objects.values_list("kind", "reason")) == [("retry", "network is back")]


def test_sent_again_it_says_that_nothing_new_was_started(jonas: Client) -> None:
    execution = make_execution(make_queue())
    form = {"id": str(uuid.uuid4()), "payload": '{"customer": 8}'}
    address = f"/executions/{execution.id}/rerun"
    jonas.post(address, form)
    assert "Nothing new was started" in jonas.post(address, form, follow=True).content.decode()
    edited = jonas.post(address, form | {"payload": '{"customer": 9}'})
    assert edited.status_code == 422
    assert f"with another payload: it runs as {form['id']}" in edited.content.decode()
    assert Execution.objects.count() == 2


def test_it_is_refused_where_it_cannot_be() -> None:
    queue = make_queue()
    execution, other = make_execution(queue), make_execution(queue)
    with pytest.raises(NotPossible, match="already"):
        run_again(execution.id, new_id=other.id, payload=None, actor="ana", through=PAGE)
    with pytest.raises(BadPayload):
        run_again(execution.id, new_id=uuid.uuid4(), payload="\ud800", actor="ana", through=PAGE)
    type(queue).objects.filter(id=queue.id).update(draining=True, drain_at=execution.enqueued_at)
    with pytest.raises(NotPossible, match="is draining"):
        run_again(execution.id, new_id=uuid.uuid4(), payload=None, actor="ana", through=PAGE)
    assert Execution.objects.count() == 2
