"""One act on many executions, in the background."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from queues import bulk_acts
from queues.access import EVERYWHERE, Sight
from queues.bulk_acts import Asked, BadAct, Count
from queues.engine import operate
from queues.models import ApiKey, BulkAct, BulkLeft, Change, Deduplication, Execution, Grant, Status

from .conftest import SignIn, finished, make_bulk_act, make_execution, make_queue, make_worker, running
from .test_list import body
from .test_list import text as plain

HTMX = {"HX-Request": "true"}


def ask(verb: str, search: str = "", **more: Any) -> BulkAct:
    asked = Asked(
        verb, search, more.pop("chosen", None), more.pop("priority", None), more.pop("where", EVERYWHERE)
    )
    at = more.pop("at", timezone.now())
    said = {"actor": "jonas", "through": Change.Through.PAGE, "reason": "broken release", "id": uuid.uuid4()}
    return bulk_acts.ask(asked, counted=bulk_acts.count(asked, at), at=at, **{**said, **more})


def work_through() -> None:
    for _ in range(50):
        if not bulk_acts.work():
            return
    raise AssertionError("it never ends")


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in Execution.objects.values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_acts, "BATCH", 3)


def test_all_that_match_are_cancelled_and_the_others_are_not() -> None:
    eu, mail = make_queue("billing/eu"), make_queue("mail")
    worker = make_worker(queue=eu)
    for _ in range(7):
        make_execution(eu)
    running(eu, worker, 1)
    done = finished(eu, worker)
    make_execution(mail)
    act = ask("cancel", "queue:billing/*")
    assert (act.counted, act.counted_all) == (8, True)
    work_through()
    act.refresh_from_db()
    assert (act.state, act.changed, act.left) == ("done", 8, 0)
    assert statuses() == {"cancelled": 7, "cancelling": 1, "completed": 1, "queued": 1}
    done.refresh_from_db()
    assert done.status == Status.COMPLETED
    assert "jonas (page)" in Execution.objects.filter(status="cancelled")[0].cancel_by


def test_the_trail_has_one_line_for_each_queue() -> None:
    eu, us = make_queue("billing/eu"), make_queue("billing/us")
    for queue in (eu, eu, us):
        make_execution(queue)
    act = ask("cancel", "queue:billing/*")
    work_through()
    said = {
        (one.queue and one.queue.name, one.after, one.actor, one.reason, one.subject)
        for one in Change.objects.all()
    }
    expected = {("billing/eu", "2 executions"), ("billing/us", "1 execution")}
    assert said == {(*one, "jonas", "broken release", str(act.id)) for one in expected}


def test_many_queues_have_one_line_together(monkeypatch: pytest.MonkeyPatch, vera: Client) -> None:
    monkeypatch.setattr(bulk_acts, "MOST_LINES", 2)
    for name in ("a", "b", "c"):
        make_execution(make_queue(name))
    ask("cancel")
    work_through()
    change = Change.objects.get()
    assert (change.queue, change.after) == (None, "3 executions on 3 queues")
    assert "3 executions on 3 queues</a>" in body(vera, "/trail")


def test_failed_ones_are_retried_once_each_even_when_they_fail_again() -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    for _ in range(5):
        finished(queue, worker, Status.FAILED)
    act = ask("retry", "status:failed")
    bulk_acts.work()
    assert statuses() == {"failed": 2, "queued": 3}
    Execution.objects.filter(status="queued").update(status="failed", finished_at=timezone.now())
    work_through()
    act.refresh_from_db()
    assert (act.changed, statuses()) == (5, {"failed": 3, "queued": 2})


def test_priority_moves_each_in_its_line() -> None:
    queue = make_queue()
    old, new = make_execution(queue, waited=100, priority=10), make_execution(queue, waited=50)
    ask("priority", priority=60)
    work_through()
    for one, moved in ((old, 50), (new, 60)):
        before = one.place
        one.refresh_from_db()
        assert (one.priority, (before - one.place).total_seconds()) == (60, moved)


def test_a_selection_means_those_and_no_others() -> None:
    queue = make_queue()
    chosen = tuple(make_execution(queue).id for _ in range(4))
    other = make_execution(queue)
    act = ask("cancel", chosen=chosen)
    assert act.counted == 4
    work_through()
    other.refresh_from_db()
    assert (statuses(), other.status) == ({"cancelled": 4, "queued": 1}, "queued")


def test_what_came_after_it_was_asked_is_left_alone() -> None:
    queue = make_queue()
    make_execution(queue, waited=10)
    asked_at = timezone.now()
    late = make_execution(queue, waited=-1)
    ask("cancel", at=asked_at)
    work_through()
    late.refresh_from_db()
    assert (late.status, statuses()) == ("queued", {"cancelled": 1, "queued": 1})


def test_a_killed_batch_did_nothing_and_is_done_again() -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    act = ask("cancel")
    bulk_acts.work()

    class Killed(Exception):
        pass

    def killed() -> None:
        with transaction.atomic():
            bulk_acts.work()
            raise Killed

    with pytest.raises(Killed):
        killed()
    act.refresh_from_db()
    assert (act.changed, statuses()) == (3, {"cancelled": 3, "queued": 2})
    work_through()
    act.refresh_from_db()
    assert (act.changed, act.left, act.state) == (5, 0, "done")


def test_what_is_not_possible_any_more_is_listed_with_why(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    quick, gone, _ = (make_execution(queue) for _ in range(3))
    lock_all = operate.lock_all

    def too_late(ids: Iterable[uuid.UUID]) -> list[operate.Locked]:
        Execution.objects.filter(id=quick.id).update(status="completed", finished_at=timezone.now())
        Execution.objects.filter(id=gone.id).delete()
        return lock_all(ids)

    monkeypatch.setattr(operate, "lock_all", too_late)
    act = ask("cancel")
    work_through()
    act.refresh_from_db()
    assert (act.changed, act.left) == (1, 2)
    left = dict(BulkLeft.objects.values_list("execution_id", "why"))
    assert left[quick.id].startswith("The execution has completed already")
    assert left[gone.id].startswith("There is no execution")


def test_of_those_with_the_same_key_only_one_is_retried() -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    failed = sorted((finished(queue, worker, Status.FAILED) for _ in range(2)), key=lambda one: one.id)
    for one in failed:
        Deduplication.objects.create(
            execution_id=one.id, queue=queue, workflow="call_api", key="k", holds=one is failed[0]
        )
    act = ask("retry", "status:failed")
    work_through()
    act.refresh_from_db()
    assert (act.changed, act.left, statuses()) == (1, 1, {"queued": 1, "failed": 1})
    assert "One at a time" in BulkLeft.objects.get().why


def test_a_retry_takes_all_keys_and_then_locks_all_executions_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results that are handed in meanwhile lock in that order: each could wait for the other."""
    queue = make_queue()
    worker = make_worker(queue=queue)
    failed = sorted((finished(queue, worker, Status.FAILED) for _ in range(3)), key=lambda one: one.id)
    last = failed[-1].id
    Deduplication.objects.create(execution_id=last, queue=queue, workflow="call_api", key="k", holds=True)
    locks: list[list[uuid.UUID]] = []
    lock_all, take_key_back = operate.lock_all, operate.take_key_back

    def key(id: uuid.UUID) -> None:
        locks.append([id])
        take_key_back(id)

    def executions(ids: Iterable[uuid.UUID]) -> list[operate.Locked]:
        locks.append(sorted(ids))
        return lock_all(locks[-1])

    monkeypatch.setattr(operate, "take_key_back", key)
    monkeypatch.setattr(operate, "lock_all", executions)
    ask("retry", "status:failed")
    work_through()
    assert locks == [[last], [one.id for one in failed]]
    assert statuses() == {"queued": 3}


