from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from .interleavings import Stage


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
    """A database without the index that would stop a mutant before the check sees what it did."""
    with psycopg.connect(dsn, autocommit=True) as db:
        (index,) = db.execute("select indexdef from pg_indexes where indexname = 'execution_slot'").fetchone() or (
            "",
        )
        db.execute("drop index execution_slot")
        try:
            yield dsn
        finally:
            db.execute("truncate queues_execution")
            db.execute(index.encode())
