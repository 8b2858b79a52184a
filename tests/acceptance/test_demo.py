"""`--demo`: three queues fill, hold and drain, fed by a real worker."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import servers
from tests.servers import Server, StartServer

LIMITS = {"api-calls": 5, "database-ops": 10, "heavy-processing": 2}


def queues(url: str) -> dict[str, dict[str, Any]]:
    request = urllib.request.Request(f"{url}/api/v1/queues", headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return {queue["name"]: queue for queue in json.load(response)["queues"]}


def workers_of(server: Server) -> list[psutil.Process]:
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in found if "run_worker.py" in " ".join(process.cmdline())]


@pytest.fixture
def demo(server: StartServer) -> Server:
    return server("--demo")


def test_queues_fill_up_to_their_limits_and_no_further(server: StartServer) -> None:
    demo = server("--demo", fresh=True)
    highest = dict.fromkeys(LIMITS, 0)
    deadline = time.monotonic() + 30
    while highest != LIMITS:
        assert time.monotonic() < deadline, (highest, demo.output)
        for name, queue in queues(demo.url).items():
            if name in LIMITS:
                highest[name] = max(highest[name], queue["running"])
                assert queue["running"] <= LIMITS[name]
        time.sleep(0.1)


def test_a_worker_that_dies_is_replaced(demo: Server) -> None:
    assert servers.eventually(lambda: bool(workers_of(demo)), seconds=10)
    workers_of(demo)[0].kill()
    assert servers.eventually(lambda: "ended; it is started again" in demo.output, seconds=10)
    assert servers.eventually(lambda: bool(workers_of(demo)), seconds=10)


def test_stopping_is_quick_and_leaves_nobody_behind(demo: Server) -> None:
    assert servers.eventually(lambda: bool(workers_of(demo)), seconds=10)
    worker = workers_of(demo)[0]
    began = time.monotonic()
    assert demo.stop() == 0
    assert time.monotonic() - began < 10
    assert not worker.is_running()


def test_a_worker_ends_with_its_server(demo: Server) -> None:
    assert servers.eventually(lambda: bool(workers_of(demo)), seconds=10)
    worker = workers_of(demo)[0]
    demo.process.kill()
    assert servers.eventually(lambda: not _runs(worker), seconds=10)
    servers.run(["check", "--data-dir", str(demo.data_dir)])  # the last to leave stops the database


def test_it_refuses_a_database_with_other_data(server: StartServer) -> None:
    one = server()
    servers.run(["createkey", "--data-dir", str(one.data_dir), "mine"])
    refused = servers.launch(one.data_dir, "--demo")
    assert "other data" in refused.wait_for_end()
    assert refused.process.returncode == 1


def test_it_has_data_of_its_own(tmp_path: Path) -> None:
    # Not even a database is needed to see where it would go: a taken port ends it before.
    env = {"POLOS_DATA_DIR": str(tmp_path / "polos"), "POLOS_HOST": "192.0.2.1"}
    assert servers.run(["start", "--demo"], env=env).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["polos-demo"]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
