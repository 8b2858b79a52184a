"""The whole suite in a few processes, each with a data directory, a PostgreSQL and servers of its own.

Much of a test's time is waiting, so this is faster even where there are few cores. A part of the suite, as in
`pytest tests/api`, runs in one process, and so does everything with `-n 0`.

Tests that measure time are marked `alone`: the other processes wait between two tests until it has ended.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import environment

# What takes long comes first. Browsers come last: Playwright leaves an event loop running in the main thread, in
# which no async test could run.
ORDER = ("acceptance", "races", "benchmarks", "live", "sdk", "engine", "api")
LAST = "browser"


@pytest.hookimpl(tryfirst=True)  # xdist has one of its own
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not whole or config.option.keyword or config.option.markexpr:
        return 0
    return max(2, os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput["turns"] = environment.DATA_DIR  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: it measures time, so nothing else runs meanwhile")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn_of(item.path.parts))


def _turn_of(parts: tuple[str, ...]) -> int:
    if LAST in parts:
        return len(ORDER) + 1
    return next((turn for turn, folder in enumerate(ORDER) if folder in parts), len(ORDER))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    shared = getattr(item.config, "workerinput", {})
    if not shared:  # the only process
        return (yield)
    with turn(Path(shared["turns"]), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Held by many at once, or by one alone, who does not wait for ever while others come and go."""
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with (folder / "door.lock").open("w") as door, (folder / "room.lock").open("w") as room:
        fcntl.flock(door, kind)
        fcntl.flock(room, kind)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
