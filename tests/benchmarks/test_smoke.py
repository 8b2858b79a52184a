"""Whether the benchmarks run and ours is correct in them. No timing: that is what the command is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

from .checks import Incorrect, check, most_at_once
from .measures import step_figures
from .tape import Run


def test_the_benchmarks_run_and_every_promise_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--smoke", "--rounds", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=servers.ROOT,
        env=servers.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {
        "results.json",
        "report.md",
        "rates.svg",
        "latencies.svg",
    }


def test_a_job_that_runs_twice_is_found() -> None:
    with pytest.raises(Incorrect, match="more than once"):
        check([Run(0, 1, 2), Run(0, 3, 4)], jobs=1, limit=None)


def test_a_job_that_does_not_run_is_found() -> None:
    with pytest.raises(Incorrect, match="did not run"):
        check([Run(0, 1, 2)], jobs=2, limit=None)


def test_an_exceeded_limit_is_found() -> None:
    runs = [Run(0, 1, 10), Run(1, 2, 10), Run(2, 10, 11)]
    assert most_at_once(runs) == 2
    check(runs, jobs=3, limit=2)
    with pytest.raises(Incorrect, match="2 jobs at once"):
        check(runs, jobs=3, limit=1)


def test_a_step_that_is_not_kept_is_found() -> None:
    runs = [Run(0, 0, 3_000_000), Run(1, 0, 3_000_000)]
    assert step_figures(runs, steps=3, kept=6) == {"step_ms": 1.0}
    with pytest.raises(Incorrect, match="5 steps are kept of 6"):
        step_figures(runs, steps=3, kept=5)


def test_each_queue_has_its_own_limit() -> None:
    check([Run(0, 1, 10), Run(1, 2, 10)], jobs=2, limit=1, queues=2)
