"""What executions tell over REST: log lines, progress, and the news that others follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from queues.engine import Engine
from tests.pace import lately
from workflows import logs
from workflows.models import Journal, LogLine

from .asgi_client import Answer, Client
from .conftest import claim, in_database, join

LOGS = "/api/v1/logs"


class Told:
    """One running execution, and its worker's way to tell of it."""

    def __init__(self, client: Client, worker: UUID, claimed: dict[str, Any]) -> None:
        self.client, self.worker, self.token = client, worker, claimed["token"]
        self.id = claimed["executions"][0]["id"]
        self.path = f"/api/v1/executions/{self.id}"

    def log(self, *texts: str, seq: int = 1, **more: Any) -> dict[str, Any]:
        lines = [{"seq": seq + n, "text": text} for n, text in enumerate(texts)]
        return {"execution_id": self.id, "token": self.token, "lines": lines} | more

    async def tell(self, *texts: str, **more: Any) -> Answer:
        return await self.client.post(LOGS, {"logs": [self.log(*texts, **more)]})

    async def lines(self, query: str = "") -> list[str]:
        page = (await self.client.get(f"{self.path}/logs?{query}")).json
        return [line["text"] for line in page["lines"]]

    async def news(self, after: str = "", wait: float = 0) -> dict[str, Any]:
        answer = await self.client.get(f"{self.path}/stream?after={after}&wait={wait}")
        assert answer.status == 200, answer.body
        return dict(answer.json)

    async def finish(self, outcome: str = "completed", **more: Any) -> None:
        result = {"id": self.id, "token": self.token, "outcome": outcome} | more
        await self.client.post(f"/api/v1/workers/{self.worker}/exchange", {"results": [result]})


@pytest.fixture
async def told(both: Client) -> Told:
    worker = await join(both, ("q", "w"))
    await both.post("/api/v1/executions", {"workflow_id": "w"})
    return Told(both, worker, await claim(both, worker))


async def test_lines_are_kept_in_order_with_level_time_and_fields(told: Told) -> None:
    lines = [
        {"seq": 1, "text": "begun", "at": "2030-01-01T00:00:00Z"},
        {"seq": 2, "level": "warning", "text": "slow", "fields": {"page": 4, "n": 1.0}},
    ]
    answer = await told.tell(lines=lines)
    assert (answer.status, answer.json["logs"][0]["outcome"]) == (200, "saved")
    page = (await told.client.get(f"{told.path}/logs")).json
    first, second = page["lines"]
    assert first | {"at": ""} == {
        "number": 1, "attempt": 1, "level": "info", "at": "", "text": "begun", "fields": None,
    }  # fmt: skip
    assert first["at"] == "2030-01-01T00:00:00Z"
    assert (second["number"], second["level"], second["fields"]) == (2, "warning", {"page": 4, "n": 1.0})
    assert (page["after"], page["more"], page["first"]) == (2, False, 1)


async def test_a_repeated_request_adds_no_line_twice(told: Told) -> None:
    for _ in range(2):
        assert (await told.tell("one", "two")).status == 200
    await told.tell("two again", "three", seq=2)
    assert await told.lines() == ["one", "two", "three"]


async def test_a_stale_token_tells_nothing(told: Told) -> None:
    stale = told.log("nobody") | {"token": str(uuid4())}
    answer = await told.client.post(LOGS, {"logs": [stale]})
    assert (answer.status, answer.json["logs"][0]["outcome"]) == (409, "stale")
    mixed = await told.client.post(LOGS, {"logs": [stale, told.log("me")]})
    assert [item["outcome"] for item in mixed.json["logs"]] == ["stale", "saved"]
    await told.finish()
    assert (await told.tell("too late", seq=9)).status == 409
    assert await told.lines() == ["me"]


async def test_the_next_attempt_goes_on_in_the_same_log(told: Told) -> None:
    await told.tell("first try", progress={"value": 0.9})
    await told.finish("released")
    again = Told(told.client, told.worker, await claim(told.client, told.worker, seq=2))
    await again.tell("second try", progress={"value": 0.1, "text": "anew"})
    page = (await told.client.get(f"{told.path}/logs")).json
    assert [(line["number"], line["attempt"], line["text"]) for line in page["lines"]] == [
        (1, 1, "first try"),
        (2, 2, "second try"),
    ]
    progress = (await told.news())["progress"]
    assert (progress["value"], progress["text"], progress["attempt"]) == (0.1, "anew", 2)


async def test_lines_are_read_by_level_and_page_by_page(told: Told) -> None:
    levels = ("debug", "info", "warning", "error")
    await told.tell(lines=[{"seq": n, "level": level, "text": level} for n, level in enumerate(levels, start=1)])
    assert await told.lines("level=warning") == ["warning", "error"]
    page = (await told.client.get(f"{told.path}/logs?limit=3")).json
    assert (page["after"], page["more"]) == (3, True)
    assert await told.lines(f"after={page['after']}") == ["error"]
    # What is passed over for its level is passed over for good.
    assert (await told.client.get(f"{told.path}/logs?level=error&after=4")).json["after"] == 4


