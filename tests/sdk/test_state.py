"""`ctx.state`: checked when it is set, and the same after waits and lost workers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from polos import BadSignature, Context, DefinitionError, Polos, StateInvalid, StepError, workflow
from polos.testing import run

from .fake_server import FakeServer


class Basket(BaseModel):
    count: int = 0
    names: list[str] = []
    note: str | None = None

    @field_validator("count")
    @classmethod
    def _never_less_than_nothing(cls, value: int) -> int:
        if value < 0:
            raise ValueError("nobody takes out more than there is")
        return value


async def test_it_is_the_same_in_a_later_attempt_and_after_a_wait() -> None:
    seen: list[tuple[int, Basket]] = []

    @workflow(retries=1, state_schema=Basket)
    async def fill(ctx: Context) -> str:
        seen.append((ctx.attempt, ctx.state.model_copy()))
        ctx.state.count += await ctx.step.run("two", lambda: 2)
        await ctx.step.sleep("pause", 3600)
        ctx.state.count += await ctx.step.run("three", lambda: 3)
        ctx.state.names = [*ctx.state.names, "pear"]
        assert isinstance(ctx.state, Basket)
        return str(ctx.state.model_dump_json())

    ran = await run(fill, die_after=["two", "three"])
    assert ran.result == '{"count":5,"names":["pear"],"note":null}'
    assert (ran.calls("two"), ran.calls("three")) == (1, 1)
    assert [state for _, state in seen] == [Basket()] * len(seen)
    assert len(seen) == 4


async def test_a_worker_gives_each_execution_its_own(server: FakeServer, polos: type[Polos]) -> None:
    @workflow(state_schema=Basket)
    async def ask(ctx: Context, n: int) -> dict[str, Any]:
        ctx.state.count = n
        ctx.state.note = await ctx.step.suspend("note")
        return dict(ctx.state)

    @workflow(state_schema=Basket)
    def sync(ctx: Context) -> int:
        ctx.state.count += 1
        return int(ctx.state.count)

    async with polos([ask, sync]) as client:
        handles = [await client.invoke(ask, n) for n in (1, 2)]
        for handle in handles:
            await server.until(lambda id=handle.id: server.executions[id]["status"] == "waiting")  # type: ignore[misc]
            await handle.resume("note", f"to {handle.id}")
        assert [await handle.result(5) for handle in handles] == [
            {"count": n, "names": [], "note": f"to {handle.id}"} for n, handle in enumerate(handles, 1)
        ]
        assert [await client.run(sync, timeout=5) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "count",
            "many",
            r"ctx.state.count, set at .*test_state.py:\d+, is not valid: Input should be a valid int",
        ),
        ("count", -1, "is not valid: Value error, nobody takes out more than there is"),
        ("names", [1], r"ctx.state.names, set at .*, is not valid: names.0: Input should be a valid string"),
        ("nmae", 1, "ctx.state.nmae, set at .* is not valid: Object has no attribute 'nmae'"),
    ],
)
async def test_a_value_that_does_not_fit_is_told_with_field_and_line(name: str, value: Any, told: str) -> None:
    @workflow(retries=3, state_schema=Basket)
    async def wrong(ctx: Context) -> None:
        setattr(ctx.state, name, value)

    ran = await run(wrong)
    with pytest.raises(StateInvalid, match=told):
        _ = ran.result
    assert ran.attempts == 1


async def test_it_is_not_set_inside_of_a_step() -> None:
    @workflow(state_schema=Basket)
    async def wrong(ctx: Context) -> None:
        def count() -> None:
            assert ctx.state.count == 0
            ctx.state.count += 1

        await ctx.step.run("count", count)

    with pytest.raises(StepError, match=r"ctx.state.count is set inside of the step 'count', at .*test_state.py"):
        _ = (await run(wrong)).result


async def test_a_workflow_without_one_says_so() -> None:
    @workflow
    async def bare(ctx: Context) -> Any:
        return ctx.state

    with pytest.raises(DefinitionError, match="bare has no state: say its model with @workflow"):
        _ = (await run(bare)).result


def test_what_cannot_be_a_state_is_refused_where_it_is_said() -> None:
    class Needs(BaseModel):
        count: int

    schemas: list[tuple[Any, str]] = [
        (Needs, "each field needs one: count: Field required"),
        (dict, "is a pydantic"),
    ]
    for schema, told in schemas:
        with pytest.raises(BadSignature, match=rf"test_state.py:\d+: the state of w .*{told}"):

            @workflow(id="w", state_schema=schema)
            async def wrong(ctx: Context) -> None: ...
