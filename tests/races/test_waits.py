"""No wake-up is lost, whoever commits first; nobody is woken twice, and nobody who has ended."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from queues.engine.arrays import numbers, texts, uuids
from queues.engine.statements import statement

from .interleavings import Connection, Second, Stage, Text, cancel, claimed_one, finish, mutant, status_of

PARENT = "update queues_execution set parent_id = %s where id = %s"


def begin_to_wait(db: Connection, id: UUID, token: UUID, *awaited: UUID) -> None:
    """What `exchange` runs for a result that says `waiting`."""
    assert finish(db, statement, id, token, "waiting") == 1
    values = {
        "ids": uuids([id]), "tokens": uuids([token]), "keys": texts(["children"]), "kinds": texts(["executions"]),
        "untils": texts([None]), "seconds": numbers([None]), "waited": numbers([0]), "sinces": texts([None]),
        "executions": texts([uuids(awaited)]),
        "topics": texts([None]), "notes": texts([None]),
    }  # fmt: skip
    db.execute(statement("declare_waits").encode(), values)


def look(db: Connection, id: UUID, text: Text = statement, lock: str = "lock_waiting") -> int:
    """What follows the commit of whoever begins to wait, and of whoever ends a wait: how many it woke."""
    values = {"ids": uuids([id])}
    for name in (lock, "settle_waits"):
        db.execute(text(name).encode(), values)
    return db.execute(text("wake").encode(), values).rowcount


def family(stage: Stage, db: Connection, children: int = 1) -> list[tuple[UUID, UUID]]:
    """A parent and its children, claimed: ids and tokens."""
    claims = [claimed_one(stage, db) for _ in range(1 + children)]
    for id, _ in claims[1:]:
        stage.main.execute(PARENT, (claims[0][0], id))
    return claims


def test_a_child_that_ends_while_the_parent_begins_to_wait_is_not_lost(dsn: str) -> None:
    stage = Stage(dsn, limit=5)
    with stage.rival() as ending, stage.rival() as waiting:
        (parent, token), (child, of_child) = family(stage, ending)
        finish(ending, statement, child, of_child)  # not committed
        begin_to_wait(waiting, parent, token, child)
        waiting.commit()
        assert look(waiting, parent) == 0
        waiting.commit()
        ending.commit()
        assert look(ending, parent) == 1
        ending.commit()
    assert status_of(stage, parent) == "queued"


def test_a_parent_that_begins_to_wait_while_its_child_ends_is_not_lost(dsn: str) -> None:
    stage = Stage(dsn, limit=5)
    with stage.rival() as ending, stage.rival() as waiting:
        (parent, token), (child, of_child) = family(stage, ending)
        begin_to_wait(waiting, parent, token, child)  # not committed
        finish(ending, statement, child, of_child)
        ending.commit()
        assert look(ending, parent) == 0
        ending.commit()
        waiting.commit()
        assert look(waiting, parent) == 1
        waiting.commit()
    assert status_of(stage, parent) == "queued"


def test_of_two_children_that_end_at_once_the_later_look_wakes(dsn: str) -> None:
    """Neither sees the other's end before its own commit: a look inside of the transactions is not enough."""
    stage = Stage(dsn, limit=5)
    with stage.rival() as one, stage.rival() as two:
        (parent, token), first, second = family(stage, one, children=2)
        begin_to_wait(one, parent, token, first[0], second[0])
        one.commit()
        finish(one, statement, *first)
        assert look(one, parent, lock="lock_parents") == 0
        finish(two, statement, *second)
        one.commit()
        two.commit()
        assert status_of(stage, parent) == "waiting"
        for db, woken in ((one, 1), (two, 0)):
            assert look(db, parent) == woken
            db.commit()


def test_who_ends_a_child_waits_for_nobody_who_holds_the_parent(dsn: str) -> None:
    """Whoever cancels many holds the parent and waits for the child: a deadlock, if also the other way round."""
    stage = Stage(dsn, limit=5)
    with stage.rival() as ending, stage.rival() as holding:
        (parent, token), child = family(stage, ending)
        begin_to_wait(ending, parent, token, child[0])
        ending.commit()
        finish(ending, statement, *child)
        holding.execute(statement("lock_executions").encode(), {"ids": uuids([parent])})
        ending.execute("set local lock_timeout = '300ms'")
        assert look(ending, parent, lock="lock_parents") == 0
        ending.commit()
        holding.commit()
        assert look(ending, parent) == 1
        ending.commit()
    assert status_of(stage, parent) == "queued"


def test_two_looks_at_once_wake_once(dsn: str) -> None:
    stage = Stage(dsn, limit=5)
    with stage.rival() as one, stage.rival() as two:
        (parent, token), child = family(stage, one)
        begin_to_wait(one, parent, token, child[0])
        finish(one, statement, *child)
        one.commit()
        assert look(one, parent) == 1
        second = Second(stage, two, lambda db: look(db, parent))
        stage.wait_until_blocked()
        assert second.after(one) == 0
    assert stage.main.execute("select resumes from queues_execution where id = %s", (parent,)).fetchone() == (1,)


def a_look_that_waited_for_a_cancel_changes_nothing(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=5)
    with stage.rival() as one, stage.rival() as two:
        (parent, token), child = family(stage, one)
        begin_to_wait(one, parent, token, child[0])
        finish(one, statement, *child)
        one.commit()
        assert cancel(one, statement, parent) == 1
        second = Second(stage, two, lambda db: look(db, parent, text))
        stage.wait_until_blocked()
        second.after(one)
    assert status_of(stage, parent) == "cancelled"


def test_a_look_that_waited_for_a_cancel_changes_nothing(dsn: str) -> None:
    a_look_that_waited_for_a_cancel_changes_nothing(dsn, statement)


def only_what_the_last_claim_waits_for_wakes(dsn: str, text: Text) -> None:
    stage = Stage(dsn, limit=5)
    with stage.rival() as db:
        (parent, token), child = family(stage, db)
        begin_to_wait(db, parent, token, child[0])
        finish(db, statement, *child)
        assert look(db, parent, text) == 1
        db.commit()
        again, token = claimed_one(stage, db)
        assert again == parent
        finish(db, statement, parent, token, "waiting")  # for something else
        assert look(db, parent, text) == 0
        db.commit()


def test_only_what_the_last_claim_waits_for_wakes(dsn: str) -> None:
    only_what_the_last_claim_waits_for_wakes(dsn, statement)


@pytest.mark.parametrize(
    ("check", "cut"),
    [
        (only_what_the_last_claim_waits_for_wakes, " and w.token = e.token"),
        (
            a_look_that_waited_for_a_cancel_changes_nothing,
            "    and case when e.status = 'waiting' then true end\n",
        ),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_without_its_guard_it_would_be_seen(
    check: Callable[[str, Text], None], cut: str, without_backstops: str
) -> None:
    with pytest.raises(AssertionError):
        check(without_backstops, mutant(wake=((cut, ""),)))
