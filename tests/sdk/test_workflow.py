from __future__ import annotations

import asyncio
import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

import pytest
from pydantic import BaseModel

from polos import (
    BadName,
    BadSignature,
    Context,
    DefinitionError,
    DuplicateWorkflow,
    PayloadInvalid,
    Worker,
    Workflow,
    queue,
    workflow,
)

if TYPE_CHECKING:
    from decimal import Decimal


class Order(BaseModel):
    id: int
    note: str = ""


@dataclass
class Point:
    x: int
    y: int


def test_the_readme_snippet() -> None:
    api_queue = queue("api-calls", concurrency_limit=5)
    unlimited = queue("unlimited")

    @workflow(id="call_api", queue=api_queue)
    async def call_api(ctx, payload): ...  # type: ignore[no-untyped-def]

    @workflow(id="inline", queue={"concurrency_limit": 3})
    async def inline(ctx, payload): ...  # type: ignore[no-untyped-def]

    @workflow(id="named", queue="my-queue-name")
    async def named(ctx, payload): ...  # type: ignore[no-untyped-def]

    @workflow(queue=unlimited)
    async def open_end(ctx, payload): ...  # type: ignore[no-untyped-def]

    names = [each.queue.name for each in (call_api, inline, named, open_end)]
    assert names == ["api-calls", "inline", "my-queue-name", "unlimited"]


def test_bare_and_called_and_named() -> None:
    @workflow
    async def bare(ctx: Context) -> int:
        """What it does.

        And more."""
        return 1

    @workflow()
    def called(ctx: Context, payload: dict[str, Any]) -> int:
        return 2

    @workflow("by-position", retries=3, description="own words")
    async def third(ctx: Context) -> None: ...

    assert [each.id for each in (bare, called, third)] == ["bare", "called", "by-position"]
    assert (bare.is_async, called.is_async) == (True, False)
    assert (bare.description, third.description) == ("What it does.", "own words")
    assert (bare.retries, third.retries) == (0, 3)


def test_a_workflow_can_be_called_as_the_function_that_it_is() -> None:
    @workflow
    async def double(ctx: Any, payload: int) -> int:
        return 2 * payload

    assert asyncio.run(double(None, 4)) == 8


def _load(function: Callable[..., Any], payload: Any) -> Any:
    arguments = Workflow(function, id="loaded").arguments(payload)
    return arguments[0] if arguments else "nothing"


def test_payloads_become_what_the_annotation_says() -> None:
    def untyped(ctx, payload): ...  # type: ignore[no-untyped-def]
    def anything(ctx: Any, payload: Any) -> None: ...
    def model(ctx: Any, payload: Order) -> None: ...
    def optional(ctx: Any, payload: Order | None) -> None: ...
    def old_optional(ctx: Any, payload: Optional[Order]) -> None: ...  # noqa: UP045
    def union(ctx: Any, payload: Union[Order, list[int]]) -> None: ...  # noqa: UP007
    def mapping(ctx: Any, payload: dict[str, int]) -> None: ...
    def data(ctx: Any, payload: Point) -> None: ...
    def alone(ctx: Any) -> None: ...

    assert _load(untyped, [1, "a"]) == [1, "a"]
    assert _load(anything, None) is None
    assert _load(model, {"id": "7"}) == Order(id=7)
    assert _load(optional, None) is None
    assert _load(old_optional, {"id": 1}) == Order(id=1)
    assert _load(union, [1, 2]) == [1, 2]
    assert _load(union, {"id": 1}) == Order(id=1)
    assert _load(mapping, {"a": 1}) == {"a": 1}
    assert _load(data, {"x": 1, "y": 2}) == Point(1, 2)
    assert _load(alone, {"ignored": True}) == "nothing"


def test_a_default_stands_in_for_no_payload() -> None:
    def with_default(ctx: Any, payload: Order = Order(id=5)) -> None: ...  # noqa: B008

    assert _load(with_default, None) == "nothing"
    assert _load(with_default, {"id": 1}) == Order(id=1)


def test_a_payload_that_does_not_fit_says_where_and_hides_the_value() -> None:
    def model(ctx: Any, payload: Order) -> None: ...
    def plain(ctx: Any, payload: dict) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(PayloadInvalid, match=r"The payload of loaded is not valid: id: Input should be") as caught:
        _load(model, {"id": (value := "secret"[::-1])})
    assert value not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(PayloadInvalid, match="expected an object"):
        _load(plain, [1])


def test_a_model_that_is_local_to_a_function_is_found() -> None:
    class Local(BaseModel):
        n: int

    @workflow
    async def uses_local(ctx: Context, payload: Local) -> Local:
        return payload

    assert uses_local.arguments({"n": 1}) == (Local(n=1),)
    assert uses_local.result_shape.load({"n": 2}, "it") == Local(n=2)


@workflow(id="early")
async def early(ctx: Context, payload: Later) -> Later:
    return payload


class Later(BaseModel):
    n: int


def test_a_model_may_be_defined_after_the_workflow() -> None:
    assert early.arguments({"n": 3}) == (Later(n=3),)


