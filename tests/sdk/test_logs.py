from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from polos import Context, mark_log_records, workflow

from .fake_server import FakeServer
from .test_worker import working

logger = logging.getLogger("of.the.user")


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[Any]]:
    """All that was logged under this name, as a handler gets it."""
    collector = Collector()
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    yield collector.records
    logger.removeHandler(collector)


async def test_records_say_in_which_execution_and_attempt_they_were_made(
    server: FakeServer, records: list[Any]
) -> None:
    def in_a_thread() -> None:
        logger.info("in a thread")

    async def side() -> None:
        logger.info("in a task")

    @workflow(id="logs", queue="logs", retries=1)
    async def logs(ctx: Context) -> None:
        logger.info("in the body")
        await ctx.step.run(f"step-{ctx.attempt}", in_a_thread)
        await asyncio.create_task(side())
        if ctx.attempt == 1:
            raise RuntimeError

    @workflow(id="threaded", on_end=lambda ctx, outcome: logger.info("in a hook"))
    def threaded(ctx: Context) -> None:
        logger.info("in a sync function")

    async with working(logs, threaded):
        first = await server.add("logs", max_attempts=2)
        second = await server.add("threaded")
        await server.until(lambda: first["status"] == second["status"] == "completed")
        logger.info("outside")

    def told(execution: dict[str, Any]) -> list[Any]:
        mine = [each for each in records if each.polos_execution == execution["id"]]
        return [(each.getMessage(), each.polos_attempt, each.polos_workflow, each.polos_queue) for each in mine]

    messages = ("in the body", "in a thread", "in a task")
    assert told(first) == [(message, attempt, "logs", "logs") for attempt in (1, 2) for message in messages]
    assert told(second) == [
        (message, 1, "threaded", "threaded") for message in ("in a sync function", "in a hook")
    ]
    assert [(each.getMessage(), each.polos_attempt) for each in records if each.polos_execution == "-"] == [
        ("outside", "-")
    ]


async def test_what_the_worker_says_for_all_is_not_said_in_the_name_of_one(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow(id="steps")
    async def steps(ctx: Context) -> None:
        await ctx.step.run("a", int)

    async with working(steps):
        server.fail("/steps", detail="The database is away.")
        execution = await server.add("steps")
        await server.until(lambda: execution["status"] == "completed")
    (told,) = [each for each in caplog.records if "The database is away" in each.getMessage()]
    assert vars(told)["polos_execution"] == "-"


async def test_executions_side_by_side_are_kept_apart(server: FakeServer, records: list[Any]) -> None:
    @workflow(id="logs")
    async def logs(ctx: Context, payload: int) -> None:
        for _ in range(3):
            logger.info("%d", payload)
            await asyncio.sleep(0.001)

    async with working(logs):
        executions = [await server.add("logs", n) for n in range(20)]
        await server.until(lambda: len(server.by_status("completed")) == 20)
    assert {(each.getMessage(), each.polos_execution) for each in records} == {
        (str(n), execution["id"]) for n, execution in enumerate(executions)
    }


def test_a_factory_of_somebody_else_stays_in_use() -> None:
    code = """
import logging
from polos import mark_log_records

def own(*args, **kwargs):
    record = logging.LogRecord(*args, **kwargs)
    record.own = "mine"
    return record

logging.setLogRecordFactory(own)
mark_log_records()
once = logging.getLogRecordFactory()
mark_log_records()
assert logging.getLogRecordFactory() is once
logging.basicConfig(format="%(own)s %(polos_execution)s %(polos_attempt)s %(message)s")
logging.getLogger("any").warning("text", extra={"attempt": 5, "queue": "of the user"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "mine - - text\n"


def test_importing_it_changes_no_logging() -> None:
    code = "import logging, polos; print(logging.getLogRecordFactory() is logging.LogRecord)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert mark_log_records.__doc__