def test_it_can_be_stopped_and_what_was_done_stays_done() -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    act = ask("cancel")
    bulk_acts.work()
    bulk_acts.stop(act.id, actor="ana")
    work_through()
    act.refresh_from_db()
    assert (act.state, act.stopped_by, act.changed) == ("stopped", "ana", 3)
    assert Change.objects.get().after == "3 executions"


def test_several_take_turns() -> None:
    queue = make_queue()
    for _ in range(9):
        make_execution(queue)
        finished(queue, make_worker(queue=queue), Status.FAILED)
    first, second = ask("cancel"), ask("retry", "status:failed")
    bulk_acts.work()
    bulk_acts.work()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.changed, second.changed) == (3, 3)


def test_one_that_cannot_go_on_keeps_no_other_from_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    make_execution(make_queue())
    broken, sound = ask("priority", priority=5), ask("cancel")
    real = bulk_acts._batch

    def batch(act: BulkAct) -> None:
        if act.id == broken.id:
            raise RuntimeError("one bad row")
        real(act)

    monkeypatch.setattr(bulk_acts, "_batch", batch)
    for _ in range(4):
        bulk_acts.work()
    sound.refresh_from_db()
    broken.refresh_from_db()
    assert (sound.state, broken.state, statuses()) == ("done", "waiting", {"cancelled": 1})


