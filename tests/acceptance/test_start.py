"""`polos-server start`, as a person uses it: real processes, a fresh data directory, a free port."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
import urllib.request
from http.client import HTTPResponse
from pathlib import Path

import psutil
import pytest

from tests import servers
from tests.servers import Server, StartServer


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        assert isinstance(response, HTTPResponse)
        return response.status, response.read().decode()


def postgres_processes(data_dir: Path) -> list[psutil.Process]:
    cluster = str(data_dir / "postgres")
    found = []
    for process in psutil.process_iter():
        try:
            # The first one is started with the folder's name, and its children work in it.
            if cluster in process.cmdline() or (process.name() == "postgres" and process.cwd() == cluster):
                found.append(process)
        except psutil.Error:
            continue
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_banner_says_what_a_person_needs(running_server: Server) -> None:
    said = running_server.output
    assert running_server.url in said
    assert running_server.signin_link.startswith(f"{running_server.url}/signin/")
    assert str(running_server.data_dir) in said
    assert "local mode" in said
    assert "Ctrl-C" in said
    assert said.count("is running.") == 1


def test_pages_lead_to_signing_in(live_server_url: str) -> None:
    status, page = get(live_server_url)
    assert status == 200
    assert 'type="password"' in page


def test_workers_on_this_machine_need_no_key(live_server_url: str) -> None:
    request = urllib.request.Request(  # noqa: S310
        f"{live_server_url}/api/v1/executions",
        data=b'{"workflow_id": "hello"}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        assert response.status == 201


def test_the_data_is_ours_alone(running_server: Server) -> None:
    data_dir = running_server.data_dir
    assert [mode(data_dir), mode(data_dir / "postgres"), mode(data_dir / "socket")] == [0o700] * 3
    assert mode(data_dir / "secret-key") == mode(data_dir / "database-password") == 0o600
    assert mode(next((data_dir / "socket").glob(".s.PGSQL.*[0-9]"))) == 0o700


def test_the_database_listens_on_no_port_and_asks_for_the_password(running_server: Server) -> None:
    postmaster = min(postgres_processes(running_server.data_dir), key=lambda process: process.create_time())
    assert not [one for one in postmaster.net_connections() if one.family != socket.AF_UNIX]
    rules = (running_server.data_dir / "postgres" / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in rules if line.strip() and not line.startswith("#")}
    assert methods == {"scram-sha-256"}


def test_folders_above_stay_as_they_are(tmp_path: Path, server: StartServer) -> None:
    before = [mode(folder) for folder in tmp_path.parents]
    assert server(fresh=True).stop() == 0
    assert [mode(folder) for folder in tmp_path.parents] == before


def test_everything_stops_and_the_data_survives(server: StartServer, capsys: pytest.CaptureFixture[str]) -> None:
    first = server(fresh=True)
    request = urllib.request.Request(  # noqa: S310
        f"{first.url}/api/v1/executions",
        data=b'{"workflow_id": "kept", "queue_name": "kept"}',
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 8
    assert postgres_processes(first.data_dir) == []

    began = time.monotonic()
    second = server()
    status, _ = get(second.url)
    with capsys.disabled():
        print(f"\n  a later start: {time.monotonic() - began:.1f} s to the first page")  # noqa: T201
    assert status == 200
    assert '"kept"' in get_json(f"{second.url}/api/v1/queues")


def get_json(url: str) -> str:
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(response.read().decode())


def test_a_second_server_joins_and_the_last_one_stops_the_database(server: StartServer) -> None:
    first, second = server(), server()
    assert first.stop() == 0
    assert get(second.url)[0] == 200
    assert second.stop(signal.SIGTERM) == 0
    assert postgres_processes(first.data_dir) == []


def test_two_first_starts_at_the_same_time_share_the_work(tmp_path: Path) -> None:
    both = [servers.launch(tmp_path / "data", fresh=True) for _ in range(2)]
    try:
        assert [get(one.wait_until_ready().url)[0] for one in both] == [200, 200]
    finally:
        assert [one.stop() for one in both] == [0, 0]
    assert postgres_processes(tmp_path / "data") == []


def test_a_killed_server_leaves_nothing_that_hinders_the_next_one(server: StartServer) -> None:
    first = server()
    first.process.kill()
    first.wait_for_end()
    for process in postgres_processes(first.data_dir):
        process.kill()
    # The pid in the stale file belongs to somebody else by now.
    pid_file = first.data_dir / "postgres" / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1))
    assert get(server().url)[0] == 200


def test_a_database_that_dies_is_started_again(server: StartServer) -> None:
    one = server()
    min(postgres_processes(one.data_dir), key=lambda process: process.create_time()).kill()
    assert servers.eventually(lambda: servers.answers(f"{one.url}/api/v1/queues"), seconds=20), one.output


@pytest.mark.parametrize("pause", [0.02, 0.3])
def test_a_second_interrupt_ends_it_at_once(server: StartServer, pause: float) -> None:
    one = server()
    one.process.send_signal(signal.SIGINT)
    time.sleep(pause)
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 4  # draining takes up to five
    assert "Traceback" not in one.output
    assert servers.eventually(lambda: not postgres_processes(one.data_dir), seconds=5)


def test_a_long_data_directory_works(tmp_path: Path) -> None:
    launched = servers.launch(tmp_path / ("long-" * 20) / "data", fresh=True)
    try:
        assert get(launched.wait_until_ready().url)[0] == 200
    finally:
        launched.stop()


def test_it_also_runs_on_uvicorn(server: StartServer) -> None:
    pytest.importorskip("uvicorn")
    one = server("--asgi", "uvicorn")
    assert get(one.url)[0] == 200
    assert one.stop() == 0
