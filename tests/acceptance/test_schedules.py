"""Two real servers, one killed: every tick of a schedule starts one execution."""

from __future__ import annotations

import datetime as dt
import signal
import time
from itertools import pairwise

from django.utils import timezone

from queues.models import Change, Queue
from tests.engine.crew import query
from tests.servers import StartServer
from workflows import schedules
from workflows.models import Workflow
from workflows.schedules import Act, Spec

TICKS = 6
EACH = "select t.at, e.id from workflows_tick t full join queues_execution e on e.id = execution_id order by t.at"


def test_no_tick_is_lost_or_doubled_when_a_server_is_killed(server: StartServer, dsn: str) -> None:
    queue = Queue.objects.create(name="report")
    Workflow.objects.create(id="report", queue=queue, registered_at=timezone.now())
    first = server(dsn=dsn)
    spec = Spec(name="often", workflow="report", every=1, catch_up="all")
    schedules.create(spec, Act("tests", Change.Through.REST))
    _until(dsn, 2)
    first.process.send_signal(signal.SIGKILL)
    server(dsn=dsn)
    _until(dsn, TICKS)
    ticks = query(dsn, EACH)
    assert {later - earlier for (earlier, _), (later, _) in pairwise(ticks)} == {dt.timedelta(seconds=1)}
    assert all(execution_id for _, execution_id in ticks)


def _until(dsn: str, count: int) -> None:
    end = time.monotonic() + 30
    while query(dsn, "select count(*) from workflows_tick") < [(count,)]:
        assert time.monotonic() < end
        time.sleep(0.05)