def test_queues_that_one_may_not_operate_are_out_of_reach() -> None:
    mine, other = make_queue("billing/eu"), make_queue("mail")
    make_execution(mine)
    hidden = make_execution(other)
    act = ask("cancel", where=Sight(("billing/*",)), chosen=(hidden.id,))
    assert act.counted == 0
    ask("cancel", where=Sight(("billing/*",)))
    work_through()
    hidden.refresh_from_db()
    assert (hidden.status, statuses()) == ("queued", {"queued": 1, "cancelled": 1})


def test_the_same_request_again_is_the_same_act() -> None:
    make_execution(make_queue())
    id = uuid.uuid4()
    assert ask("cancel", id=id).id == ask("cancel", id=id).id
    assert BulkAct.objects.count() == 1
    others: list[dict[str, Any]] = [
        {"verb": "retry"},
        {"reason": "another one"},
        {"chosen": (id,)},
        {"actor": "ana"},
    ]
    for other in others:
        with pytest.raises(BadAct, match="Nothing new was begun"):
            ask(**{"verb": "cancel", "id": id, **other})
    moved = ask("priority", priority=5)
    with pytest.raises(BadAct, match="another priority"):
        ask("priority", id=moved.id, priority=6)


def test_it_stops_when_whoever_asked_may_not_do_it_any_more(people: dict[str, User], vera: Client) -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    act = ask("cancel")
    bulk_acts.work()
    people["jonas"].groups.set([Group.objects.get(name="viewer")])
    work_through()
    act.refresh_from_db()
    assert (act.state, act.changed, statuses()) == ("stopped", 3, {"cancelled": 3, "queued": 2})
    assert (act.stopped_by, act.stop_reason) == ("polos", "jonas may not cancel an execution any more")
    assert "jonas may not cancel an execution any more" in body(vera, f"/bulk/{act.id}")


def test_it_stops_when_a_grant_or_a_key_is_taken_away(people: dict[str, User]) -> None:
    for name in ("billing/eu", "billing/us", "mail"):
        make_execution(make_queue(name))
    both = [
        Grant.objects.create(user=people["nils"], pattern=name, level="operate") for name in ("billing/*", "mail")
    ]
    act = ask("cancel", actor="nils", where=Sight(("billing/*", "mail")))
    both[0].delete()
    key = ApiKey.objects.create(id="k", name="deploys", scope="full", secret_hash="")
    by_key = ask("cancel", actor="key deploys", through=Change.Through.REST)
    ApiKey.objects.filter(id=key.id).update(revoked_at=timezone.now())
    work_through()
    act.refresh_from_db()
    by_key.refresh_from_db()
    assert act.stop_reason == "nils may not cancel an execution on billing/eu and 1 more any more"
    assert (by_key.stop_reason, statuses()) == ("key deploys may not cancel an execution any more", {"queued": 3})


def test_only_queues_that_it_is_about_can_stop_it(people: dict[str, User]) -> None:
    ticked, *_ = [make_execution(make_queue(name)) for name in ("billing/eu", "billing/us", "mail")]
    both = [
        Grant.objects.create(user=people["nils"], pattern=name, level="operate") for name in ("billing/*", "mail")
    ]
    who: dict[str, Any] = {"actor": "nils", "where": Sight(("billing/*", "mail"))}
    acts = [ask("cancel", chosen=(ticked.id,), **who), ask("cancel", search="queue:billing/u*", **who)]
    other = ask("cancel", search="queue:mail", **who)
    both[1].delete()
    work_through()
    for act in (*acts, other):
        act.refresh_from_db()
    assert [(act.state, act.stop_reason) for act in acts] == [("done", "")] * 2
    assert other.stop_reason == "nils may not cancel an execution on mail any more"
    assert statuses() == {"cancelled": 2, "queued": 1}


def test_a_purge_goes_on_for_who_may_purge_that_queue_only(people: dict[str, User], sign_in: SignIn) -> None:
    make_queue("mail")
    make_execution(make_queue("billing/eu"))
    Grant.objects.create(user=people["nils"], pattern="billing/*", level="operate")
    form = {"confirm": "billing/eu", "reason": "x", "at": timezone.now().isoformat(), "act": str(uuid.uuid4())}
    assert sign_in("nils").post("/purges/billing/eu", form).status_code == 302
    work_through()
    assert (BulkAct.objects.get().state, statuses()) == ("done", {"cancelled": 1})


