"""Statements with a guard taken out: the checks of the races have to turn red, or they say little when green."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import psycopg
import pytest

from queues.engine import Engine
from queues.engine.statements import statement
from tests.engine import test_promises as promises
from tests.engine.crew import engine_on

from . import interleavings as check
from .interleavings import FORMS, Form, Text, mutant

Check = Callable[[str, Text], None]
Promise = Callable[[Engine, str], Awaitable[None]]


LOCK_AND_LOOK = (
    (
        "with tried as (",
        """with mine as (
            select q.id from queues_queue q where q.id = any(%(queues)s::bigint[]) for no key update
        ),
        tried as (""",
    ),
    (
        "join queues_queue q on q.id = d.queue_id",
        "join mine m on m.id = d.queue_id join queues_queue q on q.id = m.id",
    ),
)
NO_TOKEN = (("e.token = g.token and ", ""),)
NO_STATUS = ((" and case when e.status in ('running', 'cancelling') then true end", ""),)
STATUS_BEFORE = "(select x.status from queues_execution x where x.id = g.id)"

MUTANTS: dict[str, tuple[Check, Callable[[], Text]]] = {
    "no lock on the queue": (
        check.a_claim_in_flight_keeps_others_out,
        lambda: mutant(lock_queues=(("for no key update skip locked", ""),)),
    ),
    "no lock while waiting for a queue": (
        check.a_claim_that_waited_sees_what_was_claimed,
        lambda: mutant(lock_queue_waiting=(("for no key update", ""),)),
    ),
    "what is held stays behind when slots are renewed": (
        check.renewed_slots_are_still_counted,
        lambda: mutant(renew_slots=(("where e.id = h.id", "where false"),)),
    ),
    "renewing slots passes over what is locked": (
        check.renewed_slots_are_still_counted,
        lambda: mutant(renew_slots=(("for no key update of e", "for no key update of e skip locked"),)),
    ),
    "lock and look in one statement": (
        check.a_claim_that_waited_sees_what_was_claimed,
        lambda: mutant(lock_queue_waiting=(("for no key update", ""),), claim=LOCK_AND_LOOK),
    ),
    "no shared lock on an unlimited queue": (
        check.a_changed_limit_is_seen_by_the_next_claim,
        lambda: mutant(lock_queues=(("pg_try_advisory_xact_lock_shared(7105, q.id::int)", "true"),)),
    ),
    **{
        f"{how} in {ending}": (holds, partial(mutant, **{ending: taken_out}))
        for ending in ("finish", "finish_completed")
        for how, holds, taken_out in (
            ("no token", check.a_stale_token_changes_nothing, NO_TOKEN),
            ("no status", check.a_result_after_the_end_changes_nothing, NO_STATUS),
            ("after a sweep, no status", check.a_result_that_waited_for_the_sweep_is_refused, NO_STATUS),
        )
    },
    "finish looks before it locks": (
        check.a_failure_that_waited_for_a_cancel_does_not_come_back,
        lambda: mutant(finish=(("when e.status =", f"when {STATUS_BEFORE} ="),)),
    ),
    "no status in cancel": (
        check.a_cancel_that_waited_for_a_result_changes_nothing,
        lambda: mutant(
            cancel=((" and e.status in ('scheduled', 'queued', 'waiting', 'running')", ""),),
        ),
    ),
    "cancel looks before it waits": (
        check.a_cancel_that_waited_for_a_claim_holds_the_slot,
        lambda: mutant(
            cancel=(
                (
                    "update queues",
                    "with b as (select * from queues_execution where id = %(id)s::uuid) update queues",
                ),
                ("case when e.status = 'running'", "case when (select status from b) = 'running'"),
            )
        ),
    ),
    "no status in the sweep": (
        check.a_sweep_does_not_overwrite_what_moved_on,
        lambda: mutant(
            release_held=(
                ("for no key update skip locked", ""),
                ("where e.id = l.id and e.status in ('running', 'cancelling')", "where e.id = l.id"),
            )
        ),
    ),
    "the sweep does not lock workers": (
        check.a_sweep_spares_a_worker_that_renews_in_time,
        lambda: mutant(lost_workers=(("for no key update skip locked", ""),)),
    ),
    "claims do not lock what they pick": (
        check.a_claim_passes_over_what_is_being_cancelled,
        lambda: mutant(claim=(("for no key update skip locked", ""),)),
    ),
    "no status when what is due is queued": (
        check.what_is_cancelled_is_not_promoted,
        lambda: mutant(
            promote_due=(
                ("for no key update skip locked", ""),
                (" and e.status = 'scheduled'\nreturning", "\nreturning"),
            )
        ),
    ),
}
PROMISES: dict[str, tuple[Promise, Callable[[], Text]]] = {
    "no token in finish_completed": (
        promises.a_stale_token_is_refused,
        lambda: mutant(finish_completed=NO_TOKEN),
    ),
    "no status in finish": (
        promises.a_late_result_does_not_change_what_is_final,
        lambda: mutant(finish=NO_STATUS),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str, without_backstops: str) -> None:
    holds, make = MUTANTS[name]
    with pytest.raises(AssertionError):
        holds(without_backstops, make())


@pytest.mark.parametrize("form", FORMS[1:], ids=("one worker", "several"))
@pytest.mark.parametrize("name", ["lock and look in one statement", "claims do not lock what they pick"])
def test_a_mutant_of_the_claim_is_found_in_every_form(
    name: str, form: Form, without_backstops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "usual_form", form)
    test_a_mutant_is_found(name, without_backstops)


def test_what_finds_the_mutants_is_green_without_them(without_backstops: str) -> None:
    """Else a mutant could be found by what the missing index changed."""
    for holds in {holds.__name__: holds for holds, _ in MUTANTS.values()}.values():
        holds(without_backstops, statement)
        with psycopg.connect(without_backstops, autocommit=True) as db:
            db.execute("truncate queues_execution, queues_worker, queues_queue cascade")


@pytest.mark.parametrize("name", PROMISES)
async def test_the_engine_with_a_mutant_breaks_its_promise(
    name: str, without_backstops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps, make = PROMISES[name]
    monkeypatch.setattr("queues.engine.exchange_statements.statement", make())
    async with engine_on(without_backstops) as engine:
        with pytest.raises(AssertionError):
            await keeps(engine, without_backstops)
