from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from django.utils import timezone

from queues.engine.database import Database
from queues.models import Queue
from workflows.models import Workflow

from .helpers import WORKFLOW


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, size=4)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def workflow(clean_db: None) -> Workflow:
    """A workflow that a worker has registered, on a queue of its own."""
    queue = Queue.objects.create(name=WORKFLOW)
    return Workflow.objects.create(id=WORKFLOW, queue=queue, max_attempts=3, registered_at=timezone.now())
