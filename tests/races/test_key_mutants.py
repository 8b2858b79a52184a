"""Statements of deadlines and deduplication keys with a guard taken out: their tests have to turn red."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from queues.engine import Engine, dedup, duties
from queues.engine.statements import statement
from tests.engine import test_deadlines as deadlines
from tests.engine import test_dedup as keys
from tests.engine.crew import engine_on

Check = Callable[..., Awaitable[None]]

MUTANTS: dict[str, tuple[Check, ModuleType, str, tuple[str, str]]] = {
    "the new one does not wait for the old one": (
        keys.test_the_new_one_starts_when_the_old_one_has_stopped, dedup, "follow",
        ("set status = 'waiting'", "set status = e.status"),
    ),
    "followers start at once": (
        keys.test_the_new_one_starts_when_the_old_one_has_stopped, duties, "start_followers",
        ("and (p.id is null or p.status in ('completed', 'failed', 'cancelled'))", ""),
    ),
    "followers never start": (
        keys.test_the_new_one_starts_when_the_old_one_has_stopped, duties, "start_followers",
        ("case when e.status = 'waiting' then true end", "false"),
    ),
    "a follower lies under the floor": (
        keys.test_the_new_one_starts_when_the_old_one_has_stopped, duties, "start_followers",
        ("due_at = coalesce(e.due_at, now())", "due_at = e.due_at"),
    ),
    "what has started gets another payload": (
        keys.test_one_that_has_started_goes_on_as_it_is_and_the_caller_is_told, dedup, "key_holders",
        ("e.claimed_at is not null as started", "false as started"),
    ),
    "keys that nobody could use stay": (
        keys.test_a_child_of_a_parent_that_is_gone_takes_no_key, dedup, "drop_keys", ("where", "where false and"),
    ),
    "a start is pushed back for ever": (
        keys.test_a_start_is_not_pushed_back_for_ever, dedup, "replace_payload",
        ("e.enqueued_at + make_interval(secs => %(longest)s::float8)", "null"),
    ),
    "a start does not keep the deadline of the queue": (
        deadlines.test_the_first_start_keeps_the_deadline_of_the_queue, duties, "time_out",
        ("and (e.claimed_at is null or e.claimed_at < d.at - make_interval(secs => d.seconds))", ""),
    ),
    "what is locked is forgotten": (
        deadlines.test_what_somebody_holds_is_ended_by_the_next_look, duties, "settle_deadlines",
        ("e.status in ('scheduled', 'queued', 'waiting', 'running')", "false"),
    ),
    "what somebody cancels fails for its time": (
        deadlines.test_a_cancelled_one_that_is_still_stopping_ends_cancelled, duties, "time_out",
        ("'waiting', 'running')", "'waiting', 'running', 'cancelling')"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_mutant_is_found(name: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, module, of, (before, after) = MUTANTS[name]
    assert before in statement(of)

    def mutated(name: str, package: str = "queues") -> str:
        text = statement(name, package)
        return text.replace(before, after, 1) if name == of else text

    monkeypatch.setattr(module, "statement", mutated)
    async with engine_on(dsn) as engine:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            await check(**_arguments(check, engine, dsn))


def _arguments(check: Check, engine: Engine, dsn: str) -> dict[str, Any]:
    given = {"engine": engine, "dsn": dsn}
    return {name: given[name] for name in inspect.signature(check).parameters}
