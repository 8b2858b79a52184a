"""The parts of an execution's page: what happened, its log, its progress, its family, how to run one like it."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import subprocess
import uuid

import pytest
from django.test import Client
from django.utils import timezone

from queues import details, reads
from queues.access import Sight
from queues.again import again
from queues.models import Execution, Holding, Queue, Status, Wait
from queues.story import Kind, Story, story
from workflows.models import Journal, LogLine, Step

from .conftest import finished, make_execution, make_queue, make_worker, running, seconds_ago
from .test_list import body, text

NOW = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)


def tell(
    execution: Execution, *texts: str, fields: str | None = None, level: str = "info", attempt: int = 1
) -> None:
    journal, _ = Journal.objects.get_or_create(execution_id=execution.id, defaults={"token": uuid.uuid4()})
    for said in texts:
        journal.lines += 1
        LogLine.objects.create(
            execution_id=execution.id, number=journal.lines, attempt=attempt, level=level, at=timezone.now(),
            text=said, fields=fields,
        )  # fmt: skip
    journal.save()


def say_progress(execution: Execution, value: float | None, words: str = "") -> None:
    journal, _ = Journal.objects.get_or_create(execution_id=execution.id, defaults={"token": uuid.uuid4()})
    Journal.objects.filter(pk=journal.pk).update(
        progress=value, progress_text=words, progress_at=timezone.now(), progress_attempt=1
    )


# -- what happened -------------------------------------------------------------------------------------


def at(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def claim(start: float, end: float | None, outcome: str) -> reads.Attempt:
    return reads.Attempt(1, "w", uuid.uuid4(), 1, at(start), None if end is None else at(end), outcome, error=None)


def told(execution: Execution, *claims: reads.Attempt, waits: tuple[Wait, ...] = ()) -> Story:
    return story(execution, claims, waits, at(100))


def execution(status: Status = Status.RUNNING, **columns: object) -> Execution:
    return Execution(status=status, enqueued_at=NOW, place=NOW, **columns)


def kinds(story: Story) -> list[tuple[str, float, float | None]]:
    return [
        (each.kind, (each.start - NOW).total_seconds(), (each.end - NOW).total_seconds() if each.end else None)
        for each in story.stretches
    ]


def test_a_simple_run_stood_in_line_and_ran() -> None:
    found = told(execution(Status.COMPLETED, finished_at=at(15)), claim(5, 15, "completed"))
    assert kinds(found) == [(Kind.LINE, 0, 5), (Kind.RAN, 5, 15)]
    assert [(bar.kind, bar.x, bar.width) for bar in found.bars] == [
        ("line", "0.0", "333.3"), ("completed", "333.3", "666.7"),
    ]  # fmt: skip
    assert found.legend == [("line", "in line"), ("completed", "ran, completed")]


def test_a_failed_try_backs_off_and_a_lost_one_stands_in_line_again() -> None:
    found = told(execution(), claim(0, 1, "failed"), claim(11, 12, "lost"), claim(20, None, "running"))
    assert kinds(found) == [
        (Kind.RAN, 0, 1), (Kind.BACKOFF, 1, 11), (Kind.RAN, 11, 12), (Kind.LINE, 12, 20), (Kind.RAN, 20, None),
    ]  # fmt: skip
    assert [each.number for each in found.stretches if each.kind == Kind.RAN] == [1, 2, 3]


def test_a_wait_ends_when_what_it_was_for_is_there_and_going_on_is_no_new_try() -> None:
    wait = Wait(key="child", kind="executions", since=at(2), over_at=at(30), executions=[uuid.uuid4()])
    other = Wait(key="later", kind="time", since=at(50), over_at=at(60))
    found = told(execution(resumes=1), claim(0, 2, "waiting"), claim(35, None, "running"), waits=(wait, other))
    assert kinds(found) == [(Kind.RAN, 0, 2), (Kind.WAITED, 2, 30), (Kind.LINE, 30, 35), (Kind.RAN, 35, None)]
    assert found.stretches[1].waits == (wait,)
    assert (found.stretches[3].number, found.stretches[3].resumed) == (1, True)


@pytest.mark.parametrize(
    ("one", "claims", "last"),
    [
        (execution(Status.QUEUED), [], (Kind.LINE, 0, None)),
        (execution(Status.SCHEDULED, due_at=at(500)), [claim(0, 5, "failed")], (Kind.BACKOFF, 5, None)),
        (execution(Status.WAITING, resumes=1), [claim(0, 5, "waiting")], (Kind.WAITED, 5, None)),
        (execution(Status.QUEUED), [claim(0, 5, "released")], (Kind.LINE, 5, None)),
        (execution(Status.CANCELLED, finished_at=at(40)), [], (Kind.LINE, 0, 40)),
        (execution(Status.FAILED, finished_at=at(5)), [claim(0, 5, "failed")], (Kind.RAN, 0, 5)),
    ],
    ids=["in line", "backs off", "waits", "released", "cancelled in line", "failed"],
)
def test_the_last_stretch_is_what_it_does_now(
    one: Execution, claims: list[reads.Attempt], last: tuple[str, float, float | None]
) -> None:
    assert kinds(told(one, *claims))[-1] == last


def test_one_that_was_put_off_was_not_due_first() -> None:
    found = told(execution(due_at=at(10)), claim(12, None, "running"))
    assert kinds(found)[:2] == [(Kind.BACKOFF, 0, 10), (Kind.LINE, 10, 12)]


def test_the_page_tells_every_try_with_its_error(vera: Client) -> None:
    queue, worker = make_queue(), make_worker()
    one = finished(
        queue, worker, Status.FAILED, attempt=2, max_attempts=2, waited=60,
        error='{"type": "ValueError", "message": "again", "traceback": "File <b>x.py</b>"}',
    )  # fmt: skip
    Holding.objects.create(
        execution_id=one.id, queue=queue, attempt=1, worker_id=worker.id, slot=3, claimed_at=seconds_ago(50),
        released_at=seconds_ago(40), outcome="failed", error='{"type": "KeyError", "message": "<i>id</i>"}',
    )  # fmt: skip
    html = body(vera, f"/executions/{one.id}")
    said = text(html)
    for part in ("Attempt 1 in slot 3 on worker-a failed", "KeyError", "Until it was tried again", "Attempt 2"):
        assert part in said, part
    assert "File &lt;b&gt;x.py" in html
    assert "<i>id" not in html
    assert 'data-copy="trace"' in html


# -- log and progress ----------------------------------------------------------------------------------


def test_the_page_shows_the_log_with_levels_and_fields(vera: Client) -> None:
    one = running(make_queue(), make_worker(), 1)
    tell(one, "sent <b>", fields='{"to": "ana", "n": 1.00000000000000000001, "why": "so <so>"}')
    tell(one, "begun anew", level="warning", attempt=2)
    html = body(vera, f"/executions/{one.id}")
    assert "sent &lt;b&gt;" in html
    assert re.search(r"<i>n=</i>1\.00000000000000000001<", html)
    assert "&quot;so &lt;so&gt;&quot;" in html
    assert '<div class="turn">attempt 2</div><div class="line is-warning"' in html
    assert 'data-after="2"' in html


def test_new_lines_are_fetched_after_those_that_are_there(vera: Client) -> None:
    one = running(make_queue(), make_worker(), 1)
    address = f"/executions/{one.id}/lines"
    assert vera.get(address).status_code == 204
    tell(one, "first", "second")
    reply = vera.get(f"{address}?after=1")
    html = reply.content.decode()
    assert (reply["Polos-State"], "first" in html, "second" in html) == ("open", False, True)
    assert 'data-after="2"' in html
    assert vera.get(f"{address}?after=2").status_code == 204
    say_progress(one, 0.4, "page 4")
    html = vera.get(f"{address}?after=2").content.decode()
    assert "40 %" in html
    assert 'data-after="2"' in html
    tell(one, "third", attempt=2)
    assert "attempt 2" in vera.get(f"{address}?after=2&attempt=1").content.decode()
    assert "attempt 2" not in vera.get(f"{address}?after=2&attempt=2").content.decode()
    for nonsense in ("x", "-1", "9" * 30):
        assert vera.get(f"{address}?after={nonsense}&attempt={nonsense}").status_code in (200, 204)


def test_a_final_execution_says_that_its_log_is_over(vera: Client) -> None:
    one = finished(make_queue(), make_worker())
    tell(one, "last")
    assert vera.get(f"/executions/{one.id}/lines")["Polos-State"] == "final"


def test_a_page_shows_the_newest_lines_and_says_what_it_leaves_out(
    vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(details, "MAX_LINES", 3)
    one = running(make_queue(), make_worker(), 1)
    tell(one, *(f"line {n}" for n in range(1, 8)))
    LogLine.objects.filter(number=1).delete()
    Journal.objects.update(first=2)
    said = text(body(vera, f"/executions/{one.id}"))
    assert "line 4" not in said
    assert "line 5" in said
    assert "3 older lines not shown here; 1 that came before those is not kept" in said


def test_the_whole_log_is_downloaded_as_text(vera: Client) -> None:
    one = finished(make_queue(), make_worker())
    tell(one, "sent", fields='{"to": "ana"}')
    reply = vera.get(f"/executions/{one.id}/log")
    lines = b"".join(reply).decode().splitlines()
    assert re.fullmatch(r"\S+ INFO \[attempt 1\] sent to=ana", lines[0])
    assert f"{one.id}.log" in reply["Content-Disposition"]


def test_progress_is_a_bar_on_both_pages(vera: Client) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    one, other = running(queue, worker, 1), running(queue, worker, 2)
    say_progress(one, 0.425, "page <4> of 10")
    say_progress(other, None, "no number yet")
    html = body(vera, f"/executions/{one.id}")
    assert '<progress max="1" value="0.4250"' in html
    assert "page &lt;4&gt; of 10" in html
    html = body(vera, f"/queues/{queue.name}")
    assert 'value="0.4250" aria-label="Progress: page &lt;4&gt; of 10"' in html
    assert "no number yet" in html
    html = body(vera, f"/progress/{queue.name}")
    assert f'id="p-{one.id}" data-cell' in html
    assert "42 %" in html


def test_one_that_has_told_nothing_shows_no_progress(vera: Client) -> None:
    html = body(vera, f"/executions/{running(make_queue(), make_worker(), 1).id}")
    assert re.search(r'id="progress"[^>]* hidden', html)
    assert "Nothing logged yet" in html


# -- steps, family, another one ------------------------------------------------------------------------


def test_steps_have_durations_and_results(vera: Client) -> None:
    one = running(make_queue(), make_worker(), 1)
    for n, (result, error) in enumerate((('{"id": 1}', None), (None, '{"type": "E", "message": "no"}'))):
        Step.objects.create(
            execution_id=one.id, key=f"step-{n}", result=result, error=error, attempt=1,
            started_at=seconds_ago(9), ended_at=seconds_ago(7),
        )  # fmt: skip
    said = text(body(vera, f"/executions/{one.id}"))
    assert "step-0 2.0 s" in said
    assert "{&quot;id&quot;: 1}" in said
    assert "step-1 2.0 s" in said
    assert "failed E no" in said


def test_the_family_is_a_tree_from_the_root(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue()
    root = make_execution(queue, workflow="root", waited=50)
    parent = make_execution(queue, workflow="parent", parent_id=root.id, waited=40)
    make_execution(queue, workflow="aunt", parent_id=root.id)
    me = make_execution(queue, workflow="me", parent_id=parent.id, waited=30)
    first = make_execution(queue, workflow="first", parent_id=me.id, waited=20)
    make_execution(queue, workflow="second", parent_id=me.id, waited=10)
    make_execution(queue, workflow="grandchild", parent_id=first.id, waited=15)
    found = details.family(me)
    assert [(each.row.execution.workflow, each.depth, each.is_self) for each in found.members] == [
        ("root", 0, False), ("parent", 1, False), ("me", 2, True), ("first", 3, False), ("grandchild", 4, False),
        ("second", 3, False),
    ]  # fmt: skip
    assert not found.more
    monkeypatch.setattr(details, "MAX_FAMILY", 3)
    assert details.family(me).more
    assert "There are more than are shown here" in body(vera, f"/executions/{me.id}")
    assert details.family(make_execution(queue)).members == []


def test_of_the_family_one_sees_what_one_may(vera: Client) -> None:
    mine, other = make_queue("mine"), make_queue("other")
    parent = make_execution(other, workflow="secret")
    me = make_execution(mine, workflow="me", parent_id=parent.id)
    make_execution(mine, workflow="child", parent_id=me.id)
    found = details.family(me, Sight(("mine",)))
    assert [each.row.execution.workflow for each in found.members] == ["me", "child"]


def test_what_is_copied_starts_the_same_again() -> None:
    payload = '{"name": "O\'Hara", "n": 1.00000000000000000001, "ok": true, "none": null, "text": "$HOME `x`"}'
    one = Execution(id=uuid.uuid4(), workflow="greet it".replace(" ", "-"))
    recipes = again(one, payload, "queue/one", "https://queues.example.com")
    command = shlex.split(recipes.command)
    assert command == ["polos", "run", "greet-it", "--queue", "queue/one", "--payload", payload]
    echoed = subprocess.run(
        ["/bin/sh", "-c", recipes.rest.replace("curl", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "https://queues.example.com/api/v1/executions" in echoed
    assert json.loads(echoed[-1]) == {
        "workflow_id": "greet-it", "queue_name": "queue/one", "payload": json.loads(payload),
    }  # fmt: skip
    assert "1.00000000000000000001" in echoed[-1]
    compile(recipes.python, "recipe", "exec")
    assert "client.run('greet-it', {'name': \"O'Hara\", 'n': 1.00000000000000000001, 'ok': True" in recipes.python
    assert "queue_name='queue/one'" in recipes.python


def test_a_payload_that_is_nothing_is_left_out() -> None:
    recipes = again(Execution(workflow="w"), None, "w", "http://x")
    assert recipes.command == "polos run w"
    assert "client.run('w', None))" in recipes.python


def test_a_page_takes_few_queries_however_much_there_is(vera: Client, queue_and_all: Execution) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(
        connection,
    ) as captured:
        body(vera, f"/executions/{queue_and_all.id}")
    assert len(captured) <= 22, [query["sql"][:80] for query in captured]


@pytest.fixture
def queue_and_all() -> Execution:
    queue: Queue = make_queue()
    one = running(queue, make_worker(queue=queue), 1)
    tell(one, *(f"line {n}" for n in range(20)))
    for _ in range(10):
        make_execution(queue, parent_id=one.id)
    return one
