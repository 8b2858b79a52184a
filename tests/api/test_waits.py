"""Waiting over REST: what a worker hands in and gets back, events, answers of people, results of children."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from queues.engine import Engine
from queues.engine.statements import statement
from queues.models import Change
from tests.engine.crew import query

from .asgi_client import Client
from .conftest import MakeKey, claim, in_database, join

V1 = "/api/v1"


class Running:
    """One execution in the hands of a worker."""

    def __init__(self, client: Client, worker: UUID, claimed: dict[str, Any], seq: int) -> None:
        self.client, self.worker, self.seq = client, worker, seq
        self.token = claimed["token"]
        (self.claimed,) = claimed["executions"]
        self.id: str = self.claimed["id"]

    async def wait(self, *waits: dict[str, Any], outcome: str = "waiting") -> Any:
        answer = await self.client.post(
            f"{V1}/workers/{self.worker}/exchange",
            {"results": [{"id": self.id, "token": self.token, "outcome": outcome, "waits": list(waits)}]},
        )
        assert answer.status == 200, answer.body
        return answer.json["refused"]

    async def go_on(self) -> Any:
        """Its next claim."""
        claimed = await claim(self.client, self.worker, self.seq + 1)
        self.seq, self.token = self.seq + 1, claimed["token"]
        (self.claimed,) = claimed["executions"]
        return self.claimed

    async def shown(self) -> Any:
        return (await self.client.get(f"{V1}/executions/{self.id}")).json


async def start(client: Client, workflow: str = "w", queue: str = "q") -> Running:
    worker = await join(client, (queue, workflow))
    await client.post(f"{V1}/executions", {"workflow_id": workflow, "queue_name": queue, "max_attempts": 1})
    return Running(client, worker, await claim(client, worker), 1)


def resume(key: str = "ok", **more: Any) -> dict[str, Any]:
    return {"key": key, "kind": "resume", **more}


# -- what is handed in -----------------------------------------------------------------------------


async def test_who_waits_says_for_what_and_goes_on_as_the_same_attempt(both: Client) -> None:
    run = await start(both)
    children = [str(uuid4()) for _ in range(12)]
    nap = {"key": "nap", "kind": "time", "until": "2031-01-01T00:00:00Z"}
    assert (
        await run.wait(nap, resume(note={"amount": 1.50}), {"key": "c", "kind": "event", "topic": "paid/eu"}) == []
    )
    shown = await run.shown()
    assert (shown["status"], shown["attempt"], shown["max_attempts"]) == ("waiting", 1, 1)
    waits = {wait["key"]: wait for wait in shown["waits"]}
    assert waits["nap"]["until"] == "2031-01-01T00:00:00Z"
    assert waits["ok"]["note"] == {"amount": 1.5}
    assert waits["c"]["topic"] == "paid/eu"
    await both.post(f"{V1}/events", {"topic": "paid/eu", "payload": {"n": 2}})
    claimed = await run.go_on()
    assert (claimed["attempt"], claimed["max_attempts"]) == (1, 1)
    (key,) = claimed["waits"]
    assert (key, claimed["waits"]["c"]["answer"]["payload"]) == ("c", {"n": 2})
    assert "waits" not in await run.shown()
    assert await run.wait(nap, {"key": "kids", "kind": "executions", "executions": children}) == []
    claimed = await run.go_on()  # nobody knows those: they count as final
    assert claimed["waits"]["kids"] == claimed["waits"]["kids"] | {"timed_out": False, "answer": None}


@pytest.mark.parametrize(
    ("wait", "why"),
    [
        ({"kind": "time"}, "needs until or seconds"),
        ({"kind": "time", "seconds": 1, "until": "2031-01-01T00:00:00Z"}, "not both"),
        ({"kind": "time", "until": "2031-01-01T00:00:00"}, "time zone"),
        ({"kind": "executions"}, "names executions"),
        ({"kind": "executions", "executions": []}, "at least one"),
        ({"kind": "resume", "topic": "t"}, "names a topic"),
        ({"kind": "event", "topic": "a b"}, "cannot name a topic"),
        ({"kind": "event", "topic": "a", "since": "2031-01-01T00:00:00"}, "time zone"),
        ({"kind": "time", "seconds": 1, "since": "2031-01-01T00:00:00Z"}, "since is for kind event"),
        ({"kind": "resume", "note": "x" * 20_000}, "note"),
    ],
)
async def test_a_wait_that_makes_no_sense_is_refused(client: Client, wait: dict[str, Any], why: str) -> None:
    run = await start(client)
    (refused,) = await run.wait({"key": "k"} | wait)
    assert refused["reason"] == "invalid"
    assert why in refused["detail"]
    assert (await run.shown())["status"] == "running"


async def test_a_wait_that_began_before_it_was_declared_counts_from_there(client: Client) -> None:
    run = await start(client)
    first, second = [(await client.post(f"{V1}/events", {"topic": "paid", "payload": n})).json for n in (1, 2)]
    late = {"key": "late", "kind": "event", "topic": "paid", "seconds": 60}
    beside = {**late, "key": "beside", "waited": 30}
    after = {**late, "key": "after", "since": first["published_at"]}
    behind = {**late, "key": "behind", "since": second["published_at"]}
    assert await run.wait(late, beside, after, behind) == []
    waits = (await run.go_on())["waits"]
    assert {key: wait["answer"]["payload"] for key, wait in waits.items()} == {"beside": 1, "after": 2}
    assert await run.wait({"key": "nap", "kind": "time", "seconds": 60, "waited": 61}, resume()) == []
    assert {"nap"} == (await run.go_on())["waits"].keys() - {"beside", "after"}


async def test_waits_come_with_the_outcome_waiting_and_each_once(client: Client) -> None:
    run = await start(client)
    for waits, outcome in (((), "waiting"), ((resume(),), "completed"), ((resume(), resume()), "waiting")):
        (refused,) = await run.wait(*waits, outcome=outcome)
        assert refused["reason"] == "invalid"


# -- results of others -----------------------------------------------------------------------------


async def test_results_of_what_is_final_are_given_in_order(both: Client) -> None:
    ids = []
    for result in ("one", "two"):
        run = await start(both)
        ids.append(run.id)
        await both.post(
            f"{V1}/workers/{run.worker}/exchange",
            {"results": [{"id": run.id, "token": run.token, "outcome": "completed", "result": result}]},
        )
    waiting = (await both.post(f"{V1}/executions", {"workflow_id": "other"})).json["id"]
    answer = await both.post(f"{V1}/executions/results", {"ids": [ids[1], str(uuid4()), waiting, ids[0], ids[0]]})
    assert answer.status == 200
    assert [(item["id"], item["status"], item["result"]) for item in answer.json["executions"]] == [
        (ids[1], "completed", "two"), (ids[0], "completed", "one"),
    ]  # fmt: skip
    assert (await both.post(f"{V1}/executions/results", {"ids": []})).status == 422


async def test_results_that_are_too_large_together_are_asked_for_again(client: Client) -> None:
    ids = []
    for _ in range(10):
        run = await start(client)
        ids.append(run.id)
        result = {"id": run.id, "token": run.token, "outcome": "completed", "result": "x" * 1_000_000}
        await client.post(f"{V1}/workers/{run.worker}/exchange", {"results": [result]})
    answer = await client.post(f"{V1}/executions/results", {"ids": ids})
    assert [item["id"] for item in answer.json["executions"]] == ids[:8]
    assert answer.json["left"] == ids[8:]


# -- events ----------------------------------------------------------------------------------------


async def test_an_event_is_published_once_and_kept(both: Client) -> None:
    event = {"topic": "paid", "payload": {"n": 1}, "id": str(uuid4())}
    first, again = [await both.post(f"{V1}/events", event) for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    other = await both.post(f"{V1}/events", event | {"payload": {"n": 2}})
    assert other.status == 409
    for n in range(2, 5):
        await both.post(f"{V1}/events", {"topic": "paid", "payload": {"n": n}})
    await both.post(f"{V1}/events", {"topic": "other"})
    page = (await both.get(f"{V1}/events?topic=paid&limit=3")).json
    assert [event["payload"]["n"] for event in page["events"]] == [4, 3, 2]
    rest = (
        await both.get(f"{V1}/events?topic=paid&limit=3&cursor={page['next_cursor'].replace('+', '%2B')}")
    ).json
    assert ([event["payload"]["n"] for event in rest["events"]], rest["next_cursor"]) == ([1], None)


@pytest.mark.parametrize("body", [{"topic": "a b"}, {"topic": ""}, {}, {"topic": "t", "payload": 2**70}])
async def test_a_bad_event_is_refused(client: Client, body: dict[str, Any]) -> None:
    assert (await client.post(f"{V1}/events", body)).status == 422
    assert (await client.get(f"{V1}/events?cursor=nonsense")).status == 422


async def test_an_event_wakes_all_that_waited_before_and_none_that_did_not(client: Client) -> None:
    runs = [await start(client, queue=f"q{n}") for n in range(3)]
    wait = {"key": "k", "kind": "event", "topic": "paid"}
    for run in runs[:2]:
        await run.wait(wait)
    answer = await client.post(f"{V1}/events", {"topic": "paid", "payload": 1})
    assert answer.json["woken"] == 2
    await runs[2].wait(wait)
    assert (await runs[2].shown())["status"] == "waiting"
    for run in runs[:2]:
        assert (await run.go_on())["waits"]["k"]["answer"]["id"] == answer.json["id"]


async def test_an_event_is_kept_as_long_as_who_waited_for_it(client: Client, engine: Engine, dsn: str) -> None:
    run = await start(client)
    await run.wait({"key": "k", "kind": "event", "topic": "paid"})
    for topic in ("paid", "other"):
        await client.post(f"{V1}/events", {"topic": topic, "payload": 1})
    query(dsn, "update queues_event set published_at = published_at - interval '31 days'")
    query(dsn, statement("prune_events").replace("%(days)s", "30").replace("%(most)s", "10"))
    events = (await client.get(f"{V1}/events")).json["events"]
    assert [event["topic"] for event in events] == ["paid"]
    assert (await run.go_on())["waits"]["k"]["answer"]["payload"] == 1


async def test_what_a_step_has_kept_of_a_wait_is_not_told_again(client: Client) -> None:
    run = await start(client)
    await run.wait({"key": "first", "kind": "time", "seconds": 0})
    await run.go_on()
    step = {"execution_id": run.id, "token": run.token, "key": "first", "result": 1}
    await client.post(f"{V1}/steps", {"steps": [step]})
    await run.wait({"key": "second", "kind": "time", "seconds": 0})
    claimed = await run.go_on()
    assert (claimed["steps"], list(claimed["waits"])) == ({"first": 1}, ["second"])


# -- answers ---------------------------------------------------------------------------------------


async def test_an_answer_lets_it_go_on_and_is_in_the_trail(client: Client) -> None:
    run = await start(client)
    await run.wait(resume())
    path = f"{V1}/executions/{run.id}/resume"
    wrong = await client.post(path, {"key": "other", "data": 1})
    assert (wrong.status, "does not wait" in wrong.json["detail"]) == (409, True)
    taken = await client.post(path, {"key": "ok", "data": {"yes": True}})
    assert (taken.status, taken.json["status"]) == (200, "queued")
    assert (await client.post(path, {"key": "ok", "data": {"yes": True}})).status == 200
    assert (await client.post(path, {"key": "ok", "data": {"yes": False}})).status == 409
    assert (await run.go_on())["waits"]["ok"]["answer"] == {"yes": True}
    changes = await in_database(lambda: list(Change.objects.values_list("kind", "actor", "through")))
    assert changes == [("answer", "key full", "rest")]
    assert (await client.post(f"{V1}/executions/{uuid4()}/resume", {"key": "ok"})).status == 404


async def test_nobody_answers_an_execution_that_is_over(client: Client) -> None:
    run = await start(client)
    assert (await client.post(f"{V1}/executions/{run.id}/resume", {"key": "ok"})).status == 409
    await run.wait(resume())
    await client.post(f"{V1}/executions/{run.id}/cancellation")
    late = await client.post(f"{V1}/executions/{run.id}/resume", {"key": "ok"})
    assert (late.status, "it is cancelled" in late.json["detail"]) == (409, True)


# -- who may ---------------------------------------------------------------------------------------


async def test_a_narrow_key_keeps_to_its_topics_and_executions(client: Client, make_key: MakeKey) -> None:
    _, text = await make_key("billing", "full", "billing/*")
    narrow = Client(key=text)
    run = await start(client)
    await run.wait(resume())
    assert (await narrow.post(f"{V1}/executions/{run.id}/resume", {"key": "ok"})).status == 404
    await client.post(f"{V1}/executions/{run.id}/cancellation")
    assert (await narrow.post(f"{V1}/executions/results", {"ids": [run.id]})).json["executions"] == []
    assert (await narrow.post(f"{V1}/events", {"topic": "paid"})).status == 422
    assert (await narrow.post(f"{V1}/events", {"topic": "billing/paid"})).status == 201
    await client.post(f"{V1}/events", {"topic": "paid"})
    page = (await narrow.get(f"{V1}/events")).json
    assert [event["topic"] for event in page["events"]] == ["billing/paid"]
    mine = await start(narrow, queue="billing/eu")
    (refused,) = await mine.wait({"key": "k", "kind": "event", "topic": "paid"})
    assert (refused["reason"], "does not reach" in refused["detail"]) == ("invalid", True)


@pytest.mark.parametrize("scope", ["work", "enqueue"])
async def test_only_a_full_key_answers(client: Client, make_key: MakeKey, scope: str) -> None:
    _, text = await make_key("small", scope)
    run = await start(client)
    await run.wait(resume())
    assert (await Client(key=text).post(f"{V1}/executions/{run.id}/resume", {"key": "ok"})).status == 403


# -- cancelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [(None, "queued"), ({"children": "leave"}, "queued"), ({"children": "cancel"}, "cancelled")],
)
async def test_children_are_cancelled_by_choice(client: Client, body: Any, status: str) -> None:
    run = await start(client)
    child = {"workflow_id": "other", "parent": {"id": run.id, "token": run.token}}
    child_id = (await client.post(f"{V1}/executions", child)).json["id"]
    answer = await client.post(f"{V1}/executions/{run.id}/cancellation", body)
    assert (answer.status, answer.json["status"]) == (200, "cancelling")
    assert (await client.get(f"{V1}/executions/{child_id}")).json["status"] == status
    assert (await client.post(f"{V1}/executions/{run.id}/cancellation", {"children": "eat"})).status == 422