def test_viewers_read_who_may(vera: Client) -> None:
    assert "Operators act on many executions" in body(vera, "/bulk")
    act = make_bulk_act()
    assert "ana can stop it, and whoever may do this on every queue" in body(vera, f"/bulk/{act.id}")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("explode"), "There is no act"),
        (Asked("priority"), "needs a priority"),
        (Asked("cancel", priority=3), "nothing else does"),
        (Asked("priority", priority=10**7), "A priority is"),
        (Asked("cancel", "status:x"), "not a status"),
        (Asked("cancel", chosen=()), "chosen executions"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: Asked, said: str) -> None:
    with pytest.raises(BadAct) as bad:
        bulk_acts.count(asked, timezone.now())
    assert said in bad.value.detail


def test_counting_ends_and_says_that_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    monkeypatch.setattr(bulk_acts, "COUNT_AT_ONCE", 2)
    counted = bulk_acts.count(Asked("cancel"), timezone.now(), seconds=0)
    assert (counted, str(counted)) == (Count(2, False), "at least 2 executions")
    assert bulk_acts.count(Asked("cancel", "status:failed"), timezone.now()) == Count(0, True)


# -- the pages ---------------------------------------------------------------------------------------


def fields(html: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html):
        found.setdefault(name, []).append(value)
    return found


def test_the_dialog_says_how_many_what_happens_and_what_it_costs(jonas: Client) -> None:
    queue = make_queue()
    for _ in range(4):
        make_execution(queue)
    address = "/bulk/new?" + urlencode({"verb": "cancel", "q": "queue:api-calls"})
    html = jonas.get(address, headers=HTMX).content.decode()
    said = plain(html)
    for part in ("4 executions can be cancelled", "It can be undone", "It takes about 1 s", "Cancel 4 executions"):
        assert part in said, part
    missing = jonas.post("/bulk/new", fields(html) | {"reason": ""}, headers=HTMX)
    assert (missing.status_code, "Say why" in missing.content.decode()) == (422, True)
    reply = jonas.post("/bulk/new", fields(html) | {"reason": "release"}, headers=HTMX)
    act = BulkAct.objects.get()
    assert reply.headers["HX-Redirect"] == f"/bulk/{act.id}"
    assert (act.actor, act.counted, act.search) == ("jonas", 4, "queue:api-calls")
    jonas.post("/bulk/new", fields(html) | {"reason": "release"}, headers=HTMX)  # pressed twice
    assert BulkAct.objects.count() == 1


def test_ticked_ones_are_meant_even_if_none_is(jonas: Client) -> None:
    queue = make_queue()
    one, _ = make_execution(queue), make_execution(queue)
    html = jonas.get(f"/bulk/new?verb=cancel&id={one.id}", headers=HTMX).content.decode()
    jonas.post("/bulk/new", fields(html) | {"reason": "x"})
    work_through()
    assert statuses() == {"cancelled": 1, "queued": 1}
    nothing = jonas.get("/bulk/new?verb=cancel&id=nonsense", headers=HTMX)
    assert "about 1 to 10,000 chosen" in nothing.content.decode()


def test_the_page_shows_how_far_it_is_and_what_was_left(jonas: Client, vera: Client) -> None:
    queue = make_queue()
    for _ in range(5):
        make_execution(queue)
    act = ask("cancel", "queue:api-calls")
    assert "Waits to begin" in body(jonas, f"/bulk/{act.id}")
    bulk_acts.work()
    html = body(jonas, f"/bulk/{act.id}")
    assert 'value="60"' in html
    assert "3 executions cancelled or asked to stop, of 5." in plain(html)
    assert ">Stop…<" in html
    assert ">Stop…<" not in body(vera, f"/bulk/{act.id}")
    jonas.post(f"/bulk/{act.id}/stop")
    assert "Stopped by jonas" in plain(body(jonas, f"/bulk/{act.id}"))
    assert f"/bulk/{act.id}" in body(vera, "/bulk")
    assert f'href="/bulk/{act.id}">3 executions</a>' in body(vera, "/trail")


@pytest.mark.parametrize("query", ["", "verb=explode", "verb=cancel&q=status:x"])
def test_an_address_that_makes_no_sense_is_refused(jonas: Client, query: str) -> None:
    assert jonas.get(f"/bulk/new?{query}").status_code in (404, 422)


def test_only_who_may_act_sees_boxes_and_buttons(jonas: Client, vera: Client) -> None:
    make_execution(make_queue())
    for client, there in ((jonas, True), (vera, False)):
        html = body(client, "/executions")
        assert ('id="tick-all"' in html) is there
        assert ("Cancel all…" in html) is there
