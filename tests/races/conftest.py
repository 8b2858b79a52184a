from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from .interleavings import Stage

CONSTRAINTS = ("execution_finished_at_iff_final", "execution_held_by_a_claim")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long", default=False))


@pytest.fixture(autouse=True)
def close_stages() -> Iterator[None]:
    yield
    while Stage.opened:
        Stage.opened.pop().close()


@pytest.fixture
def without_backstops(dsn: str) -> Iterator[str]:
    """A database without the constraints that would stop a mutant before the check sees what it did."""
    with psycopg.connect(dsn, autocommit=True) as db:
        again = [_definition(db, name) for name in CONSTRAINTS]
        for name in CONSTRAINTS:
            db.execute(f"alter table queues_execution drop constraint {name}".encode())
        (index,) = db.execute("select indexdef from pg_indexes where indexname = 'execution_slot'").fetchone() or (
            "",
        )
        db.execute("drop index execution_slot")
        try:
            yield dsn
        finally:
            db.execute("truncate queues_execution")
            db.execute(index.encode())
            for name, definition in zip(CONSTRAINTS, again, strict=True):
                db.execute(f"alter table queues_execution add constraint {name} {definition}".encode())


def _definition(db: psycopg.Connection[tuple[object, ...]], name: str) -> str:
    row = db.execute("select pg_get_constraintdef(oid) from pg_constraint where conname = %s", (name,)).fetchone()
    assert row is not None
    return str(row[0])
