from __future__ import annotations

from typing import Any

import pytest

from polos import BadLimit, BadName, DefinitionError, Queue, QueueConflict, Worker, queue, workflow
from polos._names import MAX_LIMIT, MAX_NAME_LENGTH
from polos._queue import NOT_GIVEN
from queues import names, requests
from queues.names import name_problem

NAMES = [
    "a", "A9_", "api-calls", "billing/eu", "billing/pause", "a.b:c@d~e-f", "x" * 200,
    "", "-a", "a//b", "/a", "a/", "a/-b", ".", "..", "a/../b", "a b", "a\n", "ä", "x" * 201, "a?b", "a#b", "a%2f",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_that_the_server_takes(name: str) -> None:
    if name_problem(name) is None:
        assert queue(name).name == name
    else:
        with pytest.raises(BadName, match=r"test_queue\.py:\d+"):
            queue(name)


def test_the_bounds_are_those_of_the_server() -> None:
    assert (MAX_LIMIT, MAX_NAME_LENGTH) == (requests.MAX_LIMIT, names.MAX_NAME_LENGTH)


@pytest.mark.parametrize("name", [None, 5, b"a", ["a"]])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(BadName, match="a text that is not empty"):
        queue(name)


@pytest.mark.parametrize("limit", [-1, True, False, 1.5, 2.0, "5", 1_000_001])
def test_limits_that_are_refused_name_the_place(limit: Any) -> None:
    with pytest.raises(BadLimit, match=r"test_queue\.py:\d+: the limit of queue api"):
        queue("api", concurrency_limit=limit)
    with pytest.raises(BadLimit, match=r"test_queue\.py:\d+: the limit of queue inline"):

        @workflow(id="inline", queue={"concurrency_limit": limit})
        async def inline(ctx: Any, payload: Any) -> None: ...


@pytest.mark.parametrize("limit", [None, 0, 1, 1_000_000])
def test_limits_that_are_taken(limit: int | None) -> None:
    assert queue("api", concurrency_limit=limit).concurrency_limit == limit


def test_a_queue_is_its_name_and_limit() -> None:
    assert queue("api", 5) == Queue("api", 5)
    assert repr(queue("api", 5)) == "Queue(name='api', concurrency_limit=5)"
    assert "test_queue.py:" in queue("api").place


def _mention(option: Any) -> tuple[str, Any]:
    @workflow(id="asked", queue=option)
    async def asked(ctx: Any, payload: Any) -> None: ...

    return asked.queue.name, asked.queue.limit


def test_the_three_forms_and_none() -> None:
    assert _mention(queue("api", 5)) == ("api", 5)
    assert _mention(queue("open")) == ("open", None)
    assert _mention({"concurrency_limit": 3}) == ("asked", 3)
    assert _mention({"name": "other", "concurrency_limit": 3}) == ("other", 3)
    assert _mention("by-name") == ("by-name", NOT_GIVEN)
    assert _mention(None) == ("asked", None)


def test_what_is_no_queue_is_refused() -> None:
    with pytest.raises(DefinitionError, match="queue= is a Queue, a name"):
        _mention(5)
    with pytest.raises(DefinitionError, match="not limit, size"):
        _mention({"size": 1, "limit": 2})


def test_two_declarations_that_disagree_are_refused_with_both_places() -> None:
    @workflow(queue=queue("api", 5))
    async def first(ctx: Any, payload: Any) -> None: ...

    @workflow(queue=queue("api", 6))
    async def second(ctx: Any, payload: Any) -> None: ...

    with pytest.raises(QueueConflict, match=r"limit 5 at .*test_queue\.py:\d+, limit 6 at .*test_queue\.py:\d+"):
        Worker(workflows=[first, second])


def test_a_name_only_mention_never_disagrees() -> None:
    @workflow(queue="api")
    async def named(ctx: Any, payload: Any) -> None: ...

    @workflow(queue=queue("api", 5))
    async def limited(ctx: Any, payload: Any) -> None: ...

    for order in ([named, limited], [limited, named]):
        assert [each.limit for each in Worker(workflows=order)._mentions] == [5]