def test_an_annotation_that_does_not_exist_at_run_time_is_refused_when_the_worker_starts() -> None:
    @workflow
    async def hidden(ctx: Context, payload: Decimal) -> None: ...

    worker = Worker(workflows=[hidden])
    with pytest.raises(BadSignature, match=r"test_workflow\.py:\d+: the payload of hidden .*TYPE_CHECKING"):
        asyncio.run(worker.run())


def test_a_hint_for_ctx_that_does_not_exist_is_nobodys_business() -> None:
    def hidden(ctx: Decimal, payload: Order) -> Decimal: ...  # type: ignore[empty-body]

    assert _load(hidden, {"id": 1}) == Order(id=1)


def test_what_pydantic_cannot_check_is_refused() -> None:
    class Opaque: ...

    with pytest.raises(BadSignature, match=r"\.py:\d+: the payload of opaque: pydantic cannot check"):

        @workflow
        async def opaque(ctx: Context, payload: Opaque) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda a, b, c: None,
        lambda a, *, b: None,
        lambda a, **payload: None,
    ],
)
def test_signatures_that_nobody_could_call_are_refused(function: Any) -> None:
    with pytest.raises(
        BadSignature, match=r"test_workflow\.py:\d+: workflow odd takes \(ctx\) or \(ctx, payload\)"
    ):
        workflow(id="odd")(function)


def test_a_generator_is_no_workflow() -> None:
    with pytest.raises(BadSignature, match="does not yield"):

        @workflow
        async def stream(ctx: Any):  # type: ignore[no-untyped-def]
            yield 1


def test_two_workflows_with_one_id_are_refused_with_both_places() -> None:
    @workflow(id="same")
    async def first(ctx: Any) -> None: ...

    with pytest.raises(DuplicateWorkflow, match=r"test_workflow\.py:\d+: .* same exists already, at .*\.py:\d+"):

        @workflow(id="same")
        async def second(ctx: Any) -> None: ...


def test_a_module_may_be_imported_again() -> None:
    def declare() -> Any:
        @workflow(id="again")
        async def again(ctx: Any) -> None: ...

        return again

    assert declare() is not declare()
    assert [each.id for each in Worker()._workflows.values()] == ["again"]


@pytest.mark.parametrize("id", ["", "a b", "/a", 5, "x" * 201])
def test_ids_follow_the_rule_for_names(id: Any) -> None:
    with pytest.raises(BadName, match=r"\.py:\d+: .* cannot name a workflow"):

        @workflow(id=id)
        async def any_name(ctx: Any) -> None: ...


class Called:
    def __call__(self, ctx: Any) -> None: ...


@pytest.mark.parametrize("nameless", [lambda ctx: None, functools.partial(print, 1), Called()])
def test_what_has_no_name_needs_an_id(nameless: Any) -> None:
    with pytest.raises(BadName, match=r"test_workflow\.py:\d+: .* has no name .*: say @workflow\(id=…\)"):
        workflow(nameless)


@pytest.mark.parametrize("thing", [3, Called, "text"])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(BadSignature, match=r"test_workflow\.py:\d+: workflow odd is to be a function, not"):
        workflow(id="odd")(thing)


def test_a_workflow_is_declared_once() -> None:
    @workflow(id="declared")
    async def declared(ctx: Any) -> None: ...

    with pytest.raises(BadSignature, match=r"workflow odd: declared is a workflow already"):
        workflow(id="odd")(declared)


def test_two_partials_with_one_id_are_refused_too() -> None:
    def add(more: int, ctx: Any) -> None: ...

    workflow(id="part")(functools.partial(add, 1))
    with pytest.raises(DuplicateWorkflow):
        workflow(id="part")(functools.partial(add, 2))


@pytest.mark.parametrize("options", [{"description": 5}, {"timeout": "5s"}, {"timeout": 0}])
def test_an_option_that_cannot_be_meant_is_told_with_one_place(options: Any) -> None:
    with pytest.raises(DefinitionError) as refused:
        workflow(id="odd", **options)(Called())
    assert str(refused.value).count("test_workflow.py:") == 1


def test_a_partial_is_a_function_too() -> None:
    async def add(more: int, ctx: Any, payload: int) -> int:
        return payload + more

    made = workflow(id="add")(functools.partial(add, 3))
    assert made.is_async
    assert made.arguments(4) == (4,)


@pytest.mark.parametrize("retries", [-1, True, 1.5, "2", 1_000])
def test_retries_are_a_number(retries: Any) -> None:
    with pytest.raises(DefinitionError, match="retries of workflow tried"):

        @workflow(id="tried", retries=retries)
        async def tried(ctx: Any) -> None: ...


def test_a_worker_takes_workflows_only() -> None:
    async def plain(ctx: Any) -> None: ...

    with pytest.raises(DefinitionError, match="is not a workflow: decorate it"):
        Worker(workflows=[plain])  # type: ignore[list-item]
    with pytest.raises(DefinitionError, match="at least one workflow"):
        Worker(workflows=[])
