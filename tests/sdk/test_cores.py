"""Whether the cores are full, by what the system counts, and what a worker makes of it."""

from __future__ import annotations

import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

from polos import Context, _cores, workflow
from polos._cores import HOLD, WINDOW, Cores

from .fake_server import FakeServer
from .test_worker import Crowd, working

MS = 1_000_000  # nanoseconds


class Machine:
    """What the system counted of this thread, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ran, self.waited = 100.0, 500 * MS, 9 * MS
        monkeypatch.setattr("polos._cores.time.monotonic", lambda: self.now)
        monkeypatch.setattr(_cores, "_schedule", lambda: (self.ran, self.waited))
        self.cores = Cores()

    def later(self, *, ran: int, waited: int, seconds: float = 1.1 * WINDOW) -> bool:
        self.now += seconds
        self.ran += ran * MS
        self.waited += waited * MS
        return self.cores.are_full()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize(
    ("ran", "waited", "full"), [(40, 20, False), (40, 40, False), (30, 31, True), (10, 80, True), (2, 10, False)]
)
def test_they_are_full_when_it_waits_longer_than_it_runs(
    machine: Machine, ran: int, waited: int, full: bool
) -> None:
    assert machine.later(ran=ran, waited=waited) is full


def test_a_moment_is_no_proof(machine: Machine) -> None:
    assert not machine.later(ran=1, waited=20, seconds=WINDOW / 4)
    assert machine.later(ran=1, waited=60)


def test_what_could_not_be_read_is_not_judged(machine: Machine) -> None:
    ran, waited, machine.ran, machine.waited = machine.ran, machine.waited, 0, 0
    assert not machine.later(ran=0, waited=0)
    machine.ran, machine.waited = ran, waited + 9_000 * MS
    assert not machine.later(ran=40, waited=10)
    assert not machine.later(ran=40, waited=10)


def test_a_time_in_which_nobody_asked_is_not_judged(machine: Machine) -> None:
    assert not machine.later(ran=10, waited=500, seconds=5.0)
    assert not machine.later(ran=40, waited=10)
    assert machine.later(ran=20, waited=60)


def test_they_stay_full_for_a_while_and_are_then_judged_anew(machine: Machine) -> None:
    assert machine.later(ran=10, waited=80)
    assert machine.later(ran=90, waited=0, seconds=HOLD - 2 * WINDOW)
    assert not machine.later(ran=10, waited=0, seconds=3 * WINDOW)
    assert not machine.later(ran=60, waited=20)
    assert machine.later(ran=10, waited=80)


@pytest.mark.parametrize("text", [None, "", "0 0 0\n", "nonsense\n", "1 2\n"])
def test_where_the_system_does_not_count_they_are_never_full(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = tmp_path / "schedstat"
    if text is not None:
        counts.write_text(text)
    monkeypatch.setattr(_cores, "COUNTS", counts)
    cores = Cores()
    cores._since -= WINDOW
    assert not cores.are_full()


CROWD = """
import os, subprocess, sys, threading, time
from polos._cores import Cores, WINDOW

def judge():
    cores, end = Cores(), time.monotonic() + 20
    while time.monotonic() < end:
        start = time.monotonic()
        while time.monotonic() < start + WINDOW:
            pass
        if cores.are_full():
            print("full")
            return

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
try:
    time.sleep(0.5)
    thread = threading.Thread(target=judge)  # while the process's first one sleeps
    thread.start()
    thread.join()
finally:
    for other in others:
        other.kill()
"""


@pytest.mark.skipif(not _cores.COUNTS.exists(), reason="this system does not count it")
def test_five_on_one_core_find_it_full() -> None:
    ran = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "full"


async def test_one_lane_asks_for_all_room_when_the_cores_are_full(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow(id="quick")
    async def quick(ctx: Context) -> None: ...

    monkeypatch.setattr(Cores, "are_full", lambda self: True)
    for _ in range(60):
        await server.add("quick")
    async with working(quick, max_concurrent=10):
        await server.until(lambda: len(server.by_status("completed")) == 60)
    claims = [body for body in server.bodies("/exchange") if body["capacity"]]
    assert not any(body.get("lane") for body in claims)
    assert {body["capacity"] for body in claims} == {10}
    assert sum(len(body.get("results", [])) for body in claims) == 60


@pytest.mark.parametrize("seconds", [0.0, 0.002])
async def test_lanes_come_and_go_without_a_result_lost(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    crowd = Crowd(seconds)
    judgements = cycle([False, False, False, True, False, True, True])
    monkeypatch.setattr(Cores, "are_full", lambda self: next(judgements))
    for _ in range(200):
        await server.add("quick")
    async with working(crowd.workflow(), max_concurrent=10):
        await server.until(lambda: len(server.by_status("completed")) == 200)
    assert crowd.most <= 10
    claims = [body for body in server.bodies("/exchange") if body["capacity"]]
    assert {body.get("lane", 0) for body in claims} == {0, 1}


async def test_the_second_lane_ends_when_the_cores_become_full(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow(id="quick")
    async def quick(ctx: Context) -> None: ...

    full, after = False, 0

    def are_full(self: Cores) -> bool:
        nonlocal full, after
        claims = [body for body in server.bodies("/exchange") if body["capacity"]]
        if not full and any(body.get("lane") for body in claims):
            full, after = True, len(claims) + 1  # one may be under way on each lane
        return full

    monkeypatch.setattr(Cores, "are_full", are_full)
    for _ in range(200):
        await server.add("quick")
    async with working(quick, max_concurrent=10):
        await server.until(lambda: len(server.by_status("completed")) == 200)
    claims = [body for body in server.bodies("/exchange") if body["capacity"]]
    assert 0 < after < len(claims)
    assert not any(body.get("lane") for body in claims[after:])
    assert 10 in [body["capacity"] for body in claims[after:]]
