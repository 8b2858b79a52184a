"""The example, as its README says: a server, `python worker.py`, `python main.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests import servers
from tests.acceptance.fleet import WORKERS, WorkerProcess, launch
from tests.servers import Server

EXAMPLE = servers.ROOT / "sdk" / "examples" / "shared-queues"
STORY = [
    "1. Workflows that share a queue share its limit",
    "api-calls, limit 5            10 executions in",
    "database-ops, limit 10        20 executions in",
    "heavy-processing, limit 2      4 executions in",
    "2. A queue of its own, and a queue that only has a name",
    "make_thumbnail, limit 3        6 executions in",
    "mail, the server's default     4 executions in",
    "3. No limit: all at once",
    "unlimited                     20 executions in",
    "4. A batch: one execution starts ten others",
    "batch_processor started 10 children after",
    "all ten are done after",
    "5. One execution that starts work on four queues",
    "read   on database-ops      completed: {'key': 'order-7', 'value': 7}",
    "call   on api-calls         completed: {'called': '/orders/order-7', 'slot': 1}",
    "video  on heavy-processing  completed: {'frames': 100, 'bytes': 102400}",
    "mail   on mail              completed: sent to someone@example.org",
    "6. A limit chosen when the work is started",
    "queue one-at-a-time, limit 1: strictly one after another",
    "queue three-at-a-time, limit 3: in parallel",
    "Done.",
]


def run(script: Path, server: Server) -> str:
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        env=servers.environment({"POLOS_API_URL": server.url}),
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def worker(running_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    log = tmp_path_factory.mktemp("example") / "worker.log"
    started = launch([sys.executable, "worker.py"], log, {"POLOS_API_URL": running_server.url}, cwd=EXAMPLE)
    try:
        yield started.wait_until_ready()
    finally:
        started.stop()


@pytest.fixture(scope="module")
def told(running_server: Server, worker: WorkerProcess) -> str:
    return run(EXAMPLE / "main.py", running_server)


def seconds(told: str, before: str) -> float:
    found = re.search(re.escape(before) + r"\s+([\d.]+) s", told)
    assert found, told
    return float(found[1])


def test_it_tells_the_story_of_its_readme(told: str) -> None:
    places = [told.find(words) for words in STORY]
    assert -1 not in places, (STORY[places.index(-1)], told)
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "least", "most"),
    [
        ("api-calls, limit 5            10 executions in", 0.7, 3),
        ("database-ops, limit 10        20 executions in", 0.4, 2),
        ("heavy-processing, limit 2      4 executions in", 2.3, 5),
        ("make_thumbnail, limit 3        6 executions in", 0.7, 3),
        ("unlimited                     20 executions in", 0.15, 2),
        ("all ten are done after", 0.9, 3),
    ],
)
def test_each_part_takes_what_its_limit_says(told: str, words: str, least: float, most: float) -> None:
    assert least <= seconds(told, words) <= most


def test_one_after_another_takes_six_seconds_and_in_parallel_two(told: str) -> None:
    one, three = re.findall(r"^     together ([\d.]+) s$", told, re.MULTILINE)
    assert 5.5 <= float(one) <= 9, told
    assert 1.9 <= float(three) <= 4, told


def test_one_after_another_never_overlaps(told: str) -> None:
    part = told.split("queue three-at-a-time")[0]
    turns = re.findall(r"^     (\w+) +from +([\d.]+) s to +([\d.]+) s$", part, re.MULTILINE)
    assert [name for name, _, _ in turns] == ["first", "second", "third"]
    assert all(float(end) <= float(begin) for (_, _, end), (_, begin, _) in pairwise(turns))


def test_the_worker_leaves_in_good_order(running_server: Server, told: str, worker: WorkerProcess) -> None:
    assert "Traceback" not in worker.said
    assert worker.stop() == 0
    assert "Stopped." in worker.said


def test_the_first_lines_that_anybody_writes(running_server: Server) -> None:
    results = [json.loads(line) for line in run(WORKERS / "snippet.py", running_server).splitlines()]
    assert results[0] == {"queue": "api-calls", "url": "https://example.org"}
    assert [result["queue"] for result in results[1:]] == [
        "unlimited-queue", "inline_queue_workflow", "my-queue-name", "no_queue_at_all",
    ]  # fmt: skip


def test_the_settings_file_of_the_example_is_read(running_server: Server, tmp_path: Path) -> None:
    given = (EXAMPLE / ".env.example").read_text()
    written = re.sub(r"^#?\s*POLOS_API_URL=.*$", f"POLOS_API_URL={running_server.url}", given, flags=re.MULTILINE)
    assert running_server.url in written
    (tmp_path / ".env").write_text(written)
    env = servers.environment()
    del env["PYTHON_DOTENV_DISABLED"]
    command = [sys.executable, str(WORKERS / "snippet.py")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_without_a_server_it_says_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=EXAMPLE,
        env=servers.environment({"POLOS_API_URL": f"http://127.0.0.1:{servers.free_port()}"}),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "polos-server start" in done.stderr
    assert "Traceback" not in done.stderr
