"""What the jobs themselves saw: number, start and end of each run, in a file that the harness reads.

The clock is the machine's monotonic one, which all processes share. A run costs a few microseconds, and nothing
is lost when a process is killed.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_COUNT = struct.Struct("<q")
_RUN = struct.Struct("<qqq")


@dataclass(frozen=True, slots=True)
class Run:
    number: int
    start: int  # nanoseconds
    end: int


class Tape:
    """One process's recording."""

    def __init__(self, path: Path, places: int) -> None:
        with path.open("wb") as file:
            file.truncate(_COUNT.size + places * _RUN.size)
        self._map = _mapped(path, mmap.ACCESS_WRITE)
        self._lock = threading.Lock()
        self._count = 0

    def add(self, number: int, start: int, end: int) -> None:
        with self._lock:
            _RUN.pack_into(self._map, _COUNT.size + self._count * _RUN.size, number, start, end)
            self._count += 1
            _COUNT.pack_into(self._map, 0, self._count)


class Job:
    """The body of every contestant's job."""

    def __init__(self, tape: Tape, seconds: float) -> None:
        self._tape, self._seconds = tape, seconds

    async def run(self, number: int, since: int = 0) -> None:
        """`since` is when it began, in nanoseconds: earlier for one that had something to do before."""
        start = since or time.monotonic_ns()
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self._tape.add(number, start, time.monotonic_ns())

    def run_in_thread(self, number: int, since: int = 0) -> None:
        start = since or time.monotonic_ns()
        if self._seconds:
            time.sleep(self._seconds)
        self._tape.add(number, start, time.monotonic_ns())


class Reader:
    """Follows the tapes of several processes while they write."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._maps = [_mapped(path, mmap.ACCESS_READ) for path in paths]

    def count(self) -> int:
        return sum(_count(each) for each in self._maps)

    def runs(self) -> list[Run]:
        return [
            Run(*_RUN.unpack_from(each, _COUNT.size + i * _RUN.size))
            for each in self._maps
            for i in range(_count(each))
        ]


def _count(recorded: mmap.mmap) -> int:
    count: int = _COUNT.unpack_from(recorded)[0]
    return count


def _mapped(path: Path, access: int) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0, access=access)
