from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from queues.models import Queue

Db = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def queue(clean_db: None) -> Queue:
    row = Queue.objects.create(name="billing/eu", declared_limit=5, declared_by="worker jobs.py:3")
    row.refresh_from_db()
    return row


@pytest.fixture
def other(dsn: str) -> Iterator[Db]:
    """A second connection, in a transaction of its own."""
    with psycopg.connect(dsn) as db:
        yield db