async def test_only_the_newest_lines_are_kept(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", 10)
    monkeypatch.setattr(logs, "TRIMMED_AT_ONCE", 5)
    for start in range(1, 41, 8):
        await told.tell(*(f"{n}" for n in range(start, start + 8)), seq=start)
    page = (await told.client.get(f"{told.path}/logs")).json
    assert 10 <= len(page["lines"]) < 15
    assert page["first"] == page["lines"][0]["number"]
    assert page["lines"][-1] | {"at": ""} == {
        "number": 40, "attempt": 1, "level": "info", "at": "", "text": "40", "fields": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"text": "x" * 10_001}, "length"),
        ({"text": "a\0"}, "U+0000"),
        ({"level": "loud"}, "Invalid enum value"),
        ({"fields": [1]}, "fields is a JSON object"),
        ({"fields": {"a": "\0"}}, "fields has the character U+0000"),
        ({"fields": {"a": "x" * 17_000}}, "16,384"),
        ({"at": "2030-01-01T00:00:00"}, "time zone"),
        ({"seq": 0}, ">= 1"),
    ],
    ids=["long", "null", "level", "array", "null in fields", "large fields", "no zone", "seq"],
)
async def test_a_line_that_cannot_be_kept_is_refused_with_a_sentence(
    told: Told, line: dict[str, Any], said: str
) -> None:
    answer = await told.tell(lines=[{"seq": 1} | line])
    assert answer.status == 422
    assert said in answer.json["detail"]


async def test_a_request_has_so_many_lines_and_no_more(told: Told) -> None:
    many = [{"seq": n} for n in range(1, 601)]
    answer = await told.client.post(LOGS, {"logs": [told.log(lines=many), told.log(lines=many)]})
    assert (answer.status, "1,000 lines" in answer.json["detail"]) == (422, True)
    assert (await told.tell(progress={"value": 1.5})).status == 422


@pytest.mark.parametrize("query", ["after=-1", "after=x", "level=loud", "limit=0", "limit=1001", "wait=61"])
async def test_a_question_that_makes_no_sense_is_refused(told: Told, query: str) -> None:
    assert (await told.client.get(f"{told.path}/logs?{query}")).status == 422


async def test_a_cursor_that_nobody_gave_is_refused(told: Told) -> None:
    for cursor in ("x", "1", "1.x", "-1.2.3", f"{10**30}.1.x"):
        assert (await told.client.get(f"{told.path}/stream?after={cursor}")).status == 422


async def test_whoever_waits_for_lines_gets_them_at_once(told: Told) -> None:
    waiting = asyncio.create_task(told.lines("wait=10"))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await told.tell("here")
    assert await waiting == ["here"]
    assert time.monotonic() - began < lately()  # not after the ten


async def test_whoever_follows_learns_of_lines_progress_and_the_end(told: Told) -> None:
    first = await told.news()
    assert (first["execution"]["status"], first["lines"], first["progress"]) == ("running", [], None)
    waiting = asyncio.create_task(told.news(first["cursor"], wait=10))
    await asyncio.sleep(0.2)
    await told.tell("page 1", progress={"value": 0.1, "text": "page 1 of 10"})
    second = await waiting
    assert second["execution"] is None  # nothing new about it
    assert [line["text"] for line in second["lines"]] == ["page 1"]
    assert (second["progress"]["value"], second["progress"]["text"]) == (0.1, "page 1 of 10")
    waiting = asyncio.create_task(told.news(second["cursor"], wait=10))
    await told.finish(result=7)
    last = await waiting
    assert (last["execution"]["status"], last["execution"]["result"], last["end"]) == ("completed", 7, True)
    assert (last["lines"], last["progress"]) == ([], None)
    # The same question again gives the same answer: nothing is lost with a reply.
    assert await told.news(second["cursor"]) == last


async def test_who_waits_in_line_is_told_the_place_and_whether_anybody_serves_it(both: Client) -> None:
    made = (await both.post("/api/v1/executions", {"workflow_id": "nosuch"})).json
    path = f"/api/v1/executions/{made['id']}"
    shown = (await both.get(path)).json
    assert (shown["position"], shown["served"]) == (1, False)
    first = (await both.get(f"{path}/stream")).json
    assert (first["execution"]["position"], first["execution"]["served"]) == (1, False)
    waiting = asyncio.create_task(both.get(f"{path}/stream?after={first['cursor']}&wait=10"))
    await join(both, ("nosuch", "nosuch"))
    assert (await waiting).json["execution"]["served"] is True


async def test_following_ends_when_the_server_drains(told: Told, engine: Engine) -> None:
    first = await told.news()
    waiting = asyncio.create_task(told.news(first["cursor"], wait=30))
    await asyncio.sleep(0.1)
    engine.draining = True
    async with asyncio.timeout(2):
        assert (await waiting)["cursor"] == first["cursor"]


async def test_nothing_is_looked_for_while_nobody_follows(told: Told, engine: Engine) -> None:
    listening = len(engine.listeners)
    await told.news((await told.news())["cursor"], wait=0.1)
    await _until(lambda: len(engine.listeners) == listening)


async def test_logs_go_with_their_execution(told: Told, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await told.tell("kept", "as long as it")
    async with engine.connection() as conn:
        await logs.prune_logs(conn, [UUID(told.id)])
    # Some at a time: a thousand executions may have ten million lines.
    monkeypatch.setattr(logs, "MOST_FORGOTTEN", 1)
    found = [await logs.forget_some(engine.database) for _ in range(4)]
    assert max(found) <= 2 and found[-1] == 0, found  # the duty of the server may have taken some
    assert await in_database(lambda: (LogLine.objects.count(), Journal.objects.count())) == (0, 0)


async def _until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
